//! Every setting of `gantry nameserver`, each stated once, and the configuration that is made of them. The names that
//! Apache's `namesrv.conf` has are ours too.
//!
//! Source of the aliases and of what has no meaning here: Apache 5.5 `NamesrvConfig`, `NettyServerConfig`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::nameserver::Settings;
use ::nameserver::settings::{SCAN_INTERVAL_MS, WAIT_SECONDS_MAX};
use remoting::Network;

use super::controller::{self, Group, GroupKeys};
use super::setting::{
    Alias, Convert, Form, Keys, LOG_FORMAT, LOG_LEVEL, PROXY_PROTOCOL_FROM, Setting, all_addresses, same, with_unit,
};
use super::{Loaded, Log, Problem, Reader, Sources, TlsFiles, load_as, value, within};

/// What `gantry nameserver` was told, every value valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameServer {
    pub(crate) listen: SocketAddr,
    /// `None`: nothing is served over HTTP.
    pub(crate) http: Option<SocketAddr>,
    pub(crate) data: PathBuf,
    /// `None`: in the data directory.
    pub(crate) kv_file: Option<PathBuf>,
    pub(crate) settings: Settings,
    /// `None`: it has no controller beside it.
    pub(crate) controller: Option<Group>,
    /// `None`: in the data directory.
    pub(crate) controller_folder: Option<PathBuf>,
    /// `None`: a self-signed certificate.
    pub(crate) tls: Option<TlsFiles>,
    /// Whose PROXY headers are believed.
    pub(crate) balancers: Vec<Network>,
    pub(crate) log: Log,
}

/// Names a setting; its facts stand in [`Keys::setting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::enum_variant_names, reason = "a variant is named as its flag, and --tls-key is a flag")]
pub(crate) enum Key {
    Listen,
    BindAddress,
    Http,
    Data,
    KvConfigPath,
    OrderMessageEnable,
    ReturnOrderTopicConfigToBroker,
    SupportActingMaster,
    EnableAllTopicList,
    EnableTopicList,
    NeedWaitForService,
    WaitSecondsForService,
    NotifyMinBrokerIdChanged,
    DeleteTopicWithBrokerRegistration,
    ScanNotActiveBrokerInterval,
    Controller,
    Id,
    Peers,
    Group,
    ControllerStorePath,
    EnableElectUncleanMaster,
    NotifyBrokerRoleChanged,
    TlsCert,
    TlsKey,
    ProxyProtocolFrom,
    LogLevel,
    LogFormat,
}

/// Apache's keys that are accepted and have no meaning here. Sorted, for the binary search.
const IGNORED: [&str; 22] = [
    "clientRequestThreadPoolNums",
    "clientRequestThreadPoolQueueCapacity",
    "configStorePath",
    "defaultThreadPoolNums",
    "defaultThreadPoolQueueCapacity",
    "enableShutdownGracefully",
    "productEnvName",
    "rocketmqHome",
    "serverAsyncSemaphoreValue",
    "serverCallbackExecutorThreads",
    "serverChannelMaxIdleTimeSeconds",
    "serverNettyWorkerGroupEnable",
    "serverOnewaySemaphoreValue",
    "serverPooledByteBufAllocatorEnable",
    "serverSelectorThreads",
    "serverSocketBacklog",
    "serverSocketRcvBufSize",
    "serverSocketSndBufSize",
    "serverWorkerThreads",
    "unRegisterBrokerQueueCapacity",
    "useEpollNativeSelector",
    "writeBufferHighWaterMark",
];

