//! Three controllers of ours, one of them beside a name server, and brokers under them, Apache's or ours, as processes on data that outlives
//! them; or Apache's brokers under Apache's controller. On loopback, or on the machines of a network of the run.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use remoting_proto::body::{BrokerReplicas, Replica, Replicas};
use remoting_proto::requests::{CleanBrokerData, GetControllerMetadataAnswer};
use remoting_proto::{Dialect, Fields, RequestCode};

use crate::apache::{self, BrokerAt, CLUSTER};
use crate::netns::Network;
use crate::process::Process;
use crate::shell::{self, To};
use crate::steps::replication::wait;
use crate::{remoting, server};

/// The name of all brokers.
pub(in crate::steps) const BROKER: &str = "broker-a";
/// The name of the controllers' group.
pub(super) const GROUP: &str = "group1";
/// Longest wait for a process to do its work.
const WITHIN: Duration = Duration::from_secs(180);
/// The controller that is beside the name server.
const BESIDE_NAME_SERVER: usize = 2;

/// Whose the brokers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::steps) enum Maker {
    Apache,
    /// With Apache's controller, alone in Apache's name server.
    ApacheAlone,
    /// With this role in their files.
    Gantry(&'static str),
}

impl Maker {
    /// For folders and people.
    pub(in crate::steps) fn name(self) -> &'static str {
        match self {
            Self::Apache | Self::ApacheAlone => "apache",
            Self::Gantry(_) => "gantry",
        }
    }

    fn controllers(self) -> usize {
        match self {
            Self::Apache | Self::Gantry(_) => 3,
            Self::ApacheAlone => 1,
        }
    }
}

/// Where the processes are: each broker on the machine of its name, all else on the [`HUB`]; without a network on loopback.
#[derive(Clone, Debug, Default)]
pub(in crate::steps) struct Site(pub(in crate::steps) Option<(Rc<Network>, Ipv4Addr)>);

/// The machine of the controllers and the name server, the first one of its network.
pub(in crate::steps) const HUB: &str = "hub";
/// Where machines have a name server, and the first of the controllers.
const NAME_SERVER_PORT: u16 = 9876;
const CONTROLLER_PORT: u16 = 9878;
/// The first broker's machine has this number in its network.
const FIRST_BROKER: u8 = 11;

impl Site {
    /// On a machine, or on loopback where that has a free port.
    pub(in crate::steps) fn address(&self, host: u8, port: u16) -> Result<SocketAddr> {
        match &self.0 {
            Some((_, network)) => {
                let [a, b, c, _] = network.octets();
                Ok((Ipv4Addr::new(a, b, c, host), port).into())
            }
            None => server::free_address(),
        }
    }

    /// Of the broker with this index.
    fn broker(&self, index: usize) -> Result<(BrokerAt, SocketAddr)> {
        let host = FIRST_BROKER + u8::try_from(index)?;
        let at = match &self.0 {
            Some(_) => BrokerAt { address: self.address(host, 10911)?, ha_port: 10912 },
            None => BrokerAt::free()?,
        };
        Ok((at, self.address(host, 8082)?))
    }

    /// A command there.
    pub(in crate::steps) fn place(&self, machine: &str, command: Command) -> Command {
        match &self.0 {
            Some((network, _)) => network.place(machine, &command),
            None => command,
        }
    }
}

/// Processes that are killed when dropped.
pub(in crate::steps) struct Group {
    maker: Maker,
    site: Site,
    folder: PathBuf,
    gantry: PathBuf,
    name_server: SocketAddr,
    pub(super) controllers: Vec<Controller>,
    brokers: Vec<Broker>,
}

/// A controller.
pub(super) struct Controller {
    pub(super) id: String,
    pub(super) address: SocketAddr,
    process: Option<Process>,
}

struct Broker {
    node: &'static str,
    at: BrokerAt,
    /// Of ours: for metrics.
    http: SocketAddr,
    process: Option<Process>,
}

