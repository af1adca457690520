use std::io::IoSlice;
use std::ops::Range;
use std::path::{Path, PathBuf};

use env::disk::OpenMode;
use env::sim::SimDisk;
use env::{Disk, File};
use proptest::prelude::*;
use record::{BLANK_BYTES, encode};
use types::{Message, QueueId, QueueOffset, Timestamp, TopicName};

use super::waiting::WAITING_MAX;
use super::*;
use crate::files::name_of;
use crate::options::Flush;
use crate::signal::Signal;

/// Some reads ahead fit in a segment.
const SEGMENT_BYTES: u64 = 640 * 1024;

/// Where a record's body begins when both hosts are IPv4.
const BODY_AT: usize = 88;

/// A log on a disk and a reader of it. Records are written when they are appended.
struct Log {
    disk: SimDisk,
    records: Vec<(u64, Bytes)>,
    appended: usize,
    marks: Marks,
    segments: Arc<Segments>,
    reader: Reader,
    signal: Arc<Signal>,
}

impl Log {
    /// Opens a log of which nothing is appended yet, and begins to serve reads.
    fn open(disk: SimDisk, records: Vec<(u64, Bytes)>) -> Self {
        disk.create_dir_all(dir()).expect("makes");
        let segments = Segments::new(Arc::new(disk.clone()), dir().to_owned(), SEGMENT_BYTES, 0);
        let (marks, segments) = (Marks::new(PhysicalOffset(0), Flush::Async), Arc::new(segments));
        // Nothing is hot.
        let (reader, pool) = Reader::new(Arc::new(HotTail::new(0)), marks.clone(), Arc::clone(&segments));
        let signal = Arc::new(Signal::new());
        for _ in 0..THREADS {
            tokio::spawn(Arc::clone(&pool).run(Arc::clone(&signal)));
        }
        Self { disk, records, appended: 0, marks, segments, reader, signal }
    }

    fn append(&mut self, count: usize) {
        let to = self.records.len().min(self.appended + count);
        for (at, bytes) in &self.records[self.appended..to] {
            self.write(*at, bytes);
        }
        self.appended = to;
        let end = self.records[..to].last().map_or(0, |(at, bytes)| at + bytes.len() as u64);
        self.marks.set_appended(PhysicalOffset(end));
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        let base = self.segments.base_of(at);
        let mode = if self.disk.names(dir()).contains(&name_of(base)) { OpenMode::ReadWrite } else { OpenMode::Create };
        let file: Arc<dyn File> = self.disk.open(&path(base), mode).expect("opens");
        file.write_all_at(&[IoSlice::new(bytes)], at - base).expect("writes");
    }

    /// Flips a bit of a record's body: the checksum covers nothing else.
    fn damage(&self, record: usize) {
        let (at, bytes) = &self.records[record];
        let mut bytes = bytes.to_vec();
        bytes[BODY_AT] ^= 1;
        self.write(*at, &bytes);
    }

    async fn read(&self, wanted: Range<usize>) -> Vec<Result<Bytes, ReadError>> {
        let places = self.records[wanted].iter().map(|(at, bytes)| (PhysicalOffset(*at), bytes.len() as u32));
        self.reader.read_all(places).await
    }

    async fn expect(&self, wanted: Range<usize>) {
        let expected: Vec<_> = self.records[wanted.clone()].iter().map(|(_, bytes)| Ok(bytes.clone())).collect();
        assert_eq!(self.read(wanted).await, expected);
    }
}

fn dir() -> &'static Path {
    Path::new("/log")
}

fn path(base: u64) -> PathBuf {
    dir().join(name_of(base))
}

/// Records with bodies of these lengths, one behind the other as in segments.
fn records(bodies: impl IntoIterator<Item = usize>, fill: u8) -> Vec<(u64, Bytes)> {
    let host = "127.0.0.1:8081".parse().expect("an address");
    let mut end = 0;
    let place = |(n, body): (usize, usize)| {
        let message = Message::new(TopicName::new("t").expect("a name"), Bytes::from(vec![fill; body]));
        let record = encode(&message, QueueId(0), host).expect("encodes");
        let left = SEGMENT_BYTES - end % SEGMENT_BYTES;
        if record.total_bytes() + BLANK_BYTES as u64 > left {
            end += left;
        }
        let at = end;
        end += record.total_bytes();
        (at, record.place(QueueOffset(n as u64), PhysicalOffset(at), Timestamp(1)))
    };
    bodies.into_iter().enumerate().map(place).collect()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(test)
}

