//! The store's owner in the log scenario: rounds of appends, answers, reads and checkpoints.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use env::Env;
use env::sim::{SimDisk, World};
use parking_lot::Mutex;
use record::Encoded;
use store::{AppendError, Flush, Machine, Marks, Store};
use types::{Message, QueueId, TopicName};

use super::ledger::{Entry, Ledger};
use super::plan::{DIR, FAULTS_MAX, HOST, Plan};
use super::tally::Tally;
use crate::invariants::{checkpoints_behind, offsets_follow, reads_agree};
use crate::report::Violation;

const TOPICS: [&str; 3] = ["orders", "payments", "%DLQ%group"];
const QUEUES: u32 = 3;
/// Where all bodies have one length.
const UNIFORM_BODY_BYTES: usize = 100;
/// Rounds of the last life.
const PEACEFUL_ROUNDS: u32 = 5;

/// The owner of an open store.
pub(super) struct Engine {
    env: Env,
    /// Tells whether the process is dead already.
    disk: SimDisk,
    store: Store,
    tally: Tally,
    ledger: Arc<Mutex<Ledger>>,
    plan: Plan,
    next_id: u64,
}

/// Why the engine stops working.
enum Stop {
    /// The store failed, as it may when the disk did.
    Failed,
    /// A promise was broken.
    Violated(Violation),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violated(violation)
    }
}

impl Engine {
    pub(super) fn new(world: &World, store: Store, tally: Tally, ledger: Arc<Mutex<Ledger>>, plan: Plan) -> Self {
        let next_id = world.random().fork().u64(..);
        Self { env: world.env(), disk: world.disk(), store, tally, ledger, plan, next_id }
    }

    pub(super) fn marks(&self) -> Marks {
        self.store.marks().clone()
    }

    /// Compares all that the store can tell with the ledger.
    pub(super) async fn check_recovered(&mut self) -> Result<(), Violation> {
        let entries = self.ledger.lock().entries().to_vec();
        for (topic, name) in TOPICS.iter().enumerate() {
            for queue in (0..QUEUES).map(QueueId) {
                let expected: Vec<&Entry> = entries.iter().filter(|e| (e.topic, e.queue) == (topic, queue)).collect();
                offsets_follow::check_queue(&mut self.store, name, queue, &expected)?;
            }
        }
        let reader = self.store.reader();
        for entry in &entries {
            reads_agree::check(&reader, entry).await?;
        }
        Ok(())
    }

    /// Works until the store fails.
    pub(super) async fn work(mut self, mut rng: fastrand::Rng) {
        loop {
            match self.round(&mut rng).await {
                Ok(()) => self.pause(&mut rng).await,
                Err(Stop::Failed) => return,
                Err(Stop::Violated(violation)) => return self.ledger.lock().violated(violation),
            }
        }
    }

    /// Works a few rounds that must succeed.
    pub(super) async fn work_in_peace(&mut self, mut rng: fastrand::Rng) -> Result<(), Violation> {
        for _ in 0..PEACEFUL_ROUNDS {
            match self.round(&mut rng).await {
                Ok(()) => self.pause(&mut rng).await,
                Err(Stop::Failed) => {
                    return Err(Violation::new("a store without faults works", "it failed".to_owned()));
                }
                Err(Stop::Violated(violation)) => return Err(violation),
            }
        }
        Ok(())
    }

    /// Ends in order.
    pub(super) async fn close(self) -> Result<(), Violation> {
        let closed = self.store.close(&self.tally).await;
        closed.map_err(|failed| Violation::new("a store without faults closes", failed.to_string()))
    }

    async fn pause(&mut self, rng: &mut fastrand::Rng) {
        let longest_ms = if rng.u8(..8) == 0 { 700 } else { 20 };
        self.env.clock.sleep(Duration::from_millis(rng.u64(..longest_ms))).await;
    }

