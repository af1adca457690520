//! The server's metrics: names, kinds and meanings, in one place.
//!
//! Names are Apache's where it has the same number (`BrokerMetricsConstant`, `DefaultStoreMetricsConstant`,
//! `ProxyMetricsConstant`), with its base labels; ours begin with `gantry_`. All are read from the broker's own
//! counters when somebody asks, so they cost the hot path nothing.

use std::sync::Arc;

use broker::Status;
use broker::membership::View;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use remoting_proto::body::{HaClient, HaStatus};

/// A number that is exported, of a role whose state is `T`.
struct Number<T> {
    name: &'static str,
    meaning: &'static str,
    read: fn(&T) -> u64,
}

const fn number<T>(name: &'static str, meaning: &'static str, read: fn(&T) -> u64) -> Number<T> {
    Number { name, meaning, read }
}

/// Numbers that only rise since the start.
const COUNTERS: [Number<Status>; 23] = [
    number("rocketmq_messages_in_total", "Messages stored for producers", |status| status.messages_in),
    number("rocketmq_throughput_in_total", "Bytes of records stored for producers", |status| status.bytes_in),
    number("rocketmq_messages_out_total", "Messages leased or pulled", |status| status.messages_out),
    number("rocketmq_throughput_out_total", "Bytes of records leased or pulled", |status| status.bytes_out),
    number("rocketmq_send_to_dlq_messages_total", "Messages moved to dead-letter topics", |status| {
        status.dead_lettered
    }),
    number("rocketmq_pop_revive_retry_messages_total", "Messages moved to retry topics", |status| status.moved),
    number("rocketmq_timer_dequeue_total", "Delayed messages delivered", |status| status.timers_delivered),
    number(
        "gantry_messages_escaped_total",
        "Delayed messages that a slave has sent to other brokers in its master's stead",
        |status| status.escaped,
    ),
    number(
        "gantry_messages_delivered_twice_total",
        "Delayed messages that a master has delivered and a slave in its stead too, or a slave perhaps twice",
        |status| status.delivered_twice,
    ),
    number("rocketmq_commit_messages_total", "Transactions committed", |status| status.committed),
    number("rocketmq_rollback_messages_total", "Transactions rolled back", |status| status.rolled_back),
    number(
        "gantry_dead_letters_lost_total",
        "Messages given up without a dead letter, as it cannot be made",
        |status| status.lost,
    ),
    number("gantry_records_damaged_total", "Damaged records that receivers were not given", |status| status.unreadable),
    number("gantry_messages_acked_total", "Messages acknowledged", |status| status.acked),
    number("gantry_transactions_parked_total", "Transactions put aside because nobody decided", |status| status.parked),
    number(
        "gantry_transactions_lost_total",
        "Transactions that nobody decided, given up as they are damaged",
        |status| status.halves_lost,
    ),
    number("gantry_log_segments_expired_total", "Segments of the log that retention has removed", |status| {
        status.expired_segments
    }),
    number("gantry_messages_carried_total", "Waiting messages stored again before their segment went", |status| {
        status.carried
    }),
    number(
        "gantry_messages_expired_unfinished_total",
        "Unfinished or waiting messages that went with their segment",
        |status| status.expired_lost,
    ),
    number(
        "gantry_topics_expired_total",
        "Topics made on first use that were empty and unused and are deleted",
        |status| status.expired_topics,
    ),
    number(
        "gantry_groups_expired_total",
        "Consumer groups made on first use that were unused and are deleted",
        |status| status.expired_groups,
    ),
    number("gantry_messages_repeated_total", "Messages not stored, as one with their idempotency key is", |status| {
        status.repeated
    }),
    number("gantry_requests_refused_total", "Requests refused because too much was waiting", |status| status.busy),
];

