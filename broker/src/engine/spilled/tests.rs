//! Who asks for waiting messages while parts are loaded, written anew and carried forward: an engine by hand, whose reads end when
//! the test says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::sim::{self, World};
use types::broker::Pull;
use types::properties::names;
use types::{Broker, Filter, GroupName, Message, QueueId, QueueOffset, TopicName};

use super::*;
use crate::engine::by_hand::ByHand;
use crate::options::{SLEEP_MAX, SPILL_INTERVAL};
use crate::retention::{Hours, Settings};
use crate::timer::{Bounds, recall};
use crate::{LocalBroker, Options};

const MINUTE: Duration = Duration::from_secs(60);
/// Delayed messages that are sealed together.
const TOGETHER: usize = 8;
/// Between two rounds.
const TICK: Duration = Duration::from_millis(20);
/// Rounds within which anything must happen.
const ROUNDS_MAX: usize = 1_000;

/// What the engine of a test starts from: nothing expires yet.
fn options() -> Options {
    let timers = Bounds { young_max: TOGETHER, ..Bounds::default() };
    Options { segment_bytes: 16 * 1024, timers, ..Options::local(PathBuf::from("/data")) }
}

/// All but the newest segment goes at once.
fn retaining() -> Options {
    let (reserved, interval) = (Duration::from_secs(1), Duration::from_millis(100));
    Options {
        retention: Settings { delete_when: Hours::EVERY, reserved, interval, ..Settings::default() },
        ..options()
    }
}

fn message(topic: &str, body: &str) -> Message {
    let mut message = Message::new(TopicName::new(topic).expect("valid"), Bytes::copy_from_slice(body.as_bytes()));
    message.properties.set_own(names::UNIQUE_KEY, body);
    message
}

async fn send(broker: &LocalBroker, message: Message) -> Option<String> {
    broker.send(QueueId(0), vec![message]).await.remove(0).expect("stored").recall_handle
}

/// Delayed messages of topic `t` with these bodies, in a part of their own; returns their recall handles.
async fn send_due(world: &World, broker: &LocalBroker, bodies: std::ops::Range<usize>, due: Timestamp) -> Vec<String> {
    assert_eq!(bodies.len(), TOGETHER);
    let mut handles = Vec::new();
    for body in bodies {
        let mut delayed = message("t", &body.to_string());
        delayed.properties.set_own(names::TIMER_DELIVER_MS, &due.to_string());
        handles.extend(send(broker, delayed).await);
    }
    world.env().clock.sleep(SLEEP_MAX * 4).await;
    handles
}

/// Puts what was sent before into the log's front, where it stays until the time of the next start.
async fn stop_behind_the_front(world: &World, broker: LocalBroker) {
    for _ in 0..60 {
        send(&broker, message("other", &"x".repeat(1_000))).await;
    }
    broker.stop().await;
    world.env().clock.sleep(Duration::from_secs(2)).await;
}

/// All that has come to topic `t`, when everything has.
async fn delivered(world: &World) -> Vec<usize> {
    let broker = LocalBroker::start(world.env(), options()).expect("starts");
    world.env().clock.sleep(MINUTE * 20).await;
    let pull = Pull {
        group: GroupName::new("g").expect("valid"),
        topic: TopicName::new("t").expect("valid"),
        queue: QueueId(0),
        offset: QueueOffset(0),
        messages_max: 32,
        filter: Arc::new(Filter::All),
        wait: Duration::ZERO,
    };
    let pulled = broker.pull(pull).await.expect("pulled");
    assert_eq!(broker.status().timers_pending, 0);
    broker.stop().await;
    let body = |record: &Bytes| record::decode(record).expect("a record").body.to_vec();
    let number = |record| String::from_utf8(body(record)).expect("text").parse().expect("a number");
    let mut numbers: Vec<usize> = pulled.records.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

fn dir() -> PathBuf {
    Path::new("/data").join(store::TIMERS_NAME)
}

/// All parts are made anew, in memory, by whoever reads them next.
fn remove_files(world: &World) {
    let disk = world.env().disk;
    disk.list(&dir()).expect("listed").iter().for_each(|name| disk.remove(&dir().join(name)).expect("removed"));
}

struct Rig<'w> {
    world: &'w World,
    by_hand: ByHand,
}

impl<'w> Rig<'w> {
    fn new(world: &'w World, options: Options) -> Self {
        Self { world, by_hand: ByHand::new(world, options) }
    }

    async fn round(&mut self) {
        self.by_hand.round().await;
        self.world.env().clock.sleep(TICK).await;
    }

    async fn rounds(&mut self, lasting: Duration) {
        let end = self.world.env().clock.now().plus(lasting);
        while self.world.env().clock.now() < end {
            self.round().await;
        }
    }

    /// The next thing that the engine wants to look for.
    async fn look(&mut self) -> Job {
        for _ in 0..ROUNDS_MAX {
            if let Ok(job) = self.by_hand.reads.looks.try_recv() {
                return job;
            }
            self.round().await;
        }
        panic!("nothing is looked for")
    }

