//! What clients know: what they sent and were told about it, what came to them, and how processes died.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::Flush;
use types::broker::{ChangeInvisible, Durability, SendReceipt, TransactionError};
use types::{PhysicalOffset, QueueId, QueueOffset, Timestamp, TopicName};

use super::survey::{Found, Survey};
use crate::death::Death;
use crate::invariants::nothing_lost::{Cut, Judged};
use crate::invariants::{
    ASYNC_WINDOW, LEASE_WINDOW, acked_stays_acked, attempts, failure_is_final, nothing_lost, offsets_stay, one_outcome,
    order, recall, shown_once_visible, stays_in_time, stored_once, suffix_only, timers, transactions, visibility,
};
use crate::report::Violation;

/// A topic of the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Messages with nothing special.
    Normal,
    /// Messages in groups.
    Fifo,
    /// Messages with a delivery time.
    Delay,
    /// Messages that were half messages.
    Transaction,
    /// Messages with nothing special, but so seldom that the topic expires meanwhile. Only where messages expire.
    Seldom,
}

impl Topic {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Normal, Self::Fifo, Self::Delay, Self::Transaction, Self::Seldom];

    pub(super) fn name(self) -> TopicName {
        let name = match self {
            Self::Normal => "normal",
            Self::Fifo => "fifo",
            Self::Delay => "delay",
            Self::Transaction => "transaction",
            Self::Seldom => "seldom",
        };
        TopicName::new(name).expect("a valid name")
    }
}

/// What a producer wants to become of a half message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Delivery.
    Commit,
    /// No delivery.
    RollBack,
    /// It never says.
    Nothing,
}

impl Wanted {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Commit, Self::RollBack, Self::Nothing];
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing special.
    Normal,
    /// One of a group.
    Fifo {
        /// The group.
        group: u8,
    },
    /// Not to be delivered before a time of the wall clock.
    Delay {
        /// That time.
        due: Timestamp,
    },
    /// A half message.
    Transaction {
        /// What its producer decides.
        wanted: Wanted,
    },
    /// Nothing special, to a topic that is seldom used.
    Seldom,
}

impl Kind {
    /// The topic it is sent to.
    #[must_use]
    pub fn topic(self) -> Topic {
        match self {
            Self::Normal => Topic::Normal,
            Self::Fifo { .. } => Topic::Fifo,
            Self::Delay { .. } => Topic::Delay,
            Self::Transaction { .. } => Topic::Transaction,
            Self::Seldom => Topic::Seldom,
        }
    }

    /// Whether the message that was sent is itself the one that consumers get, and not a copy of it.
    #[must_use]
    pub fn is_direct(self) -> bool {
        matches!(self, Self::Normal | Self::Fifo { .. } | Self::Seldom)
    }
}

/// A place in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The queue.
    pub queue: QueueId,
    /// The offset there.
    pub queue_offset: QueueOffset,
}

/// What a producer was told.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// Where the record is.
    pub physical_offset: PhysicalOffset,
    /// When the answer came, by the true clock.
    pub at: Timestamp,
    /// What deaths have made of it.
    pub fate: Fate,
}

/// What deaths have made of a message that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// None came since, or none that could take it.
    Open,
    /// A later life has found it, or what lies behind it: nothing takes it any more.
    Durable,
    /// It waits outside the queues, and a power loss may have taken it or not.
    Uncertain,
}

/// What the broker has noted of a delivery.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// When the message may come again, by the wall clock; `None` when its consumer has asked for another time.
    pub ends: Option<Timestamp>,
    /// Which delivery it was, from 1.
    pub attempt: u32,
    /// When it came, by the true clock.
    pub at: Timestamp,
}

