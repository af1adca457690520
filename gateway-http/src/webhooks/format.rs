//! What a call carries: id, headers and body, of one message or of several.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use proxy::messaging::body::Encoding;
use proxy::messaging::message::Received;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::views::Format;
use crate::messaging::{is_json, put_headers};
use crate::views::messaging::ReceivedMessage;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CLOUD_EVENT: HeaderValue = HeaderValue::from_static("application/cloudevents+json");
/// Properties that a producer gave a CloudEvent's attributes by, as the HTTP binding has them.
const ATTRIBUTE: &str = "ce-";
/// The `type` of an event whose producer gave none.
const EVENT_TYPE: &str = "gantry.message";
/// Marks a body that is compressed in a way that only its producer knows: a header, and a CloudEvent's extension.
const COMPRESSED: &str = "compressed";
/// Longest name of an extension. Source: CloudEvents 1.0, "SHOULD NOT exceed 20 characters".
const EXTENSION_BYTES_MAX: usize = 20;
/// Longest id that is used as it is.
const ID_BYTES_MAX: usize = 128;

/// What is posted, not yet signed.
#[derive(Clone, Debug)]
pub(super) struct Content {
    /// The same for every delivery of the same messages.
    pub(super) id: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The content of a call with these messages; all formats but the batch take one.
pub(super) fn content(format: Format, topic: &str, mut messages: Vec<Received>) -> Content {
    let id = id(&messages);
    // A handle is for who leases, and that is this gateway.
    for message in &mut messages {
        message.handle.clear();
    }
    let mut headers = HeaderMap::new();
    let single = if format == Format::JsonBatch { None } else { messages.pop() };
    let (media_type, body) = match (format, single) {
        (Format::Raw, Some(message)) => {
            put_headers(&message, &mut headers);
            headers.remove("receipt-handle");
            if message.encoding == Encoding::Compressed {
                headers.insert(COMPRESSED, HeaderValue::from_static("true"));
            }
            (media_type(&message).unwrap_or(OCTETS), message.body)
        }
        (Format::CloudEvents, Some(message)) => (CLOUD_EVENT, event(topic, &message).into()),
        _ => (JSON, batch(topic, messages).to_string().into()),
    };
    headers.insert(CONTENT_TYPE, media_type);
    Content { id, headers, body }
}

fn media_type(message: &Received) -> Option<HeaderValue> {
    message.properties.get("content-type").and_then(|value| HeaderValue::from_str(value).ok())
}

/// The id that receivers tell repetitions by. A dot would make it ambiguous what is signed.
pub(super) fn id(messages: &[Received]) -> String {
    let is_plain = |id: &str| {
        (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.')
    };
    match messages {
        [message] if is_plain(&message.message_id) => message.message_id.clone(),
        _ => {
            let ids: Vec<&str> = messages.iter().map(|message| message.message_id.as_str()).collect();
            let hash = digest::digest(&digest::SHA256, ids.join("\n").as_bytes());
            let mut id = "sha256_".to_owned();
            types::hex::push_upper(&mut id, hash.as_ref());
            id
        }
    }
}

fn batch(topic: &str, messages: Vec<Received>) -> Value {
    let one = |message| {
        let mut shown = serde_json::to_value(ReceivedMessage::of(topic, message)).expect("plain data");
        if let Value::Object(members) = &mut shown {
            members.remove("handle");
        }
        shown
    };
    json!({"messages": messages.into_iter().map(one).collect::<Vec<_>>()})
}

/// An event in JSON. Source: CloudEvents 1.0.2, `json-format.md`.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(flatten)]
    attributes: BTreeMap<String, String>,
    #[serde(flatten)]
    data: Data<'a>,
}

#[derive(Serialize)]
enum Data<'a> {
    /// As it is written: a number loses no digit.
    #[serde(rename = "data")]
    Json(&'a RawValue),
    #[serde(rename = "data")]
    Text(&'a str),
    #[serde(rename = "data_base64")]
    Base64(String),
}

fn data<'a>(media_type: Option<&str>, body: &'a [u8]) -> Data<'a> {
    let data = if media_type.is_some_and(is_json) {
        serde_json::from_slice(body).ok().map(Data::Json)
    } else {
        str::from_utf8(body).ok().map(Data::Text)
    };
    data.unwrap_or_else(|| Data::Base64(STANDARD.encode(body)))
}

