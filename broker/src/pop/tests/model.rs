//! Random requests against a model that knows each message's story and nothing of the machine's inside.
//!
//! After every request: no two live leases of an entry, order within each message group across redelivery, attempts
//! counted right, handles good exactly during their delivery, the committed offset never past an unfinished entry, the
//! log replays to the same durable state, a snapshot restores to itself. At the end all that is wanted has been
//! delivered and is finished.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use types::broker::{ChangeInvisible, ClientId, LeaseOwner};
use types::receipt_handle::HandleSource;
use types::{Filter, QueueId, QueueOffset, ReceiptHandle, Timestamp, TopicName};

use super::world::{Around, Logged, Queues, durable, make_move, owner, replay};
use crate::pop::slot::QUEUE_LINE;
use crate::pop::{Cursor, Leased, Look, PopEvent, PopMachine, PopQueues, PopRequest, Unfinished};

const QUEUES: u32 = 2;
/// Stands for the retry queue among the stories.
const RETRY: u32 = u32::MAX;
const CLIENTS: [&str; 2] = ["anna", "bert"];
const ATTEMPTS_MAX: u32 = 2;
const CONSUME_TIMEOUT_MS: i64 = 300;

#[derive(Clone, Debug)]
enum Step {
    Send {
        queue: u32,
        group: u32,
        is_wanted: bool,
    },
    Pop {
        queue: Option<u32>,
        max: u32,
        invisible: u64,
        client: usize,
        auto_renew: bool,
        attempt: Option<u8>,
    },
    Ack {
        handle: prop::sample::Index,
        more: bool,
    },
    Change {
        handle: prop::sample::Index,
        invisible: u64,
        suspend: bool,
    },
    Hold {
        handle: prop::sample::Index,
    },
    Release {
        handle: prop::sample::Index,
    },
    Skip {
        handle: prop::sample::Index,
    },
    GiveUp {
        handle: prop::sample::Index,
    },
    Advance {
        ms: i64,
    },
    Toggle {
        client: usize,
    },
    Gone {
        client: usize,
    },
    Reset {
        queue: u32,
        offset: prop::sample::Index,
    },
    Trim {
        queue: u32,
        by: u64,
    },
    /// As retention moves it, whatever its stage.
    Move {
        entry: prop::sample::Index,
    },
    /// Others write into the retry queue.
    Foreign {
        is_wanted: bool,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    use prop::sample::Index;
    let handle = any::<Index>;
    let pop = (prop::option::of(0..QUEUES), 1..6u32, 1..100u64, 0..2usize, any::<bool>(), prop::option::of(0..3u8));
    prop_oneof![
        8 => (0..QUEUES, 0..4u32, prop::bool::weighted(0.8))
            .prop_map(|(queue, group, is_wanted)| Step::Send { queue, group, is_wanted }),
        8 => pop.prop_map(|(queue, max, invisible, client, auto_renew, attempt)| Step::Pop {
            queue, max, invisible, client, auto_renew, attempt
        }),
        6 => (handle(), any::<bool>()).prop_map(|(handle, more)| Step::Ack { handle, more }),
        2 => (handle(), prop_oneof![3 => 0..80u64, 1 => 50_000..70_000u64], any::<bool>())
            .prop_map(|(handle, invisible, suspend)| Step::Change { handle, invisible, suspend }),
        3 => handle().prop_map(|entry| Step::Move { entry }),
        1 => any::<bool>().prop_map(|is_wanted| Step::Foreign { is_wanted }),
        4 => handle().prop_map(|handle| Step::Hold { handle }),
        2 => handle().prop_map(|handle| Step::Release { handle }),
        1 => handle().prop_map(|handle| Step::Skip { handle }),
        1 => handle().prop_map(|handle| Step::GiveUp { handle }),
        5 => (-20..120i64).prop_map(|ms| Step::Advance { ms }),
        1 => (0..2usize).prop_map(|client| Step::Toggle { client }),
        1 => (0..2usize).prop_map(|client| Step::Gone { client }),
        1 => (0..QUEUES, handle()).prop_map(|(queue, offset)| Step::Reset { queue, offset }),
        1 => (0..QUEUES, 0..3u64).prop_map(|(queue, by)| Step::Trim { queue, by }),
        1 => Just(Step::Restart),
    ]
}

/// A message's story as seen from outside.
#[derive(Clone, Debug, Default)]
struct Story {
    /// Deliveries that count.
    attempts: u32,
    /// Number of its current delivery; 0 before the first.
    delivery: u64,
    /// When its current delivery began.
    first_popped: i64,
    is_finished: bool,
    lease: Option<Live>,
}

/// A lease that must not be broken.
#[derive(Clone, Debug)]
struct Live {
    client: usize,
    attempt: Option<u8>,
    until: i64,
    auto_renew: bool,
    is_held: bool,
    /// It waits for a time that its client named, and is nobody's.
    is_waiting: bool,
    /// Its delivery does not count when the wait is over.
    is_suspended: bool,
}

/// A handle that was given out.
#[derive(Clone, Debug)]
struct Issued {
    handle: ReceiptHandle,
    delivery: u64,
}

fn key_of(entry: &Unfinished) -> (u32, u64) {
    (if entry.owner.topic.is_retry() { RETRY } else { entry.queue.0 }, entry.offset.0)
}

fn retry_topic(owner: &LeaseOwner) -> TopicName {
    TopicName::retry(&owner.group, &owner.topic).expect("short")
}

struct Model {
    owner: LeaseOwner,
    machine: PopMachine,
    queues: Queues,
    around: Around,
    now: i64,
    is_fifo: bool,
    filter: Filter,
    log: Vec<Logged>,
    stories: BTreeMap<(u32, u64), Story>,
    /// Where the story of a moved entry goes on.
    moved: BTreeMap<(u32, u64), (u32, u64)>,
    begun: [Option<u64>; QUEUES as usize],
    trimmed: [u64; QUEUES as usize],
    issued: Vec<Issued>,
    deliveries: u64,
}

impl Model {
    fn new(is_fifo: bool) -> Self {
        let mut around = Around::new(ATTEMPTS_MAX, Duration::from_millis(CONSUME_TIMEOUT_MS.unsigned_abs()));
        around.alive.extend(CLIENTS.map(str::to_owned));
        Self {
            owner: owner(),
            machine: PopMachine::new(),
            queues: Queues::new(QUEUES as usize),
            around,
            now: 1_000,
            is_fifo,
            filter: Filter::tags(["a"]).expect("a tag"),
            log: Vec::new(),
            stories: BTreeMap::new(),
            moved: BTreeMap::new(),
            begun: [None; QUEUES as usize],
            trimmed: [0; QUEUES as usize],
            issued: Vec::new(),
            deliveries: 0,
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Send { queue, group, is_wanted } => {
                let offset = self.queues.append(QueueId(*queue), *group, if *is_wanted { 97 } else { 98 });
                self.stories.insert((*queue, offset.0), Story { is_finished: !is_wanted, ..Story::default() });
            }
            Step::Pop { queue, max, invisible, client, auto_renew, attempt } => {
                self.pop(*queue, *max, *invisible, *client, *auto_renew, *attempt);
            }
            Step::Ack { handle, more } => self.ack(handle, *more),
            Step::Change { handle, invisible, suspend } => self.change(handle, *invisible, *suspend),
            Step::Hold { handle } => self.hold(handle),
            Step::Release { handle } => self.release(handle),
            Step::Skip { handle } => self.skip(handle),
            Step::GiveUp { handle } => self.give_up(handle),
            Step::Advance { ms } => self.now += ms,
            Step::Toggle { client } => {
                let name = CLIENTS[*client];
                if !self.around.alive.remove(name) {
                    self.around.alive.insert(name.to_owned());
                }
            }
            Step::Gone { client } => self.gone(*client),
            Step::Reset { queue, offset } => self.reset(*queue, offset),
            Step::Trim { queue, by } => {
                let first = self.trimmed[*queue as usize] + by;
                self.queues.trim(QueueId(*queue), first);
                self.trimmed[*queue as usize] = first.min(self.queues.entries(QueueId(*queue)).len() as u64);
            }
            Step::Move { entry } => self.move_any(entry),
            Step::Foreign { is_wanted } => {
                let offset = self.queues.append_retry(if *is_wanted { 97 } else { 98 });
                // A group reads its retry queue from its first copy there on.
                let is_finished = !is_wanted || !self.has_retries();
                self.stories.insert((RETRY, offset.0), Story { is_finished, ..Story::default() });
                self.machine.retries_arrived(&retry_topic(&self.owner));
            }
            Step::Restart => {
                self.machine = PopMachine::restore(&durable(&self.machine)).expect("a snapshot");
                self.machine.recovered(Timestamp(self.now));
                self.stories
                    .values_mut()
                    .filter_map(|story| story.lease.as_mut())
                    .for_each(|live| live.is_held = false);
            }
        }
        self.expire();
        self.check();
    }

