//! HTTP before a broker of Apache's: the story of `sdk-examples/curl`, in which only idempotency keys are refused.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::super::proxy::BROKER_SETTINGS;
use crate::cluster::Cluster;
use crate::plan::Context;
use crate::shell::{self, To};
use crate::workspace::clear;
use crate::{apache, reference, server, topics};

const PREFIX: &str = "story";
/// The story's topics and their types.
const TOPICS: [(&str, &str); 4] =
    [("", "NORMAL"), ("-fifo", "FIFO"), ("-delay", "DELAY"), ("-transaction", "TRANSACTION")];

/// Half a minute.
pub(super) fn show(context: &Context, log: &Path) -> Result<()> {
    reference::jars().context("Apache's jars")?;
    let folder = context.workspace.own("http-apache")?;
    clear(&folder)?;
    let gantry = server::build(context)?;
    show_in(context, &folder, &gantry, log).with_context(|| format!("data kept: {}", folder.display()))?;
    clear(&folder)
}

fn show_in(context: &Context, folder: &Path, gantry: &Path, log: &Path) -> Result<()> {
    let cluster = Cluster::start(folder, gantry, &[])?;
    let (broker, address) = apache::broker(folder, "broker-a", &[cluster.name_server()], BROKER_SETTINGS)?;
    for (suffix, kind) in TOPICS {
        topics::create(address, &format!("{PREFIX}-curl{suffix}"), kind)?;
    }
    // Apache's broker keeps the order of message groups only for a group that consumes in order.
    topics::create_group(address, &format!("{PREFIX}-curl-group"), true)?;
    let (grpc, http) = (server::free_address()?, server::free_address()?);
    let proxy = cluster.proxy_at("http", grpc, http, &[])?;
    let mut story = Command::new(context.workspace.root.join("sdk-examples/curl/run"));
    story.args(["--endpoint", &http.to_string(), "--prefix", PREFIX, "--brokers", "apache"]);
    shell::run(&mut story, To::File(log)).context("sdk-examples/curl/run before Apache's broker")?;
    proxy.stop()?;
    drop(broker);
    cluster.stop()
}
