//! Ending transactions. Source: Apache 5.5 `EndTransactionProcessor`, `TransactionalMessageServiceImpl`.

use remoting_proto::requests::EndTransaction;
use remoting_proto::{Command, RequestCode, ResponseCode};
use types::broker::{self, Resolution, TransactionError};

use super::Cluster;
use super::brokers::{Request, refused, unreadable};

/// Bits of a record's flags that say what became of a half message. Source: Apache `MessageSysFlag`.
const COMMIT: i64 = 8;
const ROLLBACK: i64 = 12;
/// How remarks begin that say what is wrong, under a code that says no more than that it failed.
/// Source: Apache `TransactionalMessageServiceImpl.getHalfMessageByOffset`, `EndTransactionProcessor.checkPrepareMessage`.
const NOT_FOUND: [&str; 4] = [
    "Find prepared transaction message failed",
    "The transaction state table offset wrong",
    // Our brokers'.
    "no half message is at",
    "no transaction of topic",
];
/// The same, only of our brokers: Apache's remember no outcome.
const ALREADY: [(&str, bool); 2] =
    [("the transaction was already committed", true), ("the transaction was already rolled back", false)];

impl Cluster {
    /// As [`types::Broker::end_transaction`], but that Apache's brokers remember no outcome: a commit that is repeated there is
    /// stored once more.
    pub(super) async fn end_half(&self, request: broker::EndTransaction) -> Result<(), TransactionError> {
        let commit_or_rollback = match request.resolution {
            Resolution::Commit => COMMIT,
            Resolution::Rollback => ROLLBACK,
            // Brokers do not answer it, and ask again anyway.
            Resolution::Unknown => return Ok(()),
        };
        let position = request.place.position;
        let header = EndTransaction {
            topic: Some(request.topic.to_string()),
            producer_group: request.topic.to_string(),
            tran_state_table_offset: i64::try_from(position.queue_offset.0).map_err(unreadable)?,
            commit_log_offset: i64::try_from(position.physical_offset.0).map_err(unreadable)?,
            commit_or_rollback,
            from_transaction_check: Some(request.is_asked),
            msg_id: request.message_id.clone(),
            transaction_id: Some(request.message_id.clone()),
            broker_name: Some(request.place.broker.to_string()),
        };
        let code = RequestCode::EndTransaction;
        let answer = self.0.brokers.call(&request.place.broker, Request::new(code, header.to_fields())).await?;
        ended(&request, &answer)
    }
}

fn ended(request: &broker::EndTransaction, answer: &Command) -> Result<(), TransactionError> {
    let remark = answer.remark.as_deref().unwrap_or_default();
    match answer.response_code() {
        ResponseCode::Success => Ok(()),
        ResponseCode::IllegalOperation => Err(TransactionError::TooLate),
        ResponseCode::SystemError if NOT_FOUND.iter().any(|begin| remark.starts_with(begin)) => {
            Err(TransactionError::NotFound { topic: request.topic.clone(), position: request.place.position })
        }
        _ => match ALREADY.iter().find(|(text, _)| remark == *text) {
            Some((_, is_committed)) => Err(TransactionError::AlreadyEnded { is_committed: *is_committed }),
            None => Err(refused(&request.place.broker, answer).into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use remoting_proto::Fields;
    use types::broker::{TransactionPlace, TransactionPosition};
    use types::{PhysicalOffset, QueueOffset, TopicName};

    use super::*;
    use types::broker::Unavailable;

    #[test]
    fn what_became_of_a_transaction_is_read_from_code_and_remark() {
        let position = TransactionPosition { queue_offset: QueueOffset(1), physical_offset: PhysicalOffset(2) };
        let place = TransactionPlace { broker: "b".into(), position };
        let topic = TopicName::new("t").expect("valid");
        let request = broker::EndTransaction::new(topic.clone(), place, Resolution::Commit);
        let ended = |code, remark: &str| {
            let command = Command::request(RequestCode::EndTransaction, Fields::default(), Bytes::new());
            ended(&request, &Command { code, remark: Some(remark.to_owned()), ..command })
        };
        assert_eq!(ended(0, ""), Ok(()));
        assert_eq!(ended(604, ""), Err(TransactionError::TooLate));
        let not_found = TransactionError::NotFound { topic, position };
        assert_eq!(ended(1, "Find prepared transaction message failed"), Err(not_found.clone()));
        assert_eq!(ended(1, &not_found.to_string()), Err(not_found));
        for is_committed in [true, false] {
            let already = TransactionError::AlreadyEnded { is_committed };
            assert_eq!(ended(1, &already.to_string()), Err(already));
        }
        assert!(matches!(
            ended(1, "The producer group wrong"),
            Err(TransactionError::Unavailable(Unavailable::Remote { .. }))
        ));
    }
}
