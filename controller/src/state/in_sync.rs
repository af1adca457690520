//! Who is in sync with the master.

use std::collections::BTreeSet;

use super::{Answer, BrokerId, BrokerSet, Decision, Facts, InSyncEpoch, MasterEpoch, Refusal, State};

impl State {
    pub(super) fn set_in_sync(
        &self,
        name: &str,
        (master, master_epoch): (BrokerId, MasterEpoch),
        (in_sync, in_sync_epoch): (&BTreeSet<BrokerId>, InSyncEpoch),
        facts: &Facts,
    ) -> Result<Decision, Refusal> {
        let set = self.known(name)?;
        if set.in_sync == *in_sync {
            return Err(Refusal::SameInSync);
        }
        if set.master != Some(master) {
            return Err(Refusal::OtherMaster { master: set.master });
        }
        if set.master_epoch != master_epoch {
            return Err(Refusal::OtherMasterEpoch { epoch: set.master_epoch });
        }
        if set.in_sync_epoch != in_sync_epoch {
            return Err(Refusal::OtherInSyncEpoch { epoch: set.in_sync_epoch });
        }
        for &id in in_sync {
            if !set.members.contains_key(&id) {
                return Err(Refusal::NoMember { id });
            }
            if !facts.live.contains_key(&id) {
                return Err(Refusal::NotAlive { id });
            }
        }
        if !in_sync.contains(&master) {
            return Err(Refusal::MasterLeftOut);
        }
        let in_sync_epoch = in_sync_epoch.next()?;
        let becomes = BrokerSet { in_sync: in_sync.clone(), in_sync_epoch, ..set.clone() };
        Ok(Decision::changed(Ok(Answer::InSync(becomes.clone())), name, Some(becomes)))
    }
}
