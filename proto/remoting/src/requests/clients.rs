//! Clients and their groups. Source: Apache 5.5 `HeartbeatRequestHeader`, `ClientManageProcessor` and their neighbours.

use crate::fields::header;

header! {
    /// What a client that lives is told.
    HeartBeatAnswer {
        /// Whether heartbeats may leave out a subscription that has not changed.
        is_support_heart_beat_v2: Option<bool> = "IS_SUPPORT_HEART_BEAT_V2",
        /// Whether the broker has another subscription of the client.
        is_sub_change: Option<bool> = "IS_SUB_CHANGE",
    }
}

header! {
    /// A client leaves its groups.
    UnregisterClient {
        /// The client.
        client_id: String = "clientID",
        /// The group it produced in.
        producer_group: Option<String> = "producerGroup",
        /// The group it consumed in.
        consumer_group: Option<String> = "consumerGroup",
    }
}

header! {
    /// Names a group of consumers.
    ConsumerGroup {
        /// The group.
        consumer_group: String = "consumerGroup",
    }
}

header! {
    /// Names a group of producers.
    ProducerGroup {
        /// The group.
        producer_group: String = "producerGroup",
    }
}

header! {
    /// Names a group whose settings are asked for.
    GroupName {
        /// The group.
        group: String = "group",
    }
}

header! {
    /// Deletes a group.
    DeleteSubscriptionGroup {
        /// The group.
        group_name: String = "groupName",
        /// Whether its offsets go too.
        clean_offset: Option<bool> = "cleanOffset",
    }
}

header! {
    /// Asks how far a group is.
    GetConsumeStats {
        /// The group.
        consumer_group: String = "consumerGroup",
        /// On this topic only; empty is none.
        topic: Option<String> = "topic",
        /// On these only, whether the group subscribes to them or not; `;` between them.
        topic_list: Option<String> = "topicList",
    }
}
