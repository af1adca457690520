//! A slave's end: connects to its master, says where it is, appends what comes, and begins anew when the connection ends.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use env::clock::{BoxFuture, Moment};
use env::{Clock, Env, kept};
use parking_lot::Mutex;
use store::ReadError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use types::PhysicalOffset;

use super::epochs::{Epoch, Epochs};
use super::intake::{self, Intake};
use super::log;
use super::mirror::Ended as MirrorEnded;
use super::scrub;
use super::wire::{self, ALIVE_EVERY, Frame, Greeting, Report, SILENT_MAX, Welcome};
use crate::LocalBroker;
use crate::engine::{LogEnd, ReplicateError};
use crate::membership::{Duty, MemberId, Membership};

/// Longest that a connection may take to be made, and a master to say what it has.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// First wait after a connection that has brought nothing; each further one doubles it.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// Longest wait. Source: `HAClient` waits 5 s.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Room for what is read from the socket at once.
const READ_BYTES: usize = 256 * 1024;

/// A slave's connection to its master.
pub struct Slave {
    broker: LocalBroker,
    clock: Arc<dyn Clock>,
    /// `HOST:PORT` where the master has its log, once that is known.
    master: watch::Receiver<Option<String>>,
    /// The master that the log comes from just now. Held for a look or a change.
    connected_to: Mutex<Option<String>>,
    /// Its number among its master's slaves, where it has one.
    number: Option<MemberId>,
    /// Under controllers.
    membership: Option<Arc<Membership>>,
    /// The epochs of a master whose log this one may be the beginning of, until its last record has shown it. Held to put or take them.
    unproven: Mutex<Option<Epochs>>,
    /// Cancelled once this log is behind its master's and may be given up.
    behind: CancellationToken,
    /// Cancelled once a part of this log is to be got again.
    damaged: CancellationToken,
}

/// Why a connection has ended, or was not made.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The master was not reached.
    #[error("there is no connection within {CONNECT_WITHIN:?}")]
    Unreachable,
    /// The master has ended it.
    #[error("it has ended the connection")]
    Left,
    /// The master was silent.
    #[error("it has said nothing for {SILENT_MAX:?}")]
    Silent,
    /// Name servers say so.
    #[error("another broker is the master now")]
    Replaced,
    /// The system's.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The master may be Apache's.
    #[error(
        "it does not say that it is a broker of Gantry's, and this directory is: begin with an empty directory to follow a master of Apache's"
    )]
    NotOurs,
    /// This directory has the log of a master of Apache's.
    #[error(transparent)]
    Mirror(#[from] MirrorEnded),
    /// The master says something that is not understood.
    #[error(transparent)]
    Unclear(#[from] wire::Error),
    /// The logs cannot be one.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// This log has records that the master's does not have, behind a place up to which they are the same.
    #[error(
        "this log is cut off at {at}: up to there it is the master's, and behind that it has records that the master never had"
    )]
    Cut {
        /// The place.
        at: PhysicalOffset,
    },
    /// The epochs of this log cannot be kept.
    #[error(transparent)]
    History(#[from] kept::Error),
    /// This log's last record is not read.
    #[error(transparent)]
    Own(#[from] ReadError),
    /// What came is no log.
    #[error(transparent)]
    Intake(#[from] intake::Error),
    /// What came was not appended.
    #[error(transparent)]
    Append(#[from] ReplicateError),
    /// What came was not put into the files of a slave that begins.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// A slave that begins has what it needs.
    #[error("all has come that a start needs")]
    Joined,
}

/// Why this log cannot be made the master's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Positions would not say the same.
    #[error("its log has segments of {theirs} bytes and this one of {ours}: begin with an empty directory")]
    Segments {
        /// The length of its segments.
        theirs: u64,
        /// Of ours.
        ours: u64,
    },
    /// This log has something that the master does not have.
    #[error(
        "this log ends at {ours}, behind the master's, which ends at {theirs}: it has records that the master never had"
    )]
    Longer {
        /// Where this log ends.
        ours: PhysicalOffset,
        /// Where its log ends.
        theirs: PhysicalOffset,
    },
    /// The controllers know a newer master.
    #[error(
        "its newest epoch is {theirs:?}, and the controllers say that the master's is {told:?}: it does not know yet, or was the master before"
    )]
    Epoch {
        /// Its newest epoch.
        theirs: Option<Epoch>,
        /// The one that the controllers speak of.
        told: Epoch,
    },
    /// It is not known where the two logs have parted.
    #[error(
        "this log and the master's share no epoch: this one is another name's, or controllers that have forgotten the name made it a master. \
         Keep a copy of its directory, and begin with an empty one"
    )]
    NoEpoch,
    /// More would go than may.
    #[error(
        "this log would be cut off at {at}, and up to {confirmed_to} all brokers in sync had it when this one was the master: the new master \
         lacks what was acknowledged. Keep a copy of its directory, and begin with an empty one"
    )]
    Confirmed {
        /// Where.
        at: PhysicalOffset,
        /// Up to where it was acknowledged.
        confirmed_to: PhysicalOffset,
    },
    /// A segment that is damaged is not replaced by another log's.
    #[error(
        "the damaged segment has a whole record at {at} that is not the master's, and none behind it that is: this log has records that the \
         master never had. Keep a copy of its directory, and begin with an empty one"
    )]
    Parted {
        /// Where.
        at: PhysicalOffset,
    },
    /// What lies between has expired, or cannot be compared.
    #[error(
        "this log would go on from its last record at {ours}, and the master's begins behind that, at {theirs}: what lies between has \
         expired. A log that was only ever a slave's begins anew by itself; keep a copy of another one, and begin with an empty directory"
    )]
    Behind {
        /// Where this log's last record begins; without any its end.
        ours: PhysicalOffset,
        /// Where its log begins.
        theirs: PhysicalOffset,
    },
}

