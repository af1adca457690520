//! Commands to clients, and drain (facts/grpc.md §10.3, §19.9).

use std::time::Duration;

use grpc::v2;
use grpc::v2::Code;
use grpc::v2::telemetry_command::Command;
use proxy::clients::{Error, Verdict};
use types::broker::{OffsetAt, Pull};
use types::{Broker, QueueId, QueueOffset, TopicName};

use crate::support::{GROUP, SOON, Telemetry, World, consumer_settings, message, producer_settings, receive, resource};

async fn stored(world: &World) -> (TopicName, bytes::Bytes) {
    world.client("p").await.send_ok(vec![message("a")]).await;
    let topic = TopicName::new("orders").expect("valid");
    for queue in (0..8).map(QueueId) {
        if world.broker.queue_offset(&topic, queue, OffsetAt::End).await.expect("there") == QueueOffset(1) {
            let pull = Pull {
                group: types::GroupName::new(GROUP).expect("valid"),
                topic: topic.clone(),
                queue,
                offset: QueueOffset(0),
                messages_max: 1,
                filter: types::Filter::All.into(),
                wait: Duration::ZERO,
            };
            return (topic, world.broker.pull(pull).await.expect("there").records.remove(0));
        }
    }
    panic!("the message is in no queue")
}

/// A client that answers the one command that comes as `answer` says.
async fn answer_with(telemetry: &mut Telemetry, answer: impl FnOnce(Command) -> v2::TelemetryCommand) {
    let command = telemetry.next().await.command.expect("set");
    telemetry.outbound.send(answer(command)).await.expect("open");
}

#[tokio::test]
async fn pitfall_53_a_stack_trace_comes_with_or_without_a_status() {
    let world = World::start().await;
    let mut telemetry = world.client("cpp").await.telemetry().await;
    telemetry.settings(producer_settings(&[])).await;
    let answer = answer_with(&mut telemetry, |command| {
        let Command::PrintThreadStackTraceCommand(asked) = command else { panic!("{command:?}") };
        let trace = v2::ThreadStackTrace { nonce: asked.nonce, thread_stack_trace: Some("main".to_owned()) };
        v2::TelemetryCommand { status: None, command: Some(Command::ThreadStackTrace(trace)) }
    });
    let (trace, ()) = tokio::join!(world.server.clients.thread_stack_trace("cpp"), answer);
    assert_eq!(trace, Ok("main".to_owned()));
    let unreachable = world.server.clients.thread_stack_trace("nobody").await;
    assert!(matches!(unreachable, Err(Error::Unreachable { .. })));
}

#[tokio::test]
async fn pitfall_53_and_55_verdicts_are_read_from_either_field() {
    let world = World::start().await;
    let (topic, record) = stored(&world).await;
    let mut telemetry = world.client("node").await.telemetry().await;
    telemetry.settings(consumer_settings(GROUP)).await;
    let status = |code: Code| Some(v2::Status { code: code.into(), message: String::new() });
    for (code, in_nodes_way, verdict) in [
        (Code::Ok, false, Verdict::Consumed),
        (Code::FailedToConsumeMessage, false, Verdict::Failed),
        (Code::VerifyFifoMessageUnsupported, false, Verdict::FifoUnsupported),
        (Code::NotImplemented, true, Verdict::NotSupported),
    ] {
        let answer = answer_with(&mut telemetry, |command| {
            let Command::VerifyMessageCommand(asked) = command else { panic!("{command:?}") };
            assert_eq!(asked.message.expect("set").body, "a");
            let nonce = asked.nonce;
            let command = match in_nodes_way {
                true => Command::VerifyMessageCommand(v2::VerifyMessageCommand { nonce, message: None }),
                false => Command::VerifyMessageResult(v2::VerifyMessageResult { nonce }),
            };
            v2::TelemetryCommand { status: status(code), command: Some(command) }
        });
        let (answered, ()) = tokio::join!(world.server.clients.verify_message("node", &topic, &record), answer);
        assert_eq!(answered, Ok(verdict));
    }
}

