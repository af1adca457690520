//! Which queues a client of a group consumes, and whether by pulls or pops: consumers of 5.x may leave it to the broker.
//! Source: Apache 5.5 `QueryAssignmentProcessor`.

use remoting_proto::body::{Assignment, Assignments, MessageQueue, MessageRequestMode, QueryAssignment};
use remoting_proto::{Command, ResponseCode};
use types::{Broker as _, TopicName};

use super::names::{group, known_topic};
use super::{Answer, Refusal, done, json};
use crate::request_modes::{self, POP, PULL, Strategy};
use crate::server::Core;

/// The queues of a client. Without a list the client keeps what it has.
pub(super) async fn query(core: &Core, request: &Command) -> Answer {
    let asked: QueryAssignment = remoting_proto::from_slice(&request.body)?;
    let mode = core.request_modes.lock().get(&asked.topic, &asked.consumer_group);
    let queues = match queues(core, &asked.topic).await {
        Some(queues) => assigned(core, &asked, &mode, &queues),
        None => None,
    };
    let assignment = |message_queue| Assignment { message_queue, mode: mode.mode.clone() };
    let message_queue_assignments = queues.map(|queues| queues.into_iter().map(assignment).collect());
    Ok(json(request, &Assignments { message_queue_assignments }))
}

fn assigned(
    core: &Core,
    asked: &QueryAssignment,
    mode: &MessageRequestMode,
    queues: &[MessageQueue],
) -> Option<Vec<MessageQueue>> {
    if asked.message_model == "BROADCASTING" {
        return Some(queues.to_vec());
    }
    let clients = core.clients.lock().consumer_ids(&asked.consumer_group);
    if clients.is_empty() {
        return None;
    }
    let strategy = Strategy::of(&asked.strategy_name)?;
    let (client, count) = (clients.iter().position(|client| *client == asked.client_id), clients.len());
    if mode.mode == POP {
        // Who pops all shares with whoever comes.
        return Some(request_modes::popped(queues, client.unwrap_or(0), count, strategy, mode.pop_share_queue_num));
    }
    Some(client.map_or_else(Vec::new, |client| request_modes::pulled(queues, client, count, strategy)))
}

/// A topic's queues on all brokers, in order, as a name server tells them; without one those of this broker. `None` if there is no
/// such topic, or nobody tells now.
async fn queues(core: &Core, topic: &str) -> Option<Vec<MessageQueue>> {
    let queue = |broker_name: &str, queue_id| MessageQueue {
        broker_name: broker_name.to_owned(),
        queue_id,
        topic: topic.to_owned(),
    };
    if core.routes.is_empty() {
        let config = core.broker.known_topic(&TopicName::new(topic).ok()?)?;
        let count = i32::try_from(config.read_queues).unwrap_or(i32::MAX);
        return Some((0..count).map(|number| queue(core.name(), number)).collect());
    }
    let route = core.routes.of(topic).await?;
    let readable = route.queue_datas.iter().filter(|data| data.perm.is_readable());
    let mut queues: Vec<_> =
        readable.flat_map(|data| (0..data.read_queue_nums).map(|number| queue(&data.broker_name, number))).collect();
    queues.sort_by(|a, b| (&a.broker_name, a.queue_id).cmp(&(&b.broker_name, b.queue_id)));
    Some(queues)
}

/// Sets whether a group pulls or pops a topic; on the disk on return.
pub(super) async fn set_mode(core: &Core, request: &Command) -> Answer {
    let mode: MessageRequestMode = remoting_proto::from_slice(&request.body)?;
    if TopicName::new(&mode.topic)?.is_retry() {
        let remark = format!("topic {} is one of retries, which are always pulled", mode.topic);
        return Err(Refusal::new(ResponseCode::NoPermission, remark));
    }
    known_topic(core, &mode.topic)?;
    core.broker.group(&group(&mode.consumer_group)?).await?;
    if ![POP, PULL].contains(&mode.mode.as_str()) {
        return Err(Refusal::invalid(format!("mode is {:?}, expected {PULL} or {POP}", mode.mode)));
    }
    core.request_modes.lock().set(mode)?;
    core.save_request_modes().await?;
    Ok(done(request))
}

/// All that were set.
pub(super) fn modes(core: &Core, request: &Command) -> Command {
    let all = core.request_modes.lock().all();
    json(request, &all)
}
