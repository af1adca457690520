//! Composition: what a running gRPC front door is made of, its background work, and how it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use grpc::v2::messaging_service_server::SERVICE_NAME;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use types::Broker;

use crate::checks::Checks;
use crate::clients::{Answers, Clients};
use crate::http2::{InboundBytes, OtherServices};
use crate::listener::Front;
use crate::messaging::Messaging;
use crate::options::Options;
use crate::origins::Origins;
use crate::sessions::{Attached, Sessions};
use crate::{clock, transaction_checks};

/// How often the broker hears which clients live. The shortest lease that lives by it is 60 s.
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long calls may take to notice that their connection was cut.
const ABORT_GRACE: Duration = Duration::from_secs(1);
/// What gRPC clients insist on agreeing on (ALPN).
const HTTP2: &[u8] = b"h2";
/// What web pages may speak besides.
const HTTP1: &[u8] = b"http/1.1";
/// The health service's name for the whole server.
const WHOLE_SERVER: &str = "";

/// Why a server cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] remoting::tls::Error),
    /// The descriptors for reflection cannot be read: a broken build.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// The gRPC front door over one broker.
pub struct Server {
    front: Arc<Front>,
    health: HealthReporter,
    clients: Clients,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) messaging: Messaging,
    pub(crate) options: Options,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) answers: Arc<Answers>,
    /// Cancelled when the server begins to stop.
    pub(crate) draining: CancellationToken,
    /// Owns every task of the server.
    pub(crate) tasks: TaskTracker,
}

/// What is known of one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    /// The clients that were heard of on it.
    pub(crate) attached: Attached,
    /// Bytes of popped messages that its client has not taken yet.
    pub(crate) unread_bytes: AtomicUsize,
}

impl Connection {
    pub(crate) fn new(remote: SocketAddr, local: SocketAddr) -> Self {
        Self { remote, local, attached: Attached::default(), unread_bytes: AtomicUsize::new(0) }
    }
}

impl Server {
    /// A server that is not listening yet.
    ///
    /// # Errors
    /// [`Error`].
    pub fn new(broker: Arc<dyn Broker>, options: Options) -> Result<Self, Error> {
        let spoken: &[&[u8]] = if options.web == Origins::None { &[HTTP2] } else { &[HTTP2, HTTP1] };
        let tls = options.tls.as_ref().map(|tls| tls.server_config(spoken)).transpose()?.map(TlsAcceptor::from);
        let (draining, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (sessions, answers) = (Arc::<Sessions>::default(), Arc::<Answers>::default());
        let clients = Clients::new(sessions.clone(), answers.clone());
        let (health, others) = other_services()?;
        let inbound = Arc::new(InboundBytes::new(options.connections.inbound_bytes_max));
        let messaging = Messaging::new(broker, draining.clone(), tasks.clone());
        let shared = Arc::new(Shared { messaging, options, sessions, answers, draining, tasks });
        let front = Front { shared, tls, others, inbound, abort: CancellationToken::new() };
        Ok(Self { front: Arc::new(front), health, clients })
    }

    /// The messaging service behind it, for other front doors.
    #[must_use]
    pub fn messaging(&self) -> Messaging {
        self.front.shared.messaging.clone()
    }

    /// Check-back for producers of other front doors.
    #[must_use]
    pub fn checks(&self) -> Checks {
        Checks::new(self.front.shared.sessions.clone(), self.front.shared.draining.clone())
    }

    /// The connected clients.
    #[must_use]
    pub fn clients(&self) -> Clients {
        self.clients.clone()
    }

    /// Serves until `shutdown`, then drains: health says so, no new connections, long polls end with what they have,
    /// clients are told to connect elsewhere, open calls finish. Returns when the last call has ended or
    /// `drain_timeout` is over.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let Self { front, mut health, .. } = self;
        let shared = front.shared.clone();
        shared.tasks.spawn(say_who_lives(shared.clone()));
        shared.tasks.spawn(say_who_produces(shared.clone()));
        shared.tasks.spawn(pass_checks_on(shared.clone()));
        for service in [WHOLE_SERVER, SERVICE_NAME] {
            health.set_service_status(service, ServingStatus::Serving).await;
        }

        front.clone().accept(listener, &shutdown).await;

        for service in [WHOLE_SERVER, SERVICE_NAME] {
            health.set_service_status(service, ServingStatus::NotServing).await;
            // Ends the streams of those who watch: they would keep their connections open.
            health.clear_service_status(service).await;
        }
        shared.draining.cancel();
        shared.tasks.close();
        let limit = shared.options.connections.drain_timeout;
        if tokio::time::timeout(limit, shared.tasks.wait()).await.is_err() {
            tracing::warn!(open = shared.tasks.len(), "calls did not finish in time and are cut off");
            front.abort.cancel();
            let _ = tokio::time::timeout(ABORT_GRACE, shared.tasks.wait()).await;
        }
    }
}

/// Health checks, and reflection in both versions that tools speak.
fn other_services() -> Result<(HealthReporter, OtherServices), Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(grpc::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(SERVICE_NAME)
            .with_service_name("grpc.health.v1.Health")
    };
    let routes = OtherServices::new(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .prepare();
    Ok((reporter, routes))
}

/// Tells the broker again and again which clients live, so that it prolongs their leases, and forgets the others.
async fn say_who_lives(shared: Arc<Shared>) {
    let say = async {
        loop {
            clock::sleep(ALIVE_INTERVAL).await;
            let swept = shared.sessions.sweep(clock::now());
            if swept.expired > 0 {
                tracing::debug!(clients = swept.expired, "clients were not heard of and are forgotten");
            }
            // Nobody's too: what is remembered of leases that have ended goes then.
            shared.messaging.broker().clients_alive(swept.alive).await;
        }
    };
    tokio::select! {
        () = say => {}
        () = shared.draining.cancelled() => {}
    }
}

/// Tells the broker again and again whose producers can be asked about half messages; in the end, that nobody's can.
async fn say_who_produces(shared: Arc<Shared>) {
    let say = async {
        loop {
            clock::sleep(ALIVE_INTERVAL).await;
            shared.messaging.broker().producers_alive(shared.sessions.asked_topics()).await;
        }
    };
    tokio::select! {
        () = say => {}
        () = shared.draining.cancelled() => shared.messaging.broker().producers_alive(Vec::new()).await,
    }
}

async fn pass_checks_on(shared: Arc<Shared>) {
    let draining = shared.draining.clone();
    tokio::select! {
        () = transaction_checks::run(shared.messaging.clone(), shared.sessions.clone()) => {}
        () = draining.cancelled() => {}
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("messaging", &self.messaging).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("shared", &self.front.shared).finish_non_exhaustive()
    }
}
