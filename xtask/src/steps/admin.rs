//! The cluster verbs of `gantry admin`: on two `gantry broker` behind a `gantry nameserver`, with `--full` on Apache's too, that were filled
//! with known messages, offsets and clients, what they print as JSON is what is known. A broker that does not answer is named, and the
//! exit code says so. The commands of `docs/operations.md` are among those that are run.

mod filled;
mod script;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use remoting_proto::{Fields, RequestCode};
use serde_json::Value;

use super::replication::wait;
use crate::cluster::Cluster;
use crate::plan::{Context, Done};
use crate::workspace::clear;
use crate::{apache, reference, remoting, server};
use filled::Filled;
use script::{ALONE, Asked, FILLED, MADE};

const BROKERS: [&str; 2] = ["broker-a", "broker-b"];
/// The page whose commands are run.
const PAGE: &str = "docs/operations.md";
/// What a command of a cluster begins with there.
const PROMPT: &str = "gantry admin ";

/// A quarter of a minute; with Apache's cluster a minute and a half.
pub(super) fn run(context: &Context) -> Result<Done> {
    let page = fs::read_to_string(context.workspace.root.join(PAGE)).context(PAGE)?;
    documented(&page)?;
    let gantry = server::build(context)?;
    let folder = context.workspace.own("admin")?;
    clear(&folder)?;
    ours(&folder, &gantry).with_context(|| format!("ours; data kept: {}", folder.display()))?;
    if context.is_full {
        if let Err(error) = reference::jars() {
            return Ok(Done::Skipped { reason: format!("Apache's jars cannot be had: {error:#}") });
        }
        apaches(&folder, &gantry).with_context(|| format!("Apache's; data kept: {}", folder.display()))?;
    }
    clear(&folder)?;
    Ok(Done::Passed)
}

fn ours(folder: &Path, gantry: &Path) -> Result<()> {
    let folder = folder.join("ours");
    clear(&folder)?;
    let cluster = Cluster::start(&folder, gantry, &BROKERS)?;
    let [a, b] = cluster.broker_addresses()[..] else { bail!("two brokers were started") };
    show(gantry, cluster.name_server(), [a, b])?;
    cluster.stop()
}

fn apaches(folder: &Path, gantry: &Path) -> Result<()> {
    let folder = folder.join("apaches");
    clear(&folder)?;
    let (_names, name_server) = apache::name_server(&folder)?;
    // Ours make the topic of traces when the first comes.
    let traces = "traceTopicEnable=true";
    let (_a, a) = apache::broker(&folder, BROKERS[0], &[name_server], traces)?;
    let (_b, b) = apache::broker(&folder, BROKERS[1], &[name_server], traces)?;
    // Before it has looked at itself for the first time it says it to nobody.
    for broker in [a, b] {
        let asked = || remoting::call(broker, RequestCode::GetBrokerRuntimeInfo, Fields::default(), Bytes::new());
        wait("a broker says how it is", || Ok(asked().is_ok()))?;
    }
    show(gantry, name_server, [a, b])
}

fn show(gantry: &Path, name_server: SocketAddr, brokers: [SocketAddr; 2]) -> Result<()> {
    let mut filled = Filled::new(name_server, brokers)?;
    run_all(gantry, &filled, MADE)?;
    let clients = filled.fill()?;
    run_all(gantry, &filled, FILLED)?;
    drop(clients);
    let gone = filled.register_gone()?;
    run_all(gantry, &filled, ALONE)?;
    drop(gone);
    Ok(())
}

fn run_all(gantry: &Path, filled: &Filled, commands: &[(&str, Asked)]) -> Result<()> {
    for (command, asked) in commands {
        let printed = ask(gantry, filled, command).with_context(|| (*command).to_owned())?;
        asked.of(filled, &printed).with_context(|| format!("{command} prints {}", printed.text()))?;
    }
    Ok(())
}

/// All commands that are run.
fn commands() -> impl Iterator<Item = &'static str> {
    [MADE, FILLED, ALONE].into_iter().flatten().map(|(command, _)| *command)
}

/// What a command printed.
struct Printed {
    json: String,
    errors: String,
    has_succeeded: bool,
}

impl Printed {
    fn text(&self) -> String {
        format!("{}\n{}", self.json, self.errors)
    }
}

