//! Name servers, asked for routes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use remoting::Client;
use remoting_proto::body::TopicRouteData;
use remoting_proto::requests::GetRouteInfo;
use remoting_proto::{Command, RequestCode, ResponseCode};

/// How long one may take. Those who wait for the answer give up after 1 to 3 s (Apache 5.5 `DefaultMQPushConsumer`).
const WITHIN: Duration = Duration::from_secs(3);

/// The name servers, and which of them has answered last.
#[derive(Debug)]
pub(crate) struct Routes {
    clients: Vec<Client>,
    last: AtomicUsize,
}

impl Routes {
    pub(crate) fn new(clients: Vec<Client>) -> Self {
        Self { clients, last: AtomicUsize::new(0) }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Where a topic's queues are; `None` if there is no such topic, or nobody tells now.
    pub(crate) async fn of(&self, topic: &str) -> Option<TopicRouteData> {
        let header = GetRouteInfo {
            topic: topic.to_owned(),
            accept_standard_json_only: Some(true),
            zone_mode: None,
            zone_name: None,
        };
        let asked = Command::request(RequestCode::GetRouteInfoByTopic, header.to_fields(), Bytes::new());
        let answer = self.ask(&asked).await?;
        match answer.response_code() {
            ResponseCode::TopicNotExist => None,
            _ => remoting_proto::from_slice(&answer.body).ok(),
        }
    }

    /// Asks one after the other, beginning with the one that has answered last, until one knows the topic or that there is none: one that
    /// is silent is waited for once, not each time.
    async fn ask(&self, asked: &Command) -> Option<Command> {
        let (count, first) = (self.clients.len(), self.last.load(Ordering::Relaxed));
        for index in (first..first + count).map(|index| index % count) {
            let Some(client) = self.clients.get(index) else { continue };
            match client.call(asked.clone(), WITHIN).await {
                Ok(answer)
                    if [ResponseCode::Success, ResponseCode::TopicNotExist].contains(&answer.response_code()) =>
                {
                    self.last.store(index, Ordering::Relaxed);
                    return Some(answer);
                }
                Ok(answer) => tracing::debug!(code = answer.code, ?client, "a name server tells no route"),
                Err(error) => tracing::debug!(%error, "a name server tells no route"),
            }
        }
        None
    }
}
