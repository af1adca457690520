//! Tests of the limits: each with the field, the value and the limit in its error.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::convert::{protocol_time, resource};

const NOW: Timestamp = Timestamp(1_767_323_045_000);

fn message(change: impl FnOnce(&mut v2::Message, &mut v2::SystemProperties)) -> v2::Message {
    let mut system = v2::SystemProperties { message_id: "id".to_owned(), ..v2::SystemProperties::default() };
    let mut message =
        v2::Message { topic: Some(resource("orders")), body: Bytes::from_static(b"hello"), ..v2::Message::default() };
    change(&mut message, &mut system);
    message.system_properties = Some(system);
    message
}

fn check(change: impl FnOnce(&mut v2::Message, &mut v2::SystemProperties)) -> Result<(), Invalid> {
    Limits::default().message(&Sent::from(&message(change)), NOW)
}

fn user(name: &str, value: &str) -> Result<(), Invalid> {
    check(|message, _| {
        message.user_properties.insert(name.to_owned(), value.to_owned());
    })
}

#[test]
fn a_plain_message_is_fine() {
    assert_eq!(check(|_, _| {}), Ok(()));
}

#[test]
fn a_send_has_messages_of_one_topic() {
    let limits = Limits { messages_max: 2, ..Limits::default() };
    let orders = message(|_, _| {});
    let other = message(|message, _| message.topic = Some(resource("other")));
    let messages = |messages: &[v2::Message]| limits.messages(&messages.iter().map(Sent::from).collect::<Vec<_>>());
    assert_eq!(messages(&[]), Err(Invalid::NoMessages));
    assert_eq!(messages(&[orders.clone(), orders.clone()]).map(|t| t.to_string()), Ok("orders".to_owned()));
    let three = vec![orders.clone(); 3];
    assert_eq!(messages(&three), Err(Invalid::TooManyMessages { messages: 3, messages_max: 2 }));
    let mixed = Invalid::MixedTopics { index: 1, topic: "other".to_owned(), first: "orders".to_owned() };
    assert_eq!(messages(&[orders, other]), Err(mixed));
    let system = message(|message, _| message.topic = Some(resource("rmq_sys_x")));
    assert!(matches!(messages(&[system]), Err(Invalid::Topic(NameError::System { .. }))));
}

#[test]
fn bodies_are_neither_empty_nor_too_large() {
    assert_eq!(check(|message, _| message.body = Bytes::new()), Err(Invalid::BodyEmpty));
    let limit = 4 * 1024 * 1024;
    assert_eq!(check(|message, _| message.body = vec![0; limit].into()), Ok(()));
    let error = check(|message, _| message.body = vec![0; limit + 1].into()).expect_err("too large");
    assert_eq!(error.to_string(), "body is 4194305 bytes, limit is 4194304");
}

#[test]
fn message_ids_are_any_text_that_is_not_blank() {
    assert_eq!(check(|_, system| system.message_id = " ".to_owned()), Err(Invalid::MessageIdBlank));
    assert_eq!(check(|_, system| system.message_id = "any text".to_owned()), Ok(()));
}

#[test]
fn user_properties_are_bounded_in_number_and_size() {
    let with = |count: usize| {
        check(|message, _| message.user_properties = (0..count).map(|i| (format!("k{i}"), "v".to_owned())).collect())
    };
    assert_eq!(with(128), Ok(()));
    assert_eq!(with(129), Err(Invalid::PropertyCount { count: 129, count_max: 128 }));
    assert_eq!(user("k", &"v".repeat(16_383)), Ok(()));
    let error = user("k", &"v".repeat(16_384));
    assert_eq!(error, Err(Invalid::PropertiesTooLarge { bytes: 16_385, bytes_max: 16_384 }));
    let keys = check(|_, system| system.keys = vec!["k".repeat(16_385)]);
    assert!(matches!(keys, Err(Invalid::PropertiesTooLarge { .. })), "keys count as well");
}

