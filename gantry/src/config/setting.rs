//! What a setting is, and every one of `gantry local`, each stated once: flags, environment, file keys, help and the table in
//! `docs/operations.md` all come from here (a test compares the page).
//!
//! Source of the alias names and their units: Apache `rmq-proxy.json` (`ProxyConfig`) and `broker.conf`
//! (`BrokerConfig`, `MessageStoreConfig`).

use super::{apache, http, webhooks};

/// Names a setting; its facts stand in [`Keys::setting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::enum_variant_names, reason = "a variant is named as its flag, and --tls-key is a flag")]
pub(crate) enum Key {
    Data,
    Grpc,
    Http,
    Advertise,
    GrpcWeb,
    Flush,
    SegmentSize,
    FileReservedTime,
    DeleteWhen,
    DiskMaxUsedSpaceRatio,
    DiskSpaceCleanForciblyRatio,
    DiskSpaceWarningLevelRatio,
    MaxMessageSize,
    AutoCreateTopics,
    AutoCreateGroups,
    ExpireIdleAfter,
    TransactionCheckAfter,
    TransactionCheckInterval,
    TransactionCheckMax,
    IdempotencyWindow,
    IdempotencyKeysMax,
    TlsCert,
    TlsKey,
    ProxyProtocolFrom,
    DrainTimeout,
    HttpMaxConnections,
    HttpMaxRequestSize,
    HttpRequestTimeout,
    HttpMaxInbound,
    HttpMaxUndelivered,
    HttpCors,
    HttpHosts,
    WebhookKeyFile,
    WebhookAllow,
    WebhookCa,
    WebhookMax,
    WebhookRewriteAfter,
    LogLevel,
    LogFormat,
    OtlpEndpoint,
}

/// What is known of a setting besides its value.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The flag without its dashes, the file's key in camelCase and the variable after `GANTRY_` in capitals are
    /// the same words.
    pub(crate) flag: &'static str,
    /// What stands for the value in help.
    pub(crate) value: &'static str,
    /// Text of the default; `None` when the setting may be absent.
    pub(crate) default: Option<&'static str>,
    /// What values are allowed.
    pub(crate) bound: &'static str,
    /// What it does, one sentence.
    pub(crate) effect: &'static str,
    /// Apache's names for it.
    pub(crate) aliases: &'static [Alias],
}

/// Makes our text of a value from a file's text.
pub(crate) type Convert = fn(&str) -> String;

/// A key of Apache's configuration that says the same as one of ours.
#[derive(Debug)]
pub(crate) struct Alias {
    /// Apache's key.
    pub(crate) key: &'static str,
    /// Text of our value for the text of Apache's.
    pub(crate) convert: Convert,
}

/// The largest body allowed, and the default. Source: Apache `maxMessageSize`.
pub(crate) const MESSAGE_BYTES_MAX: u64 = types::message::BODY_BYTES_MAX as u64;
/// The smallest limit that still lets the SDKs' own traffic pass.
pub(crate) const MESSAGE_BYTES_MIN: u64 = 1024;

/// The settings of one command: an enum whose variants name them.
pub(crate) trait Keys: Copy + Ord + Send + Sync + 'static {
    /// The command.
    const COMMAND: &'static str;
    /// All, in the order of help and documentation.
    const ALL: &'static [Self];
    /// What its configuration file is written in.
    const FORM: Form;

    /// The facts about this setting.
    fn setting(self) -> &'static Setting;

    /// Whether the flag may stand without a value, which then is `true`.
    fn is_switch(self) -> bool;

    /// How a value under our own key is read: as it is, unless Apache has the same key with bare numbers.
    fn own_text(self) -> Convert {
        same
    }

    /// Whether Apache knows the key and nothing here depends on it.
    fn is_ignored(key: &str) -> bool;

    /// The key in a configuration file: the flag's words in camelCase.
    fn file_key(self) -> String {
        let mut words = self.setting().flag.split('-');
        let mut key = words.next().unwrap_or_default().to_owned();
        for word in words {
            let (first, rest) = word.split_at(1);
            key.push_str(&first.to_ascii_uppercase());
            key.push_str(rest);
        }
        key
    }

    /// The environment variable: `GANTRY_` and the flag's words in capitals.
    fn variable(self) -> String {
        format!("GANTRY_{}", self.setting().flag.replace('-', "_").to_ascii_uppercase())
    }
}

