//! `gantry admin group`.

use clap::{Args, Subcommand};
use gateway_http::views::{Group, GroupDetails, GroupSettings, Groups, Retry};
use hyper::Method;

use super::client::{Client, segment};
use super::topic::made_by;
use crate::config::value;
use crate::output::{Output, duration, facts, table, yes};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a consumer group
    Create {
        /// Its name: letters, digits, '%', '|', '_' and '-', at most 120
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Change what is named, leave the rest
    Update {
        /// The group
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Delete a group with its leases and offsets
    Delete {
        /// The group
        name: String,
    },
    /// List all groups
    List,
    /// Show a group's settings and how far it is on each queue
    Describe {
        /// The group
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Whether each queue is consumed in order [default: false]
    #[arg(long, value_name = "BOOL")]
    fifo: Option<bool>,
    /// Whether its members may consume [default: true]
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Deliveries of one message before it goes to the dead-letter topic [default: 17]
    #[arg(long, value_name = "COUNT")]
    max_attempts: Option<u32>,
    /// Waits before the first, second, … retry, e.g. 10s,30s,1m; later ones take the last [default: 10s to 2h]
    #[arg(long, value_name = "WAITS", value_delimiter = ',', value_parser = milliseconds, conflicts_with = "retry_exponential")]
    retry_waits: Option<Vec<u64>>,
    /// Growing waits instead: the first, the longest and the factor, e.g. 5s,10m,2
    #[arg(long, value_name = "FIRST,LONGEST,FACTOR", value_parser = exponential)]
    retry_exponential: Option<Retry>,
    /// How long one delivery to a client that renews by itself may last [default: 15m]
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    consume_timeout: Option<u64>,
}

impl Settings {
    fn to_view(&self) -> GroupSettings {
        let customized = self.retry_waits.clone().map(|next_ms| Retry::Customized { next_ms });
        GroupSettings {
            fifo: self.fifo,
            enabled: self.enabled,
            max_attempts: self.max_attempts,
            retry: customized.or_else(|| self.retry_exponential.clone()),
            consume_timeout_ms: self.consume_timeout,
        }
    }
}

fn milliseconds(text: &str) -> Result<u64, String> {
    let duration = value::duration(text).map_err(|expected| format!("expected {expected}"))?;
    u64::try_from(duration.as_millis()).map_err(|_| "too long".to_owned())
}

fn exponential(text: &str) -> Result<Retry, String> {
    let mut words = text.split(',');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(initial), Some(max), Some(multiplier), None) => Ok(Retry::Exponential {
            initial_ms: milliseconds(initial)?,
            max_ms: milliseconds(max)?,
            multiplier: multiplier.parse().map_err(|_| format!("factor {multiplier:?} is not a whole number"))?,
        }),
        _ => Err("expected three values, such as 5s,10m,2".to_owned()),
    }
}

pub(super) async fn run(command: &Command, client: &Client, output: Output) -> anyhow::Result<()> {
    const NOTHING: Option<&()> = None;
    let path = |name: &str| format!("groups/{}", segment(name));
    match command {
        Command::Create { name, settings } => {
            let created = client.call(Method::POST, &path(name), Some(&settings.to_view())).await?;
            output.print(created, |group| settled("created", &group))
        }
        Command::Update { name, settings } => {
            let updated = client.call(Method::PATCH, &path(name), Some(&settings.to_view())).await?;
            output.print(updated, |group| settled("updated", &group))
        }
        Command::Delete { name } => {
            client.call(Method::DELETE, &path(name), NOTHING).await?;
            output.done(&format!("group {name} deleted"))
        }
        Command::List => output.print(client.call(Method::GET, "groups", NOTHING).await?, list),
        Command::Describe { name } => output.print(client.call(Method::GET, &path(name), NOTHING).await?, describe),
    }
}

fn settled(done: &str, group: &Group) -> String {
    let order = if group.fifo { "in order" } else { "in any order" };
    format!("group {} {done}: consumes {order}, at most {} deliveries a message", group.name, group.max_attempts)
}

fn list(Groups { groups }: Groups) -> String {
    if groups.is_empty() {
        return "no groups yet; make one: gantry admin group create NAME".to_owned();
    }
    table(
        ["NAME", "FIFO", "ENABLED", "ATTEMPTS", "MADE BY"],
        groups.into_iter().map(|group| {
            let attempts = group.max_attempts.to_string();
            [group.name, yes(group.fifo), yes(group.enabled), attempts, made_by(group.auto_created)]
        }),
    )
}

fn describe(details: GroupDetails) -> String {
    let GroupDetails { group, progress } = details;
    let settings = facts([
        ("name", group.name),
        ("fifo", yes(group.fifo)),
        ("enabled", yes(group.enabled)),
        ("attempts", group.max_attempts.to_string()),
        ("retry after", retry(&group.retry)),
        ("consume timeout", duration(group.consume_timeout_ms)),
        ("made by", made_by(group.auto_created)),
    ]);
    if progress.is_empty() {
        return format!("{settings}\n\nnothing received yet");
    }
    let rows = progress.into_iter().map(|at| {
        let [queue, committed, end] = [u64::from(at.queue), at.committed_offset, at.end_offset].map(|n| n.to_string());
        let queue = if at.retry { "retry".to_owned() } else { queue };
        [at.topic, queue, committed, end, at.lag.to_string(), at.in_flight.to_string()]
    });
    format!("{settings}\n\n{}", table(["TOPIC", "QUEUE", "COMMITTED", "END", "LAG", "IN FLIGHT"], rows))
}

fn retry(retry: &Retry) -> String {
    match retry {
        Retry::Customized { next_ms } => next_ms.iter().copied().map(duration).collect::<Vec<_>>().join(", "),
        Retry::Exponential { initial_ms, max_ms, multiplier } => {
            format!("{}, then {multiplier} times as long, at most {}", duration(*initial_ms), duration(*max_ms))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_policies_are_typed_as_durations() {
        let expected = Retry::Exponential { initial_ms: 5_000, max_ms: 600_000, multiplier: 2 };
        assert_eq!(exponential("5s,10m,2"), Ok(expected));
        for bad in ["5s,10m", "5s,10m,x", "5,10m,2", "5s,10m,2,1"] {
            assert!(exponential(bad).is_err(), "{bad}");
        }
    }
}
