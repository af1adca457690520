//! What brokers ask about half messages, taken apart and passed on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use remoting_proto::requests::CheckTransactionState;
use remoting_proto::{Command, RequestCode};
use tokio::sync::mpsc;
use types::broker::{TransactionCheck, TransactionPlace, TransactionPosition};
use types::properties::names;
use types::{PhysicalOffset, QueueOffset, TopicName};

/// Receivers of checks: the front doors of one process.
const RECEIVERS_MAX: usize = 16;
/// Checks that wait for one receiver.
const WAITING_MAX: usize = 64;

/// Who hears of checks; each goes to one of them.
#[derive(Debug, Default)]
pub(super) struct Checkers {
    /// Held for a look.
    senders: Mutex<Vec<mpsc::Sender<TransactionCheck>>>,
    /// Whose turn it is.
    turn: AtomicUsize,
}

impl Checkers {
    /// Another receiver. Beyond the bound it gets none: its channel is closed.
    pub(super) fn add(&self) -> mpsc::Receiver<TransactionCheck> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let mut senders = self.senders.lock();
        senders.retain(|sender| !sender.is_closed());
        if senders.len() < RECEIVERS_MAX {
            senders.push(sender);
        }
        receiver
    }

    /// Waits for room at the one whose turn it is. One that is gone leaves the check to the broker's next round.
    pub(super) async fn pass_on(&self, check: TransactionCheck) {
        let sender = {
            let mut senders = self.senders.lock();
            senders.retain(|sender| !sender.is_closed());
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            turn.checked_rem(senders.len()).and_then(|index| senders.get(index)).cloned()
        };
        if let Some(sender) = sender {
            let _ = sender.send(check).await;
        }
    }
}

/// Why a question cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("it has code {0}")]
    Code(i32),
    #[error(transparent)]
    Field(#[from] remoting_proto::FieldError),
    #[error("the field {name} is {number}, expected 0 or more")]
    Negative { name: &'static str, number: i64 },
    #[error("a record: {0}")]
    Record(#[from] record::Error),
    #[error("the half message's topic {0:?} is not valid")]
    Topic(String),
    #[error("the half message is of producer group {group:?}, which is not of its topic {topic}")]
    OtherGroup { group: String, topic: TopicName },
}

/// The check that a broker asks for.
///
/// # Errors
/// It asks something else, or about a message of a 4.x producer, whose group happens to be named as a topic.
pub(super) fn check(broker: &Arc<str>, question: &Command) -> Result<TransactionCheck, Error> {
    if question.request_code() != RequestCode::CheckTransactionState {
        return Err(Error::Code(question.code));
    }
    // The header's topic is the half topic; the record has the real one, and the group.
    let header = CheckTransactionState::of(&question.fields)?;
    let record = record::decode(&question.body)?;
    let name = record.property(names::REAL_TOPIC).unwrap_or(record.topic);
    let topic = TopicName::new(name).map_err(|_| Error::Topic(name.to_owned()))?;
    let group = record.property(names::PRODUCER_GROUP).unwrap_or_default();
    if group != topic.as_str() {
        return Err(Error::OtherGroup { group: group.to_owned(), topic });
    }
    let position = TransactionPosition {
        queue_offset: QueueOffset(number("tranStateTableOffset", header.tran_state_table_offset)?),
        physical_offset: PhysicalOffset(number("commitLogOffset", header.commit_log_offset)?),
    };
    let place = TransactionPlace { broker: broker.clone(), position };
    Ok(TransactionCheck { topic, place, record: question.body.clone(), times: 0 })
}

fn number(name: &'static str, number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Negative { name, number })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use remoting_proto::Fields;
    use types::{Message, QueueId, Timestamp};

    use super::*;

    fn question(group: &str, commit_log_offset: i64) -> Command {
        let mut message = Message::new(TopicName::new("t").expect("valid"), Bytes::from_static(b"body"));
        message.properties.set(names::PRODUCER_GROUP, group).expect("valid");
        let encoded = record::encode(&message, QueueId(3), "10.0.0.2:10911".parse().expect("valid")).expect("small");
        let body = encoded.place(QueueOffset(5), PhysicalOffset(700), Timestamp(9));
        let header = CheckTransactionState {
            topic: Some("RMQ_SYS_TRANS_HALF_TOPIC".to_owned()),
            tran_state_table_offset: 5,
            commit_log_offset,
            msg_id: None,
            transaction_id: None,
            offset_msg_id: None,
            broker_name: None,
        };
        Command::request(RequestCode::CheckTransactionState, header.to_fields(), body)
    }

    #[test]
    fn a_check_names_the_place_that_its_broker_asks_about() {
        let broker: Arc<str> = "broker-a".into();
        let checked = check(&broker, &question("t", 700)).expect("a check");
        let position = TransactionPosition { queue_offset: QueueOffset(5), physical_offset: PhysicalOffset(700) };
        assert_eq!((checked.topic.as_str(), checked.place), ("t", TransactionPlace { broker, position }));
    }

    #[test]
    fn questions_that_are_no_check_are_left_alone() {
        let broker = Arc::from("b");
        assert!(matches!(check(&broker, &question("t", -1)), Err(Error::Negative { .. })));
        assert!(matches!(check(&broker, &question("PG", 7)), Err(Error::OtherGroup { .. })));
        let other = Command::request(RequestCode::HeartBeat, Fields::default(), Bytes::new());
        assert!(matches!(check(&broker, &other), Err(Error::Code(_))));
        let no_record = Command { body: Bytes::from_static(b"?"), ..question("t", 7) };
        assert!(matches!(check(&broker, &no_record), Err(Error::Record(_))));
    }

    #[tokio::test]
    async fn each_check_goes_to_one_of_those_who_listen() {
        let checkers = Checkers::default();
        let checked = || check(&Arc::from("b"), &question("t", 7)).expect("a check");
        checkers.pass_on(checked()).await;
        let mut receivers = [checkers.add(), checkers.add(), checkers.add()];
        receivers[1].close();
        for _ in 0..4 {
            checkers.pass_on(checked()).await;
        }
        let counts = receivers.each_mut().map(|receiver| std::iter::from_fn(|| receiver.try_recv().ok()).count());
        assert_eq!(counts, [2, 0, 2]);
    }

    proptest! {
        #[test]
        fn any_body_is_answered(body: Vec<u8>) {
            let _ = check(&Arc::from("b"), &Command { body: body.into(), ..question("t", 7) });
        }
    }
}
