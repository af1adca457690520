//! A stored message as clients get it.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN};
use bytes::Bytes;
use grpc::v2;
use record::Record;
use types::properties::{keys, names};
use types::{MessageType, Timestamp, hex};

use crate::messaging::body;
use crate::validate::is_reserved;

/// What a delivery adds to the stored message.
#[derive(Debug)]
pub(crate) struct Delivered<'a> {
    /// The topic that the client asked for, whatever system topic the record stands in.
    pub(crate) topic: &'a str,
    /// What the client presents in its acknowledgement.
    pub(crate) receipt_handle: Option<String>,
    /// Which delivery this is, from 1.
    pub(crate) attempt: u32,
}

/// Maps a stored message, with the digest that gRPC clients check; its body is a slice of the record, not a copy, unless it is
/// compressed.
///
/// # Errors
/// A record that cannot be read.
pub(crate) fn delivered(stored: &Bytes, delivered: Delivered<'_>) -> Result<v2::Message, record::Error> {
    let mut message = undigested(stored, delivered)?;
    let digest = digest(&message.body);
    message.system_properties.get_or_insert_default().body_digest = Some(digest);
    Ok(message)
}

/// The same without the digest, for front doors that do not show it.
pub(crate) fn undigested(stored: &Bytes, delivered: Delivered<'_>) -> Result<v2::Message, record::Error> {
    let record = record::decode(stored)?;
    let mut properties = Sorted::of(&record);
    let (body, encoding) = body::plain(stored.slice_ref(record.body), record.header.sys_flag);
    let header = &record.header;
    let system = &mut properties.system;
    system.body_encoding = match encoding {
        body::Encoding::Identity => v2::Encoding::Identity.into(),
        body::Encoding::Compressed => v2::Encoding::Gzip.into(),
    };
    system.message_type = super::message_type(properties.message_type).into();
    system.born_timestamp = Some(super::protocol_time(header.born_at));
    if system.born_host.is_empty() {
        system.born_host = header.born_host.to_string();
    }
    system.store_timestamp = Some(super::protocol_time(header.stored_at));
    system.store_host = header.store_host.to_string();
    system.receipt_handle = delivered.receipt_handle;
    system.queue_id = i32::try_from(header.queue.0).unwrap_or(i32::MAX);
    system.queue_offset = Some(i64::try_from(header.queue_offset.0).unwrap_or(i64::MAX));
    system.delivery_attempt = Some(i32::try_from(delivered.attempt.max(1)).unwrap_or(i32::MAX));
    if system.message_id.is_empty() {
        system.message_id = record::offset_message_id(header.store_host, header.physical_offset);
    }
    Ok(v2::Message {
        topic: Some(super::resource(delivered.topic)),
        user_properties: properties.user,
        system_properties: Some(properties.system),
        body,
    })
}

/// A record's properties, sorted into what users see and what the system made of them.
struct Sorted {
    user: std::collections::BTreeMap<String, String>,
    system: v2::SystemProperties,
    message_type: MessageType,
}

impl Sorted {
    fn of(record: &Record<'_>) -> Self {
        let mut sorted = Self {
            user: std::collections::BTreeMap::new(),
            system: v2::SystemProperties::default(),
            message_type: MessageType::of_pairs(record.properties()),
        };
        let mut letter = v2::DeadLetterQueue::default();
        for (name, value) in record.properties() {
            sorted.take(name, value, record.header.stored_at, &mut letter);
        }
        if !letter.topic.is_empty() && !letter.message_id.is_empty() {
            sorted.system.dead_letter_queue = Some(letter);
        }
        sorted
    }

    fn take(&mut self, name: &str, value: &str, stored_at: Timestamp, letter: &mut v2::DeadLetterQueue) {
        let system = &mut self.system;
        let owned = || value.to_owned();
        match name {
            names::UNIQUE_KEY => system.message_id = owned(),
            // Of a message without an id of its sender's: what it was called before it was moved to a retry topic.
            names::ORIGIN_MESSAGE_ID if system.message_id.is_empty() => system.message_id = owned(),
            names::TAGS => system.tag = Some(owned()),
            names::KEYS => system.keys = keys(value).map(str::to_owned).collect(),
            names::BORN_HOST => system.born_host = owned(),
            names::MESSAGE_GROUP => system.message_group = Some(owned()),
            names::TRACE_CONTEXT => system.trace_context = Some(owned()),
            names::PRIORITY => system.priority = value.parse().ok(),
            names::LITE_TOPIC => system.lite_topic = Some(owned()),
            names::TIMER_DELIVER_MS => {
                system.delivery_timestamp = value.parse().ok().map(|ms| super::protocol_time(Timestamp(ms)));
            }
            // A 4.x producer's delay counts from when the message was stored.
            names::TIMER_DELAY_SECONDS => {
                let at = value.parse().ok().map(|s: u64| stored_at.plus(std::time::Duration::from_secs(s)));
                system.delivery_timestamp = at.map(super::protocol_time);
            }
            names::DLQ_ORIGIN_TOPIC => letter.topic = owned(),
            names::DLQ_ORIGIN_MESSAGE_ID => letter.message_id = owned(),
            _ if is_reserved(name) => {}
            _ => {
                self.user.insert(name.to_owned(), owned());
            }
        }
    }
}

