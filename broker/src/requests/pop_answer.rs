//! What a pop's client is told: the records, and three short texts of which it makes a receipt handle for each. No I/O.
//!
//! A client takes pop time, invisible time and revive queue from the header, which has each once, and the rest from the record and the
//! texts. Where that does not give the message's handle, the record is sent with the handle as a property and with the topic that was
//! asked for, as Apache's broker sends those of retry topics. So any process can ack what another has popped.
//! Source: Apache 5.5 `PopMessageProcessor`, `ExtraInfoUtil`, `MQClientAPIImpl#processPopResponse`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use remoting_proto::extra_info::{self, MessageOffsets, OrderCount, StartOffset};
use remoting_proto::requests::PopMessageAnswer;
use types::broker::PoppedMessage;
use types::receipt_handle::HandleSource;
use types::{Message, ReceiptHandle, TopicName};

use super::names::POP_CHECK;
use crate::copy;

/// Most bytes of records of one answer, unless the first alone has more; the others are free again.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// See [`of`].
pub(super) struct PopAnswer {
    /// `None` if nothing can be told.
    pub(super) header: Option<PopMessageAnswer>,
    /// The records.
    pub(super) body: Bytes,
    /// Messages that did not fit.
    pub(super) left_out: Vec<ReceiptHandle>,
}

/// What all messages of a queue have in common.
struct Queue {
    start: StartOffset,
    offsets: Vec<u64>,
    /// Lowest number of deliveries before this one.
    count: u32,
}

/// The answer that tells of `messages`, which were popped from `topic`. One that cannot be told stays leased until its time is over.
pub(super) fn of(messages: Vec<PoppedMessage>, topic: &TopicName, in_order: bool) -> PopAnswer {
    let mut body = BytesMut::new();
    let mut queues: Vec<Queue> = Vec::new();
    let mut counts = Vec::new();
    let mut first: Option<ReceiptHandle> = None;
    let mut messages = messages.into_iter();
    let mut left_out = Vec::new();
    for message in messages.by_ref() {
        let handle = &message.handle;
        if !body.is_empty() && body.len() + message.record.len() > BYTES_MAX {
            left_out.push(message.handle);
            break;
        }
        let start =
            queues.iter().find(|queue| queue.is_of(handle)).map_or(handle.start_offset.0, |queue| queue.start.offset);
        let header = first.as_ref().unwrap_or(handle);
        let record = if is_told(handle, header, start) && has_its_count(&message) {
            message.record.clone()
        } else {
            match with_handle(&message, topic) {
                Ok(record) => record,
                Err(error) => {
                    tracing::error!(%topic, %handle, error, "a popped message cannot be told of");
                    continue;
                }
            }
        };
        body.extend_from_slice(&record);
        let retries = message.attempt.saturating_sub(1);
        note(&mut queues, handle, retries);
        if retries > 0 {
            let (source, queue, offset) = (handle.source as u8, handle.queue.0, Some(handle.offset.0));
            counts.push(OrderCount { source, queue, offset, count: retries });
        }
        first.get_or_insert(message.handle);
    }
    left_out.extend(messages.map(|message| message.handle));
    let header = first.map(|first| header(&first, &queues, in_order.then_some(counts)));
    PopAnswer { header, body: body.freeze(), left_out }
}

fn header(first: &ReceiptHandle, queues: &[Queue], counts: Option<Vec<OrderCount>>) -> PopMessageAnswer {
    let offsets = queues.iter().map(|queue| MessageOffsets {
        source: queue.start.source,
        queue: queue.start.queue,
        offsets: queue.offsets.clone(),
    });
    let of_queues = queues.iter().map(|Queue { start, count, .. }| OrderCount {
        source: start.source,
        queue: start.queue,
        offset: None,
        count: *count,
    });
    PopMessageAnswer {
        pop_time: first.popped_at.0,
        invisible_time: ms(first.invisible),
        revive_qid: first.revive_queue.into(),
        // Not counted: neither Apache's clients nor proxies look at it.
        rest_num: 0,
        start_offset_info: Some(extra_info::text(queues.iter().map(|queue| queue.start))),
        msg_offset_info: Some(extra_info::text(offsets)),
        order_count_info: counts.map(|counts| extra_info::text(counts.into_iter().chain(of_queues))),
    }
}

