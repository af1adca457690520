//! What controllers agree on: the brokers of each name, which of them are in sync, and which is the master. No I/O, no clock: who lives is
//! part of each proposal, as its leader saw it. What has a field that is not known here is refused: to leave it out would lead elsewhere.
//!
//! Source of the rules: Apache 5.5 `ReplicasInfoManager`, `DefaultElectPolicy`. Where it differs on purpose:
//! - a decision is made where it is applied, not before it was agreed on;
//! - only a member can be elected, also the first time;
//! - epochs grow over the end of a name: one that is made anew begins above all that were forgotten;
//! - a free id below the next one can be had, one above it cannot;
//! - an election that finds nobody takes an epoch only if there was a master;
//! - brokers of two clusters cannot share a name;
//! - ids that are to be forgotten are looked at, also when the living may be; the last ones in sync stay while others do.

mod elect;
mod in_sync;
mod members;
mod proposal;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use proposal::{Answer, Command, Facts, HasMaster, Proposal, Refusal, Standing};

/// Most brokers, and so most names.
pub const BROKERS_MAX: usize = 10_000;
/// Most brokers of one name.
pub const MEMBERS_MAX: usize = 64;
/// Longest name, address or check code, in bytes.
pub const TEXT_BYTES_MAX: usize = 255;

/// A broker among those of its name; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BrokerId(pub i64);

impl BrokerId {
    /// The first of a name.
    pub const FIRST: Self = Self(1);
}

/// Rises with each master of a name, and when one is gone without a successor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MasterEpoch(pub i32);

/// Rises with each change of the brokers in sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InSyncEpoch(pub i32);

impl MasterEpoch {
    fn next(self) -> Result<Self, Refusal> {
        self.0.checked_add(1).map(Self).ok_or(Refusal::EpochsUsedUp)
    }
}

impl InSyncEpoch {
    fn next(self) -> Result<Self, Refusal> {
        self.0.checked_add(1).map(Self).ok_or(Refusal::EpochsUsedUp)
    }
}

/// All broker names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    sets: BTreeMap<String, BrokerSet>,
    /// Where the epochs of new names begin: at the highest that were forgotten.
    epochs_from: (MasterEpoch, InSyncEpoch),
    /// Members of all names.
    brokers: usize,
}

/// The brokers of one name.
///
/// Invariants: there is a member; the master is in sync; who is in sync is a member; the next id is above all members'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSet {
    /// The cluster.
    pub cluster: String,
    /// By id.
    pub members: BTreeMap<BrokerId, Member>,
    /// An id that none of them ever had.
    pub next_id: BrokerId,
    /// Who it is, unless it is gone without a successor, or there was none yet.
    pub master: Option<BrokerId>,
    /// Its epoch.
    pub master_epoch: MasterEpoch,
    /// Who holds all that was acknowledged.
    pub in_sync: BTreeSet<BrokerId>,
    /// Which one it is of the sets that there were.
    pub in_sync_epoch: InSyncEpoch,
    /// Whether there ever was a master.
    pub had_master: bool,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// `HOST:PORT`.
    pub address: String,
    /// What it took its id with, so that it may ask again.
    pub check_code: String,
}

/// What a proposal leads to.
#[derive(Debug)]
pub struct Decision {
    /// What is answered.
    pub outcome: Result<Answer, Refusal>,
    /// What a name becomes, if it changes; nothing if it is forgotten.
    change: Option<(String, Option<BrokerSet>)>,
}

impl Decision {
    fn unchanged(outcome: Result<Answer, Refusal>) -> Self {
        Self { outcome, change: None }
    }

    fn changed(outcome: Result<Answer, Refusal>, name: &str, becomes: Option<BrokerSet>) -> Self {
        Self { outcome, change: Some((name.to_owned(), becomes)) }
    }

    /// Whether the state changes by it.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.change.is_some()
    }
}

impl State {
    /// A command with what is known of the members it is about. Who says that it lives and is none of them stays out: a proposal has a bound.
    #[must_use]
    pub fn proposal(&self, command: Command, mut facts: Facts) -> Proposal {
        let members = self.get(command.name()).map(|set| &set.members);
        facts.live.retain(|id, _| members.is_some_and(|members| members.contains_key(id)));
        Proposal { command, facts }
    }

    /// What a proposal would lead to.
    #[must_use]
    pub fn decide(&self, proposal: &Proposal) -> Decision {
        let Proposal { command, facts } = proposal;
        let decided = match command {
            Command::Apply { cluster, name, id, check_code } => self.apply_id(cluster, name, *id, check_code),
            Command::Register { name, id, address } => self.register(name, *id, address, facts),
            Command::Elect { name, by, is_designated } => self.elect(name, *by, *is_designated, facts),
            Command::SetInSync { name, master, master_epoch, in_sync, in_sync_epoch } => {
                self.set_in_sync(name, (*master, *master_epoch), (in_sync, *in_sync_epoch), facts)
            }
            Command::Forget { cluster, name, ids, may_live } => {
                self.forget(cluster.as_deref(), name, ids, *may_live, facts)
            }
        };
        decided.unwrap_or_else(|refusal| Decision::unchanged(Err(refusal)))
    }

    /// Decides a proposal and changes what follows from it.
    pub fn apply(&mut self, proposal: &Proposal) -> Result<Answer, Refusal> {
        let Decision { outcome, change } = self.decide(proposal);
        if let Some((name, becomes)) = change {
            self.replace(name, becomes);
        }
        outcome
    }

    /// The brokers of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&BrokerSet> {
        self.sets.get(name)
    }

    /// The names whose master `is_alive` denies.
    pub fn without_master(&self, is_alive: impl Fn(&str, BrokerId) -> bool) -> Vec<String> {
        let is_gone = |(name, set): &(&String, &BrokerSet)| set.master.is_some_and(|master| !is_alive(name, master));
        self.sets.iter().filter(is_gone).map(|(name, _)| name.clone()).collect()
    }

    /// How many brokers and names there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.brokers, self.sets.len())
    }

    fn known(&self, name: &str) -> Result<&BrokerSet, Refusal> {
        self.sets.get(name).ok_or_else(|| Refusal::NameUnknown { name: name.to_owned() })
    }

    fn replace(&mut self, name: String, becomes: Option<BrokerSet>) {
        self.brokers += becomes.as_ref().map_or(0, |set| set.members.len());
        let was = match becomes {
            Some(becomes) => self.sets.insert(name, becomes),
            None => {
                let was = self.sets.remove(&name);
                if let Some(BrokerSet { master_epoch, in_sync_epoch, .. }) = was {
                    let (master_from, in_sync_from) = self.epochs_from;
                    self.epochs_from = (master_from.max(master_epoch), in_sync_from.max(in_sync_epoch));
                }
                was
            }
        };
        self.brokers -= was.map_or(0, |set| set.members.len());
    }
}

#[cfg(test)]
mod tests;
