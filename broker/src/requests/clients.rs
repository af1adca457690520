//! Clients that come, live and go. Source: Apache 5.5 `ClientManageProcessor`, `ConsumerManageProcessor`.

use remoting::Connection;
use remoting_proto::body::{CheckClientConfig, ConsumerIdList, HeartbeatData};
use remoting_proto::requests::{ConsumerGroup, HeartBeatAnswer, ProducerGroup, UnregisterClient};
use remoting_proto::{Command, ResponseCode};
use types::broker::LookupError;
use types::{Broker as _, TopicName};

use super::names::{check_client, check_count, group, make_group_topic};
use super::{Answer, Refusal, done, json, pull};
use crate::clients::Peer;
use crate::server::Core;

/// Most topics that a group subscribes to.
const SUBSCRIPTIONS_MAX: usize = 4096;

/// A client lives. A consumer group that is not there and may not be made is left out, as Apache does; so is a producer group whose
/// name is none.
pub(super) async fn heartbeat(core: &Core, connection: &Connection, request: &Command) -> Answer {
    let mut heartbeat: HeartbeatData = remoting_proto::from_slice(&request.body)?;
    check_client(&heartbeat.client_id)?;
    // Proxies name producer groups by topics, whose names may be longer than those of consumer groups.
    heartbeat.producer_data_set.retain(|producer| match TopicName::new(&producer.group_name) {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(%error, remote = %connection.remote(), "a producer group is left out");
            false
        }
    });
    let mut known = Vec::with_capacity(heartbeat.consumer_data_set.len());
    for consumer in heartbeat.consumer_data_set {
        let group = group(&consumer.group_name)?;
        let count = consumer.subscription_data_set.len();
        check_count(&format!("subscriptions of group {group}"), count, SUBSCRIPTIONS_MAX)?;
        match core.broker.group(&group).await {
            Ok(_) => {
                // Its consumers look for this topic's route from now on.
                make_group_topic(core, TopicName::group_retry(&group)).await?;
                known.push(consumer);
            }
            Err(LookupError::Unavailable(why)) => return Err(LookupError::Unavailable(why).into()),
            Err(error) => tracing::debug!(%error, remote = %connection.remote(), "a consumer is not known"),
        }
    }
    heartbeat.consumer_data_set = known;
    let peer = Peer {
        connection: connection.id(),
        remote: connection.remote(),
        language: request.language,
        version: request.version,
    };
    let changed = core.clients.lock().heartbeat(peer, heartbeat, core.now())?;
    core.notify(changed);
    core.forget_if_gone(connection.id());
    // Heartbeats tell everything each time.
    let answer = HeartBeatAnswer { is_support_heart_beat_v2: Some(false), is_sub_change: Some(true) };
    Ok(Command { fields: answer.to_fields(), ..done(request) })
}

/// A client leaves.
pub(super) fn unregister(core: &Core, connection: &Connection, request: &Command) -> Answer {
    let UnregisterClient { producer_group, consumer_group, .. } = UnregisterClient::of(&request.fields)?;
    let changed = core.clients.lock().leave(connection.id(), producer_group.as_deref(), consumer_group.as_deref());
    core.notify(changed);
    Ok(done(request))
}

/// Whether a subscription can be served.
pub(super) fn check_config(request: &Command) -> Answer {
    let CheckClientConfig { subscription_data, .. } = remoting_proto::from_slice(&request.body)?;
    pull::parse(subscription_data.expression_type.as_deref(), &subscription_data.sub_string)?;
    Ok(done(request))
}

/// The clients of a group, by which each works out its queues.
pub(super) fn consumer_list(core: &Core, request: &Command) -> Answer {
    let ConsumerGroup { consumer_group } = ConsumerGroup::of(&request.fields)?;
    let consumer_id_list = core.clients.lock().consumer_ids(&consumer_group);
    if consumer_id_list.is_empty() {
        let remark = format!("no consumer of group {consumer_group} is there");
        return Err(Refusal::new(ResponseCode::SystemError, remark));
    }
    Ok(json(request, &ConsumerIdList { consumer_id_list }))
}

/// The same with where they are and what they subscribe to.
pub(super) fn consumer_connections(core: &Core, request: &Command) -> Answer {
    let ConsumerGroup { consumer_group } = ConsumerGroup::of(&request.fields)?;
    let connection = core.clients.lock().consumer_connection(&consumer_group);
    let offline = || {
        let remark = format!("no consumer of group {consumer_group} is there");
        Refusal::new(ResponseCode::ConsumerNotOnline, remark)
    };
    Ok(json(request, &connection.ok_or_else(offline)?))
}

/// The producers of a group.
pub(super) fn producer_connections(core: &Core, request: &Command) -> Answer {
    let ProducerGroup { producer_group } = ProducerGroup::of(&request.fields)?;
    let connection = core.clients.lock().producer_connection(&producer_group);
    let offline = || {
        let remark = format!("no producer of group {producer_group} is there");
        Refusal::new(ResponseCode::SystemError, remark)
    };
    Ok(json(request, &connection.ok_or_else(offline)?))
}
