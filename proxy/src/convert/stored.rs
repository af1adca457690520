//! A client's message as it is stored. It was validated before.

use std::net::SocketAddr;

use bytes::Bytes;
use grpc::v2;
use types::properties::names;
use types::{Message, MessageType, Properties, SysFlag, Timestamp, TopicName};

use super::{Sent, System};
use crate::validate::Invalid;

/// Room for the properties that the proxy adds: their names, separators and two numbers.
const OWN_PROPERTY_BYTES: usize = 96;

/// Who sends, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    /// Where from.
    pub(crate) address: SocketAddr,
    /// When the request came.
    pub(crate) now: Timestamp,
}

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The message.
    pub(crate) message: Message,
    /// What its properties make of it.
    pub(crate) message_type: MessageType,
}

/// Maps a client's message. `RECONSUME_TIME` and `BORN_TIMESTAMP`, which Apache's proxy writes as properties too, stand in the
/// record's header.
///
/// # Errors
/// [`Invalid::PropertyControl`], for text that validation should have refused.
pub(crate) fn stored(sent: &Sent<'_>, body: Bytes, topic: TopicName, sender: Sender) -> Result<Stored, Invalid> {
    let missing = System::default();
    let system = sent.system.as_ref().unwrap_or(&missing);
    let message_type = message_type(system);

    let text_bytes: usize = sent.user_properties.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let mut properties = Properties::with_capacity(text_bytes + encoded_texts(system) + OWN_PROPERTY_BYTES);
    let mut add = |name: &str, value: &str| {
        properties.append(name, value).map_err(|_| Invalid::PropertyControl { name: name.to_owned() })
    };
    for (name, value) in &sent.user_properties {
        add(name, value)?;
    }
    add(names::UNIQUE_KEY, system.message_id)?;
    // The producer group of the protocol is the topic.
    add(names::PRODUCER_GROUP, topic.as_str())?;
    add(names::TAGS, system.tag.unwrap_or_default())?;
    match system.keys.as_slice() {
        [] => {}
        [key] => add(names::KEYS, key)?,
        keys => add(names::KEYS, &keys.join(" "))?,
    }
    add(names::BORN_HOST, system.born_host.trim())?;
    add(names::MESSAGE_GROUP, system.message_group.unwrap_or_default())?;
    add(names::TRACE_CONTEXT, system.trace_context.unwrap_or_default())?;
    if let Some(at) = &system.delivery_timestamp {
        add(names::TIMER_DELIVER_MS, &super::timestamp(at).to_string())?;
    }
    if let Some(priority) = system.priority {
        add(names::PRIORITY, &priority.to_string())?;
    }
    if message_type == MessageType::Transaction {
        add(names::TRANSACTION_PREPARED, "true")?;
        if let Some(duration) = &system.orphaned_transaction_recovery_duration {
            add(names::CHECK_IMMUNITY_SECONDS, &duration.seconds.to_string())?;
        }
    }

    let is_gzip = system.body_encoding() == v2::Encoding::Gzip;
    let born_at = system.born_timestamp.as_ref().map(super::timestamp).filter(|at| at.0 > 0);
    let message = Message {
        properties,
        sys_flag: if is_gzip { SysFlag::COMPRESSED } else { SysFlag::default() },
        born_at: born_at.unwrap_or(sender.now),
        born_host: sender.address,
        ..Message::new(topic, body)
    };
    Ok(Stored { message, message_type })
}

/// What the stored properties will say, in their order of precedence ([`MessageType::of`]). Like Apache's proxy this goes by
/// the fields that are set; of what the client calls the message only `TRANSACTION` has an effect.
fn message_type(system: &System<'_>) -> MessageType {
    match () {
        () if system.message_type() == v2::MessageType::Transaction => MessageType::Transaction,
        () if system.delivery_timestamp.is_some() => MessageType::Delay,
        () if system.message_group.is_some_and(|group| !group.is_empty()) => MessageType::Fifo,
        () if system.priority.is_some() => MessageType::Priority,
        () => MessageType::Normal,
    }
}

