//! Blocks of the log that were read ahead, for readers that go on where the last read ended.
//!
//! Only who goes on pays for it: a read that begins where none ended a moment ago is read as it is asked for. Who goes on in
//! a block has the next ones read meanwhile, by several threads. Bytes below the log's end never change, so what is kept
//! never goes stale; it is refused once it has expired, and each record is checked as one that comes from the disk.

use std::collections::VecDeque;
use std::iter::successors;
use std::pin::pin;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::waiting::Waiting;
use super::{GAP_BYTES_MAX, Place, Request, check};
use crate::marks::Marks;
use crate::segments::Segments;

/// Bytes of a block; the last one of a segment may be shorter.
const BLOCK_BYTES: u64 = 256 * 1024;
/// Most blocks that are kept: readers that go on side by side, and what they will come to.
const BLOCKS_MAX: usize = 32;
/// Most blocks that nobody has read from, with those on their way: more readers read for themselves.
const UNREAD_MAX: usize = 16;
/// Blocks that are read before a reader comes to them; threads are woken for half of them at once.
const DEPTH: usize = 8;
/// Ends of reads that are remembered: readers, going on or not, side by side.
const ENDS_MAX: usize = 64;

/// See the module's head.
pub(super) struct ReadAhead {
    segments: Arc<Segments>,
    marks: Marks,
    waiting: Arc<Waiting>,
    /// Held for a look-up or a move.
    state: Mutex<State>,
    /// Tells of each [`Wanted`] that is no more.
    ended: Notify,
}

#[derive(Default)]
struct State {
    /// The one that was used last is the last.
    blocks: VecDeque<Block>,
    /// Where the block of each [`Wanted`] begins.
    under_way: Vec<u64>,
    /// Where reads ended, the newest last.
    ends: VecDeque<u64>,
}

impl State {
    fn has(&self, from: u64) -> bool {
        self.under_way.contains(&from) || self.blocks.iter().any(|block| block.from == from)
    }

    fn unread(&self) -> usize {
        self.under_way.len() + self.blocks.iter().filter(|block| !block.is_read).count()
    }
}

#[derive(Clone)]
struct Block {
    from: u64,
    bytes: Bytes,
    is_read: bool,
}

impl Block {
    fn end(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }

    fn has(&self, offset: u64) -> bool {
        (self.from..self.end()).contains(&offset)
    }

    /// Its bytes from `offset` on, up to `to` or its end.
    fn slice(&self, offset: u64, to: u64) -> Bytes {
        self.bytes.slice((offset - self.from) as usize..(to.min(self.end()) - self.from) as usize)
    }
}

/// A block that a reader thread is to read. It is under way until this is dropped.
pub(super) struct Wanted {
    ahead: Arc<ReadAhead>,
    from: u64,
}

impl Wanted {
    /// Where it begins, and where it ends.
    pub(super) fn range(&self) -> (u64, u64) {
        (self.from, self.ahead.block_end(self.from))
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.ahead.state.lock().under_way.retain(|from| *from != self.from);
        self.ahead.ended.notify_waiters();
    }
}

impl ReadAhead {
    pub(super) fn new(segments: Arc<Segments>, marks: Marks, waiting: Arc<Waiting>) -> Self {
        Self { segments, marks, waiting, state: Mutex::default(), ended: Notify::new() }
    }

    /// Where the block of this position begins.
    fn block_start(&self, offset: u64) -> u64 {
        offset - (offset - self.segments.base_of(offset)) % BLOCK_BYTES
    }

    fn block_end(&self, from: u64) -> u64 {
        self.segments.end_of(from).min(from + BLOCK_BYTES)
    }

    /// Says that a read ended here.
    pub(super) fn ended_at(&self, end: u64) {
        let mut state = self.state.lock();
        if state.ends.len() == ENDS_MAX {
            state.ends.pop_front();
        }
        state.ends.push_back(end);
    }

    /// Memory for another block: that of the one not used for longest, unless somebody holds on to a record of it.
    pub(super) fn memory(&self) -> BytesMut {
        let mut state = self.state.lock();
        let oldest = if state.blocks.len() < BLOCKS_MAX { None } else { state.blocks.pop_front() };
        drop(state);
        oldest.and_then(|block| block.bytes.try_into_mut().ok()).unwrap_or_default()
    }

