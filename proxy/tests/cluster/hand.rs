//! A name server and brokers that do what a test tells them, in time that a test lets pass: what Apache's do and ours do not yet.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use env::clock::{BoxFuture, Moment};
use env::{Clock, Env};
use parking_lot::Mutex;
use proxy::cluster::{self, Cluster};
use remoting::{Connection, Role, Server};
use remoting_proto::body::{
    BrokerData, ClusterInfo, GANTRY_VERSION, KvTable, Permission, QueueData, SubscriptionGroupConfig, TopicRouteData,
    TopicSettings,
};
use remoting_proto::requests::{
    AckMessage, ChangeInvisibleTime, ChangeInvisibleTimeAnswer, NotificationAnswer, PopMessage, PopMessageAnswer,
    PopRefused, SendMessageAnswer,
};
use remoting_proto::{Command, Dialect, RequestCode, ResponseCode};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use types::broker::Pop;
use types::properties::names;
use types::{Filter, GroupName, Message, PhysicalOffset, QueueId, QueueOffset, Timestamp, TopicName};

use crate::support::{SOON, topic};

/// When the tests' time begins.
const BEGAN: Timestamp = Timestamp(1_767_323_045_000);

/// Time that passes when it is told to.
#[derive(Clone, Default)]
pub(crate) struct HandClock(watch::Sender<Duration>);

impl HandClock {
    pub(crate) fn pass(&self, time: Duration) {
        self.0.send_modify(|passed| *passed += time);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        BEGAN.plus(*self.0.borrow())
    }

    fn moment(&self) -> Moment {
        Moment(*self.0.borrow())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        let (mut passed, until) = (self.0.subscribe(), *self.0.borrow() + duration);
        Box::pin(async move { drop(passed.wait_for(|passed| *passed >= until).await) })
    }
}

