//! What brokers are told of producers: one pinned connection a broker, on which the proxy says for which producer groups it passes
//! checks on, and on which the broker then asks. Brokers know producers by their connection, so this one is no pool's.
//!
//! Source: Apache `ClusterTransactionService`, `ProducerManager`. A producer of the gRPC API has no group: its topic's name is the
//! group (grpc fact 8).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::Clock;
use env::clock::Moment;
use parking_lot::Mutex;
use remoting::Client;
use remoting_proto::body::{HeartbeatData, ProducerData};
use remoting_proto::requests::UnregisterClient;
use remoting_proto::{Command, Dialect, Fields, RequestCode, ResponseCode};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use types::{GroupName, MessageType, TopicName, TopicType};

use super::checks::{self, Checkers};
use super::{ANSWER_WITHIN, Cluster};

/// What the proxy calls itself to brokers. Source: Apache `ClusterTransactionService`.
const CLIENT_ID: &str = "rmq-proxy-producer-client";
/// A broker that has heard of all groups hears of them again so long after; it forgets who says nothing for 120 s.
/// Source: Apache `transactionHeartbeatPeriodSecond`.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);
/// Groups of one heartbeat. Source: Apache `transactionHeartbeatBatchNum`.
const GROUPS_PER_HEARTBEAT: usize = 100;
/// Groups that a broker hears of; producers of further ones are not asked.
const GROUPS_MAX: usize = 10_000;
/// Questions of a broker that wait to be passed on; what follows waits in the connection.
const QUESTIONS_WAITING_MAX: usize = 16;

/// The pinned connections, by broker.
#[derive(Default)]
pub(super) struct Producers {
    /// Held for a look.
    links: Mutex<BTreeMap<Arc<str>, Arc<Link>>>,
    /// Who hears the brokers' questions.
    pub(super) checkers: Arc<Checkers>,
}

/// The connection to a broker, for as long as it is to ask.
struct Link {
    address: Arc<str>,
    client: Client,
    /// Held by who tells the broker.
    told: tokio::sync::Mutex<Told>,
}

/// What a broker knows of this proxy. A plain value.
#[derive(Debug, Default)]
struct Told {
    groups: BTreeSet<TopicName>,
    /// When it heard of all of them; `None` if that has failed since.
    at: Option<Moment>,
}

/// What a broker is to hear now.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    /// Groups that have no producer here any more.
    gone: Vec<TopicName>,
    /// All groups, unless it knows.
    alive: Vec<TopicName>,
}

impl Told {
    fn news(&self, wanted: &BTreeSet<TopicName>, now: Moment) -> News {
        let is_fresh = self.at.is_some_and(|at| now.since(at) < HEARTBEAT_EVERY) && wanted.is_subset(&self.groups);
        let alive = if is_fresh { Vec::new() } else { wanted.iter().cloned().collect() };
        News { gone: self.groups.difference(wanted).cloned().collect(), alive }
    }
}

impl Link {
    /// A connection that is opened when the broker is first told something; its task ends with it.
    fn new(broker: Arc<str>, address: Arc<str>, clock: Arc<dyn Clock>, checkers: Arc<Checkers>) -> Self {
        let (asked, mut questions) = mpsc::channel(QUESTIONS_WAITING_MAX);
        let client = Client::listening(&*address, clock, asked);
        tokio::spawn(async move {
            while let Some(question) = questions.recv().await {
                match checks::check(&broker, &question.request) {
                    Ok(check) => checkers.pass_on(check).await,
                    Err(error) => tracing::debug!(%broker, %error, "a broker's question is left alone"),
                }
            }
        });
        Self { address, client, told: tokio::sync::Mutex::default() }
    }

    async fn tell(&self, wanted: &BTreeSet<TopicName>, clock: &dyn Clock) -> Result<(), String> {
        let mut told = self.told.lock().await;
        let now = clock.moment();
        let News { gone, alive } = told.news(wanted, now);
        for group in gone {
            let header = UnregisterClient {
                client_id: CLIENT_ID.to_owned(),
                producer_group: Some(group.to_string()),
                consumer_group: None,
            };
            self.call(RequestCode::UnregisterClient, header.to_fields(), Bytes::new()).await?;
            told.groups.remove(&group);
        }
        if alive.is_empty() {
            return Ok(());
        }
        told.at = None;
        for groups in alive.chunks(GROUPS_PER_HEARTBEAT) {
            let body = remoting_proto::to_vec(&heartbeat(groups), Dialect::Standard);
            self.call(RequestCode::HeartBeat, Fields::default(), body.into()).await?;
            told.groups.extend(groups.iter().cloned());
        }
        told.at = Some(now);
        Ok(())
    }

