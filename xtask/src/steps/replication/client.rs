//! A client that says what it wants to one broker, request by request.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use record::Peek;
use remoting_proto::requests::{
    AckMessage, EndTransaction, PopMessage, PopMessageAnswer, PullMessage, PullMessageAnswer, SendMessage,
    SendMessageAnswer, UpdateConsumerOffset,
};
use remoting_proto::{Command, RequestCode, ResponseCode};

use super::group::BROKER;
use crate::remoting::Connection;

/// The group that pulls and pops.
pub(super) const GROUP: &str = "readers";
/// Source: `MessageSysFlag.TRANSACTION_PREPARED_TYPE`, `TRANSACTION_COMMIT_TYPE` and `TRANSACTION_ROLLBACK_TYPE`.
const PREPARED: i64 = 4;
pub(super) const COMMIT: i64 = 8;
pub(super) const ROLL_BACK: i64 = 12;

/// A connection to a broker.
pub(in crate::steps) struct Client(Connection);

/// A message that was sent.
#[derive(Clone, Debug)]
pub(in crate::steps) struct Sent {
    pub(in crate::steps) code: ResponseCode,
    queue_offset: i64,
    log_offset: i64,
}

/// A message as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Pulled {
    pub(super) body: Vec<u8>,
    /// When it was appended to its queue.
    pub(super) stored_at_ms: i64,
    offset: i64,
}

/// A message that is leased.
#[derive(Clone, Debug)]
pub(super) struct Popped {
    pub(super) body: Vec<u8>,
    queue: i64,
    offset: i64,
    handle: String,
}

impl Client {
    pub(in crate::steps) fn open(broker: SocketAddr) -> Result<Self> {
        Ok(Self(Connection::open(broker)?))
    }

    /// Sends a message; it is stored if this is no error, for the rest see its code.
    pub(in crate::steps) fn send(
        &mut self,
        topic: &str,
        queue: i64,
        body: &[u8],
        properties: &[(&str, &str)],
    ) -> Result<Sent> {
        let request = send_request(topic, queue, Bytes::copy_from_slice(body), properties);
        self.send_requests(vec![request])?.pop().context("no answer")
    }

    /// Sends messages to these queues of a topic, which are on their way together.
    pub(super) fn send_together(&mut self, topic: &str, messages: Vec<(i64, Vec<u8>)>) -> Result<Vec<Sent>> {
        self.send_requests(
            messages.into_iter().map(|(queue, body)| send_request(topic, queue, body.into(), &[])).collect(),
        )
    }

    /// Sends a half message, whose body is its id.
    pub(super) fn send_half(&mut self, topic: &str, body: &str) -> Result<Sent> {
        self.send(topic, 0, body.as_bytes(), &[("TRAN_MSG", "true"), ("UNIQ_KEY", body), ("PGROUP", "senders")])
    }

    fn send_requests(&mut self, requests: Vec<Command>) -> Result<Vec<Sent>> {
        self.0.ask_all(requests)?.iter().map(Sent::of).collect()
    }

    /// Commits a half message, or rolls it back.
    pub(super) fn end(&mut self, topic: &str, half: &Sent, commit_or_rollback: i64) -> Result<()> {
        let header = EndTransaction {
            topic: Some(topic.to_owned()),
            producer_group: "senders".to_owned(),
            tran_state_table_offset: half.queue_offset,
            commit_log_offset: half.log_offset,
            commit_or_rollback,
            from_transaction_check: None,
            msg_id: String::new(),
            transaction_id: None,
            broker_name: None,
        };
        self.0.call(RequestCode::EndTransaction, header.to_fields(), Bytes::new()).map(drop)
    }

    /// Says where the group goes on.
    pub(super) fn commit_offset(&mut self, topic: &str, queue_id: i64, commit_offset: i64) -> Result<()> {
        let header = UpdateConsumerOffset {
            consumer_group: GROUP.to_owned(),
            topic: topic.to_owned(),
            queue_id,
            commit_offset,
            broker_name: None,
        };
        self.0.call(RequestCode::UpdateConsumerOffset, header.to_fields(), Bytes::new()).map(drop)
    }

    /// The bodies of a queue.
    pub(in crate::steps) fn pull_all(&mut self, topic: &str, queue_id: i64) -> Result<Vec<Vec<u8>>> {
        Ok(self.pull_records(topic, queue_id)?.into_iter().map(|record| record.body).collect())
    }

