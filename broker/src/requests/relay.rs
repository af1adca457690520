//! Requests that a consumer answers: they go on to it, and its answer comes back as it is. Source: Apache 5.5
//! `AdminBrokerProcessor#callConsumer`, `Broker2Client#getConsumeStatus`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use remoting::{CallError, ConnectionId};
use remoting_proto::requests::{ConsumerClient, GetConsumerStatus};
use remoting_proto::{Command, Fields, RequestCode, ResponseCode};
use tokio::task::JoinSet;
use types::{Admin as _, PhysicalOffset};

use super::{Answer, Refusal, done};
use crate::clients::Peer;
use crate::server::Core;

/// How long a consumer may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How long each may take to say how far it is: less than the 5 s that tools wait for all of them (Apache 5.5 `DefaultMQAdminExt`).
const STATUS_WITHIN: Duration = Duration::from_secs(3);
/// The member of a consumer's status that holds its queues.
const STATUS_TABLE: &str = "\"messageQueueTable\":";

/// What a consumer does now.
pub(super) async fn running_info(core: &Core, request: &Command) -> Answer {
    let header = ConsumerClient::of(&request.fields)?;
    let connection = find(core, &header)?;
    relay(core, connection, request, request.fields.clone(), request.body.clone()).await
}

/// Lets a consumer consume a message.
pub(super) async fn consume_directly(core: &Core, request: &Command) -> Answer {
    let header = ConsumerClient::of(&request.fields)?;
    let connection = find(core, &header)?;
    let id = header.msg_id.as_deref().unwrap_or_default();
    let (_, position) =
        record::parse_offset_message_id(id).ok_or_else(|| Refusal::invalid(format!("msgId is {id:?}")))?;
    let record = core.broker.message_at(PhysicalOffset(position.0)).await?.ok_or_else(|| {
        Refusal::new(ResponseCode::SystemError, format!("no message is at position {position}, which {id} names"))
    })?;
    let mut fields = request.fields.clone();
    for (name, text) in [("brokerName", core.name()), ("topicSysFlag", "0"), ("groupSysFlag", "0")] {
        if !fields.set(name.to_owned(), text.to_owned()) {
            return Err(Refusal::invalid("the request has too many fields"));
        }
    }
    relay(core, connection, request, fields, record).await
}

/// How far the clients of a group are, as each says. Who says nothing is left out and named in the remark, unless nobody says anything.
pub(super) async fn status(core: &Core, request: &Command) -> Answer {
    let header = GetConsumerStatus::of(&request.fields)?;
    let only = header.client_addr.as_deref().filter(|client| !client.is_empty());
    let mut members = core.clients.lock().consumers(&header.group);
    members.retain(|(client, _)| only.is_none_or(|only| only == client));
    if members.is_empty() {
        let remark = format!("no consumer of group {} is there that could say how far it is", header.group);
        return Err(Refusal::new(ResponseCode::SystemError, remark));
    }
    let (answers, failures) = ask_all(core, members, &request.fields).await;
    if let (true, Some((client, error))) = (answers.is_empty(), failures.first()) {
        return Err(silent(client, error));
    }
    let mut body = b"{\"consumerTable\":{".to_vec();
    for (index, (client, answer)) in answers.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend(remoting_proto::to_vec(client, remoting_proto::Dialect::Standard));
        body.push(b':');
        body.extend(table_of(answer).unwrap_or(b"{}"));
    }
    body.extend(b"}}");
    let left_out: Vec<String> = failures.iter().map(|(client, error)| format!("{client}: {error}")).collect();
    let remark = (!left_out.is_empty()).then(|| left_out.join("; "));
    Ok(Command { body: body.into(), remark, ..done(request) })
}

/// Asks all members at once; what each says, by its name, and who says nothing.
async fn ask_all(
    core: &Core,
    members: Vec<(String, Peer)>,
    fields: &Fields,
) -> (BTreeMap<String, Bytes>, Vec<(String, CallError)>) {
    let mut asking = JoinSet::new();
    for (client, peer) in members {
        let (connection, clock) = (core.connection(peer.connection), core.env.clock.clone());
        let asked = Command::request(RequestCode::GetConsumerStatusFromClient, fields.clone(), Bytes::new());
        asking.spawn(async move {
            let answer = match connection {
                Some(connection) => connection.call(asked, &*clock, STATUS_WITHIN).await,
                None => Err(CallError::Unasked),
            };
            (client, answer)
        });
    }
    let (mut answers, mut failures) = (BTreeMap::new(), Vec::new());
    for (client, answer) in asking.join_all().await {
        match answer {
            Ok(answer) => drop(answers.insert(client, answer.body)),
            Err(error) => failures.push((client, error)),
        }
    }
    (answers, failures)
}

fn find(core: &Core, header: &ConsumerClient) -> Result<ConnectionId, Refusal> {
    let (group, client) = (&header.consumer_group, header.client_id.as_deref().unwrap_or_default());
    core.clients.lock().consumer(group, client).ok_or_else(|| {
        Refusal::new(ResponseCode::SystemError, format!("no consumer {client:?} of group {group} is there"))
    })
}

async fn relay(core: &Core, connection: ConnectionId, request: &Command, fields: Fields, body: Bytes) -> Answer {
    let asked = Command::request(request.request_code(), fields, body);
    let answer = core.call(connection, asked, ANSWERED_WITHIN).await.map_err(|error| {
        let client = request.fields.get("clientId").unwrap_or_default();
        silent(client, &error)
    })?;
    let Command { remark, fields, body, .. } = answer;
    Ok(Command { remark, fields, body, ..request.answer(ResponseCode::of(answer.code)) })
}

fn silent(client: &str, error: &CallError) -> Refusal {
    let code = match error {
        CallError::TimedOut(_) => ResponseCode::ConsumeMsgTimeout,
        CallError::Unasked | CallError::Lost => ResponseCode::SystemError,
    };
    Refusal::new(code, format!("consumer {client}: {error}"))
}

/// The object that a consumer's status has as its table. It is cut out, not read: its keys are objects, and old clients refer in it to
/// what stands before.
fn table_of(body: &[u8]) -> Option<&[u8]> {
    let mark = STATUS_TABLE.as_bytes();
    let start = body.windows(mark.len()).position(|window| window == mark)? + mark.len();
    let table = body.get(start..)?;
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in table.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' if !is_text => depth += 1,
            b'}' if !is_text => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return table.get(..=at);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_cut_out_whatever_its_keys_are() {
        let table = r#"{{"brokerName":"b}\"","queueId":0,"topic":"T"}:7,{"x":{}}:1}"#;
        let body = format!("{{\"a\":{{}},\"messageQueueTable\":{table},\"z\":1}}");
        assert_eq!(table_of(body.as_bytes()), Some(table.as_bytes()));
        for broken in ["", "{}", "{\"messageQueueTable\":{", "{\"messageQueueTable\":}"] {
            assert_eq!(table_of(broken.as_bytes()), None, "{broken}");
        }
    }
}
