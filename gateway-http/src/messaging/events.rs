//! CloudEvents as messages: one as a JSON document, a batch of them, or one whose attributes stand in headers.
//!
//! | of the event                                                                            | of the message            |
//! |-----------------------------------------------------------------------------------------|---------------------------|
//! | `specversion`, `id`, `source`, `type`, `subject`, `time`, `dataschema`, other extensions | properties `ce-NAME`      |
//! | `datacontenttype`                                                                       | property `content-type`   |
//! | extensions `tag`, `messagegroup`                                                        | its tag and message group |
//! | `data` or `data_base64`                                                                 | its body                  |
//!
//! So a webhook of the format `cloudevents` (`webhooks/format.rs`) writes the same event.
//!
//! Source: CloudEvents 1.0.2, `spec.md`, `json-format.md` and `http-protocol-binding.md`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use proxy::Code;
use proxy::messaging::message::Draft;
use proxy::validate::Invalid;
use serde::Deserialize;
use serde::de::{self, IgnoredAny};
use serde_json::value::RawValue;

use super::headers::{TRACE, single};
use crate::problem::Problem;
use crate::views::messaging::NewMessage;

/// What stands before an attribute's name, in headers and in names of properties.
const ATTRIBUTE: &str = "ce-";
/// How the media types of events begin.
const FAMILY: &str = "application/cloudevents";
const VERSION: &str = "1.0";
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
/// All others are extensions.
const OWN: [&str; 8] = ["specversion", "id", "source", "type", "subject", "time", "dataschema", "datacontenttype"];
const CONTENT_TYPE: &str = "content-type";
/// Source: `spec.md`, "SHOULD NOT exceed 20 characters"; webhooks write no longer ones.
const NAME_BYTES_MAX: usize = 20;
/// Members of one event that are looked at; no message has place for so many.
const MEMBERS_MAX: usize = 256;
/// How a time begins, with a digit at each `0`; its fraction and its zone follow.
const TIME_FORM: &[u8] = b"0000-00-00T00:00:00";
/// Characters of a wrong value that are shown.
const SHOWN_CHARS_MAX: usize = 64;

/// How a request carries events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The attributes of one stand in headers, its data is the body.
    Binary,
    /// The body is one, in JSON.
    Structured,
    /// The body is a list of them, in JSON.
    Batch,
}

impl Mode {
    /// `None` of a request that carries no event.
    ///
    /// # Errors
    /// A format of events that is not known here.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !media_type.get(..FAMILY.len()).is_some_and(|start| start.eq_ignore_ascii_case(FAMILY)) {
            return Ok(headers.keys().any(|name| name.as_str().starts_with(ATTRIBUTE)).then_some(Self::Binary));
        }
        match &essence(media_type)[FAMILY.len()..] {
            "+json" => Ok(Some(Self::Structured)),
            "-batch+json" => Ok(Some(Self::Batch)),
            _ => {
                let (status, media_type) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, shown(media_type));
                let detail =
                    format!("content-type is {media_type:?}, events are taken as {FAMILY}+json or {FAMILY}-batch+json");
                Err(Problem { code: Some(Code::BadRequest), ..Problem::new(status, "invalid-body", detail) })
            }
        }
    }
}

/// The one message that a request is; `message` is what its other headers say of it.
///
/// # Errors
/// What is wrong with the event, by the name of its member.
pub(super) fn one(
    mode: Option<Mode>,
    headers: &HeaderMap,
    mut message: NewMessage,
    body: &Bytes,
) -> Result<Draft, Problem> {
    match mode {
        None => message.draft(body.clone()),
        Some(Mode::Binary) => {
            take_headers(headers, &mut message)?;
            message.draft(body.clone())
        }
        Some(Mode::Structured) => of_document(body, parse(body)?, message),
        Some(Mode::Batch) => Err(invalid("one event is expected here, not a batch")),
    }
}

/// The messages of a batch, each or what is wrong with it.
///
/// # Errors
/// It is no list, or too long a one; it is counted before any event of it is made.
pub(super) fn batch(
    body: &Bytes,
    events_max: usize,
) -> Result<impl Iterator<Item = Result<Draft, Problem>> + Send, Problem> {
    let messages = parse::<Vec<IgnoredAny>>(body)?.len();
    if messages > events_max {
        return Err(Invalid::TooManyMessages { messages, messages_max: events_max }.into());
    }
    let events: Vec<&RawValue> = parse(body)?;
    let event = move |event: &RawValue| of_document(body, parse(event.get().as_bytes())?, NewMessage::default());
    Ok(events.into_iter().map(event))
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::invalid_body(&error, error.to_string()))
}

