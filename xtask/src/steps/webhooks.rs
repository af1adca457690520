//! Webhooks: the receivers of `sdk-examples` verify what two `gantry proxy` before a broker sign, and an endpoint that fails and hangs gets every
//! message in order while the proxies are killed in turn.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use crate::cluster::Cluster;
use crate::plan::{Context, Done};
use crate::process::Process;
use crate::shell::{self, To};
use crate::workspace::clear;
use crate::{server, topics};

/// Longest wait for a process to do its work.
const WITHIN: Duration = Duration::from_secs(180);
/// The same of all messages of a full run.
const WITHIN_FULL: Duration = Duration::from_secs(3600);
const GATEWAYS: [&str; 2] = ["first", "second"];
const RECEIVERS: [&str; 2] = ["webhook-python", "webhook-node"];
const STORM: &str = "storm";
const SIGNED: &str = "signed";
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
    Ok(Done::Passed)
}

fn show(context: &Context, folder: &Path, gantry: &Path, log: &Path) -> Result<()> {
    let cluster = Cluster::start(folder, gantry, &["broker-a"])?;
    for broker in cluster.broker_addresses() {
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
    let start = |index: usize| {
        let settings = ["--webhook-key-file", key, "--webhook-allow", "127.0.0.0/8"];
        cluster.proxy_at(GATEWAYS[index], server::free_address()?, addresses[index], &settings)
    };
    let mut gateways = [Some(start(0)?), Some(start(1)?)];
    show_signatures(context, folder, addresses[0], log)?;
    let kills = folder.join("kills");
    let mut kill = |index: usize| {
        write_time(&kills)?;
        // It is killed when it is dropped.
        gateways[index] = None;
        write_time(&kills)?;
        gateways[index] = Some(start(index)?);
        Ok(())
    };
    storm(context, folder, addresses, &mut kill)?;
    gateways.into_iter().flatten().try_for_each(Process::stop)?;
    cluster.stop()
}

/// The receivers of `sdk-examples`, for each kind of secret.
fn show_signatures(context: &Context, folder: &Path, gateway: SocketAddr, log: &Path) -> Result<()> {
    let examples = context.workspace.root.join("sdk-examples");
    let receiver = |name: &'static str, program: &Path, file: &str, secret: &str| {
        let address = server::free_address()?;
        let mut command = Command::new(program);
        command.arg(examples.join(file)).args([&address.port().to_string(), secret]);
        let mut process = Process::start(name, command, folder.join(format!("{name}-{}.log", address.port())))?;
        process.wait_until("answers", WITHIN, || TcpStream::connect(address).is_ok())?;
        Ok::<_, anyhow::Error>((process, address.port().to_string()))
    };
    let node = Path::new("node");
    let receivers = [
        receiver("receiver.py", &python(context), "webhook-python/receiver.py", SECRET)?,
        receiver("receiver.js", node, "webhook-node/receiver.js", SECRET)?,
        receiver("receiver.js", node, "webhook-node/receiver.js", PUBLIC_KEY)?,
    ];
    let mut show = program(context, "receivers.py");
    show.args([&gateway.to_string(), SIGNED]).args(receivers.iter().map(|(_, port)| port));
    let (printed, has_succeeded) = shell::output(&mut show, log)?;
    ensure!(has_succeeded, "receivers: {printed} {}", log.display());
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
