//! Controllers of a group in one process, over sockets; brokers that say what they are told to.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use env::clock::{BoxFuture, Clock};
use openraft::Raft;
use remoting::Client;
use remoting_proto::body::{BrokerReplicas, ElectMasterBody, Replicas};
use remoting_proto::requests::{
    AlterSyncStateSet, ApplyBrokerId, BrokerMember, CleanBrokerData, ControllerHeartbeat, ElectMaster,
    ElectMasterAnswer, GetControllerMetadataAnswer, GetNextBrokerIdAnswer, RegisterBrokerToController,
    RegisterBrokerToControllerAnswer,
};
use remoting_proto::{Fields, ResponseCode};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::liveness::SETTLED_AFTER;
use crate::raft::Types;

const CLUSTER: &str = "c";
const NAME: &str = "a";
/// Longest wait for something that takes an election of controllers.
const WITHIN: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The machine's clock, moved ahead.
#[derive(Default)]
struct Ahead {
    by_ms: AtomicU64,
}

impl Clock for Ahead {
    fn now(&self) -> types::Timestamp {
        env::clock::SystemClock.now()
    }

    fn moment(&self) -> Moment {
        env::clock::SystemClock.moment().plus(Duration::from_millis(self.by_ms.load(Ordering::Relaxed)))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        env::clock::SystemClock.sleep(duration)
    }
}

struct Group {
    peers: String,
    addresses: Vec<String>,
    nodes: Vec<Option<Node>>,
    folders: Vec<TempDir>,
    clock: Arc<Ahead>,
}

struct Node {
    raft: Raft<Types>,
    stop: CancellationToken,
    served: JoinHandle<Result<(), Failed>>,
    client: Client,
}

impl Group {
    async fn start(controllers: usize) -> Self {
        let mut listeners = Vec::new();
        for _ in 0..controllers {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
        }
        let addresses: Vec<_> =
            listeners.iter().map(|listener| listener.local_addr().expect("bound").to_string()).collect();
        let peers = addresses.iter().enumerate().map(|(index, address)| format!("n{index}-{address};")).collect();
        let (nodes, folders) = ((0..controllers).map(|_| None).collect(), (0..controllers).map(|_| folder()).collect());
        let mut group = Self { peers, addresses, nodes, folders, clock: Arc::default() };
        for (index, listener) in listeners.into_iter().enumerate() {
            group.launch(index, listener).await;
        }
        group.leader().await;
        group
    }

    async fn launch(&mut self, index: usize, listener: TcpListener) {
        let env = Env { clock: self.clock.clone(), ..Env::real() };
        let all = Peers::list(&self.peers).expect("a list");
        let options = Options {
            folder: self.folders[index].path().to_owned(),
            peers: Peers::new("g".to_owned(), all, &format!("n{index}")).expect("one of them"),
            settings: Settings { scan_interval: Duration::from_millis(100), ..Settings::default() },
            shown: Vec::new(),
        };
        let controller = Controller::open(env.clone(), options).await.expect("opens");
        let raft = controller.core.agreement.raft.clone();
        let stop = CancellationToken::new();
        let served = tokio::spawn(controller.serve(listener, remoting::Options::default(), None, stop.clone()));
        let client = Client::new(&*self.addresses[index], env.clock);
        self.nodes[index] = Some(Node { raft, stop, served, client });
    }

    async fn stop(&mut self, index: usize) {
        let Node { stop, served, .. } = self.nodes[index].take().expect("runs");
        stop.cancel();
        served.await.expect("no panic").expect("no failure");
    }

    /// Starts it on a copy of what it left, as a process finds it that follows one which was killed.
    async fn restart(&mut self, index: usize) {
        let copy = folder();
        for file in fs::read_dir(self.folders[index].path()).expect("a folder") {
            let file = file.expect("a file");
            fs::copy(file.path(), copy.path().join(file.file_name())).expect("copied");
        }
        self.restart_in(index, copy).await;
    }

    async fn restart_in(&mut self, index: usize, folder: TempDir) {
        self.folders[index] = folder;
        let listener = TcpListener::bind(&self.addresses[index]).await.expect("its port");
        self.launch(index, listener).await;
    }