/// A message that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its number.
    pub id: u64,
    /// What it is.
    pub kind: Kind,
    /// When it was first sent, by the true clock.
    pub sent_at: Timestamp,
    /// Whether it has an idempotency key.
    pub is_keyed: bool,
    /// What its producer was told; `None` while it was told nothing.
    pub stored: Option<Stored>,
    /// Where consumers find it; known of direct messages when they are stored, of copies when they are seen.
    pub place: Option<Place>,
    /// When that was first known, by the true clock.
    pub place_known_at: Timestamp,
    /// Whether its producer has told the broker what it wants.
    pub end_asked: bool,
    /// What its producer may take it back with, if it is delayed.
    pub recall_handle: Option<String>,
    /// Whether its producer has asked to take it back, and was not told that it does not wait.
    pub recall_asked: bool,
    /// When its producer was told that it is taken back.
    pub recalled: Option<Timestamp>,
    /// How often it was delivered.
    pub deliveries: u32,
    /// Of the last delivery, unless a death may have undone it.
    pub lease: Option<Lease>,
    /// Whether a consumer has asked to finish it.
    pub ack_asked: bool,
    /// When a consumer was told that it is finished.
    pub acked: Option<Timestamp>,
    /// Whether a power loss took it, as async flush allows.
    pub is_lost: bool,
}

impl Sent {
    /// Its id, the same in every send.
    #[must_use]
    pub fn message_id(&self) -> String {
        message_id(self.id)
    }

    fn found_at(&mut self, place: Place, now: Timestamp) {
        if self.place.replace(place).is_none() {
            self.place_known_at = now;
        }
    }
}

/// The id of the message of this number.
pub(super) fn message_id(id: u64) -> String {
    format!("{id:016X}")
}

/// A message that came to a consumer.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// From which topic.
    pub topic: Topic,
    /// From where in it; `None` from the group's retry topic, where what waits long is moved to.
    pub place: Option<Place>,
    /// From where in the log.
    pub physical_offset: PhysicalOffset,
    /// Where what may be handed out ended then.
    pub visible_to: PhysicalOffset,
    /// Whether all before that was on as many brokers as are wanted.
    pub is_confirmed: bool,
    /// When, by the true clock.
    pub now: Timestamp,
    /// When, by the wall clock.
    pub wall: Timestamp,
    /// Which delivery of the message, from 1.
    pub attempt: u32,
    /// When the broker has handed it out, as it says, by the wall clock.
    pub popped_at: Timestamp,
    /// How long nobody else gets it from then.
    pub invisible: Duration,
}

/// Another broker goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failover {
    /// Where its log ends.
    pub(crate) end: PhysicalOffset,
    /// Since when the broker before had told clients what is behind that; `None` if it never did.
    pub(crate) told_since: Option<Timestamp>,
    /// Since when it may have appended what is behind that.
    pub(crate) appended_since: Timestamp,
    /// When it died.
    pub(crate) at: Timestamp,
}

/// Everything that clients know.
pub struct History {
    flush: Flush,
    messages: BTreeMap<u64, Sent>,
    /// From when to when what clients were told was lost with a machine, as its settings allow, by the true clock.
    losses: Vec<(Timestamp, Timestamp)>,
    /// The farthest record that clients were told or shown as one that all brokers have that are waited for.
    confirmed: Option<PhysicalOffset>,
    /// What is before is perhaps confirmed by a broker that has lost it since, as far as this process of the master knows.
    doubtful_to: PhysicalOffset,
    /// When a write or sync of the log was seen to have failed in this life, by the true clock.
    failed_at: Option<Timestamp>,
    /// Since when nothing more becomes durable, until a process has started again.
    unsynced_since: Option<Timestamp>,
    /// Since when leases may be in memory alone, in this life.
    unjournaled_since: Option<Timestamp>,
    /// Whether the last death may have taken a suffix of the log.
    may_have_lost: bool,
    latest_wall: Timestamp,
    /// How long messages stay at least, if any expire in this seed.
    reserved: Option<Duration>,
    /// Where queues began at the last survey.
    begins: BTreeMap<(Topic, QueueId), QueueOffset>,
    /// Places at which a message was seen, and when first, by the true clock.
    seen: BTreeMap<(Topic, Place), Timestamp>,
    violation: Option<Violation>,
}

