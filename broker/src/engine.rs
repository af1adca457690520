//! The engine: one loop that owns the store and the machines.
//!
//! A round: what is due, the commands that wait, the journal record, one write, the answers, then the receivers, who
//! see all that was written. Receivers' leases are events of the next round, which follows at once.
//! The loop never waits for a client, never reads a cold record and never syncs.

use std::sync::Arc;
use std::time::Duration;

use env::Env;
use env::clock::Moment;
use store::{Machine as _, Marks, Store};
use tokio::sync::mpsc;
use types::broker::{Durability, PopError, Unavailable};
use types::{PhysicalOffset, Timestamp};

use crate::command::{Command, CopyCommand, Escape, PopCommand};
use crate::journal::Pending;
use crate::machines::Machines;
use crate::membership::lease::Lease;
use crate::options::{OP_INTERVAL, Options, ROUND_COMMANDS_MAX, Role, SLEEP_MAX};
use crate::pop::PopEvent;
use crate::queue_locks::QueueLocks;
use crate::shared::Shared;

mod admin;
pub(crate) mod answer;
mod append;
mod arrivals;
#[cfg(test)]
mod by_hand;
mod carry;
mod check;
mod clear;
mod clients;
mod dead_letter;
mod fetch;
mod idle;
mod lease;
mod locks;
mod operators;
mod pull;
mod queues;
mod receive;
mod replica;
mod retention;
mod retry;
mod send;
mod spilled;
mod timer;
mod transaction;
mod waiting;

pub(crate) use fetch::{Fetches, fetch_loop};
pub(crate) use replica::LogEnd;
pub use replica::ReplicateError;

use answer::{Answers, Reached};
use arrivals::Arrivals;
use carry::Carries;
use clients::Clients;
use dead_letter::Burials;
use idle::Idle;
use retention::Retention;
use spilled::{Reads, Spilled};
use transaction::EndWaiting;
use waiting::Waiting;

/// Room for what a round appends beside the records that were sent: events, copies.
const ROUND_OVERHEAD_BYTES: u64 = 64 * 1024;
/// Messages whose retry copies cannot be made that are remembered; others are tried again.
const UNMOVABLE_MAX: usize = 10_000;

/// Everything that the engine thread owns.
pub(crate) struct Engine {
    env: Env,
    options: Options,
    shared: Arc<Shared>,
    store: Store,
    machines: Machines,
    commands: mpsc::Receiver<Command>,
    /// Commands of this round; kept for its memory.
    inbox: Vec<Command>,
    /// The time of this round.
    now: Timestamp,
    /// The same, whatever the wall clock shows: for waits that nobody remembers after a restart.
    moment: Moment,
    /// Events that are not in the log yet.
    journal: Pending,
    /// The pop machine's events of one decision; kept for its memory.
    events: Vec<PopEvent>,
    answers: Answers,
    arrivals: Arrivals,
    /// Pops to be served at the end of the round.
    pops: Vec<PopCommand>,
    waiting: Waiting,
    clients: Clients,
    locks: QueueLocks,
    fetches: Fetches,
    spilled: Spilled,
    /// Requests for transactions whose outcome is just being stored.
    end_waiting: EndWaiting,
    /// Messages to give up whose copies could not be stored yet.
    dead_letters: Vec<crate::pop::Unfinished>,
    /// Messages whose dead-letter or retry copies are being made.
    burials: Burials,
    /// Messages whose retry copies cannot be made, at most [`UNMOVABLE_MAX`].
    unmovable: Burials,
    /// How far the log's front is on its way out.
    retention: Retention,
    carries: Carries,
    /// How far it was looked for topics and groups that nobody uses.
    idle: Idle,
    /// Where a slave's delayed messages go that are due, while it stands in for its master.
    escapes: Option<mpsc::Sender<Escape>>,
    /// When outcomes are tried again after one could not be stored, or first if they have to wait for a word.
    outcomes_paused_until: Timestamp,
    /// When the gathered op records are written.
    ops_due: Option<Timestamp>,
    /// When all queues were last counted.
    counted_at: Timestamp,
    /// The check receiver that is asked next.
    next_checker: usize,
    /// Why everything is refused, if it is.
    failure: Option<Unavailable>,
    is_stopping: bool,
}

