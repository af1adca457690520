//! JSON bodies in both dialects: the standard, and fastjson's, which leaves the quotes of numeric keys out. Both have objects in the place
//! of keys, in tables by queue; those are read as texts.
//!
//! Source: what fastjson 1.2.83 (Apache 5.3.3) and fastjson2 (5.5.0) write and read, measured.

use std::borrow::Cow;
use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::Formatter;

/// Most objects and lists in each other; no body of Apache's has more than 8.
pub const DEPTH_MAX: usize = 64;

/// First version whose clients are answered in standard JSON: V4_9_4. Source: `ClientRequestProcessor#getRouteInfoByTopic`.
const VERSION_STANDARD: i32 = 401;

/// How keys that are numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// In quotes.
    Standard,
    /// Bare, as clients in C++, Go and Python of that time expect them.
    Fastjson,
}

impl Dialect {
    /// What a peer of this version is written to.
    #[must_use]
    pub const fn of(version: i32) -> Self {
        if version >= VERSION_STANDARD { Self::Standard } else { Self::Fastjson }
    }
}

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too deep.
    #[error("the JSON is more than {DEPTH_MAX} objects and lists deep")]
    TooDeep,
    /// Not JSON, or not what was expected.
    #[error("the JSON cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

/// Reads a body of either dialect.
///
/// # Errors
/// [`Error`].
pub fn from_slice<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    Ok(serde_json::from_slice(&quote_keys(body)?)?)
}

/// Writes a body.
///
/// # Panics
/// If `value` has no JSON form, which all types in [`crate::body`] have.
#[must_use]
pub fn to_vec<T: Serialize>(value: &T, dialect: Dialect) -> Vec<u8> {
    match dialect {
        Dialect::Standard => serde_json::to_vec(value).expect("bodies have a JSON form"),
        Dialect::Fastjson => {
            let mut out = Vec::new();
            let mut serializer = serde_json::Serializer::with_formatter(&mut out, BareKeys::default());
            value.serialize(&mut serializer).expect("bodies have a JSON form");
            out
        }
    }
}

/// Puts keys without quotes into quotes, objects that are keys as a text each; the rest stays as it is, whatever it is.
fn quote_keys(body: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    let mut out: Option<Vec<u8>> = None;
    let mut is_object = Vec::new();
    let mut is_key_next = false;
    let mut at = 0;
    while let Some(&byte) = body.get(at) {
        let end = match byte {
            b'"' => end_of_text(body, at),
            b'{' | b'[' if is_object.len() == DEPTH_MAX => return Err(Error::TooDeep),
            _ if is_key_next && is_of_bare_key(byte) => {
                let length = body[at..].iter().take_while(|byte| is_of_bare_key(**byte)).count();
                let out = out.get_or_insert_with(|| body[..at].to_vec());
                out.push(b'"');
                out.extend_from_slice(&body[at..at + length]);
                out.push(b'"');
                at += length;
                continue;
            }
            b'{' if is_key_next && let Some((text, end)) = object(body, at) => {
                let out = out.get_or_insert_with(|| body[..at].to_vec());
                serde_json::to_writer(out, text)?;
                (at, is_key_next) = (end, false);
                continue;
            }
            _ => at + 1,
        };
        match byte {
            b'{' | b'[' => is_object.push(byte == b'{'),
            b'}' | b']' => drop(is_object.pop()),
            _ => {}
        }
        is_key_next = match byte {
            b'{' => true,
            b',' => is_object.last() == Some(&true),
            b' ' | b'\t' | b'\n' | b'\r' => is_key_next,
            _ => false,
        };
        if let Some(out) = &mut out {
            out.extend_from_slice(&body[at..end]);
        }
        at = end;
    }
    Ok(out.map_or(Cow::Borrowed(body), Cow::Owned))
}

/// The object that begins at `at`, and where it ends; none if it does not, or is no text.
fn object(body: &[u8], at: usize) -> Option<(&str, usize)> {
    let (mut depth, mut end) = (0_usize, at);
    loop {
        match body.get(end)? {
            b'"' => {
                end = end_of_text(body, end);
                continue;
            }
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        end += 1;
        if depth == 0 {
            return Some((str::from_utf8(&body[at..end]).ok()?, end));
        }
    }
}

fn is_of_bare_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'$' | b'.')
}

