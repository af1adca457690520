//! Looking at what a group would pop, and at how many wait to. Source: Apache 5.5 `PeekMessageProcessor`, `PollingInfoProcessor`.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use remoting_proto::requests::{PeekMessage, PollingInfo, PollingInfoAnswer, PopMessageAnswer};
use remoting_proto::{Command, ResponseCode};
use types::broker::{LeaseOwner, OffsetAt, Pull, Pulled};
use types::{Broker as _, Filter, QueueId};

use super::names::{check_readable, group, known_topic, queue};
use super::{Answer, done, pop};
use crate::server::Core;

/// Most bytes of records of one answer, unless the first alone has more.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// Messages that the group has not finished, from each queue's first on. Nothing is leased.
pub(super) async fn peek(core: &Core, request: &Command) -> Answer {
    let header = PeekMessage::of(&request.fields)?;
    let (group, topic) = (group(&header.consumer_group)?, known_topic(core, &header.topic)?);
    check_readable(core, &group, &topic)?;
    let mut left = pop::messages_max(header.max_msg_nums)?;
    let queues = match header.queue_id {
        all if all < 0 => (0..core.broker.known_topic(&topic).map_or(0, |config| config.read_queues)).collect(),
        one => vec![queue(one)?.0],
    };
    let (mut body, mut rest) = (BytesMut::new(), 0);
    for number in queues.into_iter().map(QueueId) {
        let first = core.broker.queue_offset(&topic, number, OffsetAt::Beginning).await?;
        let committed = core.broker.committed_offset(&group, &topic, number).await?;
        let offset = committed.unwrap_or(first).max(first);
        let end = core.broker.queue_offset(&topic, number, OffsetAt::End).await?;
        rest += end.0.saturating_sub(offset.0);
        if left == 0 || offset >= end {
            continue;
        }
        let pull = Pull {
            group: group.clone(),
            topic: topic.clone(),
            queue: number,
            offset,
            messages_max: left,
            filter: Arc::new(Filter::All),
            wait: Duration::ZERO,
        };
        let Pulled { records, .. } = core.broker.pull(pull).await?;
        for record in records {
            if body.is_empty() || body.len() + record.len() <= BYTES_MAX {
                body.extend_from_slice(&record);
                (left, rest) = (left.saturating_sub(1), rest.saturating_sub(1));
            }
        }
    }
    let answer = PopMessageAnswer {
        pop_time: core.now().0,
        invisible_time: 0,
        revive_qid: 0,
        rest_num: rest.cast_signed(),
        start_offset_info: None,
        msg_offset_info: None,
        order_count_info: None,
    };
    let code = if body.is_empty() { ResponseCode::PullNotFound } else { ResponseCode::Success };
    Ok(Command { fields: answer.to_fields(), body: body.freeze(), ..request.answer(code) })
}

/// How many pops of a group wait.
pub(super) async fn waiting(core: &Core, request: &Command) -> Answer {
    let header = PollingInfo::of(&request.fields)?;
    let lease = LeaseOwner { group: group(&header.consumer_group)?, topic: known_topic(core, &header.topic)? };
    let queue = (header.queue_id >= 0).then(|| queue(header.queue_id)).transpose()?;
    let waiting = core.broker.waiting_pops(lease, queue).await?;
    let answer = PollingInfoAnswer { polling_num: i64::try_from(waiting).unwrap_or(i64::MAX) };
    Ok(Command { fields: answer.to_fields(), ..done(request) })
}
