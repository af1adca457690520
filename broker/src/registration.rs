//! Tells name servers that this broker lives and which topics it has: at the start, every 30 s, and when topics change.
//!
//! One connection a name server, which stays open: a name server forgets a broker whose connection ends.
//! Source: Apache 5.5 `BrokerController#registerBrokerAll`, `BrokerOuterAPI`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use remoting::Client;
use remoting_proto::body::{DataVersion, Permission, RegisterBroker as Body, TopicConfig};
use remoting_proto::requests::{AUTO_CREATE_TOPIC, RegisterBroker, RegisterBrokerAnswer, UnregisterBroker, body_crc32};
use remoting_proto::{Command, FieldError, RequestCode, ResponseCode};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::acting;
use crate::server::{Core, Options};
use crate::settings::Settings;

/// Source: `registerNameServerPeriod`.
pub(crate) const REGISTER_EVERY: Duration = Duration::from_secs(30);
/// After a failure.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Changes within this time are told together.
const GATHER: Duration = Duration::from_millis(50);
/// Source: `registerBrokerTimeoutMills`.
const ANSWERED_WITHIN: Duration = Duration::from_secs(24);
/// A name server that is gone must not hold up the end.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);
/// Longest that who has changed a topic waits for the name servers. Source: Apache's clients give up after 3 s.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// Ends the name of the topic of replies, behind the cluster's. Source: `MixAll.REPLY_TOPIC_POSTFIX`.
const REPLY_SUFFIX: &str = "_REPLY_TOPIC";
/// May be read, written, and new topics may be like it.
const PERMISSION_ALL: Permission = Permission(7);
/// Most topics that are told uncompressed: with the longest names they have 7 MB, and a frame has at most 16 MiB.
const PLAIN_TOPICS_MAX: usize = 10_000;

/// Up to which change of the topics each name server knows them; `None` while it does not know the broker.
pub(crate) type Told = watch::Sender<Vec<Option<u64>>>;

/// Returns when all name servers that know the broker have been told of the topics as they are now: who has made a topic asks for its
/// route next. One that does not answer is waited for 2 s.
pub(crate) async fn told(core: &Core) {
    let now = changes_up_to(core, *core.broker.topic_changes().borrow());
    let mut told = core.told.subscribe();
    let all = told.wait_for(|told| told.iter().flatten().all(|to| *to >= now));
    tokio::select! {
        _ = all => {}
        () = core.env.clock.sleep(TOLD_WITHIN) => {}
    }
}

/// Counts the changes of what name servers are told: of the topics, and of the settings, which say what clients may do.
fn changes_up_to(core: &Core, topic_changes: u64) -> u64 {
    topic_changes + core.settings.lock().changes
}

/// Stays registered with all name servers until `shutdown`, then leaves them.
pub(crate) async fn run(core: &Arc<Core>, shutdown: &CancellationToken) {
    let mut loops = JoinSet::new();
    for (index, address) in core.options.name_servers.iter().enumerate() {
        let client = Client::new(address.clone(), core.env.clock.clone());
        loops.spawn(stay_registered(core.clone(), index, client, shutdown.clone()));
    }
    shutdown.cancelled().await;
    while loops.join_next().await.is_some() {}
}

