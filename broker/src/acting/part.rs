//! Whether a slave stands in for its master, by what name servers say, and what it has taken meanwhile. A plain value, told the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use env::clock::Moment;
use remoting_proto::body::{GroupOffset, HandBack};
use types::topic::NameError;
use types::{GroupName, PhysicalOffset, QueueId, QueueOffset, Timestamp, TopicName};

use crate::command::TimerKey;
use crate::resets::Queue;

/// Most queues, each counted once a group, whose offsets are kept: with the longest names a hand-over of them fits in a frame. About 200 bytes each.
pub(crate) const OFFSETS_MAX: usize = 10_000;
/// Most delayed messages that are delivered in the master's stead; the others wait for it. About 60 bytes each, and 50 in a hand-over.
pub(crate) const DELIVERED_MAX: usize = 100_000;
/// How long a slave that has handed over does not stand in again, unless its master has registered meanwhile and is away anew; nor tells it the
/// same again.
const QUIET_FOR: Duration = Duration::from_secs(30);
/// The broker id of a master.
const MASTER: i64 = 0;

/// `HOST:PORT` by broker id.
pub(crate) type Members = BTreeMap<i64, String>;

/// Why an offset is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untaken {
    /// Who stands in takes no group back: at the master the farthest would count.
    #[error(
        "offset to commit is {offset}, the master was told of {committed}: a slave that stands in for it takes no group back"
    )]
    Behind {
        /// The offset.
        offset: QueueOffset,
        /// Where the group is.
        committed: QueueOffset,
    },
    /// There is no room.
    #[error("a slave that stands in for its master keeps {OFFSETS_MAX} offsets, which is the limit")]
    Full,
}

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// Who of its name each name server knows, as it has said last; `None` while it does not answer.
    seen: Vec<Option<Members>>,
    /// It has handed over, see [`QUIET_FOR`].
    quiet_until: Option<Moment>,
    /// A name server has known a master since then.
    has_seen_master: bool,
    stands_in: bool,
    /// Where groups are that have committed here, unless the log says it by now.
    offsets: BTreeMap<Queue, QueueOffset>,
    /// Delayed messages that other brokers have, unless the log says that they have ended.
    delivered: BTreeSet<TimerKey>,
}

impl Part {
    /// Of a broker with so many name servers that has kept these offsets, and knows of these delayed messages.
    pub(crate) fn new(
        name_servers: usize,
        offsets: BTreeMap<Queue, QueueOffset>,
        delivered: BTreeSet<TimerKey>,
    ) -> Self {
        Self { seen: vec![None; name_servers], offsets, delivered, ..Self::default() }
    }

    /// A name server has said who there is, or has not answered.
    pub(crate) fn see(&mut self, name_server: usize, members: Option<Members>) {
        self.has_seen_master |= members.as_ref().is_some_and(|members| members.contains_key(&MASTER));
        if let Some(seen) = self.seen.get_mut(name_server) {
            *seen = members;
        }
    }

    /// Decides anew whether the slave with this id stands in: no name server that answers knows a master, all know it as the lowest, and the
    /// master's log does not come. Whether that is new.
    pub(crate) fn decide(&mut self, own: i64, is_following: bool, now: Moment) -> bool {
        let is_quiet = self.is_quiet(now) && !self.has_seen_master;
        let mut lowest = self.seen.iter().flatten().map(|members| members.keys().next() == Some(&own)).peekable();
        let is_called = own != MASTER && lowest.peek().is_some() && lowest.all(|is_own| is_own);
        let before = std::mem::replace(&mut self.stands_in, is_called && !is_following && !is_quiet);
        before != self.stands_in
    }

    /// Whether its master has asked for what it has, a short while ago.
    pub(crate) fn is_quiet(&self, now: Moment) -> bool {
        self.quiet_until.is_some_and(|until| now < until)
    }

    /// Whether it does.
    pub(crate) fn stands_in(&self) -> bool {
        self.stands_in
    }

    /// Where the master answers, if a name server knows one.
    pub(crate) fn master(&self) -> Option<String> {
        self.seen.iter().flatten().find_map(|members| members.get(&MASTER).cloned())
    }

