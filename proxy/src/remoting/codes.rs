//! What is done with each request: one `match` over the codes. What clients of 4.x and 5.x need is passed on; what operators and brokers
//! ask is refused, so that who reaches this port can change no topics, groups or brokers.

use std::time::Duration;

use remoting_proto::{Command, RequestCode};

/// Longest wait for messages that a client may ask for, in ms; brokers let nobody wait for longer than half a minute or so.
const WAIT_MS_MAX: u64 = 120_000;

/// Who serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The name server, but that brokers are here.
    Route,
    /// The broker that it names.
    Named,
    /// Any broker that does it.
    Any,
    /// Any broker of the topic that its body names.
    OfTopic,
    /// All brokers, each for the members of a group that it knows.
    Members,
    /// All brokers.
    All,
    /// The brokers that this connection has had to do with.
    Known,
    /// Nobody.
    Refused,
}

/// Who serves it.
pub(super) fn way(code: RequestCode) -> Way {
    use RequestCode as Code;
    match code {
        Code::GetRouteInfoByTopic => Way::Route,
        Code::SendMessage
        | Code::SendMessageV2
        | Code::SendBatchMessage
        | Code::SendReplyMessage
        | Code::SendReplyMessageV2
        | Code::ConsumerSendMsgBack
        | Code::EndTransaction
        | Code::RecallMessage
        | Code::PullMessage
        | Code::LitePullMessage
        | Code::PopMessage
        | Code::Notification
        | Code::PeekMessage
        | Code::PollingInfo
        | Code::AckMessage
        | Code::BatchAckMessage
        | Code::ChangeMessageInvisibleTime
        | Code::QueryConsumerOffset
        | Code::UpdateConsumerOffset
        | Code::GetMaxOffset
        | Code::GetMinOffset
        | Code::SearchOffsetByTimestamp
        | Code::GetEarliestMsgStoreTime
        | Code::QueryMessage
        | Code::ViewMessageById
        | Code::LockBatchMq
        | Code::UnlockBatchMq => Way::Named,
        Code::GetConsumerConnectionList | Code::CheckClientConfig => Way::Any,
        Code::QueryAssignment => Way::OfTopic,
        Code::GetConsumerListByGroup => Way::Members,
        Code::HeartBeat => Way::All,
        Code::UnregisterClient => Way::Known,
        _ => Way::Refused,
    }
}

/// Whether a request of this code may be held back until there is a message.
pub(super) fn may_wait(code: RequestCode) -> bool {
    use RequestCode as Code;
    matches!(code, Code::PullMessage | Code::LitePullMessage | Code::PopMessage | Code::Notification)
}

/// How long its broker may hold a request back.
pub(super) fn wait(request: &Command) -> Duration {
    let field = match request.request_code() {
        RequestCode::PullMessage | RequestCode::LitePullMessage => "suspendTimeoutMillis",
        RequestCode::PopMessage | RequestCode::Notification => "pollTime",
        _ => return Duration::ZERO,
    };
    let asked = request.fields.get(field).and_then(|text| text.parse().ok()).unwrap_or(0);
    Duration::from_millis(WAIT_MS_MAX.min(asked))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use remoting_proto::Fields;

    use super::*;

    #[test]
    fn operators_and_brokers_are_refused() {
        for code in [
            RequestCode::UpdateAndCreateTopic,
            RequestCode::DeleteTopicInBroker,
            RequestCode::UpdateBrokerConfig,
            RequestCode::RegisterBroker,
            RequestCode::GetConsumerRunningInfo,
            RequestCode::SendOnce,
            RequestCode::Unknown(-1),
        ] {
            assert_eq!(way(code), Way::Refused, "{code:?}");
        }
    }

    #[test]
    fn a_wait_is_as_long_as_the_client_says_within_bounds() {
        let wait = |code, name: &str, text: &str| {
            let mut request = Command::request(code, Fields::default(), Bytes::new());
            assert!(request.fields.set(name.to_owned(), text.to_owned()));
            wait(&request).as_millis()
        };
        assert_eq!(wait(RequestCode::PullMessage, "suspendTimeoutMillis", "15000"), 15_000);
        assert_eq!(wait(RequestCode::PopMessage, "pollTime", "9999999999999"), 120_000);
        assert_eq!(wait(RequestCode::Notification, "pollTime", "-1"), 0);
        assert_eq!(wait(RequestCode::SendMessageV2, "pollTime", "15000"), 0);
    }
}
