//! Leases whose handles change while their clients have them, because they are prolonged. A plain value: it is told the time and does
//! no I/O; what one lease is changed to stands behind a lock of its own, held while its broker is asked.
//!
//! Nothing here must survive: a lease whose proxy is gone ends with the time that it was given last, which is never longer than the
//! time that its pop asked for. Source: Apache `DefaultReceiptHandleManager`, whose prolongations last up to an hour.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use types::broker::{ClientId, LeaseOwner};
use types::receipt_handle::HandleSource;
use types::{QueueId, QueueOffset, ReceiptHandle, Timestamp};

/// Leases that are known; further ones are not prolonged. Each takes about 500 bytes.
pub(super) const LEASES_MAX: usize = 200_000;
/// Those of them that are known only because a client has changed them; of further ones only the new handle is good.
const CHANGED_MAX: usize = LEASES_MAX / 2;
/// A lease that ends sooner is prolonged. Four looks fit in, so a broker may be away for some time.
const PROLONG_AHEAD: Duration = Duration::from_secs(20);

/// What a lease is of, whichever delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    owner: LeaseOwner,
    source: HandleSource,
    broker: Arc<str>,
    queue: QueueId,
    offset: QueueOffset,
}

/// A lease and its newest handle.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) broker: Arc<str>,
    pub(super) owner: LeaseOwner,
    /// Not prolonged beyond.
    pub(super) until: Timestamp,
    /// How long it is prolonged each time.
    pub(super) invisible: Duration,
    /// The delivery's first handle is from then, and every later one good.
    popped_at: Timestamp,
    /// Held while the lease is ended or changed.
    pub(super) current: tokio::sync::Mutex<ReceiptHandle>,
}

/// Names a lease in [`Leases`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u64);

#[derive(Debug)]
struct Entry {
    name: Name,
    held: Arc<Held>,
    /// Whose life prolongs it; `None` if it only has another handle than before.
    client: Option<ClientId>,
    /// Whether the client has the message.
    is_delivered: bool,
    /// Whether it was ended before that was told: who tells then that it was lost must not bring it back.
    is_ended: bool,
    ends_at: Timestamp,
}

/// All of them. Each entry is in `by_name`, in `ends` unless it is being prolonged, and in `by_client` if it has a client.
#[derive(Debug, Default)]
pub(super) struct Leases {
    next: u64,
    entries: BTreeMap<Id, Entry>,
    by_name: HashMap<Name, Id>,
    ends: BTreeSet<(Timestamp, Id)>,
    by_client: BTreeMap<ClientId, BTreeSet<Id>>,
    changed: usize,
}

impl Held {
    /// For how long a lease with this handle is prolonged now; `None` when it is over, or may not be prolonged any more: after a wait for
    /// its broker, or for its client.
    pub(super) fn prolonged_for(&self, current: &ReceiptHandle, now: Timestamp) -> Option<Duration> {
        (now < end(current) && now < self.until).then(|| self.invisible.min(self.until.since(now)))
    }
}

impl Name {
    fn of(owner: &LeaseOwner, handle: &ReceiptHandle) -> Self {
        Self {
            owner: owner.clone(),
            source: handle.source,
            broker: handle.broker.clone(),
            queue: handle.queue,
            offset: handle.offset,
        }
    }
}

impl Leases {
    /// Notes a lease on its way to a client, to be prolonged until `until` once it is [`Leases::delivered`]. Says whether there is room.
    pub(super) fn offer(
        &mut self,
        client: &ClientId,
        owner: &LeaseOwner,
        handle: &ReceiptHandle,
        until: Timestamp,
    ) -> bool {
        self.put(Some(client.clone()), owner, handle.popped_at, handle, until)
    }

    /// Notes that a client has changed its lease: its former handles stay good until that ends too.
    pub(super) fn changed(&mut self, owner: &LeaseOwner, former: &ReceiptHandle, handle: &ReceiptHandle) {
        let known = self.by_name.get(&Name::of(owner, former)).and_then(|id| self.entries.get(id));
        let popped_at = known.map_or(former.popped_at, |entry| entry.held.popped_at.min(former.popped_at));
        if self.changed < CHANGED_MAX {
            self.put(None, owner, popped_at, handle, handle.popped_at);
        } else if let Some(id) = self.by_name.get(&Name::of(owner, former)).copied() {
            self.remove(id);
        }
    }

