//! Which files there are, and how long: against the names and lengths that a store gives them.

use std::path::{Path, PathBuf};

use env::disk::OpenMode;

use crate::files::{self, position_of};
use crate::inspect::checkpoints::{Found, of_next_start};
use crate::inspect::directory::Directory;
use crate::inspect::finding::{Finding, Meaning, Report};
use crate::segments::RESERVE_NAME;

impl Directory {
    /// Checks the names in all folders, the length of the segments and the format file.
    pub(super) fn verify_names(&self, found: &[Found], report: &mut Report) -> Result<(), files::Error> {
        self.verify_format(report)?;
        self.verify_segments(found, report)?;
        let named = |position| {
            let runs = found.iter().filter_map(|found| found.state.as_ref().ok()).flat_map(|saved| &saved.runs);
            runs.into_iter().any(|run| run.from == position)
        };
        let tell = |report: &mut Report, file: PathBuf, problem: &str| {
            report.add(Finding { file, position: None, problem: problem.to_owned(), meaning: Meaning::Unused });
        };
        for dir in [&self.layout.commit_log, &self.layout.queue_index, &self.layout.checkpoints] {
            for name in self.disk.list(dir).map_err(files::Error::at("list", dir))? {
                match position_of(&name) {
                    None if *dir == self.layout.commit_log && name == RESERVE_NAME => {}
                    None => tell(report, dir.join(name), "not a name that the store gives"),
                    // A running server makes runs that no checkpoint names yet.
                    Some(position) if *dir == self.layout.queue_index && !self.is_in_use && !named(position) => {
                        tell(report, dir.join(name), "no checkpoint names this run");
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    fn verify_format(&self, report: &mut Report) -> Result<(), files::Error> {
        let path = self.layout.format();
        if !self.has_format {
            let problem = "missing; the next start writes it".to_owned();
            report.add(Finding { file: path, position: None, problem, meaning: Meaning::Derived });
            return Ok(());
        }
        let text = files::read(&*self.disk, &path)?;
        if text != files::format_text(self.segment_bytes()).as_bytes() {
            let problem = "not word for word what this version writes".to_owned();
            report.add(Finding { file: path, position: None, problem, meaning: Meaning::Altered });
        }
        Ok(())
    }

    /// A segment that is missing is told by the records that are missing with it; here its file gets a name.
    fn verify_segments(&self, found: &[Found], report: &mut Report) -> Result<(), files::Error> {
        let (bases, expected) = (self.segments.bases()?, self.segment_bytes());
        report.segments = bases.len() as u64;
        let start = of_next_start(found).map_or(0, |saved| saved.end.at.0);
        for pair in bases.windows(2) {
            if let [before, after] = pair
                && before + expected < *after
            {
                let missing = before + expected;
                let problem = format!("missing: the log has nothing from {missing} to {after}");
                let file = self.segments.path(missing);
                let meaning = if missing < start { Meaning::Refused } else { Meaning::Lost };
                report.add(Finding { file, position: Some(missing), problem, meaning });
            }
        }
        for base in bases {
            let path = self.segments.path(base);
            let bytes = match self.file_bytes(&path) {
                Err(error) if self.is_in_use && error.error.kind() == std::io::ErrorKind::NotFound => continue,
                bytes => bytes?,
            };
            // What is missing of a log's content is told by the pass over the log.
            let problem = match bytes {
                _ if bytes > expected => format!("{} bytes behind its end are never read", bytes - expected),
                _ if bytes < expected && !self.is_in_use => format!("{bytes} bytes long instead of {expected}"),
                _ => continue,
            };
            let meaning = if bytes > expected { Meaning::Unused } else { Meaning::Torn };
            report.add(Finding { file: path, position: None, problem, meaning });
        }
        Ok(())
    }

    fn file_bytes(&self, path: &Path) -> Result<u64, files::Error> {
        let file = self.disk.open(path, OpenMode::Read).map_err(files::Error::at("open", path))?;
        file.len().map_err(files::Error::at("measure", path))
    }
}
