//! Delayed messages that are due at a slave which stands in for its master: each goes to another broker of its topic, under a key that names it, so
//! that a broker of ours stores it once. Source of the way: Apache 5.5 `EscapeBridge`, which knows no keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use remoting::Client;
use remoting_proto::requests::{KeyRefused, SendMessage};
use remoting_proto::{Command, RequestCode, ResponseCode};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use types::properties::names;
use types::{Message, TopicName};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Acting;
use super::part::DELIVERED_MAX;
use crate::command::{self, TimerKey};
use crate::idempotency::counts_in;
use crate::requests::PRODUCERS_SYS_FLAG;
use crate::server::Core;

/// Messages that are on their way together.
const TOGETHER: usize = 64;
/// When messages are tried again that did not get to another broker.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long a broker may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// Sends what is due to other brokers while this slave stands in for its master, for ever.
pub(crate) async fn escape(core: &Arc<Core>, acting: &Acting) {
    if !core.options.remote_escape {
        return std::future::pending().await;
    }
    let (clock, (to, mut due)) = (&core.env.clock, mpsc::channel(TOGETHER));
    let (mut sender, mut is_on) = (Sender::default(), false);
    let mut retry_at = clock.moment();
    loop {
        let mut together = Vec::with_capacity(TOGETHER);
        tokio::select! {
            biased;
            () = acting.turned.notified() => {}
            () = clock.sleep(retry_at.since(clock.moment())), if !sender.left.is_empty() => {}
            _ = due.recv_many(&mut together, TOGETHER) => {}
        }
        if acting.stands_in() != is_on {
            is_on = !is_on;
            core.broker.escape_to(is_on.then(|| to.clone())).await;
        }
        if sender.left.is_empty() {
            retry_at = clock.moment().plus(RETRY_AFTER);
        }
        sender.send(core, acting, together).await;
        if !is_on || retry_at <= clock.moment() {
            core.broker.release_timers(std::mem::take(&mut sender.left)).await;
        }
    }
}

/// Sends messages, and remembers what became of them.
#[derive(Default)]
struct Sender {
    clients: BTreeMap<String, Client>,
    /// Those that did not get anywhere. The engine does not offer them again until it gets them back.
    left: Vec<TimerKey>,
    /// Those of which it is not known whether a broker has them.
    unsure: BTreeSet<TimerKey>,
}

/// A broker that a message may go to.
#[derive(Clone, Debug)]
struct Target {
    broker: String,
    address: String,
    queues: i32,
}

/// What became of a message.
enum Sent {
    /// A broker has it; it may have it twice, if it had it before and knows no keys.
    There {
        is_keyed: bool,
    },
    /// It is not known whether it has it.
    Unsure,
    Refused,
}

impl Sender {
    async fn send(&mut self, core: &Arc<Core>, acting: &Acting, together: Vec<command::Escape>) {
        let _sending = acting.sending.lock().await;
        let mut routes: BTreeMap<TopicName, Vec<Target>> = BTreeMap::new();
        let mut sends = JoinSet::new();
        for escape in together {
            let room = {
                let mut part = acting.part.lock();
                let is_told = part.delivered().contains(&escape.key);
                (!is_told).then(|| part.stands_in() && part.delivered().len() + sends.len() < DELIVERED_MAX)
            };
            match room {
                // It was, before this process began.
                None => continue,
                Some(false) => {
                    self.left.push(escape.key);
                    continue;
                }
                Some(true) => {}
            }
            let topic = escape.copy.message.topic.clone();
            if !routes.contains_key(&topic) {
                routes.insert(topic.clone(), targets(core, &topic).await);
            }
            let key = escape_key(core.name(), &escape);
            let Some(target) = choose(routes.get(&topic).map_or(&[][..], Vec::as_slice), &key) else {
                tracing::warn!(%topic, "a delayed message is due and no other broker has its topic; it is tried again");
                self.left.push(escape.key);
                continue;
            };
            let new = || Client::new(target.address.clone(), core.env.clock.clone());
            let client = self.clients.entry(target.address.clone()).or_insert_with(new).clone();
            sends.spawn(async move { (escape.key, send(&client, &target, escape.copy.message, key).await) });
        }
        while let Some(sent) = sends.join_next().await {
            // A send does not panic.
            let Ok((timer, sent)) = sent else { continue };
            match sent {
                Sent::There { is_keyed } => {
                    let may_be_twice = self.unsure.remove(&timer) && !is_keyed;
                    core.broker.count_escapes(1, may_be_twice.into());
                    acting.part.lock().delivered().insert(timer);
                    acting.changed.notify_one();
                }
                Sent::Unsure => {
                    self.unsure.insert(timer);
                    self.left.push(timer);
                }
                Sent::Refused => self.left.push(timer),
            }
        }
    }
}

/// The masters of other names that have queues of the topic which are written.
async fn targets(core: &Core, topic: &TopicName) -> Vec<Target> {
    let Some(route) = core.routes.of(topic.as_str()).await else { return Vec::new() };
    let mut masters: BTreeMap<String, String> = BTreeMap::new();
    for mut data in route.broker_datas {
        if let Some(address) = data.broker_addrs.remove(&0) {
            masters.insert(data.broker_name, address);
        }
    }
    let is_fit = |queues: &remoting_proto::body::QueueData| {
        queues.broker_name != core.name() && queues.perm.is_writable() && queues.write_queue_nums > 0
    };
    let fit = route.queue_datas.into_iter().filter(is_fit);
    let target = fit.filter_map(|queues| {
        let address = masters.get(&queues.broker_name)?.clone();
        Some(Target { broker: queues.broker_name, address, queues: queues.write_queue_nums })
    });
    target.collect()
}

