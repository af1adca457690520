//! `gantry store`: data directories, without a server. See `docs/operations.md`.

mod backup;
mod check;
mod dump;
mod hand_back;
mod import;
mod journal;
mod stat;
mod verify;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use env::Disk;
use store::inspect::{Directory, Watcher};

use crate::cli::Misuse;
use crate::output::Output;
use crate::progress::Bar;

/// The arguments of `gantry store`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
DIR is the data directory of a server: what gantry local calls --data, ./gantry-data unless it was told otherwise.
All but import and hand-back also work beside the server that uses it: they see what was complete when they began.

Examples:
  gantry store check /home/rocketmq/store              whose is it, and what waits in it?
  gantry store import /home/rocketmq/store             make it ours; gantry local --data opens it then
  gantry store verify gantry-data                      is everything readable? exit code 0 says yes, 1 no
  gantry store dump gantry-data --topic orders --bodies
  gantry store backup gantry-data --to /backup/monday --verify
  gantry store restore /backup/monday --to gantry-data";

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whose directory it is; of one of Apache RocketMQ, what is in it and what stands in the way of taking it over
    Check(check::Arguments),
    /// Make the directory of a stopped Apache RocketMQ broker one of Gantry's, in place
    Import(import::Arguments),
    /// Make the data directory of a stopped server one that an Apache RocketMQ broker opens, in place
    HandBack(hand_back::Arguments),
    /// Check every record, index and checkpoint of a directory, changing nothing
    Verify(verify::Arguments),
    /// Print the records of the log
    Dump(dump::Arguments),
    /// Say how much is in a directory: segments, queues, topics, and what the next start would read
    Stat(stat::Arguments),
    /// Copy a directory, also while its server runs
    Backup(backup::BackupArguments),
    /// Check a backup and copy it to a new data directory
    Restore(backup::RestoreArguments),
}

/// Carries out one command and prints its result.
///
/// # Errors
/// [`Misuse`] for arguments that cannot be, else what is wrong with the directory; one line each.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (output, env) = (Output { is_json: arguments.json }, env::Env::real());
    let disk = Arc::clone(&env.disk);
    match &arguments.command {
        Command::Check(arguments) => check::run(arguments, &disk, output),
        Command::Import(arguments) => import::run(arguments, &env, output),
        Command::HandBack(arguments) => hand_back::run(arguments, &env, output),
        Command::Verify(arguments) => verify::run(arguments, &disk, output),
        Command::Dump(arguments) => dump::run(arguments, &disk, output),
        Command::Stat(arguments) => stat::run(arguments, &disk, output),
        Command::Backup(arguments) => backup::backup(arguments, &disk, output),
        Command::Restore(arguments) => backup::restore(arguments, &disk, output),
    }
}

/// Opens a directory to look at it.
fn open(disk: &Arc<dyn Disk>, dir: &Path) -> anyhow::Result<Directory> {
    must_exist(dir)?;
    Directory::open(disk, dir, broker::check_snapshot).with_context(|| format!("cannot look at {}", dir.display()))
}

/// A directory that is not there is a mistake in the command, not damage.
fn must_exist(dir: &Path) -> Result<(), Misuse> {
    match dir.is_dir() {
        true => Ok(()),
        false => Err(Misuse(format!("{} is not a directory; name the data directory of a server", dir.display()))),
    }
}

/// What comes of long work that makes a directory another one's, under a bar that is gone before anything else is said.
fn take_over<T>(dir: &Path, work: impl AsyncFnOnce(&mut Watcher<'_>) -> T) -> anyhow::Result<T> {
    must_exist(dir)?;
    let bar = Bar::of_bytes();
    crate::block_on(async { Ok(work(&mut |progress| bar.show(progress)).await) })
}

/// Bytes as people read them: `1.5 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(worth, _)| bytes >= *worth) {
        // In tenths, so that no number is rounded up to one that would need the next unit.
        Some((worth, unit)) => format!("{}.{} {unit}", bytes / worth, bytes % worth * 10 / worth),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        let sizes = [0, 1023, 1024, 1_048_575, 67_108_864, 1 << 40].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1023.9 KiB", "64.0 MiB", "1024.0 GiB"]);
    }
}
