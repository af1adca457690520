//! Topics and routes. Source: Apache 5.5 `GetRouteInfoRequestHeader` and its neighbours.

use crate::fields::header;

header! {
    /// Asks where a topic's queues are.
    GetRouteInfo {
        /// The topic.
        topic: String = "topic",
        /// Whether the client reads only standard JSON, whatever its version.
        accept_standard_json_only: Option<bool> = "acceptStandardJsonOnly",
        /// Whether only brokers of the client's zone are wanted.
        zone_mode: Option<bool> = "__ZONE_MODE",
        /// The client's zone.
        zone_name: Option<String> = "__ZONE_NAME",
    }
}

header! {
    /// Names a topic.
    TopicName {
        /// The topic.
        topic: String = "topic",
    }
}

header! {
    /// Forgets a topic.
    DeleteTopic {
        /// The topic.
        topic: String = "topic",
        /// Only on the brokers of this cluster.
        cluster_name: Option<String> = "clusterName",
    }
}

header! {
    /// Asks for the topics of a cluster.
    GetTopicsByCluster {
        /// The cluster.
        cluster: String = "cluster",
    }
}

header! {
    /// Names a broker of a cluster.
    BrokerMember {
        /// The cluster.
        cluster_name: String = "clusterName",
        /// The broker.
        broker_name: String = "brokerName",
    }
}

header! {
    /// How many topics of a broker cannot be written any more.
    WipeWritePermAnswer {
        /// That many.
        wipe_topic_count: i64 = "wipeTopicCount",
    }
}

header! {
    /// How many topics of a broker can be written again.
    AddWritePermAnswer {
        /// That many.
        add_topic_count: i64 = "addTopicCount",
    }
}

header! {
    /// Makes or changes a topic on a broker.
    UpdateAndCreateTopic {
        /// The topic.
        topic: String = "topic",
        /// Queues that can be read.
        read_queue_nums: i64 = "readQueueNums",
        /// Queues that can be written.
        write_queue_nums: i64 = "writeQueueNums",
        /// Bits of [`Permission`](crate::body::Permission).
        perm: i64 = "perm",
        /// The topic whose settings it has as long as it has none of its own.
        default_topic: Option<String> = "defaultTopic",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: Option<String> = "topicFilterType",
        /// Bits: 1 topic of a unit, 2 has subscriptions of units.
        topic_sys_flag: Option<i64> = "topicSysFlag",
        /// Whether its queues are in order.
        order: Option<bool> = "order",
        /// `+NAME=VALUE` sets an attribute, `-NAME` removes it; commas between them.
        attributes: Option<String> = "attributes",
    }
}

header! {
    /// How many topics a broker has.
    GetAllTopicConfigAnswer {
        /// That many.
        total_topic_num: Option<i64> = "totalTopicNum",
    }
}
