//! What a client is told of a topic.

use std::collections::BTreeMap;

use remoting_proto::body::{BrokerData, TopicRouteData};

use super::{MASTER, Registry};

/// Topics by which brokers look for each other: what they are told must not pretend anything. Source: Apache 5.5 `TopicValidator`.
const SYNC_BROKER_MEMBER_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";

/// How a route is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteOptions<'a> {
    /// Whether a slave that stands in for a missing master is shown as the master.
    pub support_acting_master: bool,
    /// Only brokers of this zone.
    pub zone: Option<&'a str>,
}

impl Registry {
    /// Where a topic's queues are; `None` if no broker that lives has any.
    #[must_use]
    pub fn route(&self, topic: &str, options: RouteOptions<'_>) -> Option<TopicRouteData> {
        let of_topic = self.topics.get(topic)?;
        let mut brokers: Vec<_> = of_topic.keys().filter_map(|name| self.brokers.get(name)).cloned().collect();
        if brokers.is_empty() {
            return None;
        }
        if options.support_acting_master && !topic.starts_with(SYNC_BROKER_MEMBER_PREFIX) {
            for data in &mut brokers {
                let is_written = of_topic.get(&data.broker_name).is_none_or(|queues| queues.perm.is_writable());
                if data.enable_acting_master && !is_written {
                    show_as_master(data);
                }
            }
        }
        let mut queues: Vec<_> = of_topic.values().cloned().collect();
        if let Some(zone) = options.zone {
            // A name without a master is told in every zone: its slaves are all there is to read from.
            let is_told = |data: &BrokerData| {
                let is_here = data.zone_name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(zone));
                is_here || !data.broker_addrs.contains_key(&MASTER)
            };
            let (told, hidden): (Vec<_>, Vec<_>) = brokers.into_iter().partition(is_told);
            queues.retain(|queues| hidden.iter().all(|data| data.broker_name != queues.broker_name));
            brokers = told;
        }
        Some(TopicRouteData {
            broker_datas: brokers,
            filter_server_table: BTreeMap::new(),
            order_topic_conf: None,
            queue_datas: queues,
            topic_queue_mapping_by_broker: self.mappings.get(topic).cloned(),
        })
    }
}

/// Gives the lowest id's process the master's place, if that is free.
fn show_as_master(data: &mut BrokerData) {
    if !data.broker_addrs.contains_key(&MASTER)
        && let Some((_, address)) = data.broker_addrs.pop_first()
    {
        data.broker_addrs.insert(MASTER, address);
    }
}
