//! Brokers that come, live and go. Source: Apache 5.5 `RegisterBrokerRequestHeader` and its neighbours.

use crate::fields::header;

header! {
    /// A broker registers; its topics are the body.
    RegisterBroker {
        /// The name that master and slaves share.
        broker_name: String = "brokerName",
        /// `HOST:PORT` for clients.
        broker_addr: String = "brokerAddr",
        /// The cluster.
        cluster_name: String = "clusterName",
        /// `HOST:PORT` for slaves.
        ha_server_addr: String = "haServerAddr",
        /// 0 is the master.
        broker_id: i64 = "brokerId",
        /// How long it counts as living without a sign of life; `None`: two minutes.
        heartbeat_timeout_ms: Option<i64> = "heartbeatTimeoutMillis",
        /// Whether a slave may stand in for the master; brokers before 5.0 do not say.
        enable_acting_master: Option<bool> = "enableActingMaster",
        /// [`body_crc32`] of the body; 0 or none is not looked at.
        body_crc32: Option<i64> = "bodyCrc32",
        /// Whether the body is; without it that is for who reads it to see.
        compressed: Option<bool> = "compressed",
        /// Where it stands.
        zone_name: Option<String> = "__ZONE_NAME",
    }
}

header! {
    /// What a registered broker is told.
    RegisterBrokerAnswer {
        /// Slaves only: where the master has its log.
        ha_server_addr: Option<String> = "haServerAddr",
        /// Slaves only: the master.
        master_addr: Option<String> = "masterAddr",
    }
}

header! {
    /// Where a master has its log.
    ExchangeBrokerHaInfoAnswer {
        /// `HOST:PORT` for slaves.
        master_ha_address: Option<String> = "masterHaAddress",
        /// How far its disk has it.
        master_flush_offset: Option<i64> = "masterFlushOffset",
        /// `HOST:PORT` for clients.
        master_address: Option<String> = "masterAddress",
    }
}

header! {
    /// A broker leaves.
    UnregisterBroker {
        /// Its name.
        broker_name: String = "brokerName",
        /// `HOST:PORT`.
        broker_addr: String = "brokerAddr",
        /// The cluster.
        cluster_name: String = "clusterName",
        /// 0 is the master.
        broker_id: i64 = "brokerId",
    }
}

header! {
    /// Which broker lives, or asks whether its topics have changed.
    BrokerAddress {
        /// The cluster.
        cluster_name: String = "clusterName",
        /// `HOST:PORT`.
        broker_addr: String = "brokerAddr",
    }
}

header! {
    /// Whether the topics are others than those that were registered last.
    QueryDataVersionAnswer {
        /// Whether the broker has to register anew.
        changed: Option<bool> = "changed",
    }
}

header! {
    /// Names a broker.
    BrokerName {
        /// The name that master and slaves share.
        broker_name: String = "brokerName",
    }
}

header! {
    /// Another broker of this name has the lowest id now, and so stands in for a missing master.
    NotifyMinBrokerIdChange {
        /// The lowest id.
        min_broker_id: i64 = "minBrokerId",
        /// `HOST:PORT` of who has it.
        min_broker_addr: Option<String> = "minBrokerAddr",
        /// Who had it and is gone.
        offline_broker_addr: Option<String> = "offlineBrokerAddr",
        /// Where who came with it has its log.
        ha_broker_addr: Option<String> = "haBrokerAddr",
    }
}

/// The checksum of a registration's body, as it is sent: CRC-32 without its highest bit. Source: Apache 5.5 `UtilAll#crc32`.
#[must_use]
pub fn body_crc32(body: &[u8]) -> i64 {
    i64::from(crc32fast::hash(body) & 0x7fff_ffff)
}
