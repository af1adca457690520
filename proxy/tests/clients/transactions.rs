//! Transactions (facts/grpc.md §11, §19.7).

use std::time::Duration;

use broker::transaction::Schedule;
use grpc::v2;
use grpc::v2::telemetry_command::Command;
use grpc::v2::{Code, TransactionResolution, TransactionSource};

use crate::support::{
    Client, Running, SOON, TOPIC, World, code, consumer, message_id, message_with, producer_settings, receive, resource,
};

async fn half(client: &Client, id: &str) -> String {
    let half = message_with(id, |system| system.message_type = v2::MessageType::Transaction.into());
    let entry = client.send_ok(vec![half]).await.remove(0);
    assert!(!entry.transaction_id.is_empty());
    entry.transaction_id
}

async fn end(client: &Client, transaction_id: &str, resolution: TransactionResolution) -> Code {
    let request = v2::EndTransactionRequest {
        topic: resource(TOPIC),
        message_id: "id".to_owned(),
        transaction_id: transaction_id.to_owned(),
        resolution: resolution.into(),
        source: TransactionSource::SourceClient.into(),
        trace_context: String::new(),
    };
    let response = client.service.clone().end_transaction(client.request(request)).await.expect("gRPC OK");
    code(&response.into_inner().status)
}

#[tokio::test]
async fn pitfall_44_any_proxy_ends_any_transaction() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let committed = half(&client, "committed").await;
    let rolled_back = half(&client, "rolled back").await;
    let other = Running::start(&world.broker, proxy::Options::default()).await.client("c", "GO").await;
    assert_eq!(end(&other, &rolled_back, TransactionResolution::Rollback).await, Code::Ok);
    assert_eq!(end(&other, &committed, TransactionResolution::Commit).await, Code::Ok);
    let received = client.receive(receive(32, Duration::from_secs(10))).await;
    assert_eq!(received.messages().into_iter().map(message_id).collect::<Vec<_>>(), ["committed"]);
}

#[tokio::test]
async fn pitfall_45_what_became_of_a_commit_is_said() {
    let world = World::start().await;
    let client = world.client("p").await;
    let id = half(&client, "a").await;
    assert_eq!(end(&client, &id, TransactionResolution::Commit).await, Code::Ok);
    assert_eq!(end(&client, &id, TransactionResolution::Commit).await, Code::Ok, "once more is fine");
    assert_eq!(end(&client, &id, TransactionResolution::Rollback).await, Code::PreconditionFailed);
    assert_eq!(end(&client, " ", TransactionResolution::Commit).await, Code::InvalidTransactionId);
    assert_eq!(end(&client, "nonsense", TransactionResolution::Commit).await, Code::InvalidTransactionId);
    let elsewhere = id.replace("gantry-local", "vanished-broker");
    assert_eq!(end(&client, &elsewhere, TransactionResolution::Commit).await, Code::InvalidTransactionId);
    let nowhere = "gantry-local 77 123456 a";
    assert_eq!(end(&client, nowhere, TransactionResolution::Commit).await, Code::InternalServerError);
}

#[tokio::test]
async fn pitfall_46_a_live_producer_is_asked_and_its_answer_counts() {
    let soon = Schedule {
        check_after: Duration::from_millis(200),
        check_interval: Duration::from_millis(500),
        ..Schedule::default()
    };
    let world = World::with(proxy::Options::default(), |broker| broker.transaction = soon).await;
    let consumer = consumer(&world, "c").await;
    let producer = world.client("p").await;
    let mut telemetry = producer.telemetry().await;
    telemetry.settings(producer_settings(&[TOPIC])).await;
    half(&producer, "orphan").await;
    let command = tokio::time::timeout(SOON, telemetry.next()).await.expect("asked");
    let Some(Command::RecoverOrphanedTransactionCommand(orphan)) = command.command else { panic!("{command:?}") };
    let message = orphan.message.expect("set");
    assert_eq!(message.topic, resource(TOPIC), "Rust answers with it");
    assert_eq!(message.body, "orphan");
    let system = message.system_properties.expect("set");
    assert_eq!((system.message_id.as_str(), system.message_type()), ("orphan", v2::MessageType::Transaction));
    assert!(system.body_digest.is_some() && system.born_timestamp.is_some(), "pitfall 29");
    assert_eq!(system.body_encoding(), v2::Encoding::Identity);
    assert_eq!(end(&producer, &orphan.transaction_id, TransactionResolution::Commit).await, Code::Ok);
    let received = consumer.receive(receive(1, Duration::from_secs(20))).await;
    assert_eq!(message_id(received.messages()[0]), "orphan");
}