/// What a configuration file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One object.
    Json,
    /// Java's properties.
    Properties,
}

impl Keys for Key {
    const COMMAND: &'static str = "local";
    const ALL: &'static [Self] = &[
        Self::Data,
        Self::Grpc,
        Self::Http,
        Self::Advertise,
        Self::GrpcWeb,
        Self::Flush,
        Self::SegmentSize,
        Self::FileReservedTime,
        Self::DeleteWhen,
        Self::DiskMaxUsedSpaceRatio,
        Self::DiskSpaceCleanForciblyRatio,
        Self::DiskSpaceWarningLevelRatio,
        Self::MaxMessageSize,
        Self::AutoCreateTopics,
        Self::AutoCreateGroups,
        Self::ExpireIdleAfter,
        Self::TransactionCheckAfter,
        Self::TransactionCheckInterval,
        Self::TransactionCheckMax,
        Self::IdempotencyWindow,
        Self::IdempotencyKeysMax,
        Self::TlsCert,
        Self::TlsKey,
        Self::ProxyProtocolFrom,
        Self::DrainTimeout,
        Self::HttpMaxConnections,
        Self::HttpMaxRequestSize,
        Self::HttpRequestTimeout,
        Self::HttpMaxInbound,
        Self::HttpMaxUndelivered,
        Self::HttpCors,
        Self::HttpHosts,
        Self::WebhookKeyFile,
        Self::WebhookAllow,
        Self::WebhookCa,
        Self::WebhookMax,
        Self::WebhookRewriteAfter,
        Self::LogLevel,
        Self::LogFormat,
        Self::OtlpEndpoint,
    ];
    const FORM: Form = Form::Json;

    fn setting(self) -> &'static Setting {
        match self {
            Self::Data => &DATA,
            Self::Grpc => &GRPC,
            Self::Http => &HTTP,
            Self::Advertise => &ADVERTISE,
            Self::GrpcWeb => &GRPC_WEB,
            Self::Flush => &FLUSH,
            Self::SegmentSize => &SEGMENT_SIZE,
            Self::FileReservedTime => &FILE_RESERVED_TIME,
            Self::DeleteWhen => &DELETE_WHEN,
            Self::DiskMaxUsedSpaceRatio => &DISK_MAX_USED_SPACE_RATIO,
            Self::DiskSpaceCleanForciblyRatio => &DISK_SPACE_CLEAN_FORCIBLY_RATIO,
            Self::DiskSpaceWarningLevelRatio => &DISK_SPACE_WARNING_LEVEL_RATIO,
            Self::MaxMessageSize => &MAX_MESSAGE_SIZE,
            Self::AutoCreateTopics => &AUTO_CREATE_TOPICS,
            Self::AutoCreateGroups => &AUTO_CREATE_GROUPS,
            Self::ExpireIdleAfter => &EXPIRE_IDLE_AFTER,
            Self::TransactionCheckAfter => &TRANSACTION_CHECK_AFTER,
            Self::TransactionCheckInterval => &TRANSACTION_CHECK_INTERVAL,
            Self::TransactionCheckMax => &TRANSACTION_CHECK_MAX,
            Self::IdempotencyWindow => &IDEMPOTENCY_WINDOW,
            Self::IdempotencyKeysMax => &IDEMPOTENCY_KEYS_MAX,
            Self::TlsCert => &TLS_CERT,
            Self::TlsKey => &TLS_KEY,
            Self::ProxyProtocolFrom => &PROXY_PROTOCOL_FROM,
            Self::DrainTimeout => &DRAIN_TIMEOUT,
            Self::HttpMaxConnections => &http::CONNECTIONS,
            Self::HttpMaxRequestSize => &http::REQUEST_SIZE,
            Self::HttpRequestTimeout => &http::REQUEST_TIMEOUT,
            Self::HttpMaxInbound => &http::INBOUND,
            Self::HttpMaxUndelivered => &http::UNDELIVERED,
            Self::HttpCors => &http::CORS,
            Self::HttpHosts => &http::HOSTS,
            Self::WebhookKeyFile => &webhooks::OWN_KEY_FILE,
            Self::WebhookAllow => &webhooks::ALLOW,
            Self::WebhookCa => &webhooks::CA,
            Self::WebhookMax => &webhooks::MAX,
            Self::WebhookRewriteAfter => &webhooks::REWRITE_AFTER,
            Self::LogLevel => &LOG_LEVEL,
            Self::LogFormat => &LOG_FORMAT,
            Self::OtlpEndpoint => &OTLP_ENDPOINT,
        }
    }

    fn is_switch(self) -> bool {
        matches!(self, Self::AutoCreateTopics | Self::AutoCreateGroups)
    }

    /// Apache counts some of these in bare numbers; with a unit they are ours.
    fn own_text(self) -> Convert {
        match self {
            Self::TransactionCheckInterval => |text| with_unit(text, "ms"),
            Self::FileReservedTime => |text| with_unit(text, "h"),
            _ => same,
        }
    }

    fn is_ignored(key: &str) -> bool {
        apache::is_known(key)
    }
}

