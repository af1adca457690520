//! The client: one connection to one address, shared by all who ask there, opened when it is needed and again when it was lost.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use env::Clock;
use parking_lot::Mutex;
use remoting_proto::{Command, FRAME_BYTES_MAX, Opaque};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::back_off::BackOff;
use crate::connection::{self, Reader, Traffic};
use crate::in_flight::InFlight;
use crate::trust::Trust;

/// Requests of one client that wait for their answers, unless it stands in for another.
pub const IN_FLIGHT_MAX: usize = 1024;
/// Longest greeting, in bytes of its frame: a heartbeat with some hundred subscriptions.
pub const GREETING_BYTES_MAX: usize = 64 * 1024;
/// Longest time to open a connection. Source: Apache 5.5 `NettyClientConfig`.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Bytes of answers that were not handed on yet.
const INBOUND_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// Why a request has no answer. Whether it was served is known only of the first three: it was not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address does not take a connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// It did not before, and is tried again later.
    #[error("{address} did not take a connection and is tried again in {wait:?}")]
    BackOff {
        /// The address.
        address: String,
        /// When.
        wait: Duration,
    },
    /// Too many requests wait.
    #[error("{in_flight_max} requests to {address} wait for their answers, which is the limit")]
    Busy {
        /// The address.
        address: String,
        /// The limit.
        in_flight_max: usize,
    },
    /// It fits in no frame.
    #[error("the request cannot be sent: {0}")]
    Frame(#[from] remoting_proto::Error),
    /// The connection has ended.
    #[error("the connection to {address} was lost")]
    Lost {
        /// The address.
        address: String,
    },
    /// The time is over.
    #[error("{address} did not answer within {within:?}")]
    TimedOut {
        /// The address.
        address: String,
        /// The time.
        within: Duration,
    },
}

/// A client of one address; copies share the connection, which ends with the last of them.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    address: String,
    clock: Arc<dyn Clock>,
    /// Whom it believes; without it speaks in plaintext.
    trust: Option<Trust>,
    /// Takes what the peer asks.
    asked: Option<mpsc::Sender<Question>>,
    in_flight_max: usize,
    greeting: Greeting,
    /// Held while a connection is opened, so that all who need it wait for the same one. Without a back-off it is tried whenever it is needed.
    link: tokio::sync::Mutex<(Option<Link>, Option<BackOff>)>,
}

impl Inner {
    fn new(address: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            address: address.into(),
            clock,
            trust: None,
            asked: None,
            in_flight_max: IN_FLIGHT_MAX,
            greeting: Greeting::default(),
            link: tokio::sync::Mutex::new((None, Some(BackOff::default()))),
        }
    }
}

/// An open connection.
struct Link {
    sender: Sender,
    /// Ends the connection's task.
    _guard: DropGuard,
}

/// What a request needs of it.
#[derive(Clone)]
struct Sender {
    frames: mpsc::Sender<connection::Frame>,
    /// Held to add or take one.
    in_flight: Arc<Mutex<InFlight<oneshot::Sender<Command>>>>,
    traffic: Arc<Traffic>,
    /// Ends the connection, for all who share it.
    ended: CancellationToken,
}

/// What the peer asks.
#[derive(Debug)]
pub struct Question {
    /// It.
    pub request: Command,
    /// To the peer, on the connection on which it asked.
    frames: mpsc::Sender<connection::Frame>,
}

impl Question {
    /// Answers it; on return the answer waits to be written. It is lost when the connection has ended, as who asked is gone then.
    ///
    /// # Errors
    /// The answer fits in no frame.
    pub async fn answer(self, answer: Command) -> Result<(), remoting_proto::Error> {
        let mut frame = BytesMut::new();
        remoting_proto::encode(&Command { opaque: self.request.opaque, ..answer }, &mut frame)?;
        drop(self.frames.send(frame.freeze().into()).await);
        Ok(())
    }
}

/// The request, without an answer, that connections of clients begin with: those of all that have a copy.
#[derive(Clone, Debug, Default)]
pub struct Greeting(Arc<Mutex<Option<Bytes>>>);

