//! The header as JSON. Source: Apache 5.5 `RemotingSerializable`; what its reader tolerates was measured.

use serde::{Deserialize, Serialize};

use crate::command::{Command, Flag, Language, Opaque, SerializeType};
use crate::fields::Fields;
use crate::frame::Error;

/// In the order in which Apache writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    code: i32,
    ext_fields: &'a Fields,
    flag: i32,
    language: &'static str,
    opaque: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<&'a str>,
    #[serde(rename = "serializeTypeCurrentRPC")]
    serialize_type: &'static str,
    version: i32,
}

/// What is missing has Java's default.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Read {
    code: i32,
    ext_fields: Option<Fields>,
    flag: i32,
    language: Option<LanguageName>,
    opaque: i32,
    remark: Option<String>,
    version: i32,
}

/// A language that a header names, though it may name none that we know.
#[derive(Deserialize)]
#[serde(from = "Option<String>")]
struct LanguageName(Language);

impl From<Option<String>> for LanguageName {
    fn from(name: Option<String>) -> Self {
        Self(name.map_or(Language::OTHER, |name| Language::of_name(&name)))
    }
}

pub(crate) fn encode(command: &Command) -> Vec<u8> {
    let written = Written {
        code: command.code,
        ext_fields: &command.fields,
        flag: command.flag.0,
        language: command.language.name(),
        opaque: command.opaque.0,
        remark: command.remark.as_deref(),
        serialize_type: "JSON",
        version: command.version,
    };
    serde_json::to_vec(&written).expect("texts and numbers always have a JSON form")
}

pub(crate) fn decode(header: &[u8]) -> Result<Command, Error> {
    let read: Read = serde_json::from_slice(header).map_err(|error| Error::Json(error.to_string()))?;
    Ok(Command {
        code: read.code,
        language: read.language.map_or(Language::JAVA, |LanguageName(language)| language),
        version: read.version,
        opaque: Opaque(read.opaque),
        flag: Flag(read.flag),
        remark: read.remark,
        fields: read.ext_fields.unwrap_or_default(),
        body: bytes::Bytes::new(),
        serialize_type: SerializeType::Json,
    })
}
