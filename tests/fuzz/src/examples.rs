//! Valid inputs of every decoder, made by the encoders: what a small broker leaves on its disk, and texts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use broker::idempotency::Settings;
use broker::timer::Bounds;
use broker::{LocalBroker, Options};
use bytes::Bytes;
use env::disk::OpenMode;
use env::sim::World;
use grpc::v2;
use prost::Message as _;
use record::Peek;
use types::broker::{LeaseOwner, Pop};
use types::properties::names;
use types::{Broker, Filter, GroupName, Message, QueueId, TopicName};

const DIR: &str = "/data";
const SEGMENT_BYTES: u64 = 64 * 1024;
/// How long idempotency keys are known.
const KEY_WINDOW: Duration = Duration::from_secs(10);
const JOURNAL_TOPIC: &str = broker::journal::JOURNAL_TOPIC;

/// Valid inputs of a target.
///
/// # Panics
/// When the broker that makes them does not work, or there is no such target.
#[must_use]
pub fn examples(target: &str) -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match target {
        "record" => records().into_iter().map(|(_, record)| record).collect(),
        "properties" => texts(&["TAGS\u{1}a\u{2}KEYS\u{1}k1 k2\u{2}", "a\u{1}b"]),
        "checkpoint" => files("checkpoints").into_iter().flat_map(|file| [file[20..].to_vec(), file]).collect(),
        "state" => files("checkpoints").iter().filter_map(|file| store::fuzz::state_of(file)).collect(),
        "index_run" => files("queueindex"),
        "timer_run" => files(store::TIMERS_NAME),
        "replication" => files("commitlog").iter().map(|log| broker::fuzz::said_of(log)).collect(),
        "journal" => {
            let of_journal = records().into_iter().filter(|(topic, _)| topic == JOURNAL_TOPIC);
            of_journal.map(|(_, record)| record::decode(&record).expect("own record").body.to_vec()).collect()
        }
        "snapshot" => snapshots(),
        "pop_snapshot" => snapshots().iter().filter_map(|snapshot| broker::fuzz::snapshot(snapshot)).collect(),
        "receipt_handle" => texts(&["100 1767323045000 60000 3 0 broker-a 2 105 8589934592", "1 2 3 999 1 b 4 5"]),
        "recall_handle" => texts(&["djEgRGVsYXlUb3BpYyBicm9rZXItYSAxNzY3MzIzMDQ1MDAwIDAxQUFCQg=="]),
        "filter" => texts(&[
            "TagA || TagB",
            "a > 5 AND (b IN ('x', 'y') OR NOT (c IS NULL)) -- end",
            "a BETWEEN 1 AND 2.5E3 OR b CONTAINS 'it''s' /* x */ AND TRUE <> FALSE",
        ]),
        "send_request" => vec![request().encode_to_vec()],
        "remoting_frame" => frames(),
        "register_broker" => vec![REGISTRATION.to_vec(), COMPRESSED_REGISTRATION.to_vec()],
        "send_batch" => vec![BATCH.repeat(2)],
        "proxy_header" => {
            let version_2 =
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x9c\x40\x2a\x9f".to_vec();
            let mut examples = texts(&["PROXY TCP4 192.0.2.7 198.51.100.1 40000 10911\r\n", "PROXY UNKNOWN\r\n"]);
            examples.push(version_2);
            examples
        }
        "client_body" => texts(&[HEARTBEAT, LOCKS, GROUP]),
        _ => panic!("there is no target {target}"),
    }
}

fn snapshots() -> Vec<Vec<u8>> {
    let files = files("checkpoints");
    files.iter().filter_map(|file| store::fuzz::checkpoint(file).map(<[u8]>::to_vec)).collect()
}

/// The log's records with their topics.
fn records() -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::new();
    for segment in files("commitlog") {
        let mut rest = &segment[..];
        while let Ok(Peek::Record { bytes }) = record::peek(rest) {
            let (record, behind) = rest.split_at(bytes as usize);
            records.push((record::decode(record).expect("own record").topic.to_owned(), record.to_vec()));
            rest = behind;
        }
    }
    records
}

/// The files of a directory of a broker that was used a little and stopped.
fn files(sub: &'static str) -> Vec<Vec<u8>> {
    env::sim::run(1, |world: World| async move {
        use_a_broker(&world).await;
        let dir = Path::new(DIR).join(sub);
        let names = world.disk().names(&dir);
        names.iter().map(|name| read(&world, &dir.join(name))).collect()
    })
}

fn read(world: &World, path: &Path) -> Vec<u8> {
    let file = world.env().disk.open(path, OpenMode::Read).expect("it is listed");
    let mut bytes = vec![0; usize::try_from(file.len().expect("it is there")).expect("it is short")];
    file.read_at(&mut bytes, 0).expect("no fault is due");
    bytes
}