/// How much text the system properties will need.
fn encoded_texts(system: &System<'_>) -> usize {
    let optional = [system.tag, system.message_group, system.trace_context];
    let optional: usize = optional.into_iter().flatten().map(str::len).sum();
    let keys: usize = system.keys.iter().map(|key| key.len() + 1).sum();
    optional + keys + system.message_id.len() + system.born_host.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender() -> Sender {
        Sender { address: "10.0.0.1:5000".parse().expect("an address"), now: Timestamp(7_000) }
    }

    fn message(system: v2::SystemProperties) -> v2::Message {
        v2::Message {
            topic: Some(super::super::resource("orders")),
            user_properties: [("colour".to_owned(), "red".to_owned())].into(),
            system_properties: Some(v2::SystemProperties { message_id: "id-1".to_owned(), ..system }),
            body: Bytes::from_static(b"hello"),
        }
    }

    fn store(system: v2::SystemProperties) -> Stored {
        let message = message(system);
        let topic = TopicName::new("orders").expect("valid");
        stored(&Sent::from(&message), message.body.clone(), topic, sender()).expect("valid")
    }

    #[test]
    fn a_plain_message_holds_what_the_client_said_and_nothing_more() {
        let plain = store(v2::SystemProperties::default());
        assert_eq!(plain.message_type, MessageType::Normal);
        let pairs: Vec<_> = plain.message.properties.iter().collect();
        assert_eq!(pairs, [("colour", "red"), ("UNIQ_KEY", "id-1"), ("PGROUP", "orders")]);
        assert_eq!(plain.message.born_at, Timestamp(7_000), "a client without a clock gets ours");
        assert_eq!(plain.message.born_host, sender().address);
        assert!(!plain.message.sys_flag.has(SysFlag::COMPRESSED));
    }

    #[test]
    fn every_field_has_its_property() {
        let full = store(v2::SystemProperties {
            tag: Some("t".to_owned()),
            keys: vec!["k1".to_owned(), "k2".to_owned()],
            body_encoding: v2::Encoding::Gzip.into(),
            message_type: v2::MessageType::Transaction.into(),
            born_timestamp: Some(prost_types::Timestamp { seconds: 5, nanos: 6_000_000 }),
            born_host: "host".to_owned(),
            delivery_timestamp: Some(prost_types::Timestamp { seconds: 9, nanos: 0 }),
            message_group: Some("g".to_owned()),
            trace_context: Some("trace".to_owned()),
            orphaned_transaction_recovery_duration: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
            priority: Some(3),
            ..v2::SystemProperties::default()
        });
        let properties = &full.message.properties;
        for (name, value) in [
            ("TAGS", "t"),
            ("KEYS", "k1 k2"),
            ("__BORNHOST", "host"),
            ("TIMER_DELIVER_MS", "9000"),
            ("__SHARDINGKEY", "g"),
            ("TRACE_CONTEXT", "trace"),
            ("TRAN_MSG", "true"),
            ("CHECK_IMMUNITY_TIME_IN_SECONDS", "30"),
            ("_SYS_MSG_PRIORITY_", "3"),
        ] {
            assert_eq!(properties.get(name), Some(value), "{name}");
        }
        assert_eq!(full.message.born_at, Timestamp(5_006));
        assert!(full.message.sys_flag.has(SysFlag::COMPRESSED));
        assert_eq!(full.message_type, MessageType::Transaction);
    }

    #[test]
    fn the_type_is_the_one_that_the_stored_properties_say() {
        let time = Some(prost_types::Timestamp { seconds: 9, nanos: 0 });
        for system in [
            v2::SystemProperties { delivery_timestamp: time, ..Default::default() },
            v2::SystemProperties { message_group: Some("g".to_owned()), ..Default::default() },
            v2::SystemProperties { message_group: Some(String::new()), ..Default::default() },
            v2::SystemProperties { priority: Some(1), ..Default::default() },
            v2::SystemProperties { message_group: Some("g".to_owned()), priority: Some(1), ..Default::default() },
            v2::SystemProperties { message_type: v2::MessageType::Delay.into(), ..Default::default() },
        ] {
            let stored = store(system.clone());
            assert_eq!(stored.message_type, MessageType::of(&stored.message.properties), "{system:?}");
        }
    }
}
