//! What operators' tools ask of a broker's Remoting port, over real sockets.

#![allow(clippy::disallowed_methods, reason = "sockets of the real runtime, above the seams of env")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use env::Env;
use remoting::{Connection, Role, Server};
use remoting_proto::body::{
    Assignments, CorrectionOffsets, GroupReadable, HaStatus, KvTable, MessageRequestMode, MessageRequestModes,
    Permission, QueryAssignment, QueueData, SubscriptionGroupConfig, SubscriptionGroupList, TopicConfig,
    TopicConfigList, TopicRouteData, TopicSettings,
};
use remoting_proto::requests::{
    DeleteSubscriptionGroup, GetConsumerStatus, GroupForbidden, GroupName, Notification, PopMessage, PullMessage,
    QueryCorrectionOffset, TopicName, UpdateConsumerOffset,
};
use remoting_proto::{Command, Dialect, Fields, RequestCode, ResponseCode, from_slice, to_vec};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[path = "common/served.rs"]
mod served;

use served::{Raw, Served, WITHIN, heartbeat, pop, pull, served};

fn body(value: &impl serde::Serialize) -> Bytes {
    to_vec(value, Dialect::Standard).into()
}

fn notification() -> Notification {
    Notification {
        consumer_group: "g".to_owned(),
        topic: "t".to_owned(),
        queue_id: -1,
        poll_time: 0,
        born_time: 0,
        order: None,
        attempt_id: None,
        exp_type: None,
        exp: None,
        broker_name: None,
    }
}

/// What a pull, a pop and the question for a pop's messages are answered.
async fn reads(served: &Served) -> [ResponseCode; 3] {
    let mut codes = [ResponseCode::Success; 3];
    let asked = [
        (RequestCode::PullMessage, pull("t", 1, 0).to_fields()),
        (RequestCode::Notification, notification().to_fields()),
        (RequestCode::PopMessage, pop("t").to_fields()),
    ];
    for (code, (request, fields)) in codes.iter_mut().zip(asked) {
        *code = served.call(request, fields, "").await.response_code();
    }
    codes
}

const ALLOWED: [ResponseCode; 3] = [ResponseCode::Success; 3];
const FORBIDDEN: [ResponseCode; 3] = [ResponseCode::NoPermission; 3];

#[tokio::test]
async fn what_may_only_be_written_is_not_read() {
    let served = served(Vec::new()).await;
    served.send("t", b"x").await;
    let set = async |line: &'static str| {
        let answer = served.call(RequestCode::UpdateBrokerConfig, Fields::default(), line).await;
        assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    };
    set("brokerPermission=2").await;
    assert_eq!(reads(&served).await, FORBIDDEN);
    // Who sends is not kept from it.
    served.send("t", b"y").await;
    set("brokerPermission=6").await;
    assert_eq!(reads(&served).await, ALLOWED);

    let topic = TopicConfig { topic_name: "t".to_owned(), perm: Permission(2), ..TopicConfig::default() };
    let list = TopicConfigList { topic_config_list: vec![TopicSettings { config: topic, ..TopicSettings::default() }] };
    let answer = served.call(RequestCode::UpdateAndCreateTopicList, Fields::default(), body(&list)).await;
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    assert_eq!(reads(&served).await, FORBIDDEN);
    served.end().await;
}

#[tokio::test]
async fn a_group_is_forbidden_a_topic_and_allowed_it_again() {
    let served = served(Vec::new()).await;
    served.send("t", b"x").await;
    let readable = async |readable| {
        let header = GroupForbidden { group: "g".to_owned(), topic: "t".to_owned(), readable };
        let answer = served.call(RequestCode::UpdateAndGetGroupForbidden, header.to_fields(), "").await;
        from_slice::<GroupReadable>(&answer.body).expect("a body").readable
    };
    assert!(readable(None).await, "nobody forbade it");
    assert!(!readable(Some(false)).await && !readable(None).await);
    assert_eq!(reads(&served).await, FORBIDDEN);
    assert!(readable(Some(true)).await);
    assert_eq!(reads(&served).await, ALLOWED);
    served.end().await;
}

