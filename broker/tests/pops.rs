//! The pop protocol on a broker's Remoting port, as Apache's 5.x clients and proxies and ours speak it: handles are made of the answer
//! as they make them.

#![allow(clippy::disallowed_methods, reason = "sockets and threads of the real runtime, above the seams of env")]

use bytes::Bytes;
use env::Env;
use remoting::Client;
use remoting_proto::body::{BatchAck, BatchAcks, LockBatch, LockBatchAnswer, MessageQueue, SubscriptionGroupConfig};
use remoting_proto::extra_info::{message_offsets, start_offsets};
use remoting_proto::requests::{
    AckMessage, ChangeInvisibleTime, ChangeInvisibleTimeAnswer, ConsumerSendMsgBack, Notification, NotificationAnswer,
    PollingInfo, PollingInfoAnswer, PopMessage, PopMessageAnswer, SendMessage,
};
use remoting_proto::{Command, Dialect, Fields, RequestCode, ResponseCode};

#[path = "common/served.rs"]
mod served;

use served::{Served, WITHIN, message, served};

const MINUTE_MS: i64 = 60_000;

fn pop(topic: &str) -> PopMessage {
    PopMessage {
        max_msg_nums: 32,
        init_mode: 1,
        exp_type: Some("TAG".to_owned()),
        exp: Some("*".to_owned()),
        order: Some(false),
        ..served::pop(topic)
    }
}

/// A message as a client has it after a pop.
#[derive(Debug)]
struct Popped {
    body: String,
    topic: String,
    queue: i64,
    offset: i64,
    reconsume_times: u32,
    handle: String,
}

/// As `MQClientAPIImpl#processPopResponse` makes them.
fn popped(answer: &Command) -> Vec<Popped> {
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    let header = PopMessageAnswer::of(&answer.fields).expect("all that clients need");
    let PopMessageAnswer { pop_time, invisible_time, revive_qid, .. } = header;
    let starts = start_offsets(&header.start_offset_info.expect("told")).expect("read");
    let offsets = message_offsets(&header.msg_offset_info.expect("told")).expect("read");
    let mut rest = answer.body.clone();
    let mut all = Vec::new();
    while !rest.is_empty() {
        let bytes = u32::from_be_bytes(*rest.first_chunk().expect("a length")) as usize;
        let one = rest.split_to(bytes);
        let record = record::decode(&one).expect("a record");
        let (queue, offset) = (record.header.queue.0, record.header.queue_offset.0);
        let handle = record.property("POP_CK").map_or_else(
            || {
                let start = starts.iter().find(|start| (start.source, start.queue) == (0, queue)).expect("listed");
                let listed = offsets.iter().find(|of| (of.source, of.queue) == (0, queue)).expect("listed");
                assert!(listed.offsets.contains(&offset), "{listed:?}");
                format!("{} {pop_time} {invisible_time} {revive_qid} 0 gantry-local {queue} {offset}", start.offset)
            },
            str::to_owned,
        );
        all.push(Popped {
            body: String::from_utf8(record.body.to_vec()).expect("text"),
            topic: record.topic.to_owned(),
            queue: queue.into(),
            offset: offset.cast_signed(),
            reconsume_times: record.header.reconsume_times,
            handle,
        });
    }
    all
}

fn bodies(popped: &[Popped]) -> Vec<&str> {
    popped.iter().map(|one| one.body.as_str()).collect()
}

fn ack(of: &Popped) -> AckMessage {
    AckMessage {
        consumer_group: "g".to_owned(),
        topic: of.topic.clone(),
        queue_id: of.queue,
        extra_info: of.handle.clone(),
        offset: of.offset,
        broker_name: None,
    }
}

fn change(of: &Popped, invisible_time: i64) -> ChangeInvisibleTime {
    ChangeInvisibleTime {
        consumer_group: "g".to_owned(),
        topic: of.topic.clone(),
        queue_id: of.queue,
        extra_info: of.handle.clone(),
        offset: of.offset,
        invisible_time,
        suspend: None,
        broker_name: None,
    }
}

fn notification(topic: &str, poll_time: i64) -> Notification {
    Notification {
        consumer_group: "g".to_owned(),
        topic: topic.to_owned(),
        queue_id: -1,
        poll_time,
        born_time: 0,
        order: Some(false),
        attempt_id: None,
        exp_type: None,
        exp: None,
        broker_name: None,
    }
}

