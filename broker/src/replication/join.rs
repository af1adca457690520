//! A slave that begins: its directory is empty, or its log was given up because it ends before its master's begins.
//!
//! Where the log of the master begins at 0 there is nothing to do: the slave gets all of it. A log whose front has gone has, somewhere
//! behind, the state of all machines (`store/src/log_state.rs`), which was stored before the front went. So the slave first gets that log as
//! bytes, from where it begins to where it ended when the slave asked. Then an ordinary start finds the state in it, and makes the rest anew. Until
//! then the directory says that it has a part (`mark`), nothing of it is served, and the master does not count the slave. In either case its
//! segments get the length of its master's.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use env::{Disk, Env};
use parking_lot::Mutex;
use remoting::Client;
use store::{FileError, Flush, OpenError, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use types::PhysicalOffset;

use super::intake::{Error as IntakeError, Intake};
use super::log::{self, Log};
use super::mark::Mark;
use super::mend::Mend;
use super::mirror::metadata;
use super::part::{Part, follow_until_joined, greet_newest};
use super::slave::{self, Ended, Follower, Stream, connect, connected};
use super::wire::{Report, Welcome};
use crate::engine::LogEnd;
use crate::membership::{Duty, Membership};
use crate::registration;
use crate::server::Options;
use crate::takeover::{Form, Kind, failed, segments};

/// How often name servers are asked who the master is.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Makes the directory of a slave that is to begin, or whose log is damaged, one that can be started, and waits for its master for that;
/// others stay as they are.
///
/// # Errors
/// [`log::Error`]; a file's of [`std::io::ErrorKind::WouldBlock`] when another process uses the directory. What a slave that begins has got so
/// far stays, and is gone on with.
pub async fn prepare(env: &Env, name: &str, options: &Options) -> Result<(), log::Error> {
    let told = options.slave.as_ref().and_then(|slave| slave.master.clone());
    if told.is_none() && options.name_servers.is_empty() {
        // Nobody will say it.
        return Ok(());
    }
    let master = watch::Sender::new(told.clone());
    let work = async {
        if let Some(mend) = Mend::open(env, options.data.clone())? {
            mend.run(master.subscribe()).await;
        }
        if let Some(join) = Join::open(env, options.data.clone())? {
            join.run(master.subscribe()).await;
        }
        Ok(())
    };
    tokio::select! {
        done = work => done,
        // Loops for ever.
        () = find_master(env, name, &options.name_servers, &master), if told.is_none() => Ok(()),
    }
}

/// The same under controllers, who say who the master is. A directory with nothing is waited for only while there is another one's log to be
/// got: its broker may be the first master.
///
/// # Errors
/// As [`prepare`].
pub async fn prepare_member(env: &Env, dir: &Path, membership: &Arc<Membership>) -> Result<(), log::Error> {
    if let Some(mend) = Mend::open(env, dir.to_owned())? {
        // Nobody elects who is not heard of.
        membership.set_damaged(true);
        let master = watch::Sender::new(None);
        tokio::select! {
            () = mend.of(membership.clone()).run(master.subscribe()) => {}
            // Loops for ever.
            () = membership.find_master(&master) => {}
        }
        membership.set_damaged(false);
    }
    let Some(join) = Join::open(env, dir.to_owned())? else { return Ok(()) };
    let mut duty = membership.duty();
    if join.is_new && !matches!(*duty.borrow(), Duty::Follow(..)) {
        return Ok(());
    }
    let master = watch::Sender::new(None);
    tokio::select! {
        () = join.of(membership.clone()).run(master.subscribe()) => {}
        // Loops for ever.
        () = membership.find_master(&master) => {}
        // It lives as long as this.
        leads = duty.wait_for(|duty| matches!(duty, Duty::Lead(_))) => drop(leads),
    }
    Ok(())
}

/// Gives up the log in the directory of a slave that has stopped, if that is a master's and nothing else: the next [`prepare`] begins anew.
/// Whether it did.
///
/// # Errors
/// [`FileError`].
pub fn give_up(disk: &dyn Disk, dir: &Path) -> Result<bool, FileError> {
    let may_go = Mark::find(disk, dir)? == Some(Mark::Whole);
    if may_go {
        tracing::warn!(dir = %dir.display(), "the log cannot go on with its master's and has nothing of its own: it is given up and got anew");
        Mark::Part.put(disk, dir)?;
    }
    Ok(may_go)
}

/// Learns again and again from name servers, and from the master that they name, where that has its log.
async fn find_master(env: &Env, name: &str, name_servers: &[String], master: &watch::Sender<Option<String>>) {
    let clients: Vec<_> = name_servers.iter().map(|address| Client::new(address.clone(), env.clock.clone())).collect();
    let mut told = String::new();
    loop {
        for client in &clients {
            match metadata::log_of_master(env, client, name).await {
                Ok(address) => registration::found(master, address),
                Err(error) if error.to_string() != told => {
                    tracing::warn!(%error, name, "it is not known where the master has its log; it is asked again");
                    told = error.to_string();
                }
                Err(_) => {}
            }
        }
        env.clock.sleep(ASK_EVERY).await;
    }
}

/// A directory that a master's log is put into.
pub struct Join {
    env: Env,
    dir: PathBuf,
    /// Whether nothing has come yet.
    is_new: bool,
    /// Under controllers.
    membership: Option<Arc<Membership>>,
    /// Held by one append, or one look.
    log: Arc<Mutex<Option<Log>>>,
    /// How much of it has come.
    part: Part,
    /// Nobody else uses the directory.
    _lock: Box<dyn Send + Sync>,
}

impl Join {
    /// Of this directory; `None` if it has a log to go on with.
    ///
    /// # Errors
    /// As [`prepare`].
    pub fn open(env: &Env, dir: PathBuf) -> Result<Option<Self>, FileError> {
        let disk = &*env.disk;
        let is_new = Form::find(disk, &dir)?.kind == Kind::Neither;
        if !is_new && Mark::find(disk, &dir)? != Some(Mark::Part) {
            return Ok(None);
        }
        disk.create_dir_all(&dir).map_err(failed("create directory", &dir))?;
        let lock = dir.join("lock");
        let lock = disk.lock(&lock).map_err(failed("lock", &lock))?;
        let (log, part) = (Arc::default(), Part::default());
        Ok(Some(Self { env: env.clone(), dir, is_new, membership: None, log, part, _lock: lock }))
    }

    /// The same under controllers.
    #[must_use]
    pub fn of(self, membership: Arc<Membership>) -> Self {
        Self { membership: Some(membership), ..self }
    }

    /// Takes the log of whoever is the master, until a start can go on with it.
    pub async fn run(self, master: watch::Receiver<Option<String>>) {
        let this = &self;
        let follow = |address: String| async move {
            let stream = connected(&*this.env.clock, connect(address.clone())).await?;
            this.follow_on(stream, &address).await
        };
        follow_until_joined(this, &*this.env.clock, master, follow).await;
    }

    /// Takes the log of the master that this connection leads to until a start can go on with it ([`Ended::Joined`]), or the connection ends.
    ///
    /// # Errors
    /// Why it has ended: [`Ended`].
    pub async fn follow_on<S>(&self, mut stream: S, address: &str) -> Result<Infallible, Ended>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut input = BytesMut::new();
        let membership = self.membership.as_ref();
        let (welcome, epochs) = greet_newest(&*self.env.clock, &mut stream, membership, &mut input).await?;
        if let (Some(membership), Some(epochs)) = (membership, epochs) {
            // Before the first byte comes; those of a log that was given up go.
            membership.history().set(epochs).await?;
        }
        let bytes = welcome.segment_bytes;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) {
            return Err(log::Error::Look(OpenError::SegmentBytes { bytes }.into()).into());
        }
        let Some((end, own)) = self.on_log(move |place, log| place.open(log, welcome)).await? else {
            return Err(Ended::Joined);
        };
        self.part.begin(end.at, welcome.end);
        let from = end.last.unwrap_or(end.at);
        stream.write_all(&Report::HasTo(from).encode()).await?;
        let intake = Intake::new(bytes, from, own);
        let stream = Stream::new(self, &*self.env.clock, stream, address, intake, end.at).with(input);
        let Err(ended) = stream.run().await;
        match ended {
            Ended::Joined => self.on_log(|place, log| place.finish(log)).await?,
            Ended::Intake(IntakeError::Parted { .. }) => self.on_log(|place, log| place.empty(log)).await?,
            _ => {}
        }
        Err(ended)
    }

    /// Works on the log, on a thread that may wait for the disk.
    async fn on_log<T: Send + 'static>(&self, work: impl FnOnce(&Place, &mut Option<Log>) -> T + Send + 'static) -> T {
        let (place, log) = (Place { disk: self.env.disk.clone(), dir: self.dir.clone() }, self.log.clone());
        env::blocking(move || work(&place, &mut log.lock())).await
    }
}

