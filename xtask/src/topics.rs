//! Topics and groups, made at a broker of ours or Apache's.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use remoting_proto::body::SubscriptionGroupConfig;
use remoting_proto::requests::{
    AUTO_CREATE_TOPIC, OffsetAnswer, QueryConsumerOffset, TopicQueue, UpdateAndCreateTopic,
};
use remoting_proto::{Dialect, Fields, RequestCode};

use crate::{reference, remoting};

/// Queues of a topic at each broker.
const QUEUES: i64 = 4;

/// Makes a topic, and a group of the same kind.
pub(crate) fn create(broker: SocketAddr, topic: &str, message_type: &str) -> Result<()> {
    create_with_permission(broker, topic, message_type, 6)?;
    create_group(broker, &format!("{topic}-group"), message_type == "FIFO")
}

/// Makes a topic with a permission (2 to write, 4 to read), or changes it.
pub(crate) fn create_with_permission(broker: SocketAddr, topic: &str, message_type: &str, perm: i64) -> Result<()> {
    let header = UpdateAndCreateTopic {
        topic: topic.to_owned(),
        read_queue_nums: QUEUES,
        write_queue_nums: QUEUES,
        perm,
        default_topic: Some(AUTO_CREATE_TOPIC.to_owned()),
        // Apache's brokers refuse a topic without it, and without the topic that it begins as.
        topic_filter_type: Some("SINGLE_TAG".to_owned()),
        topic_sys_flag: None,
        order: None,
        attributes: Some(format!("+message.type={message_type}")),
    };
    remoting::call(broker, RequestCode::UpdateAndCreateTopic, header.to_fields(), Bytes::new()).map(drop)
}

/// Makes a group, or changes it.
pub(crate) fn create_group(broker: SocketAddr, group: &str, consume_message_orderly: bool) -> Result<()> {
    put_group(
        broker,
        &SubscriptionGroupConfig {
            group_name: group.to_owned(),
            consume_message_orderly,
            ..SubscriptionGroupConfig::default()
        },
    )
}

/// Makes a group with these settings, or changes it.
pub(crate) fn put_group(broker: SocketAddr, config: &SubscriptionGroupConfig) -> Result<()> {
    let body = remoting_proto::to_vec(config, Dialect::Standard);
    remoting::call(broker, RequestCode::UpdateAndCreateSubscriptionGroup, Fields::default(), body.into()).map(drop)
}

/// How many messages a broker has taken for a topic.
pub(crate) fn messages(broker: SocketAddr, topic: &str) -> Result<i64> {
    let of = |queue_id| {
        let header = TopicQueue { topic: topic.to_owned(), queue_id, broker_name: None };
        let answer = remoting::call(broker, RequestCode::GetMaxOffset, header.to_fields(), Bytes::new())?;
        OffsetAnswer::of(&answer.fields)?.offset.context("an answer without an offset")
    };
    (0..QUEUES).map(of).sum()
}

/// How many of them a group has finished.
pub(crate) fn finished(broker: SocketAddr, topic: &str, consumer_group: &str) -> Result<i64> {
    let of = |queue_id| {
        let header = QueryConsumerOffset {
            consumer_group: consumer_group.to_owned(),
            topic: topic.to_owned(),
            queue_id,
            set_zero_if_not_found: Some(true),
            broker_name: None,
        };
        let answer = remoting::call(broker, RequestCode::QueryConsumerOffset, header.to_fields(), Bytes::new())?;
        OffsetAnswer::of(&answer.fields)?.offset.context("an answer without an offset")
    };
    (0..QUEUES).map(of).sum()
}

/// What the examples of an SDK use.
pub(crate) fn create_for_examples(broker: SocketAddr, sdk: &str) -> Result<()> {
    for (feature, message_type) in reference::FEATURES {
        create(broker, &format!("example-{sdk}-{feature}"), message_type)?;
    }
    create_group(broker, &format!("example-{sdk}-filter-sql-group"), false)
}