impl Keys for Key {
    const COMMAND: &'static str = "nameserver";
    const ALL: &'static [Self] = &[
        Self::Listen,
        Self::BindAddress,
        Self::Http,
        Self::Data,
        Self::KvConfigPath,
        Self::OrderMessageEnable,
        Self::ReturnOrderTopicConfigToBroker,
        Self::SupportActingMaster,
        Self::EnableAllTopicList,
        Self::EnableTopicList,
        Self::NeedWaitForService,
        Self::WaitSecondsForService,
        Self::NotifyMinBrokerIdChanged,
        Self::DeleteTopicWithBrokerRegistration,
        Self::ScanNotActiveBrokerInterval,
        Self::Controller,
        Self::Id,
        Self::Peers,
        Self::Group,
        Self::ControllerStorePath,
        Self::EnableElectUncleanMaster,
        Self::NotifyBrokerRoleChanged,
        Self::TlsCert,
        Self::TlsKey,
        Self::ProxyProtocolFrom,
        Self::LogLevel,
        Self::LogFormat,
    ];
    const FORM: Form = Form::Properties;

    fn setting(self) -> &'static Setting {
        match self {
            Self::Listen => &LISTEN,
            Self::BindAddress => &BIND_ADDRESS,
            Self::Http => &HTTP,
            Self::Data => &DATA,
            Self::KvConfigPath => &KV_CONFIG_PATH,
            Self::OrderMessageEnable => &ORDER_MESSAGE_ENABLE,
            Self::ReturnOrderTopicConfigToBroker => &RETURN_ORDER_TOPIC_CONFIG_TO_BROKER,
            Self::SupportActingMaster => &SUPPORT_ACTING_MASTER,
            Self::EnableAllTopicList => &ENABLE_ALL_TOPIC_LIST,
            Self::EnableTopicList => &ENABLE_TOPIC_LIST,
            Self::NeedWaitForService => &NEED_WAIT_FOR_SERVICE,
            Self::WaitSecondsForService => &WAIT_SECONDS_FOR_SERVICE,
            Self::NotifyMinBrokerIdChanged => &NOTIFY_MIN_BROKER_ID_CHANGED,
            Self::DeleteTopicWithBrokerRegistration => &DELETE_TOPIC_WITH_BROKER_REGISTRATION,
            Self::ScanNotActiveBrokerInterval => &SCAN_NOT_ACTIVE_BROKER_INTERVAL,
            Self::Controller => &CONTROLLER,
            Self::Id => &controller::ID,
            Self::Peers => &controller::PEERS,
            Self::Group => &controller::GROUP,
            Self::ControllerStorePath => &CONTROLLER_STORE_PATH,
            Self::EnableElectUncleanMaster => &controller::ENABLE_ELECT_UNCLEAN_MASTER,
            Self::NotifyBrokerRoleChanged => &controller::NOTIFY_BROKER_ROLE_CHANGED,
            Self::TlsCert => &TLS_CERT,
            Self::TlsKey => &TLS_KEY,
            Self::ProxyProtocolFrom => &PROXY_PROTOCOL_FROM,
            Self::LogLevel => &LOG_LEVEL,
            Self::LogFormat => &LOG_FORMAT,
        }
    }

    fn is_switch(self) -> bool {
        matches!(
            self,
            Self::OrderMessageEnable
                | Self::ReturnOrderTopicConfigToBroker
                | Self::SupportActingMaster
                | Self::EnableAllTopicList
                | Self::EnableTopicList
                | Self::NeedWaitForService
                | Self::NotifyMinBrokerIdChanged
                | Self::DeleteTopicWithBrokerRegistration
                | Self::Controller
                | Self::EnableElectUncleanMaster
                | Self::NotifyBrokerRoleChanged
        )
    }

    fn own_text(self) -> Convert {
        match self {
            Self::WaitSecondsForService => |text| with_unit(text, "s"),
            Self::ScanNotActiveBrokerInterval => |text| with_unit(text, "ms"),
            _ => same,
        }
    }

    fn is_ignored(key: &str) -> bool {
        is_ignored(key) || controller::is_ignored(key)
    }
}

