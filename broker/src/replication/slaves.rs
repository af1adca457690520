//! What a master knows of its slaves. A plain value.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

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
    /// Which broker of the name it is, if it has said so: one of ours does.
    pub(crate) member: Option<MemberId>,
}

/// What two connections of one slave have in common: who does not say which one it is counts once for all on its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Member(MemberId),
    Machine(IpAddr),
}

impl Slave {
    fn identity(&self) -> Identity {
        self.member.map_or(Identity::Machine(self.remote.ip()), Identity::Member)
    }
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

    /// How far at least `count` slaves have a log that ends at `end`, all of them if they are fewer, and how many there are: of those that keep
    /// up with it, each by its newest connection.
    pub(crate) fn have_to(&self, count: usize, end: PhysicalOffset) -> (Option<PhysicalOffset>, usize) {
        let newest: BTreeMap<_, _> = self.connected.values().map(|slave| (slave.identity(), slave)).collect();
        let keeping_up = newest.into_values().filter(|slave| keeps_up(slave, end));
        let mut have_to: Vec<_> = keeping_up.map(|slave| slave.has_to).collect();
        have_to.sort_unstable();
        (have_to.iter().rev().take(count).next_back().copied(), have_to.len())
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

    const AT: fn(u64) -> PhysicalOffset = PhysicalOffset;

    fn remote(machine: u8, port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(10, 0, 0, machine), port))
    }

    #[test]
    fn as_many_as_are_waited_for_have_the_log_so_far() {
        let mut slaves = Slaves::default();
        let end = AT(BEHIND_BYTES_MAX + 100);
        assert_eq!(slaves.have_to(1, end), (None, 0));
        let near = slaves.connect(remote(1, 1), AT(BEHIND_BYTES_MAX), None);
        slaves.connect(remote(2, 1), AT(100), None);
        assert_eq!(slaves.have_to(1, end), (Some(AT(BEHIND_BYTES_MAX)), 1));
        assert_eq!(slaves.have_to(2, end), (Some(AT(BEHIND_BYTES_MAX)), 1), "one of them does not keep up");
        let nearer = slaves.connect(remote(3, 1), AT(101), None);
        assert_eq!(slaves.have_to(2, end), (Some(AT(101)), 2));
        slaves.report(nearer, end);
        assert_eq!([1, 2].map(|count| slaves.have_to(count, end).0), [Some(end), Some(AT(BEHIND_BYTES_MAX))]);
        slaves.disconnect(near);
        assert_eq!([1, 2].map(|count| slaves.have_to(count, end)), [(Some(end), 1); 2]);
    }

    #[test]
    fn a_slave_that_has_connected_anew_counts_once() {
        for [one, other] in [[None; 2], [Some(MemberId(1)), Some(MemberId(2))]] {
            let mut slaves = Slaves::default();
            let old = slaves.connect(remote(1, 1), AT(100), one);
            slaves.connect(remote(1, 2), AT(50), one);
            assert_eq!(slaves.have_to(2, AT(100)), (Some(AT(50)), 1), "it may have lost its disk in between");
            slaves.disconnect(old);
            // Those that say which one they are may be on one machine.
            slaves.connect(remote(if other.is_none() { 2 } else { 1 }, 3), AT(70), other);
            assert_eq!(slaves.have_to(2, AT(100)), (Some(AT(50)), 2));
        }
    }
}