pub(super) fn with_unit(text: &str, unit: &str) -> String {
    let is_bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_bare { format!("{text}{unit}") } else { text.to_owned() }
}

/// One row of the table in `docs/operations.md`.
#[cfg(test)]
pub(super) fn row(key: impl Keys) -> String {
    let setting = key.setting();
    let default = setting.default.map_or_else(|| "–".to_owned(), |text| format!("`{text}`"));
    let aliases: String = setting.aliases.iter().map(|alias| format!(", `{}`", alias.key)).collect();
    format!(
        "| `--{}` | `{}` | `{}`{aliases} | {default} | {} | {} |",
        setting.flag,
        key.variable(),
        key.file_key(),
        setting.bound,
        setting.effect,
    )
}

pub(super) fn same(text: &str) -> String {
    text.to_owned()
}

fn local_port(text: &str) -> String {
    format!("127.0.0.1:{text}")
}

/// Apache's listens on all addresses.
pub(super) fn all_addresses(text: &str) -> String {
    format!("0.0.0.0:{text}")
}

fn milliseconds(text: &str) -> String {
    format!("{text}ms")
}

fn seconds(text: &str) -> String {
    format!("{text}s")
}

fn flush_type(text: &str) -> String {
    text.strip_suffix("_FLUSH").unwrap_or(text).to_ascii_lowercase()
}

static DATA: Setting = Setting {
    flag: "data",
    value: "DIR",
    default: Some("./gantry-data"),
    bound: "a directory that no other process uses",
    effect: "Where messages and everything else that survives a restart are kept; made when missing",
    aliases: &[Alias { key: "storePathRootDir", convert: same }],
};

static GRPC: Setting = Setting {
    flag: "grpc",
    value: "ADDR",
    default: Some("127.0.0.1:8081"),
    bound: "IP:PORT, port 0 lets the system choose",
    effect: "Where RocketMQ 5 clients connect, plaintext and TLS on the same port",
    aliases: &[Alias { key: "grpcServerPort", convert: local_port }],
};

static HTTP: Setting = Setting {
    flag: "http",
    value: "ADDR",
    default: Some("127.0.0.1:8082"),
    bound: "IP:PORT, port 0 lets the system choose",
    effect: "Where messages without an SDK, health, metrics and `gantry admin` are served, plaintext and TLS, without a password",
    aliases: &[],
};

static ADVERTISE: Setting = Setting {
    flag: "advertise",
    value: "HOST:PORT",
    default: None,
    bound: "HOST:PORT",
    effect: "The gRPC address told to clients, when they cannot use the one they dialled",
    aliases: &[],
};

pub(super) static GRPC_WEB: Setting = Setting {
    flag: "grpc-web",
    value: "ORIGINS",
    default: None,
    bound: http::ORIGINS,
    effect: "Web pages that may call the gRPC port in gRPC-web, over HTTP/1.1 and HTTP/2; without it none may",
    aliases: &[],
};