impl Queue {
    fn is_of(&self, handle: &ReceiptHandle) -> bool {
        self.start.source == handle.source as u8 && self.start.queue == handle.queue.0
    }
}

fn note(queues: &mut Vec<Queue>, handle: &ReceiptHandle, retries: u32) {
    if let Some(queue) = queues.iter_mut().find(|queue| queue.is_of(handle)) {
        queue.offsets.push(handle.offset.0);
        queue.count = queue.count.min(retries);
        return;
    }
    let start = StartOffset { source: handle.source as u8, queue: handle.queue.0, offset: handle.start_offset.0 };
    queues.push(Queue { start, offsets: vec![handle.offset.0], count: retries });
}

/// Whether a client makes this handle of what the header says.
fn is_told(handle: &ReceiptHandle, header: &ReceiptHandle, start: u64) -> bool {
    handle.source == HandleSource::Topic
        && handle.start_offset.0 == start
        && (handle.popped_at, handle.invisible, handle.revive_queue)
            == (header.popped_at, header.invisible, header.revive_queue)
}

/// Whether the record says how often its message was delivered before.
fn has_its_count(message: &PoppedMessage) -> bool {
    record::header(&message.record).is_ok_and(|header| header.reconsume_times.saturating_add(1) == message.attempt)
}

/// The record as a message of the topic, with its handle and how often it was delivered before; as it is stored, when there is no room
/// for these in it. A client then makes the handle of the header, and counts from the record.
fn with_handle(message: &PoppedMessage, topic: &TopicName) -> Result<Bytes, String> {
    let stored = record::decode(&message.record).map_err(|error| error.to_string())?;
    let header = &stored.header;
    let mut shown = Message {
        source_offset: header.source_offset,
        reconsume_times: message.attempt.saturating_sub(1),
        ..copy::message(&message.record, &stored, topic.clone())
    };
    // A record's place is in the record.
    let handle = ReceiptHandle { physical_offset: None, ..message.handle.clone() };
    shown.properties.set_own(POP_CHECK, &handle.to_string());
    match record::encode(&shown, header.queue, header.store_host) {
        Ok(encoded) => Ok(encoded.place(header.queue_offset, header.physical_offset, header.stored_at)),
        Err(error) => {
            tracing::warn!(%topic, %error, handle = %message.handle, "a popped message has no room for its handle");
            Ok(message.record.clone())
        }
    }
}

