//! Check-back: the broker names half messages whose outcome it waits for, and their producers are asked.
//!
//! Nothing is remembered and nothing repeated here: a check that finds no producer, or one that does not answer, is
//! made again by the broker (pitfall 47).

use grpc::v2;
use types::broker::TransactionCheck;
use types::properties::names;

use crate::convert;
use crate::messaging::Messaging;
use crate::messaging::transaction::TransactionId;
use crate::sessions::Sessions;

/// Passes checks on until the broker has no more or the caller drops the future.
pub(crate) async fn run(messaging: Messaging, sessions: std::sync::Arc<Sessions>) {
    let mut checks = messaging.broker().transaction_checks();
    while let Some(check) = checks.recv().await {
        match command(&check) {
            Ok(command) => {
                let is_asked = sessions.command_producer(&check.topic, &command);
                tracing::debug!(topic = %check.topic, times = check.times, is_asked, "transaction check");
            }
            Err(error) => tracing::warn!(topic = %check.topic, %error, "half message cannot be read"),
        }
    }
}

fn command(check: &TransactionCheck) -> Result<v2::TelemetryCommand, record::Error> {
    let delivery = convert::Delivered { topic: check.topic.as_str(), receipt_handle: None, attempt: 1 };
    let mut message = convert::delivered(&check.record, delivery)?;
    let queue = record::decode(&check.record)?.property(names::REAL_QUEUE_ID).and_then(|queue| queue.parse().ok());
    let system = message.system_properties.get_or_insert_default();
    system.queue_id = queue.unwrap_or(system.queue_id);
    // The half topic's own position is not the message's; the mark may be gone from the record.
    system.queue_offset = None;
    system.message_type = v2::MessageType::Transaction.into();
    let transaction_id =
        TransactionId { place: check.place.clone(), message_id: system.message_id.clone() }.to_string();
    let command = v2::RecoverOrphanedTransactionCommand { message: Some(message), transaction_id };
    Ok(v2::TelemetryCommand {
        status: Some(crate::status::ok()),
        command: Some(v2::telemetry_command::Command::RecoverOrphanedTransactionCommand(command)),
    })
}