/// Whether a log that ends there, with segments of this length, may be the beginning of that one. Whether it is, its last record shows.
pub(crate) fn check(theirs: Welcome, segment_bytes: u64, end: LogEnd) -> Result<(), Refused> {
    let (end, last) = (end.at, end.last.unwrap_or(end.at));
    match theirs {
        Welcome { segment_bytes: theirs, .. } if theirs != segment_bytes => {
            Err(Refused::Segments { theirs, ours: segment_bytes })
        }
        Welcome { end: theirs, .. } if theirs < end => Err(Refused::Longer { ours: end, theirs }),
        Welcome { first: theirs, .. } if last < theirs => Err(Refused::Behind { ours: last, theirs }),
        Welcome { .. } => Ok(()),
    }
}

impl Slave {
    /// Of this broker; `master` tells where its master has its log.
    #[must_use]
    pub fn new(broker: LocalBroker, clock: Arc<dyn Clock>, master: watch::Receiver<Option<String>>) -> Self {
        Self {
            broker,
            clock,
            master,
            connected_to: Mutex::default(),
            number: None,
            membership: None,
            unproven: Mutex::default(),
            behind: CancellationToken::new(),
            damaged: CancellationToken::new(),
        }
    }

    /// The same, as the slave of this number: without one its master takes all slaves on this machine for one.
    #[must_use]
    pub fn numbered(self, number: MemberId) -> Self {
        Self { number: Some(number), ..self }
    }

    /// The same under controllers.
    #[must_use]
    pub fn of(self, membership: Arc<Membership>) -> Self {
        Self { membership: Some(membership), ..self }
    }

    /// Cancelled once this log ends before its master's begins, if it was only ever a slave's: it may be given up, see [`super::join`].
    #[must_use]
    pub fn behind(&self) -> CancellationToken {
        self.behind.clone()
    }

    /// Cancelled once a segment of this log is found to be damaged: after a start it is got again, see [`super::mend`].
    #[must_use]
    pub fn damaged(&self) -> CancellationToken {
        self.damaged.clone()
    }

    /// Looks through this log, in this data directory, for damage again and again.
    pub(crate) async fn look_through(&self, env: &Env, data: &Path) {
        scrub::run(env, &self.broker, data, &self.damaged).await;
    }

    /// The master that the log comes from just now.
    pub(crate) fn connected_to(&self) -> Option<String> {
        self.connected_to.lock().clone()
    }

    /// Follows the master for ever, whichever it is.
    pub(crate) async fn run(&self) {
        self.run_on(|address| Box::pin(connect(address))).await;
    }

    /// The same on connections that `connect` makes to an address.
    pub async fn run_on<S>(&self, connect: impl Fn(String) -> BoxFuture<io::Result<S>>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let connect = &connect;
        let follow = |master: String| async move {
            let stream = connected(&*self.clock, connect(master.clone())).await?;
            self.follow_on(stream, &master).await
        };
        follow_for_ever(self, &*self.clock, self.master.clone(), follow).await;
    }