/// A time on the wire.
pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use types::{PhysicalOffset, QueueId, QueueOffset, Timestamp};

    use super::*;

    const POPPED_AT: i64 = 1_767_323_045_000;

    fn topic() -> TopicName {
        TopicName::new("t").expect("valid")
    }

    /// A message of a queue; those of the retry topic are marked with source 1.
    fn popped(source: HandleSource, queue: u32, offset: u64, body_bytes: usize) -> PoppedMessage {
        let stored_in = if source == HandleSource::Topic { "t" } else { "%RETRY%g_t" };
        let mut message = Message::new(TopicName::new(stored_in).expect("valid"), vec![b'x'; body_bytes].into());
        message.reconsume_times = u32::from(source != HandleSource::Topic);
        let attempt = message.reconsume_times + 1;
        let encoded = record::encode(&message, QueueId(queue), "10.0.0.2:10911".parse().expect("valid"));
        let at = PhysicalOffset(1000 + offset);
        let record = encoded.expect("small").place(QueueOffset(offset), at, Timestamp(9));
        let handle = ReceiptHandle {
            start_offset: QueueOffset(100),
            popped_at: Timestamp(POPPED_AT),
            invisible: Duration::from_secs(60),
            revive_queue: 0,
            source,
            broker: "broker-a".into(),
            queue: QueueId(queue),
            offset: QueueOffset(offset),
            physical_offset: Some(at),
        };
        PoppedMessage { handle, record, attempt }
    }

    /// The records of a body, each with its handle, if it has one.
    fn told(mut body: Bytes) -> Vec<(String, u64, u32, Option<String>)> {
        let mut all = Vec::new();
        while !body.is_empty() {
            let bytes = u32::from_be_bytes(*body.first_chunk().expect("a length")) as usize;
            let one = body.split_to(bytes);
            let record = record::decode(&one).expect("a record");
            let handle = record.property(POP_CHECK).map(str::to_owned);
            let header = &record.header;
            all.push((record.topic.to_owned(), header.queue_offset.0, header.reconsume_times, handle));
        }
        all
    }

    #[test]
    fn what_the_header_tells_is_sent_as_it_is_stored() {
        let messages = [popped(HandleSource::Topic, 3, 101, 1), popped(HandleSource::Topic, 3, 104, 1)];
        let stored: Vec<_> = messages.iter().flat_map(|message| message.record.to_vec()).collect();
        let PopAnswer { header, body, left_out } = of(messages.to_vec(), &topic(), false);
        let header = header.expect("told");
        assert_eq!((header.pop_time, header.invisible_time, header.revive_qid), (POPPED_AT, 60_000, 0));
        assert_eq!(header.start_offset_info.as_deref(), Some("0 3 100"));
        assert_eq!(header.msg_offset_info.as_deref(), Some("0 3 101,104"));
        assert_eq!((header.order_count_info, left_out), (None, Vec::new()));
        assert_eq!(body, stored);
    }

    #[test]
    fn what_it_does_not_tell_carries_its_handle() {
        let retried = popped(HandleSource::RetryV1, 0, 7, 1);
        let mut later = popped(HandleSource::Topic, 1, 5, 1);
        later.handle.popped_at = Timestamp(POPPED_AT + 3);
        let mut again = popped(HandleSource::Topic, 2, 9, 1);
        again.attempt = 4;
        let messages = vec![popped(HandleSource::Topic, 0, 101, 1), retried, later, again];
        let PopAnswer { header, body, .. } = of(messages, &topic(), true);
        let header = header.expect("told");
        assert_eq!(header.start_offset_info.as_deref(), Some("0 0 100;1 0 100;0 1 100;0 2 100"));
        assert_eq!(header.msg_offset_info.as_deref(), Some("0 0 101;1 0 7;0 1 5;0 2 9"));
        assert_eq!(header.order_count_info.as_deref(), Some("1 qo0%7 1;0 qo2%9 3;0 0 0;1 0 1;0 1 0;0 2 3"));
        let handle = |text: &str| Some(text.to_owned());
        let expected = [
            ("t".to_owned(), 101, 0, None),
            ("t".to_owned(), 7, 1, handle("100 1767323045000 60000 0 1 broker-a 0 7")),
            ("t".to_owned(), 5, 0, handle("100 1767323045003 60000 0 0 broker-a 1 5")),
            ("t".to_owned(), 9, 3, handle("100 1767323045000 60000 0 0 broker-a 2 9")),
        ];
        assert_eq!(told(body), expected);
    }

    #[test]
    fn what_does_not_fit_is_left_out_but_for_the_first() {
        let big = |offset| popped(HandleSource::Topic, 0, offset, BYTES_MAX);
        let PopAnswer { header, body, left_out } =
            of(vec![big(1), big(2), popped(HandleSource::Topic, 0, 3, 1)], &topic(), false);
        assert_eq!(header.expect("told").msg_offset_info.as_deref(), Some("0 0 1"));
        assert_eq!(told(body).len(), 1);
        assert_eq!(left_out.iter().map(|handle| handle.offset.0).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn a_redelivery_without_room_for_its_handle_is_told_as_it_is_stored() {
        let mut message = Message::new(topic(), Bytes::from_static(b"x"));
        message.properties.set_own("k", &"v".repeat(32_750));
        let encoded = record::encode(&message, QueueId(0), "10.0.0.2:10911".parse().expect("valid"));
        let record = encoded.expect("fits").place(QueueOffset(101), PhysicalOffset(1101), Timestamp(9));
        let full = PoppedMessage { record, attempt: 2, ..popped(HandleSource::Topic, 0, 101, 1) };
        let stored = full.record.clone();
        let PopAnswer { header, body, .. } = of(vec![full], &topic(), false);
        assert_eq!(header.expect("told").msg_offset_info.as_deref(), Some("0 0 101"));
        assert_eq!(body, stored);
    }

    #[test]
    fn what_cannot_be_read_is_not_told() {
        let mut bad = popped(HandleSource::RetryV1, 0, 1, 1);
        bad.record = Bytes::from_static(b"no record");
        let PopAnswer { header, body, left_out } = of(vec![bad], &topic(), false);
        assert!(header.is_none() && body.is_empty() && left_out.is_empty());
    }
}
