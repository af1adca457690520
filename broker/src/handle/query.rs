//! Looking at stored messages: by key through the key index, by store time through the queues. Nothing is leased.

use bytes::Bytes;
use env::clock::Moment;
use record::Record;
use store::ReadError;
use types::admin::{AdminError, FindBy, FoundMessages, MessageQuery};
use types::broker::{LookupError, Unavailable};
use types::properties::has_key;
use types::{Admin, PhysicalOffset, QueueId, QueueOffset};

use super::LocalBroker;
use super::read::{is_damage, unavailable};
use crate::command::{Command, PullCommand};

/// Positions of a key that are asked for, or queue entries that are read, at once.
const AT_ONCE: u16 = 64;
/// Most records that a query by key looks at: of a key that very many messages share only the newest are found.
const KEYED_MAX: usize = 4096;

/// What a query has found so far.
struct Finds<'a> {
    query: &'a MessageQuery,
    /// First offset and end of each queue, in order.
    queues: Vec<(QueueOffset, QueueOffset)>,
    records: Vec<Bytes>,
    bytes: usize,
}

impl Finds<'_> {
    fn is_full(&self) -> bool {
        let messages_max = self.query.messages_max.min(MessageQuery::MESSAGES_MAX);
        self.records.len() >= messages_max || self.bytes >= MessageQuery::BYTES_MAX
    }

    fn extent(&self, queue: QueueId) -> Result<(QueueOffset, QueueOffset), LookupError> {
        self.queues.get(queue.0 as usize).copied().ok_or_else(|| {
            let queues = u32::try_from(self.queues.len()).unwrap_or(u32::MAX);
            LookupError::QueueNotFound { topic: self.query.topic.clone(), queue, queues }
        })
    }

    /// Takes a record if it is one of those looked for.
    fn take(&mut self, bytes: Bytes) {
        if record::decode(&bytes).is_ok_and(|record| self.is_wanted(&record)) {
            self.bytes += bytes.len();
            self.records.push(bytes);
        }
    }

    fn is_wanted(&self, record: &Record<'_>) -> bool {
        let header = &record.header;
        // Messages of an earlier topic of this name are not this one's.
        let is_here = self
            .queues
            .get(header.queue.0 as usize)
            .is_some_and(|(first, end)| (*first..*end).contains(&header.queue_offset));
        let has_key = match &self.query.by {
            FindBy::Key(key) => has_key(record.properties(), key),
            FindBy::Time(_) | FindBy::From(..) => true,
        };
        record.topic == self.query.topic.as_str() && is_here && has_key && self.query.stored.contains(&header.stored_at)
    }
}

impl LocalBroker {
    pub(super) async fn query(&self, query: &MessageQuery) -> Result<FoundMessages, AdminError> {
        let queues = self.describe_topic(&query.topic).await?.queues;
        self.query_in(query, queues).await
    }

    /// The same of a topic whose queues reach so far.
    pub(super) async fn query_in(
        &self,
        query: &MessageQuery,
        queues: Vec<(QueueOffset, QueueOffset)>,
    ) -> Result<FoundMessages, AdminError> {
        let mut finds = Finds { query, queues, records: Vec::new(), bytes: 0 };
        let is_complete = match &query.by {
            FindBy::Key(key) => self.find_by_key(key, &mut finds).await?,
            FindBy::Time(queue) => self.find_by_time(*queue, &mut finds).await?,
            FindBy::From(queue, from) => {
                let (first, end) = finds.extent(*queue)?;
                self.take_from(*queue, first.max(*from), end, &mut finds).await?
            }
        };
        let mut records = finds.records;
        if matches!(query.by, FindBy::Time(_)) {
            records.sort_by_key(|bytes| record::header(bytes).map(|header| header.stored_at).unwrap_or_default());
        }
        Ok(FoundMessages { records, is_complete })
    }

    /// Says whether all were found.
    async fn find_by_key(&self, key: &str, finds: &mut Finds<'_>) -> Result<bool, AdminError> {
        let reader = &self.inner.shared.reader;
        let hash = record::key_hash(finds.query.topic.as_str(), key);
        let search = self.ask(|reply| Command::SearchKeys { hash, reply }).await.map_err(lookup)?;
        let (mut before, mut seen) = (PhysicalOffset(u64::MAX), 0);
        while !finds.is_full() && seen < KEYED_MAX {
            let found = reader.find_keys(search.clone(), before, AT_ONCE.into()).await;
            let mut positions = found.map_err(|error| lookup(unavailable(&error)))?;
            let Some(last) = positions.last() else { return Ok(true) };
            before = *last;
            seen += positions.len();
            // A record may have a key twice.
            positions.dedup();
            for position in positions {
                if finds.is_full() {
                    return Ok(false);
                }
                if let Some(bytes) = self.record_at(position).await? {
                    finds.take(bytes);
                }
            }
        }
        Ok(false)
    }

    /// Says whether all were found.
    async fn find_by_time(&self, queue: Option<QueueId>, finds: &mut Finds<'_>) -> Result<bool, AdminError> {
        queue.map_or(Ok(()), |queue| finds.extent(queue).map(drop))?;
        let all = finds.queues.clone();
        for (number, (first, end)) in
            (0..).map(QueueId).zip(all).filter(|(number, _)| queue.is_none_or(|q| q == *number))
        {
            let from = self.first_stored_at(&finds.query.topic, number, (first, end), finds.query.stored.start).await?;
            if !self.take_from(number, from, end, finds).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes a queue's messages in order until one is too young; says whether it came that far or to the end.
    async fn take_from(
        &self,
        queue: QueueId,
        mut from: QueueOffset,
        end: QueueOffset,
        finds: &mut Finds<'_>,
    ) -> Result<bool, AdminError> {
        while from < end {
            let pull = PullCommand {
                topic: finds.query.topic.clone(),
                queue,
                offset: from,
                messages_max: AT_ONCE.into(),
                until: Moment::default(),
                reply: tokio::sync::oneshot::channel().0,
            };
            let pulled =
                self.ask(|reply| Command::Pull(Box::new(PullCommand { reply, ..pull }))).await.map_err(lookup)?;
            // The queue's beginning has moved on meanwhile: what is asked for has expired.
            let Ok(pulled) = pulled else { return Ok(true) };
            let Some(last) = pulled.entries.last() else { return Ok(true) };
            from = last.queue_offset.next();
            let places = pulled.entries.iter().map(|entry| (entry.physical_offset, entry.record_bytes));
            for bytes in self.inner.shared.reader.read_all(places).await {
                if finds.is_full() {
                    return Ok(false);
                }
                let bytes = match bytes {
                    Err(error) if is_damage(&error) => continue,
                    bytes => bytes.map_err(|error| lookup(unavailable(&error)))?,
                };
                if record::header(&bytes).is_ok_and(|header| header.stored_at >= finds.query.stored.end) {
                    return Ok(true);
                }
                finds.take(bytes);
            }
        }
        Ok(true)
    }

    /// The record at a position, `None` when none begins there or it may not be shown.
    pub(super) async fn record_at(&self, offset: PhysicalOffset) -> Result<Option<Bytes>, AdminError> {
        let reader = &self.inner.shared.reader;
        if offset >= reader.marks().visible_to() {
            return Ok(None);
        }
        match reader.find(offset).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ReadError::Expired { .. }) => Ok(None),
            Err(error) if is_damage(&error) => Ok(None),
            Err(error) => Err(lookup(unavailable(&error))),
        }
    }
}

fn lookup(why: Unavailable) -> AdminError {
    LookupError::Unavailable(why).into()
}