    /// Who leads, once one does that the others know.
    async fn leader(&self) -> usize {
        let mut found = None;
        until("a controller leads", async || {
            for (index, node) in self.nodes.iter().enumerate() {
                let Some(node) = node else { continue };
                let code = RequestCode::ControllerGetNextBrokerId;
                let is_led = ask(&node.client, code, member().to_fields(), Bytes::new()).await;
                if is_led.response_code() == ResponseCode::Success {
                    found = Some(index);
                }
            }
            found.is_some()
        })
        .await;
        found.expect("found")
    }

    fn client(&self, index: usize) -> &Client {
        &self.nodes[index].as_ref().expect("runs").client
    }

    async fn ask_leader(&self, code: RequestCode, fields: Fields, body: Bytes) -> Command {
        ask(self.client(self.leader().await), code, fields, body).await
    }

    async fn replicas(&self) -> Option<Replicas> {
        let names = remoting_proto::to_vec(&[NAME], Dialect::Standard);
        let answer = self.ask_leader(RequestCode::ControllerGetSyncStateData, Fields::default(), names.into()).await;
        let mut table: BrokerReplicas = remoting_proto::from_slice(&answer.body).ok()?;
        table.replicas_info_table.remove(NAME)
    }

    async fn master(&self) -> Option<i64> {
        self.replicas().await?.master_broker_id
    }

    /// Brokers had time to tell all controllers that they live.
    fn settle(&self) {
        let by = u64::try_from(SETTLED_AFTER.as_millis()).expect("short");
        self.clock.by_ms.fetch_add(by, Ordering::Relaxed);
    }
}

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let clock = env::clock::SystemClock;
    let began = clock.moment();
    while !is().await {
        assert!(clock.moment().since(began) < WITHIN, "{what}: not in time");
        clock.sleep(LOOK_EVERY).await;
    }
}

async fn ask(client: &Client, code: RequestCode, fields: Fields, body: Bytes) -> Command {
    let request = Command::request(code, fields, body);
    let lost = Command::request(code, Fields::default(), Bytes::new()).answer(ResponseCode::SystemError);
    client.call(request, ANSWER_WITHIN).await.unwrap_or(lost)
}

fn member() -> BrokerMember {
    BrokerMember { cluster_name: CLUSTER.to_owned(), broker_name: NAME.to_owned() }
}

/// A broker: what it was told, and its connections to all controllers.
struct Broker {
    id: i64,
    address: String,
    told: mpsc::UnboundedReceiver<Command>,
    links: Vec<Client>,
}

struct Ear(mpsc::UnboundedSender<Command>);

impl Role for Ear {
    fn connect(&self, _: &Arc<Connection>) {}

    async fn serve(&self, _: &Connection, request: Command) -> Command {
        let answer = request.answer(ResponseCode::Success);
        drop(self.0.send(request));
        answer
    }

    fn disconnect(&self, _: &Connection) {}
}

