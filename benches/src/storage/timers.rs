//! Delayed messages by the million: how late their copies are appended, and how fast many that are due at once are.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use broker::LocalBroker;
use store::Flush;
use types::properties::names;
use types::{Broker, Filter, QueueId, QueueOffset, Timestamp};

use super::Run;
use super::world::{QUEUES, TOPIC, group, make_topic, message, start, store};
use crate::measurement::{Measurement, Metric, percentile};
use crate::process;
use crate::scenario::set_memory;

/// Messages that wait. Source: issue 4.
const PENDING: u64 = 1_000_000;
const QUICK_PENDING: u64 = 600;
/// Of those, due in each second of the window. Source: issue 4.
const DUE_A_SECOND: u64 = 5_000;
/// Messages that are due in one second. Source: issue 4.
const BURST: u64 = 500_000;
const QUICK_BURST: u64 = 400;
/// The second in which they are.
const BURST_WITHIN: Duration = Duration::from_secs(1);
/// When the others are due: after any run.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);
/// Time in which a thousand messages are stored, on a slow machine: those that are due first wait for the last one.
const STORED_WITHIN_A_THOUSAND: Duration = Duration::from_millis(50);
/// Least time to store them.
const STORED_WITHIN_MIN: Duration = Duration::from_millis(500);
/// How long after its time the last copy is waited for.
const LATE_MAX: Duration = Duration::from_secs(120);
/// How often is looked whether all are delivered.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Messages of one pull.
const PULL: u32 = 32;

/// Lateness while 5,000 of a million are due a second.
#[expect(clippy::cast_possible_truncation, reason = "a window of seconds")]
pub(super) async fn lateness(run: &Run) -> Result<Measurement> {
    let due = DUE_A_SECOND * run.window().as_millis() as u64 / 1000;
    let copies = copies(run, &Plan { pending: run.amount(PENDING, QUICK_PENDING), due, within: run.window() }).await?;
    let mut lateness: Vec<Duration> = copies.made.iter().map(|copy| copy.stored_at.since(copy.due)).collect();
    lateness.sort_unstable();
    let mut measurement = copies.measurement;
    let p99 = percentile(&lateness, 0.99).context("nothing was due")?;
    measurement.set(Metric::LatenessP99, p99.as_secs_f64() * 1e3);
    Ok(measurement)
}

/// Time for 500,000 that are due in one second.
pub(super) async fn drain(run: &Run) -> Result<Measurement> {
    let burst = run.amount(BURST, QUICK_BURST);
    let copies = copies(run, &Plan { pending: burst, due: burst, within: BURST_WITHIN }).await?;
    let last = copies.made.iter().map(|copy| copy.stored_at).max().context("nothing was due")?;
    let mut measurement = copies.measurement;
    measurement.set(Metric::Drained, last.since(copies.first_due).as_secs_f64());
    Ok(measurement)
}

/// What is stored.
#[derive(Clone, Copy)]
struct Plan {
    /// Messages in all.
    pending: u64,
    /// Of those, how many are due during the run, spread over the others in the log so that their records are read from
    /// wherever they happen to be.
    due: u64,
    /// From the first one's time to the last one's.
    within: Duration,
}

impl Plan {
    /// When a message is due, the first ones at `first`.
    #[expect(clippy::cast_possible_truncation, reason = "a window of seconds")]
    fn due(&self, number: u64, first: Timestamp) -> Timestamp {
        // The n-th of those that are due, if the share up to this number is one more than before it.
        let share = |number: u64| number * self.due / self.pending;
        let (nth, next) = (share(number), share(number + 1));
        if nth == next {
            return first.plus(FAR);
        }
        first.plus(Duration::from_millis(self.within.as_millis() as u64 * nth / self.due))
    }
}

struct Copies {
    made: Vec<Copied>,
    first_due: Timestamp,
    measurement: Measurement,
}

struct Copied {
    due: Timestamp,
    stored_at: Timestamp,
}

/// Stores what is planned, waits until all that is due is delivered, and reads the copies.
async fn copies(run: &Run, plan: &Plan) -> Result<Copies> {
    let broker = start(&run.directory, Flush::Async)?;
    make_topic(&broker, TOPIC, QUEUES).await?;
    let stored_within = STORED_WITHIN_MIN + STORED_WITHIN_A_THOUSAND * u32::try_from(plan.pending / 1000)?;
    let first_due = now().plus(stored_within);
    let (message, planned) = (message()?, *plan);
    store(&broker, plan.pending, move |number| {
        let mut message = message.clone();
        message.properties.set_own(names::TIMER_DELIVER_MS, &planned.due(number, first_due).to_string());
        Ok(message)
    })
    .await?;
    ensure!(now() < first_due, "{} timers could not be stored in {stored_within:?}", plan.pending);
    let last = Instant::now() + first_due.since(now()) + plan.within + LATE_MAX;
    while broker.status().timers_delivered < plan.due {
        let delivered = broker.status().timers_delivered;
        ensure!(Instant::now() < last, "{delivered} of {} are delivered {LATE_MAX:?} after their time", plan.due);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let mut measurement = Measurement::default();
    set_memory(&mut measurement, process::memory(std::process::id())?);
    let mut made = Vec::new();
    for queue in 0..QUEUES {
        read(&broker, queue, &mut made).await?;
    }
    ensure!(made.len() as u64 == plan.due, "{} copies of {}", made.len(), plan.due);
    broker.stop().await;
    Ok(Copies { made, first_due, measurement })
}

/// Adds the copies of one queue.
async fn read(broker: &LocalBroker, queue: u32, made: &mut Vec<Copied>) -> Result<()> {
    let mut offset = QueueOffset(0);
    loop {
        let request = types::broker::Pull {
            group: group()?,
            topic: super::world::topic(TOPIC)?,
            queue: QueueId(queue),
            offset,
            messages_max: PULL,
            filter: Filter::All.into(),
            wait: Duration::ZERO,
        };
        let pulled = broker.pull(request).await?;
        for bytes in &pulled.records {
            let record = record::decode(bytes)?;
            let due = record.property(names::TIMER_DELIVER_MS).context("a copy without its time")?.parse()?;
            made.push(Copied { due: Timestamp(due), stored_at: record.header.stored_at });
        }
        if pulled.next_offset >= pulled.max_offset {
            return Ok(());
        }
        offset = pulled.next_offset;
    }
}

fn now() -> Timestamp {
    env::Env::real().clock.now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_spread_over_window_and_log() {
        let plan = Plan { pending: 1_000, due: 100, within: Duration::from_secs(10) };
        let first = Timestamp(5_000);
        let due: Vec<(u64, i64)> = (0..1_000)
            .map(|number| (number, plan.due(number, first).0))
            .filter(|(_, due)| *due < first.plus(FAR).0)
            .collect();
        assert_eq!(due.len(), 100);
        assert_eq!((due[0], due[99]), ((9, 5_000), (999, 14_900)));
        assert!(due.windows(2).all(|pair| pair[1].0 - pair[0].0 == 10 && pair[1].1 - pair[0].1 == 100));
    }

    #[test]
    fn a_burst_is_due_within_its_second() {
        let plan = Plan { pending: 500, due: 500, within: BURST_WITHIN };
        assert_eq!(plan.due(0, Timestamp(0)), Timestamp(0));
        assert_eq!(plan.due(499, Timestamp(0)), Timestamp(998));
    }
}
