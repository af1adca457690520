//! What the other controllers of the group say.

use openraft::raft::InstallSnapshotRequest;
use remoting_proto::requests::ToController;
use remoting_proto::{Command, RequestCode, ResponseCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Answered, Refused, json};
use crate::raft::Types;
use crate::server::Core;

/// Longest snapshot that is taken: with as many brokers as there may be it has about 10 MiB.
const SNAPSHOT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Hands it to openraft, if it is for this controller.
pub(super) async fn serve(core: &Core, request: &Command) -> Answered {
    let ToController { group, peers, to } = ToController::of(&request.fields)?;
    let (own, own_group, own_peers) = (core.peers.own(), core.peers.group(), core.peers.numbers());
    // Two that do not count the same controllers do not have the same majority.
    if group != own_group || peers != own_peers || u64::try_from(to) != Ok(own) {
        let remark = format!("this is controller {own} of {own_group} ({own_peers}), not {to} of {group} ({peers})");
        return Err(Refused::new(ResponseCode::ControllerInvalidRequest, remark));
    }
    let raft = &core.agreement.raft;
    match request.request_code() {
        RequestCode::ControllerAppendEntries => Ok(answer(request, &raft.append_entries(read(request)?).await)),
        RequestCode::ControllerVote => Ok(answer(request, &raft.vote(read(request)?).await)),
        _ => {
            let part: InstallSnapshotRequest<Types> = read(request)?;
            if part.offset.saturating_add(part.data.len() as u64) > SNAPSHOT_BYTES_MAX {
                let remark = format!("a snapshot has more than {SNAPSHOT_BYTES_MAX} bytes");
                return Err(Refused::new(ResponseCode::ControllerInvalidRequest, remark));
            }
            Ok(answer(request, &raft.install_snapshot(part).await))
        }
    }
}

fn read<T: DeserializeOwned>(request: &Command) -> Result<T, Refused> {
    serde_json::from_slice(&request.body)
        .map_err(|error| Refused::new(ResponseCode::ControllerInvalidRequest, error.to_string()))
}

fn answer(request: &Command, result: &impl Serialize) -> Command {
    Command { body: json(result), ..request.answer(ResponseCode::Success) }
}