#[test]
fn reserved_property_names_are_refused() {
    assert_eq!(user("UNIQ_KEY", "x"), Err(Invalid::PropertyReserved { name: "UNIQ_KEY".to_owned() }));
    assert!(matches!(user("__SHARDINGKEY", "x"), Err(Invalid::PropertyReserved { .. })));
    assert_eq!(user("", "x"), Err(Invalid::PropertyNameEmpty));
}

#[test]
fn pitfall_42_control_characters_are_refused_everywhere() {
    for bad in ["\u{0}", "a\u{1}b", "\u{1f}", "\u{7f}", "\u{85}", "\u{9f}"] {
        assert!(matches!(user("k", bad), Err(Invalid::PropertyControl { .. })), "{bad:?}");
        assert!(matches!(user(&format!("k{bad}"), "v"), Err(Invalid::PropertyControl { .. })), "{bad:?}");
        let bad = || format!("a{bad}");
        assert!(matches!(check(|_, system| system.tag = Some(bad())), Err(Invalid::Tag { .. })));
        assert!(matches!(check(|_, system| system.keys = vec![bad()]), Err(Invalid::Key { .. })));
        assert!(matches!(check(|_, system| system.message_group = Some(bad())), Err(Invalid::MessageGroup { .. })));
    }
    assert_eq!(user("schlüssel", "wörter 日本 \u{a0}"), Ok(()));
}

#[test]
fn tags_keys_and_groups_follow_their_rules() {
    assert!(matches!(check(|_, system| system.tag = Some("a|b".to_owned())), Err(Invalid::Tag { .. })));
    assert!(matches!(check(|_, system| system.tag = Some(" ".to_owned())), Err(Invalid::Tag { .. })));
    assert_eq!(check(|_, system| system.tag = Some(String::new())), Ok(()), "no tag");
    assert!(matches!(check(|_, system| system.keys = vec![" ".to_owned()]), Err(Invalid::Key { .. })));
    assert_eq!(check(|_, system| system.message_group = Some("g".repeat(63))), Ok(()));
    let error = check(|_, system| system.message_group = Some("g".repeat(64)));
    assert_eq!(error, Err(Invalid::MessageGroupTooLong { bytes: 64, bytes_max: 63 }));
}

#[test]
fn pitfall_43_keys_with_blanks_are_accepted_as_apache_does() {
    assert_eq!(check(|_, system| system.keys = vec!["a b".to_owned()]), Ok(()));
}

#[test]
fn delivery_times_are_bounded_ahead_and_not_behind() {
    let at = |ms| check(|_, system| system.delivery_timestamp = Some(protocol_time(Timestamp(NOW.0 + ms))));
    let day = 24 * 60 * 60 * 1000;
    assert_eq!(at(day), Ok(()));
    assert_eq!(at(-day), Ok(()));
    assert_eq!(at(day + 1), Err(Invalid::DeliveryTime { ahead_ms: 86_400_001, ahead_ms_max: 86_400_000 }));
}

#[test]
fn transactions_are_left_alone_for_an_hour_at_most() {
    let after = |seconds| {
        let duration = Some(prost_types::Duration { seconds, nanos: 0 });
        check(|_, system| system.orphaned_transaction_recovery_duration = duration)
    };
    assert_eq!(after(3600), Ok(()));
    assert_eq!(after(3601), Err(Invalid::RecoveryTime { seconds: 3601, seconds_max: 3600 }));
    assert!(after(-1).is_err());
}

#[test]
fn lite_and_negative_priorities_are_refused() {
    assert_eq!(check(|_, system| system.lite_topic = Some("l".to_owned())), Err(Invalid::LiteNotBuilt));
    assert_eq!(check(|_, s| s.message_type = v2::MessageType::Lite.into()), Err(Invalid::LiteNotBuilt));
    assert_eq!(check(|_, system| system.priority = Some(-1)), Err(Invalid::Priority { priority: -1 }));
    assert_eq!(check(|_, system| system.priority = Some(0)), Ok(()));
}

