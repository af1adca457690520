//! An axum server with the routes of our gateway that a load needs.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Sse, sse};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gateway_http::views::messaging::{
    Ack, Durability, Ended, LeaseResult, Receive, ReceivedMessage, ReceivedMessages, Sent,
};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tokio_stream::pending;

use crate::load::{self, HTTP_BATCH, TOPIC};
use crate::process;

/// How often a silent stream shows that it lives. Source: `gateway-http/src/messaging/stream.rs`.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Serves until the process is killed.
pub(super) async fn serve(address: SocketAddr) -> Result<()> {
    process::raise_open_files()?;
    let listener = TcpListener::bind(address).await?;
    let router = Router::new()
        .route("/v1/topics/{topic}/messages", post(send))
        .route("/v1/groups/{group}/receive", post(receive))
        .route("/v1/groups/{group}/ack", post(ack))
        .route("/v1/groups/{group}/stream", get(stream))
        .with_state(Arc::new(received()));
    // Its error is that of the connection's first read.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await?;
    Ok(())
}

async fn send(Path(_topic): Path<String>, _body: Bytes) -> (StatusCode, Json<Sent>) {
    let sent = Sent {
        message_id: message_id(0),
        queue: 2,
        offset: 1,
        durability: Durability::Written,
        transaction_id: None,
        recall_handle: None,
        repeated: false,
    };
    (StatusCode::CREATED, Json(sent))
}

async fn receive(
    State(received): State<Arc<ReceivedMessages>>,
    Path(_group): Path<String>,
    Json(_receive): Json<Receive>,
) -> Result<impl IntoResponse, StatusCode> {
    let body = serde_json::to_vec(&*received).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(CONTENT_TYPE, "application/json")], body))
}

async fn ack(Path(_group): Path<String>, Json(ack): Json<Ack>) -> Json<Ended> {
    let status = StatusCode::OK.as_u16();
    let results = ack.handles.into_iter().map(|handle| LeaseResult { status, handle, problem: None });
    Json(Ended { results: results.collect() })
}

/// Nothing ever comes.
async fn stream(Path(_group): Path<String>) -> impl IntoResponse {
    Sse::new(pending::<Result<sse::Event, Infallible>>()).keep_alive(sse::KeepAlive::new().interval(KEEP_ALIVE))
}

/// What every receive answers.
fn received() -> ReceivedMessages {
    let body = STANDARD.encode(load::body());
    let message = |number: u32| ReceivedMessage {
        message_id: message_id(number),
        handle: format!("{number} 1767323045000 60000 3 0 noop 2 {number} 8589934592"),
        attempt: 1,
        topic: TOPIC.to_owned(),
        queue: 2,
        offset: number.into(),
        tag: None,
        keys: Vec::new(),
        message_group: None,
        priority: None,
        deliver_at_ms: None,
        born_at_ms: 1_767_323_045_000,
        stored_at_ms: 1_767_323_045_001,
        properties: [].into(),
        dead_letter_topic: None,
        dead_letter_message_id: None,
        body: None,
        body_base64: Some(body.clone()),
        compressed: false,
    };
    ReceivedMessages { messages: (0..HTTP_BATCH).map(message).collect() }
}

fn message_id(number: u32) -> String {
    format!("01{number:032X}")
}
