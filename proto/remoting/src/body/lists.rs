//! Lists of topics, tables of texts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Topics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicList {
    /// The address of a broker that has the topics of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    /// Their names.
    pub topic_list: BTreeSet<String>,
}

/// The key in the runtime info of a Gantry broker that its version stands under: Apache's brokers have none.
pub const GANTRY_VERSION: &str = "gantryVersion";

/// Texts by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KvTable {
    /// All of them.
    pub table: BTreeMap<String, String>,
}
