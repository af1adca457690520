//! Every setting of `gantry broker`, each stated once, and the configuration that is made of them. Apache's `broker.conf` is
//! understood.
//!
//! Source of the aliases and of what has no meaning here: Apache 5.5 `BrokerConfig`, `MessageStoreConfig`, `NettyServerConfig`.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use remoting::Network;
use types::topic::QUEUES_MAX;

mod replication;

use super::nameserver;
use super::setting::{
    self, Alias, Convert, Form, Keys, LOG_FORMAT, LOG_LEVEL, Setting, all_addresses, same, with_unit,
};
use super::{
    Loaded, Log, OUT_OF_BOUNDS, Problem, Reader, Sources, Storage, StorageKeys, TlsFiles, load_as, storage, value,
    within,
};

pub(crate) use replication::{Replication, SlavesAt};

/// What `gantry broker` was told, every value valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) listen: SocketAddr,
    /// `HOST:PORT` each; none is allowed, then nobody finds the broker by name.
    pub(crate) name_servers: Vec<String>,
    /// `None`: the address of the route to the first name server.
    pub(crate) advertised_ip: Option<IpAddr>,
    pub(crate) name: String,
    pub(crate) cluster: String,
    pub(crate) default_queues: u32,
    pub(crate) replication: Replication,
    /// Percent of the machine's memory that a reader may be behind before it is asked to go on at a slave; `None`: none is.
    pub(crate) slow_reader_percent: Option<u64>,
    /// Whether the slave with the lowest number stands in for the master while that is away.
    pub(crate) acting_master: bool,
    /// Whether such a slave sends delayed messages that are due to other brokers.
    pub(crate) remote_escape: bool,
    pub(crate) storage: Storage,
    /// Where health, readiness and metrics are served, if anywhere.
    pub(crate) http: Option<SocketAddr>,
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
    Nameserver,
    BrokerIp1,
    BrokerName,
    BrokerClusterName,
    BrokerId,
    BrokerRole,
    EnableControllerMode,
    ControllerAddr,
    BrokerElectionPriority,
    HaListenPort,
    HaMasterAddress,
    InSyncReplicas,
    MinInSyncReplicas,
    EnableAutoInSyncReplicas,
    SlaveTimeout,
    SlaveReadEnable,
    AccessMessageInMemoryMaxRatio,
    EnableSlaveActingMaster,
    EnableRemoteEscape,
    AclEnable,
    AuthenticationEnabled,
    AuthorizationEnabled,
    Data,
    StorePathCommitLog,
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
    DefaultTopicQueueNums,
    TransactionCheckAfter,
    TransactionCheckInterval,
    TransactionCheckMax,
    IdempotencyWindow,
    IdempotencyKeysMax,
    TlsCert,
    TlsKey,
    ProxyProtocolFrom,
    LogLevel,
    LogFormat,
}

/// Apache's keys that are accepted and have no meaning here: threads, buffers, tuning of its own store. Sorted, for the binary
/// search. Keys whose absence would change what clients may do or what survives are not here: those are reported as unknown.
const IGNORED: [&str; 43] = [
    "abortFile",
    "ackMessageThreadPoolNums",
    "adminBrokerThreadPoolNums",
    "allAckInSyncStateSet",
    "brokerHeartbeatInterval",
    "brokerIP2",
    "brokerNotActiveTimeoutMillis",
    "channelExpiredTimeout",
    "checkSyncStateSetPeriod",
    "clientManageThreadPoolNums",
    "compatibleWithOldNameSrv",
    "consumerManageThreadPoolNums",
    "destroyMapedFileIntervalForcibly",
    "endTransactionThreadPoolNums",
    "fetchNamesrvAddrByAddressServer",
    "flushCommitLogLeastPages",
    "flushCommitLogTimed",
    "flushConsumeQueueLeastPages",
    "flushConsumeQueueThoroughInterval",
    "mappedFileSizeConsumeQueue",
    "messageIndexEnable",
    "messageIndexSafe",
    "processReplyMessageThreadPoolNums",
    "pullMessageThreadPoolNums",
    "queryMessageThreadPoolNums",
    "redeleteHangedFileInterval",
    "registerNameServerPeriod",
    "rocketmqHome",
    "sendHeartbeatTimeoutMillis",
    "sendMessageThreadPoolNums",
    "serverSelectorThreads",
    "serverSocketRcvBufSize",
    "serverSocketSndBufSize",
    "serverWorkerThreads",
    "storePathConsumeQueue",
    "storePathIndex",
    "syncBrokerMetadataPeriod",
    "syncControllerMetadataPeriod",
    "transferMsgByHeap",
    "transientStorePoolEnable",
    "transientStorePoolSize",
    "useReentrantLockWhenPutMessage",
    "waitTimeMillsInSendQueue",
];