#[tokio::test]
async fn one_client_cannot_answer_for_another() {
    let world = World::start().await;
    let mut asked = world.client("asked").await.telemetry().await;
    asked.settings(producer_settings(&[])).await;
    let mut other = world.client("other").await.telemetry().await;
    other.settings(producer_settings(&[])).await;
    let answers = async {
        let Some(Command::PrintThreadStackTraceCommand(command)) = asked.next().await.command else { panic!("asked") };
        let trace = |text: &str| {
            let trace =
                v2::ThreadStackTrace { nonce: command.nonce.clone(), thread_stack_trace: Some(text.to_owned()) };
            v2::TelemetryCommand { status: None, command: Some(Command::ThreadStackTrace(trace)) }
        };
        other.outbound.send(trace("forged")).await.expect("open");
        // An answer to the settings says that the forgery was read before them.
        other.settings(producer_settings(&[])).await;
        asked.outbound.send(trace("real")).await.expect("open");
    };
    let (trace, ()) = tokio::join!(world.server.clients.thread_stack_trace("asked"), answers);
    assert_eq!(trace, Ok("real".to_owned()));
}

#[tokio::test]
async fn pitfall_22_a_stream_that_ends_leaves_the_client_known() {
    let world = World::start().await;
    let client = world.client("cpp").await;
    let mut telemetry = client.telemetry().await;
    telemetry.settings(consumer_settings(GROUP)).await;
    drop(telemetry);
    let ids: Vec<_> = world.server.clients.connected().into_iter().map(|client| client.id).collect();
    assert_eq!(ids, ["cpp".into()]);
}

#[tokio::test]
async fn a_stream_that_the_client_closes_is_completed() {
    let world = World::start().await;
    let mut telemetry = world.client("java").await.telemetry().await;
    telemetry.settings(consumer_settings(GROUP)).await;
    drop(telemetry.outbound);
    let end = tokio::time::timeout(SOON, telemetry.inbound.message()).await.expect("soon");
    assert!(matches!(end, Ok(None)), "{end:?}");
}

#[tokio::test]
async fn a_client_that_says_goodbye_is_forgotten() {
    let world = World::start().await;
    let client = world.client("c").await;
    client.heartbeat(v2::ClientType::PushConsumer).await;
    assert_eq!(world.server.clients.connected().len(), 1);
    for group in [None, resource(GROUP), resource("")] {
        let request = client.request(v2::NotifyClientTerminationRequest { group });
        let response = client.service.clone().notify_client_termination(request).await.expect("gRPC OK").into_inner();
        assert_eq!(crate::support::code(&response.status), Code::Ok, "Go's producers name an empty group");
    }
    assert!(world.server.clients.connected().is_empty());
}

#[tokio::test]
async fn pitfall_54_a_draining_server_ends_long_polls_and_sends_clients_away() {
    let world = World::start().await;
    let client = world.client("java").await;
    let mut telemetry = client.telemetry().await;
    telemetry.settings(consumer_settings(GROUP)).await;
    let drain = async {
        // The poll is under way when the first command after it was answered on the same connection.
        client.heartbeat(v2::ClientType::PushConsumer).await;
        world.server.shutdown.cancel();
    };
    let (received, ()) = tokio::join!(client.receive(receive(1, Duration::from_secs(20))), drain);
    assert_eq!(received.code(), Code::MessageNotFound);
    let mut commands = Vec::new();
    while let Ok(Some(command)) = telemetry.inbound.message().await {
        commands.push(command.command);
    }
    assert!(commands.iter().any(|command| matches!(command, Some(Command::ReconnectEndpointsCommand(_)))));
    let long_before_the_drain_timeout = Duration::from_secs(10);
    tokio::time::timeout(long_before_the_drain_timeout, world.server.task).await.expect("soon").expect("no panic");
}
