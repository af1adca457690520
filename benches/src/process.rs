//! What Linux tells about a process: the processor time it used and the memory it holds.

use std::iter::Sum;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Ticks a second in `/proc/PID/stat`. Source: proc(5); `USER_HZ` is 100 on every Linux architecture we run on.
const TICKS_PER_SECOND: u32 = 100;
/// Places of `utime` and `stime` after the command's closing parenthesis. Source: proc(5), fields 14 and 15 of all.
const UTIME_FIELD: usize = 11;
const STIME_FIELD: usize = 12;

/// User and system time of all threads of a process since its start, ended ones included.
pub(crate) fn cpu_time(process: u32) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    cpu_time_of(&stat).with_context(|| format!("{path} is {stat:?}"))
}

fn cpu_time_of(stat: &str) -> Result<Duration> {
    // The command's name may hold blanks and parentheses, so fields are counted from its last parenthesis.
    let (_, fields) = stat.rsplit_once(") ").context("no command in parentheses")?;
    let mut fields = fields.split(' ').skip(UTIME_FIELD).map(str::parse::<u32>);
    let mut next = || fields.next().context("too few fields")?.context("not a number");
    const { assert!(STIME_FIELD == UTIME_FIELD + 1) };
    let ticks = next()? + next()?;
    Ok(Duration::from_secs(1) * ticks / TICKS_PER_SECOND)
}

/// Resident memory in bytes, by what backs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Heap, stacks and the like.
    pub(crate) anonymous_bytes: u64,
    /// Mapped files: the program itself first of all.
    pub(crate) file_bytes: u64,
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(memories: I) -> Self {
        memories.fold(Self { anonymous_bytes: 0, file_bytes: 0 }, |sum, memory| Self {
            anonymous_bytes: sum.anonymous_bytes + memory.anonymous_bytes,
            file_bytes: sum.file_bytes + memory.file_bytes,
        })
    }
}

/// The memory that a process holds now.
pub(crate) fn memory(process: u32) -> Result<Memory> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    Ok(Memory { anonymous_bytes: kilobytes(&status, "RssAnon:")?, file_bytes: kilobytes(&status, "RssFile:")? })
}

fn kilobytes(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or_else(|| anyhow!("no {name} in kB"))?;
    Ok(kib.parse::<u64>().with_context(|| format!("{name} {kib:?}"))? * 1024)
}

/// Open files that a run with many connections needs.
const OPEN_FILES: u64 = 12_000;

/// Lets this process open as many files as an ordinary user may.
///
/// # Errors
/// They are too few for a run with many connections.
pub(crate) fn raise_open_files() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let allowed = maximum.unwrap_or(u64::MAX);
    ensure!(allowed >= OPEN_FILES, "{allowed} open files are allowed, {OPEN_FILES} are needed (ulimit -Hn)");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_survives_blanks_in_the_command() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 4 0 100 1000 10";
        assert_eq!(cpu_time_of(stat).expect("valid"), Duration::from_secs(2));
        assert!(cpu_time_of("42 (a) S 1").is_err());
    }

    #[test]
    fn memory_is_told_apart() {
        let status = "Name:\tx\nVmRSS:\t    2000 kB\nRssAnon:\t    1500 kB\nRssFile:\t     500 kB\n";
        assert_eq!(kilobytes(status, "RssAnon:").expect("valid"), 1500 * 1024);
        assert_eq!(kilobytes(status, "RssFile:").expect("valid"), 500 * 1024);
        assert!(kilobytes(status, "RssShmem:").is_err());
    }

    #[test]
    fn this_process_has_used_both() {
        let own = std::process::id();
        assert!(memory(own).expect("Linux").anonymous_bytes > 0);
        assert!(cpu_time(own).is_ok());
    }
}
