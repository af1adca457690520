//! `gantry store check`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use broker::takeover::{Kind, Pending, Survey};
use clap::Args;
use env::Disk;
use serde::Serialize;
use types::{GroupConfig, TopicConfig};

use super::{must_exist, size};
use crate::output::{Output, facts};
use crate::progress::Bar;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The directory: of an Apache broker, its storePathRootDir
    dir: PathBuf,
}

/// What a directory is, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckView {
    directory: String,
    writer: &'static str,
    refusals: Vec<String>,
    segment_bytes: u64,
    records: u64,
    topics: Vec<TopicConfig>,
    groups: Vec<GroupConfig>,
    offsets: Vec<OffsetView>,
    pending: PendingView,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OffsetView {
    group: String,
    topic: String,
    queue: u32,
    offset: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PendingView {
    pub(super) delay_level_messages: u64,
    pub(super) timer_messages: u64,
    pub(super) half_messages: u64,
    pub(super) unacked_pops: u64,
}

impl From<Pending> for PendingView {
    fn from(pending: Pending) -> Self {
        let Pending { level_timers, timers, halves, unacked_pops } = pending;
        Self { delay_level_messages: level_timers, timer_messages: timers, half_messages: halves, unacked_pops }
    }
}

pub(super) fn run(arguments: &Arguments, disk: &Arc<dyn Disk>, output: Output) -> anyhow::Result<()> {
    let dir = &arguments.dir;
    must_exist(dir)?;
    let bar = Bar::of_bytes();
    let survey = Survey::of(disk, dir, &mut |progress| bar.show(progress))
        .with_context(|| format!("cannot check {}", dir.display()))?;
    drop(bar);
    let (kind, refusals) = (survey.kind, survey.refusals.len());
    output.show(&view(dir, survey), |view| to_text(view, kind))?;
    match kind {
        Kind::Neither => bail!("{} is no broker's directory", dir.display()),
        _ if refusals > 0 => bail!("{} cannot be taken over, reasons: {refusals}", dir.display()),
        Kind::Ours | Kind::Apache => Ok(()),
    }
}

fn view(dir: &Path, survey: Survey) -> CheckView {
    let Survey { kind, refusals, config, log } = survey;
    let offsets = config.offsets.into_iter().map(|commit| OffsetView {
        group: commit.group.to_string(),
        topic: commit.topic.to_string(),
        queue: commit.queue.0,
        offset: commit.offset.0,
    });
    CheckView {
        directory: dir.display().to_string(),
        writer: match kind {
            Kind::Ours => "gantry",
            Kind::Apache => "apache",
            Kind::Neither => "none",
        },
        refusals: refusals.iter().map(ToString::to_string).collect(),
        segment_bytes: log.segment_bytes,
        records: log.records,
        topics: config.topics,
        groups: config.groups,
        offsets: offsets.collect(),
        pending: log.pending.into(),
    }
}

fn to_text(view: &CheckView, kind: Kind) -> String {
    let directory = ("directory", view.directory.clone());
    let writer = match kind {
        Kind::Ours => return facts([directory, ("written by", "Gantry; see gantry store verify and stat".to_owned())]),
        Kind::Neither => {
            return facts([directory, ("written by", "no broker: no log and no configuration".to_owned())]);
        }
        Kind::Apache => "Apache RocketMQ",
    };
    let PendingView { delay_level_messages, timer_messages, half_messages, unacked_pops } = &view.pending;
    let summary = facts([
        directory,
        ("written by", writer.to_owned()),
        ("log", format!("{} records, segments of {}", view.records, size(view.segment_bytes))),
        ("topics", view.topics.len().to_string()),
        ("groups", view.groups.len().to_string()),
        ("committed offsets", view.offsets.len().to_string()),
        ("waiting by level", delay_level_messages.to_string()),
        ("waiting for a time", timer_messages.to_string()),
        ("half messages", half_messages.to_string()),
        ("un-acked pops", unacked_pops.to_string()),
        ("in the way", if view.refusals.is_empty() { "nothing" } else { "see below" }.to_owned()),
    ]);
    let refusals: String = view.refusals.iter().map(|refusal| format!("\n- {refusal}")).collect();
    format!("{summary}{}{refusals}", if refusals.is_empty() { "" } else { "\n" })
}