impl Engine {
    pub(crate) fn new(
        env: Env,
        options: Options,
        shared: Arc<Shared>,
        store: Store,
        machines: Machines,
        commands: mpsc::Receiver<Command>,
        fetches: Fetches,
    ) -> (Self, Reads) {
        let (wait, segment_bytes) = (options.answer_wait(), options.segment_bytes);
        let (now, moment) = (env.clock.now(), env.clock.moment());
        let (spilled, reads) = Spilled::new();
        let has_to_wait = options.role == Role::Master && !options.outcomes_after.is_zero();
        let outcomes_paused_until = if has_to_wait { now.plus(options.outcomes_after) } else { Timestamp(i64::MIN) };
        let mut engine = Self {
            now,
            moment,
            env,
            options,
            shared,
            store,
            machines,
            commands,
            inbox: Vec::with_capacity(ROUND_COMMANDS_MAX),
            journal: Pending::new(segment_bytes),
            events: Vec::new(),
            answers: Answers::new(wait),
            arrivals: Arrivals::new(wait.is_none()),
            pops: Vec::new(),
            waiting: Waiting::default(),
            clients: Clients::default(),
            locks: QueueLocks::default(),
            fetches,
            spilled,
            end_waiting: EndWaiting::default(),
            dead_letters: Vec::new(),
            burials: Burials::new(),
            unmovable: Burials::new(),
            retention: Retention::new(now),
            carries: Carries::default(),
            idle: Idle::new(moment),
            escapes: None,
            outcomes_paused_until,
            ops_due: None,
            counted_at: Timestamp(i64::MIN),
            next_checker: 0,
            failure: None,
            is_stopping: false,
        };
        if engine.options.role == Role::Master {
            engine.machines.pop.recovered(engine.now);
        }
        engine.machines.timer.expire(engine.store.first());
        (engine, reads)
    }

    /// Runs until it is told to stop or all handles are gone, as after a kill: then without a last checkpoint.
    pub(crate) async fn run(mut self) {
        let is_connected = loop {
            let is_connected = self.gather().await;
            self.round().await;
            if self.is_stopping || !is_connected {
                break is_connected;
            }
        };
        self.shared.stop();
        self.refuse_the_rest().await;
        self.dismiss_waiting(None);
        // What is not known here is not to be in a checkpoint.
        if is_connected && self.machines.newer_event_at.is_none() {
            self.drain().await;
            self.machines.timer.seal(self.store.marks().appended_to());
            let Self { store, machines, .. } = self;
            if let Err(error) = store.close(&machines).await {
                tracing::error!(%error, "the store was not closed cleanly: the next start reads more of the log");
            }
        }
    }

    /// Fills the inbox; waits for a command, a record from the disk, the disk or the next deadline. False when
    /// nobody can send commands any more.
    async fn gather(&mut self) -> bool {
        while self.inbox.len() < ROUND_COMMANDS_MAX
            && let Ok(command) = self.commands.try_recv()
        {
            self.inbox.push(command);
        }
        self.fetches.take_done();
        self.spilled.take_done();
        if !self.inbox.is_empty() || self.fetches.has_done() || self.spilled.has_done() || self.has_work() {
            return true;
        }
        let sleep = self.env.clock.sleep(self.sleep());
        let next_visible = [self.answers.next_flush(), self.arrivals.next_visible()].into_iter().flatten().min();
        let flushed = wait_visible(self.shared.marks.clone(), next_visible);
        tokio::select! {
            biased;
            received = self.commands.recv_many(&mut self.inbox, ROUND_COMMANDS_MAX) => received > 0,
            () = self.fetches.wait() => true,
            () = self.spilled.wait() => true,
            () = flushed => true,
            () = sleep => true,
        }
    }

    /// Whether the next round has something to do already.
    fn has_work(&self) -> bool {
        let has_events = !self.journal.is_empty() && self.outcomes_paused_until <= self.now;
        self.failure.is_none() && (has_events || !self.pops.is_empty())
    }

    /// How long nothing needs to be done unless somebody asks for it.
    fn sleep(&self) -> Duration {
        let now = self.env.clock.now();
        let duty = if self.may_decide() { self.next_duty(now) } else { self.next_escape() };
        let deadlines = [duty, self.next_load()];
        let moment = self.env.clock.moment();
        let waits = [self.waiting.next_deadline(), self.answers.next_deadline()];
        let next = deadlines.into_iter().flatten().map(|at| at.since(now));
        let next = next.chain(waits.into_iter().flatten().map(|at| at.since(moment))).min();
        next.filter(|_| self.failure.is_none()).map_or(SLEEP_MAX, |left| left.min(SLEEP_MAX))
    }

