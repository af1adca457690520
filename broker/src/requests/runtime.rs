//! What a broker says of itself: its configuration, and what it counts. Source: Apache 5.5 `AdminBrokerProcessor#prepareRuntimeInfo`.
//!
//! The exporter reads almost every key without asking whether it is there, and gives a broker up at the first that is not, or not as it
//! expects (its `BrokerRuntimeStats`).

use env::disk::Space;
use remoting_proto::body::{DataVersion, GANTRY_VERSION, HaClient, HaConnection, HaStatus, KvTable};
use remoting_proto::requests::GetBrokerConfigAnswer;
use remoting_proto::{Command, Dialect, VERSION};
use types::{Admin as _, PhysicalOffset, Timestamp};

use super::{Answer, Refusal, done, json};
use crate::counters::Status;
use crate::options::COMMANDS_MAX;
use crate::replication::slaves;
use crate::server::{Core, Replication};
use crate::statistics::{DayTotals, Totals};

/// The configuration, as properties.
pub(super) fn config(core: &Core, request: &Command) -> Command {
    let settings = core.settings.lock();
    let version = DataVersion { counter: settings.changes.cast_signed(), state_version: 0, timestamp: core.started.0 };
    let version = remoting_proto::to_vec(&version, Dialect::Standard);
    let fields = GetBrokerConfigAnswer { version: String::from_utf8_lossy(&version).into_owned() }.to_fields();
    Command { fields, body: settings.to_properties().into(), ..done(request) }
}

/// Changes it. Name servers are told at once of what clients may do now.
pub(super) fn update(core: &Core, request: &Command) -> Answer {
    let properties =
        std::str::from_utf8(&request.body).map_err(|_| Refusal::invalid("the properties are not UTF-8"))?;
    core.settings.lock().change(properties)?;
    core.broker.makes_topics(core.settings.lock().auto_create_topics);
    tracing::info!(properties, "the configuration was changed");
    core.settings_changed.send_replace(());
    Ok(done(request))
}

/// A master's slaves, or a slave's master. Source: Apache 5.5 `HARuntimeInfo`.
pub(crate) fn ha_status(core: &Core) -> HaStatus {
    let end = PhysicalOffset(core.broker.status().appended_to);
    match &core.replication {
        Replication::Master(master) => {
            let slaves: Vec<_> = master.slaves().lock().all().collect();
            let connection = |slave| connection(slave, end, master.is_in_sync(slave, end));
            let slaves: Vec<_> = slaves.iter().map(connection).collect();
            let in_sync = slaves.iter().filter(|slave| slave.in_sync).count();
            HaStatus {
                master: true,
                master_commit_log_max_offset: end.0,
                in_sync_slave_nums: i32::try_from(in_sync).unwrap_or(i32::MAX),
                ha_connection_info: slaves,
                ha_client_runtime_info: None,
            }
        }
        Replication::Slave(slave) => {
            let master_addr = slave.connected_to().unwrap_or_default();
            let client = HaClient { master_addr, max_offset: end.0, ..HaClient::default() };
            HaStatus { ha_client_runtime_info: Some(client), ..HaStatus::default() }
        }
    }
}

fn connection(slave: &slaves::Slave, end: PhysicalOffset, in_sync: bool) -> HaConnection {
    HaConnection {
        addr: slave.remote.to_string(),
        slave_ack_offset: slave.has_to.0,
        diff: end.0.saturating_sub(slave.has_to.0),
        in_sync,
        transferred_byte_in_second: 0,
        transfer_from_where: slave.has_to.0,
    }
}

/// What tools show of a broker. Sizes of thread pools that we do not have, and what is not measured, are 0.
pub(super) async fn info(core: &Core, request: &Command) -> Command {
    let room = look(core).await;
    let first = PhysicalOffset(room.log_begins_at);
    // One that was moved away meanwhile has no time.
    let earliest = match core.broker.message_at(first).await {
        Ok(Some(record)) => record::header(&record).map_or(Timestamp(0), |header| header.stored_at),
        _ => Timestamp(0),
    };
    let mut table: Vec<(&str, String)> = of_messages(core);
    table.extend(of_log(core, &room, earliest));
    table.extend(zeros());
    json(request, &KvTable { table: table.into_iter().map(|(key, text)| (key.to_owned(), text)).collect() })
}

