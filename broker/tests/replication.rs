//! Two brokers on one simulated machine, a master and its slave, with a connection in memory between them.

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use broker::membership::MemberId;
use broker::replication::join::{Join, give_up};
use broker::replication::{Ended, IntakeError, Master, Refused, Slave};
use broker::{Copies, Flush, LocalBroker, Options, Role, StartError};
use common::follow::*;
use common::live::{live, newest_checkpoint};
use common::*;
use env::sim::{self, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, duplex, split};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use types::admin::Admin;
use types::broker::{Durability, EndTransaction, Pull, PullError, Resolution, SendError, Unavailable};
use types::properties::names;
use types::{Broker, PhysicalOffset, QueueId, QueueOffset};

#[test]
fn a_slave_has_the_masters_log_and_the_state_that_a_replay_gives() {
    for seed in 0..6 {
        sim::run(seed, async |world: World| {
            let master = start(&world);
            // One checkpoint, at the end: the index is cut in the same places as by a replay.
            let whole = || Options { checkpoint_bytes: 1 << 30, ..slave_options() };
            let (slave, serving) = (start_with(&world, whole()), master_of(&world, &master));
            let mut follower = Follower::connect(&world, &serving, &slave);
            for _ in 0..3 {
                live(&world, &master).await;
                follower = Follower::connect(&world, &serving, &slave);
            }
            until_equal(&world, &master, &slave).await;
            let end = master.status().appended_to;
            assert!(log_of(&world, "/data", end) == log_of(&world, SLAVE_DIR, end), "seed {seed}: the logs differ");
            assert_eq!(slave.topics().await.expect("told"), master.topics().await.expect("told"));
            assert_eq!(slave.groups().await.expect("told"), master.groups().await.expect("told"));
            drop((follower, serving));
            slave.stop().await;
            let (_, followed) = newest_checkpoint(&world, SLAVE_DIR);
            let checkpoints = Path::new(SLAVE_DIR).join("checkpoints");
            for name in world.env().disk.list(&checkpoints).expect("listed") {
                world.env().disk.remove(&checkpoints.join(name)).expect("removed");
            }
            start_with(&world, whole()).stop().await;
            let (_, replayed) = newest_checkpoint(&world, SLAVE_DIR);
            assert!(followed == replayed, "seed {seed}: the states differ");
        });
    }
}

#[test]
fn a_promoted_slave_goes_on_with_leases_timers_and_transactions() {
    sim::run(1, async |world: World| {
        let master = start(&world);
        let (slave, serving) = (start_with(&world, slave_options()), master_of(&world, &master));
        let follower = Follower::connect(&world, &serving, &slave);
        assert!(pop_bodies(&master, "g", "t").await.is_empty());
        for body in ["acked", "popped", "left"] {
            send(&master, "t", body).await;
        }
        let popped = pop(&master, types::broker::Pop { messages_max: 2, ..pop_of("g", "t") }).await.messages;
        ack(&master, "g", "t", &popped[0]).await;
        let due = world.env().clock.now().plus(Duration::from_secs(300));
        let delayed = message("t", "delayed", &[(names::TIMER_DELIVER_MS, &due.to_string())]);
        try_send(&master, delayed).await.expect("stored");
        let half = message("t", "half", &[(names::TRANSACTION_PREPARED, "true")]);
        let place = try_send(&master, half).await.expect("stored").transaction.expect("a half message");
        until_equal(&world, &master, &slave).await;
        world.kill().await;
        drop((follower, serving, master, slave));

        let promoted = start_with(&world, promoted_options());
        assert_eq!(pop_bodies(&promoted, "g", "t").await, ["left"]);
        world.env().clock.sleep(Duration::from_secs(31)).await;
        let mut again = pop_bodies(&promoted, "g", "t").await;
        again.sort_unstable();
        assert_eq!(again, ["left", "popped"], "leases have ended, and what was acked does not come");
        promoted.end_transaction(EndTransaction::new(topic("t"), place, Resolution::Commit)).await.expect("ended");
        assert_eq!(pop_bodies(&promoted, "other", "t").await, ["acked", "popped", "left", "half"]);
        world.env().clock.sleep(Duration::from_secs(300)).await;
        assert_eq!(pop_bodies(&promoted, "other", "t").await.last().map(String::as_str), Some("delayed"));
        promoted.stop().await;
    });
}

