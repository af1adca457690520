//! Which processes the demo cluster has, where they listen, and what is told of them. No I/O but to look for free ports.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::member::Process;

pub(super) const BROKERS: usize = 2;
pub(super) const PROXIES: usize = 2;
/// Most processes of a broker.
pub(super) const REPLICAS_MAX: i64 = 3;
/// Small, because a file is reserved as a whole.
const SEGMENT_SIZE: &str = "64MiB";

/// Between the usual ports of a broker's processes: the ports below and behind each are its own too.
const SLAVES_APART: u16 = 20;

/// What a process of the cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    NameServer,
    Broker,
    Slave,
    Proxy,
}

/// Where a proxy listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProxyPorts {
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
    /// For clients of 4.x, as their name server.
    pub(super) remoting: SocketAddr,
    /// For those of them that name no broker, one for each.
    pub(super) brokers: [SocketAddr; BROKERS],
}

/// Where the processes of a broker listen.
#[derive(Debug)]
pub(super) struct Broker {
    /// The master, for clients.
    pub(super) address: SocketAddr,
    /// Where the master's slaves get its log, if it has some.
    log: Option<SocketAddr>,
    pub(super) slaves: Vec<SocketAddr>,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Plan {
    /// Absolute, so that it can be pasted elsewhere.
    data: PathBuf,
    pub(super) name_server: SocketAddr,
    pub(super) brokers: [Broker; BROKERS],
    pub(super) proxies: [ProxyPorts; PROXIES],
}

impl Plan {
    /// With everything below `data`, on the usual ports or on free ones; so many processes have a broker's messages.
    ///
    /// # Errors
    /// A usual one is somebody else's, or none is free.
    pub(super) fn new(data: &Path, are_ports_free: bool, replicas: u16) -> anyhow::Result<Self> {
        // Held until all are chosen, so that none is chosen twice. Somebody else who listens there would be taken for a process of the cluster.
        let mut held = Vec::new();
        Self::on(data, replicas, |usual| {
            let asked = if are_ports_free { 0 } else { usual };
            let taken = || format!("port {usual} is taken; with --free-ports others are");
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, asked)).with_context(taken)?;
            let address = listener.local_addr()?;
            held.push(listener);
            Ok(address)
        })
    }

    /// The same with what `port` makes of each usual one.
    fn on(data: &Path, replicas: u16, mut port: impl FnMut(u16) -> anyhow::Result<SocketAddr>) -> anyhow::Result<Self> {
        let data = std::path::absolute(data).with_context(|| format!("{} is no directory", data.display()))?;
        let name_server = port(9876)?;
        let mut broker = |first: u16| {
            anyhow::Ok(Broker {
                address: port(first)?,
                log: (replicas > 1).then(|| port(first + 1)).transpose()?,
                slaves: (1..replicas).map(|slave| port(first + SLAVES_APART * slave)).collect::<Result<_, _>>()?,
            })
        };
        let brokers = [broker(10911)?, broker(10921)?];
        let mut proxy = |first: u16| {
            anyhow::Ok(ProxyPorts {
                remoting: port(first)?,
                grpc: port(first + 1)?,
                http: port(first + 2)?,
                brokers: [port(first + 5)?, port(first + 6)?],
            })
        };
        let proxies = [proxy(8080)?, proxy(8090)?];
        Ok(Self { data, name_server, brokers, proxies })
    }

    pub(super) fn name_server_process(&self) -> Process {
        let listen = self.name_server.to_string();
        let arguments = ["nameserver", "--listen", &listen].map(str::to_owned);
        self.process(Kind::NameServer, "nameserver".to_owned(), arguments.to_vec())
    }

    pub(super) fn broker_process(&self, index: usize) -> Process {
        let (name, Broker { address, log, .. }) = (letter("broker", index), &self.brokers[index]);
        let mut arguments = self.broker_arguments(&name, *address);
        if let Some(log) = log {
            arguments.extend(["--broker-role", "SYNC_MASTER", "--ha-listen-port"].map(str::to_owned));
            arguments.push(log.port().to_string());
        }
        self.process(Kind::Broker, name, arguments)
    }

    /// The slaves of all brokers.
    pub(super) fn slave_processes(&self) -> impl Iterator<Item = Process> {
        let of = |(index, broker): (usize, &Broker)| {
            let name = letter("broker", index);
            let slave = |(id, address): (usize, &SocketAddr)| {
                let mut arguments = self.broker_arguments(&name, *address);
                arguments.extend(["--broker-role", "SLAVE", "--broker-id"].map(str::to_owned));
                arguments.push(id.to_string());
                self.process(Kind::Slave, slave_name(&name, id), arguments)
            };
            (1..).zip(&broker.slaves).map(slave).collect::<Vec<_>>()
        };
        self.brokers.iter().enumerate().flat_map(of)
    }

    fn broker_arguments(&self, name: &str, listen: SocketAddr) -> Vec<String> {
        let (listen, name_server) = (listen.to_string(), self.name_server.to_string());
        let arguments = [
            "broker",
            "--broker-name",
            name,
            "--listen",
            &listen,
            "--nameserver",
            &name_server,
            "--segment-size",
            SEGMENT_SIZE,
        ];
        arguments.map(str::to_owned).to_vec()
    }

    pub(super) fn proxy_process(&self, index: usize) -> Process {
        let (name, name_server) = (letter("proxy", index), self.name_server.to_string());
        let ProxyPorts { grpc, http, remoting, brokers } = self.proxies[index];
        let (grpc, http, remoting) = (grpc.to_string(), http.to_string(), remoting.to_string());
        let own = |(index, address): (usize, &SocketAddr)| format!("{}={}", letter("broker", index), address.port());
        let brokers = brokers.iter().enumerate().map(own).collect::<Vec<_>>().join(",");
        let arguments = [
            "proxy",
            "--nameserver",
            &name_server,
            "--grpc",
            &grpc,
            "--http",
            &http,
            "--remoting",
            &remoting,
            "--remoting-brokers",
            &brokers,
        ];
        self.process(Kind::Proxy, name, arguments.map(str::to_owned).to_vec())
    }

    fn process(&self, kind: Kind, name: String, mut arguments: Vec<String>) -> Process {
        arguments.extend(["--data".to_owned(), self.data.join(&name).display().to_string()]);
        Process { kind, log: self.data.join("logs").join(format!("{name}.log")), name, arguments }
    }
}

