//! Which brokers there are.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Answer, BROKERS_MAX, BrokerId, BrokerSet, Decision, Facts, MEMBERS_MAX, Member, Refusal, State, TEXT_BYTES_MAX,
};

impl State {
    pub(super) fn apply_id(
        &self,
        cluster: &str,
        name: &str,
        id: BrokerId,
        check_code: &str,
    ) -> Result<Decision, Refusal> {
        [cluster, name, check_code].into_iter().try_for_each(fits)?;
        let set = self.sets.get(name).cloned().unwrap_or_else(|| self.new_set(cluster));
        if set.cluster != cluster {
            return Err(Refusal::OtherCluster { cluster: set.cluster });
        }
        match set.members.get(&id) {
            Some(member) if member.check_code == check_code => return Ok(Decision::unchanged(Ok(Answer::Applied))),
            None if (BrokerId::FIRST..=set.next_id).contains(&id) => {}
            _ => return Err(Refusal::IdUnfit { id, next_id: set.next_id }),
        }
        if self.brokers >= BROKERS_MAX || set.members.len() >= MEMBERS_MAX {
            return Err(Refusal::Full);
        }
        let address = check_code.split(';').next().unwrap_or_default().to_owned();
        let mut becomes = set;
        becomes.members.insert(id, Member { address, check_code: check_code.to_owned() });
        if id == becomes.next_id {
            // At most as many steps as proposals: they do not end.
            becomes.next_id = BrokerId(id.0 + 1);
        }
        Ok(Decision::changed(Ok(Answer::Applied), name, Some(becomes)))
    }

    fn new_set(&self, cluster: &str) -> BrokerSet {
        let (master_epoch, in_sync_epoch) = self.epochs_from;
        BrokerSet {
            cluster: cluster.to_owned(),
            members: BTreeMap::new(),
            next_id: BrokerId::FIRST,
            master: None,
            master_epoch,
            in_sync: BTreeSet::new(),
            in_sync_epoch,
            had_master: false,
        }
    }

    pub(super) fn register(&self, name: &str, id: BrokerId, address: &str, facts: &Facts) -> Result<Decision, Refusal> {
        fits(address)?;
        let set = self.known(name)?;
        let Some(member) = set.members.get(&id) else {
            return Err(Refusal::IdUnknown { name: name.to_owned(), id });
        };
        let has_master = set.master.is_some_and(|master| !facts.is_settled || facts.live.contains_key(&master));
        if member.address == address {
            return Ok(Decision::unchanged(Ok(Answer::Registered(set.clone(), has_master))));
        }
        let mut becomes = set.clone();
        becomes.members.insert(id, Member { address: address.to_owned(), ..member.clone() });
        Ok(Decision::changed(Ok(Answer::Registered(becomes.clone(), has_master)), name, Some(becomes)))
    }

    pub(super) fn forget(
        &self,
        cluster: Option<&str>,
        name: &str,
        ids: &BTreeSet<BrokerId>,
        may_live: bool,
        facts: &Facts,
    ) -> Result<Decision, Refusal> {
        let set = self.known(name)?;
        if cluster.is_some_and(|cluster| set.cluster != cluster) {
            return Err(Refusal::OtherCluster { cluster: set.cluster.clone() });
        }
        let is_gone = |id: &BrokerId| ids.is_empty() || ids.contains(id);
        let lives = |id: &BrokerId| facts.live.contains_key(id) || (!facts.is_settled && set.master == Some(*id));
        if let Some(&id) = set.members.keys().find(|id| !may_live && is_gone(id) && lives(id)) {
            return Err(Refusal::Alive { id });
        }
        let mut becomes = set.clone();
        becomes.members.retain(|id, _| !is_gone(id));
        if becomes.members.is_empty() {
            return Ok(Decision::changed(Ok(Answer::Forgotten), name, None));
        }
        if becomes.members.len() == set.members.len() {
            return Ok(Decision::unchanged(Ok(Answer::Forgotten)));
        }
        becomes.in_sync.retain(|id| !is_gone(id));
        if becomes.in_sync.is_empty() && !set.in_sync.is_empty() {
            return Err(Refusal::LastInSync);
        }
        if becomes.in_sync != set.in_sync {
            becomes.in_sync_epoch = set.in_sync_epoch.next()?;
        }
        if set.master.is_some_and(|master| is_gone(&master)) {
            becomes = becomes.without_master()?;
        }
        Ok(Decision::changed(Ok(Answer::Forgotten), name, Some(becomes)))
    }
}

fn fits(text: &str) -> Result<(), Refusal> {
    if text.len() > TEXT_BYTES_MAX { Err(Refusal::TooLong { bytes: text.len() }) } else { Ok(()) }
}
