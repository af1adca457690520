//! Which layer says what: default < file < environment < flag, and where each value came from.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::setting::{Convert, Form, Keys};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody said anything.
    Default,
    /// A configuration file, under our key or Apache's.
    File {
        /// The file.
        file: String,
        /// The key in it.
        key: String,
    },
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, key } => write!(f, "{file}: {key}"),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => write!(f, "--{flag}"),
        }
    }
}

/// A value as text, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

/// Something that makes the configuration unusable, or worth a remark.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// The file cannot be read.
    #[error("cannot read {file}: {detail}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        detail: String,
    },
    /// The file is not one JSON object.
    #[error("{file} is not a JSON object: {detail}")]
    NotAnObject {
        /// The file.
        file: String,
        /// What the parser said.
        detail: String,
    },
    /// The file is not Java's properties.
    #[error("{file} is not a properties file: {detail}")]
    NotProperties {
        /// The file.
        file: String,
        /// What the parser said.
        detail: String,
    },
    /// A key whose value is a list or an object.
    #[error("{file}: {key} is {found}, expected a text, a number, true or false")]
    NotAScalar {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// What stands there.
        found: &'static str,
    },
    /// Two keys of one file say the same thing.
    #[error("{file}: {first} and {second} are two names for one setting, keep one")]
    SaidTwice {
        /// The file.
        file: String,
        /// The key met first.
        first: String,
        /// The key met second.
        second: String,
    },
    /// A key that nobody knows.
    #[error("{file}: unknown key {key}; all keys: docs/operations.md or gantry {command} --print-config")]
    UnknownKey {
        /// Whose file it is.
        command: &'static str,
        /// The file.
        file: String,
        /// The key.
        key: String,
    },
    /// A value that its setting cannot have.
    #[error("{key} is {text:?} ({origin}), expected {expected}")]
    Value {
        /// The setting's key.
        key: String,
        /// The text.
        text: String,
        /// Who gave it.
        origin: Origin,
        /// What is allowed.
        expected: String,
    },
    /// One of a pair.
    #[error("{given} is set without {missing}; set both or none")]
    Alone {
        /// The key that is set.
        given: String,
        /// The key that is not.
        missing: String,
    },
}

/// A value for each setting that has one, and what was noticed on the way.
#[derive(Debug)]
pub(crate) struct Layers<K> {
    values: BTreeMap<K, Given>,
    /// What makes the configuration unusable.
    pub(crate) problems: Vec<Problem>,
    /// Keys that nobody knows: warnings, or problems when the configuration is strict.
    pub(crate) unknown: Vec<Problem>,
    /// Keys of Apache's that have no meaning here.
    pub(crate) ignored: Vec<String>,
}

impl<K: Keys> Layers<K> {
    /// Only defaults.
    pub(crate) fn defaults() -> Self {
        let given = |text: &str| Given { text: text.to_owned(), origin: Origin::Default };
        let values = K::ALL.iter().filter_map(|key| Some((*key, given(key.setting().default?)))).collect();
        Self { values, problems: Vec::new(), unknown: Vec::new(), ignored: Vec::new() }
    }

