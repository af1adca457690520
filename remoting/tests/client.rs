//! A client and a peer that answers by hand.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use env::clock::SystemClock;
use remoting::Client;
use remoting::client::{Error, IN_FLIGHT_MAX};
use remoting_proto::{Command, Fields, RequestCode, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longer than a test takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

fn request(body: &'static str) -> Command {
    Command::request(RequestCode::Unknown(7), Fields::default(), Bytes::from_static(body.as_bytes()))
}

async fn listen() -> (TcpListener, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, Client::new(address, Arc::new(SystemClock)))
}

async fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().await.expect("somebody comes").0
}

async fn receive(socket: &mut TcpStream) -> Command {
    let mut frame = vec![0; 4];
    socket.read_exact(&mut frame).await.expect("a request");
    frame.resize(remoting_proto::announced(&frame).expect("a frame").expect("known"), 0);
    socket.read_exact(&mut frame[4..]).await.expect("a request");
    remoting_proto::decode(frame.into()).expect("a frame")
}

async fn answer(socket: &mut TcpStream, request: &Command) {
    let mut frame = BytesMut::new();
    let answer = Command { body: request.body.clone(), ..request.answer(ResponseCode::Success) };
    remoting_proto::encode(&answer, &mut frame).expect("fits");
    socket.write_all(&frame).await.expect("taken");
}

fn call(client: &Client, body: &'static str, within: Duration) -> tokio::task::JoinHandle<Result<Command, Error>> {
    let client = client.clone();
    tokio::spawn(async move { client.call(request(body), within).await })
}

#[tokio::test]
async fn answers_find_their_requests_in_any_order_on_one_connection() {
    let (listener, client) = listen().await;
    let calls = ["a", "b", "c"].map(|body| call(&client, body, LONG));
    let mut socket = accept(&listener).await;
    let mut requests = Vec::new();
    for _ in 0..3 {
        requests.push(receive(&mut socket).await);
    }
    for request in requests.iter().rev() {
        answer(&mut socket, request).await;
    }
    for (call, body) in calls.into_iter().zip(["a", "b", "c"]) {
        assert_eq!(call.await.expect("no panic").expect("answered").body, body.as_bytes());
    }
    client.oneway(request("nobody waits"), LONG).await.expect("sent");
    assert!(receive(&mut socket).await.flag.is_oneway());
}

#[tokio::test]
async fn a_late_answer_is_left_alone() {
    let (listener, client) = listen().await;
    let late = call(&client, "late", Duration::ZERO);
    let error = late.await.expect("no panic").expect_err("no time");
    assert!(matches!(&error, Error::TimedOut { .. }), "{error}");
    let first = call(&client, "first", LONG);
    let mut socket = accept(&listener).await;
    let mut of_first = receive(&mut socket).await;
    if of_first.body == "late".as_bytes() {
        answer(&mut socket, &of_first).await;
        of_first = receive(&mut socket).await;
    }
    let unknown = Command { opaque: remoting_proto::Opaque(-5), ..of_first.clone() };
    answer(&mut socket, &unknown).await;
    answer(&mut socket, &of_first).await;
    assert_eq!(first.await.expect("no panic").expect("answered").body, "first".as_bytes());
}

#[tokio::test]
async fn a_lost_connection_tells_all_who_wait_and_is_opened_again() {
    let (listener, client) = listen().await;
    let waiting = [call(&client, "a", LONG), call(&client, "b", LONG)];
    let mut socket = accept(&listener).await;
    receive(&mut socket).await;
    receive(&mut socket).await;
    drop(socket);
    for call in waiting {
        let error = call.await.expect("no panic").expect_err("lost");
        assert!(matches!(error, Error::Lost { .. }), "{error}");
    }
    let again = call(&client, "again", LONG);
    let mut socket = accept(&listener).await;
    let request = receive(&mut socket).await;
    answer(&mut socket, &request).await;
    again.await.expect("no panic").expect("answered");
    drop(client);
    assert_eq!(socket.read(&mut [0]).await.expect("ended"), 0, "the connection ends with its client");
}

#[tokio::test]
async fn an_address_that_takes_no_connection_is_left_alone_for_a_while() {
    let (listener, client) = listen().await;
    drop(listener);
    let error = client.call(request("x"), LONG).await.expect_err("nobody listens");
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    let error = client.oneway(request("x"), LONG).await.expect_err("too early");
    assert!(matches!(error, Error::BackOff { .. }), "{error}");
}

#[tokio::test]
async fn too_many_requests_are_refused_and_leave_room_when_they_end() {
    let (listener, client) = listen().await;
    let calls: Vec<_> = (0..IN_FLIGHT_MAX).map(|_| call(&client, "x", LONG)).collect();
    let mut socket = accept(&listener).await;
    for _ in 0..IN_FLIGHT_MAX {
        receive(&mut socket).await;
    }
    let error = client.call(request("one more"), LONG).await.expect_err("no room");
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    for call in calls {
        call.abort();
        drop(call.await);
    }
    let call = call(&client, "room", LONG);
    let request = receive(&mut socket).await;
    answer(&mut socket, &request).await;
    assert_eq!(call.await.expect("no panic").expect("answered").body, "room".as_bytes());
}