    async fn call(&self, code: RequestCode, fields: Fields, body: Bytes) -> Result<(), String> {
        let answer = self.client.call(Command::request(code, fields, body), ANSWER_WITHIN).await;
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.response_code() {
            ResponseCode::Success => Ok(()),
            _ => Err(super::brokers::refused(&self.address, &answer).to_string()),
        }
    }
}

fn heartbeat(groups: &[TopicName]) -> HeartbeatData {
    let producer = |group: &TopicName| ProducerData { group_name: group.to_string() };
    HeartbeatData {
        client_id: CLIENT_ID.to_owned(),
        producer_data_set: groups.iter().map(producer).collect(),
        ..HeartbeatData::default()
    }
}

impl Cluster {
    /// As [`types::Broker::producers_alive`]: each broker hears of the topics that it has and that may have half messages.
    pub(super) async fn tell_of_producers(&self, topics: Vec<TopicName>) {
        let mut wanted: BTreeMap<Arc<str>, BTreeSet<TopicName>> = BTreeMap::new();
        for topic in topics {
            // Brokers take no group with a longer name.
            if GroupName::new(topic.as_str()).is_err() {
                continue;
            }
            let Ok(route) = self.route(&topic).await else { continue };
            let has_halves =
                matches!(route.config.topic_type, TopicType::Mixed | TopicType::Only(MessageType::Transaction));
            if !has_halves {
                continue;
            }
            for broker in route.brokers() {
                let groups = wanted.entry(broker).or_default();
                if groups.len() < GROUPS_MAX {
                    groups.insert(topic.clone());
                }
            }
        }
        // What is in nobody's hands any more is closed, by which the broker forgets it.
        self.0.producers.links.lock().retain(|broker, _| wanted.contains_key(broker));
        let mut telling = JoinSet::new();
        for (broker, groups) in wanted {
            let cluster = self.clone();
            telling.spawn(async move { cluster.tell_broker(broker, &groups).await });
        }
        while telling.join_next().await.is_some() {}
    }

    async fn tell_broker(&self, broker: Arc<str>, groups: &BTreeSet<TopicName>) {
        let address = match self.0.brokers.master(&broker).await {
            Ok(Some(address)) => address,
            Ok(None) => return,
            Err(error) => return tracing::debug!(%broker, %error, "is not told of producers"),
        };
        let link = self.0.producers.link(&broker, address, &self.0.clock);
        if let Err(error) = link.tell(groups, &*self.0.clock).await {
            tracing::debug!(%broker, %error, "was not told of producers, they are not asked until it is");
        }
    }
}

impl Producers {
    fn link(&self, broker: &Arc<str>, address: Arc<str>, clock: &Arc<dyn Clock>) -> Arc<Link> {
        let mut links = self.links.lock();
        match links.get(broker) {
            Some(link) if link.address == address => link.clone(),
            _ => {
                let link = Link::new(broker.clone(), address, clock.clone(), self.checkers.clone());
                let link = Arc::new(link);
                links.insert(broker.clone(), link.clone());
                link
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(names: &[&str]) -> BTreeSet<TopicName> {
        names.iter().map(|name| TopicName::new(name).expect("valid")).collect()
    }

    fn told(names: &[&str], at: Option<Moment>) -> Told {
        Told { groups: topics(names), at }
    }

    #[test]
    fn a_broker_hears_of_what_it_does_not_know_and_of_all_again_in_time() {
        let began = Moment(Duration::from_secs(7));
        let later = began.plus(HEARTBEAT_EVERY);
        let shown = |told: Told, wanted: &[&str], now| {
            let News { gone, alive } = told.news(&topics(wanted), now);
            [gone, alive].map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(shown(told(&[], None), &["a", "b"], began), ["", "a b"]);
        assert_eq!(shown(told(&["a", "b"], Some(began)), &["a", "b"], began), ["", ""]);
        assert_eq!(shown(told(&["a", "b"], Some(began)), &["b"], began), ["a", ""]);
        assert_eq!(shown(told(&["a"], Some(began)), &["a", "b"], began), ["", "a b"]);
        assert_eq!(shown(told(&["a"], Some(began)), &["a"], later), ["", "a"]);
        assert_eq!(shown(told(&["a"], None), &["a"], began), ["", "a"], "the last heartbeat failed");
    }
}
