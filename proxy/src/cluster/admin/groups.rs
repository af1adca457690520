//! Consumer groups of all brokers, and where they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use remoting_proto::body::{
    ConsumeStats, CustomizedRetryPolicy, ExponentialRetryPolicy, GroupRetryPolicy, ResetOffsets,
    SubscriptionGroupConfig, SubscriptionGroups,
};
use remoting_proto::requests::{DeleteSubscriptionGroup, GetConsumeStats, ResetOffset};
use remoting_proto::{Dialect, Fields, RequestCode, ResponseCode};
use types::admin::{AdminError, GroupDescription, GroupProgress, ResetError, ResetTo};
use types::broker::{LookupError, OffsetAt};
use types::{GroupConfig, GroupName, QueueId, QueueOffset, RetryPolicy, TopicName};

use super::{Cluster, offset};
use crate::cluster::brokers::{Request, refused, unreadable};
use crate::cluster::routes::{Place, Route, WAITS_SKIPPED, group_of};

/// Groups by name.
type Groups = BTreeMap<String, SubscriptionGroupConfig>;

/// What brokers take for the end instead of a time.
const AT_END: i64 = -1;

impl Cluster {
    /// What each broker says of each group.
    async fn tables(&self) -> Result<Vec<(Arc<str>, Groups)>, AdminError> {
        let mut tables = Vec::new();
        for broker in self.all_brokers().await? {
            let (code, none) = (RequestCode::GetAllSubscriptionGroupConfig, ResponseCode::SubscriptionGroupNotExist);
            let groups: Option<SubscriptionGroups> = self.ask_for(&broker, code, Fields::default(), none).await?;
            tables.push((broker, groups.unwrap_or_default().subscription_group_table));
        }
        Ok(tables)
    }

    /// As [`types::Admin::put_group`], at all brokers.
    pub(super) async fn change_group(&self, config: &GroupConfig, is_update: bool) -> Result<(), AdminError> {
        let name = config.name.as_str();
        let tables = self.tables().await?;
        match (tables.iter().any(|(_, groups)| groups.contains_key(name)), is_update) {
            (true, false) => return Err(AdminError::Exists { what: "group", name: name.to_owned() }),
            (false, true) => return Err(LookupError::GroupNotFound { group: config.name.clone() }.into()),
            (true, true) | (false, false) => {}
        }
        for (broker, mut groups) in tables {
            let changed = change(config, groups.remove(name).unwrap_or_default());
            let body = remoting_proto::to_vec(&changed, Dialect::Standard).into();
            let code = RequestCode::UpdateAndCreateSubscriptionGroup;
            self.tell(&broker, code, Fields::default(), body).await?;
        }
        self.doubt_group(&config.name);
        Ok(())
    }

    /// As [`types::Admin::delete_group`], at the brokers that have it.
    pub(super) async fn remove_group(&self, name: &GroupName) -> Result<(), AdminError> {
        let mut tables = self.tables().await?;
        tables.retain(|(_, groups)| groups.contains_key(name.as_str()));
        if tables.is_empty() {
            return Err(LookupError::GroupNotFound { group: name.clone() }.into());
        }
        for (broker, _) in tables {
            let header = DeleteSubscriptionGroup { group_name: name.to_string(), clean_offset: Some(true) };
            self.tell(&broker, RequestCode::DeleteSubscriptionGroup, header.to_fields(), Bytes::new()).await?;
        }
        self.doubt_group(name);
        Ok(())
    }

    /// As [`types::Admin::groups`], without those of the system.
    pub(super) async fn all_groups(&self) -> Result<Vec<GroupConfig>, AdminError> {
        let mut all = BTreeMap::new();
        for (name, config) in self.tables().await?.into_iter().flat_map(|(_, groups)| groups) {
            if let Ok(group) = GroupName::for_client(&name) {
                all.entry(name).or_insert_with(|| group_of(group, &config));
            }
        }
        Ok(all.into_values().collect())
    }

    /// As [`types::Admin::describe_group`].
    pub(super) async fn group_description(&self, name: &GroupName) -> Result<GroupDescription, AdminError> {
        let mut tables = self.tables().await?;
        tables.retain(|(_, groups)| groups.contains_key(name.as_str()));
        let known = tables.first_mut().and_then(|(_, groups)| groups.remove(name.as_str()));
        let Some(known) = known else { return Err(LookupError::GroupNotFound { group: name.clone() }.into()) };
        let mut progress = Vec::new();
        for (broker, _) in &tables {
            let header = GetConsumeStats { consumer_group: name.to_string(), topic: None, topic_list: None };
            let (code, none) = (RequestCode::GetConsumeStats, ResponseCode::SubscriptionGroupNotExist);
            let stats: Option<ConsumeStats> = self.ask_for(broker, code, header.to_fields(), none).await?;
            for (queue, at) in stats.unwrap_or_default().offset_table.0 {
                let Ok(topic) = TopicName::new(&queue.topic) else { continue };
                let Ok(route) = self.route(&topic).await else { continue };
                let Some(number) = number(&route, broker, queue.queue_id) else { continue };
                let retried = topic.retried(name).and_then(|topic| TopicName::new(topic).ok());
                let (committed, end) = (offset(at.consumer_offset), offset(at.broker_offset));
                progress.push(GroupProgress {
                    is_retry: retried.is_some(),
                    topic: retried.unwrap_or(topic),
                    queue: number,
                    committed,
                    end,
                    in_flight: offset(at.pull_offset).0.saturating_sub(committed.0),
                });
            }
        }
        progress.sort_by(|a, b| (&a.topic, a.is_retry, a.queue).cmp(&(&b.topic, b.is_retry, b.queue)));
        Ok(GroupDescription { config: group_of(name.clone(), &known), progress })
    }