    fn journal<R>(&mut self, change: impl FnOnce(&mut Self, &mut Vec<PopEvent>) -> R) -> R {
        let mut events = Vec::new();
        let result = change(self, &mut events);
        self.log.extend(events.into_iter().map(Logged::Event));
        result
    }

    /// Ends what is over, stores dead letters, and drops what the model need not protect any more.
    fn expire(&mut self) {
        let now = self.now;
        for story in self.stories.values_mut() {
            let alive = |live: &Live| self.around.alive.contains(CLIENTS[live.client]);
            let cap = story.first_popped + CONSUME_TIMEOUT_MS;
            let is_over = |live: &Live| {
                let is_renewed = live.is_held && live.auto_renew && alive(live) && now < cap;
                now >= live.until && !is_renewed
            };
            if let Some(over) = story.lease.take_if(|live| is_over(live)) {
                story.attempts = story.attempts.saturating_sub(over.is_suspended.into());
            }
        }
        while self.machine.next_deadline().is_some_and(|deadline| deadline.0 <= self.now) {
            self.journal(|model, events| {
                model.machine.expire(Timestamp(model.now), &model.around, events);
            });
        }
        self.store_copies();
    }

    /// The engine's part: copies of what was given up or is to be moved.
    fn store_copies(&mut self) {
        while let Some(given_up) = self.machine.poll_dead_letter() {
            assert_eq!(given_up.attempts, ATTEMPTS_MAX);
            let story = self.stories.get_mut(&key_of(&given_up)).expect("a message");
            assert!(story.lease.is_none(), "a live lease was given up: {story:?}");
            assert!(!story.is_finished && story.attempts == ATTEMPTS_MAX);
            self.finish_in_log(&given_up);
        }
        while let Some(entry) = self.machine.poll_move(Timestamp(self.now)) {
            let story = &self.stories[&key_of(&entry)];
            assert!(story.lease.as_ref().is_some_and(|live| live.is_waiting), "moved without need: {story:?}");
            self.make_move(&entry);
        }
    }

