//! Delayed messages in files: loaded as their time comes near, looked for when they are recalled, by two threads that report back.

use env::Env;
use env::clock::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use types::broker::{RecallError, Unavailable};
use types::{PhysicalOffset, Timestamp};

use super::Engine;
use super::answer::tell;
use crate::command::Reply;
use crate::options::{OUTCOME_RETRY_AFTER, SPILL_INTERVAL, TIMER_READS_MAX};
use crate::timer::Source;
use crate::timer::run::Name;
use crate::timer::spill::{Load, Loaded, Loader, Read, Step, Stepped};

/// What a thread is asked.
#[derive(Debug)]
enum Job {
    /// The next entries.
    Load(Load),
    /// A whole part, which is to be written anew without what has ended.
    Read(Source),
    /// Where the entries of a due time and identity are; somebody wants to recall one.
    Find { sources: Vec<Source>, wanted: Wanted },
    /// What of a part lies in the log's front.
    Step { step: Step, answer: oneshot::Sender<Read<Stepped>> },
}

/// A message that somebody wants to recall.
#[derive(Debug)]
struct Wanted {
    due: Timestamp,
    identity: u64,
    /// Where the last of the parts begins that are looked into, or were: those that are made meanwhile lie behind it.
    looked_to: PhysicalOffset,
    reply: Reply<Result<(), RecallError>>,
}

type Parts = Vec<(Name, std::sync::Arc<[crate::timer::Waits]>)>;

/// What a thread has read.
#[derive(Debug)]
enum Done {
    Loaded(Read<Loaded>),
    Read(Read<Parts>),
    Found { read: Read<Vec<PhysicalOffset>>, wanted: Wanted },
}

/// Reads of spilled timers that are under way: one to load, and at most [`TIMER_READS_MAX`] others, which may take long.
pub(super) struct Spilled {
    loads: mpsc::Sender<Job>,
    looks: mpsc::Sender<Job>,
    results: mpsc::Receiver<Done>,
    done: Vec<Done>,
    is_loading: bool,
    is_reading: bool,
    /// Looks for messages to recall that are under way, at most [`TIMER_READS_MAX`].
    finds: usize,
    /// Until when nothing is loaded, because a part could not be read.
    paused_until: Timestamp,
    /// When it was last looked whether a checkpoint is needed for the sake of memory.
    looked_at: Timestamp,
}

/// The threads' end of [`Spilled`].
pub(crate) struct Reads {
    loads: mpsc::Receiver<Job>,
    looks: mpsc::Receiver<Job>,
    results: mpsc::Sender<Done>,
}

impl Spilled {
    /// The engine's end, and what [`Reads::spawn`] needs.
    pub(super) fn new() -> (Self, Reads) {
        let (loads, to_load) = mpsc::channel(1);
        let (looks, to_look) = mpsc::channel(TIMER_READS_MAX);
        let (report, results) = mpsc::channel(TIMER_READS_MAX);
        let never = Timestamp(i64::MIN);
        let spilled = Self {
            loads,
            looks,
            results,
            done: Vec::new(),
            is_loading: false,
            is_reading: false,
            finds: 0,
            paused_until: never,
            looked_at: never,
        };
        (spilled, Reads { loads: to_load, looks: to_look, results: report })
    }

    pub(super) fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// Takes what has come back.
    pub(super) fn take_done(&mut self) {
        while let Ok(done) = self.results.try_recv() {
            self.done.push(done);
        }
    }

    /// Completes when something has come back.
    pub(super) async fn wait(&mut self) {
        match self.results.recv().await {
            Some(done) => self.done.push(done),
            None => std::future::pending().await,
        }
    }

    /// Asks for a step through a part; `None` when too much waits.
    pub(super) fn step(&self, step: Step) -> Option<oneshot::Receiver<Read<Stepped>>> {
        let (answer, answered) = oneshot::channel();
        self.looks.try_send(Job::Step { step, answer }).ok()?;
        Some(answered)
    }
}

impl Reads {
    /// Starts the threads: one loads, so that nothing comes late because somebody recalls a message; the other one does the rest.
    pub(crate) fn spawn(self, env: &Env, loader: &Loader) -> [BoxFuture<()>; 2] {
        let Self { loads, looks, results } = self;
        let spawn = |name, jobs| {
            let work = work(loader.clone(), jobs, results.clone());
            env.tasks.spawn_thread(name, Box::pin(work))
        };
        [spawn("gantry-timers", loads), spawn("gantry-recall", looks)]
    }
}

/// Serves until the engine is gone.
async fn work(loader: Loader, mut jobs: mpsc::Receiver<Job>, results: mpsc::Sender<Done>) {
    let is_wanted = || !results.is_closed();
    while let Some(job) = jobs.recv().await {
        if let Some(done) = job.run(&loader, &is_wanted)
            && results.send(done).await.is_err()
        {
            return;
        }
    }
}

impl Job {
    /// Reads. A step is answered to who waits for it.
    fn run(self, loader: &Loader, is_wanted: &dyn Fn() -> bool) -> Option<Done> {
        match self {
            Self::Load(load) => Some(Done::Loaded(loader.load(load, is_wanted))),
            Self::Read(source) => Some(Done::Read(loader.read(source, is_wanted))),
            Self::Find { sources, wanted } => {
                Some(Done::Found { read: loader.find(sources, wanted.due, wanted.identity, is_wanted), wanted })
            }
            Self::Step { step, answer } => {
                // An engine that has given the expiry up needs no answer.
                drop(answer.send(loader.step(step, is_wanted)));
                None
            }
        }
    }
}