fn event(topic: &str, message: &Received) -> String {
    let mut attributes = BTreeMap::new();
    let mut set = |name: &str, value: String| attributes.insert(name.to_owned(), value);
    set("specversion", "1.0".to_owned());
    set("id", message.message_id.clone());
    set("source", format!("/topics/{topic}"));
    set("type", EVENT_TYPE.to_owned());
    if let Ok(time) = jiff::Timestamp::from_millisecond(message.born_at.0) {
        set("time", time.to_string());
    }
    let is_name = |name: &str| {
        (1..=EXTENSION_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let own = [("tag", message.tag.clone()), ("messagegroup", message.message_group.clone())];
    for (name, value) in own.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        set(name, value);
    }
    for (name, value) in &message.properties {
        let attribute = name.strip_prefix(ATTRIBUTE);
        let name = attribute.unwrap_or(name);
        // These say how the event is written here, whatever it was before.
        let is_form = matches!(name, "specversion" | "datacontenttype" | "data");
        // An ordinary property that is named like an attribute does not mean it.
        let is_taken = matches!(name, "id" | "source" | "type" | "time" | "subject" | "dataschema");
        if is_name(name) && !is_form && (attribute.is_some() || !is_taken) {
            set(name, value.clone());
        }
    }
    if message.encoding == Encoding::Compressed {
        set(COMPRESSED, "true".to_owned());
    }
    let media_type = message.properties.get("content-type").map(String::as_str);
    if let Some(media_type) = media_type {
        set("datacontenttype", media_type.to_owned());
    }
    serde_json::to_string(&Event { attributes, data: data(media_type, &message.body) }).expect("plain data")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messaging::tests::received;

    fn message(id: &str, properties: &[(&str, &str)], body: &'static [u8]) -> Received {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Received { message_id: id.to_owned(), properties, body: Bytes::from_static(body), ..received() }
    }

    fn json_of(format: Format, messages: Vec<Received>) -> Value {
        serde_json::from_slice(&content(format, "orders", messages).body).expect("JSON")
    }

    #[test]
    fn a_raw_call_is_the_message_with_its_metadata_and_without_its_handle() {
        let properties = [("content-type", "text/plain"), ("colour", "red")];
        let content = content(Format::Raw, "orders", vec![message("01AB", &properties, b"hello")]);
        assert_eq!((content.id.as_str(), content.body.as_ref()), ("01AB", b"hello".as_slice()));
        let header = |name: &str| content.headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!((header("content-type"), header("property-colour")), (Some("text/plain"), Some("red")));
        assert_eq!((header("message-id"), header("receipt-handle")), (Some("01AB"), None));
    }

    #[test]
    fn ids_are_constant_and_never_ambiguous() {
        let id_of = |ids: &[&str]| id(&ids.iter().map(|id| message(id, &[], b"")).collect::<Vec<_>>());
        assert_eq!(id_of(&["a"]), "a");
        for odd in ["a.b", "", "a b", "ä"] {
            assert!(id_of(&[odd]).starts_with("sha256_"), "{odd}");
        }
        assert_eq!(id_of(&["a", "b"]), id_of(&["a", "b"]));
        assert_ne!(id_of(&["a", "b"]), id_of(&["a", "c"]));
    }

    #[test]
    fn a_cloud_event_has_its_attributes_and_data() {
        let event = json_of(Format::CloudEvents, vec![message("id", &[("colour", "red"), ("Not A name", "x")], b"hi")]);
        let time = "1970-01-01T00:00:00Z";
        let expected = json!({"specversion": "1.0", "id": "id", "source": "/topics/orders", "type": "gantry.message",
            "time": time, "colour": "red", "data": "hi"});
        assert_eq!(event, expected);
        let json_data = [("content-type", "application/json"), ("ce-type", "t"), ("ce-specversion", "0.3")];
        let event = json_of(Format::CloudEvents, vec![message("id", &json_data, b"{\"a\": 1}")]);
        assert_eq!(
            (&event["type"], &event["data"]["a"], &event["specversion"]),
            (&json!("t"), &json!(1), &json!("1.0"))
        );
        let event = json_of(Format::CloudEvents, vec![message("id", &[], b"\xff")]);
        assert_eq!(event["data_base64"], "/w==");
    }

    #[test]
    fn data_is_json_by_its_type_and_stays_as_it_is_written() {
        for (media_type, body, written) in [
            (
                "application/json",
                "{\"n\": 12345678901234567890123, \"n\": 1.50}",
                "{\"n\": 12345678901234567890123, \"n\": 1.50}",
            ),
            ("TEXT/JSON", " 1e400 ", "1e400"),
            ("application/vnd.a+json; v=1", "\"a text\"", "\"a text\""),
            ("application/x-ndjson", "1", "\"1\""),
            ("text/plain; x=json", "{", "\"{\""),
        ] {
            let message = message("id", &[("content-type", media_type)], body.as_bytes());
            let event = content(Format::CloudEvents, "orders", vec![message]).body;
            let event = str::from_utf8(&event).expect("text");
            assert!(event.contains(&format!("\"data\":{written}")), "{media_type}: {event}");
        }
        let event = json_of(Format::CloudEvents, vec![message("id", &[("content-type", "application/json")], b"{")]);
        assert_eq!((event.get("data"), &event["data_base64"]), (None, &json!("ew==")));
    }

    #[test]
    fn a_batch_lists_messages_without_handles() {
        let batch = json_of(Format::JsonBatch, vec![message("a", &[], b"x"), message("b", &[], b"y")]);
        assert_eq!(batch["messages"][1]["messageId"], "b");
        assert_eq!(batch["messages"][0]["body"], "x");
        assert!(batch["messages"][0].get("handle").is_none());
    }
}
