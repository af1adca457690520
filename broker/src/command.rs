//! What callers ask of the engine, each with the channel that its answer goes back on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::clock::Moment;
use smallvec::SmallVec;
use store::{Appended, KeySearch, QueueEntry, ReadError};
use tokio::sync::{mpsc, oneshot};
use types::admin::{AdminError, Blocked, GroupDescription, TopicDescription};
use types::broker::{
    ChangeInvisible, ClientId, DeliveryReport, Durability, LeaseError, LeaseOwner, LookupError, PopError, PullError,
    RecallError, Resolution, SendError, TransactionError, TransactionPosition, Unavailable,
};
use types::{
    Filter, GroupConfig, GroupName, PhysicalOffset, QueueId, QueueOffset, ReceiptHandle, Timestamp, TopicConfig,
    TopicName,
};

use crate::copy::Copy;
use crate::engine::{LogEnd, ReplicateError};
use crate::idempotency::First;
use crate::offset::Committed;
use crate::pop::{Leased, PopQueues, Unfinished};
use crate::prepare::Prepared;
use crate::resets;
use crate::takeover::Told;
use crate::timer::Due;
use crate::transaction::HalfMessage;

/// Where an answer goes. Dropped by the engine without an answer only when it stops.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// What became of a [`Prepared`].
#[derive(Debug)]
pub(crate) enum Placed {
    /// All its records were placed.
    Stored(Appended),
    /// Its one message repeats another one and was not stored.
    Repeat(Box<First>),
    /// None of its records was placed.
    Refused { count: usize, why: SendError },
}

/// A request to the engine.
#[derive(Debug)]
pub(crate) enum Command {
    Send { records: SmallVec<[Prepared; 1]>, topic: TopicName, reply: Reply<(SmallVec<[Placed; 1]>, Durability)> },
    Pop(Box<PopCommand>),
    Report(DeliveryReport),
    Ack { lease: LeaseOwner, handles: Vec<ReceiptHandle>, reply: Reply<Vec<Result<(), LeaseError>>> },
    Change(Box<ChangeCommand>),
    DeadLetter { lease: LeaseOwner, handle: ReceiptHandle, reply: Reply<Result<(), LeaseError>> },
    GiveUp(GiveUpCommand),
    EndTransaction(EndCommand),
    HalfPlace { first: PhysicalOffset, reply: Reply<Option<PhysicalOffset>> },
    EscapeTo(Option<mpsc::Sender<Escape>>),
    ReleaseTimers(Vec<TimerKey>),
    FinishTimers { timers: Vec<TimerKey>, reply: Reply<Result<usize, Unavailable>> },
    EndedTimers { timers: Vec<TimerKey>, reply: Reply<BTreeSet<TimerKey>> },
    ResumeOutcomes,
    Recall { due: Timestamp, identity: u64, reply: Reply<Result<(), RecallError>> },
    Pull(Box<PullCommand>),
    LockQueues(LockCommand),
    LockedQueues { reply: Reply<Vec<(resets::Queue, String)>> },
    UnlockQueues { group: GroupName, queues: Vec<(TopicName, QueueId)>, client: String },
    Waiting { lease: LeaseOwner, queue: Option<QueueId>, reply: Reply<usize> },
    Beginning { topic: TopicName, queue: QueueId, reply: Reply<Option<QueueOffset>> },
    Range { topic: TopicName, queue: QueueId, reply: Reply<(QueueOffset, QueueOffset)> },
    SearchKeys { hash: u64, reply: Reply<KeySearch> },
    Entry { topic: TopicName, queue: QueueId, offset: QueueOffset, reply: Reply<Option<QueueEntry>> },
    CommittedOffset { lease: LeaseOwner, queue: QueueId, reply: Reply<Option<QueueOffset>> },
    CommitOffset { commit: Committed, reply: Reply<Result<(), LookupError>> },
    ResetOffset { to: Committed, reply: Reply<Result<(), LookupError>> },
    ClientsAlive(Vec<ClientId>),
    ClientGone(ClientId),
    ExpireNow,
    FirstUse { topic: TopicName, reply: Reply<Result<Arc<TopicConfig>, LookupError>> },
    GroupFirstUse { group: GroupName, reply: Reply<Result<Arc<GroupConfig>, LookupError>> },
    StoreCopy(CopyCommand),
    Admin(AdminCommand),
    Told { reply: Reply<Result<Told, Unavailable>> },
    Replicate { records: Bytes, reply: Reply<Result<LogEnd, ReplicateError>> },
    Stop,
}

/// When a delayed message is due, and where its record is.
pub(crate) type TimerKey = (Timestamp, PhysicalOffset);

/// A delayed message that is due at a slave which stands in for its master: to be sent to another broker.
#[derive(Debug)]
pub(crate) struct Escape {
    pub(crate) key: TimerKey,
    pub(crate) copy: Copy,
    /// When its record was stored.
    pub(crate) stored_at: Timestamp,
}

/// A pop whose topic and group were looked up.
#[derive(Debug)]
pub(crate) struct PopCommand {
    pub(crate) owner: LeaseOwner,
    pub(crate) queues: PopQueues,
    pub(crate) messages_max: u32,
    pub(crate) invisible: Duration,
    pub(crate) client: ClientId,
    pub(crate) auto_renew: bool,
    pub(crate) filter: Arc<Filter>,
    pub(crate) attempt_id: Option<Arc<str>>,
    pub(crate) is_fifo: bool,
    pub(crate) begins_at_first: bool,
    /// Until when it waits.
    pub(crate) until: Moment,
    pub(crate) reply: PopReply,
}

