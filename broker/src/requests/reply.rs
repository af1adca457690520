//! Replies to requests: handed to the producer that waits for them, on its own connection; they are not stored. Source: Apache 5.5
//! `ReplyMessageProcessor`.

use std::time::Duration;

use remoting::Connection;
use remoting_proto::requests::{PushReplyMessage, SendMessage, SendMessageAnswer};
use remoting_proto::{Command, RequestCode, ResponseCode};
use types::Properties;
use types::properties::names;

use super::names::REPLY_TO_CLIENT;
use super::{Answer, Refusal, done};
use crate::server::Core;

/// How long a producer may take to take its reply.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// When a reply was handed on, ms since 1970. Source: `MessageConst.PROPERTY_PUSH_REPLY_TIME`.
const PUSHED_AT: &str = "PUSH_REPLY_TIME";

/// Hands a reply to who asked.
pub(super) async fn reply(core: &Core, connection: &Connection, request: &Command) -> Answer {
    let header = match request.request_code() {
        RequestCode::SendReplyMessage => SendMessage::of_long(&request.fields)?,
        _ => SendMessage::of(&request.fields)?,
    };
    let mut properties = Properties::parse(header.properties.as_deref().unwrap_or_default());
    let refused = |remark: String| Refusal::new(ResponseCode::SystemError, remark);
    let asked_by = properties.get(REPLY_TO_CLIENT).map(str::to_owned);
    let asked_by = asked_by.ok_or_else(|| refused(format!("the reply has no property {REPLY_TO_CLIENT}")))?;
    let producer = core.clients.lock().producer_client(&asked_by);
    let producer = producer.ok_or_else(|| refused(format!("{asked_by}, which waits for the reply, is not there")))?;
    let now = core.now();
    properties.set_own(PUSHED_AT, &now.to_string());
    let pushed = PushReplyMessage {
        producer_group: header.producer_group,
        topic: header.topic,
        default_topic: header.default_topic,
        default_topic_queue_nums: header.default_topic_queue_nums,
        queue_id: header.queue_id,
        sys_flag: header.sys_flag,
        born_timestamp: header.born_timestamp,
        flag: header.flag,
        properties: Some(properties.as_text().to_owned()),
        reconsume_times: header.reconsume_times,
        unit_mode: header.unit_mode,
        born_host: connection.remote().to_string(),
        store_host: core.options.advertised.to_string(),
        store_timestamp: now.0,
    };
    let asked = Command::request(RequestCode::PushReplyMessageToClient, pushed.to_fields(), request.body.clone());
    match core.call(producer, asked, TAKEN_WITHIN).await {
        Ok(answer) if answer.response_code() == ResponseCode::Success => {}
        Ok(answer) => {
            let why = answer.remark.unwrap_or_default();
            return Err(refused(format!("{asked_by} did not take the reply: {why}")));
        }
        Err(error) => return Err(refused(format!("{asked_by} did not take the reply: {error}"))),
    }
    let answer = SendMessageAnswer {
        // It has no place.
        msg_id: "0".to_owned(),
        queue_id: header.queue_id.max(0),
        queue_offset: 0,
        transaction_id: properties.get(names::UNIQUE_KEY).map(str::to_owned),
        recall_handle: None,
        msg_region: Some(super::send::REGION.to_owned()),
        trace_on: Some(true),
        repeat_of: None,
    };
    Ok(Command { fields: answer.to_fields(), ..done(request) })
}
