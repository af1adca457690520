//! Events as messages, without a broker.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// An event with these members besides those that it must have.
fn event(members: Value) -> Value {
    let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    event.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    event
}

fn structured(event: &str) -> Result<Draft, Problem> {
    one(Some(Mode::Structured), &HeaderMap::new(), NewMessage::default(), &Bytes::copy_from_slice(event.as_bytes()))
}

fn binary(pairs: &[(&str, &str)]) -> Result<Draft, Problem> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("valid");
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("valid"));
    }
    let mode = Mode::of(&headers).expect("known");
    let message = NewMessage::of_headers(&headers).expect("valid");
    one(mode, &headers, message, &Bytes::from_static(b"hello"))
}

fn properties(draft: &Draft) -> Vec<(&str, &str)> {
    draft.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

const MUST: [(&str, &str); 4] = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];

#[test]
fn attributes_are_properties_and_data_is_the_body() {
    let event = event(json!({
        "subject": "order", "time": "2026-11-25T08:00:00+01:00", "dataschema": "https://example.org/s", "datacontenttype": "text/plain",
        "tag": "paid", "messagegroup": "g-1", "region": "eu", "count": -5, "first": true, "gone": null, "data": "h\u{e9}llo",
    }));
    let draft = structured(&event.to_string()).expect("valid");
    assert_eq!(
        properties(&draft),
        [
            ("ce-count", "-5"),
            ("ce-dataschema", "https://example.org/s"),
            ("ce-first", "true"),
            ("ce-id", "1"),
            ("ce-region", "eu"),
            ("ce-source", "/s"),
            ("ce-specversion", "1.0"),
            ("ce-subject", "order"),
            ("ce-time", "2026-11-25T08:00:00+01:00"),
            ("ce-type", "t"),
            ("content-type", "text/plain"),
        ]
    );
    assert_eq!((draft.tag.as_deref(), draft.message_group.as_deref()), (Some("paid"), Some("g-1")));
    assert_eq!(draft.body, "h\u{e9}llo");
}

#[test]
fn times_are_taken_in_every_form_of_rfc_3339() {
    for time in [
        "2026-11-25T08:00:00Z",
        "2026-11-25t08:00:00.5z",
        "2026-11-25T08:00:00.123456789-09:30",
        "2016-12-31T23:59:60Z",
    ] {
        let draft = structured(&event(json!({"time": time, "data": 1})).to_string()).expect("valid");
        assert_eq!(draft.properties["ce-time"], time);
    }
}

