//! What an interrupted `cargo xtask test` had finished, for `--resume`.
//!
//! One JSON file below the build products. It only counts for the very sources that it was written for.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::workspace::Workspace;

/// The steps that passed, and what they were run on.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    sources: String,
    is_full: bool,
    passed: BTreeSet<String>,
    #[serde(skip)]
    file: PathBuf,
}

impl Progress {
    /// Begins anew, or where the last run of the same kind on the same sources stopped.
    pub(crate) fn begin(workspace: &Workspace, is_full: bool, is_resumed: bool) -> Result<Self> {
        let file = workspace.own("test-progress.json")?;
        let fresh = Self { sources: sources(workspace)?, is_full, passed: BTreeSet::new(), file };
        if !is_resumed {
            return Ok(fresh);
        }
        let last: Option<Self> =
            std::fs::read_to_string(&fresh.file).ok().and_then(|text| serde_json::from_str(&text).ok());
        Ok(match last {
            Some(last) if last.sources == fresh.sources && last.is_full == is_full => Self { file: fresh.file, ..last },
            Some(_) => {
                println!("the sources or --full changed since the last run: beginning anew");
                fresh
            }
            None => fresh,
        })
    }

    /// Whether a step passed before the interruption.
    pub(crate) fn has_passed(&self, step: &str) -> bool {
        self.passed.contains(step)
    }

    /// Remembers that a step passed.
    pub(crate) fn add(&mut self, step: &str) -> Result<()> {
        self.passed.insert(step.to_owned());
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(&self.file, text).with_context(|| format!("writing {}", self.file.display()))
    }
}

/// Names the state of the sources: the commit, what differs from it and which files it does not know.
pub(crate) fn sources(workspace: &Workspace) -> Result<String> {
    let git = |arguments: &[&str]| -> Result<Vec<u8>> {
        let output = Command::new("git").args(arguments).current_dir(&workspace.root).output().context("git")?;
        Ok(output.stdout)
    };
    let commit = String::from_utf8_lossy(&git(&["rev-parse", "HEAD"])?).trim().to_owned();
    let mut changes = git(&["diff", "HEAD"])?;
    changes.extend(git(&["status", "--porcelain", "--untracked-files=all"])?);
    // FNV-1a: stable from run to run, and nobody attacks it.
    let digest = changes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    Ok(format!("{commit}+{digest:016x}"))
}
