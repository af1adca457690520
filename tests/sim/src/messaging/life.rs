//! One life of the broker that ends badly, and what happens to it before.

use std::path::{Path, PathBuf};
use std::time::Duration;

use broker::{LocalBroker, StartError};
use env::sim::SimDisk;
use store::OpenError;
use tokio::task::JoinSet;

use super::plan::DIR;
use super::{Run, TICK, not_started, producer, survey};
use crate::death;
use crate::faults::{self, Fault};
use crate::invariants::derived_agrees;
use crate::report::Violation;

/// Something that happens to a process that lives.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The disk has so many bytes left.
    Fill {
        room: u64,
    },
    /// It has room again.
    Empty,
    StepClock,
    BreakSegment,
    SecondProcess,
}

/// Most bytes that a disk has left that is about to be full.
const ROOM_BYTES_MAX: u64 = 1024 * 1024;
/// How often the queues are read until a read has met no fault.
const SURVEYS_MAX: u32 = 20;
/// Pause between two of these.
const SURVEY_PAUSE: Duration = Duration::from_millis(100);

/// Sends that may be refused once a full disk has room again.
const PROBES_MAX: u32 = 40;
/// Pause between two of these.
const PROBE_PAUSE: Duration = Duration::from_millis(50);

impl Run {
    /// One process from its start to its death.
    pub(super) async fn live_and_die(&mut self) -> Result<(), Violation> {
        let death = death::Plan::draw(&mut self.rng);
        let disk = self.world.disk();
        death.prepare(&disk);
        self.faults.prepare(&disk, &mut self.rng);
        self.step_clock();
        let mut clients = JoinSet::new();
        let mut unreadable = None;
        self.live(&disk, death.after, &mut clients, &mut unreadable).await?;
        for failure in disk.failures() {
            self.report.struck(faults::kind_of(&failure, unreadable.as_deref()), 1);
        }
        disk.set_capacity(None);
        let died_at = self.world.clock().true_now();
        death.strike(&self.world).await;
        clients.shutdown().await;
        self.report.power_losses += u32::from(death.is_power_loss());
        self.history.lock().died(death.death, died_at);
        derived_agrees::check(&self.world.env(), Path::new(DIR))?;
        self.damage();
        self.history.lock().take_violation()
    }

    async fn live(
        &mut self,
        disk: &SimDisk,
        length: Duration,
        clients: &mut JoinSet<()>,
        unreadable: &mut Option<PathBuf>,
    ) -> Result<(), Violation> {
        let broker = match self.start() {
            Ok(broker) => broker,
            Err(_) if disk.is_dead() => return Ok(()),
            Err(StartError::Open(OpenError::Io(_) | OpenError::Unusable { .. })) if has_failed(disk) => return Ok(()),
            Err(error) => return Err(not_started(&error)),
        };
        self.history.lock().started();
        if !self.survey_patiently(&broker, disk).await? {
            return Ok(());
        }
        self.start_clients(&broker, clients, false);
        let begin = self.world.clock().true_now();
        for (after, event) in self.draw_events(length) {
            let wait = after.saturating_sub(self.world.clock().true_now().since(begin));
            self.watch(disk, wait).await;
            if disk.is_dead() {
                return Ok(());
            }
            match event {
                Event::Fill { room } => {
                    self.history.lock().journal_may_fail(self.world.clock().true_now());
                    disk.set_capacity(Some(disk.used_bytes() + room));
                    self.report.struck(Fault::FullDisk, 1);
                }
                Event::Empty => {
                    disk.set_capacity(None);
                    self.probe(&broker, disk).await?;
                }
                Event::StepClock => self.step_clock(),
                Event::BreakSegment => *unreadable = faults::break_segment(disk, Path::new(DIR), &mut self.rng),
                Event::SecondProcess => self.start_second(disk)?,
            }
        }
        self.watch(disk, length.saturating_sub(self.world.clock().true_now().since(begin))).await;
        let status = broker.status();
        self.report.expired_segments += status.expired_segments;
        self.report.carried += status.carried + status.moved;
        self.report.expired_topics += status.expired_topics;
        Ok(())
    }

