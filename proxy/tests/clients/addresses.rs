//! Which addresses routes say (facts/grpc.md §19.2).

use grpc::v2;
use grpc::v2::messaging_service_client::MessagingServiceClient;
use grpc::v2::{AddressScheme, Code, MessageType, Permission};
use proxy::options::Advertise;
use tokio::io::AsyncWriteExt;

use crate::support::{Client, GROUP, SOON, TOPIC, World, code, consumer, message_with, receive, resource};

fn endpoints(scheme: AddressScheme, host: &str, port: i32) -> v2::Endpoints {
    v2::Endpoints { scheme: scheme.into(), addresses: vec![v2::Address { host: host.to_owned(), port }] }
}

fn broker_endpoints(route: &v2::QueryRouteResponse) -> v2::Endpoints {
    assert_eq!(code(&route.status), Code::Ok, "{route:?}");
    let brokers: Vec<_> = route.message_queues.iter().map(|queue| queue.broker.clone().expect("set")).collect();
    assert!(brokers.iter().all(|broker| broker == &brokers[0]));
    brokers[0].endpoints.clone().expect("set")
}

#[tokio::test]
async fn pitfall_09_without_endpoints_the_authority_is_the_address() {
    let world = World::start().await;
    let address = world.server.address;
    let expected = endpoints(AddressScheme::IPv4, "127.0.0.1", i32::from(address.port()));
    let client = world.client("c").await;
    assert_eq!(broker_endpoints(&client.route(None).await), expected);
    let none = v2::Endpoints::default();
    assert_eq!(broker_endpoints(&client.route(Some(none)).await), expected);
}

#[tokio::test]
async fn pitfall_11_the_port_is_the_one_that_the_client_dialled() {
    let world = World::start().await;
    let mapped = endpoints(AddressScheme::IPv4, "192.0.2.7", 31_081);
    assert_eq!(broker_endpoints(&world.client("c").await.route(Some(mapped.clone())).await), mapped);
}

#[tokio::test]
async fn pitfall_13_names_are_not_translated() {
    let world = World::start().await;
    let named = endpoints(AddressScheme::DomainName, "localhost", 8081);
    assert_eq!(broker_endpoints(&world.client("c").await.route(Some(named.clone())).await), named);
}

#[tokio::test]
async fn an_advertised_address_wins() {
    let advertise = Some(Advertise { host: "mq.example".to_owned(), port: 443 });
    let world = World::with(proxy::Options { advertise, ..proxy::Options::default() }, |_| {}).await;
    let dialled = endpoints(AddressScheme::IPv4, "192.0.2.7", 31_081);
    let advertised = endpoints(AddressScheme::DomainName, "mq.example", 443);
    assert_eq!(broker_endpoints(&world.client("c").await.route(Some(dialled)).await), advertised);
}

#[tokio::test]
async fn pitfall_14_queues_are_on_broker_0_and_readable_and_writable() {
    let world = World::start().await;
    let client = world.client("c").await;
    let route = client.route(None).await;
    let ids: Vec<_> = route.message_queues.iter().map(|queue| queue.id).collect();
    assert_eq!(ids, (0..8).collect::<Vec<_>>());
    assert!(route.message_queues.iter().all(|queue| queue.permission() == Permission::ReadWrite));
    assert!(route.message_queues.iter().all(|queue| queue.broker.as_ref().is_some_and(|broker| broker.id == 0)));
    assert_eq!(route, client.route(None).await, "the order is stable");
}

#[tokio::test]
async fn pitfall_41_mixed_topics_list_the_four_classic_types() {
    let world = World::start().await;
    let mut client = world.client("c").await;
    client.version = "5.0.7";
    let classic = [MessageType::Normal, MessageType::Fifo, MessageType::Delay, MessageType::Transaction];
    for queue in client.route(None).await.message_queues {
        assert_eq!(queue.accept_message_types().collect::<Vec<_>>(), classic, "an older Java client");
    }
    client.version = "5.2.0";
    for queue in client.route(None).await.message_queues {
        assert!(queue.accept_message_types().any(|known| known == MessageType::Priority));
    }
}

#[tokio::test]
async fn assignments_are_one_for_the_broker() {
    let world = World::start().await;
    let client = world.client("c").await;
    let request = v2::QueryAssignmentRequest { topic: resource(TOPIC), group: resource(GROUP), endpoints: None };
    let response =
        client.service.clone().query_assignment(client.request(request)).await.expect("gRPC OK").into_inner();
    assert_eq!(code(&response.status), Code::Ok);
    let queues: Vec<_> = response.assignments.into_iter().filter_map(|assignment| assignment.message_queue).collect();
    assert_eq!(queues.len(), 1);
    assert_eq!(queues[0].id, -1);
}

#[tokio::test]
async fn unknown_topics_are_not_found_where_topics_are_not_made() {
    let world = World::with(proxy::Options::default(), |broker| broker.auto_create_topics = false).await;
    let route = world.client("c").await.route(None).await;
    assert_eq!(code(&route.status), Code::TopicNotFound);
    assert!(route.status.expect("set").message.contains("gantry admin topic create orders"));
}

#[tokio::test]
async fn a_balancers_client_is_who_sent() {
    let balancers = vec!["127.0.0.0/8".parse().expect("a network")];
    let world = World::with(proxy::Options { balancers, ..proxy::Options::default() }, |_| {}).await;
    let address = world.server.address;
    let connect = tower::service_fn(move |_: http::Uri| async move {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 8081\r\n").await?;
        Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
    });
    let channel = world.server.endpoint().connect_with_connector(connect).await.expect("connected");
    let behind = Client { service: MessagingServiceClient::new(channel), ..consumer(&world, "behind").await };
    behind.send_ok(vec![message_with("a", |system| system.born_host.clear())]).await;
    let received = behind.receive(receive(1, SOON)).await;
    let received = received.messages()[0].system_properties.as_ref().expect("set");
    assert_eq!(received.born_host, "192.0.2.7:40000");
}