/// Numbers that go both ways.
const GAUGES: [Number<Status>; 12] = [
    number("rocketmq_topic_number", "Topics", |status| status.topics),
    number("rocketmq_consumer_group_number", "Consumer groups", |status| status.groups),
    number("rocketmq_timing_messages", "Messages that wait for their delivery time", |status| status.timers_pending),
    number("rocketmq_half_messages", "Transactional messages without an outcome", |status| status.halves_pending),
    number("gantry_idempotency_keys", "Idempotency keys that are known", |status| status.keys_known),
    number("rocketmq_storage_flush_behind_bytes", "Bytes of the log that are not on the disk yet", |status| {
        status.appended_to.saturating_sub(status.durable_to)
    }),
    number("gantry_log_appended_bytes", "End of the log in the operating system's hands", |status| status.appended_to),
    number("gantry_log_durable_bytes", "End of the log on the disk", |status| status.durable_to),
    number("gantry_log_segment_bytes", "Length of all segments of the log", |status| status.log_bytes),
    number("gantry_receivers_waiting", "Receivers that wait for messages", |status| status.waiting),
    number("gantry_commands_queued", "Commands that wait for the engine", |status| status.queued),
    number("gantry_store_failed", "1 when the store only refuses, until it is started anew", |status| {
        u64::from(status.failure.is_some())
    }),
];

/// A broker's labels: its cluster and its name.
type Labels = Arc<[KeyValue; 3]>;

pub(crate) fn broker_labels(cluster: &str, name: &str) -> Labels {
    Arc::new([
        KeyValue::new("cluster", cluster.to_owned()),
        KeyValue::new("node_type", "broker"),
        KeyValue::new("node_id", name.to_owned()),
    ])
}

/// Registers a broker's numbers; `status` is asked at each scrape.
pub(crate) fn register(meter: &Meter, labels: &Labels, status: impl Fn() -> Status + Send + Sync + 'static) {
    let status: Arc<dyn Fn() -> Status + Send + Sync> = Arc::new(status);
    for Number { name, meaning, read } in COUNTERS {
        let (status, labels) = (status.clone(), labels.clone());
        // The exporter adds the ending that Prometheus wants of counters.
        let counter = meter.u64_observable_counter(name.trim_end_matches("_total")).with_description(meaning);
        counter.with_callback(move |observer| observer.observe(read(&status()), &*labels)).build();
    }
    register_gauges(meter, GAUGES, labels, &status);
}

/// Numbers of a broker among those of its name; they go both ways.
const REPLICATION: [Number<HaStatus>; 5] = [
    number("gantry_replication_master", "1 at a master, 0 at a slave", |status| u64::from(status.master)),
    number("gantry_replication_slaves", "Slaves that get this master's log", |status| {
        status.ha_connection_info.len() as u64
    }),
    number("gantry_replication_slaves_in_sync", "Slaves of this master that keep up", |status| {
        status.in_sync_slave_nums.unsigned_abs().into()
    }),
    number("gantry_replication_behind_bytes", "Bytes of the log that the slave farthest behind lacks", |status| {
        status.ha_connection_info.iter().map(|slave| slave.diff).max().unwrap_or_default()
    }),
    number("gantry_replication_following", "1 at a slave that gets its master's log just now", |status| {
        let follows = |client: &HaClient| !client.master_addr.is_empty();
        u64::from(status.ha_client_runtime_info.as_ref().is_some_and(follows))
    }),
];

/// Registers them; `status` is asked at each scrape.
pub(crate) fn register_replication(
    meter: &Meter,
    labels: &Labels,
    status: impl Fn() -> HaStatus + Send + Sync + 'static,
) {
    let status: Arc<dyn Fn() -> HaStatus + Send + Sync> = Arc::new(status);
    register_gauges(meter, REPLICATION, labels, &status);
}

/// What controllers say of a broker's name, and whether this broker may act as its master.
pub(crate) type Member = (Option<View>, bool);

/// Numbers of a broker under controllers; they go both ways.
const MEMBERSHIP: [Number<Member>; 3] = [
    number("gantry_membership_epoch", "Epoch of the broker name, by the controllers' last word", |(view, _)| {
        view.as_ref().map_or(0, |view| view.epoch.0.unsigned_abs().into())
    }),
    number(
        "gantry_membership_in_sync",
        "Brokers of the name that are in sync, by the controllers' last word",
        |(view, _)| view.as_ref().map_or(0, |view| view.in_sync.len() as u64),
    ),
    number("gantry_membership_leads", "1 at the master while its lease goes on", |(_, leads)| u64::from(*leads)),
];