/// A log of many records of 1 KiB.
fn full_log() -> Log {
    let mut log = Log::open(SimDisk::new(1), records(std::iter::repeat_n(1024, 1000), 7));
    log.append(1000);
    log
}

#[test]
fn who_goes_on_finds_the_next_records_in_memory() {
    run(async {
        let log = full_log();
        log.expect(0..32).await;
        assert_eq!(log.reader.ahead.blocks(), 0, "the first read is as it was asked for");
        log.expect(32..64).await;
        log.disk.make_unreadable(&path(0)).expect("exists");
        // The first 256 KiB.
        log.expect(64..220).await;
        assert!(log.read(220..500).await.iter().any(Result::is_err));
    });
}

/// Reads until the blocks behind are asked for; no thread had its turn with them yet.
async fn go_on(log: &Log) {
    for from in [0, 32, 64] {
        log.expect(from..from + 32).await;
    }
    assert_eq!(log.reader.ahead.blocks(), 1);
}

#[test]
fn what_comes_next_is_read_meanwhile() {
    run(async {
        let log = full_log();
        go_on(&log).await;
        // Those of the first segment, and of the next one what is whole.
        while log.reader.ahead.blocks() < 4 {
            tokio::task::yield_now().await;
        }
        log.disk.make_unreadable(&path(0)).expect("exists");
        log.disk.make_unreadable(&path(SEGMENT_BYTES)).expect("exists");
        let of_next_segment = log.records.iter().position(|(at, _)| *at >= SEGMENT_BYTES).expect("two segments");
        for n in 96..of_next_segment + 200 {
            log.expect(n..n + 1).await;
        }
    });
}

#[test]
fn who_comes_too_early_waits_for_it() {
    run(async {
        let log = full_log();
        let (offset, bytes) = (PhysicalOffset(log.records[300].0), Some(log.records[300].1.len() as u32));
        let place = Place { offset, bytes };
        go_on(&log).await;
        assert!(log.reader.ahead.kept().record(place).is_none());
        assert!(log.reader.ahead.awaited(place).await);
        assert!(log.reader.ahead.kept().record(place).is_some());
        assert!(!log.reader.ahead.awaited(place).await);
    });
}

#[test]
fn nothing_is_awaited_for_ever() {
    run(async {
        let log = full_log();
        let place = Place { offset: PhysicalOffset(log.records[300].0), bytes: Some(1) };
        go_on(&log).await;
        log.signal.abandon();
        assert!(log.reader.ahead.awaited(place).await);
        assert_eq!(log.reader.ahead.blocks(), 1);
    });
}

#[test]
fn who_jumps_around_pays_for_what_is_asked_for() {
    run(async {
        let log = full_log();
        for from in [500, 20, 540, 0, 900, 470, 60, 440] {
            log.expect(from..from + 8).await;
        }
        assert_eq!(log.reader.ahead.blocks(), 0);
    });
}

#[test]
fn who_reads_one_record_at_a_time_goes_on_too() {
    run(async {
        let log = full_log();
        log.expect(10..11).await;
        log.expect(11..12).await;
        log.disk.make_unreadable(&path(0)).expect("exists");
        for n in 12..200 {
            log.expect(n..n + 1).await;
        }
    });
}

#[test]
fn what_has_expired_is_refused_though_it_is_in_memory() {
    run(async {
        let log = full_log();
        for from in [0, 10, 20] {
            log.expect(from..from + 10).await;
        }
        log.segments.expire_before(SEGMENT_BYTES);
        let read = log.read(20..30).await;
        assert!(read.iter().all(|record| matches!(record, Err(ReadError::Expired { .. }))), "{read:?}");
    });
}

#[test]
fn memory_is_bounded_however_many_go_on() {
    run(async {
        let mut log = Log::open(SimDisk::new(1), records(std::iter::repeat_n(1024, 20_000), 7));
        log.append(20_000);
        for step in 0..3 {
            for reader in 0..20 {
                let from = reader * 1000 + step * 300;
                log.expect(from..from + 5).await;
                log.expect(from + 5..from + 10).await;
            }
        }
        // A thread may have taken the memory of some.
        assert!((24..=32).contains(&log.reader.ahead.blocks()));
    });
}

