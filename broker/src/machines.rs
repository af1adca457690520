//! All machines behind the store's one front: what a record changes, and the snapshot of everything.
//!
//! | part of a snapshot | bytes | notes                                      |
//! |--------------------|-------|--------------------------------------------|
//! | version            | 1     | [`VERSION`]                                |
//! | six machines       | …     | catalog, offsets, timer, transactions, idempotency, pop |
//!
//! A state in the log is a snapshot without timers: what waits was carried behind the log's front before the state was
//! taken, so the log's records say it themselves.

use record::Record;
use store::inspect::FileCheck;
use store::{Machine, MachineFile, RestoreError};
use types::broker::TransactionPosition;
use types::{MessageType, PhysicalOffset, TopicName};

use crate::catalog::{self, Catalog};
use crate::codec::{Input, Malformed};
use crate::effect::Effect;
use crate::idempotency::{Form, Keys};
use crate::journal::{self, Event};
use crate::offset::Offsets;
use crate::pop::{DecodeError, PopMachine};
use crate::timer::{Bounds, Timer, change};
use crate::transaction::{Outcome, Schedule, Transactions};

/// The snapshot's form.
const VERSION: u8 = 4;
/// The form before, without idempotency keys.
const VERSION_WITHOUT_KEYS: u8 = 3;
/// The form before that, in which the timer machine had no parts.
const VERSION_WITHOUT_PARTS: u8 = 2;

/// The broker's state: a function of the log.
#[derive(Debug)]
pub(crate) struct Machines {
    pub(crate) catalog: Catalog,
    pub(crate) offsets: Offsets,
    pub(crate) timer: Timer,
    pub(crate) transactions: Transactions,
    pub(crate) keys: Keys,
    pub(crate) pop: PopMachine,
    pub(crate) schedule: Schedule,
    /// Counts the changes of the catalog, so that who shows it to others learns of them.
    pub(crate) catalog_changes: u64,
    /// Where a journal record has an event that only a newer program knows: what it has led to is missing in this state.
    pub(crate) newer_event_at: Option<PhysicalOffset>,
}

impl Machines {
    pub(crate) fn new(schedule: Schedule) -> Self {
        Self::bounded(schedule, Bounds::default())
    }

    pub(crate) fn bounded(schedule: Schedule, timer: Bounds) -> Self {
        Self {
            catalog: Catalog::default(),
            offsets: Offsets::default(),
            timer: Timer::new(timer),
            transactions: Transactions::default(),
            keys: Keys::default(),
            pop: PopMachine::new(),
            schedule,
            catalog_changes: 0,
            newer_event_at: None,
        }
    }

    /// Takes a journal event, at replay. The pop machine has applied its live events when it made them.
    pub(crate) fn apply_event(&mut self, event: &Event) {
        match event {
            Event::Catalog(event) => self.apply_catalog(event),
            Event::Pop(event) => {
                if let Err(error) = self.pop.apply(event) {
                    tracing::error!(%error, ?event, "a lease event does not fit and is left out");
                }
            }
            Event::Offset(commit) => self.offsets.apply(commit),
            Event::Checked(checked) => self.transactions.checked(*checked),
            Event::Recalled { .. } | Event::Waits(_) => {
                change::of_event(event).into_iter().for_each(|change| self.timer.change(change));
            }
            Event::KeysForgotten { to } => self.keys.forget(*to),
            Event::Imported => self.reset(),
            Event::Undecided(half) => self.transactions.undecided(half),
            Event::HandedBack => {}
        }
    }

    /// What goes with a topic or group is dropped; its leases have events of their own.
    fn apply_catalog(&mut self, event: &catalog::Event) {
        self.catalog.apply(event);
        self.catalog_changes += 1;
        match event {
            catalog::Event::DeleteTopic { name, .. } => {
                self.offsets.forget_topic(name);
                self.keys.forget_topic(name);
            }
            catalog::Event::DeleteGroup { name } => self.offsets.forget_group(name),
            catalog::Event::PutTopic(_) | catalog::Event::PutGroup(_) => {}
        }
    }

