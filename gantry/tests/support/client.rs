//! A client of the gRPC API that knows two calls.

use std::net::SocketAddr;

use grpc::v2;
use grpc::v2::messaging_service_client::MessagingServiceClient;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// Somebody who sends to `orders` and receives as `workers`.
pub(crate) struct Client(MessagingServiceClient<Channel>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URL");
        Self(MessagingServiceClient::new(endpoint.connect().await.expect("served")))
    }

    /// Sends a message and waits until it is acknowledged. The body is its key too.
    pub(crate) async fn send(&mut self, body: &str) {
        let system_properties = v2::SystemProperties {
            message_id: format!("id-{body}"),
            keys: vec![body.to_owned()],
            ..Default::default()
        };
        let message = v2::Message {
            topic: Some(resource("orders")),
            system_properties: Some(system_properties),
            body: bytes::Bytes::copy_from_slice(body.as_bytes()),
            ..Default::default()
        };
        let request = v2::SendMessageRequest { messages: vec![message] };
        let sent = self.0.send_message(with_headers(request)).await.expect("answered").into_inner();
        assert_eq!(sent.status.expect("set").code(), v2::Code::Ok);
    }

    /// Receives what is there and returns how much it was.
    pub(crate) async fn receive(&mut self) -> usize {
        let request = v2::ReceiveMessageRequest {
            group: Some(resource("workers")),
            message_queue: Some(v2::MessageQueue { topic: Some(resource("orders")), ..Default::default() }),
            batch_size: 32,
            invisible_duration: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            ..Default::default()
        };
        let mut frames = self.0.receive_message(with_headers(request)).await.expect("answered").into_inner();
        let mut messages = 0;
        while let Some(frame) = frames.message().await.expect("whole") {
            messages += usize::from(matches!(frame.content, Some(v2::receive_message_response::Content::Message(_))));
        }
        messages
    }
}

fn with_headers<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-mq-client-id", "crowd".parse().expect("ASCII"));
    request.metadata_mut().insert("grpc-timeout", "10S".parse().expect("ASCII"));
    request
}

fn resource(name: &str) -> v2::Resource {
    v2::Resource { resource_namespace: String::new(), name: name.to_owned() }
}
