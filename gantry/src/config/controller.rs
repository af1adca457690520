//! Every setting of `gantry controller`, each stated once, and the configuration that is made of them. The names that Apache's
//! `controller.conf` has are ours too; `gantry nameserver --controller` has those of a controller's group as well.
//!
//! Source of the aliases and of what has no meaning here: Apache 5.5 `ControllerConfig`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ::controller::settings::SCAN_INTERVAL_MS;
use ::controller::{Peers, Settings};
use remoting::Network;

use super::nameserver::{self, TLS_CERT, TLS_KEY};
use super::setting::{
    Alias, Convert, Form, Keys, LOG_FORMAT, LOG_LEVEL, PROXY_PROTOCOL_FROM, Setting, same, with_unit,
};
use super::{Loaded, Log, Problem, Reader, Sources, TlsFiles, load_as, value, within};

/// What `gantry controller` was told, every value valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Controller {
    pub(crate) group: Group,
    /// `None`: nothing is served over HTTP.
    pub(crate) http: Option<SocketAddr>,
    pub(crate) data: PathBuf,
    /// `None`: a self-signed certificate.
    pub(crate) tls: Option<TlsFiles>,
    /// Whose PROXY headers are believed.
    pub(crate) balancers: Vec<Network>,
    pub(crate) log: Log,
}

/// What a controller was told of its group, whatever process it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) peers: Peers,
    pub(crate) listen: SocketAddr,
    pub(crate) settings: Settings,
}

/// The settings of [`Group`] among those of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupKeys<K> {
    pub(super) id: K,
    pub(super) peers: K,
    pub(super) group: K,
    pub(super) elect_unclean: K,
    pub(super) notify: K,
    pub(super) scan_interval: K,
}

/// Names a setting; its facts stand in [`Keys::setting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::enum_variant_names, reason = "a variant is named as its flag, and --tls-key is a flag")]
pub(crate) enum Key {
    Id,
    Peers,
    Group,
    Listen,
    Http,
    Data,
    EnableElectUncleanMaster,
    NotifyBrokerRoleChanged,
    ScanNotActiveBrokerInterval,
    TlsCert,
    TlsKey,
    ProxyProtocolFrom,
    LogLevel,
    LogFormat,
}

/// Apache's keys of a controller that are accepted and have no meaning here. Sorted, for the binary search.
const IGNORED: [&str; 17] = [
    "configBlackList",
    "configStorePath",
    "controllerRequestThreadPoolQueueCapacity",
    "controllerThreadPoolNums",
    "electMasterMaxRetryCount",
    "isProcessReadEvent",
    "mappedFileSize",
    "metricGrpcExporterIntervalInMills",
    "metricGrpcExporterTimeOutInMills",
    "metricLoggingExporterIntervalInMills",
    "metricsExporterType",
    "metricsInDelta",
    "metricsLabel",
    "metricsPromExporterHost",
    "metricsPromExporterPort",
    "rocketmqHome",
    "scanInactiveMasterInterval",
];

/// Whether Apache's controller knows the key and nothing here depends on it.
pub(super) fn is_ignored(key: &str) -> bool {
    IGNORED.binary_search(&key).is_ok()
}

impl Keys for Key {
    const COMMAND: &'static str = "controller";
    const ALL: &'static [Self] = &[
        Self::Id,
        Self::Peers,
        Self::Group,
        Self::Listen,
        Self::Http,
        Self::Data,
        Self::EnableElectUncleanMaster,
        Self::NotifyBrokerRoleChanged,
        Self::ScanNotActiveBrokerInterval,
        Self::TlsCert,
        Self::TlsKey,
        Self::ProxyProtocolFrom,
        Self::LogLevel,
        Self::LogFormat,
    ];
    const FORM: Form = Form::Properties;

    fn setting(self) -> &'static Setting {
        match self {
            Self::Id => &ID,
            Self::Peers => &PEERS,
            Self::Group => &GROUP,
            Self::Listen => &LISTEN,
            Self::Http => &HTTP,
            Self::Data => &DATA,
            Self::EnableElectUncleanMaster => &ENABLE_ELECT_UNCLEAN_MASTER,
            Self::NotifyBrokerRoleChanged => &NOTIFY_BROKER_ROLE_CHANGED,
            Self::ScanNotActiveBrokerInterval => &SCAN_NOT_ACTIVE_BROKER_INTERVAL,
            Self::TlsCert => &TLS_CERT,
            Self::TlsKey => &TLS_KEY,
            Self::ProxyProtocolFrom => &PROXY_PROTOCOL_FROM,
            Self::LogLevel => &LOG_LEVEL,
            Self::LogFormat => &LOG_FORMAT,
        }
    }

    fn is_switch(self) -> bool {
        matches!(self, Self::EnableElectUncleanMaster | Self::NotifyBrokerRoleChanged)
    }

    fn own_text(self) -> Convert {
        match self {
            Self::ScanNotActiveBrokerInterval => |text| with_unit(text, "ms"),
            _ => same,
        }
    }

    fn is_ignored(key: &str) -> bool {
        is_ignored(key) || nameserver::is_ignored(key)
    }
}

