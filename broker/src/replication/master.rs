//! A master's end: slaves connect, say where they are, and get the log from there on as it grows.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use env::Clock;
use parking_lot::Mutex;
use store::{Failed, ReadError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use types::PhysicalOffset;

use super::in_sync::{Change, InSync};
use super::slaves::{BEHIND_BYTES_MAX, Slave, SlaveId, Slaves, keeps_up};
use super::wire::{self, ALIVE_EVERY, REPORT_BYTES, Report, SENT_BYTES_MAX, SILENT_MAX, Welcome};
use crate::LocalBroker;
use crate::membership::{MemberId, Membership, View};

/// Slaves at a time; a further one is sent away. Each costs a frame's memory.
const SLAVES_MAX: usize = 64;
/// How long a broker that stops waits for its slaves to have what it has.
const LAST_WITHIN: Duration = Duration::from_secs(3);
/// How often it is looked whether slaves have something.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The slaves of a broker, and the connections on which they get its log.
pub struct Master {
    broker: LocalBroker,
    clock: Arc<dyn Clock>,
    /// Held for a look or a change.
    slaves: Mutex<Slaves>,
    /// Under controllers.
    leading: Option<Leading>,
    /// Tells that slaves came or went.
    changed: Notify,
}

/// What a master under controllers has besides.
struct Leading {
    membership: Arc<Membership>,
    /// Whom it waits for. Held for a look or a change, and until the mark has moved that follows from it; before the slaves.
    in_sync: Mutex<InSync>,
}

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("it has ended the connection")]
    Left,
    #[error("it has said nothing for {SILENT_MAX:?}")]
    Silent,
    #[error(transparent)]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Unclear(#[from] wire::Error),
    #[error("its log ends at {asked}, and this one goes from {first} to {end}")]
    Elsewhere { asked: PhysicalOffset, first: PhysicalOffset, end: PhysicalOffset },
    #[error("it says that its log goes to {said}, and it was sent this one to {sent_to}")]
    Unsent { said: PhysicalOffset, sent_to: PhysicalOffset },
    #[error("it does not say which broker it is: under controllers all brokers of a name are")]
    NoMember,
    #[error(transparent)]
    Store(#[from] Failed),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Master {
    /// No slaves yet.
    #[must_use]
    pub fn new(broker: LocalBroker, clock: Arc<dyn Clock>) -> Self {
        Self { broker, clock, slaves: Mutex::default(), leading: None, changed: Notify::new() }
    }

    /// That of the epoch which the controllers speak of in `view`, with nobody in sync but who is there.
    #[must_use]
    pub fn leading(broker: LocalBroker, clock: Arc<dyn Clock>, membership: Arc<Membership>, view: &View) -> Self {
        let in_sync = InSync::new(membership.id(), view.in_sync.clone(), view.in_sync_epoch);
        let leading = Leading { membership, in_sync: Mutex::new(in_sync) };
        Self { leading: Some(leading), ..Self::new(broker, clock) }
    }

    /// What the controllers are to be told of who is in sync, after they have said this of the master's epoch.
    pub(crate) fn in_sync_change(&self, view: Option<&View>) -> Option<Change> {
        let Leading { in_sync, .. } = self.leading.as_ref()?;
        let change = {
            let mut in_sync = in_sync.lock();
            if let Some(View { in_sync: set, in_sync_epoch, .. }) = view {
                in_sync.decided(set, *in_sync_epoch);
            }
            in_sync.next(&self.slaves.lock(), self.broker.marks().stored_to(), self.clock.moment())
        };
        self.look_at_slaves();
        change
    }

    /// The controllers have agreed.
    pub(crate) fn in_sync_decided(&self, set: &BTreeSet<MemberId>, epoch: i32) {
        if let Some(Leading { in_sync, .. }) = &self.leading {
            in_sync.lock().decided(set, epoch);
            self.changed.notify_one();
        }
    }

    /// They have refused it, and say this since.
    pub(crate) fn in_sync_refused(&self, view: &View) {
        if let Some(Leading { in_sync, .. }) = &self.leading {
            in_sync.lock().refused(&view.in_sync, view.in_sync_epoch, self.clock.moment());
            self.changed.notify_one();
        }
    }

    /// What is known of the slaves now.
    pub(crate) fn slaves(&self) -> &Mutex<Slaves> {
        &self.slaves
    }

    /// Whether a slave is in sync: under controllers by their word, else if it keeps up with a log that ends at `end`.
    pub(crate) fn is_in_sync(&self, slave: &Slave, end: PhysicalOffset) -> bool {
        match &self.leading {
            None => keeps_up(slave, end),
            Some(Leading { in_sync, .. }) => slave.member.is_some_and(|id| in_sync.lock().has(id)),
        }
    }

    /// Serves slaves until `stopping`, and then until those that are connected have all that is stored, at most [`LAST_WITHIN`].
    pub(crate) async fn serve(self: &Arc<Self>, listener: TcpListener, stopping: CancellationToken) {
        let (tasks, ending) = (TaskTracker::new(), CancellationToken::new());
        let serve = |stream, place| {
            let (master, ending) = (Arc::clone(self), ending.clone());
            tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = ending.cancelled() => {}
                    () = master.serve_slave(stream) => {}
                }
                drop(place);
            });
        };
        tokio::select! {
            biased;
            // Both loop for ever.
            () = remoting::accept::accept(std::slice::from_ref(&listener), SLAVES_MAX, |time| self.clock.sleep(time), serve) => {}
            () = self.move_mark() => {}
            () = stopping.cancelled() => {}
        }
        tokio::select! {
            biased;
            () = self.all_told() => {}
            () = self.clock.sleep(LAST_WITHIN) => tracing::warn!("a slave does not have all of the log at the end"),
        }
        ending.cancel();
        tasks.close();
        tasks.wait().await;
    }

    /// Completes when all slaves that are connected have what is stored.
    async fn all_told(&self) {
        while self.is_any_behind(self.broker.marks().stored_to()) {
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    /// Whether slaves are connected and all of them have the log up to a position, or that comes about within this time.
    pub(crate) async fn have(&self, to: PhysicalOffset, within: Duration) -> bool {
        let until = self.clock.moment().plus(within);
        while self.slaves.lock().all().next().is_none() || self.is_any_behind(to) {
            if self.clock.moment() >= until {
                return false;
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
        true
    }

    fn is_any_behind(&self, to: PhysicalOffset) -> bool {
        self.slaves.lock().all().any(|slave| slave.has_to < to)
    }

    async fn serve_slave(&self, stream: TcpStream) {
        let (Ok(remote), Ok(())) = (stream.peer_addr(), stream.set_nodelay(true)) else { return };
        self.serve_on(stream, remote).await;
    }

    /// Serves a slave that is connected from `remote` until that ends, and says why it did.
    pub async fn serve_on<S: AsyncRead + AsyncWrite>(&self, stream: S, remote: SocketAddr) {
        match self.transfer(stream, remote).await {
            // Never: a transfer has no end of its own.
            Ok(()) => {}
            Err(error @ (Ended::Left | Ended::Silent | Ended::Socket(_))) => {
                tracing::info!(%remote, %error, "a slave has gone")
            }
            Err(error) => tracing::warn!(%remote, %error, "a slave is sent away"),
        }
    }

    /// Sends one slave the log.
    async fn transfer<S: AsyncRead + AsyncWrite>(&self, stream: S, remote: SocketAddr) -> Result<(), Ended> {
        let (read, mut write) = tokio::io::split(stream);
        let mut reports = Reports { read, input: BytesMut::with_capacity(REPORT_BYTES), clock: &*self.clock };
        let (mut report, mut member) = (reports.next().await?, None);
        match (&self.leading, report) {
            (None, Report::Hello | Report::Slave) => {
                if report == Report::Slave {
                    member = Some(MemberId(reports.number().await?));
                }
                write.write_all(&self.welcome().encode(None)).await?;
                report = reports.next().await?;
            }
            (Some(Leading { membership, .. }), Report::Member) => {
                member = Some(MemberId(reports.number().await?));
                // They are of the log that it has now: one that grows meanwhile has the same.
                let (log, epochs) = (self.welcome(), membership.history().epochs());
                write.write_all(&log.encode(Some(&epochs))).await?;
                report = reports.next().await?;
            }
            (Some(_), _) => return Err(Ended::NoMember),
            (None, _) => {}
        }
        let Report::HasTo(has_to) = report else { return Err(wire::Error::Unknown { said: wire::HELLO }.into()) };
        let from = self.begin(has_to)?;
        let sent_to = AtomicU64::new(from.0);
        tracing::info!(%remote, %from, "a slave gets the log");
        tokio::try_join!(self.hear(reports, remote, member, &sent_to), self.tell(write, from, &sent_to)).map(drop)
    }

    /// Notes how far a slave says it is. It counts from now on, not from when it has asked: what it has asked from is no proof that it has
    /// what is before that, and whoever says a number by chance says it once.
    async fn hear<S: AsyncRead>(
        &self,
        mut reports: Reports<'_, S>,
        remote: SocketAddr,
        member: Option<MemberId>,
        sent_to: &AtomicU64,
    ) -> Result<(), Ended> {
        let mut known: Option<Known<'_>> = None;
        loop {
            let said = match reports.next().await? {
                Report::HasTo(said) => said,
                // One of ours that has not all that it needs says only that it lives.
                Report::Hello => continue,
                Report::Slave | Report::Member => return Err(wire::Error::Unknown { said: wire::HELLO }.into()),
            };
            let sent_to = PhysicalOffset(sent_to.load(Ordering::Acquire));
            if said > sent_to {
                return Err(Ended::Unsent { said, sent_to });
            }
            match &known {
                None => known = Some(Known::new(self, remote, said, member)),
                Some(known) => self.slaves.lock().report(known.id, said),
            }
            self.look_at_slaves();
        }
    }

    /// Says how far the log is replicated, where slaves are waited for. Answers up to where what is stored may grow before that is to be
    /// said anew, though no slave has said anything.
    fn look_at_slaves(&self) -> Option<PhysicalOffset> {
        let (copies, stored_to) = (self.broker.copies(), self.broker.marks().stored_to());
        if !copies.are_several() {
            return None;
        }
        let have_to = match &self.leading {
            None => {
                let (have_to, slaves) = self.slaves.lock().have_to(copies.count - 1, stored_to);
                self.broker.replicated(have_to, slaves + 1);
                have_to
            }
            Some(Leading { in_sync, .. }) => {
                let in_sync = in_sync.lock();
                let waited_for = in_sync.waited_for();
                let have_to = self.slaves.lock().all_have_to(&waited_for);
                // Still held: who is waited for from now on has what was acknowledged before.
                self.broker.replicated(have_to, waited_for.len() + 1);
                have_to
            }
        };
        Some(have_to.map_or(stored_to.plus(1), |have_to| have_to.plus(BEHIND_BYTES_MAX)))
    }

    /// While no slave keeps up nobody says how far one is: what is stored here is enough then. For ever, unless the store fails.
    pub async fn move_mark(&self) {
        let marks = self.broker.marks();
        loop {
            let next = self.look_at_slaves();
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                stored = marks.stored(next.unwrap_or(PhysicalOffset(0))), if next.is_some() => if stored.is_err() {
                    self.changed.notified().await;
                },
            }
        }
    }

    fn welcome(&self) -> Welcome {
        let log = self.broker.log();
        Welcome { first: log.first(), end: self.broker.marks().stored_to(), segment_bytes: log.segment_bytes() }
    }

    /// Where a slave gets the log from whose own ends at `has_to`: there, and one without any from the beginning. Apache sends such a slave
    /// the last segment only; its own slaves take what they get.
    fn begin(&self, has_to: PhysicalOffset) -> Result<PhysicalOffset, Ended> {
        let Welcome { first, end, .. } = self.welcome();
        match has_to {
            PhysicalOffset(0) => Ok(first),
            asked if (first..=end).contains(&asked) => Ok(asked),
            asked => Err(Ended::Elsewhere { asked, first, end }),
        }
    }

    /// Says the log from a position on as far as it counts as stored here, so that no slave has what this broker may forget.
    /// `sent_to` is where that ends.
    async fn tell<S: AsyncWrite>(
        &self,
        mut write: WriteHalf<S>,
        from: PhysicalOffset,
        sent_to: &AtomicU64,
    ) -> Result<(), Ended> {
        let (log, marks) = (self.broker.log(), self.broker.marks());
        let mut at = from;
        loop {
            tokio::select! {
                biased;
                more = marks.stored(at.plus(1)) => more?,
                () = self.clock.sleep(ALIVE_EVERY) => {
                    write.write_all(&wire::header(at, 0)).await?;
                    continue;
                }
            }
            let bytes = log.raw(at, marks.stored_to().min(at.plus(SENT_BYTES_MAX))).await?;
            let length = bytes.len();
            sent_to.store(at.0 + length as u64, Ordering::Release);
            write.write_all_buf(&mut Buf::chain(&wire::header(at, length)[..], bytes)).await?;
            at = at.plus(length as u64);
        }
    }
}

/// A slave that is known for as long as this lives.
struct Known<'a> {
    master: &'a Master,
    id: SlaveId,
}

impl<'a> Known<'a> {
    fn new(master: &'a Master, remote: SocketAddr, has_to: PhysicalOffset, member: Option<MemberId>) -> Self {
        let id = master.slaves.lock().connect(remote, has_to, member);
        master.changed.notify_one();
        Self { master, id }
    }
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.master.slaves.lock().disconnect(self.id);
        self.master.changed.notify_one();
    }
}

/// What a slave says.
struct Reports<'a, S> {
    read: ReadHalf<S>,
    input: BytesMut,
    clock: &'a dyn Clock,
}

impl<S: AsyncRead> Reports<'_, S> {
    async fn next(&mut self) -> Result<Report, Ended> {
        Ok(Report::decode(self.number().await?.to_be_bytes())?)
    }

    async fn number(&mut self) -> Result<i64, Ended> {
        loop {
            if self.input.len() >= REPORT_BYTES {
                return Ok(self.input.get_i64());
            }
            tokio::select! {
                biased;
                read = self.read.read_buf(&mut self.input) => if read? == 0 { return Err(Ended::Left) },
                () = self.clock.sleep(SILENT_MAX) => return Err(Ended::Silent),
            }
        }
    }
}