#[test]
fn pitfall_37_short_invisible_times_are_refused_by_default_and_configurable() {
    let nine = prost_types::Duration { seconds: 9, nanos: 0 };
    let refused = Limits::default().receive_invisible(Some(&nine));
    assert_eq!(refused, Err(Invalid::InvisibleTooShort { ms: 9000, ms_min: 10_000 }));
    let tolerant = Limits { invisible_min: Duration::from_secs(1), ..Limits::default() };
    assert_eq!(tolerant.receive_invisible(Some(&nine)), Ok(Duration::from_secs(9)));
    assert!(Limits::default().receive_invisible(None).is_err());
}

#[test]
fn invisible_times_have_both_ends() {
    let change = |seconds, nanos| Limits::default().change_invisible(Some(&prost_types::Duration { seconds, nanos }));
    assert_eq!(change(0, 0), Ok(Duration::ZERO));
    assert_eq!(change(0, -1_000_000), Err(Invalid::InvisibleTooShort { ms: -1, ms_min: 0 }));
    assert_eq!(change(43_200, 0), Ok(Duration::from_secs(43_200)));
    let error = change(43_200, 1_000_000);
    assert_eq!(error, Err(Invalid::InvisibleTooLong { ms: 43_200_001, ms_max: 43_200_000 }));
    assert!(matches!(change(i64::MAX, 0), Err(Invalid::InvisibleTooLong { .. })));
    assert!(matches!(change(i64::MIN, i32::MIN), Err(Invalid::InvisibleTooShort { .. })));
}

#[test]
fn filters_are_read_in_both_languages() {
    let expression = |r#type: v2::FilterType, expression: &str| {
        filter(Some(&v2::FilterExpression { r#type: r#type.into(), expression: expression.to_owned() }))
    };
    assert_eq!(filter(None), Ok(Filter::All));
    assert_eq!(expression(v2::FilterType::Tag, "*"), Ok(Filter::All));
    assert!(matches!(expression(v2::FilterType::Tag, "a || b"), Ok(Filter::Tags(_))));
    assert!(matches!(expression(v2::FilterType::Sql, "a > 1"), Ok(Filter::Sql(_))));
    assert!(matches!(expression(v2::FilterType::Tag, "||"), Err(Invalid::Filter(_))));
    assert!(matches!(expression(v2::FilterType::Sql, ""), Err(Invalid::Filter(_))));
}

#[test]
fn client_ids_are_required_and_bounded() {
    let id = |text: &str| {
        let mut headers = tonic::metadata::MetadataMap::new();
        headers.insert("x-mq-client-id", text.parse().expect("valid"));
        client_id(&headers).map(str::to_owned)
    };
    assert_eq!(client_id(&tonic::metadata::MetadataMap::new()), Err(Invalid::ClientIdMissing));
    assert_eq!(id(" "), Err(Invalid::ClientIdMissing));
    assert_eq!(id("host@1@0@x"), Ok("host@1@0@x".to_owned()));
    assert_eq!(id(&"i".repeat(257)), Err(Invalid::ClientIdTooLong { bytes: 257 }));
}

proptest! {
    #[test]
    fn no_text_of_a_client_panics(name in ".*", value in ".*", tag in ".*", key in ".*", group in ".*") {
        let _ = check(|message, system| {
            message.user_properties.insert(name, value);
            system.tag = Some(tag);
            system.keys = vec![key];
            system.message_group = Some(group);
        });
    }

    #[test]
    fn what_is_valid_can_be_stored(name in ".{0,8}", value in ".{0,8}", tag in ".{0,8}", key in ".{0,8}") {
        let message = message(|message, system| {
            message.user_properties.insert(name, value);
            system.tag = Some(tag);
            system.keys = vec![key];
        });
        let sent = Sent::from(&message);
        if Limits::default().message(&sent, NOW).is_ok() {
            let sender = crate::convert::Sender { address: ([127, 0, 0, 1], 1).into(), now: NOW };
            let topic = TopicName::new("orders").expect("valid");
            prop_assert!(crate::convert::stored(&sent, message.body.clone(), topic, sender).is_ok());
        }
    }
}
