//! `trait Broker`: everything a front door asks of the tier that stores messages.
//!
//! Implemented in process (`broker`) and over Remoting (`proxy::cluster`); so nothing here says more than the
//! public Remoting protocol can carry, but for session messages, which only our own brokers understand.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::properties::names;
use crate::{
    Filter, GroupConfig, GroupName, Message, PhysicalOffset, QueueId, QueueOffset, ReceiptHandle, Timestamp,
    TopicConfig, TopicName,
};

/// What stores and hands out messages. A call may be dropped at any await: what it began is then finished
/// by the broker and its result lost; a pop whose caller is gone gives its messages back.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// The broker's name, as receipt handles and routes carry it; holds no blank.
    fn name(&self) -> &str;

    /// The topic's settings. Unknown topics are made on this first use where the broker is set to do so.
    ///
    /// # Errors
    /// [`LookupError::TopicNotFound`] when it neither exists nor is made.
    async fn topic(&self, name: &TopicName) -> Result<Arc<TopicConfig>, LookupError>;

    /// The group's settings; unknown groups are made on first use where the broker is set to do so.
    ///
    /// # Errors
    /// [`LookupError::GroupNotFound`] when it neither exists nor is made.
    async fn group(&self, name: &GroupName) -> Result<Arc<GroupConfig>, LookupError>;

    /// The topic in which gateways keep what they must agree on; no first use makes it. When `make`, it is made on one broker, which is named
    /// for it, with one queue for normal messages, and a group of its name to pull it with; made again it stays as it is.
    ///
    /// # Errors
    /// [`LookupError::TopicNotFound`] only when that broker says that it is not there; while it cannot be asked, [`LookupError::Unavailable`].
    async fn shared_topic(&self, name: &TopicName, make: bool) -> Result<Arc<TopicConfig>, LookupError>;

    /// Whether messages of a message group come to this consumer group one after the other. A topic that takes none has nothing to keep.
    ///
    /// # Errors
    /// [`LookupError`]
    async fn orders_message_groups(&self, _topic: &TopicName, _group: &GroupName) -> Result<bool, LookupError> {
        Ok(true)
    }

    /// Stores messages, each with a result of its own, in order. All messages of one call go to one queue and,
    /// when stored, have consecutive places in it. A delivery time (`TIMER_DELIVER_MS`) makes a message wait, the mark
    /// of a half message (`TRAN_MSG`) makes it wait for [`Broker::end_transaction`].
    ///
    /// On return each stored message is at least in the operating system's hands and survives the death of the
    /// process; with sync flush it is on the disk.
    ///
    /// A message with an idempotency key (`GANTRY_IDEMPOTENCY_KEY`) that a message of its topic was stored under within the window is not
    /// stored: the receipt is that of the first, see [`SendReceipt::repeat_of`].
    async fn send(&self, queue: QueueId, messages: Vec<Message>) -> Vec<Result<SendReceipt, SendError>>;

    /// Leases messages to one client, waiting for them up to [`Pop::wait`]. The reply is empty when none came.
    ///
    /// The leases are in memory on return and reach the log soon after; the caller reports by
    /// [`Broker::report_delivery`] whether the messages reached the client.
    ///
    /// # Errors
    /// [`PopError`].
    async fn pop(&self, request: Pop) -> Result<Popped, PopError>;

    /// Says whether popped messages were written to the client. Those that were not are free again at once and
    /// the delivery is not counted; those that were are prolonged, if [`Pop::auto_renew`] was asked for, as long as the client
    /// lives. Of messages without it that were all written nothing needs to be said.
    async fn report_delivery(&self, report: DeliveryReport);

    /// Finishes messages, each with a result of its own, in order. An ack that returned survives the process.
    async fn ack(&self, lease: LeaseOwner, handles: Vec<ReceiptHandle>) -> Vec<Result<(), LeaseError>>;

    /// Makes one message visible again after a time from now; zero means at once.
    /// Returns the handle to use from now on; the old one stays good too.
    ///
    /// # Errors
    /// [`LeaseError`].
    async fn change_invisible(
        &self,
        lease: LeaseOwner,
        handle: ReceiptHandle,
        change: ChangeInvisible,
    ) -> Result<ReceiptHandle, LeaseError>;

    /// Moves one message to the group's dead-letter topic. A message that is already there, finished or gone is fine.
    ///
    /// # Errors
    /// [`LeaseError`], never [`LeaseError::Invalid`] for a message that is merely gone.
    async fn dead_letter(&self, lease: LeaseOwner, handle: ReceiptHandle) -> Result<(), LeaseError>;

    /// Commits or rolls back a half message. Repeating the same outcome is fine.
    ///
    /// # Errors
    /// [`TransactionError`].
    async fn end_transaction(&self, request: EndTransaction) -> Result<(), TransactionError>;

    /// Takes back a delayed message that was not delivered yet.
    ///
    /// # Errors
    /// [`RecallError`].
    async fn recall(&self, topic: TopicName, handle: String) -> Result<String, RecallError>;

    /// Reads messages of one queue from `offset` on, leasing nothing, waiting up to `wait` for the first.
    ///
    /// # Errors
    /// [`PullError`].
    async fn pull(&self, request: Pull) -> Result<Pulled, PullError>;

    /// A queue's offset for a position: its first, its end, or the first message stored at or after a time.
    ///
    /// # Errors
    /// [`LookupError`] for a topic that is unknown, [`LookupError::QueueNotFound`].
    async fn queue_offset(&self, topic: &TopicName, queue: QueueId, at: OffsetAt) -> Result<QueueOffset, LookupError>;

    /// The offset that a group has committed on a queue; `None` when it never did.
    ///
    /// # Errors
    /// [`LookupError`].
    async fn committed_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<Option<QueueOffset>, LookupError>;

    /// Commits a group's offset on a queue; smaller than before is allowed. Survives the process on return.
    ///
    /// # Errors
    /// [`LookupError`].
    async fn commit_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<(), LookupError>;

    /// Says that these clients live: their leases are prolonged, see [`Broker::report_delivery`].
    async fn clients_alive(&self, clients: Vec<ClientId>);

    /// Says that a client ended: its leases are free at once.
    async fn client_gone(&self, client: ClientId);

    /// Says to which topics producers that can be asked about half messages send, all of them, again and again: a broker of another
    /// process must know whom to ask. One of this process asks all receivers of its checks.
    async fn producers_alive(&self, _topics: Vec<TopicName>) {}

    /// Half messages whose producers shall be asked, from now on. The broker asks again until it hears an outcome
    /// or parks the message; with several receivers each check goes to one of them.
    /// Brokers of other processes ask only about topics that [`Broker::producers_alive`] named.
    fn transaction_checks(&self) -> tokio::sync::mpsc::Receiver<TransactionCheck>;
}

