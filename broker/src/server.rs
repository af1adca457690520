//! The Remoting port of a broker: connections and clients come and go, time passes, name servers are told.
//!
//! The thin shell over `requests` and the clients; what is stored is the [`LocalBroker`]'s.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::{Env, Kept, kept};
use parking_lot::Mutex;
use remoting::{CallError, Client, Connection, ConnectionId, Role};
use remoting_proto::body::HaStatus;
use remoting_proto::requests::ConsumerGroup;
use remoting_proto::{Command, RequestCode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use types::{Broker as _, GroupName, Timestamp, TopicName};

use crate::LocalBroker;
use crate::acting::{self, Acting};
use crate::clients::{Changed, Clients, SCAN_EVERY};
use crate::forbidden::Forbidden;
use crate::membership::{MemberId, Membership, View};
use crate::replication::epochs::Epoch;
use crate::replication::{Master, Slave};
use crate::request_modes::{self, RequestModes};
use crate::resets::{self, Resets};
use crate::routes::Routes;
use crate::settings::Settings;
use crate::statistics::Statistics;
use crate::{registration, requests};

/// What a broker says of itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster it belongs to.
    pub cluster: String,
    /// Where clients reach it; message ids name it too.
    pub advertised: SocketAddr,
    /// `HOST:PORT` of each name server; it registers with all.
    pub name_servers: Vec<String>,
    /// Whether clients may make topics by sending to them.
    pub auto_create_topics: bool,
    /// Most queues of a topic that is made so.
    pub default_queues: u32,
    /// The configuration as it is shown, under Apache's names where there are some.
    pub shown: Vec<(String, String)>,
    /// The broker's data directory, of which it is told how full its disk is.
    pub data: PathBuf,
    /// A reader that is farther behind the log's end, in bytes, is asked to go on at a slave; `None`: no reader is.
    pub slow_reader_bytes: Option<u64>,
    /// Of a slave: which one it is, and whose.
    pub slave: Option<SlaveOptions>,
    /// Whether the slave with the lowest number stands in for the master of its name while that is away. Source: `enableSlaveActingMaster`.
    pub acting_master: bool,
    /// Whether such a slave sends delayed messages that are due to other brokers. Source: `enableRemoteEscape`.
    pub remote_escape: bool,
}

/// What a broker is to those of its name.
enum As {
    Classic,
    /// By the word of controllers; a master since they have said this.
    Member(Arc<Membership>, Option<View>),
}

/// What a slave is told.
#[derive(Clone, Debug)]
pub struct SlaveOptions {
    /// Its number among the brokers of its name, not 0.
    pub id: u64,
    /// `HOST:PORT` where its master has its log; without it the name servers say that.
    pub master: Option<String>,
}

/// A broker's port that does not listen yet.
pub struct BrokerServer {
    core: Arc<Core>,
    /// Where it listens besides.
    more: Option<TcpListener>,
    /// Where slaves connect.
    slaves: Option<TcpListener>,
}

/// What a broker has to do with the others of its name.
pub(crate) enum Replication {
    Master(Arc<Master>),
    Slave(Slave),
}

/// What its connections get.
struct Serving(Arc<Core>);

/// What all requests share. Locks are held for one look or one change, never while something is waited for.
pub(crate) struct Core {
    pub(crate) broker: LocalBroker,
    pub(crate) options: Options,
    pub(crate) env: Env,
    pub(crate) started: Timestamp,
    pub(crate) clients: Mutex<Clients>,
    pub(crate) statistics: Mutex<Statistics>,
    pub(crate) resets: Mutex<Resets>,
    pub(crate) forbidden: Mutex<Forbidden>,
    /// Counts resets, so that pulls that wait look at them.
    pub(crate) resets_made: watch::Sender<u64>,
    pub(crate) request_modes: Arc<Mutex<RequestModes>>,
    modes_file: Kept,
    pub(crate) routes: Routes,
    pub(crate) settings: Mutex<Settings>,
    /// Tells that the settings have changed.
    pub(crate) settings_changed: watch::Sender<()>,
    /// By the place of the name server in the options.
    pub(crate) told: registration::Told,
    pub(crate) replication: Replication,
    /// Where slaves stand in for their master.
    pub(crate) acting: Option<Acting>,
    /// Under controllers.
    pub(crate) membership: Option<Arc<Membership>>,
    /// The epoch that it leads there.
    epoch: Option<Epoch>,
    /// Where slaves reach this broker.
    pub(crate) slaves_at: Option<SocketAddr>,
    /// Where a slave's master has its log, once that is known.
    pub(crate) master: watch::Sender<Option<String>>,
    /// Cancelled when nobody is to wait any longer.
    pub(crate) stopping: CancellationToken,
    connections: Mutex<BTreeMap<ConnectionId, Arc<Connection>>>,
}