impl Group {
    /// Starts the controllers, and brokers with these names of their folders one after the other, the first as the master; all are in sync
    /// on return.
    pub(super) fn start(folder: &Path, gantry: &Path, nodes: &[&'static str], maker: Maker) -> Result<Self> {
        Self::start_at(Site::default(), folder, gantry, nodes, maker)
    }

    /// The same there; the names of the brokers' folders are those of their machines.
    pub(in crate::steps) fn start_at(
        site: Site,
        folder: &Path,
        gantry: &Path,
        nodes: &[&'static str],
        maker: Maker,
    ) -> Result<Self> {
        let controller = |index: usize| {
            let address = site.address(1, CONTROLLER_PORT + u16::try_from(index)?)?;
            Ok(Controller { id: format!("n{index}"), address, process: None })
        };
        let mut group = Self {
            maker,
            folder: folder.to_owned(),
            gantry: gantry.to_owned(),
            name_server: site.address(1, NAME_SERVER_PORT)?,
            controllers: (0..maker.controllers()).map(controller).collect::<Result<_>>()?,
            brokers: Vec::new(),
            site,
        };
        for index in 0..group.controllers.len() {
            group.start_controller(index)?;
        }
        wait("a controller leads", || Ok(group.leader().is_some()))?;
        for node in nodes {
            let (at, http) = group.site.broker(group.brokers.len())?;
            group.brokers.push(Broker { node, at, http, process: None });
            group.start_broker(group.brokers.len() - 1)?;
            let brokers = group.brokers.len();
            wait("a broker is in sync", || Ok(group.replicas().is_ok_and(|of| of.in_sync_replicas.len() == brokers)))?;
        }
        Ok(group)
    }

    /// Where the name server listens.
    pub(in crate::steps) fn name_server(&self) -> SocketAddr {
        self.name_server
    }

    /// Starts a controller on what it left; it answers on return.
    pub(super) fn start_controller(&mut self, index: usize) -> Result<()> {
        let peers: Vec<_> = self.controllers.iter().map(|peer| format!("{}-{}", peer.id, peer.address)).collect();
        let Controller { id, address, .. } = &self.controllers[index];
        let (conf, address) = (self.folder.join(format!("{id}.conf")), *address);
        // As in Apache's files; one that looks more often shows a failure sooner.
        let text = format!(
            "enableControllerInNamesrv=true\ncontrollerDLegerGroup={GROUP}\ncontrollerDLegerPeers={}\n\
             controllerDLegerSelfId={id}\ncontrollerStorePath={}\nscanNotActiveBrokerInterval=1000\n",
            peers.join(";"),
            self.folder.join(format!("{id}-agreed")).display()
        );
        let mut command = Command::new(&self.gantry);
        if self.maker == Maker::ApacheAlone {
            command = apache::name_server_command(&self.folder, self.name_server, &text)?;
        } else if index == BESIDE_NAME_SERVER {
            fs::write(&conf, text)?;
            command.args(["nameserver", "--strict-config", "--listen", &self.name_server.to_string(), "--data"]);
            command.arg(self.folder.join(id)).arg("-c").arg(&conf);
        } else {
            fs::write(&conf, text.replace("enableControllerInNamesrv=true\n", ""))?;
            command.args(["controller", "--strict-config", "-c"]).arg(&conf);
        }
        let command = self.site.place(HUB, command);
        let mut process = Process::start("a controller", command, self.folder.join(format!("{id}.log")))?;
        process.wait_until("answers", WITHIN, || metadata(address).is_ok())?;
        self.controllers[index].process = Some(process);
        Ok(())
    }

    /// Kills a controller.
    pub(super) fn kill_controller(&mut self, index: usize) {
        // It is killed when it is dropped.
        self.controllers[index].process = None;
    }

    /// Which controller says that it leads, if one of those that run does.
    pub(super) fn leader(&self) -> Option<usize> {
        let leads = |controller: &Controller| {
            controller.process.is_some() && metadata(controller.address).is_ok_and(|of| of.is_leader == Some(true))
        };
        self.controllers.iter().position(leads)
    }

    /// What the controllers know of the brokers.
    pub(in crate::steps) fn replicas(&self) -> Result<Replicas> {
        let leader = &self.controllers[self.leader().context("no controller leads")?];
        let names = remoting_proto::to_vec(&[BROKER], Dialect::Standard);
        let code = RequestCode::ControllerGetSyncStateData;
        let answer = remoting::call(leader.address, code, Fields::default(), names.into())?;
        let mut table: BrokerReplicas = remoting_proto::from_slice(&answer.body)?;
        table.replicas_info_table.remove(BROKER).context("the controllers do not know the name")
    }

    /// The master.
    pub(in crate::steps) fn master(&self) -> Result<Replica> {
        let Replicas { master_broker_id, master_address, in_sync_replicas, .. } = self.replicas()?;
        let id = master_broker_id.context("there is no master")?;
        let master = in_sync_replicas.into_iter().find(|replica| replica.broker_id == id);
        let master = master.context("the master is not in sync")?;
        ensure!(master_address.as_ref() == Some(&master.broker_address), "two addresses of {master:?}");
        Ok(master)
    }

    /// Kills a broker.
    pub(in crate::steps) fn kill_broker(&mut self, replica: &Replica) -> Result<()> {
        let index = self.index_of(replica)?;
        // It is killed when it is dropped.
        self.brokers[index].process = None;
        Ok(())
    }

    /// Starts a broker that was killed on what it left.
    pub(in crate::steps) fn restart_broker(&mut self, replica: &Replica) -> Result<()> {
        self.start_broker(self.index_of(replica)?)
    }

    fn index_of(&self, replica: &Replica) -> Result<usize> {
        let is = |broker: &Broker| broker.at.address.to_string() == replica.broker_address;
        self.brokers.iter().position(is).with_context(|| format!("no broker is at {}", replica.broker_address))
    }

    /// Stops a broker where it is, as a machine that hangs, or lets it go on.
    pub(in crate::steps) fn signal_broker(&self, replica: &Replica, name: &str) -> Result<()> {
        signal(self.brokers[self.index_of(replica)?].process.as_ref(), name)
    }

    /// The same of a controller.
    pub(super) fn signal_controller(&self, index: usize, name: &str) -> Result<()> {
        signal(self.controllers[index].process.as_ref(), name)
    }

    /// Where a broker of ours shows metrics.
    pub(super) fn http(&self, replica: &Replica) -> Result<SocketAddr> {
        Ok(self.brokers[self.index_of(replica)?].http)
    }

    /// The name of a broker's folder, and of its machine.
    pub(in crate::steps) fn node(&self, replica: &Replica) -> Result<&'static str> {
        Ok(self.brokers[self.index_of(replica)?].node)
    }

    /// Makes sure that the logs of brokers and controllers tell these events of roles, each for this reason.
    pub(super) fn has_told(&self, expected: &[(&str, &str)]) -> Result<()> {
        let mut told = String::new();
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                told.push_str(&fs::read_to_string(path)?);
            }
        }
        let is_told = |event: &str, reason: &str| {
            let fields = [" roles: ".to_owned(), format!("event=\"{event}\""), format!("reason=\"{reason}\"")];
            told.lines().any(|line| fields.iter().all(|field| line.contains(field)))
        };
        let missing: Vec<_> = expected.iter().filter(|(event, reason)| !is_told(event, reason)).collect();
        ensure!(missing.is_empty(), "the logs tell nothing of {missing:?}");
        Ok(())
    }

    /// Where a broker has its log.
    pub(in crate::steps) fn data(&self, replica: &Replica) -> Result<PathBuf> {
        Ok(self.folder.join(self.node(replica)?))
    }

    /// Lets the controllers forget a broker that has gone for good.
    pub(in crate::steps) fn forget(&self, gone: &Replica) -> Result<()> {
        let header = CleanBrokerData {
            cluster_name: Some(CLUSTER.to_owned()),
            broker_name: BROKER.to_owned(),
            broker_controller_ids_to_clean: Some(gone.broker_id.to_string()),
            is_clean_living_broker: Some(false),
        };
        let leader = &self.controllers[self.leader().context("no controller leads")?];
        let code = RequestCode::CleanBrokerData;
        remoting::call(leader.address, code, header.to_fields(), bytes::Bytes::new()).map(drop)
    }

    fn start_broker(&mut self, index: usize) -> Result<()> {
        let controllers: Vec<_> = self.controllers.iter().map(|controller| controller.address.to_string()).collect();
        let controllers = controllers.join(";");
        let process = match self.maker {
            Maker::Apache | Maker::ApacheAlone => self.start_apache(index, &controllers),
            Maker::Gantry(role) => self.start_gantry(index, &controllers, role),
        };
        self.brokers[index].process = Some(process?);
        Ok(())
    }

    fn start_gantry(&self, index: usize, controllers: &str, role: &str) -> Result<Process> {
        let Broker { node, at, http, .. } = self.brokers[index];
        let (conf, data) = (self.folder.join(format!("{node}.conf")), self.folder.join(node));
        let text = format!(
            "brokerClusterName={CLUSTER}\nbrokerName={BROKER}\nbrokerId=-1\nbrokerRole={role}\nbrokerIP1={}\n\
             enableControllerMode=true\ncontrollerAddr={controllers}\nhaListenPort={}\nnamesrvAddr={}\n\
             allAckInSyncStateSet=true\nmappedFileSizeCommitLog=8388608\nautoCreateTopicEnable=false\n\
             # The disk is filled by others.\ndiskMaxUsedSpaceRatio=99\ndiskSpaceWarningLevelRatio=100\n",
            at.address.ip(),
            at.ha_port,
            self.name_server
        );
        fs::write(&conf, text)?;
        let mut command = Command::new(&self.gantry);
        command.args(["broker", "--strict-config", "-c"]).arg(&conf);
        command.args(["--listen", &at.address.to_string(), "--http", &http.to_string(), "--data"]).arg(data);
        let command = self.site.place(node, command);
        Process::start("gantry broker", command, self.folder.join(format!("{node}.log")))
    }

    fn start_apache(&self, index: usize, controllers: &str) -> Result<Process> {
        let Broker { node, at, .. } = self.brokers[index];
        let settings = format!(
            "brokerName={BROKER}\nbrokerId=-1\nbrokerRole=SLAVE\nenableControllerMode=true\ncontrollerAddr={}\n\
             allAckInSyncStateSet=true\nregisterNameServerPeriod=10000\nsyncBrokerMetadataPeriod=1000\n\
             checkSyncStateSetPeriod=1000\nsyncControllerMetadataPeriod=1000\nbrokerIP2={}\n",
            controllers,
            at.address.ip()
        );
        let name_servers = [self.name_server];
        let command =
            apache::broker_command(apache::Program::BROKER, &self.folder, node, at, &name_servers, &settings)?;
        let command = self.site.place(node, command);
        Process::start("Apache's broker", command, self.folder.join(format!("{node}.log")))
    }
}

fn signal(process: Option<&Process>, name: &str) -> Result<()> {
    let id = process.context("it runs")?.id().to_string();
    shell::run(Command::new("kill").args([name, &id]), To::Terminal)
}

/// What a controller says of its group.
fn metadata(controller: SocketAddr) -> Result<GetControllerMetadataAnswer> {
    let code = RequestCode::ControllerGetMetadataInfo;
    let answer = remoting::call(controller, code, Fields::default(), bytes::Bytes::new())?;
    Ok(GetControllerMetadataAnswer::of(&answer.fields)?)
}
