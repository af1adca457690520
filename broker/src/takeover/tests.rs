//! Files as Apache 5.5.0 writes them, shortened, on a simulated disk. Whole directories: `gantry/tests/takeover.rs`.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use env::disk::OpenMode;
use env::sim::SimDisk;
use types::properties::names;
use types::{GroupName, Message, QueueId, QueueOffset, RetryPolicy, SysFlag, Timestamp, TopicName, TopicType};

use super::*;
use crate::timer::WHEEL_TOPIC;
use crate::transaction::{HALF_TOPIC, OP_TOPIC};

const DIR: &str = "/apache";

/// A directory with these files.
fn disk(files: &[(&str, &[u8])]) -> Arc<dyn Disk> {
    let disk = Arc::new(SimDisk::new(1));
    for (name, content) in files {
        let path = Path::new(DIR).join(name);
        disk.create_dir_all(path.parent().expect("below the directory")).expect("made");
        let file = disk.open(&path, OpenMode::Create).expect("created");
        file.write_all_at(&[IoSlice::new(content)], 0).expect("written");
    }
    disk
}

fn form(files: &[&str]) -> Form {
    let files: Vec<(&str, &[u8])> = files.iter().map(|name| (*name, b"x".as_slice())).collect();
    Form::find(&*disk(&files), Path::new(DIR)).expect("looked at")
}

fn config(files: &[(&str, &[u8])]) -> (Config, Vec<Refusal>) {
    let mut refusals = Vec::new();
    let config = Config::read(&*disk(files), Path::new(DIR), &mut refusals).expect("read");
    (config, refusals)
}

const SEGMENT: &str = "commitlog/00000000000000000000";

#[test]
fn names_say_whose_directory_it_is() {
    assert_eq!(form(&["notes.txt"]).kind, Kind::Neither);
    assert_eq!(form(&["format", SEGMENT]).kind, Kind::Ours);
    assert_eq!(form(&["queueindex/00000000000000000000", SEGMENT]).kind, Kind::Ours);
    let config = "config/topics.json";
    assert_eq!(form(&["queueindex/00000000000000000000", SEGMENT, config]).kind, Kind::Apache);
    assert_eq!(form(&["checkpoints/00000000000000000500", SEGMENT, config]).kind, Kind::Ours);
    assert_eq!(form(&[SEGMENT]), Form { kind: Kind::Apache, refusals: Vec::new() });
    assert_eq!(form(&["config/topics.json", SEGMENT, "rocksdbstore/CURRENT"]).refusals, []);
}

#[test]
fn modes_that_cannot_be_taken_over_are_named() {
    let refusals = |file: &str| form(&["config/topics.json", SEGMENT, file]).refusals;
    assert_eq!(refusals("consumequeue/CURRENT"), [Refusal::RocksDbQueues]);
    assert_eq!(refusals("config/rdb/CURRENT"), [Refusal::RocksDbConfig { dir: "config/rdb".to_owned() }]);
    assert_eq!(refusals("kvStore/CURRENT"), [Refusal::RocksDbPops]);
    assert_eq!(refusals("rocksdbstore/000011.sst"), [Refusal::RocksDbMessages]);
    assert_eq!(refusals("rocksdbstore/000004.log"), [Refusal::RocksDbMessages]);
    assert_eq!(refusals("dledger-n0/x"), [Refusal::DLedger { dir: "dledger-n0".to_owned() }]);
    assert_eq!(form(&["config/topics.json"]).refusals, [Refusal::NoLog]);
}

#[test]
fn a_directory_of_ours_may_have_one_file_where_apaches_are() {
    assert_eq!(form(&["config/messageRequestMode.json", "queueindex/0", SEGMENT]).kind, Kind::Ours);
}

#[test]
fn a_gap_between_segments_is_named() {
    let segments = [0, 100, 300].map(|at: u64| format!("commitlog/{at:020}"));
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    assert_eq!(form(&names).refusals, [Refusal::Gap { after: 100 }]);
}

#[test]
fn a_directory_in_use_is_refused() {
    let disk = disk(&[(SEGMENT, b"x")]);
    let _lock = disk.lock(&Path::new(DIR).join("lock")).expect("free");
    assert_eq!(Form::find(&*disk, Path::new(DIR)).expect("looked at").refusals, [Refusal::InUse]);
}

