//! Sends. Source: Apache 5.5 `SendMessageProcessor`, `AbstractSendMessageProcessor`.

use remoting::Connection;
use remoting_proto::body::batch;
use remoting_proto::requests::{AUTO_CREATE_TOPIC, RecallMessage, RecallMessageAnswer, SendMessage, SendMessageAnswer};
use remoting_proto::{Command, RequestCode, ResponseCode};
use types::broker::{Durability, SendError, SendReceipt};
use types::properties::names;
use types::{Broker as _, Message, Properties, QueueId, SysFlag, Timestamp, TopicName};

use super::names::{
    CLUSTER, MESSAGE_REGION, POP_CHECK, PRODUCERS_SYS_FLAG, REPLY_TO_CLIENT, TIMES, TRACE_ON, make_group_topic,
    make_topic,
};
use super::{Answer, Refusal, done};
use crate::catalog::Catalog;
use crate::server::Core;

/// What traces of clients name. Source: `BrokerConfig.regionId`.
pub(super) const REGION: &str = "DefaultRegion";

/// Stores one message, or those of a batch.
pub(super) async fn send(core: &Core, connection: &Connection, request: &Command) -> Answer {
    let code = request.request_code();
    let header = match code {
        RequestCode::SendMessage => SendMessage::of_long(&request.fields)?,
        _ => SendMessage::of(&request.fields)?,
    };
    let is_batch = code == RequestCode::SendBatchMessage || header.is_batch == Some(true);
    check_retries(&header)?;
    let topic = target(core, &header, is_batch).await?;
    let message =
        |body, flag: i64, properties: &str| message(core, connection, &header, &topic, body, flag, properties);
    let messages: Vec<_> = if is_batch {
        let messages = batch::decode(request.body.clone())?.into_iter();
        messages.map(|one| message(one.body, one.flag.into(), &one.properties)).collect()
    } else {
        vec![message(request.body.clone(), header.flag, header.properties.as_deref().unwrap_or_default())]
    };
    let queue = queue(core, &header, &topic)?;
    let transaction_id = messages.first().and_then(|first| first.properties.get(names::UNIQUE_KEY)).map(str::to_owned);
    let (count, bytes) = (messages.len() as u64, request.body.len() as u64);
    let began = core.env.clock.moment();
    let receipts = core.broker.send_whole(queue, messages).await?;
    let took = core.env.clock.moment().since(began);
    let mut statistics = core.statistics.lock();
    statistics.put(topic.as_str(), count, bytes, core.now());
    statistics.took(took);
    drop(statistics);
    answer(core, request, &receipts, transaction_id)
}

/// Where it goes; the topic is made, if that is how it is.
async fn target(core: &Core, header: &SendMessage, is_batch: bool) -> Result<TopicName, Refusal> {
    let topic = TopicName::new(&header.topic)?;
    if topic.is_trace() {
        return make_group_topic(core, topic).await;
    }
    if topic.is_system() {
        let remark = format!("sending to topic {topic} is forbidden: it belongs to the system");
        return Err(Refusal::new(ResponseCode::NoPermission, remark));
    }
    if let Some(group) = topic.retrying_group() {
        if is_batch {
            return Err(Refusal::new(ResponseCode::MessageIllegal, format!("a batch cannot be sent to {topic}")));
        }
        // A consumer that could not hand a message back sends it itself.
        let is_given_up = match (core.broker.group(&super::names::group(group)?).await, header.reconsume_times) {
            (Ok(config), Some(times)) => {
                times > header.max_reconsume_times.unwrap_or(i64::from(config.attempts_max) - 1)
            }
            _ => false,
        };
        let target = if is_given_up { TopicName::dead_letter(&super::names::group(group)?) } else { topic };
        return make_group_topic(core, target).await;
    }
    if core.broker.known_topic(&topic).is_some() {
        return Ok(topic);
    }
    let (auto_create_topics, default_queues) = {
        let settings = core.settings.lock();
        (settings.auto_create_topics, settings.default_queues)
    };
    if auto_create_topics && header.default_topic.as_deref() == Some(AUTO_CREATE_TOPIC) {
        let asked = header.default_topic_queue_nums.and_then(|asked| u32::try_from(asked).ok()).unwrap_or(u32::MAX);
        check_room(core.broker.status().topics)?;
        make_topic(core, &topic, asked.clamp(1, default_queues)).await?;
        return Ok(topic);
    }
    Err(SendError::TopicNotFound { topic }.into())
}

/// What operators make is theirs to bound.
fn check_room(topics: u64) -> Result<(), Refusal> {
    let topics_max = Catalog::TOPICS_MAX;
    if topics < topics_max as u64 {
        return Ok(());
    }
    let remark = format!("{topics} topics are there; from {topics_max} on none is made by sending to it");
    Err(Refusal::new(ResponseCode::SystemBusy, remark))
}

