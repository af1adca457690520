//! Questions to name servers and brokers, and what becomes of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::Clock;
use env::clock::{Moment, SystemClock};
use remoting::{Client, Trust};
use remoting_proto::body::{ClusterInfo, TopicRouteData};
use remoting_proto::requests::GetRouteInfo;
use remoting_proto::{Command, Fields, RequestCode, ResponseCode};
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, Semaphore};
use types::Timestamp;

/// Longest wait for one answer, as Apache's tools have it.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Questions that are asked side by side.
const ABREAST: usize = 16;
/// The id of a broker that takes changes.
const MASTER: i64 = 0;

/// The name servers, and connections to all who were asked; copies share them.
#[derive(Clone)]
pub(super) struct Network(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    name_servers: Vec<Node>,
    trust: Option<Trust>,
    /// By address. Held to look one up or add it.
    clients: Mutex<BTreeMap<String, Client>>,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    /// The cluster; empty where it is not known.
    pub(super) cluster: String,
    /// The broker's name, which its master and slaves share.
    pub(super) broker: String,
    /// 0 is the master.
    pub(super) id: i64,
    /// `HOST:PORT`.
    pub(super) address: String,
}

impl Node {
    /// One that is known by its address only.
    pub(super) fn at(address: &str) -> Self {
        Self { cluster: String::new(), broker: address.to_owned(), id: MASTER, address: address.to_owned() }
    }

    fn name_server(address: String) -> Self {
        Self { broker: "the name server".to_owned(), ..Self::at(&address) }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broker, address, .. } = self;
        if broker == address { f.write_str(address) } else { write!(f, "{broker} ({address})") }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Question {
    code: RequestCode,
    /// Of what, for people: `topic orders`; may be empty.
    of: String,
    fields: Fields,
    body: Bytes,
}

impl Question {
    pub(super) fn new(code: RequestCode, of: impl Into<String>, fields: Fields) -> Self {
        Self { code, of: of.into(), fields, body: Bytes::new() }
    }

    /// The same with a body.
    pub(super) fn with_body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of.as_str() {
            "" => write!(f, "{:?}", self.code),
            of => write!(f, "{:?} of {of}", self.code),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It could not be asked, or did not answer.
    #[error("{who} does not answer {question}: {why}")]
    Unanswered {
        /// Who.
        who: String,
        /// What.
        question: String,
        /// Why.
        why: remoting::client::Error,
    },
    /// No name server could be asked.
    #[error("no name server answers ({failures}); name them with --nameserver HOST:PORT;HOST:PORT")]
    NoNameServer {
        /// Each with why.
        failures: String,
    },
    /// It answered with another code than success.
    #[error("{who} refuses {question}: code {} {code:?}{}", .code.number(), behind(.remark))]
    Refused {
        /// Who.
        who: String,
        /// What.
        question: String,
        /// How.
        code: ResponseCode,
        /// Why; may be empty.
        remark: String,
    },
    /// What it answered makes no sense.
    #[error("{who} answers {question} with something that cannot be read: {detail}")]
    Unreadable {
        /// Who.
        who: String,
        /// What.
        question: String,
        /// Why.
        detail: String,
    },
    /// Nobody has that name.
    #[error("there is no {what} {name:?}; the name server knows: {known}")]
    Unknown {
        /// `cluster` or `broker`.
        what: &'static str,
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Controllers that do not agree on one answer nothing.
    #[error("controller {controller} knows none that leads: fewer than half of them run, or they are choosing one")]
    NoLeader {
        /// Who was asked.
        controller: String,
    },
    /// No broker of that name has come to the controllers.
    #[error("the controllers do not know broker {broker}")]
    Uncontrolled {
        /// The broker.
        broker: String,
    },
    /// A change has nobody who takes it.
    #[error("broker {broker} has no master, and only a master takes changes; nothing was changed")]
    NoMaster {
        /// The broker.
        broker: String,
    },
}

/// A remark, if there is one.
fn behind(remark: &str) -> String {
    if remark.is_empty() { String::new() } else { format!(": {remark}") }
}

impl Error {
    /// Whether a broker refused with this code.
    pub(super) fn is_refusal(&self, with: ResponseCode) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == with)
    }
}

impl Network {
    /// These name servers and the brokers that they know, asked over TLS if it is said whom to believe.
    pub(super) fn new(name_servers: Vec<String>, trust: Option<Trust>) -> Self {
        let name_servers = name_servers.into_iter().map(Node::name_server).collect();
        Self(Arc::new(Inner { clock: Arc::new(SystemClock), name_servers, trust, clients: Mutex::default() }))
    }