/// A client, as it names itself (`x-mq-client-id`).
pub type ClientId = Arc<str>;

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendReceipt {
    /// Where it was stored.
    pub queue: QueueId,
    /// Its offset there; for delayed and half messages that of the system topic that keeps them.
    pub queue_offset: QueueOffset,
    /// Its record.
    pub physical_offset: PhysicalOffset,
    /// Names a half message to [`Broker::end_transaction`].
    pub transaction: Option<TransactionPlace>,
    /// Names a delayed message to [`Broker::recall`].
    pub recall_handle: Option<String>,
    /// What is true of it on return.
    pub durability: Durability,
    /// Set when this send has stored nothing, because it repeats one with the same idempotency key: the id of the message that was
    /// stored then, of which all else here speaks.
    pub repeat_of: Option<Box<str>>,
}

/// How far a stored message has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the operating system's hands: survives the process, not the machine.
    Written,
    /// On the disk.
    Flushed,
    /// Written, but the disk did not confirm in time (Apache's `FLUSH_DISK_TIMEOUT`).
    FlushTimedOut,
    /// Written, but the replicas did not confirm in time (Apache's `FLUSH_SLAVE_TIMEOUT`).
    ReplicaTimedOut,
    /// Written, but no replica is there to confirm (Apache's `SLAVE_NOT_AVAILABLE`).
    ReplicaMissing,
}

