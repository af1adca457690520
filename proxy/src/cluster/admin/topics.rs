//! Topics of all brokers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use remoting_proto::body::{TopicSettings, TopicStats, Topics};
use remoting_proto::requests::{DeleteTopic, TopicName as TopicHeader};
use remoting_proto::{Fields, RequestCode, ResponseCode};
use types::admin::{AdminError, TopicDescription};
use types::broker::LookupError;
use types::topic::QUEUES_MAX;
use types::{TopicConfig, TopicName, TopicType};

use super::{Cluster, offset};
use crate::cluster::routes::{MESSAGE_TYPE, queue_count, topic_header, topic_type};

/// How the topics end whose messages answer requests, one a cluster. Source: Apache `MixAll.REPLY_TOPIC_POSTFIX`.
const REPLIES: &str = "_REPLY_TOPIC";

impl Cluster {
    /// As [`types::Admin::put_topic`], on the brokers that have the topic, a new one on all.
    pub(super) async fn change_topic(&self, config: &TopicConfig, is_update: bool) -> Result<(), AdminError> {
        let name = &config.name;
        if name.is_system() {
            return Err(AdminError::System { name: name.to_string() });
        }
        let mut brokers = self.settings(name).await?;
        if is_update {
            brokers.retain(|(_, settings)| settings.is_some());
            if brokers.is_empty() {
                return Err(LookupError::TopicNotFound { topic: name.clone() }.into());
            }
        }
        // A new topic has no queues yet, also where an earlier attempt has made it.
        let now = |of: fn(&TopicSettings) -> i32| -> Vec<u32> {
            let settings = brokers.iter().map(|(_, settings)| settings.as_ref().filter(|_| is_update));
            settings.map(|settings| settings.map_or(0, |settings| queue_count(of(settings)))).collect()
        };
        let read = split(name, config.read_queues, &now(|settings| settings.config.read_queue_nums))?;
        let write = split(name, config.write_queues, &now(|settings| settings.config.write_queue_nums))?;
        let made: Vec<_> = brokers.iter().map(|(_, settings)| settings.as_ref()).collect();
        if !is_update && !is_half_made(config, &made, read[0], write[0]) {
            return Err(AdminError::Exists { what: "topic", name: name.to_string() });
        }
        for (((broker, settings), read), write) in brokers.iter().zip(read).zip(write) {
            let header = topic_header(config, settings.clone().unwrap_or_default(), read, write);
            self.tell(broker, RequestCode::UpdateAndCreateTopic, header.to_fields(), Bytes::new()).await?;
        }
        self.doubt_route(name);
        Ok(())
    }

    /// What each broker says of a topic; `None` where it is not.
    async fn settings(&self, name: &TopicName) -> Result<Vec<(Arc<str>, Option<TopicSettings>)>, AdminError> {
        let mut brokers = Vec::new();
        for broker in self.all_brokers().await? {
            let settings = self.topic_settings(&broker, name).await?;
            brokers.push((broker, settings));
        }
        Ok(brokers)
    }

    /// As [`types::Admin::delete_topic`]: at all brokers, then at all name servers. These are told also when no broker has it any more, since
    /// an earlier attempt may have come only so far.
    pub(super) async fn remove_topic(&self, name: &TopicName) -> Result<(), AdminError> {
        if name.is_system() {
            return Err(AdminError::System { name: name.to_string() });
        }
        let mut known = self.settings(name).await?;
        known.retain(|(_, settings)| settings.is_some());
        let is_known = !known.is_empty();
        for (broker, _) in known {
            let fields = TopicHeader { topic: name.to_string() }.to_fields();
            self.tell(&broker, RequestCode::DeleteTopicInBroker, fields, Bytes::new()).await?;
        }
        let forget = DeleteTopic { topic: name.to_string(), cluster_name: None };
        self.0.brokers.tell_name_servers(RequestCode::DeleteTopicInNamesrv, &forget.to_fields()).await?;
        self.doubt_route(name);
        if is_known { Ok(()) } else { Err(LookupError::TopicNotFound { topic: name.clone() }.into()) }
    }

    /// As [`types::Admin::topics`].
    pub(super) async fn all_topics(&self) -> Result<Vec<TopicConfig>, AdminError> {
        let brokers = self.all_brokers().await?;
        let mut all: BTreeMap<TopicName, TopicConfig> = BTreeMap::new();
        for broker in &brokers {
            let (code, none) = (RequestCode::GetAllTopicConfig, ResponseCode::TopicNotExist);
            let topics: Option<Topics> = self.ask_for(broker, code, Fields::default(), none).await?;
            for (name, settings) in topics.unwrap_or_default().topic_config_table {
                // Brokers make some under their own and their cluster's name.
                let is_brokers = name == self.0.name || name.ends_with(REPLIES) || brokers.iter().any(|b| **b == *name);
                let Some(name) = TopicName::new(&name).ok().filter(|_| !is_brokers) else { continue };
                if name.is_system() || name.is_retry() {
                    continue;
                }
                let here = config_of(name.clone(), &settings);
                all.entry(name).and_modify(|all| add(all, &here)).or_insert(here);
            }
        }
        Ok(all.into_values().collect())
    }