    /// The wall clock.
    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// How much time has passed, to see how long something takes.
    pub(super) fn moment(&self) -> Moment {
        self.0.clock.moment()
    }

    /// All name servers: they do not know of each other, so what is to be forgotten is told to each.
    pub(super) fn name_servers(&self) -> Vec<Node> {
        self.0.name_servers.clone()
    }

    /// Asks, whatever the code of the answer.
    pub(super) async fn exchange(&self, node: &Node, question: &Question) -> Result<Command, Error> {
        let client = {
            let mut clients = self.0.clients.lock().await;
            let new = || match &self.0.trust {
                Some(trust) => Client::secret(node.address.clone(), self.0.clock.clone(), trust.clone()),
                None => Client::new(node.address.clone(), self.0.clock.clone()),
            };
            clients.entry(node.address.clone()).or_insert_with(new).clone()
        };
        let request = Command::request(question.code, question.fields.clone(), question.body.clone());
        let unanswered = |why| Error::Unanswered { who: node.to_string(), question: question.to_string(), why };
        client.call(request, ANSWER_WITHIN).await.map_err(unanswered)
    }

    /// Asks for something that must succeed.
    pub(super) async fn ask(&self, node: &Node, question: &Question) -> Result<Command, Error> {
        success(node, question, self.exchange(node, question).await?)
    }

    /// Asks for a JSON body.
    pub(super) async fn ask_for<T: DeserializeOwned>(&self, node: &Node, question: &Question) -> Result<T, Error> {
        json(node, question, self.exchange(node, question).await?)
    }

    /// Asks the name servers one after the other until one answers.
    pub(super) async fn ask_names<T: DeserializeOwned>(&self, question: &Question) -> Result<T, Error> {
        let mut failures = Vec::new();
        for node in &self.0.name_servers {
            match self.ask_for(node, question).await {
                Err(Error::Unanswered { why, .. }) => failures.push(why.to_string()),
                settled => return settled,
            }
        }
        Err(Error::NoNameServer { failures: failures.join("; ") })
    }

    /// All brokers, masters and slaves, by cluster and name.
    pub(super) async fn brokers(&self) -> Result<Vec<Node>, Error> {
        let question = Question::new(RequestCode::GetBrokerClusterInfo, "", Fields::default());
        let ClusterInfo { broker_addr_table, .. } = self.ask_names(&question).await?;
        let mut nodes: Vec<Node> = broker_addr_table
            .into_values()
            .flat_map(|data| {
                let (cluster, broker) = (data.cluster, data.broker_name);
                data.broker_addrs.into_iter().map(move |(id, address)| Node {
                    cluster: cluster.clone(),
                    broker: broker.clone(),
                    id,
                    address,
                })
            })
            .collect();
        nodes.sort();
        Ok(nodes)
    }

    /// Where a topic's queues are.
    pub(super) async fn route(&self, topic: &str) -> Result<TopicRouteData, Error> {
        let header = GetRouteInfo {
            topic: topic.to_owned(),
            accept_standard_json_only: Some(true),
            zone_mode: None,
            zone_name: None,
        };
        let of = format!("topic {topic}");
        self.ask_names(&Question::new(RequestCode::GetRouteInfoByTopic, of, header.to_fields())).await
    }

    /// The brokers that have a topic's queues, one address each.
    pub(super) async fn brokers_of(&self, topic: &str) -> Result<Vec<Node>, Error> {
        let route = self.route(topic).await?;
        let first = |data: remoting_proto::body::BrokerData| {
            let (id, address) = data.broker_addrs.into_iter().next()?;
            Some(Node { cluster: data.cluster, broker: data.broker_name, id, address })
        };
        let mut nodes: Vec<Node> = route.broker_datas.into_iter().filter_map(first).collect();
        nodes.sort();
        Ok(nodes)
    }

    /// Asks all of `nodes` the same; what each answers is read by `read`.
    pub(super) async fn ask_each<T: Send + 'static>(
        &self,
        nodes: Vec<Node>,
        question: &Question,
        read: Read<T>,
    ) -> Vec<(Node, Result<T, Error>)> {
        let ask = |network: Self, node: Node| {
            let question = question.clone();
            async move { read(&node, &question, network.exchange(&node, &question).await?) }
        };
        self.each(nodes, ask).await
    }

