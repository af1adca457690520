//! The four-way matrix: `gantry proxy` and Apache's proxy, each before name server and broker of either. The same scenarios run in every
//! cell, with official clients; one may fail only where Apache before Apache fails it too.
//!
//! In CI the cell that nothing else covers: Apache's proxy before ours, with two SDKs. With `--full` all cells and three SDKs, and
//! [`table::PAGE`] is written anew.

mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use remoting_proto::body::SubscriptionGroupConfig;

use super::examples::{self, Finding};
use super::proxy::{BROKER_SETTINGS, python};
use super::{go, java};
use crate::cluster::{self, Cluster};
use crate::plan::{Context, Done};
use crate::process::Process;
use crate::workspace::clear;
use crate::{apache, reference, server, shell, topics};

const BROKER: &str = "broker-a";
/// Clients in CI: one that shares nothing with Apache's code, and one that speaks TLS.
const SDKS: [&str; 2] = ["python", "go"];
/// Besides those with `--full`, after them: its programs need a JVM each.
const HEAVY_SDK: &str = "java";
/// What no example shows: `tests/proxy` has a program for each SDK.
const CALLS: [&str; 2] = ["batch", "dead-letter"];
/// A lease that is prolonged while its consumer works, of the same programs; it takes two minutes, so `--full` only.
const PROLONGED: &str = "auto-renew";
const PROLONGED_WITHIN: Duration = Duration::from_secs(300);
/// Attempts after the first of the group whose messages become dead letters.
const RETRIES: i32 = 1;

/// Who made a part of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Gantry,
    Apache,
}

/// A proxy before a name server and a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    proxy: Maker,
    brokers: Maker,
}

/// Apache's own first: it says what may fail.
const CELLS: [Cell; 4] = [
    Cell { proxy: Maker::Apache, brokers: Maker::Apache },
    Cell { proxy: Maker::Apache, brokers: Maker::Gantry },
    Cell { proxy: Maker::Gantry, brokers: Maker::Apache },
    Cell { proxy: Maker::Gantry, brokers: Maker::Gantry },
];
const REFERENCE: Cell = CELLS[0];
const IN_CI: Cell = CELLS[1];

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |maker| match maker {
            Maker::Gantry => "Gantry",
            Maker::Apache => "Apache",
        };
        write!(f, "{} proxy, {} broker", name(self.proxy), name(self.brokers))
    }
}

