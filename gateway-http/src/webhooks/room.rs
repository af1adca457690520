//! What calls may use up of a gateway. Half of it is divided among the webhooks, so that each can make calls whatever the endpoints of others
//! do; the other half is for who asks first.

use std::sync::Arc;

use crate::limits::{Budget, Share};

/// Calls under way, of all webhooks of a gateway together.
pub(super) const CALLS_MAX: usize = 2048;
/// Bytes of the messages in them. A webhook may pass its part by one message, which has no other way than being taken whole.
pub(super) const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most webhooks of a gateway, so that each has a part.
pub const WEBHOOKS_MAX: usize = CALLS_MAX / 2;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Room {
    calls: Divided,
    bytes: Divided,
}

/// Something of which a half is divided.
#[derive(Debug)]
struct Divided {
    /// What each webhook has for itself.
    part: usize,
    /// The other half.
    common: Arc<Budget>,
}

/// What the calls of one webhook may use up.
#[derive(Debug)]
pub(super) struct Lane {
    calls: Pot,
    bytes: Pot,
}

/// The same of one thing.
#[derive(Debug)]
struct Pot {
    own: Arc<Budget>,
    common: Arc<Budget>,
}

/// What a call uses up as long as this lives.
#[derive(Debug)]
pub(super) struct Held {
    _call: Share,
    own_bytes: Share,
    common_bytes: Share,
}

impl Room {
    /// Room for so many calls with so many bytes, of `webhooks` webhooks; of more than half as many webhooks as calls, the calls may be more.
    pub(super) fn new(calls_max: usize, bytes_max: usize, webhooks: usize) -> Self {
        let divided = |max: usize| Divided { part: (max / 2 / webhooks.max(1)).max(1), common: Budget::new(max / 2) };
        Self { calls: divided(calls_max), bytes: divided(bytes_max) }
    }

    /// Begins a call that carries no message, if there is room in the common half; it goes on as long as what is returned lives.
    pub(super) fn extra(&self) -> Option<Share> {
        one(&self.calls.common)
    }

    /// What a webhook may use up; one for each.
    pub(super) fn lane(&self) -> Lane {
        let pot = |of: &Divided| Pot { own: Budget::new(of.part), common: of.common.clone() };
        Lane { calls: pot(&self.calls), bytes: pot(&self.bytes) }
    }
}

impl Lane {
    /// How many calls may begin now. Others may be faster, but for the webhook's own part.
    pub(super) fn calls_free(&self) -> u32 {
        if self.bytes.own.is_used_up() && self.bytes.common.is_used_up() {
            return 0;
        }
        u32::try_from(self.calls.own.free() + self.calls.common.free()).unwrap_or(u32::MAX)
    }

    /// Whether a call is under way.
    pub(super) fn is_used(&self) -> bool {
        self.calls.own.free() < self.calls.own.max()
    }

    /// Begins a call, without messages yet, if there is room.
    pub(super) fn begin(&self) -> Option<Held> {
        let call = one(&self.calls.own).or_else(|| one(&self.calls.common))?;
        Some(Held { _call: call, own_bytes: self.bytes.own.share(), common_bytes: self.bytes.common.share() })
    }
}

fn one(budget: &Arc<Budget>) -> Option<Share> {
    let mut share = budget.share();
    share.try_add(1).then_some(share)
}

impl Held {
    /// Puts a message of so many bytes into the call, if there is room; says whether.
    pub(super) fn add(&mut self, bytes: usize) -> bool {
        self.own_bytes.try_add_last(bytes) || self.common_bytes.try_add_last(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All calls, of a message each, that there is room for.
    fn all(lane: &Lane, bytes: usize) -> Vec<Held> {
        let begun = std::iter::from_fn(|| lane.begin().and_then(|mut held| held.add(bytes).then_some(held)));
        begun.collect()
    }

    #[test]
    fn each_has_its_part_whatever_others_use_up() {
        let room = Room::new(16, 1600, 4);
        let (greedy, other) = (room.lane(), room.lane());
        let held = all(&greedy, 1);
        assert_eq!((held.len(), greedy.calls_free()), (2 + 8, 0));
        assert_eq!((other.calls_free(), all(&other, 1).len()), (2, 2));
        assert!(greedy.is_used() && !other.is_used());
        drop(held);
        assert!(!greedy.is_used());
        assert_eq!(all(&other, 1).len(), 10);
    }

    #[test]
    fn bytes_are_divided_as_calls_are_and_the_last_message_may_pass() {
        let room = Room::new(1000, 1600, 4);
        let (greedy, other) = (room.lane(), room.lane());
        let held = all(&greedy, 150);
        assert_eq!(held.len(), 2 + 6, "300 bytes of its own 200, and 900 of the common 800");
        assert_eq!(greedy.calls_free(), 0);
        let huge = other.begin().map(|mut held| (held.add(4000), held)).expect("room");
        assert!(huge.0 && other.calls_free() == 0);
        drop(held);
        assert!(other.calls_free() > 0);
    }

    #[test]
    fn all_together_stay_within_the_bound() {
        let room = Room::new(CALLS_MAX, BYTES_MAX, WEBHOOKS_MAX);
        let lanes: Vec<Lane> = (0..WEBHOOKS_MAX).map(|_| room.lane()).collect();
        let held: Vec<Vec<Held>> = lanes.iter().map(|lane| all(lane, 0)).collect();
        assert!(held.iter().all(|held| !held.is_empty()));
        assert_eq!(held.iter().map(Vec::len).sum::<usize>(), CALLS_MAX);
    }
}
