//! Consumer groups: their names, and how a failed message comes back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::topic::{NameError, SHARED_PREFIX, SHARED_RULE, check_name};

/// Longest name, in characters. Source: Apache `Validators.checkGroup`.
pub const NAME_CHARS_MAX: usize = 120;
const SYSTEM_PREFIX: &str = "CID_RMQ_SYS_";

/// A consumer group's name: valid by construction, cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// A name that a client of a front door gave: valid and not the system's.
    ///
    /// # Errors
    /// [`NameError`], which names the rule that the text breaks.
    pub fn for_client(name: &str) -> Result<Self, NameError> {
        let group = Self::for_peer(name)?;
        if group.is_shared() {
            return Err(NameError::System { what: "consumer group", name: name.to_owned(), rule: SHARED_RULE });
        }
        Ok(group)
    }

    /// A name that came over Remoting, by which gateways too use brokers: valid and not RocketMQ's own.
    ///
    /// # Errors
    /// [`NameError`], which names the rule that the text breaks.
    pub fn for_peer(name: &str) -> Result<Self, NameError> {
        let group = Self::new(name)?;
        if name.starts_with(SYSTEM_PREFIX) {
            let rule = "names that begin with CID_RMQ_SYS_ are RocketMQ's own";
            return Err(NameError::System { what: "consumer group", name: name.to_owned(), rule });
        }
        Ok(group)
    }

    /// A valid name, the system's own included.
    ///
    /// # Errors
    /// [`NameError`], which names the rule that the text breaks.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check_name("consumer group", name, NAME_CHARS_MAX)?;
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether gateways keep it for themselves.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.0.starts_with(SHARED_PREFIX)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for GroupName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(&name)
    }
}

impl From<GroupName> for String {
    fn from(name: GroupName) -> Self {
        name.as_str().to_owned()
    }
}

impl std::borrow::Borrow<str> for GroupName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// How long a failed message waits for its next delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "UPPERCASE")]
pub enum RetryPolicy {
    /// The n-th retry waits the n-th duration, later ones the last. Source: Apache `CustomizedRetryPolicy`.
    Customized {
        /// Not empty.
        next: Vec<Duration>,
    },
    /// The n-th retry waits `initial × multiplier^(n-1)`, at most `max`. Source: Apache `ExponentialRetryPolicy`.
    Exponential {
        /// The first wait.
        initial: Duration,
        /// The longest wait.
        max: Duration,
        /// The factor, at least 1.
        multiplier: u32,
    },
}

impl RetryPolicy {
    /// The wait after the `attempt`-th delivery (from 1) failed.
    #[must_use]
    pub fn delay_after(&self, attempt: u32) -> Duration {
        let retry = attempt.max(1) - 1;
        match self {
            Self::Customized { next } => {
                let last = next.len().saturating_sub(1);
                let index = usize::try_from(retry).unwrap_or(last).min(last);
                next.get(index).copied().unwrap_or_default()
            }
            Self::Exponential { initial, max, multiplier } => {
                let factor = multiplier.max(&1).checked_pow(retry).unwrap_or(u32::MAX);
                initial.saturating_mul(factor).min(*max)
            }
        }
    }
}

impl Default for RetryPolicy {
    /// Apache's list from its third entry on, which is where its brokers begin: the first retry waits 10 s.
    fn default() -> Self {
        const SECONDS: [u64; 16] = [10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200];
        Self::Customized { next: SECONDS.map(Duration::from_secs).to_vec() }
    }
}

/// A consumer group as its broker knows it. Source: Apache `SubscriptionGroupConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupConfig {
    /// The name.
    pub name: GroupName,
    /// Whether it consumes each queue in order (Apache's `consumeMessageOrderly`).
    pub is_fifo: bool,
    /// Whether its members may consume.
    pub is_enabled: bool,
    /// Deliveries of one message before it goes to the dead-letter topic, at least 1.
    pub attempts_max: u32,
    /// The waits between them.
    pub retry: RetryPolicy,
    /// How long one delivery to a client that renews by itself may last at most.
    pub consume_timeout: Duration,
    /// Whether it was made by its first use and not by a command.
    pub is_auto_created: bool,
}

impl GroupConfig {
    /// Deliveries before the dead-letter topic: the first and Apache's `retryMaxTimes` 16.
    pub const ATTEMPTS_MAX_DEFAULT: u32 = 17;
    /// Apache's `consumeTimeoutMinute`.
    pub const CONSUME_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15 * 60);

    /// A group with default settings.
    #[must_use]
    pub fn new(name: GroupName) -> Self {
        Self {
            name,
            is_fifo: false,
            is_enabled: true,
            attempts_max: Self::ATTEMPTS_MAX_DEFAULT,
            retry: RetryPolicy::default(),
            consume_timeout: Self::CONSUME_TIMEOUT_DEFAULT,
            is_auto_created: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_follow_the_policy_and_stay_at_its_end() {
        let default = RetryPolicy::default();
        assert_eq!(default.delay_after(1), Duration::from_secs(10));
        assert_eq!(default.delay_after(99), Duration::from_secs(7200));
        let exponential =
            RetryPolicy::Exponential { initial: Duration::from_secs(5), max: Duration::from_secs(60), multiplier: 2 };
        assert_eq!(exponential.delay_after(3), Duration::from_secs(20));
        assert_eq!(exponential.delay_after(u32::MAX), Duration::from_secs(60));
    }
}
