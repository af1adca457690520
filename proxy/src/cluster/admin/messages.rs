//! Stored messages of all brokers: by key, by time, from an offset on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use remoting_proto::requests::QueryMessage;
use remoting_proto::{RequestCode, ResponseCode};
use types::admin::{AdminError, FindBy, FoundMessages, MessageQuery};
use types::broker::{LookupError, OffsetAt, PopError, Pull, PullError};
use types::properties::has_key;
use types::{Filter, GroupName, QueueId, QueueOffset, Timestamp, TopicName};

use super::Cluster;
use crate::cluster::brokers::{Request, refused, unreadable};
use crate::cluster::popped;

/// The group in whose name tools read; brokers of Apache's make it by themselves. Source: `MixAll.TOOLS_CONSUMER_GROUP`.
const TOOLS_GROUP: &str = "TOOLS_CONSUMER";
/// Messages that are read at once.
const AT_ONCE: u32 = 32;

/// Most messages that a broker answers for a key; ours answer more. Source: Apache `MessageStoreConfig.maxMsgsNumBatch`.
const KEYED_MAX: usize = 64;
/// From so many bytes of messages on, an answer for a key may lack one that it had no room for: brokers of ours end it at 8 MiB.
const KEYED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a query has found so far.
struct Finds<'a> {
    query: &'a MessageQuery,
    records: Vec<Bytes>,
    bytes: usize,
}

impl Finds<'_> {
    fn is_full(&self) -> bool {
        self.records.len() >= self.query.messages_max || self.bytes >= MessageQuery::BYTES_MAX
    }

    fn take(&mut self, record: Bytes) {
        self.bytes += record.len();
        self.records.push(record);
    }
}

impl Cluster {
    /// As [`types::Admin::find_messages`]. Of a key brokers answer at most as many as are wanted.
    pub(super) async fn messages(&self, query: &MessageQuery) -> Result<FoundMessages, AdminError> {
        let mut finds = Finds { query, records: Vec::new(), bytes: 0 };
        let is_complete = match &query.by {
            FindBy::Key(key) => self.find_by_key(key, &mut finds).await?,
            FindBy::From(queue, from) => self.take_from(*queue, *from, &mut finds).await?,
            FindBy::Time(queue) => {
                let queues = self.route(&query.topic).await?.config.read_queues;
                let all = queue.map_or_else(|| (0..queues).map(QueueId).collect(), |queue| vec![queue]);
                let mut is_complete = true;
                for queue in all {
                    let from = self.offset_at(&query.topic, queue, OffsetAt::Time(query.stored.start)).await?;
                    is_complete &= self.take_from(queue, from, &mut finds).await?;
                }
                finds.records.sort_by_key(stored_at);
                is_complete
            }
        };
        Ok(FoundMessages { records: finds.records, is_complete })
    }

    async fn find_by_key(&self, key: &str, finds: &mut Finds<'_>) -> Result<bool, AdminError> {
        let MessageQuery { topic, stored, messages_max, .. } = finds.query;
        let mut by_time = BTreeMap::new();
        let mut is_complete = true;
        for broker in self.route(topic).await?.brokers() {
            let header = QueryMessage {
                topic: topic.to_string(),
                key: key.to_owned(),
                max_num: i64::try_from(*messages_max).unwrap_or(i64::MAX),
                begin_timestamp: stored.start.0,
                // Both ends count there.
                end_timestamp: stored.end.0.saturating_sub(1),
                is_unique_key: None,
            };
            let answer =
                self.0.brokers.call(&broker, Request::new(RequestCode::QueryMessage, header.to_fields())).await?;
            let records = match answer.response_code() {
                ResponseCode::Success => popped::records(answer.body).map_err(unreadable)?,
                ResponseCode::QueryNotFound => Vec::new(),
                _ => return Err(refused(&broker, &answer).into()),
            };
            is_complete &= is_all(&records, *messages_max);
            let found = records.into_iter().filter(|bytes| is_of(bytes, topic, key));
            by_time.extend(found.enumerate().map(|(n, record)| ((stored_at(&record), broker.clone(), n), record)));
        }
        // The newest first.
        for record in by_time.into_values().rev() {
            if finds.is_full() {
                return Ok(false);
            }
            finds.take(record);
        }
        Ok(is_complete)
    }

