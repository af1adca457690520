//! Which brokers live, as one controller sees it: brokers tell all controllers, every second or more often. No I/O; the time is told.
//!
//! Source: Apache 5.5 `DefaultBrokerHeartbeatManager`. Where it differs on purpose: a broker belongs to the connection on which it was heard
//! of last, and what it says last of its log holds, be it less than before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use env::clock::Moment;
use remoting::ConnectionId;

use crate::state::{BROKERS_MAX, BrokerId, Standing};

/// How long brokers have, from the begin on, to tell that they live: Apache's look every three seconds for controllers that are back, and
/// then tell them every second.
pub const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// How long a broker counts as living that does not say it. Source: Apache 5.5 `BrokerHeartbeatManager`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time that it may say.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// A broker lives up to the end of its time.
const JUST_AFTER: Duration = Duration::from_millis(1);

/// See the module's head.
#[derive(Debug)]
pub struct Liveness {
    /// Since when brokers can tell it: since its start, or since it was no longer deaf.
    began: Moment,
    /// Whether the last of them fell silent and none was heard of since.
    is_deaf: bool,
    brokers: BTreeMap<(String, BrokerId), Seen>,
    /// Where the logs of those ended that are gone, at most [`BROKERS_MAX`].
    gone: BTreeMap<(String, BrokerId), i64>,
}

/// A sign of life.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// Where it came from.
    pub connection: ConnectionId,
    /// How long the broker counts as living from now on.
    pub timeout: Option<Duration>,
    /// How far it is.
    pub standing: Standing,
}

#[derive(Debug)]
struct Seen {
    at: Moment,
    timeout: Duration,
    connection: ConnectionId,
    standing: Standing,
}

impl Liveness {
    /// Nobody was heard of yet.
    #[must_use]
    pub fn new(began: Moment) -> Self {
        Self { began, is_deaf: false, brokers: BTreeMap::new(), gone: BTreeMap::new() }
    }

    /// A broker lives. With as many as there may be, one more stays unknown: `false`.
    pub fn heard(&mut self, name: &str, id: BrokerId, heartbeat: Heartbeat, now: Moment) -> bool {
        let Heartbeat { connection, timeout, standing } = heartbeat;
        let timeout = timeout.unwrap_or(TIMEOUT).min(TIMEOUT_MAX);
        let seen = Seen { at: now, timeout, connection, standing };
        if self.is_deaf(now) {
            (self.began, self.is_deaf) = (now, false);
        }
        let key = (name.to_owned(), id);
        let has_room = self.brokers.len() < BROKERS_MAX || self.brokers.contains_key(&key);
        if has_room {
            self.gone.remove(&key);
            self.brokers.insert(key, seen);
        }
        has_room
    }

    /// Forgets those that were not heard of for too long, and names their connections, which are to be closed.
    pub fn expire(&mut self, now: Moment) -> Vec<ConnectionId> {
        self.is_deaf = self.is_deaf(now);
        let gone: Vec<_> = self.brokers.extract_if(.., |_, seen| !seen.lives(now)).collect();
        let told = gone.iter().map(|((name, id), seen)| {
            tracing::warn!(%name, id = id.0, "broker not heard of for too long");
            seen.connection
        });
        let connections = told.collect();
        self.note_gone(gone);
        connections
    }

    /// How long until the next of them is to be forgotten, if nothing is heard meanwhile; `None` without any.
    #[must_use]
    pub fn next_expiry(&self, now: Moment) -> Option<Duration> {
        let last = self.brokers.values().map(|seen| seen.at.plus(seen.timeout)).min()?;
        Some(last.since(now) + JUST_AFTER)
    }

    /// Forgets those that were heard of last on a connection which has ended; whether there were any.
    pub fn disconnect(&mut self, connection: ConnectionId) -> bool {
        let gone: Vec<_> = self.brokers.extract_if(.., |_, seen| seen.connection == connection).collect();
        gone.iter().for_each(|((name, id), _)| tracing::warn!(%name, id = id.0, "broker disconnected"));
        let is_any = !gone.is_empty();
        self.note_gone(gone);
        is_any
    }

    fn note_gone(&mut self, gone: Vec<((String, BrokerId), Seen)>) {
        for (key, seen) in gone {
            if self.gone.len() < BROKERS_MAX || self.gone.contains_key(&key) {
                self.gone.insert(key, seen.standing.max_offset);
            }
        }
    }

    /// How many bytes of the log some of these had last, as far as is known, beyond what another one has.
    #[must_use]
    pub fn lead(&self, name: &str, of: &BTreeSet<BrokerId>, over: BrokerId) -> u64 {
        let end = |id: BrokerId| {
            let key = (name.to_owned(), id);
            let lives = self.brokers.get(&key).map(|seen| seen.standing.max_offset);
            lives.or_else(|| self.gone.get(&key).copied())
        };
        let farthest = of.iter().filter_map(|id| end(*id)).max().unwrap_or_default();
        u64::try_from(farthest.saturating_sub(end(over).unwrap_or_default())).unwrap_or_default()
    }

    /// The brokers of a name that live.
    #[must_use]
    pub fn live(&self, name: &str, now: Moment) -> BTreeMap<BrokerId, Standing> {
        let all = (name.to_owned(), BrokerId(i64::MIN))..=(name.to_owned(), BrokerId(i64::MAX));
        let live = self.brokers.range(all).filter(|(_, seen)| seen.lives(now));
        live.map(|((_, id), seen)| (*id, seen.standing)).collect()
    }

    /// Whether a broker lives.
    #[must_use]
    pub fn is_alive(&self, name: &str, id: BrokerId, now: Moment) -> bool {
        self.brokers.get(&(name.to_owned(), id)).is_some_and(|seen| seen.lives(now))
    }

