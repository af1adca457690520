//! What the rounds have shown, kept in a file so that a run that was stopped goes on.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::controller::group::Maker;
use super::{BySdk, SDKS};
use crate::plan::Context;
use crate::progress;

/// The time that no send is accepted is to be no longer.
const GOAL_MS: u64 = 5_000;

/// What happens to the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Fault {
    Killed,
    /// From all others, both ways.
    Parted,
    /// Nothing that it sends arrives.
    Mute,
    /// Nothing that is sent to it arrives.
    Deaf,
    /// For 30 s.
    Stopped,
    /// Killed, and its disk is lost.
    Erased,
}

impl Fault {
    /// In the order of the rounds.
    pub(super) const ALL: [Self; 6] = [Self::Killed, Self::Parted, Self::Stopped, Self::Mute, Self::Erased, Self::Deaf];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "killed",
            Self::Parted => "parted",
            Self::Mute => "cannot send",
            Self::Deaf => "cannot receive",
            Self::Stopped => "paused for 30 s",
            Self::Erased => "killed, disk erased",
        })
    }
}

/// What one has shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Round {
    pub(super) fault: Fault,
    /// How long after the fault each SDK had a send accepted.
    pub(super) first_ms: BySdk<u64>,
    /// Sends, since the round before.
    pub(super) acknowledged: usize,
    pub(super) lost: usize,
    /// Messages that are there more than once.
    pub(super) repeats: usize,
    /// Why pops, delayed messages or transactions did not go on.
    pub(super) unfinished: Option<String>,
    /// How the logs differ.
    pub(super) unlike: Option<String>,
}

impl Round {
    /// One that has no end.
    pub(super) fn unfinished(fault: Fault, error: &anyhow::Error) -> Self {
        let (first_ms, unfinished) = (BySdk::new(), Some(format!("{error:#}")));
        Self { fault, first_ms, acknowledged: 0, lost: 0, repeats: 0, unfinished, unlike: None }
    }

    /// Whether nothing is lost and all went on.
    pub(super) fn is_whole(&self) -> bool {
        self.lost == 0 && self.unfinished.is_none() && self.unlike.is_none()
    }

    /// Of the first SDK that had a send accepted.
    fn first(&self) -> Option<u64> {
        self.first_ms.values().copied().min()
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, first_ms, acknowledged, lost, repeats, unfinished, unlike } = self;
        write!(
            f,
            "{fault}: accepted after {first_ms:?} ms, {acknowledged} acknowledged, {lost} lost, {repeats} repeated"
        )?;
        for why in [unfinished, unlike].into_iter().flatten() {
            write!(f, "; {why}")?;
        }
        Ok(())
    }
}

/// By maker.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    sources: String,
    rounds: BTreeMap<String, Vec<Round>>,
    /// With `--full` only.
    #[serde(skip)]
    file: Option<PathBuf>,
}

impl Kept {
    /// What was shown of the same sources.
    pub(super) fn begin(context: &Context) -> Result<Self> {
        let fresh = Self { sources: progress::sources(&context.workspace)?, ..Self::default() };
        if !context.is_full {
            return Ok(fresh);
        }
        let file = Some(context.workspace.own("failover-rounds.json")?);
        let last = file.as_ref().and_then(|file| fs::read_to_string(file).ok());
        let last = last.and_then(|text| serde_json::from_str::<Self>(&text).ok());
        Ok(match last {
            Some(last) if last.sources == fresh.sources => Self { file, ..last },
            _ => Self { file, ..fresh },
        })
    }

    pub(super) fn rounds(&self, maker: Maker) -> &[Round] {
        self.rounds.get(maker.name()).map_or(&[], Vec::as_slice)
    }

    /// Whether nothing was lost and all went on.
    pub(super) fn are_whole(&self, maker: Maker) -> bool {
        self.rounds(maker).iter().all(Round::is_whole)
    }

    pub(super) fn add(&mut self, maker: Maker, round: Round) -> Result<()> {
        self.rounds.entry(maker.name().to_owned()).or_default().push(round);
        let Some(file) = &self.file else { return Ok(()) };
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, text).with_context(|| file.display().to_string())
    }

    /// All rounds were shown: the next run begins anew.
    pub(super) fn forget(&self) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| Ok(fs::remove_file(file)?))
    }

    /// A table for people, then a line of JSON.
    pub(super) fn print(&self) {
        println!(
            "| brokers | master | rounds | first send accepted after (ms): median, worst | by SDK ({}) | <= {GOAL_MS} | acknowledged | lost | repeated | did not go on |",
            SDKS.join("; ")
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        for (maker, rounds) in &self.rounds {
            let mut faults: BTreeMap<Fault, Vec<&Round>> = BTreeMap::new();
            rounds.iter().for_each(|round| faults.entry(round.fault).or_default().push(round));
            for (fault, rounds) in faults {
                println!("| {maker} | {fault} {}", Row(&rounds));
            }
            println!("| {maker} | all {}", Row(&rounds.iter().collect::<Vec<_>>()));
        }
        println!("{}", json!({ "failover": self.rounds }));
    }
}

/// The rounds of a line of the table, behind its first columns.
struct Row<'a>(&'a [&'a Round]);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(rounds) = self;
        let sum = |part: fn(&Round) -> usize| rounds.iter().map(|round| part(round)).sum::<usize>();
        let of = |sdk: &&str| median_and_worst(rounds.iter().filter_map(|round| round.first_ms.get(*sdk).copied()));
        let by_sdk = SDKS.iter().map(of).map(|(median, worst)| format!("{median}, {worst}")).collect::<Vec<_>>();
        let (median, worst) = median_and_worst(rounds.iter().filter_map(|round| round.first()));
        let verdict = if worst <= GOAL_MS { "yes" } else { "**no**" };
        let unfinished = sum(|round| usize::from(round.unfinished.is_some()));
        write!(
            f,
            "| {} | {median}, {worst} | {} | {verdict} | {} | {} | {} | {unfinished} |",
            rounds.len(),
            by_sdk.join("; "),
            sum(|round| round.acknowledged),
            sum(|round| round.lost),
            sum(|round| round.repeats)
        )
    }
}

fn median_and_worst(times: impl Iterator<Item = u64>) -> (u64, u64) {
    let mut sorted: Vec<_> = times.collect();
    sorted.sort_unstable();
    (sorted.get(sorted.len() / 2).copied().unwrap_or_default(), sorted.last().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_tells_of_all_its_rounds() {
        let round = |first: [u64; 3], repeats| Round {
            fault: Fault::Killed,
            first_ms: SDKS.iter().map(|sdk| (*sdk).to_owned()).zip(first).collect(),
            acknowledged: 100,
            lost: 0,
            repeats,
            unfinished: None,
            unlike: None,
        };
        let rounds = [round([900, 800, 2000], 1), round([6000, 5001, 7000], 0), round([500, 600, 700], 2)];
        let row = Row(&rounds.iter().collect::<Vec<_>>()).to_string();
        assert_eq!(row, "| 3 | 800, 5001 | 900, 6000; 800, 5001; 2000, 7000 | **no** | 300 | 0 | 3 | 0 |");
    }
}
