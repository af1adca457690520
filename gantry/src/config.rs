//! The configuration of the roles, and that of `gantry local`: read once from all layers, checked as a whole, then passed as a value.
//! Nothing below this module reads flags, the environment or the file.

mod apache;
pub(crate) mod broker;
pub(crate) mod controller;
pub(crate) mod http;
mod layers;
pub(crate) mod nameserver;
pub(crate) mod proxy;
pub(crate) mod setting;
pub(crate) mod value;
pub(crate) mod webhooks;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::broker::retention::Hours;
use ::proxy::Origins;
use comfy_table::{Table, presets};
use remoting::Network;

pub(crate) use layers::Problem;
use layers::{Given, Layers, Origin};
use setting::{Key, Keys, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN};

/// What `gantry local` was told, every value valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) storage: Storage,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Host and port told to clients; `None`: those that they dialled.
    pub(crate) advertise: Option<(String, u16)>,
    /// Whose web pages may call the gRPC port.
    pub(crate) grpc_web: Origins,
    /// `None`: a self-signed certificate.
    pub(crate) tls: Option<TlsFiles>,
    /// Whose PROXY headers are believed.
    pub(crate) balancers: Vec<Network>,
    pub(crate) drain_timeout: Duration,
    pub(crate) http_settings: http::Http,
    pub(crate) webhooks: webhooks::Webhooks,
    pub(crate) log: Log,
    pub(crate) otlp_endpoint: Option<String>,
}

/// What a role that stores messages was told of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    pub(crate) data: PathBuf,
    pub(crate) flush: Flush,
    pub(crate) segment_bytes: u64,
    pub(crate) retention: Retention,
    pub(crate) body_bytes_max: usize,
    pub(crate) auto_create_topics: bool,
    pub(crate) auto_create_groups: bool,
    /// How long what first use has made stays without use; `None`: for ever.
    pub(crate) idle_max: Option<Duration>,
    pub(crate) transaction: TransactionChecks,
    pub(crate) idempotency: Idempotency,
}

/// The settings of [`Storage`] among those of a command.
#[derive(Clone, Copy, Debug)]
struct StorageKeys<K> {
    data: K,
    flush: K,
    segment_size: K,
    file_reserved_time: K,
    delete_when: K,
    disk_max_used: K,
    disk_clean_forcibly: K,
    disk_warning: K,
    max_message_size: K,
    auto_create_topics: K,
    auto_create_groups: K,
    expire_idle_after: K,
    check_after: K,
    check_interval: K,
    check_max: K,
    idempotency_window: K,
    idempotency_keys_max: K,
}

/// When a send is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Once the record is in the system's hands.
    Async,
    /// Once it is on the disk.
    Sync,
}

/// When old messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    pub(crate) reserved: Duration,
    pub(crate) delete_when: Hours,
    /// In percent of the disk, as the two that follow.
    pub(crate) disk_used_max: u8,
    pub(crate) disk_clean_forcibly: u8,
    pub(crate) disk_warning: u8,
}

/// When producers of undecided transactional messages are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransactionChecks {
    pub(crate) after: Duration,
    pub(crate) interval: Duration,
    pub(crate) count_max: u32,
}

/// How long and how many idempotency keys are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Idempotency {
    pub(crate) window: Duration,
    pub(crate) keys_max: usize,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) filter: String,
    pub(crate) is_json: bool,
}

/// Where values may come from; a value, so that tests need no environment.
#[derive(Debug)]
pub(crate) struct Sources<K> {
    /// `--config` or `GANTRY_CONFIG`.
    pub(crate) file: Option<PathBuf>,
    /// `--strict-config` or `GANTRY_STRICT_CONFIG`.
    pub(crate) is_strict: bool,
    /// Flags that were given.
    pub(crate) flags: BTreeMap<K, String>,
}

/// A valid configuration, and what the user should hear about it.
#[derive(Debug)]
pub(crate) struct Loaded<C, K> {
    pub(crate) config: C,
    /// Remarks for the log: unknown keys, keys without meaning.
    pub(crate) warnings: Vec<String>,
    layers: Layers<K>,
}