#[test]
fn a_slave_is_read_and_takes_nothing() {
    sim::run(1, async |world: World| {
        let master = start(&world);
        let (slave, serving) = (start_with(&world, slave_options()), master_of(&world, &master));
        let _follower = Follower::connect(&world, &serving, &slave);
        send(&master, "t", "first").await;
        master.commit_offset(&group("g"), &topic("t"), QueueId(0), QueueOffset(0)).await.expect("committed");
        until_equal(&world, &master, &slave).await;
        let pull = |offset, wait| Pull {
            group: group("g"),
            topic: topic("t"),
            queue: QueueId(0),
            offset: QueueOffset(offset),
            messages_max: 32,
            filter: Arc::new(types::Filter::All),
            wait,
        };
        let body = |record: &bytes::Bytes| record::decode(record).expect("a record").body.to_vec();
        let pulled = slave.pull(pull(0, Duration::ZERO)).await.expect("pulled");
        assert_eq!(pulled.records.iter().map(body).collect::<Vec<_>>(), [b"first"]);
        assert_eq!(slave.committed_offset(&group("g"), &topic("t"), QueueId(0)).await, Ok(Some(QueueOffset(0))));
        // Who waits hears of what comes from the master.
        let waiting = {
            let slave = slave.clone();
            tokio::spawn(async move { slave.pull(pull(1, WITHIN)).await })
        };
        // So does who has read more at the master than has come.
        let ahead = slave.pull(pull(2, Duration::ZERO)).await.expect("nothing yet");
        assert_eq!((ahead.records.len(), ahead.next_offset), (0, QueueOffset(2)));
        let waiting_ahead = {
            let slave = slave.clone();
            tokio::spawn(async move { slave.pull(pull(2, WITHIN)).await })
        };
        for message in ["second", "third"] {
            send(&master, "t", message).await;
        }
        for (waiting, expected) in [(waiting, &b"second"[..]), (waiting_ahead, b"third")] {
            let pulled = waiting.await.expect("no panic").expect("pulled");
            assert_eq!(pulled.records.iter().map(body).collect::<Vec<_>>(), [expected]);
        }

        let is_slave = Unavailable::Slave;
        let refused = try_send(&slave, message("t", "x", &[])).await;
        assert_eq!(refused, Err(SendError::Unavailable(is_slave.clone())));
        assert_eq!(slave.pop(pop_of("g", "t")).await.err(), Some(is_slave.clone().into()));
        assert_eq!(
            slave.commit_offset(&group("g"), &topic("t"), QueueId(0), QueueOffset(1)).await,
            Err(is_slave.clone().into())
        );
        assert!(matches!(slave.pull(Pull { group: group("new"), ..pull(0, WITHIN) }).await, Err(PullError::Pop(_))));
        let end = slave.status().appended_to;
        world.env().clock.sleep(Duration::from_secs(600)).await;
        assert_eq!((slave.status().appended_to, master.status().appended_to), (end, end));
    });
}

/// The master's disk has all that it sends with sync flush, so the two agree whatever a power loss leaves of either.
#[test]
fn after_power_losses_a_slave_goes_on_where_its_log_ends() {
    for seed in 0..6 {
        sim::run(seed, async |world: World| {
            for round in 0..4 {
                let master = start_with(&world, Options { flush: Flush::Sync, ..options() });
                let slave = start_with(&world, Options { flush: Flush::Sync, ..slave_options() });
                assert!(slave.status().appended_to <= master.status().appended_to, "seed {seed}, round {round}");
                let serving = master_of(&world, &master);
                let follower = Follower::connect(&world, &serving, &slave);
                live(&world, &master).await;
                let is_last = round == 3;
                if is_last {
                    until_equal(&world, &master, &slave).await;
                    let end = master.status().appended_to;
                    assert!(
                        log_of(&world, "/data", end) == log_of(&world, SLAVE_DIR, end),
                        "seed {seed}: the logs differ"
                    );
                }
                world.lose_power().await;
                drop((follower, serving, master, slave));
            }
        });
    }
}

