//! All webhooks as their records tell, whatever order they come in: a value, no I/O.
//!
//! Records of an id differ by revision, and by a random number if two gateways have changed it at once; the greater wins everywhere.
//! A live record is written again before the log lets it expire; a tombstone is kept for as long, and written again if a record that it
//! has overruled was stored behind it, which else would be the last to expire and come to life.
//!
//! Of webhooks that two gateways have made for one group at once, the one whose first record stands first in the topic has it. Each gateway
//! sees that in the same way, delivers no other, and ends the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use types::{QueueOffset, Timestamp};

use super::subscription::Subscription;
use super::views::{NewWebhook, Webhook};

/// What is stored of a webhook, sealed.
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
    pub(super) webhook: Option<NewWebhook>,
    /// Why it is disabled, if its endpoint asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) disabled_because: Option<String>,
}

impl Record {
    /// The highest counts. Of two changes of one revision a deletion does: its caller was told that the webhook is gone.
    fn rank(&self) -> (u64, bool, u64) {
        (self.revision, self.webhook.is_none(), self.tie)
    }

    /// Of webhooks of one group, the one whose is the smallest has it.
    fn precedence(&self) -> (Option<u64>, &str) {
        (self.since, &self.id)
    }

    /// The group that it leases messages by, unless it is deleted.
    fn group(&self) -> Option<&str> {
        self.webhook.as_ref().map(|webhook| webhook.group.as_str())
    }
}

/// A webhook as it is now.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) record: Arc<Record>,
    /// What to deliver; `None` of one that is deleted, or that this version cannot read.
    pub(super) subscription: Option<Arc<Subscription>>,
    /// When its record was stored last.
    stored_at: Timestamp,
    /// When a record that it overrules was stored last, if that was not before it.
    overruled_at: Option<Timestamp>,
}

impl Entry {
    fn new(record: Record, stored_at: Timestamp) -> Self {
        let parsed = record.webhook.as_ref().map(Subscription::parse).transpose();
        let subscription = parsed.unwrap_or_else(|problem| {
            tracing::error!(webhook = record.id, why = problem.detail, "a webhook of another version is not delivered");
            None
        });
        Self { record: Arc::new(record), subscription: subscription.map(Arc::new), stored_at, overruled_at: None }
    }

    /// What may be shown of it, unless it is deleted.
    pub(super) fn shown(&self) -> Option<Webhook> {
        let Record { id, revision, changed_at_ms, webhook, disabled_because, .. } = self.record.as_ref().clone();
        let webhook = webhook?;
        let secrets = self.subscription.iter().flat_map(|subscription| &subscription.secrets);
        Some(Webhook {
            id,
            revision,
            changed_at_ms,
            topic: webhook.topic,
            group: webhook.group,
            filter: webhook.filter,
            sql: webhook.sql,
            url: webhook.url,
            secrets: secrets.map(super::signature::Secret::shown).collect(),
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

    /// Whether messages shall be delivered.
    pub(super) fn is_delivered(&self) -> bool {
        self.subscription.as_ref().is_some_and(|subscription| subscription.is_enabled)
    }

    fn must_be_written_again(&self, now: Timestamp, age: Duration) -> bool {
        self.overruled_at.is_some() || self.record.webhook.is_some() && now.since(self.stored_at) >= age
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

    /// A webhook that is not deleted and has its group.
    pub(super) fn get(&self, id: &str) -> Option<&Entry> {
        let entry = self.entries.get(id)?;
        let holder = self.holder(entry.record.group()?)?;
        (holder.record.id == id).then_some(holder)
    }

    /// The webhook that has this group.
    pub(super) fn holder(&self, group: &str) -> Option<&Entry> {
        self.holders().remove(group)
    }

    /// Webhooks whose group another one has.
    pub(super) fn rivals(&self) -> Vec<Arc<Record>> {
        let holders = self.holders();
        let is_rival = |entry: &&Entry| {
            let holder = entry.record.group().and_then(|group| holders.get(group));
            holder.is_some_and(|holder| holder.record.id != entry.record.id)
        };
        self.entries.values().filter(is_rival).map(|entry| entry.record.clone()).collect()
    }

    /// By group, the webhook that has it.
    fn holders(&self) -> BTreeMap<&str, &Entry> {
        let mut holders: BTreeMap<&str, &Entry> = BTreeMap::new();
        for entry in self.entries.values() {
            let Some(group) = entry.record.group() else { continue };
            let holder = holders.entry(group).or_insert(entry);
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

    /// All that are not deleted and have their group, by id.
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
            entry.record.webhook.is_some() || entry.overruled_at.is_some() || now.since(entry.stored_at) < age
        });
    }
}

#[cfg(test)]
mod tests;
