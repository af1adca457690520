//! Ending leases and changing them. Leases are the broker's; the handle says which and where.

use std::time::Duration;

use remoting_proto::requests::{AckMessage, ChangeInvisibleTime, ChangeInvisibleTimeAnswer, ConsumerSendMsgBack};
use remoting_proto::{Command, RequestCode, ResponseCode};
use tokio::task::JoinSet;
use types::broker::{ChangeInvisible, LeaseError, LeaseOwner, Unavailable};
use types::receipt_handle::HandleSource;
use types::{ReceiptHandle, Timestamp};

use super::brokers::{Request, refused, unreadable};
use super::prolong::newest;
use super::{Cluster, held};

/// Handles of one call that are worked on at a time.
pub(super) const AT_ONCE: usize = 32;
/// What is freed before its time is visible again so long after. Source: Apache `invisibleTimeMillisWhenClear`.
pub(super) const INVISIBLE_WHEN_FREED: Duration = Duration::from_secs(1);
/// How the remark begins that a record is gone; the code alone says no more than that it failed. Source: Apache `AbstractSendMessageProcessor`.
const RECORD_GONE: &str = "look message by offset failed";
/// Gives a message up. Source: Apache `ConsumerSendMsgBackRequestHeader`.
const GIVE_UP: i64 = -1;

impl Cluster {
    /// Ends leases, in their order.
    pub(super) async fn ack_all(&self, lease: &LeaseOwner, handles: Vec<ReceiptHandle>) -> Vec<Result<(), LeaseError>> {
        let mut results = Vec::with_capacity(handles.len());
        let mut handles = handles.into_iter();
        loop {
            let mut running = JoinSet::new();
            for (index, handle) in handles.by_ref().take(AT_ONCE).enumerate() {
                let (cluster, lease) = (self.clone(), lease.clone());
                running.spawn(async move { (index, cluster.ack_one(&lease, &handle).await) });
            }
            if running.is_empty() {
                return results;
            }
            let mut done = running.join_all().await;
            done.sort_unstable_by_key(|(index, _)| *index);
            results.extend(done.into_iter().map(|(_, result)| result));
        }
    }

    /// Ends the lease that a client's handle is of.
    async fn ack_one(&self, lease: &LeaseOwner, handle: &ReceiptHandle) -> Result<(), LeaseError> {
        let Some((id, held)) = self.held(lease, handle) else { return self.end_lease(lease, handle).await };
        let current = held.current.lock().await;
        let ended = self.end_lease(lease, newest(handle, &current)).await;
        // A client that could not end it tries again, with the handle that it has.
        if !matches!(ended, Err(LeaseError::Unavailable(_))) {
            self.0.leases.lock().ended(id);
        }
        ended
    }

    async fn end_lease(&self, lease: &LeaseOwner, handle: &ReceiptHandle) -> Result<(), LeaseError> {
        self.check_current(handle).await?;
        let header = AckMessage {
            consumer_group: lease.group.to_string(),
            topic: real_topic(lease, handle),
            queue_id: handle.queue.0.into(),
            extra_info: handle.to_string(),
            offset: number(handle.offset.0)?,
            broker_name: Some(handle.broker.to_string()),
        };
        let answer = self.call_for(handle, Request::new(RequestCode::AckMessage, header.to_fields())).await?;
        accepted(handle, &answer)
    }

    /// Refuses a handle whose time is over before a broker of Apache's, which would take it and deliver the message again all the same.
    /// Ours knows what the handle does not say: that its lease was prolonged, maybe through another proxy, or that it is another's by now.
    async fn check_current(&self, handle: &ReceiptHandle) -> Result<(), LeaseError> {
        if is_current(handle, self.0.clock.now()) {
            return Ok(());
        }
        if self.0.brokers.master(&handle.broker).await?.is_some() && self.is_ours(&handle.broker).await? {
            return Ok(());
        }
        Err(LeaseError::Invalid { reason: "its time is over" })
    }

