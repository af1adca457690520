//! The fields of requests and responses, by what they are about. Names are those on the wire.

mod kv;
mod registration;
mod topics;

pub use kv::{GetKvConfig, GetKvConfigAnswer, GetKvListByNamespace, PutKvConfig};
pub use registration::{
    BrokerAddress, BrokerName, NotifyMinBrokerIdChange, QueryDataVersionAnswer, RegisterBroker, RegisterBrokerAnswer,
    UnregisterBroker, body_crc32,
};
pub use topics::{
    AddWritePermAnswer, BrokerMember, DeleteTopic, GetRouteInfo, GetTopicsByCluster, TopicName, WipeWritePermAnswer,
};
