//! What a broker has to do with the others of its name: its settings, and what they mean together.

use std::time::Duration;

use ::broker::Copies;

use super::super::setting::Setting;
use super::super::{OUT_OF_BOUNDS, Reader, value, within};
use super::Key;

/// What it has to do with the other brokers of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Replication {
    /// It sends slaves its log.
    Master {
        /// Where they connect.
        slaves_at: SlavesAt,
        /// Whom it waits for.
        copies: Copies,
    },
    /// It has its master's log.
    Slave {
        id: u64,
        /// `HOST:PORT`; `None`: name servers say it.
        master: Option<String>,
    },
    /// What the controllers say.
    Member {
        /// `HOST:PORT` of each of them.
        controllers: Vec<String>,
        /// Of several that may be the master the one with the lowest is.
        priority: i64,
        /// As a master.
        slaves_at: SlavesAt,
        copies: Copies,
    },
}

impl Replication {
    /// What it is, for people.
    pub(crate) fn role(&self) -> &'static str {
        match self {
            Self::Master { copies: Copies { count: 2.., .. }, .. } => "master that waits for slaves",
            Self::Master { .. } => "master",
            Self::Slave { .. } => "slave",
            Self::Member { .. } => "what the controllers say",
        }
    }
}

/// Where a master's slaves connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlavesAt {
    /// Nowhere: neither a role nor a port is set.
    Nowhere,
    /// On the port behind that of `listen`.
    Next,
    /// On this port.
    Port(u16),
}

/// What `--broker-role` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    AsyncMaster,
    SyncMaster,
    Slave,
}

/// The settings of a master count for a master only, and those of a slave for a slave: groups of brokers share their files.
pub(super) fn replication(reader: &mut Reader<'_, Key>) -> Option<Replication> {
    let controllers = reader.read_optional(Key::ControllerAddr, super::name_servers);
    let has_controllers = controllers.as_ref().is_none_or(|given| given.as_ref().is_some_and(|all| !all.is_empty()));
    let is_member = reader.read(Key::EnableControllerMode, |text| match value::boolean(text)? {
        true if !has_controllers => Err("false, or controllerAddr beside it, which says where the controllers are"),
        is_member => Ok(is_member),
    });
    let priority = reader.read(Key::BrokerElectionPriority, |text| within(value::count(text)?, 0, PRIORITY_MAX));
    let role = reader.read(Key::BrokerRole, role);
    let id = reader.read(Key::BrokerId, |text| match is_member {
        // The controllers give it one.
        Some(true) => Ok(0),
        _ => {
            let id = value::count(text)?;
            role.map_or(Ok(id), |role| id_of(role, id))
        }
    });
    let port = reader.read_optional(Key::HaListenPort, port);
    let master = reader.read_optional(Key::HaMasterAddress, |text| value::endpoint(text).map(|_| text.to_owned()));
    let brokers = |text: &str| within(value::count(text)?, 1, COPIES_MAX);
    let count = reader.read_optional(Key::InSyncReplicas, brokers);
    let count_min = reader.read(Key::MinInSyncReplicas, brokers);
    let are_few_enough = reader.read(Key::EnableAutoInSyncReplicas, value::boolean);
    let timeout = reader.read(Key::SlaveTimeout, |text| within(value::duration(text)?, TIMEOUT_MIN, TIMEOUT_MAX));
    let (id, port, master, timeout) = (id?, port?, master?, timeout?);
    let count_min = usize::try_from(count_min?).ok()?;
    let count = usize::try_from(count?.unwrap_or(COPIES_OF_SYNC)).ok()?.max(count_min);
    let copies = match role? {
        Role::AsyncMaster => Copies { timeout, ..Copies::ONE },
        // Apache's brokers that are to be either under controllers have the role of a slave in their files.
        Role::SyncMaster | Role::Slave => Copies { count, count_min, are_few_enough: are_few_enough?, timeout },
    };
    // A log without a password is on a port only where somebody has asked for it.
    let slaves_at = match (port, reader.is_given(Key::BrokerRole) || is_member?) {
        (Some(port), _) => SlavesAt::Port(port),
        (None, true) => SlavesAt::Next,
        (None, false) => SlavesAt::Nowhere,
    };
    if is_member? {
        let (controllers, priority) = (controllers?.unwrap_or_default(), i64::try_from(priority?).ok()?);
        return Some(Replication::Member { controllers, priority, slaves_at, copies });
    }
    Some(match role? {
        Role::Slave => Replication::Slave { id, master },
        Role::AsyncMaster | Role::SyncMaster => Replication::Master { slaves_at, copies },
    })
}