const TOPICS: &[u8] = br#"{"dataVersion":{"counter":8},"topicConfigTable":{
    "orders":{"attributes":{"message.type":"FIFO"},"order":false,"perm":4,"readQueueNums":3,"topicName":"orders","writeQueueNums":2},
    "any":{"attributes":{},"perm":6,"readQueueNums":1,"topicName":"any","writeQueueNums":1},
    "TBW102":{"attributes":{},"perm":7,"readQueueNums":8,"writeQueueNums":8},
    "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC":{"attributes":{},"perm":6,"readQueueNums":1,"writeQueueNums":1},
    "DefaultCluster_REPLY_TOPIC":{"attributes":{},"perm":6,"readQueueNums":1,"writeQueueNums":1},
    "my_REPLY_TOPIC":{"attributes":{},"perm":6,"readQueueNums":1,"writeQueueNums":1},
    "DefaultCluster":{"attributes":{},"perm":7,"readQueueNums":16,"writeQueueNums":16}}}"#;

#[test]
fn topics_keep_their_settings_and_the_brokers_own_are_left_out() {
    let (config, refusals) = config(&[("config/topics.json", TOPICS)]);
    assert_eq!(refusals, []);
    let names: Vec<&str> = config.topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, ["any", "my_REPLY_TOPIC", "orders"]);
    assert_eq!(config.topics[0].topic_type, TopicType::Mixed);
    let orders = &config.topics[2];
    assert_eq!((orders.read_queues, orders.write_queues), (3, 2));
    assert_eq!((orders.is_readable, orders.is_writable), (true, false));
    assert_eq!(orders.topic_type, TopicType::Only(types::MessageType::Fifo));
}

#[test]
fn topics_of_other_kinds_are_refused() {
    let file = br#"{"topicConfigTable":{"b":{"attributes":{"queue.type":"BatchCQ"}},
        "c":{"attributes":{"cleanup.policy":"COMPACTION"}},"d":{"readQueueNums":2000}}}"#;
    let mapping = br#"{"topicQueueMappingInfoMap":{"s":{"bname":"a","hostedQueues":{0:[]}}}}"#;
    let (_, refusals) = config(&[("config/topics.json", file), ("config/topicQueueMapping.json", mapping)]);
    let too_many = "it has 2000 queues, limit is 1024".to_owned();
    let expected = [
        Refusal::BatchQueues { topic: "b".to_owned() },
        Refusal::Compaction { topic: "c".to_owned() },
        Refusal::Setting { what: "topic", name: "d".to_owned(), problem: too_many },
        Refusal::StaticTopic { topic: "s".to_owned() },
    ];
    assert_eq!(refusals, expected);
}

#[test]
fn groups_keep_their_settings() {
    let file = br#"{"subscriptionGroupTable":{
        "g":{"consumeEnable":false,"consumeMessageOrderly":true,"consumeTimeoutMinute":3,"groupName":"g",
            "groupRetryPolicy":{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1000,5000,10000]}},"retryMaxTimes":5},
        "h":{"groupName":"h","groupRetryPolicy":{"type":"CUSTOMIZED"},"retryMaxTimes":16},
        "TOOLS_CONSUMER":{"groupName":"TOOLS_CONSUMER"},"CID_ONS-HTTP-PROXY":{"groupName":"CID_ONS-HTTP-PROXY"},
        "CID_RMQ_SYS_TRANS":{"groupName":"CID_RMQ_SYS_TRANS"}}}"#;
    let (config, refusals) = config(&[("config/subscriptionGroup.json", file)]);
    assert_eq!(refusals, []);
    let [g, h] = config.groups.as_slice() else { panic!("{:?}", config.groups) };
    assert_eq!((g.is_enabled, g.is_fifo, g.attempts_max), (false, true, 6));
    assert_eq!(g.consume_timeout, Duration::from_secs(180));
    assert_eq!(g.retry, RetryPolicy::Customized { next: vec![Duration::from_secs(10)] });
    assert_eq!(*h, types::GroupConfig::new(GroupName::new("h").expect("valid")));
}

const OFFSETS: &[u8] = br#"{"offsetTable":{"t@g":{0:5,1:-1},"RMQ_SYS_TRANS_HALF_TOPIC@CID_RMQ_SYS_TRANS":{0:6}}}"#;

