//! `gantry store verify`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use env::Disk;
use serde::Serialize;
use store::inspect::{Directory, Finding, Meaning, Report};

use super::must_exist;
use crate::output::{Output, facts, table};
use crate::progress::Bar;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The data directory
    dir: PathBuf,
}

/// A report as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReportView {
    directory: String,
    sound: bool,
    in_use: bool,
    segments: u64,
    log_first: u64,
    log_end: u64,
    records: u64,
    queues: u64,
    index_runs: u64,
    index_entries: u64,
    checkpoints: Vec<u64>,
    damage: u64,
    findings: Vec<FindingView>,
    findings_omitted: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FindingView {
    file: String,
    position: Option<u64>,
    problem: String,
    meaning: &'static str,
    damage: bool,
    explanation: &'static str,
}

pub(super) fn run(arguments: &Arguments, disk: &Arc<dyn Disk>, output: Output) -> anyhow::Result<()> {
    let report = verify(disk, &arguments.dir)?;
    let damage = report.damage;
    output.show(&report, to_text)?;
    if damage > 0 {
        bail!("{} is damaged, findings: {damage}", arguments.dir.display());
    }
    Ok(())
}

/// Checks everything in a directory.
pub(super) fn verify(disk: &Arc<dyn Disk>, dir: &Path) -> anyhow::Result<ReportView> {
    must_exist(dir)?;
    let bar = Bar::of_bytes();
    let report = Directory::verify(disk, dir, broker::check_snapshot, &mut |progress| bar.show(progress))
        .with_context(|| format!("cannot verify {}", dir.display()))?;
    Ok(view(dir, report))
}

impl ReportView {
    pub(super) fn is_sound(&self) -> bool {
        self.sound
    }

    /// The first finding that is damage.
    pub(super) fn first_damage(&self) -> String {
        let first = self.findings.iter().find(|finding| finding.damage);
        first.map_or_else(String::new, |finding| format!("{}: {}", finding.file, finding.problem))
    }
}

fn view(dir: &Path, report: Report) -> ReportView {
    let (sound, damage) = (report.is_sound(), report.damage());
    let finding = |Finding { file, position, problem, meaning }: Finding| FindingView {
        file: file.strip_prefix(dir).unwrap_or(&file).display().to_string(),
        position,
        problem,
        meaning: name(meaning),
        damage: meaning.is_damage(),
        explanation: explanation(meaning),
    };
    ReportView {
        directory: dir.display().to_string(),
        sound,
        in_use: report.is_in_use,
        segments: report.segments,
        log_first: report.log_first,
        log_end: report.log_end,
        records: report.records,
        queues: report.queues,
        index_runs: report.index_runs,
        index_entries: report.index_entries,
        checkpoints: report.checkpoints,
        damage,
        findings: report.findings.into_iter().map(finding).collect(),
        findings_omitted: report.omitted,
    }
}

fn name(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Unused => "unused",
        Meaning::Torn => "torn",
        Meaning::Derived => "derived",
        Meaning::Altered => "altered",
        Meaning::Lost => "lost",
        Meaning::EndsLog => "ends-log",
        Meaning::Refused => "refused",
    }
}

fn explanation(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Unused => "left over and harmless",
        Meaning::Torn => {
            "what a kill or power loss leaves at the log's end; the next start cuts it off, nothing is lost"
        }
        Meaning::Derived => "made again from the log by the next start or the first read; nothing is lost",
        Meaning::Altered => "log and index differ in something that no checksum covers; one of them is wrong",
        Meaning::Lost => "what was here cannot be read any more; take it from a backup",
        Meaning::EndsLog => {
            "the next start ends the log here and loses the whole records behind; only power loss may leave that, among \
             the last moments' records. If there was none, copy the directory before you start a server on it"
        }
        Meaning::Refused => "a server does not start on this directory",
    }
}

fn to_text(report: &ReportView) -> String {
    let checkpoints: Vec<String> = report.checkpoints.iter().map(u64::to_string).collect();
    let summary = facts([
        ("directory", report.directory.clone()),
        ("in use", if report.in_use { "yes: checked up to where its server was" } else { "no" }.to_owned()),
        ("log", format!("{} to {} in {} segments", report.log_first, report.log_end, report.segments)),
        ("records", format!("{} in {} queues", report.records, report.queues)),
        ("index", format!("{} entries in {} runs", report.index_entries, report.index_runs)),
        ("checkpoints", if checkpoints.is_empty() { "none".to_owned() } else { checkpoints.join(", ") }),
        ("result", result(report)),
    ]);
    if report.findings.is_empty() {
        return summary;
    }
    let rows = report.findings.iter().map(|finding| {
        let position = finding.position.map_or_else(String::new, |position| position.to_string());
        [finding.file.clone(), position, finding.meaning.to_owned(), finding.problem.clone()]
    });
    let mut meanings: Vec<_> = report.findings.iter().map(|f| (f.meaning, f.explanation)).collect();
    meanings.sort_unstable();
    meanings.dedup();
    let legend = meanings.iter().map(|(name, explanation)| [(*name).to_owned(), (*explanation).to_owned()]);
    let findings = table(["FILE", "POSITION", "MEANING", "PROBLEM"], rows);
    let legend = table(["MEANING", "WHAT FOLLOWS"], legend);
    let omitted = match report.findings_omitted {
        0 => String::new(),
        omitted => format!("\n({omitted} more)"),
    };
    format!("{summary}\n\n{findings}{omitted}\n\n{legend}")
}

fn result(report: &ReportView) -> String {
    match (report.damage, report.findings.len()) {
        (0, 0) => "sound".to_owned(),
        (0, _) => "sound, with remarks".to_owned(),
        (damage, _) => format!("damaged, findings: {damage}"),
    }
}
