//! Prolonging the leases of clients that live, handle by handle: Apache's brokers leave no other way.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use types::broker::{ChangeInvisible, ClientId, DeliveryReport, LeaseError, LeaseOwner, PoppedMessage};
use types::{GroupConfig, ReceiptHandle};

use super::Cluster;
use super::held::{Held, Id};
use super::leases::{AT_ONCE, INVISIBLE_WHEN_FREED};

/// A delivery is not prolonged for longer, whatever its group's consume timeout. Source: Apache `renewMaxTimeMillis`.
const PROLONGED_MAX: std::time::Duration = std::time::Duration::from_secs(3 * 60 * 60);

impl Cluster {
    /// Notes messages on their way to a client that wants them prolonged. This is before it has them: an acknowledgement finds what it
    /// ends, however early it comes.
    pub(super) fn offer(&self, client: &ClientId, owner: &LeaseOwner, group: &GroupConfig, messages: &[PoppedMessage]) {
        let longest = group.consume_timeout.min(PROLONGED_MAX);
        let mut leases = self.0.leases.lock();
        let offered = |message: &&PoppedMessage| {
            leases.offer(client, owner, &message.handle, message.handle.popped_at.plus(longest))
        };
        let refused = messages.len() - messages.iter().filter(offered).count();
        drop(leases);
        if refused > 0 {
            tracing::warn!(topic = %owner.topic, messages = refused, leases_max = super::held::LEASES_MAX, "messages are not prolonged");
        }
    }

    /// As [`types::Broker::report_delivery`].
    pub(super) async fn reported(&self, report: DeliveryReport) {
        let DeliveryReport { lease, written, lost, unwanted, .. } = report;
        self.0.leases.lock().delivered(&lease, &written);
        self.free(&lease, lost).await;
        self.ack_all(&lease, unwanted).await;
    }

    /// Prolongs what ends soon, in tasks of their own: the caller has to come again in time, and a broker that does not answer keeps
    /// nobody from the others.
    pub(super) fn prolong_due(&self, alive: &[ClientId]) {
        let due = self.0.leases.lock().take_due(alive, self.0.clock.now());
        let mut by_broker: BTreeMap<Arc<str>, Vec<(Id, Arc<Held>)>> = BTreeMap::new();
        for (id, held) in due {
            by_broker.entry(held.broker.clone()).or_default().push((id, held));
        }
        for leases in by_broker.into_values() {
            let cluster = self.clone();
            self.0.tasks.spawn(async move {
                let mut running = JoinSet::new();
                for (id, held) in leases {
                    if running.len() >= AT_ONCE {
                        running.join_next().await;
                    }
                    let cluster = cluster.clone();
                    running.spawn(async move { cluster.prolong(id, &held).await });
                }
                running.join_all().await;
            });
        }
    }

    async fn prolong(&self, id: Id, held: &Held) {
        let mut current = held.current.lock().await;
        // It may have been ended while this waited: to prolong it would bring it back.
        if !self.0.leases.lock().has(id) {
            return;
        }
        // The message is somebody else's by now, and Apache's brokers would take the change and deliver it once more; or it was prolonged
        // for as long as it may be, and a change would end it at once.
        let Some(invisible) = held.prolonged_for(&current, self.0.clock.now()) else {
            self.0.leases.lock().prolonged(id, &current);
            return;
        };
        let changed = self.change_lease(&held.owner, current.clone(), invisible.into()).await;
        let mut leases = self.0.leases.lock();
        match changed {
            Ok(handle) => {
                leases.prolonged(id, &handle);
                *current = handle;
            }
            Err(LeaseError::Unavailable(error)) => {
                tracing::debug!(handle = %*current, %error, "is not prolonged yet");
                leases.prolonged(id, &current);
            }
            Err(error @ LeaseError::Invalid { .. }) => {
                tracing::debug!(handle = %*current, %error, "is not prolonged any more");
                leases.remove(id);
            }
        }
    }

    /// As [`types::Broker::client_gone`], for what is known here.
    pub(super) fn free_all_of(&self, client: &ClientId) {
        let leases = self.0.leases.lock().of(client);
        if leases.is_empty() {
            return;
        }
        let cluster = self.clone();
        self.0.tasks.spawn(async move {
            for (id, held) in leases {
                let current = held.current.lock().await;
                // One that was ended meanwhile would come back.
                if cluster.0.leases.lock().take(id) {
                    cluster.free_one(&held.owner, current.clone(), INVISIBLE_WHEN_FREED.into()).await;
                }
            }
        });
    }

    /// The lease that a client's handle is of, if its handle may have changed since.
    pub(super) fn held(&self, owner: &LeaseOwner, handle: &ReceiptHandle) -> Option<(Id, Arc<Held>)> {
        self.0.leases.lock().find(owner, handle)
    }

    /// Lets a lease end soon. If that fails it ends when its time is over.
    pub(super) async fn free_one(&self, lease: &LeaseOwner, handle: ReceiptHandle, change: ChangeInvisible) {
        let (broker, offset) = (handle.broker.clone(), handle.offset);
        if let Err(error) = self.change_lease(lease, handle, change).await {
            tracing::debug!(topic = %lease.topic, %broker, %offset, %error, "a lease could not be freed before its time");
        }
    }
}

/// The handle that is good now: the newest that is known, or the client's own if the message came to it again through another proxy.
pub(super) fn newest<'a>(presented: &'a ReceiptHandle, known: &'a ReceiptHandle) -> &'a ReceiptHandle {
    if presented.popped_at > known.popped_at { presented } else { known }
}
