//! The timer machine with files, against a plain map: a store on a simulated disk, and what the engine does with both.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use env::disk::OpenMode;
use env::sim::{self, World};
use proptest::prelude::*;
use store::{Machine as _, Store};
use types::{Message, QueueId, TopicName};

use super::*;
use crate::copy::{self, Copy};
use crate::journal::{self, Event};
use crate::machines::Machines;
use crate::timer::{Bounds, recall};
use crate::transaction::Schedule;

const HOST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const DIR: &str = "/data";
/// When the clock stands at first.
const BEGIN: Timestamp = Timestamp(1_000_000);

/// What happens.
#[derive(Clone, Debug)]
enum Op {
    /// A message is stored that is due so many milliseconds later.
    Store(u32),
    /// Many are stored that are due at the same time.
    Burst(u32),
    /// The message at this place of all that wait is recalled.
    Recall(usize),
    /// One is looked for that does not wait.
    RecallNone(u32),
    /// The clock goes on, or back.
    Clock(i32),
    /// A checkpoint is taken and published.
    Checkpoint,
    /// A checkpoint is taken and its publication not awaited.
    BeginCheckpoint,
    /// What has ended leaves its part's file; not yet if somebody may still ask for it.
    Shrink { is_asking: bool },
    /// What lies before a part of the log is looked for.
    Front(u8),
    /// The process is killed; a file of the timers is damaged before the next one starts.
    Restart(Option<(usize, Damage)>),
    /// The process is killed and the newest checkpoint lost: the one before is used, with the files that it names.
    RestartBefore,
    /// The same with a file that is damaged while the process runs.
    Rot(usize, Damage),
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip,
    Remove,
    Cut,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![Just(Damage::Flip), Just(Damage::Remove), Just(Damage::Cut)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0u32..20_000).prop_map(Op::Store),
        2 => (0u32..5_000).prop_map(Op::Burst),
        4 => (0usize..1000).prop_map(Op::Recall),
        1 => (0u32..20_000).prop_map(Op::RecallNone),
        4 => (0i32..4_000).prop_map(Op::Clock),
        1 => (-8_000i32..0).prop_map(Op::Clock),
        3 => Just(Op::Checkpoint),
        1 => Just(Op::BeginCheckpoint),
        1 => any::<bool>().prop_map(|is_asking| Op::Shrink { is_asking }),
        1 => Just(Op::RestartBefore),
        1 => any::<u8>().prop_map(Op::Front),
        2 => proptest::option::of((0usize..100, damage())).prop_map(Op::Restart),
        1 => (0usize..100, damage()).prop_map(|(file, damage)| Op::Rot(file, damage)),
    ]
}

fn bounds() -> impl Strategy<Value = Bounds> {
    (1usize..12, 1usize..12, 1usize..6, 1u64..4_000, 2usize..20).prop_map(|(young, near, load, ahead, gone)| Bounds {
        young_max: young,
        near_max: near,
        load_max: load,
        ahead: Duration::from_millis(ahead),
        gone_max: gone,
        ..Bounds::default()
    })
}

fn options() -> store::Options {
    let options = store::Options::local(PathBuf::from(DIR));
    store::Options { segment_bytes: 64 * 1024, checkpoint_bytes: 16 * 1024, ..options }
}

/// A machine, its store, and what must wait: due time and position, with the identity.
struct Rig<'w> {
    world: &'w World,
    machines: Machines,
    store: Store,
    loader: Loader,
    model: BTreeMap<Key, u64>,
    now: Timestamp,
    stored: u32,
    fired: usize,
}

fn open(world: &World, bounds: Bounds) -> (Machines, Store, Loader) {
    let mut machines = Machines::bounded(Schedule::default(), bounds);
    let store = Store::open(&world.env(), &options(), &mut machines).expect("opens");
    let loader = Loader::new(world.env().disk, Path::new(DIR), store.scanner());
    (machines, store, loader)
}

impl<'w> Rig<'w> {
    fn new(world: &'w World, bounds: Bounds) -> Self {
        let (machines, store, loader) = open(world, bounds);
        Self { world, machines, store, loader, model: BTreeMap::new(), now: BEGIN, stored: 0, fired: 0 }
    }

    /// A record that is nothing: a copy cannot name position 0 as its source.
    async fn fill(&mut self) {
        let message = Message::new(TopicName::new("other").expect("valid"), Bytes::from_static(b"filler"));
        self.append(&Copy { message, queue: QueueId(0), due: None }).await;
    }

    async fn run(&mut self, op: &Op) {
        match op {
            Op::Store(delay) => self.send(self.now.plus(Duration::from_millis((*delay).into()))).await,
            Op::Burst(delay) => {
                for _ in 0..8 {
                    self.send(self.now.plus(Duration::from_millis((*delay).into()))).await;
                }
            }
            Op::Recall(at) => self.recall(*at).await,
            Op::RecallNone(delay) => {
                let due = self.now.plus(Duration::from_millis((*delay).into()));
                assert_eq!(self.find(due, 0), None);
            }
            Op::Clock(ms) => {
                self.now = Timestamp(self.now.0 + i64::from(*ms));
                self.fire().await;
            }
            Op::Checkpoint => {
                self.checkpoint();
                self.settle().await;
            }
            Op::BeginCheckpoint => self.checkpoint(),
            Op::Shrink { is_asking } => self.shrink(*is_asking).await,
            Op::Front(part) => self.look_before(*part),
            Op::Restart(damage) => self.restart(*damage).await,
            Op::RestartBefore => self.restart_before().await,
            Op::Rot(file, damage) => self.damage(*file, *damage),
        }
    }

