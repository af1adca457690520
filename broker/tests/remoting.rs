//! The Remoting port of a broker over real sockets: what 4.x clients send and get, and what name servers are told.

#![allow(clippy::disallowed_methods, reason = "sockets and threads of the real runtime, above the seams of env")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use env::clock::{BoxFuture, Moment};
use env::{Clock, Env};
use remoting::{Connection, Role, Server};
use remoting_proto::body::{
    ConsumerData, ConsumerIdList, HeartbeatData, LockBatch, MessageQueue, ProducerData, RegisterBroker,
    SubscriptionData,
};
use remoting_proto::requests::{
    ConsumerGroup, ConsumerSendMsgBack, DeleteSubscriptionGroup, OffsetAnswer, ProducerGroup, PullMessage,
    PullMessageAnswer, QueryConsumerOffset, ResetOffset, SearchOffset, SendMessage, SendMessageAnswer,
    TopicName as TopicNamed, TopicQueue, UpdateAndCreateTopic, UpdateConsumerOffset,
};
use remoting_proto::{Command, Fields, RequestCode, ResponseCode};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use types::{Admin as _, TopicConfig, TopicName, TopicType};

#[path = "common/served.rs"]
mod served;

use served::{Raw, WITHIN, heartbeat, message, pull, served, served_at};

fn committed(topic: &str, set_zero_if_not_found: Option<bool>) -> QueryConsumerOffset {
    QueryConsumerOffset {
        consumer_group: "g".to_owned(),
        topic: topic.to_owned(),
        queue_id: 1,
        set_zero_if_not_found,
        broker_name: None,
    }
}

fn commit(topic: &str, commit_offset: i64) -> UpdateConsumerOffset {
    UpdateConsumerOffset {
        consumer_group: "g".to_owned(),
        topic: topic.to_owned(),
        queue_id: 1,
        commit_offset,
        broker_name: None,
    }
}

fn next_offset(answer: &Command) -> i64 {
    PullMessageAnswer::of(&answer.fields).expect("all that clients need").next_begin_offset
}

