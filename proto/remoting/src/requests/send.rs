//! Sending, and what becomes of what was sent. Source: Apache 5.5 `SendMessageRequestHeaderV2` and its neighbours.

use crate::fields::{FieldError, Fields, header};

header! {
    /// Stores the body as a message, or as several ([`crate::body::batch`]) if `is_batch`.
    SendMessage {
        /// The producer's group.
        producer_group: String = "a",
        /// The topic.
        topic: String = "b",
        /// A topic that is made anew begins with this one's settings.
        default_topic: Option<String> = "c",
        /// Queues that it then has at most.
        default_topic_queue_nums: Option<i64> = "d",
        /// The queue; below 0 the broker chooses.
        queue_id: i64 = "e",
        /// Bits of `MessageSysFlag`.
        sys_flag: i64 = "f",
        /// When it was made, ms since 1970.
        born_timestamp: i64 = "g",
        /// The producer's own number.
        flag: i64 = "h",
        /// The text of the properties, as records have it.
        properties: Option<String> = "i",
        /// How often it was delivered before.
        reconsume_times: Option<i64> = "j",
        /// Whether the producer belongs to a unit.
        unit_mode: Option<bool> = "k",
        /// Deliveries of a message that is sent to a retry topic, before it goes to the dead-letter topic.
        max_reconsume_times: Option<i64> = "l",
        /// Whether the body holds several messages.
        is_batch: Option<bool> = "m",
        /// The broker that is meant.
        broker_name: Option<String> = "n",
    }
}

/// The names that [`RequestCode::SendMessage`](crate::RequestCode::SendMessage) has for the same fields.
const LONG_NAMES: [(&str, &str); 13] = [
    ("producerGroup", "a"),
    ("topic", "b"),
    ("defaultTopic", "c"),
    ("defaultTopicQueueNums", "d"),
    ("queueId", "e"),
    ("sysFlag", "f"),
    ("bornTimestamp", "g"),
    ("flag", "h"),
    ("properties", "i"),
    ("reconsumeTimes", "j"),
    ("unitMode", "k"),
    ("maxReconsumeTimes", "l"),
    ("batch", "m"),
];

impl SendMessage {
    /// Reads it from the fields of a [`RequestCode::SendMessage`](crate::RequestCode::SendMessage), whose names are written out.
    ///
    /// # Errors
    /// As [`SendMessage::of`], with the short name of the field.
    pub fn of_long(fields: &Fields) -> Result<Self, FieldError> {
        Self::of(&Fields::of(LONG_NAMES.map(|(long, short)| (short, fields.get(long).map(str::to_owned)))))
    }
}

header! {
    /// Where a message was stored.
    SendMessageAnswer {
        /// The message's address: where the broker is and where the record is in its log; of a batch all of them, with commas between.
        msg_id: String = "msgId",
        /// The queue.
        queue_id: i64 = "queueId",
        /// The offset there, of a batch that of its first message.
        queue_offset: i64 = "queueOffset",
        /// The unique key.
        transaction_id: Option<String> = "transactionId",
        /// Names a delayed message to [`RecallMessage`].
        recall_handle: Option<String> = "recallHandle",
        /// The broker's region, told in traces.
        msg_region: Option<String> = "MSG_REGION",
        /// Whether the client may trace.
        trace_on: Option<bool> = "TRACE_ON",
        /// Ours: the unique key of the message that was stored before under the same idempotency key; nothing was stored now.
        repeat_of: Option<String> = "gantryRepeatOf",
    }
}

header! {
    /// Ours: why a message was refused because of its idempotency key.
    KeyRefused {
        /// `taken`, `tooMany` or `tooLong`.
        why: String = "gantryKeyRefused",
        /// How long a key is known, in milliseconds; not when it is too long.
        window_ms: Option<i64> = "gantryKeyWindow",
        /// The bound: of keys, or of bytes.
        limit: Option<i64> = "gantryKeyLimit",
        /// The length of what is too long.
        bytes: Option<i64> = "gantryKeyBytes",
    }
}

impl KeyRefused {
    /// Another message has the key.
    pub const TAKEN: &str = "taken";
    /// The broker knows as many as it may.
    pub const TOO_MANY: &str = "tooMany";
    /// The key or the message's id is too long.
    pub const TOO_LONG: &str = "tooLong";
}

header! {
    /// A consumer failed: the message is to come again later, or is given up.
    ConsumerSendMsgBack {
        /// The record's place in the log.
        offset: i64 = "offset",
        /// The group.
        group: String = "group",
        /// How long it waits: below 0 it is given up, at 0 the broker decides by the number of deliveries.
        delay_level: i64 = "delayLevel",
        /// The message's unique key.
        origin_msg_id: Option<String> = "originMsgId",
        /// Its topic.
        origin_topic: Option<String> = "originTopic",
        /// Whether the consumer belongs to a unit.
        unit_mode: Option<bool> = "unitMode",
        /// Deliveries before it is given up, if the client wants others than the group has.
        max_reconsume_times: Option<i64> = "maxReconsumeTimes",
    }
}

header! {
    /// What shall become of a half message.
    EndTransaction {
        /// Its topic; clients before 5.0 do not say it.
        topic: Option<String> = "topic",
        /// The producer's group.
        producer_group: String = "producerGroup",
        /// The half message's offset in the half topic's queue.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// Its record's place in the log.
        commit_log_offset: i64 = "commitLogOffset",
        /// 8 commit, 12 roll back, 0 not known.
        commit_or_rollback: i64 = "commitOrRollback",
        /// Whether the broker had asked.
        from_transaction_check: Option<bool> = "fromTransactionCheck",
        /// The half message's unique key.
        msg_id: String = "msgId",
        /// The same, or what the producer gave.
        transaction_id: Option<String> = "transactionId",
        /// The broker that is meant.
        broker_name: Option<String> = "bname",
    }
}

header! {
    /// Asks a producer what became of its half message, whose record is the body.
    CheckTransactionState {
        /// Its topic.
        topic: Option<String> = "topic",
        /// To be given back in [`EndTransaction`].
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// To be given back in [`EndTransaction`].
        commit_log_offset: i64 = "commitLogOffset",
        /// The unique key.
        msg_id: Option<String> = "msgId",
        /// The same, or what the producer gave.
        transaction_id: Option<String> = "transactionId",
        /// The record's address.
        offset_msg_id: Option<String> = "offsetMsgId",
        /// The broker that asks.
        broker_name: Option<String> = "bname",
    }
}

header! {
    /// Takes back a delayed message.
    RecallMessage {
        /// The producer's group.
        producer_group: Option<String> = "producerGroup",
        /// The topic.
        topic: String = "topic",
        /// From [`SendMessageAnswer`].
        recall_handle: String = "recallHandle",
    }
}

header! {
    /// The message that was taken back.
    RecallMessageAnswer {
        /// Its unique key.
        msg_id: String = "msgId",
    }
}