    fn finish_in_log(&mut self, entry: &Unfinished) {
        assert!(self.machine.finish(&entry.owner, entry.queue, entry.offset));
        self.log.push(Logged::DeadLetter(entry.owner.clone(), entry.queue, entry.offset));
        let story = self.stories.get_mut(&key_of(entry)).expect("a message");
        story.is_finished = true;
        story.lease = None;
    }

    /// The copy takes the story along; the entry's own is finished.
    fn make_move(&mut self, entry: &Unfinished) {
        let logged = make_move(&mut self.machine, &mut self.queues, entry).expect("it may be moved");
        let Logged::Moved(_, _, copy) = &logged else { unreachable!("a move") };
        let story = std::mem::replace(
            self.stories.get_mut(&key_of(entry)).expect("a message"),
            Story { is_finished: true, ..Story::default() },
        );
        self.stories.insert((RETRY, copy.0), story);
        self.moved.insert(key_of(entry), (RETRY, copy.0));
        self.log.push(logged);
    }

    /// Moves any unfinished entry that may be moved, of those before which nothing is trimmed away.
    fn move_any(&mut self, index: &prop::sample::Index) {
        let (mut cursor, mut entries) = (Cursor::default(), Vec::new());
        loop {
            match self.machine.look(&mut cursor) {
                Look::Entry(entry, is_movable) if is_movable && !self.is_trimmed(key_of(&entry)) => entries.push(entry),
                Look::Entry(entry, is_movable) => assert!(is_movable || self.machine.plan_move(&entry).is_none()),
                Look::NextQueue => {}
                Look::End => break,
            }
        }
        if !entries.is_empty() {
            let entry = entries.swap_remove(index.index(entries.len()));
            assert_eq!(entry.attempts, self.stories[&key_of(&entry)].attempts);
            self.make_move(&entry);
        }
    }