/// Whether Apache's name server knows the key and nothing here depends on it.
pub(super) fn is_ignored(key: &str) -> bool {
    IGNORED.binary_search(&key).is_ok()
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
) -> Result<Loaded<NameServer, Key>, Vec<Problem>> {
    load_as(sources, variable, read, typed)
}

/// Reads every setting, so that every problem is found, and only then gives up.
fn typed(reader: &mut Reader<'_, Key>) -> Option<NameServer> {
    let listen = reader.read(Key::Listen, value::address);
    let bind_address = reader.read_optional(Key::BindAddress, value::ip);
    let http = reader.read_optional(Key::Http, value::address);
    let data = reader.read(Key::Data, value::path);
    let kv_file = reader.read_optional(Key::KvConfigPath, value::path);
    let order_message_enable = reader.read(Key::OrderMessageEnable, value::boolean);
    let return_order_topic_config_to_broker = reader.read(Key::ReturnOrderTopicConfigToBroker, value::boolean);
    let support_acting_master = reader.read(Key::SupportActingMaster, value::boolean);
    let enable_all_topic_list = reader.read(Key::EnableAllTopicList, value::boolean);
    let enable_topic_list = reader.read(Key::EnableTopicList, value::boolean);
    let need_wait_for_service = reader.read(Key::NeedWaitForService, value::boolean);
    let wait_max = Duration::from_secs(WAIT_SECONDS_MAX);
    let wait_for_service =
        reader.read(Key::WaitSecondsForService, |text| within(value::duration(text)?, Duration::ZERO, wait_max));
    let notify_min_broker_id_changed = reader.read(Key::NotifyMinBrokerIdChanged, value::boolean);
    let delete_topic = reader.read(Key::DeleteTopicWithBrokerRegistration, value::boolean);
    let (scan_min, scan_max) =
        (Duration::from_millis(*SCAN_INTERVAL_MS.start()), Duration::from_millis(*SCAN_INTERVAL_MS.end()));
    let scan_interval =
        reader.read(Key::ScanNotActiveBrokerInterval, |text| within(value::duration(text)?, scan_min, scan_max));
    let has_controller = reader.read(Key::Controller, value::boolean);
    let group = reader.group(&GROUP_KEYS);
    let controller_folder = reader.read_optional(Key::ControllerStorePath, value::path);
    let log = reader.log(Key::LogLevel, Key::LogFormat);
    let tls = reader.tls(Key::TlsCert, Key::TlsKey);
    let balancers = reader.read_optional(Key::ProxyProtocolFrom, Network::list);
    let (listen, bind_address) = (listen?, bind_address?);
    Some(NameServer {
        listen: SocketAddr::new(bind_address.unwrap_or(listen.ip()), listen.port()),
        http: http?,
        data: data?,
        kv_file: kv_file?,
        settings: Settings {
            order_message_enable: order_message_enable?,
            return_order_topic_config_to_broker: return_order_topic_config_to_broker?,
            support_acting_master: support_acting_master?,
            enable_all_topic_list: enable_all_topic_list?,
            enable_topic_list: enable_topic_list?,
            need_wait_for_service: need_wait_for_service?,
            wait_for_service: wait_for_service?,
            notify_min_broker_id_changed: notify_min_broker_id_changed?,
            delete_topic_with_broker_registration: delete_topic?,
            scan_interval: scan_interval?,
        },
        controller: Some(group?).filter(|_| has_controller == Some(true)),
        controller_folder: controller_folder?,
        tls: tls?,
        balancers: balancers?.unwrap_or_default(),
        log: log?,
    })
}

static LISTEN: Setting = Setting {
    flag: "listen",
    value: "ADDR",
    default: Some("127.0.0.1:9876"),
    bound: "IP:PORT, port 0 lets the system choose",
    effect: "Where brokers register and clients ask, plaintext and TLS on the same port, without a password",
    aliases: &[Alias { key: "listenPort", convert: all_addresses }],
};

