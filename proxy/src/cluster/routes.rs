//! What is known of topics and groups, as the name servers and brokers tell it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use env::Clock;
use remoting_proto::body::{Permission, SubscriptionGroupConfig, TopicRouteData, TopicSettings};
use remoting_proto::requests::{
    AUTO_CREATE_TOPIC, GetRouteInfo, GroupName as GroupHeader, TopicName as TopicHeader, UpdateAndCreateTopic,
};
use remoting_proto::{RequestCode, ResponseCode};
use types::broker::{LookupError, Unavailable};
use types::{GroupConfig, GroupName, RetryPolicy, TopicConfig, TopicName, TopicType};

use super::Cluster;
use super::brokers::{Masters, Request, refused, unreadable};
use super::cache::Cache;

/// The topic attribute that says its kind. Source: Apache `TopicAttributes`.
pub(super) const MESSAGE_TYPE: &str = "message.type";
/// Apache's list of waits has two more in front, which brokers skip (`CustomizedRetryPolicy.nextDelayDuration`).
pub(super) const WAITS_SKIPPED: usize = 2;

/// What is known.
pub(super) struct Routes {
    topics: Cache<TopicName, Arc<Route>>,
    groups: Cache<GroupName, Arc<GroupConfig>>,
    clock: Arc<dyn Clock>,
}

/// Where a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// Its settings, with the queues of all brokers.
    pub(super) config: Arc<TopicConfig>,
    /// Queues that can be read, in the order of their numbers here.
    pub(super) readable: Vec<Place>,
    /// Queues that can be written, in the order of their numbers here.
    pub(super) writable: Vec<Place>,
}

/// A queue where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) broker: Arc<str>,
    /// Its number there.
    pub(super) queue: u32,
}

impl Routes {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { topics: Cache::new(), groups: Cache::new(), clock }
    }
}

impl Route {
    /// The brokers that have queues of it, or had and can still be read.
    pub(super) fn brokers(&self) -> BTreeSet<Arc<str>> {
        self.readable.iter().chain(&self.writable).map(|place| place.broker.clone()).collect()
    }

    /// The brokers that have queues to read, in order.
    pub(super) fn readers(&self) -> Vec<Arc<str>> {
        let mut brokers: Vec<_> = self.readable.iter().map(|place| place.broker.clone()).collect();
        brokers.dedup();
        brokers
    }
}

impl Cluster {
    /// Where a topic is.
    ///
    /// # Errors
    /// [`LookupError`].
    pub(super) async fn route(&self, topic: &TopicName) -> Result<Arc<Route>, LookupError> {
        let routes = &self.0.routes;
        routes.topics.get(topic, || routes.clock.moment(), || self.ask_route(topic)).await
    }

    /// Lets the next caller ask where a topic is: a broker says that it is not there.
    pub(super) fn doubt_route(&self, topic: &TopicName) {
        self.0.routes.topics.doubt(topic);
    }

    /// Lets the next caller ask for a group's settings: they were changed.
    pub(super) fn doubt_group(&self, group: &GroupName) {
        self.0.routes.groups.doubt(group);
    }

    async fn ask_route(&self, topic: &TopicName) -> Result<Arc<Route>, LookupError> {
        let header = GetRouteInfo {
            topic: topic.to_string(),
            accept_standard_json_only: Some(true),
            zone_mode: None,
            zone_name: None,
        };
        let answer = self.0.brokers.ask_name_servers(RequestCode::GetRouteInfoByTopic, header.to_fields()).await?;
        let data: TopicRouteData = match answer.response_code() {
            ResponseCode::Success => remoting_proto::from_slice(&answer.body).map_err(unreadable)?,
            ResponseCode::TopicNotExist => {
                // One that does not know its brokers yet says nothing of a topic.
                let masters = self.0.brokers.ask_masters().await?;
                let known = self.0.routes.topics.known(topic);
                if known.is_some_and(|route| route.brokers().iter().any(|broker| has_vanished(&masters, broker))) {
                    let detail = format!("the name server knows neither topic {topic} nor brokers that had it, yet");
                    return Err(Unavailable::Remote { detail }.into());
                }
                return Err(LookupError::TopicNotFound { topic: topic.clone() });
            }
            _ => return Err(refused("the name server", &answer).into()),
        };
        if data.topic_queue_mapping_by_broker.as_ref().is_some_and(|mapping| !mapping.is_empty()) {
            let detail = format!("topic {topic} is a static topic, which is not supported");
            return Err(Unavailable::Remote { detail }.into());
        }
        let known = self.0.routes.topics.known(topic);
        let names = |broker: &Arc<str>| data.queue_datas.iter().any(|data| data.broker_name == **broker);
        if known.as_ref().is_some_and(|route| !route.brokers().iter().all(names)) {
            self.0.brokers.doubt_masters();
        }
        let (readable, writable) = places(&data, known.as_deref(), &self.0.brokers.masters().await?);
        let mut brokers: Vec<_> = readable.iter().chain(&writable).map(|place| place.broker.clone()).collect();
        brokers.sort_unstable();
        brokers.dedup();
        let topic_type = match self.ask_types(&brokers, topic).await {
            Err(LookupError::Unavailable(error)) => match self.0.routes.topics.known(topic) {
                Some(route) if !brokers.is_empty() => route.config.topic_type,
                _ => return Err(error.into()),
            },
            asked => asked?,
        };
        let config = Arc::new(TopicConfig {
            name: topic.clone(),
            read_queues: u32::try_from(readable.len()).unwrap_or(u32::MAX),
            write_queues: u32::try_from(writable.len()).unwrap_or(u32::MAX),
            is_readable: !readable.is_empty(),
            is_writable: !writable.is_empty(),
            topic_type,
            is_auto_created: false,
        });
        Ok(Arc::new(Route { config, readable, writable }))
    }

