//! What a broker is to be, by what the controllers say. A plain value: no clock, no files, no sockets.

use std::collections::BTreeSet;

use crate::replication::epochs::Epoch;

/// A broker's id among those of its name, which it keeps. Source: `brokerControllerId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberId(pub i64);

/// What the controllers say of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The master and its address, if there is one.
    pub master: Option<(MemberId, String)>,
    /// The epoch, also when there is no master.
    pub epoch: Epoch,
    /// Who is in sync.
    pub in_sync: BTreeSet<MemberId>,
    /// Which one it is of the sets that there were.
    pub in_sync_epoch: i32,
}

/// What a broker is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// A slave without a master.
    Wait,
    /// A slave of the master that answers requests at this address, in this epoch.
    Follow(String, Epoch),
    /// The master of this epoch.
    Lead(Epoch),
}

/// A broker among those of its name.
#[derive(Debug)]
pub(crate) struct Part {
    id: MemberId,
    duty: Duty,
    /// The newest epoch that this broker must not begin any more: what it appended in it may have been seen by others, and this process
    /// does not know whether its log still has it.
    used: Epoch,
    /// The newest epoch that was heard of.
    heard: Epoch,
    /// Whether the controllers take it for the master of an epoch that it does not lead.
    is_mistaken: bool,
    has_master: bool,
}

impl Part {
    /// Of a process that has just begun.
    pub(crate) fn new(id: MemberId) -> Self {
        let none = Epoch::default();
        Self { id, duty: Duty::Wait, used: none, heard: none, is_mistaken: false, has_master: true }
    }

    /// The controllers say this, and the log has gone through epochs up to `known`. False: this was so before what they said last, and changes
    /// nothing.
    pub(crate) fn hear(&mut self, view: &View, known: Option<Epoch>) -> bool {
        if view.epoch < self.heard {
            return false;
        }
        self.heard = view.epoch;
        self.used = self.used.max(known.unwrap_or_default());
        self.has_master = view.master.is_some();
        self.is_mistaken = false;
        self.duty = match &view.master {
            None => Duty::Wait,
            Some((id, address)) if *id != self.id => {
                self.used = self.used.max(view.epoch);
                Duty::Follow(address.clone(), view.epoch)
            }
            Some(_) if self.duty == Duty::Lead(view.epoch) => Duty::Lead(view.epoch),
            Some(_) if view.epoch > self.used => {
                self.used = view.epoch;
                Duty::Lead(view.epoch)
            }
            Some(_) => {
                self.is_mistaken = true;
                Duty::Wait
            }
        };
        true
    }

    pub(crate) fn duty(&self) -> &Duty {
        &self.duty
    }

    /// Whether the controllers are to hear that this broker lives. Not if they take it for what it was before it was started anew: silent,
    /// it is found gone, and another one is elected, or it again in a new epoch.
    pub(crate) fn may_speak(&self) -> bool {
        !self.is_mistaken
    }

    /// Whether there is no master, so that the controllers are to be asked for one.
    pub(crate) fn wants_election(&self) -> bool {
        !self.has_master
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(master: Option<i64>, epoch: i32) -> View {
        let master = master.map(|id| (MemberId(id), format!("broker-{id}")));
        View { master, epoch: Epoch(epoch), in_sync: BTreeSet::new(), in_sync_epoch: 1 }
    }

    fn after(part: &mut Part, master: Option<i64>, epoch: i32) -> Duty {
        assert!(part.hear(&view(master, epoch), None));
        part.duty().clone()
    }

    #[test]
    fn a_broker_becomes_what_the_controllers_say() {
        let mut part = Part::new(MemberId(1));
        assert_eq!((part.duty(), part.wants_election()), (&Duty::Wait, false), "nothing is known yet");
        assert_eq!(after(&mut part, None, 0), Duty::Wait);
        assert!(part.wants_election() && part.may_speak());
        assert_eq!(after(&mut part, Some(1), 1), Duty::Lead(Epoch(1)));
        assert_eq!(after(&mut part, Some(1), 1), Duty::Lead(Epoch(1)));
        let other = Duty::Follow("broker-2".to_owned(), Epoch(2));
        assert_eq!(after(&mut part, Some(2), 2), other);
        assert!(!part.hear(&view(Some(1), 1), None), "an answer that was late");
        assert_eq!(part.duty(), &other);
        assert_eq!(after(&mut part, Some(1), 3), Duty::Lead(Epoch(3)));
        assert_eq!(after(&mut part, None, 4), Duty::Wait);
        assert_eq!(after(&mut part, Some(1), 5), Duty::Lead(Epoch(5)));
    }

    #[test]
    fn no_epoch_is_led_twice() {
        let mut part = Part::new(MemberId(1));
        part.hear(&view(Some(1), 3), Some(Epoch(3)));
        assert_eq!(part.duty(), &Duty::Wait);
        assert!(!part.may_speak() && !part.wants_election());
        assert_eq!(after(&mut part, None, 4), Duty::Wait);
        assert!(part.may_speak() && part.wants_election());
        assert_eq!(after(&mut part, Some(1), 5), Duty::Lead(Epoch(5)));
        // It is another's.
        part.hear(&view(Some(2), 6), None);
        assert_eq!(after(&mut part, Some(1), 6), Duty::Wait);
        assert!(!part.may_speak());
        // Its log has it from another one, of whom the controllers have not spoken yet.
        part.hear(&view(Some(1), 7), Some(Epoch(8)));
        assert_eq!((part.duty(), part.may_speak()), (&Duty::Wait, false));
    }
}