pub(super) static BIND_ADDRESS: Setting = Setting {
    flag: "bind-address",
    value: "IP",
    default: None,
    bound: "an IP address of this machine",
    effect: "The IP address to listen on instead, on the port of `--listen`",
    aliases: &[],
};

pub(super) static HTTP: Setting = Setting {
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
    default: Some("./gantry-nameserver-data"),
    bound: "a directory that no other process uses",
    effect: "Where what operators set and the self-signed certificate are kept; made when missing",
    aliases: &[],
};

static KV_CONFIG_PATH: Setting = Setting {
    flag: "kv-config-path",
    value: "FILE",
    default: None,
    bound: "a file of this name server alone",
    effect: "Where the key-value configuration is kept instead, in Apache's form",
    aliases: &[],
};

static ORDER_MESSAGE_ENABLE: Setting = Setting {
    flag: "order-message-enable",
    value: "BOOL",
    default: Some("false"),
    bound: "true or false",
    effect: "Tell clients which brokers hold the queues of an ordered topic (mqadmin updateOrderConf)",
    aliases: &[],
};

static RETURN_ORDER_TOPIC_CONFIG_TO_BROKER: Setting = Setting {
    flag: "return-order-topic-config-to-broker",
    value: "BOOL",
    default: Some("true"),
    bound: "true or false",
    effect: "Tell brokers that register the same of all ordered topics",
    aliases: &[],
};

static SUPPORT_ACTING_MASTER: Setting = Setting {
    flag: "support-acting-master",
    value: "BOOL",
    default: Some("false"),
    bound: "true or false",
    effect: "Show a slave that stands in for a missing master as the master",
    aliases: &[],
};

static ENABLE_ALL_TOPIC_LIST: Setting = Setting {
    flag: "enable-all-topic-list",
    value: "BOOL",
    default: Some("true"),
    bound: "true or false",
    effect: "Let all topics be listed",
    aliases: &[],
};

static ENABLE_TOPIC_LIST: Setting = Setting {
    flag: "enable-topic-list",
    value: "BOOL",
    default: Some("true"),
    bound: "true or false",
    effect: "Let the topics of a cluster, or of units, be listed",
    aliases: &[],
};

static NEED_WAIT_FOR_SERVICE: Setting = Setting {
    flag: "need-wait-for-service",
    value: "BOOL",
    default: Some("false"),
    bound: "true or false",
    effect: "Tell no routes until brokers had time to register",
    aliases: &[],
};

static WAIT_SECONDS_FOR_SERVICE: Setting = Setting {
    flag: "wait-seconds-for-service",
    value: "DURATION",
    default: Some("45s"),
    bound: "0s to 1h",
    effect: "That time",
    aliases: &[],
};

static NOTIFY_MIN_BROKER_ID_CHANGED: Setting = Setting {
    flag: "notify-min-broker-id-changed",
    value: "BOOL",
    default: Some("false"),
    bound: "true or false",
    effect: "Tell brokers at once which slave stands in for their master, or no longer does",
    aliases: &[],
};

static DELETE_TOPIC_WITH_BROKER_REGISTRATION: Setting = Setting {
    flag: "delete-topic-with-broker-registration",
    value: "BOOL",
    default: Some("false"),
    bound: "true or false",
    effect: "Forget the topics of a broker that its newest registration leaves out",
    aliases: &[],
};

static SCAN_NOT_ACTIVE_BROKER_INTERVAL: Setting = Setting {
    flag: "scan-not-active-broker-interval",
    value: "DURATION",
    default: Some("5s"),
    bound: "100ms to 1h",
    effect: "How often brokers are looked for that were not heard of for two minutes, or the time they name; by the controller too",
    aliases: &[],
};

static CONTROLLER: Setting = Setting {
    flag: "controller",
    value: "BOOL",
    default: Some("false"),
    bound: "true or false",
    effect: "Have a controller beside it, on the port of its place in the list of `--peers`",
    aliases: &[Alias { key: "enableControllerInNamesrv", convert: same }],
};

