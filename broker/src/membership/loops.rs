//! What is said and asked again and again, for as long as the broker lives.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use env::ROLES;
use remoting::Client;
use remoting_proto::requests::ExchangeBrokerHaInfoAnswer;
use remoting_proto::{Command, Fields, RequestCode, ResponseCode};
use tokio::sync::watch;

use super::controllers::Error;
use super::lease::SPEAK_EVERY;
use super::{Duty, MemberId, Membership, View, identity};
use crate::replication::Master;
use crate::replication::epochs::Epoch;

/// How often the controllers are asked. Apache's brokers do every 5 s (`syncBrokerMetadataPeriod`).
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often a master looks who is in sync.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After an answer that does not help.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long a master may take to say where it has its log.
const MASTER_ANSWERS_WITHIN: Duration = Duration::from_secs(3);

impl Membership {
    /// Tells the controllers that the broker lives and asks them who is the master, for ever.
    pub async fn run(&self) {
        tokio::join!(self.speak(), self.ask());
    }

    async fn speak(&self) {
        loop {
            let (standing, has_failed) = {
                let mut running = self.running.lock();
                running.1 = self.standing(&running);
                (running.1, running.0.as_ref().is_some_and(|broker| broker.marks().failure().is_some()))
            };
            self.look_at_lease(self.part.lock().duty());
            let has_failed = has_failed || self.is_damaged.load(Ordering::Acquire);
            // Another one is to be the master when this one's disk has failed.
            if !has_failed && self.part.lock().may_speak() {
                self.controllers.tell(&self.options, self.id, standing).await;
            }
            self.env.clock.sleep(SPEAK_EVERY).await;
        }
    }

    async fn ask(&self) {
        let mut told = String::new();
        loop {
            let asked_at = self.env.clock.moment();
            let answered = match self.controllers.view(&self.options).await {
                Ok(view) => {
                    self.hear(view, asked_at);
                    self.elect().await
                }
                Err(error) => Err(error),
            };
            let wait = match answered {
                Ok(true) => continue,
                Ok(false) => {
                    told.clear();
                    ASK_EVERY.saturating_sub(self.env.clock.moment().since(asked_at))
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != told {
                        tracing::warn!(%error, "the controllers do not say who is the master");
                        told = text;
                    }
                    if error.is_unknown() {
                        // Asked again if that fails too.
                        drop(identity::take_again(&self.env, &self.options, &*self.controllers).await);
                    }
                    RETRY_AFTER
                }
            };
            tokio::select! {
                biased;
                () = self.poke.notified() => {}
                () = self.env.clock.sleep(wait) => {}
            }
        }
    }

    /// Asks for a master where there is none; whether there is one now.
    async fn elect(&self) -> Result<bool, Error> {
        if !self.part.lock().wants_election() || self.running.lock().0.is_none() {
            return Ok(false);
        }
        self.controllers.elect(&self.options, self.id).await.map(|()| true)
    }

    /// Tells a slave where its master has its log, for ever: controllers say only where it answers.
    pub(crate) async fn find_master(&self, found: &watch::Sender<Option<String>>) {
        let mut duty = self.duty();
        loop {
            let address = match &*duty.borrow_and_update() {
                Duty::Follow(address, _) => Some(address.clone()),
                Duty::Wait | Duty::Lead(_) => None,
            };
            found.send_replace(None);
            tokio::select! {
                biased;
                // It lives as long as this does.
                changed = duty.changed() => drop(changed),
                () = self.ask_master(address, found) => {}
            }
        }
    }

    /// Never ends.
    async fn ask_master(&self, address: Option<String>, found: &watch::Sender<Option<String>>) {
        let Some(address) = address else { return std::future::pending().await };
        let client = Client::eager(address, self.env.clock.clone());
        loop {
            let request = Command::request(RequestCode::ExchangeBrokerHaInfo, Fields::default(), Bytes::new());
            // A broker that is about to be the master has no slaves yet, and says so.
            let answer = client.call(request, MASTER_ANSWERS_WITHIN).await.ok();
            let answer = answer.filter(|answer| answer.response_code() == ResponseCode::Success);
            let log_at =
                answer.and_then(|answer| ExchangeBrokerHaInfoAnswer::of(&answer.fields).ok()?.master_ha_address);
            let wait = if log_at.is_some() { ASK_EVERY } else { RETRY_AFTER / 5 };
            crate::registration::found(found, log_at);
            self.env.clock.sleep(wait).await;
        }
    }

    fn tell_in_sync(&self, epoch: Epoch, before: Option<&View>, in_sync: &BTreeSet<MemberId>, in_sync_epoch: i32) {
        let reason = match before {
            Some(before) if !in_sync.is_superset(&before.in_sync) => "a slave has gone or does not keep up",
            _ => "a slave has all",
        };
        let ids: Vec<_> = in_sync.iter().map(|id| id.0).collect();
        tracing::info!(
            target: ROLES, event = "in_sync", broker = self.options.name, id = self.id.0, role = "master", epoch = epoch.0, in_sync = ?ids,
            in_sync_epoch, reason, "others are in sync"
        );
    }

    /// Tells the controllers who is in sync with this master of an epoch, for ever.
    pub async fn report(&self, epoch: Epoch, master: &Master) {
        let (clock, mut told) = (&self.env.clock, String::new());
        loop {
            clock.sleep(LOOK_EVERY).await;
            let view = self.view().filter(|view| view.epoch == epoch);
            let Some(change) = master.in_sync_change(view.as_ref()) else { continue };
            match self.controllers.set_in_sync(&self.options, self.id, epoch, &change).await {
                Ok(in_sync_epoch) => {
                    self.tell_in_sync(epoch, view.as_ref(), &change.in_sync, in_sync_epoch);
                    master.in_sync_decided(&change.in_sync, in_sync_epoch);
                    told.clear();
                }
                Err(error) => {
                    // An answer that was lost may have been that it is so: what they say now is what holds.
                    if error.decided().is_some()
                        && let Ok(view) = self.controllers.view(&self.options).await
                        && view.epoch == epoch
                    {
                        master.in_sync_refused(&view);
                    }
                    let text = error.to_string();
                    if text != told {
                        tracing::warn!(%error, in_sync = ?change.in_sync, "it is not agreed who is in sync");
                        told = text;
                    }
                    clock.sleep(RETRY_AFTER).await;
                }
            }
        }
    }
}
