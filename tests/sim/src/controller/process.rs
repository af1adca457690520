//! A broker's process under controllers. What it does in which order is as `gantry/src/broker/member.rs` has it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker::membership::{self, Duty, MemberId, Membership, View};
use broker::replication::epochs::Epoch;
use broker::replication::{Master, Slave};
use broker::{Copies, LocalBroker, Options, Role};
use env::Env;
use parking_lot::Mutex;
use tokio::sync::watch;
use types::PhysicalOffset;

use super::desk::Desk;
use super::plan::{Plan, address_of, machine_at};
use super::service::{CLUSTER, NAME};
use crate::messaging::plan::DIR;
use crate::replication::network::{Listening, Port, Wire};

/// How often it looks whether it is to be another, or has another master.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// See the module's head.
pub(super) struct Process {
    pub(super) env: Env,
    pub(super) machine: usize,
    pub(super) plan: Plan,
    pub(super) desk: Arc<Desk>,
    /// Its ways to the other machines, by their numbers.
    pub(super) wires: Vec<Wire>,
    /// The other machines' ways to this one.
    pub(super) inbound: Vec<Wire>,
    pub(super) port: Port,
    pub(super) seat: Arc<Mutex<Seat>>,
    pub(super) reigns: Arc<Mutex<Vec<Reign>>>,
}

/// What others see of a process. Held for a look or a change.
#[derive(Default)]
pub(super) struct Seat {
    pub(super) id: Option<MemberId>,
    pub(super) broker: Option<LocalBroker>,
    pub(super) leads: Option<Epoch>,
    /// Where its log ended when it was started.
    pub(super) end: u64,
    /// How often its broker was started, and how often with a log that was cut.
    pub(super) starts: u32,
    pub(super) cuts: u64,
    /// Whether it is to stop in order.
    pub(super) is_to_stop: bool,
    /// How it has ended by itself, or stopped.
    pub(super) ended: Option<Result<(), String>>,
}

/// A process was the master of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Reign {
    /// The epoch.
    pub epoch: Epoch,
    /// By its id.
    pub master: MemberId,
    /// Counts processes, of all machines.
    pub process: u64,
}

impl Process {
    /// Runs until it is to stop, or cannot go on.
    pub(super) async fn live(self) {
        let ended = self.run().await;
        let mut seat = self.seat.lock();
        seat.broker = None;
        seat.ended = Some(ended);
    }

    async fn run(&self) -> Result<(), String> {
        let said = membership::Options {
            cluster: CLUSTER.to_owned(),
            name: NAME.to_owned(),
            advertised: address_of(self.machine),
            controllers: Vec::new(),
            priority: 0,
            data: PathBuf::from(DIR),
        };
        let joined = membership::join_under(self.env.clone(), said, self.desk.clone()).await;
        let membership = joined.map_err(|error| error.to_string())?;
        self.seat.lock().id = Some(membership.id());
        let living = Arc::clone(&membership);
        drop(self.env.tasks.spawn_thread("living", Box::pin(async move { living.run().await })));
        while !self.seat.lock().is_to_stop {
            self.run_in_a_role(&membership).await?;
        }
        Ok(())
    }

    async fn run_in_a_role(&self, membership: &Arc<Membership>) -> Result<(), String> {
        let epoch = epoch_of(&membership.duty().borrow());
        let leads = epoch.and_then(|epoch| membership.view().filter(|view| view.epoch == epoch));
        let end_at = membership.cut().borrow().filter(|_| leads.is_none());
        membership.set_cut(None);
        let broker = LocalBroker::start(self.env.clone(), self.options(membership, leads.is_some(), end_at));
        let broker = broker.map_err(|error| error.to_string())?;
        let end = broker.status().appended_to;
        if let Some(view) = &leads {
            membership.begin(view.epoch, &broker).await.map_err(|error| error.to_string())?;
        }
        membership.runs(Some(broker.clone()));
        {
            let mut seat = self.seat.lock();
            seat.broker = Some(broker.clone());
            seat.end = end;
            seat.starts += 1;
            seat.cuts += u64::from(end_at.is_some());
        }
        match leads {
            Some(view) => self.lead(membership, &broker, &view).await,
            None => self.follow(membership, &broker).await,
        }
        self.seat.lock().broker = None;
        membership.runs(None);
        broker.stop().await;
        Ok(())
    }

    fn options(&self, membership: &Membership, leads: bool, end_at: Option<PhysicalOffset>) -> Options {
        let (role, copies) = if leads { (Role::Master, self.plan.copies) } else { (Role::Slave, Copies::ONE) };
        let lease = Some(membership.lease().clone());
        Options { role, copies, lease, end_at, ..self.plan.common.options() }
    }

    async fn lead(&self, membership: &Arc<Membership>, broker: &LocalBroker, view: &View) {
        let View { epoch, .. } = *view;
        let (clock, tasks) = (self.env.clock.clone(), self.env.tasks.clone());
        let master = Arc::new(Master::leading(broker.clone(), clock, membership.clone(), view));
        self.reigns.lock().push(Reign { epoch, master: membership.id(), process: self.desk.connection().0 });
        self.seat.lock().leads = Some(epoch);
        *self.port.lock() = Some(Listening { master: master.clone(), tasks });
        tokio::select! {
            biased;
            () = self.changes(membership, Some(epoch)) => {}
            // Both loop for ever.
            () = master.move_mark() => {}
            () = membership.report(epoch, &master) => {}
        }
        *self.port.lock() = None;
        self.inbound.iter().for_each(Wire::cut);
        self.seat.lock().leads = None;
    }

    async fn follow(&self, membership: &Arc<Membership>, broker: &LocalBroker) {
        let (found, told) = watch::channel(None);
        let slave = Slave::new(broker.clone(), self.env.clock.clone(), told).of(membership.clone());
        tokio::select! {
            biased;
            () = self.changes(membership, None) => {}
            // Both loop for ever.
            () = slave.run_on(|address| self.wires[machine_at(&address)].connect()) => {}
            () = self.find_master(membership, &found) => {}
        }
    }

    /// Completes when a broker that leads this epoch, or none, is to be another, or to have its log cut.
    async fn changes(&self, membership: &Membership, epoch: Option<Epoch>) {
        let (duty, cut) = (membership.duty(), membership.cut());
        loop {
            let is_cut = epoch.is_none() && cut.borrow().is_some();
            if is_cut || epoch_of(&duty.borrow()) != epoch || self.seat.lock().is_to_stop {
                return;
            }
            self.env.clock.sleep(LOOK_EVERY).await;
        }
    }

    /// Tells a slave where its master is, for ever. A broker that is not the master takes no slaves.
    async fn find_master(&self, membership: &Membership, found: &watch::Sender<Option<String>>) {
        let duty = membership.duty();
        loop {
            let address = match &*duty.borrow() {
                Duty::Follow(address, _) => Some(address.clone()),
                Duty::Wait | Duty::Lead(_) => None,
            };
            found.send_if_modified(|found| std::mem::replace(found, address.clone()) != address);
            self.env.clock.sleep(LOOK_EVERY).await;
        }
    }
}

fn epoch_of(duty: &Duty) -> Option<Epoch> {
    match duty {
        Duty::Lead(epoch) => Some(*epoch),
        Duty::Wait | Duty::Follow(..) => None,
    }
}
