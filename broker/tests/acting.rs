//! A slave that stands in for its master, over real sockets: what it takes meanwhile, and how the master gets it.

#![allow(clippy::disallowed_methods, reason = "sockets of the real runtime, above the seams of env")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker::server::SlaveOptions;
use env::Env;
use parking_lot::Mutex;
use remoting::{Connection, Role, Server};
use remoting_proto::body::{
    BrokerData, BrokerMemberGroup, LockBatch, LockBatchAnswer, MemberGroup, MessageQueue, Permission, QueueData,
    TopicRouteData,
};
use remoting_proto::requests::{
    OffsetAnswer, PullMessage, QueryConsumerOffset, QueryDataVersionAnswer, RegisterBroker, SendMessage,
    UpdateConsumerOffset,
};
use remoting_proto::{Command, Dialect, Fields, RequestCode, ResponseCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[path = "common/served.rs"]
mod served;

use served::{SLAVE_ID, Served, WITHIN, message, pull, served as served_alone, served_acting};

const QUEUE: i32 = 1;

/// A name server that knows whom it is told by the test.
#[derive(Default)]
struct Names {
    members: Mutex<BTreeMap<i64, String>>,
    /// Ids of those that have registered, in their order.
    registered: Mutex<Vec<i64>>,
    /// Another broker, which has all topics.
    elsewhere: Mutex<Option<SocketAddr>>,
}

impl Role for Names {
    fn connect(&self, _: &Arc<Connection>) {}

    async fn serve(&self, _: &Connection, request: Command) -> Command {
        let done = request.answer(ResponseCode::Success);
        match request.request_code() {
            RequestCode::RegisterBroker => {
                let header = RegisterBroker::of(&request.fields).expect("all that name servers need");
                assert_eq!((header.enable_acting_master, header.heartbeat_timeout_ms), (Some(true), Some(10_000)));
                self.registered.lock().push(header.broker_id);
                done
            }
            RequestCode::QueryDataVersion => {
                Command { fields: QueryDataVersionAnswer { changed: Some(false) }.to_fields(), ..done }
            }
            RequestCode::GetBrokerMemberGroup => {
                let broker_addrs = self.members.lock().clone();
                let group = BrokerMemberGroup { broker_addrs, ..BrokerMemberGroup::default() };
                Command { body: json(&MemberGroup { broker_member_group: group }).into(), ..done }
            }
            RequestCode::GetRouteInfoByTopic => {
                let Some(address) = *self.elsewhere.lock() else { return request.answer(ResponseCode::TopicNotExist) };
                Command { body: json(&route(address)).into(), ..done }
            }
            _ => done,
        }
    }

    fn disconnect(&self, _: &Connection) {}
}

fn route(address: SocketAddr) -> TopicRouteData {
    let broker_name = "elsewhere".to_owned();
    let queues = QueueData {
        broker_name: broker_name.clone(),
        perm: Permission::READ_WRITE,
        read_queue_nums: 2,
        write_queue_nums: 2,
        topic_sys_flag: 0,
    };
    // Of a slave that stands in for its master nothing may be sent to.
    let of_own = QueueData { broker_name: "gantry-local".to_owned(), perm: Permission(4), ..queues.clone() };
    let broker_addrs = [(0, address.to_string())].into();
    let broker = BrokerData { broker_name, broker_addrs, ..BrokerData::default() };
    TopicRouteData { broker_datas: vec![broker], queue_datas: vec![queues, of_own], ..TopicRouteData::default() }
}

fn json(body: &impl serde::Serialize) -> Vec<u8> {
    remoting_proto::to_vec(body, Dialect::Fastjson)
}

/// A way to an address that can be cut.
struct Way {
    listens: SocketAddr,
    goes: JoinHandle<()>,
}

impl Way {
    async fn open(at: &str, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).await.expect("a port");
        let listens = listener.local_addr().expect("bound");
        let goes = tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                if let Ok(mut to) = TcpStream::connect(to).await {
                    drop(tokio::io::copy_bidirectional(&mut from, &mut to).await);
                }
            }
        });
        Self { listens, goes }
    }

    async fn cut(self) -> SocketAddr {
        self.goes.abort();
        drop(self.goes.await);
        self.listens
    }
}

/// A master, its slave, and a name server.
struct Group {
    names: Arc<Names>,
    name_server: String,
    names_end: JoinHandle<()>,
    master: Served,
    slave: Served,
    way: Way,
}