/// Whether readers are asked to go on at a slave, and from which percent of the memory on.
pub(super) fn slow_reader_percent(reader: &mut Reader<'_, Key>) -> Option<Option<u64>> {
    let is_enabled = reader.read(Key::SlaveReadEnable, value::boolean);
    let percent = reader.read(Key::AccessMessageInMemoryMaxRatio, |text| within(value::count(text)?, 0, 100));
    let (is_enabled, percent) = (is_enabled?, percent?);
    Some(is_enabled.then_some(percent))
}

/// Whether slaves stand in for their master. Controllers make one of them the master instead.
pub(super) fn acting_master(reader: &mut Reader<'_, Key>, replication: Option<&Replication>) -> Option<bool> {
    let is_member = matches!(replication, Some(Replication::Member { .. }));
    reader.read(Key::EnableSlaveActingMaster, |text| match value::boolean(text)? {
        true if is_member => Err("false: with enableControllerMode a slave becomes the master instead"),
        acting_master => Ok(acting_master),
    })
}

/// Most brokers that a master waits for, itself counted: as many as controllers know of a name.
const COPIES_MAX: u64 = 64;
/// Source: `brokerElectionPriority` is a number of 32 bits.
const PRIORITY_MAX: u64 = i32::MAX as u64;
/// Brokers that have what a `SYNC_MASTER` acknowledges. Apache 5.x waits for nobody unless `inSyncReplicas` says so; 4.x did for one slave.
const COPIES_OF_SYNC: u64 = 2;
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

fn role(text: &str) -> Result<Role, value::Expected> {
    match text {
        "ASYNC_MASTER" => Ok(Role::AsyncMaster),
        "SYNC_MASTER" => Ok(Role::SyncMaster),
        "SLAVE" => Ok(Role::Slave),
        _ => Err(OUT_OF_BOUNDS),
    }
}

/// A slave's configuration must not make a master, nor the reverse.
fn id_of(role: Role, id: u64) -> Result<u64, value::Expected> {
    match (role, id) {
        (Role::Slave, 0) => Err("1 or more: 0 is the master, and the role is SLAVE"),
        (Role::AsyncMaster | Role::SyncMaster, 1..) => Err("0: another number is a slave's, and the role is not SLAVE"),
        (Role::Slave, id) => within(id, 1, BROKER_ID_MAX),
        (_, id) => Ok(id),
    }
}

/// Largest number of a slave.
const BROKER_ID_MAX: u64 = 1_000_000;

fn port(text: &str) -> Result<u16, value::Expected> {
    text.parse().map_err(|_| OUT_OF_BOUNDS)
}

pub(super) static ENABLE_CONTROLLER_MODE: Setting = Setting {
    flag: "enable-controller-mode",
    value: "BOOL",
    default: Some("false"),
    bound: "true or false, true only with `--controller-addr`",
    effect: "Whether controllers say which of the brokers of its name is the master; `--broker-id`, and SLAVE as a role, count for nothing then",
    aliases: &[],
};

pub(super) static CONTROLLER_ADDR: Setting = Setting {
    flag: "controller-addr",
    value: "ADDRS",
    default: None,
    bound: "HOST:PORT, several separated by semicolons",
    effect: "The controllers, all of them",
    aliases: &[],
};

