//! Official clients that send, receive and acknowledge all the time: the SDKs' `stream` examples, and what they say.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use super::super::examples;
use super::super::replication::client::Client as Reader;
use super::super::stream::{self, Success};
use super::group::CLIENTS;
use super::{BySdk, SDKS};
use crate::netns::Network;
use crate::plan::Context;
use crate::process::Process;

/// What the topics' names begin with.
const PREFIX: &str = "failover";
/// Queues of a topic.
const QUEUES: i64 = 4;
/// Longest wait for a client to send and receive.
const WITHIN: Duration = Duration::from_secs(180);
/// Before a fault a client has sent so much in the last [`SETTLED_FOR`], and received some of it: an eighth of what it sends where others
/// do not need the machine.
const SETTLED: usize = 10;
const SETTLED_FOR: Duration = Duration::from_secs(4);
/// What is accepted so soon after a fault may have been before it.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// The topic of an SDK's example.
pub(super) fn topic(sdk: &str) -> String {
    format!("{PREFIX}-{sdk}-stream")
}

/// See the module's head.
pub(super) struct Load {
    clients: Vec<Client>,
}

struct Client {
    sdk: &'static str,
    process: Process,
    said: RefCell<Said>,
    /// How many of what was acknowledged is lost, and how many were stored again, as was seen last.
    seen: (usize, usize, usize),
}

impl Load {
    /// On a machine of their own.
    pub(super) fn start(context: &Context, folder: &Path, network: &Network, endpoint: &str) -> Result<Self> {
        let clients = SDKS.into_iter().map(|sdk| {
            let mut example = examples::program(context, sdk);
            example.args(["stream", "--endpoint", endpoint, "--prefix", PREFIX]);
            let log = folder.join(format!("stream-{sdk}.log"));
            let process = Process::start("stream", network.place(CLIENTS, &example), log.clone())?;
            Ok(Client { sdk, process, said: RefCell::new(Said::of(log)), seen: (0, 0, 0) })
        });
        Ok(Self { clients: clients.collect::<Result<_>>()? })
    }

    /// All of them send and receive.
    pub(super) fn is_settled(&mut self) -> Result<()> {
        self.wait("sends and receives", |said| said.is_settled(SystemTime::now())).map(drop)
    }

    /// How long after a fault began each had a send accepted, in milliseconds; the master was there up to `there_to` at most.
    pub(super) fn accepted_after(&mut self, began_at: SystemTime, there_to: SystemTime) -> Result<BySdk<u64>> {
        let first = |said: &Said| said.sends.iter().copied().filter(|at| *at > there_to + ON_ITS_WAY).min();
        self.wait("has a send accepted", |said| first(said).is_some())?;
        let ms = |at: SystemTime| at.duration_since(began_at).unwrap_or_default().as_millis() as u64;
        let of = |client: &Client| Some((client.sdk.to_owned(), ms(first(&client.said.borrow())?)));
        Ok(self.clients.iter().filter_map(of).collect())
    }

    /// How many sends were acknowledged since the last time, how many of all that were are not at the master, and how many are there more than once,
    /// without those that were so the last time.
    pub(super) fn compare(&mut self, master: SocketAddr) -> Result<(usize, usize, usize)> {
        let mut reader = Reader::open(master)?;
        let mut all = (0, 0, 0);
        for client in &mut self.clients {
            let mut said = client.said.borrow_mut();
            said.read()?;
            let (mut found, mut repeats) = (BTreeSet::new(), 0);
            for queue in 0..QUEUES {
                for body in reader.pull_all(&topic(client.sdk), queue)? {
                    repeats += usize::from(!found.insert(String::from_utf8(body)?));
                }
            }
            let lost: Vec<_> = said.acknowledged.difference(&found).collect();
            if let Some(first) = lost.first() {
                println!("{}: {} acknowledged messages are lost, first {first}", client.sdk, lost.len());
            }
            let now = (said.acknowledged.len(), lost.len(), repeats);
            let before = std::mem::replace(&mut client.seen, now);
            all.0 += now.0 - before.0;
            all.1 += now.1.saturating_sub(before.1);
            all.2 += now.2.saturating_sub(before.2);
        }
        Ok(all)
    }

    /// Everything that is acknowledged by now is received.
    pub(super) fn all_received(&mut self) -> Result<()> {
        for client in &mut self.clients {
            let said = &client.said;
            said.borrow_mut().read()?;
            let sent = said.borrow().acknowledged.clone();
            let is_received = || said.borrow_mut().read().is_ok() && sent.is_subset(&said.borrow().received);
            if let Err(error) = client.process.wait_until("receives what it has sent", WITHIN, is_received) {
                let missing = sent.difference(&said.borrow().received).count();
                bail!("{}: {missing} of {} acknowledged messages were not received: {error:#}", client.sdk, sent.len());
            }
            println!("{}: {} acknowledged messages were received", client.sdk, sent.len());
        }
        Ok(())
    }

    fn wait(&mut self, what: &str, is: impl Fn(&Said) -> bool) -> Result<()> {
        for Client { sdk, process, said, .. } in &mut self.clients {
            let is = || said.borrow_mut().read().is_ok() && is(&said.borrow());
            process.wait_until(what, WITHIN, is).with_context(|| (*sdk).to_owned())?;
        }
        Ok(())
    }
}

/// What a client has said so far.
struct Said {
    log: PathBuf,
    /// Bytes of whole lines that were read.
    read_to: u64,
    sends: Vec<SystemTime>,
    receives: Vec<SystemTime>,
    acknowledged: BTreeSet<String>,
    received: BTreeSet<String>,
}

impl Said {
    fn of(log: PathBuf) -> Self {
        Self {
            log,
            read_to: 0,
            sends: Vec::new(),
            receives: Vec::new(),
            acknowledged: BTreeSet::new(),
            received: BTreeSet::new(),
        }
    }

    /// What it has said since.
    fn read(&mut self) -> Result<()> {
        let mut file = File::open(&self.log)?;
        file.seek(SeekFrom::Start(self.read_to))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // The last line may be half written.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read_to += u64::try_from(whole)?;
        self.take(&String::from_utf8_lossy(&bytes[..whole]));
        Ok(())
    }

    fn take(&mut self, lines: &str) {
        for line in lines.lines() {
            match stream::parse(line) {
                Some(Success::Sent { at, body }) => {
                    self.sends.push(at);
                    self.acknowledged.insert(body.to_owned());
                }
                Some(Success::Received { at, bodies }) => {
                    self.receives.push(at);
                    self.received.extend(bodies.into_iter().map(str::to_owned));
                }
                Some(Success::Acked { .. }) | None => {}
            }
        }
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let of_late = |times: &[SystemTime]| times.iter().rev().take_while(|at| **at + SETTLED_FOR > now).count();
        of_late(&self.sends) >= SETTLED && of_late(&self.receives) > 0
    }
}
