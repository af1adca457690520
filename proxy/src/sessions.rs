//! Who is connected: clients by their id, what they said of themselves, and the way to send them commands.
//!
//! A cache and nothing more: every call works for a client that is not in it, and it is rebuilt from heartbeats.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use grpc::v2;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use types::broker::ClientId;
use types::{GroupName, Timestamp, TopicName};

mod agent;
mod producers;
#[cfg(test)]
mod tests;

pub use agent::{Agent, Language};
use producers::Producers;

/// Most clients that are known at once.
pub const SESSIONS_MAX: usize = 50_000;
/// Most clients whose connection is counted on one connection (a load balancer may carry many).
pub const SESSIONS_PER_CONNECTION_MAX: usize = 4096;
/// Commands that may wait for one client; further ones are dropped, and who sent them asks somebody else or again.
pub const COMMANDS_MAX: usize = 64;
/// A client that was not heard of for so long is forgotten. Rust clients' heartbeats are 30 s apart.
pub const EXPIRY: Duration = Duration::from_secs(120);

/// What goes out on a telemetry stream. In a box, because a channel takes room for 32 of them even if it never has any.
pub(crate) type Command = Box<Result<v2::TelemetryCommand, tonic::Status>>;

/// More clients than the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{SESSIONS_MAX} clients are connected already")]
pub struct Full;

/// All known clients.
#[derive(Debug, Default)]
pub struct Sessions {
    by_id: papaya::HashMap<ClientId, Arc<Session>>,
    /// Who may be asked for a transaction's outcome.
    producers: Producers,
}

/// A known client.
#[derive(Debug)]
pub struct Session {
    id: ClientId,
    /// Milliseconds since 1970.
    last_seen: AtomicI64,
    /// Connections on which it was heard of and that are still open.
    connections: AtomicUsize,
    /// Held for the time of a copy, never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    profile: Profile,
    /// The stream's task owns the sender: when that ends, so does the stream.
    commands: Option<mpsc::WeakSender<Command>>,
    /// What its settings were answered with; sent again after its first heartbeat.
    answer_to_repeat: Option<v2::Settings>,
}

/// What a client said of itself.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Its kind, if it said one.
    pub client_type: Option<v2::ClientType>,
    /// Its consumer group.
    pub group: Option<GroupName>,
    /// Where it sends, as far as it said so.
    pub topics: Vec<TopicName>,
    /// Its SDK.
    pub agent: Agent,
    /// Where it was heard from last.
    pub address: Option<SocketAddr>,
}

/// What a look over all clients found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Clients that live and may hold leases.
    pub alive: Vec<ClientId>,
    /// How many were forgotten.
    pub expired: usize,
}

impl Sessions {
    /// The client with this id, which was heard of now.
    ///
    /// # Errors
    /// [`Full`], for a new client.
    pub fn seen(&self, id: &str, now: Timestamp) -> Result<Arc<Session>, Full> {
        let by_id = self.by_id.pin();
        if let Some(session) = by_id.get(id) {
            session.last_seen.store(now.0, Ordering::Relaxed);
            return Ok(session.clone());
        }
        if by_id.len() >= SESSIONS_MAX {
            return Err(Full);
        }
        let id: ClientId = id.into();
        let session = Session {
            id: id.clone(),
            last_seen: AtomicI64::new(now.0),
            connections: AtomicUsize::new(0),
            state: Mutex::default(),
        };
        Ok(by_id.get_or_insert(id, Arc::new(session)).clone())
    }

