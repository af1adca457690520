//! A client and a peer that answers by hand.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use env::Clock;
use env::clock::{BoxFuture, Moment, SystemClock};
use remoting::client::{Error, GREETING_BYTES_MAX, IN_FLIGHT_MAX};
use remoting::{Client, Greeting};
use remoting_proto::{Command, Fields, Opaque, RequestCode, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use types::Timestamp;

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
async fn what_the_peer_asks_is_handed_on_beside_the_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let (asked, mut questions) = tokio::sync::mpsc::channel(1);
    let client = Client::listening(address, Arc::new(SystemClock), asked);
    let called = call(&client, "heartbeat", LONG);
    let mut socket = accept(&listener).await;
    let heartbeat = receive(&mut socket).await;
    let mut frame = BytesMut::new();
    remoting_proto::encode(&Command { opaque: Opaque(77), ..request("a question") }, &mut frame).expect("fits");
    socket.write_all(&frame).await.expect("taken");
    answer(&mut socket, &heartbeat).await;
    assert_eq!(called.await.expect("no panic").expect("answered").body, "heartbeat".as_bytes());
    let question = questions.recv().await.expect("open");
    assert_eq!(question.request.body, "a question".as_bytes());
    // Whoever knows the answer got it under a number of its own.
    let known = Command { opaque: Opaque(5), ..question.request.answer(ResponseCode::Success) };
    question.answer(known).await.expect("fits");
    let answered = receive(&mut socket).await;
    assert!(answered.flag.is_response());
    assert_eq!(answered.opaque, Opaque(77));
    drop(client);
    assert!(questions.recv().await.is_none(), "it ends with the client");
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
async fn each_connection_begins_with_the_greeting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let greeting = Greeting::default();
    let (asked, _questions) = tokio::sync::mpsc::channel(1);
    let client = Client::standing_in(address, Arc::new(SystemClock), asked, 1, greeting.clone());
    // What a new connection hears.
    let heard = async |requests: usize| {
        let called = call(&client, "x", LONG);
        let mut socket = accept(&listener).await;
        let mut heard = Vec::new();
        for _ in 0..requests {
            let request = receive(&mut socket).await;
            heard.push((request.body, request.flag.is_oneway()));
        }
        let error = client.call(request("too many"), LONG).await.expect_err("one request waits");
        assert!(matches!(error, Error::Busy { in_flight_max: 1, .. }), "{error}");
        drop(socket);
        called.await.expect("no panic").expect_err("lost");
        heard
    };
    let asked = || (Bytes::from_static(b"x"), false);
    assert_eq!(heard(1).await, [asked()]);
    greeting.set(request("hello"));
    assert_eq!(heard(2).await, [(Bytes::from_static(b"hello"), true), asked()]);
    greeting.set(Command { body: vec![0; GREETING_BYTES_MAX].into(), ..request("") });
    assert_eq!(heard(1).await, [asked()], "it is too long");
    greeting.set(request("hello"));
    greeting.clear();
    assert_eq!(heard(1).await, [asked()]);
}

/// A clock whose waits end by hand, all at once.
struct HandClock(Arc<Notify>);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn moment(&self) -> Moment {
        Moment::default()
    }

    fn sleep(&self, _: Duration) -> BoxFuture<()> {
        let ends = self.0.clone();
        Box::pin(async move { ends.notified().await })
    }
}

async fn listen_by_hand() -> (TcpListener, Client, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (time, address) = (Arc::new(Notify::new()), listener.local_addr().expect("bound").to_string());
    let client = Client::new(address, Arc::new(HandClock(time.clone())));
    (listener, client, time)
}

#[tokio::test]
async fn a_late_answer_is_left_alone_on_a_connection_that_lives() {
    let (listener, client, time) = listen_by_hand().await;
    let quick = call(&client, "quick", LONG);
    let late = call(&client, "late", LONG);
    let mut socket = accept(&listener).await;
    let requests = [receive(&mut socket).await, receive(&mut socket).await];
    let of = |body: &'static str| requests.iter().find(|request| request.body == body.as_bytes()).expect("came");
    answer(&mut socket, of("quick")).await;
    quick.await.expect("no panic").expect("answered");
    time.notify_waiters();
    let error = late.await.expect("no panic").expect_err("no time");
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");

    let first = call(&client, "first", LONG);
    let of_first = receive(&mut socket).await;
    answer(&mut socket, of("late")).await;
    let unknown = Command { opaque: remoting_proto::Opaque(-5), ..of_first.clone() };
    answer(&mut socket, &unknown).await;
    answer(&mut socket, &of_first).await;
    assert_eq!(first.await.expect("no panic").expect("answered").body, "first".as_bytes());
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_until_the_time_is_over_is_given_up() {
    let (listener, client, time) = listen_by_hand().await;
    let silent = call(&client, "silent", LONG);
    let mut socket = accept(&listener).await;
    receive(&mut socket).await;
    time.notify_waiters();
    let error = silent.await.expect("no panic").expect_err("no time");
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert_eq!(socket.read(&mut [0]).await.expect("ended"), 0);

    let again = call(&client, "on another", LONG);
    let mut socket = accept(&listener).await;
    let request = receive(&mut socket).await;
    answer(&mut socket, &request).await;
    again.await.expect("no panic").expect("answered");
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
async fn who_knows_how_long_to_wait_may_try_again_at_once() {
    let (listener, _) = listen().await;
    let client = Client::eager(listener.local_addr().expect("bound").to_string(), Arc::new(SystemClock));
    drop(listener);
    for _ in 0..2 {
        let error = client.call(request("x"), LONG).await.expect_err("nobody listens");
        assert!(matches!(error, Error::Connect { .. }), "{error}");
    }
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
