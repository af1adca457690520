//! Agreement of the controllers, which is openraft's. Three adapters, and the way in: [`Agreement`].

mod log_store;
mod machine;
mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use env::Env;
use openraft::error::{CheckIsLeaderError, ClientWriteError, Fatal, RaftError};
use openraft::{BasicNode, Config, Raft, SnapshotPolicy};
use parking_lot::RwLock;

use crate::peers::Peers;
use crate::state::{Answer, Command, Facts, Proposal, Refusal, State};
use log_store::LogStore;
pub use log_store::OpenError;
use machine::Machine;
use network::Network;

openraft::declare_raft_types!(
    /// What openraft is used with. The answer to an entry that is no proposal is none.
    pub(crate) Types:
        D = Proposal,
        R = Option<Result<Answer, Refusal>>,
);

/// Time between two signs of life of a leader.
const HEARTBEAT_MS: u64 = 100;
/// A follower that heard of no leader for the longest of these times, and then some time between them, asks for votes: so soon that another one leads
/// before the leases of masters are over, which are 2 s from their last question and that is at most 1 s old.
const ELECTION_MS: std::ops::Range<u64> = 300..500;
/// Entries after which a snapshot is made, and entries that are kept behind one.
const SNAPSHOT_AFTER: u64 = 5000;
const KEPT_BEHIND_SNAPSHOT: u64 = 1000;
/// Entries in one message: with the most members each has about 12 KiB.
const ENTRIES_MAX: u64 = 64;
/// A part of a snapshot; in JSON a byte has up to four.
const PART_BYTES: u64 = 1024 * 1024;
/// How long a part may take to be installed.
const PART_WITHIN: Duration = Duration::from_secs(5);
/// How long agreement may take before the request is answered; brokers wait three seconds.
const WITHIN: Duration = Duration::from_millis(2500);

/// A controller's part of the agreement; copies are the same.
#[derive(Clone)]
pub(crate) struct Agreement {
    pub(crate) raft: Raft<Types>,
    /// What was agreed on, as far as this controller has heard. Held for one look or one change.
    state: Arc<RwLock<State>>,
    peers: Arc<Peers>,
    env: Env,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Another controller is to be asked, or there is none that leads.
    #[error("another controller leads")]
    NotLeader,
    /// The others did not agree in time. A proposal may still be agreed on.
    #[error("the controllers did not agree within {WITHIN:?}")]
    TimedOut,
    /// This controller cannot go on.
    #[error("the controller has failed: {0}")]
    Failed(Box<Fatal<u64>>),
}

impl Agreement {
    /// Reads what it knew and takes part again; a new one takes part for the first time.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) async fn open(env: Env, folder: &Path, peers: Arc<Peers>) -> Result<Self, OpenError> {
        let store = LogStore::open(&env, folder)?;
        let machine = Machine::open(store.clone())?;
        let state = machine.state();
        let network = Network::new(peers.clone(), env.clone());
        let raft = Raft::new(peers.own(), Arc::new(config(peers.group())), network, store, machine).await?;
        let members: BTreeMap<u64, BasicNode> =
            peers.iter().map(|(number, _)| (number, BasicNode::default())).collect();
        if !raft.is_initialized().await? {
            // All of a new group do the same.
            if let Err(RaftError::Fatal(fatal)) = raft.initialize(members.clone()).await {
                return Err(fatal.into());
            }
        }
        let known: BTreeSet<u64> =
            raft.with_raft_state(|state| state.membership_state.effective().voter_ids().collect()).await?;
        if !known.iter().eq(members.keys()) {
            return Err(OpenError::OtherPeers { known, told: members.into_keys().collect() });
        }
        Ok(Self { raft, state, peers, env })
    }

    /// Who leads, as far as this controller has heard.
    pub(crate) fn leader(&self) -> Option<u64> {
        self.raft.metrics().borrow().current_leader
    }

    /// Whether it is this one.
    pub(crate) fn is_leader(&self) -> bool {
        self.leader() == Some(self.peers.own())
    }

    /// Looks at what was agreed on up to now, by all.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn look<T>(&self, look: impl FnOnce(&State) -> T) -> Result<T, Error> {
        self.in_time(async {
            self.catch_up().await?;
            Ok(look(&self.state.read()))
        })
        .await
    }

    /// Has a command decided with what is known now. On return of an answer most controllers have it on their disks.
    ///
    /// # Errors
    /// [`Error`]; after [`Error::TimedOut`] it may still be done.
    pub(crate) async fn propose(&self, command: Command, facts: Facts) -> Result<Result<Answer, Refusal>, Error> {
        self.in_time(async {
            self.catch_up().await?;
            let proposal = self.state.read().proposal(command, facts);
            let decision = self.state.read().decide(&proposal);
            if !decision.is_change() {
                return Ok(decision.outcome);
            }
            match self.raft.client_write(proposal).await {
                Ok(written) => Ok(written.data.expect("a proposal is answered")),
                Err(RaftError::APIError(
                    ClientWriteError::ForwardToLeader(_) | ClientWriteError::ChangeMembershipError(_),
                )) => Err(Error::NotLeader),
                Err(RaftError::Fatal(fatal)) => Err(Error::Failed(Box::new(fatal))),
            }
        })
        .await
    }

    /// Looks at what this controller has heard.
    pub(crate) fn glance<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read())
    }

    /// Waits until it cannot go on, and logs who leads meanwhile.
    pub(crate) async fn watch(&self) -> Fatal<u64> {
        let mut metrics = self.raft.metrics();
        let mut leader = None;
        loop {
            {
                let now = metrics.borrow_and_update();
                if let Err(fatal) = &now.running_state {
                    return fatal.clone();
                }
                if now.current_leader != leader {
                    leader = now.current_leader;
                    let id = leader.and_then(|leader| self.peers.get(leader)).map(|peer| &*peer.id);
                    tracing::info!(leader = id.unwrap_or("none"), term = now.current_term, "who leads the controllers");
                }
            }
            if metrics.changed().await.is_err() {
                return Fatal::Stopped;
            }
        }
    }

    /// Waits until this controller, which leads, knows all that was agreed on before.
    async fn catch_up(&self) -> Result<(), Error> {
        match self.raft.ensure_linearizable().await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(
                CheckIsLeaderError::ForwardToLeader(_) | CheckIsLeaderError::QuorumNotEnough(_),
            )) => Err(Error::NotLeader),
            Err(RaftError::Fatal(fatal)) => Err(Error::Failed(Box::new(fatal))),
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.env.clock.sleep(WITHIN) => Err(Error::TimedOut),
        }
    }
}

fn config(group: &str) -> Config {
    Config {
        cluster_name: group.to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS.start,
        election_timeout_max: ELECTION_MS.end,
        max_payload_entries: ENTRIES_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_AFTER),
        max_in_snapshot_log_to_keep: KEPT_BEHIND_SNAPSHOT,
        replication_lag_threshold: SNAPSHOT_AFTER + KEPT_BEHIND_SNAPSHOT,
        snapshot_max_chunk_size: PART_BYTES,
        install_snapshot_timeout: u64::try_from(PART_WITHIN.as_millis()).unwrap_or(u64::MAX),
        ..Config::default()
    }
}
