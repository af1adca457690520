//! Receiving: leases come from the engine, record bytes from the store's reader, the exact filter is applied here.

use std::mem;
use std::sync::Arc;

use env::clock::Moment;
use store::ReadError;
use tokio::sync::oneshot;
use types::broker::{
    ClientId, DeliveryReport, LeaseOwner, LookupError, Pop, PopError, Popped, PoppedMessage, Unavailable,
};
use types::{MessageType, ReceiptHandle, TopicConfig, TopicType};

use super::LocalBroker;
use super::read::{is_damage, is_for_group, is_wanted, unavailable};
use crate::command::{Command, PopCommand, PopReply};
use crate::options::WAIT_MAX;
use crate::pop::{Leased, PopQueues};

/// What a pop of the Remoting port says beyond [`Pop`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PopWay {
    /// Each queue in order, whatever the group's setting.
    pub(crate) in_order: bool,
    /// Whether a group that is new begins at a queue's first message wherever that is, else where the group begins in any case.
    pub(crate) begins_at_first: bool,
}

/// What a pop names, looked up.
struct LookedUp {
    owner: LeaseOwner,
    queues: PopQueues,
    is_fifo: bool,
    begins_at_first: bool,
    until: Moment,
}

impl LocalBroker {
    pub(super) async fn pop_messages(&self, request: Pop, way: PopWay) -> Result<Popped, PopError> {
        let looked_up = self.check_pop(&request, way).await?;
        loop {
            let leased = self.lease(&request, &looked_up).await?;
            if leased.is_empty() {
                return Ok(Popped::default());
            }
            let (owner, until) = (&looked_up.owner, looked_up.until);
            let mut held = Held { broker: self, owner, client: &request.client, leased };
            let popped = held.read(&request).await?;
            let was_all_unwanted = popped.messages.is_empty();
            if !was_all_unwanted || self.inner.shared.clock.moment() >= until {
                return Ok(popped);
            }
        }
    }

    /// Whether a pop would get something, now or as soon as something comes; nothing is leased.
    pub(super) async fn look_for_message(&self, request: Pop, way: PopWay) -> Result<bool, PopError> {
        let looked_up = self.check_pop(&request, way).await?;
        let (reply, answer) = oneshot::channel();
        self.submit(Command::Pop(Box::new(command(&request, &looked_up, PopReply::Look(reply)))))?;
        answer.await.unwrap_or(Err(Unavailable::Stopping.into()))
    }

    /// Looks up what the pop names.
    async fn check_pop(&self, request: &Pop, way: PopWay) -> Result<LookedUp, PopError> {
        let topic = self.find_topic(&request.topic).await?;
        if !topic.is_readable {
            return Err(PopError::NotReadable { topic: request.topic.clone() });
        }
        let group = self.find_group(&request.group).await?;
        if !group.is_enabled {
            return Err(PopError::GroupDisabled { group: request.group.clone() });
        }
        Ok(LookedUp {
            owner: LeaseOwner { group: request.group.clone(), topic: request.topic.clone() },
            queues: wanted_queues(request, &topic)?,
            is_fifo: group.is_fifo || way.in_order,
            begins_at_first: way.begins_at_first,
            until: self.inner.shared.clock.moment().plus(request.wait.min(WAIT_MAX)),
        })
    }

    /// Asks the engine for leases; those that come when nobody waits any more are given back.
    async fn lease(&self, request: &Pop, looked_up: &LookedUp) -> Result<Vec<Leased>, PopError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Command::Pop(Box::new(command(request, looked_up, PopReply::Leases(reply)))))?;
        let mut awaited = Awaited { broker: self, owner: &looked_up.owner, client: &request.client, answer };
        (&mut awaited.answer).await.unwrap_or(Err(Unavailable::Stopping.into()))
    }

    /// Says that leases are not used; when the engine is too busy to hear it they end by time.
    fn give_back(&self, owner: &LeaseOwner, client: &ClientId, lost: Vec<ReceiptHandle>) {
        let report = DeliveryReport {
            lease: owner.clone(),
            client: client.clone(),
            written: Vec::new(),
            lost,
            unwanted: Vec::new(),
        };
        drop(self.submit(Command::Report(report)));
    }

    fn handles(&self, leased: &[Leased]) -> Vec<ReceiptHandle> {
        leased.iter().map(|leased| leased.handle(&self.inner.shared.name)).collect()
    }
}

