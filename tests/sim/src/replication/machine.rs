//! A machine of the group, and the broker on it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker::membership::MemberId;
use broker::replication::{Master, Slave};
use broker::{LocalBroker, Options, StartError};
use env::sim::World;
use tokio::sync::watch;
use types::Timestamp;

use super::network::{Listening, Wire};
use super::plan;
use crate::death::Death;
use crate::messaging::plan::DIR;

/// What a slave's log is to its master's, when it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Log {
    /// A beginning of it.
    Beginning,
    /// Another one, that ends there.
    Parted { end: u64 },
}

/// See the module's head.
pub(super) struct Machine {
    pub(super) world: World,
    number: usize,
    /// Its way to the master, as a slave.
    pub(super) wire: Wire,
    /// The broker, while it runs.
    pub(super) broker: Option<LocalBroker>,
    /// Known of slaves that were started since their master was, until they lose their disk.
    pub(super) log: Option<Log>,
    /// Whether it may have records that its master lacks: it was the master, or its master has lost some in a power loss.
    pub(super) may_have_parted: bool,
    /// The last pause, by the true clock.
    paused: Option<(Timestamp, Timestamp)>,
}

impl Machine {
    pub(super) fn new(world: World, number: usize, wire: Wire, rng: &mut fastrand::Rng) -> Self {
        world.clock().set_skew_ms(plan::draw_skew_ms(rng));
        Self { world, number, wire, broker: None, log: None, may_have_parted: false, paused: None }
    }

    /// Starts the broker as the master; slaves reach it once what is returned is at their port.
    pub(super) fn start_master(&mut self, options: Options) -> Result<(LocalBroker, Listening), StartError> {
        let env = self.world.env();
        let broker = LocalBroker::start(env.clone(), options)?;
        let master = Arc::new(Master::new(broker.clone(), env.clock));
        let mark = Arc::clone(&master);
        drop(env.tasks.spawn_thread("mark", Box::pin(async move { mark.move_mark().await })));
        self.broker = Some(broker.clone());
        Ok((broker, Listening { master, tasks: env.tasks }))
    }

    /// Starts the broker as a slave, which does not follow yet.
    pub(super) fn start_slave(&mut self, options: Options) -> Result<LocalBroker, StartError> {
        let broker = LocalBroker::start(self.world.env(), options)?;
        self.broker = Some(broker.clone());
        Ok(broker)
    }

    /// Lets the slave follow whoever is the master.
    pub(super) fn follow(&self, broker: &LocalBroker) {
        let (env, wire) = (self.world.env(), self.wire.clone());
        let (address, told) = watch::channel(Some("the master".to_owned()));
        let number = MemberId(i64::try_from(self.number).expect("few"));
        let slave = Slave::new(broker.clone(), env.clock, told).numbered(number);
        let follow = async move {
            slave.run_on(move |_| wire.connect()).await;
            // Who tells of masters lives as long as the broker.
            drop(address);
        };
        drop(env.tasks.spawn_thread("follow", Box::pin(follow)));
    }

    /// Ends the process, if there is one. With the machine goes all that is on its way from and to it.
    pub(super) async fn die(&mut self, death: Death) {
        match death {
            Death::Kill => self.world.kill().await,
            Death::PowerLoss => {
                self.wire.darken();
                self.world.lose_power().await;
            }
        }
        self.broker = None;
    }

    /// Stops the process in an orderly way.
    pub(super) async fn stop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop().await;
        }
        self.die(Death::Kill).await;
    }

    /// The machine is lost; another, with an empty disk, takes its place.
    pub(super) async fn lose(&mut self, rng: &mut fastrand::Rng) {
        self.die(Death::PowerLoss).await;
        *self = Self::new(self.world.another(), self.number, self.wire.clone(), rng);
    }

    pub(super) fn pause(&mut self, now: Timestamp, duration: Duration) {
        self.world.stall(duration);
        let until = now.plus(duration);
        self.paused = Some(
            self.paused
                .filter(|(_, before)| *before > now)
                .map_or((now, until), |(from, before)| (from, before.max(until))),
        );
    }

    /// Since when the process may not have kept up, if it has paused within this time.
    pub(super) fn paused_since(&self, now: Timestamp, within: Duration) -> Option<Timestamp> {
        self.paused.filter(|(_, until)| until.plus(within) > now).map(|(from, _)| from)
    }

    /// The newest checkpoint's bytes, of a broker that was stopped in an orderly way.
    pub(super) fn checkpoint(&self) -> Vec<u8> {
        let (disk, dir) = (self.world.disk(), Path::new(DIR).join("checkpoints"));
        let newest = disk.names(&dir).pop().expect("it was stopped in an orderly way");
        disk.content(&dir.join(newest)).expect("it was listed")
    }

    /// See [`log_of`].
    pub(super) fn bytes(&self, end: u64, segment_bytes: u64) -> Vec<u8> {
        log_of(&self.world, end, segment_bytes)
    }
}

/// The bytes up to `end` of the log on a machine, as its files have them.
pub(crate) fn log_of(world: &World, end: u64, segment_bytes: u64) -> Vec<u8> {
    let (disk, dir) = (world.disk(), Path::new(DIR).join("commitlog"));
    let is_segment = |name: &String| name.parse::<u64>().is_ok();
    let (mut log, segment_bytes) = (Vec::new(), usize::try_from(segment_bytes).expect("short"));
    for name in disk.names(&dir).into_iter().filter(is_segment) {
        let mut bytes = disk.content(&dir.join(name)).expect("it was listed");
        // A power loss may take the rest of a blank.
        bytes.resize(segment_bytes, 0);
        log.extend(bytes);
    }
    let end = usize::try_from(end).expect("short");
    assert!(log.len() >= end, "the files have {} bytes, the log goes to {end}", log.len());
    log.truncate(end);
    log
}
