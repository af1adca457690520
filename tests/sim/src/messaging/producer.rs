//! Producers: each message has a number, and the history knows it before it is sent.

use std::collections::BTreeSet;
use std::time::Duration;

use types::broker::{
    Durability, EndTransaction, RecallError, Resolution, SendError, SendReceipt, TransactionError, TransactionPlace,
};
use types::properties::names;
use types::{Broker, Message, QueueId};

use super::clients::Client;
use super::history::{Kind, Topic, Wanted};
use super::plan::QUEUES;
use crate::report::Violation;

/// Message groups, each with a producer of its own.
pub(super) const GROUPS: u8 = 3;
/// Longest pause between two recalls.
const RECALL_PAUSE_MS: u64 = 600;
/// Longest pause between two uses of the topic that is used seldom, by its producer and by its consumer.
pub(super) const SELDOM_MS: u64 = 3_000;
/// Most messages of one send.
const BATCH_MAX: usize = 4;

/// Sends normal or delayed messages.
pub(super) async fn send_plain(mut client: Client, topic: Topic) {
    loop {
        if topic == Topic::Seldom {
            client.pause(SELDOM_MS).await;
        }
        let queue = QueueId(client.rng.u32(..QUEUES));
        let count = if topic == Topic::Delay { 1 } else { client.rng.usize(1..=BATCH_MAX) };
        let messages: Vec<(u64, Message)> = (0..count).map(|_| plain(&mut client, topic)).collect();
        send(&client, queue, messages).await;
        client.pause(80).await;
    }
}

fn plain(client: &mut Client, topic: Topic) -> (u64, Message) {
    let kind = match topic {
        Topic::Delay => {
            let farthest_ms = if client.rng.u8(..10) == 0 { 600_000 } else { 6_000 };
            let delay = Duration::from_millis(client.rng.u64(..farthest_ms));
            Kind::Delay { due: client.env.clock.now().plus(delay) }
        }
        Topic::Seldom => Kind::Seldom,
        _ => Kind::Normal,
    };
    let id = client.history.lock().begin_send(kind, client.true_now());
    let mut message = client.message(topic, id);
    if let Kind::Delay { due } = kind {
        message.properties.set_own(names::TIMER_DELIVER_MS, &due.to_string());
    }
    (id, message)
}

/// Sends messages one by one whose records are all of one length to one queue: where two logs part, both go on at the same places.
pub(super) async fn send_uniform(mut client: Client) {
    loop {
        let id = client.history.lock().begin_send(Kind::Normal, client.true_now());
        let message = client.message_of(Topic::Normal, id, 0);
        send(&client, QueueId(0), vec![(id, message)]).await;
        client.pause(80).await;
    }
}

/// Takes delayed messages back, of this life or an earlier one.
pub(super) async fn recall(mut client: Client) {
    loop {
        client.pause(RECALL_PAUSE_MS).await;
        let Some((id, handle)) = client.history.lock().begin_recall(&mut client.rng) else { continue };
        let begun_at = client.true_now();
        match client.broker.recall(Topic::Delay.name(), handle).await {
            Ok(_) => {
                client.history.lock().succeeded(begun_at, "a recall");
                client.history.lock().recalled(id, client.true_now());
            }
            Err(RecallError::NotFound) => {
                let judged = client.history.lock().not_recalled(id, client.env.clock.now());
                client.judge(judged);
            }
            // It may have been taken back or not.
            Err(RecallError::Unavailable(_)) => {}
            Err(error) => client.judge(Err(Violation::new("a recall handle is understood", error.to_string()))),
        }
    }
}

/// Sends one message; whether it was taken.
pub(super) async fn probe(client: &mut Client) -> bool {
    let message = plain(client, Topic::Normal);
    !send(client, QueueId(0), vec![message]).await.is_empty()
}

/// Sends a message that nobody counts on, as long as those of [`send_uniform`]; whether the broker says that it has it.
pub(crate) async fn send_unheard(client: &mut Client) -> bool {
    let id = client.history.lock().begin_send(Kind::Normal, client.true_now());
    let message = client.message_of(Topic::Normal, id, 0);
    let answered = client.broker.send(QueueId(0), vec![message]).await;
    let is_stored =
        |receipt: &SendReceipt| !matches!(receipt.durability, Durability::FlushTimedOut | Durability::ReplicaTimedOut);
    answered.iter().flatten().any(is_stored)
}

/// Sends the messages of one group, one after the other.
pub(super) async fn send_group(mut client: Client, group: u8) {
    let queue = QueueId(u32::from(group) % QUEUES);
    loop {
        let count = client.rng.usize(1..=BATCH_MAX);
        let mut messages = Vec::with_capacity(count);
        for _ in 0..count {
            let id = client.history.lock().begin_send(Kind::Fifo { group }, client.true_now());
            let mut message = client.message(Topic::Fifo, id);
            message.properties.set_own(names::MESSAGE_GROUP, &format!("group-{group}"));
            messages.push((id, message));
        }
        send(&client, queue, messages).await;
        client.pause(200).await;
    }
}

