//! Brokers under controllers on one simulated machine, with a connection in memory between them: logs part, and are one again.

mod common;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker::membership::lease::LEASE;
use broker::membership::{BeginError, Duty, MemberId, Membership, Options as Said, View};
use broker::replication::epochs::{Begin, Epoch, Epochs};
use broker::replication::join::{Join, give_up};
use broker::replication::{Ended, Master, Refused, Slave};
use broker::{Copies, LocalBroker, Options, Role};
use common::live::{live, newest_checkpoint};
use common::*;
use env::disk::OpenMode;
use env::sim::{self, World};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use types::admin::Admin;
use types::broker::{Durability, SendError, Unavailable};
use types::properties::names;
use types::{Broker, PhysicalOffset};

/// Room on the way: a frame does not fit, so that pieces of them arrive.
const ON_THE_WAY_BYTES: usize = 1000;

/// How long a master keeps its log where its front is to go.
const KEPT: Duration = Duration::from_secs(60);

/// A broker's directory, and what its process knows of controllers.
struct Member {
    id: i64,
    membership: Arc<Membership>,
}

impl Member {
    /// Its process begins.
    fn start(world: &World, id: i64) -> Self {
        let said = Said {
            cluster: "cluster".to_owned(),
            name: "broker-a".to_owned(),
            advertised: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            controllers: Vec::new(),
            priority: 0,
            data: Self::dir(id),
        };
        Self { id, membership: Arc::new(Membership::new(world.env(), said, MemberId(id)).expect("whole")) }
    }

    fn dir(id: i64) -> PathBuf {
        PathBuf::from(format!("/{id}"))
    }

    /// The controllers say who is the master.
    fn hear(&self, world: &World, master: i64, epoch: i32) -> View {
        let in_sync = BTreeSet::from([MemberId(master)]);
        let master = Some((MemberId(master), format!("broker {master}")));
        let view = View { master, epoch: Epoch(epoch), in_sync, in_sync_epoch: epoch };
        self.membership.hear(view.clone(), world.env().clock.moment());
        view
    }

    /// They say so again and again.
    fn hear_on(&self, world: &World, master: i64, epoch: i32) -> JoinHandle<()> {
        let (view, membership, clock) = (self.hear(world, master, epoch), self.membership.clone(), world.env().clock);
        tokio::spawn(async move {
            loop {
                membership.hear(view.clone(), clock.moment());
                clock.sleep(LEASE / 2).await;
            }
        })
    }

    fn options(&self, role: Role) -> Options {
        let lease = Some(self.membership.lease().clone());
        Options { dir: Self::dir(self.id), role, lease, checkpoint_bytes: 32 * 1024, ..options() }
    }

    /// As the master of an epoch.
    async fn lead(&self, world: &World, epoch: i32) -> (LocalBroker, Arc<Master>) {
        self.lead_with(world, epoch, self.options(Role::Master)).await
    }

    async fn lead_with(&self, world: &World, epoch: i32, options: Options) -> (LocalBroker, Arc<Master>) {
        let view = self.hear(world, self.id, epoch);
        assert_eq!(*self.membership.duty().borrow(), Duty::Lead(Epoch(epoch)));
        let broker = LocalBroker::start(world.env(), options).expect("starts");
        self.membership.begin(Epoch(epoch), &broker).await.expect("written");
        self.membership.runs(Some(broker.clone()));
        let master = Master::leading(broker.clone(), world.env().clock, self.membership.clone(), &view);
        (broker, Arc::new(master))
    }

    /// As the slave of another one; cut where that is due.
    fn slave(&self, world: &World) -> LocalBroker {
        let end_at = *self.membership.cut().borrow();
        let options = Options { end_at, ..self.options(Role::Slave) };
        let slave = LocalBroker::start(world.env(), options).expect("starts");
        self.membership.set_cut(None);
        slave
    }

    /// Follows a master until the connection ends.
    fn follow(&self, world: &World, slave: &LocalBroker, master: &Arc<Master>) -> Following {
        let slave = Slave::new(slave.clone(), world.env().clock, watch::channel(None).1);
        follow(slave.of(self.membership.clone()), master)
    }
}

/// Follows a master until the connection ends.
fn follow(slave: Slave, master: &Arc<Master>) -> Following {
    let (ours, serving) = connect(master);
    let ended = tokio::spawn(async move {
        let Err(ended) = slave.follow_on(ours, "the master").await;
        ended
    });
    Following { ended, serving }
}

