//! A server of its own for each test, and clients that behave like SDKs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker::LocalBroker;
use env::Env;
use grpc::v2;
use grpc::v2::messaging_service_client::MessagingServiceClient;
use grpc::v2::receive_message_response::Content;
use grpc::v2::telemetry_command::Command;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

/// Longer than anything here takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const TOPIC: &str = "orders";
pub(crate) const GROUP: &str = "workers";

/// A running server over a broker on a directory that goes with it.
pub(crate) struct World {
    pub(crate) broker: LocalBroker,
    pub(crate) server: Running,
    _dir: TempDir,
}

/// A running server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) clients: proxy::clients::Clients,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(proxy::Options::default(), |_| {}).await
    }

    pub(crate) async fn with(options: proxy::Options, change: impl FnOnce(&mut broker::Options)) -> Self {
        let dir = TempDir::new().expect("a directory");
        let mut settings = broker::Options::local(dir.path().to_owned());
        settings.segment_bytes = 16 * 1024 * 1024;
        change(&mut settings);
        let broker = LocalBroker::start(Env::real(), settings).expect("a broker");
        let server = Running::start(&broker, options).await;
        Self { broker, server, _dir: dir }
    }

    pub(crate) async fn client(&self, id: &'static str) -> Client {
        self.server.client(id, "JAVA").await
    }
}

impl Running {
    pub(crate) async fn start(broker: &LocalBroker, options: proxy::Options) -> Self {
        let server = proxy::Server::new(Arc::new(broker.clone()), options).expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (clients, shutdown) = (server.clients(), CancellationToken::new());
        let task = tokio::spawn(server.serve(listener, shutdown.clone()));
        Self { address, clients, shutdown, task }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).expect("an address")
    }

    pub(crate) async fn client(&self, id: &'static str, language: &'static str) -> Client {
        let channel = self.endpoint().connect().await.expect("connected");
        Client { id, language, version: "5.2.0", service: MessagingServiceClient::new(channel) }
    }
}

/// A client of an SDK.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) id: &'static str,
    pub(crate) language: &'static str,
    pub(crate) version: &'static str,
    pub(crate) service: MessagingServiceClient<Channel>,
}

impl Client {
    /// A request with the headers that every SDK sends.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in [
            ("x-mq-client-id", self.id),
            ("x-mq-language", self.language),
            ("x-mq-client-version", self.version),
            ("x-mq-protocol", "v2"),
        ] {
            request.metadata_mut().insert(name, value.parse().expect("a header"));
        }
        request
    }

    pub(crate) async fn send(&self, messages: Vec<v2::Message>) -> v2::SendMessageResponse {
        let request = self.request(v2::SendMessageRequest { messages });
        self.service.clone().send_message(request).await.expect("gRPC OK").into_inner()
    }

    /// Sends messages and returns their entries, all of them stored.
    pub(crate) async fn send_ok(&self, messages: Vec<v2::Message>) -> Vec<v2::SendResultEntry> {
        let sent = self.send(messages).await;
        assert_eq!(code(&sent.status), v2::Code::Ok, "{sent:?}");
        sent.entries
    }

    pub(crate) async fn receive(&self, request: v2::ReceiveMessageRequest) -> Received {
        let request = self.request(request);
        let stream = self.service.clone().receive_message(request).await.expect("gRPC OK").into_inner();
        Received::read(stream).await
    }

    pub(crate) async fn ack(&self, handles: &[&str]) -> v2::AckMessageResponse {
        let entry = |handle: &&str| v2::AckMessageEntry {
            message_id: "id".to_owned(),
            receipt_handle: (*handle).to_owned(),
            lite_topic: None,
        };
        let entries = handles.iter().map(entry).collect();
        let request = v2::AckMessageRequest { group: resource(GROUP), topic: resource(TOPIC), entries };
        self.service.clone().ack_message(self.request(request)).await.expect("gRPC OK").into_inner()
    }

    pub(crate) async fn heartbeat(&self, client_type: v2::ClientType) -> v2::HeartbeatResponse {
        let group = if client_type == v2::ClientType::Producer { None } else { resource(GROUP) };
        let request = self.request(v2::HeartbeatRequest { group, client_type: client_type.into() });
        self.service.clone().heartbeat(request).await.expect("gRPC OK").into_inner()
    }

    pub(crate) async fn telemetry(&self) -> Telemetry {
        let (outbound, receiver) = mpsc::channel(8);
        let request = self.request(ReceiverStream::new(receiver));
        let inbound = self.service.clone().telemetry(request).await.expect("gRPC OK").into_inner();
        Telemetry { outbound, inbound }
    }

    pub(crate) async fn route(&self, endpoints: Option<v2::Endpoints>) -> v2::QueryRouteResponse {
        let request = self.request(v2::QueryRouteRequest { topic: resource(TOPIC), endpoints });
        self.service.clone().query_route(request).await.expect("gRPC OK").into_inner()
    }
}

/// An open telemetry stream.
pub(crate) struct Telemetry {
    pub(crate) outbound: mpsc::Sender<v2::TelemetryCommand>,
    pub(crate) inbound: Streaming<v2::TelemetryCommand>,
}