    /// As [`types::Admin::describe_topic`]; brokers do not say what was sent. They are asked themselves: a route lacks the queues of a topic
    /// that is closed, and may be older than the last change.
    pub(super) async fn topic_description(&self, name: &TopicName) -> Result<TopicDescription, AdminError> {
        let brokers = self.settings(name).await?.into_iter();
        let known: Vec<_> = brokers.filter_map(|(broker, settings)| Some((broker, settings?))).collect();
        let configs = known.iter().map(|(_, settings)| config_of(name.clone(), settings));
        let config = configs.reduce(|mut all, here| {
            add(&mut all, &here);
            all
        });
        let config = config.ok_or_else(|| LookupError::TopicNotFound { topic: name.clone() })?;
        let mut queues = Vec::new();
        // In the order of their numbers here, as in a route.
        for (broker, settings) in known.iter().filter(|(_, settings)| settings.config.perm.is_readable()) {
            let fields = TopicHeader { topic: name.to_string() }.to_fields();
            let (code, none) = (RequestCode::GetTopicStatsInfo, ResponseCode::TopicNotExist);
            let stats: Option<TopicStats> = self.ask_for(broker, code, fields, none).await?;
            let mut ends: BTreeMap<_, _> = BTreeMap::new();
            for (queue, offsets) in stats.unwrap_or_default().offset_table.0 {
                ends.insert(queue.queue_id, (offset(offsets.min_offset), offset(offsets.max_offset)));
            }
            queues.extend(
                (0..settings.config.read_queue_nums).map(|queue| ends.get(&queue).copied().unwrap_or_default()),
            );
        }
        Ok(TopicDescription { config, queues, used: Vec::new() })
    }
}

/// Whether a topic that is to be made is at none of the brokers, or only at some of them and there just as it would be made.
fn is_half_made(config: &TopicConfig, brokers: &[Option<&TopicSettings>], read_queues: u32, write_queues: u32) -> bool {
    let each = TopicConfig { read_queues, write_queues, is_auto_created: false, ..config.clone() };
    let is_alike = |settings: &&TopicSettings| config_of(config.name.clone(), settings) == each;
    brokers.iter().any(Option::is_none) && brokers.iter().flatten().all(is_alike)
}

/// How many queues each broker gets, of which there are so many now; a change must go to all alike.
fn split(topic: &TopicName, wanted: u32, now: &[u32]) -> Result<Vec<u32>, AdminError> {
    let (before, brokers) = (now.iter().sum::<u32>(), u32::try_from(now.len()).unwrap_or(u32::MAX));
    if wanted == before && before > 0 {
        return Ok(now.to_vec());
    }
    if brokers == 0 || !wanted.is_multiple_of(brokers) {
        return Err(AdminError::Uneven { queues: wanted, brokers });
    }
    let each = wanted / brokers;
    if !(1..=QUEUES_MAX).contains(&each) {
        return Err(AdminError::QueueCount { queues: each });
    }
    if now.iter().any(|now| *now > each) {
        return Err(AdminError::QueuesShrink { topic: topic.clone(), queues: before, asked: wanted });
    }
    Ok(vec![each; now.len()])
}

fn config_of(name: TopicName, settings: &TopicSettings) -> TopicConfig {
    let TopicSettings { config, attributes, .. } = settings;
    TopicConfig {
        name,
        read_queues: queue_count(config.read_queue_nums),
        write_queues: queue_count(config.write_queue_nums),
        is_readable: config.perm.is_readable(),
        is_writable: config.perm.is_writable(),
        // One that is not known may take anything.
        topic_type: topic_type(attributes.get(MESSAGE_TYPE).map(String::as_str)).unwrap_or(TopicType::Mixed),
        is_auto_created: false,
    }
}

/// What another broker has of the same topic.
fn add(all: &mut TopicConfig, here: &TopicConfig) {
    all.read_queues += here.read_queues;
    all.write_queues += here.write_queues;
    all.is_readable |= here.is_readable;
    all.is_writable |= here.is_writable;
}

#[cfg(test)]
mod tests {
    use remoting_proto::body::Permission;

    use super::*;

    #[test]
    fn queues_are_split_evenly_and_only_grow() {
        let topic = TopicName::new("t").expect("valid");
        let split = |wanted, now: &[u32]| split(&topic, wanted, now);
        assert_eq!(split(8, &[0, 0]), Ok(vec![4, 4]));
        assert_eq!(split(8, &[6, 2]), Ok(vec![6, 2]), "nothing was asked for");
        assert_eq!(split(16, &[6, 2]), Ok(vec![8, 8]));
        assert_eq!(split(9, &[0, 0]), Err(AdminError::Uneven { queues: 9, brokers: 2 }));
        assert_eq!(split(0, &[0]), Err(AdminError::QueueCount { queues: 0 }));
        assert_eq!(split(2048, &[0]), Err(AdminError::QueueCount { queues: 2048 }));
        let shrunk = AdminError::QueuesShrink { topic: topic.clone(), queues: 8, asked: 4 };
        assert_eq!(split(4, &[4, 4]), Err(shrunk));
    }

    #[test]
    fn a_topic_that_only_some_brokers_have_as_it_is_wanted_is_half_made() {
        let config = TopicConfig::new(TopicName::new("t").expect("valid"), 8, TopicType::Mixed);
        let mut settings = TopicSettings::default();
        (settings.config.read_queue_nums, settings.config.write_queue_nums) = (4, 4);
        settings.config.perm = Permission::NONE.with_reading(true).with_writing(true);
        settings.attributes.insert(MESSAGE_TYPE.into(), "MIXED".into());
        assert!(is_half_made(&config, &[None, None], 4, 4));
        assert!(is_half_made(&config, &[Some(&settings), None], 4, 4));
        assert!(!is_half_made(&config, &[Some(&settings), Some(&settings)], 4, 4), "it is there");
        assert!(!is_half_made(&config, &[Some(&settings), None], 2, 2), "it is another");
    }
}
