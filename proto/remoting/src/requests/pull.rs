//! Reading a queue, and the offsets on it. Source: Apache 5.5 `PullMessageRequestHeader` and its neighbours.

use crate::fields::header;

header! {
    /// Reads a queue from an offset on.
    PullMessage {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i64 = "queueId",
        /// The first offset wanted.
        queue_offset: i64 = "queueOffset",
        /// At most so many.
        max_msg_nums: i64 = "maxMsgNums",
        /// Bits: [`PullMessage::COMMIT_OFFSET`] and so on.
        sys_flag: i64 = "sysFlag",
        /// What to commit first, if the bit says so.
        commit_offset: i64 = "commitOffset",
        /// How long to wait for the first message, if the bit says so, in ms.
        suspend_timeout_millis: i64 = "suspendTimeoutMillis",
        /// Which messages, if the bit says so; else what the heartbeat said.
        subscription: Option<String> = "subscription",
        /// The subscription's version.
        sub_version: i64 = "subVersion",
        /// `TAG` or `SQL92`; none is `TAG`.
        expression_type: Option<String> = "expressionType",
        /// At most so many bytes.
        max_msg_bytes: Option<i64> = "maxMsgBytes",
        /// Who asks: none or -1 a client, others a proxy.
        request_source: Option<i64> = "requestSource",
        /// For whom a proxy asks. The spelling is Apache's.
        proxy_forward_client_id: Option<String> = "proxyFrowardClientId",
        /// The broker that is meant.
        broker_name: Option<String> = "bname",
    }
}

impl PullMessage {
    /// Commit `commit_offset`.
    pub const COMMIT_OFFSET: i64 = 1;
    /// Wait for the first message.
    pub const SUSPEND: i64 = 2;
    /// The subscription is in the request.
    pub const SUBSCRIPTION: i64 = 4;
    /// A class of the consumer's filters, until 4.x.
    pub const CLASS_FILTER: i64 = 8;
    /// The consumer has assigned the queue to itself.
    pub const LITE_PULL: i64 = 16;

    /// Whether a bit is set.
    #[must_use]
    pub const fn has(&self, bit: i64) -> bool {
        self.sys_flag & bit != 0
    }
}

header! {
    /// Where to go on, whatever was read.
    PullMessageAnswer {
        /// The broker to ask next: 0 is the master.
        suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        /// The offset to ask for next.
        next_begin_offset: i64 = "nextBeginOffset",
        /// The queue's first offset.
        min_offset: i64 = "minOffset",
        /// The queue's end.
        max_offset: i64 = "maxOffset",
        /// Of static topics.
        offset_delta: Option<i64> = "offsetDelta",
        /// Bits of the topic.
        topic_sys_flag: Option<i64> = "topicSysFlag",
        /// Bits of the group.
        group_sys_flag: Option<i64> = "groupSysFlag",
        /// What is not allowed, with [`NoPermission`](crate::ResponseCode::NoPermission).
        forbidden_type: Option<i64> = "forbiddenType",
    }
}

header! {
    /// Names a queue.
    TopicQueue {
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i64 = "queueId",
        /// The broker that is meant.
        broker_name: Option<String> = "bname",
    }
}

header! {
    /// Asks for the first message that was stored at or after a time.
    SearchOffset {
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i64 = "queueId",
        /// Ms since 1970.
        timestamp: i64 = "timestamp",
        /// `lower` (none means it): the first at or after the time; `upper`: the last at or before it.
        boundary_type: Option<String> = "boundaryType",
        /// The broker that is meant.
        broker_name: Option<String> = "bname",
    }
}

header! {
    /// An offset.
    OffsetAnswer {
        /// The offset; [`QueryNotFound`](crate::ResponseCode::QueryNotFound) comes without.
        offset: Option<i64> = "offset",
    }
}

header! {
    /// A time.
    EarliestMsgStoreTimeAnswer {
        /// Ms since 1970; -1 is none.
        timestamp: i64 = "timestamp",
    }
}

header! {
    /// Asks where a group is on a queue.
    QueryConsumerOffset {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i64 = "queueId",
        /// Whether a group that is new on a queue that still has its first message is at 0; none means yes.
        set_zero_if_not_found: Option<bool> = "setZeroIfNotFound",
        /// The broker that is meant.
        broker_name: Option<String> = "bname",
    }
}

header! {
    /// Commits a group's offset on a queue.
    UpdateConsumerOffset {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i64 = "queueId",
        /// The first message that is not finished.
        commit_offset: i64 = "commitOffset",
        /// The broker that is meant.
        broker_name: Option<String> = "bname",
    }
}

header! {
    /// Asks for the record at a place of the log.
    ViewMessage {
        /// The place.
        offset: i64 = "offset",
        /// The topic.
        topic: Option<String> = "topic",
    }
}