    /// Follows the master that this connection leads to, until that ends.
    ///
    /// # Errors
    /// Why it has ended: [`Ended`].
    pub async fn follow_on<S>(&self, mut stream: S, address: &str) -> Result<Infallible, Ended>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut input = BytesMut::new();
        let greeting = match (&self.membership, self.number) {
            (Some(membership), _) => Greeting::Member(membership.id()),
            (None, Some(number)) => Greeting::Slave(number),
            (None, None) => Greeting::Anyone,
        };
        let (welcome, epochs) = greet(&*self.clock, &mut stream, greeting, &mut input).await?;
        // By the way of records, so that those of a connection before are behind it, and the disk has what the master is told of.
        let end = self.broker.replicate(Bytes::new()).await?;
        let agreed = self.agree(end, welcome, epochs).await;
        if matches!(agreed, Err(Ended::Refused(Refused::Behind { .. }))) && self.broker.is_only_a_replica() {
            self.behind.cancel();
        }
        agreed?;
        let segment_bytes = welcome.segment_bytes;
        let from = end.last.unwrap_or(end.at);
        let intake = Intake::new(segment_bytes, from, self.last_record(end).await?);
        stream.write_all(&Report::HasTo(from).encode()).await?;
        Stream::new(self, &*self.clock, stream, address, intake, end.at).with(input).run().await
    }

    /// Makes sure that this log, which ends there, may be the beginning of the master's.
    async fn agree(&self, end: LogEnd, theirs: Welcome, epochs: Option<Epochs>) -> Result<(), Ended> {
        let log = self.broker.log();
        if let (Some(membership), Some(epochs)) = (&self.membership, epochs) {
            *self.unproven.lock() = join_logs(membership, log.first(), end, theirs, epochs).await?;
        }
        Ok(check(theirs, log.segment_bytes(), end)?)
    }

    /// The bytes of this log's last record; none without any.
    async fn last_record(&self, end: LogEnd) -> Result<Bytes, ReadError> {
        match end.last {
            Some(last) => self.broker.log().raw(last, end.at).await,
            None => Ok(Bytes::new()),
        }
    }
}

/// Makes sure that a log which begins and ends there is the beginning of a master's by the epochs of both; from then on they are this log's
/// too. One without epochs, as a copy of a master's log has none, is shown by its last record to be it: the epochs are given back until then.
///
/// # Errors
/// [`Ended::Cut`], once the broker is told to; [`Refused`].
async fn join_logs(
    membership: &Membership,
    first: PhysicalOffset,
    end: LogEnd,
    theirs: Welcome,
    epochs: Epochs,
) -> Result<Option<Epochs>, Ended> {
    check_newest(membership, &epochs)?;
    let ours = membership.history().epochs();
    if end.last.is_some() {
        if ours.last().is_none() {
            return Ok(Some(epochs));
        }
        let common = ours.common(end.at, &epochs, theirs.end).ok_or(Refused::NoEpoch)?;
        let (confirmed_to, first) = (membership.confirmed_to(), theirs.first.max(first));
        if common < first {
            return Err(Refused::Behind { ours: common, theirs: first }.into());
        }
        if common < end.at && common < confirmed_to {
            return Err(Refused::Confirmed { at: common, confirmed_to }.into());
        }
        if common < end.at {
            membership.cut_log(common, end.at);
            return Err(Ended::Cut { at: common });
        }
    }
    // Before the first record of an epoch comes.
    membership.history().set(epochs).await?;
    Ok(None)
}

/// Whether a master with these epochs is the one that the controllers speak of, for all that is known here.
pub(super) fn check_newest(membership: &Membership, theirs: &Epochs) -> Result<(), Refused> {
    match &*membership.duty().borrow() {
        Duty::Follow(_, told) if theirs.last() < Some(*told) => {
            Err(Refused::Epoch { theirs: theirs.last(), told: *told })
        }
        _ => Ok(()),
    }
}

impl Follower for Slave {
    fn appended_to(&self) -> PhysicalOffset {
        self.broker.marks().appended_to()
    }

    async fn proven(&self) -> Result<(), Ended> {
        let unproven = self.unproven.lock().take();
        if let (Some(membership), Some(epochs)) = (&self.membership, unproven) {
            membership.history().set(epochs).await?;
        }
        Ok(())
    }

    async fn append(&self, mut records: Bytes) -> Result<PhysicalOffset, Ended> {
        let mut end = self.appended_to();
        while let Ok(first) = record::header(&records) {
            end = self.broker.replicate(records.clone()).await?.at;
            let taken = end.0.saturating_sub(first.physical_offset.0);
            records.advance(records.len().min(usize::try_from(taken).unwrap_or(usize::MAX)));
        }
        Ok(end)
    }

