//! A server on a real port, driven by frames.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use env::Clock;
use env::clock::{BoxFuture, Moment, SystemClock};
use remoting::tls::Identity;
use remoting::{ASKED_MAX, CallError, Client, Connection, ConnectionId, Options, Role, Server, Trust, WAITING_MAX};
use remoting_proto::{Command, Fields, Opaque, RequestCode, ResponseCode, SerializeType};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Answers with the request's body, once the gate lets it; tells what comes and goes.
struct Echo {
    gate: Arc<Semaphore>,
    told: mpsc::UnboundedSender<Told>,
}

/// Longer than anything here takes on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);
/// Requests of this code may wait, others may not.
const WAITS: RequestCode = RequestCode::Unknown(8);

#[derive(Debug)]
enum Told {
    Connected(Arc<Connection>),
    Asked(Command),
    Disconnected(ConnectionId),
}

impl Role for Echo {
    fn connect(&self, connection: &Arc<Connection>) {
        self.told.send(Told::Connected(connection.clone())).expect("the test listens");
    }

    fn may_wait(&self, request: &Command) -> bool {
        request.request_code() == WAITS
    }

    async fn serve(&self, _: &Connection, request: Command) -> Command {
        self.told.send(Told::Asked(request.clone())).expect("the test listens");
        self.gate.acquire().await.expect("open").forget();
        Command { body: request.body.clone(), ..request.answer(ResponseCode::Success) }
    }

    fn disconnect(&self, connection: &Connection) {
        // At the end of a test nobody may listen any more.
        let _ = self.told.send(Told::Disconnected(connection.id()));
    }
}

struct Running {
    address: std::net::SocketAddr,
    gate: Arc<Semaphore>,
    told: mpsc::UnboundedReceiver<Told>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(options: Options, identity: Option<&Identity>, clock: Arc<dyn Clock>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (tell, told) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let role = Arc::new(Echo { gate: gate.clone(), told: tell });
    let tls = identity.map(|identity| identity.server_config(&[]).expect("usable"));
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(Server::new(role, options, tls, clock).serve(listener, shutdown.clone()));
    Running { address, gate, told, shutdown, task }
}

async fn start_default() -> Running {
    start(Options::default(), None, Arc::new(SystemClock)).await
}

impl Running {
    async fn connected(&mut self) -> Arc<Connection> {
        match self.told.recv().await {
            Some(Told::Connected(connection)) => connection,
            other => panic!("{other:?}, not a connection"),
        }
    }

    async fn asked(&mut self) -> Command {
        match self.told.recv().await {
            Some(Told::Asked(request)) => request,
            other => panic!("{other:?}, not a request"),
        }
    }

