//! `gantry store` on directories that the real program wrote: what it prints, its exit codes, and that backups open.

#![allow(clippy::disallowed_methods, reason = "drives a real process in real time, above every seam of env")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use support::client::Client;
use support::{Server, folder, run};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const DATA: &str = "gantry-data";

/// A folder with the data of a server that took `messages` messages, `0`, `1`, …, and was stopped by `signal`.
fn written(messages: usize, signal: &str) -> TempDir {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut client = Client::connect(server.grpc).await;
        for n in 0..messages {
            client.send(&n.to_string()).await;
        }
    });
    server.signal(signal);
    server.wait();
    folder
}

fn store(folder: &Path, words: &str) -> Output {
    let arguments: Vec<&str> = std::iter::once("store").chain(words.split(' ')).collect();
    run(folder, &arguments)
}

/// Standard output of a command that must end with `code`.
#[track_caller]
fn printed(folder: &Path, words: &str, code: i32) -> String {
    let output = store(folder, words);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{words}: {text}{errors}");
    assert_eq!(errors.lines().count(), usize::from(code != 0), "{errors}");
    text.into_owned()
}

#[track_caller]
fn json_of(folder: &Path, words: &str, code: i32) -> Value {
    serde_json::from_str(&printed(folder, words, code)).expect("JSON")
}

