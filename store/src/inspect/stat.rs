//! How much of what there is in a directory.

use std::collections::BTreeMap;

use record::{RECORD_BYTES_MIN, Record};
use types::{PhysicalOffset, QueueId, QueueOffset, Timestamp};

use super::checkpoints::{Saved, Unfit, of_next_start};
use super::directory::Directory;
use super::follow::Follower;
use super::{Steps, Watcher};
use crate::files;
use crate::queue_index::names::Names;
use crate::recovery::Visitor;

/// Bytes read of a segment's first record: its header is longer than the shortest record by two IPv6 hosts.
const HEADER_BYTES: usize = RECORD_BYTES_MIN + 24;

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Whether a server had it in use.
    pub is_in_use: bool,
    /// Length of a segment.
    pub segment_bytes: u64,
    /// By position.
    pub segments: Vec<SegmentStat>,
    /// First position of the log.
    pub log_first: PhysicalOffset,
    /// Behind the last record.
    pub log_end: PhysicalOffset,
    /// Store time of the newest record.
    pub newest: Option<Timestamp>,
    /// In the order of their first records.
    pub queues: Vec<QueueStat>,
    /// By name.
    pub topics: Vec<TopicStat>,
    /// Index runs.
    pub index_runs: u64,
    /// Their length.
    pub index_bytes: u64,
    /// By position.
    pub checkpoints: Vec<CheckpointStat>,
    /// Where the next start begins to replay.
    pub replay_from: PhysicalOffset,
    /// Records that it reads from there.
    pub replay_records: u64,
}

