//! The body of an answer to a receive, made as the client takes it: what it has not taken when it goes is free again.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use proxy::messaging::message::Received;
use proxy::messaging::receive::Delivery;
use tokio_stream::Stream;

use crate::limits::{Limits, Share};
use crate::views::messaging::ReceivedMessage;

/// Bytes that are gathered before they are handed on.
const CHUNK_BYTES: usize = 64 * 1024;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Answer {
    delivery: Delivery,
    next: Next,
    /// Bytes of bodies that were put in.
    bytes: usize,
    /// Counts the messages' bytes as long as this lives.
    _share: Share,
}

#[derive(Debug)]
enum Next {
    /// The body of one message.
    Raw(Bytes),
    /// The first message of a list.
    First,
    Further,
    End,
}

/// The first message that can be shown.
pub(in crate::messaging) fn one(delivery: &mut Delivery) -> Option<Received> {
    while let Some(popped) = delivery.take() {
        match Received::of(delivery.topic(), &popped) {
            Ok(message) => return Some(message),
            Err(error) => {
                tracing::warn!(handle = %popped.handle, %error, "stored message cannot be read, it is not delivered");
                delivery.skip_last();
            }
        }
    }
    None
}

impl Answer {
    /// All messages, as a JSON document.
    pub(super) fn json(delivery: Delivery, share: Share) -> Self {
        Self { delivery, next: Next::First, bytes: 0, _share: share }
    }

    /// The body of the message that was taken.
    pub(super) fn raw(delivery: Delivery, share: Share, body: Bytes) -> Self {
        Self { delivery, next: Next::Raw(body), bytes: 0, _share: share }
    }

    /// The next bytes; after the last ones all that was taken counts as delivered, and what was left out is free.
    fn chunk(&mut self) -> Option<Bytes> {
        let mut chunk = BytesMut::with_capacity(self.likely_bytes());
        loop {
            match std::mem::replace(&mut self.next, Next::End) {
                Next::Raw(body) => return Some(body),
                Next::First => {
                    chunk.put_slice(br#"{"messages":["#);
                    self.next = Next::Further;
                    self.put_message(&mut chunk, false);
                }
                Next::Further => {
                    self.next = Next::Further;
                    self.put_message(&mut chunk, true);
                }
                Next::End if chunk.is_empty() => {
                    self.delivery.complete();
                    return None;
                }
                Next::End => return Some(chunk.freeze()),
            }
            if chunk.len() >= CHUNK_BYTES {
                return Some(chunk.freeze());
            }
        }
    }

    /// Room for the next chunk, so that it does not grow step by step: bodies in Base64 take four thirds of what they were.
    fn likely_bytes(&self) -> usize {
        match self.next {
            Next::First | Next::Further => CHUNK_BYTES.min(self.delivery.remaining_bytes() * 2),
            Next::Raw(_) | Next::End => 0,
        }
    }

    fn put_message(&mut self, chunk: &mut BytesMut, has_forerunner: bool) {
        let is_full = self.bytes >= Limits::ANSWER_BYTES_MAX;
        let Some(message) = Some(()).filter(|()| !is_full).and_then(|()| one(&mut self.delivery)) else {
            chunk.put_slice(b"]}\n");
            self.next = Next::End;
            return;
        };
        self.bytes += message.body.len();
        if has_forerunner {
            chunk.put_u8(b',');
        }
        ReceivedMessage::write(self.delivery.topic(), message, chunk);
    }
}

impl Stream for Answer {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.chunk().map(Ok))
    }
}
