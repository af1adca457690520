//! `benches store --quick`: each scenario runs, and its figures are there. Their size says nothing here.
//!
//! Not here: recovery, which needs the server's binary, nor what is compared with the servers of others, which needs them too.
#![allow(clippy::disallowed_methods, reason = "gives a real process a program, above every seam of env")]

use std::process::Command;

/// Runs one scenario and checks that each side has all figures, and that they are numbers.
fn check(scenario: &str, metrics: &[&str], has_baseline: bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_benches"))
        .args(["store", scenario, "--quick", "--json"])
        .output()
        .expect("the bench starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    // What is quick is not judged, and a bench that could not judge says so by its exit code.
    assert_eq!(output.status.code(), Some(3), "{scenario}: {errors}");
    let outcomes: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(outcomes[0]["scenario"], format!("store_{scenario}"));
    for metric in metrics {
        let pair = &outcomes[0]["pairs"][0];
        let value = |side: &str| pair[side][metric].as_f64();
        assert!(value("gantry").is_some_and(|value| value >= 0.0), "{scenario} {metric}: {pair}");
        assert_eq!(value("baseline").is_some(), has_baseline, "{scenario} {metric}: {pair}");
    }
    let verdicts = outcomes[0]["rows"].as_array().expect("rows").iter().map(|row| &row["verdict"]);
    assert!(verdicts.clone().any(|verdict| verdict == "not_judged"), "{scenario} has no target");
    assert!(verdicts.clone().all(|verdict| verdict != "met" && verdict != "missed"), "{scenario} was judged");
}

#[test]
fn appends_run_beside_pwritev() {
    check("append", &["throughput", "bandwidth"], true);
}

#[test]
fn synced_sends_run_beside_fdatasync() {
    check("sync", &["throughput", "cpu_per_message"], true);
}

#[test]
fn cold_scans_run_beside_pread() {
    check("scan", &["bandwidth"], true);
}

#[test]
fn paced_appends_run_beside_pwrite() {
    check("tail", &["throughput", "p50", "p999"], true);
}

#[test]
fn many_queues_run_beside_eight() {
    check("queues", &["cpu_per_message", "anonymous_memory"], true);
}

#[test]
fn timers_are_late_by_some_time() {
    check("timers", &["lateness_p99", "anonymous_memory"], false);
}

#[test]
fn timers_due_at_once_are_drained() {
    check("drain", &["drained"], false);
}

#[test]
fn replay_feeds_the_machines() {
    check("replay", &["records_per_cpu_second", "record_bytes"], false);
}

#[test]
fn curves_have_a_figure_at_a_point_of_each() {
    let output = Command::new(env!("CARGO_BIN_EXE_benches"))
        .args(["store", "curves", "--quick", "--json"])
        .output()
        .expect("the bench starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let curves: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let names = ["queues", "backlog", "log_size", "message_size", "timers"];
    for (curve, name) in curves.as_array().expect("curves").iter().zip(names) {
        assert_eq!(curve["curve"], name);
        let run = &curve["points"][0]["runs"][0];
        assert!(run["cpu_per_message"].as_f64().is_some_and(|cost| cost >= 0.0), "{name}: {curve}");
    }
    assert_eq!(curves.as_array().map(Vec::len), Some(names.len()));
}

/// An xtask that gets nothing.
fn xtask_without(directory: &std::path::Path, reason: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let program = directory.join(format!("gantry-bench-xtask-{}", std::process::id()));
    std::fs::write(&program, format!("#!/bin/sh\necho '{reason}'\nexit 1\n")).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("made a program");
    program
}

#[test]
fn what_others_made_is_skipped_where_it_cannot_be_had() {
    let xtask = xtask_without(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")), "go is missing");
    let output = Command::new(env!("CARGO_BIN_EXE_benches"))
        .args(["store", "nats", "pop", "--json", "--xtask"])
        .arg(&xtask)
        .output()
        .expect("the bench starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    std::fs::remove_file(xtask).expect("removed");
    assert_eq!(output.status.code(), Some(3), "{errors}");
    let outcomes: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for (outcome, scenario) in [(&outcomes[0], "store_nats"), (&outcomes[1], "store_pop")] {
        assert_eq!((&outcome["scenario"], &outcome["skipped"]), (&scenario.into(), &"go is missing".into()));
        assert_eq!(outcome["pairs"], serde_json::json!([]));
    }
    assert!(errors.contains("skipped, go is missing") && errors.contains("2 scenarios skipped"), "{errors}");
}
