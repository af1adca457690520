//! Webhooks, of every role that serves messages over HTTP.

use std::path::PathBuf;
use std::time::Duration;

use gateway_http::webhooks::{Allowed, WEBHOOKS_MAX};

use super::setting::{Keys, Setting};
use super::{HOUR, Reader, value, within};

/// What was told of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Webhooks {
    /// `None`: what the role does without.
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) allowed: Allowed,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) webhooks_max: usize,
    pub(crate) rewrite_after: Duration,
}

/// The settings of [`Webhooks`] among those of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct WebhookKeys<K> {
    pub(super) key_file: K,
    pub(super) allow: K,
    pub(super) ca: K,
    pub(super) max: K,
    pub(super) rewrite_after: K,
}

impl<K: Keys> Reader<'_, K> {
    /// The settings of webhooks.
    pub(super) fn webhooks(&mut self, keys: &WebhookKeys<K>) -> Option<Webhooks> {
        let key_file = self.read_optional(keys.key_file, value::path);
        let allowed = self.read_optional(keys.allow, str::parse::<Allowed>);
        let ca_file = self.read_optional(keys.ca, value::path);
        let webhooks_max = self.read(keys.max, |text| within(value::count(text)?, 1, WEBHOOKS_MAX as u64));
        let rewrite_after = self
            .read(keys.rewrite_after, |text| within(value::duration(text)?, Duration::from_secs(60), HOUR * 24 * 30));
        Some(Webhooks {
            key_file: key_file?,
            allowed: allowed?.unwrap_or_default(),
            ca_file: ca_file?,
            webhooks_max: usize::try_from(webhooks_max?).ok()?,
            rewrite_after: rewrite_after?,
        })
    }
}

/// Of a role that keeps data: it makes itself a key.
pub(super) static OWN_KEY_FILE: Setting = Setting {
    flag: "webhook-key-file",
    value: "FILE",
    default: None,
    bound: "a file with 1 to 8 keys, one a line, 32 bytes in Base64 each",
    effect: "What seals webhooks with their secrets: the first key, all open; without it one is made and kept in the data directory",
    aliases: &[],
};

/// Of a role that shares its webhooks with others like it.
pub(super) static SHARED_KEY_FILE: Setting = Setting {
    flag: "webhook-key-file",
    value: "FILE",
    default: None,
    bound: "a file with 1 to 8 keys, one a line, 32 bytes in Base64 each",
    effect: "What seals webhooks with their secrets, the same for all proxies: the first key, all open; without it there are no webhooks",
    aliases: &[],
};

pub(super) static ALLOW: Setting = Setting {
    flag: "webhook-allow",
    value: "NETWORKS",
    default: None,
    bound: "networks such as 10.0.0.0/8,fd00::/8, or private for all",
    effect: "Networks that webhooks may call besides the internet; private, loopback and link-local addresses are refused otherwise",
    aliases: &[],
};

pub(super) static CA: Setting = Setting {
    flag: "webhook-ca",
    value: "FILE",
    default: None,
    bound: "PEM file",
    effect: "Certificates of authorities that vouch for endpoints of webhooks, besides those that the system trusts",
    aliases: &[],
};

/// Of a role that keeps nothing.
pub(super) static BROKER: Setting = Setting {
    flag: "webhook-broker",
    value: "NAME",
    default: None,
    bound: "a broker's name, together with the key file",
    effect: "The broker that keeps the webhooks, the same for all proxies; before it could be asked nothing is delivered",
    aliases: &[],
};

pub(super) static MAX: Setting = Setting {
    flag: "webhook-max",
    value: "NUMBER",
    default: Some("256"),
    bound: "1 to 1024",
    effect: "Webhooks that may be made, further ones are answered 429; the same for all gateways, of whose calls each has a part",
    aliases: &[],
};

pub(super) static REWRITE_AFTER: Setting = Setting {
    flag: "webhook-rewrite-after",
    value: "DURATION",
    default: Some("12h"),
    bound: "60s to 720h",
    effect: "Age at which a webhook is stored again: less than half of the time for which the brokers keep messages",
    aliases: &[],
};
