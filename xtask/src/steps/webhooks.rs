//! Webhooks: the receivers of `sdk-examples` verify what two `gantry proxy` before a broker sign, what `docs/webhooks.md` shows is run as it stands
//! there, an endpoint that fails and hangs gets every message in order while the proxies are killed in turn, and a proxy that starts while the broker
//! is away knows that it does not know the webhooks. With `--full` also before Apache's broker.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use super::http::{ADDRESS, run_page};
use crate::cluster::Cluster;
use crate::plan::{Context, Done};
use crate::process::Process;
use crate::shell::{self, To};
use crate::workspace::clear;
use crate::{server, topics};

mod apache;

/// Longest wait for a process to do its work.
const WITHIN: Duration = Duration::from_secs(180);
/// The same of all messages of a full run.
const WITHIN_FULL: Duration = Duration::from_secs(3600);
const GATEWAYS: [&str; 2] = ["first", "second"];
const RECEIVERS: [&str; 2] = ["webhook-python", "webhook-node"];
const STORM: &str = "storm";
const SIGNED: &str = "signed";
const BROKER: &str = "broker-a";
/// The topics, the group and the receiver's address that the page names.
const SHOWN: &str = "orders";
const SHOWN_GROUP: &str = "orders-hook";
const SHOWN_TRANSACTIONS: &str = "transfers";
const SHOWN_RECEIVER: &str = "127.0.0.1:9000";
const MESSAGES: u32 = 2_000;
const MESSAGES_FULL: u32 = 100_000;
/// One gateway after the other is killed so often, evenly while messages are delivered.
const KILLS: u32 = 3;
const KILLS_FULL: u32 = 20;
/// What the storm tells of its progress.
const TOLD_EVERY: u32 = 100;
/// Seals the webhooks of both gateways.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The public key of RFC 8032, section 7.1, test 1.
const PUBLIC_KEY: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// About a minute; with `--full` several.
pub(super) fn run(context: &Context) -> Result<Done> {
    for tool in ["curl", "jq", "bash", "openssl"] {
        if !shell::succeeds(Command::new(tool).arg(if tool == "openssl" { "version" } else { "--version" })) {
            return Ok(Done::Skipped { reason: format!("{tool} is missing") });
        }
    }
    let log = context.workspace.own("logs/webhooks.log")?;
    // A log tells of one run.
    fs::write(&log, "")?;
    for receiver in RECEIVERS {
        let mut setup = Command::new("./setup");
        let folder = context.workspace.root.join("sdk-examples").join(receiver);
        if shell::run(setup.current_dir(folder), To::File(&log)).is_err() {
            let reason = shell::tail(&log, 1).pop().unwrap_or_default();
            return Ok(Done::Skipped { reason: format!("{reason} (all of it: {})", log.display()) });
        }
    }
    let folder = context.workspace.own("webhooks")?;
    clear(&folder)?;
    let gantry = server::build(context)?;
    show(context, &folder, &gantry, &log).with_context(|| format!("data kept: {}", folder.display()))?;
    clear(&folder)?;
    if context.is_full {
        apache::show(context, &gantry, &log)?;
    }
    Ok(Done::Passed)
}

fn show(context: &Context, folder: &Path, gantry: &Path, log: &Path) -> Result<()> {
    let mut cluster = Cluster::start(folder, gantry, &[BROKER])?;
    for broker in cluster.broker_addresses() {
        topics::create(broker, SHOWN, "NORMAL")?;
        topics::create_group(broker, SHOWN_GROUP, false)?;
        topics::create(broker, SHOWN_TRANSACTIONS, "TRANSACTION")?;
        topics::create(broker, STORM, "FIFO")?;
        topics::create(broker, SIGNED, "NORMAL")?;
        for receiver in 0..3 {
            topics::create_group(broker, &format!("{SIGNED}-{receiver}"), false)?;
        }
    }
    let key = folder.join("key");
    fs::write(&key, KEY)?;
    let key = key.to_str().context("a path in UTF-8")?;
    let addresses = [server::free_address()?, server::free_address()?];
    let start = |cluster: &Cluster, index: usize| {
        let settings = ["--webhook-key-file", key, "--webhook-broker", BROKER, "--webhook-allow", "127.0.0.0/8"];
        cluster.proxy_at(GATEWAYS[index], server::free_address()?, addresses[index], &settings)
    };
    let mut gateways = [Some(start(&cluster, 0)?), Some(start(&cluster, 1)?)];
    show_signatures(context, folder, addresses[0], log)?;
    show_page(context, folder, addresses[0], log)?;
    let kills = folder.join("kills");
    let mut kill = |index: usize| {
        write_time(&kills)?;
        // It is killed when it is dropped.
        gateways[index] = None;
        write_time(&kills)?;
        gateways[index] = Some(start(&cluster, index)?);
        Ok(())
    };
    storm(context, folder, addresses, &mut kill)?;
    gateways[0] = None;
    // The name server knows a broker, and not the one that keeps the webhooks.
    cluster.add_broker("broker-b")?;
    cluster.kill_broker(0)?;
    gateways[0] = Some(start(&cluster, 0)?);
    known(context, addresses[0], "unknown", log)?;
    cluster.restart_broker(0)?;
    // That of the storm.
    known(context, addresses[0], "1", log)?;
    gateways.into_iter().flatten().try_for_each(Process::stop)?;
    cluster.stop()
}