    fn put(
        &mut self,
        client: Option<ClientId>,
        owner: &LeaseOwner,
        popped_at: Timestamp,
        handle: &ReceiptHandle,
        until: Timestamp,
    ) -> bool {
        let name = Name::of(owner, handle);
        if let Some(former) = self.by_name.get(&name).copied() {
            self.remove(former);
        }
        if self.entries.len() >= LEASES_MAX {
            return false;
        }
        let id = Id(self.next);
        self.next += 1;
        let ends_at = end(handle);
        let current = tokio::sync::Mutex::new(handle.clone());
        let held = Held {
            broker: handle.broker.clone(),
            owner: owner.clone(),
            until,
            invisible: handle.invisible,
            popped_at,
            current,
        };
        self.by_name.insert(name.clone(), id);
        self.ends.insert((ends_at, id));
        match &client {
            Some(client) => drop(self.by_client.entry(client.clone()).or_default().insert(id)),
            None => self.changed += 1,
        }
        self.entries
            .insert(id, Entry { name, held: Arc::new(held), client, is_delivered: false, is_ended: false, ends_at });
        true
    }

    /// The client has these messages: they are prolonged from now on, but for those that were ended meanwhile.
    pub(super) fn delivered(&mut self, owner: &LeaseOwner, handles: &[ReceiptHandle]) {
        for handle in handles {
            let Some(id) = self.id(owner, handle) else { continue };
            match self.entries.get_mut(&id) {
                Some(entry) if !entry.is_ended => entry.is_delivered = true,
                _ => drop(self.remove(id)),
            }
        }
    }

    /// A message did not reach its client, as far as its proxy knows, and its lease is forgotten. `false` if it was ended: the client has
    /// read as much of a broken answer.
    pub(super) fn lost(&mut self, owner: &LeaseOwner, handle: &ReceiptHandle) -> bool {
        let Some(id) = self.id(owner, handle) else { return true };
        let is_lost = self.has(id);
        self.remove(id);
        is_lost
    }

    /// A lease was ended, for good. It is forgotten when it was told what became of its message on its way to the client.
    pub(super) fn ended(&mut self, id: Id) {
        match self.entries.get_mut(&id) {
            Some(entry) if entry.client.is_some() && !entry.is_delivered => entry.is_ended = true,
            _ => drop(self.remove(id)),
        }
    }

    /// The lease that a handle is of, if it is known and not older than the delivery.
    pub(super) fn find(&self, owner: &LeaseOwner, handle: &ReceiptHandle) -> Option<(Id, Arc<Held>)> {
        let id = self.id(owner, handle)?;
        let entry = self.entries.get(&id)?;
        (!entry.is_ended).then(|| (id, entry.held.clone()))
    }

    /// The same, ended or not.
    fn id(&self, owner: &LeaseOwner, handle: &ReceiptHandle) -> Option<Id> {
        if self.entries.is_empty() {
            return None;
        }
        let id = self.by_name.get(&Name::of(owner, handle))?;
        let entry = self.entries.get(id)?;
        (handle.popped_at >= entry.held.popped_at).then_some(*id)
    }

    /// Whether it was not ended meanwhile.
    pub(super) fn has(&self, id: Id) -> bool {
        self.entries.get(&id).is_some_and(|entry| !entry.is_ended)
    }

    /// Forgets a lease, unless it was ended meanwhile; says whether it was not.
    pub(super) fn take(&mut self, id: Id) -> bool {
        self.has(id) && self.remove(id).is_some()
    }