    fn half_stored(
        &mut self,
        record: &Record<'_>,
        topic: Option<&str>,
        immunity_seconds: Option<u64>,
        first: Option<TransactionPosition>,
    ) {
        let Some(topic) = topic.and_then(|topic| TopicName::new(topic).ok()) else { return };
        let header = &record.header;
        let wait = immunity_seconds.map_or(self.schedule.check_after, std::time::Duration::from_secs);
        let position =
            TransactionPosition { queue_offset: header.queue_offset, physical_offset: header.physical_offset };
        self.catalog.used(&topic, MessageType::Transaction);
        let (bytes, check_at) = (header.record_bytes, header.stored_at.plus(wait));
        match first {
            Some(first) => self.transactions.stored_again(first, position, bytes, topic, check_at),
            None => {
                self.keys.stored(record, topic.as_str(), MessageType::Transaction, Form::Half);
                self.transactions.stored(position, bytes, topic, check_at);
            }
        }
    }

    fn snapshot_with(&self, timer: &Timer, out: &mut Vec<u8>) {
        out.push(VERSION);
        self.catalog.snapshot(out);
        self.offsets.snapshot(out);
        timer.snapshot(out);
        self.transactions.snapshot(out);
        self.keys.snapshot(out);
        self.pop.snapshot(out);
    }

    fn used(&mut self, topic: &str, kind: MessageType) {
        if let Ok(topic) = TopicName::new(topic) {
            self.catalog.used(&topic, kind);
        }
    }
}

/// Whether a checkpoint's snapshot is one that this version understands: it is read and thrown away, but for how the files that it
/// refers to are checked.
///
/// # Errors
/// [`RestoreError`].
pub fn check_snapshot(snapshot: &[u8]) -> Result<Vec<Box<dyn FileCheck>>, RestoreError> {
    let mut machines = Machines::new(Schedule::default());
    machines.restore(snapshot)?;
    Ok(machines.timer.checks())
}

impl Machine for Machines {
    fn apply(&mut self, record: &Record<'_>) {
        let effect = Effect::of(record);
        change::of_effect(&effect, &record.header, &mut |change| self.timer.change(change));
        match effect {
            Effect::Message { topic, kind, has_key } => {
                self.used(topic, kind);
                if has_key {
                    self.keys.stored(record, topic, kind, Form::Message);
                }
            }
            Effect::Timer { before: Some(_), .. } => {}
            Effect::Timer { source: Some(source), .. } => self.transactions.ended(source, Outcome::Committed),
            Effect::Timer { topic: Some(topic), due, .. } => {
                self.used(topic, MessageType::Delay);
                self.keys.stored(record, topic, MessageType::Delay, Form::Delayed { due });
            }
            Effect::Timer { .. } => {}
            Effect::Half { topic, immunity_seconds, first } => {
                self.half_stored(record, topic, immunity_seconds, first);
            }
            // A delayed message's source is no half message: nothing ends there.
            Effect::Copy { source, .. } => self.transactions.ended(source, Outcome::Committed),
            Effect::Parked { source } => self.transactions.ended(source, Outcome::Parked),
            Effect::Op => self.transactions.op_stored(record.body),
            Effect::DeadLetter { owner, queue, offset } => drop(self.pop.finish(&owner, queue, offset)),
            Effect::Retry { retry, origin } => drop(self.pop.moved(&retry, origin, record.header.queue_offset)),
            Effect::Redriven { retry } => self.pop.redriven(&retry, record.header.queue_offset),
            Effect::Journal => {
                for event in journal::events(record.body) {
                    match event {
                        Ok(event) => self.apply_event(&event),
                        Err(error) => {
                            let offset = record.header.physical_offset;
                            if error == journal::UNKNOWN_EVENT || error == journal::UNKNOWN_VERSION {
                                self.newer_event_at.get_or_insert(offset);
                            }
                            tracing::error!(%error, %offset, "the rest of a journal record is left out");
                        }
                    }
                }
            }
            Effect::None => {}
        }
    }

