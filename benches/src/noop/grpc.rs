//! A tonic server with our service definition, and with the HTTP/2 settings of our server.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use grpc::v2;
use grpc::v2::messaging_service_server::{MessagingService, MessagingServiceServer};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::load::{self, RECEIVE_BATCH, TOPIC, WAITING_GROUP, resource};

/// HTTP/2 windows of our server. Source: `proxy/src/http2.rs`.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Queues of the one topic.
const QUEUES: i32 = 8;

/// Serves until the process is killed.
pub(super) async fn serve(address: SocketAddr) -> Result<()> {
    let service = MessagingServiceServer::new(Noop { received: received().into() });
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(service)
        .serve(address)
        .await?;
    Ok(())
}

struct Noop {
    /// The frames of every receive.
    received: Arc<[v2::ReceiveMessageResponse]>,
}

/// Frames of a stream, made one by one as the socket takes them.
type Frames = Box<dyn Iterator<Item = Result<v2::ReceiveMessageResponse, Status>> + Send>;
type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl MessagingService for Noop {
    type ReceiveMessageStream = tokio_stream::Iter<Frames>;
    type PullMessageStream = tokio_stream::Empty<Result<v2::PullMessageResponse, Status>>;
    type TelemetryStream = Pin<Box<dyn Stream<Item = Result<v2::TelemetryCommand, Status>> + Send>>;

    async fn query_route(&self, _: Request<v2::QueryRouteRequest>) -> Reply<v2::QueryRouteResponse> {
        let message_queues = (0..QUEUES).map(queue).collect();
        Ok(Response::new(v2::QueryRouteResponse { status: Some(ok()), message_queues }))
    }

    async fn query_assignment(&self, _: Request<v2::QueryAssignmentRequest>) -> Reply<v2::QueryAssignmentResponse> {
        let assignments = vec![v2::Assignment { message_queue: Some(queue(-1)) }];
        Ok(Response::new(v2::QueryAssignmentResponse { status: Some(ok()), assignments }))
    }

    async fn send_message(&self, request: Request<v2::SendMessageRequest>) -> Reply<v2::SendMessageResponse> {
        let messages = request.into_inner().messages;
        let entries = messages.into_iter().map(stored).collect();
        Ok(Response::new(v2::SendMessageResponse { status: Some(ok()), entries }))
    }

    async fn receive_message(&self, request: Request<v2::ReceiveMessageRequest>) -> Reply<Self::ReceiveMessageStream> {
        let request = request.into_inner();
        if request.group.is_some_and(|group| group.name == WAITING_GROUP) {
            let wait = request.long_polling_timeout.and_then(|wait| wait.try_into().ok()).unwrap_or_default();
            tokio::time::sleep(wait).await;
            let frames: Frames = Box::new(std::iter::once(Ok(nothing())));
            return Ok(Response::new(tokio_stream::iter(frames)));
        }
        let frames = Arc::clone(&self.received);
        let frames: Frames = Box::new((0..frames.len()).map(move |index| Ok(frames[index].clone())));
        Ok(Response::new(tokio_stream::iter(frames)))
    }

    async fn ack_message(&self, request: Request<v2::AckMessageRequest>) -> Reply<v2::AckMessageResponse> {
        let entries = request.into_inner().entries;
        let entries = entries.into_iter().map(finished).collect();
        Ok(Response::new(v2::AckMessageResponse { status: Some(ok()), entries }))
    }

    async fn heartbeat(&self, _: Request<v2::HeartbeatRequest>) -> Reply<v2::HeartbeatResponse> {
        Ok(Response::new(v2::HeartbeatResponse { status: Some(ok()) }))
    }

    async fn forward_message_to_dead_letter_queue(
        &self,
        _: Request<v2::ForwardMessageToDeadLetterQueueRequest>,
    ) -> Reply<v2::ForwardMessageToDeadLetterQueueResponse> {
        Err(unused())
    }

    async fn pull_message(&self, _: Request<v2::PullMessageRequest>) -> Reply<Self::PullMessageStream> {
        Err(unused())
    }

    async fn update_offset(&self, _: Request<v2::UpdateOffsetRequest>) -> Reply<v2::UpdateOffsetResponse> {
        Err(unused())
    }

    async fn get_offset(&self, _: Request<v2::GetOffsetRequest>) -> Reply<v2::GetOffsetResponse> {
        Err(unused())
    }

    async fn query_offset(&self, _: Request<v2::QueryOffsetRequest>) -> Reply<v2::QueryOffsetResponse> {
        Err(unused())
    }

    async fn end_transaction(&self, _: Request<v2::EndTransactionRequest>) -> Reply<v2::EndTransactionResponse> {
        Err(unused())
    }

    async fn telemetry(&self, request: Request<Streaming<v2::TelemetryCommand>>) -> Reply<Self::TelemetryStream> {
        let told = |command: v2::TelemetryCommand| v2::TelemetryCommand { status: Some(ok()), ..command };
        Ok(Response::new(Box::pin(request.into_inner().map(move |command| command.map(told)))))
    }

    async fn notify_client_termination(
        &self,
        _: Request<v2::NotifyClientTerminationRequest>,
    ) -> Reply<v2::NotifyClientTerminationResponse> {
        Err(unused())
    }

    async fn change_invisible_duration(
        &self,
        _: Request<v2::ChangeInvisibleDurationRequest>,
    ) -> Reply<v2::ChangeInvisibleDurationResponse> {
        Err(unused())
    }

    async fn recall_message(&self, _: Request<v2::RecallMessageRequest>) -> Reply<v2::RecallMessageResponse> {
        Err(unused())
    }

    async fn sync_lite_subscription(
        &self,
        _: Request<v2::SyncLiteSubscriptionRequest>,
    ) -> Reply<v2::SyncLiteSubscriptionResponse> {
        Err(unused())
    }
}