    fn has_retries(&self) -> bool {
        let retry = LeaseOwner { group: self.owner.group.clone(), topic: retry_topic(&self.owner) };
        self.machine.retry_next(&retry).is_some()
    }

    fn is_trimmed(&self, (queue, offset): (u32, u64)) -> bool {
        self.trimmed.get(queue as usize).is_some_and(|trimmed| offset < *trimmed)
    }

    /// Where the message is that a handle names.
    fn key(&self, handle: &ReceiptHandle) -> (u32, u64) {
        let mut key = match handle.source {
            HandleSource::Topic => (handle.queue.0, handle.offset.0),
            HandleSource::RetryV1 | HandleSource::RetryV2 => (RETRY, handle.offset.0),
        };
        while let Some(copy) = self.moved.get(&key) {
            key = *copy;
        }
        key
    }

    fn pop(&mut self, queue: Option<u32>, max: u32, invisible: u64, client: usize, renew: bool, attempt: Option<u8>) {
        for (queue, begun) in (0..).zip(&mut self.begun) {
            let (trimmed, end) = (self.trimmed[queue], self.queues.entries(QueueId(queue as u32)).len() as u64);
            begun.get_or_insert(if trimmed == 0 { 0 } else { end });
        }
        let (owner, client_id): (_, ClientId) = (self.owner.clone(), CLIENTS[client].into());
        let attempt_id: Option<Arc<str>> = attempt.map(|attempt| attempt.to_string().into());
        let filter = self.filter.clone();
        let mut request = PopRequest {
            owner: &owner,
            queues: PopQueues::Any(QUEUES),
            messages_max: 0,
            invisible: Duration::from_millis(invisible),
            client: &client_id,
            auto_renew: renew,
            filter: &filter,
            attempt_id: attempt_id.as_ref(),
            is_fifo: self.is_fifo,
            begins_at_first: false,
        };
        let leased = self.journal(|model, events| {
            let mut leased = Vec::new();
            // All queues begin with the first pop, so that the model knows where.
            model.machine.pop(
                &PopRequest { attempt_id: None, ..request },
                &model.queues,
                Timestamp(model.now),
                events,
                &mut leased,
            );
            assert!(leased.is_empty());
            request.messages_max = max;
            request.queues = queue.map_or(PopQueues::Any(QUEUES), |queue| PopQueues::One(QueueId(queue)));
            let has_message = model.machine.has_message(&request, &model.queues, events);
            model.machine.pop(&request, &model.queues, Timestamp(model.now), events, &mut leased);
            // A repeated attempt gets what nobody else would.
            let is_repeated = attempt_id.is_some() && !has_message;
            assert!(is_repeated || has_message != leased.is_empty());
            leased
        });
        assert!(leased.len() <= max as usize);
        for leased in leased {
            assert!(leased.source != HandleSource::Topic || queue.is_none_or(|queue| leased.queue.0 == queue));
            self.delivered(&leased, client, renew, attempt);
        }
    }

