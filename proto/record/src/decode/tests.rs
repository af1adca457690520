use bytes::Bytes;
use proptest::prelude::*;
use types::{Message, Properties, TopicName};

use super::*;
use crate::{EncodeError, Encoded, blank, encode, encode_first, key_hash};

/// Written by Apache's 5.3.3 store: topic T, queue 1, body hello, tag TagA, key k1.
const APACHE: &str = "
    00 00 00 85 da a3 20 a7 36 10 a6 86 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 01 8b cf e5 68 00 0a 00 00 01 00 00 9c 41 00 00 01 a2 01 3f 30 2d
    0a 00 00 02 00 00 2a 9f 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 05 68 65 6c 6c 6f 01 54 00
    24 4b 45 59 53 01 6b 31 02 55 4e 49 51 5f 4b 45 59 01 30 41 30 30 30 30 30 31 02 54 41 47 53 01
    54 61 67 41 02";
/// What Apache's `enabledAppendPropCRC` adds to it.
const APACHE_CRC_TAIL: &str = "5f 5f 43 52 43 33 32 23 01 36 36 37 36 36 37 30 30 37 30 02";
const STORED_AT: Timestamp = Timestamp(0x01a2_013f_302d);

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn message(topic: &str, body: &'static [u8], properties: &[(&str, &str)]) -> Message {
    let mut message = Message::new(TopicName::new(topic).expect("a name"), Bytes::from_static(body));
    message.born_at = Timestamp(1_700_000_000_000);
    message.born_host = address("10.0.0.1:40001");
    for (name, value) in properties {
        message.properties.set(name, value).expect("a property");
    }
    message
}

fn apaches_message() -> Message {
    message("T", b"hello", &[("KEYS", "k1"), ("UNIQ_KEY", "0A000001"), ("TAGS", "TagA")])
}

fn placed(encoded: Encoded) -> Bytes {
    encoded.place(QueueOffset(7), PhysicalOffset(0x1_0000_0001), Timestamp(99))
}

#[test]
fn encodes_what_apache_encodes() {
    let encoded = encode(&apaches_message(), QueueId(1), address("10.0.0.2:10911")).expect("encodes");
    assert_eq!(encoded.total_bytes(), 133);
    let hashes = encoded.marks()[0].hashes.clone();
    assert_eq!((hashes.tag, hashes.group), (2_598_919, None));
    assert_eq!(hashes.keys.as_slice(), [key_hash("T", "k1"), key_hash("T", "0A000001")]);
    assert_eq!(encoded.place(QueueOffset(0), PhysicalOffset(0), STORED_AT), hex(APACHE));
}

#[test]
fn records_of_a_queue_lie_together_and_are_placed_one_by_one() {
    let (message, host) = (apaches_message(), address("10.0.0.2:10911"));
    let mut records = encode_first(&message, QueueId(1), host, 300).expect("encodes");
    for _ in 0..3 {
        records.push(&message).expect("encodes");
    }
    let too_much = self::message("T", b"", &[("a", &"x".repeat(40_000))]);
    assert!(records.push(&too_much).is_err());
    assert_eq!((records.count(), records.total_bytes(), records.topic()), (4, 4 * 133, "T"));
    // A segment may end between two of them.
    let first = records.take_placed(1, QueueOffset(0), PhysicalOffset(0), STORED_AT);
    assert_eq!(first, hex(APACHE));
    let rest = records.take_placed(3, QueueOffset(1), PhysicalOffset(1000), STORED_AT);
    for (number, record) in (0..).zip(rest.chunks(133)) {
        let header = header(record).expect("a record");
        assert_eq!(header.queue_offset, QueueOffset(1 + number));
        assert_eq!(header.physical_offset, PhysicalOffset(1000 + number * 133));
        assert_eq!(header.stored_at, STORED_AT);
    }
    assert_eq!(records.total_bytes(), 0);
}

