//! What an operator may change while the name server runs, under Apache's names. Source: Apache 5.5 `NamesrvConfig`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Routes tell which brokers hold the queues of an ordered topic.
    pub order_message_enable: bool,
    /// Brokers that register are told the same of all ordered topics.
    pub return_order_topic_config_to_broker: bool,
    /// A slave that stands in for a missing master is shown as the master.
    pub support_acting_master: bool,
    /// All topics may be listed.
    pub enable_all_topic_list: bool,
    /// The topics of a cluster, or of units, may be listed.
    pub enable_topic_list: bool,
    /// Routes are told only once brokers had time to register.
    pub need_wait_for_service: bool,
    /// That time.
    pub wait_for_service: Duration,
    /// Brokers are told when another one of their name has the lowest id, so that it stands in for a missing master at once.
    pub notify_min_broker_id_changed: bool,
    /// Topics that a registration leaves out are forgotten on its broker.
    pub delete_topic_with_broker_registration: bool,
    /// How often brokers are looked for that were not heard of for too long.
    pub scan_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            order_message_enable: false,
            return_order_topic_config_to_broker: true,
            support_acting_master: false,
            enable_all_topic_list: true,
            enable_topic_list: true,
            need_wait_for_service: false,
            wait_for_service: Duration::from_secs(45),
            notify_min_broker_id_changed: false,
            delete_topic_with_broker_registration: false,
            scan_interval: Duration::from_secs(5),
        }
    }
}

/// Shortest and longest time between two looks, in ms.
pub const SCAN_INTERVAL_MS: std::ops::RangeInclusive<u64> = 100..=3_600_000;
/// Longest time that routes may be held back, in seconds.
pub const WAIT_SECONDS_MAX: u64 = 3600;

/// A value that a setting cannot have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {text:?}, expected {expected}")]
pub struct Unfit {
    /// The key.
    pub key: &'static str,
    /// The value.
    pub text: String,
    /// What is allowed.
    pub expected: &'static str,
}

impl Settings {
    /// Sets the one that `key` names; others are nobody's matter, as in Apache's.
    ///
    /// # Errors
    /// [`Unfit`]; nothing is changed then.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), Unfit> {
        if let Some((_, flag)) = self.flags_mut().into_iter().find(|(name, _)| *name == key) {
            // As Java's `Boolean.parseBoolean`.
            *flag = text.eq_ignore_ascii_case("true");
            return Ok(());
        }
        match key {
            "waitSecondsForService" => {
                let unfit = || Unfit { key: "waitSecondsForService", text: text.to_owned(), expected: "0 to 3600" };
                let seconds = text.parse().ok().filter(|seconds| *seconds <= WAIT_SECONDS_MAX).ok_or_else(unfit)?;
                self.wait_for_service = Duration::from_secs(seconds);
            }
            "scanNotActiveBrokerInterval" => {
                let unfit =
                    || Unfit { key: "scanNotActiveBrokerInterval", text: text.to_owned(), expected: "100 to 3600000" };
                let ms = text.parse().ok().filter(|ms| SCAN_INTERVAL_MS.contains(ms)).ok_or_else(unfit)?;
                self.scan_interval = Duration::from_millis(ms);
            }
            _ => {}
        }
        Ok(())
    }

    /// All of them, under Apache's names.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        // A copy, so that names stand in one place.
        let mut copy = self.clone();
        let mut pairs: Vec<_> = copy.flags_mut().into_iter().map(|(name, flag)| (name, flag.to_string())).collect();
        pairs.push(("waitSecondsForService", self.wait_for_service.as_secs().to_string()));
        pairs.push(("scanNotActiveBrokerInterval", self.scan_interval.as_millis().to_string()));
        pairs
    }

    fn flags_mut(&mut self) -> [(&'static str, &mut bool); 8] {
        [
            ("orderMessageEnable", &mut self.order_message_enable),
            ("returnOrderTopicConfigToBroker", &mut self.return_order_topic_config_to_broker),
            ("supportActingMaster", &mut self.support_acting_master),
            ("enableAllTopicList", &mut self.enable_all_topic_list),
            ("enableTopicList", &mut self.enable_topic_list),
            ("needWaitForService", &mut self.need_wait_for_service),
            ("notifyMinBrokerIdChanged", &mut self.notify_min_broker_id_changed),
            ("deleteTopicWithBrokerRegistration", &mut self.delete_topic_with_broker_registration),
        ]
    }
}

