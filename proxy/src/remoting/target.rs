//! Which broker a request names. Source: Apache 5.5 `RpcRequestHeader` (`bname`), `SendMessageRequestHeaderV2` (`n`) and the bodies.

use remoting_proto::body::{BatchAcks, LockBatch, QueryAssignment};
use remoting_proto::{Command, JsonError, RequestCode};

/// The broker that a header names: Java's clients since 5.0 say it.
pub(super) fn in_header(request: &Command) -> Option<&str> {
    let short = match request.request_code() {
        RequestCode::SendMessageV2 | RequestCode::SendBatchMessage | RequestCode::SendReplyMessageV2 => {
            request.fields.get("n")
        }
        _ => None,
    };
    short.or_else(|| request.fields.get("bname")).filter(|name| !name.is_empty())
}

/// The broker that a body names: those of clients of all ages.
///
/// # Errors
/// It cannot be read.
pub(super) fn in_body(request: &Command) -> Result<Option<String>, JsonError> {
    let name = match request.request_code() {
        RequestCode::LockBatchMq | RequestCode::UnlockBatchMq => {
            // Clients lock the queues of one broker at a time.
            let locks: LockBatch = remoting_proto::from_slice(&request.body)?;
            locks.mq_set.into_iter().next().map(|queue| queue.broker_name)
        }
        RequestCode::BatchAckMessage => Some(remoting_proto::from_slice::<BatchAcks>(&request.body)?.broker_name),
        _ => None,
    };
    Ok(name.filter(|name| !name.is_empty()))
}

/// The topic whose assignment is asked for.
///
/// # Errors
/// It cannot be read.
pub(super) fn topic_in_body(request: &Command) -> Result<String, JsonError> {
    remoting_proto::from_slice::<QueryAssignment>(&request.body).map(|asked| asked.topic)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use remoting_proto::Fields;

    use super::*;

    fn request(code: RequestCode, fields: &[(&str, &str)], body: &'static str) -> Command {
        let mut request = Command::request(code, Fields::default(), Bytes::from_static(body.as_bytes()));
        for (name, text) in fields {
            assert!(request.fields.set((*name).to_owned(), (*text).to_owned()));
        }
        request
    }

    #[test]
    fn headers_name_the_broker_in_their_ways() {
        let named = |code, fields: &[(&str, &str)]| in_header(&request(code, fields, "")).map(str::to_owned);
        assert_eq!(named(RequestCode::PullMessage, &[("bname", "b")]).as_deref(), Some("b"));
        assert_eq!(named(RequestCode::SendMessageV2, &[("n", "b")]).as_deref(), Some("b"));
        assert_eq!(named(RequestCode::PullMessage, &[("n", "b")]), None, "it means something else there");
        assert_eq!(named(RequestCode::PullMessage, &[("bname", "")]), None);
    }

    #[test]
    fn bodies_name_it_where_headers_do_not() {
        let named = |code, body| in_body(&request(code, &[], body)).expect("read");
        let locks = r#"{"mqSet":[{"topic":"t","brokerName":"b","queueId":0}]}"#;
        assert_eq!(named(RequestCode::LockBatchMq, locks).as_deref(), Some("b"));
        assert_eq!(named(RequestCode::UnlockBatchMq, r#"{"mqSet":[]}"#), None);
        assert_eq!(named(RequestCode::BatchAckMessage, r#"{"brokerName":"b","acks":[]}"#).as_deref(), Some("b"));
        assert_eq!(named(RequestCode::SendMessageV2, locks), None, "a message's body is its own");
    }

    proptest! {
        #[test]
        fn any_body_is_answered(body: Vec<u8>) {
            for code in [RequestCode::LockBatchMq, RequestCode::BatchAckMessage] {
                let _ = in_body(&Command { body: body.clone().into(), ..request(code, &[], "") });
            }
            let _ = topic_in_body(&Command { body: body.into(), ..request(RequestCode::QueryAssignment, &[], "") });
        }
    }
}