#[test]
fn decodes_what_apache_wrote() {
    let bytes = hex(APACHE);
    let record = decode(&bytes).expect("decodes");
    record.check().expect("whole");
    assert_eq!((record.topic, record.body), ("T", &b"hello"[..]));
    assert_eq!(record.property("TAGS"), Some("TagA"));
    assert_eq!(record.property("KEYS"), Some("k1"));
    assert_eq!(record.hashes().tag, 2_598_919);
    assert_eq!(record.header.stored_at, STORED_AT);
    assert_eq!(record.header.born_host, address("10.0.0.1:40001"));
    assert_eq!(record.header.store_host, address("10.0.0.2:10911"));
    assert_eq!(header(&bytes), Ok(record.header));
    assert_eq!(peek(&bytes), Ok(Peek::Record { bytes: 133 }));
}

#[test]
fn a_crc_tail_is_a_property() {
    let mut bytes = hex(APACHE);
    bytes.extend(hex(APACHE_CRC_TAIL));
    bytes[3] = 153;
    bytes[0x60] = 0x38;
    let record = decode(&bytes).expect("decodes");
    assert_eq!(record.property("__CRC32#"), Some("6676670070"));
    assert_eq!(record.property("TAGS"), Some("TagA"));
}

#[test]
fn crc_has_31_bits() {
    let encoded = encode(&message("T", b"x", &[]), QueueId(0), address("1.1.1.1:1")).expect("encodes");
    let bytes = placed(encoded);
    assert_eq!(bytes[8..12], [0x0c, 0xdc, 0x16, 0x83]);
    decode(&bytes).expect("decodes").check().expect("whole");
}

#[test]
fn blanks_and_zeros_are_told_apart() {
    assert_eq!(blank(206)[..], hex("00 00 00 ce cb d4 31 94"));
    assert_eq!(peek(&blank(206)), Ok(Peek::Blank { bytes: 206 }));
    assert_eq!(peek(&[0; 8]), Ok(Peek::Nothing));
    assert_eq!(peek(&[0; 7]), Err(Error::Short { needed: 8, available: 7 }));
    assert_eq!(decode(&[0; 200]), Err(Error::Magic { found: 0 }));
    assert_eq!(decode(&blank(206)), Err(Error::Magic { found: 0xCBD4_3194 }));
}

#[test]
fn hosts_may_be_ipv6() {
    for (born, store) in [("[::1]:5", "1.2.3.4:6"), ("1.2.3.4:5", "[fe80::1]:6"), ("[::1]:5", "[fe80::1]:6")] {
        let mut message = apaches_message();
        message.born_host = address(born);
        message.sys_flag = SysFlag(0x31);
        let bytes = placed(encode(&message, QueueId(1), address(store)).expect("encodes"));
        let record = decode(&bytes).expect("decodes");
        assert_eq!(record.header.born_host, address(born));
        assert_eq!(record.header.store_host, address(store));
        assert_eq!(record.header.stored_at, Timestamp(99));
        assert!(record.header.sys_flag.has(SysFlag::COMPRESSED));
    }
}

#[test]
fn long_topics_make_version_2() {
    for (bytes, version) in [(127, Version::V1), (128, Version::V2), (255, Version::V2)] {
        let topic = format!("%RETRY%{}", "g".repeat(bytes - 7));
        let bytes = placed(encode(&message(&topic, b"x", &[]), QueueId(0), address("1.1.1.1:1")).expect("encodes"));
        let record = decode(&bytes).expect("decodes");
        assert_eq!((record.topic, record.header.version), (topic.as_str(), version));
    }
}

#[test]
fn what_cannot_be_stored_is_refused() {
    let host = address("1.1.1.1:1");
    let mut large = message("T", b"", &[]);
    large.body = Bytes::from(vec![0; 4 * 1024 * 1024 + 1]);
    let refused = encode(&large, QueueId(0), host).expect_err("too large");
    assert_eq!(refused, EncodeError::BodyTooLarge { bytes: 4_194_305, bytes_max: 4_194_304 });
    let properties = message("T", b"", &[("k", &"v".repeat(32765))]);
    let refused = encode(&properties, QueueId(0), host).expect_err("too large");
    assert_eq!(refused, EncodeError::PropertiesTooLarge { bytes: 32768, bytes_max: 32767 });
    let refused = encode(&message("T", b"", &[("k", "a\0b")]), QueueId(0), host).expect_err("a zero");
    assert_eq!(refused, EncodeError::PropertiesZeroByte { position: 3 });
    let mut prepared = message("T", b"", &[]);
    prepared.sys_flag = SysFlag(0x4);
    assert_eq!(encode(&prepared, QueueId(0), host).expect_err("a mark"), EncodeError::TransactionPart { flag: 4 });
}

