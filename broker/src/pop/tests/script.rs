//! Scripts: requests as text, and what came of them.
//!
//! A script is blocks separated by blank lines: commands, `----`, what they said. `send [group] [tag=x] [queue=n]` ·
//! `pop max=n invisible=30s [client=c] [queue=n] [attempt=a] [renew] [fifo] [tag=x]` · `ack`, `hold`, `release`, `skip`,
//! `give-up` and `change … invisible=10s [suspend=yes]` with handle names · `advance 30s` · `gone client=c` · `dies client=c` ·
//! `move h1`, as retention does · `foreign [tag=x]`, something that others put into the retry queue · `reset queue=n offset=n` ·
//! `trim queue=n first=n` · `restart`. Handles are named h1, h2, … as they are given out.
//!
//! With `GANTRY_UPDATE_SCRIPTS` set, the scripts' answers are written anew instead of compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use types::broker::{ChangeInvisible, ClientId};
use types::receipt_handle::HandleSource;
use types::{Filter, QueueId, QueueOffset, ReceiptHandle, Timestamp};

use super::world::{Around, Logged, Queues, durable, make_move, owner, replay};
use crate::pop::{PopMachine, PopQueues, PopRequest, Unfinished};

const QUEUES: u32 = 2;
const ATTEMPTS_MAX: u32 = 3;
const CONSUME_TIMEOUT: Duration = Duration::from_secs(300);

struct Stage {
    machine: PopMachine,
    queues: Queues,
    around: Around,
    now: i64,
    log: Vec<Logged>,
    handles: Vec<ReceiptHandle>,
    said: String,
}

/// A command's words after its name: those with `=` by their names, the others in order.
struct Words<'a> {
    named: BTreeMap<&'a str, &'a str>,
    plain: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn of(words: impl Iterator<Item = &'a str>) -> Self {
        let mut all = Self { named: BTreeMap::new(), plain: Vec::new() };
        for word in words {
            match word.split_once('=') {
                Some((name, value)) => _ = all.named.insert(name, value),
                None => all.plain.push(word),
            }
        }
        all
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.named.get(name).map(|value| value.parse().expect("a number"))
    }

    fn queue(&self) -> QueueId {
        QueueId(self.number("queue").unwrap_or(0))
    }

    fn client(&self) -> &'a str {
        self.named.get("client").copied().unwrap_or("c")
    }

    fn invisible(&self) -> Duration {
        duration(self.named["invisible"])
    }

    fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }
}

fn duration(text: &str) -> Duration {
    Duration::from_secs(text.trim_end_matches('s').parse().expect("whole seconds, as in 30s"))
}

impl Stage {
    fn new() -> Self {
        let mut around = Around::new(ATTEMPTS_MAX, CONSUME_TIMEOUT);
        around.alive.extend(["c", "d"].map(str::to_owned));
        Self {
            machine: PopMachine::new(),
            queues: Queues::new(QUEUES as usize),
            around,
            now: 0,
            log: Vec::new(),
            handles: Vec::new(),
            said: String::new(),
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.said, "{line}").expect("a text takes all");
    }

    fn run(&mut self, command: &str) {
        let mut words = command.split('#').next().unwrap_or_default().split_whitespace();
        let Some(name) = words.next() else { return };
        let words = Words::of(words);
        let mut events = Vec::new();
        match name {
            "send" => self.send(&words),
            "pop" => self.pop(&words),
            "advance" => self.now += i64::try_from(duration(words.plain[0]).as_millis()).expect("small"),
            "dies" => assert!(self.around.alive.remove(words.client())),
            "gone" => self.machine.client_gone(words.client(), &self.around, &mut events),
            "reset" => {
                let offset = QueueOffset(words.number("offset").expect("an offset").into());
                self.machine.reset_to(&owner(), words.queue(), offset, &mut events);
            }
            "foreign" => {
                let tag = words.named.get("tag").map_or(0, |tag| types::message::java_hash(tag).into());
                let offset = self.queues.append_retry(tag);
                self.say(&format!("retry offset {offset}"));
            }
            "trim" => self.queues.trim(words.queue(), words.number("first").expect("an offset").into()),
            "restart" => {
                self.machine = PopMachine::restore(&durable(&self.machine)).expect("a snapshot");
                self.machine.recovered(Timestamp(self.now));
            }
            _ => words.plain.iter().for_each(|handle| self.present(name, handle, &words)),
        }
        self.log.extend(events.into_iter().map(Logged::Event));
        self.settle();
    }