/// Registers them; `member` is asked at each scrape.
pub(crate) fn register_membership(meter: &Meter, labels: &Labels, member: impl Fn() -> Member + Send + Sync + 'static) {
    let member: Arc<dyn Fn() -> Member + Send + Sync> = Arc::new(member);
    register_gauges(meter, MEMBERSHIP, labels, &member);
}

/// What a name server knows: brokers and topics.
pub(crate) type Known = (usize, usize);

/// Numbers of a name server; they go both ways.
const NAME_SERVER: [Number<Known>; 2] = [
    number("gantry_nameserver_brokers", "Broker processes that are registered", |(brokers, _)| *brokers as u64),
    number("gantry_nameserver_topics", "Topics that brokers have registered", |(_, topics)| *topics as u64),
];

/// Registers those of a name server; `known` is asked at each scrape.
pub(crate) fn register_name_server(meter: &Meter, known: impl Fn() -> Known + Send + Sync + 'static) {
    let known: Arc<dyn Fn() -> Known + Send + Sync> = Arc::new(known);
    register_gauges(meter, NAME_SERVER, &Arc::new([KeyValue::new("node_type", "nameserver")]), &known);
}

/// What a controller knows: brokers, broker names, and whether it leads.
pub(crate) type Led = (usize, usize, bool);

/// Numbers of a controller; they go both ways.
const CONTROLLER: [Number<Led>; 3] = [
    number("gantry_controller_brokers", "Brokers that have an id", |(brokers, _, _)| *brokers as u64),
    number("gantry_controller_names", "Names of brokers that have an id", |(_, names, _)| *names as u64),
    number("gantry_controller_leads", "1 at the controller that leads its group", |(_, _, leads)| u64::from(*leads)),
];

/// Registers those of a controller; `led` is asked at each scrape.
pub(crate) fn register_controller(meter: &Meter, led: impl Fn() -> Led + Send + Sync + 'static) {
    let led: Arc<dyn Fn() -> Led + Send + Sync> = Arc::new(led);
    register_gauges(meter, CONTROLLER, &Arc::new([KeyValue::new("node_type", "controller")]), &led);
}

fn register_gauges<T: 'static, const N: usize, const L: usize>(
    meter: &Meter,
    gauges: [Number<T>; N],
    labels: &Arc<[KeyValue; L]>,
    state: &Arc<dyn Fn() -> T + Send + Sync>,
) {
    for Number { name, meaning, read } in gauges {
        let (state, labels) = (state.clone(), labels.clone());
        let gauge = meter.u64_observable_gauge(name).with_description(meaning);
        gauge.with_callback(move |observer| observer.observe(read(&state()), &*labels)).build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_page_lists_every_metric() {
        let page = include_str!("../../docs/operations.md");
        for Number { name, meaning, .. } in NAME_SERVER {
            let row = format!("| `{name}` | gauge | {meaning} |");
            assert!(page.contains(&row), "docs/operations.md lacks the row\n{row}");
        }
        for Number { name, meaning, .. } in CONTROLLER {
            let row = format!("| `{name}` | gauge | {meaning} |");
            assert!(page.contains(&row), "docs/operations.md lacks the row\n{row}");
        }
        for Number { name, meaning, .. } in MEMBERSHIP {
            let row = format!("| `{name}` | gauge | {meaning} |");
            assert!(page.contains(&row), "docs/operations.md lacks the row\n{row}");
        }
        for Number { name, meaning, .. } in REPLICATION {
            let row = format!("| `{name}` | gauge | {meaning} |");
            assert!(page.contains(&row), "docs/operations.md lacks the row\n{row}");
        }
        for (kind, numbers) in [("counter", COUNTERS.as_slice()), ("gauge", GAUGES.as_slice())] {
            for Number { name, meaning, .. } in numbers {
                let row = format!("| `{name}` | {kind} | {meaning} |");
                assert!(page.contains(&row), "docs/operations.md lacks the row\n{row}");
            }
        }
    }
}