pub(super) static BROKER_ELECTION_PRIORITY: Setting = Setting {
    flag: "broker-election-priority",
    value: "NUMBER",
    default: Some("2147483647"),
    bound: "0 to 2147483647",
    effect: "Under controllers: of brokers in sync whose logs are equally far the one with the lowest number becomes the master",
    aliases: &[],
};

pub(super) static BROKER_ID: Setting = Setting {
    flag: "broker-id",
    value: "ID",
    default: Some("0"),
    bound: "0 for a master, 1 to 1000000 for a slave",
    effect: "Its number among those of its name",
    aliases: &[],
};

pub(super) static BROKER_ROLE: Setting = Setting {
    flag: "broker-role",
    value: "ROLE",
    default: Some("ASYNC_MASTER"),
    bound: "ASYNC_MASTER, SYNC_MASTER or SLAVE",
    effect: "Whether it decides what is stored and sends slaves its log, with SYNC_MASTER waiting for them before it answers, or has its master's log",
    aliases: &[],
};

pub(super) static HA_LISTEN_PORT: Setting = Setting {
    flag: "ha-listen-port",
    value: "PORT",
    default: None,
    bound: "0 to 65535, port 0 lets the system choose",
    effect: "A master's: where slaves get its log, on the address of `--listen`, without a password; without it the port behind that one if `--broker-role` is given, else none",
    aliases: &[],
};

pub(super) static HA_MASTER_ADDRESS: Setting = Setting {
    flag: "ha-master-address",
    value: "ADDR",
    default: None,
    bound: "HOST:PORT, the port is the master's `--ha-listen-port`",
    effect: "A slave's: where its master has its log; without it the name servers say that",
    aliases: &[],
};

pub(super) static IN_SYNC_REPLICAS: Setting = Setting {
    flag: "in-sync-replicas",
    value: "COUNT",
    default: None,
    bound: "1 to 64",
    effect: "A SYNC_MASTER's: how many brokers at least have what it acknowledges, itself counted; without it 2. Under controllers it waits for all in sync",
    aliases: &[],
};

pub(super) static MIN_IN_SYNC_REPLICAS: Setting = Setting {
    flag: "min-in-sync-replicas",
    value: "COUNT",
    default: Some("1"),
    bound: "1 to 64",
    effect: "A SYNC_MASTER's: with fewer brokers in sync, itself counted, messages are refused; more than `--in-sync-replicas` counts for that too",
    aliases: &[],
};

pub(super) static ENABLE_AUTO_IN_SYNC_REPLICAS: Setting = Setting {
    flag: "enable-auto-in-sync-replicas",
    value: "BOOL",
    default: Some("false"),
    bound: "true or false",
    effect: "A SYNC_MASTER's: with fewer brokers in sync than `--in-sync-replicas` those are enough, down to `--min-in-sync-replicas`",
    aliases: &[],
};

pub(super) static SLAVE_TIMEOUT: Setting = Setting {
    flag: "slave-timeout",
    value: "TIME",
    default: Some("3s"),
    bound: "1ms to 60s",
    effect: "A SYNC_MASTER's: how long an answer waits for slaves; then a sender is told FLUSH_SLAVE_TIMEOUT, others that it took too long",
    aliases: &[],
};

pub(super) static SLAVE_READ_ENABLE: Setting = Setting {
    flag: "slave-read-enable",
    value: "BOOL",
    default: Some("false"),
    bound: "true or false",
    effect: "Ask consumers that pull and are far behind to go on at the slave 1, while a slave keeps up; a slave serves pulls either way",
    aliases: &[],
};

pub(super) static ACCESS_MESSAGE_IN_MEMORY_MAX_RATIO: Setting = Setting {
    flag: "access-message-in-memory-max-ratio",
    value: "PERCENT",
    default: Some("40"),
    bound: "0 to 100",
    effect: "With `--slave-read-enable`: how far behind the log's end is far, in percent of the machine's memory",
    aliases: &[],
};