/// `broker-a`, `broker-b`.
fn letter(kind: &str, index: usize) -> String {
    let letter = if index == 0 { 'a' } else { 'b' };
    format!("{kind}-{letter}")
}

/// `broker-a-slave-1`.
fn slave_name(master: &str, id: usize) -> String {
    format!("{master}-slave-{id}")
}

/// What to type next.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { data, name_server, brokers, proxies: [proxy_a, proxy_b] } = self;
        writeln!(f, "gantry {} demo cluster is ready\n", env!("CARGO_PKG_VERSION"))?;
        for (name, proxy) in [("proxy-a", proxy_a), ("proxy-b", proxy_b)] {
            writeln!(f, "  {name}     gRPC {}  HTTP {}  Remoting {}", proxy.grpc, proxy.http, proxy.remoting)?;
        }
        for (index, Broker { address, slaves, .. }) in brokers.iter().enumerate() {
            let name = letter("broker", index);
            writeln!(f, "  {name}    {address}")?;
            for (id, slave) in (1..).zip(slaves) {
                writeln!(f, "  {}  {slave}", slave_name(&name, id))?;
            }
        }
        writeln!(f, "  nameserver  {name_server}\n  data        {}, what they print in logs/\n", data.display())?;
        writeln!(f, "Send through one proxy and receive through the other, with nothing but curl:\n")?;
        writeln!(f, "  curl http://{}/v1/topics/hello/messages -d 'Hello'", proxy_a.http)?;
        writeln!(f, "  curl http://{}/v1/groups/readers/receive --json '{{\"topic\": \"hello\"}}'\n", proxy_b.http)?;
        writeln!(f, "or with the official Python client, from the checkout:\n")?;
        writeln!(f, "  cd sdk-examples/python && ./setup && ./run normal --endpoint {}\n", proxy_a.grpc)?;
        if brokers.iter().any(|broker| !broker.slaves.is_empty()) {
            writeln!(f, "See how far the slaves are:\n")?;
            writeln!(f, "  gantry admin --nameserver {name_server} haStatus -c DefaultCluster\n")?;
        }
        write!(f, "Stop all of it with Ctrl-C.")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn free_ports_are_all_different() {
        let plan = Plan::new(Path::new("d"), true, 3).expect("free ones");
        let of_proxy = |ports: &ProxyPorts| [ports.grpc, ports.http, ports.remoting].into_iter().chain(ports.brokers);
        let proxies = plan.proxies.iter().flat_map(of_proxy);
        let of_broker = |broker: &Broker| broker.log.into_iter().chain([broker.address]).chain(broker.slaves.clone());
        let brokers = plan.brokers.iter().flat_map(of_broker);
        let all: BTreeSet<_> = proxies.chain(brokers).chain([plan.name_server]).collect();
        assert_eq!(all.len(), 1 + (2 + 2) * BROKERS + (3 + BROKERS) * PROXIES);
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        // If that fails somebody else has it.
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 9876));
        let error = Plan::new(Path::new("d"), false, 1).expect_err("taken");
        assert!(error.to_string().starts_with("port 9876 is taken"), "{error}");
    }

    fn on_usual_ports(replicas: u16) -> Plan {
        let usual = |port: u16| Ok((Ipv4Addr::LOCALHOST, port).into());
        Plan::on(Path::new("/d"), replicas, usual).expect("usual ones")
    }

    #[test]
    fn a_broker_has_slaves_only_if_they_are_asked_for() {
        let alone = on_usual_ports(1);
        assert_eq!(alone.slave_processes().count(), 0);
        assert!(!alone.broker_process(0).arguments.contains(&"--broker-role".to_owned()));
        assert!(!alone.to_string().contains("haStatus"));
        let plan = on_usual_ports(3);
        let master = plan.broker_process(1).arguments.join(" ");
        assert!(master.contains("--broker-role SYNC_MASTER --ha-listen-port 10922 "), "{master}");
        let slaves: Vec<_> = plan.slave_processes().map(|process| process.arguments.join(" ")).collect();
        let [_, second, third, _] = slaves.as_slice() else { panic!("{slaves:?}") };
        assert!(second.contains("--broker-name broker-a --listen 127.0.0.1:10951 "), "{second}");
        assert!(second.ends_with("--broker-role SLAVE --broker-id 2 --data /d/broker-a-slave-2"), "{second}");
        assert!(third.contains("--broker-name broker-b --listen 127.0.0.1:10941 "), "{third}");
        let text = plan.to_string();
        assert!(text.contains("  broker-a-slave-1  127.0.0.1:10931\n") && text.contains("haStatus"), "{text}");
    }

    #[test]
    fn every_process_has_a_directory_and_a_log_of_its_own() {
        let plan = on_usual_ports(1);
        let process = plan.broker_process(1);
        assert_eq!(process.log, Path::new("/d/logs/broker-b.log"));
        let text = process.arguments.join(" ");
        assert!(text.starts_with("broker --broker-name broker-b --listen 127.0.0.1:10921"), "{text}");
        assert!(text.ends_with("--data /d/broker-b"), "{text}");
        let text = plan.proxy_process(1).arguments.join(" ");
        assert!(text.contains("--remoting 127.0.0.1:8090 --remoting-brokers broker-a=8095,broker-b=8096"), "{text}");
        assert!(plan.to_string().contains("curl http://127.0.0.1:8092/v1/groups/readers/receive"));
    }
}