impl History {
    pub(crate) fn new(flush: Flush, reserved: Option<Duration>) -> Self {
        Self {
            flush,
            messages: BTreeMap::new(),
            losses: Vec::new(),
            confirmed: None,
            doubtful_to: PhysicalOffset(0),
            failed_at: None,
            unsynced_since: None,
            unjournaled_since: None,
            may_have_lost: false,
            latest_wall: Timestamp(i64::MIN),
            reserved,
            begins: BTreeMap::new(),
            seen: BTreeMap::new(),
            violation: None,
        }
    }

    /// All messages, by number.
    pub fn messages(&self) -> impl Iterator<Item = &Sent> {
        self.messages.values()
    }

    /// Whether something that a client was told at `at` may be lost since: under async flush a power loss followed within
    /// the window, or the disk failed within it and the power was lost later; or another broker went on without it.
    #[must_use]
    pub fn may_be_lost(&self, at: Timestamp) -> bool {
        self.losses.iter().any(|(from, to)| (*from..=*to).contains(&at))
    }

    /// The latest time that the wall clock has shown.
    #[must_use]
    pub fn latest_wall(&self) -> Timestamp {
        self.latest_wall
    }

    /// Whether messages expire in this seed.
    #[must_use]
    pub fn is_retaining(&self) -> bool {
        self.reserved.is_some()
    }

    /// How long messages stay at least, if any expire in this seed.
    #[must_use]
    pub fn reserved(&self) -> Option<Duration> {
        self.reserved
    }

    /// Where a queue began at the last survey.
    #[must_use]
    pub fn begin_of(&self, queue: (Topic, QueueId)) -> QueueOffset {
        self.begins.get(&queue).copied().unwrap_or_default()
    }

    /// Whether the message was at a place that its queue did not have any more at the last survey.
    #[must_use]
    pub fn has_expired(&self, sent: &Sent) -> bool {
        sent.place.is_some_and(|place| place.queue_offset < self.begin_of((sent.kind.topic(), place.queue)))
    }

    /// How many messages of a topic expired, up to the last survey, that nobody has seen.
    #[must_use]
    pub fn unseen(&self, topic: Topic) -> usize {
        let begins = self.begins.iter().filter(|((of, _), _)| *of == topic);
        let unseen = |((_, queue), begin): (&(Topic, QueueId), &QueueOffset)| {
            let place = |offset| Place { queue: *queue, queue_offset: QueueOffset(offset) };
            (0..begin.0).filter(|offset| !self.seen.contains_key(&(topic, place(*offset)))).count()
        };
        begins.map(unseen).sum()
    }

    fn saw(&mut self, topic: Topic, place: Place, now: Timestamp) {
        if self.is_retaining() {
            self.seen.entry((topic, place)).or_insert(now);
        }
    }

    pub(super) fn kind(&self, id: u64) -> Option<Kind> {
        self.messages.get(&id).map(|sent| sent.kind)
    }

    pub(crate) fn saw_clock(&mut self, wall: Timestamp) {
        self.latest_wall = self.latest_wall.max(wall);
    }

    /// A message is about to be sent; returns its number.
    pub(super) fn begin_send(&mut self, kind: Kind, now: Timestamp) -> u64 {
        let id = self.messages.len() as u64 + 1;
        let sent = Sent {
            id,
            kind,
            sent_at: now,
            is_keyed: false,
            stored: None,
            place: None,
            place_known_at: Timestamp::default(),
            end_asked: false,
            recall_handle: None,
            recall_asked: false,
            recalled: None,
            deliveries: 0,
            lease: None,
            ack_asked: false,
            acked: None,
            is_lost: false,
        };
        self.messages.insert(id, sent);
        id
    }