const GROUP_KEYS: GroupKeys<Key> = GroupKeys {
    id: Key::Id,
    peers: Key::Peers,
    group: Key::Group,
    elect_unclean: Key::EnableElectUncleanMaster,
    notify: Key::NotifyBrokerRoleChanged,
    scan_interval: Key::ScanNotActiveBrokerInterval,
};

/// Reads and checks all layers.
///
/// # Errors
/// All problems that were found, not only the first.
pub(crate) fn load(
    sources: &Sources<Key>,
    variable: impl Fn(&str) -> Option<String>,
    read: impl Fn(&std::path::Path) -> std::io::Result<String>,
) -> Result<Loaded<Controller, Key>, Vec<Problem>> {
    load_as(sources, variable, read, typed)
}

/// Reads every setting, so that every problem is found, and only then gives up.
fn typed(reader: &mut Reader<'_, Key>) -> Option<Controller> {
    let group = reader.group(&GROUP_KEYS);
    let listen = reader.read_optional(Key::Listen, value::address);
    let http = reader.read_optional(Key::Http, value::address);
    let data = reader.read(Key::Data, value::path);
    let log = reader.log(Key::LogLevel, Key::LogFormat);
    let tls = reader.tls(Key::TlsCert, Key::TlsKey);
    let balancers = reader.read_optional(Key::ProxyProtocolFrom, Network::list);
    let group = group?;
    Some(Controller {
        group: Group { listen: listen?.unwrap_or(group.listen), ..group },
        http: http?,
        data: data?,
        tls: tls?,
        balancers: balancers?.unwrap_or_default(),
        log: log?,
    })
}

impl<K: Keys> Reader<'_, K> {
    /// What a controller is told of its group.
    pub(super) fn group(&mut self, keys: &GroupKeys<K>) -> Option<Group> {
        let all = self.read(keys.peers, Peers::list);
        let name = self.read(keys.group, text);
        let elect_unclean = self.read(keys.elect_unclean, value::boolean);
        let notify_brokers = self.read(keys.notify, value::boolean);
        let (scan_min, scan_max) =
            (Duration::from_millis(*SCAN_INTERVAL_MS.start()), Duration::from_millis(*SCAN_INTERVAL_MS.end()));
        let scan_interval = self.read(keys.scan_interval, |text| within(value::duration(text)?, scan_min, scan_max));
        let (all, name) = (all?, name?);
        let peers =
            self.read(keys.id, |id| Peers::new(name.clone(), all.clone(), id).ok_or("the id of one of the peers"))?;
        Some(Group {
            listen: listen_at(peers.own_address()),
            peers,
            settings: Settings {
                elect_unclean: elect_unclean?,
                notify_brokers: notify_brokers?,
                scan_interval: scan_interval?,
            },
        })
    }
}

fn text(text: &str) -> Result<String, value::Expected> {
    if text.is_empty() { Err("a name") } else { Ok(text.to_owned()) }
}

/// Where a controller listens that others reach at this address: as Apache's on all addresses, unless it is a loopback address.
fn listen_at(own: &str) -> SocketAddr {
    match value::address(own) {
        Ok(address) if address.ip().is_loopback() => address,
        Ok(SocketAddr::V6(address)) => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port()),
        // The list of peers has a port in each.
        other => {
            let named = || own.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default();
            let port = other.map_or_else(|_| named(), |address| address.port());
            SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
        }
    }
}

pub(super) static ID: Setting = Setting {
    flag: "id",
    value: "ID",
    default: Some("n0"),
    bound: "the id of one of the peers",
    effect: "Which of the controllers of the list it is",
    aliases: &[Alias { key: "controllerDLegerSelfId", convert: same }],
};

pub(super) static PEERS: Setting = Setting {
    flag: "peers",
    value: "LIST",
    default: Some("n0-127.0.0.1:9878"),
    bound: "ID-HOST:PORT, an odd number up to 9 of them separated by semicolons",
    effect: "All controllers of the group, the same list at each; it stays as it was at the first start",
    aliases: &[Alias { key: "controllerDLegerPeers", convert: same }],
};

pub(super) static GROUP: Setting = Setting {
    flag: "group",
    value: "NAME",
    default: Some("default"),
    bound: "a name",
    effect: "The name of the controllers' group: those of another one are refused",
    aliases: &[Alias { key: "controllerDLegerGroup", convert: same }],
};

static LISTEN: Setting = Setting {
    flag: "listen",
    value: "ADDR",
    default: None,
    bound: "IP:PORT",
    effect: "Where brokers, operators and the other controllers connect, plaintext and TLS on the same port, without a password; without it the port of its place in the list, on all addresses, or on that address if it is a loopback address",
    aliases: &[],
};