    async fn disconnected(&mut self) -> ConnectionId {
        match self.told.recv().await {
            Some(Told::Disconnected(id)) => id,
            other => panic!("{other:?}, not the end of a connection"),
        }
    }
}

fn request(opaque: i32, body: &'static str) -> Command {
    let request = Command::request(RequestCode::Unknown(7), Fields::default(), Bytes::from_static(body.as_bytes()));
    Command { opaque: Opaque(opaque), ..request }
}

async fn send(socket: &mut (impl AsyncWrite + Unpin), command: &Command) {
    let mut frame = BytesMut::new();
    remoting_proto::encode(command, &mut frame).expect("fits");
    socket.write_all(&frame).await.expect("taken");
}

async fn receive(socket: &mut (impl AsyncRead + Unpin)) -> Command {
    let mut frame = vec![0; 4];
    socket.read_exact(&mut frame).await.expect("an answer");
    frame.resize(remoting_proto::announced(&frame).expect("a frame").expect("its length"), 0);
    socket.read_exact(&mut frame[4..]).await.expect("an answer");
    remoting_proto::decode(frame.into()).expect("a frame")
}

async fn ended(socket: &mut TcpStream) {
    let read = socket.read(&mut [0]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn requests_are_answered_in_their_serialisation_and_oneway_ones_not_at_all() {
    let server = start_default().await;
    server.gate.add_permits(9);
    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    for (opaque, serialize_type) in [(1, SerializeType::Json), (2, SerializeType::RocketMq)] {
        send(&mut socket, &request(9, "nobody waits").oneway()).await;
        send(&mut socket, &Command { serialize_type, ..request(opaque, "hello") }).await;
        let answer = receive(&mut socket).await;
        assert_eq!((answer.opaque, answer.serialize_type), (Opaque(opaque), serialize_type));
        assert_eq!((answer.response_code(), &answer.body[..]), (ResponseCode::Success, &b"hello"[..]));
        assert!(answer.flag.is_response());
    }
}

#[tokio::test]
async fn tls_and_plaintext_share_the_port() {
    let identity = Identity::self_signed(vec!["127.0.0.1".to_owned()]).expect("made");
    let server = start(Options::default(), Some(&identity), Arc::new(SystemClock)).await;
    server.gate.add_permits(9);
    let address = server.address.to_string();
    let call = async |trust: Trust| {
        let client = Client::secret(address.clone(), Arc::new(SystemClock), trust);
        client.call(request(1, "secret"), Duration::from_secs(60)).await
    };
    let believed = Trust::only(&identity.certificates_pem).expect("a certificate");
    assert_eq!(&call(believed).await.expect("answered").body[..], b"secret");
    assert_eq!(&call(Trust::everybody().expect("usable")).await.expect("answered").body[..], b"secret");
    let other = Identity::self_signed(vec!["127.0.0.1".to_owned()]).expect("made");
    let refused = call(Trust::only(&other.certificates_pem).expect("a certificate")).await.expect_err("not believed");
    assert!(refused.to_string().contains("certificate"), "{refused}");
    let mut plain = TcpStream::connect(server.address).await.expect("listens");
    send(&mut plain, &request(1, "open")).await;
    assert_eq!(&receive(&mut plain).await.body[..], b"open");
}

#[tokio::test]
async fn two_ports_share_one_bound() {
    let (one, other) = (TcpListener::bind("127.0.0.1:0").await, TcpListener::bind("127.0.0.1:0").await);
    let (one, other) = (one.expect("a port"), other.expect("a port"));
    let addresses = [&one, &other].map(|listener| listener.local_addr().expect("bound"));
    let (tell, _told) = mpsc::unbounded_channel();
    let role = Arc::new(Echo { gate: Arc::new(Semaphore::new(9)), told: tell });
    let options = Options { connections_max: 2, ..Options::default() };
    let server = Server::new(role, options, None, Arc::new(SystemClock)).also_on(other);
    tokio::spawn(server.serve(one, CancellationToken::new()));
    let mut open = Vec::new();
    for address in addresses {
        let mut socket = TcpStream::connect(address).await.expect("listens");
        send(&mut socket, &request(1, "hello")).await;
        assert_eq!(&receive(&mut socket).await.body[..], b"hello");
        open.push(socket);
    }
    ended(&mut TcpStream::connect(addresses[1]).await.expect("listens")).await;
}

#[tokio::test]
async fn a_balancers_client_is_the_remote() {
    let options = Options { balancers: vec!["127.0.0.1".parse().expect("a network")], ..Options::default() };
    let mut server = start(options, None, Arc::new(SystemClock)).await;
    server.gate.add_permits(9);
    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    socket.write_all(b"PROXY TCP6 2001:db8::7 ::1 40000 10911\r\n").await.expect("taken");
    send(&mut socket, &request(1, "hello")).await;
    assert_eq!(server.connected().await.remote().to_string(), "[2001:db8::7]:40000");
    assert_eq!(&receive(&mut socket).await.body[..], b"hello");
}

#[tokio::test]
async fn a_believed_certificate_is_of_no_use_for_another_host() {
    let identity = Identity::self_signed(vec!["localhost".to_owned()]).expect("made");
    let server = start(Options::default(), Some(&identity), Arc::new(SystemClock)).await;
    let believed = Trust::only(&identity.certificates_pem).expect("a certificate");
    let client = Client::secret(server.address.to_string(), Arc::new(SystemClock), believed);
    let refused = client.call(request(1, "secret"), Duration::from_secs(60)).await.expect_err("not believed");
    assert!(refused.to_string().contains("not valid for name"), "{refused}");
}

#[tokio::test]
async fn tls_without_a_certificate_and_broken_frames_end_the_connection() {
    let server = start_default().await;
    for bytes in [&[0x16, 3, 1, 0, 0][..], &[0, 0, 0, 1], &[0x7f, 0, 0, 0], &[0, 0, 0, 5, 9, 0, 0, 0, 0]] {
        let mut socket = TcpStream::connect(server.address).await.expect("listens");
        socket.write_all(bytes).await.expect("taken");
        ended(&mut socket).await;
    }
}

#[tokio::test]
async fn too_many_requests_are_refused_and_too_many_connections_closed() {
    let options = Options { requests_max: 1, connections_max: 1, ..Options::default() };
    let mut server = start(options, None, Arc::new(SystemClock)).await;
    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    server_connected(&mut server, &mut socket).await;
    send(&mut socket, &request(2, "too many")).await;
    let refused = receive(&mut socket).await;
    assert_eq!((refused.opaque, refused.response_code()), (Opaque(2), ResponseCode::SystemBusy));
    ended(&mut TcpStream::connect(server.address).await.expect("accepted and closed")).await;
    server.gate.add_permits(1);
    assert_eq!(receive(&mut socket).await.opaque, Opaque(1));
}

/// Sends the first request and waits until it is being served.
async fn server_connected(server: &mut Running, socket: &mut TcpStream) -> Arc<Connection> {
    send(socket, &request(1, "first")).await;
    let connection = server.connected().await;
    assert_eq!(server.asked().await.opaque, Opaque(1));
    connection
}

#[tokio::test]
async fn a_connection_with_all_requests_under_way_is_read_no_further() {
    let mut server = start(Options { in_flight_max: 1, ..Options::default() }, None, Arc::new(SystemClock)).await;
    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    server_connected(&mut server, &mut socket).await;
    send(&mut socket, &request(2, "second")).await;
    // Another connection's request, sent later, is served first.
    let mut other = TcpStream::connect(server.address).await.expect("listens");
    send(&mut other, &request(3, "other")).await;
    server.connected().await;
    assert_eq!(server.asked().await.opaque, Opaque(3));
    server.gate.add_permits(3);
    for opaque in [1, 2] {
        assert_eq!(receive(&mut socket).await.opaque, Opaque(opaque));
    }
}

#[tokio::test]
async fn who_waits_takes_no_places_of_others_and_has_a_bound_of_its_own() {
    let waiting = |opaque| Command { code: WAITS.number(), ..request(opaque, "waits") };
    let options = Options { in_flight_max: 1, waiting_max: 2, ..Options::default() };
    let mut server = start(options, None, Arc::new(SystemClock)).await;
    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    send(&mut socket, &waiting(1)).await;
    server.connected().await;
    send(&mut socket, &waiting(2)).await;
    for opaque in [1, 2] {
        assert_eq!(server.asked().await.opaque, Opaque(opaque));
    }
    send(&mut socket, &waiting(3)).await;
    let refused = receive(&mut socket).await;
    assert_eq!((refused.opaque, refused.response_code()), (Opaque(3), ResponseCode::SystemBusy));
    send(&mut socket, &request(4, "does not wait")).await;
    assert_eq!(server.asked().await.opaque, Opaque(4));
    server.gate.add_permits(3);
    let mut answered = [receive(&mut socket).await, receive(&mut socket).await, receive(&mut socket).await];
    answered.sort_by_key(|answer| answer.opaque);
    assert_eq!(
        answered.map(|answer| (answer.opaque.0, answer.response_code())),
        [1, 2, 4].map(|of| (of, ResponseCode::Success))
    );

    // The bound of all connections.
    let options = Options { waiting_all_max: 1, ..Options::default() };
    let mut server = start(options, None, Arc::new(SystemClock)).await;
    let mut first = TcpStream::connect(server.address).await.expect("listens");
    send(&mut first, &waiting(1)).await;
    server.connected().await;
    server.asked().await;
    let mut second = TcpStream::connect(server.address).await.expect("listens");
    send(&mut second, &waiting(2)).await;
    assert_eq!(receive(&mut second).await.response_code(), ResponseCode::SystemBusy);
}

#[tokio::test]
async fn answers_that_a_client_does_not_read_are_bounded_and_small_ones_come_all_the_same() {
    const BODY_BYTES: usize = 1 << 20;
    const ASKED: i32 = 128;
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    let bound = 16;
    let options = Options { outbound_bytes_max: bound * BODY_BYTES, ..Options::default() };
    let mut server = start(options, None, Arc::new(SystemClock)).await;
    server.gate.add_permits(2 * ASKED as usize);
    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    for opaque in 0..ASKED {
        send(&mut socket, &Command { body: body.clone(), ..request(opaque, "") }).await;
        send(&mut socket, &request(ASKED + opaque, "small")).await;
    }
    let connection = server.connected().await;
    let full = async {
        while connection.has_room(2 * BODY_BYTES) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, full).await.expect("who answers may know that the client does not read");
    let (mut whole, mut refused, mut small) = (0, 0, 0);
    for _ in 0..2 * ASKED {
        let answer = receive(&mut socket).await;
        match (answer.response_code(), answer.body.len()) {
            (ResponseCode::Success, BODY_BYTES) => whole += 1,
            (ResponseCode::Success, 5) => small += 1,
            (ResponseCode::SystemBusy, 0) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    // What the system keeps for the sockets comes on top.
    assert_eq!((small, whole + refused), (ASKED, ASKED));
    assert!(whole >= bound as i32 - 1 && refused > 0, "{whole} whole, {refused} refused");
}

#[tokio::test]
async fn the_end_of_a_connection_is_told_whoever_ends_it() {
    let mut server = start_default().await;
    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    let first = server_connected(&mut server, &mut socket).await;
    assert_eq!(first.remote(), socket.local_addr().expect("connected"));
    assert_eq!(first.local(), server.address);
    first.close();
    ended(&mut socket).await;
    assert_eq!(server.disconnected().await, first.id());

    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    let second = server_connected(&mut server, &mut socket).await;
    assert_ne!(first.id(), second.id());
    server.gate.add_permits(2);
    receive(&mut socket).await;
    drop(socket);
    assert_eq!(server.disconnected().await, second.id());
}

#[tokio::test]
async fn a_client_is_asked_on_its_own_connection() {
    let mut server = start_default().await;
    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    let connection = server_connected(&mut server, &mut socket).await;
    let call = async |body: &'static str, within| {
        let asked = Command::request(RequestCode::GetConsumerRunningInfo, Fields::default(), body.into());
        connection.call(asked, &SystemClock, within).await
    };
    let long = Duration::from_secs(60);
    let answers = async {
        let (first, second) = (receive(&mut socket).await, receive(&mut socket).await);
        assert_ne!(first.opaque, second.opaque);
        // In any order, and one that nobody asked for.
        for asked in [&second, &first, &first] {
            let answer = Command { body: asked.body.clone(), ..asked.answer(ResponseCode::Success) };
            send(&mut socket, &answer).await;
        }
    };
    let (one, two, ()) = tokio::join!(call("one", long), call("two", long), answers);
    assert_eq!((&one.expect("answered").body[..], &two.expect("answered").body[..]), (&b"one"[..], &b"two"[..]));
    let late = call("late", Duration::from_millis(1)).await;
    assert_eq!(late, Err(CallError::TimedOut(Duration::from_millis(1))));
    let (lost, ()) = tokio::join!(call("lost", long), async { connection.close() });
    assert_eq!(lost, Err(CallError::Lost));
    assert_eq!(call("nobody", long).await, Err(CallError::Unasked));
}

#[tokio::test]
async fn who_asks_a_busy_client_waits_for_a_turn() {
    let mut server = start_default().await;
    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    let connection = server_connected(&mut server, &mut socket).await;
    let ask_all = || {
        let mut asking = JoinSet::new();
        for _ in 0..=ASKED_MAX {
            let connection = connection.clone();
            let asked = Command::request(RequestCode::GetConsumerRunningInfo, Fields::default(), Bytes::new());
            asking.spawn(async move { connection.call(asked, &SystemClock, Duration::from_secs(60)).await });
        }
        asking
    };
    let answered = async {
        let answers = ask_all().join_all().await;
        answers.into_iter().filter(Result::is_ok).count()
    };
    let answer_all = async {
        for _ in 0..=ASKED_MAX {
            let asked = receive(&mut socket).await;
            send(&mut socket, &asked.answer(ResponseCode::Success)).await;
        }
    };
    let count = tokio::select! {
        count = answered => count,
        () = async { answer_all.await; pending::<()>().await } => unreachable!(),
    };
    assert_eq!(count, ASKED_MAX + 1);

    let asking = ask_all();
    for _ in 0..ASKED_MAX {
        receive(&mut socket).await;
    }
    connection.close();
    let answers = asking.join_all().await;
    let lost = answers.iter().filter(|answer| **answer == Err(CallError::Lost)).count();
    let unasked = answers.iter().filter(|answer| **answer == Err(CallError::Unasked)).count();
    assert_eq!((lost, unasked), (ASKED_MAX, 1));
}

#[tokio::test]
async fn no_more_wait_for_a_turn_than_may() {
    let mut server = start_default().await;
    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    let connection = server_connected(&mut server, &mut socket).await;
    let mut asking = JoinSet::new();
    for _ in 0..=ASKED_MAX + WAITING_MAX {
        let connection = connection.clone();
        let asked = Command::request(RequestCode::GetConsumerRunningInfo, Fields::default(), Bytes::new());
        asking.spawn(async move { connection.call(asked, &SystemClock, Duration::from_secs(60)).await });
    }
    // Nobody is answered before.
    assert_eq!(asking.join_next().await.expect("asks").expect("does not panic"), Err(CallError::Unasked));
    for _ in 0..ASKED_MAX + WAITING_MAX {
        let asked = receive(&mut socket).await;
        send(&mut socket, &asked.answer(ResponseCode::Success)).await;
    }
    assert!(asking.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_stop_answers_what_was_read() {
    let mut server = start_default().await;
    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    server_connected(&mut server, &mut socket).await;
    server.shutdown.cancel();
    server.gate.add_permits(1);
    assert_eq!(receive(&mut socket).await.opaque, Opaque(1));
    ended(&mut socket).await;
    server.task.await.expect("it returns");
    TcpStream::connect(server.address).await.expect_err("nobody listens");
}

/// Time that passes a quarter of the idle time at a permit, and of which no other time is ever over but that for TLS, at once.
struct Quarters(Arc<Semaphore>);

impl Clock for Quarters {
    fn now(&self) -> types::Timestamp {
        types::Timestamp(0)
    }

    fn moment(&self) -> Moment {
        Moment::default()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        let quarters = self.0.clone();
        Box::pin(async move {
            if duration == Options::default().handshake {
                return;
            }
            if duration != Options::default().idle / 4 {
                pending::<()>().await;
            }
            quarters.acquire().await.expect("open").forget();
        })
    }
}

#[tokio::test]
async fn a_connection_without_traffic_is_closed() {
    let quarters = Arc::new(Semaphore::new(0));
    let mut server = start(Options::default(), None, Arc::new(Quarters(quarters.clone()))).await;
    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    let connection = server_connected(&mut server, &mut socket).await;
    server.gate.add_permits(1);
    receive(&mut socket).await;
    quarters.add_permits(6);
    ended(&mut socket).await;
    assert_eq!(server.disconnected().await, connection.id());
}

#[tokio::test]
async fn a_client_that_does_not_go_on_with_tls_is_left_and_one_that_says_nothing_yet_is_not() {
    let identity = Identity::self_signed(vec!["localhost".to_owned()]).expect("made");
    let clock = Quarters(Arc::new(Semaphore::new(0)));
    let mut server = start(Options::default(), Some(&identity), Arc::new(clock)).await;
    let mut silent = TcpStream::connect(server.address).await.expect("listens");
    let mut socket = TcpStream::connect(server.address).await.expect("listens");
    socket.write_all(&[0x16]).await.expect("taken");
    ended(&mut socket).await;
    server_connected(&mut server, &mut silent).await;
}
