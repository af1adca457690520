//! Consumer groups: made, changed, deleted, listed. Source: Apache 5.5 `AdminBrokerProcessor`, `SubscriptionGroupManager`.

use std::time::Duration;

use remoting_proto::Command;
use remoting_proto::body::{
    CustomizedRetryPolicy, DataVersion, ExponentialRetryPolicy, GroupReadable, GroupRetryPolicy,
    SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroups,
};
use remoting_proto::requests::{DeleteSubscriptionGroup, GroupForbidden, GroupName as Named};
use types::admin::AdminError;
use types::{Admin as _, Broker as _, GroupConfig, GroupName, RetryPolicy, TopicName};

use super::names::{check_count, group, make_group_topic};
use super::{Answer, LISTED_MAX, Refusal, done, json};
use crate::server::Core;

/// Delay levels before the first that a retry waits.
const LEVELS_BEFORE: usize = 2;

/// Makes a group, or changes it; its retry topic is there on return, because tools look for it.
pub(super) async fn put(core: &Core, request: &Command) -> Answer {
    let told: SubscriptionGroupConfig = remoting_proto::from_slice(&request.body)?;
    make(core, GroupName::for_peer(&told.group_name)?, &told).await?;
    Ok(done(request))
}

/// The same of several, in their order. Names are looked at first, so that a wrong one among them changes nothing.
pub(super) async fn put_list(core: &Core, request: &Command) -> Answer {
    let SubscriptionGroupList { group_config_list } = remoting_proto::from_slice(&request.body)?;
    check_count("groups", group_config_list.len(), LISTED_MAX)?;
    let names = group_config_list.iter().map(|told| GroupName::for_peer(&told.group_name));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    for (name, told) in names.into_iter().zip(&group_config_list) {
        make(core, name, told).await?;
    }
    Ok(done(request))
}

async fn make(core: &Core, name: GroupName, told: &SubscriptionGroupConfig) -> Result<(), Refusal> {
    let config = config(name.clone(), told);
    match core.broker.put_group(config.clone(), false).await {
        Err(AdminError::Exists { .. }) => core.broker.put_group(config, true).await?,
        made => made?,
    }
    make_group_topic(core, TopicName::group_retry(&name)).await?;
    Ok(())
}

/// Forbids or allows a group to read a topic, until the broker ends or one of them is deleted; says what holds then.
pub(super) async fn forbid(core: &Core, request: &Command) -> Answer {
    let header = GroupForbidden::of(&request.fields)?;
    let (group, topic) = (group(&header.group)?, TopicName::new(&header.topic)?);
    if let Some(readable) = header.readable {
        core.forbidden.lock().set(&group, &topic, !readable)?;
        core.forget_gone().await;
        if readable {
            tracing::info!(%group, %topic, "a group may read a topic again");
        } else {
            tracing::warn!(%group, %topic, "a group may not read a topic, until this process ends");
        }
    }
    let readable = !core.forbidden.lock().has(&group, &topic);
    Ok(json(request, &GroupReadable { group: header.group, topic: header.topic, readable }))
}

/// Deletes a group with its offsets; without them it is not deleted, as none are kept of a group that is not there.
pub(super) async fn delete(core: &Core, request: &Command) -> Answer {
    let header = DeleteSubscriptionGroup::of(&request.fields)?;
    let name = group(&header.group_name)?;
    if header.clean_offset != Some(true) {
        let remark =
            format!("the offsets of group {name} go with it: cleanOffset must be true (deleteSubGroup -r true)");
        return Err(Refusal::invalid(remark));
    }
    core.broker.delete_group(&name).await?;
    core.forget_gone().await;
    Ok(done(request))
}

/// All groups, in one page.
pub(super) async fn all(core: &Core, request: &Command) -> Answer {
    let groups = core.broker.groups().await?;
    let subscription_group_table = groups.iter().map(|config| (config.name.to_string(), told(config))).collect();
    let data_version = DataVersion { counter: 0, state_version: 0, timestamp: core.started.0 };
    Ok(json(request, &SubscriptionGroups { data_version, subscription_group_table }))
}