    async fn append(&mut self, copy: &Copy) -> PhysicalOffset {
        let record = record::encode(&copy.message, copy.queue, HOST).expect("fits");
        self.store.ready(record.total_bytes()).await;
        let offset = self.store.append(record, self.now).expect("appended").physical_offset();
        for record in self.store.staged_from(offset) {
            self.machines.apply(&record);
        }
        self.store.write().expect("written");
        offset
    }

    async fn send(&mut self, due: Timestamp) {
        self.stored += 1;
        let key = format!("ID-{}", self.stored);
        let mut message = Message::new(TopicName::new("t").expect("valid"), Bytes::from_static(b"body"));
        message.properties.set_own(types::properties::names::UNIQUE_KEY, &key);
        let offset = self.append(&copy::delayed(message, QueueId(0), due)).await;
        self.model.insert((due, offset), recall::identity("t", &key));
    }

    async fn recall(&mut self, at: usize) {
        let Some((&(due, offset), &identity)) = self.model.iter().nth(at % self.model.len().max(1)) else { return };
        assert_eq!(self.find(due, identity), Some(offset), "{due} {offset} waits");
        let mut pending = journal::Pending::new(options().segment_bytes);
        pending.push(&Event::Recalled { due, offset });
        for body in pending.take() {
            let message = copy::system_message(journal::JOURNAL_TOPIC, body.into(), self.now);
            self.append(&Copy { message, queue: QueueId(0), due: None }).await;
        }
        self.model.remove(&(due, offset));
        assert_eq!(self.find(due, identity), None, "{due} {offset} was recalled");
    }

    fn find(&mut self, due: Timestamp, identity: u64) -> Option<PhysicalOffset> {
        if let Some(offset) = self.machines.timer.find(due, identity) {
            return Some(offset);
        }
        let read = self.loader.find(self.machines.timer.parts_at(due), due, identity, &|| true);
        assert_eq!(read.problem, None);
        self.machines.timer.read(read.remade);
        read.value.into_iter().find(|offset| self.machines.timer.is_waiting(due, *offset))
    }

    /// Delivers all that is due.
    async fn fire(&mut self) {
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 20_000, "it never ends: {:?}", self.machines.timer);
            if let Some(load) = self.machines.timer.load(self.now) {
                let read = self.loader.load(load, &|| true);
                assert_eq!(read.problem, None);
                self.machines.timer.read(read.remade);
                self.machines.timer.loaded(read.value);
            }
            let Some(due) = self.machines.timer.reserve_due(self.now) else {
                if self.machines.timer.load(self.now).is_none() {
                    break;
                }
                continue;
            };
            assert!(due.due <= self.now, "{due:?} comes early at {}", self.now);
            assert!(self.model.remove(&(due.due, due.offset)).is_some(), "{due:?} comes and does not wait");
            let source = self.store.reader().read(due.offset, due.record_bytes).await.expect("read");
            self.append(&copy::delivered(&source).expect("a delayed message").was_due(due.due)).await;
            self.fired += 1;
        }
        let missing = self.model.first_key_value().filter(|((due, _), _)| *due <= self.now);
        assert_eq!(missing, None, "it is {}", self.now);
    }

    async fn shrink(&mut self, is_asking: bool) {
        let Some(source) = self.machines.timer.part_to_shrink() else { return };
        let read = self.loader.read(source, &|| true);
        self.machines.timer.read(read.value.into_iter().chain(read.remade));
        if is_asking {
            self.seal();
            self.settle().await;
        } else {
            self.checkpoint();
        }
    }

    fn checkpoint(&mut self) {
        self.machines.timer.let_go(self.store.marks().appended_to());
        self.seal();
    }

    fn seal(&mut self) {
        self.machines.timer.seal(self.store.marks().appended_to());
        self.store.begin_checkpoint(&self.machines);
    }

    /// What is on its way to the disk arrives there.
    async fn settle(&mut self) {
        self.world.env().clock.sleep(Duration::from_secs(2)).await;
        self.store.write().expect("written");
        if let Some(at) = self.store.take_published() {
            self.machines.timer.filed(at);
        }
    }

    fn look_before(&mut self, part: u8) {
        let before = PhysicalOffset(self.store.marks().appended_to().0 * u64::from(part) / 255);
        let (mut cursor, mut is_end, mut found) = (None, false, BTreeSet::new());
        while !is_end {
            let mut held = Vec::new();
            is_end = self.machines.timer.find_before(before, &mut cursor, 3, 3, &mut held);
            found.extend(held.iter().map(|due| (due.due, due.offset)));
        }
        let (mut behind, mut after) = (None, None);
        while let Some(step) = self.machines.timer.step(behind, after, before, 3) {
            let from = step.source.name.from;
            let read = self.loader.step(step, &|| true);
            assert_eq!(read.problem, None);
            self.machines.timer.read(read.remade);
            let stepped = read.value;
            let waits = |waits: &&Waits| self.machines.timer.is_waiting(waits.due, waits.offset);
            found.extend(stepped.found.iter().filter(waits).map(Waits::key));
            after = stepped.after;
            if after.is_none() {
                behind = Some(from);
            }
        }
        let expected: BTreeSet<Key> = self.model.keys().copied().filter(|(_, offset)| *offset < before).collect();
        assert_eq!(found, expected);
    }

    async fn restart(&mut self, damage: Option<(usize, Damage)>) {
        let bounds = self.machines.timer.bounds();
        self.world.kill().await;
        if let Some((file, damage)) = damage {
            self.damage(file, damage);
        }
        (self.machines, self.store, self.loader) = open(self.world, bounds);
    }

    async fn restart_before(&mut self) {
        let bounds = self.machines.timer.bounds();
        self.world.kill().await;
        let (disk, dir) = (self.world.disk(), Path::new(DIR).join("checkpoints"));
        let names = disk.list(&dir).expect("listed");
        if let Some(newest) = names.iter().max() {
            disk.remove(&dir.join(newest)).expect("removed");
        }
        (self.machines, self.store, self.loader) = open(self.world, bounds);
    }

    fn damage(&self, file: usize, damage: Damage) {
        let (disk, dir) = (self.world.disk(), Path::new(DIR).join(store::TIMERS_NAME));
        let names = disk.list(&dir).expect("listed");
        let Some(name) = names.get(file % names.len().max(1)) else { return };
        let path = dir.join(name);
        match damage {
            Damage::Flip => disk.flip_bits(&path, 2).expect("flipped"),
            Damage::Remove => disk.remove(&path).expect("removed"),
            Damage::Cut => {
                let file = disk.open(&path, OpenMode::ReadWrite).expect("opened");
                file.set_len(file.len().expect("a length") / 2).expect("cut");
            }
        }
    }
}

