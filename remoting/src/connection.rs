//! One connection's sockets: frames in, frames out, and when it ends.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use env::Clock;
use parking_lot::Mutex;
use remoting_proto::{Command, Opaque};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::in_flight::InFlight;

/// Bytes that the read buffer grows by; a frame that is announced larger costs no more until it comes.
const READ_BYTES: usize = 16 * 1024;
/// Bytes of answers that are put together for one write.
const WRITE_BYTES_MAX: usize = 256 * 1024;
/// Looks at an idle connection within its time.
const IDLE_LOOKS: u32 = 4;
/// What one permit of the inbound bound stands for.
const PERMIT_BYTES: usize = 1024;

/// Requests of a server to one client that wait for their answers at a time; further ones wait for their turn.
pub const ASKED_MAX: usize = 64;
/// Requests to one client that wait for their turn at a time; further ones are not asked. Together with [`ASKED_MAX`] fewer than the
/// requests of a connection that are served side by side by default: who waits for one client does not keep another from being read.
pub const WAITING_MAX: usize = 4 * ASKED_MAX;

/// Tells connections of one server apart; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What a role knows of a connection, and how it ends one.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    remote: SocketAddr,
    local: SocketAddr,
    closed: CancellationToken,
    /// Cancelled when nothing more is read from it.
    unheard: CancellationToken,
    /// What is written to it, once frames are read from it. Weak, so that who remembers a connection does not keep it open.
    frames: OnceLock<mpsc::WeakSender<Frame>>,
    /// What answers that wait to be written may have.
    pub(crate) room: Arc<Semaphore>,
    /// What the peer was asked and has not answered. Held to add or take one.
    asked: Mutex<InFlight<oneshot::Sender<Command>>>,
    /// One for each that is asked or waits for its turn.
    places: Semaphore,
    /// One for each that it may be asked at a time; closed when it has ended.
    turns: Semaphore,
}

/// Why a client did not answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It has ended, or too much waits to be written to it, or too many wait for their turn.
    #[error("the client cannot be asked now")]
    Unasked,
    /// It ended before it answered.
    #[error("the client's connection ended")]
    Lost,
    /// The time is over.
    #[error("the client did not answer within {0:?}")]
    TimedOut(Duration),
}

impl Connection {
    pub(crate) fn new(id: ConnectionId, (remote, local): (SocketAddr, SocketAddr), outbound_bytes: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(permits(outbound_bytes))),
            id,
            remote,
            local,
            closed: CancellationToken::new(),
            unheard: CancellationToken::new(),
            frames: OnceLock::new(),
            asked: Mutex::new(InFlight::new(ASKED_MAX)),
            places: Semaphore::new(ASKED_MAX + WAITING_MAX),
            turns: Semaphore::new(ASKED_MAX),
        }
    }

    /// Which it is.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Where the peer is.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The address of this machine to which it came.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether an answer of so many bytes may wait to be written now, behind those that the peer has not read.
    pub fn has_room(&self, bytes: usize) -> bool {
        bytes.div_ceil(PERMIT_BYTES) <= self.room.available_permits()
    }

    /// Ends it, with whatever is under way. [`Role::disconnect`](crate::Role::disconnect) follows.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Waits until nothing more is read from it, for whatever reason. A request that only waits for something is to be answered
    /// then: the connection ends when its last request is answered.
    pub async fn unheard(&self) {
        self.unheard.cancelled().await;
    }

    /// Nothing more is read from it when the guard is gone.
    pub(crate) fn hear(&self) -> DropGuard {
        self.unheard.clone().drop_guard()
    }

    /// Sends the peer a request that it does not answer. It waits behind the answers that wait to be written; with as many of them
    /// as the connection may have, or when it has ended, the request is lost: `false`.
    pub fn oneway(&self, request: Command) -> bool {
        self.send(&request.oneway())
    }

    /// Asks the peer and waits for its answer, whatever its code. With [`ASKED_MAX`] requests under way it waits first until one of them
    /// is answered, in the order in which they came, of which [`WAITING_MAX`] may wait; then to be written, as [`Connection::oneway`] does.
    ///
    /// # Errors
    /// [`CallError`]; the time counts from the call on.
    pub async fn call(&self, request: Command, clock: &dyn Clock, within: Duration) -> Result<Command, CallError> {
        tokio::select! {
            biased;
            answered = self.ask(request) => answered,
            () = clock.sleep(within) => Err(CallError::TimedOut(within)),
        }
    }

    async fn ask(&self, request: Command) -> Result<Command, CallError> {
        let _waits = self.places.try_acquire().map_err(|_| CallError::Unasked)?;
        let _turn = self.turns.acquire().await.map_err(|_| CallError::Unasked)?;
        let (tell, told) = oneshot::channel();
        let opaque = self.asked.lock().add(tell).ok_or(CallError::Unasked)?;
        // However this ends, nobody waits under the number any longer.
        let _place = Place { connection: self, opaque };
        if !self.send(&Command { opaque, ..request }) {
            return Err(CallError::Unasked);
        }
        told.await.map_err(|_| CallError::Lost)
    }

    /// Hands an answer of the peer's to who waits for it; one that comes too late finds nobody.
    pub(crate) fn answered(&self, answer: Command) {
        let opaque = answer.opaque.0;
        let waiter = self.asked.lock().take(answer.opaque);
        if waiter.is_none_or(|waiter| waiter.send(answer).is_err()) {
            tracing::debug!(opaque, remote = %self.remote, "an answer that nobody waits for");
        }
    }

    /// Nobody waits for its answers, or to ask it, any longer.
    pub(crate) fn ended(&self) {
        self.turns.close();
        self.asked.lock().close();
    }

    fn send(&self, request: &Command) -> bool {
        let mut frame = BytesMut::new();
        if let Err(error) = remoting_proto::encode(request, &mut frame) {
            tracing::warn!(%error, remote = %self.remote, "a client cannot be asked");
            return false;
        }
        let frames = self.frames.get().and_then(mpsc::WeakSender::upgrade);
        frames.is_some_and(|frames| frames.try_send(frame.freeze().into()).is_ok())
    }

    /// Requests go here from now on; called once.
    pub(crate) fn opened(&self, frames: &mpsc::Sender<Frame>) {
        drop(self.frames.set(frames.downgrade()));
    }

    /// Waits until somebody ends it.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

