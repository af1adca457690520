//! `/v1/webhooks`: messages are posted to URLs, over the leases of consumer groups; `/v1/check-urls`: half messages are asked about at URLs, in
//! the place of a producer. Any number of gateways do so together and agree on nothing but what there is, which is kept in a topic ([`topic`]).
//!
//! | method and path                   | body            | answer              |
//! |-----------------------------------|-----------------|---------------------|
//! | `POST /webhooks`                  | `NewWebhook`    | 201 `Webhook`       |
//! | `GET /webhooks`                   |                 | 200 `WebhookList`   |
//! | `GET /webhooks/{id}`              |                 | 200 `Webhook`       |
//! | `PATCH /webhooks/{id}`            | `ChangeWebhook` | 200 `Webhook`       |
//! | `DELETE /webhooks/{id}`           |                 | 204                 |
//! | `GET /webhooks/{id}/deliveries`   |                 | 200 `Deliveries`    |
//! | `POST /webhooks/{id}/test`        |                 | 200 `DeliveryView`  |
//! | `POST /check-urls`                | `NewCheckUrl`   | 201 `CheckUrl`      |
//! | `GET /check-urls`                 |                 | 200 `CheckUrlList`  |
//! | `GET /check-urls/{id}`            |                 | 200 `CheckUrl`      |
//! | `PATCH /check-urls/{id}`          | `ChangeCheckUrl` | 200 `CheckUrl`     |
//! | `DELETE /check-urls/{id}`         |                 | 204                 |
//! | `GET /check-urls/{id}/deliveries` |                 | 200 `Deliveries`    |
//!
//! | module | what |
//! |---|---|
//! | `views`, `subscription` | what a webhook is, in JSON and checked |
//! | `registry`, `seal`, `topic`, `keeper` | all of them: a value, as sealed records, in a topic, and who reads and writes it |
//! | `machine`, `caller` | when to call and what becomes of messages: a value, and what does as it says |
//! | `deliver`, `ask` | what is called about: messages, and checks of half messages |
//! | `room` | what calls may use up, and which part of it is whose |
//! | `format`, `signature`, `network`, `client` | one call |
//! | `history`, `metrics` | what has happened |

mod ask;
mod caller;
mod client;
mod deliver;
mod format;
mod history;
mod keeper;
mod machine;
mod metrics;
mod network;
mod registry;
mod room;
mod routes;
mod seal;
mod signature;
mod subscription;
#[cfg(test)]
mod tests;
mod topic;
pub mod views;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use env::Env;
use http::StatusCode;
use parking_lot::Mutex;
use proxy::Messaging;
use proxy::checks::Checks;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use client::Authorities;
pub use network::Allowed;
pub use room::WEBHOOKS_MAX;
pub use seal::Keys;

use crate::problem::Problem;
use client::Client;
use history::History;
use keeper::{Command, Keeper};
use metrics::Metrics;
use registry::{Record, Registry, Wanted};
use room::Room;
pub(crate) use routes::{described, routes};

/// Changes that wait to be written.
const COMMANDS_MAX: usize = 64;

/// What an operator decides.
#[derive(Debug)]
pub struct Options {
    /// What seals webhooks; the same for all gateways.
    pub keys: Arc<Keys>,
    /// Networks that may be called though they are not the internet's.
    pub allowed: Allowed,
    /// Who vouches for endpoints' certificates besides those whom the system trusts.
    pub authorities: Authorities,
    /// Most webhooks, 1 to [`WEBHOOKS_MAX`]; the same for all gateways.
    pub webhooks_max: usize,
    /// Age at which a webhook's record is written again: well below what the brokers keep messages for.
    pub rewrite_after: Duration,
}

/// What they work on.
#[derive(Clone, Debug)]
pub struct Front {
    /// Where messages are received.
    pub messaging: Messaging,
    /// Where it is heard which half messages wait for a producer.
    pub checks: Checks,
}

/// The webhooks of a gateway: cheap to clone.
#[derive(Clone)]
pub struct Webhooks(Arc<Shared>);