impl Served {
    async fn pop(&self, header: PopMessage) -> Command {
        self.call(RequestCode::PopMessage, header.to_fields(), "").await
    }

    /// How many pops of the group wait for the topic's first queue.
    async fn waiting(&self) -> i64 {
        let header = PollingInfo { consumer_group: "g".to_owned(), topic: "t".to_owned(), queue_id: 0 };
        let answer = self.call(RequestCode::PollingInfo, header.to_fields(), "").await;
        PollingInfoAnswer::of(&answer.fields).expect("told").polling_num
    }

    async fn has_message(&self, header: Notification) -> bool {
        let answer = self.call(RequestCode::Notification, header.to_fields(), "").await;
        assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
        NotificationAnswer::of(&answer.fields).expect("read").has_msg.expect("told")
    }

    async fn send_tagged(&self, topic: &str, tag: &str, body: &'static [u8]) {
        let header = SendMessage { properties: Some(format!("TAGS\u{1}{tag}\u{2}")), ..message(topic) };
        let answer = self.call(RequestCode::SendMessageV2, header.to_fields(), body).await;
        assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    }
}

#[tokio::test]
async fn what_one_process_pops_another_acks() {
    let served = served(Vec::new()).await;
    served.send("t", b"a").await;
    served.send("t", b"b").await;
    let leased = popped(&served.pop(pop("t")).await);
    assert_eq!(bodies(&leased), ["a", "b"]);
    let nothing = served.pop(pop("t")).await;
    assert_eq!(nothing.response_code(), ResponseCode::PollingTimeout);
    assert_eq!(PopMessageAnswer::of(&nothing.fields).expect("all that clients need").rest_num, 0);

    let other = Client::new(served.address.to_string(), Env::real().clock);
    let acked = async |of: &Popped| {
        let request = Command::request(RequestCode::AckMessage, ack(of).to_fields(), Bytes::new());
        other.call(request, WITHIN).await.expect("answered").response_code()
    };
    assert_eq!(acked(&leased[0]).await, ResponseCode::Success);
    // Its answer was lost, and the client repeats it; what was never popped is another matter.
    assert_eq!(acked(&leased[0]).await, ResponseCode::Success);
    let never = Popped {
        offset: 99,
        body: String::new(),
        topic: "t".to_owned(),
        handle: leased[0].handle.clone(),
        ..leased[0]
    };
    assert_eq!(acked(&never).await, ResponseCode::NoMessage);
    // The message's offset may be said beside the handle only.
    let (handle, _) = leased[1].handle.rsplit_once(' ').expect("eight fields");
    let short = AckMessage { extra_info: handle.to_owned(), ..ack(&leased[1]) };
    let answer = served.call(RequestCode::AckMessage, short.to_fields(), "").await;
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    served.end().await;
}

#[tokio::test]
async fn a_failed_message_comes_again_counted_and_keeps_its_handle() {
    let served = served(Vec::new()).await;
    served.send("t", b"a").await;
    let first = popped(&served.pop(pop("t")).await);
    let again = served.call(RequestCode::ChangeMessageInvisibleTime, change(&first[0], 0).to_fields(), "").await;
    assert_eq!(again.response_code(), ResponseCode::Success, "{again:?}");
    assert_eq!(ChangeInvisibleTimeAnswer::of(&again.fields).expect("all that clients need").invisible_time, 0);
    let second = popped(&served.pop(PopMessage { poll_time: MINUTE_MS, ..pop("t") }).await);
    assert_eq!((bodies(&second), second[0].reconsume_times), (vec!["a"], 1));
    // The message was delivered again since: the first handle is not good any more.
    let old = served.call(RequestCode::AckMessage, ack(&first[0]).to_fields(), "").await;
    assert_eq!(old.response_code(), ResponseCode::NoMessage, "{old:?}");

    // Put off for long, it waits in the group's retry topic: the handle of before and the one that is told are good.
    let later = served.call(RequestCode::ChangeMessageInvisibleTime, change(&second[0], 5 * MINUTE_MS).to_fields(), "");
    assert_eq!(later.await.response_code(), ResponseCode::Success);
    let now = served.call(RequestCode::ChangeMessageInvisibleTime, change(&second[0], 0).to_fields(), "").await;
    assert_eq!(now.response_code(), ResponseCode::Success, "{now:?}");
    let third = popped(&served.pop(PopMessage { poll_time: MINUTE_MS, ..pop("t") }).await);
    assert_eq!((bodies(&third), third[0].topic.as_str(), third[0].reconsume_times), (vec!["a"], "t", 2));
    let source = third[0].handle.split(' ').nth(4);
    assert_eq!(source, Some("1"), "from the retry topic: {third:?}");
    let acked = AckMessage { topic: "%RETRY%g_t".to_owned(), ..ack(&third[0]) };
    let acked = served.call(RequestCode::AckMessage, acked.to_fields(), "").await;
    assert_eq!(acked.response_code(), ResponseCode::Success, "{acked:?}");
    assert!(!served.has_message(notification("t", 0)).await);
    served.end().await;
}

