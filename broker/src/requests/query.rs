//! Messages by a key. Source: Apache 5.5 `QueryMessageProcessor`.

use bytes::BytesMut;
use remoting_proto::requests::{QueryMessage, QueryMessageAnswer};
use remoting_proto::{Command, ResponseCode};
use types::admin::{AdminError, FindBy, FoundMessages, MessageQuery};
use types::broker::LookupError;
use types::{Admin as _, Timestamp, TopicName};

use super::{Answer, Refusal, done};
use crate::server::Core;

/// Messages of one unique id that are told of. Source: `defaultQueryMaxNum`.
const OF_UNIQUE_KEY_MAX: usize = 32;
/// Most bytes of records of one answer, unless the newest alone has more.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Messages that have a key, newest first.
pub(super) async fn query(core: &Core, request: &Command) -> Answer {
    let header = QueryMessage::of(&request.fields)?;
    let topic = TopicName::new(&header.topic)?;
    let asked = usize::try_from(header.max_num).unwrap_or_default();
    let query = MessageQuery {
        topic,
        by: FindBy::Key(header.key),
        // Both ends count.
        stored: Timestamp(header.begin_timestamp)..Timestamp(header.end_timestamp.saturating_add(1)),
        messages_max: if header.is_unique_key == Some(true) { OF_UNIQUE_KEY_MAX } else { asked },
    };
    let records = match core.broker.find_messages(query).await {
        Ok(FoundMessages { records, .. }) => records,
        Err(AdminError::Lookup(LookupError::TopicNotFound { .. })) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut body = BytesMut::new();
    for record in records {
        if !body.is_empty() && body.len() + record.len() > BYTES_MAX {
            break;
        }
        body.extend_from_slice(&record);
    }
    // Keys are indexed with their messages: the index is as new as the log.
    let answer = QueryMessageAnswer {
        index_last_update_timestamp: core.now().0,
        index_last_update_phyoffset: core.broker.status().appended_to.cast_signed(),
    };
    if body.is_empty() {
        let remark = "no message of the topic has this key and was stored in this time";
        return Err(Refusal { fields: answer.to_fields(), ..Refusal::new(ResponseCode::QueryNotFound, remark) });
    }
    Ok(Command { fields: answer.to_fields(), body: body.freeze(), ..done(request) })
}
