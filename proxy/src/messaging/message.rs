//! Messages as front doors other than gRPC have them: under the same rules, and mapped as gRPC's own are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use grpc::v2;
use types::broker::PoppedMessage;
use types::{Message, MessageType, Timestamp, TopicName};

use super::body::Encoding;
use crate::convert::{self, Delivered, Sender, Sent, Stored, System, Topic};
use crate::validate::{Invalid, Limits};

/// What a producer wants stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Its id, made by whoever sends it.
    pub message_id: String,
    /// Its body.
    pub body: Bytes,
    /// Its tag.
    pub tag: Option<String>,
    /// Its keys.
    pub keys: Vec<String>,
    /// Its message group.
    pub message_group: Option<String>,
    /// When it may be delivered.
    pub due: Option<Due>,
    /// Its priority.
    pub priority: Option<i32>,
    /// What its producer says besides.
    pub properties: BTreeMap<String, String>,
    /// Set of a half message: how long its producer wants to be left alone before it is asked, if it says so.
    pub transaction: Option<Option<Duration>>,
}

/// When a delayed message may be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// So long after it was sent.
    After(Duration),
    /// Not before.
    At(Timestamp),
}

/// A message that [`super::Messaging::send`] takes.
#[derive(Debug)]
pub struct Outgoing {
    /// The message.
    pub message: Message,
    /// What its properties make of it.
    pub message_type: MessageType,
    /// Its id.
    pub message_id: String,
}

impl Draft {
    /// Checks it and makes of it what is stored.
    ///
    /// # Errors
    /// [`Invalid`], which names fields as the `.proto` files do.
    pub fn outgoing(self, limits: &Limits, topic: TopicName, address: SocketAddr) -> Result<Outgoing, Invalid> {
        let sender = Sender { address, now: crate::clock::now() };
        let sent = self.sent(sender.now);
        limits.message(&sent, sender.now)?;
        let Stored { message, message_type } = convert::stored(&sent, self.body.clone(), topic, sender)?;
        Ok(Outgoing { message, message_type, message_id: self.message_id })
    }

    fn sent(&self, now: Timestamp) -> Sent<'_> {
        let recovery = self.transaction.flatten().map(convert::protocol_duration);
        let message_type =
            if self.transaction.is_some() { v2::MessageType::Transaction } else { v2::MessageType::Unspecified };
        let deliver_at = self.due.map(|due| match due {
            Due::After(delay) => now.plus(delay),
            Due::At(time) => time,
        });
        let system = System {
            tag: self.tag.as_deref(),
            keys: self.keys.iter().map(String::as_str).collect(),
            message_id: &self.message_id,
            message_type: message_type.into(),
            delivery_timestamp: deliver_at.map(convert::protocol_time),
            message_group: self.message_group.as_deref(),
            orphaned_transaction_recovery_duration: recovery,
            priority: self.priority,
            ..System::default()
        };
        // A map is sorted by name.
        let user_properties = self.properties.iter().map(|(name, value)| (&**name, &**value)).collect();
        Sent { topic: Topic::default(), user_properties, system: Some(system), body: &self.body }
    }
}

/// A stored message as its consumer gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its id.
    pub message_id: String,
    /// Its body.
    pub body: Bytes,
    /// How the body is encoded.
    pub encoding: Encoding,
    /// Its tag.
    pub tag: Option<String>,
    /// Its keys.
    pub keys: Vec<String>,
    /// Its message group.
    pub message_group: Option<String>,
    /// When it was to be delivered.
    pub deliver_at: Option<Timestamp>,
    /// Its priority.
    pub priority: Option<i32>,
    /// What its producer said besides.
    pub properties: BTreeMap<String, String>,
    /// What acknowledges it; empty of one that is only looked at.
    pub handle: String,
    /// Which delivery this is, from 1.
    pub attempt: u32,
    /// Its queue.
    pub queue: u32,
    /// Its offset there.
    pub offset: u64,
    /// When its producer made it.
    pub born_at: Timestamp,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Of a dead letter: the topic it was sent to, and the id that it had there.
    pub dead_letter_of: Option<(String, String)>,
}

impl Received {
    /// The message that was popped from a topic.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn of(topic: &str, popped: &PoppedMessage) -> Result<Self, record::Error> {
        let receipt_handle = Some(String::from(&popped.handle));
        let delivered = Delivered { topic, receipt_handle, attempt: popped.attempt };
        Ok(convert::undigested(&popped.record, delivered)?.into())
    }
}

