//! What an operator may change while the broker runs, under Apache's names; it lasts until the broker ends. Source: Apache 5.5
//! `BrokerConfig`.

use std::collections::BTreeMap;

use remoting_proto::body::Permission;
use types::topic::QUEUES_MAX;

const PERMISSION: &str = "brokerPermission";
const AUTO_CREATE: &str = "autoCreateTopicEnable";
const DEFAULT_QUEUES: &str = "defaultTopicQueueNums";

/// The settings, and the rest of the configuration as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What clients may do with all topics: 6 is everything, 4 only reads, as a broker wants it that is to be taken away.
    pub(crate) permission: Permission,
    /// Whether clients may make topics by sending to them.
    pub(crate) auto_create_topics: bool,
    /// Most queues of a topic that is made so.
    pub(crate) default_queues: u32,
    /// How often they were changed.
    pub(crate) changes: u64,
    /// All that is shown but the above.
    shown: BTreeMap<String, String>,
}

/// Why a change is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// A value that the setting cannot have.
    #[error("{key} is {text:?}, expected {expected}")]
    Value { key: &'static str, text: String, expected: &'static str },
    /// A setting that stays as it is.
    #[error("{key} cannot be changed while the broker runs; {PERMISSION}, {AUTO_CREATE} and {DEFAULT_QUEUES} can")]
    Fixed { key: String },
}

impl Settings {
    /// Those of the start.
    pub(crate) fn new(auto_create_topics: bool, default_queues: u32, shown: &[(String, String)]) -> Self {
        let changeable = [PERMISSION, AUTO_CREATE, DEFAULT_QUEUES];
        let shown = shown.iter().filter(|(key, _)| !changeable.contains(&key.as_str())).cloned().collect();
        Self { permission: Permission::READ_WRITE, auto_create_topics, default_queues, changes: 0, shown }
    }

    /// Takes lines of properties, all or none. A line that says what is so already is fine.
    pub(crate) fn change(&mut self, properties: &str) -> Result<(), Unfit> {
        let mut changed = self.clone();
        for line in properties.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, text) = line.split_once('=').unwrap_or((line, ""));
            changed.set(key.trim(), text.trim())?;
        }
        changed.changes += 1;
        *self = changed;
        Ok(())
    }

    fn set(&mut self, key: &str, text: &str) -> Result<(), Unfit> {
        let unfit = |key, expected| Unfit::Value { key, text: text.to_owned(), expected };
        match key {
            PERMISSION => {
                let known = text.parse().ok().filter(|bits| [2, 4, 6].contains(bits));
                self.permission = Permission(known.ok_or_else(|| unfit(PERMISSION, "2, 4 or 6"))?);
            }
            AUTO_CREATE => {
                self.auto_create_topics = text.parse().map_err(|_| unfit(AUTO_CREATE, "true or false"))?;
            }
            DEFAULT_QUEUES => {
                let known = text.parse().ok().filter(|queues| (1..=QUEUES_MAX).contains(queues));
                self.default_queues = known.ok_or_else(|| unfit(DEFAULT_QUEUES, "1 to 1024"))?;
            }
            other if self.shown.get(other).is_some_and(|shown| shown == text) => {}
            other => return Err(Unfit::Fixed { key: other.to_owned() }),
        }
        Ok(())
    }

    /// All as lines of properties.
    pub(crate) fn to_properties(&self) -> String {
        let own = [
            (PERMISSION, self.permission.0.to_string()),
            (AUTO_CREATE, self.auto_create_topics.to_string()),
            (DEFAULT_QUEUES, self.default_queues.to_string()),
        ];
        let own = own.map(|(key, text)| (key.to_owned(), text));
        own.into_iter().chain(self.shown.clone()).map(|(key, text)| format!("{key}={text}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_whole_or_not_at_all() {
        let shown = [("brokerName", "b"), ("autoCreateTopicEnable", "old")];
        let shown = shown.map(|(key, text)| (key.to_owned(), text.to_owned()));
        let mut settings = Settings::new(true, 4, &shown);
        assert_eq!(settings.change("brokerPermission=4\n\nbrokerName=b\ndefaultTopicQueueNums = 9\n"), Ok(()));
        let expected = "brokerPermission=4\nautoCreateTopicEnable=true\ndefaultTopicQueueNums=9\nbrokerName=b\n";
        assert_eq!((settings.to_properties().as_str(), settings.changes), (expected, 1));
        let refused = settings.change("autoCreateTopicEnable=false\nbrokerName=c\n");
        assert_eq!(refused, Err(Unfit::Fixed { key: "brokerName".to_owned() }));
        for text in ["brokerPermission=5", "autoCreateTopicEnable=yes", "defaultTopicQueueNums=1025"] {
            assert!(matches!(settings.change(text), Err(Unfit::Value { .. })), "{text}");
        }
        assert_eq!((settings.to_properties().as_str(), settings.changes), (expected, 1));
    }
}