/// Sends half messages and ends some of them; the others are asked for.
pub(super) async fn send_transactions(mut client: Client) {
    loop {
        let wanted = *client.rng.choice(&Wanted::ALL).expect("not empty");
        let queue = QueueId(client.rng.u32(..QUEUES));
        let id = client.history.lock().begin_send(Kind::Transaction { wanted }, client.true_now());
        let mut message = client.message(Topic::Transaction, id);
        message.properties.set_own(names::TRANSACTION_PREPARED, "true");
        message.properties.set_own(names::PRODUCER_GROUP, "producers");
        let receipts = send(&client, queue, vec![(id, message)]).await;
        let place = receipts.into_iter().find_map(|receipt| receipt.transaction);
        client.pause(300).await;
        if let (Some(place), true) = (place, client.rng.bool()) {
            end(&client, id, wanted, place).await;
        }
    }
}

/// Sends messages with idempotency keys, and sends them again: at once and in one batch, or later, in this life or another, but
/// within the window.
pub(super) async fn send_keyed(mut client: Client, window: Duration) {
    loop {
        let now = client.true_now();
        // What is sent near its end may come behind it.
        let again = client.history.lock().begin_repeat(&mut client.rng, now, window / 2).filter(|_| client.rng.bool());
        let (id, kind) = again.unwrap_or_else(|| {
            let kind = keyed_kind(&mut client);
            (client.history.lock().begin_keyed(kind, now), kind)
        });
        let message = keyed(&client, id, kind);
        let times = if client.rng.u8(..5) == 0 { 2 } else { 1 };
        let messages = std::iter::repeat_n((id, message), times).collect();
        let queue = QueueId(client.rng.u32(..QUEUES));
        let receipts = send(&client, queue, messages).await;
        if let Kind::Transaction { wanted } = kind
            && let Some(place) = receipts.into_iter().find_map(|receipt| receipt.transaction)
            && client.rng.bool()
        {
            end(&client, id, wanted, place).await;
        }
        client.pause(60).await;
    }
}

fn keyed_kind(client: &mut Client) -> Kind {
    match client.rng.u8(..4) {
        0 => Kind::Delay { due: client.env.clock.now().plus(Duration::from_millis(client.rng.u64(..6_000))) },
        1 => Kind::Transaction { wanted: *client.rng.choice(&Wanted::ALL).expect("not empty") },
        _ => Kind::Normal,
    }
}

fn keyed(client: &Client, id: u64, kind: Kind) -> Message {
    let mut message = client.keyed_message(kind.topic(), id);
    match kind {
        Kind::Delay { due } => message.properties.set_own(names::TIMER_DELIVER_MS, &due.to_string()),
        Kind::Transaction { .. } => {
            message.properties.set_own(names::TRANSACTION_PREPARED, "true");
            message.properties.set_own(names::PRODUCER_GROUP, "producers");
        }
        Kind::Normal | Kind::Fifo { .. } | Kind::Seldom => {}
    }
    message
}

/// Tells the broker what a half message's producer wants.
pub(super) async fn end(client: &Client, id: u64, wanted: Wanted, place: TransactionPlace) {
    let resolution = match wanted {
        Wanted::Commit => Resolution::Commit,
        Wanted::RollBack => Resolution::Rollback,
        Wanted::Nothing => Resolution::Unknown,
    };
    client.history.lock().begin_end(id);
    let request = EndTransaction::new(Topic::Transaction.name(), place, resolution);
    let begun_at = client.true_now();
    match client.broker.end_transaction(request).await {
        // What changes nothing needs no disk.
        Ok(()) if wanted == Wanted::Nothing => {}
        Ok(()) => client.history.lock().succeeded(begun_at, "the end of a transaction"),
        Err(TransactionError::Unavailable(_) | TransactionError::Send(SendError::Unavailable(_))) => {}
        Err(error) => {
            let judged = client.history.lock().not_ended(id, &error, client.true_now());
            client.judge(judged);
        }
    }
}

/// Sends messages to one queue and notes what became of each.
async fn send(client: &Client, queue: QueueId, messages: Vec<(u64, Message)>) -> Vec<SendReceipt> {
    let (ids, messages): (Vec<u64>, Vec<Message>) = messages.into_iter().unzip();
    let begun_at = client.true_now();
    let mut known: BTreeSet<u64> = ids.iter().copied().filter(|id| client.history.lock().is_stored(*id)).collect();
    let results = client.broker.send(queue, messages).await;
    let now = client.true_now();
    let mut receipts = Vec::new();
    for (id, result) in ids.into_iter().zip(results) {
        // Whether a message that was refused or timed out is stored is not known: that is promised to nobody.
        let Ok(receipt) = result else { continue };
        client.history.lock().succeeded(begun_at, "a send");
        let judged = client.history.lock().answered(id, &receipt, !known.insert(id), now);
        client.judge(judged);
        receipts.push(receipt);
    }
    receipts
}
