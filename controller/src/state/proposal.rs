//! What is proposed, and what is answered.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{BROKERS_MAX, BrokerId, BrokerSet, InSyncEpoch, MEMBERS_MAX, MasterEpoch, TEXT_BYTES_MAX};

/// A command, and what its leader knew of the brokers of that name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// What is to be done.
    pub command: Command,
    /// What was known.
    pub facts: Facts,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Command {
    /// A broker takes an id.
    Apply {
        /// Its cluster.
        cluster: String,
        /// Its name.
        name: String,
        /// The id.
        id: BrokerId,
        /// Its address, a semicolon and something that no other broker has.
        check_code: String,
    },
    /// A broker that has its id tells where it is.
    Register {
        /// Its name.
        name: String,
        /// Its id.
        id: BrokerId,
        /// `HOST:PORT`.
        address: String,
    },
    /// A master is to be found.
    Elect {
        /// The name that needs one.
        name: String,
        /// Who asks; nobody if a controller has found the master gone.
        by: Option<BrokerId>,
        /// Whether that one is to be the master, although the one before it lives.
        is_designated: bool,
    },
    /// Other brokers are in sync.
    SetInSync {
        /// Their name.
        name: String,
        /// The master that says so.
        master: BrokerId,
        /// Its epoch.
        master_epoch: MasterEpoch,
        /// Who is in sync from now on.
        in_sync: BTreeSet<BrokerId>,
        /// The epoch of those that were in sync until now.
        in_sync_epoch: InSyncEpoch,
    },
    /// Brokers are gone for good.
    Forget {
        /// Their cluster, if that is to be checked.
        cluster: Option<String>,
        /// Their name.
        name: String,
        /// Which of them; none means all.
        ids: BTreeSet<BrokerId>,
        /// Whether they may live.
        may_live: bool,
    },
}

impl Command {
    /// The name that it is about.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Apply { name, .. }
            | Self::Register { name, .. }
            | Self::Elect { name, .. }
            | Self::SetInSync { name, .. }
            | Self::Forget { name, .. } => name,
        }
    }
}

/// What a leader knows when it proposes something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The brokers of the name that live.
    pub live: BTreeMap<BrokerId, Standing>,
    /// Whether brokers had time to tell it that they live, so that those which did not are gone.
    pub is_settled: bool,
    /// Whether a broker that is not in sync may be elected when there is no other.
    pub is_unclean_allowed: bool,
}

/// How far a broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// The last epoch of its log.
    pub epoch: i64,
    /// Where its log ends.
    pub max_offset: i64,
    /// Lower is preferred.
    pub priority: i64,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The broker has the id.
    Applied,
    /// It is known where the broker is; the brokers of its name, and whether their master is there.
    Registered(BrokerSet, HasMaster),
    /// The brokers of the name, after the election.
    Elected(BrokerSet),
    /// The brokers of the name; others of them are in sync.
    InSync(BrokerSet),
    /// They are forgotten.
    Forgotten,
}

/// Whether a master is there.
pub type HasMaster = bool;

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No broker of this name has an id.
    #[error("no broker of the name {name} has an id")]
    NameUnknown {
        /// The name.
        name: String,
    },
    /// There is no such broker of this name.
    #[error("no broker of the name {name} has the id {}", id.0)]
    IdUnknown {
        /// The name.
        name: String,
        /// The id.
        id: BrokerId,
    },
    /// Another broker has the id, or it is not the next one.
    #[error("the id {} cannot be had, the next one is {}", id.0, next_id.0)]
    IdUnfit {
        /// The id.
        id: BrokerId,
        /// One that can be had.
        next_id: BrokerId,
    },
    /// The name belongs to another cluster.
    #[error("brokers of this name are of cluster {cluster}")]
    OtherCluster {
        /// Whose it is.
        cluster: String,
    },
    /// There is no room.
    #[error("there are {BROKERS_MAX} brokers, or {MEMBERS_MAX} of this name, which is the limit")]
    Full,
    /// A text is too long.
    #[error("a name, address or check code has {bytes} bytes, limit is {TEXT_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The master lives, and stays.
    #[error("the master {} is alive", .0.master.map_or(0, |id| id.0))]
    MasterStays(Box<BrokerSet>),
    /// The controller leads for too short a time to know that the master is gone.
    #[error("the controller does not know yet whether the master is gone")]
    TooEarly,
    /// Nobody can be elected.
    #[error("no broker that is in sync is alive, or not the one that was named")]
    NoCandidate,
    /// The master is gone, and nobody can be elected.
    #[error("the master is gone, and no broker that is in sync is alive")]
    MasterLost,
    /// The same brokers are in sync.
    #[error("the same brokers are in sync")]
    SameInSync,
    /// Another broker is the master.
    #[error("the master is {}", master.map_or("nobody".to_owned(), |id| id.0.to_string()))]
    OtherMaster {
        /// Who it is.
        master: Option<BrokerId>,
    },
    /// It was the master in another epoch.
    #[error("the master's epoch is {}", epoch.0)]
    OtherMasterEpoch {
        /// The epoch.
        epoch: MasterEpoch,
    },
    /// The brokers in sync have changed.
    #[error("the epoch of the brokers in sync is {}", epoch.0)]
    OtherInSyncEpoch {
        /// The epoch.
        epoch: InSyncEpoch,
    },
    /// A broker that is to be in sync has no id.
    #[error("no broker of this name has the id {}", id.0)]
    NoMember {
        /// The id.
        id: BrokerId,
    },
    /// A broker that is to be in sync does not live.
    #[error("the broker {} is not alive", id.0)]
    NotAlive {
        /// The id.
        id: BrokerId,
    },
    /// A master cannot leave itself out.
    #[error("the master is not among those that are to be in sync")]
    MasterLeftOut,
    /// A broker that is to be forgotten lives.
    #[error("the broker {} is alive", id.0)]
    Alive {
        /// The id.
        id: BrokerId,
    },
    /// Nobody who holds all that was acknowledged would be left.
    #[error("no broker that is in sync would be left beside others; forget all of the name, or elect another master")]
    LastInSync,
    /// No further epoch can be counted.
    #[error("all epochs are used up")]
    EpochsUsedUp,
}