pub(super) static PROXY_PROTOCOL_FROM: Setting = Setting {
    flag: "proxy-protocol-from",
    value: "NETWORKS",
    default: None,
    bound: "networks such as 10.0.0.0/8,fd00::/8, or addresses",
    effect: "Balancers whose connections may begin with a PROXY header, version 1 or 2, which names the client; without it, or from others, such a connection is closed",
    aliases: &[],
};

pub(super) static FLUSH: Setting = Setting {
    flag: "flush",
    value: "MODE",
    default: Some("async"),
    bound: "async or sync",
    effect: "async: an acknowledged message survives the death of the process; sync: also power loss",
    aliases: &[Alias { key: "flushDiskType", convert: flush_type }],
};

static SEGMENT_SIZE: Setting = Setting {
    flag: "segment-size",
    value: "BYTES",
    default: Some("64MiB"),
    bound: "8MiB to 1GiB",
    effect: "Size of each file of the CommitLog; a log that exists keeps the size it began with",
    aliases: &[Alias { key: "mappedFileSizeCommitLog", convert: same }],
};

pub(super) static FILE_RESERVED_TIME: Setting = Setting {
    flag: "file-reserved-time",
    value: "DURATION",
    default: Some("72h"),
    bound: "1s to 87600h",
    effect: "How long messages stay at least; then their segment of the CommitLog may go, see Retention",
    aliases: &[],
};

pub(super) static DELETE_WHEN: Setting = Setting {
    flag: "delete-when",
    value: "HOURS",
    default: Some("04"),
    bound: "hours from 00 to 23, separated by semicolons",
    effect: "Hours of the day, local time, in which segments go whose time is over",
    aliases: &[],
};

pub(super) static DISK_MAX_USED_SPACE_RATIO: Setting = Setting {
    flag: "disk-max-used-space-ratio",
    value: "PERCENT",
    default: Some("75"),
    bound: "10 to 100",
    effect: "With more of the disk in use segments whose time is over go at any hour",
    aliases: &[],
};

pub(super) static DISK_SPACE_CLEAN_FORCIBLY_RATIO: Setting = Setting {
    flag: "disk-space-clean-forcibly-ratio",
    value: "PERCENT",
    default: Some("100"),
    bound: "10 to 100, 100 is never",
    effect: "With more of the disk in use the oldest segments go whatever their age",
    aliases: &[],
};

pub(super) static DISK_SPACE_WARNING_LEVEL_RATIO: Setting = Setting {
    flag: "disk-space-warning-level-ratio",
    value: "PERCENT",
    default: Some("97"),
    bound: "10 to 100, 100 is never",
    effect: "With more of the disk in use no messages are taken",
    aliases: &[],
};

pub(super) static MAX_MESSAGE_SIZE: Setting = Setting {
    flag: "max-message-size",
    value: "BYTES",
    default: Some("4MiB"),
    bound: "1KiB to 4MiB",
    effect: "Largest message body that is taken",
    aliases: &[],
};

pub(super) static AUTO_CREATE_TOPICS: Setting = Setting {
    flag: "auto-create-topics",
    value: "BOOL",
    default: Some("true"),
    bound: "true or false",
    effect: "Make a topic on its first use",
    aliases: &[Alias { key: "autoCreateTopicEnable", convert: same }],
};

pub(super) static AUTO_CREATE_GROUPS: Setting = Setting {
    flag: "auto-create-groups",
    value: "BOOL",
    default: Some("true"),
    bound: "true or false",
    effect: "Make a consumer group on its first use",
    aliases: &[Alias { key: "autoCreateSubscriptionGroup", convert: same }],
};

pub(super) const EXPIRE_IDLE_AFTER: Setting = Setting {
    flag: "expire-idle-after",
    value: "DURATION",
    default: Some("168h"),
    bound: "1h to 87600h, or 0s: never",
    effect: "How long a topic or group that its first use has made stays when nothing is in it and nobody uses it",
    aliases: &[],
};

