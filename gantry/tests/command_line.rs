//! The command line as a contract: the real program, its exit codes, what it prints and when its ports answer.

#![allow(clippy::disallowed_methods, reason = "drives a real process in real time, above every seam of env")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Output;

use support::{Server, folder, gantry, log_of, run};

/// Standard error of a run that must fail with `code`, one line.
#[track_caller]
fn refusal(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("gantry: "), "{text}");
    text
}

#[test]
fn a_bad_flag_is_one_line_and_code_2() {
    let folder = folder();
    let line = refusal(&run(folder.path(), &["local", "--flsh", "sync"]), 2);
    assert!(line.contains("--flsh") && line.contains("--flush"), "{line}");
    let line = refusal(&run(folder.path(), &["local", "--flush", "never"]), 2);
    assert!(line.contains("async or sync"), "{line}");
    assert!(!folder.path().join("gantry-data").exists(), "nothing is made by a start that is refused");
}

#[test]
fn all_faults_of_a_configuration_are_named_at_once() {
    let folder = folder();
    std::fs::write(folder.path().join("f.json"), r#"{"grpc": "x", "flush": 1, "grcp": 2}"#).expect("written");
    let output = run(folder.path(), &["local", "--config", "f.json", "--strict-config", "--http", "y"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), text.lines().count()), (Some(2), 4), "{text}");
    for fault in ["f.json: grpc", "f.json: flush", "unknown key grcp", "--http"] {
        assert!(text.contains(fault), "{text}");
    }
}

#[test]
fn print_config_names_each_origin_and_starts_nothing() {
    let folder = folder();
    std::fs::write(folder.path().join("f.json"), r#"{"flushDiskType": "SYNC_FLUSH"}"#).expect("written");
    let mut command = gantry(folder.path(), &["local", "--config", "f.json", "--data", "d", "--print-config"]);
    let output = command.env("GANTRY_HTTP", "127.0.0.1:9").output().expect("the program starts");
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "flush sync f.json: flushDiskType",
        "http 127.0.0.1:9 GANTRY_HTTP",
        "data d --data",
        "grpc 127.0.0.1:8081 default",
    ] {
        assert!(lines.iter().any(|printed| printed == line), "{line} is not in\n{text}");
    }
    assert!(!folder.path().join("d").exists());
}

#[test]
fn an_address_in_use_says_which_flag_to_change() {
    let folder = folder();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    for (flag, other) in [("--grpc", "--http"), ("--http", "--grpc")] {
        let line = refusal(&run(folder.path(), &["local", flag, &address, other, "127.0.0.1:0"]), 1);
        assert!(line.contains(&address) && line.contains("in use") && line.contains(flag), "{line}");
    }
    assert!(!folder.path().join("gantry-data").exists(), "the address is looked at first");
}

#[test]
fn a_locked_directory_is_refused_until_its_owner_is_gone() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let output = run(folder.path(), &["local", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.contains("in use") && line.contains("--data DIR")), "{text}");
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0));
    Server::start(folder.path());
}

#[test]
fn ports_answer_once_the_server_is_ready_and_not_after() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    assert!(TcpStream::connect(server.grpc).is_ok());
    assert_eq!(server.get("/readyz"), ("HTTP/1.1 200 OK".to_owned(), "ready\n".to_owned()));
    assert!(server.get("/version").1.contains(env!("CARGO_PKG_VERSION")));
    let metrics = server.get("/metrics").1;
    for name in ["rocketmq_messages_in_total{", "rocketmq_topic_number{", "gantry_log_durable_bytes{"] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    server.signal("-INT");
    assert_eq!(server.wait(), Some(0), "{}", log_of(folder.path()));
    assert!(TcpStream::connect(server.grpc).is_err());
    assert!(TcpStream::connect(server.http).is_err());
}

#[test]
fn a_kill_leaves_a_directory_that_can_be_opened() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let url = format!("http://{}", server.http);
    assert!(run(folder.path(), &["admin", "topic", "create", "orders", "--server", &url]).status.success());
    server.signal("-KILL");
    assert_eq!(server.wait(), None);
    let server = Server::start(folder.path());
    let url = format!("http://{}", server.http);
    let listed = run(folder.path(), &["admin", "topic", "list", "--json", "--server", &url]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("\"orders\""));
}

#[test]
fn admin_commands_speak_to_people_and_programs() {
    let folder = folder();
    let server = Server::start(folder.path());
    let url = format!("http://{}", server.http);
    let admin = |words: &str| {
        let mut arguments = vec!["admin", "--server", url.as_str()];
        arguments.extend(words.split(' '));
        run(folder.path(), &arguments)
    };
    let printed = |words: &str| {
        let output = admin(words);
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(printed("topic list").contains("gantry admin topic create"));
    assert!(printed("topic create orders --type fifo --queues 2").contains("FIFO, 2 queues"));
    assert!(refusal(&admin("topic create orders"), 1).contains("gantry admin topic update orders"));
    assert!(printed("topic update orders --queues 3").contains("3 queues"));
    assert!(printed("topic freeze orders --type normal").contains("only NORMAL"));
    assert!(printed("topic describe orders").contains("MESSAGES"));
    assert!(printed("group create workers --retry-exponential 1s,1m,2 --fifo true").contains("in order"));
    assert!(printed("group describe workers").contains("1s, then 2 times as long, at most 1m"));
    assert!(printed("group list --json").contains("\"initialMs\": 1000"));
    assert!(printed("group delete workers").contains("deleted"));
    assert!(refusal(&admin("group describe workers"), 1).contains("does not exist"));
    assert!(printed("topic delete orders").contains("deleted"));
}

#[test]
fn admin_without_a_server_says_how_to_start_one() {
    let folder = folder();
    let output = run(folder.path(), &["admin", "topic", "list", "--server", "http://127.0.0.1:1"]);
    assert!(refusal(&output, 1).contains("gantry local"));
    assert!(refusal(&run(folder.path(), &["admin", "topic", "list", "--server", "nonsense"]), 1).contains("--server"));
}

#[test]
fn help_and_completions_cover_the_flags() {
    let folder = folder();
    let help = run(folder.path(), &["local", "--help"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--print-config"));
    for shell in ["bash", "zsh", "fish"] {
        let script = run(folder.path(), &["completions", shell]);
        assert!(String::from_utf8_lossy(&script.stdout).contains("segment-size"), "{shell}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let folder = folder();
    let server = Server::start(folder.path());
    let url = format!("http://{}", server.http);
    let commands = [
        "store stat gantry-data",
        "store verify gantry-data --json",
        "store dump gantry-data",
        "store check gantry-data",
        "store backup gantry-data --to copy",
        "local --print-config",
        "local --help",
        "completions bash",
        &format!("admin topic list --server {url}"),
        &format!("admin topic create orders --json --server {url}"),
    ];
    for command in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let words: Vec<&str> = command.split(' ').collect();
        let output = gantry(folder.path(), &words).stdout(writer).output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*text), (Some(0), ""), "{command}");
    }
}
