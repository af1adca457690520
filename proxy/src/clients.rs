//! Commands to connected clients, for operators: what do your threads do, consume this message, connect again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use grpc::v2;
use grpc::v2::telemetry_command::Command;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use types::TopicName;
use types::broker::ClientId;

use crate::convert;
use crate::sessions::{Profile, Sessions};

/// Most commands that wait for their answer.
pub const WAITING_MAX: usize = 1024;
/// How long a client may take to answer. Source: Apache `grpcProxyRelayRequestTimeoutInSeconds`.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The connected clients: cheap to clone.
#[derive(Clone, Debug)]
pub struct Clients {
    sessions: Arc<Sessions>,
    answers: Arc<Answers>,
}

/// Commands that wait for their answer.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    next_nonce: AtomicU64,
    /// Held for the time of a search.
    waiting: Mutex<BTreeMap<u64, (ClientId, oneshot::Sender<Answer>)>>,
}

/// What a client answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// Some clients send none.
    pub(crate) status: Option<v2::Status>,
    pub(crate) text: String,
}

/// A connected client.
#[derive(Clone, Debug)]
pub struct Connected {
    /// Its id.
    pub id: ClientId,
    /// What it said of itself.
    pub profile: Profile,
}

/// What a client made of a message that it was asked to consume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its listener took it.
    Consumed,
    /// Its listener failed.
    Failed,
    /// It found the message corrupted.
    Corrupted,
    /// It consumes in order and so must not.
    FifoUnsupported,
    /// It cannot do this.
    NotSupported,
}

/// Why a client did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It has no open stream to this server, or one that it does not read.
    #[error("client {client:?} cannot be reached: it has no open telemetry stream here, or does not read it")]
    Unreachable {
        /// Its id.
        client: String,
    },
    /// It did not answer; some SDKs never do.
    #[error("client {client:?} did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    TimedOut {
        /// Its id.
        client: String,
    },
    /// Too many wait already.
    #[error("{WAITING_MAX} commands wait for an answer already")]
    TooManyWaiting,
    /// It refused.
    #[error("client answered {code}: {message}")]
    Refused {
        /// The code's name.
        code: &'static str,
        /// Its message.
        message: String,
    },
    /// The message to show it cannot be read.
    #[error("the message cannot be read: {0}")]
    Record(#[from] record::Error),
}

impl Clients {
    pub(crate) fn new(sessions: Arc<Sessions>, answers: Arc<Answers>) -> Self {
        Self { sessions, answers }
    }

    /// All clients, by id.
    #[must_use]
    pub fn connected(&self) -> Vec<Connected> {
        let connected = self.sessions.all();
        connected.iter().map(|session| Connected { id: session.id().clone(), profile: session.profile() }).collect()
    }

    /// What the client's threads do, as text.
    ///
    /// # Errors
    /// [`Error`]; Python and Rust clients never answer.
    pub async fn thread_stack_trace(&self, client: &str) -> Result<String, Error> {
        let command = |nonce| Command::PrintThreadStackTraceCommand(v2::PrintThreadStackTraceCommand { nonce });
        let answer = self.ask(client, command).await?;
        match answer.status.as_ref().map(v2::Status::code) {
            None | Some(v2::Code::Ok) => Ok(answer.text),
            Some(code) => Err(refused(code, answer)),
        }
    }

    /// Has the client consume a stored message once, outside of the queue's order.
    ///
    /// # Errors
    /// [`Error`]; Python and Rust clients never answer.
    pub async fn verify_message(&self, client: &str, topic: &TopicName, stored: &Bytes) -> Result<Verdict, Error> {
        let delivery = convert::Delivered { topic: topic.as_str(), receipt_handle: None, attempt: 1 };
        let message = Some(convert::delivered(stored, delivery)?);
        let command = |nonce| Command::VerifyMessageCommand(v2::VerifyMessageCommand { nonce, message });
        let answer = self.ask(client, command).await?;
        match answer.status.as_ref().map_or(v2::Code::Ok, v2::Status::code) {
            v2::Code::Ok => Ok(Verdict::Consumed),
            v2::Code::FailedToConsumeMessage => Ok(Verdict::Failed),
            v2::Code::MessageCorrupted => Ok(Verdict::Corrupted),
            v2::Code::VerifyFifoMessageUnsupported => Ok(Verdict::FifoUnsupported),
            v2::Code::NotImplemented => Ok(Verdict::NotSupported),
            code => Err(refused(code, answer)),
        }
    }

