//! `gantry store stat`.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use env::Disk;
use serde::Serialize;
use store::inspect::{CheckpointStat, QueueStat, SegmentStat, Stat, TopicStat};

use super::{open, size};
use crate::output::{Output, facts, table, yes};
use crate::progress::Bar;
use crate::time;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The data directory
    dir: PathBuf,
    /// Read every record, to tell bytes by topic and queue too
    #[arg(long)]
    full: bool,
    /// How many of the biggest queues are shown
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    queues: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatView {
    directory: String,
    in_use: bool,
    segment_bytes: u64,
    segments: Vec<SegmentView>,
    log_first: u64,
    log_end: u64,
    oldest: Option<i64>,
    newest: Option<i64>,
    topics: Vec<TopicView>,
    queue_count: usize,
    biggest_queues: Vec<QueueView>,
    index_runs: u64,
    index_bytes: u64,
    checkpoints: Vec<CheckpointView>,
    replay: ReplayView,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SegmentView {
    base: u64,
    bytes: u64,
    oldest: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TopicView {
    topic: String,
    queues: u64,
    records: u64,
    bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueView {
    topic: String,
    queue: u32,
    first_offset: u64,
    end_offset: u64,
    records: u64,
    bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckpointView {
    position: u64,
    bytes: u64,
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplayView {
    from: u64,
    bytes: u64,
    records: u64,
}

pub(super) fn run(arguments: &Arguments, disk: &Arc<dyn Disk>, output: Output) -> anyhow::Result<()> {
    let directory = open(disk, &arguments.dir)?;
    let stat = {
        let bar = Bar::of_bytes();
        let stat = directory.stat(arguments.full, &mut |progress| bar.show(progress));
        stat.with_context(|| format!("cannot count what is in {}", arguments.dir.display()))?
    };
    output.show(&view(&arguments.dir, stat, arguments.queues), to_text)
}

fn view(dir: &Path, stat: Stat, queues_max: usize) -> StatView {
    let queue_count = stat.queues.len();
    let segment = |SegmentStat { base, bytes, oldest }: SegmentStat| SegmentView {
        base: base.0,
        bytes,
        oldest: oldest.map(|time| time.0),
    };
    let topic = |TopicStat { topic, queues, records, bytes }: TopicStat| TopicView { topic, queues, records, bytes };
    let checkpoint =
        |CheckpointStat { at, bytes, problem }: CheckpointStat| CheckpointView { position: at.0, bytes, problem };
    let segments: Vec<SegmentView> = stat.segments.into_iter().map(segment).collect();
    StatView {
        directory: dir.display().to_string(),
        in_use: stat.is_in_use,
        segment_bytes: stat.segment_bytes,
        log_first: stat.log_first.0,
        log_end: stat.log_end.0,
        oldest: segments.iter().find_map(|segment| segment.oldest),
        newest: stat.newest.map(|time| time.0),
        segments,
        topics: stat.topics.into_iter().map(topic).collect(),
        queue_count,
        biggest_queues: biggest(stat.queues, queues_max),
        index_runs: stat.index_runs,
        index_bytes: stat.index_bytes,
        checkpoints: stat.checkpoints.into_iter().map(checkpoint).collect(),
        replay: ReplayView {
            from: stat.replay_from.0,
            bytes: stat.log_end.0.saturating_sub(stat.replay_from.0),
            records: stat.replay_records,
        },
    }
}

/// The biggest queues: by bytes where they are known, else by records.
fn biggest(queues: Vec<QueueStat>, max: usize) -> Vec<QueueView> {
    let view = |queue: QueueStat| QueueView {
        records: queue.next.0.saturating_sub(queue.min.0),
        topic: queue.topic,
        queue: queue.queue.0,
        first_offset: queue.min.0,
        end_offset: queue.next.0,
        bytes: queue.bytes,
    };
    let mut views: Vec<QueueView> = queues.into_iter().map(view).collect();
    views.sort_by_key(|view| Reverse((view.bytes, view.records)));
    views.truncate(max);
    views
}

fn to_text(view: &StatView) -> String {
    let at = |ms: Option<i64>| ms.map_or_else(|| "-".to_owned(), |ms| time::text(types::Timestamp(ms)));
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), size);
    let summary = facts([
        ("directory", view.directory.clone()),
        ("in use", yes(view.in_use)),
        ("log", format!("{} to {}", view.log_first, view.log_end)),
        ("stored", format!("{} to {}", at(view.oldest), at(view.newest))),
        ("segments", format!("{} of {}", view.segments.len(), size(view.segment_bytes))),
        ("queues", view.queue_count.to_string()),
        ("index", format!("{} in {} runs", size(view.index_bytes), view.index_runs)),
        (
            "next start reads",
            format!("{} from {} on, {} records", size(view.replay.bytes), view.replay.from, view.replay.records),
        ),
    ]);
    let topics = view
        .topics
        .iter()
        .map(|topic| [topic.topic.clone(), topic.queues.to_string(), topic.records.to_string(), bytes(topic.bytes)]);
    let queues = view.biggest_queues.iter().map(|queue| {
        let offsets = [queue.first_offset, queue.end_offset, queue.records].map(|number| number.to_string());
        let [first, end, records] = offsets;
        [queue.topic.clone(), queue.queue.to_string(), first, end, records, bytes(queue.bytes)]
    });
    let checkpoints = view.checkpoints.iter().map(|checkpoint| {
        let state = checkpoint.problem.clone().unwrap_or_else(|| "usable".to_owned());
        [checkpoint.position.to_string(), size(checkpoint.bytes), state]
    });
    [
        summary,
        table(["TOPIC", "QUEUES", "RECORDS", "SIZE"], topics),
        table(["BIGGEST QUEUES", "QUEUE", "FIRST", "END", "RECORDS", "SIZE"], queues),
        table(["CHECKPOINT", "SIZE", "STATE"], checkpoints),
    ]
    .join("\n\n")
}
