//! Sending: one request a message, or one for several that a batch can carry.

use std::sync::Arc;

use bytes::Bytes;
use remoting_proto::body::batch::{self, BatchMessage};
use remoting_proto::requests::{
    AUTO_CREATE_TOPIC, KeyRefused, RecallMessage, RecallMessageAnswer, SendMessage, SendMessageAnswer,
};
use remoting_proto::{Command, RequestCode, ResponseCode};
use types::broker::{
    Durability, KeyError, LookupError, RecallError, SendError, SendReceipt, TransactionPlace, TransactionPosition,
    Unavailable,
};
use types::properties::names;
use types::{Message, MessageType, PhysicalOffset, QueueId, QueueOffset, SysFlag, TopicName};

use super::Cluster;
use super::brokers::{Failed, Request, refused, unreadable};
use super::routes::{Place, Route};

/// Bytes of a batch's messages beyond which a further batch begins: brokers take at most 4 MiB as one.
const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes that a message has in a batch besides its body and properties.
const BATCH_MESSAGE_BYTES: usize = 22;
/// Queues that a topic has which is made on first use. Source: Apache `DefaultMQProducer`.
const DEFAULT_TOPIC_QUEUES: i64 = 4;

impl Cluster {
    /// As [`types::Broker::send`]. After a message that was not stored no later one of the call is sent: it would stand before it
    /// when the client sends that one again. What need not be in a certain queue goes to another broker, if the queue's own has failed
    /// or was slow lately, or has stored nothing of it for sure.
    pub(super) async fn send_messages(
        &self,
        queue: QueueId,
        messages: Vec<Message>,
    ) -> Vec<Result<SendReceipt, SendError>> {
        let Some(topic) = messages.first().map(|message| message.topic.clone()) else { return Vec::new() };
        let count = messages.len();
        let mut results = Vec::with_capacity(count);
        match self.places(&topic, queue).await {
            Ok(places) => {
                for run in runs(messages) {
                    match self.send_run(&topic, &places, run).await {
                        Ok(receipts) => results.extend(receipts.into_iter().map(Ok)),
                        Err(error) => {
                            results.push(Err(error));
                            break;
                        }
                    }
                }
            }
            Err(error) => results.push(Err(error)),
        }
        if let Some(Err(error)) = results.last().cloned() {
            results.resize(count, Err(error));
        }
        results
    }

    async fn places(&self, topic: &TopicName, queue: QueueId) -> Result<Places, SendError> {
        let route = self.route(topic).await.map_err(|error| match error {
            LookupError::TopicNotFound { topic } => SendError::TopicNotFound { topic },
            LookupError::Unavailable(error) => error.into(),
            error @ (LookupError::GroupNotFound { .. } | LookupError::QueueNotFound { .. }) => {
                Unavailable::Remote { detail: error.to_string() }.into()
            }
        })?;
        let queues = route.config.write_queues;
        match usize::try_from(queue.0) {
            Ok(meant) if meant < route.writable.len() => Ok(Places { route, meant }),
            _ => Err(SendError::QueueNotFound { topic: topic.clone(), queue, queues }),
        }
    }

    async fn send_run(
        &self,
        topic: &TopicName,
        places: &Places,
        run: Vec<Message>,
    ) -> Result<Vec<SendReceipt>, SendError> {
        let is_bound = run.iter().any(is_bound);
        let outgoing = Outgoing::of(run)?;
        if let Some(key) = &outgoing.key {
            let queue = if is_bound { places.meant } else { self.queue_of_key(topic, places, key)? };
            return self.send_once(topic, places, queue, &outgoing).await;
        }
        let mut failed: Vec<Arc<str>> = Vec::new();
        let mut queue = if is_bound { places.meant } else { self.elsewhere(places, &failed).unwrap_or(places.meant) };
        loop {
            let place = places.route.writable.get(queue).expect("chosen among those there are");
            match self.send_to(topic, queue, place, &outgoing).await {
                Ok(receipts) => return Ok(receipts),
                Err(Refused { why, may_be_stored }) => {
                    failed.push(place.broker.clone());
                    match self.elsewhere(places, &failed).filter(|_| !is_bound && !may_be_stored) {
                        Some(other) => queue = other,
                        None => return Err(why),
                    }
                }
            }
        }
    }

