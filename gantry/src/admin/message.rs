//! `gantry admin message`.

use std::ops::Range;

use clap::{Args, Subcommand};
use gateway_http::views::messages::{Message, Messages};
use hyper::Method;
use types::Timestamp;

use super::client::{Client, segment};
use crate::output::{Output, facts, table};
use crate::time;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List a topic's messages by their store time, oldest first
    List {
        /// The topic
        topic: String,
        /// Only of this queue
        #[arg(long, value_name = "NUMBER")]
        queue: Option<u32>,
        #[command(flatten)]
        stored: Stored,
    },
    /// Find a topic's messages by unique id, or by a key that their producer gave, newest first
    Find {
        /// The topic
        topic: String,
        /// The unique id or key
        key: String,
        #[command(flatten)]
        stored: Stored,
    },
    /// Show one message with its properties and its body
    Show {
        /// Its offset message id, as list and find show it
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Stored {
    /// Stored at or after this time, such as 2026-11-25T08:00:00Z, or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = gateway_http::text::time)]
    from: Option<Timestamp>,
    /// Stored before this time
    #[arg(long, value_name = "TIME", value_parser = gateway_http::text::time)]
    to: Option<Timestamp>,
    /// At most so many, up to 256
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    pub(super) max: usize,
}

impl Stored {
    /// The time as a range.
    pub(super) fn range(&self) -> Range<Timestamp> {
        self.from.unwrap_or_default()..self.to.unwrap_or(Timestamp(i64::MAX))
    }

    /// The path of a query with this time and what else is asked for.
    fn path(&self, topic: &str, more: &[(&str, String)]) -> String {
        let mut path = format!("topics/{}/messages?body=false&max={}", segment(topic), self.max);
        let times = [("fromMs", self.from), ("toMs", self.to)];
        let times = times.into_iter().filter_map(|(name, time)| Some((name, time?.to_string())));
        for (name, value) in times.chain(more.iter().map(|(name, value)| (*name, value.clone()))) {
            path.push_str(&format!("&{name}={}", segment(&value)));
        }
        path
    }
}

pub(super) async fn run(command: &Command, client: &Client, output: Output) -> anyhow::Result<()> {
    let path = match command {
        Command::List { topic, queue, stored } => {
            let queue: Vec<_> = queue.iter().map(|queue| ("queue", queue.to_string())).collect();
            stored.path(topic, &queue)
        }
        Command::Find { topic, key, stored } => stored.path(topic, &[("key", key.clone())]),
        Command::Show { id } => format!("messages/{}", segment(id)),
    };
    let answer = client.call(Method::GET, &path, None::<&()>).await?;
    match command {
        Command::List { .. } | Command::Find { .. } => output.print(answer, list),
        Command::Show { .. } => output.print(answer, show),
    }
}

fn list(found: Messages) -> String {
    let rows = found.messages.into_iter().map(|message| {
        [
            time::text(Timestamp(message.stored_at_ms)),
            message.queue.to_string(),
            message.offset.to_string(),
            message.tag.unwrap_or_default(),
            message.body_bytes.to_string(),
            message.message_id,
            message.offset_message_id,
        ]
    });
    let table = table(["STORED", "QUEUE", "OFFSET", "TAG", "BYTES", "MESSAGE ID", "OFFSET MESSAGE ID"], rows);
    let more = if found.complete { "" } else { "\n\nThere are more: raise --max, or narrow --from and --to." };
    format!("{table}{more}")
}

/// One message with all that is known of it.
pub(super) fn show(message: Message) -> String {
    let body = match (message.body, message.body_base64) {
        (Some(text), _) => text,
        (None, base64) => format!("{} (Base64)", base64.unwrap_or_default()),
    };
    let settings = facts([
        ("topic", message.topic),
        ("queue", message.queue.to_string()),
        ("offset", message.offset.to_string()),
        ("stored", time::text(Timestamp(message.stored_at_ms))),
        ("born", format!("{} at {}", time::text(Timestamp(message.born_at_ms)), message.born_host)),
        ("reconsume times", message.reconsume_times.to_string()),
        ("body", format!("{} bytes", message.body_bytes)),
    ]);
    let properties = message.properties.into_iter().map(|(name, value)| [name, value]);
    format!("{settings}\n\n{}\n\n{body}", table(["PROPERTY", "VALUE"], properties))
}
