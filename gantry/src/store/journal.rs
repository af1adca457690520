//! What system topics hold, in words, where that is more than their properties say.

use record::Record;

/// The events of a journal record, a line each; nothing for other records.
pub(super) fn events(record: &Record<'_>) -> Vec<String> {
    if record.topic == broker::journal::JOURNAL_TOPIC {
        broker::journal::lines(record.body).collect()
    } else {
        Vec::new()
    }
}