    /// When a master has something to do by itself.
    fn next_duty(&self, now: Timestamp) -> Option<Timestamp> {
        // On a full disk what can wait does, see `Store::is_short`.
        let can_wait = self.store.is_short();
        let has_moves = self.machines.pop.has_moves() && !can_wait;
        let outcomes = [
            self.machines.timer.next_deadline().filter(|_| !can_wait),
            self.machines.transactions.next_deadline(),
            self.ops_due,
            Some(self.retention.next_deadline(now)),
            (!self.dead_letters.is_empty() || !self.journal.is_empty() || has_moves).then_some(now),
        ];
        let next_outcome = outcomes.into_iter().flatten().min().map(|at| at.max(self.outcomes_paused_until));
        let next = [next_outcome.filter(|_| !self.fetches.is_full()), self.machines.pop.next_deadline()];
        next.into_iter().flatten().min()
    }

    async fn round(&mut self) {
        self.store.ready(self.round_bytes()).await;
        (self.now, self.moment) = (self.env.clock.now(), self.env.clock.moment());
        if self.failure.is_none() {
            self.poll_machines();
        }
        self.complete_fetches();
        self.complete_reads();
        let mut inbox = std::mem::take(&mut self.inbox);
        for command in inbox.drain(..) {
            self.handle(command);
        }
        self.inbox = inbox;
        if self.failure.is_none() && self.may_decide() {
            self.finish_outcomes();
        }
        self.write();
        self.serve_receivers();
        self.count();
    }

    /// What the round will append, roughly.
    fn round_bytes(&self) -> u64 {
        let sends = self.inbox.iter().map(|command| match command {
            Command::Send { records, .. } => records.iter().map(|prepared| prepared.records.total_bytes()).sum(),
            Command::Replicate { records, .. } => self.replicated_bytes(records),
            Command::StoreCopy(CopyCommand { copy, .. }) => {
                record::encoded_bytes(&copy.message, self.options.store_host) as u64
            }
            _ => 0,
        });
        sends.sum::<u64>() + self.journal.bytes() as u64 + self.retention.bytes() + ROUND_OVERHEAD_BYTES
    }

    /// Whether this broker decides what comes into the log: a master whose lease goes on.
    fn may_decide(&self) -> bool {
        self.options.role == Role::Master && !self.is_fenced()
    }

    /// Whether another broker may be the master by now, for all that is known here.
    fn is_fenced(&self) -> bool {
        self.options.role == Role::Master && self.options.lease.as_ref().is_some_and(Lease::is_over)
    }

    /// What time has made due. To a slave its master's records say it.
    fn poll_machines(&mut self) {
        if !self.may_decide() {
            self.load_timers();
            if self.escapes.is_some() {
                self.deliver_due();
            }
            return;
        }
        self.expire_leases();
        self.forget_keys();
        if self.outcomes_paused_until <= self.now {
            self.load_timers();
            if !self.store.is_short() {
                self.deliver_due();
            }
            self.check_transactions();
        }
    }

    /// What machines and requests have left to be stored.
    fn finish_outcomes(&mut self) {
        self.give_up_messages();
        if !self.store.is_short() {
            self.move_retries();
        }
        self.write_ops();
        if self.outcomes_paused_until <= self.now {
            self.retain();
            self.expire_idle();
        }
    }

