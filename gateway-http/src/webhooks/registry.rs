//! All webhooks and check URLs as their records tell, whatever order they come in: a value, no I/O.
//!
//! Records of an id differ by revision, and by a random number if two gateways have changed it at once; the greater wins everywhere.
//! A live record is written again before the log lets it expire; a tombstone is kept for as long, and written again if a record that it
//! has overruled was stored behind it, which else would be the last to expire and come to life.
//!
//! Of webhooks that two gateways have made for one group at once, or check URLs for one topic, the one whose first record stands first in the
//! topic has it. Each gateway sees that in the same way, delivers no other, and ends the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use types::{QueueOffset, Timestamp};

use super::subscription::{CheckUrl, Endpoint, Subscription};
use super::views::checks::{self, NewCheckUrl};
use super::views::{NewWebhook, ShownSecret, Webhook};
use crate::problem::Problem;

/// What is stored of a webhook or check URL, sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) id: String,
    /// The offset of its first record, which does not say it; known of every record that was taken into account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<u64>,
    /// Counts its changes, from 1.
    pub(super) revision: u64,
    /// Drawn for each change.
    pub(super) tie: u64,
    pub(super) changed_at_ms: i64,
    /// `None` when it is deleted.
    #[serde(rename = "webhook")]
    pub(super) wanted: Option<Wanted>,
    /// Why it is disabled, if its endpoint asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) disabled_because: Option<String>,
}

/// What its owner wants. They are told apart by their members: a webhook has a group. A version that knows no check URLs leaves them out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Wanted {
    Webhook(NewWebhook),
    CheckUrl(NewCheckUrl),
}

/// What only one can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim<'a> {
    /// The messages of a webhook's group.
    Group(&'a str),
    /// The checks of a topic's half messages.
    Checks(&'a str),
}

impl Wanted {
    pub(super) fn claim(&self) -> Claim<'_> {
        match self {
            Self::Webhook(webhook) => Claim::Group(&webhook.group),
            Self::CheckUrl(check_url) => Claim::Checks(&check_url.topic),
        }
    }

    /// The same, disabled; `None` if it is already.
    pub(super) fn disabled(mut self) -> Option<Self> {
        let enabled = match &mut self {
            Self::Webhook(webhook) => &mut webhook.enabled,
            Self::CheckUrl(check_url) => &mut check_url.enabled,
        };
        std::mem::replace(enabled, false).then_some(self)
    }
}

impl Record {
    /// The highest counts. Of two changes of one revision a deletion does: its caller was told that the webhook is gone.
    fn rank(&self) -> (u64, bool, u64) {
        (self.revision, self.wanted.is_none(), self.tie)
    }

    /// Of those that claim the same, the one whose is the smallest has it.
    fn precedence(&self) -> (Option<u64>, &str) {
        (self.since, &self.id)
    }

    /// What it alone can have, unless it is deleted.
    fn claim(&self) -> Option<Claim<'_>> {
        self.wanted.as_ref().map(Wanted::claim)
    }
}

/// A webhook or check URL as it is now.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) record: Arc<Record>,
    /// What to do; `None` of one that is deleted, or that this version cannot read.
    pub(super) work: Option<Work>,
    /// When its record was stored last.
    stored_at: Timestamp,
    /// When a record that it overrules was stored last, if that was not before it.
    overruled_at: Option<Timestamp>,
}

/// What is done for an entry.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Deliver(Arc<Subscription>),
    Ask(Arc<CheckUrl>),
}

impl Work {
    /// What its owner wants, if it is valid.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(wanted: &Wanted) -> Result<Self, Problem> {
        Ok(match wanted {
            Wanted::Webhook(webhook) => Self::Deliver(Subscription::parse(webhook)?.into()),
            Wanted::CheckUrl(check_url) => Self::Ask(CheckUrl::parse(check_url)?.into()),
        })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Deliver(subscription) => &subscription.endpoint,
            Self::Ask(check_url) => &check_url.endpoint,
        }
    }
}

impl Entry {
    fn new(record: Record, stored_at: Timestamp) -> Self {
        let parsed = record.wanted.as_ref().map(Work::parse).transpose();
        let work = parsed.unwrap_or_else(|problem| {
            tracing::error!(webhook = record.id, why = problem.detail, "a webhook of another version is not delivered");
            None
        });
        Self { record: Arc::new(record), work, stored_at, overruled_at: None }
    }

    fn secrets(&self) -> Vec<ShownSecret> {
        let secrets = self.work.iter().flat_map(|work| &work.endpoint().secrets);
        secrets.map(super::signature::Secret::shown).collect()
    }

    /// What may be shown of it, if it is a webhook and not deleted.
    pub(super) fn webhook(&self) -> Option<Webhook> {
        let Record { id, revision, changed_at_ms, wanted, disabled_because, .. } = self.record.as_ref().clone();
        let Some(Wanted::Webhook(webhook)) = wanted else { return None };
        Some(Webhook {
            id,
            revision,
            changed_at_ms,
            topic: webhook.topic,
            group: webhook.group,
            filter: webhook.filter,
            sql: webhook.sql,
            url: webhook.url,
            secrets: self.secrets(),
            format: webhook.format,
            order: webhook.order,
            concurrency: webhook.concurrency,
            rate: webhook.rate,
            timeout: webhook.timeout,
            retry: webhook.retry,
            enabled: webhook.enabled,
            disabled_because,
        })
    }