fn live(bounds: Bounds, ops: &[Op]) {
    sim::run(1, async |world: World| {
        let mut rig = Rig::new(&world, bounds);
        rig.fill().await;
        for op in ops {
            rig.run(op).await;
        }
        // From the log alone, and then to the end.
        world.kill().await;
        for dir in ["checkpoints", "queueindex", store::TIMERS_NAME].map(|dir| Path::new(DIR).join(dir)) {
            let disk = world.env().disk;
            disk.list(&dir).expect("listed").iter().for_each(|name| disk.remove(&dir.join(name)).expect("removed"));
        }
        (rig.machines, rig.store, rig.loader) = open(&world, bounds);
        rig.look_before(255);
        while let Some(((due, _), _)) = rig.model.first_key_value() {
            rig.now = *due;
            rig.fire().await;
        }
        assert!(rig.machines.timer.held().next().is_none());
    });
}

/// A file that is written again, for a newer checkpoint, has all that an older one takes it to have.
#[test]
fn a_name_of_a_file_stands_for_its_content() {
    let bounds = Bounds { young_max: 4, load_max: 2, ahead: Duration::from_secs(4), ..Bounds::default() };
    let stores = [5_000, 5_100, 9_000, 9_500].map(Op::Store);
    // The first two are in memory, and the third one is gone: the part is read, to be written without it.
    let shrinks = [Op::Checkpoint, Op::Clock(3_500), Op::Recall(2), Op::Shrink { is_asking: true }];
    live(bounds, &[&stores[..], &shrinks, &[Op::RestartBefore, Op::Clock(8_000)]].concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn files_change_nothing(bounds in bounds(), ops in proptest::collection::vec(op(), 1..120)) {
        live(bounds, &ops);
    }
}

#[test]
fn a_year_of_timers_comes_in_time_and_few_are_in_memory() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let bounds = Bounds { young_max: 200, near_max: 100, load_max: 50, ..Bounds::default() };
    sim::run(1, async |world: World| {
        let mut rig = Rig::new(&world, bounds);
        rig.fill().await;
        for n in 0..3_650u32 {
            // Spread over the year, not in its order.
            rig.send(rig.now.plus(DAY / 10 * (n * 1_009 % 3_650))).await;
            if n % 100 == 99 {
                rig.run(&Op::Checkpoint).await;
            }
        }
        assert!(rig.machines.timer.held().count() < 300, "{} are in memory", rig.machines.timer.held().count());
        for day in 0..366u32 {
            rig.now = rig.now.plus(DAY);
            rig.fire().await;
            match day % 30 {
                7 => rig.run(&Op::Restart(None)).await,
                17 => rig.run(&Op::Recall(5)).await,
                27 => rig.run(&Op::Checkpoint).await,
                _ => {}
            }
            assert!(rig.machines.timer.held().count() <= 300);
        }
        assert_eq!((rig.model.len(), rig.machines.timer.len()), (0, 0));
        assert_eq!(rig.fired, 3_650 - 12);
    });
}