    fn delivered(&mut self, leased: &Leased, client: usize, auto_renew: bool, attempt: Option<u8>) {
        let is_retry = leased.source != HandleSource::Topic;
        let (queue, offset) = (if is_retry { RETRY } else { leased.queue.0 }, leased.entry.offset.0);
        let entries = if is_retry { self.queues.retries() } else { self.queues.entries(leased.queue) };
        assert_eq!(leased.entry, entries[usize::try_from(offset).expect("small")]);
        let line = |entry: &crate::pop::QueueEntry| match entry.group_hash {
            0 if self.is_fifo && !is_retry => QUEUE_LINE,
            hash => hash,
        };
        assert_eq!(leased.is_ordered, line(&leased.entry) != 0);
        assert!(!self.is_trimmed((queue, offset)));
        if leased.is_ordered {
            let from = self.begun[queue as usize].expect("begun").max(self.trimmed[queue as usize]);
            let earlier = entries[..usize::try_from(offset).expect("small")].iter();
            for earlier in earlier.filter(|earlier| earlier.offset.0 >= from && line(earlier) == line(&leased.entry)) {
                let story = &self.stories[&(queue, earlier.offset.0)];
                assert!(story.is_finished, "{offset} was delivered before {} was finished", earlier.offset);
            }
        }
        let story = self.stories.get_mut(&(queue, offset)).expect("a message");
        assert!(!story.is_finished, "a finished message was delivered");
        let is_reentry = match &story.lease {
            None => false,
            Some(live) => {
                let is_same = live.client == client && attempt.is_some() && live.attempt == attempt;
                assert!(is_same && leased.is_ordered, "a leased message was delivered: {story:?}");
                true
            }
        };
        // The machine may go on holding a lease that the model need not protect any more, and let it be re-entered.
        let may_be_reentry = attempt.is_some() && leased.is_ordered && leased.attempt == story.attempts;
        if !is_reentry && !may_be_reentry {
            self.deliveries += 1;
            story.delivery = self.deliveries;
            story.first_popped = leased.popped_at.0;
            story.attempts += 1;
        }
        assert_eq!(leased.attempt, story.attempts);
        let until = self.now + i64::try_from(leased.invisible.as_millis()).expect("small");
        let (is_held, is_waiting, is_suspended) = (false, false, false);
        story.lease = Some(Live { client, attempt, until, auto_renew, is_held, is_waiting, is_suspended });
        self.issued.push(Issued { handle: leased.handle(&"b".into()), delivery: story.delivery });
    }

    fn pick(&self, index: &prop::sample::Index) -> Option<Issued> {
        if self.issued.is_empty() { None } else { Some(self.issued[index.index(self.issued.len())].clone()) }
    }

    fn story(&mut self, handle: &ReceiptHandle) -> &mut Story {
        let key = self.key(handle);
        self.stories.get_mut(&key).expect("a message")
    }

    /// Whether a handle must be good; `None` when its entry may be trimmed already or not yet.
    fn is_good(&mut self, issued: &Issued) -> Option<bool> {
        let is_trimmed = self.is_trimmed(self.key(&issued.handle));
        let story = self.story(&issued.handle);
        (!is_trimmed).then_some(!story.is_finished && story.delivery == issued.delivery)
    }

    fn ack(&mut self, index: &prop::sample::Index, more: bool) {
        let Some(issued) = self.pick(index) else { return };
        let batch: Vec<Issued> = if more {
            self.issued.iter().filter(|other| other.handle.popped_at == issued.handle.popped_at).cloned().collect()
        } else {
            vec![issued]
        };
        let handles: Vec<ReceiptHandle> = batch.iter().map(|issued| issued.handle.clone()).collect();
        let results = self.journal(|model, events| model.machine.ack(&model.owner, &handles, events));
        assert_eq!(results.len(), batch.len());
        for (issued, result) in batch.iter().zip(results) {
            if let Some(is_good) = self.is_good(issued) {
                assert_eq!(result.is_ok(), is_good, "{issued:?}");
            }
            if result.is_ok() {
                let story = self.story(&issued.handle);
                story.is_finished = true;
                story.lease = None;
            }
        }
    }