/// The JSON lines of a dump.
fn lines(folder: &Path, words: &str) -> Vec<Value> {
    printed(folder, words, 0).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The bodies of `orders`, in the order of the log.
fn bodies(folder: &Path, data: &str) -> Vec<String> {
    let records = lines(folder, &format!("dump {data} --topic orders --bodies --json"));
    records.iter().map(|record| record["body"].as_str().expect("UTF-8").to_owned()).collect()
}

fn only_file(folder: &Path, sub: &str) -> PathBuf {
    let mut names: Vec<_> = fs::read_dir(folder.join(DATA).join(sub)).expect("there").flatten().collect();
    names.sort_by_key(fs::DirEntry::file_name);
    names.first().expect("a file").path()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("writable");
}

#[test]
fn what_a_server_leaves_is_sound_however_it_ended() {
    for signal in ["-TERM", "-KILL"] {
        let folder = written(40, signal);
        assert!(printed(folder.path(), "verify gantry-data", 0).contains("sound"));
        let report = json_of(folder.path(), "verify gantry-data --json", 0);
        let facts = [&report["sound"], &report["inUse"], &report["damage"], &report["findings"]];
        assert_eq!(facts, [&json!(true), &json!(false), &json!(0), &json!([])], "{signal}");
        assert_eq!(bodies(folder.path(), DATA), (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

#[test]
fn damage_is_named_and_ends_with_code_1() {
    let folder = written(40, "-TERM");
    let checkpoint = only_file(folder.path(), "checkpoints");
    flip(&checkpoint, 30);
    let report = json_of(folder.path(), "verify gantry-data --json", 1);
    let name = checkpoint.file_name().expect("a name").to_string_lossy().into_owned();
    let finding = report["findings"].as_array().and_then(|all| all.iter().find(|one| one["damage"] == true));
    let finding = finding.expect("a finding");
    assert_eq!(finding["file"], format!("checkpoints/{name}"));
    assert_eq!((&finding["meaning"], &finding["problem"]), (&json!("derived"), &json!("damaged")));
    flip(&checkpoint, 30);

    let record = &lines(folder.path(), "dump gantry-data --topic orders --key 7 --json")[0];
    let position = record["position"].as_u64().expect("a number") as usize;
    flip(&only_file(folder.path(), "commitlog"), position + 8);
    let text = printed(folder.path(), "verify gantry-data", 1);
    for words in ["crc of the body", "lost", "take it from a backup", "damaged, findings: "] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    let errors = String::from_utf8_lossy(&store(folder.path(), "verify gantry-data").stderr).into_owned();
    assert!(errors.starts_with("gantry: gantry-data is damaged"), "{errors}");
    let shown = lines(folder.path(), "dump gantry-data --json");
    assert!(shown.iter().any(|line| line["position"] == position && line["damage"].is_string()));
}

#[test]
fn arguments_that_cannot_be_end_with_code_2() {
    let folder = folder();
    fs::create_dir(folder.path().join("empty")).expect("makes");
    let errors = |words: &str, code: i32| {
        let output = store(folder.path(), words);
        assert_eq!(output.status.code(), Some(code), "{words}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for words in ["verify nowhere", "stat nowhere", "dump nowhere", "backup nowhere --to b", "restore nowhere --to b"] {
        let text = errors(words, 2);
        assert!(text.contains("nowhere") && text.lines().count() == 1, "{text}");
    }
    assert!(errors("dump empty --from 5 --to 4", 2).contains("--from 5"));
    assert!(errors("backup empty --to empty/b", 2).contains("--to is inside"));
    assert!(errors("verify", 2).contains("DIR"));
    assert!(errors("verify empty", 1).contains("holds no store"));
}

#[test]
fn a_running_server_is_looked_at_and_not_disturbed() {
    let folder = folder();
    let server = Server::start(folder.path());
    let runtime = Runtime::new().expect("a runtime");
    let mut client = runtime.block_on(Client::connect(server.grpc));
    runtime.block_on(client.send("0"));
    let report = json_of(folder.path(), "verify gantry-data --json", 0);
    assert_eq!((&report["inUse"], &report["sound"]), (&json!(true), &json!(true)));
    assert!(printed(folder.path(), "stat gantry-data", 0).contains("orders"));
    runtime.block_on(client.send("1"));
    assert_eq!(bodies(folder.path(), DATA), ["0", "1"]);
    let second = run(folder.path(), &["local", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use"), "looking ended the lock");
}

#[test]
fn a_dump_shows_records_and_journal_events() {
    let folder = written(5, "-TERM");
    let all = lines(folder.path(), "dump gantry-data --json");
    let events: Vec<&str> =
        all.iter().filter_map(|line| line["events"].as_array()).flatten().filter_map(Value::as_str).collect();
    assert!(events.iter().any(|event| event.starts_with("topic put: orders")), "{events:?}");
    let three = lines(folder.path(), "dump gantry-data --topic orders --limit 3 --json");
    assert_eq!(three.len(), 3);
    let first = &three[0];
    assert_eq!((&first["topic"], &first["bodyBytes"], &first["body"]), (&json!("orders"), &json!(1), &Value::Null));
    assert_eq!((&first["properties"]["KEYS"], &first["properties"]["UNIQ_KEY"]), (&json!("0"), &json!("id-0")));
    let from = three[2]["position"].as_u64().expect("a number");
    let words = format!("dump gantry-data --from {from} --topic orders --json");
    assert_eq!(lines(folder.path(), &words)[0], three[2]);
    for key in ["3", "id-3"] {
        let text = printed(folder.path(), &format!("dump gantry-data --key {key} --bodies"), 0);
        assert!(text.contains("body: 3") && text.contains("KEYS = 3") && !text.contains("body: 2"), "{text}");
    }
    let queue = first["queue"].as_u64().expect("a number");
    let of_queue = lines(folder.path(), &format!("dump gantry-data --topic orders --queue {queue} --json"));
    assert!(of_queue.iter().all(|line| line["queue"] == queue) && of_queue.contains(first));
}

#[test]
fn counts_are_those_of_the_records() {
    let folder = written(20, "-KILL");
    let records = lines(folder.path(), "dump gantry-data --json");
    let stat = json_of(folder.path(), "stat gantry-data --full --json", 0);
    assert_eq!(stat["replay"]["records"], records.len());
    let topics = stat["topics"].as_array().expect("a list");
    let of_topic = |name: &str| topics.iter().find(|topic| topic["topic"] == name).expect("there");
    assert_eq!(of_topic("orders")["records"], 20);
    assert!(of_topic("rmq_sys_gantry_journal")["records"].as_u64() > Some(0));
    let bytes = |record: &Value| record["recordBytes"].as_u64().expect("a number");
    let expected: u64 = records.iter().filter(|record| record["topic"] == "orders").map(bytes).sum();
    assert_eq!(of_topic("orders")["bytes"], expected);
    let quick = json_of(folder.path(), "stat gantry-data --json", 0);
    assert_eq!((&quick["logEnd"], &quick["topics"][0]["bytes"]), (&stat["logEnd"], &Value::Null));
}

#[test]
fn a_backup_under_load_holds_all_that_was_acknowledged_before() {
    let folder = folder();
    let server = Server::start(folder.path());
    let runtime = Runtime::new().expect("a runtime");
    let (acknowledged, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let load = runtime.spawn({
        let (acknowledged, is_over, grpc) = (Arc::clone(&acknowledged), Arc::clone(&is_over), server.grpc);
        async move {
            let mut client = Client::connect(grpc).await;
            while !is_over.load(Ordering::Acquire) {
                client.send(&acknowledged.load(Ordering::Acquire).to_string()).await;
                acknowledged.fetch_add(1, Ordering::AcqRel);
            }
        }
    });
    let mut held = Vec::new();
    for name in ["b0", "b1", "b2"] {
        while acknowledged.load(Ordering::Acquire) < (held.len() + 1) * 100 {
            std::thread::yield_now();
        }
        let before = acknowledged.load(Ordering::Acquire);
        let copied = json_of(folder.path(), &format!("backup gantry-data --to {name} --verify --json"), 0);
        assert_eq!(copied["verified"], true);
        assert_eq!(json_of(folder.path(), "verify gantry-data --json", 0)["findings"], json!([]), "beside the load");
        held.push((name, before));
    }
    is_over.store(true, Ordering::Release);
    runtime.block_on(load).expect("the load goes on all the while");
    drop(server);
    for (name, before) in held {
        let found = bodies(folder.path(), name);
        assert!(found.len() >= before, "{name} has {} of {before}", found.len());
        assert!(found.iter().enumerate().all(|(n, body)| *body == n.to_string()), "{name}");
    }
    restored_opens(folder.path(), "b2");
}

/// Restores a backup into a folder of its own, and starts a server on it that has all of it and takes more.
fn restored_opens(folder: &Path, name: &str) {
    let expected = bodies(folder, name);
    assert!(printed(folder, &format!("restore {name} --to elsewhere/gantry-data"), 0).contains("sound"));
    let again = store(folder, &format!("restore {name} --to elsewhere/gantry-data"));
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("not empty"));
    let elsewhere = folder.join("elsewhere");
    let server = Server::start(&elsewhere);
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async { Client::connect(server.grpc).await.send("more").await });
    let found = bodies(&elsewhere, DATA);
    assert_eq!((&found[..expected.len()], found.last().map(String::as_str)), (&expected[..], Some("more")));
}

#[test]
fn a_backup_has_which_groups_pop() {
    let folder = written(1, "-TERM");
    let modes = "config/messageRequestMode.json";
    let config = folder.path().join(DATA).join(modes);
    fs::create_dir_all(config.parent().expect("it has one")).expect("made");
    fs::write(&config, r#"{"messageRequestModeMap":{}}"#).expect("written");
    printed(folder.path(), "backup gantry-data --to b --verify", 0);
    printed(folder.path(), "restore b --to restored", 0);
    let restored = fs::read_to_string(folder.path().join("restored").join(modes)).expect("restored");
    assert_eq!(restored, r#"{"messageRequestModeMap":{}}"#);
}

#[test]
fn a_damaged_backup_is_not_restored() {
    let folder = written(10, "-TERM");
    printed(folder.path(), "backup gantry-data --to b", 0);
    let segment = folder.path().join("b/commitlog/00000000000000000000");
    flip(&segment, 8);
    let refused = store(folder.path(), "restore b --to c");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("b is damaged") && text.contains("crc of the body"), "{text}");
    assert!(!folder.path().join("c").exists());
}

#[test]
fn help_tells_a_newcomer_what_to_type() {
    let folder = folder();
    let help = String::from_utf8_lossy(&run(folder.path(), &["store", "--help"]).stdout).into_owned();
    for words in ["verify", "dump", "stat", "backup", "restore", "gantry store verify gantry-data", "exit code"] {
        assert!(help.contains(words), "{words} is not in\n{help}");
    }
}

#[test]
fn a_start_refuses_to_cut_off_what_was_durable_unless_told_to() {
    let folder = written(20, "-TERM");
    let log = folder.path().join(DATA).join("commitlog/00000000000000000000");
    // The second half of the log is gone.
    let records = lines(folder.path(), &format!("dump {DATA} --json"));
    let at = records[records.len() / 2]["position"].as_u64().expect("a number");
    let file = fs::File::options().write(true).open(&log).expect("there");
    let bytes = file.metadata().expect("there").len();
    file.set_len(at).and_then(|()| file.set_len(bytes)).expect("cut");
    let output = run(folder.path(), &["local", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let wanted = format!("--accept-loss {at}");
    for part in ["00000000000000000000 is damaged", "nothing is written here", "checkpoints", "restore", &wanted] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    let report = json_of(folder.path(), &format!("verify {DATA} --json"), 1);
    let refused = report["findings"].as_array().expect("a list").iter().find(|finding| finding["meaning"] == "refused");
    assert_eq!(refused.expect("refused")["position"], at);
    let mut server = Server::start_with(folder.path(), &["--accept-loss", &at.to_string()]);
    assert!(support::log_of(folder.path()).contains("a loss is accepted"), "{}", support::log_of(folder.path()));
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
    drop(Server::start(folder.path()));
}

/// On the real disk, with the real clock: the log's front goes while the server runs.
#[test]
fn old_segments_go_and_what_is_left_is_sound() {
    let folder = folder();
    let hours: Vec<String> = (0..24).map(|hour| format!("{hour:02}")).collect();
    let flags = ["--segment-size", "8MiB", "--file-reserved-time", "1s", "--delete-when", &hours.join(";")];
    let mut server = Server::start_with(folder.path(), &flags);
    let segments = || fs::read_dir(folder.path().join(DATA).join("commitlog")).expect("there").flatten();
    let first_is_there = || segments().any(|segment| segment.file_name() == "00000000000000000000");
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut client = Client::connect(server.grpc).await;
        for n in 0..900 {
            client.send(&format!("{n:010000}")).await;
        }
        let began = std::time::Instant::now();
        while first_is_there() {
            assert!(began.elapsed().as_secs() < 60, "nothing goes: {}", support::log_of(folder.path()));
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let first = |words| json_of(folder.path(), words, 0)["logFirst"].as_u64();
    assert!(printed(folder.path(), "verify gantry-data", 0).contains("sound"));
    assert!(first("stat gantry-data --json").is_some_and(|first| first > 0));
    printed(folder.path(), "backup gantry-data --to copy --verify", 0);
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.lines().any(|line| line.starts_with("gantry_log_segments_expired_total") && !line.ends_with(" 0")));
    server.signal("-KILL");
    server.wait();
    assert!(printed(folder.path(), "verify gantry-data", 0).contains("sound"));
    fs::remove_dir_all(folder.path().join(DATA).join("checkpoints")).expect("removed");
    fs::remove_dir_all(folder.path().join(DATA).join("queueindex")).expect("removed");
    let mut server = Server::start(folder.path());
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async { Client::connect(server.grpc).await.send("new").await });
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
    assert!(bodies(folder.path(), DATA).contains(&"new".to_owned()));
}
