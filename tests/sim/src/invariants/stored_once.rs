//! A message that is sent again under its idempotency key is not stored again: its producer is told where the first is. That it is in
//! no queue twice is checked for all messages (`invariants::one_outcome`).

use types::broker::SendReceipt;

use crate::messaging::Sent;
use crate::report::Violation;

const PROMISE: &str = "a repeated send is answered as its first";

/// Checks what a producer was told, before it is noted. `is_again`: it was known before this send that the message is stored.
///
/// # Errors
/// When it is another message than before, or a repeat of a message that was sent without a key.
pub fn check_answer(sent: &Sent, receipt: &SendReceipt, is_again: bool) -> Result<(), Violation> {
    let is_same_place = sent.stored.is_none_or(|stored| stored.physical_offset == receipt.physical_offset);
    let answered_as_first = match receipt.repeat_of.as_deref() {
        // The first send may have stored it, though its producer was told nothing.
        Some(id) => sent.is_keyed && id == sent.message_id(),
        None => !is_again,
    };
    match is_same_place && answered_as_first {
        true => Ok(()),
        false => Err(Violation::new(PROMISE, format!("{sent:?}: {receipt:?}"))),
    }
}
