//! The header in RocketMQ's own form. All numbers are big-endian and signed.
//!
//! | bytes | field                                                          |
//! |-------|----------------------------------------------------------------|
//! | 2     | code: above 32,767 there is no room                            |
//! | 1     | language                                                       |
//! | 2     | version                                                        |
//! | 4     | opaque                                                         |
//! | 4     | flag                                                           |
//! | 4 + n | remark, UTF-8; 0 bytes are none                                |
//! | 4 + n | extension fields: again and again 2 + n for the name, 4 + n for the text |
//!
//! Source: Apache 5.5 `RocketMQSerializable`.

use bytes::{BufMut, Bytes};

use crate::command::{Command, Flag, Language, Opaque, SerializeType};
use crate::fields::Fields;
use crate::frame::Error;

pub(crate) fn encode(command: &Command) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(64);
    out.put_i16(number("code", command.code)?);
    out.put_u8(command.language.number());
    out.put_i16(number("version", command.version)?);
    out.put_i32(command.opaque.0);
    out.put_i32(command.flag.0);
    put_text(&mut out, command.remark.as_deref().unwrap_or_default())?;
    let at = out.len();
    out.put_i32(0);
    for (name, text) in command.fields.iter() {
        out.put_i16(number("a field's name in bytes", name.len())?);
        out.put_slice(name.as_bytes());
        put_text(&mut out, text)?;
    }
    let fields_bytes: i32 = number("all fields in bytes", out.len() - at - 4)?;
    out[at..at + 4].copy_from_slice(&fields_bytes.to_be_bytes());
    Ok(out)
}

fn number<T, N>(what: &'static str, value: N) -> Result<T, Error>
where
    N: TryInto<i64>,
    T: TryFrom<i64>,
{
    let value = value.try_into().unwrap_or(i64::MAX);
    T::try_from(value).map_err(|_| Error::NoRoom { what, value })
}

fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), Error> {
    out.put_i32(number("a text in bytes", text.len())?);
    out.put_slice(text.as_bytes());
    Ok(())
}

pub(crate) fn decode(header: &[u8]) -> Result<Command, Error> {
    let mut rest = Rest(header);
    let code = i16::from_be_bytes(rest.take("the code")?);
    let [language] = rest.take("the language")?;
    let version = i16::from_be_bytes(rest.take("the version")?);
    let opaque = Opaque(i32::from_be_bytes(rest.take("the opaque")?));
    let flag = Flag(i32::from_be_bytes(rest.take("the flag")?));
    let remark = rest.text("the remark")?;
    let mut fields = Fields::default();
    let fields_bytes = rest.length("the fields")?;
    let mut pairs = Rest(rest.bytes("the fields", fields_bytes)?);
    while !pairs.0.is_empty() {
        let name_bytes = i16::from_be_bytes(pairs.take("a field's name")?);
        let name_bytes = usize::try_from(name_bytes).map_err(|_| Error::Cut("a field's name"))?;
        let name = utf8("a field's name", pairs.bytes("a field's name", name_bytes)?)?;
        let text = pairs.text("a field's text")?;
        if !fields.set(name.to_owned(), text.to_owned()) {
            return Err(Error::TooManyFields);
        }
    }
    Ok(Command {
        code: code.into(),
        language: Language::of_number(language),
        version: version.into(),
        opaque,
        flag,
        remark: (!remark.is_empty()).then(|| remark.to_owned()),
        fields,
        body: Bytes::new(),
        serialize_type: SerializeType::RocketMq,
    })
}

fn utf8<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, Error> {
    std::str::from_utf8(bytes).map_err(|_| Error::NotUtf8(what))
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Error::Cut(what))?;
        self.0 = rest;
        Ok(*first)
    }

    fn bytes(&mut self, what: &'static str, bytes: usize) -> Result<&'a [u8], Error> {
        let (first, rest) = self.0.split_at_checked(bytes).ok_or(Error::Cut(what))?;
        self.0 = rest;
        Ok(first)
    }

    fn length(&mut self, what: &'static str) -> Result<usize, Error> {
        usize::try_from(i32::from_be_bytes(self.take(what)?)).map_err(|_| Error::Cut(what))
    }

    fn text(&mut self, what: &'static str) -> Result<&'a str, Error> {
        let bytes = self.length(what)?;
        utf8(what, self.bytes(what, bytes)?)
    }
}
