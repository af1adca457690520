//! A slave of an Apache master: its log byte for byte, and beside it what the master's own slaves ask for, all in the files in which Apache
//! has them. Nothing is read of it but what the connection needs, until the slave is made the master: then it is taken over as a
//! directory of Apache's is.
//!
//! [`follows_apache`] tells whether a slave is one; [`Mirror`] is the running one: `metadata` is what is asked for, `port` what it answers;
//! [`promote`] makes its directory ours. Why it is so: `docs/decisions/0013-apache-master.md`.

pub(super) mod metadata;
mod port;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use env::{Disk, Env};
use parking_lot::Mutex;
use remoting::Client;
use remoting_proto::body::{HaStatus, RegisterBroker as Topics};
use remoting_proto::requests::RegisterBrokerAnswer;
use store::inspect::Watcher;
use store::{FileError, Flush};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use types::PhysicalOffset;

use super::intake::Intake;
use super::log::{self, Log};
use super::slave::{Ended as StreamEnded, Follower, Stream, check, connect, connected, follow_for_ever};
use super::wire::{Report, Welcome};
use crate::engine::LogEnd;
use crate::registration;
use crate::server::Options;
use crate::takeover::{self, Form, ImportError, Imported, Kind, Refusal};

/// Marks the directory of such a slave; its content is a version.
const MARK: &str = "mirror";
const MARK_CONTENT: &[u8] = b"gantry mirror 1\n";
/// How often the master is asked what is not in its log, and whether it is known yet.
const ASK_EVERY: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A running slave of an Apache master.
pub struct Mirror(Arc<Core>);

struct Core {
    env: Env,
    name: String,
    options: Options,
    flush: Flush,
    /// Held by one append, or one look.
    log: Arc<Mutex<Option<Log>>>,
    /// Where it ends.
    end: AtomicU64,
    /// The master that the log comes from just now. Held for a look or a change.
    connected_to: Mutex<Option<String>>,
    /// Where the master answers requests. Held for a look or a change.
    master: Mutex<Option<(String, Client)>>,
    /// Where it has its log.
    master_log: watch::Sender<Option<String>>,
    /// Nobody else uses the directory.
    _lock: Box<dyn Send + Sync>,
}