#[tokio::test]
async fn who_waits_gets_nothing_after_reading_was_forbidden() {
    let served = served(Vec::new()).await;
    served.send("t", b"x").await;
    let topic = |perm| {
        let config = TopicConfig { topic_name: "t".to_owned(), perm: Permission(perm), ..TopicConfig::default() };
        body(&TopicConfigList { topic_config_list: vec![TopicSettings { config, ..TopicSettings::default() }] })
    };
    let group = |readable| GroupForbidden { group: "g".to_owned(), topic: "t".to_owned(), readable: Some(readable) };
    let (config, list) = (RequestCode::UpdateBrokerConfig, RequestCode::UpdateAndCreateTopicList);
    let forbidden = RequestCode::UpdateAndGetGroupForbidden;
    let none = Fields::default;
    let changes = [
        [(config, none(), "brokerPermission=2".into()), (config, none(), "brokerPermission=6".into())],
        [(forbidden, group(false).to_fields(), Bytes::new()), (forbidden, group(true).to_fields(), Bytes::new())],
        [(list, none(), topic(2)), (list, none(), topic(6))],
    ];
    for (end, [forbid, allow]) in (1..).zip(changes) {
        let change = async |(code, fields, body): (RequestCode, Fields, Bytes)| {
            let changed = served.call(code, fields, body).await;
            assert_eq!(changed.response_code(), ResponseCode::Success, "{changed:?}");
        };
        let pull = PullMessage {
            sys_flag: PullMessage::SUBSCRIPTION | PullMessage::SUSPEND,
            suspend_timeout_millis: 50_000,
            ..pull("t", 1, end)
        };
        let waits = PopMessage { queue_id: 1, poll_time: 50_000, ..pop("t") };
        // What is there already.
        served.call(RequestCode::PopMessage, PopMessage { poll_time: 0, ..waits.clone() }.to_fields(), "").await;
        let (pulled, popped, ()) = tokio::join!(
            served.call(RequestCode::PullMessage, pull.to_fields(), ""),
            served.call(RequestCode::PopMessage, waits.to_fields(), ""),
            async {
                while served.broker.status().waiting < 2 {
                    tokio::task::yield_now().await;
                }
                change(forbid).await;
                served.send("t", b"y").await;
            }
        );
        let codes = [pulled.response_code(), popped.response_code()];
        assert_eq!(codes, [ResponseCode::NoPermission; 2]);
        change(allow).await;
        // Its lease was free again.
        let again = served.call(RequestCode::PopMessage, waits.to_fields(), "").await;
        assert_eq!(again.response_code(), ResponseCode::Success, "{again:?}");
    }
    served.end().await;
}

#[tokio::test]
async fn consume_modes_survive_a_restart_go_with_their_group_and_a_damaged_file_is_put_aside() {
    let mut served = served(Vec::new()).await;
    let mode = |topic: &str, group: &str| MessageRequestMode {
        topic: topic.to_owned(),
        consumer_group: group.to_owned(),
        mode: "POP".to_owned(),
        pop_share_queue_num: 1,
    };
    for (topic, group) in [("t", "g"), ("t", "h"), ("u", "g")] {
        served.send(topic, b"x").await;
        let set = served.call(RequestCode::SetMessageRequestMode, Fields::default(), body(&mode(topic, group))).await;
        assert_eq!(set.response_code(), ResponseCode::Success, "{set:?}");
    }
    served = served.again(Env::real()).await;
    let all = modes(&served).await;
    assert_eq!((all.len(), &all["t"]["h"], &all["u"]["g"]), (2, &mode("t", "h"), &mode("u", "g")));

    let group = DeleteSubscriptionGroup { group_name: "h".to_owned(), clean_offset: Some(true) };
    served.call(RequestCode::DeleteSubscriptionGroup, group.to_fields(), "").await;
    let topic = TopicName { topic: "u".to_owned() };
    served.call(RequestCode::DeleteTopicInBroker, topic.to_fields(), "").await;
    served = served.again(Env::real()).await;
    let all = modes(&served).await;
    assert_eq!((all.len(), all["t"].len(), &all["t"]["g"]), (1, 1, &mode("t", "g")));

    let file = served.folder.path().join("data/config/messageRequestMode.json");
    std::fs::write(&file, "{").expect("written");
    served = served.again(Env::real()).await;
    assert!(modes(&served).await.is_empty());
    let aside = std::fs::read_to_string(file.with_added_extension("damaged")).expect("put aside");
    assert_eq!((aside.as_str(), file.exists()), ("{", false));
    served.end().await;
}