/// What a receiver wants of the messages that are there.
#[derive(Debug)]
pub(crate) enum PopReply {
    /// To lease them.
    Leases(Reply<Result<Vec<Leased>, PopError>>),
    /// To know whether there are any.
    Look(Reply<Result<bool, PopError>>),
}

impl PopReply {
    /// Whether nobody waits any longer.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Leases(reply) => reply.is_closed(),
            Self::Look(reply) => reply.is_closed(),
        }
    }

    /// Says that nothing came, or why nothing can.
    pub(crate) fn end(self, error: Option<PopError>) {
        match self {
            Self::Leases(reply) => drop(reply.send(error.map_or_else(|| Ok(Vec::new()), Err))),
            Self::Look(reply) => drop(reply.send(error.map_or(Ok(false), Err))),
        }
    }
}

#[derive(Debug)]
pub(crate) struct ChangeCommand {
    pub(crate) lease: LeaseOwner,
    pub(crate) handle: ReceiptHandle,
    pub(crate) change: ChangeInvisible,
    pub(crate) reply: Reply<Result<ReceiptHandle, LeaseError>>,
}

/// A request to give up a message that is named by its place in its queue.
#[derive(Debug)]
pub(crate) struct GiveUpCommand {
    pub(crate) owner: LeaseOwner,
    pub(crate) queue: QueueId,
    pub(crate) offset: QueueOffset,
    /// Whether the group's pops decide about it; if not, `moved` hears nothing.
    pub(crate) is_popped: Reply<bool>,
    /// It is in the dead-letter topic, or finished otherwise.
    pub(crate) moved: Reply<Result<(), LeaseError>>,
}

/// A request to lock queues for one client of a group.
#[derive(Debug)]
pub(crate) struct LockCommand {
    pub(crate) group: GroupName,
    pub(crate) queues: Vec<(TopicName, QueueId)>,
    pub(crate) client: String,
    /// What became of each queue, in their order.
    pub(crate) reply: Reply<Vec<Locked>>,
}

/// What became of a request to lock a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locked {
    /// The client has it.
    Taken,
    /// Another one has it, or there is no room for more locks.
    Refused,
    /// Pops of the group have messages of the topic.
    Popped,
}

/// A copy that an operator asked for, to be stored whatever becomes of its caller.
#[derive(Debug)]
pub(crate) struct CopyCommand {
    pub(crate) copy: Box<Copy>,
    /// Whose retry queue it goes to, if it is a popping group's.
    pub(crate) retry: Option<LeaseOwner>,
    /// Told where in its queue the copy is.
    pub(crate) reply: Reply<Result<QueueOffset, SendError>>,
}

/// A request to end a transaction.
#[derive(Debug)]
pub(crate) struct EndCommand {
    pub(crate) topic: TopicName,
    pub(crate) position: TransactionPosition,
    pub(crate) resolution: Resolution,
    pub(crate) reply: Reply<Result<(), TransactionError>>,
}

/// A pull whose topic and group were looked up.
#[derive(Debug)]
pub(crate) struct PullCommand {
    pub(crate) topic: TopicName,
    pub(crate) queue: QueueId,
    pub(crate) offset: QueueOffset,
    pub(crate) messages_max: u32,
    /// Until when it waits.
    pub(crate) until: Moment,
    pub(crate) reply: Reply<Result<PulledEntries, PullError>>,
}

/// What a pull found in the queue index.
#[derive(Debug)]
pub(crate) struct PulledEntries {
    pub(crate) entries: Vec<QueueEntry>,
    pub(crate) min: QueueOffset,
    pub(crate) end: QueueOffset,
}

/// What holds messages back, with its place if that is still there.
pub(crate) type BlockedBy = (Blocked, Option<QueueEntry>);

/// What operators ask.
#[derive(Debug)]
pub(crate) enum AdminCommand {
    PutTopic { config: TopicConfig, is_update: bool, reply: Reply<Result<(), AdminError>> },
    DeleteTopic { name: TopicName, reply: Reply<Result<(), AdminError>> },
    Topics { reply: Reply<Vec<TopicConfig>> },
    DescribeTopic { name: TopicName, reply: Reply<Result<TopicDescription, AdminError>> },
    PutGroup { config: GroupConfig, is_update: bool, reply: Reply<Result<(), AdminError>> },
    DeleteGroup { name: GroupName, reply: Reply<Result<(), AdminError>> },
    Groups { reply: Reply<Vec<GroupConfig>> },
    DescribeGroup { name: GroupName, reply: Reply<Result<GroupDescription, AdminError>> },
    Pops { owner: LeaseOwner, reply: Reply<Result<bool, LookupError>> },
    Blocked { name: GroupName, reply: Reply<Result<Vec<BlockedBy>, AdminError>> },
}

/// An outcome whose source record is needed.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A delayed message is delivered.
    Deliver(Due),
    /// A half message is committed.
    Commit { half: HalfMessage, command: EndCommand },
    /// A half message is put aside.
    Park(HalfMessage),
    /// A half message's producer is asked; no outcome, but its record is needed all the same.
    Check(HalfMessage),
    /// A message is given up; somebody may wait for it.
    DeadLetter { message: Unfinished, reply: Option<Reply<Result<(), LeaseError>>> },
    /// A message is moved to its group's retry topic.
    Retry(Unfinished),
    /// A delayed message is appended again.
    CarryTimer(Due),
    /// A half message is appended again.
    CarryHalf(HalfMessage),
}

/// A source record that was read from the disk.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) outcome: Outcome,
    pub(crate) record: Result<Bytes, ReadError>,
}
