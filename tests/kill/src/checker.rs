//! The checker: told every event in order, it says what must not have happened. A plain value, no clock and no I/O.
//!
//! | invariant | violation |
//! |---|---|
//! | an acknowledged send is delivered to every group | [`Violation::Lost`] |
//! | what is delivered was sent, and is what was sent | [`Violation::Unknown`], [`Violation::Corrupt`] |
//! | of a message group none is delivered before an earlier one is acked, none again after a later one | [`Violation::Overtaken`], [`Violation::WentBack`] |
//! | no delayed message is early | [`Violation::Early`] |
//! | only committed transactions are delivered, and every one whose commit was acknowledged | [`Violation::NotCommitted`], [`Violation::Lost`] |
//! | the sender of an undecided transaction is asked until it answers | [`Violation::NeverAsked`] |
//! | an acknowledged ack is final (a killed process loses nothing that was written) | [`Violation::AckForgotten`] |
//! | a message comes again only for a reason | [`Violation::Unexplained`] |

mod consumption;
#[cfg(test)]
mod tests;
mod violation;

use std::collections::BTreeMap;
use std::fmt;

use crate::event::{Event, Kind, What};

use consumption::{Consumption, Delivery, Reason};
pub(crate) use violation::Violation;

/// Violations that are kept in full; further ones are only counted.
const VIOLATIONS_KEPT_MAX: usize = 50;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    groups: Vec<String>,
    messages: BTreeMap<String, Message>,
    message_groups: BTreeMap<String, MessageGroup>,
    kills: u32,
    counts: Counts,
    violations: Vec<Violation>,
}

/// What is known of a message.
#[derive(Debug)]
struct Message {
    kind: Kind,
    /// Its place among those of its message group.
    place: usize,
    is_sent: bool,
    is_commit_begun: bool,
    is_ended: bool,
    /// An outcome got no reply: it may count.
    is_end_unanswered: bool,
    /// The commit was acknowledged, or seen to count.
    is_committed: bool,
    /// By group, in the order of [`Checker::groups`].
    consumptions: Vec<Consumption>,
}

/// The messages of a message group in the order in which they were sent.
#[derive(Debug, Default)]
struct MessageGroup {
    keys: Vec<String>,
    /// By consumer group: all before this place were acked or need not be.
    finished_to: Vec<usize>,
    /// By consumer group: the highest place delivered.
    highest: Vec<Option<usize>>,
}

/// What happened how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sending: u64,
    pub(crate) sent: u64,
    pub(crate) asked: u64,
    pub(crate) committed: u64,
    pub(crate) rolled_back: u64,
    pub(crate) delivered: u64,
    pub(crate) acked: u64,
    pub(crate) acks_refused: u64,
    pub(crate) acks_without_reply: u64,
    pub(crate) changed: u64,
    /// Delivered again, by reason.
    pub(crate) again: BTreeMap<Reason, u64>,
    /// Longest time by which a delayed message was late, in milliseconds.
    pub(crate) late_ms_max: i64,
    pub(crate) violations: u64,
}

impl Checker {
    /// Takes the next event.
    pub(crate) fn apply(&mut self, event: &Event) {
        match &event.what {
            What::Began { groups, .. } => self.groups.clone_from(groups),
            What::Started { .. } | What::NotSent { .. } | What::NotChanged { .. } => {}
            What::Killed { .. } => self.kills += 1,
            What::Sending { key, kind } => self.handle_sending(key, kind),
            What::Sent { key } => {
                self.counts.sent += 1;
                self.with_message(key, |message| message.is_sent = true);
            }
            What::Asked { key, is_intact } => self.handle_asked(key, *is_intact),
            What::Ending { key, is_commit, .. } => {
                self.with_message(key, |message| message.is_commit_begun |= is_commit);
            }
            What::Ended { key, is_commit } => self.handle_ended(key, *is_commit),
            What::NotEnded { key, is_refused, .. } => {
                self.with_message(key, |message| message.is_end_unanswered |= !is_refused);
            }
            What::Delivered { group, key, is_intact, lease_ms, kills, .. } => {
                let delivery = Delivery { at_ms: event.at_ms, lease_ms: *lease_ms, kills: *kills };
                self.handle_delivered(group, key, *is_intact, delivery);
            }
            What::Acking { group, key } => self.with_consumption(group, key, |it| it.is_ack_begun = true),
            What::Acked { group, key } => {
                self.counts.acked += 1;
                self.with_consumption(group, key, |it| it.is_acked = true);
            }
            What::NotAcked { group, key, is_refused: true, .. } => {
                self.counts.acks_refused += 1;
                self.with_consumption(group, key, |it| it.is_ack_refused = true);
            }
            What::NotAcked { group, key, is_refused: false, .. } => {
                self.counts.acks_without_reply += 1;
                self.with_consumption(group, key, |it| it.is_ack_unanswered = true);
            }
            What::Changing { group, key, .. } => self.with_consumption(group, key, |it| it.is_change_begun = true),
            What::Changed { .. } => self.counts.changed += 1,
        }
    }

