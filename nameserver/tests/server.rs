//! A name server on a real port, asked by frames; its clock is set by hand.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use env::Env;
use env::clock::{BoxFuture, Clock, Moment};
use nameserver::server::Options;
use nameserver::{NameServer, Settings};
use parking_lot::Mutex;
use remoting_proto::body::{ClusterInfo, DataVersion, KvTable, TopicList, TopicRouteData};
use remoting_proto::requests::body_crc32;
use remoting_proto::{Command, Fields, Opaque, RequestCode, ResponseCode, VERSION};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use types::Timestamp;

const KV_FILE: &str = "/namesrv/kvConfig.json";
const BROKER: [(&str, &str); 5] = [
    ("brokerName", "a"),
    ("brokerAddr", "10.0.0.1:10911"),
    ("clusterName", "C"),
    ("brokerId", "0"),
    ("haServerAddr", "10.0.0.1:10912"),
];
const TOPICS: &[u8] = br#"{"topicConfigSerializeWrapper":{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":7},
    "topicConfigTable":{"T":{"topicName":"T","perm":6,"readQueueNums":8,"writeQueueNums":4},"U":{"topicName":"U"}}}}"#;

/// A clock that is set, and whose looks for silent brokers come when they are let. Its wall clock jumps a day on each time that it is
/// looked at, which is nobody's matter.
struct SetClock {
    passed: Mutex<Duration>,
    days: AtomicI64,
    looks: Semaphore,
    looked: Notify,
}

struct ClockHandle(Arc<SetClock>);

impl Clock for ClockHandle {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.days.fetch_add(1, Ordering::Relaxed) * 86_400_000)
    }

    fn moment(&self) -> Moment {
        Moment(*self.0.passed.lock())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        let clock = self.0.clone();
        Box::pin(async move {
            if duration != Settings::default().scan_interval {
                std::future::pending::<()>().await;
            }
            clock.looked.notify_one();
            clock.looks.acquire().await.expect("open").forget();
        })
    }
}

struct Running {
    address: std::net::SocketAddr,
    clock: Arc<SetClock>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(folder: &Path, settings: Settings) -> Running {
    let (passed, days) = (Mutex::default(), AtomicI64::new(0));
    let clock = Arc::new(SetClock { passed, days, looks: Semaphore::new(0), looked: Notify::new() });
    let env = Env { clock: Arc::new(ClockHandle(clock.clone())), ..Env::real() };
    let kv_file = folder.join(KV_FILE.trim_start_matches('/'));
    let shown = vec![("listenPort", "9876".to_owned())];
    let settings_file = folder.join("namesrv.properties");
    let server = NameServer::open(env, Options { kv_file, settings_file, settings, shown }).expect("opens");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(server.serve(listener, remoting::Options::default(), None, shutdown.clone()));
    Running { address, clock, shutdown, task }
}

struct Peer(TcpStream);

impl Peer {
    async fn connect(server: &Running) -> Self {
        Self(TcpStream::connect(server.address).await.expect("listens"))
    }

    async fn ask(&mut self, code: RequestCode, pairs: &[(&str, &str)], body: &[u8]) -> Command {
        self.ask_as(VERSION, code, pairs, body).await
    }

    async fn ask_as(&mut self, version: i32, code: RequestCode, pairs: &[(&str, &str)], body: &[u8]) -> Command {
        let mut fields = Fields::default();
        for (name, text) in pairs {
            assert!(fields.set((*name).to_owned(), (*text).to_owned()));
        }
        let request = Command::request(code, fields, Bytes::copy_from_slice(body));
        let mut frame = BytesMut::new();
        let request = Command { version, opaque: Opaque(5), ..request };
        remoting_proto::encode(&request, &mut frame).expect("fits");
        self.0.write_all(&frame).await.expect("taken");
        let answer = self.receive().await;
        assert_eq!((answer.opaque, answer.version), (Opaque(5), VERSION));
        answer
    }

    async fn receive(&mut self) -> Command {
        let mut frame = vec![0; 4];
        self.0.read_exact(&mut frame).await.expect("a frame");
        frame.resize(remoting_proto::announced(&frame).expect("a frame").expect("known"), 0);
        self.0.read_exact(&mut frame[4..]).await.expect("a frame");
        remoting_proto::decode(frame.into()).expect("a frame")
    }

    async fn register(&mut self) {
        let answer = self.ask(RequestCode::RegisterBroker, &BROKER, TOPICS).await;
        assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    }

    async fn brokers(&mut self) -> usize {
        let answer = self.ask(RequestCode::GetBrokerClusterInfo, &[], b"").await;
        body::<ClusterInfo>(&answer).broker_addr_table.len()
    }

