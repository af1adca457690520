//! The JSON bodies. Members that nobody reads are left out; what is missing or null has the default.

mod broker;
mod lists;
mod register;
mod route;
mod topic;

pub use broker::{BrokerData, BrokerMemberGroup, ClusterInfo, MemberGroup};
pub use lists::{KvTable, TopicList};
pub use register::{Error as RegisterError, INFLATED_BYTES_MAX, RegisterBroker};
pub use route::{QueueData, TopicRouteData};
pub use topic::{DataVersion, Permission, TopicConfig};