/// Settings that were changed, with what they are since then, under Apache's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(BTreeMap<&'static str, String>);

impl Changes {
    /// Reads the file's text, a setting a line, and sets what it says.
    ///
    /// # Errors
    /// It is no text of properties, or a value that a setting cannot have.
    pub fn from_file(text: &[u8], settings: &mut Settings) -> Result<Self, FileError> {
        let mut changes = Self::default();
        changes.make(&java_properties::read(text)?.into_iter().collect(), settings)?;
        Ok(changes)
    }

    /// The file's text.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        self.0.iter().map(|(key, text)| format!("{key}={text}\n")).collect::<String>().into_bytes()
    }

    /// Changes settings, all or none, and notes those of them that there are.
    ///
    /// # Errors
    /// [`Unfit`]; nothing is changed then.
    pub fn make(&mut self, told: &BTreeMap<String, String>, settings: &mut Settings) -> Result<(), Unfit> {
        let mut changed = settings.clone();
        for (key, text) in told {
            changed.set(key, text)?;
        }
        self.0.extend(changed.pairs().into_iter().filter(|(key, _)| told.contains_key(*key)));
        *settings = changed;
        Ok(())
    }

    /// Whether nothing was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|(key, text)| format!("{key}={text}")).collect();
        f.write_str(&pairs.join(", "))
    }
}

/// Why a file of changes cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is no text of properties.
    #[error(transparent)]
    Form(#[from] java_properties::PropertiesError),
    /// A value that a setting cannot have.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_can_be_set_under_the_name_it_is_shown_with() {
        let mut settings = Settings::default();
        for (key, text) in Settings::default().pairs() {
            let other = match &*text {
                "true" => "false".to_owned(),
                "false" => "TRUE".to_owned(),
                number => format!("{number}0"),
            };
            settings.set(key, &other).expect("fits");
            let shown = settings.pairs().into_iter().find(|(name, _)| *name == key).expect("shown").1;
            assert_eq!(shown, other.to_lowercase(), "{key}");
        }
        assert_eq!(settings.scan_interval, Duration::from_secs(50));
    }

    #[test]
    fn changes_come_back_from_their_file_and_nothing_else_does() {
        let told =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        let (mut settings, mut changes) = (Settings::default(), Changes::default());
        changes.make(&told(&[("enableTopicList", "FALSE"), ("clusterTest", "true")]), &mut settings).expect("fits");
        changes.make(&told(&[("waitSecondsForService", "7")]), &mut settings).expect("fits");
        assert!(
            changes.make(&told(&[("enableTopicList", "true"), ("waitSecondsForService", "x")]), &mut settings).is_err()
        );
        assert_eq!(
            String::from_utf8(changes.to_file()).expect("text"),
            "enableTopicList=false\nwaitSecondsForService=7\n"
        );
        let mut again = Settings { order_message_enable: true, ..Settings::default() };
        assert_eq!(Changes::from_file(&changes.to_file(), &mut again).expect("readable"), changes);
        assert_eq!(again, Settings { order_message_enable: true, ..settings });
        assert!(Changes::from_file(b"waitSecondsForService=x", &mut again).is_err());
    }

    #[test]
    fn unfit_values_change_nothing_and_unknown_keys_are_left_alone() {
        let mut settings = Settings::default();
        for (key, text) in [
            ("waitSecondsForService", "3601"),
            ("scanNotActiveBrokerInterval", "0"),
            ("scanNotActiveBrokerInterval", "x"),
        ] {
            assert!(settings.set(key, text).is_err(), "{key}={text}");
        }
        settings.set("clusterTest", "true").expect("nobody's matter");
        assert_eq!(settings, Settings::default());
    }
}
