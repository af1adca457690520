//! What a run ends with.

use std::collections::BTreeMap;
use std::fmt;

use crate::faults::Fault;

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{promise}: {detail}")]
pub struct Violation {
    /// The promise, as a sentence.
    pub promise: &'static str,
    /// What was found instead.
    pub detail: String,
}

impl Violation {
    /// A broken promise and what was found instead.
    #[must_use]
    pub fn new(promise: &'static str, detail: String) -> Self {
        Self { promise, detail }
    }
}

/// A run that kept all promises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How often the process was started.
    pub lives: u32,
    /// Deaths by power loss.
    pub power_losses: u32,
    /// Records or messages that were acknowledged.
    pub acknowledged: u64,
    /// Records or messages, acknowledged or not, that a power loss took, as async flush allows.
    pub lost: u64,
    /// Segments of the log that retention has removed.
    pub expired_segments: u64,
    /// Waiting messages that were stored again before their segment went, and unfinished ones that were moved, for that
    /// reason or another.
    pub carried: u64,
    /// Topics that were empty, that nobody used, and that are deleted.
    pub expired_topics: u64,
    /// Slaves that were made masters by hand.
    pub promotions: u64,
    /// Logs that had parted from their master's and were not followed.
    pub parted: u64,
    /// Logs that had parted and were cut, under controllers.
    pub cut: u64,
    /// How often each kind of fault has struck.
    pub faults: BTreeMap<Fault, u64>,
    /// All that was done to the disk and all that is on it.
    pub fingerprint: u64,
}

impl Report {
    /// Notes that a fault has struck.
    pub fn struck(&mut self, fault: Fault, times: u64) {
        *self.faults.entry(fault).or_default() += times;
    }

    /// Adds another run's numbers; fingerprints are added up, too.
    pub fn add(&mut self, other: &Self) {
        self.lives += other.lives;
        self.power_losses += other.power_losses;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.expired_segments += other.expired_segments;
        self.carried += other.carried;
        self.expired_topics += other.expired_topics;
        self.promotions += other.promotions;
        self.parted += other.parted;
        self.cut += other.cut;
        other.faults.iter().for_each(|(fault, times)| self.struck(*fault, *times));
        self.fingerprint = self.fingerprint.wrapping_add(other.fingerprint);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lives, power_losses, acknowledged, lost, expired_segments, carried, expired_topics, .. } = self;
        let Self { promotions, parted, cut, faults, fingerprint, .. } = self;
        write!(f, "{lives} lives, {power_losses} power losses, {acknowledged} acknowledged, ")?;
        write!(f, "{lost} lost in power losses, {expired_segments} segments expired, {carried} carried or moved, ")?;
        write!(
            f,
            "{expired_topics} topics expired, {promotions} slaves promoted, {parted} parted logs refused, {cut} cut, "
        )?;
        write!(f, "fingerprint {fingerprint:016x}; faults: ")?;
        let faults: Vec<String> = faults.iter().map(|(fault, times)| format!("{times} x {fault}")).collect();
        f.write_str(&faults.join(", "))
    }
}

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// The store alone: [`crate::log`].
    Log,
    /// The whole broker: [`crate::messaging`].
    Messaging,
    /// A master and its slaves: [`crate::replication`].
    Replication,
    /// A group of brokers under controllers: [`crate::controller`].
    Controller,
}

impl Scenario {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Log, Self::Messaging, Self::Replication, Self::Controller];

    /// Runs it under a seed, with the seed's faults ([`crate::faults::Faults::of`]).
    ///
    /// # Errors
    /// The first promise that was not kept.
    ///
    /// # Panics
    /// When what is simulated panics.
    pub fn run(self, seed: u64) -> Result<Report, Violation> {
        match self {
            Self::Log => crate::log::run(seed),
            Self::Messaging => crate::messaging::run(seed),
            Self::Replication => crate::replication::run(seed),
            Self::Controller => crate::controller::run(seed),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "log",
            Self::Messaging => "messaging",
            Self::Replication => "replication",
            Self::Controller => "controller",
        })
    }
}
