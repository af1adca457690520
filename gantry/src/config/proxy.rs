//! Every setting of `gantry proxy`, each stated once, and the configuration that is made of them. Apache's `rmq-proxy.json` is
//! understood.
//!
//! Source of the aliases: Apache 5.5 `ProxyConfig`.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ::proxy::Origins;
use remoting::Network;

use super::http::{self, Http, HttpKeys};
use super::setting::{self, Alias, Form, Keys, LOG_FORMAT, LOG_LEVEL, Setting, all_addresses, same};
use super::webhooks::{self, WebhookKeys, Webhooks};
use super::{HOUR, Loaded, Log, OUT_OF_BOUNDS, Problem, Reader, Sources, TlsFiles, apache, load_as, value, within};

/// What `gantry proxy` was told, every value valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) name_servers: Vec<String>,
    pub(crate) cluster: String,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    /// `None`: there is none.
    pub(crate) remoting: Option<Remoting>,
    /// Whether operators are answered there.
    pub(crate) http_admin: bool,
    /// Host and port told to clients; `None`: those that they dialled.
    pub(crate) advertise: Option<(String, u16)>,
    /// Whose web pages may call the gRPC port.
    pub(crate) grpc_web: Origins,
    pub(crate) data: PathBuf,
    /// `None`: a self-signed certificate.
    pub(crate) tls: Option<TlsFiles>,
    /// Whose PROXY headers are believed.
    pub(crate) balancers: Vec<Network>,
    pub(crate) drain_timeout: Duration,
    pub(crate) http_settings: Http,
    pub(crate) webhooks: Webhooks,
    /// The broker that keeps them; named if there is a key.
    pub(crate) webhook_broker: Option<String>,
    pub(crate) log: Log,
}

/// Where Remoting clients come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remoting {
    pub(crate) listen: SocketAddr,
    /// Brokers with a port of their own, on the same IP address.
    pub(crate) brokers: Vec<(String, u16)>,
    /// Told to clients; `None`: the address to which they came.
    pub(crate) host: Option<String>,
}

/// Names a setting; its facts stand in [`Keys::setting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::enum_variant_names, reason = "a variant is named as its flag, and --tls-key is a flag")]
pub(crate) enum Key {
    Nameserver,
    ClusterName,
    Grpc,
    Http,
    Remoting,
    RemotingBrokers,
    RemotingHost,
    Advertise,
    GrpcWeb,
    Data,
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
    HttpAdmin,
    WebhookKeyFile,
    WebhookBroker,
    WebhookAllow,
    WebhookCa,
    WebhookMax,
    WebhookRewriteAfter,
    LogLevel,
    LogFormat,
}

impl Keys for Key {
    const COMMAND: &'static str = "proxy";
    const ALL: &'static [Self] = &[
        Self::Nameserver,
        Self::ClusterName,
        Self::Grpc,
        Self::Http,
        Self::Remoting,
        Self::RemotingBrokers,
        Self::RemotingHost,
        Self::Advertise,
        Self::GrpcWeb,
        Self::Data,
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
        Self::HttpAdmin,
        Self::WebhookKeyFile,
        Self::WebhookBroker,
        Self::WebhookAllow,
        Self::WebhookCa,
        Self::WebhookMax,
        Self::WebhookRewriteAfter,
        Self::LogLevel,
        Self::LogFormat,
    ];
    const FORM: Form = Form::Json;

    fn setting(self) -> &'static Setting {
        match self {
            Self::Nameserver => &NAMESERVER,
            Self::ClusterName => &CLUSTER_NAME,
            Self::Grpc => &GRPC,
            Self::Http => &HTTP,
            Self::Remoting => &REMOTING,
            Self::RemotingBrokers => &REMOTING_BROKERS,
            Self::RemotingHost => &REMOTING_HOST,
            Self::Advertise => &ADVERTISE,
            Self::GrpcWeb => &setting::GRPC_WEB,
            Self::Data => &DATA,
            Self::TlsCert => &TLS_CERT,
            Self::TlsKey => &setting::TLS_KEY,
            Self::ProxyProtocolFrom => &setting::PROXY_PROTOCOL_FROM,
            Self::DrainTimeout => &DRAIN_TIMEOUT,
            Self::HttpMaxConnections => &http::CONNECTIONS,
            Self::HttpMaxRequestSize => &http::REQUEST_SIZE,
            Self::HttpRequestTimeout => &http::REQUEST_TIMEOUT,
            Self::HttpMaxInbound => &http::INBOUND,
            Self::HttpMaxUndelivered => &http::UNDELIVERED,
            Self::HttpCors => &http::CORS,
            Self::HttpHosts => &http::HOSTS,
            Self::HttpAdmin => &HTTP_ADMIN,
            Self::WebhookKeyFile => &webhooks::SHARED_KEY_FILE,
            Self::WebhookBroker => &webhooks::BROKER,
            Self::WebhookAllow => &webhooks::ALLOW,
            Self::WebhookCa => &webhooks::CA,
            Self::WebhookMax => &webhooks::MAX,
            Self::WebhookRewriteAfter => &webhooks::REWRITE_AFTER,
            Self::LogLevel => &LOG_LEVEL,
            Self::LogFormat => &LOG_FORMAT,
        }
    }

    fn is_switch(self) -> bool {
        matches!(self, Self::HttpAdmin)
    }

    fn is_ignored(key: &str) -> bool {
        apache::is_known(key)
    }
}

