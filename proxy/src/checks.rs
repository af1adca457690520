//! Check-back for producers that have no telemetry stream: they ask whether they are asked.
//!
//! While one asks, it is a producer of the topic like any other, so it is asked in its turn under the same rules. Nothing is kept
//! between its calls: a check that goes to one that is just leaving is made again by the broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use grpc::v2;
use grpc::v2::telemetry_command::Command;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use types::TopicName;

use crate::clock;
use crate::messaging::message::Received;
use crate::sessions::{COMMANDS_MAX, Full, Session, Sessions};

/// Who asks: cheap to clone.
#[derive(Clone, Debug)]
pub struct Checks {
    sessions: Arc<Sessions>,
    next: Arc<AtomicU64>,
    /// Ends long polls.
    draining: CancellationToken,
}

/// A half message whose outcome its producer shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Ends the transaction.
    pub transaction_id: String,
    /// The message.
    pub message: Received,
}

impl Checks {
    pub(crate) fn new(sessions: Arc<Sessions>, draining: CancellationToken) -> Self {
        Self { sessions, next: Arc::default(), draining }
    }

    /// The half messages of a topic whose producer shall be asked now, at most `checks_max` and [`COMMANDS_MAX`] (not 0); waits for the first.
    /// Further ones go to other producers meanwhile, or are asked again.
    ///
    /// # Errors
    /// [`Full`], when too many producers are connected.
    pub async fn wait(&self, topic: &TopicName, wait: Duration, checks_max: usize) -> Result<Vec<Check>, Full> {
        let (commands, mut receiver) = mpsc::channel(checks_max.clamp(1, COMMANDS_MAX));
        let _asking = Asking::begin(self, topic, &commands)?;
        let first = tokio::select! {
            command = receiver.recv() => command,
            () = clock::sleep(wait) => None,
            () = self.draining.cancelled() => None,
        };
        let further = std::iter::from_fn(|| receiver.try_recv().ok());
        Ok(first.into_iter().chain(further).filter_map(|command| check((*command).ok()?)).collect())
    }
}

fn check(command: v2::TelemetryCommand) -> Option<Check> {
    match command.command? {
        Command::RecoverOrphanedTransactionCommand(orphan) => {
            Some(Check { transaction_id: orphan.transaction_id, message: orphan.message?.into() })
        }
        // What operators ask clients with a stream.
        Command::Settings(_)
        | Command::ThreadStackTrace(_)
        | Command::VerifyMessageResult(_)
        | Command::PrintThreadStackTraceCommand(_)
        | Command::VerifyMessageCommand(_)
        | Command::ReconnectEndpointsCommand(_)
        | Command::NotifyUnsubscribeLiteCommand(_) => None,
    }
}

/// A producer as long as it asks.
struct Asking<'a> {
    sessions: &'a Sessions,
    session: Arc<Session>,
}

impl<'a> Asking<'a> {
    fn begin(
        checks: &'a Checks,
        topic: &TopicName,
        commands: &mpsc::Sender<crate::sessions::Command>,
    ) -> Result<Self, Full> {
        let id = format!("http-producer-{}", checks.next.fetch_add(1, Ordering::Relaxed));
        let session = checks.sessions.seen(&id, clock::now())?;
        session.update(|profile| {
            profile.client_type = Some(v2::ClientType::Producer);
            profile.topics = vec![topic.clone()];
        });
        session.open(commands, v2::Settings::default());
        checks.sessions.note_transaction(&session, topic);
        Ok(Self { sessions: &checks.sessions, session })
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.sessions.remove(self.session.id());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orphan(id: &str) -> v2::TelemetryCommand {
        let message = Some(v2::Message::default());
        let orphan = v2::RecoverOrphanedTransactionCommand { message, transaction_id: id.to_owned() };
        v2::TelemetryCommand { status: None, command: Some(Command::RecoverOrphanedTransactionCommand(orphan)) }
    }

    fn topic() -> TopicName {
        TopicName::new("orders").expect("valid")
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_is_asked_and_nobody_else() {
        let sessions = Arc::new(Sessions::default());
        let checks = Checks::new(sessions.clone(), CancellationToken::new());
        assert!(!sessions.command_producer(&topic(), &orphan("1")), "nobody asks yet");
        let asking = tokio::spawn({
            let checks = checks.clone();
            async move { checks.wait(&topic(), Duration::from_secs(20), COMMANDS_MAX).await }
        });
        while sessions.all().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(sessions.command_producer(&topic(), &orphan("2")));
        let found = asking.await.expect("no panic").expect("room");
        assert_eq!(found.iter().map(|check| check.transaction_id.as_str()).collect::<Vec<_>>(), ["2"]);
        assert!(sessions.all().is_empty() && !sessions.command_producer(&topic(), &orphan("3")));
        assert_eq!(checks.wait(&topic(), Duration::from_secs(20), COMMANDS_MAX).await, Ok(Vec::new()), "in vain");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_more_than_it_takes() {
        let sessions = Arc::new(Sessions::default());
        let checks = Checks::new(sessions.clone(), CancellationToken::new());
        let asking = tokio::spawn(async move { checks.wait(&topic(), Duration::from_secs(20), 2).await });
        while sessions.all().is_empty() {
            tokio::task::yield_now().await;
        }
        let is_asked = ["1", "2", "3"].map(|id| sessions.command_producer(&topic(), &orphan(id)));
        assert_eq!(is_asked, [true, true, false]);
        assert_eq!(asking.await.expect("no panic").expect("room").len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_is_forgotten() {
        let sessions = Arc::new(Sessions::default());
        let checks = Checks::new(sessions.clone(), CancellationToken::new());
        let asked =
            tokio::time::timeout(Duration::from_secs(1), checks.wait(&topic(), Duration::from_secs(20), COMMANDS_MAX))
                .await;
        assert!(asked.is_err() && sessions.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait() {
        let draining = CancellationToken::new();
        let checks = Checks::new(Arc::default(), draining.clone());
        draining.cancel();
        assert_eq!(checks.wait(&topic(), Duration::MAX, COMMANDS_MAX).await, Ok(Vec::new()));
    }
}