    /// Whether brokers had time to tell that they live, so that those which did not are gone. When all fall silent at once it is rather this
    /// controller that was stopped or cut off: it may lead in a moment, before they have found it again.
    #[must_use]
    pub fn is_settled(&self, now: Moment) -> bool {
        !self.is_deaf(now) && now.since(self.began) >= SETTLED_AFTER
    }

    fn is_deaf(&self, now: Moment) -> bool {
        self.is_deaf || (!self.brokers.is_empty() && !self.brokers.values().any(|seen| seen.lives(now)))
    }
}

impl Seen {
    fn lives(&self, now: Moment) -> bool {
        now.since(self.at) <= self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDING: Standing = Standing { epoch: 1, max_offset: 2, priority: 3 };

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn heartbeat(connection: u64, timeout: Option<u64>) -> Heartbeat {
        let timeout = timeout.map(Duration::from_secs);
        Heartbeat { connection: ConnectionId(connection), timeout, standing: STANDING }
    }

    #[test]
    fn a_broker_lives_until_its_time_or_its_connection_ends() {
        let mut liveness = Liveness::new(at(0));
        assert!(liveness.heard("a", BrokerId(1), heartbeat(7, None), at(0)));
        assert!(liveness.heard("a", BrokerId(2), heartbeat(8, Some(2)), at(0)));
        assert!(liveness.heard("b", BrokerId(1), heartbeat(8, None), at(0)));
        let live =
            |liveness: &Liveness, now| liveness.live("a", at(now)).into_keys().map(|id| id.0).collect::<Vec<_>>();
        assert_eq!((live(&liveness, 2), live(&liveness, 3)), (vec![1, 2], vec![1]));
        assert!(liveness.is_alive("a", BrokerId(1), at(10)) && !liveness.is_alive("a", BrokerId(1), at(11)));
        assert_eq!(liveness.next_expiry(at(1)), Some(Duration::from_secs(1) + JUST_AFTER));
        assert_eq!(liveness.expire(at(3)), [ConnectionId(8)]);
        assert_eq!(liveness.next_expiry(at(3)), Some(Duration::from_secs(7) + JUST_AFTER));
        // It was heard of elsewhere since.
        liveness.heard("a", BrokerId(1), heartbeat(9, None), at(4));
        assert!(!liveness.disconnect(ConnectionId(7)));
        assert!(liveness.disconnect(ConnectionId(9)));
        assert_eq!(live(&liveness, 4), [0; 0]);
        assert!(liveness.is_alive("b", BrokerId(1), at(4)));
    }

    #[test]
    fn what_who_is_gone_had_is_remembered() {
        let mut liveness = Liveness::new(at(0));
        let of = BTreeSet::from([BrokerId(1), BrokerId(3)]);
        for (id, max_offset) in [(1, 500), (2, 300)] {
            let standing = Standing { max_offset, ..STANDING };
            liveness.heard("a", BrokerId(id), Heartbeat { standing, ..heartbeat(id as u64, None) }, at(0));
        }
        assert_eq!(liveness.lead("a", &of, BrokerId(2)), 200);
        assert!(liveness.disconnect(ConnectionId(1)));
        assert_eq!((liveness.lead("a", &of, BrokerId(2)), liveness.lead("b", &of, BrokerId(2))), (200, 0));
        assert_eq!(liveness.expire(at(20)), [ConnectionId(2)]);
        assert_eq!(liveness.lead("a", &of, BrokerId(2)), 200);
        // It is back with less.
        liveness.heard("a", BrokerId(1), heartbeat(3, None), at(21));
        assert_eq!(liveness.lead("a", &of, BrokerId(2)), 0);
    }

    #[test]
    fn nobody_is_gone_before_all_had_time_to_speak() {
        let liveness = Liveness::new(at(3));
        assert!(!liveness.is_settled(at(12)) && liveness.is_settled(at(13)));
    }

    #[test]
    fn who_heard_nobody_takes_nobody_for_gone() {
        for expires in [true, false] {
            let mut liveness = Liveness::new(at(0));
            liveness.heard("a", BrokerId(1), heartbeat(1, None), at(12));
            liveness.heard("a", BrokerId(2), heartbeat(2, None), at(14));
            assert!(liveness.is_settled(at(24)), "one of them lives");
            // As after a pause, or when it was cut off.
            assert!(!liveness.is_settled(at(40)));
            if expires {
                assert_eq!(liveness.expire(at(40)), [ConnectionId(1), ConnectionId(2)]);
                assert!(!liveness.is_settled(at(50)), "nobody was heard of");
            }
            liveness.heard("a", BrokerId(2), heartbeat(3, None), at(60));
            liveness.heard("a", BrokerId(2), heartbeat(3, None), at(69));
            assert!(!liveness.is_settled(at(69)) && liveness.is_settled(at(70)));
        }
    }

    #[test]
    fn who_saw_the_last_connection_end_knows_that_it_is_gone() {
        let mut liveness = Liveness::new(at(0));
        liveness.heard("a", BrokerId(1), heartbeat(1, None), at(12));
        assert!(liveness.disconnect(ConnectionId(1)) && liveness.is_settled(at(30)));
    }

    #[test]
    fn those_beyond_the_bound_stay_unknown() {
        let mut liveness = Liveness::new(at(0));
        for id in 0..BROKERS_MAX {
            let id = BrokerId(i64::try_from(id).expect("few"));
            assert!(liveness.heard("a", id, heartbeat(1, None), at(0)));
        }
        assert!(!liveness.heard("b", BrokerId(1), heartbeat(1, None), at(0)));
        assert!(liveness.heard("a", BrokerId(1), heartbeat(1, None), at(0)));
    }
}
