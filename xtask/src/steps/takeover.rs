//! Directories to and fro, with Apache's own jars: Apache's broker fills one, we take it over, an official client goes on in it,
//! we hand it back, Apache's broker opens it, and the 4.x client pulls every message, which is compared byte by byte. The same
//! for a directory that was ours from the beginning.
//!
//! The programs are those in `tests/takeover/java`; what each leaves for the next is told at their heads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::plan::{Context, Done};
use crate::reference;
use crate::server::{self, Server};
use crate::shell::{self, To};
use crate::workspace::clear;

/// Segments as `Fill` makes them.
const SEGMENT_BYTES: &str = "65536";
/// How long after they were sent the delayed messages of `Fill` are due: while our server runs.
const FILL_DELAY_MS: &str = "60000";
/// How long its pops are invisible: they end while our server runs.
const FILL_INVISIBLE_MS: &str = "45000";
/// How long Apache's broker runs before the messages are pulled: `Use` leaves one that is due two minutes after its start.
const READ_AFTER_SECONDS: &str = "110";
/// Segments of a directory of ours.
const OWN_SEGMENT_BYTES: &str = "67108864";
/// What is left to Apache's broker to deliver, and what it knows of groups.
const DELIVERED: [(&str, &[u8]); 2] = [("deals", b"undecided"), ("late", b"later")];
const KNOWN: [&str; 5] = [
    "check undecided",
    "offset plain readers 0 41",
    "offset plain readers 1 42",
    "offset plain readers 2 43",
    "offset popped poppers 0 4",
];

/// A message: body and unique key, by topic, queue and offset.
type Messages = BTreeMap<(String, u64, u64), (Vec<u8>, String)>;

/// Both rounds, about six minutes.
pub(super) fn run(context: &Context) -> Result<Done> {
    if !context.is_full {
        println!("only with --full; directories that Apache's jars left are looked at by the unit tests");
        return Ok(Done::Passed);
    }
    let log = context.workspace.own("logs/takeover.log")?;
    // A log tells of one run.
    fs::write(&log, "")?;
    let sdk = context.workspace.root.join("sdk-examples/java");
    if shell::run(Command::new("./setup").current_dir(&sdk), To::File(&log)).is_err() {
        let reason = shell::tail(&log, 1).pop().unwrap_or_default();
        return Ok(Done::Skipped { reason: format!("{reason} (all of it: {})", log.display()) });
    }
    let folder = context.workspace.own("takeover")?;
    clear(&folder)?;
    let round = Round { context, gantry: server::build(context)?, sdk, log, folder };
    round.compile()?;
    round.apaches().and_then(|()| round.ours()).with_context(|| format!("data kept: {}", round.folder.display()))?;
    clear(&round.folder)?;
    Ok(Done::Passed)
}

struct Round<'a> {
    context: &'a Context,
    gantry: PathBuf,
    /// The Java SDK's example.
    sdk: PathBuf,
    log: PathBuf,
    folder: PathBuf,
}

impl Round<'_> {
    /// A directory that Apache's broker made.
    fn apaches(&self) -> Result<()> {
        let data = self.folder.join("apaches");
        self.apache("Fill", &[path(&data), "clean".into(), FILL_DELAY_MS.into(), FILL_INVISIBLE_MS.into()])?;
        self.gantry(&["store", "import"], &data)?;
        self.serve(&data, |endpoint| {
            let mut java = Command::new("java");
            let classes = format!("{}:{}", path(&self.classes()), path(&self.sdk.join("target/lib/*")));
            java.arg(format!("-Duser.home={}", path(&self.folder))).args(["-cp", &classes, "Use", endpoint]);
            java
        })?;
        self.read_back(&data, SEGMENT_BYTES, READ_AFTER_SECONDS, &DELIVERED, &KNOWN)
    }

    /// A directory that was ours from the beginning.
    fn ours(&self) -> Result<()> {
        let data = self.folder.join("ours");
        self.serve(&data, |endpoint| {
            let mut example = Command::new("./run");
            example.args(["all", "--endpoint", endpoint]).current_dir(&self.sdk);
            example
        })?;
        self.read_back(&data, OWN_SEGMENT_BYTES, "5", &[], &[])
    }

    /// Hands a directory back and compares what Apache's broker has in it.
    fn read_back(
        &self,
        data: &Path,
        segment_bytes: &str,
        after_seconds: &str,
        delivered: &[(&str, &[u8])],
        known: &[&str],
    ) -> Result<()> {
        self.gantry(&["store", "verify"], data)?;
        let stored = messages_of_dump(&self.gantry(&["store", "dump", "--bodies", "--json"], data)?)?;
        self.gantry(&["store", "hand-back"], data)?;
        let report = data.with_extension("report");
        self.apache("Read", &[path(data), segment_bytes.into(), after_seconds.into(), path(&report)])?;
        compare(&stored, &fs::read_to_string(&report).context("the report of Read")?, delivered, known)
    }

    fn classes(&self) -> PathBuf {
        self.folder.join("classes")
    }

    fn compile(&self) -> Result<()> {
        let sources = self.context.workspace.root.join("tests/takeover/java");
        let sdk_jars = self.sdk.join("target/lib");
        for (names, jars) in [(&["Apache", "Fill", "Read"][..], reference::jars()?), (&["Use"][..], sdk_jars)] {
            let mut javac = Command::new("javac");
            javac.args(["-nowarn", "-d"]).arg(self.classes()).arg("-cp").arg(jars.join("*"));
            javac.args(names.iter().map(|name| sources.join(format!("{name}.java"))));
            shell::run(&mut javac, To::File(&self.log))?;
        }
        Ok(())
    }

    /// Runs a program of ours on Apache's jars.
    fn apache(&self, program: &str, arguments: &[String]) -> Result<()> {
        let mut java = reference::java("takeover", &[&self.classes()])?;
        shell::run(java.arg(program).args(arguments), To::File(&self.log))
    }

    /// Runs `gantry` on a directory and answers what it prints.
    fn gantry(&self, arguments: &[&str], data: &Path) -> Result<String> {
        let (printed, has_succeeded) = shell::output(Command::new(&self.gantry).args(arguments).arg(data), &self.log)?;
        ensure!(has_succeeded, "gantry {} failed: {printed}", arguments.join(" "));
        Ok(printed)
    }

    /// Serves a directory to a program.
    fn serve(&self, data: &Path, program: impl Fn(&str) -> Command) -> Result<()> {
        let server = Server::start_on(self.context, "takeover", data)?;
        shell::run(&mut program(&server.grpc().to_string()), To::File(&self.log))?;
        server.stop()
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// The messages of all topics but the system's.
fn messages_of_dump(dump: &str) -> Result<Messages> {
    let mut messages = Messages::new();
    for line in dump.lines() {
        let record: Value = serde_json::from_str(line)?;
        let topic = record["topic"].as_str().unwrap_or_default();
        let is_system = ["rmq_sys_", "RMQ_SYS_", "SCHEDULE_TOPIC_XXXX"].iter().any(|prefix| topic.starts_with(prefix));
        if is_system {
            continue;
        }
        let body = match (record["body"].as_str(), record["bodyBase64"].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, base64) => BASE64.decode(base64.context("a record without body")?)?,
        };
        let number = |name: &str| record[name].as_u64().with_context(|| format!("no {name}: {line}"));
        let key = record["properties"]["UNIQ_KEY"].as_str().unwrap_or_default().to_owned();
        messages.insert((topic.to_owned(), number("queue")?, number("queueOffset")?), (body, key));
    }
    Ok(messages)
}