impl BrokerServer {
    /// A port of this broker; slaves get a master's log at `slaves`. Blocks while it reads which groups pop.
    ///
    /// # Panics
    /// When the options are a slave's and the broker is none, or the reverse.
    #[must_use]
    pub fn new(env: Env, broker: LocalBroker, options: Options, slaves: Option<TcpListener>) -> Self {
        Self::new_as(env, broker, options, slaves, As::Classic)
    }

    /// The port of a broker under controllers, which is the master of the epoch of `view`, or a slave without one. Blocks as
    /// [`BrokerServer::new`].
    ///
    /// # Panics
    /// When the options are a slave's and the broker is none, or the reverse.
    #[must_use]
    pub fn of_member(
        env: Env,
        broker: LocalBroker,
        options: Options,
        slaves: Option<TcpListener>,
        membership: Arc<Membership>,
        view: Option<View>,
    ) -> Self {
        assert_eq!(broker.is_slave(), view.is_none(), "a master was told of its epoch");
        Self::new_as(env, broker, options, slaves, As::Member(membership, view))
    }

    fn new_as(env: Env, broker: LocalBroker, options: Options, slaves: Option<TcpListener>, of: As) -> Self {
        assert_eq!(broker.is_slave(), options.slave.is_some(), "a broker and its port have one role");
        let started = env.clock.now();
        let settings = Settings::new(options.auto_create_topics, options.default_queues, &options.shown);
        let client = |address: &String| Client::new(address.clone(), env.clock.clone());
        let told = registration::Told::new(vec![None; options.name_servers.len()]);
        let modes_file = Kept::new(env.clone(), "file of consume modes", options.data.join(request_modes::FILE));
        let modes_copy = options.data.join(request_modes::FILE).with_added_extension("bak");
        let modes_copy = Kept::new(env.clone(), "Apache's copy of the file of consume modes", modes_copy);
        let master = watch::Sender::new(options.slave.as_ref().and_then(|slave| slave.master.clone()));
        let slave = || Slave::new(broker.clone(), env.clock.clone(), master.subscribe());
        let (replication, membership, epoch) = match of {
            As::Classic if let Some(SlaveOptions { id, .. }) = options.slave => {
                let number = MemberId(i64::try_from(id).unwrap_or(i64::MAX));
                (Replication::Slave(slave().numbered(number)), None, None)
            }
            As::Classic => {
                let master = Master::new(broker.clone(), env.clock.clone());
                (Replication::Master(Arc::new(master)), None, None)
            }
            As::Member(membership, None) => {
                (Replication::Slave(slave().of(membership.clone())), Some(membership), None)
            }
            As::Member(membership, Some(view)) => {
                let master = Master::leading(broker.clone(), env.clock.clone(), membership.clone(), &view);
                (Replication::Master(Arc::new(master)), Some(membership), Some(view.epoch))
            }
        };
        let acting = options
            .acting_master
            .then(|| Acting::open(&env, registration::broker_id(&options), &options.data, options.name_servers.len()));
        let slaves_port = slaves.as_ref().and_then(|listener| listener.local_addr().ok()).map(|address| address.port());
        let core = Core {
            request_modes: Arc::new(Mutex::new(kept_modes(&modes_file, &modes_copy))),
            modes_file,
            replication,
            acting,
            membership,
            epoch,
            slaves_at: slaves_port.map(|port| SocketAddr::new(options.advertised.ip(), port)),
            master,
            routes: Routes::new(options.name_servers.iter().map(client).collect()),
            broker,
            options,
            started,
            told,
            env,
            statistics: Mutex::new(Statistics::new(started)),
            resets: Mutex::default(),
            forbidden: Mutex::default(),
            resets_made: watch::Sender::new(0),
            settings: Mutex::new(settings),
            settings_changed: watch::Sender::new(()),
            clients: Mutex::default(),
            stopping: CancellationToken::new(),
            connections: Mutex::default(),
        };
        Self { core: Arc::new(core), more: None, slaves }
    }

    /// The same port, on another listener too.
    #[must_use]
    pub fn also_on(self, listener: TcpListener) -> Self {
        Self { more: Some(listener), ..self }
    }

