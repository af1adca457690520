//! One client connection and the requests that a client of RocketMQ makes on it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use grpc::v2;
use grpc::v2::messaging_service_client::MessagingServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::{GROUP, RECEIVE_BATCH, TOPIC, WAITING_GROUP};

/// Deadline of sends and acks. Source: the official clients' request timeout.
const REQUEST_TIMEOUT: &str = "3000m";
/// Deadline of a receive: Apache's proxy refuses one that leaves it less than five seconds.
const RECEIVE_TIMEOUT: &str = "8000m";
/// How long a server with nothing to give may wait for more; Apache's makes it five seconds.
const POLLING: Duration = Duration::from_secs(1);
/// The same of a client that waits in earnest, and its deadline. Source: the longest that Apache's proxy and ours wait, and the official
/// clients' margin.
const WAITING: Duration = Duration::from_secs(20);
const WAIT_TIMEOUT: &str = "23000m";
/// The client's version, as it says it.
const VERSION: &str = "5.2.1";
/// How long received messages stay invisible: longer than a run.
const INVISIBLE: Duration = Duration::from_secs(60);

/// A client on a connection of its own; clones share the connection.
#[derive(Clone)]
pub(crate) struct Caller {
    client: MessagingServiceClient<Channel>,
    metadata: MetadataMap,
    receive_metadata: MetadataMap,
    wait_metadata: MetadataMap,
}

impl Caller {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        Self::connect_as(address, "bench@1@0@gantry").await
    }

    /// The same under a client id.
    pub(crate) async fn connect_as(address: SocketAddr, id: &str) -> Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?;
        Ok(Self {
            client: MessagingServiceClient::new(channel),
            metadata: metadata(id, REQUEST_TIMEOUT)?,
            receive_metadata: metadata(id, RECEIVE_TIMEOUT)?,
            wait_metadata: metadata(id, WAIT_TIMEOUT)?,
        })
    }

    /// Asks for the topic's queues, which makes the topic.
    pub(crate) async fn query_route(&mut self) -> Result<Vec<v2::MessageQueue>> {
        let request = v2::QueryRouteRequest { topic: Some(resource(TOPIC)), endpoints: None };
        let response = self.client.query_route(with(&self.metadata, request)).await?.into_inner();
        ensure_ok(response.status.as_ref())?;
        Ok(response.message_queues)
    }

    /// Asks where the group may receive from.
    pub(crate) async fn query_assignment(&mut self) -> Result<v2::MessageQueue> {
        let (topic, group) = (Some(resource(TOPIC)), Some(resource(GROUP)));
        let request = v2::QueryAssignmentRequest { topic, group, endpoints: None };
        let response = self.client.query_assignment(with(&self.metadata, request)).await?.into_inner();
        ensure_ok(response.status.as_ref())?;
        let assignment = response.assignments.into_iter().next().context("no assignment")?;
        assignment.message_queue.context("assignment without queue")
    }

    /// Says who receives and what, as an official client does at first: Apache's proxy serves no other consumer. It is
    /// known as such for as long as the returned stream lives.
    pub(crate) async fn introduce(&mut self, group: &str) -> Result<Introduced> {
        let (commands, waiting) = mpsc::channel(1);
        let introduced = v2::telemetry_command::Command::Settings(settings(group)?);
        commands.send(v2::TelemetryCommand { command: Some(introduced), ..Default::default() }).await?;
        let mut request = tonic::Request::new(ReceiverStream::new(waiting));
        // Without the others' deadline: the stream stays.
        *request.metadata_mut() = self.metadata.clone();
        request.metadata_mut().remove("grpc-timeout");
        let mut replies = self.client.telemetry(request).await?.into_inner();
        let reply = replies.message().await?.context("telemetry ended without a reply")?;
        ensure_ok(reply.status.as_ref())?;
        Ok(Introduced { _commands: commands, _replies: replies })
    }

    /// Sends messages in one request; all of them are stored on return.
    pub(crate) async fn send(&mut self, messages: Vec<v2::Message>) -> Result<()> {
        let count = messages.len();
        let request = with(&self.metadata, v2::SendMessageRequest { messages });
        let response = self.client.send_message(request).await?.into_inner();
        ensure_ok(response.status.as_ref())?;
        // Apache answers a batch with one entry for all.
        let results = response.entries.len();
        ensure!(results == count || results == 1, "{results} results for {count} messages");
        response.entries.iter().try_for_each(|entry| ensure_ok(entry.status.as_ref()))
    }

    /// Says that it is there.
    pub(crate) async fn heartbeat(&mut self, group: &str) -> Result<()> {
        let client_type = v2::ClientType::SimpleConsumer.into();
        let request = v2::HeartbeatRequest { group: Some(resource(group)), client_type };
        let response = self.client.heartbeat(with(&self.metadata, request)).await?.into_inner();
        ensure_ok(response.status.as_ref())
    }

    /// Receives up to [`RECEIVE_BATCH`] messages; none when none came in time.
    pub(crate) async fn receive(&mut self, queue: v2::MessageQueue) -> Result<Vec<v2::Message>> {
        let metadata = self.receive_metadata.clone();
        self.receive_within(GROUP, queue, POLLING, &metadata).await
    }

    /// Waits for messages as one of [`WAITING_GROUP`], for as long as servers allow.
    pub(crate) async fn wait(&mut self, queue: v2::MessageQueue) -> Result<Vec<v2::Message>> {
        let metadata = self.wait_metadata.clone();
        self.receive_within(WAITING_GROUP, queue, WAITING, &metadata).await
    }

    async fn receive_within(
        &mut self,
        group: &str,
        queue: v2::MessageQueue,
        polling: Duration,
        metadata: &MetadataMap,
    ) -> Result<Vec<v2::Message>> {
        let request = v2::ReceiveMessageRequest {
            group: Some(resource(group)),
            message_queue: Some(queue),
            filter_expression: Some(everything()),
            batch_size: RECEIVE_BATCH,
            invisible_duration: Some(INVISIBLE.try_into()?),
            long_polling_timeout: Some(polling.try_into()?),
            ..Default::default()
        };
        let request = with(metadata, request);
        let mut stream = self.client.receive_message(request).await?.into_inner();
        let mut messages = Vec::with_capacity(RECEIVE_BATCH.unsigned_abs() as usize);
        while let Some(frame) = stream.message().await? {
            match frame.content.context("empty frame")? {
                v2::receive_message_response::Content::Status(status) => ensure_found_or_empty(&status)?,
                v2::receive_message_response::Content::Message(message) => messages.push(message),
                v2::receive_message_response::Content::DeliveryTimestamp(_) => {}
            }
        }
        Ok(messages)
    }

    /// Acknowledges messages in one request.
    pub(crate) async fn ack(&mut self, messages: Vec<v2::Message>) -> Result<()> {
        let count = messages.len();
        let entries = messages.into_iter().map(ack_entry).collect::<Result<_>>()?;
        let (group, topic) = (Some(resource(GROUP)), Some(resource(TOPIC)));
        let request = with(&self.metadata, v2::AckMessageRequest { group, topic, entries });
        let response = self.client.ack_message(request).await?.into_inner();
        ensure_ok(response.status.as_ref())?;
        ensure!(response.entries.len() == count, "{} results for {count} acks", response.entries.len());
        response.entries.iter().try_for_each(|entry| ensure_ok(entry.status.as_ref()))
    }
}