/// The receivers of `sdk-examples`, for each kind of secret.
fn show_signatures(context: &Context, folder: &Path, gateway: SocketAddr, log: &Path) -> Result<()> {
    let node = Path::new("node");
    let receivers = [
        receiver(context, folder, &python(context), "webhook-python/receiver.py", SECRET)?,
        receiver(context, folder, node, "webhook-node/receiver.js", SECRET)?,
        receiver(context, folder, node, "webhook-node/receiver.js", PUBLIC_KEY)?,
    ];
    let mut show = program(context, "receivers.py");
    show.args([&gateway.to_string(), SIGNED]).args(receivers.iter().map(|(_, address)| address.port().to_string()));
    let (printed, has_succeeded) = shell::output(&mut show, log)?;
    ensure!(has_succeeded, "receivers: {printed} {}", log.display());
    Ok(())
}

/// A receiver of `sdk-examples`, which answers, and where.
fn receiver(
    context: &Context,
    folder: &Path,
    program: &Path,
    file: &str,
    secret: &str,
) -> Result<(Process, SocketAddr)> {
    let address = server::free_address()?;
    let mut command = Command::new(program);
    command.arg(context.workspace.root.join("sdk-examples").join(file)).args([&address.port().to_string(), secret]);
    let mut process = Process::start("receiver", command, folder.join(format!("receiver-{}.log", address.port())))?;
    process.wait_until("answers", WITHIN, || TcpStream::connect(address).is_ok())?;
    Ok((process, address))
}

/// The page's commands, with the receiver that it shows.
fn show_page(context: &Context, folder: &Path, gateway: SocketAddr, log: &Path) -> Result<()> {
    let (_receiver, address) = receiver(context, folder, &python(context), "webhook-python/receiver.py", SECRET)?;
    let (gateway, receiver) = (gateway.to_string(), address.to_string());
    let named = [(ADDRESS, &*gateway), (SHOWN_RECEIVER, &*receiver)];
    run_page(&context.workspace.root, "docs/webhooks.md", &named, folder, log)
}

/// Waits until a gateway knows so many webhooks, or that it does not know them.
fn known(context: &Context, gateway: SocketAddr, webhooks: &str, log: &Path) -> Result<()> {
    let mut show = program(context, "known.py");
    let (printed, has_succeeded) = shell::output(show.args([&gateway.to_string(), webhooks]), log)?;
    ensure!(has_succeeded, "webhooks that are known are not {webhooks}: {printed} {}", log.display());
    Ok(())
}

/// Kills gateways while messages are delivered; the endpoint knows what must be.
fn storm(
    context: &Context,
    folder: &Path,
    gateways: [SocketAddr; 2],
    kill: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<()> {
    let (messages, kills, within) =
        if context.is_full { (MESSAGES_FULL, KILLS_FULL, WITHIN_FULL) } else { (MESSAGES, KILLS, WITHIN) };
    let mut command = program(context, "storm.py");
    command.args(gateways.map(|address| address.to_string()));
    command.args([STORM, &format!("{STORM}-group"), &messages.to_string()]).arg(folder.join("kills"));
    let log = folder.join("storm.log");
    let mut endpoint = Process::start("storm.py", command, log.clone())?;
    let prints = |line: &str| fs::read_to_string(&log).is_ok_and(|text| text.lines().any(|printed| printed == line));
    endpoint.wait_until("sends", within, || prints("sent"))?;
    for number in 1..=kills {
        let delivered = messages * number / (kills + 1) / TOLD_EVERY * TOLD_EVERY;
        endpoint.wait_until("gets messages", within, || prints(&format!("delivered {delivered}")))?;
        kill(number as usize % GATEWAYS.len())?;
    }
    endpoint.wait_until("gets everything", within, || prints("passed"))?;
    if let Some(line) = fs::read_to_string(&log)?.lines().find(|line| line.contains(" calls: ")) {
        println!("{line}");
    }
    Ok(())
}

/// Appends what time it is, in milliseconds.
fn write_time(file: &Path) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    writeln!(fs::OpenOptions::new().create(true).append(true).open(file)?, "{now}")?;
    Ok(())
}

/// A program of ours.
fn program(context: &Context, name: &str) -> Command {
    let mut command = Command::new(python(context));
    command.arg(context.workspace.root.join("tests/webhooks").join(name));
    command
}

/// That of the Python receiver's environment.
fn python(context: &Context) -> PathBuf {
    context.workspace.root.join("sdk-examples/webhook-python/.venv/bin/python")
}