/// Why a message was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The topic does not exist.
    #[error("topic {topic} does not exist; create it: gantry admin topic create {topic}")]
    TopicNotFound {
        /// Its name.
        topic: TopicName,
    },
    /// The topic may not be written.
    #[error("topic {topic} is not writable")]
    NotWritable {
        /// Its name.
        topic: TopicName,
    },
    /// The topic has no such queue.
    #[error("queue {queue} of topic {topic} does not exist, it has {queues}")]
    QueueNotFound {
        /// The topic.
        topic: TopicName,
        /// The queue asked for.
        queue: QueueId,
        /// How many there are.
        queues: u32,
    },
    /// A body over the limit.
    #[error("body is {bytes} bytes, limit is {bytes_max}")]
    BodyTooLarge {
        /// Its size.
        bytes: usize,
        /// The largest allowed.
        bytes_max: usize,
    },
    /// Properties over the limit, the broker's own included.
    #[error("properties are {bytes} bytes, limit is {bytes_max}")]
    PropertiesTooLarge {
        /// Their size.
        bytes: usize,
        /// The largest allowed.
        bytes_max: usize,
    },
    /// A delivery time too far ahead.
    #[error("delivery time is {delay_ms} ms ahead, limit is {delay_ms_max}")]
    DelayTooLong {
        /// How far ahead it is.
        delay_ms: u64,
        /// The farthest allowed.
        delay_ms_max: u64,
    },
    /// A kind of message, or a mix of kinds, that is not supported.
    #[error("{what} is not supported")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// Its idempotency key cannot be taken.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The broker cannot take it now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a message with an idempotency key was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Another message has it.
    #[error(
        "property {name} is {key:?}, which another message of the topic has: within {window_ms} ms only a message with the same body \
         that is normal, delayed or transactional as the first may repeat it",
        name = names::IDEMPOTENCY_KEY
    )]
    Taken {
        /// The key.
        key: String,
        /// How long a key is known.
        window_ms: u64,
    },
    /// The broker knows as many as it may.
    #[error("property {name}: {keys_max} keys are known, which is the limit; each is known for {window_ms} ms", name = names::IDEMPOTENCY_KEY)]
    TooMany {
        /// The bound.
        keys_max: usize,
        /// How long a key is known.
        window_ms: u64,
    },
    /// The key, or the message's id, is too long.
    #[error("property {name}: {what} is {bytes} bytes, limit is {bytes_max}", name = names::IDEMPOTENCY_KEY)]
    TooLong {
        /// Which of the two.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
}

/// The broker cannot do anything of this kind now; trying again later may help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// More requests than its bound are waiting.
    #[error("the broker is busy: {waiting_max} requests are waiting")]
    Busy {
        /// The bound.
        waiting_max: usize,
    },
    /// The disk has no room for another log segment.
    #[error("the disk is full: {detail}")]
    DiskFull {
        /// What the system said.
        detail: String,
    },
    /// The disk failed; the broker only reads until it is started anew.
    #[error("the store failed: {detail}")]
    StoreFailed {
        /// What the system said.
        detail: String,
    },
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
    /// The broker is a slave: it has what its master has, and changes nothing by itself.
    #[error("this broker is a slave, ask its master")]
    Slave,
    /// The broker was the master by the controllers' word, and has not heard them for too long: another one may be the master.
    #[error(
        "this broker may not be the master any longer: the controllers were not heard for too long, or say that another one is"
    )]
    Fenced,
    /// Fewer brokers are in sync than must be for messages to be taken; nothing was stored.
    #[error("{in_sync} brokers are in sync, and messages are taken from {in_sync_min} on (minInSyncReplicas)")]
    TooFewInSync {
        /// How many, the master counted.
        in_sync: usize,
        /// How many there must be.
        in_sync_min: usize,
    },
    /// The broker did not answer in time.
    #[error("the broker did not answer within {waited_ms} ms")]
    TimedOut {
        /// How long was waited.
        waited_ms: u64,
    },
    /// A broker in another process serves nothing of this kind; asking it again does not help.
    #[error("{who} does not serve requests of this kind, which the proxy needs: brokers of Apache RocketMQ 5 do")]
    NotServed {
        /// Who.
        who: String,
    },
    /// Only one broker in another process may do it, and that cannot be asked now; nothing was done.
    #[error("broker {broker}, which alone knows the message's idempotency key, is not there")]
    OwnerAway {
        /// Its name.
        broker: String,
    },
    /// A broker in another process cannot be asked, or refused for a reason that is its own.
    #[error("{detail}")]
    Remote {
        /// Which, and what it said.
        detail: String,
    },
}

/// Why a topic, group or queue cannot be looked up or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The topic does not exist.
    #[error("topic {topic} does not exist; create it: gantry admin topic create {topic}")]
    TopicNotFound {
        /// Its name.
        topic: TopicName,
    },
    /// The group does not exist.
    #[error("consumer group {group} does not exist; create it: gantry admin group create {group}")]
    GroupNotFound {
        /// Its name.
        group: GroupName,
    },
    /// The topic has no such queue.
    #[error("queue {queue} of topic {topic} does not exist, it has {queues}")]
    QueueNotFound {
        /// The topic.
        topic: TopicName,
        /// The queue asked for.
        queue: QueueId,
        /// How many there are.
        queues: u32,
    },
    /// The broker cannot answer now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What a consumer wants leased.
