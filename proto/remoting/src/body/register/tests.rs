use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::*;
use crate::body::Permission;

const VERSION_JSON: &str = r#"{"counter":3,"stateVersion":0,"timestamp":1700000000000}"#;

fn compressed(topics: &[&str], mappings: &[&str]) -> Vec<u8> {
    let mut out = ZlibEncoder::new(Vec::new(), Compression::default());
    let mut put = |bytes: &[u8]| out.write_all(bytes).expect("to memory");
    let text = |text: &str| [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat();
    let count = |texts: &[&str]| (texts.len() as u32).to_be_bytes();
    put(&text(VERSION_JSON));
    put(&count(topics));
    topics.iter().for_each(|topic| put(&text(topic)));
    put(&text("[]"));
    put(&count(mappings));
    mappings.iter().for_each(|mapping| put(&text(mapping)));
    out.finish().expect("to memory")
}

#[test]
fn both_forms_say_the_same() {
    // As Apache 5.3.3 writes it: sorted, with a bare key in the mapping.
    let json = format!(
        r#"{{"filterServerList":[],"topicConfigSerializeWrapper":{{"dataVersion":{VERSION_JSON},"mappingDataVersion":{{}},
        "topicConfigTable":{{"T":{{"attributes":{{"message.type":"FIFO"}},"order":false,"perm":6,"readQueueNums":8,
        "topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":4}}}},
        "topicQueueMappingDetailMap":{{}},"topicQueueMappingInfoMap":{{"T":{{"bname":"b","currIdMap":{{0:1}},"topic":"T"}}}}}}}}"#
    );
    let plain = RegisterBroker::decode(json.as_bytes(), 513).expect("JSON");
    let body = compressed(
        &[r#"T 8 4 6 SINGLE_TAG {"message.type":"FIFO"}"#],
        &[r#"{"bname":"b","currIdMap":{0:1},"topic":"T"}"#],
    );
    assert_eq!(RegisterBroker::decode(&body, 513).expect("compressed"), plain);
    assert_eq!(plain.version, DataVersion { counter: 3, state_version: 0, timestamp: 1_700_000_000_000 });
    let topic = &plain.topics["T"];
    assert_eq!((topic.read_queue_nums, topic.write_queue_nums, topic.perm), (8, 4, Permission::READ_WRITE));
    assert_eq!(plain.mappings["T"]["currIdMap"]["0"], 1);
}

#[test]
fn brokers_before_5_tell_no_mappings() {
    let body = compressed(&["T 8 4 6 SINGLE_TAG "], &["no mapping"]);
    assert!(RegisterBroker::decode(&body, 399).expect("not looked at").mappings.is_empty());
    assert!(RegisterBroker::decode(&body, 513).is_err());
}

#[test]
fn what_cannot_be_read_is_refused() {
    let whole = compressed(&["T 8 4 6 SINGLE_TAG "], &[]);
    for cut in 1..whole.len() - 6 {
        assert!(RegisterBroker::decode(&whole[..cut], 513).is_err(), "cut at {cut}");
    }
    assert!(matches!(RegisterBroker::decode(&compressed(&["T x"], &[]), 513), Err(Error::Topic(_))));
    let mut huge = ZlibEncoder::new(Vec::new(), Compression::default());
    huge.write_all(&u32::MAX.to_be_bytes()).expect("to memory");
    let huge = huge.finish().expect("to memory");
    assert!(matches!(RegisterBroker::decode(&huge, 513), Err(Error::Part { bytes: u32::MAX })));
    assert_eq!(RegisterBroker::decode(&[], 513).expect("nothing"), RegisterBroker::default());
}

#[test]
fn what_a_broker_tells_is_what_a_name_server_reads() {
    let topic = TopicConfig { topic_name: "T".to_owned(), read_queue_nums: 3, ..TopicConfig::default() };
    let version = DataVersion { counter: 2, state_version: 0, timestamp: 9 };
    let mappings = BTreeMap::from([("T".to_owned(), serde_json::json!({"bname": "b", "topic": "T"}))]);
    let told = RegisterBroker { version, topics: BTreeMap::from([("T".to_owned(), topic)]), mappings };
    assert_eq!(RegisterBroker::decode(&told.clone().encode(), 513).expect("read"), told);
    assert_eq!(RegisterBroker::decode(&told.encode_compressed(), 513).expect("read"), told);
}