/// Runs a command with `--json`.
fn ask(gantry: &Path, filled: &Filled, command: &str) -> Result<Printed> {
    let mut admin = Command::new(gantry);
    admin.args(["admin", "--json", "--nameserver", &filled.name_server().to_string()]);
    let output = admin.args(command.split(' ').map(|word| filled.put_in(word))).output()?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("what is printed is text");
    Ok(Printed { json: text(output.stdout)?, errors: text(output.stderr)?, has_succeeded: output.status.success() })
}

/// All commands of the page that ask a cluster are run.
fn documented(page: &str) -> Result<()> {
    let others = ["topic", "group", "message"];
    let lines = page.lines().filter_map(|line| line.trim().strip_prefix(PROMPT));
    let shown: Vec<&str> = lines.map(|line| line.split("  ").next().unwrap_or(line).trim()).collect();
    let of_cluster: Vec<&&str> =
        shown.iter().filter(|command| !others.contains(&command.split(' ').next().unwrap_or_default())).collect();
    ensure!(of_cluster.len() > 10, "{PAGE} has {} commands of a cluster", of_cluster.len());
    for command in of_cluster {
        ensure!(commands().any(|run| run == *command), "{PAGE} has {PROMPT}{command}, which is not run");
    }
    Ok(())
}

/// Whether `found` says all that `expected` says: members may be more, lists must be as long, unless they begin with `"..."`: then each
/// of the others is somewhere in it. `"*"` is anything.
fn says(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (_, Value::String(any)) if any == "*" => true,
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(name, expected)| found.get(name).is_some_and(|found| says(found, expected)))
        }
        (Value::Array(found), Value::Array(expected)) => match expected.split_first() {
            Some((Value::String(mark), some)) if mark == "..." => {
                some.iter().all(|expected| found.iter().any(|found| says(found, expected)))
            }
            _ => {
                found.len() == expected.len()
                    && found.iter().zip(expected).all(|(found, expected)| says(found, expected))
            }
        },
        (found, expected) => found == expected,
    }
}

impl Asked {
    fn of(&self, filled: &Filled, printed: &Printed) -> Result<()> {
        let expected = |text: &str| -> Result<Value> {
            serde_json::from_str(&filled.put_in(text)).with_context(|| format!("expected is no JSON: {text}"))
        };
        match self {
            Self::Says(text) => {
                ensure!(printed.has_succeeded, "it fails");
                ensure!(says(&serde_json::from_str(&printed.json)?, &expected(text)?), "it does not say {text}");
            }
            Self::Lacks(text) => {
                ensure!(printed.has_succeeded, "it fails");
                ensure!(!says(&serde_json::from_str(&printed.json)?, &expected(text)?), "it says {text}");
            }
            Self::Lines(lines) => {
                ensure!(printed.has_succeeded, "it fails");
                let found: Vec<Value> = printed.json.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
                let expected: Vec<Value> = lines.iter().map(|line| expected(line)).collect::<Result<_>>()?;
                ensure!(says(&Value::Array(found), &Value::Array(expected)), "it does not say {lines:?}");
            }
            Self::Misses(text) => {
                ensure!(!printed.has_succeeded, "it succeeds, though a broker does not answer");
                ensure!(says(&serde_json::from_str(&printed.json)?, &expected(text)?), "it does not say {text}");
            }
            Self::Fails(words) => {
                ensure!(!printed.has_succeeded, "it succeeds");
                for word in *words {
                    ensure!(printed.errors.contains(&filled.put_in(word)), "it does not say {word:?}");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_expected_must_be_said() {
        let found = json!({"a": 1, "b": [{"c": 2, "d": 3}, {"c": 4}], "e": "x"});
        for said in [json!({}), json!({"a": 1}), json!({"a": "*"}), json!({"b": ["...", {"c": 4}]}), found.clone()] {
            assert!(says(&found, &said), "{said}");
        }
        let unsaid = [json!({"a": 2}), json!({"f": "*"}), json!({"b": [{"c": 2}]}), json!({"b": ["...", {"c": 5}]})];
        for unsaid in unsaid {
            assert!(!says(&found, &unsaid), "{unsaid}");
        }
    }

    #[test]
    fn a_command_of_the_page_that_is_not_run_is_found() {
        let page: String = commands().map(|command| format!("gantry admin {command}  what\n")).collect();
        documented(&page).expect("all are run");
        documented(&format!("{page}gantry admin topic list\n")).expect("no command of a cluster");
        assert!(documented(&format!("{page}gantry admin clusterLists\n")).is_err());
        assert!(documented("").is_err());
    }
}
