//! `gantry store dump`.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use env::Disk;
use record::Record;
use serde::Serialize;
use serde_json::{Map, Value};
use store::inspect::Piece;
use types::PhysicalOffset;
use types::properties::has_key;

use super::{journal, open};
use crate::cli::Misuse;
use crate::output::{Output, printed};
use crate::progress::Bar;
use crate::time;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The data directory
    dir: PathBuf,
    /// First position of the log that is looked at
    #[arg(long, value_name = "POS", default_value_t = 0)]
    from: u64,
    /// Position before which records begin [default: the log's end]
    #[arg(long, value_name = "POS")]
    to: Option<u64>,
    /// Only records of this topic
    #[arg(long)]
    topic: Option<String>,
    /// Only records of this queue of each topic
    #[arg(long, value_name = "NUMBER")]
    queue: Option<u32>,
    /// Only records with this key or unique id
    #[arg(long)]
    key: Option<String>,
    /// Stop after so many records
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Print bodies too: as text where they are UTF-8, else as Base64
    #[arg(long)]
    bodies: bool,
}

/// A record as a JSON line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordView<'a> {
    position: u64,
    record_bytes: u32,
    topic: &'a str,
    queue: u32,
    queue_offset: u64,
    stored_at: i64,
    store_host: String,
    born_at: i64,
    born_host: String,
    flag: u32,
    sys_flag: u32,
    body_crc: u32,
    reconsume_times: u32,
    source_offset: u64,
    body_bytes: u32,
    properties: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// A damaged place as a JSON line.
#[derive(Debug, Serialize)]
struct DamageView<'a> {
    damage: &'a str,
    position: u64,
    next: Option<u64>,
}

pub(super) fn run(arguments: &Arguments, disk: &Arc<dyn Disk>, output: Output) -> anyhow::Result<()> {
    let to = arguments.to.unwrap_or(u64::MAX);
    if arguments.from > to {
        return Err(Misuse(format!("--from {} is behind --to {to}", arguments.from)).into());
    }
    let directory = open(disk, &arguments.dir)?;
    let bar = Bar::of_bytes();
    let mut printer = Printer {
        arguments,
        is_json: output.is_json,
        out: BufWriter::new(io::stdout().lock()),
        left: arguments.limit.unwrap_or(u64::MAX),
        failure: None,
    };
    let stretch = PhysicalOffset(arguments.from)..PhysicalOffset(to);
    let read = directory.records(stretch, &mut |progress| bar.show(progress), &mut |piece| printer.take(&piece));
    read.with_context(|| format!("cannot read the log in {}", arguments.dir.display()))?;
    printer.finish()
}

/// Prints what is asked for.
struct Printer<'a, W> {
    arguments: &'a Arguments,
    is_json: bool,
    out: W,
    left: u64,
    failure: Option<io::Error>,
}

impl<W: Write> Printer<'_, W> {
    fn take(&mut self, piece: &Piece<'_>) -> ControlFlow<()> {
        if self.left == 0 {
            return ControlFlow::Break(());
        }
        let printed = match piece {
            Piece::Record(record) if !self.is_wanted(record) => return ControlFlow::Continue(()),
            Piece::Record(record) => self.record(record),
            Piece::Damage { at, next, problem } => self.damage(*at, *next, problem),
        };
        if matches!(piece, Piece::Record(_)) {
            self.left -= 1;
        }
        match printed {
            Ok(()) if self.left > 0 => ControlFlow::Continue(()),
            Ok(()) => ControlFlow::Break(()),
            Err(error) => {
                self.failure = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn finish(mut self) -> anyhow::Result<()> {
        printed(self.failure.take().map_or_else(|| self.out.flush(), Err))
    }

    fn is_wanted(&self, record: &Record<'_>) -> bool {
        let Arguments { topic, queue, key, .. } = self.arguments;
        topic.as_deref().is_none_or(|topic| topic == record.topic)
            && queue.is_none_or(|queue| queue == record.header.queue.0)
            && key.as_deref().is_none_or(|key| has_key(record.properties(), key))
    }

    fn record(&mut self, record: &Record<'_>) -> io::Result<()> {
        if !self.is_json {
            return self.record_text(record);
        }
        let text = if self.arguments.bodies { str::from_utf8(record.body).ok() } else { None };
        let body_base64 = (self.arguments.bodies && text.is_none()).then(|| BASE64.encode(record.body));
        let header = &record.header;
        self.line(&RecordView {
            position: header.physical_offset.0,
            record_bytes: header.record_bytes,
            topic: record.topic,
            queue: header.queue.0,
            queue_offset: header.queue_offset.0,
            stored_at: header.stored_at.0,
            store_host: header.store_host.to_string(),
            born_at: header.born_at.0,
            born_host: header.born_host.to_string(),
            flag: header.flag,
            sys_flag: header.sys_flag.0,
            body_crc: header.body_crc,
            reconsume_times: header.reconsume_times,
            source_offset: header.source_offset,
            body_bytes: header.body_bytes,
            properties: record.properties().map(|(name, value)| (name.to_owned(), value.into())).collect(),
            events: journal::events(record),
            body: text,
            body_base64,
        })
    }

    fn record_text(&mut self, record: &Record<'_>) -> io::Result<()> {
        let header = &record.header;
        let (position, offset, bytes) = (header.physical_offset, header.queue_offset, header.record_bytes);
        let stored = time::text(header.stored_at);
        writeln!(
            self.out,
            "{position}  {} queue {} offset {offset}  {bytes} bytes  {stored}",
            record.topic, header.queue
        )?;
        writeln!(
            self.out,
            "    born {} at {}, stored by {}",
            time::text(header.born_at),
            header.born_host,
            header.store_host
        )?;
        let (flag, sys_flag) = (header.flag, header.sys_flag.0);
        let (times, source) = (header.reconsume_times, header.source_offset);
        writeln!(
            self.out,
            "    flag {flag}, system flag {sys_flag:#x}, delivered {times} times before, source {source}"
        )?;
        for (name, value) in record.properties() {
            writeln!(self.out, "    {name} = {}", value.escape_debug())?;
        }
        for event in journal::events(record) {
            writeln!(self.out, "    event: {event}")?;
        }
        let crc = header.body_crc;
        match str::from_utf8(record.body) {
            _ if !self.arguments.bodies => writeln!(self.out, "    body of {} bytes, CRC {crc:08x}", record.body.len()),
            Ok(text) => writeln!(self.out, "    body: {}", text.escape_debug()),
            Err(_) => writeln!(self.out, "    body in Base64: {}", BASE64.encode(record.body)),
        }
    }

    fn damage(&mut self, at: PhysicalOffset, next: Option<PhysicalOffset>, problem: &str) -> io::Result<()> {
        if self.is_json {
            return self.line(&DamageView { damage: problem, position: at.0, next: next.map(|next| next.0) });
        }
        match next {
            Some(next) => writeln!(self.out, "{at}  DAMAGED up to {next}: {problem}"),
            None => writeln!(self.out, "{at}  no record from here on: {problem}"),
        }
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        writeln!(self.out)
    }
}
