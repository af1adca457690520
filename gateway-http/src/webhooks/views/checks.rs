//! JSON shapes of `/v1/check-urls`, and of what an endpoint is asked and answers.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ShownSecret, default_concurrency, default_enabled, default_timeout, unshown};

/// A check URL as its owner describes it; also what is stored of it, sealed.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewCheckUrl {
    /// The topic whose half messages are asked about; no other check URL may have it.
    pub topic: String,
    /// Where checks are posted to: `https` or `http`, without user, password and fragment.
    pub url: String,
    /// One or two secrets, all of which sign: `whsec_` and 24 to 64 bytes in Base64, or `whsk_` and an ed25519 key.
    #[serde(deserialize_with = "unshown")]
    #[schema(min_items = 1, max_items = 2)]
    pub secrets: Vec<String>,
    /// Calls at a time from one gateway, 1 to 64.
    #[serde(default = "default_concurrency")]
    #[schema(minimum = 1, maximum = 64)]
    pub concurrency: u32,
    /// How long a call may take, 1s to 60s.
    #[serde(default = "default_timeout")]
    pub timeout: String,
    /// Whether it is asked.
    #[serde(default = "default_enabled")]
    pub enabled: bool,
}

/// Never shows the secrets, nor what could be one in the URL.
impl fmt::Debug for NewCheckUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewCheckUrl").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// What is to be changed of a check URL; what is missing stays.
#[derive(Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ChangeCheckUrl {
    /// See [`NewCheckUrl::url`].
    pub url: Option<String>,
    /// All secrets that sign from now on: to rotate, first the new and the old one, later the new one.
    #[serde(deserialize_with = "unshown")]
    pub secrets: Option<Vec<String>>,
    /// See [`NewCheckUrl::concurrency`].
    pub concurrency: Option<u32>,
    /// See [`NewCheckUrl::timeout`].
    pub timeout: Option<String>,
    /// See [`NewCheckUrl::enabled`].
    pub enabled: Option<bool>,
}

impl ChangeCheckUrl {
    /// The check URL with the change.
    pub(in crate::webhooks) fn applied_to(self, old: NewCheckUrl) -> NewCheckUrl {
        NewCheckUrl {
            topic: old.topic,
            url: self.url.unwrap_or(old.url),
            secrets: self.secrets.unwrap_or(old.secrets),
            concurrency: self.concurrency.unwrap_or(old.concurrency),
            timeout: self.timeout.unwrap_or(old.timeout),
            enabled: self.enabled.unwrap_or(old.enabled),
        }
    }
}

/// A check URL as it is shown; its secrets are not.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckUrl {
    /// Its id.
    pub id: String,
    /// Counts its changes, from 1.
    pub revision: u64,
    /// When it was changed last, in milliseconds since 1970.
    pub changed_at_ms: i64,
    /// See [`NewCheckUrl::topic`].
    pub topic: String,
    /// See [`NewCheckUrl::url`].
    pub url: String,
    /// What signs, without the secrets.
    pub secrets: Vec<ShownSecret>,
    /// See [`NewCheckUrl::concurrency`].
    pub concurrency: u32,
    /// See [`NewCheckUrl::timeout`].
    pub timeout: String,
    /// See [`NewCheckUrl::enabled`].
    pub enabled: bool,
    /// Why it is not enabled, if its endpoint asked for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_because: Option<String>,
}

/// All check URLs.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckUrlList {
    /// By id.
    pub check_urls: Vec<CheckUrl>,
}
