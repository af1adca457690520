//! Tools that are installed, or fetched as Python wheels: seconds instead of the minutes that they take from source.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::plan::Context;
use crate::shell::{self, To};

/// The installed program, or one fetched into our tools folder; `None` when it can be neither.
pub(super) fn find(context: &Context, program: &str, wheel: &str) -> Result<Option<PathBuf>> {
    let installed = PathBuf::from(program);
    if shell::succeeds(Command::new(&installed).arg("--version")) {
        return Ok(Some(installed));
    }
    let tools = context.workspace.own("tools/python")?;
    let fetched = tools.join("bin").join(program);
    if !fetched.exists() {
        let made = shell::run(Command::new("python3").args(["-m", "venv"]).arg(&tools), To::Terminal);
        let mut install = Command::new(tools.join("bin/pip"));
        install.args(["install", "--quiet", "--disable-pip-version-check", wheel]);
        if made.and_then(|()| shell::run(&mut install, To::Terminal)).is_err() {
            return Ok(None);
        }
    }
    Ok(Some(fetched))
}
