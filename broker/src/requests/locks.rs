//! Locks on queues, for 4.x consumers that consume in order. Source: Apache 5.5 `AdminBrokerProcessor#lockBatchMQ`.

use remoting_proto::Command;
use remoting_proto::body::{LockBatch, LockBatchAnswer, MessageQueue};
use types::{GroupName, QueueId, TopicName};

use super::names::{check_client, check_count, group, queue};
use super::{Answer, Refusal, done, json};
use crate::server::Core;

/// Most queues that one request locks.
const QUEUES_MAX: usize = 4096;

/// Locks what is free or the client's already; says which queues the client has.
pub(super) fn lock(core: &Core, request: &Command) -> Answer {
    let LockBatch { client_id, consumer_group, mq_set, .. } = remoting_proto::from_slice(&request.body)?;
    check_client(&client_id)?;
    check_count("queues to lock", mq_set.len(), QUEUES_MAX)?;
    let (group, now) = (group(&consumer_group)?, core.now());
    let mut locked = Vec::new();
    for queue in mq_set {
        if core.locks.lock().lock(key(&group, &queue)?, &client_id, now) {
            locked.push(queue);
        }
    }
    Ok(json(request, &LockBatchAnswer { lock_ok_mq_set: locked }))
}

/// Gives locks back.
pub(super) fn unlock(core: &Core, request: &Command) -> Answer {
    let LockBatch { client_id, consumer_group, mq_set, .. } = remoting_proto::from_slice(&request.body)?;
    let group = group(&consumer_group)?;
    for queue in mq_set {
        core.locks.lock().unlock(&key(&group, &queue)?, &client_id);
    }
    Ok(done(request))
}

fn key(group: &GroupName, of: &MessageQueue) -> Result<(GroupName, TopicName, QueueId), Refusal> {
    Ok((group.clone(), TopicName::new(&of.topic)?, queue(of.queue_id.into())?))
}
