//! The JSON bodies. Members that nobody reads are left out; what is missing or null has the default.

mod acks;
pub mod batch;
mod broker;
mod client;
mod controller;
mod group;
mod hand_back;
mod lists;
mod progress;
mod queue;
mod register;
mod route;
mod stats;
mod topic;

pub use acks::{BatchAck, BatchAcks};
pub use broker::{BrokerData, BrokerMemberGroup, ClusterInfo, MemberGroup};
pub use client::{
    CheckClientConfig, ClientConnection, ConsumerConnection, ConsumerData, ConsumerIdList, GroupList, HeartbeatData,
    ProducerConnection, ProducerData, SubscriptionData,
};
pub use controller::{BrokerReplicas, ElectMasterBody, EpochCache, EpochEntry, Replica, Replicas, SyncStateSet};
pub use group::{
    CustomizedRetryPolicy, ExponentialRetryPolicy, GroupRetryPolicy, SubscriptionGroupConfig, SubscriptionGroupList,
    SubscriptionGroups,
};
pub use hand_back::{GroupOffset, HandBack};
pub use lists::{GANTRY_VERSION, KvTable, TopicList};
pub use progress::{ConsumerOffsets, DelayOffsets, TimerCheckPoint, TimerMetrics};
pub use queue::{
    ConsumeOffset, ConsumeStats, LockBatch, LockBatchAnswer, MessageQueue, QueueTable, ResetOffsets, TopicOffset,
    TopicStats,
};
pub use register::{Error as RegisterError, INFLATED_BYTES_MAX, RegisterBroker};
pub use route::{QueueData, TopicRouteData};
pub use stats::{
    Assignment, Assignments, BrokerConsumeStats, BrokerStatsData, BrokerStatsItem, ConsumeTimeSpans, CorrectionOffsets,
    GroupReadable, GroupSubscription, HaClient, HaConnection, HaStatus, MessageRequestMode, MessageRequestModes,
    ProducerInfo, ProducerTable, QueryAssignment, QueueEntries, QueueEntry, QueueTimeSpan,
};
pub use topic::{DataVersion, Permission, TopicConfig, TopicConfigList, TopicSettings, Topics};
