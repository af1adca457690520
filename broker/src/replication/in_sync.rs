//! Which slaves a master under controllers waits for, and which it tells them are in sync. A plain value.
//!
//! The controllers elect only a broker that is in sync, so all that is acknowledged must be at all of these. A broker that has come near
//! is waited for first, and told of once it has all that was acknowledged until then; one that was told of is waited for until the controllers
//! say that it is not in sync. So whichever of the two sets holds there, it holds all that is acknowledged here.
//! Source: Apache 5.5 `AutoSwitchHAService#maybeExpandInSyncStateSet`, `#maybeShrinkSyncStateSet`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use env::clock::Moment;
use types::PhysicalOffset;

use super::slaves::Slaves;
use crate::membership::MemberId;

/// How far a slave may be behind for the master to begin to wait for it, in bytes.
const NEAR_BYTES: u64 = 4 * 1024 * 1024;
/// How long it has then to have all of it, and how long it is not tried with it again if it has not.
const JOINS_WITHIN: Duration = Duration::from_secs(1);
const JOINS_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How long a slave may not have had all that the master has. Source: `haMaxTimeSlaveNotCatchup`.
pub(crate) const BEHIND_MAX: Duration = Duration::from_secs(15);

/// See the module's head.
#[derive(Debug)]
pub(crate) struct InSync {
    own: MemberId,
    confirmed: BTreeSet<MemberId>,
    /// Which one that is of the sets that there were.
    epoch: i32,
    joining: Option<Joining>,
    /// Not before then another one is tried.
    joins_from: Moment,
    /// What the controllers were told, or are about to be, until they have decided it.
    told: Option<BTreeSet<MemberId>>,
    progress: BTreeMap<MemberId, Progress>,
}

/// A slave that is to be in sync.
#[derive(Debug)]
struct Joining {
    id: MemberId,
    /// All up to here may have been acknowledged without it.
    needs: PhysicalOffset,
    until: Moment,
}

/// How a slave keeps up.
#[derive(Debug)]
struct Progress {
    /// Where the log ended when it was looked at.
    end: PhysicalOffset,
    looked_at: Moment,
    /// When the slave had all, as far as is known.
    had_all_at: Moment,
}

/// What the controllers are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who is in sync from now on, the master among them.
    pub in_sync: BTreeSet<MemberId>,
    /// The epoch of the set before.
    pub epoch: i32,
}

impl InSync {
    /// As the controllers say it when `own` has become the master.
    pub(crate) fn new(own: MemberId, confirmed: BTreeSet<MemberId>, epoch: i32) -> Self {
        let progress = BTreeMap::new();
        Self { own, confirmed, epoch, joining: None, joins_from: Moment::default(), told: None, progress }
    }

    /// Whether a broker is in sync, as far as the controllers are known to have agreed.
    pub(crate) fn has(&self, id: MemberId) -> bool {
        self.confirmed.contains(&id)
    }

    /// Whom the master waits for, however few they are: the controllers may elect any of them.
    pub(crate) fn waited_for(&self) -> BTreeSet<MemberId> {
        let mut others = self.confirmed.clone();
        others.extend(self.told.iter().flatten());
        others.extend(self.joining.as_ref().map(|joining| joining.id));
        others.remove(&self.own);
        others
    }

    /// What the controllers are to be told now, if anything; the same again until they have decided it. `end` is where the log ends, of
    /// which nothing beyond that was acknowledged.
    pub(crate) fn next(&mut self, slaves: &Slaves, end: PhysicalOffset, now: Moment) -> Option<Change> {
        if self.told.is_none() {
            self.look(slaves, end, now);
            self.told = self.without_lost(slaves, now).or_else(|| self.with_joined(slaves, end, now));
        }
        let told = self.told.clone()?;
        Some(Change { in_sync: told, epoch: self.epoch })
    }