    /// Takes a queue's messages in order until one is too young; says whether it came that far or to the end.
    async fn take_from(&self, queue: QueueId, from: QueueOffset, finds: &mut Finds<'_>) -> Result<bool, AdminError> {
        let topic = finds.query.topic.clone();
        let first = self.offset_at(&topic, queue, OffsetAt::Beginning).await?;
        let end = self.offset_at(&topic, queue, OffsetAt::End).await?;
        let mut offset = from.max(first);
        while offset < end {
            let pull = Pull {
                group: GroupName::new(TOOLS_GROUP).expect("a valid name"),
                topic: topic.clone(),
                queue,
                offset,
                messages_max: AT_ONCE,
                filter: Arc::new(Filter::All),
                wait: Duration::ZERO,
            };
            let pulled = match self.pull_messages(pull).await {
                // What was there has expired meanwhile.
                Err(PullError::OffsetOutOfRange { .. }) => return Ok(true),
                Err(PullError::Pop(error)) => return Err(lookup(error)),
                Ok(pulled) => pulled,
            };
            if pulled.next_offset <= offset {
                return Ok(true);
            }
            for record in pulled.records {
                if finds.is_full() {
                    return Ok(false);
                }
                if stored_at(&record) >= finds.query.stored.end {
                    return Ok(true);
                }
                finds.take(record);
            }
            offset = pulled.next_offset;
        }
        Ok(true)
    }
}

/// Whether an answer for a key can have left none out.
fn is_all(records: &[Bytes], messages_max: usize) -> bool {
    let bytes: usize = records.iter().map(Bytes::len).sum();
    records.len() < messages_max.min(KEYED_MAX) && bytes < KEYED_BYTES_MAX
}

/// Whether a message is of this topic and has this key: brokers of Apache's compare hashes only.
fn is_of(bytes: &Bytes, topic: &TopicName, key: &str) -> bool {
    record::decode(bytes).is_ok_and(|record| record.topic == topic.as_str() && has_key(record.properties(), key))
}

fn stored_at(record: &Bytes) -> Timestamp {
    record::header(record).map(|header| header.stored_at).unwrap_or_default()
}

fn lookup(error: PopError) -> AdminError {
    match error {
        PopError::Lookup(error) => error.into(),
        PopError::Unavailable(error) => error.into(),
        PopError::NotReadable { .. }
        | PopError::GroupDisabled { .. }
        | PopError::QueuesLocked { .. }
        | PopError::TooManyWaiting { .. } => {
            LookupError::Unavailable(types::broker::Unavailable::Remote { detail: error.to_string() }).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use types::properties::names;
    use types::{Message, PhysicalOffset};

    use super::*;

    fn stored(topic: &str, key: &str) -> Bytes {
        let mut message = Message::new(TopicName::new(topic).expect("valid"), Bytes::from_static(b"body"));
        message.properties.set_own(names::KEYS, key);
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let placed = record::encode(&message, QueueId(0), host).expect("fits");
        placed.place(QueueOffset(0), PhysicalOffset(0), Timestamp(0))
    }

    #[test]
    fn of_what_brokers_find_by_hash_only_the_keys_own_count() {
        let topic = TopicName::new("t").expect("valid");
        assert!(is_of(&stored("t", "a b"), &topic, "b"));
        assert!(!is_of(&stored("t", "a"), &topic, "b"));
        assert!(!is_of(&stored("u", "b"), &topic, "b"));
    }

    #[test]
    fn an_answer_at_a_bound_of_the_broker_may_lack_some() {
        let record = stored("t", "a");
        assert!(is_all(&vec![record.clone(); 63], 256));
        assert!(!is_all(&vec![record.clone(); 64], 256), "Apache's bound");
        assert!(!is_all(&vec![record; 2], 2), "what was asked for");
        assert!(!is_all(&[Bytes::from(vec![0; KEYED_BYTES_MAX])], 256), "ours");
    }
}