pub(super) static ENABLE_SLAVE_ACTING_MASTER: Setting = Setting {
    flag: "enable-slave-acting-master",
    value: "BOOL",
    default: Some("false"),
    bound: "true or false, false with `--enable-controller-mode`",
    effect: "In the files of master and slaves: while the master is away the slave with the lowest number takes offsets and locks of clients of 4.x in its stead, and the name servers hear within 10 s of a broker that is gone",
    aliases: &[],
};

pub(super) static ENABLE_REMOTE_ESCAPE: Setting = Setting {
    flag: "enable-remote-escape",
    value: "BOOL",
    default: Some("false"),
    bound: "true or false",
    effect: "With `--enable-slave-acting-master`: the slave that stands in also sends delayed messages that are due to other brokers of their topics",
    aliases: &[],
};

#[cfg(test)]
mod tests {
    use super::super::tests::load_file;
    use super::*;

    /// The guides' property files.
    #[test]
    fn masters_and_slaves_are_told_apart() {
        let of = |text: &str| load_file(text, true).expect("valid").config.replication;
        let master = |slaves_at, copies| Replication::Master { slaves_at, copies };
        let two = Copies { count: 2, ..Copies::ONE };
        assert_eq!(of("brokerRole=SYNC_MASTER\n"), master(SlavesAt::Next, two));
        assert_eq!(of("brokerRole=ASYNC_MASTER\ninSyncReplicas=3\n"), master(SlavesAt::Next, Copies::ONE));
        assert_eq!(of("haListenPort=7\n"), master(SlavesAt::Port(7), Copies::ONE));
        assert_eq!(
            of("brokerId=0\n"),
            master(SlavesAt::Nowhere, Copies::ONE),
            "who asks for nothing gets no further port"
        );
        let timed = of("brokerId=0\nbrokerRole=SYNC_MASTER\ninSyncReplicas=1\nminInSyncReplicas=1\nslaveTimeout=500\n");
        assert_eq!(timed, master(SlavesAt::Next, Copies { timeout: Duration::from_millis(500), ..Copies::ONE }));
        let several =
            of("brokerRole=SYNC_MASTER\ninSyncReplicas=3\nminInSyncReplicas=2\nenableAutoInSyncReplicas=true\n");
        let copies = Copies { count: 3, count_min: 2, are_few_enough: true, ..Copies::ONE };
        assert_eq!(several, master(SlavesAt::Next, copies));
        let fewest = of("brokerRole=SYNC_MASTER\nminInSyncReplicas=3\n");
        assert_eq!(fewest, master(SlavesAt::Next, Copies { count: 3, count_min: 3, ..Copies::ONE }));
        assert_eq!(of("brokerId=2\nbrokerRole=SLAVE\nhaListenPort=7\n"), Replication::Slave { id: 2, master: None });
        let master = Some("10.0.0.1:10912".to_owned());
        assert_eq!(
            of("brokerId=1\nbrokerRole=SLAVE\nhaMasterAddress=10.0.0.1:10912\n"),
            Replication::Slave { id: 1, master }
        );
        let refused =
            |text: &str| load_file(text, true).expect_err("refused").iter().map(ToString::to_string).collect();
        for (text, why) in [
            ("brokerId=0\nbrokerRole=SLAVE\n", "1 or more"),
            ("brokerId=1\nbrokerRole=ASYNC_MASTER\n", "another number is a slave's"),
            ("minInSyncReplicas=65\n", "1 to 64"),
            ("inSyncReplicas=0\n", "1 to 64"),
            ("haListenPort=70000\n", "0 to 65535"),
        ] {
            let texts: Vec<String> = refused(text);
            assert!(texts.len() == 1 && texts[0].contains(why), "{texts:?}");
        }
    }

