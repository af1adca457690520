//! The Remoting port of `gantry proxy` before two brokers that its clients do not know: Java's clients of 4.9.3, which name no broker, and of
//! 5.5.0, which do, and Go's send and consume in all their ways, a consumer pops, and a producer goes on over the death of the proxy that it
//! is at. With `--full` Java's do the same before two of Apache's brokers.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::broker::{client, show_go, show_java};
use super::java::{self, Programs};
use super::{broker, go, proxy};
use crate::cluster::{Cluster, REMOTING};
use crate::plan::{Context, Done};
use crate::process::Process;
use crate::shell::side_by_side;
use crate::{apache, server, topics};

/// Longest wait for a client to send so far.
const WITHIN: Duration = Duration::from_secs(120);
/// Longest wait for a client that sends over a proxy's death and reads everything back.
const SURVIVED_WITHIN: Duration = Duration::from_secs(240);
const BROKERS: [&str; 2] = ["broker-a", "broker-b"];
/// What Java's clients do through any port. Traces besides are read by their keys, for which no client names a broker.
const SCENARIOS: [&str; 9] =
    ["send", "litepull", "clustering", "broadcasting", "later", "orderly", "delay", "transaction", "reply"];
const TRACES: [&str; 2] = ["trace", "consumertrace"];
/// Topics of the consumer that pops, which are at the first broker.
const POPPED: [&str; 2] = ["popped", "ordered-or-popped"];
/// Go's scenarios, whose topics are at one broker each: some tell queues apart by their numbers, and its consumers look half a minute later
/// whether a topic has come to another broker, with or without a proxy.
const GO_SCENARIOS: [&str; 14] = [
    "send",
    "batch",
    "selectors",
    "clustering",
    "broadcasting",
    "orderly",
    "later",
    "deadletter",
    "filter",
    "delay",
    "transaction",
    "pull",
    "poll",
    "request",
];
/// One proxy is killed when so many messages are acknowledged, the other when so many are: the client is at one of them.
const KILLED_AT: [u32; 2] = [500, 1000];

/// Where a proxy listens.
#[derive(Clone, Copy)]
struct Ports {
    grpc: SocketAddr,
    remoting: SocketAddr,
    /// Of the brokers; without them clients must name them.
    brokers: Option<[SocketAddr; BROKERS.len()]>,
}

impl Ports {
    fn free(has_brokers: bool) -> Result<Self> {
        let brokers = [server::free_address()?, server::free_address()?];
        let brokers = has_brokers.then_some(brokers);
        Ok(Self { grpc: server::free_address()?, remoting: server::free_address()?, brokers })
    }

    /// Starts a proxy there; it serves on return.
    fn start(self, cluster: &Cluster, name: &str) -> Result<Process> {
        let remoting = self.remoting.to_string();
        let mut settings = vec![REMOTING, &remoting];
        let brokers = self.brokers.map(|ports| {
            let own = BROKERS.iter().zip(ports).map(|(broker, address)| format!("{broker}={}", address.port()));
            own.collect::<Vec<_>>().join(",")
        });
        if let Some(brokers) = &brokers {
            settings.extend(["--remoting-brokers", brokers]);
        }
        cluster.proxy_at(name, self.grpc, server::free_address()?, &settings)
    }
}

/// About two minutes.
pub(super) fn run(context: &Context) -> Result<Done> {
    let go = match go::build(context, "broker")? {
        Ok(go) => go,
        Err(skipped) => return Ok(skipped),
    };
    java::run_of(context, "proxy-remoting", "broker", &["Clients", "PopClient"], |programs| {
        show(programs, &go)?;
        if context.is_full { show_apaches(programs) } else { Ok(()) }
    })
}

