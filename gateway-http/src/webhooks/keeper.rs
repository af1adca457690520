//! The one task of a gateway that reads and writes the topic of webhooks, and starts and stops their deliverers.

use std::collections::{HashMap, hash_map};
use std::sync::Arc;
use std::time::Duration;

use env::clock::Moment;
use http::StatusCode;
use proxy::Code;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::ask::Asker;
use super::caller::Caller;
use super::deliver::Deliverer;
use super::history::History;
use super::machine::Pace;
use super::registry::{Claim, Entry, Record, Registry, Wanted, Work};
use super::room::Lane;
use super::subscription::{check_url_not_found, not_found};
use super::topic::{NAME, Topic};
use super::{Shared, unknown};
use crate::problem::Problem;

/// How often the topic is read: so long may a change take to be known to all gateways.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How often is looked for what was written: a broker may show it a little later than it has stored it.
const LOOKS: u32 = 30;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// Tombstones are remembered for so many times the age at which records are written again.
const REMEMBERED: u32 = 4;

/// A change that somebody waits for.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) record: Record,
    /// The revision that it changes; 0 of a new one.
    pub(super) of: u64,
    pub(super) reply: oneshot::Sender<Result<(), Problem>>,
}

/// See the module's head.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    topic: Topic,
    commands: mpsc::Receiver<Command>,
    running: HashMap<String, Running>,
    /// Those of all webhooks: one that is changed has the calls that began before.
    lanes: HashMap<String, Arc<Lane>>,
    /// Records of this age are written again: not by all gateways at once.
    rewrite_after: Duration,
}