#[test]
fn requests_are_bounded_and_those_that_wait_at_the_end_are_told() {
    let waiting = Waiting::default();
    let request = || {
        let (answer, answered) = oneshot::channel();
        (Request::Records { places: Vec::new(), answer }, answered)
    };
    let mut answers = Vec::new();
    for _ in 0..WAITING_MAX {
        let (request, answered) = request();
        waiting.push(request).expect("room");
        answers.push(answered);
    }
    assert_eq!(waiting.push(request().0), Err(ReadError::Busy { waiting_max: WAITING_MAX }));
    waiting.close();
    assert!(answers.iter_mut().all(|answered| answered.try_recv() == Err(oneshot::error::TryRecvError::Closed)));
    assert_eq!(waiting.push(request().0), Err(ReadError::Closed));
}

/// What happens to a log and its readers.
#[derive(Clone, Debug)]
enum Step {
    /// Reads on where this reader has got to.
    Go {
        reader: usize,
        count: usize,
    },
    Jump {
        reader: usize,
        to: prop::sample::Index,
    },
    Append {
        count: usize,
    },
    Damage {
        record: prop::sample::Index,
    },
    /// The oldest segment goes, if another one follows.
    Expire,
    /// The log is cut off by a start, and goes on with other records of the same lengths.
    Cut {
        to: prop::sample::Index,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0usize..3, 1usize..48).prop_map(|(reader, count)| Step::Go { reader, count }),
        2 => (0usize..3, any::<prop::sample::Index>()).prop_map(|(reader, to)| Step::Jump { reader, to }),
        2 => (1usize..200).prop_map(|count| Step::Append { count }),
        1 => any::<prop::sample::Index>().prop_map(|record| Step::Damage { record }),
        1 => Just(Step::Expire),
        1 => any::<prop::sample::Index>().prop_map(|to| Step::Cut { to }),
    ]
}

fn body() -> impl Strategy<Value = usize> {
    prop_oneof![20 => 1usize..3000, 1 => 10_000usize..40_000]
}

async fn reads_what_the_log_holds(bodies: &[usize], steps: Vec<Step>) {
    let mut log = Log::open(SimDisk::new(1), records(bodies.iter().copied(), 7));
    log.append(bodies.len() / 2);
    let (mut readers, mut damaged) = ([0; 3], vec![false; bodies.len()]);
    for (step, fill) in steps.into_iter().zip(8..) {
        match step {
            Step::Go { reader, count } => {
                let wanted = readers[reader]..bodies.len().min(readers[reader] + count);
                readers[reader] = wanted.end;
                for (n, read) in wanted.clone().zip(log.read(wanted).await) {
                    let (at, bytes) = &log.records[n];
                    let is_right = match &read {
                        // Also of a damaged one that was read before.
                        Ok(read) => read == bytes && n < log.appended && *at >= log.segments.first(),
                        Err(ReadError::Damaged { .. }) => damaged[n],
                        Err(ReadError::OutOfLog { .. }) => n >= log.appended,
                        Err(ReadError::Expired { .. }) => *at < log.segments.first(),
                        Err(_) => false,
                    };
                    assert!(is_right, "record {n} at {at} of {}: {:?}", log.appended, read.map(|read| read.len()));
                }
            }
            Step::Jump { reader, to } => readers[reader] = to.index(bodies.len()),
            Step::Append { count } => log.append(count),
            Step::Damage { record } => {
                let record = record.index(log.appended);
                log.damage(record);
                damaged[record] = true;
            }
            Step::Expire => {
                let next = log.segments.first() + SEGMENT_BYTES;
                if log.marks.appended_to().0 >= next {
                    log.segments.expire_before(next);
                }
            }
            Step::Cut { to } => {
                let (to, first) = (1 + to.index(log.appended), log.segments.first());
                log.signal.abandon();
                let (mut all, others) = (log.records.clone(), records(bodies.iter().copied(), fill));
                all[to..].clone_from_slice(&others[to..]);
                // What was damaged is written anew.
                damaged.fill(false);
                log = Log::open(log.disk.clone(), all);
                log.append(to);
                log.segments.expire_before(first);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_read_is_right_or_refused(
        bodies in proptest::collection::vec(body(), 300..900),
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        run(reads_what_the_log_holds(&bodies, steps));
    }
}
