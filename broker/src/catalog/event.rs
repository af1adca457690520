//! The byte form of catalog changes, in the journal and in snapshots.
//!
//! | tag | change        | fields                                                              |
//! |-----|---------------|---------------------------------------------------------------------|
//! | 1   | topic put     | name, read queues, write queues, flags, type                        |
//! | 2   | topic deleted | name, count, end offset of each queue                               |
//! | 3   | group put     | name, flags, attempts, consume timeout ms, retry policy             |
//! | 4   | group deleted | name                                                                |

use std::time::Duration;

use types::{GroupConfig, GroupName, MessageType, QueueOffset, RetryPolicy, TopicConfig, TopicName, TopicType};

use crate::codec::{Input, Malformed, put_text, put_u64};
use crate::journal::UNKNOWN_EVENT;

/// A change of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The topic is there with these settings.
    PutTopic(TopicConfig),
    /// The topic is gone.
    DeleteTopic {
        /// Its name.
        name: TopicName,
        /// Where each of its queues ended; a later topic of this name begins there.
        ends: Vec<QueueOffset>,
    },
    /// The group is there with these settings.
    PutGroup(GroupConfig),
    /// The group is gone.
    DeleteGroup {
        /// Its name.
        name: GroupName,
    },
}

const PUT_TOPIC: u8 = 1;
const DELETE_TOPIC: u8 = 2;
const PUT_GROUP: u8 = 3;
const DELETE_GROUP: u8 = 4;

const READABLE: u8 = 1;
const WRITABLE: u8 = 1 << 1;
const AUTO_CREATED: u8 = 1 << 2;
const FIFO: u8 = 1 << 3;
const ENABLED: u8 = 1 << 4;

impl Event {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::PutTopic(config) => {
                out.push(PUT_TOPIC);
                put_topic(out, config);
            }
            Self::DeleteTopic { name, ends } => {
                out.push(DELETE_TOPIC);
                put_text(out, name.as_str());
                put_ends(out, ends);
            }
            Self::PutGroup(config) => {
                out.push(PUT_GROUP);
                put_group(out, config);
            }
            Self::DeleteGroup { name } => {
                out.push(DELETE_GROUP);
                put_text(out, name.as_str());
            }
        }
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        match input.u8()? {
            PUT_TOPIC => Ok(Self::PutTopic(topic(input)?)),
            DELETE_TOPIC => Ok(Self::DeleteTopic { name: input.topic()?, ends: ends(input)? }),
            PUT_GROUP => Ok(Self::PutGroup(group(input)?)),
            DELETE_GROUP => Ok(Self::DeleteGroup { name: input.group()? }),
            _ => Err(UNKNOWN_EVENT),
        }
    }
}

pub(super) fn put_ends(out: &mut Vec<u8>, ends: &[QueueOffset]) {
    put_u64(out, ends.len() as u64);
    for end in ends {
        put_u64(out, end.0);
    }
}

pub(super) fn ends(input: &mut Input<'_>) -> Result<Vec<QueueOffset>, Malformed> {
    let count = input.count()?;
    (0..count).map(|_| input.queue_offset()).collect()
}

pub(super) fn put_topic(out: &mut Vec<u8>, config: &TopicConfig) {
    put_text(out, config.name.as_str());
    put_u64(out, config.read_queues.into());
    put_u64(out, config.write_queues.into());
    out.push(
        flag(config.is_readable, READABLE)
            | flag(config.is_writable, WRITABLE)
            | flag(config.is_auto_created, AUTO_CREATED),
    );
    out.push(type_code(config.topic_type));
}

pub(super) fn topic(input: &mut Input<'_>) -> Result<TopicConfig, Malformed> {
    let (name, read_queues, write_queues, flags) = (input.topic()?, input.u32()?, input.u32()?, input.u8()?);
    Ok(TopicConfig {
        name,
        read_queues,
        write_queues,
        is_readable: flags & READABLE != 0,
        is_writable: flags & WRITABLE != 0,
        topic_type: type_of(input.u8()?)?,
        is_auto_created: flags & AUTO_CREATED != 0,
    })
}

pub(super) fn put_group(out: &mut Vec<u8>, config: &GroupConfig) {
    put_text(out, config.name.as_str());
    out.push(
        flag(config.is_fifo, FIFO) | flag(config.is_enabled, ENABLED) | flag(config.is_auto_created, AUTO_CREATED),
    );
    put_u64(out, config.attempts_max.into());
    put_ms(out, config.consume_timeout);
    match &config.retry {
        RetryPolicy::Customized { next } => {
            out.push(0);
            put_u64(out, next.len() as u64);
            for wait in next {
                put_ms(out, *wait);
            }
        }
        RetryPolicy::Exponential { initial, max, multiplier } => {
            out.push(1);
            put_ms(out, *initial);
            put_ms(out, *max);
            put_u64(out, (*multiplier).into());
        }
    }
}

pub(super) fn group(input: &mut Input<'_>) -> Result<GroupConfig, Malformed> {
    let (name, flags, attempts_max) = (input.group()?, input.u8()?, input.u32()?);
    let consume_timeout = ms(input)?;
    let retry = match input.u8()? {
        0 => {
            let count = input.count()?;
            RetryPolicy::Customized { next: (0..count).map(|_| ms(input)).collect::<Result<_, _>>()? }
        }
        1 => RetryPolicy::Exponential { initial: ms(input)?, max: ms(input)?, multiplier: input.u32()? },
        _ => return Err(Malformed { what: "retry policy" }),
    };
    Ok(GroupConfig {
        name,
        is_fifo: flags & FIFO != 0,
        is_enabled: flags & ENABLED != 0,
        attempts_max,
        retry,
        consume_timeout,
        is_auto_created: flags & AUTO_CREATED != 0,
    })
}

fn flag(is_set: bool, bit: u8) -> u8 {
    if is_set { bit } else { 0 }
}

fn put_ms(out: &mut Vec<u8>, duration: Duration) {
    put_u64(out, u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
}

fn ms(input: &mut Input<'_>) -> Result<Duration, Malformed> {
    input.u64().map(Duration::from_millis)
}

fn type_code(topic_type: TopicType) -> u8 {
    match topic_type {
        TopicType::Mixed => 0,
        TopicType::Only(MessageType::Normal) => 1,
        TopicType::Only(MessageType::Fifo) => 2,
        TopicType::Only(MessageType::Delay) => 3,
        TopicType::Only(MessageType::Transaction) => 4,
        TopicType::Only(MessageType::Priority) => 5,
        TopicType::Only(MessageType::Lite) => 6,
    }
}

fn type_of(code: u8) -> Result<TopicType, Malformed> {
    Ok(match code {
        0 => TopicType::Mixed,
        1 => TopicType::Only(MessageType::Normal),
        2 => TopicType::Only(MessageType::Fifo),
        3 => TopicType::Only(MessageType::Delay),
        4 => TopicType::Only(MessageType::Transaction),
        5 => TopicType::Only(MessageType::Priority),
        6 => TopicType::Only(MessageType::Lite),
        _ => return Err(Malformed { what: "topic type" }),
    })
}