    /// The client with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.by_id.pin().get(id).cloned()
    }

    /// Forgets a client that said that it goes.
    pub fn remove(&self, id: &str) {
        self.by_id.pin().remove(id);
    }

    /// All clients, by id.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<_> = self.by_id.pin().values().cloned().collect();
        all.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// Notes that a client sends transactional messages to a topic, so that it may be asked for their outcome.
    pub fn note_transaction(&self, session: &Arc<Session>, topic: &TopicName) {
        self.producers.note_transaction(session, topic);
    }

    /// Notes the topics that a producer said it sends to.
    pub fn note_topics(&self, session: &Arc<Session>, topics: &[TopicName]) {
        self.producers.note_topics(session, topics);
    }

    /// The topics whose transactions somebody can be asked about.
    pub(crate) fn asked_topics(&self) -> Vec<TopicName> {
        self.producers.topics()
    }

    /// Sends a command to one producer of the topic: one that sent transactional messages to it if there is one,
    /// each in its turn. Says whether somebody took it.
    pub(crate) fn command_producer(&self, topic: &TopicName, command: &v2::TelemetryCommand) -> bool {
        self.producers.candidates(topic).iter().any(|session| session.command(command.clone()))
    }

    /// Forgets clients that were not heard of for [`EXPIRY`] and have no open stream, and lists those that live: they
    /// were heard of within that time and a connection of theirs is open.
    pub fn sweep(&self, now: Timestamp) -> Swept {
        let mut swept = Swept::default();
        self.by_id.pin().retain(|id, session| {
            let is_recent = now.since(Timestamp(session.last_seen.load(Ordering::Relaxed))) <= EXPIRY;
            if is_recent && session.connections.load(Ordering::Relaxed) > 0 && session.may_hold_leases() {
                swept.alive.push(id.clone());
            }
            let is_kept = is_recent || session.is_reachable();
            swept.expired += usize::from(!is_kept);
            is_kept
        });
        self.producers.forget_the_gone();
        swept.alive.sort_unstable();
        swept
    }
}

impl Session {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.id
    }

    /// What it said of itself.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.state.lock().profile.clone()
    }

    /// Changes what it said of itself.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Profile)) {
        change(&mut self.state.lock().profile);
    }

    /// Makes a stream the one on which it gets commands, and keeps the answer to its settings.
    pub(crate) fn open(&self, commands: &mpsc::Sender<Command>, answer: v2::Settings) {
        let mut state = self.state.lock();
        // The same stream sends settings again and again; only a new one is to hear the answer twice.
        let is_new = !state.stream().is_some_and(|open| open.same_channel(commands));
        state.commands = Some(commands.downgrade());
        if is_new {
            state.answer_to_repeat = Some(answer);
        }
    }

    /// Sends the answer to its settings once more, the first time that it is called for a stream: Node can miss the
    /// first one (pitfall 6).
    pub(crate) fn repeat_answer(&self) {
        let answer = self.state.lock().answer_to_repeat.take();
        if let Some(settings) = answer {
            self.command(v2::TelemetryCommand {
                status: Some(crate::status::ok()),
                command: Some(v2::telemetry_command::Command::Settings(settings)),
            });
        }
    }

    /// Sends a command, if it has a stream with room for it, and says whether.
    pub(crate) fn command(&self, command: v2::TelemetryCommand) -> bool {
        let stream = self.state.lock().stream();
        stream.is_some_and(|commands| commands.try_send(Box::new(Ok(command))).is_ok())
    }

    /// Whether it has an open stream.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.state.lock().stream().is_some()
    }

    fn may_hold_leases(&self) -> bool {
        self.state.lock().profile.client_type != Some(v2::ClientType::Producer)
    }
}

impl State {
    /// The stream on which it gets commands, while both sides have it open.
    fn stream(&self) -> Option<mpsc::Sender<Command>> {
        self.commands.as_ref()?.upgrade().filter(|commands| !commands.is_closed())
    }
}

/// The clients of one connection: while it is open, they have a connection.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// Held for the time of a search.
    sessions: Mutex<std::collections::BTreeMap<ClientId, Weak<Session>>>,
}

impl Attached {
    /// Notes that a client was heard of on this connection.
    pub(crate) fn note(&self, session: &Arc<Session>) {
        let mut sessions = self.sessions.lock();
        if sessions.get(&session.id).is_some_and(|known| known.as_ptr() == Arc::as_ptr(session)) {
            return;
        }
        if sessions.len() >= SESSIONS_PER_CONNECTION_MAX {
            sessions.retain(|_, session| session.strong_count() > 0);
        }
        if sessions.len() < SESSIONS_PER_CONNECTION_MAX {
            session.connections.fetch_add(1, Ordering::Relaxed);
            sessions.insert(session.id.clone(), Arc::downgrade(session));
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        for session in self.sessions.get_mut().values().filter_map(Weak::upgrade) {
            session.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
