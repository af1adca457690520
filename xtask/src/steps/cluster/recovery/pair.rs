//! Two name servers, brokers and proxies, of ours or of Apache's.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::super::{BROKERS, NAME_SERVERS};
use crate::apache::{self, BrokerAt, Program};
use crate::cluster::Cluster;
use crate::process::Process;
use crate::shell::side_by_side;

/// Which proxy and which broker is killed.
const VICTIM: usize = 0;

/// Who made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    Gantry,
    Apache,
}

/// They run as long as this.
pub(super) struct Pair {
    folder: PathBuf,
    behind: Behind,
    /// How often a proxy was started: each has a name of its own.
    started: usize,
    proxies: Vec<(Option<Process>, SocketAddr)>,
}

/// What the proxies are before.
enum Behind {
    Gantry(Cluster),
    Apache(Apaches),
}

struct Apaches {
    names: Vec<(Process, SocketAddr)>,
    brokers: Vec<(Option<Process>, BrokerAt)>,
}

impl Pair {
    /// They serve on return.
    pub(super) fn start(maker: Maker, folder: &Path, gantry: &Path) -> Result<Self> {
        let behind = match maker {
            Maker::Gantry => Behind::Gantry(Cluster::start_with(folder, gantry, NAME_SERVERS, &BROKERS)?),
            Maker::Apache => Behind::Apache(Apaches::start(folder)?),
        };
        let mut pair = Self { folder: folder.to_owned(), behind, started: 0, proxies: Vec::new() };
        for _ in 0..BROKERS.len() {
            let proxy = pair.start_proxy()?;
            pair.proxies.push(proxy);
        }
        Ok(pair)
    }

    pub(super) fn maker(&self) -> Maker {
        match self.behind {
            Behind::Gantry(_) => Maker::Gantry,
            Behind::Apache(_) => Maker::Apache,
        }
    }

    pub(super) fn brokers(&self) -> Vec<SocketAddr> {
        match &self.behind {
            Behind::Gantry(cluster) => cluster.broker_addresses(),
            Behind::Apache(apaches) => apaches.brokers.iter().map(|(_, at)| at.address).collect(),
        }
    }

    /// The one that is killed first.
    pub(super) fn proxies(&self) -> Vec<SocketAddr> {
        self.proxies.iter().map(|(_, address)| *address).collect()
    }

    pub(super) fn kill_proxy(&mut self) {
        // It is killed when it is dropped.
        self.proxies[VICTIM].0 = None;
    }

    /// Starts another in place of the killed one, at another address.
    pub(super) fn restart_proxy(&mut self) -> Result<()> {
        self.proxies[VICTIM] = self.start_proxy()?;
        Ok(())
    }

    fn start_proxy(&mut self) -> Result<(Option<Process>, SocketAddr)> {
        self.started += 1;
        let name = format!("proxy-{}", self.started);
        let (process, address) = match &self.behind {
            Behind::Gantry(cluster) => cluster.proxy(&name)?,
            Behind::Apache(apaches) => apache::proxy(&self.folder, &name, &apaches.name_servers())?,
        };
        Ok((Some(process), address))
    }

    pub(super) fn kill_broker(&mut self) -> Result<()> {
        match &mut self.behind {
            Behind::Gantry(cluster) => cluster.kill_broker(VICTIM)?,
            // It is killed when it is dropped.
            Behind::Apache(apaches) => apaches.brokers[VICTIM].0 = None,
        }
        Ok(())
    }

    /// Starts the killed one again on what it left; it is registered on return.
    pub(super) fn restart_broker(&mut self) -> Result<()> {
        match &mut self.behind {
            Behind::Gantry(cluster) => cluster.restart_broker(VICTIM),
            Behind::Apache(apaches) => {
                let at = apaches.brokers[VICTIM].1;
                let process = start_broker(&self.folder, BROKERS[VICTIM], at, &apaches.name_servers())?;
                apaches.brokers[VICTIM].0 = Some(process);
                Ok(())
            }
        }
    }
}

impl Apaches {
    fn start(folder: &Path) -> Result<Self> {
        let names = side_by_side(0..NAME_SERVERS, |index| {
            let folder = folder.join(format!("names-{index}"));
            fs::create_dir(&folder)?;
            apache::name_server(&folder)
        })?;
        let mut apaches = Self { names, brokers: Vec::new() };
        let name_servers = apaches.name_servers();
        apaches.brokers = side_by_side(BROKERS, |name| {
            let at = BrokerAt::free()?;
            Ok((Some(start_broker(folder, name, at, &name_servers)?), at))
        })?;
        Ok(apaches)
    }

    fn name_servers(&self) -> Vec<SocketAddr> {
        self.names.iter().map(|(_, address)| *address).collect()
    }
}

fn start_broker(folder: &Path, name: &'static str, at: BrokerAt, name_servers: &[SocketAddr]) -> Result<Process> {
    let settings = format!("brokerName={name}\n");
    let mut process = apache::start_broker(Program::BROKER, folder, name, at, name_servers, &settings)?;
    apache::await_registered(&mut process, name, name_servers)?;
    Ok(process)
}