/// Apache's broker has every message where it was, delivers what was left to it, and knows where the groups are.
fn compare(stored: &Messages, report: &str, delivered: &[(&str, &[u8])], known: &[&str]) -> Result<()> {
    let lines: Vec<Vec<&str>> = report.lines().map(|line| line.split('\t').collect()).collect();
    let mut pulled = Messages::new();
    for line in &lines {
        if let ["message", topic, queue, offset, body, key, ..] = line.as_slice() {
            pulled.insert(
                ((*topic).to_owned(), queue.parse()?, offset.parse()?),
                (BASE64.decode(body)?, (*key).to_owned()),
            );
        }
    }
    ensure!(!stored.is_empty(), "no messages were stored");
    for (place, message) in stored {
        let found = pulled.remove(place).with_context(|| format!("{place:?} is not there"))?;
        ensure!(found == *message, "{place:?} differs: {found:?}, not {message:?}");
    }
    let left: Vec<_> = pulled.iter().map(|((topic, ..), (body, _))| (topic.as_str(), body.as_slice())).collect();
    ensure!(left == delivered, "delivered by Apache: {left:?}");
    let lines: BTreeSet<String> = lines.iter().map(|line| line.join(" ")).collect();
    for line in known {
        ensure!(lines.contains(*line), "the report of Read has no line {line:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(count: u64) -> Messages {
        (0..count).map(|n| (("plain".to_owned(), 0, n), (vec![0xff, 1], "key".to_owned()))).collect()
    }

    fn report(count: u64) -> String {
        let messages = (0..count).map(|n| format!("message\tplain\t0\t{n}\t/wE=\tkey\tk\tt\n"));
        let rest = "message\tdeals\t0\t0\tdW5kZWNpZGVk\t\t\t\nmessage\tlate\t0\t0\tbGF0ZXI=\t\t\t\ncheck\tundecided\n\
                    offset\tplain\treaders\t0\t41\noffset\tplain\treaders\t1\t42\noffset\tplain\treaders\t2\t43\n\
                    offset\tpopped\tpoppers\t0\t4\n";
        messages.chain([rest.to_owned()]).collect()
    }

    #[test]
    fn every_byte_of_every_message_counts() {
        let holds = |stored_count, report: &str| compare(&stored(stored_count), report, &DELIVERED, &KNOWN).is_ok();
        assert!(holds(4, &report(4)));
        assert!(!holds(5, &report(4)));
        assert!(!holds(4, &report(5)));
        assert!(!holds(4, &report(4).replacen("/wE=", "/wI=", 1)));
        assert!(!holds(4, &report(4).replace("\t4\n", "\t5\n")));
    }

    #[test]
    fn a_dump_tells_bodies_as_text_and_as_base64() {
        let dump = r#"{"topic":"t","queue":1,"queueOffset":2,"properties":{"UNIQ_KEY":"k"},"body":"x"}
            {"topic":"t","queue":1,"queueOffset":3,"properties":{},"bodyBase64":"/wE="}
            {"topic":"rmq_sys_gantry_journal","queue":0,"queueOffset":0,"properties":{},"body":""}"#;
        let messages = messages_of_dump(dump).expect("a dump");
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[&("t".to_owned(), 1, 2)], (b"x".to_vec(), "k".to_owned()));
        assert_eq!(messages[&("t".to_owned(), 1, 3)].0, [0xff, 1]);
    }
}
