//! What a master knows of its slaves. A plain value.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use types::PhysicalOffset;

use crate::membership::MemberId;

/// How far a slave may be behind to be one that keeps up, in bytes. Source: `haMaxGapNotInSync`.
pub(crate) const BEHIND_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlaveId(u64);

/// A slave that is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slave {
    /// From where.
    pub(crate) remote: SocketAddr,
    /// How far its log goes by what it has said.
    pub(crate) has_to: PhysicalOffset,
    /// Which broker of the name it is, where controllers know them.
    pub(crate) member: Option<MemberId>,
}

/// The slaves that are connected. Bounded by the connections that are taken.
#[derive(Debug, Default)]
pub(crate) struct Slaves {
    connected: BTreeMap<SlaveId, Slave>,
    next_id: u64,
}

impl Slaves {
    /// A slave whose log goes up to `has_to` begins.
    pub(crate) fn connect(&mut self, remote: SocketAddr, has_to: PhysicalOffset, member: Option<MemberId>) -> SlaveId {
        let id = SlaveId(self.next_id);
        self.next_id += 1;
        self.connected.insert(id, Slave { remote, has_to, member });
        id
    }

    /// It has said how far its log goes now; never less than before.
    pub(crate) fn report(&mut self, id: SlaveId, has_to: PhysicalOffset) {
        if let Some(slave) = self.connected.get_mut(&id) {
            slave.has_to = slave.has_to.max(has_to);
        }
    }

    /// Its connection has ended.
    pub(crate) fn disconnect(&mut self, id: SlaveId) {
        self.connected.remove(&id);
    }

    /// A broker, by its newest connection: before an older one has ended it may have been started anew.
    pub(crate) fn of(&self, member: MemberId) -> Option<&Slave> {
        self.connected.values().rev().find(|slave| slave.member == Some(member))
    }

    /// How far all of these brokers have the log; `None` when there are none. Who is not connected counts as one that has nothing.
    pub(crate) fn all_have_to(&self, members: &BTreeSet<MemberId>) -> Option<PhysicalOffset> {
        members.iter().map(|id| self.of(*id).map_or(PhysicalOffset(0), |slave| slave.has_to)).min()
    }

    /// How far at least `count` slaves have a log that ends at `end`, of those that keep up with it; `None` when they are fewer.
    pub(crate) fn have_to(&self, count: usize, end: PhysicalOffset) -> Option<PhysicalOffset> {
        let keeping_up = self.connected.values().filter(|slave| keeps_up(slave, end));
        let mut have_to: Vec<_> = keeping_up.map(|slave| slave.has_to).collect();
        have_to.sort_unstable();
        count.checked_sub(1).and_then(|farther| have_to.into_iter().nth_back(farther))
    }

    /// All, in the order in which they came.
    pub(crate) fn all(&self) -> impl Iterator<Item = Slave> {
        self.connected.values().copied()
    }
}

/// Whether a slave keeps up with a log that ends at `end`.
pub(crate) fn keeps_up(slave: &Slave, end: PhysicalOffset) -> bool {
    end.0.saturating_sub(slave.has_to.0) < BEHIND_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn as_many_as_are_waited_for_have_the_log_so_far() {
        let (mut slaves, remote) = (Slaves::default(), SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
        let end = PhysicalOffset(BEHIND_BYTES_MAX + 100);
        assert_eq!(slaves.have_to(1, end), None);
        let near = slaves.connect(remote, PhysicalOffset(BEHIND_BYTES_MAX), None);
        slaves.connect(remote, PhysicalOffset(100), None);
        assert_eq!(slaves.have_to(1, end), Some(PhysicalOffset(BEHIND_BYTES_MAX)));
        assert_eq!(slaves.have_to(2, end), None, "one of them does not keep up");
        let nearer = slaves.connect(remote, PhysicalOffset(101), None);
        assert_eq!(slaves.have_to(2, end), Some(PhysicalOffset(101)));
        slaves.report(nearer, end);
        assert_eq!([1, 2].map(|count| slaves.have_to(count, end)), [Some(end), Some(PhysicalOffset(BEHIND_BYTES_MAX))]);
        slaves.disconnect(near);
        assert_eq!([1, 2].map(|count| slaves.have_to(count, end)), [Some(end), None]);
    }
}
