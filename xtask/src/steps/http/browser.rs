//! The pages in headless Chromium, and pages of other sites (`tests/http/browser`).

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::plan::Done;
use crate::shell::{self, To};

/// Where Debian puts it.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Uses the server that speaks HTTP and gRPC at these addresses and lets in pages of `http://localhost` with the port of `site`.
pub(super) fn show(root: &Path, [http, grpc]: [&str; 2], site: SocketAddr, log: &Path) -> Result<Done> {
    if !(is_there() || super::install("chromium", log) && is_there()) {
        let reason = "the pages were not looked at: chromium is missing: apt-get install chromium".to_owned();
        return Ok(Done::Skipped { reason });
    }
    let folder = root.join("tests/http/browser");
    let mut packages = Command::new("npm");
    packages.args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder);
    shell::run(&mut packages, To::File(log))?;
    let mut scenario = Command::new("node");
    scenario.arg("main.js").args([CHROMIUM, http, grpc, &site.port().to_string()]).current_dir(&folder);
    shell::run(&mut scenario, To::File(log)).context("the pages in Chromium")?;
    Ok(Done::Passed)
}

fn is_there() -> bool {
    shell::succeeds(Command::new(CHROMIUM).arg("--version"))
}
