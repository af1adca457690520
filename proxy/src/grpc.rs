//! The messaging service: one file a call, each decodes, validates and maps; what it does is in `messaging`.
//!
//! Results travel in the response's `status`; the gRPC status is OK but for telemetry streams that end in an error.

use std::sync::Arc;

use grpc::v2;
use grpc::v2::messaging_service_server::MessagingService;
use prost::Message as _;
use tonic::{Request, Response, Streaming};

use crate::server::{Connection, Shared};
use crate::sessions::{Agent, Session};
use crate::status::Refusal;
use crate::validate;

mod ack;
mod change_invisible;
mod dead_letter;
mod deadline;
mod end_transaction;
mod endpoints;
mod heartbeat;
mod notify_termination;
mod offsets;
mod pull;
mod query_assignment;
mod query_route;
mod recall;
mod receive;
pub(crate) mod send;
mod settings;
mod sync_lite;
mod telemetry;
mod unary;

pub(crate) use endpoints::Authority;

/// The service as one connection sees it.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Arc<Connection>,
}

impl Service {
    /// The client that a call's headers name, noted as heard of now on this connection.
    fn session(&self, headers: &tonic::metadata::MetadataMap) -> Result<Arc<Session>, Refusal> {
        let id = validate::client_id(headers)?;
        let session = self.shared.sessions.seen(id, crate::clock::now())?;
        self.connection.attached.note(&session);
        Ok(session)
    }

    /// The same, for calls that also tell what the client is.
    fn described_session(&self, headers: &tonic::metadata::MetadataMap) -> Result<Arc<Session>, Refusal> {
        let session = self.session(headers)?;
        session.update(|profile| {
            profile.agent = Agent::of(headers);
            profile.address = Some(self.connection.remote);
        });
        Ok(session)
    }
}

/// A response that can say nothing but a status.
trait Refusable: Default {
    fn refused(status: v2::Status) -> Self;
}

macro_rules! refusable {
    ($($response:ident)*) => {
        $(impl Refusable for v2::$response {
            #[allow(clippy::needless_update, reason = "some responses have nothing else")]
            fn refused(status: v2::Status) -> Self {
                Self { status: Some(status), ..Self::default() }
            }
        })*
    };
}

refusable! {
    QueryRouteResponse HeartbeatResponse SendMessageResponse QueryAssignmentResponse AckMessageResponse
    ForwardMessageToDeadLetterQueueResponse UpdateOffsetResponse GetOffsetResponse QueryOffsetResponse
    EndTransactionResponse NotifyClientTerminationResponse RecallMessageResponse
}

type Answer<T> = Result<Response<T>, tonic::Status>;

fn answer<T: Refusable>(result: Result<T, Refusal>) -> Answer<T> {
    Ok(Response::new(result.unwrap_or_else(|Refusal(status)| T::refused(status))))
}

#[tonic::async_trait]
impl MessagingService for Service {
    async fn query_route(&self, request: Request<v2::QueryRouteRequest>) -> Answer<v2::QueryRouteResponse> {
        answer(query_route::call(self, request).await)
    }

    async fn heartbeat(&self, request: Request<v2::HeartbeatRequest>) -> Answer<v2::HeartbeatResponse> {
        answer(heartbeat::call(self, &request))
    }

    async fn send_message(&self, request: Request<v2::SendMessageRequest>) -> Answer<v2::SendMessageResponse> {
        // Only of callers in this process: what comes over a connection is served by `send::serve`.
        let (headers, _, request) = request.into_parts();
        send::call(self, &headers, request.encode_to_vec().into()).await
    }

    async fn query_assignment(
        &self,
        request: Request<v2::QueryAssignmentRequest>,
    ) -> Answer<v2::QueryAssignmentResponse> {
        answer(query_assignment::call(self, request).await)
    }

    type ReceiveMessageStream = receive::Frames;

    async fn receive_message(&self, request: Request<v2::ReceiveMessageRequest>) -> Answer<receive::Frames> {
        Ok(Response::new(receive::call(self, request).await))
    }

    async fn ack_message(&self, request: Request<v2::AckMessageRequest>) -> Answer<v2::AckMessageResponse> {
        answer(ack::call(self, request).await)
    }

    async fn forward_message_to_dead_letter_queue(
        &self,
        request: Request<v2::ForwardMessageToDeadLetterQueueRequest>,
    ) -> Answer<v2::ForwardMessageToDeadLetterQueueResponse> {
        answer(dead_letter::call(self, request).await)
    }

    type PullMessageStream = pull::Frames;

    async fn pull_message(&self, request: Request<v2::PullMessageRequest>) -> Answer<pull::Frames> {
        Ok(Response::new(pull::call(self, request).await))
    }

    async fn update_offset(&self, request: Request<v2::UpdateOffsetRequest>) -> Answer<v2::UpdateOffsetResponse> {
        answer(offsets::update(self, request).await)
    }

    async fn get_offset(&self, request: Request<v2::GetOffsetRequest>) -> Answer<v2::GetOffsetResponse> {
        answer(offsets::get(self, request).await)
    }

    async fn query_offset(&self, request: Request<v2::QueryOffsetRequest>) -> Answer<v2::QueryOffsetResponse> {
        answer(offsets::query(self, request).await)
    }

    async fn end_transaction(&self, request: Request<v2::EndTransactionRequest>) -> Answer<v2::EndTransactionResponse> {
        answer(end_transaction::call(self, request).await)
    }

    type TelemetryStream = telemetry::Commands;

    async fn telemetry(&self, request: Request<Streaming<v2::TelemetryCommand>>) -> Answer<telemetry::Commands> {
        Ok(Response::new(telemetry::call(self, request)))
    }

    async fn notify_client_termination(
        &self,
        request: Request<v2::NotifyClientTerminationRequest>,
    ) -> Answer<v2::NotifyClientTerminationResponse> {
        answer(notify_termination::call(self, request).await)
    }

    async fn change_invisible_duration(
        &self,
        request: Request<v2::ChangeInvisibleDurationRequest>,
    ) -> Answer<v2::ChangeInvisibleDurationResponse> {
        Ok(Response::new(change_invisible::call(self, request).await))
    }

    async fn recall_message(&self, request: Request<v2::RecallMessageRequest>) -> Answer<v2::RecallMessageResponse> {
        answer(recall::call(self, request).await)
    }

    async fn sync_lite_subscription(
        &self,
        _request: Request<v2::SyncLiteSubscriptionRequest>,
    ) -> Answer<v2::SyncLiteSubscriptionResponse> {
        Ok(Response::new(sync_lite::call()))
    }
}