pub(super) static TRANSACTION_CHECK_AFTER: Setting = Setting {
    flag: "transaction-check-after",
    value: "DURATION",
    default: Some("6s"),
    bound: "100ms to 1h",
    effect: "Age at which the producer of an undecided transactional message is asked first",
    aliases: &[Alias { key: "transactionTimeOut", convert: milliseconds }],
};

pub(super) static TRANSACTION_CHECK_INTERVAL: Setting = Setting {
    flag: "transaction-check-interval",
    value: "DURATION",
    default: Some("30s"),
    bound: "100ms to 1h",
    effect: "Time between two such questions",
    aliases: &[Alias { key: "transactionCheckInterval", convert: milliseconds }],
};

pub(super) static TRANSACTION_CHECK_MAX: Setting = Setting {
    flag: "transaction-check-max",
    value: "COUNT",
    default: Some("15"),
    bound: "1 to 1000",
    effect: "Questions after which the message is parked in TRANS_CHECK_MAX_TIME_TOPIC",
    aliases: &[],
};

pub(super) static IDEMPOTENCY_WINDOW: Setting = Setting {
    flag: "idempotency-window",
    value: "DURATION",
    default: Some("10m"),
    bound: "1s to 24h",
    effect: "How long at least an idempotency key is known, so that a message sent again under it is stored once",
    aliases: &[],
};

pub(super) static IDEMPOTENCY_KEYS_MAX: Setting = Setting {
    flag: "idempotency-keys-max",
    value: "COUNT",
    default: Some("250000"),
    bound: "1 to 2000000",
    effect: "Most idempotency keys known at a time, about 240 bytes each; beyond it messages with a new one are refused",
    aliases: &[],
};

static TLS_CERT: Setting = Setting {
    flag: "tls-cert",
    value: "FILE",
    default: None,
    bound: "PEM file, together with the key",
    effect: "Certificate chain for TLS on the gRPC and HTTP ports; without it a self-signed one is made and kept in the data directory",
    aliases: &[Alias { key: "tlsCertPath", convert: same }],
};

pub(super) static TLS_KEY: Setting = Setting {
    flag: "tls-key",
    value: "FILE",
    default: None,
    bound: "PEM file, together with the certificate",
    effect: "The certificate's private key",
    aliases: &[Alias { key: "tlsKeyPath", convert: same }],
};

static DRAIN_TIMEOUT: Setting = Setting {
    flag: "drain-timeout",
    value: "DURATION",
    default: Some("30s"),
    bound: "0s to 1h",
    effect: "How long a stop waits for requests that are being served",
    aliases: &[Alias { key: "grpcShutdownTimeSeconds", convert: seconds }],
};

pub(super) static LOG_LEVEL: Setting = Setting {
    flag: "log-level",
    value: "FILTER",
    default: Some("info"),
    bound: "error, warn, info, debug, trace, or a filter such as info,broker=debug",
    effect: "What is logged to standard error",
    aliases: &[],
};

pub(super) static LOG_FORMAT: Setting = Setting {
    flag: "log-format",
    value: "FORMAT",
    default: Some("text"),
    bound: "text or json",
    effect: "How a log line looks",
    aliases: &[],
};

static OTLP_ENDPOINT: Setting = Setting {
    flag: "otlp-endpoint",
    value: "URL",
    default: None,
    bound: "http://HOST:PORT",
    effect: "OpenTelemetry collector (OTLP over gRPC) that traces and metrics are sent to",
    aliases: &[],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_words() {
        assert_eq!(Key::MaxMessageSize.file_key(), "maxMessageSize");
        assert_eq!(Key::MaxMessageSize.variable(), "GANTRY_MAX_MESSAGE_SIZE");
        assert_eq!(Key::Grpc.file_key(), "grpc");
    }

    #[test]
    fn operations_page_lists_every_setting() {
        let page = include_str!("../../../docs/operations.md");
        for key in Key::ALL {
            let row = row(*key);
            assert!(page.contains(&row), "docs/operations.md lacks the row\n{row}");
        }
    }
}