    /// Where the others of its name answer that are not the master, by all name servers; `None` when none of them answers.
    pub(crate) fn slaves(&self) -> Option<Vec<String>> {
        self.seen.iter().any(Option::is_some).then(|| {
            let known = self.seen.iter().flatten().flatten().filter(|(id, _)| **id != MASTER);
            let mut slaves: Vec<_> = known.map(|(_, address)| address.clone()).collect();
            slaves.sort_unstable();
            slaves.dedup();
            slaves
        })
    }

    /// Takes a commit of a group which is at `committed` by the log.
    ///
    /// # Errors
    /// [`Untaken`].
    pub(crate) fn commit(
        &mut self,
        queue: &Queue,
        committed: Option<QueueOffset>,
        offset: QueueOffset,
    ) -> Result<(), Untaken> {
        match committed {
            Some(committed) if offset < committed => return Err(Untaken::Behind { offset, committed }),
            // What is kept may be farther.
            Some(committed) if offset == committed => drop(self.offsets.remove(queue)),
            _ if self.offsets.len() == OFFSETS_MAX && !self.offsets.contains_key(queue) => return Err(Untaken::Full),
            _ => drop(self.offsets.insert(queue.clone(), offset)),
        }
        Ok(())
    }

    /// Where a group is that is at `committed` by the log.
    pub(crate) fn committed(&self, queue: &Queue, committed: Option<QueueOffset>) -> Option<QueueOffset> {
        self.offsets.get(queue).copied().max(committed)
    }

    /// All that is kept.
    pub(crate) fn offsets(&self) -> &BTreeMap<Queue, QueueOffset> {
        &self.offsets
    }

    /// The log says it by now, or there is no such group or topic any more; whether it was kept.
    pub(crate) fn forget(&mut self, queue: &Queue, offset: QueueOffset) -> bool {
        let is_kept = self.offsets.get(queue) == Some(&offset);
        if is_kept {
            self.offsets.remove(queue);
        }
        is_kept
    }

    /// Delayed messages that other brokers have.
    pub(crate) fn delivered(&mut self) -> &mut BTreeSet<TimerKey> {
        &mut self.delivered
    }

    /// What the master is told.
    pub(crate) fn told(&self) -> HandBack {
        let delivered = self.delivered.iter().map(|(due, offset)| (due.0, offset.0)).collect();
        HandBack { offsets: told(&self.offsets), delivered, locks: Vec::new() }
    }

    /// The master has this.
    pub(crate) fn forget_told(&mut self, told: HandBack) {
        for (queue, offset) in told.offsets.into_iter().filter_map(|offset| heard(offset).ok()) {
            self.forget(&queue, offset);
        }
        for key in told.delivered {
            self.delivered.remove(&timer_key(key));
        }
    }

    /// The master has asked: it serves again.
    pub(crate) fn rest(&mut self, now: Moment) {
        (self.quiet_until, self.has_seen_master) = (Some(now.plus(QUIET_FOR)), false);
        self.stands_in = false;
    }
}

/// A delayed message, as it is told.
pub(crate) fn timer_key((due, offset): (i64, u64)) -> TimerKey {
    (Timestamp(due), PhysicalOffset(offset))
}

/// As it goes to others, and into the file.
fn told(offsets: &BTreeMap<Queue, QueueOffset>) -> Vec<GroupOffset> {
    let told = |((group, topic, queue), offset): (&Queue, &QueueOffset)| GroupOffset {
        group: group.to_string(),
        topic: topic.to_string(),
        queue: queue.0,
        offset: offset.0,
    };
    offsets.iter().map(told).collect()
}