    /// What may be shown of it, if it is a check URL and not deleted.
    pub(super) fn check_url(&self) -> Option<checks::CheckUrl> {
        let Record { id, revision, changed_at_ms, wanted, disabled_because, .. } = self.record.as_ref().clone();
        let Some(Wanted::CheckUrl(check_url)) = wanted else { return None };
        Some(checks::CheckUrl {
            id,
            revision,
            changed_at_ms,
            topic: check_url.topic,
            url: check_url.url,
            secrets: self.secrets(),
            concurrency: check_url.concurrency,
            timeout: check_url.timeout,
            enabled: check_url.enabled,
            disabled_because,
        })
    }

    /// What shall be done, unless it is disabled.
    pub(super) fn enabled_work(&self) -> Option<&Work> {
        self.work.as_ref().filter(|work| work.endpoint().is_enabled)
    }

    fn must_be_written_again(&self, now: Timestamp, age: Duration) -> bool {
        self.overruled_at.is_some() || self.record.wanted.is_some() && now.since(self.stored_at) >= age
    }
}

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: BTreeMap<String, Entry>,
}

impl Registry {
    /// Takes a record into account that stands at this offset; says whether it changed anything but its age.
    pub(super) fn apply(&mut self, mut record: Record, offset: QueueOffset, stored_at: Timestamp) -> bool {
        record.since.get_or_insert(offset.0);
        let Some(known) = self.entries.get_mut(&record.id) else {
            self.entries.insert(record.id.clone(), Entry::new(record, stored_at));
            return true;
        };
        match record.rank().cmp(&known.record.rank()) {
            std::cmp::Ordering::Greater => {
                let overruled_at = known.overruled_at.max(Some(known.stored_at)).filter(|at| *at >= stored_at);
                *known = Entry { overruled_at, ..Entry::new(record, stored_at) };
                true
            }
            std::cmp::Ordering::Equal => {
                known.stored_at = known.stored_at.max(stored_at);
                known.overruled_at = known.overruled_at.filter(|at| *at >= known.stored_at);
                false
            }
            std::cmp::Ordering::Less => {
                known.overruled_at = known.overruled_at.max(Some(stored_at).filter(|at| *at >= known.stored_at));
                false
            }
        }
    }

    /// One that is not deleted and has what it claims.
    pub(super) fn get(&self, id: &str) -> Option<&Entry> {
        let entry = self.entries.get(id)?;
        let holder = self.holder(entry.record.claim()?)?;
        (holder.record.id == id).then_some(holder)
    }

    /// The one that has this.
    pub(super) fn holder(&self, claim: Claim<'_>) -> Option<&Entry> {
        self.holders().remove(&claim)
    }

    /// Those whose claim another one has.
    pub(super) fn rivals(&self) -> Vec<Arc<Record>> {
        let holders = self.holders();
        let is_rival = |entry: &&Entry| {
            let holder = entry.record.claim().and_then(|claim| holders.get(&claim));
            holder.is_some_and(|holder| holder.record.id != entry.record.id)
        };
        self.entries.values().filter(is_rival).map(|entry| entry.record.clone()).collect()
    }

    /// By claim, the one that has it.
    fn holders(&self) -> BTreeMap<Claim<'_>, &Entry> {
        let mut holders: BTreeMap<Claim<'_>, &Entry> = BTreeMap::new();
        for entry in self.entries.values() {
            let Some(claim) = entry.record.claim() else { continue };
            let holder = holders.entry(claim).or_insert(entry);
            if entry.record.precedence() < holder.record.precedence() {
                *holder = entry;
            }
        }
        holders
    }

    /// Whether this record counts; `None` while neither it nor one that overrules it is known.
    pub(super) fn counts(&self, record: &Record) -> Option<bool> {
        let known = self.entries.get(&record.id)?.record.rank();
        (known >= record.rank()).then_some(known == record.rank())
    }

    /// All that are not deleted and have what they claim, by id.
    pub(super) fn live(&self) -> Vec<&Entry> {
        let mut live: Vec<&Entry> = self.holders().into_values().collect();
        live.sort_unstable_by(|a, b| a.record.id.cmp(&b.record.id));
        live
    }

    /// Records that must be stored again now.
    pub(super) fn due(&self, now: Timestamp, age: Duration) -> Vec<Arc<Record>> {
        let due = self.entries.values().filter(|entry| entry.must_be_written_again(now, age));
        due.map(|entry| entry.record.clone()).collect()
    }

    /// Forgets tombstones that overrule nothing any longer.
    pub(super) fn forget(&mut self, now: Timestamp, age: Duration) {
        self.entries.retain(|_, entry| {
            entry.record.wanted.is_some() || entry.overruled_at.is_some() || now.since(entry.stored_at) < age
        });
    }
}

#[cfg(test)]
mod tests;
