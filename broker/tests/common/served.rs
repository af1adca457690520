//! A broker's Remoting port over real sockets, and the calls that its tests make.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::time::Duration;

use broker::options::OUTCOMES_AFTER_MAX;
use broker::server::{Options, SlaveOptions};
use broker::{BrokerServer, LocalBroker, Role};
use bytes::{Bytes, BytesMut};
use env::Env;
use remoting::Client;
use remoting_proto::body::{ConsumerData, HeartbeatData};
use remoting_proto::requests::{AUTO_CREATE_TOPIC, PopMessage, PullMessage, SendMessage, SendMessageAnswer};
use remoting_proto::{Command, Fields, RequestCode, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Long enough for a machine that is busy with something else.
pub const WITHIN: Duration = Duration::from_secs(60);

/// How far behind readers are sent to a slave.
pub const SLOW_READER_BYTES: u64 = 4096;
/// The number of a slave.
pub const SLAVE_ID: u64 = 2;

/// A broker on a port of its own.
pub struct Served {
    pub client: Client,
    pub address: SocketAddr,
    /// Where slaves get its log.
    pub slaves_at: SocketAddr,
    pub broker: LocalBroker,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
    pub folder: tempfile::TempDir,
}

pub async fn served(name_servers: Vec<String>) -> Served {
    served_at(Env::real(), name_servers).await
}

pub async fn served_at(env: Env, name_servers: Vec<String>) -> Served {
    served_in(env, name_servers, tempfile::tempdir().expect("a folder")).await
}

/// A slave of that master's.
pub async fn served_slave(master: &Served) -> Served {
    let slave = SlaveOptions { id: SLAVE_ID, master: Some(master.slaves_at.to_string()) };
    served_as(Some(slave), false, Env::real(), Vec::new(), tempfile::tempdir().expect("a folder")).await
}

/// One of a name whose slaves stand in for their master, on data that may be there.
pub async fn served_acting(
    slave: Option<SlaveOptions>,
    name_servers: Vec<String>,
    folder: tempfile::TempDir,
) -> Served {
    served_as(slave, true, Env::real(), name_servers, folder).await
}

async fn served_in(env: Env, name_servers: Vec<String>, folder: tempfile::TempDir) -> Served {
    served_as(None, false, env, name_servers, folder).await
}

async fn served_as(
    slave: Option<SlaveOptions>,
    acting_master: bool,
    env: Env,
    name_servers: Vec<String>,
    folder: tempfile::TempDir,
) -> Served {
    let role = if slave.is_some() { Role::Slave } else { Role::Master };
    let options = broker::Options::local(folder.path().join("data"));
    let outcomes_after = if acting_master { OUTCOMES_AFTER_MAX } else { Duration::ZERO };
    let options = broker::Options { segment_bytes: 1 << 20, role, outcomes_after, ..options };
    let broker = LocalBroker::start(Env::real(), options).expect("starts");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let options = Options {
        cluster: "C".to_owned(),
        advertised: address,
        name_servers,
        auto_create_topics: true,
        default_queues: 4,
        shown: vec![("brokerName".to_owned(), "gantry-local".to_owned())],
        data: folder.path().join("data"),
        slow_reader_bytes: Some(SLOW_READER_BYTES),
        slave,
        acting_master,
        remote_escape: acting_master,
    };
    let slaves = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let slaves_at = slaves.local_addr().expect("bound");
    let server = BrokerServer::new(env, broker.clone(), options, Some(slaves));
    let stop = CancellationToken::new();
    let ended = tokio::spawn(server.serve(listener, remoting::Options::default(), None, stop.clone()));
    let client = Client::new(address.to_string(), Env::real().clock);
    Served { client, address, slaves_at, broker, stop, ended, folder }
}

impl Served {
    pub async fn call(&self, code: RequestCode, fields: Fields, body: impl Into<Bytes>) -> Command {
        self.client.call(Command::request(code, fields, body.into()), WITHIN).await.expect("answered")
    }

    pub async fn send(&self, topic: &str, body: &'static [u8]) -> SendMessageAnswer {
        let answer = self.call(RequestCode::SendMessageV2, message(topic).to_fields(), body).await;
        assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
        SendMessageAnswer::of(&answer.fields).expect("all that clients need")
    }

    pub async fn end(self) {
        self.stop().await;
    }

    /// The same broker after an end and a start, on another port.
    pub async fn again(self, env: Env) -> Self {
        served_in(env, Vec::new(), self.stop().await).await
    }

    /// What it leaves.
    pub async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.ended.await.expect("ends");
        self.broker.stop().await;
        self.folder
    }
}

