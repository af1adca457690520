//! What an operator sets about a broker, and the bounds that nobody sets.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use store::Flush;
use types::PhysicalOffset;
use types::message::BODY_BYTES_MAX;

use crate::membership::lease::Lease;
use crate::transaction::Schedule;

/// Commands that may wait for the engine; beyond it callers are told that the broker is busy.
pub const COMMANDS_MAX: usize = 8192;
/// Bytes of records that may wait for the engine; beyond it senders are told that the broker is busy.
pub const QUEUED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Commands that the engine takes in one round.
pub const ROUND_COMMANDS_MAX: usize = 512;
/// Receivers (pops and pulls) that may wait for messages. Source: Apache `maxPopPollingSize`.
pub const WAITING_MAX: usize = 100_000;
/// Copies whose source records may be on their way from the disk at one time.
pub const FETCHES_MAX: usize = 256;
/// Waiting messages that are delivered, given up or asked about in one round, each.
pub const OUTCOMES_PER_ROUND: usize = 256;
/// Reads of spilled timers that may wait for a thread; beyond it who recalls a message is told that the broker is busy.
pub const TIMER_READS_MAX: usize = 256;
/// How often it is looked whether timers are to be brought to the disk.
pub const SPILL_INTERVAL: Duration = Duration::from_millis(250);
/// Requests that may wait for the outcome of one transaction that is just being stored.
pub const END_WAITING_MAX: usize = 8;
/// Transaction checks that one receiver may have waiting.
pub const CHECKS_WAITING_MAX: usize = 1024;
/// Receivers of transaction checks.
pub const CHECK_RECEIVERS_MAX: usize = 64;
/// Clients whose last sign of life is remembered; about 100 bytes each.
pub const CLIENTS_MAX: usize = 100_000;
/// How long after its last sign of life a client counts as living: three of the Rust SDK's heartbeats of 30 s.
pub const CLIENT_ALIVE_FOR: Duration = Duration::from_secs(90);
/// How long an answer waits for the disk with sync flush. Source: Apache `syncFlushTimeout`.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the engine waits before it tries an outcome again that it could not store.
pub const OUTCOME_RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long op records of committed transactions are gathered. Source: Apache `transactionOpBatchInterval`.
pub const OP_INTERVAL: Duration = Duration::from_secs(3);
/// How long the engine sleeps at most, so that a clock that jumped is noticed.
pub const SLEEP_MAX: Duration = Duration::from_secs(1);
/// How long a master whose slaves may have delivered what is due waits at the most until it knows. Longer than it takes to ask them.
pub const OUTCOMES_AFTER_MAX: Duration = Duration::from_secs(30);
/// Longest wait of a pop or pull.
pub const WAIT_MAX: Duration = Duration::from_secs(300);

/// Who decides what comes into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This broker: clients' requests and time.
    Master,
    /// Its master: this broker's log is that one's, and its state what the log's records say.
    Slave,
}

/// What a master waits for before it answers, beside its own disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// How many brokers have what is acknowledged, this one counted; 1 waits for nobody. Source: `inSyncReplicas`.
    pub count: usize,
    /// With fewer in sync no messages are taken; at most `count`. Source: `minInSyncReplicas`.
    pub count_min: usize,
    /// Whether those that are in sync are enough while they are fewer than `count`. Source: `enableAutoInSyncReplicas`.
    pub are_few_enough: bool,
    /// How long an answer waits for the others. Source: `slaveTimeout`.
    pub timeout: Duration,
}

impl Copies {
    /// Only this broker's.
    pub const ONE: Self = Self { count: 1, count_min: 1, are_few_enough: false, timeout: Duration::from_secs(3) };

    /// Whether another broker is waited for.
    pub(crate) fn are_several(self) -> bool {
        self.count > 1
    }

    /// Whether what so many brokers have may be acknowledged as it is promised. Source: Apache 5.5 `CommitLog#calcNeedAckNums`.
    pub(crate) fn are_met_by(self, in_sync: usize) -> bool {
        in_sync >= if self.are_few_enough { self.count_min } else { self.count }
    }
}