/// A connection to a master, which serves it.
fn connect(master: &Arc<Master>) -> (DuplexStream, JoinHandle<()>) {
    let (ours, theirs) = duplex(ON_THE_WAY_BYTES);
    let (master, remote) = (Arc::clone(master), SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    (ours, tokio::spawn(async move { master.serve_on(theirs, remote).await }))
}

/// A connection, which ends when this is dropped.
struct Following {
    ended: JoinHandle<Ended>,
    serving: JoinHandle<()>,
}

impl Following {
    async fn why(mut self) -> Ended {
        (&mut self.ended).await.expect("it does not panic")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.ended.abort();
        self.serving.abort();
    }
}

async fn until_equal(world: &World, master: &LocalBroker, slave: &LocalBroker) {
    until(world, "the logs end at one place", || slave.status().appended_to == master.status().appended_to).await;
}

/// The log as its files have it, up to `end`.
fn log_of(world: &World, id: i64, end: u64) -> Vec<u8> {
    let (disk, dir) = (world.env().disk, Member::dir(id).join("commitlog"));
    let mut log = Vec::new();
    for name in disk.list(&dir).expect("listed").into_iter().filter(|name| name.parse::<u64>().is_ok()) {
        let file = disk.open(&dir.join(name), OpenMode::Read).expect("opened");
        let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("fits")];
        assert_eq!(file.read_at(&mut bytes, 0).expect("read"), bytes.len());
        log.extend(bytes);
    }
    log.truncate(usize::try_from(end).expect("fits"));
    log
}

/// Where the log begins.
fn first_of(world: &World, id: i64) -> u64 {
    let names = world.disk().names(&Member::dir(id).join("commitlog"));
    names.into_iter().filter_map(|name| name.parse().ok()).min().expect("there is a segment")
}

/// The state as a start from the whole log up to `end` makes it.
async fn replayed(world: &World, member: &Member, end: u64) -> Vec<u8> {
    let (disk, checkpoints) = (world.env().disk, Member::dir(member.id).join("checkpoints"));
    let options = Options { end_at: Some(PhysicalOffset(end)), ..member.options(Role::Slave) };
    for name in disk.list(&checkpoints).expect("listed") {
        disk.remove(&checkpoints.join(name)).expect("removed");
    }
    LocalBroker::start(world.env(), Options { checkpoint_bytes: 1 << 30, ..options }).expect("starts").stop().await;
    newest_checkpoint(world, &Member::dir(member.id).to_string_lossy()).1
}

/// A master is cut off from its slave and goes on alone; the slave becomes the master, and the old one its slave.
#[test]
fn a_tail_that_has_parted_is_cut_with_all_that_came_of_it() {
    for seed in 0..6 {
        sim::run(seed, async |world: World| {
            let (old, new) = (Member::start(&world, 1), Member::start(&world, 2));
            let (master, serving) = old.lead(&world, 1).await;
            new.hear(&world, 1, 1);
            let slave = new.slave(&world);
            let following = new.follow(&world, &slave, &serving);
            old.hear(&world, 1, 1);
            live_on(&world, &old, &master).await;
            until_equal(&world, &master, &slave).await;
            drop(following);
            let parted_at = slave.status().appended_to;
            live_on(&world, &old, &master).await;
            assert!(master.status().appended_to > parted_at);
            // In order, with a checkpoint of what goes, or as by a kill.
            if seed % 2 == 0 {
                master.stop().await;
                slave.stop().await;
            }
            world.kill().await;
            drop((serving, master, slave));
            let (old, new) = (Member::start(&world, 1), Member::start(&world, 2));
            let (master, serving) = new.lead(&world, 2).await;
            live_on(&world, &new, &master).await;
            old.hear(&world, 2, 2);
            let slave = old.slave(&world);
            let why = old.follow(&world, &slave, &serving).why().await;
            assert!(matches!(why, Ended::Cut { at: PhysicalOffset(at) } if at == parted_at), "seed {seed}: {why}");
            slave.stop().await;
            let slave = old.slave(&world);
            assert_eq!(slave.status().appended_to, parted_at, "seed {seed}");
            let following = old.follow(&world, &slave, &serving);
            live_on(&world, &new, &master).await;
            until_equal(&world, &master, &slave).await;
            let end = master.status().appended_to;
            assert!(log_of(&world, 1, end) == log_of(&world, 2, end), "seed {seed}: the logs differ");
            assert_eq!(slave.topics().await.expect("told"), master.topics().await.expect("told"));
            drop((following, serving));
            slave.stop().await;
            master.stop().await;
            // The same log, read from its beginning by either: nothing is left of what was cut.
            let of_old = replayed(&world, &old, end).await;
            let of_new = replayed(&world, &new, end).await;
            assert!(of_old == of_new, "seed {seed}: the states differ");
        });
    }
}