/// What all that work on webhooks share.
struct Shared {
    env: Env,
    messaging: Messaging,
    checks: Checks,
    client: Client,
    metrics: Metrics,
    webhooks_max: usize,
    rewrite_after: Duration,
    room: Room,
    /// Held for a look or for taking records into account.
    known: Mutex<Known>,
    /// Held for a look.
    histories: Mutex<HashMap<String, Arc<History>>>,
    commands: mpsc::Sender<Command>,
    /// Owns the keeper, the deliverers and the calls.
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What is known of the webhooks.
#[derive(Debug, Default)]
struct Known {
    registry: Registry,
    /// Why the topic was not read to its end yet, as long as that is so.
    unread: Option<String>,
    /// Whether it was, since the start.
    is_complete: bool,
}

impl Webhooks {
    /// Reads what webhooks there are, and delivers them until [`Webhooks::stop`]. Needs a tokio runtime.
    ///
    /// # Errors
    /// TLS cannot be set up, or the registry has these metrics already.
    pub fn start(env: Env, front: Front, metrics: &prometheus::Registry, options: Options) -> Result<Self, StartError> {
        let room = Room::new(room::CALLS_MAX, room::BYTES_MAX, options.webhooks_max);
        Self::start_in(room, env, front, metrics, options)
    }

    /// The same with room for so much.
    fn start_in(
        room: Room,
        env: Env,
        Front { messaging, checks }: Front,
        metrics: &prometheus::Registry,
        options: Options,
    ) -> Result<Self, StartError> {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let shared = Arc::new(Shared {
            env,
            messaging: messaging.clone(),
            checks,
            client: Client::new(options.allowed, options.authorities)?,
            metrics: Metrics::new(metrics)?,
            webhooks_max: options.webhooks_max,
            rewrite_after: options.rewrite_after,
            room,
            known: Mutex::default(),
            histories: Mutex::default(),
            commands,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        let topic = topic::Topic::new(messaging, options.keys);
        shared.tasks.spawn(Keeper::new(shared.clone(), topic, received).run());
        Ok(Self(shared))
    }

    /// Receives nothing from now on, and waits at most so long for calls that have begun. What is not told of them then comes again.
    pub async fn stop(&self, drain: Duration) {
        self.0.stop.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(drain, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(?drain, "calls of webhooks did not end in time, their messages come again");
        }
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").finish_non_exhaustive()
    }
}

/// Why webhooks cannot be delivered at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// TLS cannot be set up.
    #[error("webhooks cannot be called: {0}")]
    Client(#[from] reqwest::Error),
    /// Their metrics are there already.
    #[error("metrics of webhooks: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Shared {
    /// Looks at the webhooks.
    ///
    /// # Errors
    /// What webhooks there are is not known yet.
    fn look<T>(&self, look: impl FnOnce(&Registry) -> T) -> Result<T, Problem> {
        let known = self.known.lock();
        if known.is_complete {
            return Ok(look(&known.registry));
        }
        Err(unknown(known.unread.as_deref().unwrap_or("the brokers are being asked")))
    }

    /// Writes a change of the webhook whose revision is `of`, 0 of a new one. This gateway knows it on return, the others within seconds.
    ///
    /// # Errors
    /// It was changed meanwhile, may not be made, or cannot be stored.
    async fn write(&self, record: Record, of: u64) -> Result<(), Problem> {
        let (reply, answer) = oneshot::channel();
        let full = |_| Problem::busy(format!("{COMMANDS_MAX} changes of webhooks are waiting"));
        self.commands.try_send(Command { record, of, reply }).map_err(full)?;
        let stopping = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the gateway is stopping");
        answer.await.unwrap_or_else(|closed| Err(stopping(closed)))
    }

    /// A change of a webhook or check URL.
    fn changed(&self, record: &Record, wanted: Option<Wanted>, disabled_because: Option<String>) -> Record {
        Record {
            id: record.id.clone(),
            since: record.since,
            revision: record.revision + 1,
            tie: self.env.random.next(),
            changed_at_ms: self.env.clock.now().0,
            wanted,
            disabled_because,
        }
    }

    /// An endpoint wants no more: nobody delivers to it until its owner enables it again.
    async fn disable(&self, record: &Record, why: String) {
        let Some(disabled) = record.wanted.clone().and_then(Wanted::disabled) else { return };
        tracing::warn!(webhook = record.id, why, "a webhook is disabled");
        let changed = self.changed(record, Some(disabled), Some(why));
        match self.write(changed, record.revision).await {
            Ok(()) => {}
            // Another gateway was faster, or its owner was.
            Err(problem) if problem.status == StatusCode::CONFLICT => {}
            Err(problem) => {
                tracing::warn!(
                    webhook = record.id,
                    why = problem.detail,
                    "a webhook could not be disabled, its next call is tried"
                );
            }
        }
    }

    /// The calls of a webhook.
    fn history(&self, id: &str) -> Arc<History> {
        self.histories.lock().entry(id.to_owned()).or_default().clone()
    }
}

/// The topic cannot be read.
fn unknown(why: &str) -> Problem {
    let detail = format!("what webhooks there are is not known: {why}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "webhooks-unknown", detail)
}
