//! The pop itself: which entries a consumer gets.
//!
//! The topic's queues, and the group's retry queue for the topic, see [`super::retry`]: it comes first once in a while, else
//! last. Of each queue first what is ready again, oldest first, then what was never looked at, up to the bounds. New entries
//! behind the head of their message group are taken in as blocked and looked past.

use smallvec::SmallVec;
use types::receipt_handle::HandleSource;
use types::topic::QUEUES_MAX;
use types::{QueueId, QueueOffset, Timestamp};

use super::apply::after;
use super::event::{Offsets, PopEvent, Popped, Run, RunKind, SlotId, Terms};
use super::lease::LeaseId;
use super::slot::{QUEUE_LINE, Slot, Stage};
use super::{
    BLOCKED_MAX, Leased, PopEnd, PopMachine, PopQueues, PopRequest, QueueEntry, QueueView, RETRIES_MAX,
    SCAN_ENTRIES_MAX, UNFINISHED_MAX,
};

/// Index entries that are read at a time.
const READ_ENTRIES: usize = 32;

/// What a pop found in one queue.
#[derive(Default)]
pub(super) struct Finds {
    /// Unfinished entries to lease again.
    again: Offsets,
    /// Unfinished entries that the filter does not want any more.
    unwanted: Offsets,
    /// What the new entries are.
    fresh: SmallVec<[Run; 2]>,
    /// The entries to lease, with the number of their delivery and whether they are in a line.
    picked: SmallVec<[Picked; 4]>,
    /// Whether [`SCAN_ENTRIES_MAX`] ended the look.
    is_cut: bool,
    /// Whether what is new is about to expire.
    is_held_back: bool,
}

/// What a pop asks of each of its queues.
struct Request<'a, V> {
    of: &'a PopRequest<'a>,
    view: &'a V,
    now: Timestamp,
    /// How many messages it has in the end, at most.
    messages_max: usize,
    /// Whether new entries may be taken in: not while [`RETRIES_MAX`] wait in the retry queue.
    is_fresh_wanted: bool,
}

pub(super) struct Picked {
    entry: QueueEntry,
    attempt: u32,
    is_ordered: bool,
}

impl Finds {
    /// Whether a pop would lease something, or get past something that it does not want.
    pub(super) fn is_something(&self) -> bool {
        !self.picked.is_empty() || self.is_cut
    }
}

impl PopMachine {
    /// Leases what is there for `request` and appends it to `leased`, at most [`PopRequest::messages_max`].
    ///
    /// A group that never popped from the topic begins on all its queues: where it pulled to, else at the first message where none of the
    /// topic's has expired or the request says so, else at the end. A repeated attempt of the same client gets its ordered messages again, and nothing else.
    pub fn pop(
        &mut self,
        request: &PopRequest<'_>,
        view: &impl QueueView,
        now: Timestamp,
        events: &mut Vec<PopEvent>,
        leased: &mut Vec<Leased>,
    ) -> PopEnd {
        if self.reenter(request, view, now, events, leased) {
            return PopEnd::Done;
        }
        let messages_max = leased.len() + request.messages_max as usize;
        let (queues, is_rotating) = match request.queues {
            PopQueues::One(_) => (0, false),
            PopQueues::Any(queues) => (queues.min(QUEUES_MAX), true),
            PopQueues::Ranked(queues) => (queues.min(QUEUES_MAX), false),
        };
        let turn = self.slots.turn(request.owner, queues);
        // A new group begins on all queues at once: what arrives from now on is for it, wherever it looks first.
        for queue in (0..queues).filter(|_| !turn.has_all) {
            self.begin(request, QueueId(queue), view, events);
        }
        let retries = turn.retry.and_then(|id| self.slots.get(id)).map_or(0, |slot| slot.entries.len());
        let is_fresh_wanted = retries < RETRIES_MAX;
        let look = Request { of: request, view, now, messages_max, is_fresh_wanted };
        let mut is_cut = false;
        let retry = turn.retry.filter(|id| turn.is_retry_first || self.is_worth_a_look(*id));
        if let Some(id) = retry.filter(|_| turn.is_retry_first) {
            is_cut |= self.pop_slot(id, &look, events, leased);
        }
        if let PopQueues::One(queue) = request.queues
            && queue.0 < QUEUES_MAX
        {
            let id = self.begin(request, queue, view, events);
            is_cut |= self.pop_slot(id, &look, events, leased);
        }
        for step in 0..queues {
            if leased.len() >= messages_max {
                break;
            }
            let queue = if is_rotating { turn.rotation.wrapping_add(step) % queues } else { queues - 1 - step };
            if is_rotating {
                self.slots.set_rotation(request.owner, queue + 1);
            }
            let id = self.begin(request, QueueId(queue), view, events);
            is_cut |= self.pop_slot(id, &look, events, leased);
        }
        if let Some(id) = retry.filter(|_| !turn.is_retry_first && leased.len() < messages_max) {
            is_cut |= self.pop_slot(id, &look, events, leased);
        }
        if is_cut && leased.len() < messages_max { PopEnd::ScanLimit } else { PopEnd::Done }
    }

