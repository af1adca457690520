//! Locks on queues, for 4.x consumers that consume in order. Source: Apache 5.5 `AdminBrokerProcessor#lockBatchMQ`, which does not look
//! at pops.

use remoting_proto::body::{LockBatch, LockBatchAnswer, MessageQueue};
use remoting_proto::{Command, ResponseCode};
use types::broker::Unavailable;
use types::{QueueId, TopicName};

use super::names::{check_client, check_count, group, queue};
use super::{Answer, Refusal, done, json};
use crate::command::Locked;
use crate::server::Core;

/// Most queues that one request locks.
const QUEUES_MAX: usize = 4096;

/// Locks what is free or the client's already; says which queues the client has. Nothing is locked of a topic of which the group's pops
/// have messages: a request of such queues alone is refused, so that its client's log says why.
pub(super) async fn lock(core: &Core, request: &Command) -> Answer {
    let LockBatch { client_id, consumer_group, mq_set, .. } = remoting_proto::from_slice(&request.body)?;
    check_client(&client_id)?;
    if !core.decides() {
        return Err(Unavailable::Slave.into());
    }
    let (group, queues) = (group(&consumer_group)?, named(&mq_set)?);
    let outcomes = core.broker.lock_queues(group.clone(), queues, client_id).await?;
    let popped = outcomes.iter().zip(&mq_set).find(|(outcome, _)| **outcome == Locked::Popped);
    if let Some((_, MessageQueue { topic, .. })) = popped
        && !outcomes.contains(&Locked::Taken)
    {
        let remark = format!(
            "consumer group {group} pops topic {topic} and has messages of it that are leased or wait for their retry, so its queues \
             cannot be read in order: stop its pop consumers and ask again when these are finished, or use another group"
        );
        return Err(Refusal::new(ResponseCode::NoPermission, remark));
    }
    let taken = mq_set.into_iter().zip(outcomes).filter(|(_, outcome)| *outcome == Locked::Taken);
    Ok(json(request, &LockBatchAnswer { lock_ok_mq_set: taken.map(|(queue, _)| queue).collect() }))
}

/// Gives locks back.
pub(super) fn unlock(core: &Core, request: &Command) -> Answer {
    let LockBatch { client_id, consumer_group, mq_set, .. } = remoting_proto::from_slice(&request.body)?;
    core.broker.unlock_queues(group(&consumer_group)?, named(&mq_set)?, client_id)?;
    Ok(done(request))
}

fn named(queues: &[MessageQueue]) -> Result<Vec<(TopicName, QueueId)>, Refusal> {
    check_count("queues to lock or unlock", queues.len(), QUEUES_MAX)?;
    queues.iter().map(|of| Ok((TopicName::new(&of.topic)?, queue(of.queue_id.into())?))).collect()
}
