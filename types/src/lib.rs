//! The domain's nouns and the seam between the tiers.
//!
//! No I/O, no wire format. Every front door (gRPC, HTTP) and every broker (in process, over Remoting)
//! speaks in these types; the two traits [`Broker`] and [`Admin`] are the only way from one tier to the other.

pub mod admin;
pub mod broker;
pub mod filter;
pub mod group;
pub mod hex;
pub mod message;
pub mod position;
pub mod properties;
pub mod receipt_handle;
pub mod time;
pub mod topic;

pub use admin::Admin;
pub use broker::Broker;
pub use filter::Filter;
pub use group::{GroupConfig, GroupName, RetryPolicy};
pub use message::{Message, MessageType, SysFlag};
pub use position::{PhysicalOffset, QueueId, QueueOffset};
pub use properties::Properties;
pub use receipt_handle::ReceiptHandle;
pub use time::Timestamp;
pub use topic::{TopicConfig, TopicName, TopicType};