    /// The controllers say this. A set from before changes nothing.
    pub(crate) fn decided(&mut self, in_sync: &BTreeSet<MemberId>, epoch: i32) {
        if epoch > self.epoch {
            (self.confirmed, self.epoch, self.told) = (in_sync.clone(), epoch, None);
        }
    }

    /// They have refused what they were told last, and this holds since.
    pub(crate) fn refused(&mut self, in_sync: &BTreeSet<MemberId>, epoch: i32, now: Moment) {
        if epoch >= self.epoch {
            (self.confirmed, self.epoch, self.told) = (in_sync.clone(), epoch, None);
            self.joins_from = now.plus(JOINS_AGAIN_AFTER);
        }
    }

    fn look(&mut self, slaves: &Slaves, end: PhysicalOffset, now: Moment) {
        self.progress.retain(|id, _| self.confirmed.contains(id));
        for id in self.confirmed.iter().filter(|id| **id != self.own) {
            let new = || Progress { end, looked_at: now, had_all_at: now };
            let progress = self.progress.entry(*id).or_insert_with(new);
            if slaves.of(*id).is_some_and(|slave| slave.has_to >= progress.end) {
                *progress = Progress { end, looked_at: now, had_all_at: progress.looked_at };
            }
        }
    }

    /// Without those that have gone or do not keep up, if there are such.
    fn without_lost(&self, slaves: &Slaves, now: Moment) -> Option<BTreeSet<MemberId>> {
        let keeps_up = |id: &&MemberId| {
            let had_all_at = self.progress.get(id).map_or(now, |progress| progress.had_all_at);
            **id == self.own || slaves.of(**id).is_some() && now.since(had_all_at) <= BEHIND_MAX
        };
        let left: BTreeSet<_> = self.confirmed.iter().filter(keeps_up).copied().collect();
        (left != self.confirmed).then_some(left)
    }

    /// With one that has all by now. One after the other.
    fn with_joined(&mut self, slaves: &Slaves, end: PhysicalOffset, now: Moment) -> Option<BTreeSet<MemberId>> {
        if let Some(Joining { id, needs, until }) = self.joining {
            let has_to = slaves.of(id).map(|slave| slave.has_to);
            if has_to.is_some_and(|has_to| has_to >= needs) {
                self.joining = None;
                return Some(self.confirmed.iter().copied().chain([id]).collect());
            }
            if has_to.is_none() || now >= until {
                self.joining = None;
                self.joins_from = now.plus(JOINS_AGAIN_AFTER);
            }
        } else if now >= self.joins_from {
            let near = slaves.all().filter(|slave| slave.has_to.plus(NEAR_BYTES) >= end);
            let id = near.filter_map(|slave| slave.member).find(|id| !self.confirmed.contains(id));
            self.joining = id.map(|id| Joining { id, needs: end, until: now.plus(JOINS_WITHIN) });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::super::slaves::SlaveId;
    use super::*;

    const AT: fn(u64) -> PhysicalOffset = PhysicalOffset;

    fn at(ms: u64) -> Moment {
        Moment(Duration::from_millis(ms))
    }

    fn ids(ids: &[i64]) -> BTreeSet<MemberId> {
        ids.iter().copied().map(MemberId).collect()
    }

    /// A new master of three.
    struct Case {
        in_sync: InSync,
        slaves: Slaves,
    }

    impl Case {
        fn new(confirmed: &[i64]) -> Self {
            Self { in_sync: InSync::new(MemberId(1), ids(confirmed), 5), slaves: Slaves::default() }
        }

        fn connect(&mut self, id: i64, has_to: u64) -> SlaveId {
            self.slaves.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), AT(has_to), Some(MemberId(id)))
        }

        fn next(&mut self, end: u64, now: u64) -> Option<BTreeSet<MemberId>> {
            self.in_sync.next(&self.slaves, AT(end), at(now)).map(|change| change.in_sync)
        }

        fn have_to(&self) -> Option<u64> {
            self.slaves.all_have_to(&self.in_sync.waited_for()).map(|to| to.0)
        }
    }