/// Reads and checks all layers.
///
/// # Errors
/// All problems that were found, not only the first.
pub(crate) fn load(
    sources: &Sources<Key>,
    variable: impl Fn(&str) -> Option<String>,
    read: impl Fn(&std::path::Path) -> std::io::Result<String>,
) -> Result<Loaded<Proxy, Key>, Vec<Problem>> {
    load_as(sources, variable, read, typed)
}

/// Reads every setting, so that every problem is found, and only then gives up.
fn typed(reader: &mut Reader<'_, Key>) -> Option<Proxy> {
    let name_servers = reader.read(Key::Nameserver, name_servers);
    let cluster = reader.read(Key::ClusterName, word);
    let grpc = reader.read(Key::Grpc, value::address);
    let http = reader.read(Key::Http, value::address);
    let remoting = remoting(reader);
    let http_admin = reader.read(Key::HttpAdmin, value::boolean);
    let advertise = reader.read_optional(Key::Advertise, value::endpoint);
    let grpc_web = reader.read_optional(Key::GrpcWeb, str::parse::<Origins>);
    let data = reader.read(Key::Data, value::path);
    let drain_timeout = reader.read(Key::DrainTimeout, |text| within(value::duration(text)?, Duration::ZERO, HOUR));
    let http_settings = reader.http(&HTTP_KEYS);
    let webhooks = reader.webhooks(&WEBHOOK_KEYS);
    let webhook_broker = webhook_broker(reader, webhooks.as_ref());
    let log = reader.log(Key::LogLevel, Key::LogFormat);
    let tls = reader.tls(Key::TlsCert, Key::TlsKey);
    let balancers = reader.read_optional(Key::ProxyProtocolFrom, Network::list);
    Some(Proxy {
        name_servers: name_servers?,
        cluster: cluster?,
        grpc: grpc?,
        http: http?,
        remoting: remoting?,
        http_admin: http_admin?,
        advertise: advertise?,
        grpc_web: grpc_web?.unwrap_or_default(),
        data: data?,
        tls: tls?,
        balancers: balancers?.unwrap_or_default(),
        drain_timeout: drain_timeout?,
        http_settings: http_settings?,
        webhooks: webhooks?,
        webhook_broker: webhook_broker?,
        log: log?,
    })
}

const HTTP_KEYS: HttpKeys<Key> = HttpKeys {
    connections: Key::HttpMaxConnections,
    request_size: Key::HttpMaxRequestSize,
    request_timeout: Key::HttpRequestTimeout,
    inbound: Key::HttpMaxInbound,
    undelivered: Key::HttpMaxUndelivered,
    cors: Key::HttpCors,
    hosts: Key::HttpHosts,
};

const WEBHOOK_KEYS: WebhookKeys<Key> = WebhookKeys {
    key_file: Key::WebhookKeyFile,
    allow: Key::WebhookAllow,
    ca: Key::WebhookCa,
    max: Key::WebhookMax,
    rewrite_after: Key::WebhookRewriteAfter,
};

/// Addresses as Apache writes them, separated by semicolons.
pub(crate) fn name_servers(text: &str) -> Result<Vec<String>, value::Expected> {
    text.trim_end_matches(';')
        .split(';')
        .map(|address| value::endpoint(address.trim()).map(|_| address.trim().to_owned()))
        .collect()
}

/// The Remoting port, if there is to be one; `None` after a problem.
fn remoting(reader: &mut Reader<'_, Key>) -> Option<Option<Remoting>> {
    let listen = reader.read(Key::Remoting, |text| match text {
        "off" => Ok(None),
        _ => value::address(text).map(Some),
    });
    let brokers = reader.read_optional(Key::RemotingBrokers, broker_ports);
    let host = reader.read_optional(Key::RemotingHost, host);
    let (listen, brokers, host) = (listen?, brokers?.unwrap_or_default(), host?);
    Some(listen.map(|listen| Remoting { listen, brokers, host }))
}

