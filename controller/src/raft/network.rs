//! Messages between controllers, as requests of Remoting with codes of our own. Bodies are JSON; an answer's body is openraft's `Result`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::Env;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{AnyError, BasicNode};
use remoting::{Client, client};
use remoting_proto::requests::ToController;
use remoting_proto::{Command, RequestCode, ResponseCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Types;
use super::log_store::json;
use crate::peers::Peers;

/// The way to the other controllers.
pub(crate) struct Network {
    peers: Arc<Peers>,
    env: Env,
    /// One a controller: openraft wants a way anew each time it makes sure that it leads.
    clients: BTreeMap<u64, Client>,
}

/// The way to one of them.
pub(crate) struct Link {
    client: Client,
    to: u64,
    peers: Arc<Peers>,
}

impl Network {
    pub(crate) fn new(peers: Arc<Peers>, env: Env) -> Self {
        Self { peers, env, clients: BTreeMap::new() }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, to: u64, _node: &BasicNode) -> Link {
        let address = self.peers.get(to).map(|peer| peer.address.clone()).unwrap_or_default();
        // openraft knows itself how long to wait, and a candidate cannot wait as long as a client does.
        let client = self.clients.entry(to).or_insert_with(|| Client::eager(address, self.env.clock.clone()));
        Link { client: client.clone(), to, peers: self.peers.clone() }
    }
}

type Failure<E = openraft::error::Infallible> = RPCError<u64, BasicNode, RaftError<u64, E>>;

impl Link {
    async fn call<A, E>(
        &mut self,
        code: RequestCode,
        message: &impl Serialize,
        within: Duration,
    ) -> Result<A, Failure<E>>
    where
        A: DeserializeOwned,
        E: std::error::Error + DeserializeOwned,
    {
        let to = ToController {
            group: self.peers.group().to_owned(),
            peers: self.peers.numbers(),
            to: i64::try_from(self.to).unwrap_or(i64::MAX),
        };
        let request = Command::request(code, to.to_fields(), Bytes::from(json(message)));
        let answer = self.client.call(request, within).await.map_err(unreachable)?;
        if answer.response_code() != ResponseCode::Success {
            let remark = answer.remark.unwrap_or_default();
            return Err(NetworkError::new(&AnyError::error(remark)).into());
        }
        let answer: Result<A, RaftError<u64, E>> =
            serde_json::from_slice(&answer.body).map_err(|error| NetworkError::new(&error))?;
        answer.map_err(|error| RemoteError::new(self.to, error).into())
    }
}

fn unreachable<E: std::error::Error>(error: client::Error) -> Failure<E> {
    match error {
        client::Error::Connect { .. } | client::Error::BackOff { .. } => Unreachable::new(&error).into(),
        client::Error::Busy { .. }
        | client::Error::Frame(_)
        | client::Error::Lost { .. }
        | client::Error::TimedOut { .. } => NetworkError::new(&error).into(),
    }
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        message: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failure> {
        self.call(RequestCode::ControllerAppendEntries, &message, option.hard_ttl()).await
    }

    async fn install_snapshot(
        &mut self,
        message: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<InstallSnapshotError>> {
        self.call(RequestCode::ControllerInstallSnapshot, &message, option.hard_ttl()).await
    }

    async fn vote(&mut self, message: VoteRequest<u64>, option: RPCOption) -> Result<VoteResponse<u64>, Failure> {
        self.call(RequestCode::ControllerVote, &message, option.hard_ttl()).await
    }
}