    /// Takes the leases that are to be prolonged now, because their clients live, and forgets those that are over. Each is to be given
    /// back by [`Leases::prolonged`] or [`Leases::remove`]. `alive` is sorted.
    pub(super) fn take_due(&mut self, alive: &[ClientId], now: Timestamp) -> Vec<(Id, Arc<Held>)> {
        let near: Vec<_> = self.ends.range(..=(now.plus(PROLONG_AHEAD), Id(u64::MAX))).copied().collect();
        let mut due = Vec::new();
        for (ends_at, id) in near {
            let Some(entry) = self.entries.get(&id) else { continue };
            if ends_at <= now {
                self.remove(id);
                continue;
            }
            let is_alive = entry.client.as_ref().is_some_and(|client| alive.binary_search(client).is_ok());
            if is_alive && entry.is_delivered && now < entry.held.until {
                self.ends.remove(&(ends_at, id));
                due.push((id, entry.held.clone()));
            }
        }
        due
    }

    /// A lease that was taken ends at another time now, or as before.
    pub(super) fn prolonged(&mut self, id: Id, handle: &ReceiptHandle) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.ends_at = end(handle);
            self.ends.insert((entry.ends_at, id));
        }
    }

    /// The leases of a client that were not ended.
    pub(super) fn of(&self, client: &ClientId) -> Vec<(Id, Arc<Held>)> {
        let ids = self.by_client.get(client).into_iter().flatten();
        let entries = ids.filter_map(|id| Some((*id, self.entries.get(id)?)));
        entries.filter(|(_, entry)| !entry.is_ended).map(|(id, entry)| (id, entry.held.clone())).collect()
    }

    /// Forgets a lease: it has ended.
    pub(super) fn remove(&mut self, id: Id) -> Option<Arc<Held>> {
        let Entry { name, held, client, ends_at, .. } = self.entries.remove(&id)?;
        self.by_name.remove(&name);
        self.ends.remove(&(ends_at, id));
        match client {
            Some(client) => {
                if let Some(ids) = self.by_client.get_mut(&client) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        self.by_client.remove(&client);
                    }
                }
            }
            None => self.changed -= 1,
        }
        Some(held)
    }
}