    /// A queue of the broker that knows the key.
    fn queue_of_key(&self, topic: &TopicName, places: &Places, key: &str) -> Result<usize, SendError> {
        let all = &places.route.writable;
        let there = all.iter().map(|place| &place.broker);
        let owner = self.0.keys.lock().owner(topic, key, there, self.0.clock.moment());
        let away = |broker: &str| Unavailable::OwnerAway { broker: broker.to_owned() };
        let owner = owner.ok_or_else(|| away("of the key"))?;
        let of_owner: Vec<usize> =
            (0..all.len()).filter(|queue| all.get(*queue).is_some_and(|place| place.broker == owner)).collect();
        let turn = places.meant.checked_rem(of_owner.len()).ok_or_else(|| away(&owner))?;
        Ok(*of_owner.get(turn).expect("a remainder is smaller"))
    }

    /// Sends to this queue and no other: only its broker knows the key.
    async fn send_once(
        &self,
        topic: &TopicName,
        places: &Places,
        queue: usize,
        outgoing: &Outgoing,
    ) -> Result<Vec<SendReceipt>, SendError> {
        let place = places.route.writable.get(queue).expect("chosen among those there are");
        self.send_to(topic, queue, place, outgoing).await.map_err(|refused| match refused {
            Refused { why: SendError::Unavailable(Unavailable::Remote { .. }), may_be_stored: false } => {
                Unavailable::OwnerAway { broker: place.broker.to_string() }.into()
            }
            Refused { why, .. } => why,
        })
    }

    /// A queue of a broker that has not `failed` this time: the one that is meant, if its broker is sound or no other's is.
    fn elsewhere(&self, places: &Places, failed: &[Arc<str>]) -> Option<usize> {
        let all = &places.route.writable;
        let is_sound = |queue: &usize| all.get(*queue).is_some_and(|place| !self.0.brokers.is_unsound(&place.broker));
        let is_left = |queue: &usize| all.get(*queue).is_some_and(|place| !failed.contains(&place.broker));
        // Nearly always.
        if is_left(&places.meant) && is_sound(&places.meant) {
            return Some(places.meant);
        }
        let left: Vec<usize> = (0..all.len()).filter(is_left).collect();
        let sound: Vec<usize> = left.iter().copied().filter(is_sound).collect();
        let choice = if sound.is_empty() { left } else { sound };
        match choice.contains(&places.meant) {
            true => Some(places.meant),
            false => choice.get(places.meant.checked_rem(choice.len())?).copied(),
        }
    }

    async fn send_to(
        &self,
        topic: &TopicName,
        queue: usize,
        place: &Place,
        outgoing: &Outgoing,
    ) -> Result<Vec<SendReceipt>, Refused> {
        let answer = self.0.brokers.try_call(&place.broker, outgoing.request(place)).await?;
        let durability = match answer.response_code() {
            ResponseCode::Success => Durability::Written,
            ResponseCode::FlushDiskTimeout => Durability::FlushTimedOut,
            ResponseCode::FlushSlaveTimeout => Durability::ReplicaTimedOut,
            ResponseCode::SlaveNotAvailable => Durability::ReplicaMissing,
            code => {
                self.doubt_route(topic);
                let why = match code {
                    ResponseCode::TopicNotExist => SendError::TopicNotFound { topic: topic.clone() },
                    ResponseCode::NoPermission => SendError::NotWritable { topic: topic.clone() },
                    ResponseCode::RequestCodeNotSupported if outgoing.key.is_some() => SendError::Unsupported {
                        what: "an idempotency key (GANTRY_IDEMPOTENCY_KEY) before a broker that knows none, such as Apache's",
                    },
                    _ => match outgoing.key.as_deref().and_then(|key| key_error(key, &answer)) {
                        Some(error) => error.into(),
                        None => refused(&place.broker, &answer).into(),
                    },
                };
                let is_of_broker = matches!(
                    code,
                    ResponseCode::TopicNotExist
                        | ResponseCode::NoPermission
                        | ResponseCode::SystemBusy
                        | ResponseCode::ServiceNotAvailable
                );
                return Err(Refused { why, may_be_stored: !is_of_broker });
            }
        };
        let queue = QueueId(u32::try_from(queue).map_err(unreadable)?);
        let half_at = outgoing.is_half.then_some(&place.broker);
        receipts(queue, outgoing.count, half_at, durability, &answer).map_err(Refused::unknown)
    }

