//! Running other programs: to the terminal, into a log file, or for their output.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Where a program's output goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To<'a> {
    /// To ours.
    Terminal,
    /// To the end of a file, for programs that run side by side.
    File(&'a Path),
}

/// Runs a program.
///
/// # Errors
/// It cannot be started, or says that it failed.
pub(crate) fn run(command: &mut Command, to: To<'_>) -> Result<()> {
    if let To::File(path) = to {
        let log = append(path)?;
        command.stdout(log.try_clone()?).stderr(log);
    }
    let line = describe(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("starting {line}"))?;
    ensure!(status.success(), "{line}: {status}");
    Ok(())
}

/// Runs a program and answers its standard output; the rest goes to the end of `log`.
///
/// # Errors
/// It cannot be started; failing is an answer too, in the second value.
pub(crate) fn output(command: &mut Command, log: &Path) -> Result<(String, bool)> {
    let line = describe(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(append(log)?)
        .stdout(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .with_context(|| format!("starting {line}"))?;
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success()))
}

/// Whether a program runs and succeeds, whatever it prints.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Does it to all at once, each in a thread of its own; the answers in their order, or the first failure.
pub(crate) fn side_by_side<T: Send, R: Send>(
    all: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = all.into_iter().map(|one| scope.spawn(move || work(one))).collect();
        running.into_iter().map(|one| one.join().unwrap_or_else(|_| bail!("a thread panicked"))).collect()
    })
}

/// The last lines of a file that are not blank.
pub(crate) fn tail(path: &Path, lines_max: usize) -> Vec<String> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let lines = BufReader::new(file).lines().map_while(Result::ok).filter(|line| !line.trim().is_empty());
    let mut last = std::collections::VecDeque::with_capacity(lines_max);
    for line in lines {
        if last.len() == lines_max {
            last.pop_front();
        }
        last.push_back(line);
    }
    last.into()
}

fn append(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("opening {}", path.display()))
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