impl Broker {
    /// Takes the next id and registers, as Apache's brokers do.
    async fn join(group: &Group) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let (tell, told) = mpsc::unbounded_channel();
        let ear = Server::new(Arc::new(Ear(tell)), remoting::Options::default(), None, group.clock.clone());
        tokio::spawn(ear.serve(listener, CancellationToken::new()));
        let next = group.ask_leader(RequestCode::ControllerGetNextBrokerId, member().to_fields(), Bytes::new()).await;
        let id = GetNextBrokerIdAnswer::of(&next.fields).expect("an id").next_broker_id;
        let apply = ApplyBrokerId {
            cluster_name: CLUSTER.to_owned(),
            broker_name: NAME.to_owned(),
            applied_broker_id: id,
            register_check_code: format!("{address};1"),
        };
        let code = RequestCode::ControllerApplyBrokerId;
        let applied = group.ask_leader(code, apply.to_fields(), Bytes::new()).await;
        assert_eq!((applied.response_code(), applied.remark), (ResponseCode::Success, None));
        let links = group.addresses.iter().map(|address| Client::new(&**address, group.clock.clone())).collect();
        let broker = Self { id, address, told, links };
        broker.live().await;
        broker
    }

    /// Tells all controllers that it lives; on return those that run know.
    async fn live(&self) {
        let heartbeat = ControllerHeartbeat {
            cluster_name: CLUSTER.to_owned(),
            broker_addr: self.address.clone(),
            broker_name: NAME.to_owned(),
            broker_id: Some(self.id),
            epoch: Some(1),
            max_offset: Some(10),
            heartbeat_timeout_ms: Some(3_600_000),
            election_priority: None,
        };
        for link in &self.links {
            ask(link, RequestCode::BrokerHeartbeat, heartbeat.to_fields(), Bytes::new()).await;
        }
    }

    async fn register(&self, group: &Group) -> Option<i64> {
        let header = RegisterBrokerToController {
            cluster_name: CLUSTER.to_owned(),
            broker_name: NAME.to_owned(),
            broker_id: self.id,
            broker_address: self.address.clone(),
        };
        let code = RequestCode::ControllerRegisterBroker;
        let answer = group.ask_leader(code, header.to_fields(), Bytes::new()).await;
        RegisterBrokerToControllerAnswer::of(&answer.fields).expect("registered").master_broker_id
    }

    async fn elect(&self, group: &Group, is_designated: bool) -> Command {
        let header = ElectMaster {
            cluster_name: CLUSTER.to_owned(),
            broker_name: NAME.to_owned(),
            broker_id: Some(self.id),
            designate_elect: Some(is_designated),
        };
        group.ask_leader(RequestCode::ControllerElectMaster, header.to_fields(), Bytes::new()).await
    }

    /// As the master it says who is in sync.
    async fn set_in_sync(&self, group: &Group, ids: &[i64]) {
        let replicas = group.replicas().await.expect("known");
        let header = AlterSyncStateSet {
            broker_name: NAME.to_owned(),
            master_broker_id: self.id,
            master_epoch: replicas.master_epoch.into(),
        };
        let sync_state_set_epoch = replicas.sync_state_set_epoch;
        let set = SyncStateSet { sync_state_set: ids.iter().copied().collect(), sync_state_set_epoch };
        let body = remoting_proto::to_vec(&set, Dialect::Standard);
        let code = RequestCode::ControllerAlterSyncStateSet;
        let answer = group.ask_leader(code, header.to_fields(), body.into()).await;
        assert_eq!((answer.response_code(), answer.remark), (ResponseCode::Success, None));
    }
}

