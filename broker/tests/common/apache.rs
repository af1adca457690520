//! Directories that Apache's broker wrote, on a simulated disk; see `tests/takeover/README.md`.

use std::collections::BTreeMap;
use std::fs;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use broker::LocalBroker;
use broker::takeover::{ImportError, Imported, import};
use env::Disk;
use env::disk::OpenMode;
use env::sim::World;
use types::broker::Pull;
use types::{Broker, Filter, QueueId, QueueOffset, Timestamp};

use crate::common::{group, topic};

pub const DIR: &str = "/data";
/// When the broker of each directory ended: less than ten seconds after its last record.
pub const ENDED: [(&str, Timestamp); 2] =
    [("clean", Timestamp(1_795_645_200_000)), ("kill", Timestamp(1_795_645_236_000))];
pub const HOUR: Duration = Duration::from_secs(3600);

/// Lays a directory out, with the clock where its broker ended.
pub fn lay_out(world: &World, end: &str, ended: Timestamp) {
    put(world, Path::new(DIR), &files(end));
    world.clock().set_skew_ms(ended.0 - world.clock().true_now().0);
}

pub async fn taken_over(world: &World) -> Result<Imported, ImportError> {
    import(&world.env(), Path::new(DIR), &mut |_| ()).await
}

/// Bodies of a whole queue, by pull.
pub async fn queue_bodies(broker: &LocalBroker, topic_name: &str, queue: u32) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let pull = Pull {
            group: group("looker"),
            topic: topic(topic_name),
            queue: QueueId(queue),
            offset: QueueOffset(bodies.len() as u64),
            messages_max: 32,
            filter: Arc::new(Filter::All),
            wait: Duration::ZERO,
        };
        let pulled = broker.pull(pull).await.expect("pulled");
        if pulled.records.is_empty() {
            return bodies;
        }
        let body = |record| String::from_utf8_lossy(record::decode(record).expect("a record").body).into_owned();
        bodies.extend(pulled.records.iter().map(|record| body(record)));
    }
}

/// Longest file that is taken along; the wheel's are of Apache only and sparse.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// The files of the directory of a broker that ended so, by their paths in it.
pub fn files(end: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    unpacked(&format!("../tests/takeover/apache-5.5.0-{end}.tar.gz"), "apache")
}

/// The files of the folder that an archive has.
pub fn unpacked(archive: &str, folder_name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(archive);
    let unpacked = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder.path()).status();
    assert!(unpacked.expect("tar runs").success());
    let root = folder.path().join(folder_name);
    let (mut found, mut dirs) = (BTreeMap::new(), vec![root.clone()]);
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).expect("listed").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let content = fs::read(&path).expect("readable");
            if content.len() <= FILE_BYTES_MAX {
                found.insert(path.strip_prefix(&root).expect("below").to_owned(), content);
            }
        }
    }
    found
}

/// Puts files into `dir`, durably.
pub fn put(world: &World, dir: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    let disk = world.disk();
    for (name, content) in files {
        let path = dir.join(name);
        let parent = path.parent().expect("below");
        disk.create_dir_all(parent).expect("made");
        let file = disk.open(&path, OpenMode::Create).expect("created");
        file.write_all_at(&[IoSlice::new(content)], 0).expect("written");
        file.sync_data().expect("synced");
        disk.sync_dir(parent).expect("synced");
    }
    disk.sync_dir(dir).expect("synced");
}

/// When each of the broker's pops was made, by its notes in the log.
pub fn pop_times(files: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<i64> {
    let mut times = Vec::new();
    for segment in files.iter().filter(|(name, _)| name.starts_with("commitlog")).map(|(_, content)| content) {
        let mut rest = segment.as_slice();
        while let Ok(record::Peek::Record { bytes }) = record::peek(rest) {
            let found = record::decode(rest).expect("a record");
            let text = String::from_utf8_lossy(found.body);
            if let Some((_, time)) = text.split_once("\"pt\":").filter(|_| found.property("TAGS") == Some("ck")) {
                let end = time.find(|c: char| !c.is_ascii_digit()).expect("more fields");
                times.push(time[..end].parse().expect("a number"));
            }
            rest = &rest[bytes as usize..];
        }
    }
    times
}