#[test]
fn a_log_that_cannot_be_the_masters_is_refused_by_name() {
    sim::run(1, async |world: World| {
        let master = start(&world);
        let serving = master_of(&world, &master);
        for number in 0..300 {
            send(&master, "t", &"x".repeat(number * 8)).await;
        }
        let other = |dir: &str| Options { dir: PathBuf::from(dir), role: Role::Slave, ..options() };
        // Other segments.
        let slave = start_with(&world, Options { segment_bytes: 512 * 1024, ..other("/segments") });
        let refusal = Follower::connect(&world, &serving, &slave).refusal().await;
        let segments = Refused::Segments { theirs: SEGMENT_BYTES as u64, ours: 512 * 1024 };
        assert!(matches!(refusal, Ended::Refused(why) if why == segments), "{refusal}");

        // A longer log: it was a master once.
        let longer = start_with(&world, Options { role: Role::Master, ..other("/longer") });
        for number in 0..400 {
            send(&longer, "t", &"x".repeat(number * 8)).await;
        }
        longer.stop().await;
        let slave = start_with(&world, other("/longer"));
        let (ours, theirs) = (PhysicalOffset(slave.status().appended_to), PhysicalOffset(master.status().appended_to));
        let refusal = Follower::connect(&world, &serving, &slave).refusal().await;
        assert!(matches!(refusal, Ended::Refused(why) if why == Refused::Longer { ours, theirs }), "{refusal}");

        // A shorter one with other records.
        let parted = start_with(&world, Options { role: Role::Master, ..other("/parted") });
        send(&parted, "t", "other").await;
        send(&parted, "u", "other").await;
        parted.stop().await;
        let slave = start_with(&world, other("/parted"));
        let before = slave.status().appended_to;
        let refusal = Follower::connect(&world, &serving, &slave).refusal().await;
        let is_told = matches!(refusal, Ended::Intake(IntakeError::Parted { .. }));
        assert!(is_told && slave.status().appended_to == before, "{refusal}");
    });
}

/// Two brokers that were masters at a time: nothing but times of storing tells their records apart.
#[test]
fn a_log_that_has_parted_is_refused_though_what_comes_would_fit() {
    sim::run(1, async |world: World| {
        let old = start_with(&world, promoted_options());
        for body in ["a", "b"] {
            send(&old, "t", body).await;
        }
        old.stop().await;
        world.env().clock.sleep(Duration::from_secs(60)).await;
        let master = start(&world);
        for body in ["a", "b"] {
            send(&master, "t", body).await;
        }
        let (slave, serving) = (start_with(&world, slave_options()), master_of(&world, &master));
        let before = slave.status().appended_to;
        assert_eq!(before, master.status().appended_to);
        for _ in 0..2 {
            let refusal = Follower::connect(&world, &serving, &slave).refusal().await;
            assert!(matches!(refusal, Ended::Intake(IntakeError::Parted { .. })), "{refusal}");
            assert_eq!(slave.status().appended_to, before);
            // The next one is in the master's log only, and continues either.
            send(&master, "t", "c").await;
        }
    });
}

/// A master of which parts older than a minute go, in this directory.
fn start_keeping(world: &World, dir: &str) -> LocalBroker {
    start_with(world, Options { dir: PathBuf::from(dir), retention: retention(Duration::from_secs(60)), ..options() })
}

/// Lets a slave's directory get what a start needs.
async fn join(world: &World, master: &Arc<Master>) -> Ended {
    join_within(world, master, u64::MAX).await
}