    /// One command: decided, staged, its answer put where it waits for the write.
    fn handle(&mut self, command: Command) {
        match command {
            Command::Send { records, topic, reply } => self.send(records, &topic, reply),
            Command::Pop(command) => self.take_pop(*command),
            Command::Report(report) => self.report(&report),
            Command::Ack { lease, handles, reply } => self.ack(&lease, &handles, reply),
            Command::Change(command) => self.change(*command),
            Command::GiveUp(command) => self.give_up_by_place(command),
            Command::DeadLetter { lease, handle, reply } => self.dead_letter(&lease, &handle, reply),
            Command::EndTransaction(command) => self.end_transaction(command),
            Command::HalfPlace { first, reply } => answer::tell(reply, self.machines.transactions.place(first)),
            Command::EscapeTo(to) => self.escapes = to,
            Command::ReleaseTimers(timers) => self.release_timers(timers),
            Command::FinishTimers { timers, reply } => self.finish_timers(timers, reply),
            Command::EndedTimers { timers, reply } => {
                let ended = timers.into_iter().filter(|(due, offset)| !self.machines.timer.has(*due, *offset));
                answer::tell(reply, ended.collect());
            }
            Command::ResumeOutcomes => self.outcomes_paused_until = Timestamp(i64::MIN),
            Command::Recall { due, identity, reply } => self.recall(due, identity, reply),
            Command::Pull(command) => self.pull(*command),
            Command::LockQueues(command) => self.lock_queues(command),
            Command::LockedQueues { reply } => answer::tell(reply, self.locks.held(self.now)),
            Command::UnlockQueues { group, queues, client } => self.unlock_queues(&group, queues, &client),
            Command::Waiting { lease, queue, reply } => answer::tell(reply, self.waiting.count(&lease, queue)),
            Command::Beginning { topic, queue, reply } => answer::tell(reply, self.beginning(&topic, queue)),
            Command::Range { topic, queue, reply } => answer::tell(reply, self.range(&topic, queue)),
            Command::SearchKeys { hash, reply } => answer::tell(reply, self.store.search_keys(hash)),
            Command::Entry { topic, queue, offset, reply } => answer::tell(reply, self.entry(&topic, queue, offset)),
            Command::CommittedOffset { lease, queue, reply } => answer::tell(reply, self.committed(&lease, queue)),
            Command::CommitOffset { commit, reply } => self.commit_offset(commit, reply),
            Command::ResetOffset { to, reply } => self.reset_offset(to, reply),
            Command::ClientsAlive(clients) => self.clients.alive(clients, self.now),
            Command::ClientGone(client) => self.client_gone(&client),
            Command::ExpireNow => self.retention.ask(self.now),
            Command::FirstUse { topic, reply } => self.first_use(&topic, reply),
            Command::GroupFirstUse { group, reply } => self.group_first_use(&group, reply),
            Command::StoreCopy(command) => self.store_copy(command),
            Command::Admin(command) => self.administer(command),
            Command::Told { reply } => {
                let told = self.told();
                answer::tell(reply, told);
            }
            Command::Replicate { records, reply } => self.replicate(&records, reply),
            Command::Stop => self.is_stopping = true,
        }
    }

    /// Writes the round and lets its answers go, or fails them.
    fn write(&mut self) {
        if let Err(why) = self.flush_journal() {
            self.pause_outcomes(&why);
            self.answers.fail_events(&why);
        }
        let written = self.store.write();
        let failed = written.as_ref().err().cloned().or_else(|| self.store.marks().failure());
        if let Some(failed) = failed {
            return self.fail(Unavailable::StoreFailed { detail: failed.detail.to_string() });
        }
        if let Ok(end) = written {
            self.settle(end);
        }
        if self.failure.is_some() {
            return;
        }
        match self.options.role {
            Role::Master => self.retain_written(),
            Role::Slave => self.let_front_go(),
        }
        if self.journal.is_empty() && self.store.is_checkpoint_due() {
            self.begin_checkpoint();
        }
        if let Some(at) = self.store.take_published() {
            self.machines.timer.filed(at);
        }
        if self.journal.is_empty() {
            self.spill_timers();
        }
    }

    fn settle(&mut self, end: PhysicalOffset) {
        if self.is_fenced() {
            // What was appended may be cut off again.
            return self.answers.fail_all(&Unavailable::Fenced);
        }
        self.answers.written(end, self.moment);
        self.settle_waiting();
    }

    /// Lets the answers go that have waited for the disk or for slaves.
    fn settle_waiting(&mut self) {
        let marks = self.store.marks();
        let reached = Reached {
            visible_to: marks.visible_to(),
            stored_to: marks.stored_to(),
            confirmed_to: self.shared.confirmed_to(),
            durability: match self.options.flush {
                store::Flush::Async => Durability::Written,
                store::Flush::Sync => Durability::Flushed,
            },
        };
        self.answers.reached(reached, self.moment);
    }

