//! The key-value configuration: texts by namespace and key, which operators set and the name server keeps on its disk.
//!
//! Source: Apache 5.5 `KVConfigManager`; the file has its form, so Apache's can be taken over.

use std::collections::BTreeMap;

use remoting_proto::body::KvTable;
use serde::{Deserialize, Serialize};

/// Which brokers hold the queues of an ordered topic, by topic.
pub const ORDER_TOPICS: &str = "ORDER_TOPIC_CONFIG";

/// Most bytes of all entries, each with [`ENTRY_BYTES`]; so the largest namespace fits in one answer.
pub const BYTES_MAX: usize = 8 * 1024 * 1024;
/// What an entry costs beside its texts.
const ENTRY_BYTES: usize = 64;

/// The configuration. No I/O.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KvConfig {
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    bytes: usize,
}

/// There is no room.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key-value configuration would have {bytes} bytes, limit is {BYTES_MAX}")]
pub struct Full {
    /// With the entry that is refused.
    pub bytes: usize,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File<T> {
    config_table: T,
}

impl KvConfig {
    /// Reads the file's text.
    ///
    /// # Errors
    /// It is not the expected JSON.
    pub fn from_file(text: &[u8]) -> Result<Self, serde_json::Error> {
        let File { config_table: namespaces } =
            serde_json::from_slice::<File<BTreeMap<String, BTreeMap<String, String>>>>(text)?;
        let of_namespace = |(namespace, table): (&String, &BTreeMap<String, String>)| -> usize {
            table.iter().map(|(key, value)| cost(namespace, key, value)).sum()
        };
        let bytes = namespaces.iter().map(of_namespace).sum();
        Ok(Self { namespaces, bytes })
    }

    /// The file's text.
    ///
    /// # Panics
    /// Never: texts have a JSON form.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&File { config_table: &self.namespaces }).expect("texts have a JSON form")
    }

    /// Sets a value.
    ///
    /// # Errors
    /// [`Full`]; nothing is changed then.
    pub fn put(&mut self, namespace: &str, key: String, value: String) -> Result<(), Full> {
        let freed = self.get(namespace, &key).map_or(0, |old| cost(namespace, &key, old));
        let bytes = self.bytes - freed + cost(namespace, &key, &value);
        if bytes > BYTES_MAX {
            return Err(Full { bytes });
        }
        self.bytes = bytes;
        self.namespaces.entry(namespace.to_owned()).or_default().insert(key, value);
        Ok(())
    }

    /// A value.
    #[must_use]
    pub fn get(&self, namespace: &str, key: &str) -> Option<&str> {
        self.namespaces.get(namespace)?.get(key).map(String::as_str)
    }

    /// Removes a value; one that is not there is no error. The namespace stays, if only as an empty one.
    pub fn delete(&mut self, namespace: &str, key: &str) {
        if let Some(value) = self.namespaces.get_mut(namespace).and_then(|table| table.remove(key)) {
            self.bytes -= cost(namespace, key, &value);
        }
    }

    /// A namespace, if anything was ever put into it.
    #[must_use]
    pub fn list(&self, namespace: &str) -> Option<KvTable> {
        self.namespaces.get(namespace).map(|table| KvTable { table: table.clone() })
    }
}

fn cost(namespace: &str, key: &str, value: &str) -> usize {
    namespace.len() + key.len() + value.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_of_apaches_is_read() {
        let kv = KvConfig::from_file(br#"{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"broker-a:8"}}}"#).expect("JSON");
        assert_eq!(kv.get(ORDER_TOPICS, "T"), Some("broker-a:8"));
        assert_eq!(kv.list("other"), None);
        assert!(KvConfig::from_file(b"{}").is_err());
    }

    #[test]
    fn it_is_bounded_and_refuses_whole_entries() {
        let mut kv = KvConfig::default();
        let big = "x".repeat(BYTES_MAX - ENTRY_BYTES - 2);
        kv.put("n", "k".to_owned(), big.clone()).expect("fits exactly");
        assert_eq!(kv.put("n", "l".to_owned(), String::new()), Err(Full { bytes: BYTES_MAX + ENTRY_BYTES + 2 }));
        assert_eq!(kv.get("n", "l"), None);
        kv.put("n", "k".to_owned(), big).expect("takes its own place");
        kv.delete("n", "k");
        assert_eq!(kv, KvConfig { namespaces: [("n".to_owned(), BTreeMap::new())].into(), bytes: 0 });
    }

    proptest! {
        #[test]
        fn it_comes_back_from_its_file(steps in prop::collection::vec(("[ab]", "[ab]", prop::option::of(".{0,4}")), 0..20)) {
            let mut kv = KvConfig::default();
            for (namespace, key, value) in steps {
                match value {
                    Some(value) => kv.put(&namespace, key, value).expect("small"),
                    None => kv.delete(&namespace, &key),
                }
            }
            prop_assert_eq!(KvConfig::from_file(&kv.to_file()).expect("own file"), kv);
        }
    }
}
