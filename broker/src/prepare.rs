//! From a message as a front door gives it to the record that is appended; runs in the caller's task.
//!
//! Here it is decided what kind of message it is and so which topic keeps it first: its own, the wheel's or
//! the half topic. Source: Apache `HookUtils.handleScheduleMessage`, `TransactionalMessageBridge.parseHalfMessageInner`.

use std::net::SocketAddr;
use std::time::Duration;

use record::{EncodeError, Encoded};
use smallvec::SmallVec;
use types::broker::SendError;
use types::message::MessageType;
use types::properties::names;
use types::{Message, QueueId, Timestamp, TopicName};

use crate::copy::{delayed, redirect};
use crate::effect::{ENTRY_SOURCE, kind_and_key};
use crate::idempotency::{Claim, check_length, counts_in};
use crate::options::Options;
use crate::timer::{due, recall};
use crate::transaction::HALF_TOPIC;

/// What decides about a message beside itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) body_bytes_max: usize,
    pub(crate) delay_max: Duration,
    pub(crate) store_host: SocketAddr,
    /// Bytes of records that are placed together.
    pub(crate) together_bytes_max: usize,
}

/// Most bytes that records share: a reader that holds on to one of them holds all.
pub const SHARED_BYTES_MAX: usize = 64 * 1024;

impl Limits {
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            body_bytes_max: options.body_bytes_max,
            delay_max: options.delay_max,
            store_host: options.store_host,
            // Far less than a segment, so that they meet the end of at most one.
            together_bytes_max: SHARED_BYTES_MAX.min(usize::try_from(options.segment_bytes / 8).unwrap_or(usize::MAX)),
        }
    }
}

/// Records on their way to the engine, placed together or not at all. Several only of messages that wait for nothing.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) records: Encoded,
    pub(crate) kind: Kind,
    /// What it claims, if it has an idempotency key.
    pub(crate) claim: Option<Box<Claim>>,
}

/// What the engine does with them besides appending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing; the topic saw messages of this type.
    Message(MessageType),
    /// It waits for its time.
    Delayed,
    /// It waits for its outcome.
    Half,
}

/// What the sender is told of a waiting message besides its place.
#[derive(Debug)]
pub(crate) enum Receipt {
    Plain,
    Transaction,
    Recall(String),
}

/// Makes the records of one send.
pub(crate) struct Preparer<'a> {
    /// When the send came.
    pub(crate) now: Timestamp,
    pub(crate) limits: &'a Limits,
    /// Names the broker where a message has to be found again.
    pub(crate) broker: &'a str,
    /// Makes a name for a message that has none.
    pub(crate) unique_key: &'a dyn Fn() -> String,
    /// Of the message that is being made.
    claim: Option<Box<Claim>>,
    /// What was made so far.
    records: SmallVec<[Prepared; 1]>,
    /// What the records of messages to come will need, roughly.
    expected_bytes: usize,
}

impl<'a> Preparer<'a> {
    pub(crate) fn new(
        now: Timestamp,
        limits: &'a Limits,
        broker: &'a str,
        unique_key: &'a dyn Fn() -> String,
        messages: &[Message],
    ) -> Self {
        let expected_bytes = messages.iter().map(|message| record::encoded_bytes(message, limits.store_host)).sum();
        Self { now, limits, broker, unique_key, claim: None, records: SmallVec::new(), expected_bytes }
    }

    /// All records, in order.
    pub(crate) fn records(self) -> SmallVec<[Prepared; 1]> {
        self.records
    }

