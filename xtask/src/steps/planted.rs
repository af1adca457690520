//! Bugs that are planted into a copy of the sources, one at a time: the simulation must find each.
//!
//! `tests/sim/planted/*.patch`, each with a head that says what is wrong, `scenario:` and `promise:`, the violation that the
//! simulation must report. Built with the dev profile, which is quicker to build than it is slow to run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::plan::{Context, Done};
use crate::shell::{self, To};
use crate::workspace::cargo;

const FOLDER: &str = "tests/sim/planted";
/// Seeds, from 0 on, within which each bug must be found.
const SEEDS: u32 = 400;
/// The bugs of a short run, one of each scenario.
const SHORT: [&str; 4] = ["ack-before-write", "sync-forgotten", "ack-before-the-replica", "elected-though-not-in-sync"];

/// A bug.
#[derive(Debug, PartialEq, Eq)]
struct Plant {
    name: String,
    patch: PathBuf,
    scenario: String,
    promise: String,
}

/// Every planted bug is found.
pub(super) fn run(context: &Context) -> Result<Done> {
    let root = &context.workspace.root;
    let mut plants = read_all(&root.join(FOLDER))?;
    if !context.is_full {
        plants.retain(|plant| SHORT.contains(&&*plant.name));
    }
    ensure!(plants.len() >= SHORT.len(), "{FOLDER} has lost its patches");
    let field = Field { root, sources: context.workspace.own("planted/sources")?, context };
    let mut missed = Vec::new();
    for plant in &plants {
        let began = Instant::now();
        match field.try_plant(plant) {
            Ok(found) => println!("{}: {found}, {:.1} s", plant.name, began.elapsed().as_secs_f64()),
            Err(error) => {
                println!("{}: NOT FOUND: {error:#}", plant.name);
                missed.push(plant.name.as_str());
            }
        }
    }
    field.lay_out()?;
    ensure!(missed.is_empty(), "planted bugs that are not found: {}", missed.join(", "));
    Ok(Done::Passed)
}

fn read_all(folder: &Path) -> Result<Vec<Plant>> {
    let mut patches: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    patches.into_iter().map(|patch| read(patch).context("a planted bug")).collect()
}

fn read(patch: PathBuf) -> Result<Plant> {
    let text = fs::read_to_string(&patch).with_context(|| patch.display().to_string())?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
        value.with_context(|| format!("{} has no line {name}", patch.display()))
    };
    let (scenario, promise) = (field("scenario:")?, field("promise:")?);
    let name = patch.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Plant { name, patch, scenario, promise })
}

/// The copy of the sources.
struct Field<'a> {
    root: &'a Path,
    sources: PathBuf,
    context: &'a Context,
}

impl Field<'_> {
    /// Plants a bug and lets the simulation look for it; answers where it was found.
    fn try_plant(&self, plant: &Plant) -> Result<String> {
        self.lay_out()?;
        let mut apply = Command::new("git");
        // The copy lies below the checkout, where git would take its paths for others and skip them in silence.
        apply.args(["apply", "--whitespace=nowarn"]).arg(&plant.patch).current_dir(&self.sources);
        apply.env("GIT_CEILING_DIRECTORIES", self.sources.parent().unwrap_or(Path::new("/")));
        shell::run(&mut apply, To::Terminal).context("the patch no longer applies: adapt it to the sources")?;
        let log = self.context.workspace.own(&format!("logs/planted-{}.log", plant.name))?;
        fs::write(&log, "")?;
        let target = self.context.workspace.own("planted/target")?;
        let mut build = Command::new(cargo());
        build.args(["build", "--quiet", "-p", "sim", "--target-dir"]).arg(&target).current_dir(&self.sources);
        shell::run(&mut build, To::File(&log)).with_context(|| format!("see {}", log.display()))?;
        let mut simulation = Command::new(target.join("debug/sim"));
        simulation.args(["--seeds", &SEEDS.to_string(), "--scenario", &plant.scenario]);
        let (printed, has_succeeded) = shell::output(&mut simulation, &log)?;
        judge(plant, &printed, has_succeeded)
    }

    /// Makes the copy what the checkout is, touching only files that differ, so that little is built again.
    fn lay_out(&self) -> Result<()> {
        let mut list = Command::new("git");
        list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(self.root);
        let listed = list.output().context("git ls-files")?;
        ensure!(listed.status.success(), "git ls-files: {}", listed.status);
        let listed = String::from_utf8(listed.stdout).context("names of files")?;
        let names: BTreeSet<&str> = listed.split_terminator('\0').collect();
        for name in names {
            let Ok(bytes) = fs::read(self.root.join(name)) else { continue };
            let copy = self.sources.join(name);
            if fs::read(&copy).is_ok_and(|there| there == bytes) {
                continue;
            }
            fs::create_dir_all(copy.parent().unwrap_or(Path::new(".")))?;
            fs::write(&copy, bytes).with_context(|| copy.display().to_string())?;
        }
        Ok(())
    }
}

/// The line of the simulation that says what it found; an error when that is not the bug's violation.
fn judge(plant: &Plant, printed: &str, has_succeeded: bool) -> Result<String> {
    ensure!(!has_succeeded, "{SEEDS} seeds of {} pass with it", plant.scenario);
    let mut found = printed.lines().filter_map(|line| line.split_once(" FAILED: "));
    match found.find(|(_, violation)| violation.starts_with(&*plant.promise)) {
        Some((seed, _)) => Ok(format!("{seed}: {}", plant.promise)),
        None => bail!("expected {:?}, the simulation says {printed}", plant.promise),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plant() -> Plant {
        let (name, scenario, promise) = ("x".to_owned(), "log".to_owned(), "records stay".to_owned());
        Plant { name, patch: PathBuf::new(), scenario, promise }
    }

    #[test]
    fn only_the_bugs_own_violation_counts() {
        let found = |printed| judge(&plant(), printed, false).ok();
        assert_eq!(found("log seed 7 FAILED: records stay: one is gone"), Some("log seed 7: records stay".to_owned()));
        assert_eq!(found("log seed 7 FAILED: it panicked, see above"), None);
        assert!(judge(&plant(), "log: 400 lives", true).is_err());
    }

    #[test]
    fn every_patch_says_what_must_be_found() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FOLDER);
        let plants = read_all(&folder).expect("readable");
        assert!(SHORT.iter().all(|short| plants.iter().any(|plant| plant.name == *short)));
        assert!(plants.len() >= 7);
    }
}
