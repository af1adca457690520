//! Stores, brokers and messages of the runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use broker::LocalBroker;
use bytes::Bytes;
use env::Env;
use record::{Encoded, Record};
use store::{Flush, Machine, RestoreError, Store};
use tokio::task::JoinSet;
use types::admin::Admin;
use types::broker::Pop;
use types::topic::TopicType;
use types::{
    Broker, Filter, GroupName, Message, PhysicalOffset, QueueId, QueueOffset, ReceiptHandle, Timestamp, TopicConfig,
    TopicName,
};

use crate::load;

/// Records of a round, or sends that are on their way together. Source: issue 4, 4 connections × 32.
pub(super) const IN_FLIGHT: usize = 128;
/// Messages of a send, where sends have several. Source: issue 3.
pub(super) const TOGETHER: usize = 16;
/// The topic of runs that have one.
pub(super) const TOPIC: &str = load::TOPIC;
/// The queues that messages go to in turn.
pub(super) const QUEUES: u32 = 8;
/// Messages of one send while many are stored, and tasks that send.
const SEND_BATCH: u64 = 32;
const SENDERS: u64 = 8;
/// The host that records name.
const HOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

/// Machines that know nothing: what is measured is the store.
pub(super) struct Nothing;

impl Machine for Nothing {
    fn apply(&mut self, _: &Record<'_>) {}

    fn snapshot(&self, _: &mut Vec<u8>) {}

    fn restore(&mut self, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }

    fn reset(&mut self) {}
}

/// Opens the store of a directory.
pub(super) fn open(env: &Env, directory: &Path) -> Result<Store> {
    Store::open(env, &store::Options::local(directory.to_owned()), &mut Nothing).context("opening the store")
}

/// Starts a broker on a directory.
pub(super) fn start(directory: &Path, flush: Flush) -> Result<LocalBroker> {
    let options = broker::Options { flush, ..broker::Options::local(directory.to_owned()) };
    LocalBroker::start(Env::real(), options).context("starting the broker")
}

/// A topic that takes every kind of message.
pub(super) async fn make_topic(broker: &LocalBroker, name: &str, queues: u32) -> Result<TopicName> {
    let name = topic(name)?;
    let config = TopicConfig {
        name: name.clone(),
        read_queues: queues,
        write_queues: queues,
        is_readable: true,
        is_writable: true,
        topic_type: TopicType::Mixed,
        is_auto_created: false,
    };
    broker.put_topic(config, false).await.with_context(|| format!("making topic {name}"))?;
    Ok(name)
}

/// A name.
pub(super) fn topic(name: &str) -> Result<TopicName> {
    TopicName::new(name).with_context(|| format!("topic {name}"))
}

/// A message with a body of 1 KiB that does not compress to nothing.
pub(super) fn message() -> Result<Message> {
    Ok(Message::new(topic(TOPIC)?, load::body()))
}

/// The message as a record of a queue.
pub(super) fn encoded(message: &Message, queue: u32) -> Result<Encoded> {
    Ok(record::encode(message, QueueId(queue), HOST)?)
}

/// As many records of the message for each queue as a send of [`TOGETHER`] messages makes.
pub(super) fn encoded_together(message: &Message, queues: impl Iterator<Item = u32>) -> Result<Vec<Encoded>> {
    let bytes = TOGETHER * record::encoded_bytes(message, HOST);
    let together = |queue| {
        let mut records = record::encode_first(message, QueueId(queue), HOST, bytes.min(broker::SHARED_BYTES_MAX))?;
        for _ in 1..TOGETHER {
            records.push(message)?;
        }
        Ok(records)
    };
    queues.map(together).collect()
}

/// Sends messages to one queue; all are stored on return.
pub(super) async fn send(broker: &LocalBroker, queue: u32, messages: Vec<Message>) -> Result<()> {
    for result in broker.send(QueueId(queue), messages).await {
        result?;
    }
    Ok(())
}

/// Stores messages as fast as possible, each made from its number; all are stored on return.
pub(super) async fn store<Make>(broker: &LocalBroker, messages: u64, make: Make) -> Result<()>
where
    Make: Fn(u64) -> Result<Message> + Clone + Send + 'static,
{
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (broker, make) = (broker.clone(), make.clone());
        senders.spawn(async move {
            // Every so many-th batch.
            for batch in (sender..messages.div_ceil(SEND_BATCH)).step_by(SENDERS as usize) {
                let numbers = batch * SEND_BATCH..messages.min((batch + 1) * SEND_BATCH);
                let queue = (batch % u64::from(QUEUES)) as u32;
                send(&broker, queue, numbers.map(&make).collect::<Result<_>>()?).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    Ok(())
}

/// The group that receives.
pub(super) fn group() -> Result<GroupName> {
    GroupName::new(load::GROUP).context("a group's name")
}

/// Leases what there is, at most so many.
pub(super) async fn pop(broker: &LocalBroker, messages_max: u32) -> Result<Vec<ReceiptHandle>> {
    let request = Pop {
        group: group()?,
        client: "bench".into(),
        topic: topic(TOPIC)?,
        queue: None,
        messages_max,
        invisible: Duration::from_secs(60),
        auto_renew: false,
        filter: Arc::new(Filter::All),
        wait: Duration::ZERO,
        attempt_id: None,
    };
    let popped = broker.pop(request).await?;
    Ok(popped.messages.into_iter().map(|message| message.handle).collect())
}

/// A record's bytes as the store would write them, for a baseline that writes as many.
pub(super) fn record_bytes() -> Result<Bytes> {
    Ok(encoded(&message()?, 0)?.place(QueueOffset(0), PhysicalOffset(0), Timestamp(0)))
}