    fn change(&mut self, index: &prop::sample::Index, invisible: u64, suspend: bool) {
        let Some(issued) = self.pick(index) else { return };
        let is_good = self.is_good(&issued);
        let result = self.journal(|model, events| {
            let change = ChangeInvisible { invisible: Duration::from_millis(invisible), suspend };
            model.machine.change_invisible(&model.owner, &issued.handle, change, Timestamp(model.now), events)
        });
        if let Some(is_good) = is_good {
            assert_eq!(result.is_ok(), is_good, "{issued:?}");
        }
        if let Ok(handle) = result {
            assert!(handle.popped_at >= issued.handle.popped_at);
            let until = self.now + i64::try_from(invisible).expect("small");
            let story = self.story(&handle);
            let is_suspended = suspend && story.lease.is_some();
            story.lease = Some(Live {
                client: 0,
                attempt: None,
                until,
                auto_renew: false,
                is_held: false,
                is_waiting: true,
                is_suspended,
            });
            self.issued.push(Issued { handle, delivery: issued.delivery });
        }
    }

    fn hold(&mut self, index: &prop::sample::Index) {
        let Some(issued) = self.pick(index) else { return };
        self.machine.hold(&self.owner, std::slice::from_ref(&issued.handle));
        if self.is_open(&issued) {
            self.story(&issued.handle).lease.as_mut().expect("an open lease").is_held = true;
        }
    }

    /// Asks the machine whether the very lease of this handle is open: only then a report about it changes anything.
    fn has_open_lease(&self, handle: &ReceiptHandle) -> bool {
        self.machine.leased(&self.owner, self.machine.slot_of(&self.owner, handle), handle).is_some()
    }

    /// Whether the very lease of this handle is open in the machine and in the model.
    fn is_open(&self, issued: &Issued) -> bool {
        let held = self.has_open_lease(&issued.handle);
        let story = &self.stories[&self.key(&issued.handle)];
        if held {
            assert_eq!(story.delivery, issued.delivery);
        }
        held && story.lease.is_some()
    }

    fn release(&mut self, index: &prop::sample::Index) {
        let Some(issued) = self.pick(index) else { return };
        let is_open = self.has_open_lease(&issued.handle);
        self.journal(|model, events| {
            model.machine.release(&model.owner, std::slice::from_ref(&issued.handle), events);
        });
        if is_open {
            let story = self.story(&issued.handle);
            assert_eq!(story.delivery, issued.delivery);
            story.attempts -= 1;
            story.lease = None;
        }
    }

    fn skip(&mut self, index: &prop::sample::Index) {
        let Some(issued) = self.pick(index) else { return };
        let is_good = self.machine.find(&self.owner, &issued.handle).is_ok_and(|found| found.is_some());
        self.journal(|model, events| {
            model.machine.skip(&model.owner, std::slice::from_ref(&issued.handle), events);
        });
        if is_good {
            let story = self.story(&issued.handle);
            story.is_finished = true;
            story.lease = None;
        }
    }

    fn give_up(&mut self, index: &prop::sample::Index) {
        let Some(issued) = self.pick(index) else { return };
        if let Ok(Some(found)) = self.machine.find(&self.owner, &issued.handle) {
            assert_eq!(found.attempts, self.story(&issued.handle).attempts);
            self.finish_in_log(&found);
        }
    }

    fn gone(&mut self, client: usize) {
        self.journal(|model, events| model.machine.client_gone(CLIENTS[client], &model.around, events));
        let gone = |live: &Live| live.client == client && !live.is_waiting;
        for story in self.stories.values_mut() {
            story.lease = story.lease.take().filter(|live| !gone(live));
        }
        self.store_copies();
    }

