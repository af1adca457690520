//! What a broker says of itself: its configuration, and what it counts. Source: Apache 5.5 `AdminBrokerProcessor#prepareRuntimeInfo`.

use std::fmt::Write as _;

use remoting_proto::body::{GANTRY_VERSION, KvTable};
use remoting_proto::{Command, Fields, VERSION};

use super::{done, json};
use crate::counters::Status;
use crate::server::Core;

/// The configuration, as properties.
pub(super) fn config(core: &Core, request: &Command) -> Command {
    let mut text = String::new();
    for (key, value) in &core.options.shown {
        // A text takes everything.
        let _ = writeln!(text, "{key}={value}");
    }
    let mut fields = Fields::default();
    let _ = fields
        .set("version".to_owned(), format!("{{\"counter\":0,\"stateVersion\":0,\"timestamp\":{}}}", core.started));
    Command { fields, body: text.into(), ..done(request) }
}

/// What tools show of a broker. Rates and sizes of thread pools that we do not have are 0.
pub(super) fn info(core: &Core, request: &Command) -> Command {
    let Status { messages_in, messages_out, bytes_in, log_bytes, appended_to, durable_to, queued, .. } =
        core.broker.status();
    let average = bytes_in.checked_div(messages_in).unwrap_or_default();
    let rates = "0.0 0.0 0.0".to_owned();
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
    let rated = ["putTps", "getFoundTps", "getMissTps", "getTotalTps", "getTransferredTps"];
    table.extend(rated.map(|key| (key.to_owned(), rates.clone())));
    json(request, &KvTable { table: table.into_iter().collect() })
}
