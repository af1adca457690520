//! Pulling: records of one queue, leased to nobody, and the offsets that go with them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use env::clock::Moment;
use store::{QueueEntry, ReadError};
use types::broker::{LeaseOwner, LookupError, OffsetAt, PopError, Pull, PullError, Pulled};
use types::{GroupName, QueueId, QueueOffset, Timestamp, TopicConfig, TopicName};

use super::LocalBroker;
use super::read::{is_damage, is_wanted, unavailable};
use crate::command::{Command, PullCommand, PulledEntries};
use crate::offset::Committed;
use crate::options::WAIT_MAX;

/// Most messages of one pull. Source: Apache `maxTransferCountOnMessageInMemory` is smaller, clients ask for 32.
const MESSAGES_MAX: u32 = 1024;
/// Most entries that a pull whose filter wants none of them looks at before it answers.
const SCAN_ENTRIES_MAX: u64 = 4096;
/// Most damaged messages in a row that a look for a store time passes over.
const DAMAGED_MAX: u32 = 64;

impl LocalBroker {
    /// As [`Broker::pull`](types::Broker::pull), of records that have together at most so many bytes, unless the first alone has more: what
    /// does not fit is not read.
    pub(crate) async fn pull_within(&self, request: Pull, bytes_max: u64) -> Result<Pulled, PullError> {
        self.check_pull(&request).await?;
        let until = self.inner.shared.clock.moment().plus(request.wait.min(WAIT_MAX));
        let mut offset = request.offset;
        loop {
            let PulledEntries { entries, min, end } = self.entries(&request, offset, until).await?;
            let (records, next_offset) = self.wanted_records(&request, &entries, offset, bytes_max).await?;
            let is_done = !records.is_empty() || entries.is_empty();
            let has_looked_enough = next_offset.0 - request.offset.0 >= SCAN_ENTRIES_MAX;
            if is_done || has_looked_enough || self.inner.shared.clock.moment() >= until {
                return Ok(Pulled { records, next_offset, min_offset: min, max_offset: end });
            }
            offset = next_offset;
        }
    }

    async fn check_pull(&self, request: &Pull) -> Result<(), PopError> {
        let topic = self.find_topic(&request.topic).await?;
        if !topic.is_readable {
            return Err(PopError::NotReadable { topic: request.topic.clone() });
        }
        check_queue(&topic, request.queue)?;
        let group = self.find_group(&request.group).await?;
        if !group.is_enabled {
            return Err(PopError::GroupDisabled { group: request.group.clone() });
        }
        Ok(())
    }

    /// Entries of a queue from `offset` on, at most `count` of them, nothing is leased or counted.
    pub(crate) async fn entries_of(
        &self,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
        count: u32,
    ) -> Result<PulledEntries, PullError> {
        let (topic, until, messages_max) = (topic.clone(), Moment::default(), count.clamp(1, MESSAGES_MAX));
        let pull = |reply| Command::Pull(Box::new(PullCommand { topic, queue, offset, messages_max, until, reply }));
        self.ask(pull).await.map_err(PopError::from)?
    }

    async fn entries(&self, request: &Pull, offset: QueueOffset, until: Moment) -> Result<PulledEntries, PullError> {
        let (topic, queue) = (request.topic.clone(), request.queue);
        let messages_max = request.messages_max.clamp(1, MESSAGES_MAX);
        let pull = |reply| Command::Pull(Box::new(PullCommand { topic, queue, offset, messages_max, until, reply }));
        self.ask(pull).await.map_err(PopError::from)?
    }

    /// The records that the filter wants, and where to go on. A damaged one is passed over, counted and named; one that
    /// cannot be read now is where the next pull begins.
    async fn wanted_records(
        &self,
        request: &Pull,
        entries: &[QueueEntry],
        offset: QueueOffset,
        bytes_max: u64,
    ) -> Result<(Vec<Bytes>, QueueOffset), PopError> {
        let shared = &self.inner.shared;
        let mut hashed: Vec<_> =
            entries.iter().filter(|entry| request.filter.wants_tag_hash(entry.tag_hash.into())).collect();
        let left_out = cut(&mut hashed, bytes_max);
        let places = hashed.iter().map(|entry| (entry.physical_offset, entry.record_bytes));
        let mut records = Vec::with_capacity(hashed.len());
        for (entry, record) in hashed.iter().zip(shared.reader.read_all(places).await) {
            match record {
                Ok(record) if is_wanted(&request.filter, &record) => records.push(record),
                Ok(_) => {}
                // Between the look at the queue and the read: the pull goes on behind it.
                Err(ReadError::Expired { .. }) => {}
                Err(error) if is_damage(&error) => {
                    shared.counters.unreadable.add(1);
                    let (topic, queue, offset) = (&request.topic, request.queue, entry.queue_offset);
                    tracing::error!(%error, %topic, %queue, %offset, "a message cannot be read");
                }
                Err(error) if records.is_empty() => return Err(unavailable(&error).into()),
                Err(_) => return Ok((records, entry.queue_offset)),
            }
        }
        let end = entries.last().map_or(offset, |last| last.queue_offset.next());
        Ok((records, left_out.unwrap_or(end)))
    }

