//! `trait Broker` over Remoting: any number of brokers as the name servers tell them, ours and Apache's.
//!
//! A topic's queues on all brokers are numbered through, by broker name and then by the broker's own number, as Apache's proxy does
//! for message groups; so a topic looks as if one broker had it. Receipt handles carry the broker's own name and number.
//! Nothing here must survive: caches and connections only.
//!
//! | module | what |
//! |---|---|
//! | `brokers` | who is there, one pool of connections each, calls and what their failures mean |
//! | `kinds` | which of them are Gantry's |
//! | `faults` | brokers that are passed over for a while |
//! | `cache`, `routes` | what is known of topics and groups, and for how long |
//! | `keys` | which broker knows an idempotency key |
//! | `shared` | the topic in which gateways keep what they must agree on |
//! | `send`, `receive`, `leases`, `queues`, `transactions` | the trait's methods, by what they are about |
//! | `turns` | which of the receives that want the same messages waits at the brokers |
//! | `held`, `prolong` | leases that are prolonged while their clients live, and so have other handles than their clients know |
//! | `admin` | what operators ask of all brokers |
//! | `producers`, `checks` | whom brokers may ask about half messages, and what they ask |

mod admin;
mod brokers;
mod cache;
mod checks;
mod faults;
mod held;
mod keys;
mod kinds;
mod leases;
mod popped;
mod producers;
mod prolong;
mod queues;
mod receive;
mod routes;
mod send;
mod shared;
mod transactions;
mod turns;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use env::Clock;
use parking_lot::Mutex;
use remoting_proto::{Command, Fields, RequestCode};
use tokio_util::task::TaskTracker;
use types::broker::{
    ChangeInvisible, ClientId, DeliveryReport, EndTransaction, LeaseError, LeaseOwner, LookupError, OffsetAt, Pop,
    PopError, Popped, Pull, PullError, Pulled, RecallError, SendError, SendReceipt, TransactionCheck, TransactionError,
    Unavailable,
};
use types::{Broker, GroupConfig, GroupName, Message, QueueId, QueueOffset, ReceiptHandle, TopicConfig, TopicName};

use brokers::Brokers;
use cache::Cache;
use held::Leases;
use keys::Owners;
use producers::Producers;
use routes::Routes;
use turns::Turns;

/// Longest wait for an answer that needs no waiting. Source: Apache `ClientConfig` (3 s).
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// What a [`Cluster`] must know.
#[derive(Clone)]
pub struct Options {
    /// Addresses of name servers, `HOST:PORT`, at least one.
    pub name_servers: Vec<String>,
    /// The cluster's name: routes show it as the broker's.
    pub name: String,
    /// Name of the broker that keeps [`Broker::shared_topic`]; `None` where nobody asks for one.
    pub shared_broker: Option<String>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// The brokers of one cluster; copies are the same.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    name: String,
    shared_broker: Option<Arc<str>>,
    clock: Arc<dyn Clock>,
    brokers: Brokers,
    /// By name, whether a broker is Gantry's.
    ours: Cache<Arc<str>, bool>,
    routes: Routes,
    turns: Turns,
    producers: Producers,
    /// Held for the choice of a key's broker.
    keys: Mutex<Owners>,
    /// Held for a look or a change of one lease, or a look at those that end soon.
    leases: Mutex<Leases>,
    /// Owns what goes on when its caller is gone.
    tasks: TaskTracker,
    /// Which broker is asked first for messages; each receive begins at another.
    round: AtomicUsize,
}

