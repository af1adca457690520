//! What an operator may change while the controller runs, under Apache's names; it holds until the process ends.
//! Source: Apache 5.5 `ControllerConfig`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A broker that is not in sync may be elected when there is no other: what it does not have is lost.
    pub elect_unclean: bool,
    /// Brokers are told at once who their master is.
    pub notify_brokers: bool,
    /// How often brokers are looked for that were not heard of for too long.
    pub scan_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { elect_unclean: false, notify_brokers: true, scan_interval: Duration::from_secs(5) }
    }
}

/// Shortest and longest time between two looks, in ms.
pub const SCAN_INTERVAL_MS: RangeInclusive<u64> = 100..=3_600_000;

/// A value that a setting cannot have, or one that cannot be changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not a value of this setting.
    #[error("{key} is {text:?}, expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        text: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// None that can be changed while the controller runs.
    #[error("{key} cannot be changed while the controller runs")]
    Key {
        /// The key.
        key: String,
    },
}

const UNCLEAN: &str = "enableElectUncleanMaster";
const NOTIFY: &str = "notifyBrokerRoleChanged";
const SCAN_INTERVAL: &str = "scanNotActiveBrokerInterval";

impl Settings {
    /// Changes settings, all or none.
    ///
    /// # Errors
    /// [`Unfit`]; nothing is changed then.
    pub fn change(&mut self, told: &BTreeMap<String, String>) -> Result<(), Unfit> {
        let mut changed = self.clone();
        for (key, text) in told {
            changed.set(key, text)?;
        }
        *self = changed;
        Ok(())
    }

    fn set(&mut self, key: &str, text: &str) -> Result<(), Unfit> {
        match key {
            // As Java's `Boolean.parseBoolean`.
            UNCLEAN => self.elect_unclean = text.eq_ignore_ascii_case("true"),
            NOTIFY => self.notify_brokers = text.eq_ignore_ascii_case("true"),
            SCAN_INTERVAL => {
                let unfit = || Unfit::Value { key: SCAN_INTERVAL, text: text.to_owned(), expected: "100 to 3600000" };
                let ms = text.parse().ok().filter(|ms| SCAN_INTERVAL_MS.contains(ms)).ok_or_else(unfit)?;
                self.scan_interval = Duration::from_millis(ms);
            }
            _ => return Err(Unfit::Key { key: key.to_owned() }),
        }
        Ok(())
    }

    /// All of them.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        vec![
            (UNCLEAN, self.elect_unclean.to_string()),
            (NOTIFY, self.notify_brokers.to_string()),
            (SCAN_INTERVAL, self.scan_interval.as_millis().to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_changed_all_or_none() {
        let told =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        let mut settings = Settings::default();
        for pairs in [[(UNCLEAN, "true"), (SCAN_INTERVAL, "99")], [(UNCLEAN, "true"), ("controllerDLegerPeers", "")]] {
            assert!(settings.change(&told(&pairs)).is_err());
            assert_eq!(settings, Settings::default());
        }
        settings.change(&told(&[(UNCLEAN, "TRUE"), (NOTIFY, "no"), (SCAN_INTERVAL, "100")])).expect("fits");
        let texts: Vec<_> = settings.pairs().into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["true", "false", "100"]);
    }
}