/// The members of an event in JSON, in their order and as they are written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an event, which is an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(de::Error::custom(format!("an event has at most {MEMBERS_MAX} members")));
                    }
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// The message of an event whose members are slices of `body`.
fn of_document(body: &Bytes, members: Members<'_>, mut message: NewMessage) -> Result<Draft, Problem> {
    let (mut data, mut base64) = (None, None);
    for (name, value) in members.0 {
        let slot = match name.as_str() {
            "data" => &mut data,
            "data_base64" => &mut base64,
            _ => {
                if let Some(value) = attribute(&name, value)? {
                    take(&name, value, &mut message)?;
                }
                continue;
            }
        };
        if slot.replace(value).is_some() {
            return Err(twice(&name));
        }
    }
    check(&mut message)?;
    let data = match (data, base64) {
        (Some(value), None) => data_of(body, value, &mut message)?,
        (None, Some(value)) => {
            let text: String = expect("data_base64", "a string", value)?;
            STANDARD.decode(text).map_err(|error| invalid(format!("data_base64 is not Base64: {error}")))?.into()
        }
        (None, None) => {
            let problem = invalid("data is missing: a message without a body cannot be stored");
            return Err(Problem { code: Some(Code::MessageBodyEmpty), ..problem });
        }
        (Some(_), Some(_)) => return Err(invalid("data and data_base64 cannot be given together")),
    };
    message.draft(data)
}

/// The bytes of `data`: JSON as it is written, if that is its type, and else its text.
fn data_of(body: &Bytes, value: &RawValue, message: &mut NewMessage) -> Result<Bytes, Problem> {
    // Without a type it is JSON, and whoever passes an event on should say so.
    let media_type = message.properties.entry(CONTENT_TYPE.to_owned()).or_insert_with(|| "application/json".to_owned());
    if is_json(media_type) {
        return Ok(body.slice_ref(value.get().as_bytes()));
    }
    let expected = format!("a string, as datacontenttype is {:?}", shown(&essence(media_type)));
    expect::<String>("data", &expected, value).map(Bytes::from)
}

/// An attribute's value as its text; `None` of one that is not set.
fn attribute(name: &str, value: &RawValue) -> Result<Option<String>, Problem> {
    let text = value.get();
    let is_own = OWN.contains(&name);
    match text.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b't' | b'f') if !is_own => Ok(Some(text.to_owned())),
        Some(b'-' | b'0'..=b'9') if !is_own => {
            expect::<i32>(name, "a whole number of 32 bits", value).map(|number| Some(number.to_string()))
        }
        _ if is_own => expect(name, "a string", value).map(Some),
        _ => expect(name, "a string, a whole number, true or false", value).map(Some),
    }
}

fn expect<'a, T: Deserialize<'a>>(name: &str, expected: &str, value: &'a RawValue) -> Result<T, Problem> {
    let text = value.get();
    serde_json::from_str(text).map_err(|_| invalid(format!("{} is {}, expected {expected}", shown(name), shown(text))))
}

fn take_headers(headers: &HeaderMap, message: &mut NewMessage) -> Result<(), Problem> {
    for header in headers.keys() {
        let Some(name) = header.as_str().strip_prefix(ATTRIBUTE) else { continue };
        if name == "datacontenttype" {
            return Err(invalid("datacontenttype stands in the header Content-Type, not in ce-datacontenttype"));
        }
        let value = single(headers, header.as_str())?.unwrap_or_default();
        take(name, decoded(name, &value)?, message)?;
    }
    if let Some(media_type) = single(headers, CONTENT_TYPE)? {
        take("datacontenttype", media_type, message)?;
    }
    check(message)
}

/// A header's value without its quotes and percent signs. Source: `http-protocol-binding.md` §3.1.3.2.
fn decoded(name: &str, value: &str) -> Result<String, Problem> {
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut rest = value.as_bytes();
    let mut unquoted = Vec::new();
    if let Some(quoted) = quoted {
        let mut bytes = quoted.bytes();
        while let Some(byte) = bytes.next() {
            unquoted.push(if byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte });
        }
        rest = &unquoted;
    }
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let number = digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        let (next, left) = match number {
            Some(number) if byte == b'%' => (number, &after[2..]),
            _ => (byte, after),
        };
        decoded.push(next);
        rest = left;
    }
    String::from_utf8(decoded).map_err(|_| invalid(format!("{} is not UTF-8 behind its percent signs", shown(name))))
}

