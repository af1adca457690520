//! `gantry admin queryMsgTraceById`: what producers and consumers told of a message's way, if they trace. Source: Apache 5.5
//! `TraceDataEncoder`.

use clap::Args;
use gateway_http::views::messages::Message;
use serde::Serialize;

use super::answers::Answers;
use super::messages::{self, Found};
use super::network::Network;
use super::topics::moment;
use crate::admin::message;
use crate::output::{Output, table};

/// Between the texts of an event, and behind the last of them.
const TEXT_END: char = '\u{1}';
const EVENT_END: char = '\u{2}';

#[derive(Debug, Args)]
pub(in crate::admin) struct QueryMsgTraceById {
    /// The message id that its producer was told
    #[arg(short, long)]
    id: String,
    /// The topic that clients trace to
    #[arg(short, long, default_value = "RMQ_SYS_TRACE_TOPIC")]
    topic: String,
    #[command(flatten)]
    stored: message::Stored,
}

/// What was told of a message, by time; what has none last.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    message_id: String,
    events: Vec<Event>,
}

/// One event. What clients do not tell of its kind is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    /// `Pub`: it was sent; `SubBefore`, `SubAfter`: a consumer began and ended with it; `EndTransaction`: its transaction was ended.
    kind: String,
    /// When it began, ms since 1970; of `SubAfter` when it ended. Clients before 5.0 tell none of `SubAfter`.
    at_ms: Option<i64>,
    group: Option<String>,
    /// The client that told.
    client: String,
    /// How long it took.
    took_ms: Option<i64>,
    succeeded: Option<bool>,
    /// Deliveries before this one.
    retries: Option<i64>,
    /// What was decided of a transaction.
    decision: Option<String>,
    /// What `SubBefore` and `SubAfter` have in common.
    request: Option<String>,
}

impl QueryMsgTraceById {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let asked = messages::asked(&self.topic, &self.id, &self.stored);
        let Answers { found, missing } = messages::query(network, asked).await?;
        let mut events: Vec<Event> =
            found.messages.iter().flat_map(|Found { message, .. }| told(message, &self.id)).collect();
        name_groups(&mut events);
        sort(&mut events);
        Answers { found: Trace { message_id: self.id.clone(), events }, missing }.print(output, trace_text)
    }
}

/// What a traced message tells of the message with this id.
fn told<'a>(message: &'a Message, id: &'a str) -> impl Iterator<Item = Event> {
    let text = message.body.as_deref().unwrap_or_default();
    text.split(EVENT_END).filter_map(move |event| Event::parse(event, id, &message.born_host))
}

impl Event {
    /// Reads an event, if it is one of this message. Others are left out, whatever is in them.
    fn parse(text: &str, id: &str, client: &str) -> Option<Self> {
        let texts: Vec<&str> = text.split(TEXT_END).collect();
        let at = |index: usize| texts.get(index).copied();
        let number = |index: usize| at(index)?.parse().ok();
        let truth = |index: usize| at(index)?.parse().ok();
        let known = |index: usize| at(index).map(str::to_owned);
        let kind = at(0)?;
        let (of, event) = match kind {
            "Pub" => {
                // Clients before 4.4 tell no offset message id.
                let succeeded = if texts.len() > 13 { truth(13) } else { truth(12) };
                (at(5)?, Self { at_ms: number(1), group: known(3), took_ms: number(10), succeeded, ..Self::default() })
            }
            "SubBefore" => {
                let (group, request) = (known(3), known(4));
                (at(5)?, Self { at_ms: number(1), group, request, retries: number(6), ..Self::default() })
            }
            "SubAfter" => {
                let (request, took_ms, succeeded) = (known(1), number(3), truth(4));
                (at(2)?, Self { at_ms: number(7), group: known(8), request, took_ms, succeeded, ..Self::default() })
            }
            "EndTransaction" => {
                (at(5)?, Self { at_ms: number(1), group: known(3), decision: known(11), ..Self::default() })
            }
            _ => return None,
        };
        (of == id).then(|| Self { kind: kind.to_owned(), client: client.to_owned(), ..event })
    }
}

