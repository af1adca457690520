//! A consumer group is moved from clients of 4.9 to clients of 5.x, one member after the other, while messages are sent: nothing is lost,
//! and what was consumed before or is sent afterwards comes once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::examples;
use super::java::{self, Programs};
use crate::cluster::Cluster;
use crate::plan::{Context, Done};
use crate::{reference, shell, topics};

const BROKER: &str = "broker-a";
const OLD_CLIENT: &str = "4.9.3";
const TOPIC: &str = "moved";

/// Half a minute.
pub(super) fn run(context: &Context) -> Result<Done> {
    if let skipped @ Done::Skipped { .. } = examples::prepare(context, "java")? {
        return Ok(skipped);
    }
    let new_client = context.workspace.root.join("sdk-examples/java/target/lib");
    let jars = || Ok(vec![reference::jars_of("client", OLD_CLIENT)?, new_client.clone()]);
    java::run_with(context, "move", &["Move"], jars, |programs| show(programs, &new_client))
}

fn show(Programs { folder, classes, log, gantry }: &Programs, new_client: &Path) -> Result<()> {
    let cluster = Cluster::start(folder, gantry, &[BROKER])?;
    topics::create(*cluster.broker_addresses().first().context("one broker")?, TOPIC, "NORMAL")?;
    let (proxy, endpoint) = cluster.proxy("proxy")?;
    move_group(cluster.name_server(), endpoint, [classes, &new_client.join("*")], log)?;
    proxy.stop()?;
    cluster.stop()
}

fn move_group(name_server: SocketAddr, proxy: SocketAddr, classes: [&PathBuf; 2], log: &Path) -> Result<()> {
    let mut java = reference::java_with_client(OLD_CLIENT, "move/client", &classes.map(PathBuf::as_path))?;
    // Clients look for their queues each 20 s else.
    java.arg("-Drocketmq.client.rebalance.waitInterval=1000");
    java.arg("Move").args([&name_server.to_string(), &proxy.to_string(), TOPIC]);
    let (printed, has_succeeded) = shell::output(&mut java, log)?;
    ensure!(has_succeeded, "{} {printed}", log.display());
    Ok(())
}