/// A deliverer.
struct Running {
    record: Arc<Record>,
    history: Arc<History>,
    stop: CancellationToken,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, topic: Topic, commands: mpsc::Receiver<Command>) -> Self {
        let share = (shared.env.random.next() % 64) as u32;
        let rewrite_after = shared.rewrite_after + shared.rewrite_after * share / 512;
        Self { shared, topic, commands, running: HashMap::new(), lanes: HashMap::new(), rewrite_after }
    }

    /// Works until the gateway stops.
    pub(super) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        loop {
            if self.read().await.is_ok() {
                self.write_again().await;
                self.end_rivals().await;
            }
            self.deliver();
            let (clock, moment) = (self.shared.env.clock.clone(), self.shared.env.clock.moment());
            if !self.serve(&stop, moment.plus(READ_EVERY), &*clock).await {
                break;
            }
        }
        for running in self.running.values() {
            running.stop.cancel();
        }
    }

    /// Does what is asked for until it is time to read again; says whether to go on.
    async fn serve(&mut self, stop: &CancellationToken, until: Moment, clock: &dyn env::Clock) -> bool {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                () = clock.sleep(until.since(clock.moment())) => return true,
                command = self.commands.recv() => {
                    let Some(command) = command else { return false };
                    let done = self.change(&command.record, command.of).await;
                    // Who asked may have gone.
                    let _ = command.reply.send(done);
                }
            }
        }
    }

    /// Takes into account what was written.
    ///
    /// # Errors
    /// The topic cannot be read now.
    async fn read(&mut self) -> Result<(), Problem> {
        let news = self.topic.news().await;
        let mut known = self.shared.known.lock();
        match news {
            Ok(news) => {
                if news.is_all {
                    tracing::warn!(topic = NAME, "records have expired unread: only those that are there count");
                    known.registry = Registry::default();
                }
                for (record, offset, stored_at) in news.stored {
                    known.registry.apply(record, offset, stored_at);
                }
                if known.unread.take().is_some() {
                    tracing::info!(topic = NAME, "webhooks can be read again");
                }
                known.is_complete = true;
                Ok(())
            }
            Err(error) => {
                if known.unread.is_none() {
                    tracing::warn!(%error, topic = NAME, "webhooks cannot be read, those that are known go on");
                }
                let why = error.to_string();
                let problem = unknown(&why);
                known.unread = Some(why);
                Err(problem)
            }
        }
    }

    /// Writes what else would expire.
    async fn write_again(&mut self) {
        let now = self.shared.env.clock.now();
        let due = {
            let mut known = self.shared.known.lock();
            known.registry.forget(now, self.rewrite_after * REMEMBERED);
            known.registry.due(now, self.rewrite_after)
        };
        for record in due {
            if let Err(problem) = self.topic.write(&record).await {
                tracing::warn!(
                    webhook = record.id,
                    why = problem.detail,
                    "a webhook could not be written again, it is tried soon"
                );
                return;
            }
        }
    }

    /// Ends those whose claim another one has. All gateways that see one do: more than one tombstone says no more than one.
    async fn end_rivals(&mut self) {
        let rivals = self.shared.known.lock().registry.rivals();
        for rival in rivals {
            tracing::warn!(
                webhook = rival.id,
                "a webhook is ended: another one was made for its group, or check URL for its topic, at the same moment"
            );
            if let Err(problem) = self.topic.write(&self.shared.changed(&rival, None, None)).await {
                tracing::warn!(webhook = rival.id, why = problem.detail, "it could not be ended, it is tried soon");
                return;
            }
        }
    }

    async fn change(&mut self, record: &Record, of: u64) -> Result<(), Problem> {
        self.read().await?;
        self.check(record, of)?;
        self.topic.write(record).await.map_err(|why| unwritten(&why))?;
        let mut counts = None;
        for _ in 0..LOOKS {
            if self.read().await.is_ok() {
                counts = self.shared.look(|registry| registry.counts(record))?;
            }
            if counts.is_some() {
                break;
            }
            self.shared.env.clock.sleep(BETWEEN_LOOKS).await;
        }
        let outcome = match counts {
            Some(counts) => self.shared.look(|registry| check_claim(registry, record))?.and_then(|()| {
                let detail =
                    format!("the webhook was changed at the same moment: another change of revision {of} counts");
                if counts { Ok(()) } else { Err(Problem::conflict("webhook-changed", detail)) }
            }),
            None => {
                let detail = "the change is stored and was not seen yet: look at the webhook before you repeat it";
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "webhooks-unknown", detail))
            }
        };
        // It may be the one that was written.
        self.end_rivals().await;
        self.deliver();
        outcome
    }

    /// Whether it may be written.
    fn check(&self, record: &Record, of: u64) -> Result<(), Problem> {
        self.shared.look(|registry| match registry.get(&record.id) {
            Some(entry) if entry.record.revision == of => Ok(()),
            Some(entry) => {
                let detail =
                    format!("the webhook was changed meanwhile: revision {of} is {} now", entry.record.revision);
                Err(Problem::conflict("webhook-changed", detail))
            }
            None if of > 0 => Err(match &record.wanted {
                Some(Wanted::CheckUrl(_)) => check_url_not_found(&record.id),
                Some(Wanted::Webhook(_)) | None => not_found(&record.id),
            }),
            None => {
                let (count, max) = (registry.live().len(), self.shared.webhooks_max);
                if count >= max {
                    let detail = format!("there are {count} webhooks and check URLs, limit is {max} (--webhook-max)");
                    let code = Some(Code::TooManyRequests);
                    return Err(Problem {
                        code,
                        ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-webhooks", detail)
                    });
                }
                check_claim(registry, record)
            }
        })?
    }

    /// Starts and stops deliverers, so that those run that shall.
    fn deliver(&mut self) {
        let wanted: HashMap<String, Entry> = {
            let known = self.shared.known.lock();
            let live = known.registry.live().into_iter().map(|entry| (entry.record.id.clone(), entry.clone()));
            let live: HashMap<_, _> = live.collect();
            self.shared.histories.lock().retain(|id, _| live.contains_key(id));
            // What a webhook that was deleted has under way counts until it ends.
            self.lanes.retain(|id, lane| live.contains_key(id) || lane.is_used());
            live.into_iter().filter(|(_, entry)| entry.enabled_work().is_some()).collect()
        };
        self.running.retain(|id, running| {
            let is_wanted = wanted.get(id).is_some_and(|entry| entry.record == running.record);
            if !is_wanted {
                running.stop.cancel();
            }
            is_wanted
        });
        for (id, entry) in wanted {
            let Entry { record, work: Some(work), .. } = entry else { continue };
            if self.running.contains_key(&id) {
                continue;
            }
            let is_full = self.lanes.len() >= self.shared.webhooks_max;
            let lane = match self.lanes.entry(id.clone()) {
                hash_map::Entry::Occupied(known) => known.get().clone(),
                // It begins when the calls of one that was deleted have ended.
                hash_map::Entry::Vacant(_) if is_full => continue,
                hash_map::Entry::Vacant(new) => new.insert(self.shared.room.lane().into()).clone(),
            };
            let (history, stop) = (self.shared.history(&id), CancellationToken::new());
            let caller = |pace| Caller::new(self.shared.clone(), record.clone(), history.clone(), lane, pace);
            match work {
                Work::Deliver(subscription) => {
                    let deliverer = Deliverer::new(caller(Pace::of(&subscription)), subscription);
                    self.shared.tasks.spawn(deliverer.run(stop.clone()));
                }
                Work::Ask(check_url) => {
                    let asker = Asker::new(caller(Pace::of_checks(&check_url)), check_url);
                    self.shared.tasks.spawn(asker.run(stop.clone()));
                }
            }
            self.running.insert(id, Running { record, history, stop });
        }
        let open = self.running.values().filter(|running| running.history.is_open()).count();
        self.shared.metrics.webhooks.set(i64::try_from(self.running.len()).unwrap_or(i64::MAX));
        self.shared.metrics.breakers_open.set(i64::try_from(open).unwrap_or(i64::MAX));
    }
}

/// The broker could be read and takes no change now: what it says of that is its own matter, and asking again helps.
fn unwritten(why: &Problem) -> Problem {
    let detail = format!("the change could not be stored: {}", why.detail);
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "webhooks-unknown", detail)
}

/// Whether nobody else has what this one claims.
fn check_claim(registry: &Registry, record: &Record) -> Result<(), Problem> {
    let Some(claim) = record.wanted.as_ref().map(Wanted::claim) else { return Ok(()) };
    let holder = registry.holder(claim).map(|holder| &holder.record.id);
    let Some(holder) = holder.filter(|holder| **holder != record.id) else { return Ok(()) };
    Err(match claim {
        Claim::Group(group) => {
            let detail = format!("group {group} is that of webhook {holder}, and would share its messages");
            Problem::conflict("webhook-group-taken", detail)
        }
        Claim::Checks(topic) => {
            let detail = format!("topic {topic} has check URL {holder} already: change it, or delete it first");
            Problem::conflict("check-url-taken", detail)
        }
    })
}