static CONTROLLER_STORE_PATH: Setting = Setting {
    flag: "controller-store-path",
    value: "DIR",
    default: None,
    bound: "a directory that no other process uses",
    effect: "Where what the controllers agreed on is kept instead of the data directory",
    aliases: &[],
};

pub(super) static TLS_CERT: Setting = Setting {
    flag: "tls-cert",
    value: "FILE",
    default: None,
    bound: "PEM file, together with the key",
    effect: "Certificate chain for TLS; without it a self-signed one is made and kept in the data directory",
    aliases: &[],
};

pub(super) static TLS_KEY: Setting = Setting {
    flag: "tls-key",
    value: "FILE",
    default: None,
    bound: "PEM file, together with the certificate",
    effect: "The certificate's private key",
    aliases: &[],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::setting::row;
    use super::*;

    fn load_file(text: &str, is_strict: bool) -> Result<Loaded<NameServer, Key>, Vec<Problem>> {
        let sources = Sources { file: Some("namesrv.conf".into()), is_strict, flags: BTreeMap::new() };
        load(&sources, |_| None, |_| Ok(text.to_owned()))
    }

    #[test]
    fn defaults_are_the_name_servers() {
        let config = load_file("", true).expect("valid").config;
        assert_eq!(config.settings, Settings::default());
        assert_eq!((config.listen.to_string().as_str(), config.tls), ("127.0.0.1:9876", None));
        assert!(IGNORED.is_sorted());
    }

    #[test]
    fn apaches_file_is_taken_as_it_is() {
        let loaded = load_file(
            "# comment\nlistenPort = 9877\nkvConfigPath=/kv.json\norderMessageEnable=true\nwaitSecondsForService=30\n\
             scanNotActiveBrokerInterval=1000\nserverWorkerThreads=8\n",
            true,
        );
        let loaded = loaded.expect("valid");
        assert_eq!(loaded.config.listen.to_string(), "0.0.0.0:9877");
        assert_eq!(loaded.config.kv_file, Some("/kv.json".into()));
        assert!(loaded.config.settings.order_message_enable);
        assert_eq!(loaded.config.settings.wait_for_service, Duration::from_secs(30));
        assert_eq!(loaded.config.settings.scan_interval, Duration::from_secs(1));
        let bound = load_file("bindAddress=127.0.0.1\nlistenPort=9877\n", true).expect("valid").config.listen;
        assert_eq!(bound.to_string(), "127.0.0.1:9877");
        assert_eq!(loaded.warnings, ["accepted without effect by gantry nameserver: serverWorkerThreads"]);
        assert_eq!(loaded.config.controller, None);
        let text = "enableControllerInNamesrv = true\ncontrollerDLegerGroup = group1\n\
                    controllerDLegerPeers = n0-127.0.0.1:9878\ncontrollerDLegerSelfId = n0\ncontrollerStorePath=/c\n";
        let config = load_file(text, true).expect("valid").config;
        assert_eq!(config.controller.expect("one").listen.to_string(), "127.0.0.1:9878");
        assert_eq!(config.controller_folder, Some("/c".into()));
    }

    #[test]
    fn faults_of_the_file_are_named_together() {
        let problems =
            load_file("listenPort=x\nwaitSecondsForService=2h\nclusterTest=true\n", true).expect_err("three");
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "namesrv.conf: unknown key clusterTest; all keys: docs/operations.md or gantry nameserver --print-config",
                "listen is \"0.0.0.0:x\" (namesrv.conf: listenPort), expected an IP address and a port, such as 127.0.0.1:8081",
                "waitSecondsForService is \"2h\" (namesrv.conf: waitSecondsForService), expected 0s to 1h",
            ],
        );
        let problems = load_file("a=\\u00zz", true).expect_err("no properties");
        assert!(matches!(problems.as_slice(), [Problem::NotProperties { .. }]), "{problems:?}");
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