/// Two brokers in sync; the first is the master.
async fn two(group: &Group) -> (Broker, Broker) {
    let first = Broker::join(group).await;
    assert_eq!(first.register(group).await, None);
    let elected = first.elect(group, false).await;
    assert_eq!(ElectMasterAnswer::of(&elected.fields).expect("a master").master_broker_id, Some(1));
    let second = Broker::join(group).await;
    assert_eq!(second.register(group).await, Some(1));
    first.set_in_sync(group, &[1, 2]).await;
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_whose_connection_ends_is_replaced_and_brokers_are_told() {
    let group = Group::start(1).await;
    let (first, mut second) = two(&group).await;
    group.settle();
    drop(first);
    until("the other is the master", async || group.master().await == Some(2)).await;
    let mut told = None;
    until("it is told", async || {
        told = second.told.try_recv().ok();
        told.is_some()
    })
    .await;
    let told = told.expect("it came");
    assert_eq!(told.request_code(), RequestCode::NotifyBrokerRoleChanged);
    let header = NotifyBrokerRoleChanged::of(&told.fields).expect("whole");
    assert_eq!((header.master_broker_id, header.master_epoch, header.master_address), (2, 2, second.address.clone()));
    let set: SyncStateSet = remoting_proto::from_slice(&told.body).expect("a set");
    assert_eq!(set, SyncStateSet { sync_state_set: [2].into(), sync_state_set_epoch: 3 });
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_with_apaches_codes() {
    let group = Group::start(1).await;
    let (first, second) = two(&group).await;
    let stays = second.elect(&group, false).await;
    assert_eq!(stays.response_code(), ResponseCode::ControllerMasterStillExist);
    assert_eq!(ElectMasterAnswer::of(&stays.fields).expect("whole").master_address, Some(first.address.clone()));
    let body: ElectMasterBody = remoting_proto::from_slice(&stays.body).expect("a body");
    assert_eq!((body.broker_member_group.broker_addrs.len(), body.sync_state_set), (2, [1, 2].into()));
    let named = second.elect(&group, true).await;
    assert_eq!(named.response_code(), ResponseCode::Success);
    let clean = |ids: &str| CleanBrokerData {
        cluster_name: Some(CLUSTER.to_owned()),
        broker_name: NAME.to_owned(),
        broker_controller_ids_to_clean: Some(ids.to_owned()),
        is_clean_living_broker: None,
    };
    for (ids, code) in [
        ("1", ResponseCode::ControllerInvalidCleanBrokerMetadata),
        ("x", ResponseCode::ControllerInvalidCleanBrokerMetadata),
        ("7", ResponseCode::Success),
    ] {
        let answer = group.ask_leader(RequestCode::CleanBrokerData, clean(ids).to_fields(), Bytes::new()).await;
        assert_eq!(answer.response_code(), code, "{ids}");
    }
    let unknown = group.ask_leader(RequestCode::SendMessage, Fields::default(), Bytes::new()).await;
    assert_eq!(unknown.response_code(), ResponseCode::RequestCodeNotSupported);
    let strangers = [("other", "0", 0), ("g", "0", 1), ("g", "0,1,2", 0)];
    for (name, peers, to) in strangers {
        let to = remoting_proto::requests::ToController { group: name.to_owned(), peers: peers.to_owned(), to };
        let answer = ask(group.client(0), RequestCode::ControllerVote, to.to_fields(), Bytes::new()).await;
        let remark = answer.remark.as_deref().unwrap_or_default();
        assert!(remark.starts_with("this is controller 0 of g (0), not "), "{name} {peers}: {remark}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_go_on_without_one_and_a_killed_one_knows_all_again() {
    let mut group = Group::start(3).await;
    let (first, second) = two(&group).await;
    let leader = group.leader().await;
    let follower = (leader + 1) % 3;
    let refused =
        ask(group.client(follower), RequestCode::ControllerGetNextBrokerId, member().to_fields(), Bytes::new());
    assert_eq!(refused.await.response_code(), ResponseCode::ControllerNotLeader);
    let metadata = ask(group.client(follower), RequestCode::ControllerGetMetadataInfo, Fields::default(), Bytes::new());
    let metadata = GetControllerMetadataAnswer::of(&metadata.await.fields).expect("whole");
    assert_eq!(metadata.controller_leader_address.as_deref(), Some(&*group.addresses[leader]));

    group.stop(leader).await;
    let before = group.replicas().await.expect("known");
    group.settle();
    first.live().await;
    second.live().await;
    assert_eq!(before.master_broker_id, Some(1));
    second.elect(&group, true).await;
    group.restart(leader).await;
    for index in (0..3).filter(|index| *index != leader) {
        group.stop(index).await;
        group.restart(index).await;
    }
    first.live().await;
    second.live().await;
    let after = group.replicas().await.expect("known");
    assert_eq!((after.master_broker_id, after.master_epoch), (Some(2), before.master_epoch + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_with_an_empty_disk_is_sent_a_snapshot() {
    let mut group = Group::start(3).await;
    let (_first, _second) = two(&group).await;
    let leader = group.leader().await;
    let lost = (leader + 1) % 3;
    group.stop(lost).await;
    let raft = group.nodes[leader].as_ref().expect("runs").raft.clone();
    raft.trigger().snapshot().await.expect("made");
    until("there is a snapshot", async || raft.metrics().borrow().snapshot.is_some()).await;
    let last = raft.metrics().borrow().snapshot.expect("there is one").index;
    raft.trigger().purge_log(last).await.expect("purged");
    until("the log is purged", async || raft.metrics().borrow().purged.is_some()).await;
    group.restart_in(lost, folder()).await;
    let raft = group.nodes[lost].as_ref().expect("runs").raft.clone();
    until("it has all", async || raft.metrics().borrow().last_applied.is_some_and(|at| at.index >= last)).await;
    group.stop(leader).await;
    assert_eq!(group.master().await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_with_other_controllers_is_refused() {
    let group = Group::start(1).await;
    let copy = folder();
    fs::copy(group.folders[0].path().join("controller.redb"), copy.path().join("controller.redb")).expect("copied");
    let all = Peers::list("n0-127.0.0.1:1;n1-127.0.0.1:2;n2-127.0.0.1:3").expect("a list");
    let options = Options {
        folder: copy.path().to_owned(),
        peers: Peers::new("g".to_owned(), all, "n0").expect("one of them"),
        settings: Settings::default(),
        shown: Vec::new(),
    };
    let error = Controller::open(Env::real(), options).await.expect_err("refused");
    assert!(matches!(error, OpenError::OtherPeers { .. }), "{error}");
}
