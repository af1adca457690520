//! A message that is sent again under its idempotency key is not stored again: its producer is told where the first is. That it is in
//! no queue twice is checked for all messages (`invariants::one_outcome`).

use types::broker::SendReceipt;

use crate::messaging::Sent;
use crate::report::Violation;

const PROMISE: &str = "a repeated send is answered as its first";

/// Checks what a producer was told, before it is noted.
///
/// # Errors
/// When it is another message than before, or a repeat of a message that was sent without a key.
pub fn check_answer(sent: &Sent, receipt: &SendReceipt) -> Result<(), Violation> {
    let is_repeat = receipt.repeat_of.is_some();
    let is_as_it_must_be = match sent.stored {
        Some(stored) => {
            let is_same_place = !sent.kind.is_direct()
                || sent
                    .place
                    .is_none_or(|place| (place.queue, place.queue_offset) == (receipt.queue, receipt.queue_offset));
            is_repeat && stored.physical_offset == receipt.physical_offset && is_same_place
        }
        // The first send may have stored it, though its producer was told nothing.
        None => sent.keyed_at.is_some() || !is_repeat,
    };
    let names_it = receipt.repeat_of.as_deref().is_none_or(|id| id == sent.message_id());
    match is_as_it_must_be && names_it {
        true => Ok(()),
        false => Err(Violation::new(PROMISE, format!("{sent:?}: {receipt:?}"))),
    }
}