    fn snapshot(&self, out: &mut Vec<u8>) {
        self.snapshot_with(&self.timer, out);
    }

    fn state(&self, out: &mut Vec<u8>) {
        self.snapshot_with(&Timer::default(), out);
    }

    /// Its timers count for nothing: the records say them, also those that an earlier version's state has.
    fn restore_state(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        self.restore(state)?;
        self.timer.reset();
        Ok(())
    }

    fn apply_early(&mut self, record: &Record<'_>) {
        change::changes(record, |change| self.timer.change(change));
    }

    fn files(&self) -> Vec<MachineFile> {
        self.timer.files()
    }

    fn filed(&mut self, at: PhysicalOffset) {
        self.timer.filed(at);
    }

    fn spill(&mut self, at: PhysicalOffset) {
        self.timer.spill(at);
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let mut input = Input(snapshot);
        let (has_parts, has_keys) = match input.u8() {
            Ok(VERSION) => (true, true),
            Ok(VERSION_WITHOUT_KEYS) => (true, false),
            Ok(VERSION_WITHOUT_PARTS) => (false, false),
            Ok(found) if found > VERSION => {
                return Err(RestoreError::Newer { found: found.into(), known: VERSION.into() });
            }
            _ => return Err(RestoreError::Malformed { part: "broker", problem: "version is unknown" }),
        };
        let bounds = self.timer.bounds();
        let broken = |part: &'static str| move |error: Malformed| RestoreError::Malformed { part, problem: error.what };
        self.catalog = Catalog::restore(&mut input).map_err(broken("catalog"))?;
        self.offsets = Offsets::restore(&mut input).map_err(broken("offsets"))?;
        self.timer = Timer::restore(&mut input, has_parts, bounds).map_err(broken("timer"))?;
        self.transactions = Transactions::restore(&mut input).map_err(broken("transactions"))?;
        self.keys = match has_keys {
            true => Keys::restore(&mut input).map_err(broken("idempotency"))?,
            false => Keys::default(),
        };
        self.pop = PopMachine::restore(input.0).map_err(pops_refused)?;
        Ok(())
    }

    fn reset(&mut self) {
        *self = Self::bounded(self.schedule, self.timer.bounds());
    }
}