async fn stay_registered(core: Arc<Core>, index: usize, client: Client, shutdown: CancellationToken) {
    let mut changes = core.broker.topic_changes();
    let asked = Client::eager(&*core.options.name_servers[index], core.env.clock.clone());
    let mut settings = core.settings_changed.subscribe();
    let (clock, mut was_registered) = (core.env.clock.clone(), None);
    while !shutdown.is_cancelled() {
        // What changes from here on is told by the next.
        settings.mark_unchanged();
        let count = changes_up_to(&core, *changes.borrow_and_update());
        let registered = tokio::select! {
            registered = register(&core, &client, count) => registered,
            // A name server that hangs does not hold up the end.
            () = shutdown.cancelled() => break,
        };
        let is_registered = registered.is_ok();
        if let Some(acting) = core.acting.as_ref().filter(|_| !is_registered) {
            acting::is_unknown(&core, acting, index);
        }
        core.told.send_modify(|told| told[index] = is_registered.then_some(count));
        if was_registered.replace(is_registered) != Some(is_registered) {
            match registered {
                Ok(()) => tracing::info!(name_server = ?client, "registered"),
                Err(error) => tracing::warn!(%error, "a name server does not know this broker"),
            }
        }
        let wait = clock.sleep(if is_registered { REGISTER_EVERY } else { RETRY_AFTER });
        let change = async {
            // The broker outlives this, so there is always somebody to tell.
            tokio::select! {
                changed = changes.changed() => drop(changed),
                changed = settings.changed() => drop(changed),
            }
            clock.sleep(GATHER).await;
        };
        let forgotten = async {
            match &core.acting {
                Some(acting) => acting::stay_known(&core, acting, index, &asked, version(&core, count)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = change, if is_registered => {}
            () = forgotten, if is_registered => {}
            () = shutdown.cancelled() => {}
        }
    }
    leave(&client, core.name(), &core.options).await;
}

/// Tells a name server that the broker of this name leaves.
pub(crate) async fn leave(client: &Client, name: &str, options: &Options) {
    let header = UnregisterBroker {
        broker_name: name.to_owned(),
        broker_addr: options.advertised.to_string(),
        cluster_name: options.cluster.clone(),
        broker_id: broker_id(options),
    };
    let request = Command::request(RequestCode::UnregisterBroker, header.to_fields(), Bytes::new());
    if let Err(error) = client.call(request, LEAVE_WITHIN).await {
        tracing::info!(%error, "a name server was not told that this broker leaves");
    }
}

/// Why a name server does not know the broker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Call(#[from] remoting::client::Error),
    #[error(transparent)]
    Answer(#[from] FieldError),
    #[error("it answers {code:?}: {remark}")]
    Refused { code: ResponseCode, remark: String },
    #[error("it is not told that this broker is the master, which it may not be any longer")]
    Fenced,
}

async fn register(core: &Core, client: &Client, changes: u64) -> Result<(), Error> {
    let options = &core.options;
    if core.is_fenced() {
        return Err(Error::Fenced);
    }
    let version = version(core, changes);
    let allowed = core.settings.lock().permission;
    let body = Body { version, topics: topics(core, allowed), mappings: BTreeMap::new() };
    // Where slaves are not served nobody listens there.
    let slaves_at = core.slaves_at.unwrap_or(options.advertised);
    let answer = tell(client, core.name(), options, slaves_at, body).await?;
    // A slave that was not told its master learns it from name servers, unless controllers say it.
    let asks = core.membership.is_none() && options.slave.as_ref().is_some_and(|slave| slave.master.is_none());
    found(&core.master, answer.ha_server_addr.filter(|_| asks));
    Ok(())
}

/// Another one for each state of the topics and each start.
fn version(core: &Core, changes: u64) -> DataVersion {
    DataVersion { counter: changes.cast_signed(), state_version: 0, timestamp: core.started.0 }
}

/// Tells a name server that the broker of this name lives, with its topics if it has any; answers what it is told.
pub(crate) async fn tell(
    client: &Client,
    name: &str,
    options: &Options,
    slaves_at: SocketAddr,
    body: Body,
) -> Result<RegisterBrokerAnswer, Error> {
    let is_compressed = body.topics.len() > PLAIN_TOPICS_MAX;
    let body = if is_compressed { body.encode_compressed() } else { body.encode() };
    let header = RegisterBroker {
        broker_name: name.to_owned(),
        broker_addr: options.advertised.to_string(),
        cluster_name: options.cluster.clone(),
        ha_server_addr: slaves_at.to_string(),
        broker_id: broker_id(options),
        heartbeat_timeout_ms: options.acting_master.then_some(acting::SILENT_MAX_MS),
        enable_acting_master: options.acting_master.then_some(true),
        body_crc32: Some(body_crc32(&body)),
        compressed: Some(is_compressed),
        zone_name: None,
    };
    let request = Command::request(RequestCode::RegisterBroker, header.to_fields(), body.into());
    let answer = client.call(request, ANSWERED_WITHIN).await?;
    match answer.response_code() {
        ResponseCode::Success => Ok(RegisterBrokerAnswer::of(&answer.fields)?),
        code => Err(Error::Refused { code, remark: answer.remark.unwrap_or_default() }),
    }
}

/// Its number among the brokers of its name: 0 is the master.
pub(crate) fn broker_id(options: &Options) -> i64 {
    options.slave.as_ref().map_or(0, |slave| i64::try_from(slave.id).unwrap_or(i64::MAX))
}

/// A name server says where the master has its log; while they know none the last one stays.
pub(crate) fn found(master: &watch::Sender<Option<String>>, address: Option<String>) {
    let Some(address) = address.filter(|address| !address.is_empty()) else { return };
    master.send_if_modified(|master| {
        let is_new = master.as_ref() != Some(&address);
        if is_new {
            *master = Some(address);
        }
        is_new
    });
}

/// All topics with what the broker `allowed` of them, and those that are only names: clients look for the route of the cluster and the broker, and new topics begin as
/// [`AUTO_CREATE_TOPIC`].
pub(crate) fn topics(core: &Core, allowed: Permission) -> BTreeMap<String, TopicConfig> {
    let queues = |queues: u32| i32::try_from(queues).unwrap_or(i32::MAX);
    let name_only = |topic_name: &str, count| TopicConfig {
        topic_name: topic_name.to_owned(),
        read_queue_nums: count,
        write_queue_nums: count,
        perm: PERMISSION_ALL,
        topic_sys_flag: 0,
    };
    let Settings { auto_create_topics, default_queues, .. } = core.settings.lock().clone();
    let default_queues = queues(default_queues);
    // Replies go to a topic too, though they are not stored.
    let replies = format!("{}{REPLY_SUFFIX}", core.options.cluster);
    let mut names =
        vec![name_only(&core.options.cluster, default_queues), name_only(core.name(), 1), name_only(&replies, 1)];
    if auto_create_topics {
        names.push(name_only(AUTO_CREATE_TOPIC, default_queues));
    }
    let stored = core.broker.known_topics().into_iter().map(|topic| TopicConfig {
        topic_name: topic.name.to_string(),
        read_queue_nums: queues(topic.read_queues),
        write_queue_nums: queues(topic.write_queues),
        perm: permission(topic.is_readable && allowed.is_readable(), topic.is_writable && allowed.is_writable()),
        topic_sys_flag: 0,
    });
    names.into_iter().chain(stored).map(|topic| (topic.topic_name.clone(), topic)).collect()
}

/// As bits.
pub(crate) fn permission(is_readable: bool, is_writable: bool) -> Permission {
    Permission::NONE.with_reading(is_readable).with_writing(is_writable)
}