    /// Whether a retry queue may have something: most have not, and then cost no look at their end.
    fn is_worth_a_look(&self, id: SlotId) -> bool {
        self.slots.get(id).is_some_and(|slot| slot.is_unread || !slot.ready.is_empty())
    }

    pub(super) fn begin(
        &mut self,
        request: &PopRequest<'_>,
        queue: QueueId,
        view: &impl QueueView,
        events: &mut Vec<PopEvent>,
    ) -> SlotId {
        if let Some(id) = self.slots.find(request.owner, queue) {
            return id;
        }
        let (first, end) = view.range(&request.owner.topic, queue);
        let is_whole = first == view.floor(&request.owner.topic, queue);
        let new = if is_whole || request.begins_at_first { first } else { end };
        let start = view.pulled_to(request.owner, queue).map_or(new, |pulled| pulled.clamp(first, end.max(first)));
        let slot = self.slots.next_id();
        self.commit(PopEvent::Began { slot, owner: request.owner.clone(), queue, start }, events);
        slot
    }

    /// Pops from one queue; whether the bound on the look ended it.
    fn pop_slot(
        &mut self,
        id: SlotId,
        request: &Request<'_, impl QueueView>,
        events: &mut Vec<PopEvent>,
        leased: &mut Vec<Leased>,
    ) -> bool {
        let wanted = request.messages_max - leased.len();
        match self.look_in(id, (request.of, request.view), (wanted, request.is_fresh_wanted), events) {
            Some(finds) => self.settle(id, request.of, request.now, finds, events, leased),
            None => false,
        }
    }