/// An SDK and a feature of its examples, or a program that speaks the protocol with its stubs.
type Scenario = (&'static str, &'static str);
/// What happened in a cell, by SDK and feature.
type Findings = BTreeMap<(&'static str, String), Finding>;

/// A minute and a half; all of it 15 minutes.
pub(super) fn run(context: &Context) -> Result<Done> {
    if let Err(error) = reference::jars() {
        return Ok(Done::Skipped { reason: format!("Apache's jars cannot be had: {error:#}") });
    }
    let heavy = context.is_full.then_some(HEAVY_SDK);
    for sdk in SDKS.into_iter().chain(heavy) {
        if let skipped @ Done::Skipped { .. } = examples::prepare(context, sdk)? {
            return Ok(skipped);
        }
    }
    let log = context.workspace.own("logs/matrix.log")?;
    // A log tells of one run.
    std::fs::write(&log, "")?;
    if let Err(skipped) = go::build(context, "proxy")? {
        return Ok(skipped);
    }
    if context.is_full {
        let jars = [sdk_jars(context)];
        java::compile(context, "proxy", &["Scenarios"], &jars, &java_classes(context)?, &log)?;
    }
    let folder = context.workspace.own("matrix")?;
    let gantry = server::build(context)?;
    let cells = if context.is_full { CELLS.to_vec() } else { vec![IN_CI] };
    let mut all = Vec::new();
    for cell in cells {
        clear(&folder)?;
        println!("{cell}");
        let found = show(context, cell, &folder, &gantry, &log);
        all.push((cell, found.with_context(|| format!("{cell}; data kept: {}", folder.display()))?));
    }
    if context.is_full {
        table::write(&context.workspace.root, &all)?;
    }
    judge(&all).with_context(|| format!("data of the last cell kept: {}", folder.display()))?;
    clear(&folder)?;
    Ok(Done::Passed)
}

/// A scenario that fails where Apache before Apache does not, or was not asked, is a failure.
fn judge(all: &[(Cell, Findings)]) -> Result<()> {
    let reference = all.iter().find(|(cell, _)| *cell == REFERENCE).map(|(_, findings)| findings);
    let fails = |found: &Finding| found.ok == Some(false);
    let failed: Vec<String> = all
        .iter()
        .filter(|(cell, _)| *cell != REFERENCE)
        .flat_map(|(cell, findings)| findings.iter().map(move |(name, found)| (cell, name, found)))
        .filter(|(_, name, found)| {
            fails(found) && !reference.is_some_and(|theirs| theirs.get(*name).is_some_and(fails))
        })
        .map(|(cell, (sdk, feature), found)| format!("{cell}: {sdk} {feature}: {}", found.detail))
        .collect();
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n")) }
}

/// All scenarios in one cell.
fn show(context: &Context, cell: Cell, folder: &Path, gantry: &Path, log: &Path) -> Result<Findings> {
    // What is started lives as long as these.
    let (_cluster, _apaches, name_server, broker) = match cell.brokers {
        Maker::Gantry => {
            let cluster = Cluster::start(folder, gantry, &[BROKER])?;
            let (name_server, broker) = (cluster.name_server(), cluster.broker_addresses()[0]);
            (Some(cluster), None, name_server, broker)
        }
        Maker::Apache => {
            let (names, name_server) = apache::name_server(folder)?;
            let (process, broker) = apache::broker(folder, BROKER, &[name_server], BROKER_SETTINGS)?;
            (None, Some((names, process)), name_server, broker)
        }
    };
    create_topics(context, broker)?;
    let (_proxy, endpoint) = match cell.proxy {
        Maker::Gantry => cluster::proxy(folder, gantry, "proxy", &name_server.to_string())?,
        Maker::Apache => apache::proxy(folder, "proxy", &[name_server])?,
    };
    let prolonged: Vec<_> = sdks(context).filter(|_| context.is_full).collect();
    let prolonged = prolonged.into_iter().map(|sdk| Ok((sdk, start_prolonged(context, sdk, folder, endpoint)?)));
    let prolonged = prolonged.collect::<Result<Vec<_>>>()?;
    let scenarios: Vec<_> = SDKS.into_iter().flat_map(of_sdk).collect();
    let mut findings = observe(context, &scenarios, endpoint, log)?;
    if context.is_full {
        let scenarios: Vec<_> = of_sdk(HEAVY_SDK).collect();
        findings.extend(observe(context, &scenarios, endpoint, log)?);
    }
    for (sdk, prolonged) in prolonged {
        let ended = prolonged.finish(PROLONGED_WITHIN);
        let detail = ended.as_ref().err().map_or_else(String::new, |error| format!("{error:#}"));
        let found = Finding { feature: PROLONGED.to_owned(), ok: Some(ended.is_ok()), detail };
        findings.insert((sdk, PROLONGED.to_owned()), found);
    }
    Ok(findings)
}

/// Those of this run.
fn sdks(context: &Context) -> impl Iterator<Item = &'static str> {
    SDKS.into_iter().chain(context.is_full.then_some(HEAVY_SDK))
}

fn create_topics(context: &Context, broker: SocketAddr) -> Result<()> {
    for sdk in sdks(context) {
        topics::create_for_examples(broker, sdk)?;
        for name in CALLS.into_iter().chain([PROLONGED]) {
            topics::create(broker, &format!("example-{sdk}-{name}"), "NORMAL")?;
        }
        let topic = format!("example-{sdk}-dead-letter");
        topics::create(broker, &format!("%DLQ%{topic}-group"), "NORMAL")?;
        topics::create_group(broker, &format!("{topic}-dead-group"), false)?;
        topics::put_group(
            broker,
            &SubscriptionGroupConfig {
                group_name: format!("{topic}-group"),
                retry_max_times: RETRIES,
                ..SubscriptionGroupConfig::default()
            },
        )?;
    }
    Ok(())
}

