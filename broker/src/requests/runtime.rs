//! What a broker says of itself: its configuration, and what it counts. Source: Apache 5.5 `AdminBrokerProcessor#prepareRuntimeInfo`.

use remoting_proto::body::{DataVersion, GANTRY_VERSION, KvTable};
use remoting_proto::requests::GetBrokerConfigAnswer;
use remoting_proto::{Command, Dialect, VERSION};

use super::{Answer, Refusal, done, json};
use crate::counters::Status;
use crate::server::Core;

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
    tracing::info!(properties, "the configuration was changed");
    core.settings_changed.send_replace(());
    Ok(done(request))
}

/// What tools show of a broker. Rates and sizes of thread pools that we do not have are 0.
pub(super) fn info(core: &Core, request: &Command) -> Command {
    let Status { messages_in, messages_out, bytes_in, log_bytes, appended_to, durable_to, queued, .. } =
        core.broker.status();
    let average = bytes_in.checked_div(messages_in).unwrap_or_default();
    let (put, got) = core.statistics.lock().broker_rates(core.now());
    // Of the last 10 s, minute and 10 minutes; here all of the last minute.
    let rates = |rate: f64| format!("{rate:.3} {rate:.3} {rate:.3}");
    let mut table: Vec<(String, String)> = [
        ("brokerVersionDesc", "V5_5_0".to_owned()),
        ("brokerVersion", VERSION.to_string()),
        (GANTRY_VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        ("brokerActive", "true".to_owned()),
        ("bootTimestamp", core.started.to_string()),
        ("startAcceptSendRequestTimeStamp", core.started.to_string()),
        ("putMessageTimesTotal", messages_in.to_string()),
        ("putMessageSizeTotal", bytes_in.to_string()),
        ("putMessageAverageSize", average.to_string()),
        ("putMessageDistributeTime", "null".to_owned()),
        ("msgPutTotalTodayNow", messages_in.to_string()),
        ("msgGetTotalTodayNow", messages_out.to_string()),
        ("commitLogMinOffset", appended_to.saturating_sub(log_bytes).to_string()),
        ("commitLogMaxOffset", appended_to.to_string()),
        ("remainHowManyDataToFlush", format!("{} B", appended_to.saturating_sub(durable_to))),
        ("sendThreadPoolQueueSize", queued.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    let zeros = [
        "putMessageFailedTimes",
        "putMessageEntireTimeMax",
        "getMessageEntireTimeMax",
        "dispatchBehindBytes",
        "pageCacheLockTimeMills",
        "earliestMessageTimeStamp",
        "commitLogDiskRatio",
        "timerReadBehind",
        "timerOffsetBehind",
        "timerCongestNum",
        "remainTransientStoreBufferNumbs",
        "pullThreadPoolQueueSize",
        "ackThreadPoolQueueSize",
        "queryThreadPoolQueueSize",
        "sendThreadPoolQueueHeadWaitTimeMills",
        "pullThreadPoolQueueHeadWaitTimeMills",
        "ackThreadPoolQueueHeadWaitTimeMills",
        "queryThreadPoolQueueHeadWaitTimeMills",
        "msgPutTotalYesterdayMorning",
        "msgPutTotalTodayMorning",
        "msgGetTotalYesterdayMorning",
        "msgGetTotalTodayMorning",
    ];
    table.extend(zeros.map(|key| (key.to_owned(), "0".to_owned())));
    let doubles = ["timerEnqueueTps", "timerDequeueTps"];
    table.extend(doubles.map(|key| (key.to_owned(), "0.0".to_owned())));
    let rated =
        [("putTps", put), ("getFoundTps", got), ("getMissTps", 0.0), ("getTotalTps", got), ("getTransferredTps", got)];
    table.extend(rated.map(|(key, rate)| (key.to_owned(), rates(rate))));
    json(request, &KvTable { table: table.into_iter().collect() })
}
