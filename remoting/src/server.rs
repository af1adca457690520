//! The server: one port for plaintext and TLS, a service a connection, bounds on everything that waits.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use env::Clock;
use remoting_proto::{Command, FRAME_BYTES_MAX, ResponseCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use crate::Network;
use crate::accept::{accept, begin, canonical, no_certificate};
use crate::connection::{self, Connection, ConnectionId, Frame, Reader, Traffic};

/// An answer of no more bytes takes no room among those that wait to be written.
const SMALL_ANSWER_BYTES: usize = 4096;
/// How long what was answered may take to reach its client when the server ends.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// What a server serves.
pub trait Role: Send + Sync + 'static {
    /// A connection begins.
    fn connect(&self, connection: &Arc<Connection>);

    /// Whether a request may be held back until something happens: such take no places of others.
    fn may_wait(&self, _request: &Command) -> bool {
        false
    }

    /// Whether a request changes nothing, so that its answer may become `SystemBusy` when too much waits to be read by its client. Who
    /// serves others with large answers looks at [`Connection::has_room`] before it does what they ask.
    fn only_reads(&self, _request: &Command) -> bool {
        true
    }

    /// Answers a request. The answer of a oneway request goes nowhere.
    fn serve(&self, connection: &Connection, request: Command) -> impl Future<Output = Command> + Send;

    /// It has ended, for whatever reason; called once, after all its requests were taken. Who holds a request back lets it go at
    /// [`Connection::unheard`], or this comes late.
    fn disconnect(&self, connection: &Connection);
}

/// Bounds of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections at a time; a further one is closed at once.
    pub connections_max: usize,
    /// Requests of one connection that are being served, without those that may wait; it is read no further until one is answered.
    pub in_flight_max: usize,
    /// Requests of all connections that are being served, without those that may wait; a further one is answered with `SystemBusy`.
    pub requests_max: usize,
    /// Requests of one connection that may wait ([`Role::may_wait`]); a further one is answered with `SystemBusy`.
    pub waiting_max: usize,
    /// The same of all connections.
    pub waiting_all_max: usize,
    /// Bytes of all frames that are being read or served; beyond it nothing is read. At least one frame.
    pub inbound_bytes_max: usize,
    /// Bytes of the frames of requests that wait, of all connections.
    pub waiting_bytes_max: usize,
    /// Bytes of answers of one connection that wait to be written, without small ones; the answer to a request that only reads becomes
    /// `SystemBusy` when there is no room for it. At least one frame.
    pub outbound_bytes_max: usize,
    /// A connection without traffic is closed after this time, at most a quarter of it later.
    pub idle: Duration,
    /// How long a client may take to agree on TLS. Its first byte may take as long as any other: Apache's clients connect to
    /// name servers before they have anything to say.
    pub handshake: Duration,
    /// How long requests may take to be answered when the server ends.
    pub drain: Duration,
    /// Whose connections may begin with a PROXY header, which names the client that they are for.
    pub balancers: Vec<Network>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            in_flight_max: 1024,
            requests_max: 10_000,
            waiting_max: 16_384,
            waiting_all_max: 100_000,
            inbound_bytes_max: 256 * 1024 * 1024,
            waiting_bytes_max: 256 * 1024 * 1024,
            outbound_bytes_max: 64 * 1024 * 1024,
            // Source: Apache 5.5 `NettyServerConfig`.
            idle: Duration::from_secs(120),
            handshake: Duration::from_secs(10),
            drain: Duration::from_secs(5),
            balancers: Vec::new(),
        }
    }
}

