//! The state that follows from the log. It is in memory; snapshots of it are on the disk, and entries behind the newest are applied again.

use std::io::Cursor;
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, BasicNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta,
    StorageError, StorageIOError, StoredMembership,
};
use parking_lot::RwLock;

use super::Types;
use super::log_store::{LogStore, OpenError, json};
use crate::state::{Answer, Refusal, State};

/// See the module's head.
pub(crate) struct Machine {
    state: Arc<RwLock<State>>,
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
    store: LogStore,
}

/// A state that is to become a snapshot.
pub(crate) struct Builder {
    state: State,
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
    store: LogStore,
}

type Meta = SnapshotMeta<u64, BasicNode>;

impl Machine {
    /// The state of the newest snapshot. Blocks.
    pub(crate) fn open(store: LogStore) -> Result<Self, OpenError> {
        let (applied, membership, state) = match store.snapshot().map_err(OpenError::Content)? {
            Some((meta, snapshot)) => {
                let state =
                    serde_json::from_slice(&snapshot).map_err(|error| OpenError::Content(AnyError::new(&error)))?;
                (meta.last_log_id, meta.last_membership, state)
            }
            None => Default::default(),
        };
        Ok(Self { state: Arc::new(RwLock::new(state)), applied, membership, store })
    }

    /// The state, whenever it is looked at.
    pub(crate) fn state(&self) -> Arc<RwLock<State>> {
        self.state.clone()
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), StorageError<u64>> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Option<Result<Answer, Refusal>>>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut outcomes = Vec::new();
        for Entry { log_id, payload } in entries {
            self.applied = Some(log_id);
            outcomes.push(match payload {
                EntryPayload::Blank => None,
                EntryPayload::Normal(proposal) => Some(self.state.write().apply(&proposal)),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(log_id), membership);
                    None
                }
            });
        }
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let (state, membership) = (self.state.read().clone(), self.membership.clone());
        Builder { state, applied: self.applied, membership, store: self.store.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError<u64>> {
        Ok(Box::default())
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Box<Cursor<Vec<u8>>>) -> Result<(), StorageError<u64>> {
        let snapshot = snapshot.into_inner();
        let unfit = |error: AnyError| StorageIOError::write_snapshot(Some(meta.signature()), error);
        let state = serde_json::from_slice(&snapshot).map_err(|error| unfit(AnyError::new(&error)))?;
        self.store.save_snapshot(meta, snapshot).await.map_err(unfit)?;
        (self.applied, self.membership) = (meta.last_log_id, meta.last_membership.clone());
        *self.state.write() = state;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError<u64>> {
        let read = self.store.snapshot().map_err(|error| StorageIOError::read_snapshot(None, error))?;
        Ok(read.map(|(meta, snapshot)| Snapshot { meta, snapshot: Box::new(Cursor::new(snapshot)) }))
    }
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError<u64>> {
        let snapshot = json(&self.state);
        let snapshot_id = self.applied.map_or_else(|| "0".to_owned(), |applied| applied.to_string());
        let meta = Meta { last_log_id: self.applied, last_membership: self.membership.clone(), snapshot_id };
        let written = self.store.save_snapshot(&meta, snapshot.clone()).await;
        written.map_err(|error| StorageIOError::write_snapshot(Some(meta.signature()), error))?;
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(snapshot)) })
    }
}