/// The same as [`live`], by a master that hears the controllers.
async fn live_on(world: &World, member: &Member, broker: &LocalBroker) {
    let (lease, clock) = (member.membership.lease().clone(), world.env().clock);
    let hearing = tokio::spawn(async move {
        loop {
            lease.extend(clock.moment());
            clock.sleep(LEASE / 4).await;
        }
    });
    live(world, broker).await;
    hearing.abort();
}

/// What is due at the start would be taken for the last of the epoch before, which a log that parted there has otherwise.
#[test]
fn nothing_is_appended_before_the_epoch_has_begun() {
    sim::run(1, async |world: World| {
        let (member, clock) = (Member::start(&world, 1), world.env().clock);
        let (master, _) = member.lead(&world, 1).await;
        let due = clock.now().plus(LEASE * 2).0.to_string();
        try_send(&master, message("t", "delayed", &[(names::TIMER_DELIVER_MS, &due)])).await.expect("stored");
        master.stop().await;
        let end = master.status().appended_to;
        clock.sleep(LEASE * 2).await;
        let member = Member::start(&world, 1);
        let hearing = member.hear_on(&world, 1, 2);
        let master = LocalBroker::start(world.env(), member.options(Role::Master)).expect("starts");
        clock.sleep(LEASE / 2).await;
        assert_eq!(master.status().appended_to, end);
        member.membership.begin(Epoch(2), &master).await.expect("written");
        until(&world, "what is due is delivered", || master.status().timers_delivered == 1).await;
        hearing.abort();
        let begins = [(1, 0), (2, end)].map(|(epoch, start)| Begin { epoch: Epoch(epoch), start });
        assert_eq!(member.membership.history().epochs(), Epochs::new(begins.into()).expect("they rise"));
    });
}

#[test]
fn an_epoch_that_the_log_has_passed_does_not_begin() {
    sim::run(1, async |world: World| {
        let (old, new) = (Member::start(&world, 1), Member::start(&world, 2));
        let (_master, serving) = new.lead(&world, 7).await;
        // The controllers have spoken of it as the master of an epoch before, and then of another one, whose turn it was in between.
        old.hear(&world, 2, 3);
        let slave = old.slave(&world);
        let following = old.follow(&world, &slave, &serving);
        old.hear(&world, 1, 5);
        until(&world, "the slave has the epochs", || old.membership.history().epochs().last() == Some(Epoch(7))).await;
        drop(following);
        slave.stop().await;
        let master = LocalBroker::start(world.env(), old.options(Role::Master)).expect("starts");
        let refused = old.membership.begin(Epoch(5), &master).await;
        assert!(matches!(refused, Err(BeginError::Passed { epoch: Epoch(5), known: Epoch(7) })), "{refused:?}");
        assert!(old.membership.lease().is_over());
    });
}

/// A master and its slave come under controllers, and nothing is sent to them.
#[test]
fn a_slave_without_epochs_has_its_masters_once_its_log_is_known_to_be_the_masters() {
    sim::run(1, async |world: World| {
        let (one, two) = (Member::start(&world, 1), Member::start(&world, 2));
        let classic = |member: &Member, role| {
            let options = Options { lease: None, ..member.options(role) };
            LocalBroker::start(world.env(), options).expect("starts")
        };
        let (master, slave) = (classic(&one, Role::Master), classic(&two, Role::Slave));
        let serving = Arc::new(Master::new(master.clone(), world.env().clock));
        send(&master, "t", "body").await;
        let following = follow(Slave::new(slave.clone(), world.env().clock, watch::channel(None).1), &serving);
        until_equal(&world, &master, &slave).await;
        drop(following);
        slave.stop().await;
        master.stop().await;

        let (_master, serving) = one.lead(&world, 1).await;
        two.hear(&world, 1, 1);
        let slave = two.slave(&world);
        let _following = two.follow(&world, &slave, &serving);
        let epochs = || two.membership.history().epochs();
        until(&world, "the slave has the epochs", || epochs() == one.membership.history().epochs()).await;
    });
}

