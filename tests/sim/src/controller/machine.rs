//! A machine of the group, and the process on it.

use std::sync::Arc;

use broker::LocalBroker;
use broker::membership::MemberId;
use broker::replication::epochs::Epoch;
use env::sim::World;
use parking_lot::Mutex;
use remoting::ConnectionId;

use super::desk::Desk;
use super::plan::Plan;
use super::process::{Process, Reign, Seat};
use super::service::Service;
use crate::death::Death;
use crate::replication::machine::log_of;
use crate::replication::network::{Port, Wire};
use crate::replication::plan::draw_skew_ms;

/// See the module's head.
pub(super) struct Machine {
    pub(super) world: World,
    number: usize,
    /// Its way to the controllers.
    pub(super) link: Wire,
    /// Its ways to the other machines, by their numbers.
    pub(super) wires: Vec<Wire>,
    /// The other machines' ways to this one.
    pub(super) inbound: Vec<Wire>,
    /// Where others reach its broker as a master.
    port: Port,
    running: Option<Running>,
    /// The broker's whose log is on the disk.
    id: Option<MemberId>,
}

/// A machine's ways to the others and theirs to it, by their numbers.
pub(super) struct Ways {
    pub(super) wires: Vec<Wire>,
    pub(super) inbound: Vec<Wire>,
}

struct Running {
    desk: Arc<Desk>,
    seat: Arc<Mutex<Seat>>,
}

/// A broker that leads an epoch.
#[derive(Clone)]
pub(super) struct Leading {
    pub(super) machine: usize,
    pub(super) epoch: Epoch,
    /// Where its log ended when that began.
    pub(super) end: u64,
    pub(super) broker: LocalBroker,
    pub(super) process: ConnectionId,
}

impl Machine {
    pub(super) fn new(world: World, number: usize, link: Wire, wires: Ways, port: Port) -> Self {
        let Ways { wires, inbound } = wires;
        Self { world, number, link, wires, inbound, port, running: None, id: None }
    }

    /// Starts a process.
    pub(super) fn start(&mut self, service: &Arc<Service>, plan: Plan, reigns: &Arc<Mutex<Vec<Reign>>>) {
        let env = self.world.env();
        let desk = Arc::new(Desk::new(Arc::clone(service), env.clock.clone(), self.link.clone()));
        let seat = Arc::<Mutex<Seat>>::default();
        let process = Process {
            env: env.clone(),
            machine: self.number,
            plan,
            desk: desk.clone(),
            wires: self.wires.clone(),
            inbound: self.inbound.clone(),
            port: self.port.clone(),
            seat: seat.clone(),
            reigns: reigns.clone(),
        };
        drop(env.tasks.spawn_thread("process", Box::pin(process.live())));
        self.running = Some(Running { desk, seat });
    }

    /// Looks at the process, if there is one.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Seat) -> T) -> Option<T> {
        self.running.as_ref().map(|running| look(&running.seat.lock()))
    }

    /// The broker whose log is on the disk, if it has taken an id.
    pub(super) fn id(&self) -> Option<MemberId> {
        self.id.or(self.look(|seat| seat.id).flatten())
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn broker(&self) -> Option<LocalBroker> {
        self.look(|seat| seat.broker.clone()).flatten()
    }

    pub(super) fn leading(&self) -> Option<Leading> {
        let Running { desk, seat } = self.running.as_ref()?;
        let (seat, machine, process) = (seat.lock(), self.number, desk.connection());
        Some(Leading { machine, epoch: seat.leads?, end: seat.end, broker: seat.broker.clone()?, process })
    }

    /// All that leads to it and from it.
    pub(super) fn ways(&self) -> impl Iterator<Item = &Wire> {
        self.wires.iter().chain(&self.inbound).chain([&self.link])
    }

    /// Ends the process, if there is one.
    pub(super) async fn die(&mut self, death: Death) {
        self.id = self.id();
        *self.port.lock() = None;
        match death {
            Death::Kill => {
                self.world.kill().await;
                self.running.iter().for_each(|running| running.desk.hang_up());
            }
            Death::PowerLoss => {
                self.ways().for_each(Wire::darken);
                self.world.lose_power().await;
            }
        }
        self.running = None;
    }

    /// Stops the process in order; completes when that is done.
    pub(super) async fn stop(&mut self) -> Result<(), String> {
        let clock = self.world.env().clock;
        if let Some(Running { seat, .. }) = &self.running {
            seat.lock().is_to_stop = true;
            while seat.lock().ended.is_none() {
                clock.sleep(super::TICK).await;
            }
        }
        let ended = self.look(|seat| seat.ended.clone()).flatten();
        self.die(Death::Kill).await;
        ended.unwrap_or(Ok(()))
    }

    /// The disk is lost; another machine, with an empty one, takes the place of this one, on which no process runs.
    pub(super) fn lose(&mut self, rng: &mut fastrand::Rng) {
        self.world = self.world.another();
        self.world.clock().set_skew_ms(draw_skew_ms(rng));
        self.id = None;
    }

    pub(super) fn bytes(&self, end: u64, segment_bytes: u64) -> Vec<u8> {
        log_of(&self.world, end, segment_bytes)
    }
}
