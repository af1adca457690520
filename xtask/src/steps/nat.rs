//! Clients behind a NAT that shifts ports (`tests/nat/network`), over IPv4 and IPv6, before `gantry local` and before `gantry proxy` with
//! broker and name server, none of which is told an address: the official clients' examples observe what they observe on Apache's.
//!
//! Servers listen on `[::]`, the broker is known to name server and proxy by an IPv6 address, and operators ask it there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::examples::{self, Place};
use crate::cluster::broker_configuration;
use crate::netns::Network;
use crate::plan::{Context, Done};
use crate::process::Process;
use crate::workspace::clear;
use crate::{netns, reference, server, shell};

/// In CI: one that shares nothing with Apache's code, and one that speaks TLS.
const SDKS: [&str; 2] = ["python", "go"];
/// SDKs that take an IPv6 address in brackets as their endpoint. Source: Java 5.2.0 `Endpoints`, Rust 5.0.0 `Endpoints::from_url`. Python
/// 5.1.2, Go v5.1.3 and Node 1.0.8 split the text at its first colon, so they are given the address's name.
const TAKE_IPV6: [&str; 2] = ["java", "rust"];
/// What clients dial. Source: `tests/nat/network`, as the ports.
const IPV4: &str = "10.91.1.1";
const IPV6: &str = "[fd91:1::1]";
const IPV6_NAME: &str = "gantry-ipv6.test";
/// Of `gantry local` and `gantry proxy`, as the servers and as clients know them.
const LOCAL: Port = Port { inside: 8081, outside: 18081 };
const PROXY: Port = Port { inside: 8084, outside: 18084 };
const NAME_SERVER: &str = "[fd91:2::2]:9876";
/// The broker finds its address by its route to the name server.
const BROKER: &str = "[fd91:2::2]:10911";
/// Longest wait for a process to serve.
const WITHIN: Duration = Duration::from_secs(60);

struct Port {
    inside: u16,
    outside: u16,
}

/// What runs together: the clients of a family of addresses before one of the servers.
struct Round {
    is_ipv6: bool,
    server: Port,
    prefix: &'static str,
}

/// With these alone each family and each server is seen once.
static ROUNDS: [Round; 2] =
    [Round { is_ipv6: false, server: LOCAL, prefix: "nat4" }, Round { is_ipv6: true, server: PROXY, prefix: "nat6" }];
static OTHER_ROUNDS: [Round; 2] =
    [Round { is_ipv6: true, server: LOCAL, prefix: "nat6" }, Round { is_ipv6: false, server: PROXY, prefix: "nat4" }];

/// Less than a minute.
pub(super) fn run(context: &Context) -> Result<Done> {
    let sdks: &[&'static str] = if context.is_full { &reference::SDKS } else { &SDKS };
    for sdk in sdks {
        if let skipped @ Done::Skipped { .. } = examples::prepare(context, sdk)? {
            return Ok(skipped);
        }
    }
    let (programs, log) = (context.workspace.root.join("tests/nat"), context.workspace.own("logs/nat.log")?);
    if let skipped @ Done::Skipped { .. } = netns::set_up(&programs, &log)? {
        return Ok(skipped);
    }
    let folder = context.workspace.own("nat")?;
    clear(&folder)?;
    let gantry = server::build(context)?;
    let network = Network::up(&programs, &log)?;
    let servers = Servers { network: &network, folder: &folder, gantry: &gantry, log: &log };
    show(context, &servers, sdks).with_context(|| format!("data kept: {}", folder.display()))?;
    clear(&folder)?;
    Ok(Done::Passed)
}

fn show(context: &Context, servers: &Servers<'_>, sdks: &[&'static str]) -> Result<()> {
    let address = |port: &Port| format!("[::]:{}", port.inside);
    let local = servers.start("local", &["--grpc", &address(&LOCAL), "--http", "[::]:8082"])?;
    let names = servers.start("nameserver", &["--listen", "[::]:9876"])?;
    let conf = servers.folder.join("broker.conf");
    fs::write(&conf, broker_configuration("broker-a", NAME_SERVER))?;
    let conf = conf.to_string_lossy();
    let mut broker = servers.start("broker", &["--strict-config", "-c", &conf, "--listen", "[::]:10911"])?;
    servers.create_topics(sdks)?;
    broker.wait_until("is registered", WITHIN, || {
        servers.admin(&["clusterList"]).is_ok_and(|all| all.contains(BROKER))
    })?;
    let proxy = servers.start(
        "proxy",
        &["--nameserver", NAME_SERVER, "--grpc", &address(&PROXY), "--http", "[::]:8085", "--remoting", "off"],
    )?;
    observe(context, servers, sdks, &ROUNDS)?;
    if context.is_full {
        observe(context, servers, sdks, &OTHER_ROUNDS)?;
    }
    [proxy, broker, names, local].into_iter().try_for_each(Process::stop)
}

