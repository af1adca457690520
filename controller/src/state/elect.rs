//! Who becomes the master.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Answer, BrokerId, BrokerSet, Decision, Facts, Refusal, State};

impl State {
    pub(super) fn elect(
        &self,
        name: &str,
        by: Option<BrokerId>,
        is_designated: bool,
        facts: &Facts,
    ) -> Result<Decision, Refusal> {
        let set = self.known(name)?;
        if let Some(id) = by.filter(|id| !set.members.contains_key(id)) {
            return Err(Refusal::IdUnknown { name: name.to_owned(), id });
        }
        let elected = match by {
            // Nothing was ever acknowledged: who comes first is as good as any other.
            Some(first) if !set.had_master => Some(first),
            _ => {
                let is_missing = set.master.is_some_and(|master| !facts.live.contains_key(&master));
                if is_missing && !facts.is_settled && !is_designated {
                    return Err(Refusal::TooEarly);
                }
                set.winner(by.filter(|_| is_designated), facts)
            }
        };
        match elected {
            Some(elected) if set.master == Some(elected) => Err(Refusal::MasterStays(Box::new(set.clone()))),
            Some(elected) => {
                let becomes = set.with_master(elected)?;
                Ok(Decision::changed(Ok(Answer::Elected(becomes.clone())), name, Some(becomes)))
            }
            // Whoever of those in sync comes back first is elected, on its own request.
            None if by.is_none() && set.master.is_some() => {
                Ok(Decision::changed(Err(Refusal::MasterLost), name, Some(set.without_master()?)))
            }
            None => Err(Refusal::NoCandidate),
        }
    }
}

impl BrokerSet {
    fn winner(&self, wanted: Option<BrokerId>, facts: &Facts) -> Option<BrokerId> {
        let in_sync = self.winner_of(&self.in_sync, wanted, facts);
        in_sync.or_else(|| {
            let all = self.members.keys().copied().collect();
            facts.is_unclean_allowed.then(|| self.winner_of(&all, wanted, facts)).flatten()
        })
    }

    /// The best that lives: the one that is wanted, else the master there is, else whose log is the furthest.
    fn winner_of(&self, of: &BTreeSet<BrokerId>, wanted: Option<BrokerId>, facts: &Facts) -> Option<BrokerId> {
        let live = || facts.live.iter().filter(|(id, _)| of.contains(id));
        if let Some(wanted) = wanted {
            return live().map(|(id, _)| *id).find(|id| *id == wanted);
        }
        let master = live().map(|(id, _)| *id).find(|id| Some(*id) == self.master);
        let furthest = || live().max_by_key(|(id, at)| (at.epoch, at.max_offset, Reverse(at.priority), Reverse(**id)));
        master.or_else(|| furthest().map(|(id, _)| *id))
    }

    /// Nobody but the new master is known to hold what it holds.
    fn with_master(&self, master: BrokerId) -> Result<Self, Refusal> {
        Ok(Self {
            master: Some(master),
            master_epoch: self.master_epoch.next()?,
            in_sync: BTreeSet::from([master]),
            in_sync_epoch: self.in_sync_epoch.next()?,
            had_master: true,
            ..self.clone()
        })
    }

    /// Those in sync stay so: nothing is acknowledged without a master.
    pub(super) fn without_master(&self) -> Result<Self, Refusal> {
        Ok(Self { master: None, master_epoch: self.master_epoch.next()?, ..self.clone() })
    }
}