fn of_messages(core: &Core) -> Vec<(&'static str, String)> {
    let Status { messages_in, bytes_in, queued, .. } = core.broker.status();
    let now = core.now();
    let statistics = core.statistics.lock();
    let (put, got) = statistics.broker_rates(now);
    let DayTotals { now: total, today, yesterday } = statistics.totals();
    let (distribution, longest) = (statistics.put_times().to_string(), statistics.put_times().longest());
    drop(statistics);
    // Of the last 10 s, minute and 10 minutes; here all of the last minute.
    let rates = |rate: f64| format!("{rate:.3} {rate:.3} {rate:.3}");
    let Totals { puts, gets } = total;
    vec![
        ("brokerVersionDesc", "V5_5_0".to_owned()),
        ("brokerVersion", VERSION.to_string()),
        (GANTRY_VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        ("brokerActive", core.decides().to_string()),
        ("bootTimestamp", core.started.to_string()),
        ("startAcceptSendRequestTimeStamp", core.started.to_string()),
        ("runtime", days_text(now.since(core.started))),
        ("putMessageTimesTotal", messages_in.to_string()),
        ("putMessageSizeTotal", bytes_in.to_string()),
        ("putMessageAverageSize", bytes_in.checked_div(messages_in).unwrap_or_default().to_string()),
        ("putMessageDistributeTime", distribution),
        ("putMessageEntireTimeMax", longest.as_millis().to_string()),
        ("msgPutTotalTodayNow", puts.to_string()),
        ("msgGetTotalTodayNow", gets.to_string()),
        ("msgPutTotalTodayMorning", today.puts.to_string()),
        ("msgGetTotalTodayMorning", today.gets.to_string()),
        ("msgPutTotalYesterdayMorning", yesterday.puts.to_string()),
        ("msgGetTotalYesterdayMorning", yesterday.gets.to_string()),
        ("putTps", rates(put)),
        ("getFoundTps", rates(got)),
        ("getMissTps", rates(0.0)),
        ("getTotalTps", rates(got)),
        ("getTransferredTps", rates(got)),
        // Apache's spelling of before 5.0.
        ("getTransferedTps", rates(got)),
        ("sendThreadPoolQueueSize", queued.to_string()),
        ("sendThreadPoolQueueCapacity", COMMANDS_MAX.to_string()),
    ]
}

fn of_log(core: &Core, room: &Room, earliest: Timestamp) -> [(&'static str, String); 8] {
    let Status { appended_to, durable_to, .. } = core.broker.status();
    let Space { total_bytes, free_bytes } = room.space;
    let used = total_bytes.saturating_sub(free_bytes);
    // Sizes of disks in tebibytes are exact.
    let ratio = if total_bytes == 0 { -1.0 } else { used as f64 / total_bytes as f64 };
    [
        ("commitLogMinOffset", room.log_begins_at.to_string()),
        ("commitLogMaxOffset", appended_to.to_string()),
        ("earliestMessageTimeStamp", earliest.to_string()),
        ("remainHowManyDataToFlush", bytes_text(appended_to.saturating_sub(durable_to))),
        ("commitLogDiskRatio", ratio.to_string()),
        // Both are in the data directory.
        ("consumeQueueDiskRatio", ratio.to_string()),
        ("commitLogDirCapacity", format!("Total : {}, Free : {}.", bytes_text(total_bytes), bytes_text(free_bytes))),
        ("dispatchBehindBytes", "0".to_owned()),
    ]
}

/// What is 0 at all brokers of ours.
pub(crate) fn zeros() -> impl Iterator<Item = (&'static str, String)> {
    let whole = [
        "putMessageFailedTimes",
        "getMessageEntireTimeMax",
        "dispatchMaxBuffer",
        "pageCacheLockTimeMills",
        "timerReadBehind",
        "timerOffsetBehind",
        "timerCongestNum",
        "remainTransientStoreBufferNumbs",
        "pullThreadPoolQueueSize",
        "pullThreadPoolQueueCapacity",
        "ackThreadPoolQueueSize",
        "queryThreadPoolQueueSize",
        "queryThreadPoolQueueCapacity",
        "sendThreadPoolQueueHeadWaitTimeMills",
        "pullThreadPoolQueueHeadWaitTimeMills",
        "ackThreadPoolQueueHeadWaitTimeMills",
        "queryThreadPoolQueueHeadWaitTimeMills",
    ];
    let with_point = ["timerEnqueueTps", "timerDequeueTps"];
    whole.map(|key| (key, "0".to_owned())).into_iter().chain(with_point.map(|key| (key, "0.0".to_owned())))
}

/// What a broker counts that has served nobody.
pub(crate) fn no_traffic() -> impl Iterator<Item = (&'static str, String)> {
    let counts = [
        "putMessageTimesTotal",
        "putMessageSizeTotal",
        "putMessageAverageSize",
        "putMessageEntireTimeMax",
        "msgPutTotalTodayNow",
        "msgGetTotalTodayNow",
        "msgPutTotalTodayMorning",
        "msgGetTotalTodayMorning",
        "msgPutTotalYesterdayMorning",
        "msgGetTotalYesterdayMorning",
    ];
    let rates = ["putTps", "getFoundTps", "getMissTps", "getTotalTps", "getTransferredTps", "getTransferedTps"];
    let counts = counts.map(|key| (key, "0".to_owned()));
    counts.into_iter().chain(rates.map(|key| (key, "0.0 0.0 0.0".to_owned())))
}

/// What was found on the disk.
struct Room {
    /// Of the file system that the data directory is in; nothing if that cannot be found out.
    space: Space,
    log_begins_at: u64,
}

/// Looks at the disk, on a thread that may wait for it.
async fn look(core: &Core) -> Room {
    let (disk, data) = (core.env.disk.clone(), core.options.data.clone());
    env::blocking(move || {
        let space = disk.space(&data).unwrap_or_else(|error| {
            tracing::warn!(%error, data = %data.display(), "the room on the disk cannot be found out");
            Space { total_bytes: 0, free_bytes: 0 }
        });
        // One that cannot be listed has no beginning that could be told.
        let files = disk.list(&data.join(store::COMMIT_LOG_NAME)).unwrap_or_default();
        Room { space, log_begins_at: files.iter().filter_map(|name| name.parse().ok()).min().unwrap_or_default() }
    })
    .await
}

/// Bytes as Apache writes them. Source: `MixAll#humanReadableByteCount`.
fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut size, mut unit) = (bytes as f64, None);
    for name in UNITS {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, Some(name));
    }
    unit.map_or_else(|| format!("{bytes} B"), |unit| format!("{size:.1} {unit}"))
}

/// Source: `StoreStatsService#getFormatRuntime`.
fn days_text(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {} seconds ]", seconds % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sizes_and_times_read_as_apaches() {
        let of = [0, 1023, 1024, 1536, 49 << 30, u64::MAX].map(bytes_text);
        assert_eq!(of, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "49.0 GiB", "16.0 EiB"]);
        assert_eq!(days_text(Duration::from_secs(93_784)), "[ 1 days, 2 hours, 3 minutes, 4 seconds ]");
    }
}
