//! Reading queues by offset, and the offsets on them.

use std::time::Duration;

use bytes::Bytes;
use remoting_proto::requests::{
    OffsetAnswer, PullMessage, PullMessageAnswer, QueryConsumerOffset, SearchOffset, TopicQueue, UpdateConsumerOffset,
};
use remoting_proto::{Command, Fields, RequestCode, ResponseCode};
use types::broker::{LookupError, OffsetAt, PopError, Pull, PullError, Pulled, Unavailable};
use types::{Filter, GroupName, Properties, QueueId, QueueOffset, TopicName};

use super::brokers::{Request, refused, unreadable};
use super::popped;
use super::routes::Place;
use super::{ANSWER_WITHIN, Cluster};

/// Brokers look only so often which pulls have waited long enough. Source: Apache `PullRequestHoldService`.
const HELD_LONGER: Duration = Duration::from_secs(5);

impl Cluster {
    async fn readable(&self, topic: &TopicName, queue: QueueId) -> Result<Place, LookupError> {
        let route = self.route(topic).await?;
        let place = usize::try_from(queue.0).ok().and_then(|index| route.readable.get(index));
        place.cloned().ok_or_else(|| LookupError::QueueNotFound {
            topic: topic.clone(),
            queue,
            queues: route.config.read_queues,
        })
    }

    /// As [`types::Broker::pull`].
    pub(super) async fn pull_messages(&self, pull: Pull) -> Result<Pulled, PullError> {
        let place = self.readable(&pull.topic, pull.queue).await.map_err(PopError::from)?;
        let (expression_type, expression) = pull.filter.expression();
        let suspend = if pull.wait.is_zero() { 0 } else { PullMessage::SUSPEND };
        let header = PullMessage {
            consumer_group: pull.group.to_string(),
            topic: pull.topic.to_string(),
            queue_id: place.queue.into(),
            queue_offset: i64::try_from(pull.offset.0).unwrap_or(i64::MAX),
            max_msg_nums: pull.messages_max.into(),
            sys_flag: PullMessage::SUBSCRIPTION | suspend,
            commit_offset: 0,
            suspend_timeout_millis: i64::try_from(pull.wait.as_millis()).unwrap_or(i64::MAX),
            subscription: Some(expression),
            sub_version: self.0.clock.now().0,
            expression_type: Some(expression_type.to_string()),
            max_msg_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
            broker_name: Some(place.broker.to_string()),
        };
        let has_wait = !pull.wait.is_zero();
        let wait = if has_wait { pull.wait + HELD_LONGER } else { Duration::ZERO };
        let request = Request { wait, ..Request::new(RequestCode::PullMessage, header.to_fields()) };
        // In a task of its own: that the broker holds it longer than its caller waits says nothing of the connection.
        let (cluster, broker) = (self.clone(), place.broker.clone());
        let asked = tokio::spawn(async move { cluster.0.brokers.call(&broker, request).await });
        let answer = tokio::select! {
            biased;
            answer = asked => answer.unwrap_or(Err(Unavailable::Stopping)).map_err(PopError::from)?,
            () = self.0.clock.sleep(pull.wait + ANSWER_WITHIN), if has_wait => return Ok(none_came(&pull)),
        };
        pulled(&place, &pull, &answer)
    }

    /// As [`types::Broker::queue_offset`].
    pub(super) async fn offset_at(
        &self,
        topic: &TopicName,
        queue: QueueId,
        at: OffsetAt,
    ) -> Result<QueueOffset, LookupError> {
        let place = self.readable(topic, queue).await?;
        let of_queue = || {
            let (queue_id, broker_name) = (place.queue.into(), Some(place.broker.to_string()));
            TopicQueue { topic: topic.to_string(), queue_id, broker_name }.to_fields()
        };
        let (code, fields) = match at {
            OffsetAt::Beginning => (RequestCode::GetMinOffset, of_queue()),
            OffsetAt::End => (RequestCode::GetMaxOffset, of_queue()),
            OffsetAt::Time(time) => (
                RequestCode::SearchOffsetByTimestamp,
                SearchOffset {
                    topic: topic.to_string(),
                    queue_id: place.queue.into(),
                    timestamp: time.0,
                    boundary_type: None,
                    broker_name: Some(place.broker.to_string()),
                }
                .to_fields(),
            ),
        };
        let offset = self.ask_offset(&place, code, fields).await?;
        offset.ok_or_else(|| unreadable("it has no offset").into())
    }