/// A segment of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentStat {
    /// Its first position.
    pub base: PhysicalOffset,
    /// Its length.
    pub bytes: u64,
    /// Store time of its first record.
    pub oldest: Option<Timestamp>,
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStat {
    /// Its topic.
    pub topic: String,
    /// Its number there.
    pub queue: QueueId,
    /// Its first record's offset.
    pub min: QueueOffset,
    /// The next record's offset.
    pub next: QueueOffset,
    /// Length of its records, where all were read.
    pub bytes: Option<u64>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicStat {
    /// Its name.
    pub topic: String,
    /// Queues that ever had a record.
    pub queues: u64,
    /// Records.
    pub records: u64,
    /// Their length, where all were read.
    pub bytes: Option<u64>,
}

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointStat {
    /// Its position.
    pub at: PhysicalOffset,
    /// Its length.
    pub bytes: u64,
    /// Why a start does not use it.
    pub problem: Option<String>,
}

impl Directory {
    /// Counts. Without `is_full` it reads what the next start would read, with it every record.
    ///
    /// # Errors
    /// [`files::Error`] when the system refuses to show a file.
    pub fn stat(&self, is_full: bool, watcher: &mut Watcher<'_>) -> Result<Stat, files::Error> {
        let found = self.checkpoints()?;
        let start = of_next_start(&found);
        let begins = start.and_then(|start| self.begins(start));
        let mut counts = Counts::new(start, begins.as_deref());
        let from = start.map_or_else(|| self.log_start(), |saved| saved.end);
        let end = self.find_end(from, &mut counts)?.end;
        let replay_records = counts.records;
        if is_full {
            let steps = Steps::begin(watcher, "counting records", end.at.0 - self.first());
            let mut all = Full { counts: &mut counts, steps, first: self.first() };
            self.follow(self.log_start(), end.at.0, &mut all)?;
            all.steps.finish();
        }
        let queues = counts.queues(is_full);
        let checkpoints = found.iter().map(|found| CheckpointStat {
            at: PhysicalOffset(found.at),
            bytes: found.file_bytes,
            problem: found.state.as_ref().err().map(|unfit| match unfit {
                Unfit::Damaged(problem) => problem.clone(),
                Unfit::NotCovered => "the log does not hold the records before it".to_owned(),
            }),
        });
        let (index_runs, index_bytes) = self.count_runs()?;
        Ok(Stat {
            is_in_use: self.is_in_use,
            segment_bytes: self.segment_bytes(),
            segments: self.count_segments()?,
            log_first: PhysicalOffset(self.first()),
            log_end: end.at,
            newest: end.last.map(|_| end.last_stored_at),
            topics: topics_of(&queues),
            queues,
            index_runs,
            index_bytes,
            checkpoints: checkpoints.collect(),
            replay_from: from.at,
            replay_records,
        })
    }

    fn count_segments(&self) -> Result<Vec<SegmentStat>, files::Error> {
        let mut segments = Vec::new();
        for base in self.segments.bases()? {
            let path = self.segments.path(base);
            let file = self.segments.reading(base).map_err(files::Error::at("open", &path))?;
            let bytes = file.len().map_err(files::Error::at("measure", &path))?;
            let mut head = [0; HEADER_BYTES];
            let read = file.read_at(&mut head, 0).map_err(files::Error::at("read", &path))?;
            let header = record::header(&head[..read]).ok().filter(|header| header.physical_offset.0 == base);
            segments.push(SegmentStat {
                base: PhysicalOffset(base),
                bytes,
                oldest: header.map(|header| header.stored_at),
            });
        }
        Ok(segments)
    }

    fn count_runs(&self) -> Result<(u64, u64), files::Error> {
        let (mut runs, mut bytes) = (0, 0);
        for run in files::positions(&*self.disk, &self.layout.queue_index)? {
            let path = self.run_path(run);
            match self.disk.open(&path, env::disk::OpenMode::Read).and_then(|file| file.len()) {
                Ok(length) => (runs, bytes) = (runs + 1, bytes + length),
                // A running server took it away.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(files::Error::at("measure", &path)(error)),
            }
        }
        Ok((runs, bytes))
    }
}

/// What is counted of each queue.
#[derive(Default)]
struct Count {
    min: u64,
    next: u64,
    bytes: u64,
}

struct Counts {
    names: Names,
    queues: Vec<Count>,
    records: u64,
}

impl Counts {
    /// Those of a checkpoint; `begins` says where its queues begin now.
    fn new(start: Option<&Saved>, begins: Option<&[u64]>) -> Self {
        let mut counts = Self { names: Names::default(), queues: Vec::new(), records: 0 };
        for (number, saved) in start.iter().flat_map(|start| &start.queues).enumerate() {
            let count = counts.of(&saved.topic, saved.queue);
            let begin = begins.and_then(|begins| begins.get(number)).copied();
            (count.min, count.next) = (begin.unwrap_or(saved.min), saved.next);
        }
        counts
    }

    fn of(&mut self, topic: &str, queue: QueueId) -> &mut Count {
        let index = self.names.intern(topic, queue).index();
        if index == self.queues.len() {
            self.queues.push(Count::default());
        }
        &mut self.queues[index]
    }

    fn queues(&self, is_full: bool) -> Vec<QueueStat> {
        let named = self.names.iter().zip(&self.queues);
        let stat = |((topic, queue), count): ((&str, QueueId), &Count)| QueueStat {
            topic: topic.to_owned(),
            queue,
            min: QueueOffset(count.min),
            next: QueueOffset(count.next),
            bytes: is_full.then_some(count.bytes),
        };
        named.map(stat).collect()
    }
}

/// Counts what a start replays.
impl Visitor for Counts {
    fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        self.records += 1;
        let offset = record.header.queue_offset.0;
        let count = self.of(record.topic, record.header.queue);
        if count.next == count.min {
            count.min = offset;
        }
        count.next = offset.saturating_add(1);
        Ok(())
    }
}

/// Counts bytes.
struct Full<'a, 'b, 'w> {
    counts: &'a mut Counts,
    steps: Steps<'b, 'w>,
    first: u64,
}

impl Visitor for Full<'_, '_, '_> {
    fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        self.counts.of(record.topic, record.header.queue).bytes += u64::from(record.header.record_bytes);
        self.steps.reach(record.header.physical_offset.0 - self.first);
        Ok(())
    }
}

impl Follower for Full<'_, '_, '_> {
    fn damage(&mut self, _: u64, _: Option<PhysicalOffset>, _: &str) {}

    fn is_done(&self) -> bool {
        false
    }
}

fn topics_of(queues: &[QueueStat]) -> Vec<TopicStat> {
    let mut topics: BTreeMap<&str, TopicStat> = BTreeMap::new();
    for queue in queues {
        let new = || TopicStat { topic: queue.topic.clone(), queues: 0, records: 0, bytes: queue.bytes.map(|_| 0) };
        let topic = topics.entry(&queue.topic).or_insert_with(new);
        topic.queues += 1;
        topic.records += queue.next.0.saturating_sub(queue.min.0);
        topic.bytes = topic.bytes.zip(queue.bytes).map(|(sum, bytes)| sum + bytes);
    }
    topics.into_values().collect()
}