    /// As [`types::Broker::change_invisible`]: the lease is not prolonged any longer, and its former handles are good here.
    pub(super) async fn change_by_client(
        &self,
        lease: &LeaseOwner,
        handle: &ReceiptHandle,
        change: ChangeInvisible,
    ) -> Result<ReceiptHandle, LeaseError> {
        let Some((_, held)) = self.held(lease, handle) else {
            self.check_current(handle).await?;
            let changed = self.change_lease(lease, handle.clone(), change).await?;
            self.0.leases.lock().changed(lease, handle, &changed);
            return Ok(changed);
        };
        let mut current = held.current.lock().await;
        let used = newest(handle, &current).clone();
        self.check_current(&used).await?;
        let changed = self.change_lease(lease, used, change).await?;
        self.0.leases.lock().changed(lease, handle, &changed);
        // For who waits for it meanwhile.
        *current = changed.clone();
        Ok(changed)
    }

    /// Lets a lease end at another time.
    pub(super) async fn change_lease(
        &self,
        lease: &LeaseOwner,
        handle: ReceiptHandle,
        change: ChangeInvisible,
    ) -> Result<ReceiptHandle, LeaseError> {
        let header = ChangeInvisibleTime {
            consumer_group: lease.group.to_string(),
            topic: real_topic(lease, &handle),
            queue_id: handle.queue.0.into(),
            extra_info: handle.to_string(),
            offset: number(handle.offset.0)?,
            invisible_time: i64::try_from(change.invisible.as_millis()).unwrap_or(i64::MAX),
            suspend: Some(change.suspend),
            broker_name: Some(handle.broker.to_string()),
        };
        let request = Request::new(RequestCode::ChangeMessageInvisibleTime, header.to_fields());
        let answer = self.call_for(&handle, request).await?;
        accepted(&handle, &answer)?;
        let changed = ChangeInvisibleTimeAnswer::of(&answer.fields).map_err(unreadable)?;
        Ok(ReceiptHandle {
            start_offset: handle.offset,
            popped_at: Timestamp(changed.pop_time),
            invisible: Duration::from_millis(u64::try_from(changed.invisible_time).map_err(unreadable)?),
            revive_queue: u32::try_from(changed.revive_qid).map_err(unreadable)?,
            ..handle
        })
    }

    /// Frees messages that did not reach their client; the delivery does not count (before brokers older than 5.5 it does). What the client
    /// has read and ended all the same stays so, if it is one of those that are prolonged: Apache's brokers would deliver it again.
    pub(super) async fn free(&self, lease: &LeaseOwner, handles: Vec<ReceiptHandle>) {
        let change = ChangeInvisible { invisible: INVISIBLE_WHEN_FREED, suspend: true };
        for handle in handles {
            let held = self.held(lease, &handle);
            // An acknowledgement that is under way decides first.
            let _current = match &held {
                Some((_, held)) => Some(held.current.lock().await),
                None => None,
            };
            let is_lost = self.0.leases.lock().lost(lease, &handle);
            if is_lost {
                self.free_one(lease, handle, change).await;
            }
        }
    }

    /// Lets the broker copy the message to the group's dead-letter topic, then ends its lease. What is gone is fine: the record, its
    /// topic, its broker, or the lease, whose message comes again with another.
    ///
    /// # Errors
    /// [`LeaseError`], only when no copy was stored: who asks again gets another.
    pub(super) async fn forward_to_dead_letters(
        &self,
        lease: &LeaseOwner,
        handle: ReceiptHandle,
    ) -> Result<(), LeaseError> {
        let Some((id, held)) = self.held(lease, &handle) else { return self.forward(lease, &handle).await };
        let current = held.current.lock().await;
        let forwarded = self.forward(lease, newest(&handle, &current)).await;
        if forwarded.is_ok() {
            self.0.leases.lock().ended(id);
        }
        forwarded
    }