#[tokio::test]
async fn what_is_sent_is_pulled_and_who_waits_is_answered_by_the_next() {
    let served = served(Vec::new()).await;
    let sent = served.send("t", b"first").await;
    assert_eq!((sent.queue_id, sent.queue_offset, sent.msg_id.len()), (1, 0, 32));

    let answer = served.call(RequestCode::PullMessage, pull("t", 1, 0).to_fields(), "").await;
    assert_eq!((answer.response_code(), next_offset(&answer)), (ResponseCode::Success, 1));
    let record = record::decode(&answer.body).expect("a record");
    assert_eq!((record.body, record.topic, record.header.flag), (&b"first"[..], "t", 7));
    assert!(record.property("UNIQ_KEY").is_some() && record.property("KEYS") == Some("k"));
    // Without them consumers of 5.5 tell no trace.
    assert_eq!((record.property("MSG_REGION"), record.property("TRACE_ON")), (Some("DefaultRegion"), Some("true")));

    let answer = served.call(RequestCode::PullMessage, pull("t", 1, 1).to_fields(), "").await;
    assert_eq!((answer.response_code(), next_offset(&answer)), (ResponseCode::PullNotFound, 1));
    let answer = served.call(RequestCode::PullMessage, pull("t", 1, 9).to_fields(), "").await;
    assert_eq!((answer.response_code(), next_offset(&answer)), (ResponseCode::PullOffsetMoved, 1));
    let other = PullMessage { subscription: Some("b".to_owned()), ..pull("t", 1, 0) };
    let answer = served.call(RequestCode::PullMessage, other.to_fields(), "").await;
    assert_eq!((answer.response_code(), next_offset(&answer)), (ResponseCode::PullRetryImmediately, 1));

    let waits = PullMessage {
        sys_flag: PullMessage::SUBSCRIPTION | PullMessage::SUSPEND,
        suspend_timeout_millis: 50_000,
        ..pull("t", 1, 1)
    };
    let (answer, _) =
        tokio::join!(served.call(RequestCode::PullMessage, waits.to_fields(), ""), served.send("t", b"second"));
    assert_eq!((answer.response_code(), next_offset(&answer)), (ResponseCode::Success, 2));

    // A stop does not wait for who waits.
    let waits = PullMessage { queue_offset: 2, ..waits };
    let request = Command::request(RequestCode::PullMessage, waits.to_fields(), Bytes::new());
    let client = served.client.clone();
    let waiting = tokio::spawn(async move { client.call(request, WITHIN).await });
    served.end().await;
    // It was answered, or not read any more.
    if let Ok(answer) = waiting.await.expect("ends") {
        assert_eq!(answer.response_code(), ResponseCode::PullNotFound);
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let served = served(Vec::new()).await;
    let refused = async |code, fields: Fields| {
        let answer = served.call(code, fields, "x").await;
        (answer.response_code(), answer.remark.unwrap_or_default())
    };
    let (code, remark) = refused(RequestCode::Unknown(4711), Fields::default()).await;
    assert_eq!((code, remark.as_str()), (ResponseCode::RequestCodeNotSupported, " request type 4711 not supported"));
    let (code, remark) = refused(RequestCode::SendMessageV2, Fields::default()).await;
    assert_eq!((code, remark.as_str()), (ResponseCode::SystemError, "the field a is missing"));
    let system = refused(RequestCode::SendMessageV2, message("rmq_sys_x").to_fields()).await;
    assert!(system.0 == ResponseCode::NoPermission && system.1.contains("rmq_sys_x"), "{system:?}");
    let no_topic = SendMessage { default_topic: None, ..message("missing") };
    assert_eq!(refused(RequestCode::SendMessageV2, no_topic.to_fields()).await.0, ResponseCode::TopicNotExist);
    let far = SendMessage { queue_id: 99, ..message("t") };
    assert_eq!(refused(RequestCode::SendMessageV2, far.to_fields()).await.0, ResponseCode::InvalidParameter);
    let often = SendMessage { reconsume_times: Some(i64::from(i32::MAX) + 1), ..message("t") };
    let (code, remark) = refused(RequestCode::SendMessageV2, often.to_fields()).await;
    assert_eq!(code, ResponseCode::InvalidParameter);
    assert_eq!(remark, "reconsumeTimes is 2147483648, at most 2147483647 allowed");
    let sql = PullMessage {
        expression_type: Some("SQL92".to_owned()),
        subscription: Some("a >".to_owned()),
        ..pull("t", 0, 0)
    };
    assert_eq!(refused(RequestCode::PullMessage, sql.to_fields()).await.0, ResponseCode::SubscriptionParseFailed);
    let unsaid = PullMessage { sys_flag: 0, ..pull("t", 0, 0) };
    assert_eq!(refused(RequestCode::PullMessage, unsaid.to_fields()).await.0, ResponseCode::SubscriptionNotExist);
    served.end().await;
}

#[tokio::test]
async fn reads_make_no_topic_and_bring_none_back() {
    let served = served(Vec::new()).await;
    served.send("deleted", b"x").await;
    let named = |topic: &str| TopicNamed { topic: topic.to_owned() }.to_fields();
    let deleted = served.call(RequestCode::DeleteTopicInBroker, named("deleted"), "").await;
    assert_eq!(deleted.response_code(), ResponseCode::Success, "{deleted:?}");
    for topic in ["deleted", "missing"] {
        let queue = TopicQueue { topic: topic.to_owned(), queue_id: 0, broker_name: None };
        let at =
            SearchOffset { topic: topic.to_owned(), queue_id: 0, timestamp: 0, boundary_type: None, broker_name: None };
        for (code, fields) in [
            (RequestCode::PullMessage, pull(topic, 0, 0).to_fields()),
            (RequestCode::LitePullMessage, pull(topic, 0, 0).to_fields()),
            (RequestCode::QueryConsumerOffset, committed(topic, None).to_fields()),
            (RequestCode::UpdateConsumerOffset, commit(topic, 0).to_fields()),
            (RequestCode::GetMaxOffset, queue.to_fields()),
            (RequestCode::GetMinOffset, queue.to_fields()),
            (RequestCode::GetEarliestMsgStoreTime, queue.to_fields()),
            (RequestCode::SearchOffsetByTimestamp, at.to_fields()),
            (RequestCode::GetTopicConfig, named(topic)),
        ] {
            let answer = served.call(code, fields, "").await;
            assert_eq!(answer.response_code(), ResponseCode::TopicNotExist, "{code:?}: {answer:?}");
        }
    }
    served.end().await;
}

#[tokio::test]
async fn a_group_begins_at_the_first_message_and_goes_on_where_it_was() {
    let served = served(Vec::new()).await;
    served.send("t", b"x").await;
    let asked = async |set_zero_if_not_found| {
        let answer =
            served.call(RequestCode::QueryConsumerOffset, committed("t", set_zero_if_not_found).to_fields(), "").await;
        (answer.response_code(), OffsetAnswer::of(&answer.fields).expect("read").offset)
    };
    assert_eq!(asked(None).await, (ResponseCode::Success, Some(0)));
    assert_eq!(asked(Some(false)).await, (ResponseCode::QueryNotFound, None));
    assert_eq!(served.call(RequestCode::UpdateConsumerOffset, commit("t", 1).to_fields(), "").await.code, 0);
    assert_eq!(asked(Some(false)).await, (ResponseCode::Success, Some(1)));
    let answer = served.call(RequestCode::UpdateConsumerOffset, commit("t", -1).to_fields(), "").await;
    assert_eq!(answer.response_code(), ResponseCode::InvalidParameter);
    assert_eq!(answer.remark.as_deref(), Some("offset to commit is -1, expected 0 or more"));
    served.send("t", b"y").await;
    for (commit_offset, is_at) in [(-1, 1), (0, 1), (2, 2), (1, 2)] {
        let sys_flag = PullMessage::SUBSCRIPTION | PullMessage::COMMIT_OFFSET;
        let pulled = PullMessage { sys_flag, commit_offset, ..pull("t", 1, 0) };
        assert_eq!(served.call(RequestCode::PullMessage, pulled.to_fields(), "").await.code, 0);
        assert_eq!(asked(Some(false)).await, (ResponseCode::Success, Some(is_at)), "{commit_offset}");
    }
    // The first message of a topic that was made again lies behind those that the one before had.
    types::Admin::delete_topic(&served.broker, &types::TopicName::new("t").expect("valid")).await.expect("deleted");
    served.send("t", b"z").await;
    assert_eq!(asked(None).await, (ResponseCode::Success, Some(2)));
    served.end().await;
}

#[tokio::test]
async fn a_group_is_deleted_only_with_its_offsets() {
    let served = served(Vec::new()).await;
    served.send("t", b"x").await;
    assert_eq!(served.call(RequestCode::UpdateConsumerOffset, commit("t", 1).to_fields(), "").await.code, 0);
    let deleted = async |clean_offset| {
        let header = DeleteSubscriptionGroup { group_name: "g".to_owned(), clean_offset };
        let answer = served.call(RequestCode::DeleteSubscriptionGroup, header.to_fields(), "").await;
        (answer.response_code(), answer.remark.unwrap_or_default())
    };
    let kept = async || {
        let query = committed("t", Some(false));
        served.call(RequestCode::QueryConsumerOffset, query.to_fields(), "").await.response_code()
    };
    for clean_offset in [None, Some(false)] {
        let (code, remark) = deleted(clean_offset).await;
        assert!(code == ResponseCode::InvalidParameter && remark.contains("cleanOffset must be true"), "{remark}");
        assert_eq!(kept().await, ResponseCode::Success);
    }
    assert_eq!(deleted(Some(true)).await.0, ResponseCode::Success);
    assert_eq!(kept().await, ResponseCode::QueryNotFound);
    served.end().await;
}

#[tokio::test]
async fn a_message_that_is_given_up_is_in_the_dead_letter_topic() {
    let served = served(Vec::new()).await;
    let sent = served.send("t", b"bad").await;
    let (_, position) = record_at(&sent.msg_id);
    let back = ConsumerSendMsgBack {
        offset: position,
        group: "g".to_owned(),
        delay_level: -1,
        origin_msg_id: None,
        origin_topic: None,
        unit_mode: None,
        max_reconsume_times: None,
    };
    let answer = served.call(RequestCode::ConsumerSendMsgBack, back.to_fields(), "").await;
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    let answer = served.call(RequestCode::PullMessage, pull("%DLQ%g", 0, 0).to_fields(), "").await;
    let record = record::decode(&answer.body).expect("a record");
    assert_eq!((record.body, record.header.reconsume_times), (&b"bad"[..], 1));
    assert_eq!(record.property("RETRY_TOPIC"), Some("t"));
    assert_eq!(record.property("ORIGIN_MESSAGE_ID"), Some(sent.msg_id.as_str()));
    let gone = ConsumerSendMsgBack { offset: position + 1, ..back };
    let answer = served.call(RequestCode::ConsumerSendMsgBack, gone.to_fields(), "").await;
    assert_eq!(answer.response_code(), ResponseCode::SystemError);
    // By these words clients and proxies know that there is nothing to ask for again.
    assert!(answer.remark.is_some_and(|remark| remark.starts_with("look message by offset failed")));
    served.end().await;
}

fn record_at(id: &str) -> (SocketAddr, i64) {
    let (host, position) = record::parse_offset_message_id(id).expect("an address");
    (host, position.0.cast_signed())
}

#[tokio::test]
async fn what_is_remembered_of_clients_is_bounded() {
    let served = served(Vec::new()).await;
    let refused = async |code, body: Vec<u8>| {
        let answer = served.call(code, Fields::default(), body).await;
        assert_eq!(answer.response_code(), ResponseCode::InvalidParameter, "{answer:?}");
        answer.remark.unwrap_or_default()
    };
    let json = |body: &HeartbeatData| remoting_proto::to_vec(body, remoting_proto::Dialect::Fastjson);
    let beat = |client: &str, producer: &str, topics: usize| {
        let subscription = |topic| SubscriptionData { topic: format!("t{topic}"), ..SubscriptionData::default() };
        let subscription_data_set = (0..topics).map(subscription).collect();
        json(&HeartbeatData {
            client_id: client.to_owned(),
            consumer_data_set: vec![ConsumerData {
                group_name: "g".to_owned(),
                subscription_data_set,
                ..ConsumerData::default()
            }],
            producer_data_set: vec![ProducerData { group_name: producer.to_owned() }],
            ..HeartbeatData::default()
        })
    };
    let long = "c".repeat(256);
    let remark = refused(RequestCode::HeartBeat, beat(&long, "p", 1)).await;
    assert_eq!(remark, "the client id has 256 bytes, at most 255 allowed");
    let remark = refused(RequestCode::HeartBeat, beat("c", "p", 4097)).await;
    assert_eq!(remark, "4097 subscriptions of group g, at most 4096 allowed");
    let lock = |client: &str, queues: i32| {
        let queue = |queue_id| MessageQueue { broker_name: String::new(), queue_id, topic: "t".to_owned() };
        let batch = LockBatch {
            client_id: client.to_owned(),
            consumer_group: "g".to_owned(),
            mq_set: (0..queues).map(queue).collect(),
            only_this_broker: false,
        };
        remoting_proto::to_vec(&batch, remoting_proto::Dialect::Fastjson)
    };
    assert_eq!(
        refused(RequestCode::LockBatchMq, lock("c", 4097)).await,
        "4097 queues to lock or unlock, at most 4096 allowed"
    );
    refused(RequestCode::LockBatchMq, lock(&long, 1)).await;
    let answer = served.call(RequestCode::LockBatchMq, Fields::default(), lock(&long[1..], 4096)).await;
    assert_eq!(answer.response_code(), ResponseCode::Success);
    let answer = served.call(RequestCode::HeartBeat, Fields::default(), beat(&long[1..], "p", 4096)).await;
    assert_eq!(answer.response_code(), ResponseCode::Success);
    served.end().await;
}

#[tokio::test]
async fn producer_groups_are_as_long_as_topics_and_bad_ones_are_left_out_alone() {
    let served = served(Vec::new()).await;
    let producers = ["a b".to_owned(), "p".repeat(127), "q".repeat(128)];
    let body = HeartbeatData {
        client_id: "c".to_owned(),
        producer_data_set: producers.iter().map(|name| ProducerData { group_name: name.clone() }).collect(),
        ..HeartbeatData::default()
    };
    let body = remoting_proto::to_vec(&body, remoting_proto::Dialect::Fastjson);
    let answer = served.call(RequestCode::HeartBeat, Fields::default(), body).await;
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    let mut known = Vec::new();
    for producer_group in producers {
        let header = ProducerGroup { producer_group };
        let answer = served.call(RequestCode::GetProducerConnectionList, header.to_fields(), "").await;
        known.push(answer.response_code() == ResponseCode::Success);
    }
    assert_eq!(known, [false, true, false]);
    served.end().await;
}

#[tokio::test]
async fn what_a_consumer_gives_up_itself_waits_for_no_retry() {
    let served = served(Vec::new()).await;
    let given_up = SendMessage {
        reconsume_times: Some(17),
        max_reconsume_times: Some(16),
        properties: Some("DELAY\u{1}18\u{2}TAGS\u{1}a".to_owned()),
        ..message("%RETRY%g")
    };
    let sent = served.call(RequestCode::SendMessageV2, given_up.to_fields(), "x").await;
    assert_eq!(sent.response_code(), ResponseCode::Success, "{sent:?}");
    let answer = served.call(RequestCode::PullMessage, pull("%DLQ%g", 0, 0).to_fields(), "").await;
    let record = record::decode(&answer.body).expect("a record");
    assert_eq!((record.body, record.property("DELAY"), record.property("TAGS")), (&b"x"[..], None, Some("a")));
    served.end().await;
}

#[tokio::test]
async fn retries_are_counted_to_the_end_of_their_32_bits() {
    let served = served(Vec::new()).await;
    let often = SendMessage { reconsume_times: Some(i32::MAX.into()), ..message("t") };
    let sent = served.call(RequestCode::SendMessageV2, often.to_fields(), "x").await;
    let (_, offset) = record_at(&SendMessageAnswer::of(&sent.fields).expect("all that clients need").msg_id);
    let back = ConsumerSendMsgBack {
        offset,
        group: "g".to_owned(),
        delay_level: 0,
        origin_msg_id: None,
        origin_topic: None,
        unit_mode: None,
        max_reconsume_times: None,
    };
    let answer = served.call(RequestCode::ConsumerSendMsgBack, back.to_fields(), "").await;
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    let answer = served.call(RequestCode::PullMessage, pull("%DLQ%g", 0, 0).to_fields(), "").await;
    let record = record::decode(&answer.body).expect("a record");
    assert_eq!(record.header.reconsume_times, i32::MAX.cast_unsigned());
    served.end().await;
}

#[tokio::test]
async fn members_of_a_group_are_told_of_each_other_on_their_own_connections() {
    let served = served(Vec::new()).await;
    let mut one = Raw(TcpStream::connect(served.address).await.expect("listens"));
    let (_, answer) = one.call(&heartbeat("one")).await;
    assert_eq!(answer.response_code(), ResponseCode::Success);
    let mut two = Raw(TcpStream::connect(served.address).await.expect("listens"));
    two.call(&heartbeat("two")).await;
    let list = ConsumerGroup { consumer_group: "g".to_owned() };
    let list = Command::request(RequestCode::GetConsumerListByGroup, list.to_fields(), Bytes::new());
    let members = |answer: &Command| -> Vec<String> {
        remoting_proto::from_slice::<ConsumerIdList>(&answer.body).expect("a list").consumer_id_list
    };
    let (asked, answer) = one.call(&list).await;
    assert_eq!(members(&answer), ["one", "two"]);
    // Of itself, and of the other: the notice stands before the answer to what was asked after it.
    assert!(asked.iter().all(|asked| asked.request_code() == RequestCode::NotifyConsumerIdsChanged));
    assert!(asked.iter().all(|asked| asked.flag.is_oneway()) && !asked.is_empty());
    drop(two);
    let told = one.hear().await;
    assert_eq!(told.request_code(), RequestCode::NotifyConsumerIdsChanged);
    let (_, answer) = one.call(&list).await;
    assert_eq!(members(&answer), ["one"]);
    served.end().await;
}

#[tokio::test]
async fn a_consumer_that_ends_while_its_pull_is_held_is_gone_at_once() {
    let served = served(Vec::new()).await;
    served.send("t", b"x").await;
    let mut one = Raw(TcpStream::connect(served.address).await.expect("listens"));
    one.call(&heartbeat("one")).await;
    let mut two = Raw(TcpStream::connect(served.address).await.expect("listens"));
    two.call(&heartbeat("two")).await;
    assert_eq!(one.hear().await.request_code(), RequestCode::NotifyConsumerIdsChanged);
    // Held for longer than the test waits.
    let held = PullMessage {
        sys_flag: PullMessage::SUBSCRIPTION | PullMessage::SUSPEND,
        suspend_timeout_millis: 300_000,
        ..pull("t", 1, 1)
    };
    two.say(&Command::request(RequestCode::PullMessage, held.to_fields(), Bytes::new())).await;
    two.0.shutdown().await.expect("open");
    let told = tokio::time::timeout(WITHIN, one.hear()).await.expect("told long before the pull is over");
    assert_eq!(told.request_code(), RequestCode::NotifyConsumerIdsChanged);
    assert_eq!(two.hear().await.response_code(), ResponseCode::PullNotFound);
    served.end().await;
}

/// A name server that hands on what it is told.
struct Told(mpsc::Sender<Command>);

impl Role for Told {
    fn connect(&self, _: &Arc<Connection>) {}

    async fn serve(&self, _: &Connection, request: Command) -> Command {
        self.0.send(request.clone()).await.expect("the test listens");
        request.answer(ResponseCode::Success)
    }

    fn disconnect(&self, _: &Connection) {}
}

#[tokio::test]
async fn name_servers_are_told_of_the_start_of_new_topics_and_of_the_end() {
    let (tell, mut told) = mpsc::channel(16);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let name_server = listener.local_addr().expect("bound").to_string();
    let stop = CancellationToken::new();
    let options = remoting::Options::default();
    let server = Server::new(Arc::new(Told(tell)), options, None, Env::real().clock);
    let names = tokio::spawn(server.serve(listener, stop.clone()));

    let served = served(vec![name_server]).await;
    let first = told.recv().await.expect("registers");
    let registered = RegisterBroker::decode(&first.body, first.version).expect("read");
    assert!(["C", "gantry-local", "TBW102"].iter().all(|name| registered.topics.contains_key(*name)));
    served.send("t", b"x").await;
    loop {
        let next = told.recv().await.expect("registers");
        let again = RegisterBroker::decode(&next.body, next.version).expect("read");
        assert_ne!(again.version, registered.version);
        if let Some(topic) = again.topics.get("t") {
            assert_eq!((topic.read_queue_nums, topic.perm.0), (2, 6));
            break;
        }
    }
    served.end().await;
    // What was under way may come before it.
    while told.recv().await.expect("leaves").request_code() != RequestCode::UnregisterBroker {}
    stop.cancel();
    names.await.expect("ends");
}

#[tokio::test]
async fn topics_of_which_no_frame_has_room_for_all_are_told_compressed() {
    const TOPICS: usize = 10_000;
    let (tell, mut told) = mpsc::channel(16);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let name_server = listener.local_addr().expect("bound").to_string();
    let stop = CancellationToken::new();
    let server = Server::new(Arc::new(Told(tell)), remoting::Options::default(), None, Env::real().clock);
    let names = tokio::spawn(server.serve(listener, stop.clone()));
    let served = served(vec![name_server]).await;
    for some in (0..TOPICS).collect::<Vec<_>>().chunks(500) {
        let mut made = tokio::task::JoinSet::new();
        for number in some {
            let topic = TopicConfig::new(TopicName::new(&format!("t{number}")).expect("valid"), 1, TopicType::Mixed);
            let broker = served.broker.clone();
            made.spawn(async move { broker.put_topic(topic, false).await });
        }
        assert!(made.join_all().await.iter().all(Result::is_ok), "all are made");
    }
    loop {
        let next = told.recv().await.expect("registers");
        if next.request_code() != RequestCode::RegisterBroker {
            continue;
        }
        let topics = RegisterBroker::decode(&next.body, next.version).expect("read").topics;
        assert_eq!(next.fields.get("compressed"), Some(if topics.len() > TOPICS { "true" } else { "false" }));
        // All of them, with the broker's own.
        if topics.contains_key("t9999") && topics.len() > TOPICS {
            break;
        }
    }
    served.end().await;
    while told.recv().await.expect("leaves").request_code() != RequestCode::UnregisterBroker {}
    stop.cancel();
    names.await.expect("ends");
}

#[tokio::test]
async fn who_makes_a_topic_is_answered_when_name_servers_know_it() {
    let (tell, mut told) = mpsc::channel(16);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let name_server = listener.local_addr().expect("bound").to_string();
    let server = Server::new(Arc::new(Told(tell)), remoting::Options::default(), None, Env::real().clock);
    let names = tokio::spawn(server.serve(listener, CancellationToken::new()));
    let served = served(vec![name_server]).await;
    // Apache's proxy asks for the route of what it has made at once, and does not start without it.
    told.recv().await.expect("registers");
    let made = UpdateAndCreateTopic {
        topic: "made".to_owned(),
        read_queue_nums: 1,
        write_queue_nums: 1,
        perm: 6,
        default_topic: None,
        topic_filter_type: None,
        topic_sys_flag: None,
        order: None,
        attributes: None,
    };
    let answer = served.call(RequestCode::UpdateAndCreateTopic, made.to_fields(), "").await;
    assert_eq!(answer.response_code(), ResponseCode::Success);
    let last = std::iter::from_fn(|| told.try_recv().ok()).last().expect("registered anew");
    let registered = RegisterBroker::decode(&last.body, last.version).expect("read");
    assert!(registered.topics.contains_key("made"), "{:?}", registered.topics.keys());
    served.end().await;
    names.abort();
}

/// A name server that never answers a registration.
struct Hung(mpsc::Sender<()>);

impl Role for Hung {
    fn connect(&self, _: &Arc<Connection>) {}

    async fn serve(&self, _: &Connection, request: Command) -> Command {
        if request.request_code() == RequestCode::RegisterBroker {
            self.0.send(()).await.expect("the test listens");
            std::future::pending::<()>().await;
        }
        request.answer(ResponseCode::Success)
    }

    fn disconnect(&self, _: &Connection) {}
}

/// A clock by which no time is ever over.
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> types::Timestamp {
        types::Timestamp(0)
    }

    fn moment(&self) -> Moment {
        Moment::default()
    }

    fn sleep(&self, _: Duration) -> BoxFuture<()> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_name_server_that_hangs_does_not_hold_up_the_end() {
    let (tell, mut told) = mpsc::channel(16);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let name_server = listener.local_addr().expect("bound").to_string();
    let server = Server::new(Arc::new(Hung(tell)), remoting::Options::default(), None, Env::real().clock);
    let names = tokio::spawn(server.serve(listener, CancellationToken::new()));
    let served = served_at(Env { clock: Arc::new(Stopped), ..Env::real() }, vec![name_server]).await;
    told.recv().await.expect("registers");
    tokio::time::timeout(WITHIN, served.end()).await.expect("ends though no time passes by its clock");
    names.abort();
}

#[tokio::test]
async fn a_batch_with_a_part_that_cannot_be_stored_is_not_stored_at_all() {
    let served = served(Vec::new()).await;
    served.send("t", b"before").await;
    let part = |properties: &str| {
        let (body, properties) = (b"part", properties.as_bytes());
        let bytes = 4 * 5 + body.len() + 2 + properties.len();
        let mut out = BytesMut::new();
        for number in [bytes, 0, 0, 0, body.len()] {
            out.extend_from_slice(&u32::try_from(number).expect("small").to_be_bytes());
        }
        out.extend_from_slice(body);
        out.extend_from_slice(&u16::try_from(properties.len()).expect("small").to_be_bytes());
        out.extend_from_slice(properties);
        out
    };
    let send = async |second: &str| {
        let body = [part("KEYS\u{1}a\u{2}"), part(second)].concat();
        let header = SendMessage { is_batch: Some(true), properties: None, ..message("t") };
        served.call(RequestCode::SendBatchMessage, header.to_fields(), body).await
    };
    let too_long = format!("k\u{1}{}\u{2}", "v".repeat(32_750));
    for refused in [too_long.as_str(), "GANTRY_IDEMPOTENCY_KEY\u{1}x\u{2}"] {
        assert_eq!(send(refused).await.response_code(), ResponseCode::MessageIllegal);
    }
    assert_eq!(send("KEYS\u{1}b\u{2}").await.response_code(), ResponseCode::Success);
    let all = PullMessage { subscription: Some("*".to_owned()), ..pull("t", 1, 0) };
    let answer = served.call(RequestCode::PullMessage, all.to_fields(), "").await;
    assert_eq!(next_offset(&answer), 3, "one message and one batch of two");
    served.end().await;
}

#[tokio::test]
async fn a_pull_is_cut_where_its_bytes_end_and_goes_on_there() {
    let served = served(Vec::new()).await;
    for body in [&b"a"[..], b"b", b"c"] {
        served.send("t", body).await;
    }
    let whole = served.call(RequestCode::PullMessage, pull("t", 1, 0).to_fields(), "").await;
    let one = i64::try_from(whole.body.len() / 3).expect("small");
    for (bytes, count) in [(1, 1), (one, 1), (2 * one, 2), (3 * one - 1, 2), (3 * one, 3)] {
        let few = PullMessage { max_msg_bytes: Some(bytes), ..pull("t", 1, 0) };
        let answer = served.call(RequestCode::PullMessage, few.to_fields(), "").await;
        assert_eq!((next_offset(&answer), answer.body.len()), (count, (one * count) as usize), "{bytes} bytes");
    }
    served.end().await;
}

fn reset(timestamp: i64) -> ResetOffset {
    ResetOffset {
        topic: "t".to_owned(),
        group: "g".to_owned(),
        timestamp,
        is_force: Some(true),
        queue_id: None,
        offset: None,
    }
}

#[tokio::test]
async fn a_reset_reaches_who_waits_in_a_pull_and_what_it_commits_meanwhile_does_not_count() {
    let served = served(Vec::new()).await;
    for body in [&b"a"[..], b"b"] {
        served.send("t", body).await;
    }
    let is_at = async |expected| {
        let answer = served.call(RequestCode::QueryConsumerOffset, committed("t", None).to_fields(), "").await;
        assert_eq!(OffsetAnswer::of(&answer.fields).expect("read").offset, Some(expected));
    };
    served.call(RequestCode::UpdateConsumerOffset, commit("t", 2).to_fields(), "").await;
    // Nobody is there to be told.
    let answer = served.call(RequestCode::InvokeBrokerToResetOffset, reset(0).to_fields(), "").await;
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    is_at(0).await;
    served.call(RequestCode::UpdateConsumerOffset, commit("t", 2).to_fields(), "").await;
    is_at(2).await;

    let mut old = Raw(TcpStream::connect(served.address).await.expect("listens"));
    old.call(&Command { version: 399, ..heartbeat("c") }).await;
    let waits = PullMessage {
        sys_flag: PullMessage::SUBSCRIPTION | PullMessage::SUSPEND,
        suspend_timeout_millis: 50_000,
        ..pull("t", 1, 2)
    };
    let resets = async {
        while served.broker.status().waiting == 0 {
            tokio::task::yield_now().await;
        }
        served.call(RequestCode::InvokeBrokerToResetOffset, reset(0).to_fields(), "").await
    };
    let (answer, told) = tokio::join!(served.call(RequestCode::PullMessage, waits.to_fields(), ""), resets);
    assert_eq!((answer.response_code(), next_offset(&answer)), (ResponseCode::PullOffsetMoved, 0));
    let table = String::from_utf8(told.body.to_vec()).expect("text");
    assert!(table.contains(r#"{"brokerName":"gantry-local","queueId":1,"topic":"t"}:0"#), "{table}");
    is_at(0).await;
    // The other queue's consumer was not told yet.
    let stale = UpdateConsumerOffset { queue_id: 0, ..commit("t", 7) };
    let ignored = served.call(RequestCode::UpdateConsumerOffset, stale.to_fields(), "").await;
    assert_eq!(ignored.response_code(), ResponseCode::Success);
    let other = QueryConsumerOffset { queue_id: 0, ..committed("t", None) };
    let answer = served.call(RequestCode::QueryConsumerOffset, other.to_fields(), "").await;
    assert_eq!(OffsetAnswer::of(&answer.fields).expect("read").offset, Some(0));
    // Consumers of 4.x are told themselves.
    let told = old.hear().await;
    assert_eq!(told.request_code(), RequestCode::ResetConsumerClientOffset);
    assert_eq!((told.fields.get("group"), told.fields.get("topic")), (Some("g"), Some("t")));
    served.end().await;
}