/// Reads and checks all layers of `gantry local`.
///
/// # Errors
/// All problems that were found, not only the first.
pub(crate) fn load(
    sources: &Sources<Key>,
    variable: impl Fn(&str) -> Option<String>,
    read: impl Fn(&std::path::Path) -> std::io::Result<String>,
) -> Result<Loaded<Local, Key>, Vec<Problem>> {
    load_as(sources, variable, read, typed)
}

/// Reads and checks all layers of a command; `typed` makes its configuration of them.
fn load_as<C, K: Keys>(
    sources: &Sources<K>,
    variable: impl Fn(&str) -> Option<String>,
    read: impl Fn(&std::path::Path) -> std::io::Result<String>,
    typed: impl Fn(&mut Reader<'_, K>) -> Option<C>,
) -> Result<Loaded<C, K>, Vec<Problem>> {
    let mut layers = Layers::defaults();
    if let Some(path) = &sources.file {
        let file = path.display().to_string();
        match read(path) {
            Ok(text) => layers.add_file(&file, &text),
            Err(error) => layers.problems.push(Problem::Unreadable { file, detail: error.to_string() }),
        }
    }
    layers.add_variables(variable);
    layers.add_flags(&sources.flags);

    let mut problems = std::mem::take(&mut layers.problems);
    let mut warnings = Vec::new();
    if sources.is_strict {
        problems.append(&mut layers.unknown);
    } else {
        warnings.extend(layers.unknown.iter().map(ToString::to_string));
    }
    if !layers.ignored.is_empty() {
        warnings.push(format!("accepted without effect by gantry {}: {}", K::COMMAND, layers.ignored.join(", ")));
    }
    let mut reader = Reader { layers: &layers, problems: &mut problems };
    match typed(&mut reader) {
        Some(config) if problems.is_empty() => Ok(Loaded { config, warnings, layers }),
        _ => Err(problems),
    }
}

impl<C, K: Keys> Loaded<C, K> {
    /// Every setting that has a value, by its key.
    pub(crate) fn to_pairs(&self) -> Vec<(String, String)> {
        let pair = |key: &K| Some((key.file_key(), self.layers.get(*key)?.text.clone()));
        K::ALL.iter().filter_map(pair).collect()
    }

    /// Every setting with its value and where that came from, for `--print-config`.
    pub(crate) fn to_table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        for &key in K::ALL {
            let (text, origin) = match self.layers.get(key) {
                Some(Given { text, origin }) => (text.as_str(), origin.to_string()),
                None => ("-", "not set".to_owned()),
            };
            table.add_row([&key.file_key(), text, &origin]);
        }
        table.trim_fmt()
    }
}

/// Reads every setting, so that every problem is found, and only then gives up.
fn typed(reader: &mut Reader<'_, Key>) -> Option<Local> {
    let grpc = reader.read(Key::Grpc, value::address);
    let http = reader.read(Key::Http, value::address);
    let advertise = reader.read_optional(Key::Advertise, value::endpoint);
    let grpc_web = reader.read_optional(Key::GrpcWeb, str::parse::<Origins>);
    let storage = storage(reader, &STORAGE);
    let drain_timeout = reader.read(Key::DrainTimeout, |text| within(value::duration(text)?, Duration::ZERO, HOUR));
    let http_settings = reader.http(&HTTP_KEYS);
    let webhooks = reader.webhooks(&WEBHOOK_KEYS);
    let log = reader.log(Key::LogLevel, Key::LogFormat);
    let otlp_endpoint = reader.read_optional(Key::OtlpEndpoint, value::collector);
    let tls = reader.tls(Key::TlsCert, Key::TlsKey);
    let balancers = reader.read_optional(Key::ProxyProtocolFrom, Network::list);
    Some(Local {
        storage: storage?,
        grpc: grpc?,
        http: http?,
        advertise: advertise?,
        grpc_web: grpc_web?.unwrap_or_default(),
        tls: tls?,
        balancers: balancers?.unwrap_or_default(),
        drain_timeout: drain_timeout?,
        http_settings: http_settings?,
        webhooks: webhooks?,
        log: log?,
        otlp_endpoint: otlp_endpoint?,
    })
}