    /// Asks one broker after the other: all should have the same settings, but one may be away, or not have the topic yet.
    async fn ask_types(&self, brokers: &[Arc<str>], topic: &TopicName) -> Result<TopicType, LookupError> {
        let mut failed = None;
        for broker in brokers {
            match self.ask_type(broker, topic).await {
                Ok(topic_type) => return Ok(topic_type),
                // One that is away may have it.
                Err(LookupError::TopicNotFound { .. }) if failed.is_some() => {}
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| {
            Unavailable::Remote { detail: format!("no broker of topic {topic} has a master") }.into()
        }))
    }

    /// Asks one broker, which says whether it has the topic.
    ///
    /// # Errors
    /// [`LookupError`].
    pub(super) async fn ask_type(&self, broker: &Arc<str>, topic: &TopicName) -> Result<TopicType, LookupError> {
        let settings = self.topic_settings(broker, topic).await?;
        let settings = settings.ok_or_else(|| LookupError::TopicNotFound { topic: topic.clone() })?;
        topic_type(settings.attributes.get(MESSAGE_TYPE).map(String::as_str)).map_err(|kind| {
            let detail = format!("topic {topic} has the {MESSAGE_TYPE} {kind:?}, which is not known");
            Unavailable::Remote { detail }.into()
        })
    }

    /// What a broker says of a topic; `None` when it does not have it.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub(super) async fn topic_settings(
        &self,
        broker: &Arc<str>,
        topic: &TopicName,
    ) -> Result<Option<TopicSettings>, Unavailable> {
        let fields = TopicHeader { topic: topic.to_string() }.to_fields();
        self.ask_for(broker, RequestCode::GetTopicConfig, fields, ResponseCode::TopicNotExist).await
    }

    /// A group's settings.
    ///
    /// # Errors
    /// [`LookupError`].
    pub(super) async fn group_config(&self, group: &GroupName) -> Result<Arc<GroupConfig>, LookupError> {
        let routes = &self.0.routes;
        routes.groups.get(group, || routes.clock.moment(), || self.ask_group(group)).await
    }

    /// Asks one broker after the other: all have the same groups, but one may be away.
    async fn ask_group(&self, group: &GroupName) -> Result<Arc<GroupConfig>, LookupError> {
        let mut failed = Unavailable::Remote { detail: "the name servers know no broker".to_owned() };
        for broker in self.0.brokers.masters().await?.keys() {
            let fields = GroupHeader { group: group.to_string() }.to_fields();
            let request = Request::new(RequestCode::GetSubscriptionGroupConfig, fields);
            match self.0.brokers.call(broker, request).await {
                Ok(answer) => match answer.response_code() {
                    ResponseCode::Success => {
                        let config = remoting_proto::from_slice(&answer.body).map_err(unreadable)?;
                        return Ok(Arc::new(group_of(group.clone(), &config)));
                    }
                    ResponseCode::SubscriptionGroupNotExist => {
                        return Err(LookupError::GroupNotFound { group: group.clone() });
                    }
                    _ => failed = refused(broker, &answer),
                },
                Err(error) => failed = error,
            }
        }
        Err(failed.into())
    }
}

