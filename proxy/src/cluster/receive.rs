//! Receiving: one wait for all brokers of a topic, and what is not shown to the client.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use env::clock::Moment;
use remoting_proto::requests::{Notification, NotificationAnswer, PopMessage, PopMessageAnswer, PopRefused};
use remoting_proto::{Command, RequestCode, ResponseCode};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use types::broker::{LeaseOwner, LookupError, Pop, PopError, Popped, PoppedMessage, Unavailable};
use types::{Filter, GroupConfig, Properties};

use super::brokers::{Request, refused, unreadable};
use super::popped;
use super::{ANSWER_WITHIN, Cluster};

/// Any queue. Source: Apache `PopMessageRequestHeader`.
const ANY_QUEUE: i64 = -1;
/// A group that is new begins at a queue's end. Source: Apache `ConsumeInitMode`, as its proxy has it.
const INIT_AT_END: i64 = 1;
/// The wait begins when the broker has the request, by the broker's clock. Source: Apache `PopMessageProcessor`, `NotificationProcessor`.
const BORN_AT_ARRIVAL: i64 = 0;
/// Longest wait at brokers before they are asked again: an ordered queue gets free without anybody being told.
const NOTIFIED_WITHIN: Duration = Duration::from_secs(5);
/// A pop whose caller had to give up is listened to for so much longer: what it leases is given back.
const LATE_MAX: Duration = Duration::from_secs(10);
/// Pause after a broker that said it has a message had none to lease.
const EMPTY_PAUSE: Duration = Duration::from_millis(100);

impl Cluster {
    /// As [`types::Broker::pop`]. No pop waits at a broker: it would outlive a caller that goes away, and what it leases then costs an
    /// attempt. Who has a message says so to the receive whose turn it is; the next then looks whether that left something.
    /// Brokers that failed lately are asked again when their time is over.
    pub(super) async fn receive(&self, pop: Pop) -> Result<Popped, PopError> {
        let group = self.group_config(&pop.group).await?;
        let route = self.route(&pop.topic).await?;
        if !group.is_enabled {
            return Err(PopError::GroupDisabled { group: pop.group });
        }
        let brokers = route.readers();
        if brokers.is_empty() {
            return Err(PopError::NotReadable { topic: pop.topic });
        }
        let ends_at = self.0.clock.moment().plus(pop.wait);
        let pop = Arc::new(pop);
        let place = self.0.turns.place(&pop);
        let (mut turn, mut is_told) = (None, false);
        loop {
            let sound = self.sound(&brokers);
            let messages = self.pop_round(&sound, &pop, &group).await?;
            if pop.auto_renew && !messages.is_empty() {
                let owner = LeaseOwner { group: pop.group.clone(), topic: pop.topic.clone() };
                self.offer(&pop.client, &owner, &group, &messages);
            }
            if !messages.is_empty() || self.0.clock.moment() >= ends_at {
                return Ok(Popped { messages });
            }
            // What it has is not for this group.
            if is_told {
                self.pause(ends_at).await;
            }
            if turn.is_none() {
                turn = place.try_take();
            }
            if turn.is_some() {
                is_told = self.wait_for_any(&sound, &pop, &group, ends_at).await;
            } else {
                // Whose turn it is may not be polled, because its client takes nothing.
                let left = ends_at.since(self.0.clock.moment()).min(NOTIFIED_WITHIN);
                turn = tokio::select! {
                    biased;
                    taken = place.take() => Some(taken),
                    () = self.0.clock.sleep(left) => None,
                };
            }
        }
    }

    /// Those that have not failed lately, or all if all have: one that does not answer holds up no receive more than once in a while.
    fn sound(&self, brokers: &[Arc<str>]) -> Vec<Arc<str>> {
        let sound: Vec<_> = brokers.iter().filter(|broker| !self.0.brokers.has_failed(broker)).cloned().collect();
        if sound.is_empty() { brokers.to_vec() } else { sound }
    }