/// What a call answers that no scenario makes.
fn unused() -> Status {
    Status::unimplemented("the no-op server only sends, receives, acknowledges and waits")
}

fn ok() -> v2::Status {
    v2::Status { code: v2::Code::Ok.into(), message: "OK".into() }
}

/// The answer to who has waited for nothing.
fn nothing() -> v2::ReceiveMessageResponse {
    let status = v2::Status { code: v2::Code::MessageNotFound.into(), message: "nothing came".into() };
    v2::ReceiveMessageResponse { content: Some(v2::receive_message_response::Content::Status(status)) }
}

fn stored(message: v2::Message) -> v2::SendResultEntry {
    let message_id = message.system_properties.map(|properties| properties.message_id).unwrap_or_default();
    v2::SendResultEntry { status: Some(ok()), message_id, offset: 1, ..Default::default() }
}

fn finished(entry: v2::AckMessageEntry) -> v2::AckMessageResultEntry {
    v2::AckMessageResultEntry { message_id: entry.message_id, receipt_handle: entry.receipt_handle, status: Some(ok()) }
}

fn queue(id: i32) -> v2::MessageQueue {
    let address = v2::Address { host: "127.0.0.1".into(), port: 8081 };
    let endpoints = v2::Endpoints { scheme: v2::AddressScheme::IPv4.into(), addresses: vec![address] };
    v2::MessageQueue {
        topic: Some(resource(TOPIC)),
        id,
        permission: v2::Permission::ReadWrite.into(),
        broker: Some(v2::Broker { name: "noop".into(), id: 0, endpoints: Some(endpoints) }),
        accept_message_types: vec![v2::MessageType::Normal.into()],
    }
}

/// A receive's frames: status, messages, time.
fn received() -> Vec<v2::ReceiveMessageResponse> {
    use v2::receive_message_response::Content;
    let body = load::body();
    let messages = (0..RECEIVE_BATCH).map(|offset| Content::Message(message(offset, body.clone())));
    let frames = std::iter::once(Content::Status(ok()))
        .chain(messages)
        .chain([Content::DeliveryTimestamp(std::time::SystemTime::now().into())]);
    frames.map(|content| v2::ReceiveMessageResponse { content: Some(content) }).collect()
}

/// A delivered message with the fields that our server fills in.
fn message(offset: i32, body: Bytes) -> v2::Message {
    let now = std::time::SystemTime::now().into();
    let digest =
        v2::Digest { r#type: v2::DigestType::Sha1.into(), checksum: "AAF4C61DDCC5E8A2DABEDE0F3B482CD9AEA9434D".into() };
    let system_properties = v2::SystemProperties {
        message_id: format!("01{offset:032X}"),
        body_digest: Some(digest),
        body_encoding: v2::Encoding::Identity.into(),
        message_type: v2::MessageType::Normal.into(),
        born_timestamp: Some(now),
        born_host: "bench".into(),
        store_timestamp: Some(now),
        store_host: "127.0.0.1:8081".into(),
        receipt_handle: Some(format!("{offset} 1767323045000 60000 3 0 noop 2 {offset} 8589934592")),
        queue_id: 2,
        queue_offset: Some(offset.into()),
        delivery_attempt: Some(1),
        ..Default::default()
    };
    v2::Message { topic: Some(resource(TOPIC)), system_properties: Some(system_properties), body, ..Default::default() }
}
