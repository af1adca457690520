//! HTTP before a cluster of ours: two brokers, two gateways behind a round-robin balancer, each killed and started again while clients
//! work, who lose nothing; and a storm of retries in which every idempotency key is stored once.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cluster::Cluster;
use crate::plan::Context;
use crate::process::Process;
use crate::shell;
use crate::workspace::clear;
use crate::{balancer, server, topics};

const BROKERS: [&str; 2] = ["broker-a", "broker-b"];
const GATEWAYS: [&str; 2] = ["gateway-1", "gateway-2"];
const ADMIN: [&str; 1] = ["--http-admin"];
const SURVIVE: &str = "http-survive";
const STORM: &str = "http-storm";
/// Longest wait for a client to come to a place of its work.
const WITHIN: Duration = Duration::from_secs(300);

/// How long the clients work.
#[derive(Clone, Copy)]
struct Size {
    /// Messages that are sent while gateways and brokers are killed, and after how many of them each is.
    messages: u32,
    kill_every: u32,
    kills: u32,
    /// Keys of the storm; each is sent ten times.
    keys: u32,
}

const SHORT: Size = Size { messages: 1_000, kill_every: 200, kills: 4, keys: 200 };
const FULL: Size = Size { messages: 10_000, kill_every: 800, kills: 12, keys: 1_000 };

/// Half a minute.
pub(super) fn show(context: &Context, log: &Path) -> Result<()> {
    let folder = context.workspace.own("gateways")?;
    clear(&folder)?;
    let gantry = server::build(context)?;
    let size = if context.is_full { FULL } else { SHORT };
    let has_php = || shell::succeeds(Command::new("php").arg("--version"));
    if !has_php() && !super::install("php-cli", log) {
        println!("no PHP consumer: php is missing: apt-get install php-cli");
    }
    show_in(&context.workspace.root, &folder, &gantry, size, has_php())
        .with_context(|| format!("data kept: {}", folder.display()))?;
    clear(&folder)
}

fn show_in(root: &Path, folder: &Path, gantry: &Path, size: Size, has_php: bool) -> Result<()> {
    let mut site = Site::start(folder, gantry)?;
    // Gateways know topics for a while, so a change through one is not seen through the other at once.
    let [[_, first], _] = site.addresses;
    super::admin(root, &first.to_string(), &["proxy"], &folder.join("admin.log"))?;
    site.survive(root, folder, size, has_php)?;
    site.storm(root, folder, size)?;
    for gateway in std::mem::take(&mut site.gateways) {
        gateway.stop()?;
    }
    site.cluster.stop()
}

struct Site {
    cluster: Cluster,
    gateways: Vec<Process>,
    /// Where the gateways listen, for gRPC and HTTP.
    addresses: [[SocketAddr; 2]; 2],
    balancer: SocketAddr,
}

impl Site {
    fn start(folder: &Path, gantry: &Path) -> Result<Self> {
        let cluster = Cluster::start(folder, gantry, &BROKERS)?;
        for broker in cluster.broker_addresses() {
            topics::create(broker, SURVIVE, "NORMAL")?;
            topics::create(broker, STORM, "NORMAL")?;
        }
        let free = server::free_address;
        let addresses = [[free()?, free()?], [free()?, free()?]];
        let mut gateways = Vec::new();
        for (name, [grpc, http]) in GATEWAYS.iter().zip(addresses) {
            gateways.push(cluster.proxy_at(name, grpc, http, &ADMIN)?);
        }
        let balancer = balancer::in_turn(addresses.map(|[_, http]| http).into())?;
        Ok(Self { cluster, gateways, addresses, balancer })
    }

    /// Kills a gateway or broker and starts it again; all in turn.
    fn kill(&mut self, turn: u32) -> Result<()> {
        let (index, is_gateway) = (usize::try_from(turn / 2)? % 2, turn.is_multiple_of(2));
        if !is_gateway {
            return self.cluster.restart_broker(index);
        }
        let [grpc, http] = self.addresses[index];
        drop(self.gateways.remove(index));
        self.gateways.insert(index, self.cluster.proxy_at(GATEWAYS[index], grpc, http, &ADMIN)?);
        Ok(())
    }

    fn survive(&mut self, root: &Path, folder: &Path, size: Size, has_php: bool) -> Result<()> {
        let [[_, first], [_, second]] = self.addresses;
        let addresses = [self.balancer, first, second].map(|address| address.to_string());
        let mut command = Command::new("python3");
        command.arg(root.join("tests/http/survive.py")).args(addresses);
        command.args([SURVIVE, &format!("{SURVIVE}-group"), &size.messages.to_string()]);
        if has_php {
            command.arg("php").arg(root.join("sdk-examples/php/consumer.php"));
        }
        let mut client = Client::start(command, folder.join("survive.log"))?;
        for turn in 0..size.kills {
            client.wait_for(&format!("acked {}", (turn + 1) * size.kill_every))?;
            self.kill(turn)?;
        }
        client.process.finish(WITHIN)
    }

    fn storm(&mut self, root: &Path, folder: &Path, size: Size) -> Result<()> {
        let mut command = Command::new("python3");
        command.arg(root.join("tests/http/storm.py")).arg(self.balancer.to_string());
        command.args([STORM, &format!("{STORM}-group"), &size.keys.to_string()]);
        let mut client = Client::start(command, folder.join("storm.log"))?;
        // Sends of a key before and after each kill; every hundredth send is printed.
        for turn in 0..4 {
            client.wait_for(&format!("sent {}", (turn + 1) * size.keys * 10 / 500 * 100))?;
            self.kill(turn)?;
        }
        client.process.finish(WITHIN)
    }
}

/// A program of `tests/http` that prints how far it is.
struct Client {
    process: Process,
    log: std::path::PathBuf,
}

impl Client {
    fn start(command: Command, log: std::path::PathBuf) -> Result<Self> {
        Ok(Self { process: Process::start("client", command, log.clone())?, log })
    }

    fn wait_for(&mut self, line: &str) -> Result<()> {
        let log = &self.log;
        let has_printed = || fs::read_to_string(log).is_ok_and(|text| text.lines().any(|printed| printed == line));
        self.process.wait_until(&format!("prints {line:?}"), WITHIN, has_printed)
    }
}