#[tokio::test]
async fn a_popped_message_is_forwarded_once_however_often_that_is_asked() {
    let served = served(Vec::new()).await;
    let sent = served.send("t", b"bad").await;
    let (_, position) = record::parse_offset_message_id(&sent.msg_id).expect("an address");
    let leased = popped(&served.pop(pop("t")).await);
    let forward = ConsumerSendMsgBack {
        offset: position.0.cast_signed(),
        group: "g".to_owned(),
        delay_level: -1,
        origin_msg_id: None,
        origin_topic: Some("t".to_owned()),
        unit_mode: Some(false),
        max_reconsume_times: Some(0),
    };
    // As Apache's proxies do it, and once more because an answer was lost; then all of it again.
    for _ in 0..2 {
        for _ in 0..2 {
            let answer = served.call(RequestCode::ConsumerSendMsgBack, forward.to_fields(), "").await;
            assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
        }
        let answer = served.call(RequestCode::AckMessage, ack(&leased[0]).to_fields(), "").await;
        assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    }
    let dead = PopMessage { consumer_group: "undertaker".to_owned(), init_mode: 0, ..pop("%DLQ%g") };
    assert_eq!(bodies(&popped(&served.pop(dead).await)), ["bad"]);
    // The lease ended with it, without the ack.
    assert!(!served.has_message(notification("t", 0)).await);
    served.end().await;
}

#[tokio::test]
async fn many_leases_end_at_once() {
    let served = served(Vec::new()).await;
    for body in [&b"a"[..], b"b", b"c"] {
        served.send("t", body).await;
    }
    let leased = popped(&served.pop(pop("t")).await);
    let fields: Vec<_> = leased[0].handle.split(' ').collect();
    let one = BatchAck {
        consumer_group: "g".to_owned(),
        topic: "t".to_owned(),
        source: "0".to_owned(),
        start_offset: 0,
        queue_id: 1,
        revive_queue_id: 0,
        pop_time: fields[1].parse().expect("a time"),
        invisible_time: MINUTE_MS,
        bits: String::new(),
    };
    let ended = async |acks| {
        let body =
            remoting_proto::to_vec(&BatchAcks { broker_name: "gantry-local".to_owned(), acks }, Dialect::Standard);
        served.call(RequestCode::BatchAckMessage, Fields::default(), body).await.response_code()
    };
    // Those that are not there are passed over.
    assert_eq!(ended(vec![one.clone().with_distances([0, 2, 9])]).await, ResponseCode::Success);
    assert_eq!(ended(vec![]).await, ResponseCode::NoMessage);
    assert_eq!(ended(vec![one.with_distances((0..4097).collect::<Vec<_>>())]).await, ResponseCode::InvalidParameter);
    let left = served.call(RequestCode::ChangeMessageInvisibleTime, change(&leased[1], 0).to_fields(), "").await;
    assert_eq!(left.response_code(), ResponseCode::Success);
    let again = popped(&served.pop(PopMessage { poll_time: MINUTE_MS, ..pop("t") }).await);
    assert_eq!(bodies(&again), ["b"]);
    served.end().await;
}

#[tokio::test]
async fn who_waits_is_told_and_only_a_pop_leases() {
    let served = served(Vec::new()).await;
    served.send("t", b"a").await;
    assert!(served.has_message(notification("t", 0)).await);
    assert_eq!(bodies(&popped(&served.pop(pop("t")).await)), ["a"]);
    assert!(!served.has_message(notification("t", 1)).await);

    let (is_there, _) = tokio::join!(served.has_message(notification("t", MINUTE_MS)), served.send("t", b"b"));
    assert!(is_there);
    assert!(served.has_message(notification("t", 0)).await, "nothing was leased");
    assert_eq!(bodies(&popped(&served.pop(pop("t")).await)), ["b"]);

    let waits = PopMessage { poll_time: MINUTE_MS, ..pop("t") };
    let (answer, _) = tokio::join!(served.pop(waits.clone()), served.send("t", b"c"));
    assert_eq!(bodies(&popped(&answer)), ["c"]);
    // A stop does not wait for who waits.
    let request = Command::request(RequestCode::PopMessage, waits.to_fields(), Bytes::new());
    let client = served.client.clone();
    let waiting = tokio::spawn(async move { client.call(request, WITHIN).await });
    served.end().await;
    if let Ok(answer) = waiting.await.expect("ends") {
        assert_eq!(answer.response_code(), ResponseCode::PollingTimeout);
    }
}

