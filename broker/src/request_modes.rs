//! Whether groups pull or pop, as operators set it, and which queues a client of a group consumes then. Plain values.
//!
//! The settings are not stored: after a start consumers pull until they are set again.
//! Source: Apache 5.5 `QueryAssignmentProcessor`, `AllocateMessageQueueAveragely`, `AllocateMessageQueueAveragelyByCircle`.

use std::collections::BTreeMap;

use remoting_proto::body::{MessageQueue, MessageRequestMode};

/// Most settings; about 300 bytes each.
const MODES_MAX: usize = 100_000;
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

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &MessageRequestMode> {
        self.0.values()
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
        assert_eq!((modes.get("t", "g"), modes.get("t", "h").mode.as_str(), modes.iter().count()), (mode, PULL, 1));
    }
}
