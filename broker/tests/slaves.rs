//! What Apache's slaves ask their master for, over real sockets.

#![allow(clippy::disallowed_methods, reason = "sockets of the real runtime, above the seams of env")]

use env::Env;
use remoting_proto::body::{ConsumerOffsets, DelayOffsets, HaStatus, TimerMetrics};
use remoting_proto::requests::{
    AckMessage, ExchangeBrokerHaInfoAnswer, OffsetAnswer, PopMessage, PopMessageAnswer, PullMessage, PullMessageAnswer,
    QueryConsumerOffset, SendMessage, UpdateConsumerOffset,
};
use remoting_proto::{Command, Fields, RequestCode, ResponseCode};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[path = "common/served.rs"]
mod served;

use served::{SLAVE_ID, SLOW_READER_BYTES, Served, WITHIN, message, pop, pull, served, served_slave};

/// Source: `MessageSysFlag.TRANSACTION_PREPARED_TYPE`.
const PREPARED: i64 = 4;
const HALVES: &str = "RMQ_SYS_TRANS_HALF_TOPIC@CID_RMQ_SYS_TRANS";
const OUTCOMES: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC@CID_RMQ_SYS_TRANS";

async fn ask(served: &Served, code: RequestCode) -> Command {
    let answer = served.call(code, Fields::default(), "").await;
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    answer
}

async fn body<T: DeserializeOwned>(served: &Served, code: RequestCode) -> T {
    remoting_proto::from_slice(&ask(served, code).await.body).expect("the body of this answer")
}

/// Where a group is on queue 1 of what a key names, or the broker's own on queue 0.
async fn offset(served: &Served, key: &str, queue: u32) -> Option<u64> {
    let told: ConsumerOffsets = body(served, RequestCode::GetAllConsumerOffset).await;
    told.offset_table.get(key).and_then(|queues| queues.get(&queue)).copied()
}

async fn send_with(served: &Served, topic: &str, properties: &str, sys_flag: i64) {
    let header = SendMessage { properties: Some(properties.to_owned()), sys_flag, ..message(topic) };
    let answer = served.call(RequestCode::SendMessageV2, header.to_fields(), "x").await;
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
}

/// A group has finished what is before this offset.
async fn commit(served: &Served, group: &str, commit_offset: i64) {
    let commit = UpdateConsumerOffset {
        consumer_group: group.to_owned(),
        topic: "t".to_owned(),
        queue_id: 1,
        commit_offset,
        broker_name: None,
    };
    let committed = served.call(RequestCode::UpdateConsumerOffset, commit.to_fields(), "").await;
    assert_eq!(committed.response_code(), ResponseCode::Success);
}

/// A slave that goes on from what it is told does something again, and leaves nothing out.
#[tokio::test]
async fn a_slave_is_told_the_first_that_is_not_finished() {
    let served = served(Vec::new()).await;
    let slave = tokio::spawn(follow(TcpStream::connect(served.slaves_at).await.expect("listens")));
    for body in [&b"a"[..], b"b", b"c"] {
        served.send("t", body).await;
    }
    commit(&served, "pulls", 2).await;
    assert_eq!(offset(&served, "t@pulls", 1).await, Some(2));

    pop_and_ack(&served, &[1]).await;
    assert_eq!(offset(&served, "t@pops", 1).await, Some(0), "the first is leased, and was acked only behind it");

    assert_eq!(offset(&served, HALVES, 0).await, Some(0));
    send_with(&served, "deals", "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}PG\u{2}", PREPARED).await;
    assert_eq!((offset(&served, HALVES, 0).await, offset(&served, OUTCOMES, 0).await), (Some(0), Some(0)));

    let due_ms = Env::real().clock.now().0 + 3_600_000;
    let before = check_point(&served).await;
    assert!(before[0] < due_ms && before[2] == 0, "nothing waits: {before:?}");
    send_with(&served, "late", &format!("TIMER_DELIVER_MS\u{1}{due_ms}\u{2}"), 0).await;
    let [read_to, _, wheel_offset, up_to, ..] = check_point(&served).await;
    assert!(read_to < due_ms && (wheel_offset, up_to) == (1, 1), "{read_to}");
    assert!(body::<DelayOffsets>(&served, RequestCode::GetAllDelayOffset).await.offset_table.is_empty());
    assert!(body::<TimerMetrics>(&served, RequestCode::GetTimerMetrics).await.timing_count.is_empty());

    let told = ask(&served, RequestCode::ExchangeBrokerHaInfo).await;
    let told = ExchangeBrokerHaInfoAnswer::of(&told.fields).expect("numbers");
    let expected = (Some(served.slaves_at.to_string()), Some(served.address.to_string()));
    assert_eq!((told.master_ha_address, told.master_address), expected);
    slave.abort();
    served.end().await;
}

/// Says of all that comes that it has it.
async fn follow(mut master: TcpStream) {
    let mut has_to = 0_u64;
    loop {
        master.write_all(&has_to.to_be_bytes()).await.expect("the master listens");
        let from = master.read_u64().await.expect("a position");
        let length = master.read_u32().await.expect("a length");
        let mut log = vec![0; length.try_into().expect("an address")];
        master.read_exact(&mut log).await.expect("the log comes");
        has_to = from + u64::from(length);
    }
}