    /// How far a master's slaves are, or whose log a slave gets, whenever it is asked.
    pub fn replication(&self) -> impl Fn() -> HaStatus + Send + Sync + 'static + use<> {
        let core = self.core.clone();
        move || requests::runtime::ha_status(&core)
    }

    /// Cancelled once a slave's log may be given up because it ends before its master's begins: it is to be stopped, given up
    /// ([`crate::replication::join::give_up`]) and started anew. Of a master never.
    #[must_use]
    pub fn behind(&self) -> CancellationToken {
        match &self.core.replication {
            Replication::Master(_) => CancellationToken::new(),
            Replication::Slave(slave) => slave.behind(),
        }
    }

    /// Cancelled once a segment of a slave's log is found to be damaged: it is to be stopped and started anew. Of a master never.
    #[must_use]
    pub fn damaged(&self) -> CancellationToken {
        match &self.core.replication {
            Replication::Master(_) => CancellationToken::new(),
            Replication::Slave(slave) => slave.damaged(),
        }
    }

    /// Serves and stays registered until `shutdown`; then leaves the name servers, lets nobody wait any longer, answers what was
    /// read and returns.
    pub async fn serve(
        self,
        listener: TcpListener,
        options: remoting::Options,
        tls: Option<Arc<rustls::ServerConfig>>,
        shutdown: CancellationToken,
    ) {
        let Self { core, more, slaves } = self;
        let server = remoting::Server::new(Arc::new(Serving(core.clone())), options, tls, core.env.clock.clone());
        let server = more.into_iter().fold(server, remoting::Server::also_on);
        let served = async {
            tokio::select! {
                () = core.stay_registered(&shutdown) => {}
                // Loops for ever.
                () = core.watch_time() => {}
                () = requests::ask_producers(&core) => {}
            }
            core.stopping.cancel();
        };
        // Slaves get what is answered to the end.
        let answered = CancellationToken::new();
        let serving = async {
            tokio::join!(server.serve(listener, core.stopping.clone()), served);
            answered.cancel();
        };
        tokio::join!(core.replicate(slaves, answered.clone()), serving);
    }
}

impl Core {
    /// Serves slaves, or follows the master, until all requests are answered.
    async fn replicate(self: &Arc<Self>, slaves: Option<TcpListener>, answered: CancellationToken) {
        match (&self.replication, slaves) {
            (Replication::Master(master), Some(listener)) => {
                let serving = master.serve(listener, answered);
                tokio::select! {
                    biased;
                    () = serving => {}
                    // Loops for ever.
                    () = self.report(master) => {}
                }
            }
            (Replication::Master(_), None) => {}
            (Replication::Slave(slave), _) => {
                tokio::select! {
                    // These loop for ever.
                    () = slave.run() => {}
                    () = self.find_master() => {}
                    () = slave.look_through(&self.env, &self.options.data) => {}
                    () = self.act() => {}
                    () = answered.cancelled() => {}
                }
                if let Some(acting) = &self.acting {
                    acting.write().await;
                }
            }
        }
    }

    /// Tells the controllers who is in sync with this master, if there are any.
    async fn report(&self, master: &Master) {
        match (&self.membership, self.epoch) {
            (Some(membership), Some(epoch)) => membership.report(epoch, master).await,
            _ => std::future::pending().await,
        }
    }

    /// Looks where a slave's master has its log, if controllers say who it is.
    async fn find_master(&self) {
        match &self.membership {
            Some(membership) => membership.find_master(&self.master).await,
            None => std::future::pending().await,
        }
    }

    /// Stays registered until `shutdown`; of a master that slaves stand in for nobody hears before it knows what they have done.
    async fn stay_registered(self: &Arc<Self>, shutdown: &CancellationToken) {
        if let (Replication::Master(_), Some(acting)) = (&self.replication, &self.acting) {
            acting::take_back(self, acting, shutdown).await;
        }
        registration::run(self, shutdown).await;
    }

    /// Keeps what is done in the master's stead, and tells it.
    async fn act(self: &Arc<Self>) {
        match &self.acting {
            Some(acting) => {
                tokio::join!(acting.keep(), acting::hand_on(self, acting), acting::escape(self, acting));
            }
            None => std::future::pending().await,
        }
    }

    /// Whether clients' offsets and locks are this broker's matter: a master's, or a slave's that stands in for it.
    pub(crate) fn decides(&self) -> bool {
        !self.broker.is_slave() || self.acting.as_ref().is_some_and(Acting::stands_in)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.env.clock.now()
    }

    /// Whether another broker may be the master by now, for all that this one knows.
    pub(crate) fn is_fenced(&self) -> bool {
        self.epoch.is_some() && self.membership.as_ref().is_some_and(|membership| membership.lease().is_over())
    }

    /// The broker's name.
    pub(crate) fn name(&self) -> &str {
        self.broker.name()
    }

    /// Tells the members of groups that others came or went. Who cannot be told finds out within 20 s.
    pub(crate) fn notify(&self, changed: Vec<Changed>) {
        let connections = self.connections.lock();
        for Changed { group, members } in changed {
            let header = ConsumerGroup { consumer_group: group };
            let request = Command::request(RequestCode::NotifyConsumerIdsChanged, header.to_fields(), Bytes::new());
            for connection in members.iter().filter_map(|id| connections.get(id)) {
                connection.oneway(request.clone());
            }
        }
    }

