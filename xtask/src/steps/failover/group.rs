//! The group of brokers on machines of their own, its controllers, and a proxy before them.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use remoting_proto::body::Replica;

use super::super::controller::group::{Group, HUB, Maker, Site};
use super::super::replication::wait;
use super::Place;
use crate::netns::Network;
use crate::process::Process;
use crate::{apache, cluster};

/// Brokers' machines.
const NODES: [&str; 3] = ["one", "two", "three"];
/// The clients' machine.
pub(super) const CLIENTS: &str = "clients";
/// Where the proxy serves on the hub, its HTTP and its Remoting.
const PROXY_PORTS: [u16; 3] = [8081, 8082, 8080];
/// For so long after its own start a controller takes no master for gone.
const UNSETTLED_FOR: Duration = Duration::from_secs(10);
/// Longest wait for a process to serve.
const WITHIN: Duration = Duration::from_secs(180);

/// Processes that are killed when dropped, before their machines.
pub(super) struct Machines {
    pub(super) maker: Maker,
    pub(super) group: Group,
    _proxy: Process,
    endpoint: SocketAddr,
    pub(super) network: Rc<Network>,
}

impl Machines {
    /// All brokers are in sync on return, the proxy serves, and a master that is lost is replaced.
    pub(super) fn start(place: Place<'_>, maker: Maker) -> Result<Self> {
        let Place { programs, log, folder, gantry } = place;
        let network = Rc::new(Network::up(programs, log)?);
        // As the program has it.
        let number = u8::try_from(std::process::id() % 250 + 1)?;
        let site = Site(Some((network.clone(), Ipv4Addr::new(10, 92, number, 0))));
        let [endpoint, http, remoting] = PROXY_PORTS.map(|port| site.address(1, port));
        let (endpoint, http, remoting) = (endpoint?, http?, remoting?);
        let group = Group::start_at(site.clone(), folder, gantry, &NODES, maker)?;
        let began = Instant::now();
        let (names, file) = (group.name_server(), folder.join("proxy.log"));
        let ours = || cluster::proxy_command(folder, gantry, "proxy", &names.to_string(), (endpoint, http), &[]);
        let command = match maker {
            Maker::Gantry(_) => ours(),
            Maker::Apache | Maker::ApacheAlone => {
                apache::proxy_command(folder, "proxy", &[names], endpoint, remoting.port())?
            }
        };
        let mut proxy = Process::start("a proxy", site.place(HUB, command), file.clone())?;
        match maker {
            Maker::Gantry(_) => proxy.wait_until("serves", WITHIN, || TcpStream::connect(endpoint).is_ok())?,
            Maker::Apache | Maker::ApacheAlone => apache::await_proxy(&mut proxy, &file, endpoint)?,
        }
        wait("the controllers are settled", || Ok(began.elapsed() > UNSETTLED_FOR))?;
        Ok(Self { maker, group, _proxy: proxy, endpoint, network })
    }

    /// Where clients come.
    pub(super) fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }

    /// Waits until all brokers have what is acknowledged; answers which one is the master, and all of them.
    pub(super) fn whole(&self) -> Result<(Replica, Vec<Replica>)> {
        let mut found = None;
        wait("all are in sync", || {
            // Another controller may come to lead.
            let all = self.group.master().and_then(|master| Ok((master, self.group.replicas()?.in_sync_replicas)));
            found = all.ok().filter(|(_, in_sync)| in_sync.len() == NODES.len());
            Ok(found.is_some())
        })?;
        found.context("they are")
    }

    /// Whether the controllers do not know a broker any more.
    pub(super) fn has_forgotten(&self, broker: &Replica) -> bool {
        let is_it = |other: &Replica| other.broker_id == broker.broker_id;
        self.group.replicas().is_ok_and(|all| !all.not_in_sync_replicas.iter().any(is_it))
    }

    /// Parts a broker's machine from all others.
    pub(super) fn part(&self, broker: &Replica, way: &str) -> Result<()> {
        self.network.run("part", &[self.group.node(broker)?, way])
    }

    /// Ends that.
    pub(super) fn join(&self, broker: &Replica) -> Result<()> {
        self.network.run("join", &[self.group.node(broker)?])
    }
}