    /// Lays a file's text over what is there.
    pub(crate) fn add_file(&mut self, file: &str, text: &str) {
        match entries(K::FORM, file, text) {
            Ok(entries) => entries.into_iter().for_each(|(key, value)| self.add_file_entry(file, key, &value)),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn add_file_entry(&mut self, file: &str, key: String, value: &Value) {
        let file = file.to_owned();
        let Some((setting, convert)) = setting_of::<K>(&key) else {
            if K::is_ignored(&key) {
                self.ignored.push(key);
            } else {
                self.unknown.push(Problem::UnknownKey { command: K::COMMAND, file, key });
            }
            return;
        };
        let text = match scalar(value) {
            Ok(text) => convert(&text),
            Err(found) => return self.problems.push(Problem::NotAScalar { file, key, found }),
        };
        if let Some(Given { origin: Origin::File { key: first, .. }, .. }) = self.values.get(&setting) {
            let first = first.clone();
            return self.problems.push(Problem::SaidTwice { file, first, second: key });
        }
        self.values.insert(setting, Given { text, origin: Origin::File { file, key } });
    }

    /// Lays the variables that `lookup` finds over what is there.
    pub(crate) fn add_variables(&mut self, lookup: impl Fn(&str) -> Option<String>) {
        for &key in K::ALL {
            let name = key.variable();
            if let Some(text) = lookup(&name) {
                self.values.insert(key, Given { text, origin: Origin::Variable(name) });
            }
        }
    }

    /// Lays flags over what is there.
    pub(crate) fn add_flags(&mut self, flags: &BTreeMap<K, String>) {
        for (key, text) in flags {
            let origin = Origin::Flag(key.setting().flag);
            self.values.insert(*key, Given { text: text.clone(), origin });
        }
    }

    /// The value of a setting, if it has one.
    pub(crate) fn get(&self, key: K) -> Option<&Given> {
        self.values.get(&key)
    }
}

/// The keys and values of a file's text.
fn entries(form: Form, file: &str, text: &str) -> Result<BTreeMap<String, Value>, Problem> {
    let file = file.to_owned();
    match form {
        Form::Json => {
            serde_json::from_str(text).map_err(|error| Problem::NotAnObject { file, detail: error.to_string() })
        }
        Form::Properties => {
            let read = java_properties::read(text.as_bytes());
            let properties = read.map_err(|error| Problem::NotProperties { file, detail: error.to_string() })?;
            Ok(properties.into_iter().map(|(key, text)| (key, Value::String(text))).collect())
        }
    }
}

/// The setting that a file's key means, and how its text becomes ours.
fn setting_of<K: Keys>(key: &str) -> Option<(K, Convert)> {
    K::ALL.iter().copied().find_map(|setting| {
        if setting.file_key() == key {
            return Some((setting, setting.own_text()));
        }
        let alias = setting.setting().aliases.iter().find(|alias| alias.key == key)?;
        Some((setting, alias.convert))
    })
}

fn scalar(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null => Err("null"),
        Value::Array(_) => Err("a list"),
        Value::Object(_) => Err("an object"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::setting::Key;
    use super::*;

    type Layers = super::Layers<Key>;

    fn text(layers: &Layers, key: Key) -> (&str, String) {
        let given = layers.get(key).expect("set");
        (&given.text, given.origin.to_string())
    }

    #[test]
    fn later_layers_win() {
        let mut layers = Layers::defaults();
        assert_eq!(text(&layers, Key::Grpc), ("127.0.0.1:8081", "default".to_owned()));
        layers.add_file("f.json", r#"{"grpc": "1.1.1.1:1", "flush": "sync"}"#);
        assert_eq!(text(&layers, Key::Grpc), ("1.1.1.1:1", "f.json: grpc".to_owned()));
        layers.add_variables(|name| (name == "GANTRY_GRPC").then(|| "2.2.2.2:2".to_owned()));
        assert_eq!(text(&layers, Key::Grpc), ("2.2.2.2:2", "GANTRY_GRPC".to_owned()));
        layers.add_flags(&BTreeMap::from([(Key::Grpc, "3.3.3.3:3".to_owned())]));
        assert_eq!(text(&layers, Key::Grpc), ("3.3.3.3:3", "--grpc".to_owned()));
        assert_eq!(text(&layers, Key::Flush), ("sync", "f.json: flush".to_owned()));
        assert!(layers.problems.is_empty());
    }

    #[test]
    fn apache_keys_are_translated() {
        let mut layers = Layers::defaults();
        let file = r#"{"grpcServerPort": 9081, "flushDiskType": "SYNC_FLUSH", "transactionTimeOut": 6000,
            "transactionCheckInterval": 1000, "autoCreateTopicEnable": "false", "namesrvAddr": "a:9876"}"#;
        layers.add_file("broker.json", file);
        assert_eq!(text(&layers, Key::Grpc).0, "127.0.0.1:9081");
        assert_eq!(text(&layers, Key::Flush).0, "sync");
        assert_eq!(text(&layers, Key::TransactionCheckAfter).0, "6000ms");
        assert_eq!(text(&layers, Key::TransactionCheckInterval).0, "1000ms");
        assert_eq!(text(&layers, Key::AutoCreateTopics).0, "false");
        assert_eq!(layers.ignored, ["namesrvAddr"]);
        assert!(layers.problems.is_empty());
    }

    #[test]
    fn every_fault_of_a_file_is_named() {
        let mut layers = Layers::defaults();
        layers.add_file("f", r#"{"grpc": [1], "flush": "sync", "flushDiskType": "SYNC_FLUSH", "grcp": 1}"#);
        let problems: Vec<String> = layers.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "f: flush and flushDiskType are two names for one setting, keep one",
                "f: grpc is a list, expected a text, a number, true or false",
            ],
        );
        assert!(matches!(layers.unknown.as_slice(), [Problem::UnknownKey { key, .. }] if key == "grcp"));
    }

    #[test]
    fn a_file_that_is_no_object_is_refused() {
        for text in ["", "[]", "{\"grpc\":"] {
            let mut layers = Layers::defaults();
            layers.add_file("f", text);
            assert!(matches!(layers.problems.as_slice(), [Problem::NotAnObject { .. }]), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(text in any::<String>(), value in ".{0,40}", key in 0..Key::ALL.len(), cut in 0usize..80) {
            Layers::defaults().add_file("f", &text);
            let key = Key::ALL[key].file_key();
            let whole = serde_json::json!({ key: value, "transactionTimeOut": [value], "x": { "y": null } }).to_string();
            let mut layers = Layers::defaults();
            layers.add_file("f", &whole);
            prop_assert!(layers.problems.len() <= 1, "only the list is no text");
            let cut = whole.char_indices().nth(cut).map_or(whole.len(), |(at, _)| at);
            Layers::defaults().add_file("f", &whole[..cut]);
        }
    }
}
