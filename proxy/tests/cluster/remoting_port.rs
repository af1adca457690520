//! The Remoting port: a client of 4.x, spoken by hand, before brokers of ours.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::Clock;
use env::clock::SystemClock;
use proxy::remoting::{Listeners, serve};
use remoting::{Client, Greeting};
use remoting_proto::body::{
    Assignments, ConsumerData, ConsumerIdList, HeartbeatData, LockBatch, LockBatchAnswer, MessageQueue,
    MessageRequestMode, QueryAssignment, RegisterBroker as Registration, TopicRouteData,
};
use remoting_proto::requests::{
    ConsumerClient, ConsumerGroup, GetRouteInfo, OffsetAnswer, PollingInfo, PollingInfoAnswer, PopMessage,
    RegisterBroker, SendMessage, TopicQueue,
};
use remoting_proto::{Command, Dialect, Fields, RequestCode, ResponseCode};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use types::{Admin, Broker, MessageType, TopicConfig, TopicType};

use crate::hand::HandClock;
use crate::support::{POLL_EVERY, SOON, Site, topic};

const TOPIC: &str = "t";
const GROUP: &str = "g";

/// A proxy before a site, with ports of these brokers.
struct Proxy {
    address: SocketAddr,
    /// By broker.
    own: Vec<(&'static str, SocketAddr)>,
    _stop: tokio_util::sync::DropGuard,
}

fn config(name: &str) -> TopicConfig {
    TopicConfig::new(topic(name), 1, TopicType::Only(MessageType::Normal))
}

async fn site(brokers: &[&'static str]) -> Site {
    let site = Site::start(brokers, &[config(TOPIC)], |_| {}).await;
    // It is registered.
    drop(site.proxy(&topic(TOPIC)).await);
    site
}

impl Proxy {
    async fn start(site: &Site, own: &[&'static str], clock: Arc<dyn Clock>) -> Self {
        let listen = async || TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let all = listen().await;
        let address = all.local_addr().expect("bound");
        let (mut brokers, mut addresses) = (Vec::new(), Vec::new());
        for name in own {
            let listener = listen().await;
            addresses.push((*name, listener.local_addr().expect("bound")));
            brokers.push(((*name).to_owned(), listener));
        }
        let (listeners, stop) = (Listeners { all, brokers }, CancellationToken::new());
        let (cluster, options) = (site.naming(None), remoting::Options::default());
        tokio::spawn(serve(cluster, None, listeners, options, None, clock, stop.clone()));
        Self { address, own: addresses, _stop: stop.drop_guard() }
    }

    /// A client that says nothing when it is asked.
    fn client(&self) -> Client {
        Client::new(self.address.to_string(), Arc::new(SystemClock))
    }
}

async fn call(client: &Client, code: RequestCode, fields: Fields, body: Vec<u8>) -> Command {
    client.call(Command::request(code, fields, body.into()), SOON).await.expect("answered")
}

fn send(broker: Option<&str>) -> Fields {
    let header = SendMessage {
        producer_group: "pg".to_owned(),
        topic: TOPIC.to_owned(),
        default_topic: None,
        default_topic_queue_nums: None,
        queue_id: 0,
        sys_flag: 0,
        born_timestamp: 1,
        flag: 0,
        properties: None,
        reconsume_times: None,
        unit_mode: None,
        max_reconsume_times: None,
        is_batch: None,
        broker_name: broker.map(str::to_owned),
    };
    header.to_fields()
}

fn queue(broker: Option<&str>) -> Fields {
    TopicQueue { topic: TOPIC.to_owned(), queue_id: 0, broker_name: broker.map(str::to_owned) }.to_fields()
}

/// Where the topic's queue ends, as a client is told; or how it is refused.
async fn end(client: &Client, broker: Option<&str>) -> Result<i64, ResponseCode> {
    let answer = call(client, RequestCode::GetMaxOffset, queue(broker), Vec::new()).await;
    match answer.response_code() {
        ResponseCode::Success => Ok(OffsetAnswer::of(&answer.fields).expect("read").offset.expect("there is one")),
        refused => Err(refused),
    }
}

async fn heartbeat(client: &Client, id: &str) -> ResponseCode {
    let consumer = ConsumerData {
        consume_from_where: "CONSUME_FROM_FIRST_OFFSET".to_owned(),
        consume_type: "CONSUME_PASSIVELY".to_owned(),
        group_name: GROUP.to_owned(),
        message_model: "CLUSTERING".to_owned(),
        ..ConsumerData::default()
    };
    let data =
        HeartbeatData { client_id: id.to_owned(), consumer_data_set: vec![consumer], ..HeartbeatData::default() };
    let body = remoting_proto::to_vec(&data, Dialect::Standard);
    call(client, RequestCode::HeartBeat, Fields::default(), body).await.response_code()
}

async fn has_members(client: &Client) -> bool {
    let fields = ConsumerGroup { consumer_group: GROUP.to_owned() }.to_fields();
    let answer = call(client, RequestCode::GetConsumerListByGroup, fields, Vec::new()).await;
    answer.response_code() == ResponseCode::Success
}

#[tokio::test]
async fn brokers_are_where_the_client_came() {
    let site = site(&["a", "b"]).await;
    let proxy = Proxy::start(&site, &["b"], Arc::new(SystemClock)).await;
    let header =
        GetRouteInfo { topic: TOPIC.to_owned(), accept_standard_json_only: None, zone_mode: None, zone_name: None };
    let route = call(&proxy.client(), RequestCode::GetRouteInfoByTopic, header.to_fields(), Vec::new()).await;
    let route: TopicRouteData = remoting_proto::from_slice(&route.body).expect("read");
    let mut addresses: Vec<_> = route
        .broker_datas
        .iter()
        .map(|broker| (broker.broker_name.as_str(), broker.broker_addrs.clone().into_values().collect::<Vec<_>>()))
        .collect();
    addresses.sort_unstable();
    let (all, own) = (proxy.address.to_string(), proxy.own[0].1.to_string());
    assert_eq!(addresses, [("a", vec![all]), ("b", vec![own])]);

    let unknown = GetRouteInfo { topic: "unknown".to_owned(), ..header }.to_fields();
    let unknown = call(&proxy.client(), RequestCode::GetRouteInfoByTopic, unknown, Vec::new()).await;
    assert_eq!(unknown.response_code(), ResponseCode::TopicNotExist);
    site.end().await;
}

#[tokio::test]
async fn a_request_goes_to_the_broker_that_it_names_or_whose_port_it_came_to() {
    let site = site(&["a", "b"]).await;
    let proxy = Proxy::start(&site, &["b"], Arc::new(SystemClock)).await;
    let client = proxy.client();
    let stored = call(&client, RequestCode::SendMessageV2, send(Some("a")), b"x".to_vec()).await;
    assert_eq!(stored.response_code(), ResponseCode::Success, "{:?}", stored.remark);
    client
        .oneway(Command::request(RequestCode::SendMessageV2, send(Some("a")), Bytes::from("y")), SOON)
        .await
        .expect("sent");
    assert_eq!(site.brokers["a"].bodies(&topic(TOPIC), 2).await.len(), 2);
    assert_eq!((end(&client, Some("a")).await, end(&client, Some("b")).await), (Ok(2), Ok(0)));

    let refused = Err(ResponseCode::VersionNotSupported);
    assert_eq!(end(&client, None).await, refused, "nobody knows which broker it is for");
    let own = Client::new(proxy.own[0].1.to_string(), Arc::new(SystemClock));
    assert_eq!((end(&own, None).await, end(&own, Some("a")).await), (Ok(0), Ok(2)));
    assert_eq!(end(&client, Some("c")).await, Err(ResponseCode::ServiceNotAvailable));
    site.end().await;
}

#[tokio::test]
async fn the_only_broker_need_not_be_named() {
    let site = site(&["a"]).await;
    let proxy = Proxy::start(&site, &[], Arc::new(SystemClock)).await;
    assert_eq!(end(&proxy.client(), None).await, Ok(0));
    site.end().await;
}

#[tokio::test]
async fn queues_are_locked_at_the_broker_that_the_body_names() {
    let site = site(&["a", "b"]).await;
    let proxy = Proxy::start(&site, &[], Arc::new(SystemClock)).await;
    let queue = MessageQueue { broker_name: "b".to_owned(), queue_id: 0, topic: TOPIC.to_owned() };
    let mut locked = Vec::new();
    for client in ["first", "second"] {
        let lock = LockBatch {
            client_id: client.to_owned(),
            consumer_group: GROUP.to_owned(),
            mq_set: vec![queue.clone()],
            only_this_broker: false,
        };
        let body = remoting_proto::to_vec(&lock, Dialect::Standard);
        let answer = call(&proxy.client(), RequestCode::LockBatchMq, Fields::default(), body).await;
        assert_eq!(answer.response_code(), ResponseCode::Success, "{:?}", answer.remark);
        let answer: LockBatchAnswer = remoting_proto::from_slice(&answer.body).expect("read");
        locked.push(answer.lock_ok_mq_set.len());
    }
    assert_eq!(locked, [1, 0]);
    site.end().await;
}

#[tokio::test]
async fn all_brokers_know_a_client_while_it_is_there_and_reach_it() {
    let site = site(&["a", "b"]).await;
    let proxy = Proxy::start(&site, &[], Arc::new(SystemClock)).await;
    // More than it is told and asked here.
    let (asked, mut questions) = mpsc::channel(16);
    let consumer = Client::listening(proxy.address.to_string(), Arc::new(SystemClock), asked);
    assert_eq!(heartbeat(&consumer, "c").await, ResponseCode::Success);
    let direct = |name: &str| Client::new(site.brokers[name].address.to_string(), Arc::new(SystemClock));
    for name in ["a", "b"] {
        assert!(has_members(&direct(name)).await, "{name}");
    }
    assert!(has_members(&consumer).await);
    for _ in ["a", "b"] {
        let told = questions.recv().await.expect("told");
        assert_eq!(told.request.request_code(), RequestCode::NotifyConsumerIdsChanged, "the group has a member");
    }

    // An operator asks a broker what the client does: both have numbers of their own for that.
    let header = ConsumerClient { consumer_group: GROUP.to_owned(), client_id: Some("c".to_owned()), msg_id: None };
    for name in ["a", "b"] {
        let operator = direct(name);
        let info = tokio::spawn({
            let fields = header.to_fields();
            async move { call(&operator, RequestCode::GetConsumerRunningInfo, fields, Vec::new()).await }
        });
        let question = questions.recv().await.expect("asked");
        assert_eq!(question.request.request_code(), RequestCode::GetConsumerRunningInfo);
        let body = Bytes::from(format!("told {name}"));
        let known = Command { body: body.clone(), ..question.request.answer(ResponseCode::Success) };
        question.answer(known).await.expect("fits");
        let info = info.await.expect("no panic");
        assert_eq!((info.response_code(), info.body), (ResponseCode::Success, body));
    }

    drop((consumer, questions));
    let gone = async {
        for name in ["a", "b"] {
            while has_members(&direct(name)).await {
                tokio::time::sleep(POLL_EVERY).await;
            }
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("the brokers forget it");
    site.end().await;
}

#[tokio::test]
async fn members_that_one_broker_knows_are_members() {
    let site = site(&["a", "b"]).await;
    let proxy = Proxy::start(&site, &[], Arc::new(SystemClock)).await;
    let direct = Client::new(site.brokers["b"].address.to_string(), Arc::new(SystemClock));
    assert_eq!(heartbeat(&direct, "direct").await, ResponseCode::Success);
    let client = proxy.client();
    assert_eq!(heartbeat(&client, "through a proxy").await, ResponseCode::Success);
    let fields = ConsumerGroup { consumer_group: GROUP.to_owned() }.to_fields();
    let answer = call(&client, RequestCode::GetConsumerListByGroup, fields, Vec::new()).await;
    let list: ConsumerIdList = remoting_proto::from_slice(&answer.body).expect("a list");
    assert_eq!(list.consumer_id_list, ["direct", "through a proxy"]);
    site.end().await;
}

#[tokio::test]
async fn a_broker_of_the_topic_says_who_pops() {
    const POPPED: &str = "popped";
    let site = site(&["a", "b"]).await;
    let broker = &site.brokers["b"];
    broker.broker.put_topic(config(POPPED), false).await.expect("made");
    let mode = MessageRequestMode {
        topic: POPPED.to_owned(),
        consumer_group: GROUP.to_owned(),
        mode: "POP".to_owned(),
        ..MessageRequestMode::default()
    };
    let direct = Client::new(broker.address.to_string(), Arc::new(SystemClock));
    let set = remoting_proto::to_vec(&mode, Dialect::Standard);
    let set = call(&direct, RequestCode::SetMessageRequestMode, Fields::default(), set).await;
    assert_eq!(set.response_code(), ResponseCode::Success, "{:?}", set.remark);

    let proxy = Proxy::start(&site, &[], Arc::new(SystemClock)).await;
    let client = proxy.client();
    assert_eq!(heartbeat(&client, "c").await, ResponseCode::Success);
    let asked = QueryAssignment {
        topic: POPPED.to_owned(),
        consumer_group: GROUP.to_owned(),
        client_id: "c".to_owned(),
        strategy_name: "AVG".to_owned(),
        message_model: "CLUSTERING".to_owned(),
    };
    let modes = async {
        let body = remoting_proto::to_vec(&asked, Dialect::Standard);
        let answer = call(&client, RequestCode::QueryAssignment, Fields::default(), body).await;
        let told: Assignments = remoting_proto::from_slice(&answer.body).expect("read");
        told.message_queue_assignments.unwrap_or_default().into_iter().map(|one| one.mode).collect::<Vec<_>>()
    };
    // The name server does not know the topic at once.
    let known = async {
        while site.naming(None).topic(&topic(POPPED)).await.is_err() {
            tokio::time::sleep(POLL_EVERY).await;
        }
    };
    tokio::time::timeout(SOON, known).await.expect("the topic is known");
    assert_eq!(modes.await, ["POP"]);
    site.end().await;
}

fn pop(poll: Duration) -> Fields {
    let header = PopMessage {
        consumer_group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
        queue_id: -1,
        max_msg_nums: 1,
        invisible_time: i64::try_from(SOON.as_millis()).expect("small"),
        poll_time: i64::try_from(poll.as_millis()).expect("small"),
        born_time: 0,
        init_mode: 0,
        exp_type: None,
        exp: None,
        order: None,
        attempt_id: None,
        broker_name: Some("a".to_owned()),
    };
    header.to_fields()
}

async fn waiting(client: &Client) -> i64 {
    let header = PollingInfo { consumer_group: GROUP.to_owned(), topic: TOPIC.to_owned(), queue_id: -1 }.to_fields();
    let answer = call(client, RequestCode::PollingInfo, header, Vec::new()).await;
    PollingInfoAnswer::of(&answer.fields).expect("read").polling_num
}

#[tokio::test]
async fn nothing_is_leased_for_a_client_that_is_gone() {
    let site = site(&["a"]).await;
    let proxy = Proxy::start(&site, &[], Arc::new(SystemClock)).await;
    let (goes, stays) = (proxy.client(), proxy.client());
    let popping = tokio::spawn({
        let request = Command::request(RequestCode::PopMessage, pop(Duration::from_secs(20)), Bytes::new());
        async move { goes.call(request, SOON).await }
    });
    let until = async |count| {
        while waiting(&stays).await != count {
            tokio::time::sleep(POLL_EVERY).await;
        }
    };
    tokio::time::timeout(SOON, until(1)).await.expect("it waits");
    popping.abort();
    assert!(popping.await.expect_err("aborted").is_cancelled());
    tokio::time::timeout(SOON, until(0)).await.expect("it is gone");
    call(&stays, RequestCode::SendMessageV2, send(Some("a")), b"x".to_vec()).await;
    let popped = call(&stays, RequestCode::PopMessage, pop(Duration::ZERO), Vec::new()).await;
    assert_eq!(popped.response_code(), ResponseCode::Success, "{:?}", popped.remark);
    site.end().await;
}

/// Lets the name server know a broker that takes connections and says nothing, until one of these ends.
async fn register_silent(site: &Site) -> (TcpListener, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let header = RegisterBroker {
        broker_name: "silent".to_owned(),
        broker_addr: listener.local_addr().expect("bound").to_string(),
        cluster_name: "C".to_owned(),
        ha_server_addr: "127.0.0.1:1".to_owned(),
        broker_id: 0,
        heartbeat_timeout_ms: None,
        enable_acting_master: None,
        body_crc32: None,
        compressed: None,
        zone_name: None,
    };
    let client = Client::new(site.name_server.to_string(), Arc::new(SystemClock));
    let topics = Registration::default().encode();
    let registered = call(&client, RequestCode::RegisterBroker, header.to_fields(), topics).await;
    assert_eq!(registered.response_code(), ResponseCode::Success, "{:?}", registered.remark);
    (listener, client)
}

#[tokio::test]
async fn a_broker_that_says_nothing_keeps_nobody_from_being_heard() {
    let site = site(&["a"]).await;
    let _silent = register_silent(&site).await;
    let clock = HandClock::default();
    let proxy = Proxy::start(&site, &[], Arc::new(clock.clone())).await;
    let client = proxy.client();
    let beating = tokio::spawn({
        let client = client.clone();
        async move { heartbeat(&client, "c").await }
    });
    let direct = Client::new(site.brokers["a"].address.to_string(), Arc::new(SystemClock));
    let known = async {
        while !has_members(&direct).await {
            tokio::time::sleep(POLL_EVERY).await;
        }
    };
    tokio::time::timeout(SOON, known).await.expect("the other hears it at once");
    assert!(!beating.is_finished(), "the silent one has a while");
    clock.pass(Duration::from_secs(2));
    assert_eq!(beating.await.expect("no panic"), ResponseCode::Success);
    assert_eq!(end(&client, Some("a")).await, Ok(0));
    site.end().await;
}

#[tokio::test]
async fn operators_are_sent_away_by_name() {
    let site = site(&["a"]).await;
    let proxy = Proxy::start(&site, &["a"], Arc::new(SystemClock)).await;
    for address in [proxy.address, proxy.own[0].1] {
        let client = Client::new(address.to_string(), Arc::new(SystemClock));
        let refused = call(&client, RequestCode::DeleteTopicInBroker, queue(Some("a")), Vec::new()).await;
        assert_eq!(refused.response_code(), ResponseCode::RequestCodeNotSupported);
        assert_eq!(refused.remark.as_deref(), Some(" request type 215 not supported"));
    }
    site.end().await;
}

#[tokio::test]
async fn who_waits_is_answered_when_the_proxy_stops() {
    let site = site(&["a"]).await;
    let proxy = Proxy::start(&site, &[], Arc::new(SystemClock)).await;
    let client = proxy.client();
    let popping = tokio::spawn({
        let client = client.clone();
        async move { call(&client, RequestCode::PopMessage, pop(Duration::from_secs(20)), Vec::new()).await }
    });
    let until = async {
        while waiting(&client).await != 1 {
            tokio::time::sleep(POLL_EVERY).await;
        }
    };
    tokio::time::timeout(SOON, until).await.expect("it waits");
    drop(proxy);
    assert_eq!(popping.await.expect("no panic").response_code(), ResponseCode::SystemBusy);
    site.end().await;
}

async fn heard(socket: &mut TcpStream) -> Command {
    let mut frame = vec![0; 4];
    socket.read_exact(&mut frame).await.expect("a request");
    frame.resize(remoting_proto::announced(&frame).expect("a frame").expect("known"), 0);
    socket.read_exact(&mut frame[4..]).await.expect("a request");
    remoting_proto::decode(frame.into()).expect("a frame")
}

#[tokio::test]
async fn a_broker_that_was_away_hears_of_the_client_before_all_else() {
    let site = site(&["a"]).await;
    let (broker, _registered) = register_silent(&site).await;
    let proxy = Proxy::start(&site, &[], Arc::new(SystemClock)).await;
    let client = proxy.client();
    let beating = tokio::spawn({
        let client = client.clone();
        async move { heartbeat(&client, "c").await }
    });
    let (mut socket, _) = broker.accept().await.expect("the proxy comes");
    let told = heard(&mut socket).await;
    assert_eq!(told.request_code(), RequestCode::HeartBeat);
    drop(socket);
    assert_eq!(beating.await.expect("no panic"), ResponseCode::Success);

    let ending = tokio::spawn({
        let client = client.clone();
        async move { end(&client, Some("silent")).await }
    });
    let (mut socket, _) = broker.accept().await.expect("the proxy comes again");
    let again = heard(&mut socket).await;
    assert_eq!((again.request_code(), again.body), (RequestCode::HeartBeat, told.body));
    assert_eq!(heard(&mut socket).await.request_code(), RequestCode::GetMaxOffset);
    drop(socket);
    assert_eq!(ending.await.expect("no panic"), Err(ResponseCode::ServiceNotAvailable));
    site.end().await;
}

#[tokio::test]
async fn who_waits_often_at_a_broker_is_heard_all_the_same() {
    // More than a client of the proxy's own may have under way.
    const WAITING: usize = remoting::client::IN_FLIGHT_MAX + 1;
    let site = site(&["a"]).await;
    let proxy = Proxy::start(&site, &[], Arc::new(SystemClock)).await;
    let (asked, _questions) = mpsc::channel(16);
    let address = proxy.address.to_string();
    let client = Client::standing_in(address, Arc::new(SystemClock), asked, WAITING + 1, Greeting::default());
    let mut popping = tokio::task::JoinSet::new();
    for _ in 0..WAITING {
        let (client, header) = (client.clone(), pop(SOON));
        popping.spawn(async move {
            client.call(Command::request(RequestCode::PopMessage, header, Bytes::new()), SOON).await
        });
    }
    let other = proxy.client();
    let all_wait = async {
        while waiting(&other).await < WAITING as i64 {
            tokio::time::sleep(POLL_EVERY).await;
        }
    };
    tokio::time::timeout(SOON, all_wait).await.expect("all wait");
    assert_eq!(heartbeat(&client, "c").await, ResponseCode::Success);
    popping.shutdown().await;
    site.end().await;
}
