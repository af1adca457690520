//! Routes, lists of topics, and what operators do to topics.

use remoting_proto::body::TopicRouteData;
use remoting_proto::requests::{
    AddWritePermAnswer, BrokerName, DeleteTopic, GetRouteInfo, GetTopicsByCluster, TopicName, WipeWritePermAnswer,
};
use remoting_proto::{Command, Dialect, RequestCode, ResponseCode};

use super::{Answer, Refusal, done, json, json_in};
use crate::kv::ORDER_TOPICS;
use crate::registry::{RouteOptions, Units};
use crate::server::Core;

/// What Apache's adds, and its tools print. Source: Apache 5.5 `FAQUrl`.
const HELP: &str = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

pub(super) fn route(core: &Core, request: &Command) -> Answer {
    let header = GetRouteInfo::of(&request.fields)?;
    let settings = core.settings.read().clone();
    if settings.need_wait_for_service && core.moment() < core.started.plus(settings.wait_for_service) {
        return Err(Refusal::new(ResponseCode::SystemError, "name server not ready"));
    }
    let is_zone_asked = header.zone_mode == Some(true);
    let zone = header.zone_name.as_deref().filter(|zone| is_zone_asked && !zone.trim().is_empty());
    let options = RouteOptions { support_acting_master: settings.support_acting_master, zone };
    let Some(route) = core.registry.read().route(&header.topic, options) else {
        let remark = format!("No topic route info in name server for the topic: {}{HELP}", header.topic);
        return Err(Refusal::new(ResponseCode::TopicNotExist, remark));
    };
    let ordered = || core.kv.read().get(ORDER_TOPICS, &header.topic).map(str::to_owned);
    let order_topic_conf = settings.order_message_enable.then(ordered).flatten();
    let is_standard = header.accept_standard_json_only == Some(true);
    let dialect = if is_standard { Dialect::Standard } else { Dialect::of(request.version) };
    Ok(json_in(request, &TopicRouteData { order_topic_conf, ..route }, dialect))
}

pub(super) fn all(core: &Core, request: &Command) -> Answer {
    if !core.settings.read().enable_all_topic_list {
        return Err(Refusal::new(ResponseCode::SystemError, "disable"));
    }
    Ok(json(request, &core.registry.read().topics()))
}

pub(super) fn of_cluster(core: &Core, request: &Command) -> Answer {
    refuse_lists_if_disabled(core)?;
    let GetTopicsByCluster { cluster } = GetTopicsByCluster::of(&request.fields)?;
    Ok(json(request, &core.registry.read().topics_of_cluster(&cluster)))
}

pub(super) fn of_units(core: &Core, request: &Command) -> Answer {
    refuse_lists_if_disabled(core)?;
    let units = match request.request_code() {
        RequestCode::GetUnitTopicList => Units::Unit,
        RequestCode::GetHasUnitSubTopicList => Units::HasSubscription,
        _ => Units::HasSubscriptionOnly,
    };
    Ok(json(request, &core.registry.read().unit_topics(units)))
}

fn refuse_lists_if_disabled(core: &Core) -> Result<(), Refusal> {
    let is_enabled = core.settings.read().enable_topic_list;
    if is_enabled { Ok(()) } else { Err(Refusal::new(ResponseCode::SystemError, "disable")) }
}

pub(super) fn delete(core: &Core, request: &Command) -> Answer {
    let DeleteTopic { topic, cluster_name } = DeleteTopic::of(&request.fields)?;
    let cluster = cluster_name.as_deref().filter(|cluster| !cluster.is_empty());
    tracing::info!(%topic, cluster, "topic forgotten");
    core.registry.write().delete_topic(&topic, cluster);
    Ok(done(request))
}

pub(super) fn register(core: &Core, request: &Command) -> Answer {
    let TopicName { topic } = TopicName::of(&request.fields)?;
    let TopicRouteData { queue_datas, .. } = remoting_proto::from_slice(&request.body)?;
    core.registry.write().register_topic(&topic, queue_datas)?;
    Ok(done(request))
}

pub(super) fn wipe_write_permission(core: &Core, request: &Command) -> Answer {
    let BrokerName { broker_name } = BrokerName::of(&request.fields)?;
    let topics = core.registry.write().wipe_write_permission(&broker_name);
    tracing::info!(broker = %broker_name, topics, "permission to write taken");
    let fields = WipeWritePermAnswer { wipe_topic_count: count(topics) }.to_fields();
    Ok(Command { fields, ..done(request) })
}

pub(super) fn add_write_permission(core: &Core, request: &Command) -> Answer {
    let BrokerName { broker_name } = BrokerName::of(&request.fields)?;
    let topics = core.registry.write().add_write_permission(&broker_name);
    tracing::info!(broker = %broker_name, topics, "permission to write given");
    let fields = AddWritePermAnswer { add_topic_count: count(topics) }.to_fields();
    Ok(Command { fields, ..done(request) })
}

fn count(topics: usize) -> i64 {
    i64::try_from(topics).unwrap_or(i64::MAX)
}