    async fn forward(&self, lease: &LeaseOwner, handle: &ReceiptHandle) -> Result<(), LeaseError> {
        let offset =
            handle.physical_offset.ok_or(LeaseError::Invalid { reason: "it does not say where the record is" })?;
        let header = ConsumerSendMsgBack {
            offset: number(offset.0)?,
            group: lease.group.to_string(),
            delay_level: GIVE_UP,
            origin_msg_id: None,
            origin_topic: Some(real_topic(lease, handle)),
            unit_mode: Some(false),
            max_reconsume_times: Some(0),
        };
        if !is_current(handle, self.0.clock.now()) {
            return Ok(());
        }
        let request = Request::new(RequestCode::ConsumerSendMsgBack, header.to_fields());
        let answer = match self.call_for(handle, request).await {
            Ok(answer) => answer,
            // Its broker is not there.
            Err(LeaseError::Invalid { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        if is_copied(handle, &answer)?
            && let Err(error) = self.end_lease(lease, handle).await
        {
            // The copy is there; the message comes once more when its lease is over.
            tracing::warn!(group = %lease.group, topic = %lease.topic, %handle, %error, "a dead letter's lease did not end");
        }
        Ok(())
    }

    async fn call_for(&self, handle: &ReceiptHandle, request: Request) -> Result<Command, LeaseError> {
        if self.0.brokers.master(&handle.broker).await?.is_none() {
            return Err(LeaseError::Invalid { reason: "its broker is not there, or has no master" });
        }
        Ok(self.0.brokers.call(&handle.broker, request).await?)
    }
}

fn is_current(handle: &ReceiptHandle, now: Timestamp) -> bool {
    now < held::end(handle)
}

/// The topic that the handle's queue is of. Source: Apache `KeyBuilder`.
fn real_topic(lease: &LeaseOwner, handle: &ReceiptHandle) -> String {
    let LeaseOwner { group, topic } = lease;
    match handle.source {
        HandleSource::Topic => topic.to_string(),
        HandleSource::RetryV1 => format!("%RETRY%{group}_{topic}"),
        HandleSource::RetryV2 => format!("%RETRY%{group}+{topic}"),
    }
}

fn accepted(handle: &ReceiptHandle, answer: &Command) -> Result<(), LeaseError> {
    match answer.response_code() {
        ResponseCode::Success => Ok(()),
        ResponseCode::NoMessage => Err(LeaseError::Invalid { reason: "its message is not there" }),
        ResponseCode::MessageIllegal => Err(LeaseError::Invalid { reason: "its queue is not there" }),
        ResponseCode::TopicNotExist => Err(LeaseError::Invalid { reason: "its topic is not there" }),
        _ => Err(refused(&handle.broker, answer).into()),
    }
}

/// Whether a copy is among the dead letters now; there is none of what is gone.
fn is_copied(handle: &ReceiptHandle, answer: &Command) -> Result<bool, Unavailable> {
    let is_record_gone = || answer.remark.as_deref().is_some_and(|remark| remark.starts_with(RECORD_GONE));
    match answer.response_code() {
        ResponseCode::Success => Ok(true),
        ResponseCode::TopicNotExist => Ok(false),
        ResponseCode::SystemError if is_record_gone() => Ok(false),
        _ => Err(refused(&handle.broker, answer)),
    }
}

fn number(offset: u64) -> Result<i64, Unavailable> {
    i64::try_from(offset).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use remoting_proto::Fields;
    use types::{GroupName, TopicName};

    use super::*;

    #[test]
    fn handles_of_retry_topics_name_them() {
        let lease =
            LeaseOwner { group: GroupName::new("g").expect("valid"), topic: TopicName::new("t").expect("valid") };
        let topic =
            |source| real_topic(&lease, &format!("100 1767323045000 60000 3 {source} b 2 105").parse().expect("valid"));
        assert_eq!([0, 1, 2].map(topic), ["t", "%RETRY%g_t", "%RETRY%g+t"]);
    }

    #[test]
    fn a_dead_letter_that_is_gone_is_no_error() {
        let handle: ReceiptHandle = "100 1000 500 3 0 b 2 105 7".parse().expect("valid");
        let copied = |code, remark: &str| {
            let request = Command::request(RequestCode::ConsumerSendMsgBack, Fields::default(), Bytes::new());
            let answer = Command { code, remark: Some(remark.to_owned()), ..request };
            is_copied(&handle, &answer)
        };
        assert_eq!(copied(0, ""), Ok(true));
        assert_eq!(copied(1, "look message by offset failed, 7"), Ok(false));
        assert_eq!(copied(17, "topic[t] not exist"), Ok(false));
        assert!(matches!(copied(1, "PUT_FAILED"), Err(Unavailable::Remote { .. })));
    }

    #[test]
    fn a_handle_is_good_until_its_time_is_over() {
        let handle: ReceiptHandle = "100 1000 500 3 0 b 2 105".parse().expect("valid");
        assert!(is_current(&handle, Timestamp(1499)));
        assert!(!is_current(&handle, Timestamp(1500)));
    }
}