impl Keys for Key {
    const COMMAND: &'static str = "broker";
    const ALL: &'static [Self] = &[
        Self::Listen,
        Self::BindAddress,
        Self::Http,
        Self::Nameserver,
        Self::BrokerIp1,
        Self::BrokerName,
        Self::BrokerClusterName,
        Self::BrokerId,
        Self::BrokerRole,
        Self::EnableControllerMode,
        Self::ControllerAddr,
        Self::BrokerElectionPriority,
        Self::HaListenPort,
        Self::HaMasterAddress,
        Self::InSyncReplicas,
        Self::MinInSyncReplicas,
        Self::EnableAutoInSyncReplicas,
        Self::SlaveTimeout,
        Self::SlaveReadEnable,
        Self::AccessMessageInMemoryMaxRatio,
        Self::EnableSlaveActingMaster,
        Self::EnableRemoteEscape,
        Self::AclEnable,
        Self::AuthenticationEnabled,
        Self::AuthorizationEnabled,
        Self::Data,
        Self::StorePathCommitLog,
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
        Self::DefaultTopicQueueNums,
        Self::TransactionCheckAfter,
        Self::TransactionCheckInterval,
        Self::TransactionCheckMax,
        Self::IdempotencyWindow,
        Self::IdempotencyKeysMax,
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
            Self::BindAddress => &nameserver::BIND_ADDRESS,
            Self::Http => &nameserver::HTTP,
            Self::Nameserver => &NAMESERVER,
            Self::BrokerIp1 => &BROKER_IP1,
            Self::BrokerName => &BROKER_NAME,
            Self::BrokerClusterName => &BROKER_CLUSTER_NAME,
            Self::BrokerId => &replication::BROKER_ID,
            Self::BrokerRole => &replication::BROKER_ROLE,
            Self::EnableControllerMode => &replication::ENABLE_CONTROLLER_MODE,
            Self::ControllerAddr => &replication::CONTROLLER_ADDR,
            Self::BrokerElectionPriority => &replication::BROKER_ELECTION_PRIORITY,
            Self::HaListenPort => &replication::HA_LISTEN_PORT,
            Self::HaMasterAddress => &replication::HA_MASTER_ADDRESS,
            Self::InSyncReplicas => &replication::IN_SYNC_REPLICAS,
            Self::MinInSyncReplicas => &replication::MIN_IN_SYNC_REPLICAS,
            Self::EnableAutoInSyncReplicas => &replication::ENABLE_AUTO_IN_SYNC_REPLICAS,
            Self::SlaveTimeout => &replication::SLAVE_TIMEOUT,
            Self::SlaveReadEnable => &replication::SLAVE_READ_ENABLE,
            Self::AccessMessageInMemoryMaxRatio => &replication::ACCESS_MESSAGE_IN_MEMORY_MAX_RATIO,
            Self::EnableSlaveActingMaster => &replication::ENABLE_SLAVE_ACTING_MASTER,
            Self::EnableRemoteEscape => &replication::ENABLE_REMOTE_ESCAPE,
            Self::AclEnable => &ACL_ENABLE,
            Self::AuthenticationEnabled => &AUTHENTICATION_ENABLED,
            Self::AuthorizationEnabled => &AUTHORIZATION_ENABLED,
            Self::Data => &DATA,
            Self::StorePathCommitLog => &STORE_PATH_COMMIT_LOG,
            Self::Flush => &setting::FLUSH,
            Self::SegmentSize => &SEGMENT_SIZE,
            Self::FileReservedTime => &setting::FILE_RESERVED_TIME,
            Self::DeleteWhen => &setting::DELETE_WHEN,
            Self::DiskMaxUsedSpaceRatio => &setting::DISK_MAX_USED_SPACE_RATIO,
            Self::DiskSpaceCleanForciblyRatio => &setting::DISK_SPACE_CLEAN_FORCIBLY_RATIO,
            Self::DiskSpaceWarningLevelRatio => &setting::DISK_SPACE_WARNING_LEVEL_RATIO,
            Self::MaxMessageSize => &setting::MAX_MESSAGE_SIZE,
            Self::AutoCreateTopics => &setting::AUTO_CREATE_TOPICS,
            Self::AutoCreateGroups => &setting::AUTO_CREATE_GROUPS,
            Self::ExpireIdleAfter => &EXPIRE_IDLE_AFTER,
            Self::DefaultTopicQueueNums => &DEFAULT_TOPIC_QUEUE_NUMS,
            Self::TransactionCheckAfter => &setting::TRANSACTION_CHECK_AFTER,
            Self::TransactionCheckInterval => &setting::TRANSACTION_CHECK_INTERVAL,
            Self::TransactionCheckMax => &setting::TRANSACTION_CHECK_MAX,
            Self::IdempotencyWindow => &setting::IDEMPOTENCY_WINDOW,
            Self::IdempotencyKeysMax => &setting::IDEMPOTENCY_KEYS_MAX,
            Self::TlsCert => &nameserver::TLS_CERT,
            Self::TlsKey => &nameserver::TLS_KEY,
            Self::ProxyProtocolFrom => &setting::PROXY_PROTOCOL_FROM,
            Self::LogLevel => &LOG_LEVEL,
            Self::LogFormat => &LOG_FORMAT,
        }
    }

    fn is_switch(self) -> bool {
        matches!(
            self,
            Self::AutoCreateTopics
                | Self::AutoCreateGroups
                | Self::EnableControllerMode
                | Self::SlaveReadEnable
                | Self::EnableSlaveActingMaster
                | Self::EnableRemoteEscape
        )
    }

    fn own_text(self) -> Convert {
        match self {
            Self::TransactionCheckInterval | Self::SlaveTimeout => |text| with_unit(text, "ms"),
            Self::FileReservedTime => |text| with_unit(text, "h"),
            _ => same,
        }
    }

    fn is_ignored(key: &str) -> bool {
        IGNORED.binary_search(&key).is_ok()
    }
}

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

