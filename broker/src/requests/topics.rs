//! Topics: made, changed, deleted, listed. Source: Apache 5.5 `AdminBrokerProcessor`.

use std::collections::BTreeMap;

use remoting_proto::Command;
use remoting_proto::body::{
    DataVersion, Permission, TopicConfig as Told, TopicConfigList, TopicList, TopicSettings, Topics,
};
use remoting_proto::requests::{TopicName as Named, UpdateAndCreateTopic};
use types::admin::AdminError;
use types::broker::LookupError;
use types::{Admin as _, MessageType, TopicConfig, TopicName, TopicType};

use super::names::check_count;
use super::{Answer, LISTED_MAX, Refusal, done, json};
use crate::registration;
use crate::server::Core;

/// The attribute that says which kinds of messages a topic takes. Source: `TopicAttributes`.
const MESSAGE_TYPE: &str = "message.type";

/// Makes a topic, or changes it.
pub(super) async fn put(core: &Core, request: &Command) -> Answer {
    let header = UpdateAndCreateTopic::of(&request.fields)?;
    let attributes = header.attributes.as_deref().unwrap_or_default();
    let queues = (header.read_queue_nums, header.write_queue_nums);
    make(core, config(core, &header.topic, queues, header.perm, attributes)?).await?;
    registration::told(core).await;
    Ok(done(request))
}

/// Makes or changes several topics, in their order. What is asked for is looked at first, so that a wrong name among them changes nothing.
pub(super) async fn put_list(core: &Core, request: &Command) -> Answer {
    let TopicConfigList { topic_config_list } = remoting_proto::from_slice(&request.body)?;
    check_count("topics", topic_config_list.len(), LISTED_MAX)?;
    let config = |TopicSettings { config: told, attributes, .. }: &TopicSettings| {
        let attributes: Vec<String> = attributes.iter().map(|(name, text)| format!("{name}={text}")).collect();
        let queues = (told.read_queue_nums.into(), told.write_queue_nums.into());
        config(core, &told.topic_name, queues, told.perm.0.into(), &attributes.join(","))
    };
    for config in topic_config_list.iter().map(config).collect::<Result<Vec<_>, _>>()? {
        make(core, config).await?;
    }
    registration::told(core).await;
    Ok(done(request))
}

/// A topic as it shall be. What is not said of its attributes stays as it is.
fn config(
    core: &Core,
    name: &str,
    (read_queues, write_queues): (i64, i64),
    perm: i64,
    attributes: &str,
) -> Result<TopicConfig, Refusal> {
    let name = TopicName::for_peer(name)?;
    let asked = message_type(attributes)?;
    let known = core.broker.known_topic(&name);
    let default = known.map_or(TopicType::Only(MessageType::Normal), |config| config.topic_type);
    let queues = |count: i64| u32::try_from(count).map_err(|_| Refusal::invalid(format!("{count} queues asked for")));
    let permission = Permission(i32::try_from(perm).unwrap_or_default());
    Ok(TopicConfig {
        name,
        read_queues: queues(read_queues)?,
        write_queues: queues(write_queues)?,
        is_readable: permission.is_readable(),
        is_writable: permission.is_writable(),
        topic_type: asked.unwrap_or(default),
        is_auto_created: false,
    })
}

async fn make(core: &Core, config: TopicConfig) -> Result<(), Refusal> {
    let is_known = core.broker.known_topic(&config.name).is_some();
    Ok(core.broker.put_topic(config, is_known).await?)
}

/// What `+message.type=FIFO` among other changes of attributes says.
fn message_type(attributes: &str) -> Result<Option<TopicType>, Refusal> {
    let assigned = attributes.split(',').filter_map(|change| change.trim().strip_prefix('+')?.split_once('='));
    let Some((_, text)) = assigned.into_iter().find(|(name, _)| name.trim() == MESSAGE_TYPE) else { return Ok(None) };
    match text.trim() {
        "MIXED" => Ok(Some(TopicType::Mixed)),
        other => other.parse().map(|only| Some(TopicType::Only(only))).map_err(Refusal::invalid),
    }
}

/// Deletes a topic; that it is not there is fine.
pub(super) async fn delete(core: &Core, request: &Command) -> Answer {
    let Named { topic } = Named::of(&request.fields)?;
    match core.broker.delete_topic(&TopicName::for_peer(&topic)?).await {
        // Tools delete the retry and dead-letter topics of a group whether they are there or not.
        Ok(()) | Err(AdminError::Lookup(LookupError::TopicNotFound { .. })) => {}
        Err(error) => return Err(error.into()),
    }
    core.forget_gone().await;
    registration::told(core).await;
    Ok(done(request))
}

/// All topics, in one page.
pub(super) fn all(core: &Core, request: &Command) -> Command {
    let types: BTreeMap<_, _> =
        core.broker.known_topics().into_iter().map(|topic| (topic.name.to_string(), topic.topic_type)).collect();
    let told = registration::topics(core, Permission::READ_WRITE).into_iter();
    let topic_config_table = told
        .map(|(name, config)| {
            let topic_type = types.get(&name).copied();
            (name, settings(config, topic_type))
        })
        .collect();
    let data_version = DataVersion {
        counter: core.broker.topic_changes().borrow().cast_signed(),
        state_version: 0,
        timestamp: core.started.0,
    };
    json(request, &Topics { data_version, topic_config_table })
}

/// A topic's settings.
pub(super) fn get(core: &Core, request: &Command) -> Answer {
    let Named { topic } = Named::of(&request.fields)?;
    let topic = TopicName::new(&topic)?;
    let topic_type = core.broker.known_topic(&topic).map(|config| config.topic_type);
    // As it was set, whatever the broker allows meanwhile: tools write back what they read.
    match registration::topics(core, Permission::READ_WRITE).remove(topic.as_str()) {
        Some(config) => Ok(json(request, &settings(config, topic_type))),
        None => Err(LookupError::TopicNotFound { topic }.into()),
    }
}

/// The topics that the broker keeps for itself, and those that are only names.
pub(super) fn of_system(core: &Core, request: &Command) -> Command {
    let is_system = |name: &String| {
        let names = [core.options.cluster.as_str(), core.name()];
        names.contains(&name.as_str()) || TopicName::new(name).is_ok_and(|topic| topic.is_system())
    };
    let topic_list = registration::topics(core, Permission::READ_WRITE).into_keys().filter(is_system).collect();
    json(request, &TopicList { broker_addr: None, topic_list })
}

fn settings(config: Told, topic_type: Option<TopicType>) -> TopicSettings {
    let attributes = topic_type.map(|kind| (MESSAGE_TYPE.to_owned(), kind.to_string())).into_iter().collect();
    TopicSettings { config, attributes, ..TopicSettings::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_topic_is_an_attribute() {
        let of = |text| message_type(text).expect("valid");
        assert_eq!(of("+message.type=FIFO"), Some(TopicType::Only(MessageType::Fifo)));
        assert_eq!(of("-x, +cleanup.policy=DELETE , +message.type=MIXED"), Some(TopicType::Mixed));
        assert_eq!((of(""), of("-message.type")), (None, None));
        assert!(message_type("+message.type=ODD").is_err());
    }
}