/// SHA-1 in upper-case hexadecimal digits over the exact bytes sent. All clients compute it alike, which they do not with
/// CRC-32, and it takes a third of the time of the MD5 that Apache's proxy sends.
fn digest(body: &[u8]) -> v2::Digest {
    let mut checksum = String::with_capacity(2 * SHA1_OUTPUT_LEN);
    hex::push_upper(&mut checksum, aws_lc_rs::digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, body).as_ref());
    v2::Digest { r#type: v2::DigestType::Sha1.into(), checksum }
}

#[cfg(test)]
mod tests {
    use types::{Message, PhysicalOffset, QueueId, QueueOffset, SysFlag, TopicName};

    use super::*;
    use crate::convert::{Sender, Sent, stored};

    fn record_of(message: &Message) -> Bytes {
        let store_host = "10.0.0.2:8081".parse().expect("an address");
        let encoded = record::encode(message, QueueId(3), store_host).expect("small enough");
        encoded.place(QueueOffset(105), PhysicalOffset(133), Timestamp(9_001))
    }

    fn deliver(message: &Message) -> v2::Message {
        let handle = Some("handle".to_owned());
        let delivery = Delivered { topic: "orders", receipt_handle: handle, attempt: 0 };
        delivered(&record_of(message), delivery).expect("readable")
    }

    fn plain() -> Message {
        Message::new(TopicName::new("orders").expect("valid"), Bytes::from_static(b"hello"))
    }

    #[test]
    fn pitfall_27_the_digest_is_sha1_in_upper_case_over_the_bytes_sent() {
        let digest = digest(b"hello");
        assert_eq!(digest.r#type(), v2::DigestType::Sha1);
        assert_eq!(digest.checksum, "AAF4C61DDCC5E8A2DABEDE0F3B482CD9AEA9434D");
    }

    #[test]
    fn pitfall_29_everything_that_clients_need_is_set() {
        let message = deliver(&plain());
        let system = message.system_properties.expect("set");
        assert_eq!(message.topic.expect("set").name, "orders");
        assert_eq!(system.body_encoding(), v2::Encoding::Identity);
        assert!(system.born_timestamp.is_some());
        assert_eq!(system.store_timestamp, Some(prost_types::Timestamp { seconds: 9, nanos: 1_000_000 }));
        assert_eq!(system.store_host, "10.0.0.2:8081");
        assert_eq!(system.queue_offset, Some(105));
        assert_eq!(system.queue_id, 3);
        assert_eq!(system.message_id.len(), 32, "4.x messages are named by where they are");
    }

    #[test]
    fn a_message_without_an_id_keeps_its_first_one_in_the_retry_topic() {
        let mut copy = plain();
        copy.properties.set_own(names::ORIGIN_MESSAGE_ID, "first");
        assert_eq!(deliver(&copy).system_properties.expect("set").message_id, "first");
        copy.properties.set_own(names::UNIQUE_KEY, "sent");
        let message = deliver(&copy);
        assert_eq!(message.system_properties.expect("set").message_id, "sent");
        assert!(message.user_properties.is_empty());
    }

    #[test]
    fn pitfall_30_empty_optional_texts_are_absent() {
        let system = deliver(&plain()).system_properties.expect("set");
        assert_eq!((system.tag, system.message_group, system.trace_context), (None, None, None));
    }

    #[test]
    fn pitfall_31_delivery_attempts_count_from_1() {
        assert_eq!(deliver(&plain()).system_properties.expect("set").delivery_attempt, Some(1));
    }

    #[test]
    fn pitfall_28_compressed_bodies_of_old_producers_arrive_plain() {
        let mut compressed = plain();
        compressed.body = crate::messaging::body::tests::zlib(b"hello");
        compressed.sys_flag = SysFlag::COMPRESSED;
        let message = deliver(&compressed);
        assert_eq!(message.body, "hello");
        let system = message.system_properties.expect("set");
        assert_eq!(system.body_encoding(), v2::Encoding::Identity);
        assert_eq!(system.body_digest.expect("set").checksum, "AAF4C61DDCC5E8A2DABEDE0F3B482CD9AEA9434D");
    }

    #[test]
    fn what_a_producer_sent_is_what_a_consumer_gets() {
        let sent = v2::Message {
            topic: Some(super::super::resource("orders")),
            user_properties: [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into(),
            system_properties: Some(v2::SystemProperties {
                tag: Some("t".to_owned()),
                keys: vec!["k1".to_owned(), "k2".to_owned()],
                message_id: "id-1".to_owned(),
                born_timestamp: Some(prost_types::Timestamp { seconds: 5, nanos: 0 }),
                born_host: "host".to_owned(),
                message_group: Some("g".to_owned()),
                trace_context: Some("trace".to_owned()),
                priority: Some(2),
                ..v2::SystemProperties::default()
            }),
            body: Bytes::from_static(b"hello"),
        };
        let sender = Sender { address: "10.0.0.1:5000".parse().expect("an address"), now: Timestamp(7_000) };
        let topic = TopicName::new("orders").expect("valid");
        let message = deliver(&stored(&Sent::from(&sent), sent.body.clone(), topic, sender).expect("valid").message);
        assert_eq!(message.user_properties, sent.user_properties);
        assert_eq!(message.body, sent.body);
        let (got, sent) = (message.system_properties.expect("set"), sent.system_properties.expect("set"));
        assert_eq!(got.message_type(), v2::MessageType::Fifo);
        assert_eq!(
            (got.tag, got.keys, got.message_id, got.born_timestamp, got.born_host),
            (sent.tag, sent.keys, sent.message_id, sent.born_timestamp, sent.born_host)
        );
        assert_eq!(
            (got.message_group, got.trace_context, got.priority),
            (sent.message_group, sent.trace_context, sent.priority)
        );
    }
}