/// Reads and checks all layers.
///
/// # Errors
/// All problems that were found, not only the first.
pub(crate) fn load(
    sources: &Sources<Key>,
    variable: impl Fn(&str) -> Option<String>,
    read: impl Fn(&std::path::Path) -> std::io::Result<String>,
) -> Result<Loaded<Broker, Key>, Vec<Problem>> {
    load_as(sources, variable, read, typed)
}

/// Reads every setting, so that every problem is found, and only then gives up.
fn typed(reader: &mut Reader<'_, Key>) -> Option<Broker> {
    let listen = reader.read(Key::Listen, value::address);
    let bind_address = reader.read_optional(Key::BindAddress, value::ip);
    let http = reader.read_optional(Key::Http, value::address);
    let name_servers = reader.read_optional(Key::Nameserver, name_servers);
    let advertised_ip = reader.read_optional(Key::BrokerIp1, value::ip);
    let name = reader.read(Key::BrokerName, word);
    let cluster = reader.read(Key::BrokerClusterName, word);
    let replication = replication::replication(reader);
    let slow_reader_percent = replication::slow_reader_percent(reader);
    let acting_master = replication::acting_master(reader, replication.as_ref());
    let remote_escape = reader.read(Key::EnableRemoteEscape, value::boolean);
    let unserved = [Key::AclEnable, Key::AuthenticationEnabled, Key::AuthorizationEnabled];
    let is_open = unserved.map(|key| reader.read(key, off));
    let storage = storage(reader, &STORAGE);
    let commit_log =
        storage.as_ref().map(|storage| reader.read_optional(Key::StorePathCommitLog, within_data(&storage.data)));
    let queues_max = u64::from(QUEUES_MAX);
    let queues = reader.read(Key::DefaultTopicQueueNums, |text| within(value::count(text)?, 1, queues_max));
    let log = reader.log(Key::LogLevel, Key::LogFormat);
    let tls = reader.tls(Key::TlsCert, Key::TlsKey);
    let balancers = reader.read_optional(Key::ProxyProtocolFrom, Network::list);
    // They say nothing but that it asks nobody for a password, and where its log is.
    let ([Some(()), Some(()), Some(())], _) = (is_open, commit_log??) else { return None };
    let (listen, bind_address) = (listen?, bind_address?);
    Some(Broker {
        listen: SocketAddr::new(bind_address.unwrap_or(listen.ip()), listen.port()),
        name_servers: name_servers?.unwrap_or_default(),
        advertised_ip: advertised_ip?,
        name: name?,
        cluster: cluster?,
        default_queues: u32::try_from(queues?).ok()?,
        replication: replication?,
        slow_reader_percent: slow_reader_percent?,
        acting_master: acting_master?,
        remote_escape: remote_escape?,
        storage: storage?,
        http: http?,
        tls: tls?,
        balancers: balancers?.unwrap_or_default(),
        log: log?,
    })
}

