//! A message's metadata in HTTP headers, both ways. Names of headers have no case, so property names are in lower case here.

use http::{HeaderMap, HeaderName, HeaderValue};
use proxy::messaging::body::Encoding;
use proxy::messaging::message::Received;

use crate::problem::Problem;
use crate::views::messaging::NewMessage;

/// What comes before the name of a property.
const PROPERTY: &str = "property-";
/// W3C trace context, which consumers find as properties of the same names.
pub(super) const TRACE: [&str; 2] = ["traceparent", "tracestate"];

impl NewMessage {
    /// What a request's headers say of the message in its body.
    ///
    /// # Errors
    /// A value that is no UTF-8, or a header twice that may stand once.
    pub(super) fn of_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut message = Self::default();
        for (name, value) in headers {
            let name = name.as_str();
            let text = || text(name, value);
            let is_again = match name {
                "tag" => message.tag.replace(text()?).is_some(),
                "message-group" => message.message_group.replace(text()?).is_some(),
                "delay" => message.delay.replace(text()?).is_some(),
                "deliver-at" => message.deliver_at.replace(text()?).is_some(),
                "idempotency-key" => message.idempotency_key.replace(text()?).is_some(),
                "priority" => message.priority.replace(priority(&text()?)?).is_some(),
                "key" => {
                    message.keys.push(text()?);
                    false
                }
                _ => match name.strip_prefix(PROPERTY).or(TRACE.contains(&name).then_some(name)) {
                    Some(property) => message.properties.insert(property.to_owned(), text()?).is_some(),
                    None => false,
                },
            };
            if is_again {
                return Err(twice(name));
            }
        }
        Ok(message)
    }
}

fn priority(text: &str) -> Result<i32, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid(format!("header priority is {text:?}, expected a whole number from 0 on")))
}

pub(super) fn single(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| text(name, value)).transpose()?;
    if values.next().is_some() {
        return Err(twice(name));
    }
    Ok(first)
}

fn twice(name: &str) -> Problem {
    Problem::invalid(format!("header {name} is given twice"))
}

fn text(name: &str, value: &HeaderValue) -> Result<String, Problem> {
    let text = str::from_utf8(value.as_bytes());
    text.map(str::to_owned).map_err(|_| Problem::invalid(format!("header {name} is not UTF-8")))
}

/// Puts a message's metadata into an answer's headers. A text that no header can hold is left out, and named by
/// `omitted`: a line break would begin another header.
pub(crate) fn put(message: &Received, headers: &mut HeaderMap) {
    let mut omitted = Vec::new();
    let mut add = |name: String, value: &str| {
        let pair = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()));
        if let (Ok(header), Ok(value)) = pair {
            headers.append(header, value);
        } else {
            let shown: String = name.chars().filter(char::is_ascii_graphic).collect();
            omitted.push(shown);
        }
    };
    add("message-id".to_owned(), &message.message_id);
    add("receipt-handle".to_owned(), &message.handle);
    for (name, number) in [
        ("attempt", i64::from(message.attempt)),
        ("queue", i64::from(message.queue)),
        ("offset", i64::try_from(message.offset).unwrap_or(i64::MAX)),
        ("born-at-ms", message.born_at.0),
        ("stored-at-ms", message.stored_at.0),
    ] {
        add(name.to_owned(), &number.to_string());
    }
    for (name, value) in [("tag", &message.tag), ("message-group", &message.message_group)] {
        if let Some(value) = value {
            add(name.to_owned(), value);
        }
    }
    for key in &message.keys {
        add("key".to_owned(), key);
    }
    if let Some(priority) = message.priority {
        add("priority".to_owned(), &priority.to_string());
    }
    for (name, value) in &message.properties {
        let is_trace = TRACE.contains(&name.as_str());
        add(if is_trace { name.clone() } else { format!("{PROPERTY}{name}") }, value);
    }
    if message.encoding == Encoding::Compressed {
        headers.insert("compressed", HeaderValue::from_static("true"));
    }
    let omitted = HeaderValue::from_str(&omitted.join(" "));
    if let Some(omitted) = omitted.ok().filter(|omitted| !omitted.is_empty()) {
        headers.insert("omitted", omitted);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("valid");
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("valid"));
        }
        headers
    }

    fn detail(pairs: &[(&str, &str)]) -> String {
        NewMessage::of_headers(&headers(pairs)).expect_err("refused").detail
    }

    #[test]
    fn headers_say_what_json_says() {
        let pairs = [
            ("Tag", "t"),
            ("Key", "k1"),
            ("Key", "k2"),
            ("Delay", "30s"),
            ("Priority", "3"),
            ("Property-Colour", "röd"),
            ("traceparent", "00-1-2-01"),
            ("User-Agent", "curl"),
        ];
        let message = NewMessage::of_headers(&headers(&pairs)).expect("valid");
        assert_eq!(
            (message.tag.as_deref(), message.delay.as_deref(), message.priority),
            (Some("t"), Some("30s"), Some(3))
        );
        assert_eq!(message.keys, ["k1", "k2"]);
        let properties = [("colour", "röd"), ("traceparent", "00-1-2-01")];
        assert_eq!(
            message.properties,
            BTreeMap::from(properties.map(|(name, value)| (name.to_owned(), value.to_owned())))
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(detail(&[("Tag", "a"), ("Tag", "b")]), "header tag is given twice");
        assert_eq!(detail(&[("Property-A", "a"), ("property-a", "b")]), "header property-a is given twice");
        assert!(detail(&[("Priority", "high")]).contains("\"high\""));
        let mut latin = HeaderMap::new();
        latin.insert("tag", HeaderValue::from_bytes(b"\xff").expect("opaque"));
        assert_eq!(NewMessage::of_headers(&latin).expect_err("refused").detail, "header tag is not UTF-8");
    }

    #[test]
    fn a_stored_text_cannot_begin_another_header() {
        let message = Received {
            properties: [("a", "x\r\nSet-Cookie: b"), ("b c", "1"), ("d", "2")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..super::super::tests::received()
        };
        let mut headers = HeaderMap::new();
        put(&message, &mut headers);
        assert_eq!(headers["property-d"], "2");
        assert_eq!(headers["omitted"], "property-a property-bc");
        assert!(!headers.contains_key("set-cookie"));
    }

    #[test]
    fn a_body_that_is_still_compressed_is_marked() {
        for (encoding, mark) in [(Encoding::Identity, None), (Encoding::Compressed, Some("true"))] {
            let mut headers = HeaderMap::new();
            put(&Received { encoding, ..super::super::tests::received() }, &mut headers);
            assert_eq!(headers.get("compressed").map(|value| value.to_str().expect("text")), mark);
        }
    }
}