const HTTP_KEYS: http::HttpKeys<Key> = http::HttpKeys {
    connections: Key::HttpMaxConnections,
    request_size: Key::HttpMaxRequestSize,
    request_timeout: Key::HttpRequestTimeout,
    inbound: Key::HttpMaxInbound,
    undelivered: Key::HttpMaxUndelivered,
    cors: Key::HttpCors,
    hosts: Key::HttpHosts,
};

const WEBHOOK_KEYS: webhooks::WebhookKeys<Key> = webhooks::WebhookKeys {
    key_file: Key::WebhookKeyFile,
    allow: Key::WebhookAllow,
    ca: Key::WebhookCa,
    max: Key::WebhookMax,
    rewrite_after: Key::WebhookRewriteAfter,
};

const STORAGE: StorageKeys<Key> = StorageKeys {
    data: Key::Data,
    flush: Key::Flush,
    segment_size: Key::SegmentSize,
    file_reserved_time: Key::FileReservedTime,
    delete_when: Key::DeleteWhen,
    disk_max_used: Key::DiskMaxUsedSpaceRatio,
    disk_clean_forcibly: Key::DiskSpaceCleanForciblyRatio,
    disk_warning: Key::DiskSpaceWarningLevelRatio,
    max_message_size: Key::MaxMessageSize,
    auto_create_topics: Key::AutoCreateTopics,
    auto_create_groups: Key::AutoCreateGroups,
    expire_idle_after: Key::ExpireIdleAfter,
    check_after: Key::TransactionCheckAfter,
    check_interval: Key::TransactionCheckInterval,
    check_max: Key::TransactionCheckMax,
    idempotency_window: Key::IdempotencyWindow,
    idempotency_keys_max: Key::IdempotencyKeysMax,
};

/// The settings of a role that stores messages.
fn storage<K: Keys>(reader: &mut Reader<'_, K>, keys: &StorageKeys<K>) -> Option<Storage> {
    let data = reader.read(keys.data, value::path);
    let flush = reader.read(keys.flush, flush);
    let segment_bytes = reader.read(keys.segment_size, |text| within(value::size(text)?, 8 << 20, 1 << 30));
    let reserved =
        reader.read(keys.file_reserved_time, |text| within(value::duration(text)?, RESERVED_MIN, RESERVED_MAX));
    let delete_when = reader.read(keys.delete_when, hours);
    let disk_used_max = reader.read(keys.disk_max_used, percent);
    let disk_clean_forcibly = reader.read(keys.disk_clean_forcibly, percent);
    let disk_warning = reader.read(keys.disk_warning, percent);
    let body_bytes_max =
        reader.read(keys.max_message_size, |text| within(value::size(text)?, MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX));
    let auto_create_topics = reader.read(keys.auto_create_topics, value::boolean);
    let auto_create_groups = reader.read(keys.auto_create_groups, value::boolean);
    let idle_max = reader.read(keys.expire_idle_after, |text| match value::duration(text)? {
        Duration::ZERO => Ok(None),
        idle => within(idle, IDLE_MIN, IDLE_MAX).map(Some),
    });
    let check_after = reader.read(keys.check_after, check_wait);
    let check_interval = reader.read(keys.check_interval, check_wait);
    let check_max = reader.read(keys.check_max, |text| within(value::count(text)?, 1, 1000));
    let key_window =
        reader.read(keys.idempotency_window, |text| within(value::duration(text)?, KEY_WINDOW_MIN, KEY_WINDOW_MAX));
    let keys_max = reader.read(keys.idempotency_keys_max, |text| within(value::count(text)?, 1, IDEMPOTENCY_KEYS_MAX));
    Some(Storage {
        data: data?,
        flush: flush?,
        segment_bytes: segment_bytes?,
        retention: Retention {
            reserved: reserved?,
            delete_when: delete_when?,
            disk_used_max: disk_used_max?,
            disk_clean_forcibly: disk_clean_forcibly?,
            disk_warning: disk_warning?,
        },
        body_bytes_max: usize::try_from(body_bytes_max?).ok()?,
        auto_create_topics: auto_create_topics?,
        auto_create_groups: auto_create_groups?,
        idle_max: idle_max?,
        transaction: TransactionChecks {
            after: check_after?,
            interval: check_interval?,
            count_max: u32::try_from(check_max?).ok()?,
        },
        idempotency: Idempotency { window: key_window?, keys_max: usize::try_from(keys_max?).ok()? },
    })
}