pub fn message(topic: &str) -> SendMessage {
    SendMessage {
        producer_group: "PG".to_owned(),
        topic: topic.to_owned(),
        default_topic: Some(AUTO_CREATE_TOPIC.to_owned()),
        default_topic_queue_nums: Some(2),
        queue_id: 1,
        sys_flag: 0,
        born_timestamp: 1,
        flag: 7,
        properties: Some("TAGS\u{1}a\u{2}KEYS\u{1}k".to_owned()),
        reconsume_times: None,
        unit_mode: None,
        max_reconsume_times: None,
        is_batch: None,
        broker_name: None,
    }
}

pub fn pop(topic: &str) -> PopMessage {
    PopMessage {
        consumer_group: "g".to_owned(),
        topic: topic.to_owned(),
        queue_id: -1,
        max_msg_nums: 8,
        invisible_time: 60_000,
        poll_time: 0,
        born_time: 0,
        init_mode: 0,
        exp_type: None,
        exp: None,
        order: None,
        attempt_id: None,
        broker_name: None,
    }
}

pub fn pull(topic: &str, queue_id: i64, queue_offset: i64) -> PullMessage {
    PullMessage {
        consumer_group: "g".to_owned(),
        topic: topic.to_owned(),
        queue_id,
        queue_offset,
        max_msg_nums: 32,
        sys_flag: PullMessage::SUBSCRIPTION,
        commit_offset: 0,
        suspend_timeout_millis: 0,
        subscription: Some("a".to_owned()),
        sub_version: 1,
        expression_type: None,
        max_msg_bytes: None,
        request_source: None,
        proxy_forward_client_id: None,
        broker_name: None,
    }
}

/// A client that also reads what it is asked.
pub struct Raw(pub TcpStream);

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("listens"))
    }

    pub async fn say(&mut self, request: &Command) {
        let mut frame = BytesMut::new();
        remoting_proto::encode(request, &mut frame).expect("fits");
        self.0.write_all(&frame).await.expect("written");
    }

    pub async fn hear(&mut self) -> Command {
        let mut frame = vec![0; 4];
        self.0.read_exact(&mut frame).await.expect("read");
        frame.resize(remoting_proto::announced(&frame).expect("a length").expect("four bytes"), 0);
        self.0.read_exact(&mut frame[4..]).await.expect("read");
        remoting_proto::decode(frame.into()).expect("a frame")
    }

    /// What it is asked until its own request is answered, and the answer.
    pub async fn call(&mut self, request: &Command) -> (Vec<Command>, Command) {
        self.say(request).await;
        let mut asked = Vec::new();
        loop {
            let heard = self.hear().await;
            if heard.flag.is_response() {
                return (asked, heard);
            }
            asked.push(heard);
        }
    }
}

/// A consumer of the group "g" lives.
pub fn heartbeat(client: &str) -> Command {
    let body = HeartbeatData {
        client_id: client.to_owned(),
        consumer_data_set: vec![ConsumerData { group_name: "g".to_owned(), ..ConsumerData::default() }],
        ..HeartbeatData::default()
    };
    let body = remoting_proto::to_vec(&body, remoting_proto::Dialect::Fastjson);
    Command::request(RequestCode::HeartBeat, Fields::default(), body.into())
}