/// The same way back.
///
/// # Errors
/// A name that is none.
pub(crate) fn heard(told: GroupOffset) -> Result<(Queue, QueueOffset), NameError> {
    let GroupOffset { group, topic, queue, offset } = told;
    Ok(((GroupName::new(&group)?, TopicName::new(&topic)?, QueueId(queue)), QueueOffset(offset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(ids: &[i64]) -> Option<Members> {
        Some(ids.iter().map(|id| (*id, format!("broker:{id}"))).collect())
    }

    fn queue(number: u32) -> Queue {
        (GroupName::new("g").expect("valid"), TopicName::new("t").expect("valid"), QueueId(number))
    }

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn the_lowest_stands_in_while_nobody_knows_a_master() {
        let mut part = Part::new(2, BTreeMap::new(), BTreeSet::new());
        assert!(!part.decide(1, false, at(0)), "nobody has said anything");
        part.see(0, members(&[1, 2]));
        assert!(part.decide(1, false, at(0)) && part.stands_in(), "the other one does not answer");
        assert!(part.decide(1, true, at(0)) && !part.stands_in(), "the master's log comes");
        assert!(!part.decide(2, false, at(0)), "it is not the lowest");
        assert!(!part.decide(0, false, at(0)), "it is the master");
        part.see(1, members(&[0, 1, 2]));
        assert!(!part.decide(1, false, at(0)), "one knows the master");
        assert_eq!(part.master().as_deref(), Some("broker:0"));
        assert_eq!(part.slaves(), Some(vec!["broker:1".to_owned(), "broker:2".to_owned()]));
        part.see(1, members(&[2]));
        assert!(!part.decide(1, false, at(0)), "one does not know this slave");
        part.see(1, None);
        assert!(part.decide(1, false, at(0)) && part.stands_in());
        part.see(0, None);
        assert!(part.decide(1, false, at(0)) && !part.stands_in());
        assert_eq!(part.slaves(), None);
    }

    #[test]
    fn who_has_handed_over_leaves_the_master_time_to_register() {
        let mut part = Part::new(1, BTreeMap::new(), BTreeSet::new());
        part.see(0, members(&[1]));
        assert!(part.decide(1, false, at(0)));
        part.commit(&queue(0), None, QueueOffset(3)).expect("taken");
        part.rest(at(1));
        assert!(!part.stands_in() && !part.decide(1, false, at(30)));
        assert_eq!(part.told().offsets.len(), 1, "until the log says it");
        assert!(part.decide(1, false, at(31)), "the master did not come back");
        part.rest(at(32));
        part.see(0, members(&[0, 1]));
        part.see(0, members(&[1]));
        assert!(part.decide(1, false, at(33)), "it came and went");
    }

    #[test]
    fn a_group_goes_forward_only() {
        let mut part = Part::default();
        let known = Some(QueueOffset(5));
        let behind = Untaken::Behind { offset: QueueOffset(4), committed: QueueOffset(5) };
        assert_eq!(part.commit(&queue(0), known, QueueOffset(4)), Err(behind));
        part.commit(&queue(0), known, QueueOffset(9)).expect("taken");
        assert_eq!(part.committed(&queue(0), known), Some(QueueOffset(9)));
        part.commit(&queue(0), known, QueueOffset(7)).expect("its own commits may go back");
        assert_eq!(part.committed(&queue(0), Some(QueueOffset(8))), Some(QueueOffset(8)), "the log is ahead");
        part.commit(&queue(0), known, QueueOffset(5)).expect("taken");
        assert_eq!(part.committed(&queue(0), known), known);
        assert_eq!(part.committed(&queue(1), None), None);
    }

    #[test]
    fn what_is_kept_is_bounded_and_goes_once_the_log_says_it() {
        let offset = QueueOffset(1);
        let mut part =
            Part::new(0, (0..OFFSETS_MAX as u32).map(|number| (queue(number), offset)).collect(), BTreeSet::new());
        assert_eq!(part.commit(&queue(OFFSETS_MAX as u32), None, offset), Err(Untaken::Full));
        part.commit(&queue(7), None, QueueOffset(2)).expect("it is there");
        assert!(!part.forget(&queue(7), offset), "it was committed anew");
        assert!(part.forget(&queue(8), offset) && !part.forget(&queue(8), offset));
        part.commit(&queue(OFFSETS_MAX as u32), None, offset).expect("there is room");
        let told = part.told();
        part.commit(&queue(7), None, QueueOffset(3)).expect("it is there");
        part.forget_told(told);
        assert_eq!(part.offsets().keys().collect::<Vec<_>>(), [&queue(7)], "it was committed anew");
    }

    #[test]
    fn a_frame_has_room_for_all() {
        let longest = GroupOffset { group: "g".repeat(255), topic: "t".repeat(255), queue: u32::MAX, offset: u64::MAX };
        let bytes = |value: &dyn Fn() -> serde_json::Result<Vec<u8>>| value().expect("JSON").len() + 1;
        let offsets = OFFSETS_MAX * bytes(&|| serde_json::to_vec(&longest));
        let delivered = DELIVERED_MAX * bytes(&|| serde_json::to_vec(&(i64::MAX, u64::MAX)));
        // The rest is for locks.
        assert!(offsets + delivered < remoting_proto::FRAME_BYTES_MAX * 3 / 4, "{offsets} {delivered}");
    }
}