#[test]
fn a_lost_piece_is_noticed() {
    let message = message("topic", b"0123456789", &[("key", "value"), ("other", "more of it")]);
    let whole = placed(encode(&message, QueueId(1), address("1.1.1.1:1")).expect("encodes"));
    // Everything from any byte behind the length and magic to the end was never written.
    for cut in 8..whole.len() {
        let mut torn = whole.to_vec();
        torn[cut..].fill(0);
        let is_whole = decode(&torn).is_ok_and(|record| record.check().is_ok());
        assert!(!is_whole, "cut at {cut}");
    }
}

#[test]
fn every_short_record_is_an_error() {
    let bytes = hex(APACHE);
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
    }
}

fn any_host() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

proptest! {
    #[test]
    fn decoding_gives_what_was_encoded(
        topic in "[a-zA-Z0-9_%|-]{1,127}",
        body in proptest::collection::vec(any::<u8>(), 0..300),
        pairs in proptest::collection::vec(("[a-zA-Z_]{1,20}", "[^\u{0}-\u{2}]{1,30}"), 0..8),
        hosts in (any_host(), any_host()),
        (queue, flag, reconsume, source) in any::<(u32, u32, u32, u64)>(),
        (offset, position, stored, born) in any::<(u64, u64, i64, i64)>(),
    ) {
        let mut properties = Properties::new();
        for (name, value) in &pairs {
            properties.set(name, value).expect("a property");
        }
        let message = Message {
            body: Bytes::from(body),
            properties,
            flag,
            born_at: Timestamp(born),
            born_host: hosts.0,
            reconsume_times: reconsume,
            source_offset: source,
            ..Message::new(TopicName::new(&topic).expect("a name"), Bytes::new())
        };
        let encoded = encode(&message, QueueId(queue), hosts.1).expect("encodes");
        let hashes = encoded.marks()[0].hashes.clone();
        let bytes = encoded.place(QueueOffset(offset), PhysicalOffset(position), Timestamp(stored));
        let record = decode(&bytes).expect("decodes");
        record.check().expect("whole");
        prop_assert_eq!(record.topic, topic.as_str());
        prop_assert_eq!(record.body, &message.body[..]);
        prop_assert_eq!(record.properties, message.properties.as_text());
        prop_assert_eq!(record.hashes(), hashes);
        prop_assert_eq!(record.header.record_bytes as usize, bytes.len());
        prop_assert_eq!(record.header.queue, QueueId(queue));
        prop_assert_eq!(record.header.flag, flag);
        prop_assert_eq!(record.header.queue_offset, QueueOffset(offset));
        prop_assert_eq!(record.header.physical_offset, PhysicalOffset(position));
        prop_assert_eq!(record.header.stored_at, Timestamp(stored));
        prop_assert_eq!(record.header.born_at, Timestamp(born));
        prop_assert_eq!((record.header.born_host, record.header.store_host), hosts);
        prop_assert_eq!((record.header.reconsume_times, record.header.source_offset), (reconsume, source));
    }

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = (peek(&bytes), header(&bytes), decode(&bytes).map(|record| record.check().is_ok()));
    }

    #[test]
    fn no_damaged_record_panics(
        changes in proptest::collection::vec((0usize..133, any::<u8>()), 1..6),
        behind in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = hex(APACHE);
        bytes.extend(behind);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        if let Ok(record) = decode(&bytes) {
            let _ = (record.check().is_ok(), record.hashes(), record.property("TAGS").is_some());
        }
    }
}
