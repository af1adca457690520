//! What clients tell of themselves, and what others are told of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// A client lives: the body of [`HeartBeat`](crate::RequestCode::HeartBeat).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatData {
    /// Its name, as no other client has it.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// The groups it consumes in.
    pub consumer_data_set: Vec<ConsumerData>,
    /// The groups it produces in.
    pub producer_data_set: Vec<ProducerData>,
    /// Tells one set of subscriptions from another; 0 if the client does not compare them.
    pub heartbeat_fingerprint: i32,
    /// Whether the subscriptions are left out because they have not changed.
    pub without_sub: bool,
}

/// A group a client produces in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerData {
    /// The group.
    pub group_name: String,
}

/// A group a client consumes in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerData {
    /// Where a group that is new begins: `CONSUME_FROM_LAST_OFFSET`, `CONSUME_FROM_FIRST_OFFSET`, `CONSUME_FROM_TIMESTAMP`.
    pub consume_from_where: String,
    /// `CONSUME_ACTIVELY`, `CONSUME_PASSIVELY` or `CONSUME_POP`.
    pub consume_type: String,
    /// The group.
    pub group_name: String,
    /// `CLUSTERING` or `BROADCASTING`.
    pub message_model: String,
    /// What it subscribes to.
    pub subscription_data_set: Vec<SubscriptionData>,
    /// Whether it belongs to a unit.
    pub unit_mode: bool,
}

/// Which messages of a topic are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionData {
    /// Whether a class of the consumer's filters, until 4.x.
    pub class_filter_mode: bool,
    /// The hashes of the tags; Go's clients write them as texts.
    #[serde(deserialize_with = "hashes")]
    pub code_set: BTreeSet<i32>,
    /// `TAG` or `SQL92`; none is `TAG`.
    pub expression_type: Option<String>,
    /// The expression.
    pub sub_string: String,
    /// Ms since 1970.
    pub sub_version: i64,
    /// The tags of the expression.
    pub tags_set: BTreeSet<String>,
    /// The topic.
    pub topic: String,
}

/// Numbers, or texts of numbers. Source: fastjson takes both.
fn hashes<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeSet<i32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Hash {
        Number(i32),
        Text(String),
    }
    let number = |hash| match hash {
        Hash::Number(number) => Ok(number),
        Hash::Text(text) => text.parse().map_err(D::Error::custom),
    };
    Vec::deserialize(input)?.into_iter().map(number).collect()
}

/// Whether a subscription can be served: the body of [`CheckClientConfig`](crate::RequestCode::CheckClientConfig).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckClientConfig {
    /// The client.
    pub client_id: String,
    /// The group.
    pub group: String,
    /// The subscription.
    pub subscription_data: SubscriptionData,
}

/// The clients of a group: the body of [`GetConsumerListByGroup`](crate::RequestCode::GetConsumerListByGroup)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerIdList {
    /// Their names.
    pub consumer_id_list: Vec<String>,
}

/// Groups of consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupList {
    /// Their names.
    pub group_list: BTreeSet<String>,
}

/// Where a client is and what it is written in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientConnection {
    /// `IP:PORT`.
    pub client_addr: String,
    /// Its name.
    pub client_id: String,
    /// By [`Language::name`](crate::Language::name).
    pub language: String,
    /// An ordinal of `MQVersion`.
    pub version: i32,
}

/// The clients that consume in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerConnection {
    /// The clients.
    pub connection_set: Vec<ClientConnection>,
    /// As in [`ConsumerData`].
    pub consume_from_where: String,
    /// As in [`ConsumerData`].
    pub consume_type: String,
    /// As in [`ConsumerData`].
    pub message_model: String,
    /// By topic.
    pub subscription_table: BTreeMap<String, SubscriptionData>,
}

/// The clients that produce in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerConnection {
    /// The clients.
    pub connection_set: Vec<ClientConnection>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_may_be_texts() {
        let read = |codes: &str| {
            let body =
                format!(r#"{{"topic":"t","subString":"a || b","tagsSet":["a","b"],"codeSet":{codes},"subVersion":1}}"#);
            crate::from_slice::<SubscriptionData>(body.as_bytes())
        };
        let hashes = BTreeSet::from([-97, 98]);
        assert_eq!(read("[-97,98]").expect("Java's").code_set, hashes);
        assert_eq!(read(r#"["-97","98"]"#).expect("Go's").code_set, hashes);
        assert_eq!(read("[]").expect("none").code_set, BTreeSet::new());
        assert!(read(r#"["a"]"#).is_err() && read("[3000000000]").is_err());
    }
}