/// Otherwise it could skip messages that get the same offsets from it.
#[tokio::test]
async fn a_slave_is_told_only_what_its_log_has() {
    let served = served(Vec::new()).await;
    let alone = served.call(RequestCode::GetAllConsumerOffset, Fields::default(), "").await;
    assert_eq!(alone.response_code(), ResponseCode::SystemBusy, "who asks may have no connection for the log yet");
    let mut slave = TcpStream::connect(served.slaves_at).await.expect("listens");
    slave.write_all(&0_u64.to_be_bytes()).await.expect("asks from the beginning");
    served.send("t", b"a").await;
    let mut header = [0; 12];
    slave.read_exact(&mut header).await.expect("the log comes");
    // Its second word lets it count.
    slave.write_all(&0_u64.to_be_bytes()).await.expect("says that it has nothing");
    for code in [RequestCode::GetAllConsumerOffset, RequestCode::GetAllDelayOffset, RequestCode::GetTimerCheckPoint] {
        let refused = served.call(code, Fields::default(), "").await;
        assert_eq!(refused.response_code(), ResponseCode::SystemBusy);
        assert!(refused.remark.is_some_and(|remark| remark.contains("does not have the log")));
    }
    drop(slave);
    served.end().await;
}

/// What a pull of queue 1 from an offset on is answered with, and at which broker its reader is to go on.
async fn pulled(served: &Served, header: PullMessage) -> (ResponseCode, i64) {
    let answer = served.call(RequestCode::PullMessage, header.to_fields(), "").await;
    let suggested = PullMessageAnswer::of(&answer.fields).expect("numbers").suggest_which_broker_id;
    (answer.response_code(), suggested)
}

fn one_from(offset: i64) -> PullMessage {
    PullMessage { max_msg_nums: 1, ..pull("t", 1, offset) }
}

/// Longer than what a reader may be behind.
const FAR: &[u8] = &[b'x'; SLOW_READER_BYTES as usize];

/// While it is there: who is sent to one that is gone or far behind reads nothing.
#[tokio::test]
async fn a_reader_far_behind_is_sent_to_a_slave() {
    use ResponseCode::Success;
    let served = served(Vec::new()).await;
    for _ in 0..3 {
        served.send("t", FAR).await;
    }
    let in_sync = async || body::<HaStatus>(&served, RequestCode::GetBrokerHaStatus).await.in_sync_slave_nums;
    assert_eq!(pulled(&served, one_from(0)).await, (Success, 0), "no slave is there");
    let slave = tokio::spawn(follow(TcpStream::connect(served.slaves_at).await.expect("listens")));
    tokio::time::timeout(WITHIN, async { while in_sync().await == 0 {} }).await.expect("the slave is known");
    assert_eq!(pulled(&served, one_from(0)).await, (Success, 1));
    assert_eq!(pulled(&served, one_from(2)).await, (Success, 0), "nothing is left to read");
    slave.abort();
    tokio::time::timeout(WITHIN, async { while in_sync().await > 0 {} }).await.expect("the slave is gone");
    assert_eq!(pulled(&served, one_from(0)).await, (Success, 0));
    served.end().await;
}

#[tokio::test]
async fn a_slave_keeps_a_reader_until_it_is_near() {
    let own = i64::try_from(SLAVE_ID).expect("small");
    let master = served(Vec::new()).await;
    let slave = served_slave(&master).await;
    for _ in 0..3 {
        master.send("t", FAR).await;
    }
    commit(&master, "g", 1).await;
    let end = master.broker.status().appended_to;
    let all_come = async {
        while slave.broker.status().appended_to < end {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(WITHIN, all_come).await.expect("the log comes");

    assert_eq!(pulled(&slave, one_from(0)).await, (ResponseCode::Success, own));
    let unwanted = PullMessage { subscription: Some("b".to_owned()), ..one_from(0) };
    assert_eq!(pulled(&slave, unwanted).await, (ResponseCode::PullRetryImmediately, own), "it passes over one");
    assert_eq!(pulled(&slave, one_from(2)).await, (ResponseCode::Success, 0));
    assert_eq!(pulled(&slave, one_from(3)).await, (ResponseCode::PullNotFound, 0));
    assert_eq!(pulled(&slave, one_from(9)).await, (ResponseCode::PullNotFound, 0), "the master may have it");
    assert_eq!(pulled(&master, one_from(9)).await, (ResponseCode::PullOffsetMoved, 0));
    let asked = QueryConsumerOffset {
        consumer_group: "g".to_owned(),
        topic: "t".to_owned(),
        queue_id: 1,
        set_zero_if_not_found: None,
        broker_name: None,
    };
    let told = slave.call(RequestCode::QueryConsumerOffset, asked.to_fields(), "").await;
    assert_eq!(OffsetAnswer::of(&told.fields).expect("a number").offset, Some(1));
    slave.end().await;
    master.end().await;
}

async fn check_point(served: &Served) -> [i64; 7] {
    let body = ask(served, RequestCode::GetTimerCheckPoint).await.body;
    let numbers = body.as_chunks::<8>().0.iter().map(|bytes| i64::from_be_bytes(*bytes));
    numbers.collect::<Vec<_>>().try_into().expect("seven numbers")
}

/// Leases all of queue 1 for a group and ends the leases of these.
async fn pop_and_ack(served: &Served, acked: &[i64]) {
    let pop = PopMessage {
        consumer_group: "pops".to_owned(),
        queue_id: 1,
        max_msg_nums: 32,
        born_time: Env::real().clock.now().0,
        ..pop("t")
    };
    let answer = served.call(RequestCode::PopMessage, pop.to_fields(), "").await;
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    let PopMessageAnswer { pop_time, invisible_time, revive_qid, .. } =
        PopMessageAnswer::of(&answer.fields).expect("a lease");
    for offset in acked {
        let header = AckMessage {
            consumer_group: "pops".to_owned(),
            topic: "t".to_owned(),
            queue_id: 1,
            extra_info: format!("0 {pop_time} {invisible_time} {revive_qid} 0 gantry-local 1 {offset}"),
            offset: *offset,
            broker_name: None,
        };
        let answer = served.call(RequestCode::AckMessage, header.to_fields(), "").await;
        assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    }
}