    pub(super) async fn find_offset(
        &self,
        topic: &TopicName,
        queue: QueueId,
        at: OffsetAt,
    ) -> Result<QueueOffset, LookupError> {
        check_queue(&*self.find_topic(topic).await?, queue)?;
        let name = topic.clone();
        let (min, end) = self.ask(|reply| Command::Range { topic: name, queue, reply }).await?;
        match at {
            OffsetAt::Beginning => Ok(min),
            OffsetAt::End => Ok(end),
            OffsetAt::Time(time) => self.first_stored_at(topic, queue, (min, end), time).await,
        }
    }

    /// Halves the range until the first message stored at or after `time` is found; store times never go back. Damaged ones
    /// right before it count as it.
    pub(super) async fn first_stored_at(
        &self,
        topic: &TopicName,
        queue: QueueId,
        (mut low, mut high): (QueueOffset, QueueOffset),
        time: Timestamp,
    ) -> Result<QueueOffset, LookupError> {
        while low < high {
            let middle = QueueOffset(low.0 + (high.0 - low.0) / 2);
            match self.stored_from(topic, queue, middle..high).await? {
                Some((offset, stored_at)) if stored_at < time => low = offset.next(),
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The first message of a stretch that can be read, with its store time; one that is gone is older than any. `None`
    /// when all are damaged.
    async fn stored_from(
        &self,
        topic: &TopicName,
        queue: QueueId,
        offsets: Range<QueueOffset>,
    ) -> Result<Option<(QueueOffset, Timestamp)>, LookupError> {
        let (mut offset, mut damaged_left) = (offsets.start, DAMAGED_MAX);
        while offset < offsets.end {
            let topic = topic.clone();
            let Some(entry) = self.ask(|reply| Command::Entry { topic, queue, offset, reply }).await? else {
                return Ok(Some((offset, Timestamp(i64::MIN))));
            };
            match self.inner.shared.reader.read(entry.physical_offset, entry.record_bytes).await {
                Ok(record) => {
                    let header = record::header(&record).ok();
                    return Ok(Some((offset, header.map_or(Timestamp(i64::MIN), |header| header.stored_at))));
                }
                Err(ReadError::Expired { .. }) => return Ok(Some((offset, Timestamp(i64::MIN)))),
                Err(error) if is_damage(&error) && damaged_left > 0 => damaged_left -= 1,
                Err(error) => return Err(unavailable(&error).into()),
            }
            offset = offset.next();
        }
        Ok(None)
    }

    pub(super) async fn find_committed(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<Option<QueueOffset>, LookupError> {
        let lease = self.check_owner(group, topic, queue).await?;
        Ok(self.ask(|reply| Command::CommittedOffset { lease, queue, reply }).await?)
    }

    pub(super) async fn commit(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<(), LookupError> {
        let LeaseOwner { group, topic } = self.check_owner(group, topic, queue).await?;
        let commit = Committed { group, topic, queue, offset };
        self.ask(|reply| Command::CommitOffset { commit, reply }).await?
    }

    /// Sets where a group goes on in a queue, whether it pops or pulls.
    pub(crate) async fn reset_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<(), LookupError> {
        let LeaseOwner { group, topic } = self.check_owner(group, topic, queue).await?;
        let to = Committed { group, topic, queue, offset };
        self.ask(|reply| Command::ResetOffset { to, reply }).await?
    }

    async fn check_owner(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<LeaseOwner, LookupError> {
        let config: Arc<TopicConfig> = self.find_topic(topic).await?;
        check_queue(&config, queue)?;
        self.find_group(group).await?;
        Ok(LeaseOwner { group: group.clone(), topic: topic.clone() })
    }
}

/// Leaves the first entries whose records have together at most so many bytes, at least one; the offset of the first that is left out.
fn cut(entries: &mut Vec<&QueueEntry>, bytes_max: u64) -> Option<QueueOffset> {
    let mut bytes = 0;
    let fits = |entry: &&QueueEntry| {
        bytes += u64::from(entry.record_bytes);
        bytes <= bytes_max
    };
    let kept = entries.iter().copied().take_while(fits).count().max(1);
    let left_out = entries.get(kept).map(|entry| entry.queue_offset);
    entries.truncate(kept);
    left_out
}

fn check_queue(topic: &TopicConfig, queue: QueueId) -> Result<(), LookupError> {
    let queues = topic.read_queues;
    if queue.0 < queues {
        return Ok(());
    }
    Err(LookupError::QueueNotFound { topic: topic.name.clone(), queue, queues })
}