async fn use_a_broker(world: &World) {
    // So that delayed messages go to a file.
    let timers = Bounds { young_max: 2, ..Bounds::default() };
    let local = Options::local(PathBuf::from(DIR));
    let idempotency = Settings { window: KEY_WINDOW, ..Settings::default() };
    let options = Options { segment_bytes: SEGMENT_BYTES, default_queues: 2, timers, idempotency, ..local };
    let broker = LocalBroker::start(world.env(), options).expect("starts");
    let due = (world.clock().true_now().0 + 600_000).to_string();
    for (topic, name, value) in [
        ("normal", names::TAGS, "TagA"),
        ("fifo", names::MESSAGE_GROUP, "group"),
        ("delay", names::TIMER_DELIVER_MS, &*due),
        ("transaction", names::TRANSACTION_PREPARED, "true"),
    ] {
        for id in 0..4 {
            let mut message = Message::new(TopicName::new(topic).expect("valid"), Bytes::from_static(b"body"));
            message.properties.set_own(names::UNIQUE_KEY, &format!("ID-{id}"));
            message.properties.set_own(names::IDEMPOTENCY_KEY, &format!("key-{id}"));
            message.properties.set_own(name, value);
            broker.send(QueueId(0), vec![message]).await.remove(0).expect("taken");
        }
        receive(&broker, topic).await;
        if topic == "normal" {
            // So that keys are forgotten, too.
            world.env().clock.sleep(KEY_WINDOW * 2).await;
        }
    }
    assert_eq!(broker.status().keys_known, 3 * 4, "those of the other topics");
    broker.stop().await;
}

/// Takes two messages and finishes one of them.
async fn receive(broker: &LocalBroker, topic: &str) {
    let lease =
        LeaseOwner { group: GroupName::new("group").expect("valid"), topic: TopicName::new(topic).expect("valid") };
    let request = Pop {
        group: lease.group.clone(),
        client: "client".into(),
        topic: lease.topic.clone(),
        queue: None,
        messages_max: 2,
        invisible: Duration::from_secs(30),
        auto_renew: true,
        filter: Arc::new(Filter::All),
        wait: Duration::ZERO,
        attempt_id: Some("attempt".into()),
    };
    let mut popped = broker.pop(request).await.expect("served").messages;
    if let Some(message) = popped.pop() {
        broker.ack(lease, vec![message.handle]).await.remove(0).expect("finished");
    }
}

/// A registration as Apache 5.3.3 writes it, shortened.
const REGISTRATION: &[u8] = br#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":3,"stateVersion":0,
    "timestamp":1700000000000},"topicConfigTable":{"T":{"attributes":{},"order":false,"perm":6,"readQueueNums":8,"topicFilterType":
    "SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":8}},"topicQueueMappingInfoMap":{"T":{"currIdMap":{0:1}}}}}"#;

/// The same with the version `{}`, the topic `T 8 8 6 SINGLE_TAG ` and no mapping, as a zlib stream.
const COMPRESSED_REGISTRATION: &[u8] =
    b"\x78\x9c\x63\x60\x60\x60\xaa\xae\x65\x60\x60\x60\x04\x62\xe1\x10\x05\x0b\x20\x34\x53\x08\xf6\xf4\x73\xf7\x71\x8d\x0f\x71\x74\x57\x00\x0a\x33\x45\xc7\x02\x49\x06\x00\x85\x32\x06\x60";

/// A message of a batch as Apache's client writes it.
const BATCH: &[u8] = b"\0\0\0\x30\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02hi\0\x18k\x01v\x02WAIT\x01true\x02TAGS\x01TagA\x02";
const HEARTBEAT: &str = r#"{"clientID":"ip@1#2","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":
    "CONSUME_PASSIVELY","groupName":"g","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[2598919],
    "expressionType":"TAG","subString":"TagA","subVersion":1,"tagsSet":["TagA"],"topic":"T"}],"unitMode":false}],"producerDataSet":[{"groupName":"P"}]}"#;
const LOCKS: &str = r#"{"consumerGroup":"g","clientId":"c","onlyThisBroker":false,"mqSet":[{"topic":"T","brokerName":"b","queueId":1}]}"#;
const GROUP: &str = r#"{"groupName":"g","groupRetryPolicy":{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1,2,3]}},"retryMaxTimes":16}"#;

/// A request in both serialisations.
fn frames() -> Vec<Vec<u8>> {
    let header = br#"{"code":105,"extFields":{"topic":"T","n":1},"flag":0,"language":"JAVA","opaque":7,"remark":"r","version":513}"#;
    let lengths = [(header.len() as u32 + 8).to_be_bytes(), (header.len() as u32).to_be_bytes()].concat();
    let json = [&lengths, &header[..], b"body"].concat();
    let binary = b"\0\0\0\x25\x01\0\0\x21\0\x69\0\x02\x01\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\x0c\0\x05topic\0\0\0\x01T";
    vec![json, binary.to_vec()]
}

fn request() -> v2::SendMessageRequest {
    let time = Some(prost_types::Timestamp { seconds: 1_767_225_600, nanos: 0 });
    let message = |system: v2::SystemProperties| v2::Message {
        topic: Some(v2::Resource { resource_namespace: String::new(), name: "orders".to_owned() }),
        user_properties: [("colour".to_owned(), "red".to_owned())].into(),
        system_properties: Some(v2::SystemProperties {
            message_id: "01AABBCCDDEEFF04D205C5D0A500000007".to_owned(),
            tag: Some("tag".to_owned()),
            keys: vec!["k1".to_owned(), "k2".to_owned()],
            born_timestamp: time,
            born_host: "host".to_owned(),
            ..system
        }),
        body: Bytes::from_static(b"hello"),
    };
    let of_group = v2::SystemProperties { message_group: Some("g".to_owned()), ..v2::SystemProperties::default() };
    let delayed = v2::SystemProperties { delivery_timestamp: time, ..v2::SystemProperties::default() };
    v2::SendMessageRequest { messages: vec![message(of_group), message(delayed)] }
}