/// Turns texts into values and collects what is wrong with them.
struct Reader<'a, K> {
    layers: &'a Layers<K>,
    problems: &'a mut Vec<Problem>,
}

impl<K: Keys> Reader<'_, K> {
    /// A setting that has a default; `None` after a problem.
    fn read<T>(&mut self, key: K, parse: impl Fn(&str) -> Result<T, value::Expected>) -> Option<T> {
        self.read_optional(key, parse).flatten()
    }

    /// A setting that may be absent; the outer `None` after a problem.
    fn read_optional<T>(&mut self, key: K, parse: impl Fn(&str) -> Result<T, value::Expected>) -> Option<Option<T>> {
        let Some(Given { text, origin }) = self.layers.get(key) else { return Some(None) };
        match parse(text) {
            Ok(value) => Some(Some(value)),
            Err(expected) => {
                let expected = if expected == OUT_OF_BOUNDS { key.setting().bound } else { expected };
                self.problems.push(Problem::Value {
                    key: key.file_key(),
                    text: text.clone(),
                    origin: origin.clone(),
                    expected: expected.to_owned(),
                });
                None
            }
        }
    }

    /// Whether somebody has said it, and not only the default.
    fn is_given(&self, key: K) -> bool {
        self.layers.get(key).is_some_and(|given| given.origin != Origin::Default)
    }

    /// The files of a certificate and its key, which only mean something together.
    fn tls(&mut self, cert: K, key: K) -> Option<Option<TlsFiles>> {
        let (cert_file, key_file) = (self.read_optional(cert, value::path), self.read_optional(key, value::path));
        let (given, missing) = match (cert_file?, key_file?) {
            (Some(cert), Some(key)) => return Some(Some(TlsFiles { cert, key })),
            (None, None) => return Some(None),
            (Some(_), None) => (cert, key),
            (None, Some(_)) => (key, cert),
        };
        self.problems.push(Problem::Alone { given: given.file_key(), missing: missing.file_key() });
        None
    }

    /// What is logged, and how.
    fn log(&mut self, level: K, format: K) -> Option<Log> {
        let (filter, is_json) = (self.read(level, log_filter), self.read(format, log_format));
        Some(Log { filter: filter?, is_json: is_json? })
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const RESERVED_MIN: Duration = Duration::from_secs(1);
const RESERVED_MAX: Duration = Duration::from_secs(87_600 * 3_600);
const CHECK_WAIT_MIN: Duration = Duration::from_millis(100);
const IDLE_MIN: Duration = Duration::from_secs(3_600);
const IDLE_MAX: Duration = Duration::from_secs(87_600 * 3_600);
const KEY_WINDOW_MIN: Duration = Duration::from_secs(1);
const KEY_WINDOW_MAX: Duration = Duration::from_secs(24 * 3_600);
/// 480 MB of memory, and 150 MB in each checkpoint.
const IDEMPOTENCY_KEYS_MAX: u64 = 2_000_000;
/// Stands for the setting's own bound, which its table row words better than a parser could.
const OUT_OF_BOUNDS: value::Expected = "";

fn within<T: PartialOrd>(value: T, min: T, max: T) -> Result<T, value::Expected> {
    if value < min || value > max { Err(OUT_OF_BOUNDS) } else { Ok(value) }
}

/// Hours of the day as Apache writes them: `04` or `04;16`.
fn hours(text: &str) -> Result<Hours, value::Expected> {
    let hour = |hour: &str| hour.trim().parse::<u8>().ok().filter(|hour| *hour < 24);
    let hours: Option<Vec<u8>> = text.trim_end_matches(';').split(';').map(hour).collect();
    hours.map(|hours| Hours::of(&hours)).ok_or(OUT_OF_BOUNDS)
}

fn percent(text: &str) -> Result<u8, value::Expected> {
    let percent = within(value::count(text)?, 10, 100)?;
    u8::try_from(percent).map_err(|_| OUT_OF_BOUNDS)
}

fn check_wait(text: &str) -> Result<Duration, value::Expected> {
    within(value::duration(text)?, CHECK_WAIT_MIN, HOUR)
}

fn flush(text: &str) -> Result<Flush, value::Expected> {
    match text {
        "async" => Ok(Flush::Async),
        "sync" => Ok(Flush::Sync),
        _ => Err(OUT_OF_BOUNDS),
    }
}

fn log_filter(text: &str) -> Result<String, value::Expected> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        // An empty filter, and one of a single misspelt level (taken for a crate's name), would hide every line.
        Ok(_) if !text.is_empty() && names_a_level(text) => Ok(text.to_owned()),
        _ => Err(OUT_OF_BOUNDS),
    }
}

