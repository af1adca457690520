//! Consumers: they take messages, finish most of them, send some back and forget the rest.

use std::sync::Arc;
use std::time::Duration;

use types::broker::{ChangeInvisible, ClientId, DeliveryReport, LeaseOwner, Pop, PoppedMessage};
use types::receipt_handle::HandleSource;
use types::{Broker, Filter, GroupName, PhysicalOffset};

use super::clients::{Client, id_of};
use super::history::{Delivery, Kind, Place, Topic};
use super::producer;
use crate::report::Violation;

/// Takes messages of a topic and deals with them; `is_last` finishes them all.
pub(super) async fn consume(mut client: Client, topic: Topic, is_last: bool) {
    let id: ClientId = format!("consumer-{:016x}", client.rng.u64(..)).into();
    // A group that uses nothing else expires with its topic.
    let group = if topic == Topic::Seldom { "seldom" } else { "consumers" };
    let lease = LeaseOwner { group: GroupName::new(group).expect("a valid name"), topic: topic.name() };
    loop {
        let request = Pop {
            group: lease.group.clone(),
            client: id.clone(),
            topic: lease.topic.clone(),
            queue: None,
            messages_max: client.rng.u32(1..=Pop::MESSAGES_MAX),
            invisible: Duration::from_millis(client.rng.u64(200..5_000)),
            auto_renew: false,
            filter: Arc::new(Filter::All),
            wait: Duration::from_millis(client.rng.u64(..3_000)),
            attempt_id: None,
        };
        let patience = Duration::from_millis(client.rng.u64(1..20_000));
        let patience = client.env.clock.sleep(patience);
        let popped = tokio::select! {
            biased;
            popped = client.broker.pop(request) => popped,
            // A client that hangs up.
            () = patience => continue,
        };
        let Ok(popped) = popped else {
            client.pause(100).await;
            continue;
        };
        if !receive(&client, topic, &popped.messages) {
            return;
        }
        report(&mut client, &lease, &id, &popped.messages, is_last).await;
        for message in popped.messages {
            deal(&mut client, &lease, message, is_last).await;
        }
        if topic == Topic::Seldom && !is_last {
            client.pause(producer::SELDOM_MS).await;
        }
    }
}

/// Notes what came; `false` after a violation.
fn receive(client: &Client, topic: Topic, messages: &[PoppedMessage]) -> bool {
    let (now, wall) = (client.true_now(), client.env.clock.now());
    for message in messages {
        let noted = delivery_of(message).and_then(|(id, place, physical_offset)| {
            let (popped_at, invisible) = (message.handle.popped_at, message.handle.invisible);
            let (attempt, status) = (message.attempt, client.broker.status());
            let visible_to = PhysicalOffset(status.visible_to);
            let is_confirmed = status.visible_to <= status.confirmed_to;
            let delivery = Delivery {
                topic,
                place,
                physical_offset,
                visible_to,
                is_confirmed,
                now,
                wall,
                attempt,
                popped_at,
                invisible,
            };
            client.history.lock().delivered(id, delivery)
        });
        let is_kept = noted.is_ok();
        client.judge(noted);
        if !is_kept {
            return false;
        }
    }
    true
}

fn delivery_of(message: &PoppedMessage) -> Result<(u64, Option<Place>, PhysicalOffset), Violation> {
    let unreadable = |detail: String| Violation::new("what is delivered is what was sent", detail);
    let record = record::decode(&message.record).map_err(|error| unreadable(error.to_string()))?;
    let id = id_of(record.body).ok_or_else(|| unreadable(format!("a body of {} bytes", record.body.len())))?;
    let place = Place { queue: record.header.queue, queue_offset: record.header.queue_offset };
    let place = (message.handle.source == HandleSource::Topic).then_some(place);
    Ok((id, place, record.header.physical_offset))
}

/// Says that the messages were written to the client, as a proxy does; now and then they were not, or it dies before.
async fn report(client: &mut Client, lease: &LeaseOwner, id: &ClientId, messages: &[PoppedMessage], is_last: bool) {
    if messages.is_empty() || (!is_last && client.rng.u8(..10) == 0) {
        return;
    }
    let written = messages.iter().map(|message| message.handle.clone()).collect();
    let report =
        DeliveryReport { lease: lease.clone(), client: id.clone(), written, lost: Vec::new(), unwanted: Vec::new() };
    client.broker.report_delivery(report).await;
}

/// Acks, sends back or forgets a message.
async fn deal(client: &mut Client, lease: &LeaseOwner, message: PoppedMessage, is_last: bool) {
    let Ok((id, ..)) = delivery_of(&message) else { return };
    match client.rng.u8(..20) {
        0..3 if !is_last => {}
        3 if !is_last => {
            let invisible = Duration::from_millis(client.rng.u64(..2_000));
            let change = ChangeInvisible { invisible, suspend: client.rng.bool() };
            client.history.lock().begin_change(id, change);
            let begun_at = client.true_now();
            if client.broker.change_invisible(lease.clone(), message.handle, change).await.is_ok() {
                client.history.lock().succeeded(begun_at, "a change of an invisible time");
            }
        }
        _ => {
            if !is_last {
                client.pause(30).await;
            }
            client.history.lock().begin_ack(id);
            let begun_at = client.true_now();
            let results = client.broker.ack(lease.clone(), vec![message.handle]).await;
            if results == [Ok(())] {
                client.history.lock().succeeded(begun_at, "an ack");
                client.history.lock().acked(id, client.true_now());
            }
        }
    }
}

/// Answers what the broker asks about half messages.
pub(super) async fn answer_checks(client: Client) {
    let mut checks = client.broker.transaction_checks();
    while let Some(check) = checks.recv().await {
        let Some(id) = record::decode(&check.record).ok().and_then(|record| id_of(record.body)) else {
            let detail = format!("{check:?}");
            return client.judge(Err(Violation::new("a check names a half message", detail)));
        };
        let kind = client.history.lock().kind(id);
        if let Some(Kind::Transaction { wanted }) = kind {
            producer::end(&client, id, wanted, check.place).await;
        }
    }
}