/// Lets the directory of a broker that begins get what a start needs.
async fn join(world: &World, member: &Member, master: &Arc<Master>) {
    let join = Join::open(&world.env(), Member::dir(member.id)).expect("looked at").expect("it is to begin");
    let (ours, serving) = connect(master);
    let Err(ended) = join.of(member.membership.clone()).follow_on(ours, "the master").await;
    assert!(matches!(ended, Ended::Joined), "{ended}");
    serving.abort();
}

/// A broker comes to a master whose log's front has gone, and again when it was away for too long and the master has begun another epoch.
#[test]
fn who_begins_or_has_fallen_behind_gets_the_masters_log_and_epochs() {
    sim::run(1, async |world: World| {
        let two = Member::start(&world, 2);
        let (mut before, mut had_to): (Option<LocalBroker>, u64) = (None, 0);
        for epoch in 1..=2 {
            let one = Member::start(&world, 1);
            if let Some(before) = before.take() {
                before.stop().await;
            }
            let keeping = Options { retention: retention(KEPT), ..one.options(Role::Master) };
            let (master, serving) = one.lead_with(&world, epoch, keeping).await;
            let hearing = one.hear_on(&world, 1, epoch);
            let_front_go(&world, &master).await;
            until(&world, "the slave's end goes too", || first_of(&world, 1) > had_to).await;
            two.hear(&world, 1, epoch);
            if epoch == 2 {
                let slave = two.slave(&world);
                let following = Slave::new(slave.clone(), world.env().clock, watch::channel(None).1);
                let following = following.of(two.membership.clone());
                let behind = following.behind();
                let why = follow(following, &serving).why().await;
                assert!(matches!(why, Ended::Refused(Refused::Behind { .. })), "{why}");
                assert!(behind.is_cancelled());
                slave.stop().await;
                give_up(&*world.env().disk, &Member::dir(2)).expect("noted");
            }

            join(&world, &two, &serving).await;
            let slave = two.slave(&world);
            let following = two.follow(&world, &slave, &serving);
            send(&master, "t", "later").await;
            until_equal(&world, &master, &slave).await;
            assert_eq!(two.membership.history().epochs(), one.membership.history().epochs());
            let end = master.status().appended_to;
            assert!(log_of(&world, 1, end) == log_of(&world, 2, end), "the logs differ");
            had_to = end;
            drop(following);
            slave.stop().await;
            hearing.abort();
            before = Some(master);
        }
    });
}

#[test]
fn who_knows_no_epoch_of_the_master_or_a_newer_one_is_told_so() {
    sim::run(1, async |world: World| {
        let (one, two) = (Member::start(&world, 1), Member::start(&world, 2));
        let (first, _) = one.lead(&world, 1).await;
        send(&first, "t", "body").await;
        let (other, serving) = two.lead(&world, 2).await;
        send(&other, "t", "body").await;
        first.stop().await;
        // Both were the first master of their name.
        one.hear(&world, 2, 2);
        let slave = one.slave(&world);
        let why = one.follow(&world, &slave, &serving).why().await;
        assert!(matches!(why, Ended::Refused(Refused::NoEpoch)), "{why}");
        // The controllers speak of another master at the same address.
        one.hear(&world, 2, 3);
        let why = one.follow(&world, &slave, &serving).why().await;
        let newer = Refused::Epoch { theirs: Some(Epoch(2)), told: Epoch(3) };
        assert!(matches!(why, Ended::Refused(refused) if refused == newer), "{why}");
        // A slave that is under no controllers is sent away.
        let classic = Slave::new(slave.clone(), world.env().clock, watch::channel(None).1);
        let why = follow(classic, &serving).why().await;
        assert!(matches!(why, Ended::Left), "{why}");
        assert_eq!(*one.membership.cut().borrow(), None);
    });
}

