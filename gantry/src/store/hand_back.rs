//! `gantry store hand-back`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use broker::takeover::{self, HandBackError, HandedBack, Kind};
use clap::Args;
use env::Env;
use serde::Serialize;

use super::{size, take_over};
use crate::output::{Output, facts};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The data directory of a stopped server
    dir: PathBuf,
}

/// What was handed back, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HandBackView {
    directory: String,
    segment_bytes: u64,
    topics: usize,
    groups: usize,
    timer_messages: usize,
    half_messages: usize,
    unfinished: u64,
    added_bytes: u64,
}

pub(super) fn run(arguments: &Arguments, env: &Env, output: Output) -> anyhow::Result<()> {
    let dir = &arguments.dir;
    match take_over(dir, async |watcher| takeover::hand_back(env, dir, watcher).await)? {
        Ok(handed_back) => output.show(&view(dir, handed_back), to_text),
        Err(HandBackError::NotOurs { kind: Kind::Apache }) => bail!("{} is Apache's already", dir.display()),
        Err(error) => Err(error).with_context(|| format!("cannot hand {} back", dir.display())),
    }
}

fn view(dir: &Path, handed_back: HandedBack) -> HandBackView {
    let HandedBack { segment_bytes, topics, groups, timers, halves, unfinished, added_bytes } = handed_back;
    HandBackView {
        directory: dir.display().to_string(),
        segment_bytes,
        topics,
        groups,
        timer_messages: timers,
        half_messages: halves,
        unfinished,
        added_bytes,
    }
}

fn to_text(view: &HandBackView) -> String {
    facts([
        ("handed back", view.directory.clone()),
        ("topics", view.topics.to_string()),
        ("groups", view.groups.to_string()),
        ("waiting messages", view.timer_messages.to_string()),
        ("half messages", view.half_messages.to_string()),
        ("delivered again", format!("{} that are not finished, and what was acked behind them", view.unfinished)),
        ("added to the log", size(view.added_bytes)),
        ("broker.conf", format!("storePathRootDir={} mappedFileSizeCommitLog={}", view.directory, view.segment_bytes)),
    ])
}