/// A group's settings; it is made, where that is how it is.
pub(super) async fn get(core: &Core, request: &Command) -> Answer {
    let Named { group: name } = Named::of(&request.fields)?;
    let config = core.broker.group(&group(&name)?).await?;
    Ok(json(request, &told(&config)))
}

fn config(name: GroupName, told: &SubscriptionGroupConfig) -> GroupConfig {
    let minutes = u64::try_from(told.consume_timeout_minute).unwrap_or_default();
    GroupConfig {
        name,
        is_fifo: told.consume_message_orderly,
        is_enabled: told.consume_enable,
        attempts_max: u32::try_from(told.retry_max_times).unwrap_or_default().saturating_add(1),
        retry: policy(&told.group_retry_policy),
        consume_timeout: Duration::from_secs(minutes.saturating_mul(60)),
        is_auto_created: false,
    }
}

fn policy(told: &GroupRetryPolicy) -> RetryPolicy {
    let wait = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or_default());
    match (&told.exponential_retry_policy, &told.customized_retry_policy) {
        (Some(of), _) if told.kind == "EXPONENTIAL" => RetryPolicy::Exponential {
            initial: wait(of.initial),
            max: wait(of.max),
            multiplier: u32::try_from(of.multiplier).unwrap_or(1).max(1),
        },
        (_, Some(of)) if of.next.len() > LEVELS_BEFORE => {
            RetryPolicy::Customized { next: of.next.iter().skip(LEVELS_BEFORE).map(|ms| wait(*ms)).collect() }
        }
        _ => RetryPolicy::default(),
    }
}

fn told(config: &GroupConfig) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig {
        consume_enable: config.is_enabled,
        consume_message_orderly: config.is_fifo,
        consume_timeout_minute: i64::try_from(config.consume_timeout.as_secs() / 60).unwrap_or(i64::MAX),
        group_name: config.name.to_string(),
        group_retry_policy: told_policy(&config.retry),
        retry_max_times: i32::try_from(config.attempts_max.saturating_sub(1)).unwrap_or(i32::MAX),
        ..SubscriptionGroupConfig::default()
    }
}

fn told_policy(policy: &RetryPolicy) -> GroupRetryPolicy {
    let ms = |wait: &Duration| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    match policy {
        policy if *policy == RetryPolicy::default() => GroupRetryPolicy::default(),
        RetryPolicy::Customized { next } => {
            let before = next.first().into_iter().cycle().take(LEVELS_BEFORE);
            let next = before.chain(next).map(ms).collect();
            GroupRetryPolicy {
                customized_retry_policy: Some(CustomizedRetryPolicy { next }),
                ..GroupRetryPolicy::default()
            }
        }
        RetryPolicy::Exponential { initial, max, multiplier } => {
            let of = ExponentialRetryPolicy { initial: ms(initial), max: ms(max), multiplier: (*multiplier).into() };
            GroupRetryPolicy {
                kind: "EXPONENTIAL".to_owned(),
                exponential_retry_policy: Some(of),
                ..GroupRetryPolicy::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_comes_back_as_it_was_told() {
        let name = || GroupName::new("g").expect("valid");
        let customized = RetryPolicy::Customized { next: vec![Duration::from_secs(1), Duration::from_secs(2)] };
        let (initial, max) = (Duration::from_secs(1), Duration::from_secs(9));
        let exponential = RetryPolicy::Exponential { initial, max, multiplier: 3 };
        for retry in [RetryPolicy::default(), customized, exponential] {
            let group = GroupConfig { retry, attempts_max: 3, is_fifo: true, ..GroupConfig::new(name()) };
            assert_eq!(config(name(), &told(&group)), group);
        }
        assert_eq!(config(name(), &SubscriptionGroupConfig::default()), GroupConfig::new(name()));
    }
}