    /// From now on everything is refused; nobody is left waiting.
    fn fail(&mut self, why: Unavailable) {
        if self.failure.is_none() {
            tracing::error!(%why, "the store failed: the broker refuses everything until it is started anew");
        }
        self.answers.fail_all(&why);
        self.arrivals.clear();
        self.dismiss_waiting(Some(&PopError::Unavailable(why.clone())));
        self.end_waiting.fail_all(&why);
        self.failure = Some(why);
    }

    /// Why a request that changes something cannot be taken now.
    fn refusal(&self) -> Option<Unavailable> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        if self.options.role == Role::Slave {
            return Some(Unavailable::Slave);
        }
        if self.is_fenced() {
            return Some(Unavailable::Fenced);
        }
        if self.journal.is_full() {
            return Some(Unavailable::DiskFull { detail: "the journal cannot be written".to_owned() });
        }
        let waiting_max = answer::ANSWERS_MAX;
        self.answers.is_full().then_some(Unavailable::Busy { waiting_max })
    }

    /// Why messages are refused now, though acks and all else that ends them may go on.
    fn refusal_of_messages(&self) -> Option<Unavailable> {
        self.refusal().or_else(|| self.retention.refusal()).or_else(|| self.shared.too_few_in_sync())
    }

    /// Waits before more outcomes are tried, because the log takes none just now.
    fn pause_outcomes(&mut self, why: &Unavailable) {
        if self.outcomes_paused_until <= self.now {
            tracing::warn!(%why, "outcomes cannot be stored and are tried again");
        }
        self.outcomes_paused_until = self.now.plus(crate::options::OUTCOME_RETRY_AFTER);
    }

    /// Answers what was queued before the stop was known.
    async fn refuse_the_rest(&mut self) {
        self.commands.close();
        self.failure.get_or_insert(Unavailable::Stopping);
        while let Some(command) = self.commands.recv().await {
            self.handle(command);
        }
        let refusal = self.failure.clone().unwrap_or(Unavailable::Stopping);
        self.end_waiting.fail_all(&refusal);
    }

    /// Brings the last events and op records into the log and the last answers to their callers.
    async fn drain(&mut self) {
        if !matches!(self.failure, Some(Unavailable::Stopping)) {
            return;
        }
        self.store.ready(self.round_bytes()).await;
        if self.may_decide() {
            self.ops_due = Some(self.now);
            self.write_ops();
        }
        if let Err(error) = self.flush_journal() {
            tracing::warn!(%error, "the last events could not be stored");
        }
        if let Ok(end) = self.store.write() {
            // A disk that fails is told by the marks.
            drop(self.store.marks().durable(end).await);
            self.settle(end);
        }
    }

    /// Writes the op records of ended transactions, when enough have been gathered or long enough.
    fn write_ops(&mut self) {
        if self.machines.transactions.ops_owed() == 0 {
            self.ops_due = None;
            return;
        }
        let due = *self.ops_due.get_or_insert(self.now.plus(OP_INTERVAL));
        if due.max(self.outcomes_paused_until) > self.now {
            return;
        }
        while let Some(body) = self.machines.transactions.op_owed() {
            if let Err(why) = self.append_op(body, PhysicalOffset(0)) {
                return self.pause_outcomes(&why);
            }
        }
        self.ops_due = None;
    }

    /// Applies what was appended from `from` on, as replay would.
    fn apply_from(&mut self, from: PhysicalOffset) {
        for record in self.store.staged_from(from) {
            self.machines.apply(&record);
        }
    }

    /// Levels for the metrics; what costs a look at every queue only once a second, and locks that nobody renews.
    fn count(&mut self) {
        let counters = &self.shared.counters;
        counters.waiting.set(self.waiting.len());
        counters.timers.set(self.machines.timer.len());
        counters.halves.set(self.machines.transactions.len());
        counters.keys.set(self.machines.keys.len());
        counters.topics.set(self.machines.catalog.topics().len());
        counters.groups.set(self.machines.catalog.groups().len());
        if self.now.since(self.counted_at) >= SLEEP_MAX {
            counters.in_flight.set(usize::try_from(self.machines.pop.in_flight()).unwrap_or(usize::MAX));
            self.locks.expire(self.now);
            self.counted_at = self.now;
        }
    }
}

/// Completes when what may be handed out reaches `offset`, or never will; without an offset never.
async fn wait_visible(marks: Marks, offset: Option<PhysicalOffset>) {
    match offset {
        Some(offset) => drop(marks.visible(offset).await),
        None => std::future::pending().await,
    }
}
