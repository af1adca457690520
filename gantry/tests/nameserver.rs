//! `gantry nameserver` as a process: its flags, its files, when its port answers.

#![allow(clippy::disallowed_methods, reason = "drives a real process in real time, above every seam of env")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::net::{TcpListener, TcpStream};
use std::path::Path;

use remoting_proto::{RequestCode, ResponseCode};
use support::remoting::{ask, ask_with, start_role};
use support::{Server, folder, log_of, run};

/// Starts one on a port that the system chose; on return it serves.
fn start(folder: &Path, more: &[&str]) -> Server {
    start_role(folder, &[&["nameserver", "--listen", "127.0.0.1:0"], more].concat())
}

#[test]
fn it_answers_until_it_is_told_to_stop_and_keeps_what_operators_set() {
    let folder = folder();
    let mut server = start(folder.path(), &[]);
    let pair = [("namespace", "n"), ("key", "k"), ("value", "v")];
    assert_eq!(ask(server.grpc, RequestCode::PutKvConfig, &pair).response_code(), ResponseCode::Success);
    let output = run(folder.path(), &["nameserver", "--listen", "127.0.0.1:0"]);
    let refused = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{refused}");
    assert!(refused.contains("in use") && refused.contains("--data DIR"), "{refused}");
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0), "{}", log_of(folder.path()));
    assert!(TcpStream::connect(server.grpc).is_err());

    let mut server = start(folder.path(), &[]);
    assert_eq!(ask(server.grpc, RequestCode::GetKvConfig, &pair).fields.get("value"), Some("v"));
    server.signal("-KILL");
    assert_eq!(server.wait(), None);
    assert_eq!(start(folder.path(), &[]).child.try_wait().expect("a child"), None, "a kill leaves nothing locked");
}

#[test]
fn it_says_over_http_that_it_is_ready_and_what_it_knows() {
    let folder = folder();
    let mut server = start(folder.path(), &["--http", "127.0.0.1:0"]);
    for path in ["/livez", "/readyz", "/version"] {
        let (status, body) = server.get(path);
        assert!(status.contains("200"), "{path}: {status} {body}");
    }
    assert!(server.get("/v1/admin/topics").0.contains("404"));
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("gantry_nameserver_brokers{node_type=\"nameserver\"} 0"), "{metrics}");
    server.signal("-TERM");
    assert_eq!(server.wait(), Some(0), "{}", log_of(folder.path()));
}

#[test]
fn what_was_changed_while_it_ran_holds_over_a_restart() {
    let folder = folder();
    let mut server = start(folder.path(), &[]);
    let changed = ask_with(server.grpc, RequestCode::UpdateNamesrvConfig, &[], b"orderMessageEnable=true\n");
    assert_eq!(changed.response_code(), ResponseCode::Success);
    server.signal("-KILL");
    server.wait();
    let server = start(folder.path(), &[]);
    let shown = ask(server.grpc, RequestCode::GetNamesrvConfig, &[]);
    assert!(String::from_utf8_lossy(&shown.body).contains("orderMessageEnable=true\n"));
}

#[test]
fn apaches_file_is_taken_and_shown_with_its_origin() {
    let folder = folder();
    std::fs::write(folder.path().join("namesrv.conf"), "listenPort=9877\nsupportActingMaster=true\n").expect("written");
    let printed = run(folder.path(), &["nameserver", "--config", "namesrv.conf", "--print-config"]);
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    let lines: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in
        ["listen 0.0.0.0:9877 namesrv.conf: listenPort", "supportActingMaster true namesrv.conf: supportActingMaster"]
    {
        assert!(lines.iter().any(|printed| printed == line), "{line} is not in\n{text}");
    }
    let server = start(folder.path(), &["--config", "namesrv.conf", "--kv-config-path", "kv/own.json"]);
    let shown = ask(server.grpc, RequestCode::GetNamesrvConfig, &[]);
    let shown = String::from_utf8_lossy(&shown.body).into_owned();
    assert!(shown.contains("supportActingMaster=true\n"), "{shown}");
    assert!(shown.contains(&format!("listenPort={}\n", server.grpc.port())), "{shown}");
    ask(server.grpc, RequestCode::PutKvConfig, &[("namespace", "n"), ("key", "k"), ("value", "v")]);
    let kept = std::fs::read_to_string(folder.path().join("kv/own.json")).expect("written");
    assert!(kept.contains("configTable"), "{kept}");
}

#[test]
fn what_is_wrong_is_one_line_each() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    std::fs::write(folder.path().join("kv.json"), "[]").expect("written");
    for (arguments, code, words) in [
        (vec!["--listen", &address], 1, "--listen IP:PORT"),
        (vec!["--listen", "127.0.0.1:0", "--kv-config-path", "kv.json"], 1, "kv.json is no key-value configuration"),
        (vec!["--listen", "9876"], 2, "listen is \"9876\" (--listen)"),
        (vec!["--lsten", "127.0.0.1:0"], 2, "--listen"),
    ] {
        let output = run(folder.path(), &[&["nameserver"], &arguments[..]].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = text.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(last.starts_with("gantry: ") && last.contains(words), "{text}");
    }
}
