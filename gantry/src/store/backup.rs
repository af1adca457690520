//! `gantry store backup` and `gantry store restore`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use env::Disk;
use serde::Serialize;
use store::inspect::Copied;

use super::{must_exist, open, size, verify};
use crate::cli::Misuse;
use crate::output::{Output, facts};
use crate::progress::Bar;

#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// The data directory
    dir: PathBuf,
    /// Where the backup is put: an empty directory, or one that does not exist yet
    #[arg(long, value_name = "DEST")]
    to: PathBuf,
    /// Check the backup after it is made
    #[arg(long)]
    verify: bool,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// The backup
    backup: PathBuf,
    /// The new data directory: empty, or one that does not exist yet
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// What was done, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CopiedView {
    from: String,
    to: String,
    files: u64,
    bytes: u64,
    log_first: u64,
    log_end: u64,
    checkpoints: Vec<u64>,
    restarts: usize,
    verified: bool,
}

pub(super) fn backup(arguments: &BackupArguments, disk: &Arc<dyn Disk>, output: Output) -> anyhow::Result<()> {
    let BackupArguments { dir, to, verify } = arguments;
    must_be_apart(dir, to)?;
    let copied = copy(disk, dir, to).with_context(|| format!("cannot back up {}", dir.display()))?;
    if *verify {
        must_be_sound(disk, to)?;
    }
    output.show(&view(dir, to, copied, *verify), |view| to_text("backed up", view))
}

pub(super) fn restore(arguments: &RestoreArguments, disk: &Arc<dyn Disk>, output: Output) -> anyhow::Result<()> {
    let RestoreArguments { backup, to } = arguments;
    must_be_apart(backup, to)?;
    must_be_sound(disk, backup)?;
    let copied = copy(disk, backup, to).with_context(|| format!("cannot restore {}", backup.display()))?;
    output.show(&view(backup, to, copied, true), |view| to_text("restored", view))
}

fn copy(disk: &Arc<dyn Disk>, from: &Path, to: &Path) -> anyhow::Result<Copied> {
    let bar = Bar::of_bytes();
    let mut copied = open(disk, from)?.copy(to, &mut |progress| bar.show(progress))?;
    copied.files += u64::from(broker::backup::copy_request_modes(&**disk, from, to)?);
    Ok(copied)
}

/// A copy inside what is copied would be found there by the next one.
fn must_be_apart(from: &Path, to: &Path) -> anyhow::Result<()> {
    must_exist(from)?;
    let (from, to) = (from.canonicalize()?, std::path::absolute(to)?);
    if to.canonicalize().unwrap_or(to).starts_with(&from) {
        return Err(Misuse(format!("--to is inside {}; choose a directory beside it", from.display())).into());
    }
    Ok(())
}

fn must_be_sound(disk: &Arc<dyn Disk>, dir: &Path) -> anyhow::Result<()> {
    let report = verify::verify(disk, dir)?;
    if !report.is_sound() {
        bail!("{} is damaged ({}); see gantry store verify", dir.display(), report.first_damage());
    }
    Ok(())
}

fn view(from: &Path, to: &Path, copied: Copied, verified: bool) -> CopiedView {
    let Copied { files, bytes, log_first, log_end, checkpoints, restarts } = copied;
    let text = |path: &Path| path.display().to_string();
    CopiedView { from: text(from), to: text(to), files, bytes, log_first, log_end, checkpoints, restarts, verified }
}

fn to_text(done: &str, view: &CopiedView) -> String {
    facts([
        (done, format!("{} to {}", view.from, view.to)),
        ("log", format!("{} to {}", view.log_first, view.log_end)),
        ("copied", format!("{} in {} files", size(view.bytes), view.files)),
        ("checked", if view.verified { "yes, sound" } else { "no; gantry store verify does it" }.to_owned()),
    ])
}