    fn reset(&mut self, queue: u32, offset: &prop::sample::Index) {
        let end = self.queues.entries(QueueId(queue)).len() as u64;
        let to = offset.index(usize::try_from(end).expect("small") + 1) as u64;
        self.journal(|model, events| {
            model.machine.reset_to(&model.owner, QueueId(queue), QueueOffset(to), events);
        });
        self.begun[queue as usize] = Some(to);
        // What was moved is a story of its own from now on.
        self.moved.retain(|(of, _), _| *of != queue);
        for ((_, offset), story) in self.stories.range_mut((queue, 0)..(queue + 1, 0)) {
            let is_wanted =
                self.queues.entries(QueueId(queue))[usize::try_from(*offset).expect("small")].tag_hash == 97;
            *story = Story { is_finished: *offset < to || !is_wanted, ..Story::default() };
        }
    }

    fn check(&self) {
        for (_, slot) in self.machine.slots.iter() {
            slot.assert_valid();
        }
        for (queue, trimmed) in (0..).zip(self.trimmed) {
            let Some(committed) = self.machine.committed(&self.owner, QueueId(queue)) else { continue };
            let begun = self.begun[queue as usize].expect("begun").max(trimmed);
            let of_queue = self.stories.range((queue, begun)..(queue + 1, 0));
            let first = of_queue.filter(|(_, story)| !story.is_finished).map(|((_, offset), _)| *offset).next();
            assert!(first.is_none_or(|first| committed.0 <= first), "committed {committed} passed {first:?}");
        }
        let bytes = durable(&self.machine);
        assert_eq!(durable(&PopMachine::restore(&bytes).expect("a snapshot")), bytes);
        assert_eq!(durable(&replay(&self.log)), bytes);
        assert!(!self.machine.has_moves());
    }

    /// Every lease ends, everything ready is delivered and acked, until nothing is left.
    fn drain(&mut self) {
        self.around.alive.clear();
        loop {
            self.now += 1_000;
            self.expire();
            let before = self.issued.len();
            self.pop(None, 6, 50, 0, false, None);
            let new: Vec<ReceiptHandle> = self.issued[before..].iter().map(|issued| issued.handle.clone()).collect();
            let results = self.journal(|model, events| model.machine.ack(&model.owner, &new, events));
            assert!(results.iter().all(Result::is_ok));
            for handle in &new {
                self.story(handle).is_finished = true;
                self.story(handle).lease = None;
            }
            self.check();
            if new.is_empty() && self.machine.next_deadline().is_none() {
                break;
            }
        }
        for ((queue, offset), story) in &self.stories {
            if *queue == RETRY {
                assert!(story.is_finished, "retry {offset} is lost: {story:?}");
                continue;
            }
            let from = self.begun[*queue as usize].expect("begun").max(self.trimmed[*queue as usize]);
            assert!(story.is_finished || *offset < from, "{offset} of queue {queue} is lost: {story:?}");
        }
        for queue in 0..QUEUES {
            let end = self.queues.entries(QueueId(queue)).len() as u64;
            let begun = self.begun[queue as usize].expect("begun");
            assert_eq!(self.machine.committed(&self.owner, QueueId(queue)), Some(QueueOffset(end.max(begun))));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_does_what_the_model_says(is_fifo: bool, steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model::new(is_fifo);
        for step in &steps {
            model.run(step);
        }
        model.drain();
    }

    #[test]
    fn no_bytes_make_restoring_panic(mut bytes: Vec<u8>, steps in prop::collection::vec(step(), 1..30), flip: prop::sample::Index) {
        let _ = PopMachine::restore(&bytes);
        let mut model = Model::new(true);
        steps.iter().for_each(|step| model.run(step));
        bytes = durable(&model.machine);
        let at = flip.index(bytes.len());
        bytes[at] = bytes[at].wrapping_add(1);
        let _ = PopMachine::restore(&bytes);
        prop_assert!(PopMachine::restore(&bytes[..at]).is_err());
    }
}