static HTTP: Setting = Setting {
    flag: "http",
    value: "ADDR",
    default: None,
    bound: "IP:PORT, port 0 lets the system choose",
    effect: "Where health, readiness, metrics and version are served, plaintext and without a password; without it they are not",
    aliases: &[],
};

static DATA: Setting = Setting {
    flag: "data",
    value: "DIR",
    default: Some("./gantry-controller-data"),
    bound: "a directory that no other process uses",
    effect: "Where what the controllers agreed on and the self-signed certificate are kept; made when missing",
    aliases: &[Alias { key: "controllerStorePath", convert: same }],
};

pub(super) static ENABLE_ELECT_UNCLEAN_MASTER: Setting = Setting {
    flag: "enable-elect-unclean-master",
    value: "BOOL",
    default: Some("false"),
    bound: "true or false",
    effect: "Elect a broker that is not in sync when no other is alive: what was acknowledged and it does not have is lost",
    aliases: &[],
};

pub(super) static NOTIFY_BROKER_ROLE_CHANGED: Setting = Setting {
    flag: "notify-broker-role-changed",
    value: "BOOL",
    default: Some("true"),
    bound: "true or false",
    effect: "Tell brokers at once that they have another master; else they find out when they ask",
    aliases: &[],
};

static SCAN_NOT_ACTIVE_BROKER_INTERVAL: Setting = Setting {
    flag: "scan-not-active-broker-interval",
    value: "DURATION",
    default: Some("5s"),
    bound: "100ms to 1h",
    effect: "How often at least a master is looked for where there is none; one that falls silent for too long is found then, and one whose connection ends at once",
    aliases: &[],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::setting::row;
    use super::*;

    fn load_file(text: &str, is_strict: bool) -> Result<Loaded<Controller, Key>, Vec<Problem>> {
        let sources = Sources { file: Some("controller.conf".into()), is_strict, flags: BTreeMap::new() };
        load(&sources, |_| None, |_| Ok(text.to_owned()))
    }

    #[test]
    fn defaults_are_a_group_of_one() {
        let config = load_file("", true).expect("valid").config;
        assert_eq!(config.group.settings, Settings::default());
        assert_eq!(config.group.listen.to_string(), "127.0.0.1:9878");
        assert!(IGNORED.is_sorted());
    }

    #[test]
    fn apaches_file_is_taken_as_it_is() {
        let loaded = load_file(
            "controllerDLegerGroup = group1\ncontrollerDLegerPeers = n0-10.0.0.1:9878;n1-10.0.0.2:9868;n2-10.0.0.3:9858\n\
             controllerDLegerSelfId = n1\ncontrollerStorePath=/data\nenableElectUncleanMaster=true\n\
             notifyBrokerRoleChanged=false\nscanNotActiveBrokerInterval=1000\nmappedFileSize=1024\nserverWorkerThreads=8\n",
            true,
        );
        let loaded = loaded.expect("valid");
        let Group { peers, listen, settings } = loaded.config.group;
        assert_eq!((peers.group(), peers.own(), peers.own_address()), ("group1", 1, "10.0.0.2:9868"));
        assert_eq!((listen.to_string().as_str(), loaded.config.data), ("0.0.0.0:9868", "/data".into()));
        let told = Settings { elect_unclean: true, notify_brokers: false, scan_interval: Duration::from_secs(1) };
        assert_eq!(settings, told);
        assert_eq!(
            loaded.warnings,
            ["accepted without effect by gantry controller: mappedFileSize, serverWorkerThreads"]
        );
    }

    #[test]
    fn faults_are_named_together() {
        let problems = load_file("controllerDLegerPeers=n0\nscanNotActiveBrokerInterval=1\n", true).expect_err("two");
        assert_eq!(problems.len(), 2, "{problems:?}");
        let problems = load_file("controllerDLegerSelfId=n1\n", true).expect_err("no peer");
        let text = "id is \"n1\" (controller.conf: controllerDLegerSelfId), expected the id of one of the peers";
        assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
    }

    #[test]
    fn a_controller_listens_where_others_look_for_it() {
        for (own, listen) in [
            ("localhost:1", "127.0.0.1:1"),
            ("[::1]:1", "[::1]:1"),
            ("[fd00::1]:1", "[::]:1"),
            ("10.0.0.1:1", "0.0.0.0:1"),
            ("a-host.example.org:1", "0.0.0.0:1"),
        ] {
            assert_eq!(listen_at(own).to_string(), listen, "{own}");
        }
    }

    #[test]
    fn the_page_lists_every_setting() {
        let page = include_str!("../../../docs/controller.md");
        for key in Key::ALL {
            let row = row(*key);
            assert!(page.contains(&row), "docs/controller.md lacks the row\n{row}");
        }
    }
}