    #[test]
    fn controllers_say_what_a_broker_is_whatever_its_file_says() {
        let of = |text: &str| {
            let text = format!("enableControllerMode=true\ncontrollerAddr=a:9878;b:9878\n{text}");
            load_file(&text, true).expect("valid").config.replication
        };
        let member = |slaves_at, count, priority| Replication::Member {
            controllers: vec!["a:9878".to_owned(), "b:9878".to_owned()],
            priority,
            slaves_at,
            copies: Copies { count, ..Copies::ONE },
        };
        let any = PRIORITY_MAX as i64;
        assert_eq!(of(""), member(SlavesAt::Next, 1, any));
        assert_eq!(of("brokerId=-1\nbrokerRole=SLAVE\nhaListenPort=7\n"), member(SlavesAt::Port(7), 2, any));
        assert_eq!(of("brokerRole=SYNC_MASTER\ninSyncReplicas=3\n"), member(SlavesAt::Next, 3, any));
        assert_eq!(of("brokerElectionPriority=5\nallAckInSyncStateSet=true\n"), member(SlavesAt::Next, 1, 5));
        for (text, why) in [
            ("enableControllerMode=true\n", "or controllerAddr beside it"),
            ("enableControllerMode=true\ncontrollerAddr=\n", "or controllerAddr beside it"),
        ] {
            let texts: Vec<String> =
                load_file(text, true).expect_err("refused").iter().map(ToString::to_string).collect();
            assert!(texts.len() == 1 && texts[0].contains(why), "{texts:?}");
        }
    }

    #[test]
    fn readers_are_sent_to_slaves_only_where_it_is_said() {
        let of = |text: &str| load_file(text, true).expect("valid").config.slow_reader_percent;
        assert_eq!(of("accessMessageInMemoryMaxRatio=10\n"), None);
        assert_eq!(of("slaveReadEnable=true\n"), Some(40));
        assert_eq!(of("slaveReadEnable=true\naccessMessageInMemoryMaxRatio=10\n"), Some(10));
        assert!(load_file("accessMessageInMemoryMaxRatio=101\n", true).is_err());
    }

    #[test]
    fn slaves_stand_in_for_their_master_where_no_controller_elects_one() {
        let of = |text: &str| load_file(text, true).map(|loaded| loaded.config.acting_master);
        assert_eq!(of("").ok(), Some(false));
        let apaches =
            "brokerNotActiveTimeoutMillis=10000\ncompatibleWithOldNameSrv=true\nsendHeartbeatTimeoutMillis=1000\n";
        assert_eq!(of(&format!("enableSlaveActingMaster=true\n{apaches}")).ok(), Some(true));
        let under = "enableControllerMode=true\ncontrollerAddr=a:9878\nenableSlaveActingMaster=true\n";
        let refused = of(under).expect_err("refused");
        assert!(refused.len() == 1 && refused[0].to_string().contains("becomes the master instead"), "{refused:?}");
    }

    #[test]
    fn the_files_of_the_replication_page_are_a_masters_and_a_slaves() {
        let roles = roles_of(include_str!("../../../../docs/replication.md"));
        let master = Replication::Master { slaves_at: SlavesAt::Port(10_912), copies: Copies::ONE };
        assert_eq!(roles, [master, Replication::Slave { id: 1, master: None }]);
    }

    #[test]
    fn the_file_of_the_controllers_page_is_a_members() {
        let [
            Replication::Member {
                controllers, slaves_at: SlavesAt::Port(10_912), copies: Copies { count: 2, .. }, ..
            },
        ] = &roles_of(include_str!("../../../../docs/controller.md"))[..]
        else {
            panic!("it is another one")
        };
        assert_eq!(controllers.len(), 3);
    }

    #[test]
    fn the_files_of_the_migration_page_are_slaves() {
        let roles = roles_of(include_str!("../../../../docs/migrate.md"));
        assert_eq!(roles, vec![Replication::Slave { id: 1, master: None }; 2]);
    }

    /// What the property files of a page make.
    fn roles_of(page: &str) -> Vec<Replication> {
        let files = page.split("```properties\n").skip(1).map(|rest| rest.split("```").next().expect("an end"));
        let lines = |file: &str| file.lines().map(|line| format!("{}\n", line.trim())).collect::<String>();
        files.map(|file| load_file(&lines(file), true).expect("valid").config.replication).collect()
    }
}