    /// Makes the record of a client's message.
    pub(crate) fn prepare(&mut self, mut message: Message, queue: QueueId) -> Result<Receipt, SendError> {
        let bytes = message.body.len();
        if bytes > self.limits.body_bytes_max {
            return Err(SendError::BodyTooLarge { bytes, bytes_max: self.limits.body_bytes_max });
        }
        // Only the broker says what is an outcome.
        message.source_offset = 0;
        message.sys_flag = message.sys_flag.without_transaction();
        if message.topic.is_dead_letter() || message.topic.is_retry() {
            message.properties.remove(ENTRY_SOURCE);
        }
        let (kind, claim) = claim(&message)?;
        if claim.is_some() {
            check_length("message id", &self.name(&mut message))?;
        }
        self.claim = claim;
        match kind {
            MessageType::Lite => Err(SendError::Unsupported { what: "a lite message" }),
            MessageType::Transaction => self.half(message, queue),
            MessageType::Delay => self.delay(message, queue),
            MessageType::Normal | MessageType::Fifo | MessageType::Priority => {
                self.encode(&message, queue, Kind::Message(kind))?;
                Ok(Receipt::Plain)
            }
        }
    }

    fn half(&mut self, mut message: Message, queue: QueueId) -> Result<Receipt, SendError> {
        self.check_delay(due::due(&message.properties, self.now))?;
        let id = self.name(&mut message);
        message.properties.set(names::TRANSACTION_ID, &id).map_err(|_| BAD_KEY)?;
        redirect(&mut message, queue, HALF_TOPIC);
        self.encode(&message, QueueId(0), Kind::Half)?;
        Ok(Receipt::Transaction)
    }

    fn delay(&mut self, mut message: Message, queue: QueueId) -> Result<Receipt, SendError> {
        let due = due::due(&message.properties, self.now);
        self.check_delay(due)?;
        let Some(due) = due.filter(|due| *due > self.now) else {
            self.encode(&message, queue, Kind::Message(MessageType::Delay))?;
            return Ok(Receipt::Plain);
        };
        let id = self.name(&mut message);
        let handle = recall::Handle::encode(&message.topic, self.broker, due, &id);
        let waiting = delayed(message, queue, due);
        self.encode(&waiting.message, waiting.queue, Kind::Delayed)?;
        Ok(Receipt::Recall(handle))
    }

    /// The message's unique key; it gets one if it has none.
    fn name(&self, message: &mut Message) -> String {
        if let Some(id) = message.properties.get(names::UNIQUE_KEY) {
            return id.to_owned();
        }
        let id = (self.unique_key)();
        message.properties.set_own(names::UNIQUE_KEY, &id);
        id
    }

    fn check_delay(&self, due: Option<Timestamp>) -> Result<(), SendError> {
        let delay = due.map_or(Duration::ZERO, |due| due.since(self.now));
        if delay <= self.limits.delay_max {
            return Ok(());
        }
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Err(SendError::DelayTooLong { delay_ms: ms(delay), delay_ms_max: ms(self.limits.delay_max) })
    }

    fn encode(&mut self, message: &Message, queue: QueueId, kind: Kind) -> Result<(), SendError> {
        let Limits { store_host, together_bytes_max, .. } = *self.limits;
        let bytes = record::encoded_bytes(message, store_host);
        let claim = self.claim.take();
        let is_together = |last: &&mut Prepared| {
            let all_bytes = last.records.total_bytes() as usize + bytes;
            let is_kind = last.kind == kind && matches!(kind, Kind::Message(_));
            // What claims a key is placed or not by itself.
            is_kind && last.claim.is_none() && claim.is_none() && all_bytes <= together_bytes_max
        };
        match self.records.last_mut().filter(is_together) {
            Some(last) => last.records.push(message).map_err(send_error)?,
            None => {
                let room = self.expected_bytes.min(together_bytes_max);
                let records = record::encode_first(message, queue, store_host, room).map_err(send_error)?;
                self.records.push(Prepared { records, kind, claim });
            }
        }
        self.expected_bytes = self.expected_bytes.saturating_sub(bytes);
        Ok(())
    }
}

