//! The controllers, as one that is always of one mind: their state, who lives as the one that leads sees it, and the elections that it
//! makes. How several agree is openraft's and not simulated; what of that brokers notice is: nobody leads for a while, an answer comes
//! late or never though it was agreed on, a new leader has heard of nobody yet.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker::membership::{MemberId, Unanswered, View};
use broker::replication::epochs::Epoch;
use controller::liveness::{Heartbeat, Liveness};
use controller::state::{Answer, BrokerId, BrokerSet, Command, Facts, Refusal, State};
use env::Clock;
use env::clock::Moment;
use parking_lot::Mutex;
use remoting::ConnectionId;
use remoting_proto::ResponseCode;
use tokio::sync::Notify;

/// The brokers' cluster and name.
pub(super) const CLUSTER: &str = "cluster";
pub(super) const NAME: &str = "broker-a";

/// An epoch, as it was decided on.
#[derive(Clone, Copy, Debug)]
pub struct Decided {
    /// The epoch.
    pub epoch: Epoch,
    /// Its master, if it has one.
    pub master: Option<MemberId>,
    /// When.
    pub at: Moment,
}

/// See the module's head.
pub(super) struct Service {
    clock: Arc<dyn Clock>,
    /// Held for a look or a change.
    leader: Mutex<Leader>,
    /// Told when a broker's connection has ended.
    gone: Notify,
}

struct Leader {
    agreed: State,
    liveness: Liveness,
    /// Nobody leads before.
    away_until: Moment,
    connections: u64,
    /// Nothing that is said on these is heard any more.
    ended: BTreeSet<ConnectionId>,
    epochs: Vec<Decided>,
}