    /// Keeps a block of the log that begins here.
    pub(super) fn keep(&self, from: u64, bytes: Bytes) {
        let mut state = self.state.lock();
        if state.blocks.len() == BLOCKS_MAX {
            state.blocks.pop_front();
        }
        state.blocks.push_back(Block { from, bytes, is_read: false });
    }

    /// For looking up several records.
    pub(super) fn kept(self: &Arc<Self>) -> Kept<'_> {
        Kept { ahead: self, last: None }
    }

    /// Has the block of this place read, if a read ended before it a moment ago. Longer records than a block are not for here.
    pub(super) fn go_on(self: &Arc<Self>, place: Place) {
        if place.end() - place.offset.0 > BLOCK_BYTES {
            return;
        }
        let (offset, mut state) = (place.offset.0, self.state.lock());
        let is_behind = |end: u64| (end..=end + GAP_BYTES_MAX).contains(&offset);
        let in_block = |block: &Block| block.from < offset && offset <= block.end() + GAP_BYTES_MAX;
        if state.ends.iter().any(|end| is_behind(*end)) || state.blocks.iter().any(in_block) {
            let wanted = self.want(&mut state, self.block_start(offset), 1);
            drop(state);
            self.ask(wanted);
        }
    }

    /// Waits while something of this place is being read ahead; whether it was.
    pub(super) async fn awaited(&self, place: Place) -> bool {
        let mut was_under_way = false;
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            let has_some = |from: &u64| *from < place.end() && place.offset.0 < self.block_end(*from);
            if !self.state.lock().under_way.iter().any(has_some) {
                return was_under_way;
            }
            was_under_way = true;
            ended.await;
        }
    }

    /// The blocks that are to be read now, of so many from here on: none while the nearer half is there or under way, and only
    /// what was appended whole.
    fn want(&self, state: &mut State, from: u64, depth: usize) -> Vec<u64> {
        let next = |from: &u64| Some(self.block_end(*from));
        let appended_to = self.marks.appended_to().0;
        let whole = successors(Some(from), next).take(depth).take_while(|from| self.block_end(*from) <= appended_to);
        if whole.clone().take(depth.div_ceil(2)).all(|from| state.has(from)) {
            return Vec::new();
        }
        let room = UNREAD_MAX.saturating_sub(state.unread());
        let wanted: Vec<_> = whole.filter(|from| !state.has(*from)).take(room).collect();
        state.under_way.extend(&wanted);
        wanted
    }

    /// Asks reader threads for what is wanted. Without room the reader will read for itself.
    fn ask(self: &Arc<Self>, wanted: Vec<u64>) {
        for from in wanted {
            drop(self.waiting.push(Request::Ahead(Wanted { ahead: Arc::clone(self), from })));
        }
    }

    /// The block that has this position. Those behind it are read meanwhile.
    fn find(self: &Arc<Self>, offset: u64) -> Option<Block> {
        let mut state = self.state.lock();
        let index = state.blocks.iter().rposition(|block| block.has(offset))?;
        let mut block = state.blocks.remove(index)?;
        block.is_read = true;
        state.blocks.push_back(block.clone());
        let wanted = self.want(&mut state, block.end(), DEPTH);
        drop(state);
        self.ask(wanted);
        Some(block)
    }

    /// How many blocks are kept.
    #[cfg(test)]
    pub(super) fn blocks(&self) -> usize {
        self.state.lock().blocks.len()
    }
}

/// What is kept, for one caller: records that follow each other cost one look-up.
pub(super) struct Kept<'a> {
    ahead: &'a Arc<ReadAhead>,
    last: Option<Block>,
}

impl Kept<'_> {
    /// The record, if it is here, whole and not expired. One that two blocks have is put together.
    pub(super) fn record(&mut self, place: Place) -> Option<Bytes> {
        let (from, end) = (place.offset.0, place.end());
        if from < self.ahead.segments.first() || end - from > BLOCK_BYTES {
            return None;
        }
        let mut record = self.block(from)?.slice(from, end);
        let front_end = from + record.len() as u64;
        if front_end < end {
            let mut whole = BytesMut::with_capacity((end - from) as usize);
            whole.put(record);
            whole.put(self.block(front_end)?.slice(front_end, end));
            record = whole.freeze();
        }
        check(place.offset, &record).is_ok().then_some(record)
    }

    fn block(&mut self, offset: u64) -> Option<&Block> {
        if !self.last.as_ref().is_some_and(|block| block.has(offset)) {
            self.last = self.ahead.find(offset);
        }
        self.last.as_ref()
    }
}