/// Takes an attribute over, if it is one.
fn take(name: &str, value: String, message: &mut NewMessage) -> Result<(), Problem> {
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name != "data"
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !is_name {
        let name = shown(name);
        return Err(invalid(format!(
            "{name:?} is no attribute: names are 1 to {NAME_BYTES_MAX} lower-case letters and digits, and not data"
        )));
    }
    if let Some(expected) = wrong(name, &value) {
        return Err(invalid(format!("{name} is {:?}, expected {expected}", shown(&value))));
    }
    let before = match name {
        "tag" => message.tag.replace(value),
        "messagegroup" => message.message_group.replace(value),
        "datacontenttype" => message.properties.insert(CONTENT_TYPE.to_owned(), value),
        _ => message.properties.insert(format!("{ATTRIBUTE}{name}"), value),
    };
    if before.is_some() { Err(twice(name)) } else { Ok(()) }
}

/// What is expected of an attribute's value, if it is something else.
fn wrong(name: &str, value: &str) -> Option<&'static str> {
    let is_noncharacter = |c: char| matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    if value.chars().any(|c| c.is_control() || is_noncharacter(c)) {
        return Some("a text without control characters and noncharacters");
    }
    let (is_right, expected) = match name {
        "specversion" => (value == VERSION, "1.0"),
        "id" | "type" | "subject" => (!value.is_empty(), "a text that is not empty"),
        "source" => (is_reference(value), "a URI reference"),
        "dataschema" => (is_uri(value), "a URI with its scheme"),
        "time" => (is_time(value), "a time as RFC 3339 has it, such as 2026-11-25T08:00:00Z"),
        "datacontenttype" => (is_media_type(value), "a media type"),
        _ => (true, ""),
    };
    (!is_right).then_some(expected)
}

/// Not empty, and of the characters of RFC 3986.
fn is_reference(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
}

fn is_uri(text: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    is_reference(text) && text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme))
}

/// The form is looked at here, as `jiff` reads more of ISO 8601 than RFC 3339 has. Source: RFC 3339 §5.6.
fn is_time(text: &str) -> bool {
    let is_like = |text: &[u8], form: &[u8]| {
        let is_in_place = |(byte, form): (&u8, &u8)| match form {
            b'0' => byte.is_ascii_digit(),
            b'+' => b"+-".contains(byte),
            _ => byte.eq_ignore_ascii_case(form),
        };
        text.len() == form.len() && text.iter().zip(form).all(is_in_place)
    };
    let Some((start, rest)) = text.as_bytes().split_at_checked(TIME_FORM.len()) else { return false };
    let fraction_bytes = match rest {
        [b'.', digits @ ..] => 1 + digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let zone = &rest[fraction_bytes..];
    let is_form = is_like(start, TIME_FORM) && (is_like(zone, b"Z") || is_like(zone, b"+00:00"));
    let is_form = is_form && zone.get(1..3).is_none_or(|hours| hours < b"24".as_slice());
    is_form && text.parse::<jiff::Timestamp>().is_ok()
}

/// Source: RFC 9110 §8.3.1 and §5.6.2.
fn is_media_type(text: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    text.is_ascii() && essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// Whether all is there, and nothing that would be written in the place of an attribute.
fn check(message: &mut NewMessage) -> Result<(), Problem> {
    let property = |name: &str| format!("{ATTRIBUTE}{name}");
    if let Some(missing) = REQUIRED.iter().find(|name| !message.properties.contains_key(&property(name))) {
        return Err(invalid(format!("{missing} is missing")));
    }
    // The trace of the event, not of the request that brings it.
    for name in TRACE {
        if message.properties.contains_key(&property(name)) {
            message.properties.remove(name);
        }
    }
    let attributes = message.properties.keys().filter_map(|name| name.strip_prefix(ATTRIBUTE));
    let mut extensions = attributes.filter(|name| !OWN.contains(name));
    match extensions.find(|name| message.properties.contains_key(*name)) {
        Some(name) => {
            Err(invalid(format!("{name} is given as an attribute and as a property, which are the same to a webhook")))
        }
        None => Ok(()),
    }
}

/// Whether an event's data of this media type is JSON. Source: `json-format.md` §3.1.
pub(crate) fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence.ends_with("/json") || essence.ends_with("+json")
}

/// A media type without its parameters, in lower case.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

fn twice(name: &str) -> Problem {
    invalid(format!("{name} is given twice"))
}

fn invalid(detail: impl Into<String>) -> Problem {
    let code = Some(Code::BadRequest);
    Problem { code, ..Problem::new(StatusCode::BAD_REQUEST, "invalid-event", detail) }
}

#[cfg(test)]
mod tests;
