//! What is in all queues, read by pulling.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::LocalBroker;
use types::broker::{OffsetAt, Pull, PullError, Pulled};
use types::{Broker as _, Filter, GroupName, PhysicalOffset, QueueId, QueueOffset};

use super::clients::id_of;
use super::history::{Place, Topic};
use super::plan::QUEUES;
use crate::report::Violation;

/// A message in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The queue's topic.
    pub topic: Topic,
    /// Where in the topic.
    pub place: Place,
    /// Where in the log.
    pub physical_offset: PhysicalOffset,
    /// The message's number.
    pub id: u64,
}

/// What is in all queues.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// By topic, queue and offset.
    pub found: Vec<Found>,
    /// Where each queue begins.
    pub begins: BTreeMap<(Topic, QueueId), QueueOffset>,
}

const PULL_MAX: u32 = 512;
const PROMISE: &str = "a queue can be read from its first offset to its end";

/// Everything that can be pulled.
pub(crate) async fn pull_all(broker: &LocalBroker, topics: &[Topic]) -> Result<Survey, Violation> {
    let mut survey = Survey::default();
    for &topic in topics {
        for queue in (0..QUEUES).map(QueueId) {
            let (found, begin) = pull_queue(broker, topic, queue).await?;
            survey.found.extend(found);
            survey.begins.insert((topic, queue), begin);
        }
    }
    Ok(survey)
}

/// A queue and where it begins: what expires while it is read is not in it.
async fn pull_queue(
    broker: &LocalBroker,
    topic: Topic,
    queue: QueueId,
) -> Result<(Vec<Found>, QueueOffset), Violation> {
    let (mut found, mut offset) = (Vec::new(), QueueOffset(0));
    loop {
        let pulled = pull(broker, topic, Place { queue, queue_offset: offset }, PULL_MAX).await?;
        for record in &pulled.records {
            found.push(look(topic, record)?);
        }
        offset = pulled.next_offset;
        if offset >= pulled.max_offset {
            break;
        }
    }
    let begin = broker.queue_offset(&topic.name(), queue, OffsetAt::Beginning).await;
    let begin = begin.map_err(|error| Violation::new(PROMISE, format!("{topic:?} {queue}: {error}")))?;
    found.retain(|found| found.place.queue_offset >= begin);
    Ok((found, begin))
}

/// The message at a place; `None` when the queue ends before it.
pub(super) async fn pull_one(broker: &LocalBroker, topic: Topic, place: Place) -> Result<Option<Found>, Violation> {
    let pulled = pull(broker, topic, place, 1).await?;
    pulled.records.first().map(|record| look(topic, record)).transpose()
}

async fn pull(broker: &LocalBroker, topic: Topic, place: Place, messages_max: u32) -> Result<Pulled, Violation> {
    let Place { queue, queue_offset: mut offset } = place;
    let request = |offset| Pull {
        group: GroupName::new("survey").expect("a valid name"),
        topic: topic.name(),
        queue,
        offset,
        messages_max,
        filter: Arc::new(Filter::All),
        wait: Duration::ZERO,
    };
    let pulled = loop {
        match broker.pull(request(offset)).await {
            // What was there has expired: on at the first that is left, which may expire meanwhile too.
            Err(PullError::OffsetOutOfRange { min, .. }) if min > offset => offset = min,
            pulled => break pulled,
        }
    };
    pulled.map_err(|error| Violation::new(PROMISE, format!("{topic:?} {queue}: {error}")))
}

fn look(topic: Topic, record: &[u8]) -> Result<Found, Violation> {
    let damaged = |detail: String| Violation::new(PROMISE, detail);
    let record = record::decode(record).map_err(|error| damaged(error.to_string()))?;
    let id = id_of(record.body).ok_or_else(|| damaged(format!("a body of {} bytes", record.body.len())))?;
    let place = Place { queue: record.header.queue, queue_offset: record.header.queue_offset };
    Ok(Found { topic, place, physical_offset: record.header.physical_offset, id })
}