/// A message's type, and what it claims if it has an idempotency key that counts.
fn claim(message: &Message) -> Result<(MessageType, Option<Box<Claim>>), SendError> {
    let (kind, key) = kind_and_key(message.properties.iter());
    // The search for the type ends at the mark of a half message.
    let key =
        key.or_else(|| message.properties.get(names::IDEMPOTENCY_KEY).filter(|_| kind == MessageType::Transaction));
    let Some(key) = key.filter(|_| counts_in(&message.topic)) else { return Ok((kind, None)) };
    Ok((kind, Some(Box::new(Claim::new(&message.topic, key, kind, &message.body)?))))
}

const BAD_KEY: SendError = SendError::Unsupported { what: "a unique key with a separator byte" };

/// Why a message that cannot be encoded is not stored.
pub(crate) fn send_error(error: EncodeError) -> SendError {
    match error {
        EncodeError::BodyTooLarge { bytes, bytes_max } => SendError::BodyTooLarge { bytes, bytes_max },
        EncodeError::PropertiesTooLarge { bytes, bytes_max } => SendError::PropertiesTooLarge { bytes, bytes_max },
        EncodeError::TopicTooLong { .. } => SendError::Unsupported { what: "a topic name of this length" },
        EncodeError::TransactionPart { .. } => SendError::Unsupported { what: "a part of a 4.x transaction" },
        EncodeError::PropertiesZeroByte { .. } => SendError::Unsupported { what: "a zero byte in a property" },
    }
}

/// A unique key for a message that its producer did not name: 32 hexadecimal digits, as 4.x clients make them.
pub(crate) fn unique_key(random: &dyn env::Random) -> String {
    format!("{:016X}{:016X}", random.next(), random.next())
}

