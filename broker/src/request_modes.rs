//! Whether groups pull or pop, as operators set it, and which queues a client of a group consumes then. Plain values.
//!
//! The settings are kept in a file where Apache's broker has it and in its form ([`FILE`]), so a directory of Apache's brings them along:
//! a restart that forgot them would be a switch from pops to pulls, and deliver again.
//! Source: Apache 5.5 `MessageRequestModeManager`, `QueryAssignmentProcessor`, `AllocateMessageQueueAveragely`, `AllocateMessageQueueAveragelyByCircle`.

use std::collections::BTreeMap;

use remoting_proto::body::{MessageQueue, MessageRequestMode, MessageRequestModes};
use remoting_proto::{Dialect, JsonError};
use types::{GroupName, TopicName};

/// Most settings; about 300 bytes each.
const MODES_MAX: usize = 100_000;
/// Where they are kept, in the broker's data directory. Source: `BrokerPathConfigHelper.getMessageRequestModePath`.
pub(crate) const FILE: &str = "config/messageRequestMode.json";
/// Its name in that folder.
pub(crate) const FILE_NAME: &str = "messageRequestMode.json";
/// Most bytes of that file: names have at most 255 and 120.
pub(crate) const FILE_BYTES_MAX: u64 = MODES_MAX as u64 * 1024;
/// A client that pops leases messages and acks each.
pub(crate) const POP: &str = "POP";
/// A client that pulls has queues to itself.
pub(crate) const PULL: &str = "PULL";
/// The number that stands for all queues of a broker.
const ALL_QUEUES: i32 = -1;

/// The settings, by topic and group.
#[derive(Debug, Default)]
pub(crate) struct RequestModes(BTreeMap<(String, String), MessageRequestMode>);

/// Too many settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MODES_MAX} groups have a consume mode of their own on a topic, which is the limit")]
pub(crate) struct Full;

impl RequestModes {
    /// Reads the file's text.
    ///
    /// # Errors
    /// It is not the expected JSON.
    pub(crate) fn from_file(text: &[u8]) -> Result<Self, JsonError> {
        let MessageRequestModes { message_request_mode_map: topics } = remoting_proto::from_slice(text)?;
        let of_topic = |(topic, groups): (String, BTreeMap<String, MessageRequestMode>)| {
            groups.into_iter().map(move |(group, mode)| ((topic.clone(), group), mode))
        };
        Ok(Self(topics.into_iter().flat_map(of_topic).collect()))
    }

    /// All of them, by topic and group.
    pub(crate) fn all(&self) -> MessageRequestModes {
        let mut all = MessageRequestModes::default();
        for ((topic, group), mode) in &self.0 {
            all.message_request_mode_map.entry(topic.clone()).or_default().insert(group.clone(), mode.clone());
        }
        all
    }

    /// The file's text.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        remoting_proto::to_vec(&self.all(), Dialect::Fastjson)
    }

    /// Forgets those of groups or topics that are not there any more, as what comes under their names later is not theirs; says whether
    /// there were any.
    pub(crate) fn keep(&mut self, is_there: impl Fn(&GroupName, &TopicName) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|(topic, group), _| match (GroupName::new(group), TopicName::new(topic)) {
            (Ok(group), Ok(topic)) => is_there(&group, &topic),
            _ => false,
        });
        self.0.len() < before
    }

    /// Takes a setting.
    pub(crate) fn set(&mut self, mode: MessageRequestMode) -> Result<(), Full> {
        let key = (mode.topic.clone(), mode.consumer_group.clone());
        if self.0.len() >= MODES_MAX && !self.0.contains_key(&key) {
            return Err(Full);
        }
        self.0.insert(key, mode);
        Ok(())
    }

    /// A group's on a topic; unless it was set it is to pull.
    pub(crate) fn get(&self, topic: &str, group: &str) -> MessageRequestMode {
        self.0.get(&(topic.to_owned(), group.to_owned())).cloned().unwrap_or_else(|| MessageRequestMode {
            topic: topic.to_owned(),
            consumer_group: group.to_owned(),
            mode: PULL.to_owned(),
            pop_share_queue_num: 0,
        })
    }
}

/// How queues are dealt out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Each client has a stretch.
    Average,
    /// They take turns.
    Circle,
}

impl Strategy {
    /// By Apache's name; clients have others that brokers do not know.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "AVG" => Some(Self::Average),
            "AVG_BY_CIRCLE" => Some(Self::Circle),
            _ => None,
        }
    }

    /// The queues of one of several clients, of all that there are, both in order.
    fn queues_of(self, queues: &[MessageQueue], client: usize, clients: usize) -> Vec<&MessageQueue> {
        match self {
            Self::Circle => queues.iter().skip(client).step_by(clients.max(1)).collect(),
            Self::Average => {
                let (each, more) = (queues.len() / clients.max(1), queues.len() % clients.max(1));
                let start = client * each + client.min(more);
                queues.iter().skip(start).take(each + usize::from(client < more)).collect()
            }
        }
    }
}