    /// A process has started: what it has found is durable.
    pub(crate) fn started(&mut self) {
        self.unsynced_since = None;
        self.doubtful_to = PhysicalOffset(0);
    }

    /// A write or sync of the log was seen to have failed, at most `late` ago.
    pub(super) fn store_failed(&mut self, now: Timestamp, late: Duration) {
        if self.failed_at.is_none() {
            self.failed_at = Some(now);
            let since = earlier(now, late);
            self.unsynced_since.get_or_insert(since);
            self.unjournaled_since.get_or_insert(since);
        }
    }

    /// The disk will be full at any time.
    pub(super) fn journal_may_fail(&mut self, now: Timestamp) {
        self.unjournaled_since.get_or_insert(now);
    }

    /// When the log was seen to have failed in this life.
    #[must_use]
    pub fn failed_at(&self) -> Option<Timestamp> {
        self.failed_at
    }

    /// A request that changes something, begun at `begun_at`, was answered with success.
    pub(super) fn succeeded(&mut self, begun_at: Timestamp, what: &'static str) {
        if let Err(violation) = failure_is_final::check(self, begun_at, what) {
            self.violated(violation);
        }
    }

    /// Whether it is known that the message is stored.
    pub(super) fn is_stored(&self, id: u64) -> bool {
        self.messages.get(&id).is_some_and(|sent| sent.stored.is_some())
    }

    /// The producer of a message was told that it is stored, by a send before which that was known or not.
    pub(super) fn answered(
        &mut self,
        id: u64,
        receipt: &SendReceipt,
        is_again: bool,
        at: Timestamp,
    ) -> Result<(), Violation> {
        let sent = self.sent(id);
        stored_once::check_answer(sent, receipt, is_again)?;
        match receipt.durability {
            Durability::FlushTimedOut | Durability::ReplicaTimedOut => return Ok(()),
            Durability::Written | Durability::Flushed => self.confirm(receipt.physical_offset),
            Durability::ReplicaMissing => {}
        }
        let sent = self.sent(id);
        let place = Place { queue: receipt.queue, queue_offset: receipt.queue_offset };
        if sent.stored.is_none() {
            sent.stored = Some(Stored { physical_offset: receipt.physical_offset, at, fate: Fate::Open });
        }
        if sent.kind.is_direct() {
            sent.found_at(place, at);
        }
        sent.recall_handle.clone_from(&receipt.recall_handle);
        Ok(())
    }

    /// As [`History::begin_send`], of a message with an idempotency key.
    pub(super) fn begin_keyed(&mut self, kind: Kind, now: Timestamp) -> u64 {
        let id = self.begin_send(kind, now);
        self.sent(id).is_keyed = true;
        id
    }

    /// Picks a message with an idempotency key that its producer sends again now, though it may have been told that it is stored: one
    /// that was first sent at most so long ago. What a power loss took or may have taken is another matter.
    pub(super) fn begin_repeat(
        &self,
        rng: &mut fastrand::Rng,
        now: Timestamp,
        age_max: Duration,
    ) -> Option<(u64, Kind)> {
        let is_young = |sent: &Sent| sent.is_keyed && now.since(sent.sent_at) < age_max;
        let is_uncertain = |sent: &Sent| sent.stored.is_some_and(|stored| stored.fate == Fate::Uncertain);
        let may_come_again =
            |sent: &&Sent| is_young(sent) && !sent.is_lost && !is_uncertain(sent) && !sent.recall_asked;
        let open: Vec<&Sent> = self.messages.values().filter(may_come_again).collect();
        // Those whose fate is unknown are what keys are for.
        let unknown: Vec<&Sent> = open.iter().copied().filter(|sent| sent.stored.is_none()).collect();
        let from = if unknown.is_empty() || rng.u8(..4) == 0 { &open } else { &unknown };
        rng.choice(from).map(|sent| (sent.id, sent.kind))
    }