fn pops_refused(error: DecodeError) -> RestoreError {
    match error {
        DecodeError::Version { found, expected } if found > expected => {
            RestoreError::Newer { found: found.into(), known: expected.into() }
        }
        _ => RestoreError::Malformed { part: "pop", problem: "bytes" },
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use env::sim::{self, World};
    use store::Store;
    use types::{Message, QueueId, QueueOffset, Timestamp};

    use super::*;
    use crate::codec::put_u64;
    use crate::copy;
    use crate::timer::Waits;
    use crate::{LocalBroker, Options, StartError};

    fn waits(offset: u64) -> Waits {
        Waits { due: Timestamp(9), offset: PhysicalOffset(offset), record_bytes: 100, identity: offset }
    }

    /// As the version before wrote it: all that waits is in the snapshot.
    fn without_parts() -> Vec<u8> {
        let (machines, mut out) = (Machines::new(Schedule::default()), vec![VERSION_WITHOUT_PARTS]);
        machines.catalog.snapshot(&mut out);
        machines.offsets.snapshot(&mut out);
        put_u64(&mut out, 2);
        [5, 700].iter().for_each(|offset| waits(*offset).encode(&mut out));
        machines.transactions.snapshot(&mut out);
        machines.pop.snapshot(&mut out);
        out
    }

    #[test]
    fn a_snapshot_of_the_version_before_is_read() {
        let mut machines = Machines::new(Schedule::default());
        machines.restore(&without_parts()).expect("known");
        assert_eq!(machines.timer.held().collect::<Vec<_>>(), [waits(5), waits(700)]);
        assert!(check_snapshot(&without_parts()).is_ok());
    }

    #[test]
    fn a_snapshot_without_keys_is_read() {
        let (before, mut out) = (Machines::new(Schedule::default()), vec![VERSION_WITHOUT_KEYS]);
        before.catalog.snapshot(&mut out);
        before.offsets.snapshot(&mut out);
        before.timer.snapshot(&mut out);
        before.transactions.snapshot(&mut out);
        before.pop.snapshot(&mut out);
        let mut machines = Machines::new(Schedule::default());
        machines.restore(&out).expect("known");
        assert!(machines.keys.is_empty());
        let mut now = Vec::new();
        machines.snapshot(&mut now);
        assert_eq!(now[0], VERSION);
        machines.restore(&now).expect("known");
    }

    #[test]
    fn a_newer_snapshot_is_told_from_one_that_is_none() {
        let restore = |snapshot: &[u8]| Machines::new(Schedule::default()).restore(snapshot);
        let newer = RestoreError::Newer { found: (VERSION + 1).into(), known: VERSION.into() };
        assert_eq!(restore(&[VERSION + 1]), Err(newer));
        let (mut now, mut pops) = (Vec::new(), Vec::new());
        Machines::new(Schedule::default()).snapshot(&mut now);
        PopMachine::new().snapshot(&mut pops);
        let pops_at = now.len() - pops.len();
        now[pops_at] = 4;
        assert_eq!(restore(&now), Err(RestoreError::Newer { found: 4, known: 3 }), "a part of it is newer");
        assert!(matches!(restore(&[0]), Err(RestoreError::Malformed { .. })));
        assert!(matches!(restore(&[]), Err(RestoreError::Malformed { .. })));
    }

    /// What the rest of such a record says, acks perhaps, must not be left out in silence.
    #[test]
    fn a_start_on_an_event_of_a_newer_version_is_refused() {
        sim::run(1, async |world: World| {
            let options = Options::local("/data".into());
            LocalBroker::start(world.env(), options.clone()).expect("starts").stop().await;
            let mut machines = Machines::new(Schedule::default());
            let mut store = Store::open(&world.env(), &options.store(), &mut machines).expect("opens");
            let body = bytes::Bytes::from_static(&[journal::VERSION, 99]);
            let message = copy::system_message(journal::JOURNAL_TOPIC, body, world.env().clock.now());
            let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            let record = record::encode(&message, QueueId(0), host).expect("fits");
            store.ready(record.total_bytes()).await;
            let at = store.append(record, world.env().clock.now()).expect("appended").physical_offset();
            store.write().expect("written");
            store.abandon().await;
            match LocalBroker::start(world.env(), options) {
                Err(StartError::NewerEvent { at: named }) => assert_eq!(named, at),
                other => panic!("{:?}", other.err()),
            }
        });
    }

    #[test]
    fn the_timers_of_a_state_are_those_of_the_records() {
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let message = Message::new(TopicName::new("t").expect("valid"), bytes::Bytes::new());
        let copy = copy::delayed(message, QueueId(0), Timestamp(9));
        let encoded = record::encode(&copy.message, copy.queue, host).expect("fits");
        let stored = encoded.place(QueueOffset(0), PhysicalOffset(700), Timestamp(1));
        let mut new = Vec::new();
        Machines::new(Schedule::default()).state(&mut new);
        for state in [without_parts(), new] {
            let mut machines = Machines::new(Schedule::default());
            machines.restore_state(&state).expect("known");
            assert!(machines.timer.is_empty());
            machines.apply_early(&record::decode(&stored).expect("own record"));
            let held: Vec<Waits> = machines.timer.held().collect();
            assert_eq!(held.iter().map(|waits| (waits.due, waits.offset.0)).collect::<Vec<_>>(), [(Timestamp(9), 700)]);
            // The topic is said by the state.
            assert!(machines.catalog.topics().len() == 0);
        }
    }
}