fn has_vanished(masters: &Masters, broker: &str) -> bool {
    masters.get(broker).is_some_and(|master| master.vanished_at.is_some())
}

/// The queues that can be read and written, of brokers that have a master. A broker that the name server has not heard of for a while
/// keeps those that it had, so that the others keep their numbers.
fn places(data: &TopicRouteData, known: Option<&Route>, masters: &Masters) -> (Vec<Place>, Vec<Place>) {
    let mut datas: Vec<_> = data.queue_datas.iter().collect();
    datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
    let (mut readable, mut writable) = (Vec::new(), Vec::new());
    for data in datas {
        let Some((broker, _)) = masters.get_key_value(data.broker_name.as_str()) else { continue };
        let all = |queues| (0..queue_count(queues)).map(|queue| Place { broker: broker.clone(), queue });
        if data.perm.is_readable() {
            readable.extend(all(data.read_queue_nums));
        }
        if data.perm.is_writable() {
            writable.extend(all(data.write_queue_nums));
        }
    }
    if let Some(known) = known {
        let is_named = |broker: &str| data.queue_datas.iter().any(|data| data.broker_name == broker);
        let is_lost = |place: &&Place| has_vanished(masters, &place.broker) && !is_named(&place.broker);
        for (now, before) in [(&mut readable, &known.readable), (&mut writable, &known.writable)] {
            now.extend(before.iter().filter(is_lost).cloned());
            now.sort_unstable_by(|one, other| (&one.broker, one.queue).cmp(&(&other.broker, other.queue)));
        }
    }
    (readable, writable)
}

/// As many queues as a broker says, within what a topic may have.
pub(super) fn queue_count(queues: i32) -> u32 {
    u32::try_from(queues).unwrap_or(0).min(types::topic::QUEUES_MAX)
}

/// A topic without the attribute takes normal messages. Source: Apache `TopicMessageType`.
pub(super) fn topic_type(attribute: Option<&str>) -> Result<TopicType, &str> {
    match attribute {
        None => Ok(TopicType::Only(types::MessageType::Normal)),
        // Topics of 4.x producers that were upgraded.
        Some("MIXED" | "UNSPECIFIED") => Ok(TopicType::Mixed),
        Some(kind) => kind.parse().map(TopicType::Only).map_err(|_| kind),
    }
}

/// What makes a topic at a broker as it is wanted; what is not ours to say stays as it is.
pub(super) fn topic_header(
    config: &TopicConfig,
    now: TopicSettings,
    read_queues: u32,
    write_queues: u32,
) -> UpdateAndCreateTopic {
    let TopicSettings { config: settings, order, topic_filter_type, .. } = now;
    let perm = Permission::NONE.with_reading(config.is_readable).with_writing(config.is_writable);
    UpdateAndCreateTopic {
        topic: config.name.to_string(),
        read_queue_nums: read_queues.into(),
        write_queue_nums: write_queues.into(),
        perm: perm.0.into(),
        // Apache's broker takes no request without these two.
        default_topic: Some(AUTO_CREATE_TOPIC.to_owned()),
        topic_filter_type: Some(topic_filter_type),
        topic_sys_flag: Some(settings.topic_sys_flag.into()),
        order: Some(order),
        attributes: Some(format!("+{MESSAGE_TYPE}={}", config.topic_type)),
    }
}

pub(super) fn group_of(name: GroupName, config: &SubscriptionGroupConfig) -> GroupConfig {
    let ms = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let policy = &config.group_retry_policy;
    let retry = match (&policy.exponential_retry_policy, &policy.customized_retry_policy) {
        (Some(policy), _) if config.group_retry_policy.kind == "EXPONENTIAL" => RetryPolicy::Exponential {
            initial: ms(policy.initial),
            max: ms(policy.max),
            multiplier: u32::try_from(policy.multiplier).unwrap_or(1),
        },
        (_, Some(policy)) if policy.next.len() > WAITS_SKIPPED => {
            RetryPolicy::Customized { next: policy.next.iter().skip(WAITS_SKIPPED).copied().map(ms).collect() }
        }
        _ => RetryPolicy::default(),
    };
    GroupConfig {
        is_fifo: config.consume_message_orderly,
        is_enabled: config.consume_enable,
        attempts_max: u32::try_from(config.retry_max_times.max(0)).unwrap_or(0).saturating_add(1),
        retry,
        consume_timeout: Duration::from_secs(60 * u64::try_from(config.consume_timeout_minute).unwrap_or(0)),
        ..GroupConfig::new(name)
    }
}