/// Why the log of an Apache master does not come.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// It is not known where it answers requests.
    #[error(
        "no name server knows the master: one must, so that the master can be asked for topics, groups and offsets"
    )]
    Unknown,
    /// What it was asked was not answered.
    #[error(transparent)]
    Asked(#[from] metadata::Error),
    /// It is not Apache's any longer.
    #[error("the master is Gantry's, and this directory has the log of one of Apache's: begin with an empty directory")]
    Ours,
    /// Its log does not say all, or is sent in another way.
    #[error("the master has {setting}={value}: its state is not in its log, or its log is not sent to such a slave")]
    Setting {
        /// The key.
        setting: &'static str,
        /// What stands there.
        value: String,
    },
    /// The log's files.
    #[error(transparent)]
    Log(#[from] log::Error),
}

/// Why such a slave is not made the master.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// The master was never asked.
    #[error("the topics, groups and offsets of the Apache master never came: its log alone does not say them")]
    NoMetadata,
    /// It cannot be taken over.
    #[error("it cannot be taken over: {}", list(.0))]
    Refused(Vec<Refusal>),
    /// The taking over failed; it can be tried again.
    #[error(transparent)]
    Import(ImportError),
    /// The mark is of a newer version.
    #[error("the file {MARK} is not one that this version understands")]
    Newer,
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

fn list(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Whether a slave has, or is to have, an Apache master: by its directory, and where that is empty by asking the name servers who the
/// master is, until they know.
///
/// # Errors
/// [`PromoteError::File`], [`PromoteError::Newer`].
pub async fn follows_apache(env: &Env, name: &str, options: &Options) -> Result<bool, PromoteError> {
    if is_mirror(&*env.disk, &options.data)? {
        return Ok(Form::find(&*env.disk, &options.data)?.kind != Kind::Ours);
    }
    let is_empty = Form::find(&*env.disk, &options.data)?.kind == Kind::Neither;
    Ok(is_empty && metadata::is_master_apaches(env, name, &options.name_servers).await)
}

/// Makes the directory of a slave of an Apache master ours: what the master had not finished goes on. `None` when it is none. A death
/// in between is made good by the next call.
///
/// # Errors
/// [`PromoteError`]; then it is still the slave's.
pub async fn promote(env: &Env, dir: &Path, watcher: &mut Watcher<'_>) -> Result<Option<Imported>, PromoteError> {
    if !is_mirror(&*env.disk, dir)? {
        return Ok(None);
    }
    let is_taken_over = Form::find(&*env.disk, dir)?.kind == Kind::Ours;
    let imported = match is_taken_over {
        true => None,
        false if !metadata::has_come(&*env.disk, dir)? => return Err(PromoteError::NoMetadata),
        false => Some(takeover::import(env, dir, watcher).await.map_err(|error| match error {
            ImportError::Refused(refusals) => PromoteError::Refused(refusals),
            error => PromoteError::Import(error),
        })?),
    };
    // They say less than Apache's own would.
    takeover::empty(&*env.disk, dir.join(takeover::QUEUES_FOLDER))?;
    let mark = dir.join(MARK);
    env.disk.remove(&mark).map_err(takeover::failed("remove", &mark))?;
    env.disk.sync_dir(dir).map_err(takeover::failed("sync", dir))?;
    Ok(imported)
}

fn is_mirror(disk: &dyn Disk, dir: &Path) -> Result<bool, PromoteError> {
    match takeover::file(disk, &dir.join(MARK))?.as_deref() {
        None => Ok(false),
        Some(MARK_CONTENT) => Ok(true),
        Some(_) => Err(PromoteError::Newer),
    }
}

impl Mirror {
    /// Of this broker. Makes the directory if it is missing.
    ///
    /// # Errors
    /// The system's, of the directory; [`std::io::ErrorKind::WouldBlock`] when another process uses it.
    pub fn open(env: Env, name: String, options: Options, flush: Flush) -> Result<Self, FileError> {
        let dir = &options.data;
        env.disk.create_dir_all(dir).map_err(takeover::failed("create directory", dir))?;
        let lock = dir.join("lock");
        let lock = env.disk.lock(&lock).map_err(takeover::failed("lock", &lock))?;
        store::put_file(&*env.disk, dir, MARK, MARK_CONTENT)?;
        let master_log = watch::Sender::new(options.slave.as_ref().and_then(|slave| slave.master.clone()));
        Ok(Self(Arc::new(Core {
            env,
            name,
            options,
            flush,
            log: Arc::default(),
            end: AtomicU64::new(0),
            connected_to: Mutex::default(),
            master: Mutex::default(),
            master_log,
            _lock: lock,
        })))
    }

    /// Whose log it gets, whenever it is asked.
    pub fn replication(&self) -> impl Fn() -> HaStatus + Send + Sync + 'static + use<> {
        let core = self.0.clone();
        move || core.ha_status()
    }

    /// Follows the master, stays registered and answers on its port until `shutdown`; all of the log is on the disk on return.
    pub async fn serve(
        self,
        listener: TcpListener,
        options: remoting::Options,
        tls: Option<Arc<rustls::ServerConfig>>,
        shutdown: CancellationToken,
    ) {
        let Self(core) = self;
        let server = remoting::Server::new(Arc::new(port::Port(core.clone())), options, tls, core.env.clock.clone());
        let follow = |master| core.follow(master);
        let working = async {
            tokio::select! {
                () = core.stay_registered(&shutdown) => {}
                // Both loop for ever.
                () = follow_for_ever(&*core, &*core.env.clock, core.master_log.subscribe(), follow) => {}
                () = core.keep_asking() => {}
            }
        };
        tokio::join!(server.serve(listener, shutdown.clone()), working);
        if let Err(error) = core.on_log(|log| log.map_or(Ok(()), Log::sync)).await {
            tracing::error!(%error, "the end of the log may not be on the disk");
        }
    }
}

impl Core {
    /// Works on the log, on a thread that may wait for the disk.
    async fn on_log<T: Send + 'static>(&self, work: impl FnOnce(Option<&mut Log>) -> T + Send + 'static) -> T {
        let log = self.log.clone();
        env::blocking(move || work(log.lock().as_mut())).await
    }

    /// Tells all name servers that this broker lives, until `shutdown`, then that it leaves. It has no topics: the master's are its name's.
    async fn stay_registered(&self, shutdown: &CancellationToken) {
        let client = |address: &String| Client::new(address.clone(), self.env.clock.clone());
        let name_servers: Vec<_> = self.options.name_servers.iter().map(client).collect();
        loop {
            let mut wait = registration::REGISTER_EVERY;
            for client in &name_servers {
                match registration::tell(client, &self.name, &self.options, self.options.advertised, Topics::default())
                    .await
                {
                    Ok(answer) => self.find_master(answer),
                    Err(error) => {
                        tracing::warn!(%error, "a name server does not know this broker");
                        wait = registration::RETRY_AFTER;
                    }
                }
            }
            if self.master.lock().is_none() {
                wait = registration::RETRY_AFTER;
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = self.env.clock.sleep(wait) => {}
            }
        }
        for client in &name_servers {
            registration::leave(client, &self.name, &self.options).await;
        }
    }

    fn find_master(&self, answer: RegisterBrokerAnswer) {
        if let Some(address) = answer.master_addr.filter(|address| !address.is_empty()) {
            let mut master = self.master.lock();
            if master.as_ref().is_none_or(|(known, _)| *known != address) {
                let client = Client::new(address.clone(), self.env.clock.clone());
                *master = Some((address, client));
            }
        }
        let is_told = self.options.slave.as_ref().is_some_and(|slave| slave.master.is_some());
        registration::found(&self.master_log, answer.ha_server_addr.filter(|_| !is_told));
    }

    fn master(&self) -> Result<Client, Ended> {
        self.master.lock().as_ref().map(|(_, client)| client.clone()).ok_or(Ended::Unknown)
    }

    /// Asks the master again and again for what its log does not say. It counts once the log has come so far.
    async fn keep_asking(&self) {
        let (mut kept, mut told) = (metadata::Kept::default(), String::new());
        loop {
            while self.connected_to.lock().is_none() {
                self.env.clock.sleep(LOOK_EVERY).await;
            }
            match self.ask(&mut kept).await {
                Ok(()) => told.clear(),
                Err(error) if error.to_string() != told => {
                    tracing::warn!(%error, "the master does not say its topics, groups and offsets; it is asked again");
                    told = error.to_string();
                }
                Err(_) => {}
            }
            self.env.clock.sleep(ASK_EVERY).await;
        }
    }

    async fn ask(&self, kept: &mut metadata::Kept) -> Result<(), Ended> {
        let master = self.master()?;
        let asked = metadata::ask(&master).await?;
        // What is further than the log would let groups skip messages that are not there yet.
        while self.appended_to() < asked.end {
            if self.connected_to.lock().is_none() {
                return Ok(());
            }
            self.env.clock.sleep(LOOK_EVERY).await;
        }
        self.on_log(|log| log.map_or(Ok(()), Log::sync)).await.map_err(log::Error::from)?;
        let first = asked.first;
        let ends = if kept.first() < first { asked.queue_ends(&master).await? } else { Vec::new() };
        let (disk, dir, changed) = (self.env.disk.clone(), self.options.data.clone(), kept.changed(asked, ends));
        *kept = env::blocking(move || metadata::put(&*disk, &dir, changed)).await?;
        self.on_log(move |log| log.map_or(Ok(()), |log| log.expire(first))).await.map_err(log::Error::from)?;
        Ok(())
    }

    /// Opens the log if it is not open, as one of this length of segments that begins where the master's does.
    async fn open_log(&self, master: Welcome) -> Result<(u64, LogEnd), Ended> {
        let (disk, dir, flush, log) = (self.env.disk.clone(), self.options.data.clone(), self.flush, self.log.clone());
        let opened = env::blocking(move || {
            let mut log = log.lock();
            if log.is_none() {
                *log = Some(Log::open(disk, &dir, master.segment_bytes, master.first, flush)?);
            }
            let log = log.as_ref().expect("it was opened");
            Ok::<_, log::Error>((log.segment_bytes(), log.end()))
        });
        let opened = opened.await?;
        self.end.store(opened.1.at.0, Ordering::Release);
        Ok(opened)
    }

    /// Follows the master whose log is at this address until that ends.
    async fn follow(&self, master: String) -> Result<Infallible, StreamEnded> {
        let facts = metadata::facts(&self.master()?).await.map_err(Ended::from)?;
        let welcome = facts.check()?;
        let (segment_bytes, end) = self.open_log(welcome).await?;
        check(welcome, segment_bytes, end)?;
        let own =
            self.on_log(|log| log.map_or(Ok(Bytes::new()), |log| log.last_record())).await.map_err(Ended::from)?;
        let from = end.last.unwrap_or(end.at);
        let mut intake = Intake::new(segment_bytes, from, own);
        let mut asked = from;
        if from == PhysicalOffset(0) {
            // An Apache master sends who asks from 0 its last segment only. So all but the first byte is asked for, which is a record's
            // first: that of a length below 16 MiB.
            intake.push(from, &[0])?;
            asked = PhysicalOffset(1);
        }
        let mut stream = connected(&*self.env.clock, connect(master.clone())).await?;
        // Nothing else may be said before the master has heard it: it would take the last of both.
        stream.write_all(&Report::HasTo(asked).encode()).await?;
        Stream::new(self, &*self.env.clock, stream, &master, intake, end.at.max(asked)).run().await
    }
}

impl Follower for Core {
    fn appended_to(&self) -> PhysicalOffset {
        PhysicalOffset(self.end.load(Ordering::Acquire))
    }

    async fn append(&self, records: Bytes) -> Result<PhysicalOffset, StreamEnded> {
        let appended = self.on_log(move |log| log.expect("it was opened before the log comes").append(&records)).await;
        let end = appended.map_err(Ended::from)?;
        self.end.store(end.0, Ordering::Release);
        Ok(end)
    }

    fn connected(&self, master: Option<&str>) {
        *self.connected_to.lock() = master.map(str::to_owned);
    }
}
