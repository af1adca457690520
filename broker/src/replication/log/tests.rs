use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

use env::sim::{self, Operation, World};
use types::{Message, QueueId, QueueOffset, Timestamp, TopicName};

use super::*;

const DIR: &str = "/mirror";
const SEGMENT_BYTES: u64 = 4096;
/// A record of this body fits three times in a segment.
const BODY_BYTES: usize = 1000;

/// A record as a master has it there.
fn record_at(at: u64, offset: u64) -> Bytes {
    let message = Message::new(TopicName::new("t").expect("valid"), vec![b'x'; BODY_BYTES].into());
    let encoded = record::encode(&message, QueueId(0), SocketAddr::from((Ipv4Addr::LOCALHOST, 1))).expect("fits");
    encoded.place(QueueOffset(offset), PhysicalOffset(at), Timestamp(1))
}

fn open_of(world: &World, segment_bytes: u64) -> Result<Log, Error> {
    Log::open(world.env().disk, Path::new(DIR), segment_bytes, PhysicalOffset(0), Flush::Sync)
}

fn open(world: &World) -> Log {
    open_of(world, SEGMENT_BYTES).expect("opens")
}

fn segment(world: &World, base: u64) -> Vec<u8> {
    let path = Path::new(DIR).join(COMMIT_LOG_NAME).join(name_of(base));
    let file = world.env().disk.open(&path, OpenMode::Read).expect("is there");
    let mut bytes = vec![0; file.len().expect("a length") as usize];
    assert_eq!(file.read_at(&mut bytes, 0).expect("read"), bytes.len());
    bytes
}

#[test]
fn records_and_blanks_are_where_the_master_has_them() {
    sim::run(1, async |world: World| {
        let mut log = open(&world);
        let record_bytes = record_at(0, 0).len() as u64;
        let places = [0, record_bytes, 2 * record_bytes, SEGMENT_BYTES];
        let records: Vec<_> = (0..).zip(places).map(|(offset, at)| record_at(at, offset)).collect();
        log.append(&records[..3].concat()).expect("whole");
        let end = log.append(&records[3]).expect("whole");
        assert_eq!(end, PhysicalOffset(SEGMENT_BYTES + record_bytes));
        let mut first = records[..3].concat();
        first.extend_from_slice(&record::blank((SEGMENT_BYTES - 3 * record_bytes) as u32));
        first.resize(SEGMENT_BYTES as usize, 0);
        assert_eq!(segment(&world, 0), first);
        drop(log);
        let mut log = open(&world);
        assert_eq!(log.end(), LogEnd { last: Some(PhysicalOffset(SEGMENT_BYTES)), at: end });
        assert_eq!(log.last_record().expect("read"), records[3]);
    });
}

/// Where a death has left a part of a record, or a segment without any, the log ends before.
#[test]
fn what_is_not_whole_is_cut_off() {
    sim::run(1, async |world: World| {
        let record_bytes = record_at(0, 0).len() as u64;
        let mut log = open(&world);
        let end = log.append(&record_at(0, 0)).expect("whole");
        log.write(record_bytes, &record_at(record_bytes, 1)[..BODY_BYTES]).expect("written");
        log.write(SEGMENT_BYTES, &[]).expect("made");
        drop(log);
        let mut log = open(&world);
        assert_eq!(log.end(), LogEnd { last: Some(PhysicalOffset(0)), at: end });
        let rest = &segment(&world, 0)[record_bytes as usize..];
        assert!(rest.iter().all(|byte| *byte == 0), "nothing is left of it");
        log.append(&record_at(record_bytes, 1)).expect("goes on");
    });
}

#[test]
fn damaged_records_are_not_added() {
    sim::run(1, async |world: World| {
        let mut log = open(&world);
        let end = log.append(&record_at(0, 0)).expect("whole");
        let mut damaged = record_at(end.0, 1).to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        assert!(matches!(log.append(&damaged), Err(Error::Damaged { .. })));
        let elsewhere = [record_at(end.0, 1), record_at(end.0, 1)].concat();
        assert!(matches!(log.append(&elsewhere), Err(Error::Damaged { .. })), "it says that it is where the first is");
        assert_eq!(log.append(&record_at(end.0, 1)).expect("whole").0, 2 * end.0);
    });
}

#[test]
fn the_front_goes_and_the_last_segment_stays() {
    sim::run(1, async |world: World| {
        let mut log = open(&world);
        for base in 0..3 {
            log.append(&record_at(base * SEGMENT_BYTES, base)).expect("whole");
        }
        let there = |world: &World| world.disk().list(&Path::new(DIR).join(COMMIT_LOG_NAME)).expect("listed");
        log.expire(PhysicalOffset(2 * SEGMENT_BYTES - 1)).expect("removed");
        assert_eq!(there(&world), [name_of(SEGMENT_BYTES), name_of(2 * SEGMENT_BYTES)]);
        log.expire(PhysicalOffset(9 * SEGMENT_BYTES)).expect("removed");
        assert_eq!(there(&world), [name_of(2 * SEGMENT_BYTES)]);
    });
}

#[test]
fn files_of_another_length_stay_as_they_are() {
    sim::run(1, async |world: World| {
        open(&world).append(&record_at(0, 0)).expect("whole");
        let other = open_of(&world, 2 * SEGMENT_BYTES).map(|_| ());
        assert!(matches!(other, Err(Error::Segments { ours: SEGMENT_BYTES, .. })), "{other:?}");
        assert_eq!(segment(&world, 0).len() as u64, SEGMENT_BYTES);
    });
}

/// What the disk has after a failed sync is not known.
#[test]
fn nothing_is_added_after_a_failure() {
    sim::run(1, async |world: World| {
        let mut log = open(&world);
        let end = log.append(&record_at(0, 0)).expect("whole");
        world.disk().fail(Operation::Sync, 0, ErrorKind::Other);
        assert!(matches!(log.append(&record_at(end.0, 1)), Err(Error::File(_))));
        assert!(matches!(log.append(&record_at(end.0, 1)), Err(Error::Failed)));
    });
}
