//! A slave that stands in for its master: name servers tell of who is the lowest, master and slave of what was done meanwhile.
//! Source of the first: Apache 5.5 `AdminBrokerProcessor#notifyBrokerIdChanged`.

use remoting_proto::body::{HandBack, LockBatch};
use remoting_proto::requests::BrokerName;
use remoting_proto::{Command, ResponseCode};

use super::names::message_queue;
use super::{Answer, Refusal, done, json};
use crate::acting;
use crate::server::Core;

/// Most locks that a master is told of: with the offsets they fit in a frame. Clients of others lock anew.
const LOCKS_MAX: usize = 5_000;

/// Another broker of this name is the lowest now.
pub(super) fn lowest_changed(core: &Core, request: &Command) -> Command {
    if let Some(acting) = &core.acting {
        acting.look_now();
    }
    done(request)
}

/// A master asks a slave for what that has done in its stead; or a slave tells a master.
pub(super) async fn hand_back(core: &Core, request: &Command) -> Answer {
    let BrokerName { broker_name } = BrokerName::of(&request.fields)?;
    if broker_name != core.name() {
        let remark = format!("this broker is {}, not {broker_name}", core.name());
        return Err(Refusal::new(ResponseCode::SystemError, remark));
    }
    let Some(acting) = &core.acting else {
        let remark = "this broker stands in for nobody, and nobody for it: enableSlaveActingMaster is not set";
        return Err(Refusal::new(ResponseCode::SystemError, remark));
    };
    if !core.broker.is_slave() {
        acting::take(core, remoting_proto::from_slice(&request.body)?).await?;
        return Ok(done(request));
    }
    let locks = locks(core).await?;
    Ok(json(request, &HandBack { locks, ..acting.hand_over().await }))
}

async fn locks(core: &Core) -> Result<Vec<LockBatch>, Refusal> {
    let mut locks: Vec<LockBatch> = Vec::new();
    for ((group, topic, queue), client_id) in core.broker.locked_queues().await?.into_iter().take(LOCKS_MAX) {
        let queue = message_queue(core, &topic, queue);
        match locks.last_mut() {
            Some(last) if last.consumer_group == group.as_str() && last.client_id == client_id => {
                last.mq_set.push(queue)
            }
            _ => locks.push(LockBatch {
                client_id,
                consumer_group: group.to_string(),
                mq_set: vec![queue],
                only_this_broker: true,
            }),
        }
    }
    Ok(locks)
}