    /// What a pop of at most `wanted` messages would get from one queue; `None` when there is nothing to look at. Only what has
    /// expired is changed.
    pub(super) fn look_in(
        &mut self,
        id: SlotId,
        (request, view): (&PopRequest<'_>, &impl QueueView),
        (wanted, is_fresh_wanted): (usize, bool),
        events: &mut Vec<PopEvent>,
    ) -> Option<Finds> {
        let slot = self.slots.get(id).expect("a slot that was just looked up");
        let (first, end) = view.range(&slot.owner.topic, slot.queue);
        if slot.committed() < first {
            self.commit(PopEvent::Trimmed { slot: id, first }, events);
        }
        let slot = self.slots.get(id).expect("a slot that was just looked up");
        if slot.ready.is_empty() && slot.next >= end {
            self.slots.get_mut(id).expect("a slot that was just looked up").is_unread = false;
            return None;
        }
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let mut finds = Finds::default();
        look_at_ready(slot, request, view, wanted, end, &mut buffer, &mut finds);
        if is_fresh_wanted {
            look_at_fresh(slot, request, view, wanted, end, &mut buffer, &mut finds);
        }
        self.read_buffer = buffer;
        if finds.is_held_back {
            self.held_back.insert(id);
        }
        Some(finds)
    }

    /// Makes events of what a pop found.
    fn settle(
        &mut self,
        id: SlotId,
        request: &PopRequest<'_>,
        now: Timestamp,
        finds: Finds,
        events: &mut Vec<PopEvent>,
        leased: &mut Vec<Leased>,
    ) -> bool {
        let Finds { again, unwanted, fresh, picked, is_cut, is_held_back: _ } = finds;
        let slot = self.slots.get(id).expect("a slot that was just looked up");
        let (queue, last_pop) = (slot.queue, slot.last_pop);
        let is_retry = slot.is_retry && slot.owner.topic != request.owner.topic;
        let source = if is_retry { HandleSource::RetryV1 } else { HandleSource::Topic };
        if !unwanted.is_empty() {
            self.commit(PopEvent::Finished { slot: id, offsets: unwanted }, events);
        }
        if again.is_empty() && fresh.is_empty() {
            return is_cut;
        }
        // Only what was delivered before has handles that must become invalid; for new entries an equal time will
        // do, so that many pops in one millisecond do not drive the pop time away from the clock.
        let popped_at = if again.is_empty() { now.max(last_pop) } else { now.max(after(last_pop)) };
        let is_ordered = picked.iter().any(|picked| picked.is_ordered);
        let terms = (!picked.is_empty()).then(|| terms(request, popped_at, now, is_ordered, false));
        self.commit(PopEvent::Popped(Popped { slot: id, again, fresh, terms }), events);
        self.note_span(id);
        hand_out(source, queue, &picked, request, popped_at, leased);
        is_cut
    }

    /// Hands a repeated attempt its ordered messages again; whether there were any.
    fn reenter(
        &mut self,
        request: &PopRequest<'_>,
        view: &impl QueueView,
        now: Timestamp,
        events: &mut Vec<PopEvent>,
        leased: &mut Vec<Leased>,
    ) -> bool {
        let Some(attempt_id) = request.attempt_id else { return false };
        let leased_before = leased.len();
        for lease in self.leases.of_attempt(request.client, attempt_id) {
            let id = self.leases.get(lease).slot;
            let slot = self.slots.get(id).expect("the slot of an open lease");
            let is_asked = match request.queues {
                PopQueues::One(queue) => slot.queue == queue,
                PopQueues::Any(queues) | PopQueues::Ranked(queues) => slot.queue.0 < queues,
            };
            if slot.owner != *request.owner || !is_asked {
                continue;
            }
            let queue = slot.queue;
            let popped_at = now.max(after(slot.last_pop));
            let mut buffer = std::mem::take(&mut self.read_buffer);
            let room = request.messages_max as usize - (leased.len() - leased_before);
            let picked = self.still_leased(lease, slot, view, room, &mut buffer);
            self.read_buffer = buffer;
            if picked.is_empty() {
                continue;
            }
            let again = picked.iter().map(|picked| picked.entry.offset).collect();
            let terms = Some(terms(request, popped_at, now, true, true));
            self.commit(PopEvent::Popped(Popped { slot: id, again, fresh: SmallVec::new(), terms }), events);
            hand_out(HandleSource::Topic, queue, &picked, request, popped_at, leased);
        }
        leased.len() > leased_before
    }

    /// The ordered entries that are still in a lease, at most `room`.
    fn still_leased(
        &self,
        lease: LeaseId,
        slot: &Slot,
        view: &impl QueueView,
        room: usize,
        buffer: &mut Vec<QueueEntry>,
    ) -> SmallVec<[Picked; 4]> {
        let is_open = |offset: &&QueueOffset| {
            let entry = slot.entries.get(offset);
            entry.is_some_and(|entry| entry.stage == Stage::Leased(lease) && entry.line != 0)
        };
        let offsets = self.leases.get(lease).offsets.iter().filter(is_open);
        let picked = offsets.filter_map(|offset| {
            let attempt = u32::from(slot.entries[offset].attempts);
            Some(Picked { entry: read_one(slot, view, *offset, buffer)?, attempt, is_ordered: true })
        });
        picked.take(room).collect()
    }
}

fn look_at_ready(
    slot: &Slot,
    request: &PopRequest<'_>,
    view: &impl QueueView,
    wanted: usize,
    end: QueueOffset,
    buffer: &mut Vec<QueueEntry>,
    finds: &mut Finds,
) {
    for &offset in slot.ready.range(..end).take(SCAN_ENTRIES_MAX) {
        if finds.picked.len() >= wanted {
            break;
        }
        let Some(entry) = read_one(slot, view, offset, buffer) else { continue };
        if !request.filter.wants_tag_hash(entry.tag_hash) {
            finds.unwanted.push(offset);
            continue;
        }
        let unfinished = &slot.entries[&offset];
        let attempt = u32::from(unfinished.attempts).saturating_add(1);
        finds.again.push(offset);
        finds.picked.push(Picked { entry, attempt, is_ordered: unfinished.line != 0 });
    }
}

fn look_at_fresh(
    slot: &Slot,
    request: &PopRequest<'_>,
    view: &impl QueueView,
    wanted: usize,
    end: QueueOffset,
    buffer: &mut Vec<QueueEntry>,
    finds: &mut Finds,
) {
    let mut next = slot.next;
    if next < view.stays_from(&slot.owner.topic, slot.queue).min(end) {
        finds.is_held_back = true;
        return;
    }
    let mut scan_left = SCAN_ENTRIES_MAX;
    let mut unfinished_room = UNFINISHED_MAX.saturating_sub(slot.entries.len());
    let mut blocked_room = BLOCKED_MAX.saturating_sub(slot.blocked);
    let mut opened: SmallVec<[u32; 8]> = SmallVec::new();
    while next < end {
        if scan_left == 0 {
            finds.is_cut = true;
            return;
        }
        if finds.picked.len() >= wanted || unfinished_room == 0 || blocked_room == 0 {
            return;
        }
        buffer.clear();
        view.read(&slot.owner.topic, slot.queue, next, scan_left.min(READ_ENTRIES), buffer);
        if buffer.is_empty() {
            return;
        }
        for entry in buffer.iter() {
            if finds.picked.len() >= wanted || unfinished_room == 0 || blocked_room == 0 {
                return;
            }
            debug_assert_eq!(entry.offset, next, "the index has no gaps");
            next = next.next();
            scan_left -= 1;
            let kind = kind_of(entry, slot, request);
            push_run(&mut finds.fresh, kind);
            let line = match kind {
                RunKind::Skipped => continue,
                RunKind::Free => 0,
                RunKind::Line(line) => line,
            };
            unfinished_room -= 1;
            if line != 0 && (slot.has_line(line) || opened.contains(&line)) {
                blocked_room -= 1;
                continue;
            }
            if line != 0 {
                opened.push(line);
            }
            finds.picked.push(Picked { entry: *entry, attempt: 1, is_ordered: line != 0 });
        }
    }
}

fn kind_of(entry: &QueueEntry, slot: &Slot, request: &PopRequest<'_>) -> RunKind {
    match entry.group_hash {
        _ if !request.filter.wants_tag_hash(entry.tag_hash) => RunKind::Skipped,
        // Nothing waits behind what has failed.
        _ if slot.is_retry => RunKind::Free,
        0 if request.is_fifo => RunKind::Line(QUEUE_LINE),
        0 => RunKind::Free,
        line => RunKind::Line(line),
    }
}

fn push_run(runs: &mut SmallVec<[Run; 2]>, kind: RunKind) {
    match runs.last_mut() {
        Some(run) if run.kind == kind => run.count += 1,
        _ => runs.push(Run { count: 1, kind }),
    }
}

fn read_one(
    slot: &Slot,
    view: &impl QueueView,
    offset: QueueOffset,
    buffer: &mut Vec<QueueEntry>,
) -> Option<QueueEntry> {
    buffer.clear();
    view.read(&slot.owner.topic, slot.queue, offset, 1, buffer);
    buffer.first().copied().filter(|entry| entry.offset == offset)
}

fn terms(request: &PopRequest<'_>, popped_at: Timestamp, now: Timestamp, is_ordered: bool, is_reentry: bool) -> Terms {
    Terms {
        popped_at,
        visible_at: now.plus(request.invisible),
        invisible: request.invisible,
        client: request.client.clone(),
        auto_renew: request.auto_renew,
        is_reentry,
        attempt_id: request.attempt_id.filter(|_| is_ordered).cloned(),
    }
}

fn hand_out(
    source: HandleSource,
    queue: QueueId,
    picked: &[Picked],
    request: &PopRequest<'_>,
    popped_at: Timestamp,
    leased: &mut Vec<Leased>,
) {
    let Some(first) = picked.first() else { return };
    leased.extend(picked.iter().map(|picked| Leased {
        source,
        queue,
        entry: picked.entry,
        attempt: picked.attempt,
        popped_at,
        invisible: request.invisible,
        start_offset: first.entry.offset,
        is_ordered: picked.is_ordered,
    }));
}
