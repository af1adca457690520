//! When the log's front may go: the rules, without any I/O.
//!
//! The time, the disk's room and the oldest segments are passed in; what comes out is how many of them may go, and why. What
//! is still alive in them is the engine's matter (`engine/retention.rs`).
//! Source of the rules and defaults: Apache `DefaultMessageStore.CleanCommitLogService`; two differ: a segment's age is that of
//! its newest record and not the file's time, and forced cleaning ends once the disk is below the level.

use std::time::Duration;

use store::{OldSegment, Survey};
use types::Timestamp;

/// Most segments that go at once. Source: Apache `deleteFileBatchMax`.
pub const SEGMENTS_MAX: usize = 10;
/// So much longer than [`Settings::reserved`] a segment stays for what is unfinished in it and cannot be moved.
pub const HOLD_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// What is appended to save the state is at most one part in so many of what goes.
const STATE_SHARE: u64 = 2;

/// Hours of the day, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours(u32);

impl Hours {
    /// All of them.
    pub const EVERY: Self = Self((1 << 24) - 1);

    /// These hours, 0 to 23; others are not representable.
    ///
    /// # Panics
    /// When one is above 23.
    #[must_use]
    pub fn of(hours: &[u8]) -> Self {
        Self(hours.iter().fold(0, |bits, hour| {
            assert!(*hour < 24, "the day has no hour {hour}");
            bits | 1 << hour
        }))
    }

    /// Whether an hour is one of them.
    #[must_use]
    pub fn has(self, hour: u8) -> bool {
        self.0 >> hour & 1 == 1
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hours: Vec<String> = (0..24).filter(|hour| self.has(*hour)).map(|hour| format!("{hour:02}")).collect();
        f.write_str(&hours.join(";"))
    }
}

/// What an operator sets. Percentages are of the file system that the log is in.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// When segments go whose time is over. Apache: `deleteWhen`.
    pub delete_when: Hours,
    /// The hour of a time where the operator lives.
    pub hour_of: fn(Timestamp) -> u8,
    /// How long a message stays at least. Apache: `fileReservedTime`.
    pub reserved: Duration,
    /// In use above this: segments whose time is over go at any hour. Apache: `diskMaxUsedSpaceRatio`.
    pub disk_used_max: u8,
    /// In use above this: the oldest segments go whatever their age. Apache: `diskSpaceCleanForciblyRatio`.
    pub disk_clean_forcibly: u8,
    /// In use above this: sends are refused too. Apache: `diskSpaceWarningLevelRatio`.
    pub disk_warning: u8,
    /// How often it is looked whether something may go. Apache: `cleanResourceInterval`.
    pub interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            delete_when: Hours::of(&[4]),
            hour_of: utc_hour,
            reserved: Duration::from_secs(72 * 60 * 60),
            disk_used_max: 75,
            disk_clean_forcibly: 85,
            disk_warning: 90,
            interval: Duration::from_secs(10),
        }
    }
}

/// The hour of the day in Greenwich.
#[must_use]
pub fn utc_hour(at: Timestamp) -> u8 {
    u8::try_from(at.0.div_euclid(3_600_000).rem_euclid(24)).expect("a rest below 24")
}

/// Why segments may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Their time is over, and it is the hour, or an operator wants them to go.
    Age,
    /// Their time is over, and the disk is getting full.
    Space,
    /// The disk is nearly full.
    Forced,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// So many of the oldest segments may go, at most [`SEGMENTS_MAX`].
    pub segments: usize,
    /// Why; tells nothing when none may.
    pub why: Why,
    /// Whether they go with what is alive in them and cannot be carried forward.
    pub is_last_call: bool,
    /// Of the disk, in percent, when so much is in use that sends are refused.
    pub full_percent: Option<u8>,
}

/// What is known of the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Whether segments had to stay because of what is unfinished in them.
    pub is_held: bool,
    /// Length of the state that was saved last.
    pub state_bytes: u64,
    /// Whether an operator wants what is over to go at this hour.
    pub is_asked: bool,
}

impl Settings {
    /// What may go now.
    #[must_use]
    pub fn judge(&self, survey: &Survey, past: Past, now: Timestamp) -> Verdict {
        let total = survey.space.map_or(0, |space| space.total_bytes);
        let used = survey.space.map_or(0, |space| total.saturating_sub(space.free_bytes));
        let above = |percent: u8| used.saturating_sub(level(total, percent));
        let full_percent = (above(self.disk_warning) > 0).then(|| percent(used, total));
        let forced = count_bytes(&survey.segments, above(self.disk_clean_forcibly));
        let late =
            if past.is_held { count_older(&survey.segments, self.reserved.saturating_add(HOLD_MAX), now) } else { 0 };
        let over = if late > 0 { late } else { count_older(&survey.segments, self.reserved, now) };
        let over = if is_worth(&survey.segments[..over], past) { over } else { 0 };
        let is_hour = past.is_asked || self.delete_when.has((self.hour_of)(now));
        let (segments, why) = match () {
            () if forced > 0 => (forced.min(SEGMENTS_MAX), Why::Forced),
            () if is_hour => (over, Why::Age),
            () if above(self.disk_used_max) > 0 => (over, Why::Space),
            () => (0, Why::Age),
        };
        Verdict { segments, why, is_last_call: why == Why::Forced || late > 0, full_percent }
    }
}

/// How many of the oldest segments have had nothing new for longer than this, as far as they go at once.
fn count_older(segments: &[OldSegment], stay: Duration, now: Timestamp) -> usize {
    let is_over = |segment: &&OldSegment| now.since(segment.newest_at) > stay;
    segments.iter().take(SEGMENTS_MAX).take_while(is_over).count()
}

/// Whether they are more bytes than saving the state for them costs.
fn is_worth(segments: &[OldSegment], past: Past) -> bool {
    let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    bytes >= past.state_bytes.saturating_mul(STATE_SHARE) || segments.len() == SEGMENTS_MAX
}

/// Bytes that are this part of all.
fn level(total: u64, percent: u8) -> u64 {
    (u128::from(total) * u128::from(percent) / 100) as u64
}

fn percent(used: u64, total: u64) -> u8 {
    u8::try_from(u128::from(used) * 100 / u128::from(total.max(1))).unwrap_or(100)
}

/// How many of the oldest segments have so many bytes.
fn count_bytes(segments: &[OldSegment], bytes: u64) -> usize {
    let mut sum = 0;
    let is_wanted = |segment: &&OldSegment| {
        let is_wanted = sum < bytes;
        sum += segment.bytes;
        is_wanted
    };
    segments.iter().take_while(is_wanted).count()
}

#[cfg(test)]
mod tests;
