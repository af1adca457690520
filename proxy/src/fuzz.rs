//! What a client's request goes through before the broker sees it, as `tests/fuzz` feeds it. No part of the interface: only
//! there with the feature `fuzz`.

use std::net::{Ipv4Addr, SocketAddr};

use grpc::v2;
use prost::Message as _;
use types::{Message, Timestamp};

use crate::Limits;
use crate::convert::{self, Sender};

/// Decodes a `SendMessageRequest`.
#[must_use]
pub fn send_request(bytes: &[u8]) -> Option<v2::SendMessageRequest> {
    v2::SendMessageRequest::decode(bytes).ok()
}

/// Validates and converts what was decoded; the messages that would be stored, none when one is refused.
#[must_use]
pub fn send(request: v2::SendMessageRequest) -> Vec<Message> {
    let (limits, now) = (Limits::default(), Timestamp(1_767_225_600_000));
    let sender = Sender { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), now };
    let Ok(topic) = limits.messages(&request.messages) else { return Vec::new() };
    let stored = request.messages.into_iter().map(|mut message| {
        limits.message(&message, now)?;
        convert::stored(&mut message, topic.clone(), sender).map(|stored| stored.message)
    });
    stored.collect::<Result<_, _>>().unwrap_or_default()
}
