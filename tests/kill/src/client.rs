//! A client of the gRPC API, thin on purpose: one connection that comes back by itself, one method a call, and for each the
//! difference between "refused" and "no reply", on which the checker's judgement rests.

mod session;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use grpc::v2;
use grpc::v2::messaging_service_client::MessagingServiceClient;
use grpc::v2::receive_message_response::Content;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};

pub(crate) use session::{QUESTIONS_MAX, Question, Settings, keep};

/// How long a call may take. Longer than any pause of a live server, because a send that only timed out may still be stored.
const CALL_MAX: Duration = Duration::from_secs(20);
/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Pause after a call without reply.
pub(crate) const RECONNECT_PAUSE: Duration = Duration::from_millis(30);

/// Why a call did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The server says no.
    #[error("{code:?}: {message}")]
    Refused {
        /// Its code.
        code: v2::Code,
        /// Its words.
        message: String,
    },
    /// Nobody says anything: done or not done.
    #[error("no reply: {detail}")]
    NoReply {
        /// What is known.
        detail: String,
    },
}

impl Error {
    /// Whether the server answered.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// A client; clones share its connection.
#[derive(Clone)]
pub(crate) struct Client {
    rpc: MessagingServiceClient<Channel>,
    metadata: MetadataMap,
}

/// What a consumer asks for.
pub(crate) struct Receive<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) broker: &'a str,
    pub(crate) messages_max: i32,
    /// `None` to keep messages as long as the client lives.
    pub(crate) invisible: Option<Duration>,
    /// How long the server may wait for the first message.
    pub(crate) wait: Duration,
    pub(crate) attempt_id: String,
}

/// A message to acknowledge or to put back.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) message_id: String,
    pub(crate) receipt_handle: String,
}

impl Client {
    /// A client named `id`; it connects when it has something to say, and again when the connection was lost.
    pub(crate) fn new(address: SocketAddr, id: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address makes an URI");
        let channel = endpoint.tcp_nodelay(true).connect_timeout(CONNECT_MAX).connect_lazy();
        let mut metadata = MetadataMap::new();
        metadata.insert("x-mq-client-id", id.parse().expect("ids are ASCII"));
        for (name, value) in [("x-mq-client-version", "5.2.1"), ("x-mq-language", "RUST"), ("x-mq-protocol", "v2")] {
            metadata.insert(name, AsciiMetadataValue::from_static(value));
        }
        Self { rpc: MessagingServiceClient::new(channel), metadata }
    }

    /// Asks for a topic's route, which makes the topic.
    pub(crate) async fn query_route(&self, topic: &str) -> Result<(), Error> {
        let request = v2::QueryRouteRequest { topic: resource(topic), endpoints: None };
        let response = reply(self.rpc.clone().query_route(self.request(request, CALL_MAX))).await?;
        ok(response.status)
    }

    /// The broker to receive from.
    pub(crate) async fn query_broker(&self, topic: &str, group: &str) -> Result<String, Error> {
        let request = v2::QueryAssignmentRequest { topic: resource(topic), group: resource(group), endpoints: None };
        let response = reply(self.rpc.clone().query_assignment(self.request(request, CALL_MAX))).await?;
        ok(response.status)?;
        let queues = response.assignments.into_iter().filter_map(|assignment| assignment.message_queue);
        let broker = queues.filter_map(|queue| queue.broker).map(|broker| broker.name).next();
        broker.ok_or_else(|| no_reply("an assignment without broker"))
    }

    /// Sends messages together; one result each.
    pub(crate) async fn send(&self, messages: Vec<v2::Message>) -> Vec<Result<v2::SendResultEntry, Error>> {
        let count = messages.len();
        let request = self.request(v2::SendMessageRequest { messages }, CALL_MAX);
        let response = match reply(self.rpc.clone().send_message(request)).await {
            Ok(response) => response,
            Err(error) => return vec![Err(error); count],
        };
        if response.entries.len() != count {
            // A refusal of the whole request has no entries.
            let error = ok(response.status).err().unwrap_or_else(|| no_reply("results are missing"));
            return vec![Err(error); count];
        }
        response.entries.into_iter().map(|mut entry| ok(entry.status.take()).map(|()| entry)).collect()
    }

    /// Receives messages; `each` sees every one as it comes, also of a reply that then breaks off.
    pub(crate) async fn receive(&self, wanted: &Receive<'_>, mut each: impl FnMut(v2::Message)) -> Result<(), Error> {
        let request = self.request(receive_request(wanted), wanted.wait + CALL_MAX);
        let mut frames = reply(self.rpc.clone().receive_message(request)).await?;
        loop {
            let frame = tokio::time::timeout(wanted.wait + CALL_MAX, frames.message()).await;
            match frame.map_err(no_reply)?.map_err(no_reply)?.map(|frame| frame.content) {
                None => return Ok(()),
                Some(Some(Content::Status(status))) if status.code() == v2::Code::MessageNotFound => {}
                Some(Some(Content::Status(status))) => ok(Some(status))?,
                Some(Some(Content::Message(message))) => each(message),
                Some(Some(Content::DeliveryTimestamp(_)) | None) => {}
            }
        }
    }

