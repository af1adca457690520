//! Offsets (facts/grpc.md §7.12).

use grpc::v2;
use grpc::v2::{Code, QueryOffsetPolicy};

use crate::support::{Client, GROUP, TOPIC, World, code, message, resource};

fn queue(id: i32) -> Option<v2::MessageQueue> {
    Some(v2::MessageQueue { topic: resource(TOPIC), id, ..v2::MessageQueue::default() })
}

async fn get(client: &Client) -> v2::GetOffsetResponse {
    let request = v2::GetOffsetRequest { group: resource(GROUP), message_queue: queue(0) };
    client.service.clone().get_offset(client.request(request)).await.expect("gRPC OK").into_inner()
}

async fn update(client: &Client, offset: i64) -> Code {
    let request = v2::UpdateOffsetRequest { group: resource(GROUP), message_queue: queue(0), offset };
    let response = client.service.clone().update_offset(client.request(request)).await.expect("gRPC OK").into_inner();
    code(&response.status)
}

async fn query(client: &Client, id: i32, policy: QueryOffsetPolicy) -> v2::QueryOffsetResponse {
    let request =
        v2::QueryOffsetRequest { message_queue: queue(id), query_offset_policy: policy.into(), timestamp: None };
    client.service.clone().query_offset(client.request(request)).await.expect("gRPC OK").into_inner()
}

#[tokio::test]
async fn committed_offsets_are_what_was_committed() {
    let world = World::start().await;
    let client = world.client("c").await;
    client.send_ok(vec![message("a")]).await;
    assert_eq!(code(&get(&client).await.status), Code::OffsetNotFound);
    assert_eq!(update(&client, 0).await, Code::Ok);
    let got = get(&client).await;
    assert_eq!((code(&got.status), got.offset), (Code::Ok, 0));
    assert_eq!(update(&client, -1).await, Code::IllegalOffset);
}

#[tokio::test]
async fn a_queue_knows_its_ends() {
    let world = World::start().await;
    let client = world.client("c").await;
    client.send_ok((0..8).map(|i| message(&format!("id-{i}"))).collect()).await;
    let mut messages = 0;
    for id in 0..8 {
        let first = query(&client, id, QueryOffsetPolicy::Beginning).await;
        assert_eq!((code(&first.status), first.offset), (Code::Ok, 0));
        messages += query(&client, id, QueryOffsetPolicy::End).await.offset;
    }
    assert_eq!(messages, 8);
    assert_eq!(code(&query(&client, 0, QueryOffsetPolicy::Timestamp).await.status), Code::BadRequest, "no time given");
    assert_eq!(code(&query(&client, -1, QueryOffsetPolicy::End).await.status), Code::BadRequest);
    assert_eq!(code(&query(&client, 99, QueryOffsetPolicy::End).await.status), Code::BadRequest);
}