    /// Appends a batch, writes it, waits for it as a client would, looks at something old.
    async fn round(&mut self, rng: &mut fastrand::Rng) -> Result<(), Stop> {
        let records: Vec<_> = (0..rng.usize(..=self.plan.round_max)).map(|_| self.encode(rng)).collect();
        let bytes = records.iter().map(|(_, _, record)| record.total_bytes()).sum();
        self.store.ready(bytes).await;
        let begin = self.ledger.lock().entries().len();
        self.append(records)?;
        let Ok(end) = self.store.write() else { return Err(Stop::Failed) };
        let now = self.env.clock.now();
        let appended = {
            let mut ledger = self.ledger.lock();
            ledger.written(now);
            if self.plan.flush == Flush::Async {
                let count = ledger.entries().len();
                ledger.acknowledge(count);
            }
            ledger.entries().len()
        };
        if rng.bool() && appended > begin {
            if self.store.marks().visible(end).await.is_err() {
                return Err(Stop::Failed);
            }
            self.ledger.lock().acknowledge(appended);
        }
        if self.store.is_checkpoint_due() {
            self.store.begin_checkpoint(&self.tally);
        }
        checkpoints_behind::check(&self.disk, Path::new(DIR), self.store.marks().durable_to())?;
        self.look_back(rng).await
    }

    fn append(&mut self, records: Vec<(usize, u64, Encoded)>) -> Result<(), Stop> {
        let now = self.env.clock.now();
        let before = self.ledger.lock().entries().last().map(|entry| entry.physical_offset);
        let from = before.map_or_else(Default::default, |offset| offset.plus(1));
        for (topic, id, record) in records {
            let (queue, record_bytes) = (record.queue(), record.total_bytes() as u32);
            let appended = match self.store.append(record, now) {
                Ok(appended) => appended,
                // A client would be told to try again; here the rest of the batch is left out.
                Err(AppendError::NotReady | AppendError::DiskFull { .. }) => break,
                Err(AppendError::Failed(_)) => return Err(Stop::Failed),
                Err(error @ AppendError::TooLarge { .. }) => {
                    return Err(Violation::new("a record of legal size is taken", error.to_string()).into());
                }
            };
            let entry = Entry {
                topic,
                queue,
                queue_offset: appended.queue_offset,
                physical_offset: appended.physical_offset(),
                record_bytes,
                id,
                written_at: None,
                chain: 0,
            };
            self.ledger.lock().appended(entry);
        }
        self.apply_from(from)
    }

    /// Feeds the machine with what was appended, and the ledger with the tally after each.
    fn apply_from(&mut self, from: types::PhysicalOffset) -> Result<(), Stop> {
        let mut ledger = self.ledger.lock();
        for record in self.store.staged_from(from) {
            self.tally.apply(&record);
            offsets_follow::check_append(
                &mut ledger,
                record.header.physical_offset,
                self.tally.count,
                self.tally.chain,
            )?;
        }
        Ok(())
    }

    /// Reads a record that was acknowledged at any time.
    async fn look_back(&mut self, rng: &mut fastrand::Rng) -> Result<(), Stop> {
        let entry = {
            let ledger = self.ledger.lock();
            rng.choice(&ledger.entries()[..ledger.acknowledged()]).cloned()
        };
        let Some(entry) = entry else { return Ok(()) };
        let mut tries_left = FAULTS_MAX;
        loop {
            match reads_agree::check(&self.store.reader(), &entry).await {
                Ok(()) => return Ok(()),
                // A dead process and a disk that failed need not read.
                Err(_) if self.disk.is_dead() || self.store.marks().failure().is_some() => return Err(Stop::Failed),
                Err(_) if tries_left > 0 => tries_left -= 1,
                Err(violation) => return Err(violation.into()),
            }
        }
    }

    fn encode(&mut self, rng: &mut fastrand::Rng) -> (usize, u64, Encoded) {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let (topic, queue, body_bytes) = match (self.plan.is_uniform, rng.u8(..10)) {
            (true, _) => (0, 0, UNIFORM_BODY_BYTES),
            (false, 0) => (rng.usize(..TOPICS.len()), rng.u32(..QUEUES), rng.usize(..=self.plan.body_bytes_max)),
            (false, _) => (rng.usize(..TOPICS.len()), rng.u32(..QUEUES), rng.usize(..200)),
        };
        let name = TopicName::new(TOPICS[topic]).expect("a valid name");
        let mut message = Message::new(name, Entry::body(id, body_bytes));
        message.properties.set_own(types::properties::names::TAGS, "tag");
        let encoded = record::encode(&message, QueueId(queue), HOST).expect("a legal message");
        (topic, id, encoded)
    }
}