/// Brokers with a port each, no name and no port twice.
fn broker_ports(text: &str) -> Result<Vec<(String, u16)>, value::Expected> {
    let broker = |text: &str| -> Result<_, value::Expected> {
        let (name, port) = text.trim().split_once('=').ok_or(OUT_OF_BOUNDS)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(OUT_OF_BOUNDS)?;
        Ok((word(name)?, port))
    };
    let brokers: Vec<(String, u16)> = text.split(',').map(broker).collect::<Result<_, _>>()?;
    let names: BTreeSet<_> = brokers.iter().map(|(name, _)| name).collect();
    let ports: BTreeSet<_> = brokers.iter().map(|(_, port)| port).collect();
    let are_different = names.len() == brokers.len() && ports.len() == brokers.len();
    if are_different { Ok(brokers) } else { Err("each broker and each port once") }
}

/// A host without a port; an IPv6 address with or without brackets.
fn host(text: &str) -> Result<String, value::Expected> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if bare.unwrap_or(text).parse::<Ipv6Addr>().is_ok() {
        return Ok(bare.unwrap_or(text).to_owned());
    }
    let is_host = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || matches!(c, '/' | ':' | '[' | ']'));
    if is_host { Ok(text.to_owned()) } else { Err(OUT_OF_BOUNDS) }
}

/// The broker that keeps webhooks, which only means something together with their key; `None` after a problem.
fn webhook_broker(reader: &mut Reader<'_, Key>, webhooks: Option<&Webhooks>) -> Option<Option<String>> {
    let broker = reader.read_optional(Key::WebhookBroker, word)?;
    let (given, missing) = match (&webhooks?.key_file, &broker) {
        (Some(_), None) => (Key::WebhookKeyFile, Key::WebhookBroker),
        (None, Some(_)) => (Key::WebhookBroker, Key::WebhookKeyFile),
        (Some(_), Some(_)) | (None, None) => return Some(broker),
    };
    reader.problems.push(Problem::Alone { given: given.file_key(), missing: missing.file_key() });
    None
}

/// A name as it stands in transaction ids and receipt handles, whose fields a blank separates.
fn word(text: &str) -> Result<String, value::Expected> {
    let is_blank = text.is_empty() || text.contains(char::is_whitespace);
    if is_blank { Err("a name without a blank") } else { Ok(text.to_owned()) }
}

static NAMESERVER: Setting = Setting {
    flag: "nameserver",
    value: "ADDRS",
    default: Some("127.0.0.1:9876"),
    bound: "HOST:PORT, several separated by semicolons",
    effect: "The name servers that know the brokers, of ours or Apache's; the first that answers is asked",
    aliases: &[Alias { key: "namesrvAddr", convert: same }],
};

static CLUSTER_NAME: Setting = Setting {
    flag: "cluster-name",
    value: "NAME",
    default: Some("DefaultCluster"),
    bound: "a name without a blank",
    effect: "What clients are shown as the broker of all queues",
    aliases: &[Alias { key: "rocketMQClusterName", convert: same }],
};

static GRPC: Setting = Setting {
    flag: "grpc",
    value: "ADDR",
    default: Some("127.0.0.1:8081"),
    bound: "IP:PORT, port 0 lets the system choose",
    effect: "Where RocketMQ 5 clients connect, plaintext and TLS on the same port",
    aliases: &[Alias { key: "grpcServerPort", convert: all_addresses }],
};

static HTTP: Setting = Setting {
    flag: "http",
    value: "ADDR",
    default: Some("127.0.0.1:8082"),
    bound: "IP:PORT, port 0 lets the system choose",
    effect: "Where messages without an SDK, health, readiness, metrics and version are served, plaintext and TLS, without a password",
    aliases: &[],
};

static REMOTING: Setting = Setting {
    flag: "remoting",
    value: "ADDR",
    default: Some("127.0.0.1:8080"),
    bound: "IP:PORT, port 0 lets the system choose, or off",
    effect: "Where clients that speak Remoting (4.x and 5.x) connect, as to a name server whose brokers are all here; plaintext and TLS, without a password",
    aliases: &[Alias { key: "remotingListenPort", convert: all_addresses }],
};

static REMOTING_BROKERS: Setting = Setting {
    flag: "remoting-brokers",
    value: "LIST",
    default: None,
    bound: "names and ports such as broker-a=8085,broker-b=8086",
    effect: "Ports of brokers on the same IP address, for clients whose requests name no broker (before 5.0, and not Java's); without them only a cluster of one broker serves such clients",
    aliases: &[],
};

static REMOTING_HOST: Setting = Setting {
    flag: "remoting-host",
    value: "HOST",
    default: None,
    bound: "a host name or an IP address",
    effect: "The host that routes tell Remoting clients, when they cannot use the address to which they came",
    aliases: &[Alias { key: "remotingAccessAddr", convert: same }],
};

