//! What the store's tests share: a machine that remembers everything, and small messages.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes};
use env::Env;
use env::disk::OpenMode;
use record::{Encoded, Record, encode};
use store::{Appended, Flush, Machine, Options, QueueEntry, RestoreError, Store};
use types::properties::names;
use types::{Message, PhysicalOffset, QueueId, QueueOffset, Timestamp, TopicName};

/// A record as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) topic: String,
    pub(crate) queue: QueueId,
    pub(crate) queue_offset: QueueOffset,
    pub(crate) physical_offset: PhysicalOffset,
    pub(crate) record_bytes: u32,
    pub(crate) body: Vec<u8>,
}

/// A machine whose state is the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) lines: Vec<Line>,
    /// Records that were applied and not restored.
    pub(crate) applied: usize,
}

impl Machine for Ledger {
    fn apply(&mut self, record: &Record<'_>) {
        self.applied += 1;
        self.lines.push(Line {
            topic: record.topic.to_owned(),
            queue: record.header.queue,
            queue_offset: record.header.queue_offset,
            physical_offset: record.header.physical_offset,
            record_bytes: record.header.record_bytes,
            body: record.body.to_owned(),
        });
    }

    fn snapshot(&self, out: &mut Vec<u8>) {
        for line in &self.lines {
            out.put_u8(line.topic.len() as u8);
            out.put_slice(line.topic.as_bytes());
            out.put_u32(line.queue.0);
            out.put_u64(line.queue_offset.0);
            out.put_u64(line.physical_offset.0);
            out.put_u32(line.record_bytes);
            out.put_u32(line.body.len() as u32);
            out.put_slice(&line.body);
        }
    }

    fn restore(&mut self, mut snapshot: &[u8]) -> Result<(), RestoreError> {
        self.reset();
        while snapshot.has_remaining() {
            let topic_bytes = usize::from(snapshot.get_u8());
            let topic = String::from_utf8(snapshot.copy_to_bytes(topic_bytes).to_vec())
                .map_err(|_| RestoreError::Malformed { part: "ledger", problem: "topic" })?;
            let (queue, queue_offset) = (QueueId(snapshot.get_u32()), QueueOffset(snapshot.get_u64()));
            let (physical_offset, record_bytes) = (PhysicalOffset(snapshot.get_u64()), snapshot.get_u32());
            let body_bytes = snapshot.get_u32() as usize;
            let body = snapshot.copy_to_bytes(body_bytes).to_vec();
            self.lines.push(Line { topic, queue, queue_offset, physical_offset, record_bytes, body });
        }
        Ok(())
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/data")
}

/// Tiny segments, so that a few records fill one.
pub(crate) fn options(flush: Flush) -> Options {
    Options { segment_bytes: 4096, flush, hot_bytes: 2048, checkpoint_bytes: 16 * 1024, ..Options::local(dir()) }
}

pub(crate) fn open(env: &Env, flush: Flush) -> (Store, Ledger) {
    let mut ledger = Ledger::default();
    let store = Store::open(env, &options(flush), &mut ledger).expect("opens");
    (store, ledger)
}

pub(crate) fn message(topic: &str, body: &[u8]) -> Message {
    let mut message = Message::new(TopicName::new(topic).expect("a name"), Bytes::copy_from_slice(body));
    message.properties.set_own(names::TAGS, "TagA");
    message.properties.set_own(names::MESSAGE_GROUP, "group");
    message.properties.set_own(names::KEYS, "key another");
    message
}

pub(crate) fn encoded(topic: &str, queue: u32, body: &[u8]) -> Encoded {
    let host = "127.0.0.1:8081".parse().expect("an address");
    encode(&message(topic, body), QueueId(queue), host).expect("encodes")
}

/// One round of the engine with one record.
pub(crate) async fn send(store: &mut Store, ledger: &mut Ledger, topic: &str, queue: u32, body: &[u8]) -> Appended {
    let record = encoded(topic, queue, body);
    store.ready(record.total_bytes()).await;
    let appended = store.append(record, Timestamp(1_000)).expect("appends");
    apply(store, ledger, appended.physical_offset());
    store.write().expect("writes");
    appended
}

pub(crate) fn apply(store: &Store, ledger: &mut Ledger, from: PhysicalOffset) {
    store.staged_from(from).for_each(|record| ledger.apply(&record));
}

pub(crate) fn entries(store: &mut Store, topic: &str, queue: u32, from: u64, max: usize) -> Vec<QueueEntry> {
    let mut out = Vec::new();
    store.entries(topic, QueueId(queue), QueueOffset(from), max, &mut out).expect("readable");
    out
}

/// Checks that the index says of every queue what the ledger says, and that every record can be read.
pub(crate) async fn check(store: &mut Store, ledger: &Ledger) {
    let visible_to = store.marks().visible_to();
    let queues: Vec<_> = store.queues().map(|(topic, queue, range)| (topic.to_owned(), queue, range)).collect();
    let mut total = 0;
    for (topic, queue, range) in queues {
        let is_of_queue = |line: &&Line| line.topic == topic && line.queue == queue;
        let lines: Vec<&Line> = ledger.lines.iter().filter(is_of_queue).collect();
        assert_eq!((range.min.0, range.next.0), (0, lines.len() as u64), "{topic} {queue}");
        total += lines.len();
        let visible = lines.iter().filter(|l| l.physical_offset.plus(u64::from(l.record_bytes)) <= visible_to).count();
        for from in [0, 1, lines.len() / 2, lines.len()] {
            let found = entries(store, &topic, queue.0, from as u64, usize::MAX);
            assert_eq!(found.len(), visible.saturating_sub(from), "{topic} {queue} from {from}");
            for (entry, line) in found.iter().zip(&lines[from..]) {
                assert_eq!((entry.queue_offset, entry.physical_offset), (line.queue_offset, line.physical_offset));
                assert_eq!((entry.record_bytes, entry.tag_hash), (line.record_bytes, 2_598_919));
                assert!(entry.group_hash.is_some());
            }
        }
    }
    assert_eq!(total, ledger.lines.len());
    let reader = store.reader();
    let places = ledger.lines.iter().map(|line| (line.physical_offset, line.record_bytes));
    let together = reader.read_all(places).await;
    for (line, together) in ledger.lines.iter().zip(together) {
        let record = reader.read(line.physical_offset, line.record_bytes).await.expect("readable");
        assert_eq!(record::decode(&record).expect("decodes").body, line.body);
        assert_eq!(reader.find(line.physical_offset).await.expect("readable"), record);
        assert_eq!(together, Ok(record));
    }
}

pub(crate) fn read_file(env: &Env, path: &Path) -> Vec<u8> {
    let file = env.disk.open(path, OpenMode::Read).expect("exists");
    let mut bytes = vec![0; file.len().expect("has a length") as usize];
    file.read_at(&mut bytes, 0).expect("reads");
    bytes
}

pub(crate) fn write_file(env: &Env, path: &Path, bytes: &[u8]) {
    env.disk.create_dir_all(path.parent().expect("has one")).expect("makes");
    let file = env.disk.open(path, OpenMode::Create).expect("creates");
    file.write_all_at(&[std::io::IoSlice::new(bytes)], 0).expect("writes");
    file.sync_data().expect("syncs");
    env.disk.sync_dir(path.parent().expect("has one")).expect("syncs");
}

/// The files of a folder of the store, without the log's reserve.
pub(crate) fn names(env: &Env, sub: &str) -> Vec<String> {
    let names = env.disk.list(&dir().join(sub)).expect("lists");
    names.into_iter().filter(|name| name != "reserve").collect()
}