    #[test]
    fn a_slave_is_waited_for_before_it_is_told_of_and_has_all_then() {
        let mut case = Case::new(&[1]);
        assert_eq!((case.next(100, 0), case.have_to()), (None, None));
        let slave = case.connect(2, 90);
        assert_eq!((case.next(100, 1), case.have_to()), (None, Some(90)));
        // What comes from now on waits for it; it needs only what was there before.
        case.slaves.report(slave, AT(99));
        assert_eq!(case.next(150, 2), None);
        case.slaves.report(slave, AT(100));
        assert_eq!((case.next(150, 3), case.have_to()), (Some(ids(&[1, 2])), Some(100)));
        assert_eq!(case.next(200, 4), Some(ids(&[1, 2])), "again until it is decided");
        case.slaves.disconnect(slave);
        assert_eq!((case.next(200, 4), case.have_to()), (Some(ids(&[1, 2])), Some(0)), "they may have decided it");
        case.in_sync.decided(&ids(&[1, 2]), 6);
        assert_eq!(
            (case.next(200, 5), case.have_to()),
            (Some(ids(&[1])), Some(0)),
            "it is waited for until they agree"
        );
        case.in_sync.decided(&ids(&[1]), 7);
        assert_eq!((case.next(200, 6), case.have_to()), (None, None));
    }

    #[test]
    fn all_in_sync_are_waited_for() {
        let mut case = Case::new(&[1, 2, 3]);
        let (near, far) = (case.connect(2, 90), case.connect(3, 50));
        assert_eq!((case.next(100, 0), case.have_to()), (None, Some(50)));
        case.slaves.disconnect(near);
        assert_eq!(case.have_to(), Some(0));
        assert_eq!(case.next(100, 1), Some(ids(&[1, 3])));
        case.in_sync.decided(&ids(&[1, 3]), 6);
        assert_eq!((case.have_to(), case.in_sync.waited_for()), (Some(50), ids(&[3])));
        case.slaves.report(far, AT(100));
        assert_eq!(case.have_to(), Some(100));
        case.in_sync.decided(&ids(&[1, 2, 3]), 5);
        assert_eq!(case.in_sync.waited_for(), ids(&[3]), "an answer that was late");
    }

    #[test]
    fn who_does_not_keep_up_is_left_out() {
        let mut case = Case::new(&[1, 2]);
        let slave = case.connect(2, 100);
        let most = BEHIND_MAX.as_millis() as u64;
        assert_eq!(case.next(100, 0), None);
        // It gets what was there a while ago, and goes on so.
        for now in (1000..=most * 3).step_by(1000) {
            case.slaves.report(slave, AT(now - 900));
            assert_eq!(case.next(now, now), None);
        }
        let last = most * 3;
        case.slaves.report(slave, AT(last - 1));
        assert_eq!(case.next(last + 9, last + most - 1000), None);
        assert_eq!(case.next(last + 9, last + most + 1), Some(ids(&[1])));
    }

    #[test]
    fn who_joins_too_slowly_holds_nobody_up_for_long() {
        let mut case = Case::new(&[1]);
        let slave = case.connect(2, 90);
        assert_eq!((case.next(100, 0), case.have_to()), (None, Some(90)));
        assert_eq!((case.next(100, 1000), case.have_to()), (None, None));
        assert_eq!((case.next(100, 5999), case.have_to()), (None, None));
        assert_eq!((case.next(100, 6000), case.have_to()), (None, Some(90)));
        case.slaves.report(slave, AT(100));
        assert_eq!(case.next(100, 6001), Some(ids(&[1, 2])));
        case.in_sync.refused(&ids(&[1]), 4, at(6002));
        assert_eq!(case.have_to(), Some(100), "a word from before");
        case.in_sync.refused(&ids(&[1]), 5, at(6002));
        assert_eq!((case.next(100, 6003), case.have_to()), (None, None));
        let far = NEAR_BYTES + 101;
        assert_eq!((case.next(far, 20_000), case.have_to()), (None, None), "it is not near");
    }
}
