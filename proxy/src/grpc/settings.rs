//! Settings: what a client says of itself, and what the server answers. Source: facts/grpc.md §10.

use grpc::v2;
use grpc::v2::ClientType;
use grpc::v2::settings::PubSub;
use prost::Message;
use types::{GroupConfig, GroupName, RetryPolicy, TopicName};

use super::Service;
use crate::convert;
use crate::messaging::backoff;
use crate::sessions::Agent;
use crate::status::Refusal;
use crate::validate::{self, Invalid};

/// Largest settings, in bytes: a client with a thousand topics stays far below.
const SETTINGS_BYTES_MAX: usize = 256 * 1024;
/// How many messages a push consumer shall ask for at once. Source: Apache `grpcClientConsumerLongPollingBatchSize`.
const RECEIVE_BATCH_SIZE: i32 = 32;

/// What settings say, validated.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) client_type: ClientType,
    pub(super) group: Option<GroupName>,
    pub(super) topics: Vec<TopicName>,
}

/// Validates settings.
///
/// # Errors
/// [`Invalid`].
pub(super) fn said(settings: &v2::Settings) -> Result<Said, Invalid> {
    let bytes = settings.encoded_len();
    if bytes > SETTINGS_BYTES_MAX {
        return Err(Invalid::FieldTooLong { field: "settings", bytes, bytes_max: SETTINGS_BYTES_MAX });
    }
    validate::client_properties(settings.client_properties.iter())?;
    let client_type = settings.client_type();
    let said = match (&settings.pub_sub, client_type) {
        (_, ClientType::LitePushConsumer | ClientType::LiteSimpleConsumer) => return Err(Invalid::LiteNotBuilt),
        (None, _) => return Err(Invalid::MissingField { field: "publishing or subscription" }),
        (Some(PubSub::Publishing(publishing)), ClientType::Producer | ClientType::Unspecified) => {
            let topics = publishing.topics.iter().map(|topic| validate::topic(Some(topic)));
            Said { client_type: ClientType::Producer, group: None, topics: topics.collect::<Result<_, _>>()? }
        }
        (
            Some(PubSub::Subscription(subscription)),
            ClientType::PushConsumer | ClientType::SimpleConsumer | ClientType::PullConsumer | ClientType::Unspecified,
        ) => {
            let group = validate::group(subscription.group.as_ref())?;
            for entry in &subscription.subscriptions {
                validate::topic(entry.topic.as_ref())?;
                validate::filter(entry.expression.as_ref())?;
            }
            Said { client_type, group: Some(group), topics: Vec::new() }
        }
        (Some(_), _) => return Err(Invalid::ClientType { client_type: settings.client_type.unwrap_or_default() }),
    };
    Ok(said)
}

/// The answer: everything that the client said, unchanged (C++ takes its namespace from it), and the server's part.
///
/// # Errors
/// A group that does not exist and is not made.
pub(super) async fn answer(
    service: &Service,
    mut settings: v2::Settings,
    said: &Said,
    agent: &Agent,
) -> Result<v2::Settings, Refusal> {
    let limits = &service.shared.options.limits;
    let group = match &said.group {
        Some(group) => Some(service.shared.messaging.broker().group(group).await?),
        None => None,
    };
    settings.metric = Some(v2::Metric { on: false, endpoints: None });
    settings.backoff_policy = Some(backoff_policy(group.as_deref(), agent));
    match (&mut settings.pub_sub, group) {
        (Some(PubSub::Publishing(publishing)), _) => {
            publishing.max_body_size = i32::try_from(limits.body_bytes_max).unwrap_or(i32::MAX);
            publishing.validate_message_type = true;
        }
        (Some(PubSub::Subscription(subscription)), Some(group)) => {
            subscription.fifo = Some(group.is_fifo);
            subscription.receive_batch_size = Some(RECEIVE_BATCH_SIZE);
            subscription.long_polling_timeout = Some(convert::protocol_duration(limits.long_polling_max));
        }
        (Some(PubSub::Subscription(_)) | None, _) => {}
    }
    Ok(settings)
}

fn backoff_policy(group: Option<&GroupConfig>, agent: &Agent) -> v2::RetryPolicy {
    let (attempts_max, policy) = match group {
        Some(group) => (group.attempts_max, backoff::of_consumer(group, agent.understands())),
        None => backoff::of_producer(),
    };
    let strategy = match policy {
        RetryPolicy::Customized { next } => v2::retry_policy::Strategy::CustomizedBackoff(v2::CustomizedBackoff {
            next: next.into_iter().map(convert::protocol_duration).collect(),
        }),
        RetryPolicy::Exponential { initial, max, multiplier } => {
            v2::retry_policy::Strategy::ExponentialBackoff(v2::ExponentialBackoff {
                initial: Some(convert::protocol_duration(initial)),
                max: Some(convert::protocol_duration(max)),
                multiplier: multiplier as f32,
            })
        }
    };
    v2::RetryPolicy { max_attempts: i32::try_from(attempts_max).unwrap_or(i32::MAX), strategy: Some(strategy) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(topics: &[&str]) -> v2::Settings {
        let topics = topics.iter().map(|topic| convert::resource(*topic)).collect();
        v2::Settings {
            client_type: Some(ClientType::Producer.into()),
            pub_sub: Some(PubSub::Publishing(v2::Publishing { topics, ..v2::Publishing::default() })),
            ..v2::Settings::default()
        }
    }

    fn consumer(client_type: ClientType, group: &str) -> v2::Settings {
        let group = Some(convert::resource(group));
        v2::Settings {
            client_type: Some(client_type.into()),
            pub_sub: Some(PubSub::Subscription(v2::Subscription { group, ..v2::Subscription::default() })),
            ..v2::Settings::default()
        }
    }

    #[test]
    fn pitfall_04_producers_without_topics_are_welcome() {
        assert!(said(&producer(&[])).expect("valid").topics.is_empty());
    }

    #[test]
    fn settings_are_validated() {
        assert!(matches!(said(&v2::Settings::default()), Err(Invalid::MissingField { .. })));
        assert!(matches!(said(&producer(&["a b"])), Err(Invalid::Topic(_))));
        assert!(matches!(said(&consumer(ClientType::PushConsumer, "")), Err(Invalid::Group(_))));
        let crossed = consumer(ClientType::Producer, "g");
        assert!(matches!(said(&crossed), Err(Invalid::ClientType { .. })));
        let huge = "t".repeat(100);
        let huge = producer(&vec![huge.as_str(); 4000]);
        assert!(matches!(said(&huge), Err(Invalid::FieldTooLong { field: "settings", .. })));
    }

    #[test]
    fn pitfall_57_lite_clients_are_refused_by_name() {
        for lite in [ClientType::LitePushConsumer, ClientType::LiteSimpleConsumer] {
            assert!(matches!(said(&consumer(lite, "g")), Err(Invalid::LiteNotBuilt)));
        }
    }

    #[test]
    fn client_properties_are_checked() {
        let mut settings = producer(&[]);
        settings.client_properties.insert("env".to_owned(), "test".to_owned());
        assert!(said(&settings).is_ok());
        settings.client_properties.insert("rocketmq.x".to_owned(), "test".to_owned());
        assert!(matches!(said(&settings), Err(Invalid::ClientProperties { .. })));
    }
}