    pub(super) fn begin_end(&mut self, id: u64) {
        self.sent(id).end_asked = true;
    }

    /// Its producer was told why it is not ended.
    pub(super) fn not_ended(&self, id: u64, error: &TransactionError, now: Timestamp) -> Result<(), Violation> {
        transactions::refused(&self.messages[&id], error, now)
    }

    /// Picks a message that its producer takes back now, with the handle.
    pub(super) fn begin_recall(&mut self, rng: &mut fastrand::Rng) -> Option<(u64, String)> {
        let is_open = |sent: &&Sent| !sent.recall_asked && sent.deliveries == 0 && sent.recall_handle.is_some();
        let open: Vec<u64> = self.messages.values().filter(is_open).map(|sent| sent.id).collect();
        let sent = self.sent(*rng.choice(&open)?);
        sent.recall_asked = true;
        Some((sent.id, sent.recall_handle.clone()?))
    }

    pub(super) fn recalled(&mut self, id: u64, at: Timestamp) {
        self.sent(id).recalled = Some(at);
    }

    /// Its producer was told that it does not wait.
    pub(super) fn not_recalled(&mut self, id: u64, wall: Timestamp) -> Result<(), Violation> {
        self.saw_clock(wall);
        self.sent(id).recall_asked = false;
        recall::refused(self, &self.messages[&id])
    }

    pub(super) fn begin_ack(&mut self, id: u64) {
        self.sent(id).ack_asked = true;
    }

    /// Its consumer asks for another time at which it may come again, perhaps without counting the delivery.
    pub(super) fn begin_change(&mut self, id: u64, change: ChangeInvisible) {
        if let Some(lease) = &mut self.sent(id).lease {
            lease.ends = None;
            lease.attempt -= u32::from(change.suspend);
        }
    }

    pub(super) fn acked(&mut self, id: u64, at: Timestamp) {
        self.sent(id).acked = Some(at);
    }

    /// A message came; checks all that is promised of deliveries.
    pub(super) fn delivered(&mut self, id: u64, delivery: Delivery) -> Result<(), Violation> {
        self.saw_clock(delivery.wall);
        let Some(sent) = self.messages.get(&id) else {
            let detail = format!("number {id} came at {delivery:?}");
            return Err(Violation::new("what is delivered is what was sent", detail));
        };
        transactions::check_delivery(sent)?;
        timers::check_delivery(self, sent)?;
        recall::check_delivery(self, sent)?;
        nothing_lost::check_delivery(sent)?;
        let is_undone = acked_stays_acked::check_delivery(self, sent, &delivery)?;
        delivery.place.map_or(Ok(()), |place| offsets_stay::check_place(sent, place))?;
        shown_once_visible::check_delivery(sent, &delivery)?;
        visibility::check_delivery(self, sent, &delivery)?;
        attempts::check_delivery(sent, &delivery)?;
        if let Some(place) = delivery.place {
            self.saw(delivery.topic, place, delivery.now);
        }
        if delivery.is_confirmed {
            self.confirm(delivery.physical_offset);
        }
        let sent = self.sent(id);
        if let Some(place) = delivery.place {
            sent.found_at(place, delivery.now);
        }
        sent.deliveries += 1;
        let ends = Some(delivery.popped_at.min(delivery.wall).plus(delivery.invisible));
        sent.lease = Some(Lease { ends, attempt: delivery.attempt, at: delivery.now });
        if sent.kind.is_direct() && sent.stored.is_none() && delivery.place.is_some() {
            // Its producer was told nothing, but what is handed out is stored as firmly as what is acknowledged.
            let physical_offset = delivery.physical_offset;
            sent.stored = Some(Stored { physical_offset, at: delivery.now, fate: Fate::Open });
        }
        if is_undone {
            (sent.ack_asked, sent.acked) = (false, None);
        }
        order::check_delivery(self, &self.messages[&id])
    }

