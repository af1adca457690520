//! The topic that webhooks are records of: read to its end again and again, written by whoever changes one. Brokers of ours and of Apache
//! keep it like any other.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proxy::Messaging;
use proxy::messaging::message::Draft;
use proxy::messaging::message_id::MessageIds;
use types::broker::{LookupError, OffsetAt, PopError, Pull, PullError};
use types::{Filter, GroupName, QueueId, QueueOffset, Timestamp, TopicName};

use super::registry::Record;
use super::seal::Keys;
use crate::problem::Problem;

/// Its name, and that of the group that reads it.
pub(super) const NAME: &str = "gantry_sys_webhooks";
/// Records that are asked for at once.
const PULL_MESSAGES: u32 = 32;

/// A record, where it stands, and when it was stored.
pub(super) type Stored = (Record, QueueOffset, Timestamp);

/// What was found.
#[derive(Default)]
pub(super) struct News {
    pub(super) stored: Vec<Stored>,
    /// Whether it is all that there is, in place of what was known: some of what came between has expired unread, ends of webhooks perhaps.
    pub(super) is_all: bool,
    /// Records that say nothing.
    unopened: u64,
}

/// The topic, and where it was read to.
pub(super) struct Topic {
    messaging: Messaging,
    name: TopicName,
    group: GroupName,
    keys: Arc<Keys>,
    ids: MessageIds,
    limits: proxy::Limits,
    /// The next offset of each queue.
    cursors: BTreeMap<QueueId, QueueOffset>,
}

impl Topic {
    /// One of which nothing was read.
    pub(super) fn new(messaging: Messaging, keys: Arc<Keys>) -> Self {
        let name = TopicName::new(NAME).expect("a valid name");
        let group = GroupName::new(NAME).expect("a valid name");
        let (ids, limits) = (MessageIds::new(), proxy::Limits::default());
        Self { messaging, name, group, keys, ids, limits, cursors: BTreeMap::new() }
    }

    /// Everything that was written since the last call; nothing, as long as its broker says that there is no topic.
    ///
    /// # Errors
    /// A queue cannot be read; what was read is lost to the caller and is read again.
    pub(super) async fn news(&mut self) -> Result<News, PullError> {
        let config = match self.messaging.broker().shared_topic(&self.name, false).await {
            Ok(config) => config,
            Err(LookupError::TopicNotFound { .. }) => return Ok(News::default()),
            Err(error) => return Err(PopError::from(error).into()),
        };
        let count = usize::try_from(config.read_queues).unwrap_or(usize::MAX);
        if count != self.cursors.len() {
            // Numbers may mean other queues now. To read again what is known changes nothing.
            self.cursors.clear();
        }
        let (mut cursors, mut news) = (self.cursors.clone(), News::default());
        if !self.read_all(config.read_queues, &mut cursors, &mut news).await? {
            (cursors, news) = (BTreeMap::new(), News { is_all: true, ..News::default() });
            self.read_all(config.read_queues, &mut cursors, &mut news).await?;
        }
        self.cursors = cursors;
        if news.unopened > 0 {
            tracing::warn!(
                topic = NAME,
                records = news.unopened,
                "records are left out that none of the keys in --webhook-key-file opens, or that a newer version has written"
            );
        }
        Ok(news)
    }

    /// Reads all queues on from where they were read to; `false` if something before that has expired unread.
    async fn read_all(
        &self,
        queues: u32,
        cursors: &mut BTreeMap<QueueId, QueueOffset>,
        news: &mut News,
    ) -> Result<bool, PullError> {
        for queue in (0..queues).map(QueueId) {
            let from = cursors.get(&queue).copied();
            let Some(end) = self.read_to_end(queue, from, news).await? else { return Ok(false) };
            cursors.insert(queue, end);
        }
        Ok(true)
    }

    /// Where the queue ends; `None` if it does not reach back to where it was read to.
    async fn read_to_end(
        &self,
        queue: QueueId,
        from: Option<QueueOffset>,
        news: &mut News,
    ) -> Result<Option<QueueOffset>, PullError> {
        let mut offset = match from {
            Some(offset) => offset,
            None => self.beginning(queue).await?,
        };
        loop {
            let pulled = match self.messaging.broker().pull(self.pull(queue, offset)).await {
                Ok(pulled) => pulled,
                Err(PullError::OffsetOutOfRange { min, .. }) if from.is_some() && offset < min => return Ok(None),
                // Expired while it was read for the first time, or another queue than before.
                Err(PullError::OffsetOutOfRange { .. }) => return self.beginning(queue).await.map(Some),
                Err(error) => return Err(error),
            };
            for record in &pulled.records {
                match self.open(record) {
                    Some(stored) => news.stored.push(stored),
                    None => news.unopened += 1,
                }
            }
            if pulled.next_offset <= offset {
                return Ok(Some(offset));
            }
            offset = pulled.next_offset;
        }
    }

    async fn beginning(&self, queue: QueueId) -> Result<QueueOffset, PullError> {
        let first = self.messaging.broker().queue_offset(&self.name, queue, OffsetAt::Beginning).await;
        Ok(first.map_err(PopError::from)?)
    }

    fn pull(&self, queue: QueueId, offset: QueueOffset) -> Pull {
        Pull {
            group: self.group.clone(),
            topic: self.name.clone(),
            queue,
            offset,
            messages_max: PULL_MESSAGES,
            filter: Arc::new(Filter::All),
            wait: Duration::ZERO,
        }
    }

    /// What a stored message says, if it is one of ours.
    fn open(&self, record: &[u8]) -> Option<Stored> {
        let record = record::decode(record).ok()?;
        let text = self.keys.open(record.body)?;
        Some((serde_json::from_slice(&text).ok()?, record.header.queue_offset, record.header.stored_at))
    }

    /// Writes a record; makes the topic if there is none. It is stored as the broker stores any message on return.
    ///
    /// # Errors
    /// It may not be stored.
    pub(super) async fn write(&self, record: &Record) -> Result<(), Problem> {
        self.messaging.broker().shared_topic(&self.name, true).await.map_err(PopError::from)?;
        let text = serde_json::to_vec(record).expect("plain data");
        let draft = Draft {
            message_id: self.ids.next(),
            body: self.keys.seal(&text).into(),
            keys: vec![record.id.clone()],
            ..Draft::default()
        };
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let outgoing = draft.outgoing(&self.limits, self.name.clone(), nobody)?;
        let sent = self.messaging.send(&self.name, vec![outgoing.message], &[outgoing.message_type]).await?;
        for result in sent {
            result?;
        }
        Ok(())
    }
}