/// What is run of an SDK.
fn of_sdk(sdk: &'static str) -> impl Iterator<Item = Scenario> {
    let features = reference::FEATURES.into_iter().map(|(feature, _)| feature);
    features.chain(CALLS).map(move |feature| (sdk, feature))
}

/// What fails is run once more: a JVM that has just started answers some clients later than they wait.
fn observe(context: &Context, scenarios: &[Scenario], endpoint: SocketAddr, log: &Path) -> Result<Findings> {
    let mut findings = observe_once(context, scenarios, endpoint, log)?;
    let has_failed = |(sdk, feature): &Scenario| {
        findings.get(&(*sdk, (*feature).to_owned())).is_none_or(|found| found.ok == Some(false))
    };
    let again: Vec<_> = scenarios.iter().copied().filter(has_failed).collect();
    findings.extend(observe_once(context, &again, endpoint, log)?);
    Ok(findings)
}

/// Side by side: all have topics of their own and wait most of the time.
fn observe_once(context: &Context, scenarios: &[Scenario], endpoint: SocketAddr, log: &Path) -> Result<Findings> {
    let found = shell::side_by_side(scenarios, |&(sdk, feature)| {
        let found = match CALLS.contains(&feature) {
            true => call(context, sdk, feature, endpoint, log),
            false => examples::find_one(context, sdk, feature, endpoint, log),
        };
        Ok(((sdk, feature.to_owned()), found?))
    })?;
    Ok(found.into_iter().collect())
}

fn call(context: &Context, sdk: &str, name: &str, endpoint: SocketAddr, log: &Path) -> Result<Finding> {
    let mut program = beside_example(context, sdk)?;
    examples::found(program.args([name, "--endpoint", &endpoint.to_string()]), name, log)
        .with_context(|| format!("{sdk} {name}"))
}

/// The program that shows what an SDK's example does not.
fn beside_example(context: &Context, sdk: &str) -> Result<Command> {
    Ok(match sdk {
        "go" => Command::new(go::program(context, "proxy")?),
        HEAVY_SDK => {
            let mut java = Command::new("java");
            java.arg("-cp").arg(std::env::join_paths([java_classes(context)?, sdk_jars(context).join("*")])?);
            java.arg("Scenarios");
            java
        }
        _ => python(context, "scenarios.py"),
    })
}

/// What the setup of the Java example has fetched.
fn sdk_jars(context: &Context) -> PathBuf {
    context.workspace.root.join("sdk-examples/java/target/lib")
}

fn java_classes(context: &Context) -> Result<PathBuf> {
    context.workspace.own("matrix-classes")
}

fn start_prolonged(context: &Context, sdk: &str, folder: &Path, endpoint: SocketAddr) -> Result<Process> {
    let endpoint = endpoint.to_string();
    let command = if sdk == "python" {
        let mut command = python(context, "prolonged.py");
        command.args([endpoint, format!("example-{sdk}-{PROLONGED}")]);
        command
    } else {
        let mut command = beside_example(context, sdk)?;
        command.args([PROLONGED, "--endpoint", &endpoint]);
        command
    };
    Process::start("a slow consumer", command, folder.join(format!("prolonged-{sdk}.log")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(ok: Option<bool>) -> Findings {
        let found = Finding { feature: "fifo".to_owned(), ok, detail: "x".to_owned() };
        [(("go", "fifo".to_owned()), found)].into()
    }

    #[test]
    fn only_what_fails_at_apache_too_may_fail() {
        let fails = || findings(Some(false));
        assert!(judge(&[(REFERENCE, fails()), (CELLS[3], fails())]).is_ok());
        let failed = judge(&[(REFERENCE, findings(Some(true))), (CELLS[3], fails())]).expect_err("it is ours");
        assert_eq!(failed.to_string(), "Gantry proxy, Gantry broker: go fifo: x");
        assert!(judge(&[(IN_CI, fails())]).is_err());
        assert!(judge(&[(IN_CI, findings(None))]).is_ok());
    }
}