    /// Does something with all of `nodes`, [`ABREAST`] of them at a time; answers in their order.
    pub(super) async fn each<T, W>(
        &self,
        nodes: Vec<Node>,
        work: impl Fn(Self, Node) -> W,
    ) -> Vec<(Node, Result<T, Error>)>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(ABREAST));
        let start = |node: Node| {
            let (places, work) = (places.clone(), work(self.clone(), node.clone()));
            let done = tokio::spawn(async move {
                let _place = places.acquire_owned().await;
                work.await
            });
            (node, done)
        };
        let started: Vec<_> = nodes.into_iter().map(start).collect();
        let mut answers = Vec::with_capacity(started.len());
        for (node, done) in started {
            answers.push((node, done.await.expect("no question panics or is aborted")));
        }
        answers
    }
}

/// The masters among `nodes`, one for each name; the name without one is refused.
pub(super) fn masters(nodes: Vec<Node>) -> Result<Vec<Node>, Error> {
    let firsts = one_each(nodes);
    match firsts.iter().find(|node| node.id != MASTER) {
        Some(node) => Err(Error::NoMaster { broker: node.broker.clone() }),
        None => Ok(firsts),
    }
}

/// The one with the lowest id of each name: the master, if it is there.
pub(super) fn one_each(mut nodes: Vec<Node>) -> Vec<Node> {
    nodes.sort();
    nodes.dedup_by(|next, first| (&next.cluster, &next.broker) == (&first.cluster, &first.broker));
    nodes
}

/// How an answer is read, whatever its code.
pub(super) type Read<T> = fn(&Node, &Question, Command) -> Result<T, Error>;

/// An answer that must be a success.
pub(super) fn success(node: &Node, question: &Question, answer: Command) -> Result<Command, Error> {
    match answer.response_code() {
        ResponseCode::Success => Ok(answer),
        code => Err(refused(node, question, code, answer.remark)),
    }
}

/// An answer that must be a success, and says no more.
pub(super) fn done(node: &Node, question: &Question, answer: Command) -> Result<(), Error> {
    success(node, question, answer).map(drop)
}

/// A success with a JSON body.
pub(super) fn json<T: DeserializeOwned>(node: &Node, question: &Question, answer: Command) -> Result<T, Error> {
    let answer = success(node, question, answer)?;
    remoting_proto::from_slice(&answer.body).map_err(|error| unreadable(node, question, error))
}

pub(super) fn refused(node: &Node, question: &Question, code: ResponseCode, remark: Option<String>) -> Error {
    let remark = remark.unwrap_or_default();
    Error::Refused { who: node.to_string(), question: question.to_string(), code, remark }
}

pub(super) fn unreadable(node: &Node, question: &Question, detail: impl fmt::Display) -> Error {
    Error::Unreadable { who: node.to_string(), question: question.to_string(), detail: detail.to_string() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn node(broker: &str, id: i64) -> Node {
        let address = format!("10.0.0.1:1091{id}");
        Node { cluster: "C".to_owned(), broker: broker.to_owned(), id, address }
    }

    #[test]
    fn a_refusal_says_who_what_how_and_why() {
        let question = Question::new(RequestCode::GetTopicStatsInfo, "topic orders", Fields::default());
        let refusal = |remark: &str| {
            refused(&node("a", 0), &question, ResponseCode::TopicNotExist, Some(remark.to_owned())).to_string()
        };
        let expected = "a (10.0.0.1:10910) refuses GetTopicStatsInfo of topic orders: code 17 TopicNotExist";
        assert_eq!(refusal(""), expected);
        assert_eq!(refusal("no such topic"), format!("{expected}: no such topic"));
        assert_eq!(Node::at("h:1").to_string(), "h:1");
    }

    #[test]
    fn changes_go_to_masters_and_questions_to_one_of_each_name() {
        let nodes = vec![node("b", 2), node("a", 1), node("a", 0), node("b", 1)];
        assert_eq!(one_each(nodes.clone()), [node("a", 0), node("b", 1)]);
        assert!(matches!(masters(nodes), Err(Error::NoMaster { broker }) if broker == "b"));
        assert_eq!(masters(vec![node("a", 1), node("a", 0)]).expect("there"), [node("a", 0)]);
    }

    #[tokio::test]
    async fn answers_come_in_the_order_of_the_questions() {
        let nodes: Vec<Node> = (0..50).map(|id| node("a", id)).collect();
        let work = |_, node: Node| async move {
            // Those asked first are done last.
            for _ in node.id..50 {
                tokio::task::yield_now().await;
            }
            Ok(node.id)
        };
        let answers = Network::new(Vec::new(), None).each(nodes, work).await;
        assert!(answers.into_iter().map(|(_, id)| id.expect("done")).eq(0..50));
    }
}
