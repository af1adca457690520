//! Leases end: by their deadline, or with their client.

use types::Timestamp;

use super::event::{Offsets, PopEvent};
use super::lease::{Holder, LeaseId};
use super::slot::Stage;
use super::{EXPIRE_LEASES_MAX, GroupLimits, PopMachine, RENEW_TOTAL_MAX, Surroundings};

impl PopMachine {
    /// Ends the leases whose time is over, at most [`EXPIRE_LEASES_MAX`]: call again while
    /// [`PopMachine::next_deadline`] is not after `now`.
    ///
    /// Held deliveries of living clients that renew are prolonged instead, up to the group's consume timeout. The
    /// others become visible at once, or are given up when they were delivered as often as allowed.
    pub fn expire(&mut self, now: Timestamp, surroundings: &impl Surroundings, events: &mut Vec<PopEvent>) {
        for _ in 0..EXPIRE_LEASES_MAX {
            match self.leases.first_deadline() {
                Some((deadline, lease)) if deadline <= now => self.end_lease(lease, Some(now), surroundings, events),
                _ => return,
            }
        }
    }

    /// Ends all leases of a client. What it made wait for a retry time goes on waiting.
    pub fn client_gone(&mut self, client: &str, surroundings: &impl Surroundings, events: &mut Vec<PopEvent>) {
        for lease in self.leases.of_client(client) {
            self.end_lease(lease, None, surroundings, events);
        }
    }

    /// Call once after replay or restore, before the first request. Which deliveries were held is not known any
    /// more: leases that clients renew run one base time from now, in which a front door may report them held again.
    /// What is visible, given up or to be moved can be
    /// polled once more.
    pub fn recovered(&mut self, now: Timestamp) {
        self.leases.renew_all(now);
        self.visible.clear();
        self.exhausted.clear();
        self.note_all_moves(now);
        for (id, slot) in self.slots.iter() {
            if !slot.ready.is_empty() {
                self.visible.insert(id);
            }
            let exhausted = slot.entries.iter().filter(|(_, entry)| entry.stage == Stage::Exhausted);
            self.exhausted.extend(exhausted.map(|(offset, _)| (id, *offset)));
        }
    }

    /// Ends a lease at a time, except for what is prolonged; with no time it ends for all.
    fn end_lease(
        &mut self,
        id: LeaseId,
        now: Option<Timestamp>,
        surroundings: &impl Surroundings,
        events: &mut Vec<PopEvent>,
    ) {
        let lease = self.leases.get(id);
        let slot = self.slots.get(lease.slot).expect("the slot of an open lease");
        let (slot_id, is_suspended) = (lease.slot, lease.is_suspended);
        let limits = surroundings
            .limits(&slot.owner.group)
            .unwrap_or(GroupLimits { attempts_max: u32::MAX, consume_timeout: RENEW_TOTAL_MAX });
        let renewing = now.and_then(|now| {
            let is_renewing =
                |holder: &&Holder| holder.auto_renew && surroundings.is_alive(self.leases.client_name(holder));
            Some((now, lease.holder.as_ref().filter(is_renewing)?.invisible))
        });
        let (mut visible, mut exhausted) = (Offsets::new(), Offsets::new());
        let mut prolonged_until = None;
        for offset in &lease.offsets {
            let Some(entry) = slot.entries.get(offset).filter(|entry| entry.stage == Stage::Leased(id)) else {
                continue;
            };
            let cap = entry.popped_at.plus(limits.consume_timeout.min(RENEW_TOTAL_MAX));
            match renewing {
                // The earliest cap ends the lease next time, and then prolongs it for those that have time left.
                Some((now, invisible)) if entry.is_held && now < cap => {
                    // A base time of nothing would come back at once, for ever.
                    let until = now.plus(invisible).max(super::apply::after(now)).min(cap);
                    prolonged_until = Some(prolonged_until.map_or(until, |earliest: Timestamp| earliest.min(until)));
                }
                _ if !is_suspended && u32::from(entry.attempts) >= limits.attempts_max => exhausted.push(*offset),
                _ => visible.push(*offset),
            }
        }
        if let Some(until) = prolonged_until {
            self.leases.prolong(id, until);
        }
        if !visible.is_empty() {
            let (slot, offsets) = (slot_id, visible);
            let ended =
                if is_suspended { PopEvent::Released { slot, offsets } } else { PopEvent::Expired { slot, offsets } };
            self.commit(ended, events);
        }
        if !exhausted.is_empty() {
            self.commit(PopEvent::Exhausted { slot: slot_id, offsets: exhausted }, events);
        }
    }
}