fn name_servers(text: &str) -> Result<Vec<String>, value::Expected> {
    let addresses = text.split([';', ',']).map(str::trim).filter(|address| !address.is_empty());
    addresses.map(|address| value::endpoint(address).map(|_| address.to_owned()).map_err(|_| OUT_OF_BOUNDS)).collect()
}

/// Names that receipt handles and routes carry.
fn word(text: &str) -> Result<String, value::Expected> {
    let is_word = types::TopicName::new(text).is_ok();
    if is_word { Ok(text.to_owned()) } else { Err(OUT_OF_BOUNDS) }
}

/// Who asks for access control must not get a broker that lets everybody in.
fn off(text: &str) -> Result<(), value::Expected> {
    if text == "false" { Ok(()) } else { Err(OUT_OF_BOUNDS) }
}

/// The log is where it always is: elsewhere a broker would begin anew beside a log that is full.
fn within_data(data: &Path) -> impl Fn(&str) -> Result<(), value::Expected> {
    let expected = data.join(store::COMMIT_LOG_NAME);
    move |text| if Path::new(text) == expected { Ok(()) } else { Err(OUT_OF_BOUNDS) }
}

static LISTEN: Setting = Setting {
    flag: "listen",
    value: "ADDR",
    default: Some("127.0.0.1:10911"),
    bound: "IP:PORT, port 0 lets the system choose",
    effect: "Where clients connect, plaintext and TLS on the same port, without a password",
    aliases: &[Alias { key: "listenPort", convert: all_addresses }],
};

static NAMESERVER: Setting = Setting {
    flag: "nameserver",
    value: "ADDRS",
    default: None,
    bound: "HOST:PORT, several separated by semicolons",
    effect: "The name servers to register with, all of them",
    aliases: &[Alias { key: "namesrvAddr", convert: same }],
};

static BROKER_IP1: Setting = Setting {
    flag: "broker-ip1",
    value: "IP",
    default: None,
    bound: "an IP address",
    effect: "The address told to clients; without it a specific one of `--listen`, else the one of the route to the first name server",
    aliases: &[Alias { key: "brokerIP1", convert: same }],
};

static BROKER_NAME: Setting = Setting {
    flag: "broker-name",
    value: "NAME",
    default: Some("broker-a"),
    bound: "letters, digits, '%', '|', '_' and '-', at most 127",
    effect: "The broker's name in routes, receipt and recall handles; no other broker of the cluster has it",
    aliases: &[],
};

static BROKER_CLUSTER_NAME: Setting = Setting {
    flag: "broker-cluster-name",
    value: "NAME",
    default: Some("DefaultCluster"),
    bound: "letters, digits, '%', '|', '_' and '-', at most 127",
    effect: "The cluster it belongs to",
    aliases: &[],
};

static ACL_ENABLE: Setting = Setting {
    flag: "acl-enable",
    value: "BOOL",
    default: Some("false"),
    bound: "false: access control is not served",
    effect: "Whether clients are asked for a password, as in 4.x",
    aliases: &[],
};

static AUTHENTICATION_ENABLED: Setting = Setting {
    flag: "authentication-enabled",
    value: "BOOL",
    default: Some("false"),
    bound: "false: authentication is not served",
    effect: "Whether clients are asked for a password",
    aliases: &[],
};

static AUTHORIZATION_ENABLED: Setting = Setting {
    flag: "authorization-enabled",
    value: "BOOL",
    default: Some("false"),
    bound: "false: authorization is not served",
    effect: "Whether it depends on the client what is allowed",
    aliases: &[],
};

static DATA: Setting = Setting {
    flag: "data",
    value: "DIR",
    default: Some("./gantry-broker-data"),
    bound: "a directory that no other process uses",
    effect: "Where messages and everything else that survives a restart are kept; made when missing",
    aliases: &[Alias { key: "storePathRootDir", convert: same }],
};

static STORE_PATH_COMMIT_LOG: Setting = Setting {
    flag: "store-path-commit-log",
    value: "DIR",
    default: None,
    bound: "the directory `commitlog` in that of `--data`: the log is nowhere else",
    effect: "Where the CommitLog is",
    aliases: &[],
};

