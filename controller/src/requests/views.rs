//! Who is the master, who is in sync, who leads the controllers.

use std::collections::BTreeSet;

use remoting_proto::body::{BrokerReplicas, Replica, Replicas};
use remoting_proto::requests::{BrokerName, GetControllerMetadataAnswer, GetReplicaInfoAnswer};
use remoting_proto::{Command, ResponseCode};

use super::{Answered, Refused, done, json};
use crate::server::{Core, sync_state_set};
use crate::state::{BrokerId, BrokerSet};

/// Answered by any controller.
pub(super) fn metadata(core: &Core, request: &Command) -> Command {
    let leader = core.agreement.leader();
    let peer = leader.and_then(|leader| core.peers.get(leader));
    let answer = GetControllerMetadataAnswer {
        group: core.peers.group().to_owned(),
        controller_leader_id: peer.map(|peer| peer.id.clone()),
        controller_leader_address: peer.map(|peer| peer.address.clone()),
        is_leader: Some(leader == Some(core.peers.own())),
        peers: core.peers.iter().map(|(_, peer)| format!("{}:{};", peer.id, peer.address)).collect(),
    };
    done(request, answer.to_fields())
}

pub(super) async fn replica_info(core: &Core, request: &Command) -> Answered {
    let BrokerName { broker_name } = BrokerName::of(&request.fields)?;
    let Some(set) = core.look(|state| state.get(&broker_name).cloned()).await? else {
        let remark = format!("no broker of the name {broker_name} has an id");
        return Err(Refused::new(ResponseCode::ControllerBrokerMetadataNotExist, remark));
    };
    let answer = GetReplicaInfoAnswer {
        master_broker_id: set.master.map(|id| id.0),
        master_address: master_address(&set),
        master_epoch: set.master_epoch.0.into(),
    };
    Ok(Command { body: json(&sync_state_set(&set)), ..done(request, answer.to_fields()) })
}

pub(super) async fn sync_state_data(core: &Core, request: &Command) -> Answered {
    let names: BTreeSet<String> = remoting_proto::from_slice(&request.body)?;
    let sets = core.look(|state| {
        let known = |name: &String| Some((name.clone(), state.get(name)?.clone()));
        names.iter().filter_map(known).collect::<Vec<_>>()
    });
    let (sets, now) = (sets.await?, core.moment());
    let liveness = core.liveness.lock();
    let replicas = |(name, set): (String, BrokerSet)| {
        let replica = |id: &BrokerId, address: &str| Replica {
            broker_name: name.clone(),
            broker_id: id.0,
            broker_address: address.to_owned(),
            alive: liveness.is_alive(&name, *id, now),
        };
        let of = |is_in_sync: bool| {
            let members = set.members.iter().filter(|(id, _)| set.in_sync.contains(id) == is_in_sync);
            members.map(|(id, member)| replica(id, &member.address)).collect()
        };
        let replicas = Replicas {
            master_broker_id: set.master.map(|id| id.0),
            master_address: master_address(&set),
            master_epoch: set.master_epoch.0,
            sync_state_set_epoch: set.in_sync_epoch.0,
            in_sync_replicas: of(true),
            not_in_sync_replicas: of(false),
        };
        (name.clone(), replicas)
    };
    let table = BrokerReplicas { replicas_info_table: sets.into_iter().map(replicas).collect() };
    Ok(Command { body: json(&table), ..request.answer(ResponseCode::Success) })
}

fn master_address(set: &BrokerSet) -> Option<String> {
    Some(set.members.get(&set.master?)?.address.clone())
}