/// Where the log is.
struct Place {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Place {
    /// Opens what has come of this master's log; answers where that ends, and its last record. What cannot be a beginning of it goes. `None`
    /// where nothing is to come first.
    fn open(&self, log: &mut Option<Log>, master: Welcome) -> Result<Option<(LogEnd, Bytes)>, log::Error> {
        if master.first == PhysicalOffset(0) {
            self.empty(log)?;
            store::claim(&*self.disk, &self.dir, master.segment_bytes)?;
            Mark::Whole.put(&*self.disk, &self.dir)?;
            return Ok(None);
        }
        Mark::Part.put(&*self.disk, &self.dir)?;
        let open = || Log::open(self.disk.clone(), &self.dir, master.segment_bytes, master.first, Flush::Async);
        let mut opened = match open() {
            Ok(opened) if slave::check(master, master.segment_bytes, opened.end()).is_ok() => opened,
            Ok(_) | Err(log::Error::Segments { .. }) => {
                self.empty(log)?;
                open()?
            }
            Err(error) => return Err(error),
        };
        let found = (opened.end(), opened.last_record()?);
        *log = Some(opened);
        Ok(Some(found))
    }

    /// Makes the directory one that is started as any other; on the disk on return.
    fn finish(&self, log: &mut Option<Log>) -> Result<(), log::Error> {
        let Some(mut log) = log.take() else { return Err(log::Error::Failed) };
        log.sync()?;
        store::claim(&*self.disk, &self.dir, log.segment_bytes())?;
        Ok(Mark::Whole.put(&*self.disk, &self.dir)?)
    }

    /// Removes what has come.
    fn empty(&self, log: &mut Option<Log>) -> Result<(), log::Error> {
        *log = None;
        if !segments(&*self.disk, &self.dir)?.is_empty() {
            tracing::warn!(dir = %self.dir.display(), "what is here of a log goes: this slave begins anew");
        }
        Ok(store::erase(&*self.disk, &self.dir)?)
    }
}

impl Follower for Join {
    fn appended_to(&self) -> PhysicalOffset {
        self.part.end()
    }

    async fn append(&self, records: Bytes) -> Result<PhysicalOffset, Ended> {
        let append = move |log: &mut Log| log.append(&records);
        let end = self.on_log(|_, log| log.as_mut().map_or(Err(log::Error::Failed), append)).await?;
        self.part.came(end);
        Ok(end)
    }

    fn connected(&self, _: Option<&str>) {}

    fn report(&self, end: PhysicalOffset) -> Result<Report, Ended> {
        self.part.report(end)
    }
}
