//! What a verification says.

use std::path::PathBuf;

/// Something that is not as it should be, or that an operator may wonder about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// Where: for the log the position in the log, else the byte of the file.
    pub position: Option<u64>,
    /// What is wrong.
    pub problem: String,
    /// What follows from it.
    pub meaning: Meaning,
}

/// What a finding means for the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    /// Left over: harmless, the next start removes or ignores it.
    Unused,
    /// What a kill or power loss may leave at the log's end: no whole record; the next start cuts it off.
    Torn,
    /// Damage of what is derived: the next start, or the first read, makes it again from the log.
    Derived,
    /// Damage: what the log and its index say of a record differs, and no checksum covers it.
    Altered,
    /// Damage: what was here cannot be read any more.
    Lost,
    /// Damage: the next start ends the log here, and whole records behind go with it. A power loss may leave such a
    /// place among the last moments' records (with sync flush none of them was acknowledged); anything else may not.
    EndsLog,
    /// Damage: a start refuses the directory because of this.
    Refused,
}

impl Meaning {
    /// Whether something is broken that no kill and no power loss explains.
    #[must_use]
    pub fn is_damage(self) -> bool {
        !matches!(self, Self::Unused | Self::Torn)
    }
}

/// The outcome of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was found, in the order in which it was met; at most [`Report::FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many more were found and not kept.
    pub omitted: u64,
    /// Whether a server had the directory in use when the verification began.
    pub is_in_use: bool,
    /// Segments of the log.
    pub segments: u64,
    /// First position of the log.
    pub log_first: u64,
    /// Position behind the last record that a start would find.
    pub log_end: u64,
    /// Whole records.
    pub records: u64,
    /// Queues that have records.
    pub queues: u64,
    /// Index runs that checkpoints name.
    pub index_runs: u64,
    /// Index entries that were compared with their records.
    pub index_entries: u64,
    /// Files of the machines that checkpoints name.
    pub machine_files: u64,
    /// Positions of the checkpoints that a start could use, ascending.
    pub checkpoints: Vec<u64>,
    pub(super) damage: u64,
}

impl Report {
    /// Most findings that are kept; the rest is counted.
    pub const FINDINGS_MAX: usize = 1_000;

    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage == 0
    }

    /// How many findings are damage, those that were not kept included.
    #[must_use]
    pub fn damage(&self) -> u64 {
        self.damage
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.damage += u64::from(finding.meaning.is_damage());
        if self.findings.len() < Self::FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.omitted += 1;
        }
    }
}