    /// As [`types::Broker::recall`].
    pub(super) async fn recall_message(&self, topic: TopicName, handle: String) -> Result<String, RecallError> {
        let broker = recall_broker(&handle).ok_or(RecallError::InvalidHandle { reason: "it names no broker" })?;
        let header =
            RecallMessage { producer_group: Some(topic.to_string()), topic: topic.to_string(), recall_handle: handle };
        let request = Request::new(RequestCode::RecallMessage, header.to_fields());
        let answer = self.0.brokers.call(&broker, request).await?;
        match answer.response_code() {
            ResponseCode::Success => Ok(RecallMessageAnswer::of(&answer.fields).map_err(unreadable)?.msg_id),
            ResponseCode::IllegalOperation => Err(RecallError::InvalidHandle {
                reason: "its broker does not take it: of another topic, or its time has come",
            }),
            _ => Err(refused(&broker, &answer).into()),
        }
    }
}

/// Messages that go out together: those that a batch can carry without losing what they are, else one alone.
fn runs(messages: Vec<Message>) -> Vec<Vec<Message>> {
    let mut runs: Vec<Vec<Message>> = Vec::new();
    let mut run_bytes = 0;
    for message in messages {
        let bytes = message.body.len() + message.properties.as_text().len() + BATCH_MESSAGE_BYTES;
        let is_plain = is_plain(&message);
        match runs.last_mut() {
            Some(run)
                if is_plain
                    && run.last().is_some_and(self::is_plain)
                    && run.len() < batch::MESSAGES_MAX
                    && run_bytes + bytes <= BATCH_BYTES_MAX =>
            {
                run.push(message);
                run_bytes += bytes;
            }
            _ => {
                runs.push(vec![message]);
                run_bytes = bytes;
            }
        }
    }
    runs
}

/// A batch says nothing of how a body is stored, brokers wait for no delivery time within one, and take none for retry topics.
/// A message with an idempotency key goes to a broker of its own.
fn is_plain(message: &Message) -> bool {
    message.sys_flag.0 == 0
        && !has_key(message)
        && !message.topic.is_retry()
        && matches!(MessageType::of(&message.properties), MessageType::Normal | MessageType::Fifo)
}

/// Whether its queue was chosen because of what it is, so that another would break an order.
fn is_bound(message: &Message) -> bool {
    [names::MESSAGE_GROUP, names::PRIORITY].iter().any(|name| message.properties.get(name).is_some())
}

/// Whether it waits for its producer's word.
fn is_half(message: &Message) -> bool {
    MessageType::of(&message.properties) == MessageType::Transaction
}

/// Whether it asks to be stored once. Copies that clients send of what they consumed do not mean it.
fn has_key(message: &Message) -> bool {
    let is_copy = message.topic.is_retry() || message.topic.is_dead_letter();
    !is_copy && message.properties.get(names::IDEMPOTENCY_KEY).is_some()
}

/// Where a send may go.
struct Places {
    route: Arc<Route>,
    /// Which of the writable queues was chosen.
    meant: usize,
}

/// Why a broker has not stored something.
struct Refused {
    why: SendError,
    /// Another broker might store it a second time.
    may_be_stored: bool,
}

impl Refused {
    fn unknown(why: Unavailable) -> Self {
        Self { why: why.into(), may_be_stored: true }
    }
}

impl From<Unavailable> for Refused {
    fn from(why: Unavailable) -> Self {
        Self::unknown(why)
    }
}

impl From<Failed> for Refused {
    fn from(Failed { why, may_be_done }: Failed) -> Self {
        Self { why: why.into(), may_be_stored: may_be_done }
    }
}

/// Messages of one request, ready for any broker.
#[derive(Debug)]
struct Outgoing {
    code: RequestCode,
    header: SendMessage,
    body: Bytes,
    count: usize,
    is_half: bool,
    /// Under which it is stored once.
    key: Option<String>,
}

impl Outgoing {
    fn of(mut run: Vec<Message>) -> Result<Self, SendError> {
        let count = run.len();
        let is_batch = count > 1;
        let first = run.first().ok_or(SendError::Unsupported { what: "a send of nothing" })?;
        let key = has_key(first).then(|| first.properties.get(names::IDEMPOTENCY_KEY).map(str::to_owned)).flatten();
        let is_half = is_half(first);
        let sys_flag = if is_half { first.sys_flag.with(SysFlag::TRANSACTION_PREPARED) } else { first.sys_flag };
        let header = SendMessage {
            producer_group: first.topic.to_string(),
            topic: first.topic.to_string(),
            default_topic: Some(AUTO_CREATE_TOPIC.to_owned()),
            default_topic_queue_nums: Some(DEFAULT_TOPIC_QUEUES),
            queue_id: 0,
            sys_flag: sys_flag.0.into(),
            born_timestamp: first.born_at.0,
            flag: first.flag.into(),
            properties: (!is_batch).then(|| first.properties.as_text().to_owned()),
            reconsume_times: Some(first.reconsume_times.into()),
            unit_mode: Some(false),
            max_reconsume_times: None,
            is_batch: Some(is_batch),
            broker_name: None,
        };
        let (code, body) = if is_batch {
            let messages: Vec<_> = run.into_iter().map(batched).collect();
            let body = batch::encode(&messages).map_err(|error| Unavailable::Remote { detail: error.to_string() })?;
            (RequestCode::SendBatchMessage, body)
        } else {
            let code = if key.is_some() { RequestCode::SendOnce } else { RequestCode::SendMessageV2 };
            (code, run.pop().map_or_else(Bytes::new, |message| message.body))
        };
        Ok(Self { code, header, body, count, is_half, key })
    }