impl Group {
    async fn start() -> Self {
        let names = Arc::new(Names::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let name_server = listener.local_addr().expect("bound").to_string();
        let server = Server::new(names.clone(), remoting::Options::default(), None, Env::real().clock);
        let names_end = tokio::spawn(server.serve(listener, CancellationToken::new()));
        let new = || tempfile::tempdir().expect("a folder");
        let master = served_acting(None, vec![name_server.clone()], new()).await;
        // It has looked for slaves by then.
        until("the master registers", async || names.registered.lock().contains(&0)).await;
        let way = Way::open("127.0.0.1:0", master.slaves_at).await;
        let of = SlaveOptions { id: SLAVE_ID, master: Some(way.listens.to_string()) };
        names.members.lock().insert(0, master.address.to_string());
        let slave = served_acting(Some(of), vec![name_server.clone()], new()).await;
        names.members.lock().insert(SLAVE_ID.cast_signed(), slave.address.to_string());
        for _ in 0..3 {
            master.send("t", b"x").await;
        }
        assert_eq!(commit(&master, "g", 1).await, ResponseCode::Success);
        assert_eq!(commit(&master, "h", 1).await, ResponseCode::Success);
        let end = master.broker.status().appended_to;
        until("the log comes", async || slave.broker.status().appended_to >= end).await;
        Self { names, name_server, names_end, master, slave, way }
    }
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let all = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WITHIN, all).await.expect(what);
}

async fn commit(served: &Served, group: &str, commit_offset: i64) -> ResponseCode {
    let commit = UpdateConsumerOffset {
        consumer_group: group.to_owned(),
        topic: "t".to_owned(),
        queue_id: QUEUE.into(),
        commit_offset,
        broker_name: None,
    };
    served.call(RequestCode::UpdateConsumerOffset, commit.to_fields(), "").await.response_code()
}

async fn committed(served: &Served, group: &str) -> Option<i64> {
    let asked = QueryConsumerOffset {
        consumer_group: group.to_owned(),
        topic: "t".to_owned(),
        queue_id: QUEUE.into(),
        set_zero_if_not_found: None,
        broker_name: None,
    };
    let answer = served.call(RequestCode::QueryConsumerOffset, asked.to_fields(), "").await;
    OffsetAnswer::of(&answer.fields).expect("a number").offset
}

/// Whether the client has the queue then.
async fn lock(served: &Served, client: &str) -> Result<bool, ResponseCode> {
    let queue = MessageQueue { broker_name: "gantry-local".to_owned(), queue_id: QUEUE, topic: "t".to_owned() };
    let asked = LockBatch {
        client_id: client.to_owned(),
        consumer_group: "g".to_owned(),
        mq_set: vec![queue.clone()],
        only_this_broker: false,
    };
    let answer = served.call(RequestCode::LockBatchMq, Fields::default(), json(&asked)).await;
    match answer.response_code() {
        ResponseCode::Success => {
            let locked: LockBatchAnswer = remoting_proto::from_slice(&answer.body).expect("queues");
            Ok(locked.lock_ok_mq_set == [queue])
        }
        code => Err(code),
    }
}

/// What is kept in the file.
fn kept(served: &Served) -> String {
    std::fs::read_to_string(served.folder.path().join("data/acting.json")).unwrap_or_default()
}

#[tokio::test]
async fn a_master_that_is_back_has_what_its_slave_took_before_it_is_known() {
    let Group { names, name_server, names_end, master, slave, way } = Group::start().await;
    assert_eq!(commit(&slave, "g", 2).await, ResponseCode::ServiceNotAvailable, "the master is there");
    assert_eq!(lock(&slave, "one").await, Err(ResponseCode::ServiceNotAvailable));
    let folder = master.stop().await;
    names.members.lock().remove(&0);
    until("the slave stands in", async || commit(&slave, "g", 2).await == ResponseCode::Success).await;
    assert_eq!(commit(&slave, "g", 3).await, ResponseCode::Success);
    assert_eq!(commit(&slave, "g", 0).await, ResponseCode::InvalidParameter, "the master was told of 1");
    let header = PullMessage { consumer_group: "h".to_owned(), commit_offset: 2, ..pull("t", 1, 2) };
    let header = PullMessage { sys_flag: header.sys_flag | PullMessage::COMMIT_OFFSET, ..header };
    let pulled = slave.call(RequestCode::PullMessage, header.to_fields(), "").await;
    assert_eq!(pulled.response_code(), ResponseCode::Success);
    assert_eq!((committed(&slave, "g").await, committed(&slave, "h").await), (Some(3), Some(2)));
    assert_eq!(lock(&slave, "one").await, Ok(true));
    assert_eq!(commit(&slave, "h", 9).await, ResponseCode::Success, "the master may have more");

    names.registered.lock().clear();
    drop(way);
    let master = served_acting(None, vec![name_server], folder).await;
    until("the master registers", async || names.registered.lock().contains(&0)).await;
    let at_master = (committed(&master, "g").await, committed(&master, "h").await);
    assert_eq!(at_master, (Some(3), Some(3)), "it has three messages");
    assert_eq!((lock(&master, "two").await, lock(&master, "one").await), (Ok(false), Ok(true)));
    assert_eq!(commit(&slave, "g", 4).await, ResponseCode::ServiceNotAvailable, "the master is back");
    slave.end().await;
    master.end().await;
    names_end.abort();
}