#[derive(Clone, Debug)]
pub struct Pop {
    /// Who: leases of one group exclude each other.
    pub group: GroupName,
    /// The client within it.
    pub client: ClientId,
    /// From where.
    pub topic: TopicName,
    /// From this queue only; `None` for any.
    pub queue: Option<QueueId>,
    /// At most so many, 1 to [`Pop::MESSAGES_MAX`].
    pub messages_max: u32,
    /// How long they stay invisible to the rest of the group.
    pub invisible: Duration,
    /// Whether the leases shall be prolonged as long as the client lives.
    pub auto_renew: bool,
    /// Which messages; others are skipped for the group.
    pub filter: Arc<Filter>,
    /// How long to wait for the first; zero answers at once.
    pub wait: Duration,
    /// Names the attempt: when the same client asks again with it, it gets the same ordered messages again.
    pub attempt_id: Option<Arc<str>>,
}

impl Pop {
    /// Most messages of one pop. Source: Apache's ack bit map has 32 bits.
    pub const MESSAGES_MAX: u32 = 32;
}

/// Leased messages.
#[derive(Clone, Debug, Default)]
pub struct Popped {
    /// In the order of their queues.
    pub messages: Vec<PoppedMessage>,
}

/// One leased message.
#[derive(Clone, Debug)]
pub struct PoppedMessage {
    /// What to present later.
    pub handle: ReceiptHandle,
    /// The CommitLog record as it was stored (`record` decodes it).
    pub record: Bytes,
    /// Which delivery of it this is, from 1.
    pub attempt: u32,
}

/// Why nothing can be leased.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PopError {
    /// Topic, group or queue does not exist.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The topic may not be read.
    #[error("topic {topic} is not readable")]
    NotReadable {
        /// Its name.
        topic: TopicName,
    },
    /// The group may not consume.
    #[error("consumer group {group} is disabled; enable it: gantry admin group update {group} --enabled true")]
    GroupDisabled {
        /// Its name.
        group: GroupName,
    },
    /// Consumers of the group read the topic in order, one a queue: those of 4.x lock queues for it.
    #[error(
        "consumer group {group} reads topic {topic} in order: a consumer of 4.x holds locks on its queues, so nothing may be popped. \
         Stop it (its locks end a minute after it was heard of last) or pop with another group"
    )]
    QueuesLocked {
        /// The group.
        group: GroupName,
        /// The topic.
        topic: TopicName,
    },
    /// More receives than the bound are waiting.
    #[error("{waiting_max} receives are already waiting")]
    TooManyWaiting {
        /// The bound.
        waiting_max: usize,
    },
    /// The broker cannot answer now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What became of a pop's messages on their way to the client.
#[derive(Clone, Debug)]
pub struct DeliveryReport {
    /// Whose leases.
    pub lease: LeaseOwner,
    /// To which client.
    pub client: ClientId,
    /// Handles of messages that were written to the client's connection.
    pub written: Vec<ReceiptHandle>,
    /// Handles of messages that could not be.
    pub lost: Vec<ReceiptHandle>,
    /// Handles of messages that the group's filter does not want after all: they are finished.
    pub unwanted: Vec<ReceiptHandle>,
}

/// The group and topic that handles belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseOwner {
    /// The group.
    pub group: GroupName,
    /// The topic that was popped from.
    pub topic: TopicName,
}

/// When a leased message is to be visible again. A bare time counts the delivery as an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeInvisible {
    /// That long from now.
    pub invisible: Duration,
    /// Whether the delivery does not count as an attempt once the time is over: the consumer only puts the message off.
    /// Source: `ChangeInvisibleDurationRequest.suspend`; Apache 5.5 `PopReviveService` leaves the reconsume times of such a message alone.
    pub suspend: bool,
}

impl From<Duration> for ChangeInvisible {
    fn from(invisible: Duration) -> Self {
        Self { invisible, suspend: false }
    }
}

/// Why a lease cannot be ended or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The handle is not of the current delivery: expired and delivered again, finished, or of another broker.
    #[error("receipt handle is not valid any more: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The broker cannot do it now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl LeaseError {
    /// The handle was good, and its message is finished: who acks again after a lost answer has what it wants.
    pub const FINISHED: Self = Self::Invalid { reason: "the message is finished" };
}