/// The same on a connection that ends after so many bytes from the master.
async fn join_within(world: &World, master: &Arc<Master>, bytes_max: u64) -> Ended {
    let join = Join::open(&world.env(), PathBuf::from(SLAVE_DIR)).expect("looked at").expect("it is to begin");
    let ((ours, far), (near, theirs)) = (duplex(ON_THE_WAY_BYTES), duplex(ON_THE_WAY_BYTES));
    let (serving, remote) = (Arc::clone(master), SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let serving = tokio::spawn(async move {
        let ((mut from_slave, mut to_slave), (from_master, mut to_master)) = (split(far), split(near));
        let mut from_master = from_master.take(bytes_max);
        tokio::select! {
            () = serving.serve_on(theirs, remote) => {}
            _ = copy(&mut from_master, &mut to_slave) => {}
            _ = copy(&mut from_slave, &mut to_master) => {}
        }
    });
    let Err(ended) = join.follow_on(ours, "the master").await;
    serving.abort();
    ended
}

fn segments(world: &World, dir: &str) -> Vec<String> {
    let names = world.disk().names(&Path::new(dir).join("commitlog"));
    names.into_iter().filter(|name| name.parse::<u64>().is_ok()).collect()
}

fn is_part(world: &World, options: Options) -> bool {
    matches!(LocalBroker::start(world.env(), options), Err(StartError::Part { .. }))
}

#[test]
fn a_slave_that_begins_when_its_masters_front_has_gone_is_whole() {
    sim::run(1, async |world: World| {
        let master = start_keeping(&world, "/data");
        let serving = master_of(&world, &master);
        assert!(pop_bodies(&master, "g", "t").await.is_empty());
        for body in ["acked", "popped"] {
            send(&master, "t", body).await;
        }
        let popped = pop(&master, types::broker::Pop { messages_max: 2, ..pop_of("g", "t") }).await.messages;
        ack(&master, "g", "t", &popped[0]).await;
        let unacked = body(&popped[1]);
        let due = world.env().clock.now().plus(Duration::from_secs(7000));
        let delayed = message("t", "delayed", &[(names::TIMER_DELIVER_MS, &due.to_string())]);
        try_send(&master, delayed).await.expect("stored");
        let half = message("t", "half", &[(names::TRANSACTION_PREPARED, "true")]);
        let place = try_send(&master, half).await.expect("stored").transaction.expect("a half message");
        master.commit_offset(&group("puller"), &topic("t"), QueueId(0), QueueOffset(2)).await.expect("committed");
        let_front_go(&world, &master).await;

        // A connection that ends too early; the next one goes on where it has ended, with less than the whole log.
        let first: u64 = segments(&world, "/data")[0].parse().expect("a position");
        let length = master.status().appended_to - first;
        assert!(first > 0 && length > SEGMENT_BYTES as u64);
        assert!(matches!(join_within(&world, &serving, length * 2 / 3).await, Ended::Left));
        assert!(is_part(&world, slave_options()) && is_part(&world, promoted_options()));
        assert!(matches!(join_within(&world, &serving, length * 2 / 3).await, Ended::Joined));
        let slave = start_with(&world, slave_options());
        let follower = Follower::connect(&world, &serving, &slave);
        send(&master, "t", "later").await;
        until_equal(&world, &master, &slave).await;
        assert_eq!(slave.topics().await.expect("told"), master.topics().await.expect("told"));
        assert_eq!(slave.groups().await.expect("told"), master.groups().await.expect("told"));
        assert!(log_of(&world, "/data", u64::MAX) == log_of(&world, SLAVE_DIR, u64::MAX), "the logs differ");
        world.kill().await;
        drop((follower, serving, master, slave));

        let promoted = start_with(&world, promoted_options());
        let committed = promoted.committed_offset(&group("puller"), &topic("t"), QueueId(0)).await;
        assert_eq!(committed, Ok(Some(QueueOffset(2))));
        let mut again = pop_bodies(&promoted, "g", "t").await;
        again.sort_unstable();
        assert_eq!(again, ["later", &unacked], "what was acked does not come");
        promoted.end_transaction(EndTransaction::new(topic("t"), place, Resolution::Commit)).await.expect("ended");
        assert_eq!(pop_bodies(&promoted, "g", "t").await, ["half"]);
        world.env().clock.sleep(Duration::from_secs(7000)).await;
        assert!(pop_bodies(&promoted, "g", "t").await.contains(&"delayed".to_owned()));
        promoted.stop().await;
    });
}

/// It gives up what it has only if no other broker can lack anything of that.
#[test]
fn a_slave_that_has_fallen_behind_begins_anew() {
    sim::run(1, async |world: World| {
        let master = start_keeping(&world, "/data");
        let serving = master_of(&world, &master);
        send(&master, "t", "first").await;
        let slave = start_with(&world, slave_options());
        let follower = Follower::connect(&world, &serving, &slave);
        until_equal(&world, &master, &slave).await;
        drop(follower);
        slave.stop().await;
        let once_a_master = Options { dir: PathBuf::from("/old"), ..options() };
        let old = start_with(&world, once_a_master.clone());
        send(&old, "t", "first").await;
        old.stop().await;
        let_front_go(&world, &master).await;

        for (options, may_begin_anew) in
            [(Options { role: Role::Slave, ..once_a_master }, false), (slave_options(), true)]
        {
            let dir = options.dir.clone();
            let slave = start_with(&world, options.clone());
            let ours = slave.status().appended_to;
            let follower = Follower::connect(&world, &serving, &slave);
            let behind = follower.behind.clone();
            let refusal = follower.refusal().await;
            let Ended::Refused(Refused::Behind { ours: last, theirs }) = refusal else { panic!("{refusal}") };
            assert!(last.0 < ours && ours < theirs.0);
            assert_eq!(behind.is_cancelled(), may_begin_anew, "{}", dir.display());
            slave.stop().await;
            give_up(&*world.env().disk, &dir).expect("noted");
            assert_eq!(is_part(&world, options), may_begin_anew);
        }
        assert!(matches!(join(&world, &serving).await, Ended::Joined));
        let slave = start_with(&world, slave_options());
        let _follower = Follower::connect(&world, &serving, &slave);
        until_equal(&world, &master, &slave).await;
        assert_eq!(slave.status().expired_segments, 0, "it begins where its master does");

        // Another master: what has come of the first one's log is no beginning of this one's.
        slave.stop().await;
        give_up(&*world.env().disk, Path::new(SLAVE_DIR)).expect("noted");
        let other = start_keeping(&world, "/other");
        let_front_go(&world, &other).await;
        send(&other, "t", "longer").await;
        let serving = master_of(&world, &other);
        assert!(matches!(join(&world, &serving).await, Ended::Intake(IntakeError::Parted { .. })));
        assert!(matches!(join(&world, &serving).await, Ended::Joined));
        let slave = start_with(&world, slave_options());
        let _follower = Follower::connect(&world, &serving, &slave);
        until_equal(&world, &other, &slave).await;
    });
}

#[test]
fn a_slaves_front_goes_with_its_masters() {
    sim::run(1, async |world: World| {
        let master = start_with(&world, Options { retention: retention(Duration::from_secs(60)), ..options() });
        let slave = start_with(&world, slave_options());
        let serving = master_of(&world, &master);
        let follower = Follower::connect(&world, &serving, &slave);
        assert!(pop_bodies(&master, "g", "t").await.is_empty());
        let due = world.env().clock.now().plus(Duration::from_secs(3000));
        let delayed = message("t", "delayed", &[(names::TIMER_DELIVER_MS, &due.to_string())]);
        try_send(&master, delayed).await.expect("stored");
        for number in 0..600 {
            send(&master, "other", &"x".repeat(number * 4)).await;
        }
        until(&world, "the slave's front goes", || slave.status().expired_segments > 0).await;
        until_equal(&world, &master, &slave).await;
        assert_eq!(slave.status().expired_segments, master.status().expired_segments);
        let files = |dir: &str| world.disk().names(&Path::new(dir).join("commitlog"));
        until(&world, "the files go", || files(SLAVE_DIR) == files("/data")).await;
        world.kill().await;
        drop((follower, serving, master, slave));
        let promoted = start_with(&world, promoted_options());
        world.env().clock.sleep(Duration::from_secs(3000)).await;
        assert_eq!(pop_bodies(&promoted, "g", "t").await, ["delayed"]);
        promoted.stop().await;
    });
}

/// What a slave of ours says that counts for nothing yet: see `wire`.
const LIVES: u64 = u64::from_be_bytes(*b"\xffGANTRY\x01");

/// A slave that says what the test wants.
struct Puppet {
    stream: DuplexStream,
    _serving: JoinHandle<()>,
}

impl Puppet {
    /// As one of Apache's that has nothing.
    async fn connect(master: &Arc<Master>) -> Self {
        let (stream, theirs) = duplex(1 << 20);
        let serving = Arc::clone(master);
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let serving = tokio::spawn(async move { serving.serve_on(theirs, remote).await });
        let mut puppet = Self { stream, _serving: serving };
        puppet.report(0).await;
        puppet
    }

    async fn report(&mut self, end: u64) {
        self.stream.write_all(&end.to_be_bytes()).await.expect("written");
    }

    /// Takes the log up to `end` and says that it has it.
    async fn take_to(&mut self, end: u64) {
        let mut at = 0;
        while at < end {
            let (begin, bytes) = self.frame().await;
            at = begin + bytes.len() as u64;
        }
        self.report(at).await;
    }

    /// Where the next frame begins, and its bytes.
    async fn frame(&mut self) -> (u64, Vec<u8>) {
        let at = self.stream.read_u64().await.expect("read");
        let mut bytes = vec![0; self.stream.read_u32().await.expect("read") as usize];
        self.stream.read_exact(&mut bytes).await.expect("read");
        (at, bytes)
    }
}

#[test]
fn a_slave_without_a_log_gets_all_of_it_as_apache_says_it() {
    sim::run(1, async |world: World| {
        let master = start(&world);
        for number in 0..300 {
            send(&master, "t", &"x".repeat(number * 8)).await;
        }
        let end = master.status().appended_to;
        let mut puppet = Puppet::connect(&master_of(&world, &master)).await;
        let mut log = Vec::new();
        while (log.len() as u64) < end {
            let (at, bytes) = puppet.frame().await;
            let (first, last) = (at, at + bytes.len() as u64 - 1);
            assert_eq!(
                (at, first / SEGMENT_BYTES as u64),
                (log.len() as u64, last / SEGMENT_BYTES as u64),
                "of one segment"
            );
            log.extend(bytes);
        }
        assert!(log == log_of(&world, "/data", end));
        assert_eq!(puppet.frame().await, (end, Vec::new()), "it says that it lives");
    });
}

/// How long [`start_waiting`]'s master waits.
const WAIT: Duration = Duration::from_secs(3);

/// For whom it does, unless it is said.
const TWO: Copies = Copies { count: 2, timeout: WAIT, ..Copies::ONE };

/// A master that waits for slaves, and the task that moves its mark.
fn start_waiting(world: &World, copies: Copies) -> (LocalBroker, Arc<Master>, JoinHandle<()>) {
    let master = start_with(world, Options { copies, ..options() });
    let serving = master_of(world, &master);
    let keeper = Arc::clone(&serving);
    (master, serving, tokio::spawn(async move { keeper.move_mark().await }))
}

/// Sends are answered when the slave has them.
#[test]
fn who_waits_for_slaves_is_told_what_they_have() {
    sim::run(1, async |world: World| {
        let (master, serving, keeper) = start_waiting(&world, TWO);
        let clock = world.env().clock;
        assert_eq!(send(&master, "t", "alone").await.durability, Durability::ReplicaMissing);
        assert_eq!(pop_bodies(&master, "g", "t").await, ["alone"]);

        // One that does not say that it has it.
        let mut puppet = Puppet::connect(&serving).await;
        clock.sleep(Duration::from_secs(1)).await;
        let sent = send(&master, "t", "asked only").await;
        assert_eq!(sent.durability, Durability::ReplicaMissing, "who has asked once may be anybody");
        assert_eq!(pop_bodies(&master, "g", "t").await, ["asked only"]);
        puppet.report(LIVES).await;
        clock.sleep(Duration::from_secs(1)).await;
        let sent = send(&master, "t", "not whole").await;
        assert_eq!(sent.durability, Durability::ReplicaMissing, "it lives and has not all that a start needs");
        assert_eq!(pop_bodies(&master, "g", "t").await, ["not whole"]);
        puppet.take_to(master.status().appended_to).await;
        clock.sleep(Duration::from_secs(1)).await;
        let asked = clock.moment();
        assert_eq!(send(&master, "t", "late").await.durability, Durability::ReplicaTimedOut);
        let took = clock.moment().since(asked);
        assert!(took >= WAIT && took < WAIT * 2, "{took:?}");
        assert!(pop_bodies(&master, "g", "t").await.is_empty(), "what the slave does not have is not handed out");
        puppet.take_to(master.status().appended_to).await;
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(pop_bodies(&master, "g", "t").await, ["late"]);
        // What it cannot have.
        puppet.report(master.status().appended_to + 1).await;
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(send(&master, "t", "believed no more").await.durability, Durability::ReplicaMissing);
        drop(puppet);

        // One of ours.
        let slave = start_with(&world, slave_options());
        let follower = Follower::connect(&world, &serving, &slave);
        until_equal(&world, &master, &slave).await;
        let sent = send(&master, "t", "twice").await;
        assert_eq!(sent.durability, Durability::Written);
        assert!(slave.status().appended_to > sent.physical_offset.0);
        drop(follower);
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(send(&master, "t", "alone again").await.durability, Durability::ReplicaMissing);
        keeper.abort();
    });
}

/// Each is waited for that is in sync, and with too few of them nothing is taken.
#[test]
fn several_slaves_are_waited_for_and_the_fewest_must_be_there() {
    sim::run(1, async |world: World| {
        let copies = Copies { count: 3, count_min: 2, ..TWO };
        let (master, serving, keeper) = start_waiting(&world, copies);
        let clock = world.env().clock;
        let too_few = || SendError::Unavailable(Unavailable::TooFewInSync { in_sync: 1, in_sync_min: 2 });
        assert!(pop_bodies(&master, "g", "t").await.is_empty());
        assert_eq!(try_send(&master, message("t", "alone", &[])).await.err(), Some(too_few()));
        assert_eq!(master.status().messages_in, 0);

        let slaves = [1, 2].map(|number| {
            let dir = PathBuf::from(format!("{SLAVE_DIR}-{number}"));
            start_with(&world, Options { dir, ..slave_options() })
        });
        let connect = |number: usize| {
            let slave = Slave::new(slaves[number].clone(), world.env().clock, watch::channel(None).1);
            Follower::connect_as(&serving, slave.numbered(MemberId(number as i64)))
        };
        let first = connect(0);
        until_equal(&world, &master, &slaves[0]).await;
        let sent = send(&master, "t", "to one").await;
        assert_eq!(sent.durability, Durability::ReplicaMissing);
        assert!(slaves[0].status().appended_to > sent.physical_offset.0, "it is waited for all the same");

        let second = connect(1);
        until_equal(&world, &master, &slaves[1]).await;
        let sent = send(&master, "t", "to both").await;
        assert_eq!(sent.durability, Durability::Written);
        assert!(slaves.iter().all(|slave| slave.status().appended_to > sent.physical_offset.0));
        drop(second);
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(send(&master, "t", "to one again").await.durability, Durability::ReplicaMissing);
        let mut puppet = Puppet::connect(&serving).await;
        puppet.take_to(master.status().appended_to).await;
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(send(&master, "t", "late").await.durability, Durability::ReplicaTimedOut);
        assert_eq!(pop_bodies(&master, "g", "t").await, ["to one", "to both", "to one again"]);
        puppet.take_to(master.status().appended_to).await;
        drop((first, puppet));
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(try_send(&master, message("t", "alone", &[])).await.err(), Some(too_few()));
        assert_eq!(pop_bodies(&master, "g", "t").await, ["late"], "what is there is handed out");
        keeper.abort();
    });
}

/// As many as are in sync are enough where that is said, and each of them is waited for.
#[test]
fn those_in_sync_are_enough_where_it_is_said() {
    sim::run(1, async |world: World| {
        let copies = Copies { count: 3, are_few_enough: true, ..TWO };
        let (master, serving, keeper) = start_waiting(&world, copies);
        assert_eq!(send(&master, "t", "alone").await.durability, Durability::Written);
        let mut puppet = Puppet::connect(&serving).await;
        puppet.take_to(master.status().appended_to).await;
        world.env().clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(send(&master, "t", "late").await.durability, Durability::ReplicaTimedOut);
        drop(puppet);
        world.env().clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(send(&master, "t", "alone again").await.durability, Durability::Written);
        keeper.abort();
    });
}

/// What an operator has copied is in its topic, but the master may be lost before its slave has it.
#[test]
fn a_redriven_message_that_no_slave_has_is_not_told_as_stored() {
    sim::run(1, async |world: World| {
        let (master, serving, keeper) = start_waiting(&world, TWO);
        send(&master, "t", "given up").await;
        let popped = pop(&master, pop_of("g", "t")).await.messages;
        master.dead_letter(owner("g", "t"), popped[0].handle.clone()).await.expect("moved");
        let mut puppet = Puppet::connect(&serving).await;
        puppet.take_to(master.status().appended_to).await;
        world.env().clock.sleep(Duration::from_secs(1)).await;
        let redrive = async || master.redrive(&group("g"), QueueId(0), QueueOffset(0)).await;
        assert_eq!(redrive().await, Err(Unavailable::TimedOut { waited_ms: 3_000 }.into()));
        puppet.take_to(master.status().appended_to).await;
        world.env().clock.sleep(Duration::from_secs(1)).await;
        assert!(redrive().await.expect("known").is_repeat);
        assert_eq!(pop_bodies(&master, "g", "t").await, ["given up"]);
        keeper.abort();
    });
}