    async fn ended(&mut self) {
        let read = self.0.read(&mut [0]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
}

#[track_caller]
fn body<T: serde::de::DeserializeOwned>(answer: &Command) -> T {
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    remoting_proto::from_slice(&answer.body).expect("JSON")
}

#[track_caller]
fn refused(answer: &Command, code: ResponseCode, words: &str) {
    let remark = answer.remark.as_deref().unwrap_or_default();
    assert!(answer.response_code() == code && remark.contains(words), "{answer:?}");
}

#[tokio::test]
async fn routes_are_told_in_the_dialect_of_the_clients_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), Settings::default()).await;
    let mut peer = Peer::connect(&server).await;
    let missing = peer.ask(RequestCode::GetRouteInfoByTopic, &[("topic", "T")], b"").await;
    refused(&missing, ResponseCode::TopicNotExist, "No topic route info in name server for the topic: T\nSee https://");
    peer.register().await;
    for (version, pairs, address) in [
        (VERSION, &[("topic", "T")][..], r#"{"0":"10.0.0.1:10911"}"#),
        (400, &[("topic", "T")], r#"{0:"10.0.0.1:10911"}"#),
        (400, &[("topic", "T"), ("acceptStandardJsonOnly", "true")], r#"{"0":"10.0.0.1:10911"}"#),
    ] {
        let answer = peer.ask_as(version, RequestCode::GetRouteInfoByTopic, pairs, b"").await;
        assert_eq!(
            std::str::from_utf8(&answer.body).expect("text"),
            format!(
                r#"{{"brokerDatas":[{{"brokerAddrs":{address},"brokerName":"a","cluster":"C","enableActingMaster":false}}],"filterServerTable":{{}},"queueDatas":[{{"brokerName":"a","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":4}}]}}"#
            ),
        );
    }
}

#[tokio::test]
async fn brokers_come_live_and_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), Settings::default()).await;
    let mut broker = Peer::connect(&server).await;
    let mut client = Peer::connect(&server).await;
    let version = br#"{"counter":1,"stateVersion":0,"timestamp":7}"#;
    let unknown = broker.ask(RequestCode::QueryDataVersion, &BROKER, version).await;
    assert_eq!((unknown.fields.get("changed"), unknown.body.len()), (Some("true"), 0));
    let crc32 = (body_crc32(TOPICS) ^ 1).to_string();
    let damaged = [&BROKER[..], &[("bodyCrc32", &*crc32)]].concat();
    refused(
        &broker.ask(RequestCode::RegisterBroker, &damaged, TOPICS).await,
        ResponseCode::SystemError,
        "crc32 not match",
    );

    broker.register().await;
    let known = broker.ask(RequestCode::QueryDataVersion, &BROKER, version).await;
    assert_eq!(known.fields.get("changed"), Some("false"));
    assert_eq!(body::<DataVersion>(&known).timestamp, 7);
    assert_eq!(client.brokers().await, 1);
    assert_eq!(broker.ask(RequestCode::UnregisterBroker, &BROKER, b"").await.response_code(), ResponseCode::Success);
    assert_eq!(client.brokers().await, 0);

    broker.register().await;
    // Two looks: at the first it is still in time.
    for ms in [120_000, 120_001] {
        server.clock.looked.notified().await;
        assert_eq!(client.brokers().await, 1);
        *server.clock.passed.lock() = Duration::from_millis(ms);
        server.clock.looks.add_permits(1);
    }
    broker.ended().await;
    assert_eq!(client.brokers().await, 0);

    let mut broker = Peer::connect(&server).await;
    broker.register().await;
    drop(broker);
    while client.brokers().await > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn slaves_are_told_on_their_port_that_one_of_them_stands_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { notify_min_broker_id_changed: true, ..Settings::default() };
    let server = start(folder.path(), settings).await;
    let slave = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = slave.local_addr().expect("bound").to_string();
    let mut broker = Peer::connect(&server).await;
    let acting = ("enableActingMaster", "true");
    let registered = [
        ("brokerName", "a"),
        ("brokerAddr", &address),
        ("clusterName", "C"),
        ("brokerId", "1"),
        ("haServerAddr", "x"),
        acting,
    ];
    for pairs in [&registered[..], &[&BROKER[..], &[acting]].concat()] {
        assert_eq!(broker.ask(RequestCode::RegisterBroker, pairs, TOPICS).await.response_code(), ResponseCode::Success);
    }
    let mut told = Peer(slave.accept().await.expect("told").0);
    let came = told.receive().await;
    assert_eq!((came.request_code(), came.flag.is_oneway()), (RequestCode::NotifyMinBrokerIdChange, true));
    assert_eq!((came.fields.get("minBrokerId"), came.fields.get("haBrokerAddr")), (Some("0"), Some("10.0.0.1:10912")));
    broker.ask(RequestCode::UnregisterBroker, &BROKER, b"").await;
    let went = told.receive().await;
    assert_eq!((went.fields.get("minBrokerId"), went.fields.get("minBrokerAddr")), (Some("1"), Some(&*address)));
    assert_eq!(went.fields.get("offlineBrokerAddr"), Some("10.0.0.1:10911"));
}