/// Off: in a cluster first use does not always make a topic again, see `docs/decisions/0009-idle-topics-and-groups.md`.
static EXPIRE_IDLE_AFTER: Setting = Setting { default: Some("0s"), ..setting::EXPIRE_IDLE_AFTER };

static SEGMENT_SIZE: Setting = Setting {
    flag: "segment-size",
    value: "BYTES",
    default: Some("1GiB"),
    bound: "8MiB to 1GiB",
    effect: "Size of each file of the CommitLog; a log that exists keeps the size it began with",
    aliases: &[Alias { key: "mappedFileSizeCommitLog", convert: same }],
};

static DEFAULT_TOPIC_QUEUE_NUMS: Setting = Setting {
    flag: "default-topic-queue-nums",
    value: "COUNT",
    default: Some("8"),
    bound: "1 to 1024",
    effect: "Most queues of a topic that is made on its first use",
    aliases: &[],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::setting::row;
    use super::*;

    pub(super) fn load_file(text: &str, is_strict: bool) -> Result<Loaded<Broker, Key>, Vec<Problem>> {
        let sources = Sources { file: Some("broker.conf".into()), is_strict, flags: BTreeMap::new() };
        load(&sources, |_| None, |_| Ok(text.to_owned()))
    }

    #[test]
    fn apaches_file_is_taken_as_it_is() {
        let loaded = load_file(
            "brokerClusterName=DefaultCluster\nbrokerName=broker-b\nbrokerId=0\nbrokerIP1=10.0.0.7\nlistenPort=10921\n\
             namesrvAddr=a:9876;10.0.0.1:9876\nflushDiskType=ASYNC_FLUSH\nbrokerRole=ASYNC_MASTER\ndeleteWhen=04\n\
             fileReservedTime=48\nautoCreateTopicEnable=false\ndefaultTopicQueueNums=4\nhaListenPort=10922\n",
            true,
        );
        let loaded = loaded.expect("valid");
        let config = &loaded.config;
        assert_eq!((config.listen.to_string().as_str(), config.default_queues), ("0.0.0.0:10921", 4));
        assert_eq!(config.name_servers, ["a:9876", "10.0.0.1:9876"]);
        assert_eq!(config.advertised_ip, Some(IpAddr::from([10, 0, 0, 7])));
        assert_eq!((config.name.as_str(), config.storage.auto_create_topics), ("broker-b", false));
        assert_eq!((config.storage.segment_bytes, config.storage.auto_create_groups), (1 << 30, true));
        let master = Replication::Master { slaves_at: SlavesAt::Port(10_922), copies: ::broker::Copies::ONE };
        assert_eq!((&config.replication, loaded.warnings.len()), (&master, 0), "{:?}", loaded.warnings);
        assert!(IGNORED.is_sorted());
        assert!(loaded.to_pairs().contains(&("brokerName".to_owned(), "broker-b".to_owned())));
    }

    #[test]
    fn faults_are_named_together() {
        let problems =
            load_file("brokerId=1\nbrokerRole=MASTER\nnamesrvAddr=x\nbrokerIP1=x\n", true).expect_err("three");
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(texts[2].contains("brokerRole is \"MASTER\"") && texts[2].contains("or SLAVE"), "{texts:?}");
    }

    #[test]
    fn what_would_be_neither_guarded_nor_found_is_refused() {
        let refused = |text: &str| -> Vec<String> {
            load_file(text, false).expect_err("refused").iter().map(ToString::to_string).collect()
        };
        for key in ["aclEnable", "authenticationEnabled", "authorizationEnabled"] {
            let texts = refused(&format!("{key}=true\n"));
            assert!(texts.len() == 1 && texts[0].starts_with(&format!("{key} is \"true\"")), "{texts:?}");
            assert!(texts[0].ends_with("is not served"), "{texts:?}");
        }
        let texts = refused("storePathRootDir=/data/store\nstorePathCommitLog=/log/commitlog\n");
        assert!(texts.len() == 1 && texts[0].starts_with("storePathCommitLog is \"/log/commitlog\""), "{texts:?}");
        refused("storePathCommitLog=/data/store/commitlog\n");
        let as_it_is = "aclEnable=false\nauthenticationEnabled=false\nauthorizationEnabled=false\n\
                        storePathRootDir=/data/store\nstorePathCommitLog=/data/store/commitlog/\n";
        assert!(load_file(as_it_is, true).expect("valid").warnings.is_empty());
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