impl From<v2::Message> for Received {
    fn from(message: v2::Message) -> Self {
        let v2::Message { user_properties, system_properties, body, .. } = message;
        let system = system_properties.unwrap_or_default();
        let time = |time: Option<prost_types::Timestamp>| time.as_ref().map(convert::timestamp);
        Self {
            body,
            encoding: match system.body_encoding() {
                v2::Encoding::Gzip => Encoding::Compressed,
                v2::Encoding::Identity | v2::Encoding::Unspecified => Encoding::Identity,
            },
            deliver_at: time(system.delivery_timestamp),
            born_at: time(system.born_timestamp).unwrap_or_default(),
            stored_at: time(system.store_timestamp).unwrap_or_default(),
            message_id: system.message_id,
            tag: system.tag,
            keys: system.keys,
            message_group: system.message_group,
            priority: system.priority,
            properties: user_properties,
            handle: system.receipt_handle.unwrap_or_default(),
            attempt: system.delivery_attempt.and_then(|attempt| u32::try_from(attempt).ok()).unwrap_or(1),
            queue: u32::try_from(system.queue_id).unwrap_or_default(),
            offset: system.queue_offset.and_then(|offset| u64::try_from(offset).ok()).unwrap_or_default(),
            dead_letter_of: system.dead_letter_queue.map(|letter| (letter.topic, letter.message_id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use types::{PhysicalOffset, QueueId, QueueOffset, ReceiptHandle};

    use super::*;

    fn draft() -> Draft {
        Draft {
            message_id: "id-1".to_owned(),
            body: Bytes::from_static(b"hello"),
            tag: Some("t".to_owned()),
            keys: vec!["k1".to_owned(), "k2".to_owned()],
            message_group: Some("g".to_owned()),
            priority: Some(2),
            properties: [("Colour".to_owned(), "röd".to_owned())].into(),
            ..Draft::default()
        }
    }

    fn outgoing(draft: Draft) -> Result<Outgoing, Invalid> {
        let topic = TopicName::new("orders").expect("valid");
        draft.outgoing(&Limits::default(), topic, "10.0.0.1:5000".parse().expect("an address"))
    }

    fn handle() -> ReceiptHandle {
        "0 1700000000000 60000 0 0 broker-a 3 105 105".parse().expect("a handle")
    }

    #[test]
    fn what_is_sent_is_what_is_received() {
        let sent = draft();
        let outgoing = outgoing(sent.clone()).expect("valid");
        assert_eq!((outgoing.message_type, outgoing.message_id.as_str()), (MessageType::Fifo, "id-1"));
        let host = "10.0.0.2:8081".parse().expect("an address");
        let record = record::encode(&outgoing.message, QueueId(3), host).expect("small enough");
        let record = record.place(QueueOffset(105), PhysicalOffset(133), Timestamp(9_001));
        let received =
            Received::of("orders", &PoppedMessage { handle: handle(), record, attempt: 2 }).expect("readable");
        assert_eq!(
            (&received.message_id, &received.body, received.encoding),
            (&sent.message_id, &sent.body, Encoding::Identity)
        );
        assert_eq!(
            (&received.tag, &received.keys, &received.message_group),
            (&sent.tag, &sent.keys, &sent.message_group)
        );
        assert_eq!((received.priority, &received.properties), (sent.priority, &sent.properties));
        assert_eq!((received.attempt, received.queue, received.offset), (2, 3, 105));
        assert_eq!(received.handle, handle().to_string());
        assert_eq!(received.stored_at, Timestamp(9_001));
    }

    #[test]
    fn half_messages_and_delays_are_told_by_their_fields() {
        let half = Draft { transaction: Some(Some(Duration::from_secs(30))), message_group: None, ..draft() };
        let half = outgoing(half).expect("valid");
        assert_eq!(half.message_type, MessageType::Transaction);
        assert_eq!(half.message.properties.get("CHECK_IMMUNITY_TIME_IN_SECONDS"), Some("30"));
        for due in [Due::After(Duration::from_secs(60)), Due::At(crate::clock::now())] {
            let delayed = outgoing(Draft { due: Some(due), ..draft() }).expect("valid");
            assert_eq!(delayed.message_type, MessageType::Delay);
        }
        let far = Draft { due: Some(Due::After(Duration::from_secs(48 * 3600))), ..draft() };
        assert!(matches!(outgoing(far).err(), Some(Invalid::DeliveryTime { .. })));
    }

    #[test]
    fn the_rules_are_those_of_the_protocol() {
        assert_eq!(outgoing(Draft { body: Bytes::new(), ..draft() }).err(), Some(Invalid::BodyEmpty));
        let reserved = Draft { properties: [("UNIQ_KEY".to_owned(), "x".to_owned())].into(), ..draft() };
        assert!(matches!(outgoing(reserved).err(), Some(Invalid::PropertyReserved { .. })));
        let injected = Draft { properties: [("a".to_owned(), "b\u{1}TAGS\u{1}c".to_owned())].into(), ..draft() };
        assert!(matches!(outgoing(injected).err(), Some(Invalid::PropertyControl { .. })));
    }
}
