//! `cargo run -p decoders -- DIR`: writes valid examples for each decoder to `DIR/<target>/`, for cargo-fuzz to begin from.
#![allow(clippy::disallowed_methods, reason = "writes files for another program, above every seam of env")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs, io};

use decoders::{ALL, examples};

fn main() -> ExitCode {
    let Some(dir) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: decoders DIR");
        return ExitCode::FAILURE;
    };
    match write(&dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

fn write(dir: &std::path::Path) -> io::Result<()> {
    for target in ALL {
        let dir = dir.join(target.name);
        fs::create_dir_all(&dir)?;
        for (number, example) in examples(target.name).iter().enumerate() {
            fs::write(dir.join(format!("example-{number}")), example)?;
        }
    }
    Ok(())
}