    /// Asks brokers in turn until one has messages. One that fails is passed over if another answers.
    async fn pop_round(
        &self,
        brokers: &[Arc<str>],
        pop: &Arc<Pop>,
        group: &Arc<GroupConfig>,
    ) -> Result<Vec<PoppedMessage>, PopError> {
        let first = self.0.round.fetch_add(1, Ordering::Relaxed);
        let (mut failed, mut has_answered) = (None, false);
        for turn in 0..brokers.len() {
            let Some(broker) = brokers.get((first.wrapping_add(turn)) % brokers.len()) else { continue };
            match self.pop_kept(broker, pop, group).await {
                Ok(messages) if !messages.is_empty() => return Ok(messages),
                Ok(_) => has_answered = true,
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if !has_answered => Err(error),
            _ => Ok(Vec::new()),
        }
    }

    /// Pops in a task of its own: if the caller goes away, or the answer comes too late for it, what comes is freed.
    async fn pop_kept(
        &self,
        broker: &Arc<str>,
        pop: &Arc<Pop>,
        group: &Arc<GroupConfig>,
    ) -> Result<Vec<PoppedMessage>, PopError> {
        let (tell, told) = oneshot::channel();
        let (cluster, asked, pop, group) = (self.clone(), broker.clone(), pop.clone(), group.clone());
        self.0.tasks.spawn(async move {
            let popped = cluster.pop_from(&asked, &pop, &group).await;
            let lease = LeaseOwner { group: pop.group.clone(), topic: pop.topic.clone() };
            let _ = tell.send(popped.map(|messages| Fresh { messages, cluster, lease }));
        });
        tokio::select! {
            biased;
            told = told => told.unwrap_or(Err(Unavailable::Stopping.into())).map(Fresh::take),
            () = self.0.clock.sleep(ANSWER_WITHIN) => {
                self.0.brokers.failed(broker);
                Err(Unavailable::TimedOut { waited_ms: u64::try_from(ANSWER_WITHIN.as_millis()).unwrap_or(u64::MAX) }.into())
            }
        }
    }

    async fn pop_from(
        &self,
        broker: &Arc<str>,
        pop: &Pop,
        group: &GroupConfig,
    ) -> Result<Vec<PoppedMessage>, PopError> {
        let (expression_type, expression) = pop.filter.expression();
        let header = PopMessage {
            consumer_group: pop.group.to_string(),
            topic: pop.topic.to_string(),
            queue_id: ANY_QUEUE,
            max_msg_nums: pop.messages_max.into(),
            invisible_time: ms(pop.invisible),
            poll_time: 0,
            born_time: BORN_AT_ARRIVAL,
            init_mode: INIT_AT_END,
            exp_type: Some(expression_type.to_string()),
            exp: Some(expression),
            order: Some(group.is_fifo),
            attempt_id: pop.attempt_id.as_deref().map(str::to_owned),
            broker_name: Some(broker.to_string()),
        };
        let request = Request { late_max: LATE_MAX, ..Request::new(RequestCode::PopMessage, header.to_fields()) };
        let answer = self.0.brokers.call(broker, request).await?;
        match answer.response_code() {
            ResponseCode::Success => {}
            ResponseCode::PullNotFound | ResponseCode::PollingTimeout => return Ok(Vec::new()),
            ResponseCode::PollingFull => {
                return Err(PopError::TooManyWaiting { waiting_max: remoting::client::IN_FLIGHT_MAX });
            }
            ResponseCode::TopicNotExist => {
                self.doubt_route(&pop.topic);
                return Err(LookupError::TopicNotFound { topic: pop.topic.clone() }.into());
            }
            ResponseCode::SubscriptionGroupNotExist => {
                return Err(LookupError::GroupNotFound { group: pop.group.clone() }.into());
            }
            ResponseCode::NoPermission if is_locked(&answer) => {
                return Err(PopError::QueuesLocked { group: pop.group.clone(), topic: pop.topic.clone() });
            }
            ResponseCode::NoPermission => {
                self.doubt_route(&pop.topic);
                return Err(PopError::NotReadable { topic: pop.topic.clone() });
            }
            _ => return Err(refused(broker, &answer).into()),
        }
        let leases = PopMessageAnswer::of(&answer.fields).map_err(unreadable)?;
        let messages = popped::messages(broker, &leases, answer.body).map_err(unreadable)?;
        Ok(self.shown(messages, pop, group))
    }

    /// Leaves out what the client shall not see, and finishes it beside: other tags with the same hash, which brokers do not
    /// tell apart, and messages whose attempts are used up, which before Apache's brokers only a proxy moves away.
    fn shown(&self, messages: Vec<PoppedMessage>, pop: &Pop, group: &GroupConfig) -> Vec<PoppedMessage> {
        let (mut shown, mut unwanted, mut exhausted) = (Vec::with_capacity(messages.len()), Vec::new(), Vec::new());
        for message in messages {
            if !is_wanted(&pop.filter, &message) {
                unwanted.push(message.handle);
            } else if message.attempt > group.attempts_max {
                exhausted.push(message.handle);
            } else {
                shown.push(message);
            }
        }
        if !unwanted.is_empty() || !exhausted.is_empty() {
            let (cluster, lease) = (self.clone(), LeaseOwner { group: pop.group.clone(), topic: pop.topic.clone() });
            self.0.tasks.spawn(async move {
                cluster.ack_all(&lease, unwanted).await;
                for handle in exhausted {
                    if let Err(error) = cluster.forward_to_dead_letters(&lease, handle).await {
                        tracing::warn!(group = %lease.group, topic = %lease.topic, %error, "not moved to the dead letters yet");
                    }
                }
            });
        }
        shown
    }

    /// Returns when one of the brokers has a message, or none had within its time; says which.
    async fn wait_for_any(&self, brokers: &[Arc<str>], pop: &Arc<Pop>, group: &GroupConfig, ends_at: Moment) -> bool {
        let wait = ends_at.since(self.0.clock.moment()).min(NOTIFIED_WITHIN);
        let mut waits = JoinSet::new();
        for broker in brokers {
            let (cluster, broker, pop, is_ordered) = (self.clone(), broker.clone(), pop.clone(), group.is_fifo);
            waits.spawn(async move { cluster.has_message(&broker, &pop, is_ordered, wait).await });
        }
        while let Some(has_message) = waits.join_next().await {
            if has_message.unwrap_or(false) {
                return true;
            }
        }
        self.pause(ends_at).await;
        false
    }

    async fn pause(&self, ends_at: Moment) {
        let left = ends_at.since(self.0.clock.moment());
        self.0.clock.sleep(EMPTY_PAUSE.min(left)).await;
    }

    async fn has_message(&self, broker: &Arc<str>, pop: &Pop, is_ordered: bool, wait: Duration) -> bool {
        let (expression_type, expression) = pop.filter.expression();
        let header = Notification {
            consumer_group: pop.group.to_string(),
            topic: pop.topic.to_string(),
            queue_id: ANY_QUEUE,
            poll_time: ms(wait),
            born_time: BORN_AT_ARRIVAL,
            order: Some(is_ordered),
            attempt_id: pop.attempt_id.as_deref().map(str::to_owned),
            exp_type: Some(expression_type.to_string()),
            exp: Some(expression),
            broker_name: Some(broker.to_string()),
        };
        let request = Request { wait, ..Request::new(RequestCode::Notification, header.to_fields()) };
        match self.0.brokers.call(broker, request).await {
            Ok(answer) => NotificationAnswer::of(&answer.fields).is_ok_and(|told| told.has_msg == Some(true)),
            Err(error) => {
                tracing::debug!(%broker, %error, "is not waited for");
                false
            }
        }
    }
}

/// Messages on their way to who asked for them; dropped on the way they are freed.
struct Fresh {
    messages: Vec<PoppedMessage>,
    cluster: Cluster,
    lease: LeaseOwner,
}

impl Fresh {
    fn take(mut self) -> Vec<PoppedMessage> {
        std::mem::take(&mut self.messages)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let handles: Vec<_> = self.messages.drain(..).map(|message| message.handle).collect();
        if !handles.is_empty() {
            let (cluster, lease) = (self.cluster.clone(), self.lease.clone());
            self.cluster.0.tasks.spawn(async move { cluster.free(&lease, handles).await });
        }
    }
}

/// Whether a refused pop is one of a group that holds locks on queues; only our brokers refuse it.
fn is_locked(answer: &Command) -> bool {
    PopRefused::of(&answer.fields).is_ok_and(|refused| refused.why == PopRefused::QUEUES_LOCKED)
}

/// Brokers evaluate SQL92 exactly, tags by their hash.
fn is_wanted(filter: &Filter, message: &PoppedMessage) -> bool {
    match filter {
        Filter::All | Filter::Sql(_) => true,
        Filter::Tags(_) => {
            record::decode(&message.record).is_ok_and(|record| filter.matches(&Properties::parse(record.properties)))
        }
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Options;
    use crate::cluster::turns::tests::pop;

    /// Of the future that one more waiting client costs.
    const WAITING_BYTES_MAX: usize = 2048;

    #[test]
    fn who_waits_keeps_no_room_for_asking_name_servers() {
        let clock = Arc::new(env::clock::SystemClock);
        let options = Options { name_servers: Vec::new(), name: "c".to_owned(), shared_broker: None, clock };
        let cluster = Cluster::new(options);
        let bytes = size_of_val(&cluster.receive(pop("g")));
        assert!(bytes <= WAITING_BYTES_MAX, "{bytes} bytes");
    }
}