/// Settings of a broker.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory that holds everything; made when missing.
    pub dir: PathBuf,
    /// The broker's name in receipt and recall handles; without blanks. That of a slave is its master's.
    pub name: String,
    /// Who decides what comes into the log.
    pub role: Role,
    /// How many brokers have what is acknowledged.
    pub copies: Copies,
    /// How long a master may act as one, where controllers say so.
    pub lease: Option<Lease>,
    /// How long after its start a master delivers nothing by itself that was due before, unless it is told sooner that it may.
    pub outcomes_after: Duration,
    /// When a message counts as stored.
    pub flush: Flush,
    /// Length of new log segments, in bytes.
    pub segment_bytes: u64,
    /// Newest part of the log that is kept in memory, in bytes.
    pub hot_bytes: usize,
    /// Growth of the log after which a checkpoint is taken, in bytes.
    pub checkpoint_bytes: u64,
    /// Where the log may be cut off though it was durable beyond, see [`store::Options::accept_loss_at`].
    pub accept_loss_at: Option<PhysicalOffset>,
    /// Where the log is to be cut off, see [`store::Options::end_at`].
    pub end_at: Option<PhysicalOffset>,
    /// The address that records name as their store host.
    pub store_host: SocketAddr,
    /// Whether topics are made on their first use.
    pub auto_create_topics: bool,
    /// Whether consumer groups are made on their first use.
    pub auto_create_groups: bool,
    /// How long a topic or group that first use has made stays when nothing is in it and nobody uses it; at least as long as idempotency
    /// keys are known. `None`: for ever.
    pub idle_max: Option<Duration>,
    /// Queues of topics made on their first use, 1 to 1024.
    pub default_queues: u32,
    /// Largest body, in bytes, at most [`BODY_BYTES_MAX`].
    pub body_bytes_max: usize,
    /// Farthest delivery time from now.
    pub delay_max: Duration,
    /// When producers are asked about half messages.
    pub transaction: Schedule,
    /// How long and how many idempotency keys are known.
    pub idempotency: crate::idempotency::Settings,
    /// When the log's front goes.
    pub retention: crate::retention::Settings,
    /// How many delayed messages are kept in memory. Nobody sets it but tests.
    pub timers: crate::timer::Bounds,
}

impl Options {
    /// Apache's `timerMaxDelaySec`.
    pub const DELAY_MAX_DEFAULT: Duration = Duration::from_secs(3 * 24 * 60 * 60);
    /// Queues of a topic made on its first use. Source: Apache `defaultTopicQueueNums`.
    pub const QUEUES_DEFAULT: u32 = 8;
    /// [`Options::idle_max`]: a week, so that what is used on working days only stays.
    pub const IDLE_MAX_DEFAULT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    /// The broker's name in local mode.
    pub const NAME_DEFAULT: &str = "gantry-local";

    /// Local mode's settings for a directory.
    #[must_use]
    pub fn local(dir: PathBuf) -> Self {
        let store_host = SocketAddr::from((Ipv4Addr::LOCALHOST, 8081));
        let store = store::Options::local(dir);
        Self {
            dir: store.dir,
            name: Self::NAME_DEFAULT.to_owned(),
            role: Role::Master,
            copies: Copies::ONE,
            lease: None,
            outcomes_after: Duration::ZERO,
            flush: store.flush,
            segment_bytes: store.segment_bytes,
            hot_bytes: store.hot_bytes,
            checkpoint_bytes: store.checkpoint_bytes,
            accept_loss_at: store.accept_loss_at,
            end_at: store.end_at,
            store_host,
            auto_create_topics: true,
            auto_create_groups: true,
            idle_max: Some(Self::IDLE_MAX_DEFAULT),
            default_queues: Self::QUEUES_DEFAULT,
            body_bytes_max: BODY_BYTES_MAX,
            delay_max: Self::DELAY_MAX_DEFAULT,
            transaction: Schedule::default(),
            idempotency: crate::idempotency::Settings::default(),
            retention: crate::retention::Settings::default(),
            timers: crate::timer::Bounds::default(),
        }
    }

    pub(crate) fn store(&self) -> store::Options {
        store::Options {
            dir: self.dir.clone(),
            segment_bytes: self.segment_bytes,
            flush: self.flush,
            hot_bytes: self.hot_bytes,
            checkpoint_bytes: self.checkpoint_bytes,
            accept_loss_at: self.accept_loss_at,
            end_at: self.end_at,
        }
    }

    /// How long an answer waits for the disk and for slaves at the longest; `None` when it waits for neither.
    pub(crate) fn answer_wait(&self) -> Option<Duration> {
        let flush = (self.flush == Flush::Sync).then_some(FLUSH_TIMEOUT);
        let copies = self.copies.are_several().then_some(self.copies.timeout);
        [flush, copies].into_iter().flatten().reduce(|flush, copies| flush + copies)
    }
}