fn show(programs: &Programs, go: &Path) -> Result<()> {
    let Programs { folder, classes, log, gantry } = programs;
    let cluster = Cluster::start(folder, gantry, &BROKERS)?;
    let addresses = cluster.broker_addresses();
    for topic in POPPED {
        topics::create(addresses[0], topic, "NORMAL")?;
    }
    for (scenario, broker) in GO_SCENARIOS.iter().zip(addresses.iter().cycle()) {
        topics::create(*broker, &format!("go-{scenario}"), "NORMAL")?;
    }
    let (all, own) = (Ports::free(false)?, Ports::free(true)?);
    let proxies = [all.start(&cluster, "all")?, own.start(&cluster, "own")?];
    let with_traces = [&SCENARIOS[..], &TRACES[..]].concat();
    let clients = |release, proxy: Ports, scenarios: &[&str]| {
        let proxy = proxy.remoting.to_string();
        show_java(client(release, classes)?, &[&["Clients", &proxy, release], scenarios].concat(), log)
    };
    let (proxy, broker, operators) =
        (all.remoting.to_string(), addresses[0].to_string(), cluster.name_server().to_string());
    let shows: [&(dyn Fn() -> Result<()> + Sync); 4] = [
        &|| show_go(go, own.remoting, folder, log).map(drop),
        &|| clients("new", all, &SCENARIOS),
        &|| clients("old", own, &with_traces),
        &|| show_java(client("new", classes)?, &["PopClient", &proxy, &broker, &operators], log),
    ];
    side_by_side(shows, |show| show())?;
    proxies.into_iter().try_for_each(Process::stop)?;
    side_by_side(["new", "old"], |release| survive(&cluster, folder, release, classes))?;
    cluster.stop()
}

/// Kills the proxy that a client is at while it sends; the client knows what was acknowledged and reads it back.
fn survive(cluster: &Cluster, folder: &Path, release: &str, classes: &Path) -> Result<()> {
    let ports = [Ports::free(true)?, Ports::free(true)?];
    let name = |index: usize| format!("{release}-{index}");
    let (first, second) = (ports[0].start(cluster, &name(0))?, ports[1].start(cluster, &name(1))?);
    let mut java = client(release, classes)?;
    java.arg("Clients").args([&ports.map(|ports| ports.remoting.to_string()).join(";"), release, "survive"]);
    let log = folder.join(format!("survive-{release}.log"));
    let mut client = Process::start("client", java, log.clone())?;
    let prints = |line: &str| fs::read_to_string(&log).is_ok_and(|text| text.lines().any(|one| one == line));
    let mut sends = |count: u32| client.wait_until("sends", WITHIN, || prints(&format!("acked {count}")));
    sends(KILLED_AT[0])?;
    drop(first);
    sends(KILLED_AT[1])?;
    let first = ports[0].start(cluster, &name(2))?;
    drop(second);
    sends(KILLED_AT[1] + 1)?;
    // Java's consumers do not start where the first name server that they ask is away.
    let second = ports[1].start(cluster, &name(3))?;
    client.wait_until("reads everything back", SURVIVED_WITHIN, || prints("passed survive"))?;
    [first, second].into_iter().try_for_each(Process::stop)
}

/// Java's clients before two of Apache's brokers, which have no traces.
fn show_apaches(programs: &Programs) -> Result<()> {
    let Programs { folder, classes, log, gantry } = programs;
    let folder = folder.join("apache");
    fs::create_dir(&folder)?;
    let names = Cluster::start(&folder, gantry, &[])?;
    let settings = format!("{}{}", proxy::BROKER_SETTINGS, broker::APACHE_SETTINGS);
    let brokers = side_by_side(BROKERS, |name| apache::broker(&folder, name, &[names.name_server()], &settings))?;
    let ports = Ports::free(true)?;
    let proxy = ports.start(&names, "proxy")?;
    let address = ports.remoting.to_string();
    side_by_side(["new", "old"], |release| {
        show_java(client(release, classes)?, &[&["Clients", &address, release], &SCENARIOS[..]].concat(), log)
    })?;
    proxy.stop()?;
    drop(brokers);
    names.stop()
}
