//! Two network namespaces with a line between them whose length is set, and a line of each to this one: a master and its slave on
//! machines that are far from each other.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

/// Added to each way of the line, so twice that to a round trip. Source: issue 7.
const ADDED: &str = "1ms";
/// Packets that may be under way, many more than the window of any connection.
const PACKETS_MAX: &str = "100000";
/// The master's and the slave's address, each on the line to this namespace. Not the networks of `tests/nat`.
const MASTER: Ipv4Addr = Ipv4Addr::new(10, 92, 1, 2);
const SLAVE: Ipv4Addr = Ipv4Addr::new(10, 92, 3, 2);

/// A namespace, and where its processes are reached.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its name.
    pub(crate) namespace: String,
    /// Its address.
    pub(crate) address: IpAddr,
}

/// The namespaces; gone when dropped.
pub(crate) struct Network {
    name: String,
}

impl Network {
    /// Makes them.
    ///
    /// # Errors
    /// Why they cannot be had here.
    pub(crate) fn up() -> Result<Self, String> {
        let network = Self { name: format!("gantry-bench-{}", std::process::id()) };
        let (master, slave) = (network.master().namespace, network.slave().namespace);
        // Names of devices have at most 15 bytes.
        let (to_master, to_slave) = (format!("gb{}m", std::process::id()), format!("gb{}s", std::process::id()));
        for space in [&master, &slave] {
            run("ip", &["netns", "add", space])?;
            run("ip", &["-n", space, "link", "set", "lo", "up"])?;
        }
        for (device, space, number) in [(&to_master, &master, 1), (&to_slave, &slave, 3)] {
            run("ip", &["link", "add", device, "type", "veth", "peer", "name", "out", "netns", space])?;
            run("ip", &["address", "add", &format!("10.92.{number}.1/24"), "dev", device])?;
            run("ip", &["link", "set", device, "up"])?;
            line_end(space, "out", &format!("10.92.{number}.2/24"))?;
        }
        run("ip", &["-n", &master, "link", "add", "line", "type", "veth", "peer", "name", "line", "netns", &slave])?;
        line_end(&master, "line", "10.92.2.1/24")?;
        line_end(&slave, "line", "10.92.2.2/24")?;
        // The slave knows the master by the address that clients know.
        run("ip", &["-n", &slave, "route", "add", "10.92.1.0/24", "via", "10.92.2.1"])?;
        network.set_far(true)?;
        Ok(network)
    }

    /// The master's.
    pub(crate) fn master(&self) -> Place {
        Place { namespace: format!("{}-master", self.name), address: MASTER.into() }
    }

    /// The slave's.
    pub(crate) fn slave(&self) -> Place {
        Place { namespace: format!("{}-slave", self.name), address: SLAVE.into() }
    }

    /// Makes the line between them long, or as short as it is by itself.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(crate) fn set_far(&self, is_far: bool) -> Result<(), String> {
        let delay = if is_far { ADDED } else { "0ms" };
        for place in [self.master(), self.slave()] {
            let line = ["-n", &place.namespace, "qdisc", "replace", "dev", "line", "root"];
            run("tc", &[&line[..], &["netem", "delay", delay, "limit", PACKETS_MAX]].concat())?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for place in [self.master(), self.slave()] {
            // One that was never made cannot be removed.
            let _ = run("ip", &["netns", "del", &place.namespace]);
        }
    }
}

fn line_end(space: &str, device: &str, address: &str) -> Result<(), String> {
    run("ip", &["-n", space, "address", "add", address, "dev", device])?;
    run("ip", &["-n", space, "link", "set", device, "up"])
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let line = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", line()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", line(), String::from_utf8_lossy(&output.stderr).trim()))
}