    /// Tells the client to connect again. There is no answer; of the SDKs Java and Node obey.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub fn reconnect(&self, client: &str) -> Result<(), Error> {
        let nonce = self.answers.next_nonce.fetch_add(1, Ordering::Relaxed).to_string();
        let command = Command::ReconnectEndpointsCommand(v2::ReconnectEndpointsCommand { nonce });
        self.send(client, command)
    }

    async fn ask(&self, client: &str, command: impl FnOnce(String) -> Command) -> Result<Answer, Error> {
        let nonce = self.answers.next_nonce.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.answers.wait(nonce, client, sender)?;
        let waiting = Waiting { answers: &self.answers, nonce };
        self.send(client, command(nonce.to_string()))?;
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, receiver).await;
        drop(waiting);
        answered.ok().and_then(Result::ok).ok_or_else(|| Error::TimedOut { client: client.to_owned() })
    }

    fn send(&self, client: &str, command: Command) -> Result<(), Error> {
        let command = v2::TelemetryCommand { status: Some(crate::status::ok()), command: Some(command) };
        match self.sessions.get(client) {
            Some(session) if session.command(command) => Ok(()),
            _ => Err(Error::Unreachable { client: client.to_owned() }),
        }
    }
}

/// Forgets a command whose caller is gone.
struct Waiting<'a> {
    answers: &'a Answers,
    nonce: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answers.waiting.lock().remove(&self.nonce);
    }
}

impl Answers {
    fn wait(&self, nonce: u64, client: &str, sender: oneshot::Sender<Answer>) -> Result<(), Error> {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= WAITING_MAX {
            return Err(Error::TooManyWaiting);
        }
        waiting.insert(nonce, (client.into(), sender));
        Ok(())
    }

    /// Takes a client's answer; one that nobody waits for, or that is for another client, is dropped.
    pub(crate) fn take(&self, client: &ClientId, nonce: &str, answer: Answer) {
        let Ok(nonce) = nonce.parse() else { return };
        let mut waiting = self.waiting.lock();
        if waiting.get(&nonce).is_none_or(|(asked, _)| asked != client) {
            return;
        }
        if let Some((_, sender)) = waiting.remove(&nonce) {
            // Whoever asked may have given up in this moment.
            let _ = sender.send(answer);
        }
    }
}

fn refused(code: v2::Code, answer: Answer) -> Error {
    Error::Refused { code: code.as_str_name(), message: answer.status.unwrap_or_default().message }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use types::Timestamp;

    use super::*;
    use crate::sessions::{COMMANDS_MAX, Command as Outgoing};

    /// One client with an open stream.
    fn connected() -> (Clients, (mpsc::Sender<Outgoing>, mpsc::Receiver<Outgoing>)) {
        let sessions = Arc::<Sessions>::default();
        let stream = mpsc::channel(COMMANDS_MAX);
        sessions.seen("a", Timestamp(1)).expect("room").open(&stream.0, v2::Settings::default());
        (Clients::new(sessions, Arc::default()), stream)
    }

    #[tokio::test(start_paused = true)]
    async fn pitfall_53_a_client_that_never_answers_times_out_after_5_seconds() {
        let (clients, _never_answered) = connected();
        let began = tokio::time::Instant::now();
        let answer = clients.thread_stack_trace("a").await;
        assert_eq!(answer, Err(Error::TimedOut { client: "a".to_owned() }));
        assert_eq!(began.elapsed(), ANSWER_TIMEOUT);
        assert!(clients.answers.waiting.lock().is_empty(), "nothing waits for it any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_leaves_nothing_behind() {
        let (clients, _never_answered) = connected();
        let asked = clients.thread_stack_trace("a");
        assert!(tokio::time::timeout(Duration::from_secs(1), asked).await.is_err());
        assert!(clients.answers.waiting.lock().is_empty());
    }

    #[test]
    fn waiting_commands_are_bounded() {
        let answers = Answers::default();
        let mut receivers = Vec::new();
        for nonce in 0..WAITING_MAX as u64 {
            let (sender, receiver) = oneshot::channel();
            answers.wait(nonce, "a", sender).expect("room");
            receivers.push(receiver);
        }
        assert_eq!(answers.wait(u64::MAX, "a", oneshot::channel().0), Err(Error::TooManyWaiting));
    }
}