    fn connected(&self, master: Option<&str>) {
        *self.connected_to.lock() = master.map(str::to_owned);
    }
}

/// Who has a log that a master's is added to.
pub(super) trait Follower: Sync {
    /// Where its log ends.
    fn appended_to(&self) -> PhysicalOffset;

    /// The log is known to be the master's; its end is told only after that.
    fn proven(&self) -> impl Future<Output = Result<(), Ended>> + Send {
        std::future::ready(Ok(()))
    }

    /// Appends records of one segment; answers where the log ends then, by the rule of its flush.
    fn append(&self, records: Bytes) -> impl Future<Output = Result<PhysicalOffset, Ended>> + Send;

    /// The log is known to be this master's, and comes from it; or it does not come any longer.
    fn connected(&self, master: Option<&str>);

    /// What the master is told of a log that ends there, by the rule of its flush.
    ///
    /// # Errors
    /// Why nothing more is to come.
    fn report(&self, end: PhysicalOffset) -> Result<Report, Ended> {
        Ok(Report::HasTo(end))
    }
}

/// Follows the master for ever, whichever it is: `follow` does it with the one at an address, until that ends.
pub(super) async fn follow_for_ever<F: Future<Output = Result<Infallible, Ended>>>(
    follower: &impl Follower,
    clock: &dyn Clock,
    mut master: watch::Receiver<Option<String>>,
    follow: impl Fn(String) -> F,
) {
    let (mut wait, mut told) = (WAIT_MIN, String::new());
    loop {
        let Some(address) = master.borrow_and_update().clone() else {
            // Who tells of masters lives as long as the broker.
            drop(master.changed().await);
            continue;
        };
        let before = follower.appended_to();
        let ended = tokio::select! {
            biased;
            ended = follow(address.clone()) => ended,
            changed = master.changed() => {
                drop(changed);
                Err(Ended::Replaced)
            }
        };
        let Err(error) = ended;
        follower.connected(None);
        if follower.appended_to() > before {
            (wait, told) = (WAIT_MIN, String::new());
        }
        let text = error.to_string();
        if text != told {
            tracing::warn!(master = address, %error, "the master's log does not come; it is tried again");
            told = text;
        }
        tokio::select! {
            biased;
            () = clock.sleep(wait) => {}
            changed = master.changed() => drop(changed),
        }
        wait = (wait * 2).min(WAIT_MAX);
    }
}

/// A connection to an address.
pub(super) async fn connect(address: String) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What connects to a master has its time for it.
pub(super) async fn connected<S>(clock: &dyn Clock, connect: impl Future<Output = io::Result<S>>) -> Result<S, Ended> {
    within(clock, async { Ok(connect.await?) }, Ended::Unreachable).await
}

async fn within<T>(clock: &dyn Clock, work: impl Future<Output = Result<T, Ended>>, late: Ended) -> Result<T, Ended> {
    tokio::select! {
        biased;
        done = work => done,
        () = clock.sleep(CONNECT_WITHIN) => Err(late),
    }
}

/// Says that a slave of ours is here; answers what the master says of its log, and under controllers of its epochs. What is read behind that is
/// in `input`.
pub(super) async fn greet<S>(
    clock: &dyn Clock,
    stream: &mut S,
    greeting: Greeting,
    input: &mut BytesMut,
) -> Result<(Welcome, Option<Epochs>), Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&greeting.encode()).await?;
    let (welcome, epochs) = within(clock, welcomed(stream, input), Ended::NotOurs).await?;
    match epochs.is_some() == matches!(greeting, Greeting::Member(_)) {
        true => Ok((welcome, epochs)),
        false => Err(Ended::NotOurs),
    }
}

/// What the master says first. One of Apache's says something else, or nothing.
async fn welcomed(
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
) -> Result<(Welcome, Option<Epochs>), Ended> {
    loop {
        match wire::take_frame(input) {
            Ok(Some(Frame::Welcome(welcome, epochs))) => return Ok((welcome, epochs)),
            Ok(None) => {}
            // Its header repeats what it was told, as a position.
            Ok(Some(Frame::Log { .. })) | Err(wire::Error::Position { .. } | wire::Error::Length { .. }) => {
                return Err(Ended::NotOurs);
            }
            Err(error) => return Err(error.into()),
        }
        input.reserve(READ_BYTES);
        if stream.read_buf(input).await? == 0 {
            return Err(Ended::Left);
        }
    }
}

