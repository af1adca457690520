//! Webhooks and a check URL before a broker of Apache's: delivered, failed and tried again, throttled, in order, and still known to a gateway that is
//! started later.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use remoting_proto::body::SubscriptionGroupConfig;

use super::super::proxy::BROKER_SETTINGS;
use super::{BROKER, KEY, known, program};
use crate::cluster::Cluster;
use crate::plan::Context;
use crate::process::Process;
use crate::workspace::clear;
use crate::{apache, reference, server, shell, topics};

const PREFIX: &str = "hooks";
/// Deliveries of a message but the first, before it is a dead letter.
const RETRIES: i32 = 2;
/// Webhooks and check URLs that the client leaves behind.
const LEFT: &str = "2";

/// A minute.
pub(super) fn show(context: &Context, gantry: &Path, log: &Path) -> Result<()> {
    reference::jars().context("Apache's jars")?;
    let folder = context.workspace.own("webhooks-apache")?;
    clear(&folder)?;
    show_in(context, &folder, gantry, log).with_context(|| format!("data kept: {}", folder.display()))?;
    clear(&folder)
}

fn show_in(context: &Context, folder: &Path, gantry: &Path, log: &Path) -> Result<()> {
    let cluster = Cluster::start(folder, gantry, &[])?;
    let (broker, address) = apache::broker(folder, BROKER, &[cluster.name_server()], BROKER_SETTINGS)?;
    topics::create(address, PREFIX, "NORMAL")?;
    let group = SubscriptionGroupConfig {
        group_name: format!("{PREFIX}-group"),
        retry_max_times: RETRIES,
        ..SubscriptionGroupConfig::default()
    };
    topics::put_group(address, &group)?;
    topics::create(address, &format!("{PREFIX}-fifo"), "FIFO")?;
    topics::create_group(address, &format!("{PREFIX}-plain"), false)?;
    topics::create(address, &format!("{PREFIX}-deals"), "TRANSACTION")?;
    let key = folder.join("key");
    fs::write(&key, KEY)?;
    let key = key.to_str().context("a path in UTF-8")?;
    let http = server::free_address()?;
    let settings = ["--webhook-key-file", key, "--webhook-broker", BROKER, "--webhook-allow", "127.0.0.0/8"];
    let start = |name| cluster.proxy_at(name, server::free_address()?, http, &settings);
    let first = start("first")?;
    let mut client = program(context, "apache.py");
    let (printed, has_succeeded) = shell::output(client.args([&http.to_string(), PREFIX]), log)?;
    print!("{printed}");
    ensure!(has_succeeded, "webhooks before Apache's broker: {}", log.display());
    // It is killed when it is dropped.
    drop(first);
    let second = start("second")?;
    known(context, http, LEFT, log)?;
    Process::stop(second)?;
    drop(broker);
    cluster.stop()
}
