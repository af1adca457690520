//! `gantry admin topic`.

use clap::{Args, Subcommand};
use gateway_http::views::{FreezeTopic, Topic, TopicDetails, TopicSettings, Topics};
use hyper::Method;

use super::client::{Client, segment};
use crate::output::{Output, facts, table, yes};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a topic
    Create {
        /// Its name: letters, digits, '%', '|', '_' and '-', at most 127
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Change what is named, leave the rest
    Update {
        /// The topic
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Delete a topic; its messages cannot be received any more
    Delete {
        /// The topic
        name: String,
    },
    /// List all topics
    List,
    /// Show a topic's settings, queues and the message types that were sent to it
    Describe {
        /// The topic
        name: String,
    },
    /// Fix the message type of a topic that was made on first use
    Freeze {
        /// The topic
        name: String,
        /// The type; when not given, the one that was used so far
        #[arg(long = "type", value_name = "TYPE")]
        message_type: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Settings {
    /// MIXED, NORMAL, FIFO, DELAY, TRANSACTION or PRIORITY [default: NORMAL]
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
    /// Queues to read and to write, 1 to 1024; more allow more consumers side by side [default: 8]
    #[arg(long, value_name = "COUNT")]
    queues: Option<u32>,
    /// Queues to read, when they differ
    #[arg(long, value_name = "COUNT")]
    read_queues: Option<u32>,
    /// Queues to write, when they differ
    #[arg(long, value_name = "COUNT")]
    write_queues: Option<u32>,
    /// Whether consumers may read [default: true]
    #[arg(long, value_name = "BOOL")]
    readable: Option<bool>,
    /// Whether producers may write [default: true]
    #[arg(long, value_name = "BOOL")]
    writable: Option<bool>,
}

impl Settings {
    fn to_view(&self) -> TopicSettings {
        TopicSettings {
            message_type: self.message_type.clone(),
            read_queues: self.read_queues.or(self.queues),
            write_queues: self.write_queues.or(self.queues),
            readable: self.readable,
            writable: self.writable,
        }
    }
}

pub(super) async fn run(command: &Command, client: &Client, output: Output) -> anyhow::Result<()> {
    const NOTHING: Option<&()> = None;
    let path = |name: &str| format!("topics/{}", segment(name));
    match command {
        Command::Create { name, settings } => {
            let created = client.call(Method::POST, &path(name), Some(&settings.to_view())).await?;
            output.print(created, |topic| settled("created", &topic))
        }
        Command::Update { name, settings } => {
            let updated = client.call(Method::PATCH, &path(name), Some(&settings.to_view())).await?;
            output.print(updated, |topic| settled("updated", &topic))
        }
        Command::Delete { name } => {
            client.call(Method::DELETE, &path(name), NOTHING).await?;
            output.done(&format!("topic {name} deleted"))
        }
        Command::List => output.print(client.call(Method::GET, "topics", NOTHING).await?, list),
        Command::Describe { name } => output.print(client.call(Method::GET, &path(name), NOTHING).await?, describe),
        Command::Freeze { name, message_type } => {
            let request = FreezeTopic { message_type: message_type.clone() };
            let frozen = client.call(Method::POST, &format!("{}/freeze", path(name)), Some(&request)).await?;
            output.print(frozen, |topic: Topic| format!("topic {} takes only {} now", topic.name, topic.message_type))
        }
    }
}

fn settled(done: &str, topic: &Topic) -> String {
    let Topic { name, message_type, read_queues, write_queues, .. } = topic;
    format!("topic {name} {done}: {message_type}, {write_queues} queues to write, {read_queues} to read")
}

fn list(Topics { topics }: Topics) -> String {
    if topics.is_empty() {
        return "no topics yet; make one: gantry admin topic create NAME".to_owned();
    }
    table(
        ["NAME", "TYPE", "WRITE QUEUES", "READ QUEUES", "ACCESS", "MADE BY"],
        topics.into_iter().map(|topic| {
            let queues = [topic.write_queues.to_string(), topic.read_queues.to_string()];
            let [write_queues, read_queues] = queues;
            [
                topic.name,
                topic.message_type,
                write_queues,
                read_queues,
                access(topic.readable, topic.writable),
                made_by(topic.auto_created),
            ]
        }),
    )
}

fn describe(details: TopicDetails) -> String {
    let TopicDetails { topic, queues, used_types } = details;
    let settings = facts([
        ("name", topic.name),
        ("type", topic.message_type),
        ("used for", if used_types.is_empty() { "nothing yet".to_owned() } else { used_types.join(", ") }),
        ("readable", yes(topic.readable)),
        ("writable", yes(topic.writable)),
        ("made by", made_by(topic.auto_created)),
    ]);
    let rows = queues.into_iter().map(|queue| {
        let messages = queue.end_offset.saturating_sub(queue.first_offset);
        [u64::from(queue.queue), queue.first_offset, queue.end_offset, messages].map(|number| number.to_string())
    });
    format!("{settings}\n\n{}", table(["QUEUE", "FIRST", "END", "MESSAGES"], rows))
}

fn access(readable: bool, writable: bool) -> String {
    match (readable, writable) {
        (true, true) => "read, write",
        (true, false) => "read",
        (false, true) => "write",
        (false, false) => "none",
    }
    .to_owned()
}

/// Who made a topic or group.
pub(super) fn made_by(auto_created: bool) -> String {
    if auto_created { "first use" } else { "command" }.to_owned()
}