impl Greeting {
    /// Connections opened from now on begin with it, or with nothing if it has more than [`GREETING_BYTES_MAX`].
    pub fn set(&self, request: Command) {
        let mut frame = BytesMut::new();
        let is_short =
            remoting_proto::encode(&request.oneway(), &mut frame).is_ok() && frame.len() <= GREETING_BYTES_MAX;
        *self.0.lock() = is_short.then(|| frame.freeze());
    }

    /// There is none from now on.
    pub fn clear(&self) {
        *self.0.lock() = None;
    }

    fn frame(&self) -> Option<Bytes> {
        self.0.lock().clone()
    }
}

impl Client {
    /// A client of `address` (`HOST:PORT`), not connected yet.
    #[must_use]
    pub fn new(address: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self::of(Inner::new(address, clock))
    }

    /// One that tries again whenever it is needed: who uses it knows how long to wait after a failure.
    #[must_use]
    pub fn eager(address: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self::of(Inner { link: tokio::sync::Mutex::new((None, None)), ..Inner::new(address, clock) })
    }

    /// One that speaks TLS.
    #[must_use]
    pub fn secret(address: impl Into<String>, clock: Arc<dyn Clock>, trust: Trust) -> Self {
        Self::of(Inner { trust: Some(trust), ..Inner::new(address, clock) })
    }

    /// One that also hands on what the peer asks on the connection. While `asked` has no room, answers behind it wait too.
    #[must_use]
    pub fn listening(address: impl Into<String>, clock: Arc<dyn Clock>, asked: mpsc::Sender<Question>) -> Self {
        Self::of(Inner { asked: Some(asked), ..Inner::new(address, clock) })
    }

    /// One that listens too and stands in for a client of a server's: for as many requests as that may have under way, and each of its
    /// connections begins with the greeting, if there is one then.
    #[must_use]
    pub fn standing_in(
        address: impl Into<String>,
        clock: Arc<dyn Clock>,
        asked: mpsc::Sender<Question>,
        in_flight_max: usize,
        greeting: Greeting,
    ) -> Self {
        Self::of(Inner { asked: Some(asked), in_flight_max, greeting, ..Inner::new(address, clock) })
    }

    fn of(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Asks and waits for the answer, whatever its code. When the time is over and nothing at all came since the request was sent, the
    /// connection is taken for dead and ends, and the next request opens another.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn call(&self, request: Command, within: Duration) -> Result<Command, Error> {
        let asked = OnceLock::new();
        let done = self.within(within, async {
            let sender = self.sender().await?;
            let _ = asked.set((sender.clone(), sender.traffic.reads()));
            let (tell, told) = oneshot::channel();
            let in_flight_max = self.0.in_flight_max;
            let busy = || Error::Busy { address: self.address(), in_flight_max };
            let opaque = sender.in_flight.lock().add(tell).ok_or_else(busy)?;
            // However this ends, nobody waits under the number any longer.
            let _place = Place { sender: &sender, opaque };
            self.send(&sender, Command { opaque, ..request }).await?;
            told.await.map_err(|_| Error::Lost { address: self.address() })
        });
        let done = done.await;
        if let (Err(Error::TimedOut { .. }), Some((sender, reads))) = (&done, asked.get())
            && sender.traffic.reads() == *reads
        {
            sender.ended.cancel();
        }
        done
    }