#[tokio::test]
async fn the_key_value_configuration_survives_a_restart_and_orders_topics() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { order_message_enable: true, ..Settings::default() };
    let ordered = [("namespace", "ORDER_TOPIC_CONFIG"), ("key", "T"), ("value", "a:8")];
    let server = start(folder.path(), settings.clone()).await;
    let mut peer = Peer::connect(&server).await;
    refused(&peer.ask(RequestCode::GetKvConfig, &ordered, b"").await, ResponseCode::QueryNotFound, "Key: T");
    refused(&peer.ask(RequestCode::GetKvListByNamespace, &ordered, b"").await, ResponseCode::QueryNotFound, "ORDER");
    for key in ["T", "gone"] {
        let pairs = [ordered[0], ("key", key), ordered[2]];
        assert_eq!(peer.ask(RequestCode::PutKvConfig, &pairs, b"").await.response_code(), ResponseCode::Success);
    }
    peer.ask(RequestCode::DeleteKvConfig, &[ordered[0], ("key", "gone")], b"").await;
    server.shutdown.cancel();
    server.task.await.expect("it returns");

    let server = start(folder.path(), settings).await;
    let mut peer = Peer::connect(&server).await;
    assert_eq!(peer.ask(RequestCode::GetKvConfig, &ordered, b"").await.fields.get("value"), Some("a:8"));
    let told = peer.ask(RequestCode::RegisterBroker, &BROKER, TOPICS).await;
    assert_eq!(body::<KvTable>(&told).table, [("T".to_owned(), "a:8".to_owned())].into());
    let route = peer.ask(RequestCode::GetRouteInfoByTopic, &[("topic", "T")], b"").await;
    assert_eq!(body::<TopicRouteData>(&route).order_topic_conf.as_deref(), Some("a:8"));
}

#[tokio::test]
async fn settings_are_changed_while_it_runs_all_or_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), Settings::default()).await;
    let mut peer = Peer::connect(&server).await;
    peer.register().await;
    let all = peer.ask(RequestCode::GetAllTopicListFromNameserver, &[], b"").await;
    assert_eq!(body::<TopicList>(&all).topic_list.into_iter().collect::<Vec<_>>(), ["T", "U"]);
    let fixed = peer.ask(RequestCode::UpdateNamesrvConfig, &[], b"kvConfigPath=/etc/passwd\n").await;
    refused(&fixed, ResponseCode::NoPermission, "black list");
    let unfit =
        peer.ask(RequestCode::UpdateNamesrvConfig, &[], b"enableTopicList=false\nwaitSecondsForService=x\n").await;
    refused(&unfit, ResponseCode::SystemError, "waitSecondsForService is \"x\"");
    let update = b"enableAllTopicList=false\nneedWaitForService=true\nother=1\n";
    assert_eq!(peer.ask(RequestCode::UpdateNamesrvConfig, &[], update).await.response_code(), ResponseCode::Success);
    refused(
        &peer.ask(RequestCode::GetAllTopicListFromNameserver, &[], b"").await,
        ResponseCode::SystemError,
        "disable",
    );
    let early = peer.ask(RequestCode::GetRouteInfoByTopic, &[("topic", "T")], b"").await;
    refused(&early, ResponseCode::SystemError, "name server not ready");
    *server.clock.passed.lock() = Duration::from_secs(45);
    let ready = peer.ask(RequestCode::GetRouteInfoByTopic, &[("topic", "T")], b"").await;
    assert_eq!(ready.response_code(), ResponseCode::Success);
    let shown = peer.ask(RequestCode::GetNamesrvConfig, &[], b"").await;
    let shown = std::str::from_utf8(&shown.body).expect("text").to_owned();
    for line in ["enableAllTopicList=false\n", "enableTopicList=true\n", "listenPort=9876\n"] {
        assert!(shown.contains(line), "{shown}");
    }
    server.shutdown.cancel();
    server.task.await.expect("it returns");

    // What was changed holds over a restart, and nothing else of what held then.
    let server = start(folder.path(), Settings { order_message_enable: true, ..Settings::default() }).await;
    let mut peer = Peer::connect(&server).await;
    let shown = peer.ask(RequestCode::GetNamesrvConfig, &[], b"").await;
    let shown = std::str::from_utf8(&shown.body).expect("text").to_owned();
    for line in ["enableAllTopicList=false\n", "needWaitForService=true\n", "orderMessageEnable=true\n"] {
        assert!(shown.contains(line), "{shown}");
    }
    let kept = std::fs::read_to_string(folder.path().join("namesrv.properties")).expect("written");
    assert_eq!(kept, "enableAllTopicList=false\nneedWaitForService=true\n");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), Settings::default()).await;
    let mut peer = Peer::connect(&server).await;
    let unknown = peer.ask(RequestCode::Unknown(310), &[], b"").await;
    refused(&unknown, ResponseCode::RequestCodeNotSupported, " request type 310 not supported");
    refused(&peer.ask(RequestCode::GetRouteInfoByTopic, &[], b"").await, ResponseCode::SystemError, "topic is missing");
    let pairs = [&BROKER[..3], &[("brokerId", "first")]].concat();
    let no_number = peer.ask(RequestCode::UnregisterBroker, &pairs, b"").await;
    refused(&no_number, ResponseCode::SystemError, "brokerId is \"first\"");
    refused(&peer.ask(RequestCode::QueryDataVersion, &BROKER, b"{").await, ResponseCode::SystemError, "JSON");
}
