//! What operators' tools ask of a broker. Source: Apache 5.5 `ResetOffsetRequestHeader` and its neighbours.

use crate::fields::header;

header! {
    /// Looks for messages by a key.
    QueryMessage {
        /// The topic.
        topic: String = "topic",
        /// The key.
        key: String = "key",
        /// At most so many.
        max_num: i64 = "maxNum",
        /// Stored from then on, ms since 1970.
        begin_timestamp: i64 = "beginTimestamp",
        /// Stored until then, ms since 1970.
        end_timestamp: i64 = "endTimestamp",
        /// Whether the key is the id that the producer gave.
        is_unique_key: Option<bool> = "_UNIQUE_KEY_QUERY",
    }
}

header! {
    /// How far the index of keys is.
    QueryMessageAnswer {
        /// When the newest message in it was stored, ms since 1970.
        index_last_update_timestamp: i64 = "indexLastUpdateTimestamp",
        /// Its place in the log.
        index_last_update_phyoffset: i64 = "indexLastUpdatePhyoffset",
    }
}

header! {
    /// Sets where a group goes on, and tells its clients.
    ResetOffset {
        /// The topic.
        topic: String = "topic",
        /// The group.
        group: String = "group",
        /// At the first message that was stored at or after this time, ms since 1970; -1 is the end.
        timestamp: i64 = "timestamp",
        /// Whether the group may go on later than it would.
        is_force: Option<bool> = "isForce",
        /// On this queue only; none or below 0 is all.
        queue_id: Option<i64> = "queueId",
        /// At this offset of the queue; none or -1 goes by the time.
        offset: Option<i64> = "offset",
    }
}

header! {
    /// Asks how far the clients of a group are.
    GetConsumerStatus {
        /// The topic.
        topic: String = "topic",
        /// The group.
        group: String = "group",
        /// This client only; none or empty is all.
        client_addr: Option<String> = "clientAddr",
    }
}

header! {
    /// Names a client of a group.
    ConsumerClient {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The client.
        client_id: Option<String> = "clientId",
        /// A message's id, of [`ConsumeMessageDirectly`](crate::RequestCode::ConsumeMessageDirectly) only.
        msg_id: Option<String> = "msgId",
    }
}

header! {
    /// Names a group and one of its topics.
    GroupTopic {
        /// The group.
        group: String = "group",
        /// The topic.
        topic: String = "topic",
    }
}

header! {
    /// Gives a group the offsets of another.
    CloneGroupOffset {
        /// Whose offsets.
        src_group: String = "srcGroup",
        /// Who gets them.
        dest_group: String = "destGroup",
        /// Of this topic only; none or empty is all.
        topic: Option<String> = "topic",
        /// Whether topics count that the group does not subscribe to now.
        offline: Option<bool> = "offline",
    }
}

header! {
    /// Names what was counted.
    ViewBrokerStatsData {
        /// What: Apache's name.
        stats_name: String = "statsName",
        /// Of what: a topic, `topic@group`, a cluster.
        stats_key: String = "statsKey",
    }
}

header! {
    /// Asks how far all groups are.
    GetBrokerConsumeStats {
        /// Only on topics that are consumed in order.
        is_order: Option<bool> = "isOrder",
    }
}

header! {
    /// Asks for entries of a queue.
    QueryConsumeQueue {
        /// The topic.
        topic: String = "topic",
        /// The queue.
        queue_id: i64 = "queueId",
        /// The first.
        index: i64 = "index",
        /// How many.
        count: i64 = "count",
        /// Whose subscription is told too.
        consumer_group: Option<String> = "consumerGroup",
    }
}

header! {
    /// Which state of a broker's settings is told.
    GetBrokerConfigAnswer {
        /// A [`DataVersion`](crate::body::DataVersion) in JSON.
        version: String = "version",
    }
}

header! {
    /// Hands a requester its reply; the body is the reply's.
    PushReplyMessage {
        /// Who replies.
        producer_group: String = "producerGroup",
        /// The topic of replies.
        topic: String = "topic",
        /// As in a send.
        default_topic: Option<String> = "defaultTopic",
        /// As in a send.
        default_topic_queue_nums: Option<i64> = "defaultTopicQueueNums",
        /// The queue.
        queue_id: i64 = "queueId",
        /// The reply's bits.
        sys_flag: i64 = "sysFlag",
        /// When the reply was made, ms since 1970.
        born_timestamp: i64 = "bornTimestamp",
        /// The reply's number of its producer.
        flag: i64 = "flag",
        /// Its properties.
        properties: Option<String> = "properties",
        /// As in a send.
        reconsume_times: Option<i64> = "reconsumeTimes",
        /// As in a send.
        unit_mode: Option<bool> = "unitMode",
        /// Where it came from, `IP:PORT`.
        born_host: String = "bornHost",
        /// The broker, `IP:PORT`.
        store_host: String = "storeHost",
        /// When it came, ms since 1970.
        store_timestamp: i64 = "storeTimestamp",
    }
}

header! {
    /// Asks for the lowest offsets of a topic's groups.
    QueryCorrectionOffset {
        /// The topic.
        topic: String = "topic",
        /// A group that is further is not to go on where others are.
        compare_group: String = "compareGroup",
        /// Groups that do not count, with commas between.
        filter_groups: Option<String> = "filterGroups",
    }
}

header! {
    /// Forbids or allows a group to read a topic, or asks whether it may.
    GroupForbidden {
        /// The group.
        group: String = "group",
        /// The topic.
        topic: String = "topic",
        /// Whether it may from now on; none only asks.
        readable: Option<bool> = "readable",
    }
}
