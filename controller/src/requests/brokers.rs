//! Brokers that take ids, live and change their roles, and operators that change them.

use std::collections::BTreeSet;
use std::time::Duration;

use remoting::Connection;
use remoting_proto::body::{BrokerMemberGroup, ElectMasterBody, SyncStateSet};
use remoting_proto::requests::{
    AlterSyncStateSet, AlterSyncStateSetAnswer, ApplyBrokerId, BrokerMember, CleanBrokerData, ControllerHeartbeat,
    ElectMaster, ElectMasterAnswer, GetNextBrokerIdAnswer, RegisterBrokerToController,
    RegisterBrokerToControllerAnswer,
};
use remoting_proto::{Command, ResponseCode};

use super::{Answered, Refused, done, json};
use crate::liveness::Heartbeat;
use crate::server::{Core, sync_state_set};
use crate::state::{
    self, Answer, BrokerId, BrokerSet, InSyncEpoch, MEMBERS_MAX, MasterEpoch, Refusal, Standing, TEXT_BYTES_MAX,
};

/// Proposes it, and answers what was decided.
async fn propose(core: &Core, request: &Command, command: state::Command) -> Answered {
    let name = command.name().to_owned();
    match core.propose(command).await? {
        Ok(Answer::Applied) => {
            let ApplyBrokerId { cluster_name, broker_name, .. } = ApplyBrokerId::of(&request.fields)?;
            Ok(done(request, BrokerMember { cluster_name, broker_name }.to_fields()))
        }
        Ok(Answer::Registered(set, has_master)) => Ok(registered(request, name, &set, has_master)),
        Ok(Answer::Elected(set)) => Ok(elected(request, name, &set, ResponseCode::Success)),
        Ok(Answer::InSync(set)) => {
            let epoch = AlterSyncStateSetAnswer { new_sync_state_set_epoch: set.in_sync_epoch.0.into() };
            Ok(Command { body: json(&sync_state_set(&set)), ..done(request, epoch.to_fields()) })
        }
        Ok(Answer::Forgotten) => Ok(request.answer(ResponseCode::Success)),
        Err(refusal) => {
            let refused = Refused::of(&refusal, request.request_code());
            let Refusal::MasterStays(set) = refusal else { return Err(refused) };
            // Who asks is told who the master is.
            Ok(Command { remark: Some(refused.remark), ..elected(request, name, &set, refused.code) })
        }
    }
}

pub(super) async fn apply_id(core: &Core, request: &Command) -> Answered {
    let header = ApplyBrokerId::of(&request.fields)?;
    let command = state::Command::Apply {
        cluster: header.cluster_name,
        name: header.broker_name,
        id: BrokerId(header.applied_broker_id),
        check_code: header.register_check_code,
    };
    propose(core, request, command).await
}

pub(super) async fn next_id(core: &Core, request: &Command) -> Answered {
    let BrokerMember { cluster_name, broker_name } = BrokerMember::of(&request.fields)?;
    let next = core.look(|state| state.get(&broker_name).map_or(BrokerId::FIRST, |set| set.next_id)).await?;
    Ok(done(request, GetNextBrokerIdAnswer { cluster_name, broker_name, next_broker_id: next.0 }.to_fields()))
}

pub(super) async fn register(core: &Core, request: &Command) -> Answered {
    let header = RegisterBrokerToController::of(&request.fields)?;
    let command = state::Command::Register {
        name: header.broker_name,
        id: BrokerId(header.broker_id),
        address: header.broker_address,
    };
    propose(core, request, command).await
}

fn registered(request: &Command, broker_name: String, set: &BrokerSet, has_master: bool) -> Command {
    let master = set.master.filter(|_| has_master);
    let answer = RegisterBrokerToControllerAnswer {
        cluster_name: set.cluster.clone(),
        broker_name,
        master_broker_id: master.map(|id| id.0),
        master_address: master.and_then(|id| set.members.get(&id)).map(|member| member.address.clone()),
        master_epoch: master.map(|_| set.master_epoch.0.into()),
        sync_state_set_epoch: master.map(|_| set.in_sync_epoch.0.into()),
    };
    Command { body: json(&sync_state_set(set)), ..done(request, answer.to_fields()) }
}

pub(super) async fn elect(core: &Core, request: &Command) -> Answered {
    let header = ElectMaster::of(&request.fields)?;
    let by = header.broker_id.filter(|id| *id != -1).map(BrokerId);
    let is_designated = header.designate_elect == Some(true);
    if is_designated && by.is_none() {
        return Err(Refused::new(ResponseCode::ControllerInvalidRequest, "no broker is named"));
    }
    propose(core, request, state::Command::Elect { name: header.broker_name, by, is_designated }).await
}

