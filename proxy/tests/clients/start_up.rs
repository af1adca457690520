//! What a client needs to start (facts/grpc.md §19.1).

use grpc::v2;
use grpc::v2::retry_policy::Strategy;
use grpc::v2::settings::PubSub;
use grpc::v2::telemetry_command::Command;

use crate::support::{GROUP, Running, TOPIC, World, code, consumer_settings, producer_settings};

async fn policy(server: &Running, language: &'static str, settings: v2::Settings) -> Strategy {
    let mut telemetry = server.client("policy", language).await.telemetry().await;
    let answer = telemetry.settings(settings).await;
    answer.backoff_policy.expect("set").strategy.expect("set")
}

#[tokio::test]
async fn pitfall_01_settings_are_answered_with_ok_and_settings() {
    let world = World::start().await;
    let mut telemetry = world.client("p").await.telemetry().await;
    telemetry.say(Command::Settings(producer_settings(&[TOPIC]))).await;
    let answer = telemetry.next().await;
    assert_eq!(code(&answer.status), v2::Code::Ok);
    assert!(matches!(answer.command, Some(Command::Settings(_))));
}

#[tokio::test]
async fn pitfall_02_every_client_gets_a_backoff_policy_of_its_kind() {
    let world = World::start().await;
    for language in ["JAVA", "GO", "PYTHON", "HTTP", "RUST", "CPP", "DOTNET", "unheard of"] {
        let producer = policy(&world.server, language, producer_settings(&[TOPIC])).await;
        assert!(matches!(producer, Strategy::ExponentialBackoff(_)), "{language}");
        match (language, policy(&world.server, language, consumer_settings(GROUP)).await) {
            ("HTTP", Strategy::ExponentialBackoff(formula)) => assert!(formula.initial.is_some()),
            ("HTTP", Strategy::CustomizedBackoff(_)) => panic!("Node does not know the list"),
            (_, Strategy::CustomizedBackoff(list)) => {
                assert!(!list.next.is_empty());
                assert!(list.next.iter().all(|wait| wait.nanos == 0 && wait.seconds > 0), "Python drops fractions");
            }
            (_, Strategy::ExponentialBackoff(_)) => panic!("the group has a list"),
        }
    }
}

#[tokio::test]
async fn pitfall_04_a_producer_without_topics_is_answered() {
    let world = World::start().await;
    let mut telemetry = world.server.client("cpp", "CPP").await.telemetry().await;
    let answer = telemetry.settings(producer_settings(&[])).await;
    assert!(matches!(answer.pub_sub, Some(PubSub::Publishing(_))));
}

#[tokio::test]
async fn pitfall_05_what_the_client_said_comes_back_unchanged() {
    let world = World::start().await;
    let mut said = producer_settings(&[TOPIC]);
    let Some(PubSub::Publishing(publishing)) = &mut said.pub_sub else { unreachable!("made so") };
    publishing.topics[0].resource_namespace = "space".to_owned();
    let topics = publishing.topics.clone();
    said.request_timeout = Some(prost_types::Duration { seconds: 3, nanos: 0 });
    said.user_agent = Some(v2::Ua { hostname: "host".to_owned(), ..v2::Ua::default() });
    let answer = world.client("p").await.telemetry().await.settings(said.clone()).await;
    assert_eq!((answer.client_type, answer.request_timeout), (said.client_type, said.request_timeout));
    assert_eq!(answer.user_agent, said.user_agent);
    let Some(PubSub::Publishing(publishing)) = answer.pub_sub else { panic!("a producer's") };
    assert_eq!(publishing.topics, topics);
    assert_eq!(publishing.max_body_size, 4 * 1024 * 1024);
    assert!(publishing.validate_message_type);
}

#[tokio::test]
async fn consumers_learn_what_the_server_decides() {
    let world = World::start().await;
    let answer = world.client("c").await.telemetry().await.settings(consumer_settings(GROUP)).await;
    assert_eq!(answer.backoff_policy.expect("set").max_attempts, 17);
    let Some(PubSub::Subscription(subscription)) = answer.pub_sub else { panic!("a consumer's") };
    assert_eq!(subscription.fifo, Some(false));
    assert_eq!(subscription.receive_batch_size, Some(32));
    assert_eq!(subscription.long_polling_timeout.map(|wait| wait.seconds), Some(20));
    assert_eq!(subscription.subscriptions.len(), 1);
}

#[tokio::test]
async fn pitfall_06_settings_come_again_after_the_first_heartbeat() {
    let world = World::start().await;
    let client = world.server.client("node", "HTTP").await;
    let mut telemetry = client.telemetry().await;
    let first = telemetry.settings(producer_settings(&[TOPIC])).await;
    client.heartbeat(v2::ClientType::Producer).await;
    client.heartbeat(v2::ClientType::Producer).await;
    let again = telemetry.next().await;
    assert_eq!(code(&again.status), v2::Code::Ok);
    assert_eq!(again.command, Some(Command::Settings(first)));
    let second = telemetry.settings(producer_settings(&[])).await;
    assert!(matches!(second.pub_sub, Some(PubSub::Publishing(p)) if p.topics.is_empty()), "it came once");
}

#[tokio::test]
async fn pitfall_07_a_refusal_is_a_status_and_then_the_end_of_the_stream() {
    let world = World::start().await;
    let mut telemetry = world.client("c").await.telemetry().await;
    telemetry.say(Command::Settings(consumer_settings("bad group"))).await;
    let refusal = telemetry.next().await;
    assert_eq!(code(&refusal.status), v2::Code::IllegalConsumerGroup);
    assert_eq!(refusal.command, None);
    let end = telemetry.inbound.message().await.expect_err("an error");
    assert_eq!(end.code(), tonic::Code::InvalidArgument);
    assert!(end.message().contains("bad group"), "{end}");
}

#[tokio::test]
async fn pitfall_16_heartbeats_and_receives_need_no_settings() {
    let world = World::start().await;
    let client = world.client("restarted").await;
    assert_eq!(code(&client.heartbeat(v2::ClientType::PushConsumer).await.status), v2::Code::Ok);
    assert_eq!(code(&client.heartbeat(v2::ClientType::Producer).await.status), v2::Code::Ok);
    let received = client.receive(crate::support::receive(1, std::time::Duration::from_millis(1))).await;
    assert_eq!(received.code(), v2::Code::MessageNotFound);
}

#[tokio::test]
async fn pitfall_17_an_anonymous_heartbeat_is_fine() {
    let world = World::start().await;
    let mut service = world.client("unused").await.service;
    let response = service.heartbeat(v2::HeartbeatRequest::default()).await.expect("gRPC OK").into_inner();
    assert_eq!(code(&response.status), v2::Code::Ok);
}

#[tokio::test]
async fn pitfall_38_an_unknown_group_is_refused_where_groups_are_not_made() {
    let world = World::with(proxy::Options::default(), |broker| broker.auto_create_groups = false).await;
    let client = world.client("c").await;
    let received = client.receive(crate::support::receive(1, std::time::Duration::ZERO)).await;
    assert_eq!(received.code(), v2::Code::ConsumerGroupNotFound);
}

#[tokio::test]
async fn pitfall_58_and_59_lite_subscriptions_are_refused_by_name() {
    let world = World::start().await;
    let client = world.client("c").await;
    let request = client.request(v2::SyncLiteSubscriptionRequest::default());
    let response = client.service.clone().sync_lite_subscription(request).await.expect("gRPC OK").into_inner();
    assert_eq!(code(&response.status), v2::Code::NotImplemented);
}
