//! Topics and groups, made at a broker of ours or Apache's.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use remoting_proto::body::SubscriptionGroupConfig;
use remoting_proto::requests::UpdateAndCreateTopic;
use remoting_proto::{Dialect, Fields, RequestCode};

use crate::{reference, remoting};

/// Queues of a topic at each broker.
const QUEUES: i64 = 4;
/// To write and to read.
const PERMISSION: i64 = 6;

/// Makes a topic, and a group of the same kind.
pub(crate) fn create(broker: SocketAddr, topic: &str, message_type: &str) -> Result<()> {
    let header = UpdateAndCreateTopic {
        topic: topic.to_owned(),
        read_queue_nums: QUEUES,
        write_queue_nums: QUEUES,
        perm: PERMISSION,
        // Apache's brokers refuse a topic without these two.
        default_topic: Some("TBW102".to_owned()),
        topic_filter_type: Some("SINGLE_TAG".to_owned()),
        topic_sys_flag: None,
        order: None,
        attributes: Some(format!("+message.type={message_type}")),
    };
    remoting::call(broker, RequestCode::UpdateAndCreateTopic, header.to_fields(), Bytes::new())?;
    create_group(broker, &format!("{topic}-group"), message_type == "FIFO")
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

/// What the examples of an SDK use.
pub(crate) fn create_for_examples(broker: SocketAddr, sdk: &str) -> Result<()> {
    for (feature, message_type) in reference::FEATURES {
        create(broker, &format!("example-{sdk}-{feature}"), message_type)?;
    }
    create_group(broker, &format!("example-{sdk}-filter-sql-group"), false)
}