impl Telemetry {
    pub(crate) async fn say(&self, command: Command) {
        let command = v2::TelemetryCommand { status: None, command: Some(command) };
        self.outbound.send(command).await.expect("open");
    }

    pub(crate) async fn next(&mut self) -> v2::TelemetryCommand {
        let next = tokio::time::timeout(SOON, self.inbound.message()).await.expect("in time");
        next.expect("no error").expect("a command")
    }

    /// Sends settings and returns their answer.
    pub(crate) async fn settings(&mut self, settings: v2::Settings) -> v2::Settings {
        self.say(Command::Settings(settings)).await;
        let answer = self.next().await;
        assert_eq!(code(&answer.status), v2::Code::Ok, "{answer:?}");
        match answer.command {
            Some(Command::Settings(settings)) => settings,
            other => panic!("expected settings, got {other:?}"),
        }
    }
}

/// A whole answer to a receive.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) contents: Vec<Content>,
}

impl Received {
    async fn read(mut stream: Streaming<v2::ReceiveMessageResponse>) -> Self {
        let mut contents = Vec::new();
        while let Some(frame) = stream.message().await.expect("gRPC OK") {
            contents.push(frame.content.expect("pitfall 26: a frame without content panics Rust clients"));
        }
        Self { contents }
    }

    pub(crate) fn code(&self) -> v2::Code {
        match self.contents.first() {
            Some(Content::Status(status)) => status.code(),
            other => panic!("expected a status first, got {other:?}"),
        }
    }

    pub(crate) fn messages(&self) -> Vec<&v2::Message> {
        let mut messages = Vec::new();
        for content in &self.contents {
            match content {
                Content::Message(message) => messages.push(message),
                Content::Status(_) | Content::DeliveryTimestamp(_) => {}
            }
        }
        messages
    }

    pub(crate) fn handles(&self) -> Vec<&str> {
        self.messages().into_iter().map(handle).collect()
    }
}

pub(crate) fn handle(message: &v2::Message) -> &str {
    message.system_properties.as_ref().and_then(|system| system.receipt_handle.as_deref()).expect("a handle")
}

pub(crate) fn message_id(message: &v2::Message) -> &str {
    &message.system_properties.as_ref().expect("set").message_id
}

pub(crate) fn resource(name: &str) -> Option<v2::Resource> {
    Some(v2::Resource { resource_namespace: String::new(), name: name.to_owned() })
}

pub(crate) fn code(status: &Option<v2::Status>) -> v2::Code {
    status.as_ref().expect("every answer has a status").code()
}

/// A message with an id.
pub(crate) fn message(id: &str) -> v2::Message {
    message_with(id, |_| {})
}

pub(crate) fn message_with(id: &str, change: impl FnOnce(&mut v2::SystemProperties)) -> v2::Message {
    let mut system = v2::SystemProperties {
        message_id: id.to_owned(),
        body_encoding: v2::Encoding::Identity.into(),
        message_type: v2::MessageType::Normal.into(),
        born_host: "host".to_owned(),
        ..v2::SystemProperties::default()
    };
    change(&mut system);
    v2::Message {
        topic: resource(TOPIC),
        user_properties: [("colour".to_owned(), "red".to_owned())].into(),
        system_properties: Some(system),
        body: id.to_owned().into(),
    }
}

/// A receive as a simple consumer makes it, waiting for `wait`.
pub(crate) fn receive(batch_size: i32, wait: Duration) -> v2::ReceiveMessageRequest {
    v2::ReceiveMessageRequest {
        group: resource(GROUP),
        message_queue: Some(v2::MessageQueue { topic: resource(TOPIC), ..v2::MessageQueue::default() }),
        filter_expression: None,
        batch_size,
        invisible_duration: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        auto_renew: false,
        long_polling_timeout: Some(prost_types::Duration::try_from(wait).expect("short")),
        attempt_id: None,
    }
}

/// A client of a group that exists from now on and so misses nothing: a new group begins at the end.
pub(crate) async fn consumer(world: &World, id: &'static str) -> Client {
    let client = world.client(id).await;
    let first = client.receive(receive(1, Duration::from_millis(1))).await;
    assert_eq!(first.code(), v2::Code::MessageNotFound);
    client
}

/// Settings of a producer.
pub(crate) fn producer_settings(topics: &[&str]) -> v2::Settings {
    let topics = topics.iter().filter_map(|topic| resource(topic)).collect();
    let publishing = v2::Publishing { topics, ..v2::Publishing::default() };
    v2::Settings {
        client_type: Some(v2::ClientType::Producer.into()),
        pub_sub: Some(v2::settings::PubSub::Publishing(publishing)),
        ..v2::Settings::default()
    }
}

/// Settings of a push consumer.
pub(crate) fn consumer_settings(group: &str) -> v2::Settings {
    let entry = v2::SubscriptionEntry { topic: resource(TOPIC), expression: None };
    let subscription =
        v2::Subscription { group: resource(group), subscriptions: vec![entry], ..v2::Subscription::default() };
    v2::Settings {
        client_type: Some(v2::ClientType::PushConsumer.into()),
        pub_sub: Some(v2::settings::PubSub::Subscription(subscription)),
        ..v2::Settings::default()
    }
}