/// A repeat is to come to the broker that has the first, as long as that is there.
fn choose(targets: &[Target], key: &str) -> Option<Target> {
    let rank = |target: &&Target| xxh3_64_with_seed(key.as_bytes(), xxh3_64(target.broker.as_bytes()));
    targets.iter().max_by_key(rank).cloned()
}

/// Names a message of this broker's log: whose it is, when it was stored, which in a log tells one life of a position from another, and where it is.
fn escape_key(broker: &str, escape: &command::Escape) -> String {
    format!("{broker}/{}/{}", escape.stored_at, escape.key.1)
}

async fn send(client: &Client, target: &Target, message: Message, key: String) -> Sent {
    let (header, body) = outgoing(target, message, &key);
    for code in [RequestCode::SendOnce, RequestCode::SendMessageV2] {
        let answer = match client.call(Command::request(code, header.to_fields(), body.clone()), ANSWERED_WITHIN).await
        {
            Ok(answer) => answer,
            Err(error @ (remoting::client::Error::Lost { .. } | remoting::client::Error::TimedOut { .. })) => {
                tracing::warn!(%error, key, "it is not known whether a delayed message has got to another broker");
                return Sent::Unsure;
            }
            Err(error) => {
                tracing::warn!(%error, key, "a delayed message has not got to another broker");
                return Sent::Refused;
            }
        };
        let is_keyed = code == RequestCode::SendOnce;
        match answer.response_code() {
            ResponseCode::Success
            | ResponseCode::FlushDiskTimeout
            | ResponseCode::FlushSlaveTimeout
            | ResponseCode::SlaveNotAvailable => return Sent::There { is_keyed },
            // Its producer has sent it there too, under a key of its own.
            _ if KeyRefused::of(&answer.fields).is_ok_and(|refused| refused.why == KeyRefused::TAKEN) => {
                return Sent::There { is_keyed };
            }
            // A broker of Apache's.
            ResponseCode::RequestCodeNotSupported if is_keyed => {}
            code => {
                let remark = answer.remark.unwrap_or_default();
                tracing::warn!(?code, remark, key, "another broker does not take a delayed message");
                return Sent::Refused;
            }
        }
    }
    Sent::Refused
}

/// As a producer sends it, to be delivered at once.
fn outgoing(target: &Target, message: Message, key: &str) -> (SendMessage, Bytes) {
    let Message { topic, body, mut properties, flag, sys_flag, born_at, reconsume_times, .. } = message;
    for time in [names::TIMER_DELIVER_MS, names::TIMER_OUT_MS] {
        properties.remove(time);
    }
    if properties.get(names::IDEMPOTENCY_KEY).is_none() && counts_in(&topic) {
        properties.set_own(names::IDEMPOTENCY_KEY, key);
    }
    let queue = xxh3_64(key.as_bytes()) % u64::from(target.queues.unsigned_abs().max(1));
    let header = SendMessage {
        producer_group: properties.get(names::PRODUCER_GROUP).unwrap_or(topic.as_str()).to_owned(),
        topic: topic.to_string(),
        default_topic: None,
        default_topic_queue_nums: None,
        queue_id: i64::try_from(queue).unwrap_or_default(),
        sys_flag: (sys_flag.0 & PRODUCERS_SYS_FLAG).into(),
        born_timestamp: born_at.0,
        flag: flag.into(),
        properties: Some(properties.as_text().to_owned()),
        reconsume_times: Some(reconsume_times.into()),
        unit_mode: Some(false),
        max_reconsume_times: None,
        is_batch: None,
        broker_name: Some(target.broker.clone()),
    };
    (header, body)
}

#[cfg(test)]
mod tests {
    use types::Properties;

    use super::*;

    fn target(broker: &str) -> Target {
        Target { broker: broker.to_owned(), address: String::new(), queues: 4 }
    }

    #[test]
    fn a_repeat_comes_to_the_same_broker_whoever_else_comes() {
        let (two, three) = ([target("b"), target("c")], [target("d"), target("c"), target("b")]);
        let of = |targets: &[Target], key: u32| choose(targets, &key.to_string()).expect("one").broker;
        let first: Vec<_> = (0..100).map(|key| of(&two, key)).collect();
        assert!(first.iter().any(|broker| broker == "b") && first.iter().any(|broker| broker == "c"));
        for (key, broker) in first.iter().enumerate() {
            let now = of(&three, key as u32);
            assert!(now == *broker || now == "d");
        }
        assert!(choose(&[], "k").is_none());
    }

    #[test]
    fn what_escapes_is_due_at_once_and_has_a_key() {
        let sent = |topic: &str, key: Option<&str>| {
            let mut message = Message::new(TopicName::new(topic).expect("valid"), Bytes::from_static(b"x"));
            message.properties.set_own(names::TIMER_DELIVER_MS, "5");
            message.properties.set_own(names::TIMER_OUT_MS, "0");
            if let Some(key) = key {
                message.properties.set_own(names::IDEMPOTENCY_KEY, key);
            }
            let (header, _) = outgoing(&target("b"), message, "a/1/2");
            assert!((0..4).contains(&header.queue_id));
            Properties::parse(&header.properties.expect("some"))
        };
        let properties = sent("t", None);
        assert_eq!(properties.get(names::IDEMPOTENCY_KEY), Some("a/1/2"));
        assert_eq!(crate::timer::due::due(&properties, types::Timestamp(9)), None);
        assert_eq!(sent("t", Some("own")).get(names::IDEMPOTENCY_KEY), Some("own"));
        assert_eq!(sent("%RETRY%g", None).get(names::IDEMPOTENCY_KEY), None, "keys mean nothing there");
    }
}
