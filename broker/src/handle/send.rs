//! Sending: records are made here, in the caller's task, so that the engine only places them.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use store::Appended;
use types::broker::{
    Durability, LookupError, SendError, SendReceipt, TransactionPlace, TransactionPosition, Unavailable,
};
use types::properties::names;
use types::{Message, PhysicalOffset, QueueId, QueueOffset, TopicName};

use super::LocalBroker;
use crate::command::{Command, Placed};
use crate::idempotency::{First, Form};
use crate::options::COMMANDS_MAX;
use crate::prepare::{self, Prepared, Preparer, Receipt};
use crate::timer::recall;

impl LocalBroker {
    pub(super) async fn send_messages(
        &self,
        queue: QueueId,
        messages: Vec<Message>,
    ) -> Vec<Result<SendReceipt, SendError>> {
        let Some(topic) = messages.first().map(|message| message.topic.clone()) else { return Vec::new() };
        let count = messages.len();
        if let Err(error) = self.check_target(&topic, queue).await {
            return vec![Err(error); count];
        }
        // What cannot be stored is answered here; the records of the rest go on together.
        let (receipts, records) = self.prepare(messages, queue, &topic);
        self.place(queue, topic, receipts, records).await
    }

    /// Has records placed, and says of each message where.
    async fn place(
        &self,
        queue: QueueId,
        topic: TopicName,
        receipts: Vec<Result<Receipt, SendError>>,
        records: SmallVec<[Prepared; 1]>,
    ) -> Vec<Result<SendReceipt, SendError>> {
        let name = topic.clone();
        let (placed, durability) = match self.append(records, topic).await {
            Ok(appended) => appended,
            Err(why) => return receipts.into_iter().map(|receipt| receipt.and(Err(why.clone().into()))).collect(),
        };
        let mut places = placed.into_iter().flat_map(places);
        let mut next = || places.next().unwrap_or(Err(Unavailable::Stopping.into()));
        let answer = |receipt, place| match place {
            Place::Stored(queue_offset, at) => {
                stored(queue, receipt, queue_offset, at, &self.inner.shared.name, durability)
            }
            Place::Repeat(first) => repeated(*first, &name, &self.inner.shared.name, durability),
        };
        receipts.into_iter().map(|receipt| Ok(answer(receipt?, next()?))).collect()
    }

    /// As [`Broker::send`](types::Broker::send), of messages that are stored all or, for the first reason against one of them, not at all.
    pub(crate) async fn send_whole(
        &self,
        queue: QueueId,
        messages: Vec<Message>,
    ) -> Result<Vec<SendReceipt>, SendError> {
        let Some(topic) = messages.first().map(|message| message.topic.clone()) else { return Ok(Vec::new()) };
        let has_key = |message: &Message| message.properties.get(names::IDEMPOTENCY_KEY).is_some();
        if messages.len() > 1 && messages.iter().any(has_key) {
            // Each is decided about by itself, when the others are placed already.
            return Err(SendError::Unsupported { what: "an idempotency key in a batch" });
        }
        self.check_target(&topic, queue).await?;
        let (receipts, records) = self.prepare(messages, queue, &topic);
        let receipts = receipts.into_iter().collect::<Result<Vec<_>, _>>()?;
        self.place(queue, topic, receipts.into_iter().map(Ok).collect(), records).await.into_iter().collect()
    }

    async fn check_target(&self, topic: &TopicName, queue: QueueId) -> Result<(), SendError> {
        match self.find_topic(topic).await {
            Ok(config) => prepare::check_target(&config, queue),
            Err(LookupError::Unavailable(why)) => Err(why.into()),
            Err(_) => Err(SendError::TopicNotFound { topic: topic.clone() }),
        }
    }

    /// What each message's sender is told, and the records of those that can be stored.
    fn prepare(
        &self,
        messages: Vec<Message>,
        queue: QueueId,
        topic: &TopicName,
    ) -> (Vec<Result<Receipt, SendError>>, SmallVec<[Prepared; 1]>) {
        let shared = &self.inner.shared;
        let unique_key = || prepare::unique_key(&*shared.random);
        let mut preparer = Preparer::new(shared.clock.now(), &shared.limits, &shared.name, &unique_key, &messages);
        let receipts = messages.into_iter().map(|message| match message.topic == *topic {
            true => preparer.prepare(message, queue),
            false => Err(SendError::Unsupported { what: "a send to several topics at once" }),
        });
        (receipts.collect(), preparer.records())
    }

    async fn append(
        &self,
        records: SmallVec<[Prepared; 1]>,
        topic: TopicName,
    ) -> Result<(SmallVec<[Placed; 1]>, Durability), Unavailable> {
        if records.is_empty() {
            return Ok((SmallVec::new(), Durability::Written));
        }
        let shared = &self.inner.shared;
        let bytes = records.iter().map(|prepared| prepared.records.total_bytes()).sum();
        if !shared.reserve_bytes(bytes) {
            shared.counters.busy.add(1);
            return Err(Unavailable::Busy { waiting_max: COMMANDS_MAX });
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        if let Err(why) = self.submit(Command::Send { records, topic, reply }) {
            shared.release_bytes(bytes);
            return Err(why);
        }
        answer.await.map_err(|_| Unavailable::Stopping)
    }
}

/// Where a message is.
enum Place {
    /// It was stored.
    Stored(QueueOffset, PhysicalOffset),
    /// It repeats this one.
    Repeat(Box<First>),
}

/// The place of each message, or why it has none.
fn places(placed: Placed) -> SmallVec<[Result<Place, SendError>; 1]> {
    match placed {
        Placed::Stored(Appended { queue_offset, physical_offsets, .. }) => {
            let places = physical_offsets.into_iter().zip(0..);
            places.map(|(at, number)| Ok(Place::Stored(queue_offset.plus(number), at))).collect()
        }
        Placed::Repeat(first) => smallvec![Ok(Place::Repeat(first))],
        Placed::Refused { count, why } => std::iter::repeat_n(why, count).map(Err).collect(),
    }
}

fn stored(
    queue: QueueId,
    receipt: Receipt,
    queue_offset: QueueOffset,
    physical_offset: PhysicalOffset,
    broker: &Arc<str>,
    durability: Durability,
) -> SendReceipt {
    let (transaction, recall_handle) = match receipt {
        Receipt::Plain => (None, None),
        Receipt::Transaction => (Some(half(broker, queue_offset, physical_offset)), None),
        Receipt::Recall(handle) => (None, Some(handle)),
    };
    SendReceipt { queue, queue_offset, physical_offset, transaction, recall_handle, durability, repeat_of: None }
}

fn half(broker: &Arc<str>, queue_offset: QueueOffset, physical_offset: PhysicalOffset) -> TransactionPlace {
    TransactionPlace { broker: broker.clone(), position: TransactionPosition { queue_offset, physical_offset } }
}

/// What the first message's producer was told, of a message that repeats it.
fn repeated(first: First, topic: &TopicName, broker: &Arc<str>, durability: Durability) -> SendReceipt {
    let First { queue, queue_offset, physical_offset, form, message_id } = first;
    let (transaction, recall_handle) = match form {
        Form::Message => (None, None),
        Form::Delayed { due } => (None, Some(recall::Handle::encode(topic, broker, due, &message_id))),
        Form::Half => (Some(half(broker, queue_offset, physical_offset)), None),
    };
    let repeat_of = Some(message_id);
    SendReceipt { queue, queue_offset, physical_offset, transaction, recall_handle, durability, repeat_of }
}