#[tokio::test]
async fn consume_modes_are_those_of_apaches_copy_when_the_file_is_lost() {
    let mut served = served(Vec::new()).await;
    served.send("t", b"x").await;
    let set = |topic: &str| MessageRequestMode {
        topic: topic.to_owned(),
        consumer_group: "g".to_owned(),
        mode: "POP".to_owned(),
        pop_share_queue_num: 1,
    };
    served.call(RequestCode::SetMessageRequestMode, Fields::default(), body(&set("t"))).await;
    let all = modes(&served).await;
    let file = served.folder.path().join("data/config/messageRequestMode.json");
    let copy = file.with_added_extension("bak");
    std::fs::rename(&file, &copy).expect("moved");
    served = served.again(Env::real()).await;
    assert_eq!(modes(&served).await, all);
    std::fs::write(&file, "{").expect("written");
    served = served.again(Env::real()).await;
    assert_eq!(modes(&served).await, all);
    std::fs::write(&copy, "{").expect("written");
    served = served.again(Env::real()).await;
    assert!(modes(&served).await.is_empty());
    served.end().await;
}

async fn modes(served: &Served) -> BTreeMap<String, BTreeMap<String, MessageRequestMode>> {
    let answer = served.call(RequestCode::GetAllMessageRequestMode, Fields::default(), "").await;
    from_slice::<MessageRequestModes>(&answer.body).expect("read").message_request_mode_map
}

#[tokio::test]
async fn what_was_forbidden_goes_with_its_group_and_with_its_topic() {
    let served = served(Vec::new()).await;
    served.send("t", b"x").await;
    assert_eq!(reads(&served).await, ALLOWED);
    let group = DeleteSubscriptionGroup { group_name: "g".to_owned(), clean_offset: Some(true) };
    let topic = TopicName { topic: "t".to_owned() };
    let deletions = [
        (RequestCode::DeleteSubscriptionGroup, group.to_fields()),
        (RequestCode::DeleteTopicInBroker, topic.to_fields()),
    ];
    for (deletion, fields) in deletions {
        let header = GroupForbidden { group: "g".to_owned(), topic: "t".to_owned(), readable: Some(false) };
        served.call(RequestCode::UpdateAndGetGroupForbidden, header.to_fields(), "").await;
        assert_eq!(reads(&served).await, FORBIDDEN);
        let deleted = served.call(deletion, fields, "").await;
        assert_eq!(deleted.response_code(), ResponseCode::Success, "{deleted:?}");
        served.send("t", b"x").await;
        // A new topic's offsets may begin elsewhere; nobody is kept from it.
        let codes = reads(&served).await;
        assert!(!codes.contains(&ResponseCode::NoPermission), "{deletion:?}: {codes:?}");
    }
    served.end().await;
}

#[tokio::test]
async fn lists_of_topics_and_groups_are_made_and_a_wrong_name_in_them_changes_nothing() {
    let served = served(Vec::new()).await;
    let topic = |name: &str, kind: &str| TopicSettings {
        config: TopicConfig {
            topic_name: name.to_owned(),
            read_queue_nums: 2,
            write_queue_nums: 2,
            ..TopicConfig::default()
        },
        attributes: [("+message.type".to_owned(), kind.to_owned())].into(),
        ..TopicSettings::default()
    };
    let put = async |topics: Vec<TopicSettings>| {
        let list = TopicConfigList { topic_config_list: topics };
        served.call(RequestCode::UpdateAndCreateTopicList, Fields::default(), body(&list)).await.response_code()
    };
    let named = |topic: &str| TopicName { topic: topic.to_owned() }.to_fields();
    assert_eq!(put(vec![topic("one", "NORMAL"), topic("a b", "NORMAL")]).await, ResponseCode::InvalidParameter);
    let missing = served.call(RequestCode::GetTopicConfig, named("one"), "").await;
    assert_eq!(missing.response_code(), ResponseCode::TopicNotExist);
    assert_eq!(put(vec![topic("one", "NORMAL"), topic("two", "FIFO")]).await, ResponseCode::Success);
    let two = served.call(RequestCode::GetTopicConfig, named("two"), "").await;
    let two: TopicSettings = from_slice(&two.body).expect("a topic");
    assert_eq!((two.config.read_queue_nums, two.attributes["message.type"].as_str()), (2, "FIFO"));

    let group = |name: &str| SubscriptionGroupConfig {
        group_name: name.to_owned(),
        retry_max_times: 5,
        ..SubscriptionGroupConfig::default()
    };
    let put = async |groups: Vec<SubscriptionGroupConfig>| {
        let list = SubscriptionGroupList { group_config_list: groups };
        let code = RequestCode::UpdateAndCreateSubscriptionGroupList;
        served.call(code, Fields::default(), body(&list)).await.response_code()
    };
    assert_eq!(put(vec![group("g-one"), group("a b")]).await, ResponseCode::InvalidParameter);
    assert_eq!(served.broker.status().groups, 0);
    assert_eq!(put(vec![group("g-one"), group("g-two")]).await, ResponseCode::Success);
    let named = GroupName { group: "g-two".to_owned() };
    let two = served.call(RequestCode::GetSubscriptionGroupConfig, named.to_fields(), "").await;
    assert_eq!(from_slice::<SubscriptionGroupConfig>(&two.body).expect("a group").retry_max_times, 5);
    served.end().await;
}