/// A server that is not listening yet.
pub struct Server<R> {
    role: Arc<R>,
    options: Options,
    tls: Option<TlsAcceptor>,
    clock: Arc<dyn Clock>,
    requests: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    waiting_bytes: Arc<Semaphore>,
    inbound: Arc<Semaphore>,
    ids: AtomicU64,
    /// Where it listens besides.
    more: Vec<TcpListener>,
    draining: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl<R: Role> Server<R> {
    /// A server of `role`; without a certificate clients that speak TLS are refused.
    #[must_use]
    pub fn new(role: Arc<R>, options: Options, tls: Option<Arc<rustls::ServerConfig>>, clock: Arc<dyn Clock>) -> Self {
        let inbound_bytes = options.inbound_bytes_max.max(FRAME_BYTES_MAX);
        Self {
            role,
            tls: tls.map(TlsAcceptor::from),
            clock,
            requests: Arc::new(Semaphore::new(options.requests_max)),
            waiting: Arc::new(Semaphore::new(options.waiting_all_max)),
            waiting_bytes: Arc::new(Semaphore::new(connection::permits(options.waiting_bytes_max))),
            inbound: Arc::new(Semaphore::new(connection::permits(inbound_bytes))),
            ids: AtomicU64::new(0),
            more: Vec::new(),
            draining: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            options,
        }
    }

    /// Serves who comes to another listener too, within the same bounds.
    #[must_use]
    pub fn also_on(mut self, listener: TcpListener) -> Self {
        self.more.push(listener);
        self
    }

    /// Serves until `shutdown`, then reads nothing more, answers what was read and returns, at the latest after
    /// [`Options::drain`].
    pub async fn serve(mut self, listener: TcpListener, shutdown: CancellationToken) {
        // The first that is ready is taken: the one that most clients use is asked first.
        let mut listeners = vec![listener];
        listeners.append(&mut self.more);
        let server = Arc::new(self);
        tokio::select! {
            () = server.accept(&listeners) => {}
            () = shutdown.cancelled() => {}
        }
        drop(listeners);
        server.draining.cancel();
        server.tasks.close();
        tokio::select! {
            () = server.tasks.wait() => return,
            () = server.clock.sleep(server.options.drain) => {}
        }
        tracing::warn!(open = server.tasks.len(), "requests did not finish in time and are cut off");
        server.abort.cancel();
        tokio::select! {
            () = server.tasks.wait() => {}
            () = server.clock.sleep(ABORT_GRACE) => {}
        }
    }

    async fn accept(self: &Arc<Self>, listeners: &[TcpListener]) {
        let serve = |stream, place| drop(self.tasks.spawn(self.clone().serve_connection(stream, place)));
        accept(listeners, self.options.connections_max, |time| self.clock.sleep(time), serve).await;
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream, _place: OwnedSemaphorePermit) {
        let greeted = tokio::select! {
            greeted = self.greet(stream) => greeted,
            // Nothing was begun on this connection: it does not hold up the end.
            () = self.draining.cancelled() => return,
        };
        match greeted {
            Ok((Greeted::Plain(stream), connection)) => self.serve_frames(stream, connection).await,
            Ok((Greeted::Tls(stream), connection)) => self.serve_frames(*stream, connection).await,
            // Port scanners, half-open connections, clients with the wrong protocol: no news.
            Err(error) => tracing::debug!(%error, "connection refused"),
        }
    }

    /// Finds out what the client speaks.
    async fn greet(&self, mut stream: TcpStream) -> io::Result<(Greeted, Connection)> {
        stream.set_nodelay(true)?;
        let id = ConnectionId(self.ids.fetch_add(1, Ordering::Relaxed));
        let begun = begin(&mut stream, &self.options.balancers, |time| self.clock.sleep(time));
        let begun = self.within(self.options.idle, begun).await?;
        let outbound_bytes_max = self.options.outbound_bytes_max.max(FRAME_BYTES_MAX);
        let local = canonical(stream.local_addr()?);
        let connection = Connection::new(id, (begun.remote, local), outbound_bytes_max);
        if !begun.is_tls {
            return Ok((Greeted::Plain(stream), connection));
        }
        let tls = self.tls.as_ref().ok_or_else(no_certificate)?;
        let accepted = self.within(self.options.handshake, tls.accept(stream)).await?;
        Ok((Greeted::Tls(Box::new(accepted)), connection))
    }

    async fn within<T>(&self, time: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::select! {
            done = work => done,
            () = self.clock.sleep(time) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn serve_frames<S>(&self, stream: S, connection: Connection)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let connection = Arc::new(connection);
        let (socket, sink) = tokio::io::split(stream);
        let (answers, frames) = mpsc::channel(self.options.in_flight_max);
        connection.opened(&answers);
        let answers = Answers { frames: answers, room: connection.room.clone() };
        self.role.connect(&connection);
        let traffic = Arc::<Traffic>::default();
        let reader =
            Reader { socket, buffer: BytesMut::new(), traffic: traffic.clone(), inbound: self.inbound.clone() };
        let both = async {
            tokio::try_join!(self.read(reader, &connection, answers), connection::write(sink, frames, &traffic))
                .map(drop)
        };
        let ended = tokio::select! {
            ended = both => ended,
            idle = traffic.idle(&*self.clock, self.options.idle) => Err(idle),
            () = connection.closed() => Ok(()),
            () = self.abort.cancelled() => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(remote = %connection.remote(), %error, "connection ended");
        }
        connection.ended();
        self.role.disconnect(&connection);
    }

    /// Reads requests and has them served side by side, until the peer or the server ends.
    async fn read<S>(
        &self,
        mut reader: Reader<S>,
        connection: &Arc<Connection>,
        answers: Answers,
    ) -> Result<(), connection::Error>
    where
        S: AsyncRead + Unpin,
    {
        let _heard = connection.hear();
        let (role, served) = (self.role.clone(), connection.clone());
        let serve = service_fn(move |request| {
            let (role, connection) = (role.clone(), served.clone());
            async move { Ok::<_, Infallible>(role.serve(&connection, request).await) }
        });
        let stack = |all: &Arc<Semaphore>| {
            ServiceBuilder::new()
                // A request beyond the bound is refused at once, so that its client can ask somebody else.
                .load_shed()
                // Counts the requests of all connections.
                .layer(GlobalConcurrencyLimitLayer::with_semaphore(all.clone()))
                .service(serve.clone())
        };
        let (at_once, waits) = (stack(&self.requests), stack(&self.waiting));
        let in_flight = Arc::new(Semaphore::new(self.options.in_flight_max));
        let waiting = Arc::new(Semaphore::new(self.options.waiting_max));
        loop {
            let Ok(turn) = in_flight.clone().acquire_owned().await else { return Ok(()) };
            let read = tokio::select! {
                read = reader.next() => read?,
                () = self.draining.cancelled() => None,
            };
            let Some((request, place)) = read else { return Ok(()) };
            if request.flag.is_response() {
                connection.answered(request);
                continue;
            }
            let asked = Asked::of(&request, self.role.only_reads(&request));
            let (service, turn, place) = if self.role.may_wait(&request) {
                drop(turn);
                // Less than a frame has.
                let bytes = place.num_permits() as u32;
                let own = waiting.clone().try_acquire_owned().ok();
                let Some((turn, place)) = own.zip(self.waiting_bytes.clone().try_acquire_many_owned(bytes).ok()) else {
                    answers.refuse(&asked, "[OVERLOAD] too many requests wait").await;
                    continue;
                };
                (waits.clone(), turn, place)
            } else {
                (at_once.clone(), turn, place)
            };
            let answered = answer(service, request, asked, answers.clone());
            self.tasks.spawn(async move {
                answered.await;
                drop((turn, place));
            });
        }
    }
}

/// Has a request served and hands the answer to the writer.
async fn answer<S>(service: S, request: Command, asked: Asked, answers: Answers)
where
    S: Service<Command, Response = Command, Error = tower::BoxError>,
{
    match service.oneshot(request).await {
        Ok(answer) => answers.send(&asked, answer).await,
        Err(_) => answers.refuse(&asked, "[OVERLOAD] too many requests are being served").await,
    }
}

/// What the answer to a request needs of it, whose fields and body belong to who serves it.
struct Asked {
    code: i32,
    is_oneway: bool,
    only_reads: bool,
    /// An answer that says nothing yet.
    answer: Command,
}

impl Asked {
    fn of(request: &Command, only_reads: bool) -> Self {
        let answer = request.answer(ResponseCode::SystemBusy);
        Self { code: request.code, is_oneway: request.flag.is_oneway(), only_reads, answer }
    }
}

/// Where the answers of one connection go.
#[derive(Clone)]
struct Answers {
    frames: mpsc::Sender<Frame>,
    /// What those that wait to be written may have.
    room: Arc<Semaphore>,
}

impl Answers {
    /// Hands an answer to the writer, unless nobody expects one.
    async fn send(&self, asked: &Asked, answer: Command) {
        if asked.is_oneway {
            return;
        }
        let mut frame = BytesMut::new();
        if let Err(error) = remoting_proto::encode(&answer, &mut frame) {
            return self.fail(asked, ResponseCode::SystemError, format!("the answer cannot be sent: {error}")).await;
        }
        let frame = frame.freeze();
        if frame.len() <= SMALL_ANSWER_BYTES {
            return self.write(frame.into()).await;
        }
        let frame = Frame::within(&self.room, frame);
        if asked.only_reads && !frame.has_room() {
            return self.refuse(asked, "[OVERLOAD] too many bytes of answers wait to be read by this client").await;
        }
        self.write(frame).await;
    }

    /// Answers that it cannot be done now.
    async fn refuse(&self, asked: &Asked, why: &str) {
        if !asked.is_oneway {
            self.fail(asked, ResponseCode::SystemBusy, why.to_owned()).await;
        }
    }

    async fn fail(&self, asked: &Asked, code: ResponseCode, why: String) {
        let mut frame = BytesMut::new();
        let answer = Command { code: code.number(), remark: Some(why), ..asked.answer.clone() };
        match remoting_proto::encode(&answer, &mut frame) {
            Ok(()) => self.write(frame.freeze().into()).await,
            Err(error) => tracing::warn!(%error, code = asked.code, "a request cannot be answered"),
        }
    }

    async fn write(&self, frame: Frame) {
        // An error means that the connection has ended, and nobody waits.
        drop(self.frames.send(frame).await);
    }
}

/// What a client turned out to speak, below Remoting.
enum Greeted {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

impl<R> std::fmt::Debug for Server<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("options", &self.options).finish_non_exhaustive()
    }
}