/// The queues that a client pulls, of all that there are.
pub(crate) fn pulled(queues: &[MessageQueue], client: usize, clients: usize, strategy: Strategy) -> Vec<MessageQueue> {
    strategy.queues_of(queues, client, clients).into_iter().cloned().collect()
}

/// The queues that a client pops: all of each broker, unless it shares with so many of the clients behind it.
pub(crate) fn popped(
    queues: &[MessageQueue],
    client: usize,
    clients: usize,
    strategy: Strategy,
    shared: i64,
) -> Vec<MessageQueue> {
    let others = clients.saturating_sub(1);
    let Some(shared) = usize::try_from(shared).ok().filter(|shared| (1..others).contains(shared)) else {
        let mut brokers: Vec<_> =
            queues.iter().map(|queue| MessageQueue { queue_id: ALL_QUEUES, ..queue.clone() }).collect();
        brokers.dedup();
        return brokers;
    };
    if clients > queues.len() {
        // More clients than queues: each has one, some the same.
        return queues.get(client % queues.len().max(1)).cloned().into_iter().collect();
    }
    let of = |step| strategy.queues_of(queues, (client + step) % clients, clients);
    (0..=shared).flat_map(of).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(count: i32) -> Vec<MessageQueue> {
        let queue = |queue_id| MessageQueue { broker_name: "b".to_owned(), queue_id, topic: "t".to_owned() };
        (0..count).map(queue).collect()
    }

    fn numbers(queues: Vec<MessageQueue>) -> Vec<i32> {
        queues.into_iter().map(|queue| queue.queue_id).collect()
    }

    #[test]
    fn queues_are_dealt_out_as_clients_deal_them_out() {
        let of = |client, strategy| numbers(pulled(&queues(8), client, 3, strategy));
        assert_eq!([0, 1, 2].map(|client| of(client, Strategy::Average)), [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]);
        assert_eq!([0, 1, 2].map(|client| of(client, Strategy::Circle)), [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]);
        assert!(pulled(&queues(1), 1, 2, Strategy::Average).is_empty());
        assert_eq!(Strategy::of("CONSISTENT_HASH"), None);
    }

    #[test]
    fn who_pops_has_all_queues_of_each_broker_or_shares_with_some() {
        let mut two = queues(2);
        two.push(MessageQueue { broker_name: "c".to_owned(), ..two[0].clone() });
        let all = popped(&two, 0, 5, Strategy::Average, 0);
        assert_eq!(
            all.iter().map(|queue| (queue.broker_name.as_str(), queue.queue_id)).collect::<Vec<_>>(),
            [("b", -1), ("c", -1)]
        );
        assert_eq!(numbers(popped(&queues(8), 0, 4, Strategy::Average, 3)), [-1]);
        assert_eq!(numbers(popped(&queues(8), 3, 4, Strategy::Average, 1)), [6, 7, 0, 1]);
        assert_eq!(numbers(popped(&queues(2), 2, 4, Strategy::Average, 1)), [0]);
    }

    #[test]
    fn a_group_pulls_until_it_is_set() {
        let mut modes = RequestModes::default();
        assert_eq!(modes.get("t", "g").mode, PULL);
        let mode = MessageRequestMode { mode: POP.to_owned(), pop_share_queue_num: 2, ..modes.get("t", "g") };
        modes.set(mode.clone()).expect("room");
        assert_eq!((modes.get("t", "g"), modes.get("t", "h").mode.as_str(), modes.0.len()), (mode, PULL, 1));
    }

    #[test]
    fn they_come_back_from_their_file_and_from_apaches_and_go_with_what_they_are_of() {
        // As 5.5's classes write it, without the blanks.
        let apaches = br#"{"messageRequestModeMap":{"t":{"g":{"consumerGroup":"g","mode":"POP","popShareQueueNum":2,"topic":"t"}}}}"#;
        let mut modes = RequestModes::from_file(apaches).expect("read");
        assert_eq!((modes.get("t", "g").mode.as_str(), modes.get("t", "g").pop_share_queue_num), (POP, 2));
        assert_eq!(RequestModes::from_file(&modes.to_file()).expect("read").0, modes.0);
        assert!(RequestModes::from_file(b"{\"messageRequestModeMap\":").is_err());
        assert!(!modes.keep(|group, topic| (group.as_str(), topic.as_str()) == ("g", "t")));
        assert!(modes.keep(|_, topic| topic.as_str() != "t") && modes.0.is_empty());
    }
}