#[tokio::test]
async fn a_slave_that_is_stopped_or_made_the_master_knows_what_it_took() {
    let Group { names, name_server, names_end, master, slave, way } = Group::start().await;
    master.end().await;
    names.members.lock().remove(&0);
    until("the slave stands in", async || commit(&slave, "g", 2).await == ResponseCode::Success).await;
    let of = SlaveOptions { id: SLAVE_ID, master: Some(way.listens.to_string()) };
    let slave = served_acting(Some(of), vec![name_server.clone()], slave.stop().await).await;
    assert_eq!(committed(&slave, "g").await, Some(2));
    names.members.lock().clear();
    let master = served_acting(None, vec![name_server], slave.stop().await).await;
    until("its own log says it", async || committed(&master, "g").await == Some(2)).await;
    until("nothing is kept", async || kept(&master).contains("\"offsets\":[]")).await;
    master.end().await;
    names_end.abort();
}

#[tokio::test]
async fn a_master_that_was_only_out_of_reach_is_told_too() {
    let Group { names, names_end, master, slave, way, .. } = Group::start().await;
    let listens = way.cut().await;
    names.members.lock().remove(&0);
    until("the slave stands in", async || commit(&slave, "g", 2).await == ResponseCode::Success).await;
    assert_eq!(committed(&master, "g").await, Some(1));
    until("it is kept", async || kept(&slave).contains("\"offset\":2")).await;
    names.members.lock().insert(0, master.address.to_string());
    let way = Way::open(&listens.to_string(), master.slaves_at).await;
    until("the master is told", async || committed(&master, "g").await == Some(2)).await;
    until("the log says it", async || kept(&slave).contains("\"offsets\":[]")).await;
    assert_eq!(committed(&slave, "g").await, Some(2));
    slave.end().await;
    way.cut().await;
    master.end().await;
    names_end.abort();
}

/// Until its master is away.
const DELAY_MS: i64 = 3_000;

#[tokio::test]
async fn a_delayed_message_comes_once_by_another_broker() {
    let Group { names, name_server, names_end, master, slave, way } = Group::start().await;
    let elsewhere = served_alone(Vec::new()).await;
    elsewhere.send("t", b"makes the topic").await;
    *names.elsewhere.lock() = Some(elsewhere.address);
    let due_ms = Env::real().clock.now().0 + DELAY_MS;
    let properties = Some(format!("UNIQ_KEY\u{1}late\u{2}TIMER_DELIVER_MS\u{1}{due_ms}\u{2}"));
    let header = SendMessage { properties, ..message("t") };
    let answer = master.call(RequestCode::SendMessageV2, header.to_fields(), "late").await;
    assert_eq!(answer.response_code(), ResponseCode::Success);
    until("the slave has it", async || slave.broker.status().timers_pending == 1).await;
    let folder = master.stop().await;
    names.members.lock().remove(&0);
    let has = async |stored, repeated| {
        let status = elsewhere.broker.status();
        (status.messages_in, status.repeated) == (stored, repeated)
    };
    until("it comes", async || has(2, 0).await).await;
    assert!(Env::real().clock.now().0 >= due_ms);
    until("it is kept that it has come", async || kept(&slave).contains(&format!("[{due_ms},"))).await;
    assert_eq!(slave.broker.status().escaped, 1);

    // A slave that does not know that it did does it again.
    let folder_of_slave = slave.stop().await;
    std::fs::remove_file(folder_of_slave.path().join("data/acting.json")).expect("it is there");
    let of = SlaveOptions { id: SLAVE_ID, master: Some(way.listens.to_string()) };
    let slave = served_acting(Some(of), vec![name_server.clone()], folder_of_slave).await;
    names.members.lock().insert(SLAVE_ID.cast_signed(), slave.address.to_string());
    until("it is not stored again", async || has(2, 1).await).await;

    names.registered.lock().clear();
    let master = served_acting(None, vec![name_server], folder).await;
    until("the master registers", async || names.registered.lock().contains(&0)).await;
    let status = master.broker.status();
    assert_eq!((status.timers_pending, status.timers_delivered, status.delivered_twice), (0, 0, 0));
    slave.end().await;
    master.end().await;
    elsewhere.end().await;
    names_end.abort();
}
