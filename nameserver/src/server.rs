//! The shell: connections come and go, time passes, what operators set is kept in files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use env::clock::Moment;
use env::{Env, Kept, kept};
use parking_lot::{Mutex, RwLock};
use remoting::{Connection, ConnectionId, Notices, Role, Server};
use remoting_proto::Command;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::kv::{self, KvConfig};
use crate::registry::Registry;
use crate::settings::{Changes, Settings, Unfit};
use crate::{notifier, requests};

/// Largest file of the key-value configuration that is read, in bytes: JSON may write a byte as six.
const KV_FILE_BYTES_MAX: u64 = 8 * kv::BYTES_MAX as u64;
/// Largest file of changed settings that is read, in bytes: there are ten of them.
const SETTINGS_FILE_BYTES_MAX: u64 = 64 * 1024;

/// What is to be known at the start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the key-value configuration is kept; made on the first change, with its folder.
    pub kv_file: PathBuf,
    /// Where those settings are kept that were changed while it ran; made on the first change, with its folder.
    pub settings_file: PathBuf,
    /// What may be changed later. What was changed before holds instead.
    pub settings: Settings,
    /// What else is shown of the configuration, under Apache's names.
    pub shown: Vec<(&'static str, String)>,
}

/// A name server that does not listen yet.
pub struct NameServer {
    core: Arc<Core>,
    notices: Notices,
}

/// What its connections get.
struct Serving(Arc<Core>);

/// What all requests share. Locks are held for one look or one change, never while something is waited for; who needs two
/// takes the one that stands before the other here.
pub(crate) struct Core {
    pub(crate) registry: RwLock<Registry>,
    pub(crate) kv: Arc<RwLock<KvConfig>>,
    pub(crate) settings: RwLock<Settings>,
    /// Those that were changed, with what they are since then.
    pub(crate) changes: Arc<RwLock<Changes>>,
    pub(crate) shown: Vec<(&'static str, String)>,
    pub(crate) started: Moment,
    notices: mpsc::Sender<remoting::Notice>,
    connections: Mutex<BTreeMap<ConnectionId, Arc<Connection>>>,
    env: Env,
    kv_file: Kept,
    settings_file: Kept,
}

impl NameServer {
    /// Reads what operators have set before. Blocks.
    ///
    /// # Errors
    /// [`kept::Error`]; a missing file is nothing that was set.
    pub fn open(env: Env, options: Options) -> Result<Self, kept::Error> {
        let Options { kv_file, settings_file, mut settings, shown } = options;
        let kv_file = Kept::new(env.clone(), "key-value configuration", kv_file);
        let kv = kv_file.read(KV_FILE_BYTES_MAX, KvConfig::from_file)?.unwrap_or_default();
        let settings_file = Kept::new(env.clone(), "file of changed settings", settings_file);
        let changes = settings_file.read(SETTINGS_FILE_BYTES_MAX, |text| Changes::from_file(text, &mut settings))?;
        let changes = changes.unwrap_or_default();
        if !changes.is_empty() {
            tracing::info!(%changes, "settings are as they were changed before (updateNamesrvConfig)");
        }
        let (tell, notices) = Notices::new();
        let core = Arc::new(Core {
            registry: RwLock::default(),
            kv: Arc::new(RwLock::new(kv)),
            settings: RwLock::new(settings),
            changes: Arc::new(RwLock::new(changes)),
            shown,
            notices: tell,
            started: env.clock.moment(),
            connections: Mutex::default(),
            env,
            kv_file,
            settings_file,
        });
        Ok(Self { core, notices })
    }

    /// How many brokers live and how many topics they have, whenever it is asked.
    pub fn counts(&self) -> impl Fn() -> (usize, usize) + Send + Sync + 'static + use<> {
        let core = self.core.clone();
        move || core.registry.read().counts()
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
            () = notices.send(clock) => {}
        }
    }
}

impl Core {
    pub(crate) fn moment(&self) -> Moment {
        self.env.clock.moment()
    }

    /// Changes the routes, and has brokers told what follows from it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        let (changed, notices) = {
            let mut registry = self.registry.write();
            (change(&mut registry), registry.take_notices())
        };
        let is_wanted = self.settings.read().notify_min_broker_id_changed;
        for notice in notices.into_iter().filter(|_| is_wanted) {
            if let Err(error) = self.notices.try_send(notifier::request(notice)) {
                tracing::warn!(%error, "brokers are not told who has the lowest id of their name");
            }
        }
        changed
    }

    /// Changes settings, all or none.
    pub(crate) fn change_settings(&self, told: &BTreeMap<String, String>) -> Result<(), Unfit> {
        let (mut settings, mut changes) = (self.settings.write(), self.changes.write());
        changes.make(told, &mut settings)?;
        tracing::info!(?told, "settings changed");
        Ok(())
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
            let now = self.moment();
            let expired = self.change(|registry| registry.expire(now));
            let connections = self.connections.lock();
            expired.iter().filter_map(|id| connections.get(id)).for_each(|connection| connection.close());
        }
    }

    /// Writes the key-value configuration as it is then; on the disk on return.
    pub(crate) async fn save_kv(&self) -> Result<(), kept::Error> {
        let kv = self.kv.clone();
        self.kv_file.write(move || kv.read().to_file()).await
    }

    /// Writes the changed settings as they are then; on the disk on return.
    pub(crate) async fn save_settings(&self) -> Result<(), kept::Error> {
        let changes = self.changes.clone();
        self.settings_file.write(move || changes.read().to_file()).await
    }
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
