//! Tells the broker what becomes of the messages of a call.

use std::time::Duration;

use env::clock::Moment;
use types::broker::{ChangeInvisible, LeaseError, LeaseOwner};
use types::{GroupConfig, ReceiptHandle};

use super::super::client::Outcome;
use super::super::machine::Settle;
use super::Deliverer;

/// The pause between two attempts to tell a broker what became of a message.
const SETTLE_PAUSE: Duration = Duration::from_millis(300);

impl Deliverer {
    /// What becomes of each message. Without the group's settings its leases end by time, and its own retry policy goes on.
    pub(super) fn decisions(
        &self,
        handles: Vec<(ReceiptHandle, u32)>,
        outcome: Outcome,
        group: Option<&GroupConfig>,
    ) -> Vec<(ReceiptHandle, Settle)> {
        // The same for all of them: a batch that failed comes again together, under one id.
        let (now, random) = (self.caller.now(), self.caller.env().random.next());
        let machine = self.caller.machine.lock();
        let decide = |(handle, attempt): (ReceiptHandle, u32)| {
            Some((handle, machine.settle(now, outcome, attempt, group, random)?))
        };
        handles.into_iter().filter_map(decide).collect()
    }

    /// Tells the broker, again and again until the leases end.
    pub(super) async fn settle(&self, mut open: Vec<(ReceiptHandle, Settle)>, lease_ends: Moment) {
        loop {
            open = self.settle_once(open).await;
            if open.is_empty() || self.caller.now() >= lease_ends {
                return;
            }
            self.caller.env().clock.sleep(SETTLE_PAUSE).await;
        }
    }

    /// Returns what the broker could not do now.
    async fn settle_once(&self, settles: Vec<(ReceiptHandle, Settle)>) -> Vec<(ReceiptHandle, Settle)> {
        let lease = LeaseOwner { group: self.subscription.group.clone(), topic: self.subscription.topic.clone() };
        let broker = self.caller.messaging().broker();
        let (acks, others): (Vec<_>, Vec<_>) = settles.into_iter().partition(|(_, settle)| *settle == Settle::Ack);
        let mut open = Vec::new();
        if !acks.is_empty() {
            let handles = acks.iter().map(|(handle, _)| handle.clone()).collect();
            let results = broker.ack(lease.clone(), handles).await;
            open.extend(acks.into_iter().zip(results).filter(|(_, result)| self.is_open(result)).map(|(ack, _)| ack));
        }
        for (handle, settle) in others {
            let result = match settle {
                Settle::Nack { delay, is_attempt } => {
                    let change = ChangeInvisible { invisible: delay, suspend: !is_attempt };
                    broker.change_invisible(lease.clone(), handle.clone(), change).await.map(drop)
                }
                Settle::DeadLetter | Settle::Ack => broker.dead_letter(lease.clone(), handle.clone()).await,
            };
            if self.is_open(&result) {
                open.push((handle, settle));
            } else if settle == Settle::DeadLetter && result.is_ok() {
                self.caller.shared.metrics.dead_letters.inc();
            }
        }
        open
    }

    /// Whether it must be told once more.
    fn is_open(&self, result: &Result<(), LeaseError>) -> bool {
        match result {
            Ok(()) => false,
            // It comes again, or has come; who receives it tells repetitions by their id.
            Err(error @ LeaseError::Invalid { .. }) => {
                if *error != LeaseError::FINISHED {
                    tracing::debug!(webhook = self.caller.record.id, %error, "a lease has ended before its call");
                }
                false
            }
            Err(LeaseError::Unavailable(_)) => true,
        }
    }
}
