//! The answer of a pop, taken apart: records and the handles that end their leases. No I/O.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use record::{Peek, Record};
use remoting_proto::extra_info::{self, OrderCount, StartOffset};
use remoting_proto::requests::PopMessageAnswer;
use types::broker::PoppedMessage;
use types::receipt_handle::HandleSource;
use types::{QueueId, QueueOffset, ReceiptHandle, Timestamp};

/// The handle that a broker puts on messages of retry topics, which it shows as messages of the topic itself.
const POP_CK: &str = "POP_CK";

/// Why an answer cannot be taken apart.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("a record: {0}")]
    Record(#[from] record::Error),
    #[error("no record begins where one must, {rest_bytes} bytes before the end")]
    NoRecord { rest_bytes: usize },
    #[error(transparent)]
    Info(#[from] extra_info::Error),
    #[error(transparent)]
    Handle(#[from] types::receipt_handle::Error),
    #[error("the field {name} is {number}, expected 0 or more")]
    Negative { name: &'static str, number: i64 },
}

/// Records that follow each other; they share the body's memory.
pub(crate) fn records(body: Bytes) -> Result<Vec<Bytes>, Error> {
    let (records, cut) = records_until(body);
    cut.map_or(Ok(records), Err)
}

/// The records up to where none begins, and why that is not the end.
fn records_until(mut body: Bytes) -> (Vec<Bytes>, Option<Error>) {
    let mut records = Vec::new();
    while !body.is_empty() {
        let rest_bytes = body.len();
        let bytes = match record::peek(&body) {
            Ok(Peek::Record { bytes }) => usize::try_from(bytes).unwrap_or(usize::MAX),
            _ => 0,
        };
        if bytes == 0 || bytes > rest_bytes {
            return (records, Some(Error::NoRecord { rest_bytes }));
        }
        records.push(body.split_to(bytes));
    }
    (records, None)
}

/// The messages of an answer, each with its handle. One that cannot be read is left out: its lease ends by itself, and those of the
/// others are known.
///
/// # Errors
/// What all messages have in common cannot be read.
pub(crate) fn messages(broker: &Arc<str>, answer: &PopMessageAnswer, body: Bytes) -> Result<Vec<PoppedMessage>, Error> {
    let starts = extra_info::start_offsets(answer.start_offset_info.as_deref().unwrap_or_default())?;
    let counts = extra_info::order_counts(answer.order_count_info.as_deref().unwrap_or_default());
    // Handles need no counts, so leases are shown and can be ended all the same; the records' own counts stand in.
    let counts = counts
        .inspect_err(|error| tracing::warn!(%broker, %error, "deliveries of ordered messages are not counted"))
        .unwrap_or_default();
    let lease = Lease {
        broker,
        popped_at: Timestamp(answer.pop_time),
        invisible: Duration::from_millis(number("invisibleTime", answer.invisible_time)?),
        revive_queue: u32::try_from(number("reviveQid", answer.revive_qid)?).unwrap_or(u32::MAX),
        starts: &starts,
    };
    let message = |stored: Bytes| {
        let record = record::decode(&stored)?;
        let handle = lease.handle(&record)?;
        let attempt = count(&counts, &handle).unwrap_or(record.header.reconsume_times).saturating_add(1);
        Ok(PoppedMessage { handle, attempt, record: stored })
    };
    let (records, cut) = records_until(body);
    if let Some(error) = cut {
        tracing::warn!(%broker, %error, "the rest of an answer cannot be read, it is not delivered");
    }
    let read = |stored: Bytes| {
        message(stored)
            .inspect_err(
                |error: &Error| tracing::warn!(%broker, %error, "a message cannot be read, it is not delivered"),
            )
            .ok()
    };
    Ok(records.into_iter().filter_map(read).collect())
}

/// What all handles of a pop have in common.
struct Lease<'a> {
    broker: &'a Arc<str>,
    popped_at: Timestamp,
    invisible: Duration,
    revive_queue: u32,
    starts: &'a [StartOffset],
}

impl Lease<'_> {
    fn handle(&self, record: &Record<'_>) -> Result<ReceiptHandle, Error> {
        let header = &record.header;
        if let Some(text) = record.property(POP_CK) {
            let handle: ReceiptHandle = text.parse()?;
            return Ok(ReceiptHandle { physical_offset: Some(header.physical_offset), ..handle });
        }
        // A record that still shows its retry topic was popped from there by name: that is the topic that was asked for.
        let of_queue =
            |start: &&StartOffset| start.source == HandleSource::Topic as u8 && start.queue == header.queue.0;
        let start = self.starts.iter().find(of_queue).map_or(header.queue_offset, |start| QueueOffset(start.offset));
        Ok(ReceiptHandle {
            start_offset: start,
            popped_at: self.popped_at,
            invisible: self.invisible,
            revive_queue: self.revive_queue,
            source: HandleSource::Topic,
            broker: self.broker.clone(),
            queue: header.queue,
            offset: header.queue_offset,
            physical_offset: Some(header.physical_offset),
        })
    }
}

/// How often an ordered message was delivered before: its own entry, else its queue's.
fn count(counts: &[OrderCount], handle: &ReceiptHandle) -> Option<u32> {
    let of = |offset: Option<QueueOffset>| {
        counts.iter().find(|count| {
            count.source == handle.source as u8
                && QueueId(count.queue) == handle.queue
                && count.offset.map(QueueOffset) == offset
        })
    };
    of(Some(handle.offset)).or_else(|| of(None)).map(|count| count.count)
}

fn number(name: &'static str, number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Negative { name, number })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use types::{Message, PhysicalOffset, TopicName};

    use super::*;

    fn stored(offset: u64, handle: Option<&str>) -> Bytes {
        let mut message = Message::new(TopicName::new("t").expect("valid"), Bytes::from_static(b"body"));
        message.reconsume_times = 2;
        if let Some(handle) = handle {
            message.properties.set(POP_CK, handle).expect("valid");
        }
        let encoded = record::encode(&message, QueueId(3), "10.0.0.2:10911".parse().expect("valid")).expect("small");
        encoded.place(QueueOffset(offset), PhysicalOffset(1000 + offset), Timestamp(9))
    }

    fn answer(order_count_info: Option<&str>) -> PopMessageAnswer {
        PopMessageAnswer {
            pop_time: 1_767_323_045_000,
            invisible_time: 60_000,
            revive_qid: 5,
            rest_num: 0,
            start_offset_info: Some("0 3 100".to_owned()),
            msg_offset_info: Some("0 3 101,104".to_owned()),
            order_count_info: order_count_info.map(str::to_owned),
        }
    }

    fn body(records: &[Bytes]) -> Bytes {
        records.concat().into()
    }

    #[test]
    fn handles_are_made_of_the_pop_and_those_of_retried_messages_are_kept() {
        let kept = "7 1767323000000 60000 2 1 broker-b 0 9";
        let body = body(&[stored(101, None), stored(104, Some(kept))]);
        let messages = messages(&Arc::from("broker-a"), &answer(None), body).expect("read");
        let handles: Vec<_> = messages.iter().map(|message| message.handle.to_string()).collect();
        assert_eq!(handles, ["100 1767323045000 60000 5 0 broker-a 3 101 1101", &format!("{kept} 1104")]);
        assert_eq!(messages.iter().map(|message| message.attempt).collect::<Vec<_>>(), [3, 3]);
    }

    #[test]
    fn ordered_messages_are_counted_by_the_broker() {
        let body = body(&[stored(101, None), stored(104, None)]);
        let answer = answer(Some("0 qo3%101 4;0 3 1"));
        let messages = messages(&Arc::from("broker-a"), &answer, body).expect("read");
        assert_eq!(messages.iter().map(|message| message.attempt).collect::<Vec<_>>(), [5, 2]);
    }

    #[test]
    fn counts_that_cannot_be_read_hide_no_message() {
        let messages = messages(&Arc::from("broker-a"), &answer(Some("?")), stored(101, None)).expect("read");
        assert_eq!(messages.iter().map(|message| message.attempt).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_cut_record_is_refused() {
        let whole = body(&[stored(101, None), stored(104, None)]);
        assert_eq!(records(whole.clone()).expect("two").len(), 2);
        assert!(matches!(records(whole.slice(..whole.len() - 1)), Err(Error::NoRecord { .. })));
    }

    #[test]
    fn a_message_that_cannot_be_read_is_left_out() {
        let mut bad = stored(102, None).to_vec();
        let last = bad.len() - 1;
        bad[last] ^= 0xff;
        let bad_handle = stored(103, Some("no handle"));
        let mut body = body(&[stored(101, None), bad.into(), bad_handle, stored(104, None), stored(105, None)]);
        body.truncate(body.len() - 1);
        let messages = messages(&Arc::from("broker-a"), &answer(None), body).expect("read");
        assert_eq!(messages.iter().map(|message| message.handle.offset.0).collect::<Vec<_>>(), [101, 104]);
    }

    proptest! {
        #[test]
        fn any_body_is_answered(bytes: Vec<u8>, cut in 0usize..400, flipped in 0usize..400) {
            let _ = records(bytes.into());
            let mut whole = stored(1, None).to_vec();
            let length = whole.len();
            whole[flipped % length] ^= 0xff;
            let body = Bytes::from(whole).slice(..cut.min(length));
            let _ = messages(&Arc::from("b"), &answer(None), body);
        }
    }
}
