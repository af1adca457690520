//! The shell: connections come and go, time passes, the key-value configuration is kept in a file.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::Env;
use env::disk::OpenMode;
use parking_lot::{Mutex, RwLock};
use remoting::{Connection, ConnectionId, Role, Server};
use remoting_proto::Command;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use types::Timestamp;

use crate::kv::{self, KvConfig};
use crate::notifier::{self, NOTICES_MAX};
use crate::registry::{Notice, Registry};
use crate::requests;
use crate::settings::Settings;

/// Largest file of the key-value configuration that is read, in bytes: JSON may write a byte as six.
const KV_FILE_BYTES_MAX: u64 = 8 * kv::BYTES_MAX as u64;

/// What is to be known at the start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the key-value configuration is kept; made on the first change, with its folder.
    pub kv_file: PathBuf,
    /// What may be changed later.
    pub settings: Settings,
    /// What else is shown of the configuration, under Apache's names.
    pub shown: Vec<(&'static str, String)>,
}

/// The file of the key-value configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KvFileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is too long or not what is expected.
    #[error("{} is no key-value configuration: {detail}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// It cannot be written; what was asked for holds until the process ends.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A name server that does not listen yet.
pub struct NameServer {
    core: Arc<Core>,
    notices: mpsc::Receiver<Notice>,
}

/// What its connections get.
struct Serving(Arc<Core>);

/// What all requests share. Locks are held for one look or one change, never while something is waited for; who needs two
/// takes `registry` first.
pub(crate) struct Core {
    pub(crate) registry: RwLock<Registry>,
    pub(crate) kv: Arc<RwLock<KvConfig>>,
    pub(crate) settings: RwLock<Settings>,
    pub(crate) shown: Vec<(&'static str, String)>,
    pub(crate) started: Timestamp,
    notices: mpsc::Sender<Notice>,
    connections: Mutex<BTreeMap<ConnectionId, Arc<Connection>>>,
    env: Env,
    /// The file; held while it is written, so that an older state never follows a newer one.
    kv_file: Arc<Mutex<PathBuf>>,
}

impl NameServer {
    /// Reads the key-value configuration. Blocks.
    ///
    /// # Errors
    /// [`KvFileError`]; a missing file is an empty configuration.
    pub fn open(env: Env, options: Options) -> Result<Self, KvFileError> {
        let kv = read_kv(&env, &options.kv_file)?;
        let (tell, notices) = mpsc::channel(NOTICES_MAX);
        let core = Arc::new(Core {
            registry: RwLock::default(),
            kv: Arc::new(RwLock::new(kv)),
            settings: RwLock::new(options.settings),
            shown: options.shown,
            notices: tell,
            started: env.clock.now(),
            connections: Mutex::default(),
            env,
            kv_file: Arc::new(Mutex::new(options.kv_file)),
        });
        Ok(Self { core, notices })
    }

    /// Serves until `shutdown`, as [`Server::serve`] does.
    pub async fn serve(
        self,
        listener: TcpListener,
        options: remoting::Options,
        tls: Option<Arc<rustls::ServerConfig>>,
        shutdown: tokio_util::sync::CancellationToken,
    ) {
        let Self { core, notices } = self;
        let clock = core.env.clock.clone();
        let server = Server::new(Arc::new(Serving(core.clone())), options, tls, clock.clone());
        tokio::select! {
            () = server.serve(listener, shutdown) => {}
            () = core.expire_brokers() => {}
            () = notifier::run(notices, clock) => {}
        }
    }
}

impl Core {
    pub(crate) fn now(&self) -> Timestamp {
        self.env.clock.now()
    }

    /// Changes the routes, and has brokers told what follows from it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        let (changed, notices) = {
            let mut registry = self.registry.write();
            (change(&mut registry), registry.take_notices())
        };
        let is_wanted = self.settings.read().notify_min_broker_id_changed;
        for notice in notices.into_iter().filter(|_| is_wanted) {
            if let Err(error) = self.notices.try_send(notice) {
                tracing::warn!(%error, "brokers are not told who has the lowest id of their name");
            }
        }
        changed
    }

    /// Whether a connection has not ended.
    pub(crate) fn is_connected(&self, connection: ConnectionId) -> bool {
        self.connections.lock().contains_key(&connection)
    }

    /// Looks again and again for brokers that were not heard of for too long.
    async fn expire_brokers(&self) {
        loop {
            let interval = self.settings.read().scan_interval;
            self.env.clock.sleep(interval).await;
            let now = self.now();
            let expired = self.change(|registry| registry.expire(now));
            let connections = self.connections.lock();
            expired.iter().filter_map(|id| connections.get(id)).for_each(|connection| connection.close());
        }
    }

    /// Writes the key-value configuration as it is now; on the disk on return.
    pub(crate) async fn save_kv(&self) -> Result<(), KvFileError> {
        // The disk blocks; a thread of the runtime's for such work waits for it.
        let (env, kv, kv_file) = (self.env.clone(), self.kv.clone(), self.kv_file.clone());
        let written = tokio::task::spawn_blocking(move || {
            let file = kv_file.lock();
            let text = kv.read().to_file();
            write_kv(&env, &file, &text).map_err(|source| KvFileError::Write { file: file.clone(), source })
        });
        written.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }
}

fn read_kv(env: &Env, file: &Path) -> Result<KvConfig, KvFileError> {
    let unreadable = |source| KvFileError::Read { file: file.to_owned(), source };
    let unusable = |detail| KvFileError::Unusable { file: file.to_owned(), detail };
    let opened = match env.disk.open(file, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KvConfig::default()),
        opened => opened.map_err(unreadable)?,
    };
    let bytes = opened.len().map_err(unreadable)?;
    if bytes > KV_FILE_BYTES_MAX {
        return Err(unusable(format!("it has {bytes} bytes, limit is {KV_FILE_BYTES_MAX}")));
    }
    let mut text = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    // Fewer only if somebody has cut the file meanwhile.
    if opened.read_at(&mut text, 0).map_err(unreadable)? < text.len() {
        return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
    }
    KvConfig::from_file(&text).map_err(|error| unusable(error.to_string()))
}

/// Beside the file first, so that it is the old or the new one whenever the power fails.
fn write_kv(env: &Env, file: &Path, text: &[u8]) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    env.disk.create_dir_all(folder)?;
    let new = file.with_extension("json.new");
    let opened = env.disk.open(&new, OpenMode::Create)?;
    opened.write_all_at(&[IoSlice::new(text)], 0)?;
    opened.sync_data()?;
    env.disk.rename(&new, file)?;
    env.disk.sync_dir(folder)
}

impl Role for Serving {
    fn connect(&self, connection: &Arc<Connection>) {
        self.0.connections.lock().insert(connection.id(), connection.clone());
    }

    async fn serve(&self, connection: &Connection, request: Command) -> Command {
        requests::serve(&self.0, connection, &request).await
    }

    fn disconnect(&self, connection: &Connection) {
        self.0.connections.lock().remove(&connection.id());
        self.0.change(|registry| registry.disconnect(connection.id()));
    }
}

impl std::fmt::Debug for NameServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NameServer").finish_non_exhaustive()
    }
}