/// A place among those who wait for a peer's answers.
struct Place<'a> {
    connection: &'a Connection,
    opaque: Opaque,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.connection.asked.lock().take(self.opaque);
    }
}

/// Why nothing more is read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Frame(#[from] remoting_proto::Error),
    #[error("the peer ended within a frame")]
    Cut,
    #[error("no traffic for {0:?}")]
    Idle(Duration),
}

/// Counts what goes in and out, to see when nothing does.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Both ways.
    all: AtomicU64,
    read: AtomicU64,
}

impl Traffic {
    fn add(&self) {
        self.all.fetch_add(1, Ordering::Relaxed);
    }

    /// How often something came in.
    pub(crate) fn reads(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Completes when nothing has gone in or out for `idle`, at most a quarter of it later.
    pub(crate) async fn idle(&self, clock: &dyn Clock, idle: Duration) -> Error {
        let (mut seen, mut quiet) = (self.all.load(Ordering::Relaxed), 0);
        while quiet <= IDLE_LOOKS {
            clock.sleep(idle / IDLE_LOOKS).await;
            let now = self.all.load(Ordering::Relaxed);
            quiet = if now == seen { quiet + 1 } else { 0 };
            seen = now;
        }
        Error::Idle(idle)
    }
}

/// Reads commands.
pub(crate) struct Reader<R> {
    pub(crate) socket: R,
    pub(crate) buffer: BytesMut,
    pub(crate) traffic: Arc<Traffic>,
    /// What all connections' frames may have, from their announcement to their answer.
    pub(crate) inbound: Arc<Semaphore>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// The next command and its share of the inbound bound, to be kept until it is answered; `None` when the peer has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<(Command, OwnedSemaphorePermit)>, Error> {
        let frame_bytes = loop {
            match remoting_proto::announced(&self.buffer)? {
                Some(frame_bytes) => break frame_bytes,
                None if !self.read().await? => return if self.buffer.is_empty() { Ok(None) } else { Err(Error::Cut) },
                None => {}
            }
        };
        let place = place(&self.inbound, frame_bytes).await?;
        while self.buffer.len() < frame_bytes {
            if !self.read().await? {
                return Err(Error::Cut);
            }
        }
        let frame = self.buffer.split_to(frame_bytes).freeze();
        Ok(Some((remoting_proto::decode(frame)?, place)))
    }

    /// Whether there was anything.
    async fn read(&mut self) -> std::io::Result<bool> {
        self.buffer.reserve(READ_BYTES);
        let bytes = self.socket.read_buf(&mut self.buffer).await?;
        self.traffic.add();
        self.traffic.read.fetch_add(1, Ordering::Relaxed);
        Ok(bytes > 0)
    }
}

/// Waits for room: who sends more than is served is read no further.
async fn place(inbound: &Arc<Semaphore>, frame_bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
    // A frame has at most 16 MiB.
    let permits = frame_bytes.div_ceil(PERMIT_BYTES) as u32;
    inbound.clone().acquire_many_owned(permits).await.map_err(|_| Error::Cut)
}

/// Permits that stand for a number of bytes.
pub(crate) const fn permits(bytes: usize) -> usize {
    bytes / PERMIT_BYTES
}

/// A frame on its way out.
pub(crate) struct Frame {
    bytes: Bytes,
    /// Its share of what may wait to be written, until it is.
    room: Option<OwnedSemaphorePermit>,
}

impl From<Bytes> for Frame {
    /// One that takes no room.
    fn from(bytes: Bytes) -> Self {
        Self { bytes, room: None }
    }
}

impl Frame {
    /// One that takes its share of the room, if there is enough.
    pub(crate) fn within(room: &Arc<Semaphore>, bytes: Bytes) -> Self {
        // A frame has at most 16 MiB.
        let permits = bytes.len().div_ceil(PERMIT_BYTES) as u32;
        let room = room.clone().try_acquire_many_owned(permits).ok();
        Self { bytes, room }
    }

    /// Whether it takes its share.
    pub(crate) fn has_room(&self) -> bool {
        self.room.is_some()
    }
}

/// Writes frames until all who could send one are gone. What waits goes out in one write.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    mut socket: W,
    mut frames: mpsc::Receiver<Frame>,
    traffic: &Traffic,
) -> Result<(), Error> {
    let (mut out, mut rooms) = (BytesMut::new(), Vec::new());
    let add = |out: &mut BytesMut, rooms: &mut Vec<_>, frame: Frame| {
        out.extend_from_slice(&frame.bytes);
        rooms.extend(frame.room);
    };
    while let Some(frame) = frames.recv().await {
        add(&mut out, &mut rooms, frame);
        while out.len() < WRITE_BYTES_MAX
            && let Ok(frame) = frames.try_recv()
        {
            add(&mut out, &mut rooms, frame);
        }
        socket.write_all(&out).await?;
        socket.flush().await?;
        traffic.add();
        out.clear();
        rooms.clear();
    }
    Ok(socket.shutdown().await?)
}