/// Whether the topic takes this message into this queue.
pub(crate) fn check_target(topic: &types::TopicConfig, queue: QueueId) -> Result<(), SendError> {
    let name = || -> TopicName { topic.name.clone() };
    if !topic.is_writable {
        return Err(SendError::NotWritable { topic: name() });
    }
    if queue.0 >= topic.write_queues {
        return Err(SendError::QueueNotFound { topic: name(), queue, queues: topic.write_queues });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bytes::Bytes;

    use super::*;
    use crate::timer::WHEEL_TOPIC;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn limits() -> Limits {
        Limits {
            body_bytes_max: 10,
            delay_max: Duration::from_secs(60),
            store_host: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            together_bytes_max: 1024,
        }
    }

    fn prepared(pairs: &[(&'static str, &str)]) -> Result<(Prepared, Receipt), SendError> {
        let mut message = Message::new(TopicName::new("t").expect("valid"), Bytes::from_static(b"body"));
        for (name, value) in pairs {
            message.properties.set_own(name, value);
        }
        prepare(message, QueueId(1))
    }

    fn prepare(message: Message, queue: QueueId) -> Result<(Prepared, Receipt), SendError> {
        let (mut results, mut records) = prepare_all(vec![message], queue);
        let receipt = results.remove(0)?;
        Ok((records.pop().expect("its record"), receipt))
    }

    fn prepare_all(
        messages: Vec<Message>,
        queue: QueueId,
    ) -> (Vec<Result<Receipt, SendError>>, SmallVec<[Prepared; 1]>) {
        let (limits, unique_key) = (limits(), || "KEY".to_owned());
        let mut preparer = Preparer::new(NOW, &limits, "b", &unique_key, &messages);
        let results = messages.into_iter().map(|message| preparer.prepare(message, queue)).collect();
        (results, preparer.records())
    }

    #[test]
    fn the_kind_decides_the_first_topic() {
        let topic_and_kind = |pairs: &[(&'static str, &str)]| {
            let (prepared, _) = prepared(pairs).expect("accepted");
            (prepared.records.topic().to_string(), prepared.records.queue().0, prepared.kind)
        };
        let kind = Kind::Message(MessageType::Normal);
        assert_eq!(topic_and_kind(&[]), ("t".to_owned(), 1, kind));
        let later = [(names::TIMER_DELIVER_MS, "1000001")];
        assert_eq!(topic_and_kind(&later), (WHEEL_TOPIC.to_owned(), 0, Kind::Delayed));
        let half = [(names::TRANSACTION_PREPARED, "true"), later[0]];
        assert_eq!(topic_and_kind(&half), (HALF_TOPIC.to_owned(), 0, Kind::Half));
    }

    #[test]
    fn ordinary_messages_go_together_as_far_as_they_fit() {
        let message = |bytes: usize, pairs: &[(&'static str, &str)]| {
            let mut message = Message::new(TopicName::new("t").expect("valid"), Bytes::from(vec![1; bytes]));
            pairs.iter().for_each(|(name, value)| message.properties.set_own(name, value));
            message
        };
        let later = [(names::TIMER_DELIVER_MS, "1000001")];
        // A body that is too long has no record; the group's message is of another type; two that wait each go alone.
        let mut messages = vec![message(1, &[]), message(11, &[]), message(2, &[])];
        messages.extend([message(3, &[(names::MESSAGE_GROUP, "g")]), message(4, &later), message(5, &later)]);
        messages.extend((0..12).map(|_| message(10, &[])));
        let (results, records) = prepare_all(messages, QueueId(1));
        assert!(results.iter().enumerate().all(|(index, result)| result.is_err() == (index == 1)));
        assert_eq!(records.iter().map(|prepared| prepared.records.count()).collect::<Vec<_>>(), [2, 1, 1, 1, 10, 2]);
        assert!(records.iter().all(|prepared| prepared.records.total_bytes() <= 1024));
    }

    #[test]
    fn a_past_delivery_time_is_now() {
        let (prepared, receipt) = prepared(&[(names::TIMER_DELIVER_MS, "1000000")]).expect("accepted");
        assert_eq!((prepared.records.topic(), prepared.kind), ("t", Kind::Message(MessageType::Delay)));
        assert!(matches!(receipt, Receipt::Plain));
    }

    #[test]
    fn delayed_messages_get_a_handle_that_names_them() {
        let (_, receipt) = prepared(&[(names::TIMER_DELAY_SECONDS, "2")]).expect("accepted");
        let Receipt::Recall(text) = receipt else { panic!("{receipt:?}") };
        let handle = recall::Handle::decode(&text).expect("own handle");
        assert_eq!((handle.due, handle.unique_key.as_str()), (Timestamp(1_002_000), "KEY"));
    }

    #[test]
    fn what_breaks_a_limit_is_refused() {
        let error = |pairs: &[(&'static str, &str)]| prepared(pairs).map(drop).expect_err("refused");
        let too_far = SendError::DelayTooLong { delay_ms: 61_000, delay_ms_max: 60_000 };
        assert_eq!(error(&[(names::TIMER_DELAY_SECONDS, "61")]), too_far);
        assert_eq!(error(&[(names::TRANSACTION_PREPARED, "true"), (names::TIMER_DELAY_SECONDS, "61")]), too_far);
        assert!(matches!(error(&[(names::LITE_TOPIC, "l")]), SendError::Unsupported { .. }));
        let long = Message::new(TopicName::new("t").expect("valid"), Bytes::from(vec![1; 11]));
        let refused = prepare(long, QueueId(0)).map(drop);
        assert_eq!(refused, Err(SendError::BodyTooLarge { bytes: 11, bytes_max: 10 }));
    }

    #[test]
    fn clients_cannot_forge_outcomes() {
        let mut forged = Message::new(TopicName::new("t").expect("valid"), Bytes::from_static(b"x"));
        forged.source_offset = 77;
        forged.sys_flag = types::SysFlag::TRANSACTION_COMMIT;
        let (prepared, _) = prepare(forged, QueueId(0)).expect("accepted");
        let bytes = prepared.records.place(types::QueueOffset(0), types::PhysicalOffset(0), NOW);
        let header = record::header(&bytes).expect("own record");
        assert_eq!((header.source_offset, header.sys_flag), (0, types::SysFlag(0)));
    }
}
