//! Receiving: long polling, and what became of the messages on their way to the client.

use std::collections::VecDeque;

use types::ReceiptHandle;
use types::broker::{ClientId, DeliveryReport, LeaseOwner, Pop, PopError, PoppedMessage, Pull, PullError, Pulled};

use super::Messaging;

impl Messaging {
    /// Leases messages, waiting for the first as [`Pop::wait`] says, and no longer than until the server begins to stop.
    /// To drop the future gives everything back.
    ///
    /// # Errors
    /// [`PopError`].
    pub async fn receive(&self, pop: Pop) -> Result<Delivery, PopError> {
        let lease = LeaseOwner { group: pop.group.clone(), topic: pop.topic.clone() };
        let (client, is_renewed) = (pop.client.clone(), pop.auto_renew);
        let messages = tokio::select! {
            biased;
            // First: what is popped for a caller that is sent away is leased to nobody.
            () = self.shared.draining.cancelled() => Vec::new(),
            popped = self.shared.broker.pop(pop) => popped?.messages,
        };
        let taken = Vec::with_capacity(messages.len());
        let messages = messages.into();
        Ok(Delivery { messaging: self.clone(), lease, client, messages, taken, written: Vec::new(), is_renewed })
    }

    /// Reads messages, leasing nothing; waits as [`Messaging::receive`] does.
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn pull(&self, pull: Pull) -> Result<Pulled, PullError> {
        let nothing =
            Pulled { records: Vec::new(), next_offset: pull.offset, min_offset: pull.offset, max_offset: pull.offset };
        tokio::select! {
            biased;
            pulled = self.shared.broker.pull(pull) => pulled,
            () = self.shared.draining.cancelled() => Ok(nothing),
        }
    }
}

/// Leased messages on their way to a client. When it is dropped the broker hears what became of them, if it matters: those
/// that were taken before [`Delivery::complete`] was called last were written; for the others the client is gone in the middle of a
/// reply, which clients throw away as a whole, and they are free again.
#[derive(Debug)]
pub struct Delivery {
    messaging: Messaging,
    lease: LeaseOwner,
    client: ClientId,
    messages: VecDeque<PoppedMessage>,
    taken: Vec<ReceiptHandle>,
    written: Vec<ReceiptHandle>,
    /// Whether the broker prolongs the leases of what it knows to be written.
    is_renewed: bool,
}

impl Delivery {
    /// How many messages were not taken yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.messages.len()
    }

    /// Bytes of the messages not taken yet.
    #[must_use]
    pub fn remaining_bytes(&self) -> usize {
        self.messages.iter().map(|message| message.record.len()).sum()
    }

    /// The topic that was asked for.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.lease.topic.as_str()
    }

    /// The next message to write to the client.
    pub fn take(&mut self) -> Option<PoppedMessage> {
        let message = self.messages.pop_front()?;
        self.taken.push(message.handle.clone());
        Some(message)
    }

    /// The message taken last could not be shown to the client, ever: it is left to its lease, so that it comes to the
    /// dead-letter topic in the end.
    pub fn skip_last(&mut self) {
        self.taken.pop();
    }

    /// All messages taken so far were handed to the client's connection.
    pub fn complete(&mut self) {
        self.written.append(&mut self.taken);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let mut lost: Vec<_> = self.messages.drain(..).map(|message| message.handle).collect();
        lost.append(&mut self.taken);
        let written = std::mem::take(&mut self.written);
        let is_news = self.is_renewed && !written.is_empty() || !lost.is_empty();
        if !is_news {
            return;
        }
        let lease = self.lease.clone();
        let report = DeliveryReport { lease, client: self.client.clone(), written, lost, unwanted: Vec::new() };
        let broker = self.messaging.shared.broker.clone();
        self.messaging.shared.tasks.spawn(async move { broker.report_delivery(report).await });
    }
}