fn names_a_level(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    text.split([',', '=']).any(|word| LEVELS.contains(&word.trim().to_ascii_lowercase().as_str()))
}

fn log_format(text: &str) -> Result<bool, value::Expected> {
    match text {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err(OUT_OF_BOUNDS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_sources() -> Sources<Key> {
        Sources { file: None, is_strict: false, flags: BTreeMap::new() }
    }

    fn load_flags(flags: &[(Key, &str)]) -> Result<Loaded<Local, Key>, Vec<Problem>> {
        let flags = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        load(&Sources { flags, ..no_sources() }, |_| None, |_| unreachable!("no file"))
    }

    #[test]
    fn defaults_are_valid_and_documented() {
        let config = load_flags(&[]).expect("valid").config;
        assert_eq!(config.grpc.to_string(), "127.0.0.1:8081");
        assert_eq!(config.http.to_string(), "127.0.0.1:8082");
        assert_eq!(config.storage.data, PathBuf::from("./gantry-data"));
        assert_eq!(config.storage.flush, Flush::Async);
        assert_eq!(config.storage.body_bytes_max, 4 << 20);
        assert_eq!(config.storage.segment_bytes, 64 << 20);
        assert_eq!(config.tls, None);
    }

    #[test]
    fn retention_takes_apaches_keys() {
        let read = |_: &std::path::Path| {
            Ok(r#"{"fileReservedTime": 48, "deleteWhen": "04;16", "diskMaxUsedSpaceRatio": "88"}"#.to_owned())
        };
        let sources = Sources { file: Some("f.json".into()), is_strict: true, ..no_sources() };
        let retention = load(&sources, |_| None, read).expect("valid").config.storage.retention;
        assert_eq!(retention.reserved, 48 * HOUR);
        assert_eq!(retention.delete_when, Hours::of(&[4, 16]));
        assert_eq!((retention.disk_used_max, retention.disk_clean_forcibly, retention.disk_warning), (88, 100, 97));
        for (key, text) in [
            (Key::DeleteWhen, "24"),
            (Key::DeleteWhen, ""),
            (Key::DiskMaxUsedSpaceRatio, "101"),
            (Key::FileReservedTime, "0s"),
        ] {
            assert_eq!(load_flags(&[(key, text)]).expect_err("out of bounds").len(), 1, "{text}");
        }
    }

    #[test]
    fn what_nobody_uses_expires_after_a_while_or_never() {
        let idle_max = |text| load_flags(&[(Key::ExpireIdleAfter, text)]).map(|loaded| loaded.config.storage.idle_max);
        let default = load_flags(&[]).expect("valid").config.storage.idle_max;
        assert_eq!(default, Some(::broker::Options::IDLE_MAX_DEFAULT));
        assert_eq!(
            (idle_max("0s"), idle_max("1h"), idle_max("87600h")),
            (Ok(None), Ok(Some(HOUR)), Ok(Some(87_600 * HOUR)))
        );
        for text in ["59m", "87601h"] {
            assert_eq!(idle_max(text).expect_err("out of bounds").len(), 1, "{text}");
        }
    }

    #[test]
    fn idempotency_keys_are_bounded() {
        let default = load_flags(&[]).expect("valid").config.storage.idempotency;
        let ::broker::idempotency::Settings { window, keys_max } = ::broker::idempotency::Settings::default();
        assert_eq!(default, Idempotency { window, keys_max });
        let flags = [(Key::IdempotencyWindow, "24h"), (Key::IdempotencyKeysMax, "2000000")];
        let most = load_flags(&flags).expect("valid").config.storage.idempotency;
        assert_eq!(most, Idempotency { window: 24 * HOUR, keys_max: 2_000_000 });
        for (key, text) in [
            (Key::IdempotencyWindow, "999ms"),
            (Key::IdempotencyWindow, "25h"),
            (Key::IdempotencyKeysMax, "0"),
            (Key::IdempotencyKeysMax, "2000001"),
        ] {
            assert_eq!(load_flags(&[(key, text)]).expect_err("out of bounds").len(), 1, "{text}");
        }
    }

    #[test]
    fn all_problems_are_reported_together() {
        let problems = load_flags(&[
            (Key::Grpc, "8081"),
            (Key::Flush, "never"),
            (Key::TransactionCheckMax, "0"),
            (Key::MaxMessageSize, "5MiB"),
            (Key::LogLevel, "inof"),
        ])
        .expect_err("five problems");
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "grpc is \"8081\" (--grpc), expected an IP address and a port, such as 127.0.0.1:8081",
                "flush is \"never\" (--flush), expected async or sync",
                "maxMessageSize is \"5MiB\" (--max-message-size), expected 1KiB to 4MiB",
                "transactionCheckMax is \"0\" (--transaction-check-max), expected 1 to 1000",
                "logLevel is \"inof\" (--log-level), expected error, warn, info, debug, trace, or a filter such as \
                 info,broker=debug",
            ],
        );
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let problems = load_flags(&[(Key::TlsCert, "c.pem")]).expect_err("one of a pair");
        assert_eq!(problems, [Problem::Alone { given: "tlsCert".to_owned(), missing: "tlsKey".to_owned() }]);
        let loaded = load_flags(&[(Key::TlsCert, "c.pem"), (Key::TlsKey, "k.pem")]).expect("a pair");
        assert_eq!(loaded.config.tls, Some(TlsFiles { cert: "c.pem".into(), key: "k.pem".into() }));
    }

    #[test]
    fn unknown_keys_warn_or_fail_when_strict() {
        let read = |_: &std::path::Path| Ok(r#"{"grcp": 1, "listenPort": 10911}"#.to_owned());
        let mut sources = Sources { file: Some("f.json".into()), ..no_sources() };
        let loaded = load(&sources, |_| None, read).expect("only warnings");
        assert_eq!(loaded.warnings.len(), 2);
        assert!(loaded.warnings.iter().any(|warning| warning.contains("grcp")));
        sources.is_strict = true;
        let problems = load(&sources, |_| None, read).expect_err("strict");
        assert!(matches!(problems.as_slice(), [Problem::UnknownKey { key, .. }] if key == "grcp"));
    }

    #[test]
    fn printed_configuration_names_origins() {
        let printed = load_flags(&[(Key::Flush, "sync")]).expect("valid").to_table();
        let line = |key: &str| {
            let words: Vec<&str> =
                printed.lines().find(|line| line.trim().starts_with(key)).expect("a line").split_whitespace().collect();
            words.join(" ")
        };
        assert_eq!(line("flush"), "flush sync --flush");
        assert_eq!(line("http"), "http 127.0.0.1:8082 default");
        assert_eq!(line("tlsCert"), "tlsCert - not set");
    }
}