    /// What the engine wants to load.
    async fn load(&mut self) -> Job {
        for _ in 0..ROUNDS_MAX {
            if let Ok(job) = self.by_hand.reads.loads.try_recv() {
                return job;
            }
            self.round().await;
        }
        panic!("nothing is loaded")
    }

    /// Does what a thread was to do. The engine sees it in the next round.
    fn read(&mut self, job: Job) {
        if let Some(done) = job.run(&self.by_hand.loader, &|| true) {
            self.by_hand.reads.results.try_send(done).expect("there is room");
        }
    }

    /// The message of this body and due time is to be recalled.
    fn recall(&mut self, body: usize, due: Timestamp) -> oneshot::Receiver<Result<(), RecallError>> {
        let (reply, answer) = oneshot::channel();
        self.by_hand.engine.recall(due, recall::identity("t", &body.to_string()), reply);
        answer
    }

    fn has_expired(&self) -> bool {
        self.by_hand.engine.shared.counters.expired_segments.get() > 0
    }

    /// Goes on as a broker does until the log's front is gone.
    async fn expire(&mut self) {
        for _ in 0..ROUNDS_MAX {
            while let Ok(job) = self.by_hand.reads.looks.try_recv() {
                self.read(job);
            }
            if self.has_expired() {
                return;
            }
            self.round().await;
        }
        panic!("the log's front stays")
    }
}

#[test]
fn what_is_recalled_after_it_was_read_to_be_carried_is_not_carried() {
    sim::run(1, async |world: World| {
        let broker = LocalBroker::start(world.env(), options()).expect("starts");
        let due = world.env().clock.now().plus(MINUTE * 10);
        send_due(&world, &broker, 0..TOGETHER, due).await;
        stop_behind_the_front(&world, broker).await;

        let mut rig = Rig::new(&world, retaining());
        let step = rig.look().await;
        assert!(matches!(step, Job::Step { .. }), "{step:?}");
        remove_files(&world);
        let mut recalled = rig.recall(3, due);
        let find = rig.look().await;
        rig.read(find);
        rig.round().await;
        assert_eq!(recalled.try_recv(), Ok(Ok(())));
        // The part is in memory. Checkpoints bring it to the disk; with the message, because it was read and will be asked for.
        rig.rounds(SPILL_INTERVAL * 8).await;
        assert_eq!(world.disk().names(&dir()).len(), 1);
        rig.read(step);
        rig.expire().await;
        rig.by_hand.stop().await;
        assert_eq!(delivered(&world).await, [0, 1, 2, 4, 5, 6, 7]);
    });
}

#[test]
fn what_is_loaded_behind_the_look_for_what_is_to_be_carried_is_carried() {
    sim::run(2, async |world: World| {
        let broker = LocalBroker::start(world.env(), options()).expect("starts");
        let (now, ahead) = (world.env().clock.now(), options().timers.ahead);
        let soon = now.plus(MINUTE * 3);
        // Nothing is to be carried of the first part, so that nothing else asks for another look.
        for handle in send_due(&world, &broker, 0..TOGETHER, now.plus(MINUTE * 10)).await {
            broker.recall(TopicName::new("t").expect("valid"), handle).await.expect("recalled");
        }
        send_due(&world, &broker, TOGETHER..2 * TOGETHER, soon).await;
        stop_behind_the_front(&world, broker).await;
        assert_eq!(world.disk().names(&dir()).len(), 2);

        let mut rig = Rig::new(&world, retaining());
        let step = rig.look().await;
        assert!(matches!(step, Job::Step { .. }), "{step:?}");
        // What is in memory was looked at. Now the second part comes there, before it is gone through.
        let left = soon.since(world.env().clock.now());
        world.env().clock.sleep(left - ahead / 2).await;
        let load = rig.load().await;
        rig.read(load);
        rig.round().await;
        assert_eq!(rig.by_hand.engine.machines.timer.held().count(), TOGETHER);
        rig.read(step);
        rig.expire().await;
        assert!(world.env().clock.now() < soon, "all was carried before it was due");
        rig.by_hand.stop().await;
        assert_eq!(delivered(&world).await, (TOGETHER..2 * TOGETHER).collect::<Vec<_>>());
    });
}

#[test]
fn of_two_who_recall_a_message_at_once_one_is_told_that_it_waits_no_longer() {
    sim::run(3, async |world: World| {
        let broker = LocalBroker::start(world.env(), options()).expect("starts");
        let due = world.env().clock.now().plus(MINUTE * 10);
        send_due(&world, &broker, 0..TOGETHER, due).await;
        broker.stop().await;
        remove_files(&world);

        let mut rig = Rig::new(&world, options());
        let (mut first, mut second) = (rig.recall(3, due), rig.recall(3, due));
        let (find, find_again) = (rig.look().await, rig.look().await);
        rig.read(find);
        rig.round().await;
        assert_eq!(first.try_recv(), Ok(Ok(())));
        rig.rounds(SPILL_INTERVAL * 8).await;
        rig.read(find_again);
        rig.round().await;
        assert_eq!(second.try_recv(), Ok(Err(RecallError::NotFound)));
        // Once nobody asks any more the next part that is written anew is without it.
        rig.by_hand.stop().await;
        assert_eq!(delivered(&world).await, [0, 1, 2, 4, 5, 6, 7]);
    });
}