/// Side by side: they wait most of the time.
fn observe(context: &Context, servers: &Servers<'_>, sdks: &[&str], rounds: &[Round]) -> Result<()> {
    let client = servers.network.space("client");
    let namespace = Some(client.as_str());
    let all = rounds.iter().flat_map(|round| sdks.iter().map(move |sdk| (*sdk, round)));
    shell::side_by_side(all, |(sdk, round)| {
        let endpoint = &format!("{}:{}", host(sdk, round.is_ipv6), round.server.outside);
        let place = Place { endpoint, prefix: round.prefix, namespace };
        examples::observe_at(context, sdk, place, servers.log).with_context(|| endpoint.clone())
    })
    .map(drop)
}

fn host(sdk: &str, is_ipv6: bool) -> &'static str {
    match is_ipv6 {
        false => IPV4,
        true if TAKE_IPV6.contains(&sdk) => IPV6,
        true => IPV6_NAME,
    }
}

/// Our processes behind the NAT.
struct Servers<'a> {
    network: &'a Network,
    folder: &'a Path,
    gantry: &'a Path,
    log: &'a Path,
}

impl Servers<'_> {
    /// Starts one with its data and log below the folder; it serves on return.
    fn start(&self, role: &'static str, arguments: &[&str]) -> Result<Process> {
        let mut command = netns::within(&self.network.space("server"), self.gantry);
        command.arg(role).args(arguments).arg("--data").arg(self.folder.join(role));
        let log = self.folder.join(format!("{role}.log"));
        let mut process = Process::start(role, command, log.clone())?;
        let is_ready = || fs::read_to_string(&log).is_ok_and(|text| text.contains("is ready"));
        process.wait_until("serves", WITHIN, is_ready)?;
        Ok(process)
    }

    /// What a verb of `gantry admin` prints there.
    fn admin(&self, arguments: &[&str]) -> Result<String> {
        let mut command = netns::within(&self.network.space("server"), self.gantry);
        let (printed, has_succeeded) =
            shell::output(command.args(["admin", "--nameserver", NAME_SERVER]).args(arguments), self.log)?;
        ensure!(has_succeeded, "gantry admin {}: {printed} {}", arguments.join(" "), self.log.display());
        Ok(printed)
    }

    /// What the examples use at the broker; `gantry local` makes it on first use.
    fn create_topics(&self, sdks: &[&'static str]) -> Result<()> {
        for (sdk, round) in sdks.iter().flat_map(|sdk| ROUNDS.iter().map(move |round| (sdk, round))) {
            for (feature, message_type) in reference::FEATURES {
                let topic = format!("{}-{sdk}-{feature}", round.prefix);
                self.admin(&[
                    "updateTopic",
                    "-b",
                    BROKER,
                    "-t",
                    &topic,
                    "-a",
                    &format!("+message.type={message_type}"),
                ])?;
                if message_type == "FIFO" {
                    self.admin(&["updateSubGroup", "-b", BROKER, "-g", &format!("{topic}-group"), "-o", "true"])?;
                }
            }
        }
        Ok(())
    }
}