    /// Acknowledges messages together; one result each.
    pub(crate) async fn ack(&self, group: &str, topic: &str, handles: &[Handle]) -> Vec<Result<(), Error>> {
        let entry = |handle: &Handle| v2::AckMessageEntry {
            message_id: handle.message_id.clone(),
            receipt_handle: handle.receipt_handle.clone(),
            lite_topic: None,
        };
        let entries = handles.iter().map(entry).collect();
        let request = v2::AckMessageRequest { group: resource(group), topic: resource(topic), entries };
        let response = match reply(self.rpc.clone().ack_message(self.request(request, CALL_MAX))).await {
            Ok(response) => response,
            Err(error) => return vec![Err(error); handles.len()],
        };
        if response.entries.len() != handles.len() {
            let error = ok(response.status).err().unwrap_or_else(|| no_reply("results are missing"));
            return vec![Err(error); handles.len()];
        }
        response.entries.into_iter().map(|entry| ok(entry.status)).collect()
    }

    /// Asks for a message again after a time.
    pub(crate) async fn change_invisible(
        &self,
        group: &str,
        topic: &str,
        handle: &Handle,
        invisible: Duration,
    ) -> Result<(), Error> {
        let request = v2::ChangeInvisibleDurationRequest {
            group: resource(group),
            topic: resource(topic),
            receipt_handle: handle.receipt_handle.clone(),
            invisible_duration: Some(duration(invisible)),
            message_id: handle.message_id.clone(),
            ..Default::default()
        };
        let response = reply(self.rpc.clone().change_invisible_duration(self.request(request, CALL_MAX))).await?;
        ok(response.status)
    }

    /// Ends a transaction.
    pub(crate) async fn end_transaction(
        &self,
        topic: &str,
        message_id: &str,
        transaction_id: &str,
        is_commit: bool,
        is_answer: bool,
    ) -> Result<(), Error> {
        use v2::{TransactionResolution, TransactionSource};
        let resolution = if is_commit { TransactionResolution::Commit } else { TransactionResolution::Rollback };
        let source = if is_answer { TransactionSource::SourceServerCheck } else { TransactionSource::SourceClient };
        let request = v2::EndTransactionRequest {
            topic: resource(topic),
            message_id: message_id.to_owned(),
            transaction_id: transaction_id.to_owned(),
            resolution: resolution.into(),
            source: source.into(),
            trace_context: String::new(),
        };
        let response = reply(self.rpc.clone().end_transaction(self.request(request, CALL_MAX))).await?;
        ok(response.status)
    }

    fn request<T>(&self, message: T, timeout: Duration) -> tonic::Request<T> {
        let mut request = tonic::Request::from_parts(self.metadata.clone(), tonic::Extensions::default(), message);
        request.set_timeout(timeout);
        request
    }
}

fn receive_request(wanted: &Receive<'_>) -> v2::ReceiveMessageRequest {
    let queue = v2::MessageQueue {
        topic: resource(wanted.topic),
        id: -1,
        permission: v2::Permission::ReadWrite.into(),
        broker: Some(v2::Broker { name: wanted.broker.to_owned(), id: 0, endpoints: None }),
        accept_message_types: Vec::new(),
    };
    v2::ReceiveMessageRequest {
        group: resource(wanted.group),
        message_queue: Some(queue),
        filter_expression: Some(v2::FilterExpression { r#type: v2::FilterType::Tag.into(), expression: "*".into() }),
        batch_size: wanted.messages_max,
        invisible_duration: wanted.invisible.map(duration),
        auto_renew: wanted.invisible.is_none(),
        long_polling_timeout: Some(duration(wanted.wait)),
        attempt_id: Some(wanted.attempt_id.clone()),
    }
}

/// A name in no namespace.
pub(crate) fn resource(name: &str) -> Option<v2::Resource> {
    Some(v2::Resource { resource_namespace: String::new(), name: name.to_owned() })
}

fn duration(duration: Duration) -> prost_types::Duration {
    duration.try_into().expect("durations of a run are short")
}

async fn reply<T>(call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>) -> Result<T, Error> {
    let answered = tokio::time::timeout(CALL_MAX, call).await.map_err(no_reply)?;
    answered.map(tonic::Response::into_inner).map_err(no_reply)
}

fn no_reply(detail: impl std::fmt::Display) -> Error {
    Error::NoReply { detail: detail.to_string() }
}

fn ok(status: Option<v2::Status>) -> Result<(), Error> {
    let status = status.ok_or_else(|| no_reply("a reply without status"))?;
    match status.code() {
        v2::Code::Ok => Ok(()),
        code => Err(Error::Refused { code, message: status.message }),
    }
}