#[cfg(test)]
mod tests {
    use env::clock::Moment;
    use remoting_proto::body::QueueData;

    use super::*;

    fn data(broker_name: &str, perm: i32, read_queue_nums: i32, write_queue_nums: i32) -> QueueData {
        let broker_name = broker_name.to_owned();
        QueueData { broker_name, perm: Permission(perm), read_queue_nums, write_queue_nums, topic_sys_flag: 0 }
    }

    #[test]
    fn queues_are_numbered_by_broker_and_only_where_there_is_a_master() {
        let queue_datas = vec![data("b", 4, 2, 2), data("a", 6, 1, 2), data("gone", 6, 8, 8), data("c", 6, -1, 0)];
        let route = TopicRouteData { queue_datas, ..TopicRouteData::default() };
        let (readable, writable) = places(&route, None, &masters(&["a", "b", "c"], &[]));
        assert_eq!(shown(&readable), ["a0", "b0", "b1"]);
        assert_eq!(shown(&writable), ["a0", "a1"]);
    }

    #[test]
    fn a_broker_that_its_name_server_has_lost_keeps_its_queues_for_a_while() {
        let route = |names: &[&str]| TopicRouteData {
            queue_datas: names.iter().map(|name| data(name, 6, 1, 2)).collect(),
            ..TopicRouteData::default()
        };
        let (readable, writable) = places(&route(&["a", "b", "c"]), None, &masters(&["a", "b", "c"], &[]));
        let config = TopicConfig {
            name: TopicName::new("t").expect("valid"),
            read_queues: 3,
            write_queues: 6,
            is_readable: true,
            is_writable: true,
            topic_type: TopicType::Mixed,
            is_auto_created: false,
        };
        let known = Route { config: Arc::new(config), readable, writable };
        let after = |names, masters| {
            let (readable, writable) = places(&route(names), Some(&known), &masters);
            [shown(&readable).join(" "), shown(&writable).join(" ")]
        };
        assert_eq!(after(&["a", "c"], masters(&["a", "c"], &["b"])), ["a0 b0 c0", "a0 a1 b0 b1 c0 c1"]);
        assert_eq!(after(&["a", "c"], masters(&["a", "b", "c"], &[])), ["a0 c0", "a0 a1 c0 c1"], "b does not have it");
    }

    fn shown(places: &[Place]) -> Vec<String> {
        places.iter().map(|place| format!("{}{}", place.broker, place.queue)).collect()
    }

    fn masters(there: &[&str], vanished: &[&str]) -> Masters {
        let master = |name: &&str, vanished_at| {
            (Arc::from(*name), crate::cluster::brokers::Master { address: "1.2.3.4:5".into(), vanished_at })
        };
        let vanished = vanished.iter().map(|name| master(name, Some(Moment::default())));
        Arc::new(there.iter().map(|name| master(name, None)).chain(vanished).collect())
    }

    #[test]
    fn kinds_are_apaches() {
        assert_eq!(topic_type(None), Ok(TopicType::Only(types::MessageType::Normal)));
        assert_eq!(topic_type(Some("FIFO")), Ok(TopicType::Only(types::MessageType::Fifo)));
        assert_eq!(topic_type(Some("MIXED")), Ok(TopicType::Mixed));
        assert_eq!(topic_type(Some("NEW")), Err("NEW"));
    }

    #[test]
    fn a_change_names_the_type_and_leaves_the_rest() {
        let config = TopicConfig::new(TopicName::new("t").expect("valid"), 8, TopicType::Mixed);
        let now = TopicSettings { order: true, ..TopicSettings::default() };
        let header = topic_header(&TopicConfig { is_writable: false, ..config }, now, 4, 2);
        assert_eq!((header.read_queue_nums, header.write_queue_nums, header.perm), (4, 2, 4));
        assert_eq!((header.order, header.attributes.as_deref()), (Some(true), Some("+message.type=MIXED")));
    }

    #[test]
    fn a_group_counts_its_first_delivery_as_an_attempt() {
        let name = GroupName::new("g").expect("valid");
        assert_eq!(group_of(name.clone(), &SubscriptionGroupConfig::default()), GroupConfig::new(name.clone()));
        let ordered = SubscriptionGroupConfig {
            consume_message_orderly: true,
            retry_max_times: 2,
            ..SubscriptionGroupConfig::default()
        };
        let group = group_of(name, &ordered);
        assert_eq!((group.is_fifo, group.attempts_max), (true, 3));
    }
}
