//! What operators are to notice of what was decided: log lines of a target of their own ([`env::ROLES`]).

use std::collections::BTreeSet;

use env::ROLES;

use crate::state::{Answer, BrokerId, BrokerSet, Command, Refusal};

/// Tells of an election, of a master that is gone without a successor, and of others in sync. `before` is what the brokers of the name were;
/// `lead` says how many bytes farther than a broker others are known to have been.
pub(crate) fn tell(
    command: &Command,
    before: Option<&BrokerSet>,
    outcome: &Result<Answer, Refusal>,
    lead: impl Fn(&BTreeSet<BrokerId>, BrokerId) -> u64,
) {
    let (broker, epoch_before) = (command.name(), before.map_or(0, |set| set.master_epoch.0));
    match (command, outcome) {
        (Command::Elect { by, is_designated, .. }, Ok(Answer::Elected(set))) => {
            let (id, epoch) = (set.master.map_or(0, |id| id.0), set.master_epoch.0);
            let reason = why(by.is_some(), *is_designated, before);
            let was_in_sync = before.filter(|set| set.had_master).map(|set| &set.in_sync);
            match was_in_sync.filter(|was| !was.contains(&BrokerId(id))) {
                None => {
                    tracing::info!(target: ROLES, event = "elected", broker, id, epoch, reason, "a master is elected")
                }
                Some(was) => {
                    let lost_bytes = lead(was, BrokerId(id));
                    tracing::warn!(
                        target: ROLES, event = "elected_unclean", broker, id, epoch, reason, in_sync = ?numbers(was), lost_bytes,
                        "a master is elected that was not in sync: what those in sync had beyond its log is lost"
                    );
                }
            }
        }
        (Command::Elect { .. }, Err(Refusal::MasterLost)) => {
            let epoch = epoch_before + 1;
            tracing::warn!(
                target: ROLES, event = "no_master", broker, epoch, reason = "the master is gone, and nobody in sync lives",
                "there is no master"
            );
        }
        (Command::SetInSync { master, .. }, Ok(Answer::InSync(set))) => tracing::info!(
            target: ROLES, event = "in_sync", broker, id = master.0, epoch = set.master_epoch.0, in_sync = ?numbers(&set.in_sync),
            in_sync_epoch = set.in_sync_epoch.0, reason = "the master says so", "others are in sync"
        ),
        _ => {}
    }
}

fn why(has_asked: bool, is_designated: bool, before: Option<&BrokerSet>) -> &'static str {
    match (has_asked, is_designated) {
        (false, _) => "the master is gone",
        (true, true) => "an operator wants it",
        (true, false) if before.is_none_or(|set| !set.had_master) => "it is the first",
        (true, false) => "a broker asks, as there is no master",
    }
}

fn numbers(ids: &BTreeSet<BrokerId>) -> Vec<i64> {
    ids.iter().map(|id| id.0).collect()
}