fn elected(request: &Command, name: String, set: &BrokerSet, code: ResponseCode) -> Command {
    let answer = ElectMasterAnswer {
        master_broker_id: set.master.map(|id| id.0),
        master_address: set.master.and_then(|id| set.members.get(&id)).map(|member| member.address.clone()),
        master_epoch: Some(set.master_epoch.0.into()),
        sync_state_set_epoch: Some(set.in_sync_epoch.0.into()),
    };
    let body = ElectMasterBody {
        broker_member_group: BrokerMemberGroup {
            broker_addrs: set.members.iter().map(|(id, member)| (id.0, member.address.clone())).collect(),
            broker_name: name,
            cluster: set.cluster.clone(),
        },
        sync_state_set: set.in_sync.iter().map(|id| id.0).collect(),
    };
    Command { fields: answer.to_fields(), body: json(&body), ..request.answer(code) }
}

pub(super) async fn set_in_sync(core: &Core, request: &Command) -> Answered {
    let header = AlterSyncStateSet::of(&request.fields)?;
    let SyncStateSet { sync_state_set, sync_state_set_epoch } = remoting_proto::from_slice(&request.body)?;
    let master_epoch = i32::try_from(header.master_epoch).map_err(|_| {
        Refused::new(ResponseCode::ControllerInvalidRequest, format!("the epoch {} is none", header.master_epoch))
    })?;
    let command = state::Command::SetInSync {
        name: header.broker_name,
        master: BrokerId(header.master_broker_id),
        master_epoch: MasterEpoch(master_epoch),
        in_sync: sync_state_set.into_iter().map(BrokerId).collect(),
        in_sync_epoch: InSyncEpoch(sync_state_set_epoch),
    };
    propose(core, request, command).await
}

pub(super) async fn forget(core: &Core, request: &Command) -> Answered {
    let header = CleanBrokerData::of(&request.fields)?;
    let unfit = |id: &str| {
        Refused::new(
            ResponseCode::ControllerInvalidCleanBrokerMetadata,
            format!("{id:?} is no id, expected such as 1;2"),
        )
    };
    let listed = header.broker_controller_ids_to_clean.unwrap_or_default();
    let ids = listed.split(';').map(str::trim).filter(|id| !id.is_empty());
    let ids = ids.map(|id| id.parse().map(BrokerId).map_err(|_| unfit(id))).collect::<Result<BTreeSet<_>, _>>()?;
    if ids.len() > MEMBERS_MAX {
        let remark = format!("{} ids, limit is {MEMBERS_MAX}", ids.len());
        return Err(Refused::new(ResponseCode::ControllerInvalidCleanBrokerMetadata, remark));
    }
    let command = state::Command::Forget {
        cluster: header.cluster_name.filter(|cluster| !cluster.is_empty()),
        name: header.broker_name,
        ids,
        may_live: header.is_clean_living_broker == Some(true),
    };
    tracing::info!(?command, "brokers are to be forgotten");
    propose(core, request, command).await
}

/// Any controller notes it: each may lead next.
pub(super) fn heartbeat(core: &Core, connection: &Connection, request: &Command) -> Answered {
    let header = ControllerHeartbeat::of(&request.fields)?;
    let Some(id) = header.broker_id.map(BrokerId) else {
        return Err(Refused::new(ResponseCode::ControllerInvalidRequest, "a heartbeat without the broker's id"));
    };
    let bytes = header.broker_name.len();
    if bytes > TEXT_BYTES_MAX {
        return Err(Refused::of(&Refusal::TooLong { bytes }, request.request_code()));
    }
    let heartbeat = Heartbeat {
        connection: connection.id(),
        timeout: header.heartbeat_timeout_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
        standing: Standing {
            epoch: header.epoch.unwrap_or(-1),
            max_offset: header.max_offset.unwrap_or(-1),
            priority: header.election_priority.unwrap_or(i64::from(i32::MAX)),
        },
    };
    let is_noted = core.liveness.lock().heard(&header.broker_name, id, heartbeat, core.moment());
    if !is_noted {
        tracing::warn!(name = %header.broker_name, id = id.0, "too many brokers live, this one is not noted");
        return Err(Refused::new(ResponseCode::SystemBusy, "too many brokers live"));
    }
    Ok(request.answer(ResponseCode::Success))
}