#[test]
fn json_data_is_stored_as_it_is_written() {
    for (members, body, media_type) in [
        (r#""data": {"a" : [1, "x"]}"#, r#"{"a" : [1, "x"]}"#, "application/json"),
        (r#""data": "text""#, r#""text""#, "application/json"),
        (r#""data": null"#, "null", "application/json"),
        (r#""data": 1.50, "datacontenttype": "application/vnd.a+json; v=1""#, "1.50", "application/vnd.a+json; v=1"),
        (r#""datacontenttype": "TEXT/JSON", "data": {}"#, "{}", "TEXT/JSON"),
    ] {
        let event = format!(r#"{{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", {members}}}"#);
        let draft = structured(&event).expect("valid");
        assert_eq!((&draft.body[..], draft.properties["content-type"].as_str()), (body.as_bytes(), media_type));
    }
    let draft = structured(&event(json!({"data_base64": "AAEC"})).to_string()).expect("valid");
    assert_eq!((&draft.body[..], draft.properties.contains_key("content-type")), (&[0, 1, 2][..], false));
}

#[test]
fn what_is_wrong_with_an_event_is_named_by_its_member() {
    for (members, detail) in [
        (json!({"id": null}), "id is missing"),
        (json!({"source": null}), "source is missing"),
        (json!({"specversion": "0.3"}), "specversion is \"0.3\", expected 1.0"),
        (json!({"id": ""}), "id is \"\", expected a text that is not empty"),
        (json!({"id": 5}), "id is 5, expected a string"),
        (json!({"type": {"a": 1}}), "type is {\"a\":1}, expected a string"),
        (json!({"source": "a b"}), "source is \"a b\", expected a URI reference"),
        (json!({"subject": ""}), "subject is \"\", expected a text that is not empty"),
        (json!({"subject": "a\u{1}b"}), "subject is \"a\\u{1}b\", expected a text without control characters"),
        (json!({"subject": "\u{ffff}"}), "expected a text without control characters and noncharacters"),
        (json!({"dataschema": "/relative"}), "dataschema is \"/relative\", expected a URI with its scheme"),
        (json!({"time": "yesterday"}), "time is \"yesterday\", expected a time as RFC 3339 has it"),
        (json!({"time": "2026-11-25 08:00:00Z"}), "expected a time as RFC 3339 has it"),
        (json!({"time": "2026-11-25T08:00:00"}), "expected a time as RFC 3339 has it"),
        (json!({"time": "2026-11-25T08:00:00+0100"}), "expected a time as RFC 3339 has it"),
        (json!({"time": "2026-11-25T08:00:00.000+01"}), "expected a time as RFC 3339 has it"),
        (json!({"time": "2026-11-25T08:00:00,5Z"}), "expected a time as RFC 3339 has it"),
        (json!({"time": "2026-11-25T080000.000Z"}), "expected a time as RFC 3339 has it"),
        (json!({"time": "2026-11-25T08:00:00+01:00:00"}), "expected a time as RFC 3339 has it"),
        (json!({"time": "+002026-11-25T08:00:00Z"}), "expected a time as RFC 3339 has it"),
        (json!({"time": "2026-11-25T08:00:00+24:00"}), "expected a time as RFC 3339 has it"),
        (json!({"datacontenttype": "text"}), "datacontenttype is \"text\", expected a media type"),
        (json!({"Region": "eu"}), "\"Region\" is no attribute"),
        (json!({"my_region": "eu"}), "\"my_region\" is no attribute"),
        (json!({"a23456789012345678901": "eu"}), "names are 1 to 20 lower-case letters and digits"),
        (json!({"region": [1]}), "region is [1], expected a string, a whole number, true or false"),
        (json!({"region": 1.5}), "region is 1.5, expected a whole number of 32 bits"),
        (json!({"region": 3_000_000_000_u32}), "region is 3000000000, expected a whole number of 32 bits"),
        (
            json!({"data": 1, "datacontenttype": "text/plain"}),
            "data is 1, expected a string, as datacontenttype is \"text/plain\"",
        ),
        (json!({"data_base64": "?"}), "data_base64 is not Base64"),
        (json!({"data_base64": 1}), "data_base64 is 1, expected a string"),
        (json!({"data": 1, "data_base64": ""}), "data and data_base64 cannot be given together"),
        (json!({}), "data is missing"),
    ] {
        let problem = structured(&event(members.clone()).to_string()).expect_err("refused");
        assert_eq!((problem.status.as_u16(), problem.kind), (400, "invalid-event"), "{members}");
        assert!(problem.detail.contains(detail), "{members}: {}", problem.detail);
    }
    let doubled = r#"{"specversion": "1.0", "id": "1", "id": "2", "source": "/s", "type": "t", "data": 1}"#;
    assert_eq!(structured(doubled).expect_err("refused").detail, "id is given twice");
    let doubled = r#"{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": 1, "data": 2}"#;
    assert_eq!(structured(doubled).expect_err("refused").detail, "data is given twice");
}

#[test]
fn what_is_no_event_is_a_bad_body() {
    for (body, status, detail) in
        [("{", 400, "EOF"), ("[]", 422, "expected an event, which is an object"), ("\"x\"", 422, "expected an event")]
    {
        let problem = structured(body).expect_err("refused");
        assert_eq!((problem.status.as_u16(), problem.kind), (status, "invalid-body"), "{body}");
        assert!(problem.detail.contains(detail), "{}", problem.detail);
    }
    let many: serde_json::Map<_, _> = (0..=MEMBERS_MAX).map(|number| (format!("m{number}"), json!(1))).collect();
    let problem = structured(&Value::from(many).to_string()).expect_err("refused");
    assert!(problem.detail.contains("an event has at most 256 members"), "{}", problem.detail);
}

#[test]
fn attributes_stand_in_headers_too() {
    let more = [
        ("content-type", "application/json"),
        ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("ce-quoted", "\"a \\\"b\\\" %22\""),
        ("ce-percent", "100%, 5%2"),
        ("ce-tag", "paid"),
        ("ce-traceparent", "00-of-the-event-01"),
        ("traceparent", "00-of-the-request-01"),
        ("tracestate", "a=1"),
        ("property-colour", "red"),
    ];
    let draft = binary(&[&MUST[..], &more].concat()).expect("valid");
    assert_eq!(
        properties(&draft),
        [
            ("ce-id", "1"),
            ("ce-percent", "100%, 5%2"),
            ("ce-quoted", "a \"b\" \""),
            ("ce-source", "/s"),
            ("ce-specversion", "1.0"),
            ("ce-subject", "Euro \u{20ac} \u{1f600}"),
            ("ce-traceparent", "00-of-the-event-01"),
            ("ce-type", "t"),
            ("colour", "red"),
            ("content-type", "application/json"),
            ("tracestate", "a=1"),
        ]
    );
    assert_eq!((draft.tag.as_deref(), &draft.body[..]), (Some("paid"), &b"hello"[..]));
}

#[test]
fn what_is_wrong_with_headers_is_named() {
    for (header, detail) in [
        (("ce-id", "2"), "header ce-id is given twice"),
        (("ce-datacontenttype", "text/plain"), "Content-Type"),
        (("ce-my-name", "x"), "\"my-name\" is no attribute"),
        (("ce-subject", "%C0%A0"), "subject is not UTF-8 behind its percent signs"),
        (("ce-subject", "a%0d%0ab"), "subject is \"a\\r\\nb\", expected a text without control characters"),
        (("content-type", "text"), "datacontenttype is \"text\", expected a media type"),
        (("property-ce-id", "2"), "id is given twice"),
    ] {
        let problem = binary(&[&MUST[..], &[header]].concat()).expect_err("refused");
        assert!(problem.detail.contains(detail), "{header:?}: {}", problem.detail);
    }
    for (missing, _) in MUST {
        let others: Vec<_> = MUST.into_iter().filter(|(name, _)| *name != missing).collect();
        let name = missing.replace("ce-", "");
        assert_eq!(binary(&others).expect_err("refused").detail, format!("{name} is missing"));
    }
    let both = [&MUST[..], &[("ce-region", "eu"), ("property-region", "us")]].concat();
    assert!(
        binary(&both).expect_err("refused").detail.starts_with("region is given as an attribute and as a property")
    );
    let both = [&MUST[..], &[("ce-tag", "a"), ("tag", "b")]].concat();
    assert_eq!(binary(&both).expect_err("refused").detail, "tag is given twice");
}

#[test]
fn media_types_tell_how_events_come() {
    let mode = |media_type: &'static str| {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))]);
        Mode::of(&headers).map_err(|problem| problem.status.as_u16())
    };
    assert_eq!(mode("application/cloudevents+json; charset=UTF-8"), Ok(Some(Mode::Structured)));
    assert_eq!(mode("Application/CloudEvents+JSON"), Ok(Some(Mode::Structured)));
    assert_eq!(mode("application/cloudevents-batch+json"), Ok(Some(Mode::Batch)));
    assert_eq!(mode("application/cloudevents+avro"), Err(415));
    assert_eq!(mode("application/cloudevents"), Err(415));
    assert_eq!(mode("application/json"), Ok(None));
    // Those of one in JSON may be said once more in headers; the document counts.
    let headers = [("content-type", "application/cloudevents+json"), ("ce-id", "other")];
    assert!(binary(&headers).expect_err("its body is none").detail.contains("expected value"));
}

#[test]
fn events_of_a_batch_are_told_apart() {
    let events = json!([event(json!({"data": 1})), event(json!({"id": ""})), 5, event(json!({"data_base64": "AA=="}))]);
    let body = Bytes::from(events.to_string());
    let drafts: Vec<_> = batch(&body, 4).expect("a list").collect();
    let statuses: Vec<_> =
        drafts.iter().map(|draft| draft.as_ref().map_err(|problem| problem.status.as_u16()).err()).collect();
    assert_eq!(statuses, [None, Some(400), Some(422), None]);
    assert_eq!(batch(&body, 3).err().map(|problem| problem.status.as_u16()), Some(400));
    assert_eq!(batch(&Bytes::from_static(b"{}"), 3).err().map(|problem| problem.status.as_u16()), Some(422));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC*") {
        for mode in [Mode::Structured, Mode::Batch] {
            let _ = one(Some(mode), &HeaderMap::new(), NewMessage::default(), &Bytes::copy_from_slice(&bytes));
        }
        let members = json!({"specversion": "1.0", "id": &text, "source": &text, "type": "t", "time": &text, &text: 1, "data": &text});
        let _ = structured(&members.to_string());
        let _ = decoded("id", &text);
    }

    #[test]
    fn what_is_percent_encoded_is_decoded(text in "\\PC*") {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        prop_assert_eq!(decoded("id", &encoded).ok(), Some(text));
    }
}
