//! The broker as its callers see it: a cheap handle that prepares requests in the caller's task, sends them to the engine and
//! awaits the answer.
//!
//! One file an operation below; here the handle itself, its start and stop.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use env::Env;
use env::clock::BoxFuture;
use store::{OpenError, Store};
use tokio::sync::{Mutex, mpsc, oneshot};
use types::broker::{
    ChangeInvisible, ClientId, DeliveryReport, EndTransaction, LeaseError, LeaseOwner, LookupError, OffsetAt, Pop,
    PopError, Popped, Pull, PullError, Pulled, RecallError, SendError, SendReceipt, TransactionCheck, TransactionError,
    Unavailable,
};
use types::topic::QUEUES_MAX;
use types::{
    Broker, GroupConfig, GroupName, Message, PhysicalOffset, QueueId, QueueOffset, ReceiptHandle, TopicConfig,
    TopicName,
};

use crate::command::Command;
use crate::counters::Status;
use crate::directory::Directory;
use crate::engine::{Engine, Fetches, fetch_loop};
use crate::machines::Machines;
use crate::options::{COMMANDS_MAX, Options, Role};
use crate::prepare::Limits;
use crate::replication::mark::Mark;
use crate::shared::Shared;
use crate::timer::spill::Loader;

pub(crate) use self::receive::PopWay;

mod admin;
mod again;
mod front;
mod lease;
mod pull;
mod query;
mod read;
mod receive;
mod replica;
mod send;
mod shared;
mod transaction;

/// A broker in this process. Clones are handles to the same broker; when the last one is dropped without
/// [`LocalBroker::stop`], it ends as if it had been killed.
#[derive(Clone)]
pub struct LocalBroker {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    role: Role,
    /// Whether its log is a master's, and nothing else was ever added.
    is_only_a_replica: bool,
    /// Bounded by [`COMMANDS_MAX`]; never awaited where a caller can be told that the broker is busy.
    commands: mpsc::Sender<Command>,
    /// Complete when the threads have ended; empty once someone has waited for them.
    threads: Mutex<Vec<BoxFuture<()>>>,
    /// Held while a copy that an operator asks for is looked for and stored.
    copying: Mutex<()>,
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Receipt handles separate their fields by blanks.
    #[error("broker name {name:?} is empty or holds a blank")]
    Name {
        /// The name.
        name: String,
    },
    /// A newer program wrote it, and what that has led to is not known. Nothing was appended.
    #[error("the journal record at {at} has an event that this version does not know: use the newer version")]
    NewerEvent {
        /// The record's position.
        at: PhysicalOffset,
    },
    /// It was to become a slave's, and not all has come.
    #[error("{dir} has a part of a master's log: let it be made whole as a slave of that master's, or choose another directory", dir = dir.display())]
    Part {
        /// The directory.
        dir: PathBuf,
    },
    /// Topics have at least one queue and at most 1024.
    #[error("{queues} default queues, allowed are 1 to {QUEUES_MAX}")]
    DefaultQueues {
        /// The number.
        queues: u32,
    },
}

