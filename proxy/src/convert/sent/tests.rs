//! What is read is what the generated types read.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

type Texts = (Option<String>, Vec<String>, String, String, Option<String>, Option<String>, Option<String>);

fn time() -> impl Strategy<Value = Option<prost_types::Timestamp>> {
    proptest::option::of((any::<i64>(), any::<i32>()))
        .prop_map(|time| time.map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos }))
}

fn texts() -> impl Strategy<Value = Texts> {
    let text = || proptest::option::of(".{0,4}");
    (text(), proptest::collection::vec(".{0,4}", 0..3), ".{0,4}", ".{0,4}", text(), text(), text())
}

prop_compose! {
    fn system()(
        texts in texts(),
        (body_encoding, message_type, priority) in any::<(i32, i32, Option<i32>)>(),
        (born_timestamp, delivery_timestamp, duration, passed_over) in (time(), time(), time(), time()),
    ) -> v2::SystemProperties {
        let (tag, keys, message_id, born_host, message_group, trace_context, lite_topic) = texts;
        let duration = duration.map(|of| prost_types::Duration { seconds: of.seconds, nanos: of.nanos });
        v2::SystemProperties {
            tag, keys, message_id, born_host, message_group, trace_context, lite_topic,
            body_encoding, message_type, priority, born_timestamp, delivery_timestamp,
            orphaned_transaction_recovery_duration: duration,
            store_timestamp: passed_over,
            queue_offset: passed_over.map(|of| of.seconds),
            body_digest: Some(v2::Digest::default()),
            ..v2::SystemProperties::default()
        }
    }
}

prop_compose! {
    fn message()(
        topic in proptest::option::of((".{0,4}", ".{0,4}")),
        user_properties in proptest::collection::btree_map(".{0,2}", ".{0,4}", 0..4),
        system_properties in proptest::option::of(system()),
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) -> v2::Message {
        let topic = topic.map(|(resource_namespace, name)| v2::Resource { resource_namespace, name });
        v2::Message { topic, user_properties, system_properties, body: body.into() }
    }
}

fn decoded(request: &[u8]) -> Option<Vec<v2::Message>> {
    Some(v2::SendMessageRequest::decode(request).ok()?.messages)
}

/// A request of one message, encoded.
fn request_of(message: &[u8]) -> Vec<u8> {
    let mut request = vec![0x0a];
    prost::encode_length_delimiter(message.len(), &mut request).expect("there is room");
    request.extend_from_slice(message);
    request
}

proptest! {
    #[test]
    fn what_is_read_is_what_the_generated_types_read(messages in proptest::collection::vec(message(), 0..4)) {
        let request = v2::SendMessageRequest { messages }.encode_to_vec();
        let messages = decoded(&request).expect("own encoding");
        prop_assert_eq!(sent(&request), Ok(messages.iter().map(Sent::from).collect()));
    }

    /// Two encodings behind each other are their merger: of what is there twice the last counts, messages merge, lists grow.
    #[test]
    fn what_is_there_twice_is_merged_alike(first in message(), second in message()) {
        let request = request_of(&[first.encode_to_vec(), second.encode_to_vec()].concat());
        let messages = decoded(&request).expect("own encoding");
        prop_assert_eq!(sent(&request), Ok(messages.iter().map(Sent::from).collect()));
    }

    /// Damage that the generated types find is found too, but for that in what is passed over.
    #[test]
    fn damage_is_no_panic_and_never_another_message(
        message in message(), at in any::<prop::sample::Index>(), byte in any::<u8>(), length in any::<prop::sample::Index>(),
    ) {
        let mut request = v2::SendMessageRequest { messages: vec![message] }.encode_to_vec();
        let index = at.index(request.len());
        request[index] = byte;
        request.truncate(length.index(request.len() + 1));
        let read = sent(&request);
        if let (Ok(read), Some(messages)) = (&read, decoded(&request)) {
            prop_assert_eq!(read, &messages.iter().map(Sent::from).collect::<Vec<_>>());
        }
    }
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    let what = |message: &[u8]| sent(&request_of(message)).map(drop).expect_err("malformed").what;
    assert_eq!(what(b"\x22\x02a"), "a field has no end");
    assert_eq!(what(b"\x20\x02"), "a text's or message's field holds another type");
    assert_eq!(what(b"\x1a\x02\x32\x00"), "a number's field holds another type");
    assert_eq!(what(b"\x0a\x03\x12\x01\xff"), "a text is not UTF-8");
    assert_eq!(what(b"\x02\x00"), "a field has the number 0");
    assert_eq!(what(b"\x2b\x2c"), "a field is of no known type");
    assert_eq!(what(&[0xff; 11]), "a number has no end");
    assert_eq!(what(b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"), "a number has no end");
    assert_eq!(what(b"\x80\x80\x80\x80\x10"), "a key is too large");
}

#[test]
fn unknown_fields_of_every_type_are_passed_over() {
    let unknown = b"\x98\x06\x96\x01\x99\x06\x01\x02\x03\x04\x05\x06\x07\x08\x9a\x06\x02ab\x9d\x06\x01\x02\x03\x04";
    let request = request_of(&[unknown, &b"\x22\x01x"[..], unknown].concat());
    assert_eq!(decoded(&request).expect("valid")[0].body, Bytes::from_static(b"x"));
    assert_eq!(sent(&request), Ok(vec![Sent { body: b"x", ..Sent::default() }]));
}