/// Where a half message is, among all brokers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransactionPlace {
    /// The broker that keeps it; behind a proxy in cluster mode not the name of the trait's implementation.
    pub broker: Arc<str>,
    /// Where it keeps it.
    pub position: TransactionPosition,
}

/// Where a half message is, of one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionPosition {
    /// Its offset in the half topic's queue.
    pub queue_offset: QueueOffset,
    /// Its record.
    pub physical_offset: PhysicalOffset,
}

/// A transaction's outcome as its producer decided it.
#[derive(Clone, Debug)]
pub struct EndTransaction {
    /// The topic the message was sent to; also its producer group (grpc fact 8).
    pub topic: TopicName,
    /// Which half message.
    pub place: TransactionPlace,
    /// Its id, for who reads the broker's log; decides nothing.
    pub message_id: String,
    /// What shall become of it.
    pub resolution: Resolution,
    /// Whether the producer was asked. One that speaks by itself may come too late for a broker that it told when to ask.
    pub is_asked: bool,
}

impl EndTransaction {
    /// What a producer says by itself.
    #[must_use]
    pub fn new(topic: TopicName, place: TransactionPlace, resolution: Resolution) -> Self {
        Self { topic, place, message_id: String::new(), resolution, is_asked: false }
    }
}

/// What shall become of a half message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Deliver it.
    Commit,
    /// Drop it.
    Rollback,
    /// Not known yet: ask again later.
    Unknown,
}

/// Why a transaction cannot be ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// No half message is there, or it is of another topic.
    #[error("no transaction of topic {topic} is at position {}", position.physical_offset)]
    NotFound {
        /// The topic it was to be of.
        topic: TopicName,
        /// The position it was to be at.
        position: TransactionPosition,
    },
    /// Of a broker that is not this one, nor behind it.
    #[error("the transaction is of broker {broker:?}, which is not here")]
    OtherBroker {
        /// Its name.
        broker: Arc<str>,
    },
    /// The time that the message gave its producer to speak by itself is over: it is being asked.
    #[error("the transaction's recovery time is over, its producer is being asked")]
    TooLate,
    /// It has the other outcome already.
    #[error("the transaction was already {}", if *is_committed { "committed" } else { "rolled back" })]
    AlreadyEnded {
        /// Which outcome it has.
        is_committed: bool,
    },
    /// The committed copy could not be stored.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The broker cannot do it now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A half message whose producer shall be asked.
#[derive(Clone, Debug)]
pub struct TransactionCheck {
    /// The topic it was sent to.
    pub topic: TopicName,
    /// Where it is.
    pub place: TransactionPlace,
    /// Its record, as it is stored under the half topic or with the real topic, which is `topic`.
    pub record: Bytes,
    /// How often was asked, this time included; 0 if the broker does not say.
    pub times: u32,
}

/// Why a delayed message cannot be taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecallError {
    /// The handle's text is not one.
    #[error("recall handle is not valid: {reason}")]
    InvalidHandle {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Delivered already, recalled already, or never there.
    #[error("no such message is waiting: it was delivered or recalled, or never was")]
    NotFound,
    /// The broker cannot do it now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What is to be read from a queue.
#[derive(Clone, Debug)]
pub struct Pull {
    /// On whose behalf; decides nothing but the group's permission.
    pub group: GroupName,
    /// The topic.
    pub topic: TopicName,
    /// The queue.
    pub queue: QueueId,
    /// The first offset wanted.
    pub offset: QueueOffset,
    /// At most so many.
    pub messages_max: u32,
    /// Which messages.
    pub filter: Arc<Filter>,
    /// How long to wait for the first.
    pub wait: Duration,
}

/// Messages read from a queue.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Their records.
    pub records: Vec<Bytes>,
    /// Where to go on.
    pub next_offset: QueueOffset,
    /// The queue's first offset.
    pub min_offset: QueueOffset,
    /// The queue's end.
    pub max_offset: QueueOffset,
}

/// Why a queue cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// The offset is before the queue's first or after its end.
    #[error("offset {offset} is outside {min}..={max}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: QueueOffset,
        /// The queue's first.
        min: QueueOffset,
        /// The queue's end.
        max: QueueOffset,
    },
    /// Anything that a pop may fail with as well.
    #[error(transparent)]
    Pop(#[from] PopError),
}

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetAt {
    /// The first message that is still there.
    Beginning,
    /// After the last message.
    End,
    /// The first message stored at or after this time.
    Time(Timestamp),
}
