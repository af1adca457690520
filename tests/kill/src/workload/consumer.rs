//! A consumer: receives, works a little, acks; now and then asks for a message again or lets its lease run out.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use grpc::v2;
use tokio::sync::mpsc;

use super::World;
use super::producer::Role;
use crate::client::{self, Client, Handle, RECONNECT_PAUSE, Receive, Settings};
use crate::event::What;
use crate::{body, plan};

/// The lease of a simple consumer: the shortest that the API allows.
pub(super) const INVISIBLE: Duration = Duration::from_secs(10);
/// How long a receive waits.
const WAIT: Duration = Duration::from_secs(5);
/// Most messages of a receive.
const MESSAGES_MAX: i32 = 16;
/// Share of receives whose messages are acked in one request.
const ACK_TOGETHER_PERCENT: u32 = 50;
/// Share of messages that are asked for again when they come first.
const CHANGE_PERCENT: u32 = 3;
/// After how long at most.
const CHANGE_MS_MAX: u64 = 2_000;
/// One in so many messages is neither acked nor asked for again when it comes first to a simple consumer.
const FORGET_ONE_IN: u32 = 200;
/// The same of messages with a message group, which hold up their successors.
const FORGET_ORDERED_ONE_IN: u32 = 5_000;
/// One in so many messages takes a while; the others take no time, so that consumers keep up and most kills meet young messages.
const SLOW_ONE_IN: u32 = 100;
/// How long at most.
const SLOW_MS_MAX: u64 = 500;

/// How a consumer receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Leases for a fixed time.
    Simple,
    /// Leases for as long as it lives.
    Push,
}

impl Style {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::Simple, Self::Push];

    /// The group of these consumers.
    pub(super) fn group(self) -> &'static str {
        match self {
            Self::Simple => "kill-simple",
            Self::Push => "kill-push",
        }
    }

    fn invisible(self) -> Option<Duration> {
        match self {
            Self::Simple => Some(INVISIBLE),
            Self::Push => None,
        }
    }
}

/// See the module.
pub(super) struct Consumer {
    world: Arc<World>,
    style: Style,
    role: Role,
    name: String,
    client: Client,
    random: Rng,
    /// Receives that brought something; with the name it names the next.
    attempt: u64,
}

/// A message that came.
struct Delivery {
    key: String,
    attempt: i32,
    handle: Handle,
}

/// What a consumer does with it.
enum Action {
    Ack,
    Change(Duration),
    Forget,
}

impl Consumer {
    /// Consumer `number` of a style on the topic of a role.
    pub(super) fn new(world: Arc<World>, style: Style, role: Role, number: usize) -> Self {
        let name = format!("{}-{}-{number}", style.group(), role.topic());
        let client = Client::new(world.address, &name);
        let random = plan::random(world.seed, &name);
        Self { world, style, role, name, client, random, attempt: 0 }
    }

    /// Its session: settings and heartbeats, until dropped.
    pub(super) fn session(&self) -> impl Future<Output = ()> + use<> {
        let (group, topic, is_push) = (self.style.group(), self.role.topic(), self.style == Style::Push);
        // Consumers are asked nothing: the channel stays empty.
        let (questions, _) = mpsc::channel(1);
        client::keep(self.client.clone(), Settings::Consumer { group, topic, is_push }, questions)
    }

    /// Consumes until dropped.
    pub(super) async fn run(mut self) {
        let broker = loop {
            match self.client.query_broker(self.role.topic(), self.style.group()).await {
                Ok(broker) => break broker,
                Err(_) => tokio::time::sleep(RECONNECT_PAUSE).await,
            }
        };
        loop {
            let deliveries = self.receive(&broker).await;
            if self.random.u32(..100) < ACK_TOGETHER_PERCENT {
                let mut finished = Vec::new();
                for delivery in deliveries {
                    if self.is_finished(&delivery).await {
                        finished.push(delivery);
                    }
                }
                self.ack(finished).await;
            } else {
                for delivery in deliveries {
                    if self.is_finished(&delivery).await {
                        self.ack(vec![delivery]).await;
                    }
                }
            }
        }
    }