    /// A process died.
    pub(crate) fn died(&mut self, death: Death, at: Timestamp) {
        let window = match death {
            Death::Kill => LEASE_WINDOW,
            Death::PowerLoss => ASYNC_WINDOW,
        };
        let unjournaled_since = self.unjournaled_since.take().unwrap_or(at);
        self.forget_leases(earlier(unjournaled_since, window));
        self.failed_at = None;
        if death == Death::PowerLoss && self.flush == Flush::Async {
            let unsynced_since = earlier(self.unsynced_since.unwrap_or(at), ASYNC_WINDOW);
            self.may_have_lost = true;
            self.forget_leases(unsynced_since);
            self.forget_told(unsynced_since, at);
            self.confirmed = None;
        }
    }

    /// What clients were told in this time may be gone.
    fn forget_told(&mut self, since: Timestamp, to: Timestamp) {
        self.losses.push((since, to));
        self.forget_young_copies();
        // Others may be stored there.
        let losses = &self.losses;
        self.seen.retain(|_, at| !losses.iter().any(|(from, to)| (*from..=*to).contains(at)));
    }

    /// Neither leases nor the disk have kept up since then, until a process has started again.
    pub(crate) fn stalled(&mut self, since: Timestamp) {
        self.unsynced_since.get_or_insert(since);
        self.unjournaled_since.get_or_insert(since);
    }

    fn confirm(&mut self, at: PhysicalOffset) {
        if at >= self.doubtful_to {
            self.confirmed = self.confirmed.max(Some(at));
        }
    }

    /// A broker that is waited for has lost its log or an end of it, when the master's went to `to`: what it has confirmed until now, and what
    /// it has said last may still be on its way, may be at the master alone.
    pub(crate) fn replica_lost(&mut self, to: PhysicalOffset) {
        (self.confirmed, self.doubtful_to) = (None, to);
    }

    /// The farthest record that was told or shown as one that all brokers have that are waited for.
    #[must_use]
    pub fn confirmed(&self) -> Option<PhysicalOffset> {
        self.confirmed
    }

    /// Another broker goes on where its log ends: what is behind that is gone for ever.
    pub(crate) fn failed_over(&mut self, failover: &Failover) {
        self.failed_at = None;
        let unjournaled_since = self.unjournaled_since.take().unwrap_or(failover.appended_since);
        self.forget_leases(earlier(unjournaled_since.min(failover.appended_since), LEASE_WINDOW));
        if let Some(since) = failover.told_since {
            self.forget_told(since, failover.at);
        }
        for sent in self.messages.values_mut() {
            match &mut sent.stored {
                Some(stored) if stored.physical_offset >= failover.end => sent.is_lost = true,
                Some(stored) if stored.fate == Fate::Open => stored.fate = Fate::Durable,
                _ => {}
            }
        }
        self.confirmed = None;
    }

    /// The journal of these leases may be gone.
    fn forget_leases(&mut self, since: Timestamp) {
        let young = self.messages.values_mut().filter(|sent| sent.lease.is_some_and(|lease| lease.at >= since));
        young.for_each(|sent| sent.lease = None);
    }

    /// A copy may be gone while its source is not: it is made again, and then has another place.
    fn forget_young_copies(&mut self) {
        let copies = self.messages.values().filter(|sent| !sent.kind.is_direct());
        let young = copies.filter(|sent| sent.place.is_some() && self.may_be_lost(sent.place_known_at));
        let young: Vec<u64> = young.map(|sent| sent.id).collect();
        young.into_iter().for_each(|id| self.sent(id).place = None);
    }

