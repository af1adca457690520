//! JSON shapes of `/v1/webhooks`.

pub mod checks;

use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// A webhook as its owner describes it; also what is stored of it, sealed.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewWebhook {
    /// The topic whose messages are delivered.
    pub topic: String,
    /// The consumer group that they are leased by; no other webhook may have it.
    pub group: String,
    /// Only messages with these tags, such as `a || b`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Only messages of which this SQL92 condition is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// Where they are posted to: `https` or `http`, without user, password and fragment.
    pub url: String,
    /// One or two secrets, all of which sign: `whsec_` and 24 to 64 bytes in Base64, or `whsk_` and an ed25519 key.
    #[serde(deserialize_with = "unshown")]
    #[schema(min_items = 1, max_items = 2)]
    pub secrets: Vec<String>,
    /// What a call's body is.
    #[serde(default)]
    pub format: Format,
    /// Whether messages are taken one by one.
    #[serde(default)]
    pub order: Order,
    /// Calls at a time from one gateway, 1 to 64.
    #[serde(default = "default_concurrency")]
    #[schema(minimum = 1, maximum = 64)]
    pub concurrency: u32,
    /// Calls a second from one gateway, 0.1 to 10000; 0 is no limit.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 10000)]
    pub rate: f64,
    /// How long a call may take, 1s to 60s.
    #[serde(default = "default_timeout")]
    pub timeout: String,
    /// The waits after the first failed calls of a message, up to 16 of at most 12h; then the group's retry policy goes on.
    #[serde(default)]
    #[schema(max_items = 16)]
    pub retry: Vec<String>,
    /// Whether messages are delivered.
    #[serde(default = "default_enabled")]
    pub enabled: bool,
}

fn default_concurrency() -> u32 {
    8
}

fn default_timeout() -> String {
    "15s".to_owned()
}

fn default_enabled() -> bool {
    true
}

/// Reads secrets without ever saying what stands there: what is of the wrong type may be a secret all the same.
fn unshown<'de, T: DeserializeOwned, D: Deserializer<'de>>(secrets: D) -> Result<T, D::Error> {
    let secrets = serde_json::Value::deserialize(secrets)?;
    let expected = "expected a list of texts; what stands there is not shown";
    serde_json::from_value(secrets).map_err(|_| D::Error::custom(expected))
}

/// Never shows the secrets, nor what could be one in the URL.
impl fmt::Debug for NewWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewWebhook").field("topic", &self.topic).field("group", &self.group).finish_non_exhaustive()
    }
}

/// What a call's body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// The message's body as it is, all else in headers.
    #[default]
    Raw,
    /// A CloudEvent 1.0 in JSON.
    #[serde(rename = "cloudevents")]
    CloudEvents,
    /// Up to 32 messages in JSON; needs order `none`.
    JsonBatch,
}

/// Whether messages are taken one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// They are: those of a message group are delivered one after the other.
    #[default]
    Fifo,
    /// Several are taken at a time.
    None,
}

/// What is to be changed of a webhook; what is missing stays.
#[derive(Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ChangeWebhook {
    /// See [`NewWebhook::filter`]; takes the place of `sql`.
    pub filter: Option<String>,
    /// See [`NewWebhook::sql`]; takes the place of `filter`.
    pub sql: Option<String>,
    /// See [`NewWebhook::url`].
    pub url: Option<String>,
    /// All secrets that sign from now on: to rotate, first the new and the old one, later the new one.
    #[serde(deserialize_with = "unshown")]
    pub secrets: Option<Vec<String>>,
    /// See [`NewWebhook::format`].
    pub format: Option<Format>,
    /// See [`NewWebhook::order`].
    pub order: Option<Order>,
    /// See [`NewWebhook::concurrency`].
    pub concurrency: Option<u32>,
    /// See [`NewWebhook::rate`].
    pub rate: Option<f64>,
    /// See [`NewWebhook::timeout`].
    pub timeout: Option<String>,
    /// See [`NewWebhook::retry`].
    pub retry: Option<Vec<String>>,
    /// Whether messages are delivered; one that its endpoint has disabled goes on.
    pub enabled: Option<bool>,
}

impl ChangeWebhook {
    /// The webhook with the change.
    pub(super) fn applied_to(self, mut webhook: NewWebhook) -> NewWebhook {
        if self.filter.is_some() || self.sql.is_some() {
            (webhook.filter, webhook.sql) = (self.filter, self.sql);
        }
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut webhook.url, self.url);
        set(&mut webhook.secrets, self.secrets);
        set(&mut webhook.format, self.format);
        set(&mut webhook.order, self.order);
        set(&mut webhook.concurrency, self.concurrency);
        set(&mut webhook.rate, self.rate);
        set(&mut webhook.timeout, self.timeout);
        set(&mut webhook.retry, self.retry);
        set(&mut webhook.enabled, self.enabled);
        webhook
    }
}

/// A webhook as it is shown; its secrets are not.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// Counts its changes, from 1.
    pub revision: u64,
    /// When it was changed last, in milliseconds since 1970.
    pub changed_at_ms: i64,
    /// See [`NewWebhook::topic`].
    pub topic: String,
    /// See [`NewWebhook::group`].
    pub group: String,
    /// See [`NewWebhook::filter`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// See [`NewWebhook::sql`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// See [`NewWebhook::url`].
    pub url: String,
    /// What signs, without the secrets.
    pub secrets: Vec<ShownSecret>,
    /// See [`NewWebhook::format`].
    pub format: Format,
    /// See [`NewWebhook::order`].
    pub order: Order,
    /// See [`NewWebhook::concurrency`].
    pub concurrency: u32,
    /// See [`NewWebhook::rate`].
    pub rate: f64,
    /// See [`NewWebhook::timeout`].
    pub timeout: String,
    /// See [`NewWebhook::retry`].
    pub retry: Vec<String>,
    /// See [`NewWebhook::enabled`].
    pub enabled: bool,
    /// Why it is not enabled, if its endpoint asked for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_because: Option<String>,
}

/// What may be shown of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShownSecret {
    /// The version of its signatures: `v1` is HMAC-SHA256, `v1a` ed25519.
    pub version: &'static str,
    /// What verifies those of `v1a`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

/// All webhooks.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct WebhookList {
    /// By id.
    pub webhooks: Vec<Webhook>,
}

/// The last calls of one webhook by one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deliveries {
    /// Whether this gateway makes no calls for now, because too many have failed.
    pub breaker_open: bool,
    /// The newest first, at most 100. Each gateway knows its own.
    pub deliveries: Vec<DeliveryView>,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    /// When it ended, in milliseconds since 1970.
    pub at_ms: i64,
    /// What its receiver tells repetitions by.
    pub webhook_id: String,
    /// Which delivery of its message this was, from 1; of several messages, of the first.
    pub attempt: u32,
    /// How many messages it held.
    pub messages: u32,
    /// The answer's status, if one came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long it took.
    pub latency_ms: u64,
    /// What it came to.
    pub outcome: OutcomeView,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum OutcomeView {
    /// Its messages are finished.
    Delivered,
    /// They come again.
    Failed,
    /// They come again, and the endpoint is left alone for a while.
    Throttled,
    /// The endpoint wants no more; the webhook is disabled.
    Gone,
}