    fn send(&mut self, words: &Words<'_>) {
        let group = words.plain.first().map_or(0, |group| types::message::java_hash(group).cast_unsigned());
        let tag = words.named.get("tag").map_or(0, |tag| types::message::java_hash(tag).into());
        let offset = self.queues.append(words.queue(), group, tag);
        self.say(&format!("queue {} offset {offset}", words.queue()));
    }

    fn pop(&mut self, words: &Words<'_>) {
        let attempt_id: Option<Arc<str>> = words.named.get("attempt").map(|attempt| (*attempt).into());
        let client: ClientId = words.client().into();
        let owner = owner();
        let filter = words.named.get("tag").map_or(Filter::All, |tag| Filter::tags([*tag]).expect("a tag"));
        let request = PopRequest {
            owner: &owner,
            queues: words.number("queue").map_or(PopQueues::Any(QUEUES), |queue| PopQueues::One(QueueId(queue))),
            messages_max: words.number("max").expect("max"),
            invisible: words.invisible(),
            client: &client,
            auto_renew: words.has("renew"),
            filter: &filter,
            attempt_id: attempt_id.as_ref(),
            is_fifo: words.has("fifo"),
            begins_at_first: words.has("first"),
        };
        let (mut events, mut leased) = (Vec::new(), Vec::new());
        self.machine.pop(&request, &self.queues, Timestamp(self.now), &mut events, &mut leased);
        self.log.extend(events.into_iter().map(Logged::Event));
        if leased.is_empty() {
            self.say("nothing");
        }
        for leased in leased {
            self.handles.push(leased.handle(&"b".into()));
            let (number, place) = (self.handles.len(), place(leased.source, leased.queue, leased.entry.offset));
            self.say(&format!("h{number}: {place}, attempt {}", leased.attempt));
        }
    }

    /// Does with one handle what `name` says.
    fn present(&mut self, name: &str, handle_name: &str, words: &Words<'_>) {
        let number: usize = handle_name.trim_start_matches('h').parse().expect("a handle's name, as h1");
        let handle = self.handles[number - 1].clone();
        let (owner, one, mut events) = (owner(), std::slice::from_ref(&handle), Vec::new());
        let said = match name {
            "ack" => self.machine.ack(&owner, one, &mut events).remove(0).map(|()| "ok".to_owned()),
            "change" => {
                let now = Timestamp(self.now);
                let change =
                    ChangeInvisible { invisible: words.invisible(), suspend: words.named.contains_key("suspend") };
                let changed = self.machine.change_invisible(&owner, &handle, change, now, &mut events);
                changed.map(|handle| {
                    self.handles.push(handle);
                    format!("h{}", self.handles.len())
                })
            }
            "hold" => {
                self.machine.hold(&owner, one);
                Ok("ok".to_owned())
            }
            "release" => {
                self.machine.release(&owner, one, &mut events);
                Ok("ok".to_owned())
            }
            "skip" => {
                self.machine.skip(&owner, one, &mut events);
                Ok("ok".to_owned())
            }
            "give-up" => self.machine.find(&owner, &handle).map(|found| match found {
                Some(found) => {
                    assert!(self.machine.finish(&found.owner, found.queue, found.offset));
                    self.log.push(Logged::DeadLetter(found.owner, found.queue, found.offset));
                    format!("dead-lettered after attempt {}", found.attempts)
                }
                None => "gone already".to_owned(),
            }),
            "move" => {
                let found = self.machine.find(&owner, &handle).ok().flatten();
                let moved = found.and_then(|entry| make_move(&mut self.machine, &mut self.queues, &entry));
                let said = match &moved {
                    Some(Logged::Moved(_, _, copy)) => format!("to retry offset {copy}"),
                    _ => "stays".to_owned(),
                };
                self.log.extend(moved);
                Ok(said)
            }
            _ => panic!("unknown command {name}"),
        };
        self.log.extend(events.into_iter().map(Logged::Event));
        let said = said.unwrap_or_else(|error| format!("refused: {error}"));
        self.say(&format!("{handle_name} {name}: {said}"));
    }

