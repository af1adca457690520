//! Between the protocol's messages and stored ones.
//!
//! Source of the mapping: facts/grpc.md §8, Apache `SendMessageActivity` and `GrpcConverter`.

use grpc::v2;
use types::{Timestamp, TopicType};

mod delivered;
mod sent;
mod stored;

pub(crate) use delivered::{Delivered, delivered, undigested};
pub(crate) use sent::{Sent, System, Topic, sent, sent_count};
pub(crate) use stored::{Sender, Stored, stored};

/// A protocol's time, capped where milliseconds end.
pub(crate) fn timestamp(time: &prost_types::Timestamp) -> Timestamp {
    let ms = time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000);
    Timestamp(ms)
}

/// A time as the protocol has it.
pub(crate) fn protocol_time(time: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.0.rem_euclid(1000)).unwrap_or_default() * 1_000_000;
    prost_types::Timestamp { seconds: time.0.div_euclid(1000), nanos }
}

/// A duration as the protocol has it, capped where it ends.
pub(crate) fn protocol_duration(duration: std::time::Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 0 })
}

/// A duration of the protocol; less than nothing is nothing.
pub(crate) fn duration(duration: &prost_types::Duration) -> std::time::Duration {
    std::time::Duration::try_from(*duration).unwrap_or_default()
}

/// A name without a namespace.
pub(crate) fn resource(name: impl Into<String>) -> v2::Resource {
    v2::Resource { resource_namespace: String::new(), name: name.into() }
}

/// The kinds of messages that a topic takes, as routes say them: never `MESSAGE_TYPE_UNSPECIFIED`, which older Java
/// clients cannot read. They cannot read `PRIORITY` either, so a mixed topic says it only to clients that can.
pub(crate) fn accepted_types(topic_type: TopicType, knows_priority: bool) -> Vec<i32> {
    let mut accepted = match topic_type {
        TopicType::Only(only) => return vec![message_type(only).into()],
        TopicType::Mixed => {
            use v2::MessageType::{Delay, Fifo, Normal, Transaction};
            vec![Normal.into(), Fifo.into(), Delay.into(), Transaction.into()]
        }
    };
    if knows_priority {
        accepted.push(v2::MessageType::Priority.into());
    }
    accepted
}

/// A kind of message as the protocol has it.
pub(crate) fn message_type(message_type: types::MessageType) -> v2::MessageType {
    match message_type {
        types::MessageType::Normal => v2::MessageType::Normal,
        types::MessageType::Fifo => v2::MessageType::Fifo,
        types::MessageType::Delay => v2::MessageType::Delay,
        types::MessageType::Transaction => v2::MessageType::Transaction,
        types::MessageType::Lite => v2::MessageType::Lite,
        types::MessageType::Priority => v2::MessageType::Priority,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_survive_the_protocol(ms in any::<i64>()) {
            prop_assert_eq!(timestamp(&protocol_time(Timestamp(ms))), Timestamp(ms));
        }

        #[test]
        fn no_time_of_a_client_panics(seconds in any::<i64>(), nanos in any::<i32>()) {
            timestamp(&prost_types::Timestamp { seconds, nanos });
            duration(&prost_types::Duration { seconds, nanos });
        }
    }

    #[test]
    fn durations_are_whole_and_never_negative() {
        assert_eq!(duration(&prost_types::Duration { seconds: -1, nanos: 0 }), Duration::ZERO);
        assert_eq!(duration(&protocol_duration(Duration::from_millis(1500))), Duration::from_millis(1500));
    }

    #[test]
    fn pitfall_08_routes_never_say_unspecified() {
        let mixed = accepted_types(TopicType::Mixed, false);
        assert_eq!(mixed, [1, 2, 3, 4], "NORMAL, FIFO, DELAY, TRANSACTION");
        assert_eq!(accepted_types(TopicType::Mixed, true), [1, 2, 3, 4, 6]);
        assert_eq!(accepted_types(TopicType::Only(types::MessageType::Fifo), true), [2]);
    }
}