#[tokio::test]
async fn a_group_with_locks_on_queues_does_not_pop_and_one_with_leases_gets_no_locks() {
    let served = served(Vec::new()).await;
    served.send("t", b"a").await;
    let queue = MessageQueue { broker_name: "gantry-local".to_owned(), queue_id: 1, topic: "t".to_owned() };
    let lock = LockBatch {
        client_id: "c".to_owned(),
        consumer_group: "g".to_owned(),
        mq_set: vec![queue.clone()],
        only_this_broker: false,
    };
    let lock = remoting_proto::to_vec(&lock, Dialect::Fastjson);
    let locked = async || {
        let answer = served.call(RequestCode::LockBatchMq, Fields::default(), lock.clone()).await;
        assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
        remoting_proto::from_slice::<LockBatchAnswer>(&answer.body).expect("read").lock_ok_mq_set
    };
    let refused = |answer: Command| {
        let remark = answer.remark.clone().unwrap_or_default();
        assert_eq!(answer.response_code(), ResponseCode::NoPermission, "{answer:?}");
        assert!(remark.contains("group g") && remark.contains("topic t"), "{remark}");
    };
    // It waits before there are locks, and gets nothing once there are.
    let waits = PopMessage { consumer_group: "g".to_owned(), poll_time: MINUTE_MS, queue_id: 0, ..pop("t") };
    let (waited, ()) = tokio::join!(served.pop(waits), async {
        while served.waiting().await == 0 {}
        assert_eq!(locked().await, std::slice::from_ref(&queue));
        let header = SendMessage { queue_id: 0, ..message("t") };
        served.call(RequestCode::SendMessageV2, header.to_fields(), "b").await;
    });
    refused(waited);
    refused(served.pop(pop("t")).await);
    let answer = served.call(RequestCode::Notification, notification("t", 0).to_fields(), "").await;
    refused(answer);
    let other = popped(&served.pop(PopMessage { consumer_group: "h".to_owned(), ..pop("t") }).await);
    assert_eq!(other.len(), 2, "another group pops");

    served.call(RequestCode::UnlockBatchMq, Fields::default(), lock.clone()).await;
    let leased = popped(&served.pop(pop("t")).await);
    assert_eq!(leased.len(), 2);
    refused(served.call(RequestCode::LockBatchMq, Fields::default(), lock.clone()).await);
    for one in &leased {
        served.call(RequestCode::AckMessage, ack(one).to_fields(), "").await;
    }
    assert_eq!(locked().await, std::slice::from_ref(&queue));
    served.end().await;
}

#[tokio::test]
async fn ordered_pops_block_their_queue_and_an_attempt_can_be_repeated() {
    let served = served(Vec::new()).await;
    served.send("t", b"a").await;
    served.send("t", b"b").await;
    let ordered = |attempt: &str| PopMessage { order: Some(true), attempt_id: Some(attempt.to_owned()), ..pop("t") };
    let answer = served.pop(ordered("one")).await;
    let leased = popped(&answer);
    assert_eq!(bodies(&leased), ["a"]);
    let header = PopMessageAnswer::of(&answer.fields).expect("read");
    assert_eq!((header.revive_qid, header.order_count_info.as_deref()), (999, Some("0 1 0")));
    let looks = Notification { order: Some(true), ..notification("t", 0) };
    assert!(!served.has_message(looks).await);
    assert_eq!(served.pop(ordered("two")).await.response_code(), ResponseCode::PollingTimeout);
    // Its answer was lost, and it asks again through another proxy.
    let other = Client::new(served.address.to_string(), Env::real().clock);
    let request = Command::request(RequestCode::PopMessage, ordered("one").to_fields(), Bytes::new());
    let repeated = popped(&other.call(request, WITHIN).await.expect("answered"));
    assert_eq!((bodies(&repeated), repeated[0].reconsume_times), (vec!["a"], 0));
    for of in [leased, repeated] {
        let answer = served.call(RequestCode::AckMessage, ack(&of[0]).to_fields(), "").await;
        // Both handles are good, one message is there.
        assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    }
    assert_eq!(bodies(&popped(&served.pop(ordered("two")).await)), ["b"]);
    served.end().await;
}