    /// Sends a request that gets no answer; on return it waits to be written.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn oneway(&self, request: Command, within: Duration) -> Result<(), Error> {
        self.within(within, async { self.send(&self.sender().await?, request.oneway()).await }).await
    }

    async fn within<T>(&self, within: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.0.clock.sleep(within) => Err(Error::TimedOut { address: self.address(), within }),
        }
    }

    async fn send(&self, sender: &Sender, request: Command) -> Result<(), Error> {
        let mut frame = BytesMut::new();
        remoting_proto::encode(&request, &mut frame)?;
        sender.frames.send(frame.freeze().into()).await.map_err(|_| Error::Lost { address: self.address() })
    }

    /// The connection's, or that of a new one.
    async fn sender(&self) -> Result<Sender, Error> {
        let mut guard = self.0.link.lock().await;
        let (link, back_off) = &mut *guard;
        let is_open = |link: &&Link| !link.sender.frames.is_closed() && !link.sender.ended.is_cancelled();
        if let Some(link) = link.as_ref().filter(is_open) {
            return Ok(link.sender.clone());
        }
        *link = None;
        let wait = back_off.as_ref().map_or(Duration::ZERO, |back_off| back_off.wait(self.0.clock.now()));
        if !wait.is_zero() {
            return Err(Error::BackOff { address: self.address(), wait });
        }
        let opened = tokio::select! {
            opened = self.open() => opened,
            () = self.0.clock.sleep(CONNECT_WITHIN) => Err(io::ErrorKind::TimedOut.into()),
        };
        match opened {
            Ok(opened) => {
                back_off.iter_mut().for_each(BackOff::succeeded);
                Ok(link.insert(opened).sender.clone())
            }
            Err(source) => {
                back_off.iter_mut().for_each(|back_off| back_off.failed(self.0.clock.now()));
                Err(Error::Connect { address: self.address(), source })
            }
        }
    }

    async fn open(&self) -> io::Result<Link> {
        let stream = TcpStream::connect(&self.0.address).await?;
        stream.set_nodelay(true)?;
        let Some(trust) = &self.0.trust else {
            let (socket, sink) = stream.into_split();
            return Ok(self.start(socket, sink));
        };
        let (socket, sink) = tokio::io::split(trust.connect(&self.0.address, stream).await?);
        Ok(self.start(socket, sink))
    }

    /// Runs a connection in a task of its own, which ends with it or with the guard.
    fn start<R, W>(&self, socket: R, sink: W) -> Link
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (frames, outbound) = mpsc::channel(IN_FLIGHT_MAX);
        if let Some(greeting) = self.0.greeting.frame() {
            // There is room: it is the first.
            drop(frames.try_send(greeting.into()));
        }
        let in_flight = Arc::new(Mutex::new(InFlight::new(self.0.in_flight_max)));
        let ended = CancellationToken::new();
        let traffic = Arc::<Traffic>::default();
        let inbound = Arc::new(Semaphore::new(connection::permits(INBOUND_BYTES_MAX)));
        let reader = Reader { socket, buffer: BytesMut::new(), traffic: traffic.clone(), inbound };
        let asked = self.0.asked.clone().map(|asked| (asked, frames.clone()));
        let sender = Sender { frames, in_flight: in_flight.clone(), traffic: traffic.clone(), ended: ended.clone() };
        let guard = ended.clone().drop_guard();
        tokio::spawn(async move {
            let outcome = tokio::select! {
                read = read(reader, &in_flight, asked.as_ref()) => read,
                written = connection::write(sink, outbound, &traffic) => written,
                () = ended.cancelled() => Ok(()),
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "connection ended");
            }
            // All who wait learn at once that there will be no answer.
            in_flight.lock().close();
        });
        Link { sender, _guard: guard }
    }

    fn address(&self) -> String {
        self.0.address.clone()
    }
}

/// A place among those who wait.
struct Place<'a> {
    sender: &'a Sender,
    opaque: Opaque,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.sender.in_flight.lock().take(self.opaque);
    }
}

/// Hands answers to who waits for them and what the peer asks to who listens, until the peer ends.
async fn read<R: AsyncRead + Unpin>(
    mut reader: Reader<R>,
    in_flight: &Mutex<InFlight<oneshot::Sender<Command>>>,
    asked: Option<&(mpsc::Sender<Question>, mpsc::Sender<connection::Frame>)>,
) -> Result<(), connection::Error> {
    while let Some((answer, _place)) = reader.next().await? {
        if !answer.flag.is_response() {
            let code = answer.code;
            let is_taken = match asked {
                Some((asked, frames)) => {
                    let question = Question { request: answer, frames: frames.clone() };
                    asked.send(question).await.is_ok()
                }
                None => false,
            };
            if !is_taken {
                tracing::debug!(code, "a request of the server's is left alone");
            }
            continue;
        }
        let waiter = in_flight.lock().take(answer.opaque);
        // Nobody waits for one that comes too late, or waits for it no longer.
        if let Some(waiter) = waiter {
            let _ = waiter.send(answer);
        }
    }
    Ok(())
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.0.address).finish_non_exhaustive()
    }
}
