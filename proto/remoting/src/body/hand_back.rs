//! What a slave has done while it stood in for its master. Ours: Apache's broker asks its slaves for all offsets instead.

use serde::{Deserialize, Serialize};

use super::LockBatch;

/// The body of [`HandBack`](crate::RequestCode::HandBack) from a slave, and of its answer to a master.
///
/// A master asks with nothing: the slave answers with all that it has, and does nothing in its stead from then on. A slave tells a
/// master that has not asked: what that has taken is on its disk, by the rule of its flush, when it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HandBack {
    /// Where groups are.
    pub offsets: Vec<GroupOffset>,
    /// Delayed messages that other brokers have: when each was due, ms since 1970, and where its record is.
    pub delivered: Vec<(i64, u64)>,
    /// The queues that clients have locked, a client of a group each.
    pub locks: Vec<LockBatch>,
}

/// Where a group is on a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupOffset {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The queue.
    pub queue: u32,
    /// The first message that it has not consumed.
    pub offset: u64,
}