#[tokio::test]
async fn only_what_is_wanted_is_popped() {
    let served = served(Vec::new()).await;
    served.send_tagged("t", "x", b"x").await;
    served.send_tagged("t", "y", b"y").await;
    let of = |exp_type: &str, exp: &str| PopMessage {
        exp_type: Some(exp_type.to_owned()),
        exp: Some(exp.to_owned()),
        ..pop("t")
    };
    assert_eq!(bodies(&popped(&served.pop(of("SQL92", "TAGS = 'y'")).await)), ["y"]);
    let broken = served.pop(of("SQL92", "TAGS =")).await;
    assert_eq!(broken.response_code(), ResponseCode::SubscriptionParseFailed);
    served.end().await;
}

#[tokio::test]
async fn pops_that_make_no_sense_are_refused_by_name() {
    let served = served(Vec::new()).await;
    served.send("t", b"a").await;
    let refused = async |header: PopMessage| {
        let answer = served.pop(header).await;
        (answer.response_code(), answer.remark.unwrap_or_default())
    };
    let (code, remark) = refused(PopMessage { max_msg_nums: 33, ..pop("t") }).await;
    assert_eq!((code, remark.as_str()), (ResponseCode::InvalidParameter, "maxMsgNums is 33, expected 1 to 32"));
    let (code, remark) = refused(PopMessage { invisible_time: -1, ..pop("t") }).await;
    assert_eq!((code, remark.as_str()), (ResponseCode::InvalidParameter, "invisibleTime is -1 ms, expected 0 or more"));
    assert_eq!(refused(PopMessage { queue_id: 99, ..pop("t") }).await.0, ResponseCode::InvalidParameter);
    assert_eq!(refused(pop("missing")).await.0, ResponseCode::TopicNotExist);
    let (code, remark) = refused(PopMessage { born_time: 1, poll_time: 2, ..pop("t") }).await;
    assert!(code == ResponseCode::PollingTimeout && remark.contains("too late"), "{remark}");
    let disabled = SubscriptionGroupConfig {
        group_name: "g".to_owned(),
        consume_enable: false,
        ..SubscriptionGroupConfig::default()
    };
    let body = remoting_proto::to_vec(&disabled, Dialect::Standard);
    let put = served.call(RequestCode::UpdateAndCreateSubscriptionGroup, Fields::default(), body).await;
    assert_eq!(put.response_code(), ResponseCode::Success, "{put:?}");
    assert_eq!(refused(pop("t")).await.0, ResponseCode::NoPermission);
    let answer = served.call(RequestCode::Notification, notification("t", 0).to_fields(), "").await;
    assert_eq!(answer.response_code(), ResponseCode::NoPermission);
    let handle = AckMessage {
        consumer_group: "g".to_owned(),
        topic: "t".to_owned(),
        queue_id: 0,
        extra_info: "no handle".to_owned(),
        offset: 0,
        broker_name: None,
    };
    let answer = served.call(RequestCode::AckMessage, handle.to_fields(), "").await;
    assert_eq!(answer.response_code(), ResponseCode::SystemError);
    served.end().await;
}

#[tokio::test]
async fn who_went_away_while_it_waited_leases_nothing() {
    let served = served(Vec::new()).await;
    served.send("t", b"a").await;
    assert_eq!(bodies(&popped(&served.pop(pop("t")).await)), ["a"]);
    let gone = Client::new(served.address.to_string(), Env::real().clock);
    let waits = PopMessage { poll_time: MINUTE_MS, ..pop("t") };
    let request = Command::request(RequestCode::PopMessage, waits.to_fields(), Bytes::new());
    let waiting = async {
        while served.broker.status().waiting == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = gone.call(request, WITHIN) => panic!("there is nothing to answer with: {answer:?}"),
        () = waiting => {}
    }
    drop(gone);
    served.send("t", b"b").await;
    let again = popped(&served.pop(waits).await);
    assert_eq!(bodies(&again), ["b"]);
    served.end().await;
}