impl Engine {
    /// When something of the spilled timers is to be loaded that is not being loaded.
    pub(super) fn next_load(&self) -> Option<Timestamp> {
        let at = self.machines.timer.next_load().filter(|_| !self.spilled.is_loading)?;
        Some(at.max(self.spilled.paused_until))
    }

    /// Begins to load what is due soon.
    pub(super) fn load_timers(&mut self) {
        if self.next_load().is_some_and(|at| at <= self.now)
            && let Some(load) = self.machines.timer.load(self.now)
        {
            self.spilled.is_loading = self.spilled.loads.try_send(Job::Load(load)).is_ok();
        }
    }

    /// Goes on with what was read.
    pub(super) fn complete_reads(&mut self) {
        for done in std::mem::take(&mut self.spilled.done) {
            match done {
                Done::Loaded(read) => {
                    self.spilled.is_loading = false;
                    if let Some(loaded) = self.take_read(read, "timers are loaded later") {
                        self.machines.timer.loaded(loaded);
                    }
                }
                Done::Read(read) => {
                    self.spilled.is_reading = false;
                    if let Some(parts) = self.take_read(read, "a timer run is made anew later") {
                        self.machines.timer.read(parts);
                    }
                }
                Done::Found { read, wanted } => {
                    self.spilled.finds -= 1;
                    self.recall_found(read, wanted);
                }
            }
        }
    }

    /// What was read; parts that were made again for it go to the machine.
    fn take_read<T>(&mut self, read: Read<T>, what: &'static str) -> Option<T> {
        self.machines.timer.read(read.remade);
        if let Some(problem) = read.problem {
            tracing::error!(problem, "{what}");
            self.spilled.paused_until = self.now.plus(OUTCOME_RETRY_AFTER);
        }
        Some(read.value)
    }

    /// Looks for a message in the files that somebody wants to recall.
    pub(super) fn recall_spilled(&mut self, due: Timestamp, identity: u64, reply: Reply<Result<(), RecallError>>) {
        let sources = self.machines.timer.parts_at(due);
        self.look_for(sources, Wanted { due, identity, looked_to: PhysicalOffset(0), reply });
    }

    fn look_for(&mut self, sources: Vec<Source>, mut wanted: Wanted) {
        let Some(last) = sources.last() else { return tell(wanted.reply, Err(RecallError::NotFound)) };
        wanted.looked_to = last.name.from;
        if let Some(waiting_max) = self.machines.timer.is_gone_full() {
            return tell(wanted.reply, Err(Unavailable::Busy { waiting_max }.into()));
        }
        match self.spilled.looks.try_send(Job::Find { sources, wanted }) {
            Ok(()) => self.spilled.finds += 1,
            Err(error) => {
                if let Job::Find { wanted, .. } = error.into_inner() {
                    tell(wanted.reply, Err(Unavailable::Busy { waiting_max: TIMER_READS_MAX }.into()));
                }
            }
        }
    }

    fn recall_found(&mut self, read: Read<Vec<PhysicalOffset>>, wanted: Wanted) {
        let Wanted { due, identity, looked_to, .. } = wanted;
        self.machines.timer.read(read.remade);
        let found = read.value.into_iter().find(|offset| self.machines.timer.is_waiting(due, *offset));
        // Meanwhile retention may have carried it forward, out of the parts that were looked into.
        let found = found.or_else(|| self.machines.timer.find(due, identity));
        let refusal = self.refusal().or_else(|| {
            let detail = read.problem.filter(|_| found.is_none())?;
            Some(Unavailable::StoreFailed { detail })
        });
        match (refusal, found) {
            (Some(why), _) => tell(wanted.reply, Err(why.into())),
            (None, Some(offset)) => self.recall_at(due, offset, wanted.reply),
            (None, None) => {
                let parts = self.machines.timer.parts_at(due).into_iter();
                self.look_for(parts.filter(|part| part.name.from > looked_to).collect(), wanted);
            }
        }
    }

    /// Takes a checkpoint for the sake of memory, if the timers need one, or reads what is to be written anew.
    pub(super) fn spill_timers(&mut self) {
        let looked_at = self.spilled.looked_at;
        if (looked_at..looked_at.plus(SPILL_INTERVAL)).contains(&self.now) {
            return;
        }
        self.spilled.looked_at = self.now;
        if self.machines.timer.wants_files() {
            if self.store.may_begin_checkpoint() {
                self.begin_checkpoint();
            }
        } else if !self.spilled.is_reading
            && !self.is_asking_timers()
            && let Some(source) = self.machines.timer.part_to_shrink()
        {
            self.spilled.is_reading = self.spilled.looks.try_send(Job::Read(source)).is_ok();
        }
    }

    /// Whether somebody has read of waiting messages, or is about to, and will ask whether they wait: to recall them or to carry them
    /// forward, which ends only when no delayed message is being carried. See [`crate::timer::Timer::let_go`].
    fn is_asking_timers(&self) -> bool {
        self.spilled.finds > 0 || self.retention.is_carrying()
    }

    /// Takes a checkpoint between two rounds; timers that have become many leave memory with it.
    pub(super) fn begin_checkpoint(&mut self) {
        let at = self.store.marks().appended_to();
        if !self.is_asking_timers() {
            self.machines.timer.let_go(at);
        }
        self.machines.timer.seal(at);
        self.store.begin_checkpoint(&self.machines);
    }
}

#[cfg(test)]
mod tests;