/// When a handle's time is over.
pub(super) fn end(handle: &ReceiptHandle) -> Timestamp {
    handle.popped_at.plus(handle.invisible)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use types::{GroupName, TopicName};

    use super::*;

    const BEGAN: Timestamp = Timestamp(1_000_000);
    const INVISIBLE: Duration = Duration::from_secs(60);
    const LONGEST: Duration = Duration::from_secs(600);

    fn owner() -> LeaseOwner {
        LeaseOwner { group: GroupName::new("g").expect("valid"), topic: TopicName::new("t").expect("valid") }
    }

    fn handle(offset: u64, popped_at: Timestamp) -> ReceiptHandle {
        let text = format!("100 {popped_at} {} 3 0 broker-a 2 {offset} 8", INVISIBLE.as_millis());
        text.parse().expect("valid")
    }

    fn client(name: &str) -> ClientId {
        name.into()
    }

    fn offer(leases: &mut Leases, name: &str, handle: &ReceiptHandle) -> bool {
        leases.offer(&client(name), &owner(), handle, handle.popped_at.plus(LONGEST))
    }

    fn due(leases: &mut Leases, alive: &[&str], now: Timestamp) -> Vec<Id> {
        let alive: Vec<ClientId> = alive.iter().copied().map(client).collect();
        leases.take_due(&alive, now).into_iter().map(|(id, _)| id).collect()
    }

    /// One lease that its client has.
    fn delivered() -> (Leases, Id) {
        let (mut leases, first) = (Leases::default(), handle(5, BEGAN));
        assert!(offer(&mut leases, "a", &first));
        leases.delivered(&owner(), std::slice::from_ref(&first));
        let (id, _) = leases.find(&owner(), &first).expect("known");
        (leases, id)
    }

    fn near() -> Timestamp {
        BEGAN.plus(INVISIBLE - PROLONG_AHEAD)
    }

    #[test]
    fn what_a_live_client_has_is_prolonged_shortly_before_its_end() {
        let (mut leases, id) = delivered();
        let early = near().plus(Duration::ZERO);
        assert_eq!(due(&mut leases, &["a"], Timestamp(early.0 - 1)), []);
        assert_eq!(due(&mut leases, &["b"], near()), [], "its client is not heard of");
        assert_eq!(due(&mut leases, &["a", "b"], near()), [id]);
        assert_eq!(due(&mut leases, &["a"], near()), [], "it is being prolonged");
        leases.prolonged(id, &handle(5, near()));
        assert_eq!(due(&mut leases, &["a"], near()), []);
        assert_eq!(due(&mut leases, &["a"], near().plus(INVISIBLE - PROLONG_AHEAD)), [id]);
    }

    #[test]
    fn what_is_not_delivered_is_not_prolonged_and_forgotten_at_its_end() {
        let mut leases = Leases::default();
        let offered = handle(5, BEGAN);
        assert!(offer(&mut leases, "a", &offered));
        assert_eq!(due(&mut leases, &["a"], near()), []);
        assert!(leases.find(&owner(), &offered).is_some(), "an acknowledgement finds it");
        assert_eq!(due(&mut leases, &["a"], BEGAN.plus(INVISIBLE)), []);
        assert!(leases.find(&owner(), &offered).is_none());
        leases.delivered(&owner(), &[offered]);
        assert!(leases.entries.is_empty() && leases.by_client.is_empty());
    }

    #[test]
    fn nothing_is_prolonged_beyond_the_groups_consume_timeout() {
        let (mut leases, id) = delivered();
        let last = BEGAN.plus(LONGEST);
        leases.prolonged(id, &handle(5, Timestamp(last.0 - 1)));
        assert_eq!(due(&mut leases, &["a"], last.plus(INVISIBLE - PROLONG_AHEAD)), []);
    }

    #[test]
    fn former_handles_of_a_delivery_are_good_and_older_deliveries_are_not() {
        let (mut leases, id) = delivered();
        leases.prolonged(id, &handle(5, near()));
        let found = |leases: &Leases, at| leases.find(&owner(), &handle(5, at)).map(|(id, _)| id);
        assert_eq!(found(&leases, BEGAN), Some(id));
        assert_eq!(found(&leases, near()), Some(id));
        assert_eq!(found(&leases, Timestamp(BEGAN.0 - 1)), None);
        assert_eq!(leases.find(&owner(), &handle(6, BEGAN)).map(|(id, _)| id), None);
        let again = handle(5, BEGAN.plus(LONGEST));
        assert!(offer(&mut leases, "b", &again));
        assert_eq!(found(&leases, BEGAN), None, "delivered again");
        assert!(!leases.has(id));
    }

    #[test]
    fn nothing_is_prolonged_that_is_over_or_was_prolonged_for_long_enough_while_it_waited() {
        let (leases, id) = delivered();
        let held = &leases.entries[&id].held;
        let for_ms = |popped_at, now| held.prolonged_for(&handle(5, popped_at), now).map(|time| time.as_millis());
        assert_eq!(for_ms(BEGAN, near()), Some(INVISIBLE.as_millis()));
        assert_eq!(for_ms(BEGAN, BEGAN.plus(INVISIBLE)), None, "somebody else has the message");
        let last = BEGAN.plus(LONGEST);
        let before = Timestamp(last.0 - 1);
        assert_eq!(for_ms(before, before), Some(1));
        assert_eq!(for_ms(before, last), None, "to prolong it by nothing would end it");
    }

    #[test]
    fn with_no_client_alive_leases_are_forgotten_at_their_end() {
        let (mut leases, id) = delivered();
        leases.changed(&owner(), &handle(6, BEGAN), &handle(6, BEGAN));
        assert_eq!(due(&mut leases, &[], Timestamp(BEGAN.plus(INVISIBLE).0 - 1)), []);
        assert!(leases.has(id) && leases.entries.len() == 2);
        assert_eq!(due(&mut leases, &[], BEGAN.plus(INVISIBLE)), []);
        assert!(leases.entries.is_empty() && leases.ends.is_empty() && leases.changed == 0);
    }

    #[test]
    fn what_was_ended_on_its_way_is_not_freed_when_its_answer_broke() {
        let mut leases = Leases::default();
        for offset in [5, 6, 7] {
            assert!(offer(&mut leases, "a", &handle(offset, BEGAN)));
        }
        let find = |leases: &Leases, offset| leases.find(&owner(), &handle(offset, BEGAN)).map(|(id, _)| id);
        for offset in [5, 6] {
            let id = find(&leases, offset).expect("known");
            leases.ended(id);
            assert!(!leases.has(id) && find(&leases, offset).is_none());
            assert!(!leases.take(id), "its client's end must not bring it back");
        }
        assert_eq!(leases.of(&client("a")).len(), 1);
        let lost = |leases: &mut Leases, offset| leases.lost(&owner(), &handle(offset, BEGAN));
        assert_eq!([5, 7, 8].map(|offset| lost(&mut leases, offset)), [false, true, true]);
        leases.delivered(&owner(), &[handle(6, BEGAN)]);
        assert!(leases.entries.is_empty(), "nothing more is told of them");
        // One that its client has is forgotten at once.
        let (mut leases, id) = delivered();
        leases.ended(id);
        assert!(leases.entries.is_empty());
    }

    #[test]
    fn leases_are_known_by_their_clients_until_they_end() {
        let (mut leases, id) = delivered();
        assert!(offer(&mut leases, "b", &handle(6, BEGAN)));
        assert_eq!(leases.of(&client("a")).iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id]);
        assert!(leases.remove(id).is_some() && leases.remove(id).is_none());
        assert_eq!((leases.of(&client("a")).len(), leases.of(&client("b")).len()), (0, 1));
    }

    #[test]
    fn a_lease_that_its_client_has_changed_is_known_but_not_prolonged() {
        let (mut leases, id) = delivered();
        let (former, changed) = (handle(5, BEGAN), handle(5, near()));
        leases.changed(&owner(), &former, &changed);
        assert!(!leases.has(id));
        let (_, held) = leases.find(&owner(), &former).expect("its former handle is good");
        assert_eq!(held.current.try_lock().ok().as_deref(), Some(&changed));
        assert_eq!(due(&mut leases, &["a"], near().plus(INVISIBLE - PROLONG_AHEAD)), []);
        assert_eq!(due(&mut leases, &["a"], near().plus(INVISIBLE)), []);
        assert!(leases.find(&owner(), &former).is_none() && leases.changed == 0);
    }

    proptest! {
        /// Whatever happens, the indexes agree with the entries.
        #[test]
        fn indexes_agree(steps in prop::collection::vec((0u8..9, 0u64..4, 0i64..200), 0..60)) {
            let (mut leases, mut taken) = (Leases::default(), Vec::new());
            for (step, offset, seconds) in steps {
                let now = Timestamp(BEGAN.0 + seconds * 1000);
                let handle = handle(offset, now);
                match step {
                    0 => drop(offer(&mut leases, if offset == 0 { "a" } else { "b" }, &handle)),
                    1 => leases.delivered(&owner(), &[handle]),
                    2 => leases.changed(&owner(), &handle, &self::handle(offset, now.plus(INVISIBLE))),
                    3 => taken.extend(due(&mut leases, &["a", "b"], now)),
                    4 => drop(taken.pop().map(|id| leases.prolonged(id, &handle))),
                    5 => drop(taken.pop().map(|id| leases.remove(id))),
                    6 => drop(leases.find(&owner(), &handle).map(|(id, _)| leases.ended(id))),
                    7 => drop(leases.lost(&owner(), &handle)),
                    _ => leases.of(&client("a")).into_iter().for_each(|(id, _)| drop(leases.remove(id))),
                }
                let is_end = |(id, entry): (&Id, &Entry)| leases.ends.contains(&(entry.ends_at, *id));
                prop_assert_eq!(leases.entries.iter().filter(|entry| is_end(*entry)).count(), leases.ends.len());
                prop_assert!(leases.entries.iter().all(|entry| is_end(entry) || taken.contains(entry.0)));
                prop_assert!(leases.entries.iter().all(|(id, entry)| leases.by_name.get(&entry.name) == Some(id)));
                prop_assert_eq!(leases.by_name.len(), leases.entries.len());
                let with_client = leases.entries.values().filter(|entry| entry.client.is_some()).count();
                prop_assert_eq!(leases.by_client.values().map(BTreeSet::len).sum::<usize>(), with_client);
                prop_assert_eq!(leases.entries.len() - with_client, leases.changed);
            }
        }
    }
}