/// What a broker was asked: its name, and the handle and time that are meant, if any.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Pop(&'static str),
    Notification(&'static str),
    Send(&'static str, i64),
    Ack(String),
    Change(String, i64),
    Other(RequestCode),
}

/// A broker.
pub(crate) struct Broker {
    name: &'static str,
    clock: HandClock,
    asked: mpsc::UnboundedSender<Asked>,
    /// What the next pops lease.
    records: Mutex<VecDeque<Bytes>>,
    /// Somebody may look at them.
    news: Notify,
    /// Whether pops are answered only when there is news.
    is_slow: AtomicBool,
    /// Whether it says that it is Gantry's.
    is_gantry: AtomicBool,
    /// Whether it says that consumers of 4.x read all in order.
    is_locked: AtomicBool,
    next: AtomicU64,
    stop: CancellationToken,
}

/// All of them, and how they are reached.
pub(crate) struct Hand {
    pub(crate) cluster: Cluster,
    pub(crate) clock: HandClock,
    pub(crate) brokers: BTreeMap<&'static str, Arc<Broker>>,
    pub(crate) name_server: SocketAddr,
    /// What the name server knows: the number that a broker has, 0 of a master, and its address.
    pub(crate) names: Arc<Mutex<BTreeMap<&'static str, (i64, SocketAddr)>>>,
    asked: mpsc::UnboundedReceiver<Asked>,
}

impl Hand {
    /// Brokers with these names, with two queues of every topic each.
    pub(crate) async fn start(names: &[&'static str]) -> Self {
        let clock = HandClock::default();
        let (tell, asked) = mpsc::unbounded_channel();
        let (mut brokers, mut addresses) = (BTreeMap::new(), BTreeMap::new());
        for name in names {
            let broker = Arc::new(Broker {
                name,
                clock: clock.clone(),
                asked: tell.clone(),
                records: Mutex::default(),
                news: Notify::new(),
                is_slow: AtomicBool::new(false),
                is_gantry: AtomicBool::new(false),
                is_locked: AtomicBool::new(false),
                next: AtomicU64::new(0),
                stop: CancellationToken::new(),
            });
            addresses.insert(*name, (0, serve(Serving(broker.clone()), broker.stop.clone()).await));
            brokers.insert(*name, broker);
        }
        let names = Arc::new(Mutex::new(addresses));
        let name_server = serve(Names(names.clone()), CancellationToken::new()).await;
        let cluster = asking(&clock, vec![name_server.to_string()]);
        Self { cluster, clock, brokers, name_server, names, asked }
    }

    /// What was asked next, but for looks at settings.
    pub(crate) async fn asked(&mut self) -> Asked {
        loop {
            let asked = tokio::time::timeout(SOON, self.asked.recv()).await.expect("asked").expect("open");
            if !is_look(&asked) {
                return asked;
            }
        }
    }

    /// The same of what was asked by now.
    pub(crate) fn asked_already(&mut self) -> Option<Asked> {
        std::iter::from_fn(|| self.asked.try_recv().ok()).find(|asked| !is_look(asked))
    }

    /// Waits for all that goes on beside calls, so that time may pass.
    pub(crate) async fn settle(&self) {
        tokio::time::timeout(SOON, self.cluster.finish()).await.expect("ends");
    }

    /// What else was asked, once all that goes on has ended.
    pub(crate) async fn finish(mut self) -> Vec<Asked> {
        self.settle().await;
        std::iter::from_fn(|| self.asked.try_recv().ok()).collect()
    }
}

/// Whether somebody looks at settings.
fn is_look(asked: &Asked) -> bool {
    matches!(asked, Asked::Other(RequestCode::GetTopicConfig | RequestCode::GetSubscriptionGroupConfig))
}

impl Broker {
    /// Stores a message that the next pop leases.
    pub(crate) fn put(&self, topic: &TopicName, body: &'static str) {
        self.put_again(topic, body, 0);
    }

    /// The same, of one that was delivered so often before.
    pub(crate) fn put_again(&self, topic: &TopicName, body: &'static str, times: u32) {
        let offset = self.next.fetch_add(1, Ordering::Relaxed);
        let mut message = Message::new(topic.clone(), Bytes::from_static(body.as_bytes()));
        message.reconsume_times = times;
        message.properties.set_own(names::UNIQUE_KEY, body);
        let host: SocketAddr = "10.0.0.2:10911".parse().expect("valid");
        let encoded = record::encode(&message, QueueId(0), host).expect("small");
        let stored = encoded.place(QueueOffset(offset), PhysicalOffset(1000 + offset), self.clock.now());
        self.records.lock().push_back(stored);
        self.news.notify_waiters();
    }

    /// It answers no pop before it has something.
    pub(crate) fn slow_down(&self) {
        self.is_slow.store(true, Ordering::Relaxed);
    }

    /// It says from now on that it is Gantry's.
    pub(crate) fn be_gantry(&self) {
        self.is_gantry.store(true, Ordering::Relaxed);
    }

    /// It refuses pops from now on, as a broker of ours does whose queues are locked.
    pub(crate) fn be_locked(&self) {
        self.is_locked.store(true, Ordering::Relaxed);
    }

    /// It takes no connection any more and ends those it has.
    pub(crate) fn kill(&self) {
        self.stop.cancel();
    }

    async fn wait_for_news(&self) {
        let news = self.news.notified();
        if self.records.lock().is_empty() {
            news.await;
        }
    }

    async fn pop(&self, request: &Command) -> Command {
        let pop = PopMessage::of(&request.fields).expect("all of it");
        let _ = self.asked.send(Asked::Pop(self.name));
        if pop.poll_time > 0 || self.is_slow.load(Ordering::Relaxed) {
            self.wait_for_news().await;
        }
        if self.is_locked.load(Ordering::Relaxed) {
            let fields = PopRefused { why: PopRefused::QUEUES_LOCKED.to_owned() }.to_fields();
            return Command { fields, ..request.answer(ResponseCode::NoPermission) };
        }
        let mut records = self.records.lock();
        let count = records.len().min(usize::try_from(pop.max_msg_nums).expect("small"));
        if count == 0 {
            return request.answer(ResponseCode::PollingTimeout);
        }
        let body: Vec<Bytes> = records.drain(..count).collect();
        let answer = PopMessageAnswer {
            pop_time: self.clock.now().0,
            invisible_time: pop.invisible_time,
            revive_qid: 3,
            rest_num: 0,
            start_offset_info: None,
            msg_offset_info: None,
            order_count_info: None,
        };
        Command { fields: answer.to_fields(), body: body.concat().into(), ..request.answer(ResponseCode::Success) }
    }

    fn change(&self, request: &Command) -> Command {
        let change = ChangeInvisibleTime::of(&request.fields).expect("all of it");
        let _ = self.asked.send(Asked::Change(change.extra_info, change.invisible_time));
        let answer = ChangeInvisibleTimeAnswer {
            pop_time: self.clock.now().0,
            invisible_time: change.invisible_time,
            revive_qid: 4,
        };
        Command { fields: answer.to_fields(), ..request.answer(ResponseCode::Success) }
    }

    fn send(&self, request: &Command) -> Command {
        let offset = self.next.fetch_add(1, Ordering::Relaxed);
        let header = remoting_proto::requests::SendMessage::of(&request.fields).expect("all of it");
        let _ = self.asked.send(Asked::Send(self.name, header.queue_id));
        let answer = SendMessageAnswer {
            msg_id: format!("0A00000200002A9F{offset:016X}"),
            queue_id: header.queue_id,
            queue_offset: i64::try_from(offset).expect("small"),
            transaction_id: None,
            recall_handle: None,
            msg_region: None,
            trace_on: None,
            repeat_of: None,
        };
        Command { fields: answer.to_fields(), ..request.answer(ResponseCode::Success) }
    }
}

/// What is there, for client `c` and a minute.
pub(crate) fn pop() -> Pop {
    Pop {
        group: GroupName::new("g").expect("valid"),
        client: "c".into(),
        topic: topic("t"),
        queue: None,
        messages_max: 32,
        invisible: Duration::from_secs(60),
        auto_renew: false,
        filter: Arc::new(Filter::All),
        wait: Duration::ZERO,
        attempt_id: None,
    }
}

struct Serving(Arc<Broker>);

impl Role for Serving {
    fn connect(&self, _: &Arc<Connection>) {}

    async fn serve(&self, _: &Connection, request: Command) -> Command {
        let broker = &self.0;
        match request.request_code() {
            RequestCode::PopMessage => broker.pop(&request).await,
            RequestCode::Notification => {
                let _ = broker.asked.send(Asked::Notification(broker.name));
                broker.wait_for_news().await;
                let answer = NotificationAnswer { has_msg: Some(true), polling_full: Some(false) };
                Command { fields: answer.to_fields(), ..request.answer(ResponseCode::Success) }
            }
            RequestCode::ChangeMessageInvisibleTime => broker.change(&request),
            RequestCode::AckMessage => {
                let ack = AckMessage::of(&request.fields).expect("all of it");
                let _ = broker.asked.send(Asked::Ack(ack.extra_info));
                request.answer(ResponseCode::Success)
            }
            RequestCode::GetBrokerRuntimeInfo => {
                let version =
                    broker.is_gantry.load(Ordering::Relaxed).then(|| (GANTRY_VERSION.to_owned(), "0".to_owned()));
                shown(&request, &KvTable { table: version.into_iter().collect() })
            }
            RequestCode::SendMessageV2 => broker.send(&request),
            RequestCode::GetTopicConfig => shown(&request, &TopicSettings::default()),
            RequestCode::GetSubscriptionGroupConfig => shown(&request, &SubscriptionGroupConfig::default()),
            other => {
                let _ = broker.asked.send(Asked::Other(other));
                // Ours alone.
                let is_known = other != RequestCode::SendOnce;
                request.answer(if is_known { ResponseCode::Success } else { ResponseCode::RequestCodeNotSupported })
            }
        }
    }

    fn disconnect(&self, _: &Connection) {}
}

/// A proxy's view of what these name servers know.
pub(crate) fn asking(clock: &HandClock, name_servers: Vec<String>) -> Cluster {
    let clock = Arc::new(clock.clone());
    Cluster::new(cluster::Options { name_servers, name: "C".to_owned(), shared_broker: None, clock })
}

/// Where each broker is.
struct Names(Arc<Mutex<BTreeMap<&'static str, (i64, SocketAddr)>>>);

impl Role for Names {
    fn connect(&self, _: &Arc<Connection>) {}

    async fn serve(&self, _: &Connection, request: Command) -> Command {
        let broker = |(name, (id, address)): (&&str, &(i64, SocketAddr))| BrokerData {
            broker_addrs: BTreeMap::from([(*id, address.to_string())]),
            broker_name: (*name).to_owned(),
            ..BrokerData::default()
        };
        let queues = |name: &&str| QueueData {
            broker_name: (*name).to_owned(),
            perm: Permission(6),
            read_queue_nums: 2,
            write_queue_nums: 2,
            topic_sys_flag: 0,
        };
        let known = self.0.lock().clone();
        let brokers = known.iter().map(broker);
        match request.request_code() {
            RequestCode::GetBrokerClusterInfo => {
                let table = brokers.map(|data| (data.broker_name.clone(), data)).collect();
                shown(&request, &ClusterInfo { broker_addr_table: table, ..ClusterInfo::default() })
            }
            RequestCode::GetRouteInfoByTopic => {
                let (broker_datas, queue_datas) = (brokers.collect(), known.keys().map(queues).collect());
                shown(&request, &TopicRouteData { broker_datas, queue_datas, ..TopicRouteData::default() })
            }
            _ => request.answer(ResponseCode::RequestCodeNotSupported),
        }
    }

    fn disconnect(&self, _: &Connection) {}
}

fn shown(request: &Command, body: &impl serde::Serialize) -> Command {
    let body = remoting_proto::to_vec(body, Dialect::Standard).into();
    Command { body, ..request.answer(ResponseCode::Success) }
}

async fn serve(role: impl Role, stop: CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = Server::new(Arc::new(role), remoting::Options::default(), None, Env::real().clock);
    tokio::spawn(server.serve(listener, stop));
    address
}