#[tokio::test]
async fn corrections_are_the_lowest_offsets_unless_the_compared_group_is_behind() {
    let served = served(Vec::new()).await;
    for body in [b"1", b"2", b"3"] {
        served.send("t", body).await;
    }
    for (group, offset) in [("far", 3), ("near", 2), ("last", 1)] {
        let header = UpdateConsumerOffset {
            consumer_group: group.to_owned(),
            topic: "t".to_owned(),
            queue_id: 1,
            commit_offset: offset,
            broker_name: None,
        };
        let answer = served.call(RequestCode::UpdateConsumerOffset, header.to_fields(), "").await;
        assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    }
    let ask = async |compared: &str, left_out: &str| {
        let header = QueryCorrectionOffset {
            topic: "t".to_owned(),
            compare_group: compared.to_owned(),
            filter_groups: Some(left_out.to_owned()),
        };
        let answer = served.call(RequestCode::QueryCorrectionOffset, header.to_fields(), "").await;
        from_slice::<CorrectionOffsets>(&answer.body).expect("offsets").correction_offsets.get(&1).copied()
    };
    assert_eq!(ask("far", "").await, Some(1));
    assert_eq!(ask("far", "last,other").await, Some(2));
    assert_eq!(ask("last", "last").await, Some(i64::MAX));
    served.end().await;
}

#[tokio::test]
async fn what_the_exporter_reads_is_there_and_true() {
    let served = served(Vec::new()).await;
    served.send("t", b"x").await;
    let answer = served.call(RequestCode::GetBrokerRuntimeInfo, Fields::default(), "").await;
    let KvTable { table } = from_slice(&answer.body).expect("a table");
    let used: f64 = table["commitLogDiskRatio"].parse().expect("a number");
    assert!(used > 0.0 && used < 1.0, "{used} of the disk are in use");
    assert_eq!((table["commitLogMinOffset"].as_str(), table["msgPutTotalTodayNow"].as_str()), ("0", "1"));
    assert!(table["earliestMessageTimeStamp"].parse::<i64>().expect("a time") > 0);
    let steps: u32 = table["putMessageDistributeTime"]
        .split(' ')
        .map(|step| step.split_once(':').expect("a count").1.parse::<u32>().expect("a number"))
        .sum();
    assert_eq!(steps, 1, "one send was timed");
    let capacity: Vec<&str> = table["commitLogDirCapacity"].split(' ').collect();
    assert_eq!((capacity.len(), capacity[0], capacity[4]), (8, "Total", "Free"), "{capacity:?}");

    let answer = served.call(RequestCode::GetBrokerHaStatus, Fields::default(), "").await;
    let status: HaStatus = from_slice(&answer.body).expect("a status");
    assert!(status.master && status.master_commit_log_max_offset > 0 && status.ha_connection_info.is_empty());
    served.end().await;
}