    /// As [`types::Broker::committed_offset`].
    pub(super) async fn committed(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<Option<QueueOffset>, LookupError> {
        let place = self.readable(topic, queue).await?;
        let header = QueryConsumerOffset {
            consumer_group: group.to_string(),
            topic: topic.to_string(),
            queue_id: place.queue.into(),
            set_zero_if_not_found: Some(false),
            broker_name: Some(place.broker.to_string()),
        };
        self.ask_offset(&place, RequestCode::QueryConsumerOffset, header.to_fields()).await
    }

    async fn ask_offset(
        &self,
        place: &Place,
        code: RequestCode,
        fields: Fields,
    ) -> Result<Option<QueueOffset>, LookupError> {
        let answer = self.0.brokers.call(&place.broker, Request::new(code, fields)).await?;
        match answer.response_code() {
            ResponseCode::Success => {
                let offset = OffsetAnswer::of(&answer.fields).map_err(unreadable)?.offset;
                Ok(offset.and_then(|offset| u64::try_from(offset).ok()).map(QueueOffset))
            }
            ResponseCode::QueryNotFound => Ok(None),
            _ => Err(refused(&place.broker, &answer).into()),
        }
    }

    /// As [`types::Broker::commit_offset`].
    pub(super) async fn commit(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<(), LookupError> {
        let place = self.readable(topic, queue).await?;
        let header = UpdateConsumerOffset {
            consumer_group: group.to_string(),
            topic: topic.to_string(),
            queue_id: place.queue.into(),
            commit_offset: i64::try_from(offset.0).unwrap_or(i64::MAX),
            broker_name: Some(place.broker.to_string()),
        };
        let request = Request::new(RequestCode::UpdateConsumerOffset, header.to_fields());
        let answer = self.0.brokers.call(&place.broker, request).await?;
        match answer.response_code() {
            ResponseCode::Success => Ok(()),
            ResponseCode::TopicNotExist => Err(LookupError::TopicNotFound { topic: topic.clone() }),
            ResponseCode::SubscriptionGroupNotExist => Err(LookupError::GroupNotFound { group: group.clone() }),
            _ => Err(refused(&place.broker, &answer).into()),
        }
    }
}

/// What a pull gives that has waited in vain; of the queue's ends no more is known.
fn none_came(pull: &Pull) -> Pulled {
    let Pull { offset, .. } = *pull;
    Pulled { records: Vec::new(), next_offset: offset, min_offset: offset, max_offset: offset }
}

fn pulled(place: &Place, pull: &Pull, answer: &Command) -> Result<Pulled, PullError> {
    let other = |error: Unavailable| PullError::Pop(error.into());
    let body = match answer.response_code() {
        ResponseCode::Success => answer.body.clone(),
        ResponseCode::PullNotFound | ResponseCode::PullRetryImmediately | ResponseCode::PullOffsetMoved => Bytes::new(),
        ResponseCode::NoPermission => return Err(PopError::NotReadable { topic: pull.topic.clone() }.into()),
        ResponseCode::TopicNotExist => {
            return Err(PopError::from(LookupError::TopicNotFound { topic: pull.topic.clone() }).into());
        }
        ResponseCode::SubscriptionGroupNotExist => {
            return Err(PopError::from(LookupError::GroupNotFound { group: pull.group.clone() }).into());
        }
        _ => return Err(other(refused(&place.broker, answer))),
    };
    let header = PullMessageAnswer::of(&answer.fields).map_err(|error| other(unreadable(error)))?;
    let offset = |offset: i64| u64::try_from(offset).map(QueueOffset).map_err(|error| other(unreadable(error)));
    let (min_offset, max_offset) = (offset(header.min_offset)?, offset(header.max_offset)?);
    if answer.response_code() == ResponseCode::PullOffsetMoved {
        return Err(PullError::OffsetOutOfRange { offset: pull.offset, min: min_offset, max: max_offset });
    }
    let mut records = popped::records(body).map_err(|error| other(unreadable(error)))?;
    if matches!(&*pull.filter, Filter::Tags(_)) {
        // Brokers tell tags apart by their hash only.
        records.retain(|stored| {
            record::decode(stored).is_ok_and(|record| pull.filter.matches(&Properties::parse(record.properties)))
        });
    }
    Ok(Pulled { records, next_offset: offset(header.next_begin_offset)?, min_offset, max_offset })
}
