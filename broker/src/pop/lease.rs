//! The open leases of all queues: by deadline, by client and by attempt.
//!
//! One lease covers all entries of one pop from one queue, because they share client and deadline; so the
//! ordered sets here change once a pop and not once a message. An entry names its lease, a lease lists its entries and counts
//! those that are still in it; it ends when the last one leaves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use smallvec::SmallVec;
use types::broker::ClientId;
use types::{QueueOffset, Timestamp};

use super::event::{SlotId, Terms};

/// Number of an open lease; reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LeaseId(u32);

/// Number of a client that has leases; reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct ClientNumber(u32);

/// Entries of one queue that become visible together.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) slot: SlotId,
    /// All entries that it began with, ascending; those that left are still listed.
    pub(super) offsets: SmallVec<[QueueOffset; 2]>,
    /// How many are still in it.
    open: u32,
    pub(super) popped_at: Timestamp,
    /// When it ends by its terms: durable.
    pub(super) visible_at: Timestamp,
    /// When it ends now that it was prolonged; not before `visible_at`, not durable.
    until: Timestamp,
    /// The client's part; `None` for an entry that waits for its retry time.
    pub(super) holder: Option<Holder>,
    /// Whether the delivery is not counted when the wait is over: its client suspended the message.
    pub(super) is_suspended: bool,
}

impl Lease {
    /// When it ends now.
    pub(super) fn until(&self) -> Timestamp {
        self.until
    }
}

/// What is known of a lease's client.
#[derive(Debug)]
pub(super) struct Holder {
    client: ClientNumber,
    pub(super) invisible: Duration,
    pub(super) auto_renew: bool,
    pub(super) attempt_id: Option<Arc<str>>,
}

#[derive(Debug)]
struct Client {
    name: ClientId,
    leases: BTreeSet<LeaseId>,
}

/// The leases.
#[derive(Debug, Default)]
pub(super) struct Leases {
    slab: Slab<Lease>,
    deadlines: BTreeSet<(Timestamp, LeaseId)>,
    clients: Slab<Client>,
    numbers: HashMap<ClientId, ClientNumber, FixedState>,
    /// Leases with ordered entries by the attempt that made them.
    attempts: BTreeMap<(ClientNumber, Arc<str>), SmallVec<[LeaseId; 1]>>,
}

impl Leases {
    /// A lease by these terms, still without entries: [`Leases::enter`] them, then [`Leases::end_if_empty`].
    pub(super) fn grant(&mut self, slot: SlotId, terms: &Terms) -> LeaseId {
        let client = self.client_number(&terms.client);
        let attempt_id = terms.attempt_id.clone();
        let holder =
            Holder { client, invisible: terms.invisible, auto_renew: terms.auto_renew, attempt_id: attempt_id.clone() };
        let id = self.insert(slot, terms.popped_at, terms.visible_at, Some(holder));
        self.clients.get_mut(client.0).leases.insert(id);
        if let Some(attempt_id) = attempt_id {
            self.attempts.entry((client, attempt_id)).or_default().push(id);
        }
        id
    }

    /// A lease of nobody, for entries that wait for a time that their client named; still without entries.
    pub(super) fn wait(
        &mut self,
        slot: SlotId,
        popped_at: Timestamp,
        visible_at: Timestamp,
        is_suspended: bool,
    ) -> LeaseId {
        let id = self.insert(slot, popped_at, visible_at, None);
        self.slab.get_mut(id.0).is_suspended = is_suspended;
        id
    }

    /// The same lease, still without entries, for an entry that goes on in another slot. Its attempt stays behind: only
    /// ordered entries can be asked for again.
    pub(super) fn carry(&mut self, from: LeaseId, slot: SlotId) -> LeaseId {
        let lease = self.slab.get(from.0);
        let (popped_at, visible_at, until) = (lease.popped_at, lease.visible_at, lease.until);
        let is_suspended = lease.is_suspended;
        let holder = lease.holder.as_ref().map(|holder| Holder { attempt_id: None, ..*holder });
        let client = holder.as_ref().map(|holder| holder.client);
        let id = self.insert(slot, popped_at, visible_at, holder);
        if let Some(client) = client {
            self.clients.get_mut(client.0).leases.insert(id);
        }
        self.slab.get_mut(id.0).is_suspended = is_suspended;
        self.prolong(id, until);
        id
    }

    fn insert(&mut self, slot: SlotId, popped_at: Timestamp, visible_at: Timestamp, holder: Option<Holder>) -> LeaseId {
        let lease = Lease {
            slot,
            offsets: SmallVec::new(),
            open: 0,
            popped_at,
            visible_at,
            until: visible_at,
            holder,
            is_suspended: false,
        };
        let id = LeaseId(self.slab.insert(lease));
        self.deadlines.insert((visible_at, id));
        id
    }

    /// Adds an entry, whose offset is above those it has.
    pub(super) fn enter(&mut self, id: LeaseId, offset: QueueOffset) {
        let lease = self.slab.get_mut(id.0);
        lease.offsets.push(offset);
        lease.open += 1;
    }

    /// Ends a lease that no entry entered.
    pub(super) fn end_if_empty(&mut self, id: LeaseId) {
        if self.slab.get(id.0).open == 0 {
            self.end(id);
        }
    }

    /// One entry left the lease, which ends with the last one.
    pub(super) fn leave(&mut self, id: LeaseId) {
        let lease = self.slab.get_mut(id.0);
        lease.open -= 1;
        if lease.open == 0 {
            self.end(id);
        }
    }

    fn end(&mut self, id: LeaseId) {
        let lease = self.slab.remove(id.0);
        self.deadlines.remove(&(lease.until, id));
        if let Some(holder) = lease.holder {
            self.forget_holder(id, holder);
        }
    }

