//! A master that is back gets what its slaves have done in its stead, before name servers, and so clients, know it.

use std::collections::BTreeSet;
use std::time::Duration;

use remoting::Client;
use remoting_proto::body::{HandBack, LockBatch};
use remoting_proto::{Command, Dialect, RequestCode, ResponseCode};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use types::broker::{LookupError, OffsetAt};
use types::{Broker as _, GroupName, QueueId, QueueOffset, TopicName};

use super::Acting;
use super::loops::{members, named};
use super::part::{self, Part};
use crate::LocalBroker;
use crate::command::TimerKey;
use crate::resets::Queue;
use crate::server::Core;

/// How long a master waits for slaves that name servers know: longer than these count as living.
const WAIT_MAX: Duration = Duration::from_secs(12);
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a slave may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// Offsets that are on their way to the disk together.
const TOGETHER: usize = 256;
/// Delayed messages that are told to have ended together.
const TIMERS_TOGETHER: usize = 4096;

/// Asks all slaves what they have done in this master's stead, and takes it: that of this broker too, which may have been a slave. Who does not
/// answer in time is not waited for: its groups begin where this log says, and it tells later.
pub(crate) async fn take_back(core: &Core, acting: &Acting, shutdown: &CancellationToken) {
    let own = acting.part.lock().told();
    if own != HandBack::default() {
        match take(core, own).await {
            Ok(()) => {
                *acting.part.lock() =
                    Part::new(core.options.name_servers.len(), Default::default(), Default::default());
                acting.write().await;
            }
            Err(error) => {
                tracing::error!(%error, "what was done as a slave cannot be taken: groups are where the log says")
            }
        }
    }
    tokio::select! {
        () = ask_all(core) => {}
        () = core.env.clock.sleep(WAIT_MAX) => {
            tracing::warn!("not all slaves have said what they have done in this master's stead; they tell later");
        }
        () = shutdown.cancelled() => {}
    }
    core.broker.resume_outcomes().await;
}

/// Returns once all slaves that are known have been asked.
async fn ask_all(core: &Core) {
    let client = |address: &String| Client::eager(address.clone(), core.env.clock.clone());
    let name_servers: Vec<_> = core.options.name_servers.iter().map(client).collect();
    let mut asked = BTreeSet::new();
    while !name_servers.is_empty() {
        let mut seen = Part::new(name_servers.len(), Default::default(), Default::default());
        for (index, name_server) in name_servers.iter().enumerate() {
            seen.see(index, members(core, name_server).await);
        }
        let mut is_done = false;
        if let Some(slaves) = seen.slaves() {
            is_done = true;
            for slave in slaves.into_iter().filter(|slave| !asked.contains(slave)).collect::<Vec<_>>() {
                match ask(core, &slave).await {
                    Ok(()) => drop(asked.insert(slave)),
                    Err(error) => {
                        tracing::warn!(%error, slave, "a slave does not say what it has done in this master's stead");
                        is_done = false;
                    }
                }
            }
        }
        if is_done {
            return;
        }
        core.env.clock.sleep(RETRY_AFTER).await;
    }
}