fn queue(core: &Core, header: &SendMessage, topic: &TopicName) -> Result<QueueId, Refusal> {
    // Who sends the first trace found no route, and chose one of the queues that other topics are made with.
    if header.queue_id >= 0 && topic.as_str() == header.topic && !topic.is_trace() {
        return super::names::queue(header.queue_id);
    }
    let queues = core.broker.known_topic(topic).map_or(1, |config| config.write_queues);
    Ok(core.broker.any_queue(queues))
}

fn message(
    core: &Core,
    connection: &Connection,
    header: &SendMessage,
    topic: &TopicName,
    body: bytes::Bytes,
    flag: i64,
    properties: &str,
) -> Message {
    let mut properties = Properties::parse(properties);
    properties.remove(POP_CHECK);
    if topic.is_dead_letter() {
        // What is given up waits for no retry.
        for name in TIMES {
            properties.remove(name);
        }
    }
    if properties.get(REPLY_TO_CLIENT).is_some() {
        properties.remove(CLUSTER);
        if let Err(error) = properties.set(CLUSTER, &core.options.cluster) {
            tracing::warn!(%error, cluster = core.options.cluster, "a request cannot say its cluster, so it gets no reply");
        }
    }
    // Consumers of 5.5 tell no trace of a message that lacks them.
    properties.set_own(MESSAGE_REGION, REGION);
    properties.set_own(TRACE_ON, "true");
    if properties.get(names::UNIQUE_KEY).is_none() {
        properties.set_own(names::UNIQUE_KEY, &core.broker.new_unique_key());
    }
    // Java's 32 bits, with their sign.
    let bits = |number: i64| number as u32;
    Message {
        topic: topic.clone(),
        body,
        properties,
        flag: bits(flag),
        sys_flag: SysFlag(bits(header.sys_flag) & PRODUCERS_SYS_FLAG),
        born_at: Timestamp(header.born_timestamp),
        born_host: connection.remote(),
        reconsume_times: header.reconsume_times.and_then(|times| u32::try_from(times).ok()).unwrap_or_default(),
        source_offset: 0,
    }
}

/// A record has 32 bits with a sign for it.
fn check_retries(header: &SendMessage) -> Result<(), Refusal> {
    match header.reconsume_times {
        Some(times) if times > i64::from(i32::MAX) => {
            Err(Refusal::invalid(format!("reconsumeTimes is {times}, at most {} allowed", i32::MAX)))
        }
        _ => Ok(()),
    }
}

fn answer(core: &Core, request: &Command, receipts: &[SendReceipt], transaction_id: Option<String>) -> Answer {
    let Some(first) = receipts.first() else {
        return Err(Refusal::new(ResponseCode::MessageIllegal, "the batch has no message"));
    };
    let id = |receipt: &SendReceipt| record::offset_message_id(core.options.advertised, receipt.physical_offset);
    let header = SendMessageAnswer {
        msg_id: receipts.iter().map(id).collect::<Vec<_>>().join(","),
        queue_id: first.queue.0.into(),
        queue_offset: super::names::number(first.queue_offset),
        transaction_id,
        recall_handle: first.recall_handle.clone(),
        msg_region: Some(REGION.to_owned()),
        trace_on: Some(true),
        repeat_of: first.repeat_of.as_deref().map(str::to_owned),
    };
    // All of a request waited for the same.
    Ok(Command { fields: header.to_fields(), ..request.answer(stored(first.durability)) })
}

/// What the sender of a stored message is told of where it is by now.
fn stored(durability: Durability) -> ResponseCode {
    match durability {
        Durability::Written | Durability::Flushed => ResponseCode::Success,
        Durability::FlushTimedOut => ResponseCode::FlushDiskTimeout,
        Durability::ReplicaTimedOut => ResponseCode::FlushSlaveTimeout,
        Durability::ReplicaMissing => ResponseCode::SlaveNotAvailable,
    }
}

/// Takes a delayed message back.
pub(super) async fn recall(core: &Core, request: &Command) -> Answer {
    let RecallMessage { topic, recall_handle, .. } = RecallMessage::of(&request.fields)?;
    let msg_id = core.broker.recall(TopicName::new(&topic)?, recall_handle).await?;
    Ok(Command { fields: RecallMessageAnswer { msg_id }.to_fields(), ..done(request) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_make_topics_up_to_the_bound() {
        assert!(check_room(Catalog::TOPICS_MAX as u64 - 1).is_ok());
        let Refusal { code, remark, .. } = check_room(Catalog::TOPICS_MAX as u64).expect_err("full");
        assert_eq!((code, remark.contains("100000 topics are there")), (ResponseCode::SystemBusy, true));
    }
}
