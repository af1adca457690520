//! Leasing messages, and ending or changing leases. Source: Apache 5.5 `PopMessageRequestHeader` and its neighbours.

use crate::fields::header;

header! {
    /// Leases messages; waits for the first.
    PopMessage {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The topic.
        topic: String = "topic",
        /// The queue; -1 is any.
        queue_id: i64 = "queueId",
        /// At most so many, up to 32.
        max_msg_nums: i64 = "maxMsgNums",
        /// How long they are leased, in ms.
        invisible_time: i64 = "invisibleTime",
        /// How long to wait for the first, in ms.
        poll_time: i64 = "pollTime",
        /// When it was asked, ms since 1970; 0 is now.
        born_time: i64 = "bornTime",
        /// Where a group that is new begins: 0 at the first message, 1 at the end.
        init_mode: i64 = "initMode",
        /// `TAG` or `SQL92`.
        exp_type: Option<String> = "expType",
        /// The expression.
        exp: Option<String> = "exp",
        /// Whether each queue is consumed in order.
        order: Option<bool> = "order",
        /// Names the attempt, so that it can be repeated.
        attempt_id: Option<String> = "attemptId",
        /// The broker that is meant.
        broker_name: Option<String> = "bname",
    }
}

header! {
    /// The leases; the body holds the records.
    PopMessageAnswer {
        /// When it was popped, ms since 1970.
        pop_time: i64 = "popTime",
        /// How long they are leased, in ms.
        invisible_time: i64 = "invisibleTime",
        /// The queue of the revive topic that keeps the leases.
        revive_qid: i64 = "reviveQid",
        /// Messages that are left.
        rest_num: i64 = "restNum",
        /// See [`crate::extra_info`].
        start_offset_info: Option<String> = "startOffsetInfo",
        /// See [`crate::extra_info`].
        msg_offset_info: Option<String> = "msgOffsetInfo",
        /// See [`crate::extra_info`]; of ordered pops only.
        order_count_info: Option<String> = "orderCountInfo",
    }
}

header! {
    /// Ours: why nothing may be popped, where the code says no more than that there is no permission.
    PopRefused {
        /// [`PopRefused::QUEUES_LOCKED`].
        why: String = "gantryPopRefused",
    }
}

impl PopRefused {
    /// The group reads the topic in order, with locks on its queues.
    pub const QUEUES_LOCKED: &str = "queuesLocked";
}

header! {
    /// Ends a lease.
    AckMessage {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The topic that the queue is of: the retry topic, if the message came from there.
        topic: String = "topic",
        /// The queue.
        queue_id: i64 = "queueId",
        /// The receipt handle.
        extra_info: String = "extraInfo",
        /// The message's offset in the queue.
        offset: i64 = "offset",
        /// The broker that is meant.
        broker_name: Option<String> = "bname",
    }
}

header! {
    /// Lets a lease end at another time.
    ChangeInvisibleTime {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The topic that the queue is of.
        topic: String = "topic",
        /// The queue.
        queue_id: i64 = "queueId",
        /// The receipt handle.
        extra_info: String = "extraInfo",
        /// The message's offset in the queue.
        offset: i64 = "offset",
        /// That long from now, in ms.
        invisible_time: i64 = "invisibleTime",
        /// Whether the delivery does not count as an attempt; since 5.5.
        suspend: Option<bool> = "suspend",
        /// The broker that is meant.
        broker_name: Option<String> = "bname",
    }
}

header! {
    /// What the new receipt handle is made of.
    ChangeInvisibleTimeAnswer {
        /// When the lease counts from, ms since 1970.
        pop_time: i64 = "popTime",
        /// How long it is, in ms.
        invisible_time: i64 = "invisibleTime",
        /// The queue of the revive topic that keeps it.
        revive_qid: i64 = "reviveQid",
    }
}

header! {
    /// Waits for a message without leasing it.
    Notification {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The topic.
        topic: String = "topic",
        /// The queue; -1 is any.
        queue_id: i64 = "queueId",
        /// How long to wait, in ms.
        poll_time: i64 = "pollTime",
        /// When it was asked, ms since 1970.
        born_time: i64 = "bornTime",
        /// Whether each queue is consumed in order.
        order: Option<bool> = "order",
        /// Names the attempt.
        attempt_id: Option<String> = "attemptId",
        /// `TAG` or `SQL92`.
        exp_type: Option<String> = "expType",
        /// The expression.
        exp: Option<String> = "exp",
        /// The broker that is meant.
        broker_name: Option<String> = "bname",
    }
}

header! {
    /// Whether one is there.
    NotificationAnswer {
        /// Whether it is.
        has_msg: Option<bool> = "hasMsg",
        /// Whether too many wait already.
        polling_full: Option<bool> = "pollingFull",
    }
}

header! {
    /// Asks for messages that a pop would get.
    PeekMessage {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The topic.
        topic: String = "topic",
        /// The queue; -1 is any.
        queue_id: i64 = "queueId",
        /// At most so many.
        max_msg_nums: i64 = "maxMsgNums",
    }
}

header! {
    /// Asks how many pops wait.
    PollingInfo {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The topic.
        topic: String = "topic",
        /// Those that want this queue; -1 is those that want any.
        queue_id: i64 = "queueId",
    }
}

header! {
    /// How many pops wait.
    PollingInfoAnswer {
        /// The number.
        polling_num: i64 = "pollingNum",
    }
}
