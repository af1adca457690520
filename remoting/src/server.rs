//! The server: one port for plaintext and TLS, a service a connection, bounds on everything that waits.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
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
use crate::accept::{accept, begin, no_certificate};
use crate::connection::{self, Connection, ConnectionId, Reader, Traffic};

/// How long what was answered may take to reach its client when the server ends.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// What a server serves.
pub trait Role: Send + Sync + 'static {
    /// A connection begins.
    fn connect(&self, connection: &Arc<Connection>);

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
    /// Requests of one connection that are being served; it is read no further until one is answered.
    pub in_flight_max: usize,
    /// Requests of all connections that are being served; a further one is answered with `SystemBusy`.
    pub requests_max: usize,
    /// Bytes of all frames that are being read or served; beyond it nothing is read. At least one frame.
    pub inbound_bytes_max: usize,
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
            inbound_bytes_max: 256 * 1024 * 1024,
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
        let connection = Connection::new(id, begun.remote);
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
        answers: mpsc::Sender<Bytes>,
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
        let stack = ServiceBuilder::new()
            // A request beyond the bound is refused at once, so that its client can ask somebody else.
            .load_shed()
            // Counts the requests of all connections.
            .layer(GlobalConcurrencyLimitLayer::with_semaphore(self.requests.clone()))
            .service(serve);
        let in_flight = Arc::new(Semaphore::new(self.options.in_flight_max));
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
            let answered = answer(stack.clone(), request, answers.clone());
            self.tasks.spawn(async move {
                answered.await;
                drop((turn, place));
            });
        }
    }
}

/// Has a request served and hands the answer to the writer.
async fn answer<S>(service: S, request: Command, answers: mpsc::Sender<Bytes>)
where
    S: Service<Command, Response = Command, Error = tower::BoxError>,
{
    let (code, is_oneway, busy) = (request.code, request.flag.is_oneway(), request.answer(ResponseCode::SystemBusy));
    let answer = service.oneshot(request).await.unwrap_or_else(|_| {
        let remark = Some("[OVERLOAD] too many requests are being served".to_owned());
        Command { remark, ..busy.clone() }
    });
    if is_oneway {
        return;
    }
    let mut frame = BytesMut::new();
    let written = remoting_proto::encode(&answer, &mut frame).or_else(|error| {
        let remark = Some(format!("the answer cannot be sent: {error}"));
        remoting_proto::encode(&Command { code: ResponseCode::SystemError.number(), remark, ..busy }, &mut frame)
    });
    match written {
        // An error means that the connection has ended, and nobody waits.
        Ok(()) => drop(answers.send(frame.freeze()).await),
        Err(error) => tracing::warn!(%error, code, "a request cannot be answered"),
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
