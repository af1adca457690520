use openraft::storage::RaftStateMachine;
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, EntryPayload, RaftSnapshotBuilder};
use tempfile::TempDir;

use super::super::machine::Machine;
use super::*;

struct InFolders;

impl StoreBuilder<Types, LogStore, Machine, TempDir> for InFolders {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError<u64>> {
        let folder = TempDir::new().expect("a folder");
        let store = LogStore::open(&Env::real(), folder.path()).expect("opens");
        let machine = Machine::open(store.clone()).expect("opens");
        Ok((folder, store, machine))
    }
}

#[test]
fn openrafts_suite_passes() {
    Suite::test_all(InFolders).expect("all of it");
}

fn id(index: u64) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(1, 0), index)
}

fn blank(index: u64) -> Entry<Types> {
    Entry { log_id: id(index), payload: EntryPayload::Blank }
}

async fn append(store: &mut LogStore, indices: std::ops::Range<u64>) {
    use openraft::storage::RaftLogStorageExt;
    store.blocking_append(indices.map(blank)).await.expect("appended");
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_start() {
    let folder = TempDir::new().expect("a folder");
    let open = || LogStore::open(&Env::real(), folder.path()).expect("opens");
    let mut store = open();
    store.save_vote(&Vote::new(3, 2)).await.expect("saved");
    append(&mut store, 1..10).await;
    store.purge(id(2)).await.expect("purged");
    store.truncate(id(8)).await.expect("truncated");
    // As a process that is killed: what it has open is not closed in order.
    std::mem::forget(store);
    let mut store = open();
    assert_eq!(store.read_vote().await.expect("read"), Some(Vote::new(3, 2)));
    let state = store.get_log_state().await.expect("read");
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(2)), Some(id(7))));
    let entries = store.try_get_log_entries(0..100).await.expect("read");
    assert_eq!(entries.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_file_of_another_format_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let store = LogStore::open(&Env::real(), folder.path()).expect("opens");
    store.set("format", b"2".to_vec()).await.expect("written");
    drop(store);
    let error = LogStore::open(&Env::real(), folder.path()).expect_err("refused");
    assert!(matches!(&error, OpenError::Format { found, .. } if found == "2"), "{error}");
}

#[test]
fn a_begin_that_was_cut_short_is_made_again() {
    let folder = TempDir::new().expect("a folder");
    let disk = Env::real().disk;
    let cut = disk.open(&folder.path().join(NEW_FILE), OpenMode::Create).expect("made");
    cut.write_all_at(&[IoSlice::new(b"half")], 0).expect("written");
    LogStore::open(&Env::real(), folder.path()).expect("opens");
}

#[tokio::test]
async fn a_snapshot_never_takes_the_place_of_a_newer_one() {
    let folder = TempDir::new().expect("a folder");
    let store = LogStore::open(&Env::real(), folder.path()).expect("opens");
    let mut machine = Machine::open(store.clone()).expect("opens");
    machine.apply([blank(1), blank(2)]).await.expect("applied");
    let mut slow = machine.get_snapshot_builder().await;
    machine.apply([blank(3)]).await.expect("applied");
    machine.get_snapshot_builder().await.build_snapshot().await.expect("built");
    slow.build_snapshot().await.expect("built");
    let mut again = Machine::open(store).expect("opens");
    assert_eq!(again.applied_state().await.expect("read").0, Some(id(3)));
}