/// Who ends with a message does not always say which group it is of: the one that it began in.
fn name_groups(events: &mut [Event]) {
    let begun: Vec<Event> = events.iter().filter(|event| event.kind == "SubBefore").cloned().collect();
    for event in events.iter_mut().filter(|event| event.group.is_none()) {
        event.group = begun.iter().find(|begun| begun.request == event.request).and_then(|begun| begun.group.clone());
    }
}

/// By time; what has none stands behind all that does.
fn sort(events: &mut [Event]) {
    events.sort_by_key(|event| (event.at_ms.is_none(), event.at_ms));
}

fn trace_text(Trace { message_id, events }: &Trace) -> String {
    if events.is_empty() {
        return format!("nobody told anything of message {message_id}; clients tell only if they are set to trace");
    }
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows = events.iter().map(|event| {
        let result = event.decision.clone().or_else(|| {
            let succeeded = event.succeeded?;
            Some(if succeeded { "success" } else { "failure" }.to_owned())
        });
        [
            event.kind.clone(),
            event.at_ms.map_or_else(|| "-".to_owned(), moment),
            or_none(event.group.clone()),
            event.client.clone(),
            or_none(event.took_ms.map(|ms| format!("{ms}ms"))),
            or_none(event.retries.map(|retries| retries.to_string())),
            or_none(result),
        ]
    });
    table(["EVENT", "AT", "GROUP", "CLIENT", "TOOK", "RETRIES", "RESULT"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "10.0.0.9:5000";

    fn parse(texts: &[&str]) -> Option<Event> {
        Event::parse(&texts.join("\u{1}"), "ID", CLIENT)
    }

    #[test]
    fn events_are_read_as_clients_of_all_ages_write_them() {
        let sent = ["Pub", "17", "R", "PG", "T", "ID", "tag", "key", "h:1", "5", "3", "0"];
        let of = |more: &[&str]| parse(&[&sent, more].concat()).expect("an event");
        let oldest = of(&["true"]);
        assert_eq!((oldest.at_ms, oldest.took_ms, oldest.succeeded), (Some(17), Some(3), Some(true)));
        assert_eq!((oldest.group.as_deref(), oldest.client.as_str()), (Some("PG"), CLIENT));
        assert_eq!(of(&["OFFSET", "false"]).succeeded, Some(false));
        assert_eq!(of(&["OFFSET", "true", "10.0.0.1"]).succeeded, Some(true));
        let ended =
            parse(&["EndTransaction", "1", "R", "PG", "T", "ID", "", "", "h:1", "2", "TX", "COMMIT_MESSAGE", "false"]);
        assert_eq!(ended.expect("an event").decision.as_deref(), Some("COMMIT_MESSAGE"));
    }

    #[test]
    fn other_messages_and_what_is_no_event_are_left_out() {
        assert_eq!(parse(&["Pub", "17", "R", "PG", "T", "OTHER"]), None);
        assert_eq!(parse(&["Odd", "17", "R", "PG", "T", "ID"]), None);
        assert_eq!((parse(&["Pub"]), parse(&[""])), (None, None));
    }

    #[test]
    fn who_ends_is_of_the_group_that_began() {
        let begun = parse(&["SubBefore", "5", "R", "g", "REQ", "ID", "2", "key"]).expect("an event");
        let ended = parse(&["SubAfter", "REQ", "ID", "7", "true", "key", "0"]).expect("an event");
        assert_eq!((begun.retries, ended.group.clone(), ended.at_ms), (Some(2), None, None));
        let mut events = [begun, ended];
        name_groups(&mut events);
        assert_eq!(events[1].group.as_deref(), Some("g"));
        let text = trace_text(&Trace { message_id: "ID".to_owned(), events: events.to_vec() });
        let words: Vec<&str> = text.lines().nth(2).expect("a line").split_whitespace().collect();
        assert_eq!(words, ["SubAfter", "-", "g", CLIENT, "7ms", "-", "success"]);
    }

    #[test]
    fn what_has_no_time_stands_last() {
        let at = |at_ms| Event { at_ms, ..Event::default() };
        let mut events = [at(None), at(Some(7)), at(Some(5))];
        sort(&mut events);
        assert_eq!(events.map(|event| event.at_ms), [Some(5), Some(7), None]);
    }
}