    /// What is in a queue.
    pub(super) fn pull_records(&mut self, topic: &str, queue_id: i64) -> Result<Vec<Pulled>> {
        let (mut found, mut queue_offset) = (Vec::new(), 0);
        loop {
            let header = PullMessage {
                consumer_group: GROUP.to_owned(),
                topic: topic.to_owned(),
                queue_id,
                queue_offset,
                max_msg_nums: 32,
                sys_flag: PullMessage::SUBSCRIPTION,
                commit_offset: 0,
                suspend_timeout_millis: 0,
                subscription: Some("*".to_owned()),
                sub_version: 0,
                expression_type: None,
                max_msg_bytes: None,
                request_source: None,
                proxy_forward_client_id: None,
                broker_name: None,
            };
            let answer = self.0.ask(RequestCode::PullMessage, header.to_fields(), Bytes::new())?;
            match answer.response_code() {
                // Its front has expired.
                ResponseCode::Success | ResponseCode::PullOffsetMoved => {}
                ResponseCode::PullNotFound => return Ok(found),
                _ => anyhow::bail!("a pull is answered {answer:?}"),
            }
            found.extend(records(&answer.body)?);
            queue_offset = PullMessageAnswer::of(&answer.fields)?.next_begin_offset;
        }
    }

    /// Leases what is in a queue.
    pub(super) fn pop(&mut self, topic: &str, queue_id: i64, invisible_ms: i64) -> Result<Vec<Popped>> {
        let header = PopMessage {
            consumer_group: GROUP.to_owned(),
            topic: topic.to_owned(),
            queue_id,
            max_msg_nums: 32,
            invisible_time: invisible_ms,
            poll_time: 0,
            born_time: now_ms(),
            init_mode: 0,
            exp_type: None,
            exp: None,
            order: None,
            attempt_id: None,
            broker_name: None,
        };
        let answer = self.0.ask(RequestCode::PopMessage, header.to_fields(), Bytes::new())?;
        match answer.response_code() {
            ResponseCode::Success => {}
            ResponseCode::PollingTimeout | ResponseCode::PullNotFound => return Ok(Vec::new()),
            _ => anyhow::bail!("a pop is answered {answer:?}"),
        }
        let lease = PopMessageAnswer::of(&answer.fields)?;
        let found = records(&answer.body)?;
        let first = found.first().map_or(0, |record| record.offset);
        let popped = found.into_iter().map(|Pulled { offset, body, .. }| {
            let PopMessageAnswer { pop_time, invisible_time, revive_qid, .. } = lease;
            let handle = format!("{first} {pop_time} {invisible_time} {revive_qid} 0 {BROKER} {queue_id} {offset}");
            Popped { body, queue: queue_id, offset, handle }
        });
        Ok(popped.collect())
    }

    /// Ends a lease.
    pub(super) fn ack(&mut self, topic: &str, message: &Popped) -> Result<()> {
        let header = AckMessage {
            consumer_group: GROUP.to_owned(),
            topic: topic.to_owned(),
            queue_id: message.queue,
            extra_info: message.handle.clone(),
            offset: message.offset,
            broker_name: None,
        };
        self.0.call(RequestCode::AckMessage, header.to_fields(), Bytes::new()).map(drop)
    }
}

impl Sent {
    fn of(answer: &Command) -> Result<Self> {
        let code = answer.response_code();
        let is_stored =
            matches!(code, ResponseCode::Success | ResponseCode::SlaveNotAvailable | ResponseCode::FlushSlaveTimeout);
        ensure!(is_stored, "a send is answered {answer:?}");
        let sent = SendMessageAnswer::of(&answer.fields)?;
        // The id is the broker's address and the record's place, in hexadecimal digits.
        let place = sent.msg_id.get(sent.msg_id.len().saturating_sub(16)..).context("an id")?;
        Ok(Self { code, queue_offset: sent.queue_offset, log_offset: i64::from_str_radix(place, 16)? })
    }
}

fn send_request(topic: &str, queue: i64, body: Bytes, properties: &[(&str, &str)]) -> Command {
    let is_half = properties.iter().any(|(name, _)| *name == "TRAN_MSG");
    let header = SendMessage {
        producer_group: "senders".to_owned(),
        topic: topic.to_owned(),
        default_topic: None,
        default_topic_queue_nums: None,
        queue_id: queue,
        sys_flag: if is_half { PREPARED } else { 0 },
        born_timestamp: now_ms(),
        flag: 0,
        properties: Some(properties.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect()),
        reconsume_times: None,
        unit_mode: None,
        max_reconsume_times: None,
        is_batch: None,
        broker_name: None,
    };
    Command::request(RequestCode::SendMessageV2, header.to_fields(), body)
}

/// The records of an answer.
fn records(mut answer: &[u8]) -> Result<Vec<Pulled>> {
    let mut records = Vec::new();
    while !answer.is_empty() {
        let Peek::Record { bytes } = record::peek(answer)? else { anyhow::bail!("no record in an answer") };
        let record = record::decode(answer)?;
        records.push(Pulled {
            offset: i64::try_from(record.header.queue_offset.0)?,
            stored_at_ms: record.header.stored_at.0,
            body: record.body.to_vec(),
        });
        answer = &answer[bytes as usize..];
    }
    Ok(records)
}

/// Now.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