fn command(request: &Pop, looked_up: &LookedUp, reply: PopReply) -> PopCommand {
    let LookedUp { owner, queues, is_fifo, begins_at_first, until } = looked_up;
    PopCommand {
        owner: owner.clone(),
        queues: *queues,
        messages_max: request.messages_max.clamp(1, Pop::MESSAGES_MAX),
        invisible: request.invisible,
        client: request.client.clone(),
        auto_renew: request.auto_renew,
        filter: Arc::clone(&request.filter),
        attempt_id: request.attempt_id.clone(),
        is_fifo: *is_fifo,
        begins_at_first: *begins_at_first,
        until: *until,
        reply,
    }
}

fn wanted_queues(request: &Pop, topic: &TopicConfig) -> Result<PopQueues, LookupError> {
    let queues = topic.read_queues;
    match request.queue {
        None if topic.topic_type == TopicType::Only(MessageType::Priority) => Ok(PopQueues::Ranked(queues)),
        None => Ok(PopQueues::Any(queues)),
        Some(queue) if queue.0 < queues => Ok(PopQueues::One(queue)),
        Some(queue) => Err(LookupError::QueueNotFound { topic: request.topic.clone(), queue, queues }),
    }
}

/// An answer that may hold leases: they are given back when it is dropped unread, because its caller went away.
struct Awaited<'a> {
    broker: &'a LocalBroker,
    owner: &'a LeaseOwner,
    client: &'a ClientId,
    answer: oneshot::Receiver<Result<Vec<Leased>, PopError>>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(leased)) = self.answer.try_recv()
            && !leased.is_empty()
        {
            self.broker.give_back(self.owner, self.client, self.broker.handles(&leased));
        }
    }
}

/// Leases on their way to the caller: those still in here when it is dropped are given back.
struct Held<'a> {
    broker: &'a LocalBroker,
    owner: &'a LeaseOwner,
    client: &'a ClientId,
    leased: Vec<Leased>,
}

impl Held<'_> {
    /// Reads the leased records and sorts out what the filter does not want.
    async fn read(&mut self, request: &Pop) -> Result<Popped, PopError> {
        let places = self.leased.iter().map(|leased| (leased.entry.physical_offset, leased.entry.size));
        let records = self.broker.inner.shared.reader.read_all(places).await;
        let is_unwanted: Vec<bool> = records
            .iter()
            .zip(&self.leased)
            .map(|(record, leased)| {
                let is_wanted =
                    |record| is_wanted(&request.filter, record) && is_for_group(leased, &request.group, record);
                record.as_ref().is_ok_and(|record| !is_wanted(record))
            })
            .collect();
        // All leases are still in here: should the caller go away at this await, all are given back.
        self.skip(&is_unwanted).await;
        let mut messages = Vec::with_capacity(records.len());
        let mut first_error = None;
        let leased = mem::take(&mut self.leased).into_iter().zip(records).zip(is_unwanted);
        for ((leased, record), _) in leased.filter(|(_, is_unwanted)| !is_unwanted) {
            match record {
                Ok(record) => {
                    let handle = leased.handle(&self.broker.inner.shared.name);
                    messages.push(PoppedMessage { handle, record, attempt: leased.attempt });
                }
                Err(error) => {
                    self.unreadable(leased, &error);
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) if messages.is_empty() => Err(unavailable(&error).into()),
            _ => Ok(Popped { messages }),
        }
    }

    /// A record that is damaged stays leased, so that it does not come back at once and for ever; after its last
    /// attempt it is tried to be given up. One that cannot be read now is given back.
    fn unreadable(&mut self, leased: Leased, error: &ReadError) {
        match error {
            // There is nothing to keep: the next pop finds that the queue begins behind it.
            ReadError::Expired { .. } => tracing::debug!(%error, topic = %self.owner.topic, "a message has expired"),
            error if is_damage(error) => {
                self.broker.inner.shared.counters.unreadable.add(1);
                tracing::error!(%error, topic = %self.owner.topic, "a message cannot be read");
            }
            _ => self.leased.push(leased),
        }
    }

    /// Finishes what the group's filter does not want.
    async fn skip(&self, is_unwanted: &[bool]) {
        let unwanted = self.leased.iter().zip(is_unwanted).filter(|(_, is_unwanted)| **is_unwanted);
        let unwanted: Vec<_> = unwanted.map(|(leased, _)| leased.handle(&self.broker.inner.shared.name)).collect();
        if unwanted.is_empty() {
            return;
        }
        let report = DeliveryReport {
            lease: self.owner.clone(),
            client: self.client.clone(),
            written: Vec::new(),
            lost: Vec::new(),
            unwanted,
        };
        drop(self.broker.inner.commands.send(Command::Report(report)).await);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.leased.is_empty() {
            self.broker.give_back(self.owner, self.client, self.broker.handles(&self.leased));
        }
    }
}
