//! The telemetry stream of a client: says what it is, again after each restart of the server, sends heartbeats, and hears questions.

use std::time::Duration;

use grpc::v2;
use grpc::v2::telemetry_command::Command;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{CALL_MAX, Client, RECONNECT_PAUSE, reply, resource};

/// Time between heartbeats. Source: the official clients send one every ten seconds.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// Questions that wait for an answer; the server asks again when more were lost.
pub(crate) const QUESTIONS_MAX: usize = 1024;
/// Commands on their way to the server: the settings.
const COMMANDS_MAX: usize = 1;

/// What a client is.
pub(crate) enum Settings {
    /// Sends to this topic.
    Producer {
        /// The topic.
        topic: &'static str,
    },
    /// Receives from this topic.
    Consumer {
        /// For this group.
        group: &'static str,
        /// The topic.
        topic: &'static str,
        /// Push consumer, else simple consumer.
        is_push: bool,
    },
}

/// The server asks for a transaction's outcome.
pub(crate) struct Question {
    /// What the message holds.
    pub(crate) body: Vec<u8>,
    /// Its id.
    pub(crate) message_id: String,
    /// Names it in the answer.
    pub(crate) transaction_id: String,
}

/// Keeps the session of a client up until it is dropped.
pub(crate) async fn keep(client: Client, settings: Settings, questions: mpsc::Sender<Question>) {
    loop {
        // A stream that ends has nothing more to tell: the server was killed, or is not up yet.
        let _ = serve(&client, &settings, &questions).await;
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

async fn serve(client: &Client, settings: &Settings, questions: &mpsc::Sender<Question>) -> Result<(), super::Error> {
    let (commands, outgoing) = mpsc::channel(COMMANDS_MAX);
    let command = v2::TelemetryCommand { status: None, command: Some(Command::Settings(settings.message())) };
    commands.try_send(command).map_err(super::no_reply)?;
    let stream = ReceiverStream::new(outgoing);
    let metadata = client.metadata.clone();
    let request = tonic::Request::from_parts(metadata, tonic::Extensions::default(), stream);
    let mut incoming = reply(client.rpc.clone().telemetry(request)).await?;
    let mut heartbeat = tokio::time::interval(HEARTBEAT_EVERY);
    loop {
        tokio::select! {
            command = incoming.message() => match command.map_err(super::no_reply)? {
                Some(v2::TelemetryCommand { command: Some(Command::RecoverOrphanedTransactionCommand(asked)), .. }) => {
                    // At the bound the question is dropped: the server repeats it.
                    let _ = questions.try_send(Question::of(asked));
                }
                Some(_) => {}
                None => return Ok(()),
            },
            _ = heartbeat.tick() => {
                let request = client.request(settings.heartbeat(), CALL_MAX);
                super::ok(reply(client.rpc.clone().heartbeat(request)).await?.status)?;
            }
        }
    }
}

impl Question {
    fn of(asked: v2::RecoverOrphanedTransactionCommand) -> Self {
        let message = asked.message.unwrap_or_default();
        let message_id = message.system_properties.unwrap_or_default().message_id;
        Self { body: message.body.to_vec(), message_id, transaction_id: asked.transaction_id }
    }
}

impl Settings {
    fn client_type(&self) -> v2::ClientType {
        match self {
            Self::Producer { .. } => v2::ClientType::Producer,
            Self::Consumer { is_push: true, .. } => v2::ClientType::PushConsumer,
            Self::Consumer { is_push: false, .. } => v2::ClientType::SimpleConsumer,
        }
    }

    fn message(&self) -> v2::Settings {
        use v2::settings::PubSub;
        let pub_sub = match self {
            Self::Producer { topic } => PubSub::Publishing(v2::Publishing {
                topics: resource(topic).into_iter().collect(),
                ..Default::default()
            }),
            Self::Consumer { group, topic, .. } => {
                let expression = v2::FilterExpression { r#type: v2::FilterType::Tag.into(), expression: "*".into() };
                let entry = v2::SubscriptionEntry { topic: resource(topic), expression: Some(expression) };
                PubSub::Subscription(v2::Subscription {
                    group: resource(group),
                    subscriptions: vec![entry],
                    ..Default::default()
                })
            }
        };
        v2::Settings {
            client_type: Some(self.client_type().into()),
            pub_sub: Some(pub_sub),
            user_agent: Some(v2::Ua { language: v2::Language::Rust.into(), ..Default::default() }),
            ..Default::default()
        }
    }

    fn heartbeat(&self) -> v2::HeartbeatRequest {
        let group = match self {
            Self::Producer { .. } => None,
            Self::Consumer { group, .. } => resource(group),
        };
        v2::HeartbeatRequest { group, client_type: self.client_type().into() }
    }
}
