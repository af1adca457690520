//! `Telemetry`: one stream a client: its settings and their answer, then commands both ways.

use std::sync::Arc;

use grpc::v2;
use grpc::v2::telemetry_command::Command;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::adapters::Map;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Streaming};

use super::{Service, settings};
use crate::clients::Answer;
use crate::clock;
use crate::sessions::{self, COMMANDS_MAX, Session};
use crate::status::{self, Refusal};

/// What goes out.
pub(super) type Commands = Map<ReceiverStream<sessions::Command>, fn(sessions::Command) -> Outbound>;
type Outbound = Result<v2::TelemetryCommand, tonic::Status>;

pub(super) fn call(service: &Service, request: Request<Streaming<v2::TelemetryCommand>>) -> Commands {
    let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
    let (headers, _, inbound) = request.into_parts();
    let stream = Stream { service: service.clone(), headers, outbound: sender };
    service.shared.tasks.spawn(stream.run(inbound));
    ReceiverStream::new(receiver).map(|command| *command)
}

/// One open stream.
struct Stream {
    service: Service,
    headers: MetadataMap,
    outbound: mpsc::Sender<sessions::Command>,
}

impl Stream {
    /// Serves the stream until either side closes it. Nothing happens to the client then: some streams end every
    /// hour by design (pitfall 22).
    async fn run(self, mut inbound: Streaming<v2::TelemetryCommand>) {
        let draining = self.service.shared.draining.clone();
        loop {
            let command = tokio::select! {
                command = inbound.message() => command,
                () = self.outbound.closed() => return,
                () = draining.cancelled() => return self.say_goodbye(),
            };
            match command {
                Ok(Some(command)) => {
                    // Commands are rare, and a stream that waits for the next should not keep the room that one needs.
                    if let Err(refusal) = Box::pin(self.take(command)).await {
                        return Box::pin(self.refuse(refusal)).await;
                    }
                }
                Ok(None) => return,
                // Clients that just go away are normal.
                Err(status) => return tracing::debug!(%status, "telemetry stream ended"),
            }
        }
    }

    async fn take(&self, command: v2::TelemetryCommand) -> Result<(), Refusal> {
        let session = self.service.session(&self.headers)?;
        let status = command.status;
        let answer = |nonce: &str, text: String| {
            self.service.shared.answers.take(session.id(), nonce, Answer { status: status.clone(), text });
        };
        match command.command {
            Some(Command::Settings(settings)) => return self.take_settings(settings).await,
            Some(Command::ThreadStackTrace(trace)) => {
                answer(&trace.nonce, trace.thread_stack_trace.unwrap_or_default())
            }
            Some(Command::VerifyMessageResult(result)) => answer(&result.nonce, String::new()),
            // Node puts its result here.
            Some(Command::VerifyMessageCommand(result)) => answer(&result.nonce, String::new()),
            // Of no use from a client; some answer commands with an empty one.
            Some(
                Command::RecoverOrphanedTransactionCommand(_)
                | Command::PrintThreadStackTraceCommand(_)
                | Command::ReconnectEndpointsCommand(_)
                | Command::NotifyUnsubscribeLiteCommand(_),
            )
            | None => {}
        }
        Ok(())
    }

    async fn take_settings(&self, settings: v2::Settings) -> Result<(), Refusal> {
        let said = settings::said(&settings)?;
        let session = self.service.described_session(&self.headers)?;
        let agent = session.profile().agent;
        let answer = settings::answer(&self.service, settings, &said, &agent).await?;
        self.remember(&session, said, answer.clone());
        let command = v2::TelemetryCommand { status: Some(status::ok()), command: Some(Command::Settings(answer)) };
        // A closed stream ends the loop at its next turn.
        let _ = self.outbound.send(Box::new(Ok(command))).await;
        Ok(())
    }

    fn remember(&self, session: &Arc<Session>, said: settings::Said, answer: v2::Settings) {
        self.service.shared.sessions.note_topics(session, &said.topics);
        session.update(|profile| {
            profile.client_type = Some(said.client_type);
            profile.group = said.group;
            profile.topics = said.topics;
        });
        session.open(&self.outbound, answer);
    }

    /// Node understands the command, Go only the stream's end (pitfall 7).
    async fn refuse(self, Refusal(status): Refusal) {
        let is_clients_fault = (40_000..50_000).contains(&status.code);
        let end = if is_clients_fault {
            tonic::Status::invalid_argument(&status.message)
        } else {
            tonic::Status::internal(&status.message)
        };
        // SDKs that are refused open the stream again at once.
        clock::sleep(super::deadline::REFUSAL_DELAY).await;
        let command = v2::TelemetryCommand { status: Some(status), command: None };
        if self.outbound.send(Box::new(Ok(command))).await.is_ok() {
            let _ = self.outbound.send(Box::new(Err(end))).await;
        }
    }

    /// The server stops: Java and Node connect elsewhere on this command, others when the connection closes.
    fn say_goodbye(self) {
        let nonce = "0".to_owned();
        let command = Command::ReconnectEndpointsCommand(v2::ReconnectEndpointsCommand { nonce });
        let _ = self
            .outbound
            .try_send(Box::new(Ok(v2::TelemetryCommand { status: Some(status::ok()), command: Some(command) })));
    }
}