/// The stream of [`Caller::introduce`].
pub(crate) struct Introduced {
    _commands: mpsc::Sender<v2::TelemetryCommand>,
    _replies: tonic::Streaming<v2::TelemetryCommand>,
}

fn settings(group: &str) -> Result<v2::Settings> {
    let everything = v2::SubscriptionEntry { topic: Some(resource(TOPIC)), expression: Some(everything()) };
    let subscription =
        v2::Subscription { group: Some(resource(group)), subscriptions: vec![everything], ..Default::default() };
    let agent = v2::Ua { language: v2::Language::Rust.into(), version: VERSION.into(), ..Default::default() };
    Ok(v2::Settings {
        client_type: Some(v2::ClientType::SimpleConsumer.into()),
        request_timeout: Some(Duration::from_secs(3).try_into()?),
        pub_sub: Some(v2::settings::PubSub::Subscription(subscription)),
        user_agent: Some(agent),
        ..Default::default()
    })
}

fn everything() -> v2::FilterExpression {
    v2::FilterExpression { r#type: v2::FilterType::Tag.into(), expression: "*".into() }
}

fn ack_entry(message: v2::Message) -> Result<v2::AckMessageEntry> {
    let properties = message.system_properties.context("message without system properties")?;
    let receipt_handle = properties.receipt_handle.context("message without receipt handle")?;
    Ok(v2::AckMessageEntry { message_id: properties.message_id, receipt_handle, lite_topic: None })
}

/// A message as a client makes it; `body` is shared, not copied.
pub(super) fn message(message_id: String, body: Bytes) -> v2::Message {
    let system_properties = v2::SystemProperties {
        message_id,
        body_encoding: v2::Encoding::Identity.into(),
        message_type: v2::MessageType::Normal.into(),
        born_timestamp: Some(std::time::SystemTime::now().into()),
        born_host: "bench".into(),
        ..Default::default()
    };
    v2::Message { topic: Some(resource(TOPIC)), system_properties: Some(system_properties), body, ..Default::default() }
}

/// A name in no namespace.
pub(crate) fn resource(name: &str) -> v2::Resource {
    v2::Resource { resource_namespace: String::new(), name: name.to_owned() }
}

/// The headers that an official client sends with every request.
fn metadata(id: &str, timeout: &'static str) -> Result<MetadataMap> {
    let mut metadata = MetadataMap::new();
    let headers: [(&'static str, &str); 6] = [
        ("grpc-timeout", timeout),
        ("x-mq-client-id", id),
        ("x-mq-client-version", VERSION),
        ("x-mq-language", "RUST"),
        ("x-mq-protocol", "v2"),
        ("x-mq-date-time", "20261104T000000Z"),
    ];
    for (name, value) in headers {
        metadata.insert(name, value.parse()?);
    }
    Ok(metadata)
}

fn with<T>(metadata: &MetadataMap, message: T) -> tonic::Request<T> {
    tonic::Request::from_parts(metadata.clone(), tonic::Extensions::default(), message)
}

fn ensure_ok(status: Option<&v2::Status>) -> Result<()> {
    let status = status.context("reply without status")?;
    ensure!(status.code() == v2::Code::Ok, "{:?}: {}", status.code(), status.message);
    Ok(())
}

fn ensure_found_or_empty(status: &v2::Status) -> Result<()> {
    let is_fine = matches!(status.code(), v2::Code::Ok | v2::Code::MessageNotFound);
    ensure!(is_fine, "{:?}: {}", status.code(), status.message);
    Ok(())
}
