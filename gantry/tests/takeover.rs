//! `gantry store check` on directories that Apache RocketMQ 5.5.0 wrote, stopped cleanly and killed, and what
//! `gantry local` does with them. How they were made, and what is in them: `tests/takeover/README.md`.

#![allow(clippy::disallowed_methods, reason = "drives a real process in real time, above every seam of env")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{Server, folder, run};
use tempfile::TempDir;

/// A folder in which `apache` is the directory of a broker that ended so.
fn written(end: &str) -> TempDir {
    let folder = folder();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/takeover");
    let archive = root.join(format!("apache-5.5.0-{end}.tar.gz"));
    let unpacked = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder.path()).status();
    assert!(unpacked.expect("tar runs").success());
    folder
}

#[track_caller]
fn check(folder: &Path, code: i32) -> Value {
    let output = run(folder, &["store", "check", "apache", "--json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert_eq!(errors.lines().count(), usize::from(code != 0), "{errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// All files below a directory, with their content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("listed").flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.insert(path.clone(), fs::read(path).expect("readable"));
            }
        }
    }
    found
}

#[test]
fn all_that_waits_in_apaches_directory_is_counted_however_it_ended() {
    for end in ["clean", "kill"] {
        let folder = written(end);
        let before = files(&folder.path().join("apache"));
        let view = check(folder.path(), 0);
        assert_eq!(files(&folder.path().join("apache")), before, "{end}: it only looks");
        assert_eq!((&view["writer"], &view["refusals"]), (&json!("apache"), &json!([])), "{end}");
        let pending = json!({"delayLevelMessages": 2, "timerMessages": 3, "halfMessages": 3, "unackedPops": 4});
        assert_eq!(view["pending"], pending, "{end}");
        assert_eq!(view["segmentBytes"], 65536, "{end}");
        let dump = run(folder.path(), &["store", "dump", "apache", "--topic", "plain", "--bodies", "--json"]);
        let dumped = String::from_utf8_lossy(&dump.stdout);
        let records = dumped.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let found = records.map(|record| [&record["queue"], &record["queueOffset"], &record["body"]].map(Value::clone));
        let sent = (0..300).map(|n| [json!(n % 3), json!(n / 3), json!(format!("body-{n}-{}", "x".repeat(n)))]);
        assert_eq!(found.collect::<Vec<_>>(), sent.collect::<Vec<_>>(), "{end}");

        let offset = |queue: u64| json!({"group": "readers", "topic": "plain", "queue": queue, "offset": 40 + queue});
        let offsets = view["offsets"].as_array().expect("a list");
        assert!((0..3).all(|queue| offsets.contains(&offset(queue))), "{end}: {offsets:?}");
        let named = |list: &str, name: &str| {
            let found = view[list].as_array().and_then(|all| all.iter().find(|one| one["name"] == name)).cloned();
            found.unwrap_or_else(|| panic!("{end}: no {name}"))
        };
        for (topic, kind) in [("plain", "NORMAL"), ("ordered", "FIFO"), ("late", "DELAY"), ("deals", "TRANSACTION")] {
            let found = named("topics", topic);
            assert_eq!((&found["messageType"], &found["readQueues"]), (&json!(kind), &json!(3)), "{end}");
        }
        assert_eq!(named("topics", "any")["messageType"], "MIXED", "{end}");
        assert_eq!(named("topics", "%RETRY%readers")["writeQueues"], 1, "{end}");
        let readers = named("groups", "readers");
        assert_eq!((&readers["attemptsMax"], &readers["isFifo"]), (&json!(6), &json!(true)), "{end}");
    }
}

#[test]
fn reasons_against_a_takeover_are_named_and_end_with_code_1() {
    let folder = written("clean");
    fs::create_dir(folder.path().join("apache/dledger-n0")).expect("made");
    fs::write(folder.path().join("apache/config/topics.json"), "{").expect("written");
    fs::remove_file(folder.path().join("apache/config/topics.json.bak")).expect("removed");
    let refusals = check(folder.path(), 1)["refusals"].to_string();
    assert!(refusals.contains("enableDLegerCommitLog") && refusals.contains("config/topics.json"), "{refusals}");
    let text = run(folder.path(), &["store", "check", "apache"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("dledger-n0/"));
}

#[test]
fn directories_of_others_are_told_apart() {
    let folder = folder();
    assert_eq!(run(folder.path(), &["store", "check", "apache"]).status.code(), Some(2));
    fs::create_dir(folder.path().join("apache")).expect("made");
    assert_eq!(check(folder.path(), 1)["writer"], "none");
    fs::write(folder.path().join("apache/format"), "gantry-store 1\nsegment_bytes 67108864\n").expect("written");
    assert_eq!(check(folder.path(), 0)["writer"], "gantry");
}

#[test]
fn a_server_leaves_apaches_directory_as_it_is() {
    let folder = written("kill");
    let before = files(&folder.path().join("apache"));
    let ports = ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let arguments: Vec<&str> = ["local", "--data", "apache"].into_iter().chain(ports).collect();
    let output = run(folder.path(), &arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("gantry store check"), "{errors}");
    assert_eq!(files(&folder.path().join("apache")), before);
}

#[test]
fn a_server_goes_on_with_a_directory_that_was_imported() {
    for end in ["clean", "kill"] {
        let folder = written(end);
        let imported = run(folder.path(), &["store", "import", "apache", "--json"]);
        let errors = String::from_utf8_lossy(&imported.stderr);
        assert_eq!(imported.status.code(), Some(0), "{errors}");
        let view: Value = serde_json::from_slice(&imported.stdout).expect("JSON");
        assert_eq!((&view["offsets"], &view["pending"]["unackedPops"]), (&json!(4), &json!(4)), "{end}");
        assert_eq!(check(folder.path(), 0)["writer"], "gantry", "{end}");
        let verified = run(folder.path(), &["store", "verify", "apache"]);
        assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
        let again = run(folder.path(), &["store", "import", "apache"]);
        assert_eq!(again.status.code(), Some(1), "{end}");
        assert!(String::from_utf8_lossy(&again.stderr).contains("already"), "{end}");
        fs::rename(folder.path().join("apache"), folder.path().join("gantry-data")).expect("renamed");
        let mut server = Server::start(folder.path());
        server.signal("-TERM");
        assert_eq!(server.wait(), Some(0), "{end}");

        fs::rename(folder.path().join("gantry-data"), folder.path().join("apache")).expect("renamed");
        let handed_back = run(folder.path(), &["store", "hand-back", "apache", "--json"]);
        let errors = String::from_utf8_lossy(&handed_back.stderr);
        assert_eq!(handed_back.status.code(), Some(0), "{errors}");
        let view: Value = serde_json::from_slice(&handed_back.stdout).expect("JSON");
        assert_eq!((&view["segmentBytes"], &view["halfMessages"]), (&json!(65536), &json!(3)), "{end}");
        assert_eq!(check(folder.path(), 0)["writer"], "apache", "{end}");
        let again = run(folder.path(), &["store", "hand-back", "apache"]);
        assert_eq!(again.status.code(), Some(1), "{end}");
        assert!(String::from_utf8_lossy(&again.stderr).contains("already"), "{end}");
    }
}
