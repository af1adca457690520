//! The network between two machines: slow, parted one way or both, cut.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use broker::replication::Master;
use env::clock::BoxFuture;
use env::{Clock, Tasks};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::Notify;

/// Room on each stretch of the way, as of a socket's buffers.
const ROOM_BYTES: usize = 64 * 1024;
/// Most bytes that arrive at once.
const PIECE_BYTES: usize = 4 * 1024;

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the slave to its master.
    There,
    /// From the master to its slave.
    Back,
}

/// Where slaves reach the master, while there is one.
pub(crate) type Port = Arc<Mutex<Option<Listening>>>;

/// A master that takes slaves.
#[derive(Clone)]
pub(crate) struct Listening {
    pub(crate) master: Arc<Master>,
    /// The threads of its process.
    pub(crate) tasks: Arc<dyn Tasks>,
}

/// What lies between one slave and its master. Clones are the same wire.
#[derive(Clone)]
pub(crate) struct Wire {
    port: Port,
    clock: Arc<dyn Clock>,
    /// Held for a look or a change.
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

struct State {
    rng: fastrand::Rng,
    /// Longest time that a piece takes, in milliseconds.
    late_ms_max: u64,
    is_parted: [bool; 2],
    /// Connections so far.
    connections: u64,
    /// Those before are cut.
    cut_before: u64,
    /// On those before nothing arrives any more, and nobody is told.
    dark_before: u64,
}

impl Wire {
    pub(crate) fn new(port: Port, clock: Arc<dyn Clock>, rng: fastrand::Rng, late_ms_max: u64) -> Self {
        let state = State { rng, late_ms_max, is_parted: [false; 2], connections: 0, cut_before: 0, dark_before: 0 };
        Self { port, clock, state: Arc::new(Mutex::new(state)), changed: Arc::new(Notify::new()) }
    }

    /// From now on nothing arrives on these ways; what is on its way does when they are open again.
    pub(crate) fn part(&self, there: bool, back: bool) {
        self.change(|state| state.is_parted = [there, back]);
    }

    /// Ends the connection that there is, for both.
    pub(crate) fn cut(&self) {
        self.change(|state| state.cut_before = state.connections);
    }

    /// The connection that there is brings nothing any more, and nobody is told: a machine has gone.
    pub(crate) fn darken(&self) {
        self.change(|state| state.dark_before = state.connections);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_waiters();
    }

    /// A connection more; its number.
    pub(crate) fn open(&self) -> u64 {
        let mut state = self.state.lock();
        state.connections += 1;
        state.connections - 1
    }

    /// Connects the slave to whoever is the master.
    pub(crate) fn connect(&self) -> BoxFuture<io::Result<DuplexStream>> {
        let wire = self.clone();
        Box::pin(async move {
            let number = wire.open();
            wire.travel(number, Way::There).await;
            let listening = wire.port.lock().clone();
            wire.travel(number, Way::Back).await;
            let Some(Listening { master, tasks }) = listening else { return Err(ErrorKind::ConnectionRefused.into()) };
            let (ours, near) = duplex(ROOM_BYTES);
            let (far, theirs) = duplex(ROOM_BYTES);
            let ((near_out, near_in), (far_out, far_in)) = (split(near), split(far));
            tokio::spawn(wire.clone().carry(number, Way::There, near_out, far_in));
            tokio::spawn(wire.carry(number, Way::Back, far_out, near_in));
            let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            let serve = async move { master.serve_on(theirs, remote).await };
            drop(tasks.spawn_thread("slave", Box::pin(serve)));
            Ok(ours)
        })
    }

    /// Brings over what is said on one way of a connection, until that ends.
    async fn carry(self, number: u64, way: Way, mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>) {
        let carry = async {
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let bytes = from.read(&mut piece).await.unwrap_or(0);
                self.travel(number, way).await;
                if bytes == 0 {
                    // The other end may have gone, too.
                    drop(to.shutdown().await);
                    return;
                }
                if to.write_all(&piece[..bytes]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = self.until(|state| number < state.cut_before) => {}
            () = carry => {}
        }
    }

    /// Completes when something that sets off now on a connection has arrived.
    pub(crate) async fn travel(&self, number: u64, way: Way) {
        let late = {
            let mut state = self.state.lock();
            let late_ms_max = state.late_ms_max;
            Duration::from_micros(state.rng.u64(..=late_ms_max * 1000))
        };
        self.clock.sleep(late).await;
        self.until(|state| number >= state.dark_before && !state.is_parted[way as usize]).await;
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the look, so that no change is missed.
            changed.as_mut().enable();
            if is_so(&self.state.lock()) {
                return;
            }
            changed.await;
        }
    }
}