impl Cluster {
    /// A cluster that nobody was asked about yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let Options { name_servers, name, shared_broker, clock } = options;
        let brokers = Brokers::new(name_servers, clock.clone());
        let routes = Routes::new(clock.clone());
        let inner = Inner {
            name,
            shared_broker: shared_broker.map(Arc::from),
            clock,
            brokers,
            ours: Cache::new(),
            routes,
            turns: Turns::default(),
            producers: Producers::default(),
            keys: Mutex::default(),
            leases: Mutex::default(),
            tasks: TaskTracker::new(),
            round: AtomicUsize::new(0),
        };
        Self(Arc::new(inner))
    }

    /// What the name server that answers first says.
    ///
    /// # Errors
    /// None does.
    pub(crate) async fn ask_name_servers(&self, code: RequestCode, fields: Fields) -> Result<Command, Unavailable> {
        self.0.brokers.ask_name_servers(code, fields).await
    }

    /// The brokers that have a master, by name, with its address, `HOST:PORT`.
    ///
    /// # Errors
    /// No name server can be asked.
    pub(crate) async fn masters(&self) -> Result<Vec<(Arc<str>, Arc<str>)>, LookupError> {
        let masters = self.0.brokers.masters().await?;
        Ok(masters.iter().map(|(name, master)| (name.clone(), master.address.clone())).collect())
    }

    /// The address of this broker's master; `None` if no broker has the name.
    ///
    /// # Errors
    /// No name server can be asked.
    pub(crate) async fn master(&self, broker: &str) -> Result<Option<Arc<str>>, Unavailable> {
        self.0.brokers.master(broker).await
    }

    /// Lets the next caller ask where the masters are: one is not there any more.
    pub(crate) fn doubt_masters(&self) {
        self.0.brokers.doubt_masters();
    }

    /// Waits for what goes on when its caller is gone: messages that nobody waits for any longer are given back.
    pub async fn finish(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

#[async_trait]
impl Broker for Cluster {
    fn name(&self) -> &str {
        &self.0.name
    }

    async fn topic(&self, name: &TopicName) -> Result<Arc<TopicConfig>, LookupError> {
        Ok(self.route(name).await?.config.clone())
    }

    async fn group(&self, name: &GroupName) -> Result<Arc<GroupConfig>, LookupError> {
        self.group_config(name).await
    }

    async fn shared_topic(&self, name: &TopicName, make: bool) -> Result<Arc<TopicConfig>, LookupError> {
        self.find_shared(name, make).await
    }

    async fn orders_message_groups(&self, topic: &TopicName, group: &GroupName) -> Result<bool, LookupError> {
        self.keeps_order(topic, group).await
    }

    async fn send(&self, queue: QueueId, messages: Vec<Message>) -> Vec<Result<SendReceipt, SendError>> {
        self.send_messages(queue, messages).await
    }

    async fn pop(&self, request: Pop) -> Result<Popped, PopError> {
        self.receive(request).await
    }

    async fn report_delivery(&self, report: DeliveryReport) {
        self.reported(report).await;
    }

    async fn ack(&self, lease: LeaseOwner, handles: Vec<ReceiptHandle>) -> Vec<Result<(), LeaseError>> {
        self.ack_all(&lease, handles).await
    }

    async fn change_invisible(
        &self,
        lease: LeaseOwner,
        handle: ReceiptHandle,
        change: ChangeInvisible,
    ) -> Result<ReceiptHandle, LeaseError> {
        self.change_by_client(&lease, &handle, change).await
    }

    async fn dead_letter(&self, lease: LeaseOwner, handle: ReceiptHandle) -> Result<(), LeaseError> {
        self.forward_to_dead_letters(&lease, handle).await
    }

    async fn end_transaction(&self, request: EndTransaction) -> Result<(), TransactionError> {
        self.end_half(request).await
    }

    async fn recall(&self, topic: TopicName, handle: String) -> Result<String, RecallError> {
        self.recall_message(topic, handle).await
    }

    async fn pull(&self, request: Pull) -> Result<Pulled, PullError> {
        self.pull_messages(request).await
    }

    async fn queue_offset(&self, topic: &TopicName, queue: QueueId, at: OffsetAt) -> Result<QueueOffset, LookupError> {
        self.offset_at(topic, queue, at).await
    }

    async fn committed_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<Option<QueueOffset>, LookupError> {
        self.committed(group, topic, queue).await
    }

    async fn commit_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<(), LookupError> {
        self.commit(group, topic, queue, offset).await
    }

    async fn clients_alive(&self, mut clients: Vec<ClientId>) {
        clients.sort_unstable();
        self.prolong_due(&clients);
    }

    /// Brokers know no clients of the gRPC API: what this proxy has not delivered itself is free when its time is over.
    async fn client_gone(&self, client: ClientId) {
        self.free_all_of(&client);
    }

    async fn producers_alive(&self, topics: Vec<TopicName>) {
        self.tell_of_producers(topics).await;
    }

    fn transaction_checks(&self) -> tokio::sync::mpsc::Receiver<TransactionCheck> {
        self.0.producers.checkers.add()
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("name", &self.0.name).finish_non_exhaustive()
    }
}