    /// Does the engine's duties and tells what came of them.
    fn settle(&mut self) {
        let mut events = Vec::new();
        while self.machine.next_deadline().is_some_and(|deadline| deadline.0 <= self.now) {
            self.machine.expire(Timestamp(self.now), &self.around, &mut events);
        }
        self.log.extend(events.into_iter().map(Logged::Event));
        while let Some(given_up) = self.machine.poll_dead_letter() {
            self.say(&format!("{} given up after {}", place_of(&given_up), given_up.attempts));
            assert!(self.machine.finish(&given_up.owner, given_up.queue, given_up.offset));
            self.log.push(Logged::DeadLetter(given_up.owner, given_up.queue, given_up.offset));
        }
        while let Some(entry) = self.machine.poll_move(Timestamp(self.now)) {
            let moved = make_move(&mut self.machine, &mut self.queues, &entry).expect("it may be moved");
            let Logged::Moved(_, _, copy) = &moved else { unreachable!("a move") };
            self.say(&format!("{} moved to retry offset {copy}", place_of(&entry)));
            self.log.push(moved);
        }
        while let Some((owner, queue)) = self.machine.poll_visible() {
            let queue = if owner.topic.is_retry() { "the retry queue".to_owned() } else { format!("queue {queue}") };
            self.say(&format!("{queue} has something visible"));
        }
        assert_eq!(durable(&replay(&self.log)), durable(&self.machine));
    }
}

fn place(source: HandleSource, queue: QueueId, offset: QueueOffset) -> String {
    match source {
        HandleSource::Topic => format!("queue {queue} offset {offset}"),
        HandleSource::RetryV1 | HandleSource::RetryV2 => format!("retry offset {offset}"),
    }
}

fn place_of(entry: &Unfinished) -> String {
    let source = if entry.owner.topic.is_retry() { HandleSource::RetryV1 } else { HandleSource::Topic };
    place(source, entry.queue, entry.offset)
}

/// The script with the answers that its commands get now.
fn played(script: &str) -> String {
    let mut stage = Stage::new();
    let mut played = String::new();
    for block in script.split("\n\n") {
        let commands = block.split("----").next().unwrap_or_default().trim();
        commands.lines().for_each(|command| stage.run(command));
        let said = std::mem::take(&mut stage.said);
        write!(played, "{commands}\n----\n{said}\n").expect("a text takes all");
    }
    played.truncate(played.trim_end().len());
    played.push('\n');
    played
}

fn check(name: &str, script: &str) {
    let played = played(script);
    if std::env::var_os("GANTRY_UPDATE_SCRIPTS").is_some() {
        let path = format!("{}/src/pop/tests/scripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        #[expect(clippy::disallowed_methods, reason = "a developer asked for the test's own file to be written")]
        std::fs::write(path, played).expect("the scripts' folder");
        return;
    }
    assert_eq!(played, script, "{name}.txt");
}

#[test]
fn failed_messages_come_back_until_they_are_given_up() {
    check("redelivery", include_str!("scripts/redelivery.txt"));
}

#[test]
fn what_waits_long_goes_on_as_a_copy() {
    check("retry", include_str!("scripts/retry.txt"));
}

#[test]
fn message_groups_keep_their_order() {
    check("order", include_str!("scripts/order.txt"));
}

#[test]
fn held_messages_of_living_clients_are_prolonged() {
    check("renewal", include_str!("scripts/renewal.txt"));
}

#[test]
fn groups_begin_and_move_where_they_should() {
    check("progress", include_str!("scripts/progress.txt"));
}