    fn request(&self, place: &Place) -> Request {
        let header = SendMessage {
            queue_id: place.queue.into(),
            broker_name: Some(place.broker.to_string()),
            ..self.header.clone()
        };
        Request { body: self.body.clone(), ..Request::new(self.code, header.to_fields()) }
    }
}

fn batched(message: Message) -> BatchMessage {
    BatchMessage {
        flag: message.flag.cast_signed(),
        body: message.body,
        properties: message.properties.as_text().to_owned(),
    }
}

/// One receipt a message; `half_at` is the broker of a half message. A batch that its broker stores as one record has one address for all.
fn receipts(
    queue: QueueId,
    count: usize,
    half_at: Option<&Arc<str>>,
    durability: Durability,
    answer: &Command,
) -> Result<Vec<SendReceipt>, Unavailable> {
    let stored = SendMessageAnswer::of(&answer.fields).map_err(unreadable)?;
    let first_offset = u64::try_from(stored.queue_offset).map_err(unreadable)?;
    let address = |id: &str| record::parse_offset_message_id(id).map(|(_, offset)| offset);
    let addresses: Option<Vec<PhysicalOffset>> = stored.msg_id.split(',').map(address).collect();
    let addresses = addresses.filter(|addresses| addresses.len() == count || addresses.len() == 1);
    let addresses = addresses.ok_or_else(|| unreadable(format_args!("msgId is {:?}", stored.msg_id)))?;
    let receipt = |(index, queue_offset): (usize, u64)| {
        let queue_offset = QueueOffset(queue_offset);
        let physical_offset = addresses.get(index).or(addresses.last()).copied().unwrap_or_default();
        let position = TransactionPosition { queue_offset, physical_offset };
        SendReceipt {
            queue,
            queue_offset,
            physical_offset,
            transaction: half_at.map(|broker| TransactionPlace { broker: broker.clone(), position }),
            recall_handle: stored.recall_handle.clone(),
            durability,
            repeat_of: stored.repeat_of.as_deref().map(Into::into),
        }
    };
    Ok((0..count).zip(first_offset..).map(receipt).collect())
}

/// Why a broker refused a key, if that is why it refused.
fn key_error(key: &str, answer: &Command) -> Option<KeyError> {
    let KeyRefused { why, window_ms, limit, bytes } = KeyRefused::of(&answer.fields).ok()?;
    let window_ms = window_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default();
    let number = |number: Option<i64>| number.and_then(|number| usize::try_from(number).ok()).unwrap_or_default();
    match why.as_str() {
        KeyRefused::TAKEN => Some(KeyError::Taken { key: key.to_owned(), window_ms }),
        KeyRefused::TOO_MANY => Some(KeyError::TooMany { keys_max: number(limit), window_ms }),
        KeyRefused::TOO_LONG => {
            let what = "the idempotency key, or the message id beside it,";
            Some(KeyError::TooLong { what, bytes: number(bytes), bytes_max: number(limit) })
        }
        _ => None,
    }
}