    fn handle_sending(&mut self, key: &str, kind: &Kind) {
        self.counts.sending += 1;
        let groups = self.groups.len();
        let mut place = 0;
        if let Kind::Fifo { message_group } = kind {
            let message_group = self.message_groups.entry(message_group.clone()).or_default();
            message_group.finished_to.resize(groups, 0);
            message_group.highest.resize(groups, None);
            place = message_group.keys.len();
            message_group.keys.push(key.to_owned());
        }
        let message = Message {
            kind: kind.clone(),
            place,
            is_sent: false,
            is_commit_begun: false,
            is_ended: false,
            is_end_unanswered: false,
            is_committed: false,
            consumptions: vec![Consumption::default(); groups],
        };
        let before = self.messages.insert(key.to_owned(), message);
        assert!(before.is_none(), "the workload used key {key} twice");
    }

    fn handle_asked(&mut self, key: &str, is_intact: bool) {
        self.counts.asked += 1;
        let (group, key) = ("the sender".to_owned(), key.to_owned());
        if !self.knows(&key) {
            self.violate(Violation::Unknown { group, key });
        } else if !is_intact {
            self.violate(Violation::Corrupt { group, key });
        }
    }

    /// Whether this message's send began.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.messages.contains_key(key)
    }

    fn handle_ended(&mut self, key: &str, is_commit: bool) {
        *(if is_commit { &mut self.counts.committed } else { &mut self.counts.rolled_back }) += 1;
        self.with_message(key, |message| {
            message.is_ended = true;
            message.is_committed |= is_commit;
        });
    }

    fn handle_delivered(&mut self, group: &str, key: &str, is_intact: bool, delivery: Delivery) {
        self.counts.delivered += 1;
        let place = self.groups.iter().position(|name| name == group);
        let (Some(index), true) = (place, self.messages.contains_key(key)) else {
            return self.violate(Violation::Unknown { group: group.to_owned(), key: key.to_owned() });
        };
        if !is_intact {
            self.violate(Violation::Corrupt { group: group.to_owned(), key: key.to_owned() });
        }
        self.check_kind(delivery.at_ms, group, key);
        self.check_order(index, key, delivery);
        let kills = self.kills;
        let Some(message) = self.messages.get_mut(key) else { return };
        if message.is_end_unanswered {
            // The commit whose reply was lost did count, so nobody asks again and every group has to get the message.
            message.is_ended = true;
            message.is_committed = true;
        }
        let consumption = &mut message.consumptions[index];
        let (was_acked, again) = (consumption.is_acked, consumption.deliver(delivery, kills));
        if let Some(reason) = again {
            *self.counts.again.entry(reason).or_default() += 1;
        }
        // What a process that is gone had written may be read when its successor has gone on already.
        if was_acked && delivery.kills == kills {
            self.violate(Violation::AckForgotten { group: group.to_owned(), key: key.to_owned() });
        } else if again == Some(Reason::Unexplained) {
            self.violate(Violation::Unexplained { group: group.to_owned(), key: key.to_owned() });
        }
    }

    /// What the message's kind forbids.
    fn check_kind(&mut self, at_ms: i64, group: &str, key: &str) {
        let Some(message) = self.messages.get(key) else { return };
        match &message.kind {
            Kind::Delay { deliver_at_ms } if at_ms < *deliver_at_ms => {
                let early_ms = deliver_at_ms - at_ms;
                self.violate(Violation::Early { group: group.to_owned(), key: key.to_owned(), early_ms });
            }
            Kind::Delay { deliver_at_ms } if message.consumptions.iter().all(|it| it.deliveries == 0) => {
                self.counts.late_ms_max = self.counts.late_ms_max.max(at_ms - deliver_at_ms);
            }
            Kind::Transaction { .. } if !message.is_commit_begun => {
                self.violate(Violation::NotCommitted { group: group.to_owned(), key: key.to_owned() });
            }
            Kind::Normal | Kind::Fifo { .. } | Kind::Delay { .. } | Kind::Transaction { .. } => {}
        }
    }

    /// What the order of the message group forbids.
    ///
    /// A message whose send was not acknowledged binds nobody: it may be missing, and when its request only timed out it may
    /// be stored later than its successor.
    fn check_order(&mut self, group: usize, key: &str, delivery: Delivery) {
        let Some(message) = self.messages.get(key) else { return };
        let Kind::Fifo { message_group } = &message.kind else { return };
        let Some(order) = self.message_groups.get_mut(message_group) else { return };
        let (place, is_bound) = (message.place, message.is_sent && delivery.kills == self.kills);
        let finished_to = &mut order.finished_to[group];
        while *finished_to < place {
            let earlier = &self.messages[&order.keys[*finished_to]];
            if earlier.is_sent && !earlier.consumptions[group].is_ack_begun {
                break;
            }
            *finished_to += 1;
        }
        let unfinished = (*finished_to < place).then(|| order.keys[*finished_to].clone());
        let later = order.highest[group].filter(|highest| *highest > place && is_bound);
        let later = later.map(|highest| order.keys[highest].clone());
        order.highest[group] = order.highest[group].max(Some(place));
        let (group, key) = (self.groups[group].clone(), key.to_owned());
        if let Some(earlier) = unfinished {
            self.violate(Violation::Overtaken { group: group.clone(), key: key.clone(), earlier });
        }
        if let Some(later) = later {
            self.violate(Violation::WentBack { group, key, later });
        }
    }

    /// What still has to happen before [`Checker::finish`]: messages a group has not finished, outcomes not known.
    pub(crate) fn outstanding(&self) -> usize {
        let open = |message: &Message| {
            let unfinished = message.consumptions.iter().filter(|it| !it.is_finished()).count();
            usize::from(message.is_owed_question()) + if message.is_owed() { unfinished } else { 0 }
        };
        self.messages.values().map(open).sum()
    }

    /// Says what should have happened and did not, now that nothing more will.
    pub(crate) fn finish(&mut self) {
        let mut missing = Vec::new();
        for (key, message) in &self.messages {
            if message.is_owed_question() {
                missing.push(Violation::NeverAsked { key: key.clone() });
            }
            let groups = self.groups.iter().zip(&message.consumptions);
            for (group, _) in groups.filter(|(_, consumption)| message.is_owed() && consumption.deliveries == 0) {
                let (group, kind) = (group.clone(), message.kind.to_string());
                missing.push(Violation::Lost { group, key: key.clone(), kind });
            }
        }
        missing.into_iter().for_each(|violation| self.violate(violation));
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What was found: the first ones in full.
    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    fn violate(&mut self, violation: Violation) {
        self.counts.violations += 1;
        if self.violations.len() < VIOLATIONS_KEPT_MAX {
            self.violations.push(violation);
        }
    }

    fn with_message(&mut self, key: &str, change: impl FnOnce(&mut Message)) {
        change(self.messages.get_mut(key).expect("the workload names a message only after it began to send it"));
    }

    /// Consumers act on delivered messages only, and an unknown one among these is a violation already.
    fn with_consumption(&mut self, group: &str, key: &str, change: impl FnOnce(&mut Consumption)) {
        let index = self.groups.iter().position(|name| name == group);
        if let (Some(index), Some(message)) = (index, self.messages.get_mut(key)) {
            change(&mut message.consumptions[index]);
        }
    }
}

