//! What brokers and operators ask controllers. Source: Apache 5.5 `remoting.protocol.header.controller` and its neighbours.

use crate::fields::header;

header! {
    /// A master changes which brokers are in sync with it; they are the body.
    AlterSyncStateSet {
        /// The name that master and slaves share.
        broker_name: String = "brokerName",
        /// The master's id.
        master_broker_id: i64 = "masterBrokerId",
        /// The epoch in which it is the master.
        master_epoch: i64 = "masterEpoch",
    }
}

header! {
    /// What it is told.
    AlterSyncStateSetAnswer {
        /// The epoch of the new set.
        new_sync_state_set_epoch: i64 = "newSyncStateSetEpoch",
    }
}

header! {
    /// Asks for an election.
    ElectMaster {
        /// The cluster.
        cluster_name: String = "clusterName",
        /// The name whose master it is about.
        broker_name: String = "brokerName",
        /// Who asks, or who is to be the master; none or -1 is nobody.
        broker_id: Option<i64> = "brokerId",
        /// Whether that one is to be the master, although the one before it is alive.
        designate_elect: Option<bool> = "designateElect",
    }
}

header! {
    /// The master after an election.
    ElectMasterAnswer {
        /// Its id.
        master_broker_id: Option<i64> = "masterBrokerId",
        /// `HOST:PORT`.
        master_address: Option<String> = "masterAddress",
        /// Its epoch.
        master_epoch: Option<i64> = "masterEpoch",
        /// The epoch of the set of brokers in sync.
        sync_state_set_epoch: Option<i64> = "syncStateSetEpoch",
    }
}

header! {
    /// A broker that has its id tells where it is.
    RegisterBrokerToController {
        /// The cluster.
        cluster_name: String = "clusterName",
        /// Its name.
        broker_name: String = "brokerName",
        /// Its id among those of its name.
        broker_id: i64 = "brokerId",
        /// `HOST:PORT`.
        broker_address: String = "brokerAddress",
    }
}

header! {
    /// Who is the master, if there is one that is alive.
    RegisterBrokerToControllerAnswer {
        /// The cluster.
        cluster_name: String = "clusterName",
        /// The name.
        broker_name: String = "brokerName",
        /// The master's id.
        master_broker_id: Option<i64> = "masterBrokerId",
        /// `HOST:PORT`.
        master_address: Option<String> = "masterAddress",
        /// Its epoch.
        master_epoch: Option<i64> = "masterEpoch",
        /// The epoch of the set of brokers in sync.
        sync_state_set_epoch: Option<i64> = "syncStateSetEpoch",
    }
}

header! {
    /// Who is the master, if there is one.
    GetReplicaInfoAnswer {
        /// Its id.
        master_broker_id: Option<i64> = "masterBrokerId",
        /// `HOST:PORT`.
        master_address: Option<String> = "masterAddress",
        /// The epoch, also when there is none.
        master_epoch: i64 = "masterEpoch",
    }
}

header! {
    /// The controllers.
    GetControllerMetadataAnswer {
        /// The name of their group.
        group: String = "group",
        /// Which of them leads, if one does.
        controller_leader_id: Option<String> = "controllerLeaderId",
        /// `HOST:PORT`.
        controller_leader_address: Option<String> = "controllerLeaderAddress",
        /// Whether it is the one that answers.
        is_leader: Option<bool> = "isLeader",
        /// All of them: `ID:HOST:PORT;` each.
        peers: String = "peers",
    }
}

header! {
    /// An id that no broker of a name has.
    GetNextBrokerIdAnswer {
        /// The cluster.
        cluster_name: String = "clusterName",
        /// The name.
        broker_name: String = "brokerName",
        /// The id.
        next_broker_id: i64 = "nextBrokerId",
    }
}

header! {
    /// A broker takes an id.
    ApplyBrokerId {
        /// The cluster.
        cluster_name: String = "clusterName",
        /// Its name.
        broker_name: String = "brokerName",
        /// The id.
        applied_broker_id: i64 = "appliedBrokerId",
        /// `HOST:PORT;MS`: tells a broker that asks again from another one.
        register_check_code: String = "registerCheckCode",
    }
}

header! {
    /// Brokers to be forgotten.
    CleanBrokerData {
        /// The cluster.
        cluster_name: Option<String> = "clusterName",
        /// Their name.
        broker_name: String = "brokerName",
        /// Their ids with semicolons between them; none is all.
        broker_controller_ids_to_clean: Option<String> = "brokerControllerIdsToClean",
        /// Whether they may be alive.
        is_clean_living_broker: Option<bool> = "isCleanLivingBroker",
    }
}

header! {
    /// A broker lives, and how far its log is.
    ControllerHeartbeat {
        /// The cluster.
        cluster_name: String = "clusterName",
        /// `HOST:PORT`.
        broker_addr: String = "brokerAddr",
        /// Its name.
        broker_name: String = "brokerName",
        /// Its id.
        broker_id: Option<i64> = "brokerId",
        /// The last epoch of its log.
        epoch: Option<i64> = "epoch",
        /// Where its log ends.
        max_offset: Option<i64> = "maxOffset",
        /// How long it counts as living without a sign of life, in ms.
        heartbeat_timeout_ms: Option<i64> = "heartbeatTimeoutMills",
        /// Lower is preferred.
        election_priority: Option<i64> = "electionPriority",
    }
}

header! {
    /// Tells a broker who is the master now; the set of brokers in sync is the body.
    NotifyBrokerRoleChanged {
        /// `HOST:PORT`.
        master_address: String = "masterAddress",
        /// Its epoch.
        master_epoch: i64 = "masterEpoch",
        /// The epoch of the set.
        sync_state_set_epoch: i64 = "syncStateSetEpoch",
        /// Its id.
        master_broker_id: i64 = "masterBrokerId",
    }
}

header! {
    /// Ours: which controller a message between controllers is for.
    ToController {
        /// The name of their group.
        group: String = "group",
        /// The numbers of all of them, as the sender knows them: `0,1,2`.
        peers: String = "peers",
        /// Its number.
        to: i64 = "to",
    }
}