    async fn receive(&mut self, broker: &str) -> Vec<Delivery> {
        let wanted = Receive {
            group: self.style.group(),
            topic: self.role.topic(),
            broker,
            messages_max: self.random.i32(1..=MESSAGES_MAX),
            invisible: self.style.invisible(),
            wait: WAIT,
            attempt_id: format!("{}-{}", self.name, self.attempt),
        };
        let kills = self.world.trace.kills();
        let mut deliveries = Vec::new();
        let received = self.client.receive(&wanted, |message| deliveries.push(self.delivered(message, kills))).await;
        match received {
            // The same attempt again after a reply that broke off, as the official clients do it.
            Err(_) => tokio::time::sleep(RECONNECT_PAUSE).await,
            Ok(()) if deliveries.is_empty() => {}
            Ok(()) => self.attempt += 1,
        }
        deliveries
    }

    fn delivered(&self, message: v2::Message, kills: u32) -> Delivery {
        let (key, is_intact) = body::read(&message.body);
        let properties = message.system_properties.unwrap_or_default();
        let attempt = properties.delivery_attempt();
        self.world.trace.record(What::Delivered {
            group: self.style.group().to_owned(),
            key: key.clone(),
            attempt,
            is_intact,
            lease_ms: self.style.invisible().map(|lease| i64::try_from(lease.as_millis()).unwrap_or(i64::MAX)),
            kills,
        });
        let receipt_handle = properties.receipt_handle.unwrap_or_default();
        Delivery { key, attempt, handle: Handle { message_id: properties.message_id, receipt_handle } }
    }

    /// Works on a message; says whether it is to be acked.
    async fn is_finished(&mut self, delivery: &Delivery) -> bool {
        if self.random.u32(..SLOW_ONE_IN) == 0 {
            tokio::time::sleep(Duration::from_millis(self.random.u64(..=SLOW_MS_MAX))).await;
        }
        match self.action(delivery.attempt) {
            Action::Ack => true,
            Action::Forget => false,
            Action::Change(invisible) => {
                self.change(delivery, invisible).await;
                false
            }
        }
    }

    fn action(&mut self, attempt: i32) -> Action {
        let forget_one_in = if self.role == Role::Fifo { FORGET_ORDERED_ONE_IN } else { FORGET_ONE_IN };
        if attempt > 1 || self.world.is_ending() {
            Action::Ack
        } else if self.random.u32(..100) < CHANGE_PERCENT {
            Action::Change(Duration::from_millis(self.random.u64(..=CHANGE_MS_MAX)))
        } else if self.style == Style::Simple && self.random.u32(..forget_one_in) == 0 {
            Action::Forget
        } else {
            Action::Ack
        }
    }

    async fn change(&self, delivery: &Delivery, invisible: Duration) {
        let (group, key) = (self.style.group().to_owned(), delivery.key.clone());
        let invisible_ms = u64::try_from(invisible.as_millis()).unwrap_or(u64::MAX);
        self.world.trace.record(What::Changing { group: group.clone(), key: key.clone(), invisible_ms });
        let changed = self.client.change_invisible(&group, self.role.topic(), &delivery.handle, invisible).await;
        self.world.trace.record(match changed {
            Ok(()) => What::Changed { group, key },
            Err(error) => What::NotChanged { group, key, error: error.to_string() },
        });
    }

    /// Acks messages until the server has said something about each.
    async fn ack(&self, mut deliveries: Vec<Delivery>) {
        let group = self.style.group();
        while !deliveries.is_empty() {
            for delivery in &deliveries {
                self.world.trace.record(What::Acking { group: group.to_owned(), key: delivery.key.clone() });
            }
            let handles: Vec<Handle> = deliveries.iter().map(|delivery| delivery.handle.clone()).collect();
            let results = self.client.ack(group, self.role.topic(), &handles).await;
            let mut unanswered = Vec::new();
            for (delivery, result) in deliveries.into_iter().zip(results) {
                let (group, key) = (group.to_owned(), delivery.key.clone());
                let Err(error) = result else {
                    self.world.trace.record(What::Acked { group, key });
                    continue;
                };
                let is_refused = error.is_refusal();
                self.world.trace.record(What::NotAcked { group, key, is_refused, error: error.to_string() });
                if !is_refused {
                    unanswered.push(delivery);
                }
            }
            if !unanswered.is_empty() {
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
            deliveries = unanswered;
        }
    }
}
