//! `PullMessage`: reads a queue, leasing nothing. The answer is a stream of one status, the messages, and where to
//! go on.

use bytes::Bytes;
use grpc::v2;
use grpc::v2::Code;
use grpc::v2::pull_message_response::Content;
use tonic::Request;
use types::TopicName;
use types::broker::{Pop, Pull, Pulled};

use super::{Service, deadline, offsets};
use crate::status::{self, Refusal};
use crate::{clock, convert, validate};

/// The answer, made frame by frame as the client takes it.
pub(super) type Frames = tokio_stream::Iter<Box<dyn Iterator<Item = Frame> + Send>>;
type Frame = Result<v2::PullMessageResponse, tonic::Status>;

pub(super) async fn call(service: &Service, request: Request<v2::PullMessageRequest>) -> Frames {
    let delay = deadline::refusal_delay(request.metadata());
    match pull(service, request).await {
        Ok((topic, pulled)) => found(topic, pulled),
        Err(Refusal(status)) => {
            clock::sleep(delay).await;
            frames(std::iter::once(Content::Status(status)))
        }
    }
}

async fn pull(service: &Service, request: Request<v2::PullMessageRequest>) -> Result<(TopicName, Pulled), Refusal> {
    validate::client_id(request.metadata())?;
    let (headers, _, request) = request.into_parts();
    let (topic, queue) = offsets::queue(request.message_queue.as_ref())?;
    let asked = request.long_polling_timeout.as_ref().map(convert::duration);
    let limit = service.shared.options.limits.long_polling_max;
    let pull = Pull {
        group: validate::group(request.group.as_ref())?,
        topic: topic.clone(),
        queue,
        offset: offsets::offset(request.offset)?,
        messages_max: u32::try_from(request.batch_size).unwrap_or(0).clamp(1, Pop::MESSAGES_MAX),
        filter: validate::filter(request.filter_expression.as_ref())?.into(),
        wait: deadline::polling_time(asked, limit, &headers),
    };
    Ok((topic, service.shared.messaging.pull(pull).await?))
}

fn found(topic: TopicName, pulled: Pulled) -> Frames {
    let status = match pulled.records.is_empty() {
        true => status::of(Code::MessageNotFound, "no new message"),
        false => status::ok(),
    };
    let messages = pulled.records.into_iter().filter_map(move |stored| message(&topic, &stored));
    let next_offset = Content::NextOffset(offsets::number(pulled.next_offset));
    let first = std::iter::once(Content::Status(status));
    frames(first.chain(messages.map(Content::Message)).chain(std::iter::once(next_offset)))
}

fn message(topic: &TopicName, stored: &Bytes) -> Option<v2::Message> {
    let shown = convert::Delivered { topic: topic.as_str(), receipt_handle: None, attempt: 1 };
    convert::delivered(stored, shown)
        .inspect_err(|error| tracing::warn!(%topic, %error, "stored message cannot be read, it is not delivered"))
        .ok()
}

fn frames(contents: impl Iterator<Item = Content> + Send + 'static) -> Frames {
    let frames = contents.map(|content| Ok(v2::PullMessageResponse { content: Some(content) }));
    tokio_stream::iter(Box::new(frames) as Box<dyn Iterator<Item = Frame> + Send>)
}