    /// Sends a client a request; says whether it is on its way.
    pub(crate) fn ask(&self, connection: ConnectionId, request: Command) -> bool {
        self.connection(connection).is_some_and(|connection| connection.oneway(request))
    }

    /// A client's connection, while it is there.
    pub(crate) fn connection(&self, connection: ConnectionId) -> Option<Arc<Connection>> {
        self.connections.lock().get(&connection).cloned()
    }

    /// Asks a client and waits for its answer.
    pub(crate) async fn call(
        &self,
        connection: ConnectionId,
        request: Command,
        within: Duration,
    ) -> Result<Command, CallError> {
        let connection = self.connection(connection).ok_or(CallError::Unasked)?;
        connection.call(request, &*self.env.clock, within).await
    }

    /// A connection that ended while its heartbeat was answered was forgotten before the heartbeat made it known.
    pub(crate) fn forget_if_gone(&self, connection: ConnectionId) {
        if !self.connections.lock().contains_key(&connection) {
            let changed = self.clients.lock().disconnect(connection);
            self.notify(changed);
        }
    }

    /// Forgets what was set of groups that are gone, or whose topics are: where they were to go on, and what they may not read.
    pub(crate) async fn forget_gone(&self) {
        let is_there = |group: &GroupName, topic: &TopicName| {
            self.broker.known_topic(topic).is_some() && self.broker.is_group_known(group)
        };
        self.resets.lock().keep(|(group, topic, _): &resets::Queue| is_there(group, topic));
        self.forbidden.lock().look(is_there);
        let has_modes_gone = self.request_modes.lock().keep(is_there);
        if has_modes_gone && let Err(error) = self.save_request_modes().await {
            tracing::warn!(%error, "consume modes of what was deleted come back with the next start");
        }
    }

    /// Writes which groups pop, as it is then; on the disk on return.
    pub(crate) async fn save_request_modes(&self) -> Result<(), kept::Error> {
        let modes = self.request_modes.clone();
        self.modes_file.write(move || modes.lock().to_file()).await
    }

    /// Looks again and again for clients that are silent for too long, and for what else has become old; samples what is counted.
    async fn watch_time(&self) {
        loop {
            self.env.clock.sleep(SCAN_EVERY).await;
            let now = self.now();
            let changed = self.clients.lock().expire(now);
            self.notify(changed);
            self.resets.lock().expire(now);
            // Topics and groups are deleted through other doors, too.
            self.forget_gone().await;
            self.statistics.lock().sample(now);
        }
    }
}

/// Which groups pop, as it was set before, by the file or else by the copy of Apache's broker, which moves the file there before it writes
/// a new one. A file that cannot be read keeps no broker from serving; a damaged one is put aside for people to look at.
/// Source: Apache 5.5 `ConfigManager.load`, `ConfigManager.persist`.
fn kept_modes(file: &Kept, copy: &Kept) -> RequestModes {
    let read = |kept: &Kept| kept.read(request_modes::FILE_BYTES_MAX, RequestModes::from_file);
    match read(file) {
        Ok(Some(modes)) => return modes,
        Ok(None) => {}
        Err(error @ (kept::Error::Read { .. } | kept::Error::Write { .. })) => {
            tracing::error!(%error, "all groups pull until they are set to pop again, or until a start that can read it");
            return RequestModes::default();
        }
        Err(error @ kept::Error::Unusable { .. }) => match file.set_aside() {
            Ok(aside) => tracing::error!(%error, aside = %aside.display(), "consume modes are what Apache's copy says"),
            Err(not_moved) => tracing::error!(%error, %not_moved, "consume modes are what Apache's copy says"),
        },
    }
    read(copy)
        .unwrap_or_else(|error| {
            tracing::error!(%error, "all groups pull until they are set to pop again");
            None
        })
        .unwrap_or_default()
}

impl Role for Serving {
    fn connect(&self, connection: &Arc<Connection>) {
        self.0.connections.lock().insert(connection.id(), connection.clone());
    }

    fn may_wait(&self, request: &Command) -> bool {
        requests::may_wait(request)
    }

    fn only_reads(&self, request: &Command) -> bool {
        requests::only_reads(request)
    }

    async fn serve(&self, connection: &Connection, request: Command) -> Command {
        requests::serve(&self.0, connection, &request).await
    }

    fn disconnect(&self, connection: &Connection) {
        self.0.connections.lock().remove(&connection.id());
        let changed = self.0.clients.lock().disconnect(connection.id());
        self.0.notify(changed);
    }
}