/// The controllers were told to elect a broker that is not in sync.
#[test]
fn what_all_in_sync_had_is_not_cut() {
    sim::run(1, async |world: World| {
        let (old, in_sync, new) = (Member::start(&world, 1), Member::start(&world, 2), Member::start(&world, 3));
        let two = Copies { count: 2, ..Copies::ONE };
        let view = View { in_sync: [1, 2].map(MemberId).into(), ..old.hear(&world, 1, 1) };
        let options = Options { copies: two, ..old.options(Role::Master) };
        let master = LocalBroker::start(world.env(), options).expect("starts");
        old.membership.begin(Epoch(1), &master).await.expect("written");
        old.membership.runs(Some(master.clone()));
        let serving = Arc::new(Master::leading(master.clone(), world.env().clock, old.membership.clone(), &view));
        let slaves = [&in_sync, &new].map(|member| {
            member.hear(&world, 1, 1);
            member.slave(&world)
        });
        let _following = in_sync.follow(&world, &slaves[0], &serving);
        let following = new.follow(&world, &slaves[1], &serving);
        send(&master, "t", "at all").await;
        until_equal(&world, &master, &slaves[1]).await;
        drop(following);
        let sent = send(&master, "t", "at those in sync").await;
        assert_eq!(sent.durability, Durability::Written);
        old.membership.runs(None);
        master.stop().await;
        slaves[1].stop().await;
        let confirmed_to = PhysicalOffset(slaves[0].status().appended_to);

        let (_master, serving) = new.lead(&world, 2).await;
        old.hear(&world, 2, 2);
        let slave = old.slave(&world);
        let why = old.follow(&world, &slave, &serving).why().await;
        let is_told =
            |refused: &Refused| matches!(refused, Refused::Confirmed { confirmed_to: to, .. } if *to == confirmed_to);
        assert!(matches!(&why, Ended::Refused(refused) if is_told(refused)), "{why}");
        assert_eq!(*old.membership.cut().borrow(), None);
    });
}

#[test]
fn a_master_whose_lease_is_over_acknowledges_nothing() {
    sim::run(1, async |world: World| {
        let member = Member::start(&world, 1);
        let (master, _) = member.lead(&world, 1).await;
        let clock = world.env().clock;
        assert!(pop_bodies(&master, "g", "t").await.is_empty());
        send(&master, "t", "before").await;
        let waiting = {
            let master = master.clone();
            tokio::spawn(async move { master.pop(types::broker::Pop { wait: WITHIN, ..pop_of("g", "other") }).await })
        };
        clock.sleep(LEASE).await;
        let refused = try_send(&master, message("t", "after", &[])).await;
        assert_eq!(refused, Err(SendError::Unavailable(Unavailable::Fenced)));
        assert_eq!(master.pop(pop_of("g", "t")).await.err(), Some(Unavailable::Fenced.into()));
        assert_eq!(waiting.await.expect("no panic").err(), Some(Unavailable::Fenced.into()));
        // It was not replaced.
        member.hear(&world, 1, 1);
        send(&master, "t", "again").await;
        assert_eq!(pop_bodies(&master, "g", "t").await, ["before", "again"]);
        // It was.
        member.hear(&world, 2, 2);
        let refused = try_send(&master, message("t", "after", &[])).await;
        assert_eq!(refused, Err(SendError::Unavailable(Unavailable::Fenced)));
    });
}

/// An answer that waits for a slave does not come once the lease is over, though the slave has it by then.
#[test]
fn what_was_taken_before_the_lease_was_over_is_not_acknowledged_after_it() {
    sim::run(1, async |world: World| {
        let (member, other) = (Member::start(&world, 1), Member::start(&world, 2));
        let two = Copies { count: 2, timeout: WITHIN, ..Copies::ONE };
        let view = View { in_sync: [1, 2].map(MemberId).into(), ..member.hear(&world, 1, 1) };
        let options = Options { copies: two, ..member.options(Role::Master) };
        let master = LocalBroker::start(world.env(), options).expect("starts");
        member.membership.begin(Epoch(1), &master).await.expect("written");
        let clock = world.env().clock;
        let serving = Arc::new(Master::leading(master.clone(), clock.clone(), member.membership.clone(), &view));
        let sending = {
            let master = master.clone();
            tokio::spawn(async move { try_send(&master, message("t", "body", &[])).await })
        };
        until(&world, "it is stored", || master.status().appended_to > 0).await;
        clock.sleep(LEASE).await;
        other.hear(&world, 1, 1);
        let slave = other.slave(&world);
        let _following = other.follow(&world, &slave, &serving);
        let sent = sending.await.expect("no panic");
        assert_eq!(sent, Err(SendError::Unavailable(Unavailable::Fenced)));
    });
}