    /// As [`types::Admin::reset_offsets`], as brokers reset: of several one may fail when others have done it.
    pub(super) async fn reset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: Option<QueueId>,
        to: ResetTo,
    ) -> Result<Vec<(QueueId, QueueOffset)>, ResetError> {
        self.group_config(group).await?;
        let route = self.route(topic).await?;
        let all = (0..).map(QueueId).zip(&route.readable);
        let wanted: Vec<_> = all.filter(|(number, _)| queue.is_none_or(|queue| queue == *number)).collect();
        if let Some(queue) = queue.filter(|_| wanted.is_empty()) {
            let queues = route.config.read_queues;
            return Err(LookupError::QueueNotFound { topic: topic.clone(), queue, queues }.into());
        }
        if let ResetTo::Offset(offset) = to {
            for (queue, _) in &wanted {
                self.check_within(topic, *queue, offset).await?;
            }
        }
        let mut table = Vec::new();
        for (number, place) in wanted {
            let (timestamp, offset) = match to {
                ResetTo::At(OffsetAt::Beginning) => (0, None),
                ResetTo::At(OffsetAt::End) => (AT_END, None),
                ResetTo::At(OffsetAt::Time(time)) => (time.0.max(0), None),
                ResetTo::Offset(offset) => (0, Some(i64::try_from(offset.0).unwrap_or(i64::MAX))),
            };
            let header = ResetOffset {
                topic: topic.to_string(),
                group: group.to_string(),
                timestamp,
                is_force: Some(true),
                queue_id: Some(place.queue.into()),
                offset,
            };
            let code = RequestCode::InvokeBrokerToResetOffset;
            let request = Request::new(code, header.to_fields());
            let answer = self.0.brokers.call(&place.broker, request).await.map_err(AdminError::from)?;
            if answer.response_code() != ResponseCode::Success {
                return Err(AdminError::from(refused(&place.broker, &answer)).into());
            }
            let reset: ResetOffsets =
                remoting_proto::from_slice(&answer.body).map_err(|error| AdminError::from(unreadable(error)))?;
            let is_it = |queue_id: i32| u32::try_from(queue_id) == Ok(place.queue);
            let at = reset.offset_table.0.into_iter().find(|(queue, _)| is_it(queue.queue_id));
            table.extend(at.map(|(_, at)| (number, self::offset(at))));
        }
        Ok(table)
    }

    async fn check_within(&self, topic: &TopicName, queue: QueueId, offset: QueueOffset) -> Result<(), ResetError> {
        let first = self.offset_at(topic, queue, OffsetAt::Beginning).await?;
        let end = self.offset_at(topic, queue, OffsetAt::End).await?;
        if (first..=end).contains(&offset) {
            return Ok(());
        }
        Err(ResetError::Outside { queue, offset, first, end })
    }
}

/// The number here of a broker's queue.
fn number(route: &Route, broker: &str, queue: i32) -> Option<QueueId> {
    let is_it = |place: &Place| &*place.broker == broker && i32::try_from(place.queue) == Ok(queue);
    let number = route.readable.iter().position(is_it)?;
    u32::try_from(number).ok().map(QueueId)
}

/// A group as it is wanted; what is not ours to say stays as it is.
fn change(config: &GroupConfig, now: SubscriptionGroupConfig) -> SubscriptionGroupConfig {
    let ms = |wait: &std::time::Duration| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    let mut policy = GroupRetryPolicy::default();
    match &config.retry {
        // The first two are those of delay levels that no retry uses.
        RetryPolicy::Customized { next } => {
            let first = next.first().map_or(0, ms);
            let skipped = std::iter::repeat_n(first, WAITS_SKIPPED);
            policy.customized_retry_policy =
                Some(CustomizedRetryPolicy { next: skipped.chain(next.iter().map(ms)).collect() });
        }
        RetryPolicy::Exponential { initial, max, multiplier } => {
            policy.kind = "EXPONENTIAL".to_owned();
            let (initial, max, multiplier) = (ms(initial), ms(max), i64::from(*multiplier));
            policy.exponential_retry_policy = Some(ExponentialRetryPolicy { initial, max, multiplier });
        }
    }
    let group_retry_policy = if config.retry == RetryPolicy::default() { GroupRetryPolicy::default() } else { policy };
    SubscriptionGroupConfig {
        group_name: config.name.to_string(),
        consume_enable: config.is_enabled,
        consume_message_orderly: config.is_fifo,
        retry_max_times: i32::try_from(config.attempts_max.saturating_sub(1)).unwrap_or(i32::MAX),
        consume_timeout_minute: i64::try_from(config.consume_timeout.as_secs().div_ceil(60)).unwrap_or(i64::MAX),
        group_retry_policy,
        ..now
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_group_is_read_as_it_was_written() {
        let name = GroupName::new("g").expect("valid");
        let plain = GroupConfig::new(name.clone());
        let seconds = |of: &[u64]| of.iter().copied().map(Duration::from_secs).collect();
        let policies = [
            RetryPolicy::default(),
            RetryPolicy::Customized { next: seconds(&[1, 5]) },
            RetryPolicy::Exponential { initial: Duration::from_secs(1), max: Duration::from_secs(60), multiplier: 3 },
        ];
        for retry in policies {
            let config = GroupConfig { is_fifo: true, is_enabled: false, attempts_max: 4, retry, ..plain.clone() };
            assert_eq!(group_of(name.clone(), &change(&config, SubscriptionGroupConfig::default())), config);
        }
    }
}
