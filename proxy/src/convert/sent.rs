//! A message as a client sends it, read where it lies: its texts and its body are slices of the request.
//!
//! The generated types say the same in several hundred bytes and half a dozen allocations a message, which cost as much as
//! all that is done with it until it is a record. Fields that no sent message needs are passed over.

use grpc::v2;

use wire::{Fields, Malformed, Value};

mod wire;

/// A [`v2::Message`] on its way in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sent<'a> {
    pub(crate) topic: Topic<'a>,
    /// Sorted by name, each name once.
    pub(crate) user_properties: Vec<(&'a str, &'a str)>,
    pub(crate) system: Option<System<'a>>,
    pub(crate) body: &'a [u8],
}

/// The name of a topic; one that is missing is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topic<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

/// The [`v2::SystemProperties`] that producers set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct System<'a> {
    pub(crate) tag: Option<&'a str>,
    pub(crate) keys: Vec<&'a str>,
    pub(crate) message_id: &'a str,
    pub(crate) body_encoding: i32,
    pub(crate) message_type: i32,
    pub(crate) born_timestamp: Option<prost_types::Timestamp>,
    pub(crate) born_host: &'a str,
    pub(crate) delivery_timestamp: Option<prost_types::Timestamp>,
    pub(crate) message_group: Option<&'a str>,
    pub(crate) trace_context: Option<&'a str>,
    pub(crate) orphaned_transaction_recovery_duration: Option<prost_types::Duration>,
    pub(crate) lite_topic: Option<&'a str>,
    pub(crate) priority: Option<i32>,
}

/// How many messages an encoded [`v2::SendMessageRequest`] has, as far as it can be read.
pub(crate) fn sent_count(request: &[u8]) -> usize {
    messages(request).count()
}

/// The messages of an encoded [`v2::SendMessageRequest`], some hundred bytes for each beside the request.
///
/// # Errors
/// [`Malformed`].
pub(crate) fn sent(request: &[u8]) -> Result<Vec<Sent<'_>>, Malformed> {
    let mut sent = Vec::with_capacity(sent_count(request));
    for message in messages(request) {
        let (_, message) = message?;
        sent.push(Sent::read(message.fields()?)?);
    }
    Ok(sent)
}

fn messages(request: &[u8]) -> impl Iterator<Item = Result<(u32, Value<'_>), Malformed>> {
    Fields::of(request).filter(|field| !matches!(field, Ok((number, _)) if *number != 1))
}

impl<'a> Sent<'a> {
    fn read(fields: Fields<'a>) -> Result<Self, Malformed> {
        let mut sent = Self::default();
        for field in fields {
            match field? {
                (1, topic) => sent.topic.merge(topic.fields()?)?,
                (2, entry) => sent.user_properties.push(pair(entry.fields()?)?),
                (3, system) => sent.system.get_or_insert_default().merge(system.fields()?)?,
                (4, body) => sent.body = body.bytes()?,
                _ => {}
            }
        }
        sent.sort_properties();
        Ok(sent)
    }

    /// As in every map of the protocol, the last of a name's values counts.
    fn sort_properties(&mut self) {
        self.user_properties.sort_by_key(|(name, _)| *name);
        self.user_properties.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                kept.1 = later.1;
            }
            is_same
        });
    }
}

impl<'a> Topic<'a> {
    fn merge(&mut self, fields: Fields<'a>) -> Result<(), Malformed> {
        for field in fields {
            match field? {
                (1, namespace) => self.namespace = namespace.text()?,
                (2, name) => self.name = name.text()?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> System<'a> {
    pub(crate) fn message_type(&self) -> v2::MessageType {
        v2::MessageType::try_from(self.message_type).unwrap_or_default()
    }

    pub(crate) fn body_encoding(&self) -> v2::Encoding {
        v2::Encoding::try_from(self.body_encoding).unwrap_or_default()
    }

    fn merge(&mut self, fields: Fields<'a>) -> Result<(), Malformed> {
        for field in fields {
            match field? {
                (1, tag) => self.tag = Some(tag.text()?),
                (2, key) => self.keys.push(key.text()?),
                (3, id) => self.message_id = id.text()?,
                (5, encoding) => self.body_encoding = int32(encoding)?,
                (6, message_type) => self.message_type = int32(message_type)?,
                (7, time) => merge_time(self.born_timestamp.get_or_insert_default(), time.fields()?)?,
                (8, host) => self.born_host = host.text()?,
                (11, time) => merge_time(self.delivery_timestamp.get_or_insert_default(), time.fields()?)?,
                (17, group) => self.message_group = Some(group.text()?),
                (18, context) => self.trace_context = Some(context.text()?),
                (19, duration) => {
                    let of = self.orphaned_transaction_recovery_duration.get_or_insert_default();
                    merge_seconds(&mut of.seconds, &mut of.nanos, duration.fields()?)?;
                }
                (21, topic) => self.lite_topic = Some(topic.text()?),
                (22, priority) => self.priority = Some(int32(priority)?),
                _ => {}
            }
        }
        Ok(())
    }
}

/// An entry of a map of texts.
fn pair<'a>(fields: Fields<'a>) -> Result<(&'a str, &'a str), Malformed> {
    let (mut name, mut value) = ("", "");
    for field in fields {
        match field? {
            (1, text) => name = text.text()?,
            (2, text) => value = text.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn merge_time(time: &mut prost_types::Timestamp, fields: Fields<'_>) -> Result<(), Malformed> {
    merge_seconds(&mut time.seconds, &mut time.nanos, fields)
}

/// Times and durations are encoded alike.
fn merge_seconds(seconds: &mut i64, nanos: &mut i32, fields: Fields<'_>) -> Result<(), Malformed> {
    for field in fields {
        match field? {
            (1, number) => *seconds = number.number()?.cast_signed(),
            (2, number) => *nanos = int32(number)?,
            _ => {}
        }
    }
    Ok(())
}

/// A number of 32 bits, which is encoded as one of 64.
fn int32(value: Value<'_>) -> Result<i32, Malformed> {
    value.number().map(|number| number as i32)
}

/// For messages that did not come encoded.
impl<'a> From<&'a v2::Message> for Sent<'a> {
    fn from(message: &'a v2::Message) -> Self {
        let topic = message.topic.as_ref();
        let topic = topic.map(|topic| Topic { namespace: &topic.resource_namespace, name: &topic.name });
        Self {
            topic: topic.unwrap_or_default(),
            user_properties: message.user_properties.iter().map(|(name, value)| (&**name, &**value)).collect(),
            system: message.system_properties.as_ref().map(System::from),
            body: &message.body,
        }
    }
}

impl<'a> From<&'a v2::SystemProperties> for System<'a> {
    fn from(system: &'a v2::SystemProperties) -> Self {
        Self {
            tag: system.tag.as_deref(),
            keys: system.keys.iter().map(String::as_str).collect(),
            message_id: &system.message_id,
            body_encoding: system.body_encoding,
            message_type: system.message_type,
            born_timestamp: system.born_timestamp,
            born_host: &system.born_host,
            delivery_timestamp: system.delivery_timestamp,
            message_group: system.message_group.as_deref(),
            trace_context: system.trace_context.as_deref(),
            orphaned_transaction_recovery_duration: system.orphaned_transaction_recovery_duration,
            lite_topic: system.lite_topic.as_deref(),
            priority: system.priority,
        }
    }
}

#[cfg(test)]
mod tests;