    /// What happens in a life of this length, in order.
    fn draw_events(&mut self, length: Duration) -> Vec<(Duration, Event)> {
        let mut events = Vec::new();
        let moment = |rng: &mut fastrand::Rng| length.mul_f64(rng.f64());
        let rng = &mut self.rng;
        if self.faults.has(Fault::FullDisk) {
            let (one, other) = (moment(rng), moment(rng));
            events.push((one.min(other), Event::Fill { room: rng.u64(..ROOM_BYTES_MAX) }));
            events.push((one.max(other), Event::Empty));
        }
        for (fault, event) in [
            (Fault::ClockJump, Event::StepClock),
            (Fault::BadSegment, Event::BreakSegment),
            (Fault::SecondProcess, Event::SecondProcess),
        ] {
            if self.faults.has(fault) {
                events.push((moment(rng), event));
            }
        }
        events.sort_by_key(|(after, _)| *after);
        events
    }

    /// Reads all queues, several times if faults strike; `false` when this life will not get to it.
    async fn survey_patiently(&mut self, broker: &LocalBroker, disk: &SimDisk) -> Result<bool, Violation> {
        let mut tries_left = SURVEYS_MAX;
        loop {
            match survey::pull_all(broker, self.plan.topics()).await {
                Ok(survey) => {
                    self.history.lock().surveyed(&survey, self.world.clock().true_now())?;
                    return Ok(true);
                }
                Err(_) if disk.is_dead() || has_failed_for_good(disk) => return Ok(false),
                Err(_) if has_failed(disk) && tries_left > 0 => {
                    tries_left -= 1;
                    self.world.env().clock.sleep(SURVEY_PAUSE).await;
                }
                Err(violation) => return Err(violation),
            }
        }
    }

    /// Waits until the process is dead, at most so long, and notes when its store has failed.
    async fn watch(&mut self, disk: &SimDisk, at_most: Duration) {
        let history = self.history.clone();
        let clock = self.world.clock();
        let is_over = || {
            if has_failed_for_good(disk) {
                history.lock().store_failed(clock.true_now(), TICK);
            }
            disk.is_dead()
        };
        self.until(is_over, at_most).await;
    }

    /// A message that is sent once there is room again must be taken soon. Ends with the process, so that the time of its
    /// death is known.
    async fn probe(&mut self, broker: &LocalBroker, disk: &SimDisk) -> Result<(), Violation> {
        let mut client = self.client(broker);
        for _ in 0..PROBES_MAX {
            if producer::probe(&mut client).await || disk.is_dead() || has_failed_for_good(disk) {
                return Ok(());
            }
            self.world.env().clock.sleep(PROBE_PAUSE).await;
        }
        let detail = format!("{PROBES_MAX} sends were refused");
        Err(Violation::new("a broker whose disk has room again takes messages", detail))
    }

    /// A second process is told that the directory is in use.
    fn start_second(&mut self, disk: &SimDisk) -> Result<(), Violation> {
        let failures = disk.failures().len();
        let started = LocalBroker::start(self.world.env(), self.plan.options());
        let met_a_fault = disk.is_dead() || disk.failures().len() > failures;
        self.report.struck(Fault::SecondProcess, 1);
        match started {
            Err(StartError::Open(OpenError::Locked { .. })) => Ok(()),
            Err(_) if met_a_fault => Ok(()),
            Err(error) => Err(Violation::new("a second process is told that it is one", error.to_string())),
            Ok(_) => Err(Violation::new("a second process is told that it is one", "it started".to_owned())),
        }
    }
}

/// Whether any call of this process has failed.
fn has_failed(disk: &SimDisk) -> bool {
    !disk.failures().is_empty()
}

/// Whether one has failed after which the store must not go on.
fn has_failed_for_good(disk: &SimDisk) -> bool {
    disk.failures().iter().any(|failure| faults::is_final(failure, Path::new(DIR)))
}
