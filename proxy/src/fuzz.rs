//! What a client's request goes through before the broker sees it, as `tests/fuzz` feeds it. No part of the interface: only
//! there with the feature `fuzz`.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use types::{Message, Timestamp};

use crate::Limits;
use crate::convert::{self, Sender};

/// Reads, validates and converts a `SendMessageRequest`; the messages that would be stored, none when one is refused or the bytes
/// are no request.
#[must_use]
pub fn send(request: &Bytes) -> Vec<Message> {
    let (limits, now) = (Limits::default(), Timestamp(1_767_225_600_000));
    let sender = Sender { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), now };
    let Ok(sent) = convert::sent(request) else { return Vec::new() };
    let Ok(topic) = limits.messages(&sent) else { return Vec::new() };
    let stored = sent.iter().map(|sent| {
        limits.message(sent, now)?;
        convert::stored(sent, request.slice_ref(sent.body), topic.clone(), sender).map(|stored| stored.message)
    });
    stored.collect::<Result<_, _>>().unwrap_or_default()
}
