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