    /// A life has found these messages in the queues, before anything else happened.
    pub(crate) fn surveyed(&mut self, survey: &Survey, now: Timestamp) -> Result<(), Violation> {
        let Survey { found, begins } = survey;
        self.begins.clone_from(begins);
        found.iter().for_each(|found| self.saw(found.topic, found.place, now));
        offsets_stay::check_survey(self, found)?;
        stays_in_time::check_survey(self, now)?;
        one_outcome::check(found)?;
        let cut = nothing_lost::cut(self, found)?;
        if std::mem::take(&mut self.may_have_lost) {
            suffix_only::check_cut(self, &cut)?;
            self.settle_losses(&cut, found);
        }
        nothing_lost::check_survey(self, found)?;
        for found in found {
            let sent = self.sent(found.id);
            sent.found_at(found.place, now);
            if sent.kind.is_direct() {
                let physical_offset = found.physical_offset;
                sent.stored = Some(Stored { physical_offset, at: now, fate: Fate::Durable });
            }
        }
        let stored = self.messages.values_mut().filter_map(|sent| sent.stored.as_mut());
        stored.filter(|stored| stored.fate == Fate::Open).for_each(|stored| stored.fate = Fate::Durable);
        Ok(())
    }

    /// Decides what a power loss took: all that lies behind the first message that is missing. Of what waits outside
    /// the queues, and lies between the last that was found and the first that is missing, nothing is known.
    fn settle_losses(&mut self, cut: &Cut, found: &[Found]) {
        let ids: BTreeSet<u64> = found.iter().map(|found| found.id).collect();
        for sent in self.messages.values_mut().filter(|sent| !sent.is_lost && !ids.contains(&sent.id)) {
            let Some(stored) = sent.stored.as_mut().filter(|stored| stored.fate == Fate::Open) else { continue };
            match cut.judge(stored.physical_offset) {
                Judged::Found => stored.fate = Fate::Durable,
                Judged::Lost => sent.is_lost = true,
                Judged::Unknown => stored.fate = Fate::Uncertain,
            }
        }
    }

    /// The first message that must be delivered and was not; where messages expire, copies are counted elsewhere
    /// (`invariants::alive_stays`).
    #[must_use]
    pub fn first_undelivered(&self) -> Option<&Sent> {
        let is_counted = |sent: &Sent| self.is_retaining() && !sent.kind.is_direct();
        let is_missing = |sent: &&Sent| {
            nothing_lost::is_owed(sent) && sent.deliveries == 0 && !self.has_expired(sent) && !is_counted(sent)
        };
        self.messages.values().find(|sent| is_missing(sent) && !self.may_be_passed_over(sent))
    }

    /// Whether messages before it have expired that its group never got, of a group that expires. Who was away so long that the group and its topic
    /// were forgotten begins as a new group then, at the end (`docs/decisions/0009-idle-topics-and-groups.md`).
    fn may_be_passed_over(&self, sent: &Sent) -> bool {
        let Some(place) = sent.place.filter(|_| sent.kind == Kind::Seldom) else { return false };
        let is_got = |other: &&Sent| other.kind == Kind::Seldom && other.deliveries > 0;
        let got = self.messages.values().filter(is_got).filter_map(|other| other.place);
        let got_to = got.filter(|got| got.queue == place.queue).map(|got| got.queue_offset.0 + 1).max();
        self.begin_of((Topic::Seldom, place.queue)).0 > got_to.unwrap_or_default()
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.messages.values().filter(|sent| sent.stored.is_some()).count() as u64
    }

    pub(crate) fn lost(&self) -> u64 {
        self.messages.values().filter(|sent| sent.is_lost).count() as u64
    }

    /// Keeps the first violation.
    pub(super) fn violated(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    pub(crate) fn is_violated(&self) -> bool {
        self.violation.is_some()
    }

    pub(crate) fn take_violation(&mut self) -> Result<(), Violation> {
        self.violation.take().map_or(Ok(()), Err)
    }

    fn sent(&mut self, id: u64) -> &mut Sent {
        self.messages.get_mut(&id).expect("numbers are given out by the history")
    }
}

/// The time so long before another.
fn earlier(time: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(time.0 - i64::try_from(duration.as_millis()).expect("windows are short"))
}