#[test]
fn offsets_are_read_from_the_copy_when_the_file_is_bad() {
    for bad in [&b"{\"offsetTable\":{\"t@g\":{0:"[..], b""] {
        let (config, refusals) =
            config(&[("config/consumerOffset.json", bad), ("config/consumerOffset.json.bak", OFFSETS)]);
        assert_eq!(refusals, []);
        let offsets: Vec<_> = config.offsets.iter().map(|commit| (commit.queue.0, commit.offset.0)).collect();
        assert_eq!(offsets, [(0, 5), (1, 0)]);
        assert_eq!(config.progress.system.values().collect::<Vec<_>>(), [&6]);
    }
}

#[test]
fn a_bad_file_without_a_copy_is_refused() {
    let (_, refusals) = config(&[("config/topics.json", b"{")]);
    assert!(
        matches!(&refusals[..], [Refusal::Unreadable { file, .. }] if file == "config/topics.json"),
        "{refusals:?}"
    );
}

/// A log in memory.
#[derive(Default)]
struct Records(Vec<Bytes>);

impl Records {
    /// Appends a record; returns where it is.
    fn put(&mut self, topic: &str, offset: u64, pairs: &[(&'static str, &str)], body: &str) -> PhysicalOffset {
        self.put_flagged(topic, offset, pairs, body, SysFlag(0), 0)
    }

    fn put_flagged(
        &mut self,
        topic: &str,
        offset: u64,
        pairs: &[(&'static str, &str)],
        body: &str,
        sys_flag: SysFlag,
        source: u64,
    ) -> PhysicalOffset {
        let mut message = Message::new(TopicName::new(topic).expect("valid"), Bytes::copy_from_slice(body.as_bytes()));
        for (name, value) in pairs {
            message.properties.set_own(name, value);
        }
        (message.sys_flag, message.source_offset) = (sys_flag, source);
        let at = PhysicalOffset(self.0.iter().map(|bytes| bytes.len() as u64).sum());
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let encoded = record::encode(&message, QueueId(0), host).expect("fits");
        self.0.push(encoded.place(QueueOffset(offset), at, Timestamp(1)));
        at
    }

    fn pending(&self, progress: &Progress) -> Pending {
        let mut gathering = Gathering::new(progress);
        for bytes in &self.0 {
            gathering.record(&record::decode(bytes).expect("own record"));
        }
        gathering.pending()
    }
}

const LEVELS: &str = "SCHEDULE_TOPIC_XXXX";

#[test]
fn a_level_waits_until_its_copy_or_the_brokers_note() {
    let mut log = Records::default();
    let pairs = |key| [(names::REAL_TOPIC, "t"), (names::UNIQUE_KEY, key), (names::DELAY_LEVEL, "1")];
    for (offset, key) in ["a", "b", "c"].into_iter().enumerate() {
        log.put(LEVELS, offset as u64, &pairs(key), "x");
    }
    assert_eq!(log.pending(&Progress::default()).level_timers, 3);
    let noted = Progress { levels: [(1, 1)].into(), ..Progress::default() };
    assert_eq!(log.pending(&noted).level_timers, 2);
    log.put("t", 0, &pairs("a"), "x");
    log.put("t", 1, &pairs("b"), "x");
    assert_eq!(log.pending(&noted).level_timers, 1);
    assert_eq!(log.pending(&Progress::default()).level_timers, 1);
    // The same message fails again and waits anew.
    log.put(LEVELS, 3, &pairs("a"), "x");
    assert_eq!(log.pending(&noted).level_timers, 2);
}

#[test]
fn a_timer_waits_until_its_copy_its_recall_or_its_slot() {
    let mut log = Records::default();
    let pairs = |key, due| [(names::REAL_TOPIC, "t"), (names::UNIQUE_KEY, key), (names::TIMER_OUT_MS, due)];
    for (offset, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
        log.put(WHEEL_TOPIC, offset as u64, &pairs(key, if key == "d" { "9000" } else { "5000" }), "x");
    }
    log.put("t", 0, &[(names::UNIQUE_KEY, "a"), (names::TIMER_OUT_MS, "5000"), ("TIMER_DEQUEUE_MS", "5001")], "x");
    let recall = [(names::TIMER_OUT_MS, "9000"), ("TIMER_DEL_UNIQKEY", "t+d"), (names::REAL_TOPIC, "t")];
    log.put(WHEEL_TOPIC, 4, &recall, "0");
    assert_eq!(log.pending(&Progress::default()).timers, 2);
    let noted = Progress { wheel_read_to: Timestamp(6000), wheel_offset: 2, ..Progress::default() };
    assert_eq!(log.pending(&noted).timers, 1);
}

#[test]
fn names_of_half_messages_go_with_them() {
    let mut log = Records::default();
    for offset in 0..300 {
        let (key, before) =
            (format!("id{}", offset / 3), (offset % 3 > 0).then_some((names::TRANSACTION_CHECK_TIMES, "1")));
        let properties: Vec<_> =
            [(names::REAL_TOPIC, "t"), (names::UNIQUE_KEY, &key)].into_iter().chain(before).collect();
        log.put(HALF_TOPIC, offset, &properties, "half");
        if offset % 3 == 2 && offset < 290 {
            log.put(OP_TOPIC, offset, &[(names::TAGS, "d")], &format!("{offset},"));
        }
    }
    let progress = Progress::default();
    let mut gathering = pending::Gathering::new(&progress);
    log.0.iter().for_each(|bytes| gathering.record(&record::decode(bytes).expect("own record")));
    assert_eq!((log.pending(&progress).halves, gathering.half_names()), (4, 4));
}

#[test]
fn a_half_waits_until_its_op_or_its_copy() {
    let mut log = Records::default();
    let positions: Vec<PhysicalOffset> =
        (0..5).map(|offset| log.put(HALF_TOPIC, offset, &[(names::REAL_TOPIC, "t")], "half")).collect();
    log.put(OP_TOPIC, 0, &[(names::TAGS, "d")], "1,2,");
    log.put_flagged("t", 0, &[], "x", SysFlag::TRANSACTION_COMMIT, positions[3].0);
    assert_eq!(log.pending(&Progress::default()).halves, 2);
    let group = ("CID_RMQ_SYS_TRANS".to_owned(), HALF_TOPIC.to_owned(), 0);
    let noted = Progress { system: [(group, 1)].into(), ..Progress::default() };
    assert_eq!(log.pending(&noted).halves, 1);
}

#[test]
fn a_half_that_was_checked_counts_once() {
    let mut log = Records::default();
    let pairs = [(names::REAL_TOPIC, "t"), (names::UNIQUE_KEY, "a"), (names::TRANSACTION_CHECK_TIMES, "1")];
    log.put(HALF_TOPIC, 0, &pairs[..2], "half");
    log.put(HALF_TOPIC, 1, &pairs[..2], "the same sent twice");
    assert_eq!(log.pending(&Progress::default()).halves, 2);
    log.put(HALF_TOPIC, 2, &pairs, "half");
    log.put(HALF_TOPIC, 3, &pairs, "half");
    assert_eq!(log.pending(&Progress::default()).halves, 2);
}

#[test]
fn a_pop_is_open_until_acked_or_revived() {
    const REVIVE: &str = "rmq_sys_REVIVE_LOG_DefaultCluster";
    let checkpoint = r#"{"c":"g","t":"t","q":0,"so":7,"pt":50,"n":3,"d":[0,1,4],"it":60000,"bm":0}"#;
    let ack = r#"{"ao":11,"c":"g","t":"t","q":0,"so":7,"pt":50}"#;
    let acks = r#"{"aol":[7,8],"c":"g","t":"t","q":0,"so":7,"pt":50}"#;
    let mut log = Records::default();
    log.put(WHEEL_TOPIC, 0, &[(names::REAL_TOPIC, REVIVE), (names::TAGS, "ck")], checkpoint);
    log.put(WHEEL_TOPIC, 1, &[(names::REAL_TOPIC, REVIVE), (names::TAGS, "ack")], ack);
    log.put(REVIVE, 0, &[(names::TAGS, "ck")], checkpoint);
    assert_eq!(log.pending(&Progress::default()), Pending { unacked_pops: 2, ..Pending::default() });
    let group = ("CID_RMQ_SYS_REVIVE_GROUP".to_owned(), REVIVE.to_owned(), 0);
    let revived = Progress { system: [(group, 1)].into(), ..Progress::default() };
    assert_eq!(log.pending(&revived), Pending::default());
    log.put(WHEEL_TOPIC, 2, &[(names::REAL_TOPIC, REVIVE), (names::TAGS, "bAck")], acks);
    assert_eq!(log.pending(&Progress::default()), Pending::default());
}
