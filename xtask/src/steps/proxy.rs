//! `gantry proxy` in front of two of Apache's brokers, which are registered at `gantry nameserver`: the official clients' examples pass,
//! what a slow consumer has is prolonged, and when a proxy is killed another goes on with what was popped and with the transactions that
//! were begun through it; when a broker is killed the other is sent to.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::cluster::Cluster;
use crate::plan::{Context, Done};
use crate::process::Process;
use crate::shell::{self, To};
use crate::workspace::clear;
use crate::{apache, reference, server, topics};

/// Longest wait for a process to do its work.
const WITHIN: Duration = Duration::from_secs(180);
/// Both have all topics.
const BROKERS: [&str; 2] = ["broker-a", "broker-b"];
/// What the examples need of Apache's broker that is off by default; and producers are asked after seconds instead of half a minute.
/// Outcomes are noted every 3 s (`transactionOpBatchInterval`): who is asked before that commits what was committed, and it comes twice.
pub(super) const BROKER_SETTINGS: &str = "enablePropertyFilter=true\ntimerWheelEnable=true\nrecallMessageEnable=true\n\
                               transactionTimeOut=6000\ntransactionCheckInterval=3000\n";
/// Clients that speak for the others: one that shares nothing with Apache's code, and the program for the handover is its.
const SDKS: [&str; 2] = ["python", "go"];
/// Topics of the handover.
pub(super) const HANDOVER: &str = "handover";
pub(super) const DEALS: &str = "handover-deals";
const PROLONGED: &str = "prolonged";
const ONE_LEFT: &str = "one-left";
/// Messages that are sent and received when one broker of two is gone.
const ONE_LEFT_MESSAGES: u32 = 60;

/// About two and a half minutes.
pub(super) fn run(context: &Context) -> Result<Done> {
    if let Err(error) = reference::jars() {
        return Ok(Done::Skipped { reason: format!("Apache's jars cannot be had: {error:#}") });
    }
    let log = context.workspace.own("logs/proxy.log")?;
    // A log tells of one run.
    fs::write(&log, "")?;
    for sdk in SDKS {
        let mut setup = Command::new("./setup");
        if shell::run(setup.current_dir(example(context, sdk)), To::File(&log)).is_err() {
            let reason = shell::tail(&log, 1).pop().unwrap_or_default();
            return Ok(Done::Skipped { reason: format!("{reason} (all of it: {})", log.display()) });
        }
    }
    let folder = context.workspace.own("proxy")?;
    clear(&folder)?;
    let gantry = server::build(context)?;
    show(context, &folder, &gantry, &log).with_context(|| format!("data kept: {}", folder.display()))?;
    clear(&folder)?;
    Ok(Done::Passed)
}

fn example(context: &Context, sdk: &str) -> std::path::PathBuf {
    context.workspace.root.join("sdk-examples").join(sdk)
}

fn show(context: &Context, folder: &Path, gantry: &Path, log: &Path) -> Result<()> {
    let cluster = Cluster::start(folder, gantry, &[])?;
    let name_server = cluster.name_server();
    let start = |name| apache::broker(folder, name, &[name_server], BROKER_SETTINGS);
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| start(BROKERS[0]));
        let two = start(BROKERS[1]);
        (one.join().expect("it does not panic"), two)
    });
    let ((broker, address), (other, other_address)) = (one?, two?);
    for address in [address, other_address] {
        create_topics(address)?;
    }
    // Of the broker that stays.
    topics::create(address, PROLONGED, "NORMAL")?;

    let (first, first_address) = cluster.proxy("first")?;
    let (second, second_address) = cluster.proxy("second")?;
    // Beside all else: it takes two minutes.
    let mut prolonged = python(context, "prolonged.py");
    prolonged.args([&second_address.to_string(), PROLONGED]);
    let prolonged = Process::start("a slow consumer", prolonged, folder.join("prolonged.log"))?;
    // They wait most of the time.
    shell::side_by_side(SDKS, |sdk| show_sdk(context, sdk, first_address, log))?;
    // Behind them: beside its transactions Apache's broker was seen to ask the examples' producer twice and to store both outcomes.
    hand_over(context, [first_address, second_address], first.id(), log)?;
    drop(first);
    drop(other);
    send_to_the_other(context, second_address, log)?;
    prolonged.finish(WITHIN)?;
    second.stop()?;
    drop(broker);
    cluster.stop()
}

/// All features of an SDK's example, one after the other.
fn show_sdk(context: &Context, sdk: &str, proxy: SocketAddr, log: &Path) -> Result<()> {
    for (feature, _) in reference::FEATURES {
        let mut run = Command::new("./run");
        run.args([feature, "--endpoint", &proxy.to_string()]).current_dir(example(context, sdk));
        let (printed, has_succeeded) = shell::output(&mut run, log)?;
        ensure!(has_succeeded, "{sdk} {feature}: {printed} {}", log.display());
    }
    Ok(())
}

/// Pops and begins a transaction through the first proxy, whose process is killed; acknowledges and commits through the second.
pub(super) fn hand_over(context: &Context, proxies: [SocketAddr; 2], first: u32, log: &Path) -> Result<()> {
    let mut handover = python(context, "handover.py");
    handover.args(proxies.map(|address| address.to_string()));
    handover.args([&first.to_string(), HANDOVER, DEALS]);
    let (printed, has_succeeded) = shell::output(&mut handover, log)?;
    ensure!(has_succeeded, "handover: {printed} {}", log.display());
    Ok(())
}

/// One of the brokers has been killed: what is sent goes to the other, and comes from there.
fn send_to_the_other(context: &Context, proxy: SocketAddr, log: &Path) -> Result<()> {
    let mut client = python(context, "survive.py");
    client.args([proxy, proxy].map(|address| address.to_string()));
    client.args([ONE_LEFT, &format!("{ONE_LEFT}-group"), &ONE_LEFT_MESSAGES.to_string()]);
    let (printed, has_succeeded) = shell::output(&mut client, log)?;
    ensure!(has_succeeded, "one broker of two is gone: {printed} {}", log.display());
    Ok(())
}

/// A program of ours in the Python example's environment.
pub(super) fn python(context: &Context, program: &str) -> Command {
    let mut command = Command::new(example(context, "python").join(".venv/bin/python"));
    command.arg(context.workspace.root.join("tests/proxy").join(program));
    command
}

/// What the examples and the handover use.
fn create_topics(broker: SocketAddr) -> Result<()> {
    SDKS.iter().try_for_each(|sdk| topics::create_for_examples(broker, sdk))?;
    topics::create(broker, HANDOVER, "NORMAL")?;
    topics::create(broker, DEALS, "TRANSACTION")?;
    topics::create(broker, ONE_LEFT, "NORMAL")
}
