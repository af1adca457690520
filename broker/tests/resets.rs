//! Where groups are told to go on while their consumers pull, over real sockets.

#![allow(clippy::disallowed_methods, reason = "sockets and threads of the real runtime, above the seams of env")]

#[path = "common/served.rs"]
mod served;

use remoting_proto::body::{ConsumerData, HeartbeatData};
use remoting_proto::requests::{ResetOffset, TopicName as Named, UpdateConsumerOffset};
use remoting_proto::{Command, Fields, RequestCode, ResponseCode};
use types::{Admin, Broker, GroupName, QueueId, QueueOffset, TopicConfig, TopicName, TopicType};

use served::{Served, pull, served};

const QUEUES: u32 = 100;

/// A broker with topic `t`, one message in its queue 1, and a consumer of group `g` that is there.
async fn with_consumer() -> Served {
    let served = served(Vec::new()).await;
    make_topic(&served).await;
    served.send("t", b"x").await;
    let consumer = ConsumerData { group_name: "g".to_owned(), ..ConsumerData::default() };
    let body =
        HeartbeatData { client_id: "c".to_owned(), consumer_data_set: vec![consumer], ..HeartbeatData::default() };
    let body = remoting_proto::to_vec(&body, remoting_proto::Dialect::Fastjson);
    let answer = served.call(RequestCode::HeartBeat, Fields::default(), body).await;
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    assert_eq!(commit(&served, 1).await, ResponseCode::Success);
    served
}

async fn make_topic(served: &Served) {
    let config = TopicConfig {
        name: topic(),
        read_queues: QUEUES,
        write_queues: QUEUES,
        is_readable: true,
        is_writable: true,
        topic_type: TopicType::Mixed,
        is_auto_created: false,
    };
    served.broker.put_topic(config, false).await.expect("made");
}

fn topic() -> TopicName {
    TopicName::new("t").expect("valid")
}

/// Lets the group begin at the first messages.
async fn reset(served: &Served) -> Command {
    let header = ResetOffset {
        topic: "t".to_owned(),
        group: "g".to_owned(),
        timestamp: 0,
        is_force: Some(true),
        queue_id: None,
        offset: None,
    };
    served.call(RequestCode::InvokeBrokerToResetOffset, header.to_fields(), "").await
}

async fn commit(served: &Served, commit_offset: i64) -> ResponseCode {
    let header = UpdateConsumerOffset {
        consumer_group: "g".to_owned(),
        topic: "t".to_owned(),
        queue_id: 1,
        commit_offset,
        broker_name: None,
    };
    served.call(RequestCode::UpdateConsumerOffset, header.to_fields(), "").await.response_code()
}

/// Its consumer does not know of it yet and commits where it was, again and again.
#[tokio::test]
async fn no_commit_undoes_a_reset_that_is_under_way() {
    let served = with_consumer().await;
    let mut commits = 0;
    let answer = {
        let resetting = reset(&served);
        tokio::pin!(resetting);
        loop {
            tokio::select! {
                answer = &mut resetting => break answer,
                code = commit(&served, 1) => assert_eq!(code, ResponseCode::Success),
            }
            commits += 1;
        }
    };
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    assert!(commits > 0, "none came while the reset was under way");
    assert_eq!(commit(&served, 1).await, ResponseCode::Success);
    let group = GroupName::new("g").expect("valid");
    assert_eq!(served.broker.committed_offset(&group, &topic(), QueueId(1)).await, Ok(Some(QueueOffset(0))));
    served.end().await;
}

#[tokio::test]
async fn a_new_topic_of_the_same_name_knows_no_reset_of_the_old_one() {
    let served = with_consumer().await;
    assert_eq!(reset(&served).await.response_code(), ResponseCode::Success);
    let named = Named { topic: "t".to_owned() };
    let deleted = served.call(RequestCode::DeleteTopicInBroker, named.to_fields(), "").await;
    assert_eq!(deleted.response_code(), ResponseCode::Success);
    make_topic(&served).await;
    served.send("t", b"y").await;
    let answer = served.call(RequestCode::PullMessage, pull("t", 1, 1).to_fields(), "").await;
    assert_eq!(answer.response_code(), ResponseCode::Success, "{answer:?}");
    served.end().await;
}