impl LocalBroker {
    /// Opens the store, brings the machines to its end and starts the threads. Blocks while it reads.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(env: Env, options: Options) -> Result<Self, StartError> {
        if options.name.is_empty() || options.name.contains(char::is_whitespace) {
            return Err(StartError::Name { name: options.name });
        }
        if !(1..=QUEUES_MAX).contains(&options.default_queues) {
            return Err(StartError::DefaultQueues { queues: options.default_queues });
        }
        let mark = Mark::begin(options.role, &*env.disk, &options.dir).map_err(OpenError::Io)?;
        if mark == Some(Mark::Part) {
            return Err(StartError::Part { dir: options.dir });
        }
        let mut machines = Machines::bounded(options.transaction, options.timers);
        let store = Store::open(&env, &options.store(), &mut machines)?;
        if let Some(at) = machines.newer_event_at {
            return Err(StartError::NewerEvent { at });
        }
        let (limits, role, copies) = (Limits::of(&options), options.role, options.copies);
        let directory = Directory::new(&machines.catalog);
        let (reader, marks) = (store.reader(), store.marks().clone());
        if copies.are_several() {
            marks.await_replicas();
        }
        let shared = Shared::new(options.name.as_str().into(), limits, copies, &env, directory, reader.clone(), marks);
        let shared = Arc::new(shared);
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (fetches, jobs, report) = Fetches::new();
        let loader = Loader::new(Arc::clone(&env.disk), &options.dir, store.scanner());
        let (engine, reads) =
            Engine::new(env.clone(), options, Arc::clone(&shared), store, machines, received, fetches);
        let mut threads = vec![
            env.tasks.spawn_thread("gantry-engine", Box::pin(engine.run())),
            env.tasks.spawn_thread("gantry-fetch", Box::pin(fetch_loop(reader, jobs, report))),
        ];
        threads.extend(reads.spawn(&env, &loader));
        let copying = Mutex::default();
        let is_only_a_replica = mark == Some(Mark::Whole);
        Ok(Self {
            inner: Arc::new(Inner { shared, role, is_only_a_replica, commands, threads: Mutex::new(threads), copying }),
        })
    }

    /// Stops: what is queued is finished, receivers that wait are answered with nothing, everything is brought to
    /// the disk with a checkpoint. Later calls, on any handle, are answered [`Unavailable::Stopping`].
    pub async fn stop(&self) {
        // An engine that is gone already has closed the channel.
        drop(self.inner.commands.send(Command::Stop).await);
        let mut threads = self.inner.threads.lock().await;
        for thread in threads.drain(..) {
            thread.await;
        }
    }

    /// The broker's state in numbers.
    #[must_use]
    pub fn status(&self) -> Status {
        let commands = &self.inner.commands;
        self.inner.shared.status(commands.max_capacity() - commands.capacity())
    }

    /// Hands a command to the engine, which may be busy or gone.
    fn submit(&self, command: Command) -> Result<(), Unavailable> {
        self.inner.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.inner.shared.counters.busy.add(1);
                Unavailable::Busy { waiting_max: COMMANDS_MAX }
            }
            mpsc::error::TrySendError::Closed(_) => Unavailable::Stopping,
        })
    }

    /// Asks the engine and awaits its answer. An engine that goes without an answer is stopping.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.submit(command(reply))?;
        answer.await.map_err(|_| Unavailable::Stopping)
    }

    /// A topic that is about to be used; made, if it may be.
    async fn find_topic(&self, name: &TopicName) -> Result<Arc<TopicConfig>, LookupError> {
        if let Some(topic) = self.inner.shared.directory.use_topic(name) {
            return Ok(topic);
        }
        let topic = name.clone();
        self.ask(|reply| Command::FirstUse { topic, reply }).await?
    }

    /// A group that is about to be used; made, if it may be.
    async fn find_group(&self, name: &GroupName) -> Result<Arc<GroupConfig>, LookupError> {
        if let Some(group) = self.inner.shared.directory.use_group(name) {
            return Ok(group);
        }
        let group = name.clone();
        self.ask(|reply| Command::GroupFirstUse { group, reply }).await?
    }
}

#[async_trait]
impl Broker for LocalBroker {
    fn name(&self) -> &str {
        &self.inner.shared.name
    }

    async fn topic(&self, name: &TopicName) -> Result<Arc<TopicConfig>, LookupError> {
        self.find_topic(name).await
    }

    async fn group(&self, name: &GroupName) -> Result<Arc<GroupConfig>, LookupError> {
        self.find_group(name).await
    }

    async fn shared_topic(&self, name: &TopicName, make: bool) -> Result<Arc<TopicConfig>, LookupError> {
        self.find_shared(name, make).await
    }

    async fn send(&self, queue: QueueId, messages: Vec<Message>) -> Vec<Result<SendReceipt, SendError>> {
        self.send_messages(queue, messages).await
    }

    async fn pop(&self, request: Pop) -> Result<Popped, PopError> {
        self.pop_messages(request, PopWay::default()).await
    }

    async fn report_delivery(&self, report: DeliveryReport) {
        // Nobody could act on an error: leases of an engine that is gone end by time.
        drop(self.inner.commands.send(Command::Report(report)).await);
    }

    async fn ack(&self, lease: LeaseOwner, handles: Vec<ReceiptHandle>) -> Vec<Result<(), LeaseError>> {
        self.ack_messages(lease, handles).await
    }

    async fn change_invisible(
        &self,
        lease: LeaseOwner,
        handle: ReceiptHandle,
        change: ChangeInvisible,
    ) -> Result<ReceiptHandle, LeaseError> {
        self.change_lease(lease, handle, change).await
    }

    async fn dead_letter(&self, lease: LeaseOwner, handle: ReceiptHandle) -> Result<(), LeaseError> {
        self.forward(lease, handle).await
    }

    async fn end_transaction(&self, request: EndTransaction) -> Result<(), TransactionError> {
        self.end(request).await
    }

    async fn recall(&self, topic: TopicName, handle: String) -> Result<String, RecallError> {
        self.recall_message(&topic, &handle).await
    }

    async fn pull(&self, request: Pull) -> Result<Pulled, PullError> {
        self.pull_within(request, u64::MAX).await
    }

    async fn queue_offset(&self, topic: &TopicName, queue: QueueId, at: OffsetAt) -> Result<QueueOffset, LookupError> {
        self.find_offset(topic, queue, at).await
    }

    async fn committed_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<Option<QueueOffset>, LookupError> {
        self.find_committed(group, topic, queue).await
    }

    async fn commit_offset(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<(), LookupError> {
        self.commit(group, topic, queue, offset).await
    }

    async fn clients_alive(&self, clients: Vec<ClientId>) {
        drop(self.inner.commands.send(Command::ClientsAlive(clients)).await);
    }

    async fn client_gone(&self, client: ClientId) {
        drop(self.inner.commands.send(Command::ClientGone(client)).await);
    }

    fn transaction_checks(&self) -> mpsc::Receiver<TransactionCheck> {
        self.inner.shared.add_checker()
    }
}
