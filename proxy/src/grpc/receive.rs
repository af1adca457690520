//! `ReceiveMessage`: a long poll whose answer is a stream of one status, the messages and one delivery timestamp.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use grpc::v2;
use grpc::v2::Code;
use grpc::v2::receive_message_response::Content;
use tokio_stream::Stream;
use tonic::Request;
use types::broker::Pop;

use super::{Service, deadline};
use crate::messaging::receive::Delivery;
use crate::server::Connection;
use crate::status::{self, Refusal};
use crate::{clock, convert, validate};

/// Invisible time of the messages that the server itself keeps prolonging. Source: Apache `defaultInvisibleTimeMills`.
const INVISIBLE_AUTO_RENEW: Duration = Duration::from_secs(60);
/// Longest attempt id, in bytes.
const ATTEMPT_ID_BYTES_MAX: usize = 256;

pub(super) async fn call(service: &Service, request: Request<v2::ReceiveMessageRequest>) -> Frames {
    let delay = deadline::refusal_delay(request.metadata());
    let received = match asked_for(service, request) {
        Ok(pop) => service.shared.messaging.receive(pop).await.map_err(Refusal::from),
        Err(refusal) => Err(refusal),
    };
    match received {
        Ok(delivery) => Frames::found(delivery, service.connection.clone()),
        Err(Refusal(status)) => {
            clock::sleep(delay).await;
            Frames::refused(status)
        }
    }
}

/// What a request asks for; the request itself, with its headers, does not stay while it waits.
fn asked_for(service: &Service, request: Request<v2::ReceiveMessageRequest>) -> Result<Pop, Refusal> {
    let session = service.session(request.metadata())?;
    let (headers, _, request) = request.into_parts();
    let limits = &service.shared.options.limits;
    let queue = request.message_queue.as_ref();
    let topic = validate::topic(queue.and_then(|queue| queue.topic.as_ref()))?;
    let group = validate::group(request.group.as_ref())?;
    let invisible = match request.auto_renew {
        true => INVISIBLE_AUTO_RENEW,
        false => limits.receive_invisible(request.invisible_duration.as_ref())?,
    };
    let filter = validate::filter(request.filter_expression.as_ref())?;
    let attempt_id = request.attempt_id.filter(|id| !id.is_empty());
    validate::length("attempt_id", attempt_id.as_deref(), ATTEMPT_ID_BYTES_MAX)?;
    service.check_unread()?;
    let asked = request.long_polling_timeout.as_ref().map(convert::duration);
    Ok(Pop {
        group,
        client: session.id().clone(),
        topic,
        // The queue that the client names is one of the route; any queue of the broker may have a message for it.
        queue: None,
        messages_max: u32::try_from(request.batch_size).unwrap_or(0).clamp(1, Pop::MESSAGES_MAX),
        invisible,
        auto_renew: request.auto_renew,
        filter: Arc::new(filter),
        wait: deadline::polling_time(asked, limits.long_polling_max, &headers),
        attempt_id: attempt_id.map(Into::into),
    })
}

impl Service {
    /// Refuses to pop more for a client that does not read what it has.
    fn check_unread(&self) -> Result<(), Refusal> {
        let unread = self.connection.unread_bytes.load(Ordering::Relaxed);
        let limit = self.shared.options.connections.undelivered_bytes_max;
        if unread < limit {
            return Ok(());
        }
        let message = format!("{unread} bytes of messages wait to be read on this connection, limit is {limit}");
        Err(Refusal(status::of(Code::TooManyRequests, message)))
    }
}

/// The answer, made frame by frame as the client takes it.
#[derive(Debug)]
pub(crate) struct Frames {
    next: Next,
    delivery: Option<Delivery>,
    /// Counts the messages' bytes on the connection as long as this lives.
    _unread: Option<Unread>,
}

#[derive(Debug)]
enum Next {
    Status(v2::Status),
    Message,
    DeliveryTimestamp,
    End,
}

impl Frames {
    fn refused(status: v2::Status) -> Self {
        Self { next: Next::Status(status), delivery: None, _unread: None }
    }

    fn found(delivery: Delivery, connection: Arc<Connection>) -> Self {
        if delivery.remaining() == 0 {
            return Self::refused(status::of(Code::MessageNotFound, "no new message"));
        }
        let unread = Unread::new(connection, delivery.remaining_bytes());
        Self { next: Next::Status(status::ok()), delivery: Some(delivery), _unread: Some(unread) }
    }

    /// The next message that can be shown.
    fn message(&mut self) -> Option<v2::Message> {
        let delivery = self.delivery.as_mut()?;
        while let Some(popped) = delivery.take() {
            let receipt_handle = Some(String::from(&popped.handle));
            let shown = convert::Delivered { topic: delivery.topic(), receipt_handle, attempt: popped.attempt };
            match convert::delivered(&popped.record, shown) {
                Ok(message) => return Some(message),
                Err(error) => {
                    tracing::warn!(handle = %popped.handle, %error, "stored message cannot be read, it is not delivered");
                    delivery.skip_last();
                }
            }
        }
        None
    }

    fn next_content(&mut self) -> Option<Content> {
        loop {
            match std::mem::replace(&mut self.next, Next::End) {
                Next::Status(status) => {
                    self.next = Next::Message;
                    return Some(Content::Status(status));
                }
                Next::Message => match self.message() {
                    Some(message) => {
                        self.next = Next::Message;
                        return Some(Content::Message(message));
                    }
                    None => self.next = Next::DeliveryTimestamp,
                },
                Next::DeliveryTimestamp => {
                    return Some(Content::DeliveryTimestamp(convert::protocol_time(clock::now())));
                }
                Next::End => {
                    if let Some(delivery) = &mut self.delivery {
                        delivery.complete();
                    }
                    return None;
                }
            }
        }
    }
}

impl Stream for Frames {
    type Item = Result<v2::ReceiveMessageResponse, tonic::Status>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let content = self.next_content();
        Poll::Ready(content.map(|content| Ok(v2::ReceiveMessageResponse { content: Some(content) })))
    }
}

/// Bytes of messages on their way to a client.
#[derive(Debug)]
struct Unread {
    connection: Arc<Connection>,
    bytes: usize,
}

impl Unread {
    fn new(connection: Arc<Connection>, bytes: usize) -> Self {
        connection.unread_bytes.fetch_add(bytes, Ordering::Relaxed);
        Self { connection, bytes }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.connection.unread_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