#[tokio::test]
async fn members_are_asked_at_once_and_one_that_says_nothing_is_left_out() {
    let served = served(Vec::new()).await;
    let mut good = Raw::connect(served.address).await;
    good.call(&heartbeat("good")).await;
    let mut gone = Raw::connect(served.address).await;
    gone.call(&heartbeat("gone")).await;
    let header = GetConsumerStatus { topic: "t".to_owned(), group: "g".to_owned(), client_addr: None };
    let status = || served.call(RequestCode::InvokeBrokerToGetConsumerStatus, header.to_fields(), "");
    let asked = async |client: &mut Raw| loop {
        let asked = client.hear().await;
        if asked.request_code() == RequestCode::GetConsumerStatusFromClient {
            return asked;
        }
    };
    let members = async {
        // Both are asked before one of them answers.
        let (of_good, _) = (asked(&mut good).await, asked(&mut gone).await);
        drop(gone);
        let body = r#"{"messageQueueTable":{{"brokerName":"b","queueId":0,"topic":"t"}:7}}"#;
        good.say(&Command { body: body.into(), ..of_good.answer(ResponseCode::Success) }).await;
        good
    };
    let (answer, mut good) =
        tokio::time::timeout(WITHIN, async { tokio::join!(status(), members) }).await.expect("answered");
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    let expected = r#"{"consumerTable":{"good":{{"brokerName":"b","queueId":0,"topic":"t"}:7}}}"#;
    assert_eq!(String::from_utf8_lossy(&answer.body), expected);
    assert!(answer.remark.is_some_and(|remark| remark.starts_with("gone: ")));

    let members = async {
        asked(&mut good).await;
        drop(good);
    };
    let (answer, ()) = tokio::time::timeout(WITHIN, async { tokio::join!(status(), members) }).await.expect("answered");
    assert_eq!(answer.response_code(), ResponseCode::SystemError, "nobody said anything: {answer:?}");
    served.end().await;
}

/// A name server that counts who asks for routes, and knows one of two queues or fails.
struct Names {
    asked: AtomicU64,
    knows: bool,
}

impl Role for Names {
    fn connect(&self, _: &Arc<Connection>) {}

    async fn serve(&self, _: &Connection, request: Command) -> Command {
        if request.request_code() != RequestCode::GetRouteInfoByTopic {
            return request.answer(ResponseCode::Success);
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        if !self.knows {
            return request.answer(ResponseCode::SystemError);
        }
        let queues = QueueData {
            broker_name: "elsewhere".to_owned(),
            perm: Permission::READ_WRITE,
            read_queue_nums: 2,
            write_queue_nums: 2,
            topic_sys_flag: 0,
        };
        let route = TopicRouteData { queue_datas: vec![queues], ..TopicRouteData::default() };
        Command { body: body(&route), ..request.answer(ResponseCode::Success) }
    }

    fn disconnect(&self, _: &Connection) {}
}

#[tokio::test]
async fn the_name_server_that_answered_last_is_asked_first() {
    let (mut roles, mut addresses, mut servers) = (Vec::new(), Vec::new(), Vec::new());
    for knows in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        addresses.push(listener.local_addr().expect("bound").to_string());
        let role = Arc::new(Names { asked: AtomicU64::new(0), knows });
        let server = Server::new(role.clone(), remoting::Options::default(), None, Env::real().clock);
        servers.push(tokio::spawn(server.serve(listener, CancellationToken::new())));
        roles.push(role);
    }
    let served = served(addresses).await;
    let mut client = Raw::connect(served.address).await;
    client.call(&heartbeat("one")).await;
    let asked = QueryAssignment {
        topic: "t".to_owned(),
        consumer_group: "g".to_owned(),
        client_id: "one".to_owned(),
        strategy_name: "AVG".to_owned(),
        message_model: "CLUSTERING".to_owned(),
    };
    for _ in 0..3 {
        let answer = served.call(RequestCode::QueryAssignment, Fields::default(), body(&asked)).await;
        let queues: Assignments = from_slice(&answer.body).expect("queues");
        assert_eq!(queues.message_queue_assignments.map(|queues| queues.len()), Some(2));
    }
    let counts: Vec<u64> = roles.iter().map(|role| role.asked.load(Ordering::Relaxed)).collect();
    assert_eq!(counts, [1, 3]);
    served.end().await;
    servers.iter().for_each(tokio::task::JoinHandle::abort);
}