/// A connection on which the log comes.
pub(super) struct Stream<'a, F, S> {
    follower: &'a F,
    clock: &'a dyn Clock,
    stream: S,
    address: &'a str,
    input: BytesMut,
    intake: Intake,
    /// Where this log ends, by the rule of its flush.
    end: PhysicalOffset,
    /// When the master was told so last.
    reported_at: Moment,
}

impl<'a, F: Follower, S: AsyncRead + AsyncWrite + Unpin + Send> Stream<'a, F, S> {
    /// A master that was asked just now for its log from where `intake` begins, by who has one that ends at `end`.
    pub(super) fn new(
        follower: &'a F,
        clock: &'a dyn Clock,
        stream: S,
        address: &'a str,
        intake: Intake,
        end: PhysicalOffset,
    ) -> Self {
        let (input, reported_at) = (BytesMut::new(), clock.moment());
        Self { follower, clock, stream, address, input, intake, end, reported_at }
    }

    /// The same, of which this was read already.
    pub(super) fn with(self, input: BytesMut) -> Self {
        Self { input, ..self }
    }

    /// Takes the log until the connection ends.
    pub(super) async fn run(mut self) -> Result<Infallible, Ended> {
        let clock = self.clock;
        let mut heard_at = clock.moment();
        if self.intake.is_proven() {
            self.begin().await?;
        }
        loop {
            self.input.reserve(READ_BYTES);
            // A master that has nothing to say but that it lives must hear all the same that its slave does.
            let due = [heard_at.plus(SILENT_MAX), self.reported_at.plus(ALIVE_EVERY)];
            let left = due.map(|at| at.since(clock.moment()));
            tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.input) => {
                    if read? == 0 {
                        return Err(Ended::Left);
                    }
                    heard_at = clock.moment();
                    self.take().await?;
                }
                () = clock.sleep(left[0].min(left[1])) => {
                    if heard_at.plus(SILENT_MAX) <= clock.moment() {
                        return Err(Ended::Silent);
                    }
                    self.report().await?;
                }
            }
        }
    }

    /// Appends what has come.
    async fn take(&mut self) -> Result<(), Ended> {
        while let Some(frame) = wire::take_frame(&mut self.input)? {
            let Frame::Log { at, bytes } = frame else { return Err(wire::Error::Unknown { said: wire::HELLO }.into()) };
            let was_proven = self.intake.is_proven();
            self.intake.push(at, &bytes)?;
            if !was_proven && self.intake.is_proven() {
                self.begin().await?;
            }
            while let Some(records) = self.intake.take()? {
                self.end = self.follower.append(records).await?;
                self.report().await?;
            }
        }
        Ok(())
    }

    /// The two logs are one.
    async fn begin(&mut self) -> Result<(), Ended> {
        self.follower.proven().await?;
        tracing::info!(master = self.address, from = %self.end, "the master's log comes");
        self.follower.connected(Some(self.address));
        self.report().await
    }

    /// Says where this log ends, once it is known to be the master's: a slave that says so is one that is waited for.
    async fn report(&mut self) -> Result<(), Ended> {
        self.reported_at = self.clock.moment();
        if !self.intake.is_proven() {
            return Ok(());
        }
        Ok(self.stream.write_all(&self.follower.report(self.end)?.encode()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_only_as_one_that_can_be_the_same() {
        let theirs = Welcome { first: PhysicalOffset(100), end: PhysicalOffset(500), segment_bytes: 100 };
        let ends = |last: Option<u64>, at| LogEnd { last: last.map(PhysicalOffset), at: PhysicalOffset(at) };
        let checked = |segment_bytes, end| check(theirs, segment_bytes, ends(Some(end - 1), end));
        assert_eq!([101, 300, 500].map(|end| checked(100, end)), [Ok(()); 3]);
        assert_eq!(check(theirs, 100, ends(None, 100)), Ok(()), "a log without records may begin where theirs does");
        assert_eq!(checked(200, 300), Err(Refused::Segments { theirs: 100, ours: 200 }));
        let longer = Refused::Longer { ours: PhysicalOffset(501), theirs: PhysicalOffset(500) };
        assert_eq!(checked(100, 501), Err(longer));
        let behind = Refused::Behind { ours: PhysicalOffset(99), theirs: PhysicalOffset(100) };
        assert_eq!(checked(100, 100), Err(behind), "what would prove it has expired");
    }
}
