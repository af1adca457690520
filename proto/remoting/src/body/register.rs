//! What a broker tells when it registers: its topics and their version, as JSON or compressed.
//!
//! The compressed form is a zlib stream of big-endian numbers and texts:
//!
//! | bytes         | what                                                                     |
//! |---------------|--------------------------------------------------------------------------|
//! | 4 + n         | the version, JSON                                                        |
//! | 4, again 4 + n | how many topics, and each as [`TopicConfig::parse`] takes it            |
//! | 4 + n         | servers that filter, JSON; always an empty list since 4.x                |
//! | 4, again 4 + n | since 5.0: how many mappings of static topics, and each, JSON           |
//!
//! Source: Apache 5.5 `RegisterBrokerBody`.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{DataVersion, TopicConfig};
use crate::json;

/// Most bytes that a compressed registration may have in the end: about 600,000 topics.
pub const INFLATED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most bytes of one part of it.
const PART_BYTES_MAX: u32 = 1024 * 1024;
/// First byte of a zlib stream. No JSON begins with it.
const ZLIB: u8 = 0x78;
/// First version that tells mappings: V5_0_0.
const VERSION_MAPPINGS: i32 = 413;

/// Why a registration cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no zlib stream, ends too early, or is longer than [`INFLATED_BYTES_MAX`].
    #[error("the compressed registration cannot be read: {0}")]
    Inflate(#[from] io::Error),
    /// A length or a count that makes no sense.
    #[error("a part of the compressed registration has {bytes} bytes, limit is {PART_BYTES_MAX}")]
    Part {
        /// What it says.
        bytes: u32,
    },
    /// A topic that cannot be read.
    #[error("a topic of the compressed registration reads {0:?}")]
    Topic(String),
    /// A JSON part.
    #[error(transparent)]
    Json(#[from] json::Error),
}

/// A broker's topics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegisterBroker {
    /// Their version.
    pub version: DataVersion,
    /// By name, each with that name inside.
    pub topics: BTreeMap<String, TopicConfig>,
    /// How queues of static topics are spread, by topic.
    pub mappings: BTreeMap<String, Value>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    #[serde(deserialize_with = "or_default")]
    topic_config_serialize_wrapper: Wrapper,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wrapper {
    #[serde(deserialize_with = "or_default")]
    data_version: DataVersion,
    #[serde(deserialize_with = "or_default")]
    topic_config_table: BTreeMap<String, TopicConfig>,
    #[serde(deserialize_with = "or_default")]
    topic_queue_mapping_info_map: BTreeMap<String, Value>,
}

fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl RegisterBroker {
    /// Reads the body that a broker of `version` sends. The header's `compressed` is not asked: current brokers
    /// compress and say that they do not.
    ///
    /// # Errors
    /// [`Error`].
    pub fn decode(body: &[u8], version: i32) -> Result<Self, Error> {
        match body.first() {
            None => Ok(Self::default()),
            Some(&ZLIB) => Self::inflate(body, version),
            Some(_) => {
                let Body { topic_config_serialize_wrapper: wrapper } = json::from_slice(body)?;
                let topics = wrapper.topic_config_table.into_values();
                Ok(Self {
                    version: wrapper.data_version,
                    topics: topics.map(|topic| (topic.topic_name.clone(), topic)).collect(),
                    mappings: wrapper.topic_queue_mapping_info_map,
                })
            }
        }
    }

    /// The body that says this, as JSON: name servers of every version read it.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let wrapper = Wrapper {
            data_version: self.version,
            topic_config_table: self.topics,
            topic_queue_mapping_info_map: self.mappings,
        };
        json::to_vec(&Body { topic_config_serialize_wrapper: wrapper }, json::Dialect::Standard)
    }

    /// The same compressed, which is a tenth as long and fits into a frame with far more topics. The request must say so
    /// ([`compressed`](crate::requests::RegisterBroker::compressed)).
    ///
    /// # Panics
    /// Never: memory takes everything.
    #[must_use]
    pub fn encode_compressed(&self) -> Vec<u8> {
        let mut out = ZlibEncoder::new(Vec::new(), Compression::default());
        self.write_parts(&mut out).and_then(|()| out.finish()).expect("memory takes everything")
    }

    fn write_parts(&self, out: &mut impl Write) -> io::Result<()> {
        let text = |value: &Value| value.to_string().into_bytes();
        put_part(out, &json::to_vec(&self.version, json::Dialect::Standard))?;
        put_number(out, self.topics.len())?;
        self.topics.values().try_for_each(|topic| put_part(out, topic.to_string().as_bytes()))?;
        put_part(out, b"[]")?;
        put_number(out, self.mappings.len())?;
        self.mappings.values().try_for_each(|mapping| put_part(out, &text(mapping)))
    }

    fn inflate(body: &[u8], version: i32) -> Result<Self, Error> {
        let mut rest = ZlibDecoder::new(body).take(INFLATED_BYTES_MAX);
        let mut registered = Self { version: json::from_slice(&part(&mut rest)?)?, ..Self::default() };
        for _ in 0..number(&mut rest)? {
            let text = String::from_utf8_lossy(&part(&mut rest)?).into_owned();
            let topic = TopicConfig::parse(&text).ok_or(Error::Topic(text))?;
            registered.topics.insert(topic.topic_name.clone(), topic);
        }
        part(&mut rest)?;
        if version >= VERSION_MAPPINGS {
            for _ in 0..number(&mut rest)? {
                let mapping: Value = json::from_slice(&part(&mut rest)?)?;
                let topic = mapping.get("topic").and_then(Value::as_str).unwrap_or_default().to_owned();
                registered.mappings.insert(topic, mapping);
            }
        }
        Ok(registered)
    }
}

fn put_number(out: &mut impl Write, number: usize) -> io::Result<()> {
    out.write_all(&u32::try_from(number).map_err(io::Error::other)?.to_be_bytes())
}

fn put_part(out: &mut impl Write, part: &[u8]) -> io::Result<()> {
    put_number(out, part.len())?;
    out.write_all(part)
}

fn number(rest: &mut impl Read) -> Result<u32, Error> {
    let mut bytes = [0; 4];
    rest.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn part(rest: &mut impl Read) -> Result<Vec<u8>, Error> {
    let bytes = number(rest)?;
    if bytes > PART_BYTES_MAX {
        return Err(Error::Part { bytes });
    }
    let mut part = Vec::new();
    // Grows with what there is, so that an announced length alone costs nothing.
    if rest.take(bytes.into()).read_to_end(&mut part)? < bytes as usize {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(part)
}

#[cfg(test)]
mod tests;