impl Service {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let leader = Leader {
            agreed: State::default(),
            liveness: Liveness::new(clock.moment()),
            away_until: Moment::default(),
            connections: 0,
            ended: BTreeSet::new(),
            epochs: Vec::new(),
        };
        Self { clock, leader: Mutex::new(leader), gone: Notify::new() }
    }

    /// A broker connects.
    pub(super) fn connect(&self) -> ConnectionId {
        let mut leader = self.leader.lock();
        leader.connections += 1;
        ConnectionId(leader.connections)
    }

    pub(super) fn disconnect(&self, connection: ConnectionId) {
        let mut leader = self.leader.lock();
        leader.ended.insert(connection);
        if leader.liveness.disconnect(connection) {
            self.gone.notify_one();
        }
    }

    pub(super) fn heard(&self, id: MemberId, heartbeat: Heartbeat) {
        let mut leader = self.leader.lock();
        if !leader.ended.contains(&heartbeat.connection) {
            leader.liveness.heard(NAME, BrokerId(id.0), heartbeat, self.clock.moment());
        }
    }

    /// Nobody leads for so long; then one does who has just begun, or one who has heard the brokers all the time.
    pub(super) fn go_away(&self, duration: Duration, has_just_begun: bool) {
        let (mut leader, now) = (self.leader.lock(), self.clock.moment());
        leader.away_until = now.plus(duration);
        if has_just_begun {
            leader.liveness = Liveness::new(leader.away_until);
        }
    }

    /// From now on somebody leads.
    pub(super) fn come_back(&self) {
        self.leader.lock().away_until = Moment::default();
    }

    /// Has something decided.
    ///
    /// # Errors
    /// Nobody leads, or it was refused.
    pub(super) fn propose(&self, command: Command) -> Result<Answer, Unanswered> {
        let (mut leader, now) = (self.leader.lock(), self.clock.moment());
        if now < leader.away_until {
            return Err(Unanswered::Nobody);
        }
        let (live, is_settled) = (leader.liveness.live(NAME, now), leader.liveness.is_settled(now));
        let proposal = leader.agreed.proposal(command, Facts { live, is_settled, is_unclean_allowed: false });
        let outcome = leader.agreed.apply(&proposal);
        leader.note(now);
        outcome.map_err(|refusal| refused(&refusal))
    }

    /// The brokers, as they were agreed on.
    ///
    /// # Errors
    /// Nobody leads, or there are none yet.
    pub(super) fn look(&self) -> Result<BrokerSet, Unanswered> {
        let leader = self.leader.lock();
        if self.clock.moment() < leader.away_until {
            return Err(Unanswered::Nobody);
        }
        leader.agreed.get(NAME).cloned().ok_or_else(|| refused(&Refusal::NameUnknown { name: NAME.to_owned() }))
    }

    /// The master, whoever leads.
    pub(super) fn master(&self) -> Option<MemberId> {
        self.leader.lock().agreed.get(NAME)?.master.map(|id| MemberId(id.0))
    }

    /// Who is in sync, whoever leads.
    pub(super) fn in_sync(&self) -> BTreeSet<MemberId> {
        let leader = self.leader.lock();
        leader.agreed.get(NAME).map(|set| view_of(set).in_sync).unwrap_or_default()
    }

    /// All epochs so far.
    pub(super) fn epochs(&self) -> Vec<Decided> {
        self.leader.lock().epochs.clone()
    }

    /// When another broker was made the master than that of an epoch; `None` while none was.
    pub(super) fn replaced_at(&self, epoch: Epoch) -> Option<Moment> {
        let leader = self.leader.lock();
        let epochs = &leader.epochs;
        let master = epochs.iter().find(|decided| decided.epoch == epoch)?.master;
        let is_another =
            |decided: &&Decided| decided.epoch > epoch && decided.master.is_some_and(|it| Some(it) != master);
        epochs.iter().find(is_another).map(|decided| decided.at)
    }

    /// Elects another master when one is gone, for ever. As `controller::server` does it.
    pub(super) async fn elect_masters(self: Arc<Self>, scan: Duration) {
        loop {
            let next = self.leader.lock().liveness.next_expiry(self.clock.moment());
            tokio::select! {
                biased;
                () = self.gone.notified() => {}
                () = self.clock.sleep(next.map_or(scan, |next| next.min(scan))) => {}
            }
            if self.is_without_master() {
                // Tried again.
                drop(self.propose(Command::Elect { name: NAME.to_owned(), by: None, is_designated: false }));
            }
        }
    }

    fn is_without_master(&self) -> bool {
        let (mut leader, now) = (self.leader.lock(), self.clock.moment());
        leader.liveness.expire(now);
        let is_alive = |name: &str, id| leader.liveness.is_alive(name, id, now);
        leader.liveness.is_settled(now) && !leader.agreed.without_master(is_alive).is_empty()
    }
}

impl Leader {
    fn note(&mut self, now: Moment) {
        let Some(set) = self.agreed.get(NAME) else { return };
        let epoch = Epoch(set.master_epoch.0);
        if self.epochs.last().is_none_or(|last| last.epoch < epoch) {
            self.epochs.push(Decided { epoch, master: set.master.map(|id| MemberId(id.0)), at: now });
        }
    }
}

/// What brokers are told of it.
pub(super) fn view_of(set: &BrokerSet) -> View {
    let address = |id: BrokerId| set.members.get(&id).map(|member| (MemberId(id.0), member.address.clone()));
    View {
        master: set.master.and_then(address),
        epoch: Epoch(set.master_epoch.0),
        in_sync: set.in_sync.iter().map(|id| MemberId(id.0)).collect(),
        in_sync_epoch: set.in_sync_epoch.0,
    }
}

/// Brokers tell three kinds apart.
fn refused(refusal: &Refusal) -> Unanswered {
    let code = match refusal {
        Refusal::NameUnknown { .. } | Refusal::IdUnknown { .. } => ResponseCode::ControllerBrokerNeedToBeRegistered,
        Refusal::IdUnfit { .. } | Refusal::OtherCluster { .. } => ResponseCode::ControllerBrokerIdInvalid,
        _ => ResponseCode::ControllerInvalidRequest,
    };
    Unanswered::Refused { code, remark: refusal.to_string() }
}