impl Message {
    /// Whether every group has to get it.
    fn is_owed(&self) -> bool {
        match self.kind {
            Kind::Normal | Kind::Fifo { .. } | Kind::Delay { .. } => self.is_sent,
            Kind::Transaction { .. } => self.is_committed,
        }
    }

    /// Whether its sender has something to say and has not been heard.
    fn is_owed_question(&self) -> bool {
        let Kind::Transaction { decision } = self.kind else { return false };
        match decision.is_commit() {
            Some(true) => self.is_sent && !self.is_ended,
            // A rollback whose reply was lost leaves no sign when it counts.
            Some(false) => self.is_sent && !self.is_ended && !self.is_end_unanswered,
            None => false,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sends: {} begun, {} acknowledged", self.sending, self.sent)?;
        writeln!(
            f,
            "transactions: {} committed, {} rolled back, {} questions",
            self.committed, self.rolled_back, self.asked
        )?;
        writeln!(f, "deliveries: {}, delayed ones at most {} ms late", self.delivered, self.late_ms_max)?;
        writeln!(
            f,
            "acks: {} acknowledged, {} refused, {} without reply; {} messages asked for again",
            self.acked, self.acks_refused, self.acks_without_reply, self.changed
        )?;
        write!(f, "delivered again:")?;
        for (reason, count) in &self.again {
            write!(f, " {count} {reason};")?;
        }
        write!(f, "\nviolations: {}", self.violations)
    }
}
