//! What one group did with one message, and why it may get it again.

use std::fmt;

/// Added to a lease: the server begins to count before the consumer does, and events are written down a little late.
const LEASE_SLACK_MS: i64 = 2_000;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Consumption {
    /// How often it came.
    pub(super) deliveries: u32,
    /// An ack was sent.
    pub(super) is_ack_begun: bool,
    /// An ack was acknowledged.
    pub(super) is_acked: bool,
    /// An ack got no reply: it may count.
    pub(super) is_ack_unanswered: bool,
    /// An ack was refused.
    pub(super) is_ack_refused: bool,
    /// Since it came last, it was asked for again.
    pub(super) is_change_begun: bool,
    last: Option<Delivery>,
}

/// One delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    /// When it came.
    pub(super) at_ms: i64,
    /// How long it is the consumer's.
    pub(super) lease_ms: Option<i64>,
    /// Kills before the consumer asked for it.
    pub(super) kills: u32,
}

/// Why a message comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The consumer asked for it.
    Asked,
    /// The server was killed while it was leased.
    Killed,
    /// The consumer's lease ran out.
    LeaseEnded,
    /// None of these.
    Unexplained,
}

impl Consumption {
    /// It came; says why, unless for the first time. `kills` happened until now.
    pub(super) fn deliver(&mut self, delivery: Delivery, kills: u32) -> Option<Reason> {
        let reason = self.last.map(|last| match last.lease_ms {
            _ if self.is_change_begun => Reason::Asked,
            _ if kills > last.kills.min(delivery.kills) => Reason::Killed,
            Some(lease_ms) if delivery.at_ms + LEASE_SLACK_MS >= last.at_ms + lease_ms => Reason::LeaseEnded,
            _ => Reason::Unexplained,
        });
        self.deliveries += 1;
        if self.last.is_none_or(|last| last.kills <= delivery.kills) {
            self.is_change_begun = false;
            self.last = Some(delivery);
        }
        reason
    }

    /// Whether it need not come again: acked, or acked without reply and the repeated ack found nothing to finish.
    pub(super) fn is_finished(&self) -> bool {
        self.is_acked || (self.is_ack_unanswered && self.is_ack_refused)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "because the consumer asked for it",
            Self::Killed => "because the server was killed meanwhile",
            Self::LeaseEnded => "because the lease ended",
            Self::Unexplained => "for no reason",
        })
    }
}