/// The broker in a recall handle: base64 of `v1 topic broker time key`. Source: Apache `RecallMessageHandle`.
fn recall_broker(handle: &str) -> Option<Arc<str>> {
    use base64::Engine as _;
    use base64::alphabet::URL_SAFE;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const EITHER: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = String::from_utf8(GeneralPurpose::new(&URL_SAFE, EITHER).decode(handle).ok()?).ok()?;
    let mut fields = text.split(' ');
    (fields.next() == Some("v1")).then(|| fields.nth(1).map(Arc::from))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(change: impl FnOnce(&mut Message)) -> Message {
        let mut message = Message::new(TopicName::new("t").expect("valid"), Bytes::from_static(b"body"));
        change(&mut message);
        message
    }

    fn delay(message: &mut Message) {
        message.properties.set_own(names::TIMER_DELIVER_MS, "1");
    }

    fn lengths(messages: Vec<Message>) -> Vec<usize> {
        runs(messages).iter().map(Vec::len).collect()
    }

    #[test]
    fn only_plain_messages_share_a_batch_and_none_is_too_large() {
        let plain = || message(|_| {});
        let fifo = message(|message| message.properties.set_own(names::MESSAGE_GROUP, "g"));
        let compressed = message(|message| message.sys_flag = SysFlag::COMPRESSED);
        assert_eq!(lengths(vec![plain(), fifo, message(delay), compressed, plain(), plain()]), [2, 1, 1, 2]);
        let large = || message(|message| message.body = Bytes::from(vec![0; BATCH_BYTES_MAX / 2]));
        assert_eq!(lengths(vec![large(), large(), plain()]), [1, 2]);
        assert_eq!(lengths(Vec::new()), [0; 0]);
    }

    const FIRST_ID: &str = "0A01020300002A9F0000000000001234";

    fn stored(queue_offset: &str, ids: &str) -> Command {
        let mut answer =
            Command::request(RequestCode::SendBatchMessage, remoting_proto::Fields::default(), Bytes::new());
        for (name, text) in [("msgId", ids), ("queueId", "3"), ("queueOffset", queue_offset)] {
            assert!(answer.fields.set(name.to_owned(), text.to_owned()));
        }
        answer
    }

    #[test]
    fn a_batch_has_one_receipt_a_message() {
        let answer = stored("7", &format!("{FIRST_ID},0A01020300002A9F0000000000001300"));
        let receipts = |count| receipts(QueueId(11), count, None, Durability::Written, &answer);
        let places: Vec<_> =
            receipts(2).expect("two").iter().map(|r| (r.queue.0, r.queue_offset.0, r.physical_offset.0)).collect();
        assert_eq!(places, [(11, 7, 0x1234), (11, 8, 0x1300)]);
        assert!(receipts(3).is_err());
    }

    #[test]
    fn a_half_message_goes_alone_with_its_flag_and_its_receipt_names_its_broker() {
        let half = || message(|message| message.properties.set_own(names::TRANSACTION_PREPARED, "true"));
        assert_eq!(lengths(vec![half(), half(), message(|_| {})]), [1, 1, 1]);
        let place = Place { broker: "b".into(), queue: 3 };
        let outgoing = Outgoing::of(vec![half()]).expect("can be sent");
        let header = SendMessage::of(&outgoing.request(&place).fields).expect("all of it");
        assert_eq!((outgoing.is_half, header.sys_flag, header.queue_id), (true, 4, 3));
        let receipts = receipts(QueueId(11), 1, Some(&place.broker), Durability::Written, &stored("7", FIRST_ID));
        let position = TransactionPosition { queue_offset: QueueOffset(7), physical_offset: PhysicalOffset(0x1234) };
        let transaction = receipts.expect("one").remove(0).transaction;
        assert_eq!(transaction, Some(TransactionPlace { broker: "b".into(), position }));
    }

    #[test]
    fn a_message_with_an_idempotency_key_goes_alone_and_asks_to_be_stored_once() {
        let keyed = |topic: &str| {
            message(|message| {
                message.topic = TopicName::new(topic).expect("valid");
                message.properties.set_own(names::IDEMPOTENCY_KEY, "order-1");
            })
        };
        assert_eq!(lengths(vec![message(|_| {}), keyed("t"), message(|_| {})]), [1, 1, 1]);
        let outgoing = Outgoing::of(vec![keyed("t")]).expect("can be sent");
        assert_eq!((outgoing.code, outgoing.key.as_deref()), (RequestCode::SendOnce, Some("order-1")));
        let copy = Outgoing::of(vec![keyed("%DLQ%g")]).expect("can be sent");
        assert_eq!((copy.code, copy.key), (RequestCode::SendMessageV2, None));
    }

    #[test]
    fn a_recall_handle_names_its_broker() {
        let handle = "djEgRGVsYXlUb3BpYyBicm9rZXItYSAxNzY3MzIzMDQ1MDAwIDAxQUFCQkNDRERFRUZGMDREMjA1QzVEMEE1MDAwMDAwMDc=";
        assert_eq!(recall_broker(handle).as_deref(), Some("broker-a"));
        assert_eq!(recall_broker(handle.trim_end_matches('=')).as_deref(), Some("broker-a"));
        assert_eq!(recall_broker("djI="), None);
        assert_eq!(recall_broker("!"), None);
    }
}