/// Why nothing was handed back.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Call(#[from] remoting::client::Error),
    #[error("it answers {code:?}: {remark}")]
    Refused { code: ResponseCode, remark: String },
    #[error(transparent)]
    Body(#[from] remoting_proto::JsonError),
    #[error(transparent)]
    Take(#[from] LookupError),
}

async fn ask(core: &Core, slave: &str) -> Result<(), Error> {
    let client = Client::eager(slave, core.env.clock.clone());
    let answer = client.call(request(core, &HandBack::default()), ANSWERED_WITHIN).await?;
    match answer.response_code() {
        ResponseCode::Success => Ok(take(core, remoting_proto::from_slice(&answer.body)?).await?),
        // Apache's, or one that stands in for nobody.
        code @ (ResponseCode::RequestCodeNotSupported | ResponseCode::SystemError) => {
            tracing::info!(slave, ?code, "a slave has nothing to hand back");
            Ok(())
        }
        code => Err(Error::Refused { code, remark: answer.remark.unwrap_or_default() }),
    }
}

/// Tells a master what was done in its stead.
pub(super) async fn tell(core: &Core, master: &str, told: &HandBack) -> Result<(), Error> {
    let client = Client::eager(master, core.env.clock.clone());
    let answer = client.call(request(core, told), ANSWERED_WITHIN).await?;
    match answer.response_code() {
        ResponseCode::Success => Ok(()),
        code => Err(Error::Refused { code, remark: answer.remark.unwrap_or_default() }),
    }
}

/// Hands over to another broker of this name, or asks it to.
fn request(core: &Core, told: &HandBack) -> Command {
    let body = remoting_proto::to_vec(told, Dialect::Fastjson);
    Command::request(RequestCode::HandBack, named(core), body.into())
}

/// Takes what a slave has done in this master's stead: groups go forward where they are farther by that, and clients have the locks that they
/// have there. What was taken is stored, as a commit is, on return.
///
/// # Errors
/// The log takes nothing now; what was taken before stays.
pub(crate) async fn take(core: &Core, told: HandBack) -> Result<(), LookupError> {
    let HandBack { offsets, delivered, locks } = told;
    let (count, mut taken) = (offsets.len(), 0);
    let mut offsets = offsets.into_iter().filter_map(|offset| part::heard(offset).ok());
    loop {
        let mut commits = JoinSet::new();
        for (place, offset) in offsets.by_ref().take(TOGETHER) {
            commits.spawn(commit(core.broker.clone(), place, offset));
        }
        if commits.is_empty() {
            break;
        }
        while let Some(committed) = commits.join_next().await {
            // A commit does not panic.
            taken += usize::from(committed.unwrap_or(Ok(false))?);
        }
    }
    finish(core, delivered.into_iter().map(part::timer_key).collect()).await?;
    for lock in locks {
        take_lock(core, lock).await?;
    }
    if count > 0 {
        tracing::info!(count, taken, "offsets that a slave has taken in this master's stead");
    }
    Ok(())
}

/// What other brokers have is not delivered here.
async fn finish(core: &Core, delivered: Vec<TimerKey>) -> Result<(), LookupError> {
    let mut twice = 0;
    for together in delivered.chunks(TIMERS_TOGETHER) {
        twice += together.len() - core.broker.finish_timers(together.to_vec()).await?;
    }
    if !delivered.is_empty() {
        core.broker.count_escapes(0, twice as u64);
        tracing::info!(
            count = delivered.len(),
            twice,
            "delayed messages that a slave has delivered in this master's stead"
        );
    }
    Ok(())
}

/// Whether the group goes forward: not beyond the queue's end, as what this log has lost is not there to be consumed, and others come in its
/// place. A group that is gone stays so.
async fn commit(broker: LocalBroker, place: Queue, offset: QueueOffset) -> Result<bool, LookupError> {
    let (group, topic, queue) = place;
    let has_queue = broker.known_topic(&topic).is_some_and(|config| queue.0 < config.read_queues);
    if !has_queue || !broker.is_group_known(&group) {
        return Ok(false);
    }
    let offset = offset.min(broker.queue_offset(&topic, queue, OffsetAt::End).await?);
    if broker.committed_offset(&group, &topic, queue).await? >= Some(offset) {
        return Ok(false);
    }
    broker.commit_offset(&group, &topic, queue, offset).await?;
    Ok(true)
}

/// Who has locked queues there has them here, if nobody was faster.
async fn take_lock(core: &Core, lock: LockBatch) -> Result<(), LookupError> {
    let LockBatch { client_id, consumer_group, mq_set, .. } = lock;
    let Ok(group) = GroupName::new(&consumer_group) else { return Ok(()) };
    let named = |queue: remoting_proto::body::MessageQueue| {
        Some((TopicName::new(&queue.topic).ok()?, QueueId(u32::try_from(queue.queue_id).ok()?)))
    };
    let queues = mq_set.into_iter().filter_map(named).collect();
    core.broker.lock_queues(group, queues, client_id).await?;
    Ok(())
}