/// Behind the quote that ends the text which begins at `at`.
fn end_of_text(body: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while let Some(byte) = body.get(end) {
        match byte {
            b'"' => return end + 1,
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
    body.len()
}

/// Leaves the quotes of numeric keys out. A key's opening quote is held back until it is known what follows.
#[derive(Default)]
struct BareKeys {
    is_quote_due: bool,
    is_bare: bool,
}

impl BareKeys {
    fn open<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if std::mem::take(&mut self.is_quote_due) { writer.write_all(b"\"") } else { Ok(()) }
    }

    fn number<W: ?Sized + io::Write>(&mut self, writer: &mut W, number: impl std::fmt::Display) -> io::Result<()> {
        self.is_bare = std::mem::take(&mut self.is_quote_due);
        write!(writer, "{number}")
    }
}

impl Formatter for BareKeys {
    fn begin_string<W: ?Sized + io::Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.is_quote_due = true;
        Ok(())
    }

    fn end_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer)?;
        if std::mem::take(&mut self.is_bare) { Ok(()) } else { writer.write_all(b"\"") }
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        self.open(writer)?;
        writer.write_all(fragment.as_bytes())
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: serde_json::ser::CharEscape,
    ) -> io::Result<()> {
        self.open(writer)?;
        serde_json::ser::CompactFormatter.write_char_escape(writer, escape)
    }

    fn write_i64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        self.number(writer, value)
    }

    fn write_u32<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: u32) -> io::Result<()> {
        self.number(writer, value)
    }

    fn write_u64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        self.number(writer, value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn bare_keys_are_quoted_and_nothing_else_is_changed() {
        let quoted =
            |text: &str| String::from_utf8(quote_keys(text.as_bytes()).expect("not deep").into_owned()).expect("text");
        assert_eq!(quoted(r#"{0:"a:1,b",-1 : [{2:{}}, 3, true]}"#), r#"{"0":"a:1,b","-1" : [{"2":{}}, 3, true]}"#);
        assert_eq!(quoted(r#"{"a\"{0:1":{1:0},"b":2}"#), r#"{"a\"{0:1":{"1":0},"b":2}"#);
        for text in [r#"{"a":1}"#, "[0,1]", "", "{", "\"\\", "]]]{:::"] {
            assert_eq!(quoted(text), text);
        }
        assert!(matches!(quote_keys(&[b'['; DEPTH_MAX + 1]), Err(Error::TooDeep)));
    }

    #[test]
    fn objects_that_are_keys_become_texts() {
        let quoted =
            |text: &str| String::from_utf8(quote_keys(text.as_bytes()).expect("not deep").into_owned()).expect("text");
        assert_eq!(
            quoted(r#"{"t":{{"b":"}\"","q":0}:{1:2},{"b":{"c":3}} : 4}}"#),
            r#"{"t":{"{\"b\":\"}\\\"\",\"q\":0}":{"1":2},"{\"b\":{\"c\":3}}" : 4}}"#
        );
        for cut in [r#"{{"b":1"#, r#"{{"b"#, "{{"] {
            assert_eq!(quoted(cut), cut);
        }
    }

    #[test]
    fn numeric_keys_are_bare_only_in_fastjsons_dialect() {
        let value = (BTreeMap::from([(0_i64, "x\n1"), (-1, "")]), BTreeMap::from([("k", 1_u64)]));
        let written = |dialect| String::from_utf8(to_vec(&value, dialect)).expect("text");
        assert_eq!(written(Dialect::Standard), r#"[{"-1":"","0":"x\n1"},{"k":1}]"#);
        assert_eq!(written(Dialect::Fastjson), r#"[{-1:"",0:"x\n1"},{"k":1}]"#);
    }

    proptest! {
        #[test]
        fn both_dialects_say_the_same(table in prop::collection::btree_map(any::<i64>(), ".{0,8}", 0..4), text in ".{0,8}") {
            let value = (&table, &text);
            for dialect in [Dialect::Standard, Dialect::Fastjson] {
                let (read, read_text): (BTreeMap<i64, String>, String) = from_slice(&to_vec(&value, dialect)).expect("JSON");
                prop_assert_eq!((&read, &read_text), (&table, &text));
            }
        }

        #[test]
        fn standard_json_stays_as_it_is(text in r#"[\[\]{}:," a0\\-]{0,40}"#) {
            if serde_json::from_str::<Value>(&text).is_ok() {
                prop_assert_eq!(quote_keys(text.as_bytes()).expect("not deep"), text.as_bytes());
            }
        }
    }
}