static HTTP_ADMIN: Setting = Setting {
    flag: "http-admin",
    value: "BOOL",
    default: Some("false"),
    bound: "true or false",
    effect: "Serve the admin API of the whole cluster on the HTTP port too, without a password: who reaches the port can delete topics and read all messages",
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

static DATA: Setting = Setting {
    flag: "data",
    value: "DIR",
    default: Some("./gantry-proxy-data"),
    bound: "a directory",
    effect: "Where the self-signed certificate is kept, and nothing else; made when missing",
    aliases: &[],
};

static TLS_CERT: Setting = Setting {
    flag: "tls-cert",
    value: "FILE",
    default: None,
    bound: "PEM file, together with the key",
    effect: "Certificate chain for TLS on all ports; without it a self-signed one is made and kept in the data directory",
    aliases: &[Alias { key: "tlsCertPath", convert: same }],
};

static DRAIN_TIMEOUT: Setting = Setting {
    flag: "drain-timeout",
    value: "DURATION",
    default: Some("30s"),
    bound: "0s to 1h",
    effect: "How long calls may go on after a stop was asked for",
    aliases: &[],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::setting::row;
    use super::*;

    fn load_file(text: &str, is_strict: bool) -> Result<Loaded<Proxy, Key>, Vec<Problem>> {
        let sources = Sources { file: Some("rmq-proxy.json".into()), is_strict, flags: BTreeMap::new() };
        load(&sources, |_| None, |_| Ok(text.to_owned()))
    }

    #[test]
    fn defaults_are_valid() {
        let config = load_file("{}", true).expect("valid").config;
        let remoting = config.remoting.expect("one").listen.port();
        assert_eq!((config.grpc.port(), config.http.port(), remoting), (8081, 8082, 8080));
        assert_eq!(config.name_servers, ["127.0.0.1:9876"]);
        assert!(!config.http_admin, "a port that teams send to is not opened to operators by an upgrade");
    }

    #[test]
    fn apaches_file_is_taken_as_it_is() {
        let text = r#"{"rocketMQClusterName": "C", "namesrvAddr": "a:1;b:2;", "grpcServerPort": 28081, "proxyMode": "cluster"}"#;
        let config = load_file(text, true).expect("valid").config;
        assert_eq!(config.name_servers, ["a:1", "b:2"]);
        assert_eq!((config.cluster.as_str(), config.grpc.to_string().as_str()), ("C", "0.0.0.0:28081"));
    }

    #[test]
    fn the_remoting_port_is_apaches_or_none() {
        let remoting = |text| load_file(text, true).expect("valid").config.remoting;
        let apaches =
            remoting(r#"{"remotingListenPort": 28080, "remotingAccessAddr": "mq.example.org"}"#).expect("one");
        assert_eq!(
            (apaches.listen.to_string().as_str(), apaches.host.as_deref()),
            ("0.0.0.0:28080", Some("mq.example.org"))
        );
        assert_eq!(remoting(r#"{"remoting": "off", "remotingBrokers": "a=1"}"#), None);
    }

    #[test]
    fn each_broker_has_one_port() {
        let pair = |name: &str, port| (name.to_owned(), port);
        assert_eq!(broker_ports("a=8085, b=8086"), Ok(vec![pair("a", 8085), pair("b", 8086)]));
        for bad in ["", "a", "a=0", "a=x", "=1", "a=1,", "a=1,a=2", "a=1,b=1"] {
            assert!(broker_ports(bad).is_err(), "{bad}");
        }
        assert_eq!(host("[fd00::1]"), Ok("fd00::1".to_owned()));
        for bad in ["", "a:1", "http://a", "[a]", "a b"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn faults_are_named_together() {
        let problems = load_file(r#"{"nameserver": "a", "clusterName": "a b"}"#, true).expect_err("two");
        assert_eq!(problems.len(), 2);
    }

    #[test]
    fn who_has_a_key_for_webhooks_names_the_broker_that_keeps_them() {
        let alone =
            |given: &str, missing: &str| Problem::Alone { given: given.to_owned(), missing: missing.to_owned() };
        let refused = |text| load_file(text, true).expect_err("one of a pair");
        assert_eq!(refused(r#"{"webhookKeyFile": "k"}"#), [alone("webhookKeyFile", "webhookBroker")]);
        assert_eq!(refused(r#"{"webhookBroker": "b"}"#), [alone("webhookBroker", "webhookKeyFile")]);
        let both = load_file(r#"{"webhookKeyFile": "k", "webhookBroker": "b"}"#, true).expect("a pair").config;
        assert_eq!(both.webhook_broker.as_deref(), Some("b"));
    }

    #[test]
    fn every_setting_is_documented() {
        let page = include_str!("../../../docs/operations.md");
        for key in Key::ALL {
            assert!(page.contains(&row(*key)), "docs/operations.md lacks or has another\n{}", row(*key));
        }
    }
}