    fn forget_holder(&mut self, id: LeaseId, holder: Holder) {
        if let Some(attempt_id) = holder.attempt_id {
            let key = (holder.client, attempt_id);
            if let Some(leases) = self.attempts.get_mut(&key) {
                leases.retain(|lease| *lease != id);
                if leases.is_empty() {
                    self.attempts.remove(&key);
                }
            }
        }
        let client = self.clients.get_mut(holder.client.0);
        client.leases.remove(&id);
        if client.leases.is_empty() {
            let client = self.clients.remove(holder.client.0);
            self.numbers.remove(&client.name);
        }
    }

    pub(super) fn get(&self, id: LeaseId) -> &Lease {
        self.slab.get(id.0)
    }

    /// The name of a lease's client.
    pub(super) fn client_name(&self, holder: &Holder) -> &ClientId {
        &self.clients.get(holder.client.0).name
    }

    /// Lets a lease end at `until` instead. Not durable.
    pub(super) fn prolong(&mut self, id: LeaseId, until: Timestamp) {
        let lease = self.slab.get_mut(id.0);
        self.deadlines.remove(&(lease.until, id));
        lease.until = until;
        self.deadlines.insert((until, id));
    }

    /// Gives every lease that its client renews one base time from `now` on.
    pub(super) fn renew_all(&mut self, now: Timestamp) {
        let renewed = |(id, lease): (u32, &Lease)| {
            let holder = lease.holder.as_ref().filter(|holder| holder.auto_renew)?;
            Some((LeaseId(id), lease.until.max(now.plus(holder.invisible))))
        };
        let all: Vec<_> = self.slab.iter().filter_map(renewed).collect();
        for (id, until) in all {
            self.prolong(id, until);
        }
    }

    /// Whether any delivery was suspended. Looks at every lease.
    pub(super) fn has_suspended(&self) -> bool {
        self.slab.iter().any(|(_, lease)| lease.is_suspended)
    }

    /// The next lease to end.
    pub(super) fn first_deadline(&self) -> Option<(Timestamp, LeaseId)> {
        self.deadlines.first().copied()
    }

    /// All leases of a client.
    pub(super) fn of_client(&self, client: &str) -> Vec<LeaseId> {
        self.numbers
            .get(client)
            .map_or_else(Vec::new, |number| self.clients.get(number.0).leases.iter().copied().collect())
    }

    /// The leases with ordered entries that a client's attempt made.
    pub(super) fn of_attempt(&self, client: &str, attempt_id: &Arc<str>) -> SmallVec<[LeaseId; 1]> {
        let leases = self.numbers.get(client).and_then(|number| self.attempts.get(&(*number, Arc::clone(attempt_id))));
        leases.cloned().unwrap_or_default()
    }

    fn client_number(&mut self, name: &ClientId) -> ClientNumber {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let client = Client { name: Arc::clone(name), leases: BTreeSet::new() };
        let number = ClientNumber(self.clients.insert(client));
        self.numbers.insert(Arc::clone(name), number);
        number
    }
}

/// Values by a small number that is reused.
#[derive(Debug)]
struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    fn insert(&mut self, value: T) -> u32 {
        if let Some(number) = self.free.pop() {
            self.places[number as usize] = Some(value);
            return number;
        }
        let number = u32::try_from(self.places.len()).expect("fewer leases than fit in memory");
        self.places.push(Some(value));
        number
    }

    fn remove(&mut self, number: u32) -> T {
        let value = self.places[number as usize].take().expect("number of a value that is there");
        self.free.push(number);
        value
    }

    fn get(&self, number: u32) -> &T {
        self.places[number as usize].as_ref().expect("number of a value that is there")
    }

    fn get_mut(&mut self, number: u32) -> &mut T {
        self.places[number as usize].as_mut().expect("number of a value that is there")
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.places.iter().zip(0..).filter_map(|(place, number)| Some((number, place.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(client: &str, attempt: Option<&str>) -> Terms {
        Terms {
            popped_at: Timestamp(5),
            visible_at: Timestamp(15),
            invisible: Duration::from_millis(10),
            client: client.into(),
            auto_renew: true,
            is_reentry: false,
            attempt_id: attempt.map(Into::into),
        }
    }

    #[test]
    fn a_lease_ends_with_its_last_entry_and_leaves_nothing() {
        let mut leases = Leases::default();
        let id = leases.grant(SlotId(0), &terms("a", Some("x")));
        leases.enter(id, QueueOffset(1));
        leases.enter(id, QueueOffset(2));
        leases.prolong(id, Timestamp(30));
        assert_eq!(leases.first_deadline(), Some((Timestamp(30), id)));
        leases.leave(id);
        assert_eq!(leases.of_client("a"), [id]);
        assert_eq!(leases.of_attempt("a", &"x".into()).as_slice(), [id]);
        leases.leave(id);
        assert!(leases.deadlines.is_empty() && leases.numbers.is_empty() && leases.attempts.is_empty());
    }

    #[test]
    fn after_recovery_renewed_leases_run_one_base_time() {
        let mut leases = Leases::default();
        let id = leases.grant(SlotId(0), &terms("a", None));
        let waiting = leases.wait(SlotId(0), Timestamp(5), Timestamp(16), false);
        leases.renew_all(Timestamp(100));
        assert_eq!(leases.first_deadline(), Some((Timestamp(16), waiting)));
        leases.end_if_empty(waiting);
        assert_eq!(leases.first_deadline(), Some((Timestamp(110), id)));
        assert_eq!(leases.get(id).visible_at, Timestamp(15));
    }
}
