//! `gantry store import`.

use std::path::{Path, PathBuf};

use anyhow::bail;
use broker::takeover::{self, ImportError, Imported, Kind};
use clap::Args;
use env::Env;
use serde::Serialize;

use super::check::PendingView;
use super::{size, take_over};
use crate::output::{Output, facts};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The stopped broker's storePathRootDir
    dir: PathBuf,
}

/// What was taken over, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportView {
    directory: String,
    records: u64,
    topics: usize,
    groups: usize,
    offsets: usize,
    pending: PendingView,
    added_bytes: u64,
}

pub(super) fn run(arguments: &Arguments, env: &Env, output: Output) -> anyhow::Result<()> {
    let dir = &arguments.dir;
    match take_over(dir, async |watcher| takeover::import(env, dir, watcher).await)? {
        Ok(imported) => output.show(&view(dir, imported), to_text),
        Err(ImportError::Refused(refusals)) => {
            let dir = dir.display();
            bail!("{dir} cannot be taken over, reasons: {}; see gantry store check {dir}", refusals.len())
        }
        Err(ImportError::NotApache { kind: Kind::Ours }) => {
            bail!("{} is Gantry's already; start it with gantry local --data {0}", dir.display())
        }
        Err(error) => Err(anyhow::Error::new(error).context(format!("cannot import {}", dir.display()))),
    }
}

fn view(dir: &Path, imported: Imported) -> ImportView {
    let Imported { records, topics, groups, offsets, pending, added_bytes } = imported;
    let directory = dir.display().to_string();
    ImportView { directory, records, topics, groups, offsets, pending: pending.into(), added_bytes }
}

fn to_text(view: &ImportView) -> String {
    let pending = &view.pending;
    facts([
        ("imported", view.directory.clone()),
        ("records", view.records.to_string()),
        ("topics", view.topics.to_string()),
        ("groups", view.groups.to_string()),
        ("committed offsets", view.offsets.to_string()),
        ("waiting messages", (pending.delay_level_messages + pending.timer_messages).to_string()),
        ("half messages", pending.half_messages.to_string()),
        ("un-acked pops", pending.unacked_pops.to_string()),
        ("added to the log", size(view.added_bytes)),
        ("next", format!("gantry local --data {}", view.directory)),
    ])
}
