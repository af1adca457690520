//! The layouts of the classic set-up guides, each from its files in `tests/replication/conf`, which say what those of Apache's `conf` folder
//! say: a single master, two masters, and two masters with a slave each, with asynchronous replication and with synchronous double write.
//! In each the first master is killed while it is sent to. The other one goes on, the slave serves who reads what was promised to be there,
//! and the master comes back with all that it has acknowledged.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::client::{Client, GROUP};
use super::group::{WITHIN, end, is_registered, metric, slaves_that_keep_up};
use super::{PLAIN, Sender, bodies, kill_while_sending, wait};
use crate::cluster::Cluster;
use crate::process::Process;
use crate::workspace::clear;
use crate::{server, topics};

const FILES: &str = "tests/replication/conf";
/// Folders of the files, and whether the master waits for its slave.
const LAYOUTS: [(&str, bool); 4] =
    [("single", false), ("2m-noslave", false), ("2m-2s-async", false), ("2m-2s-sync", true)];
/// Messages that each master gets before one is killed, and the other one after that.
const MESSAGES: usize = 300;
const BODY_BYTES: usize = 1024;

/// Half a minute.
pub(super) fn run(root: &Path, folder: &Path, gantry: &Path) -> Result<()> {
    for (layout, is_double_write) in LAYOUTS {
        let folder = folder.join(layout);
        clear(&folder)?;
        let shown = show(&root.join(FILES).join(layout), &folder, gantry, is_double_write);
        shown.with_context(|| format!("{layout}, data kept: {}", folder.display()))?;
    }
    Ok(())
}

fn show(files: &Path, folder: &Path, gantry: &Path, is_double_write: bool) -> Result<()> {
    let names = Cluster::start(folder, gantry, &[])?;
    let start = |file| Broker::start(file, folder, gantry, names.name_server());
    let (mut masters, slaves): (Vec<_>, Vec<_>) =
        sorted(files)?.into_iter().map(start).collect::<Result<Vec<_>>>()?.into_iter().partition(|it| it.id == 0);
    let mut senders = Vec::new();
    for master in &masters {
        topics::create(master.address, PLAIN, "NORMAL")?;
        // A slave makes none.
        topics::create_group(master.address, GROUP, false)?;
        let of_it = slaves.iter().filter(|slave| slave.name == master.name).count();
        wait("its slaves keep up", || Ok(usize::try_from(slaves_that_keep_up(master.address)?)? == of_it))?;
        let client = Client::open(master.address)?;
        let mut sender = Sender { client, body_bytes: BODY_BYTES, next: 0, kept: BTreeSet::new() };
        sender.send(MESSAGES)?;
        ensure!(master.metric("gantry_replication_slaves_in_sync")? == of_it.to_string(), "another number of slaves");
        senders.push(sender);
    }
    let slave = slaves.iter().find(|slave| slave.name == masters[0].name);
    if let Some(slave) = slave {
        wait("the slave has it too", || has_log_of(slave, &masters[0]))?;
        ensure!(slave.metric("gantry_replication_following")? == "1", "the slave follows nobody");
    }
    let (sender, first) = (senders.remove(0), &mut masters[0]);
    let sender = kill_while_sending(sender, first.address, || first.process = None)?;
    wait("the name server forgets it", || Ok(!first.is_registered()))?;

    for (sender, master) in senders.iter_mut().zip(&masters[1..]) {
        sender.send(MESSAGES)?;
        has_all(master.address, &(0..sender.next).collect())?;
    }
    if let Some(slave) = slave {
        let promised = if is_double_write { &sender.kept } else { &(0..MESSAGES).collect() };
        ensure!(promised.len() >= MESSAGES, "only {} sends were answered by both", promised.len());
        has_all(slave.address, promised)?;
        wait("the slave knows that it is gone", || Ok(slave.metric("gantry_replication_following")? == "0"))?;
    }
    masters[0].launch()?;
    has_all(masters[0].address, &(0..sender.next).collect())?;
    if let Some(slave) = slave {
        wait("the slave follows again", || has_log_of(slave, &masters[0]))?;
    }
    println!("{}: nothing is lost, {} brokers", files.display(), masters.len() + slaves.len());
    Ok(())
}

/// The files of a folder by their names: each master's before its slave's.
fn sorted(files: &Path) -> Result<Vec<PathBuf>> {
    let files: Result<BTreeSet<_>, _> = fs::read_dir(files)?.map(|file| file.map(|file| file.path())).collect();
    // A slave's name begins as its master's, and "-" is before ".".
    Ok(files?.into_iter().rev().collect())
}

fn has_log_of(slave: &Broker, master: &Broker) -> Result<bool> {
    Ok(end(slave.address)? == end(master.address)?)
}

fn has_all(broker: SocketAddr, promised: &BTreeSet<usize>) -> Result<()> {
    let found = bodies(&mut Client::open(broker)?)?;
    let lost: Vec<_> = promised.difference(&found).collect();
    ensure!(lost.is_empty(), "{} of {} messages are lost, first {:?}", lost.len(), promised.len(), lost.first());
    Ok(())
}

/// A broker as its file says.
pub(super) struct Broker {
    file: PathBuf,
    name: String,
    id: i64,
    pub(super) address: SocketAddr,
    http: SocketAddr,
    ha_port: u16,
    name_server: SocketAddr,
    gantry: PathBuf,
    folder: PathBuf,
    process: Option<Process>,
}

impl Broker {
    /// Starts it on new data; the name server knows it on return.
    pub(super) fn start(file: PathBuf, folder: &Path, gantry: &Path, name_server: SocketAddr) -> Result<Self> {
        let text = fs::read_to_string(&file)?;
        let value = |key| {
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            let mut values = pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned());
            values.next().with_context(|| format!("no {key} in {}", file.display()))
        };
        let mut broker = Self {
            name: value("brokerName")?,
            id: value("brokerId")?.parse()?,
            address: server::free_broker_address()?,
            http: server::free_address()?,
            ha_port: server::free_address()?.port(),
            name_server,
            gantry: gantry.to_owned(),
            folder: folder.to_owned(),
            process: None,
            file,
        };
        broker.launch()?;
        Ok(broker)
    }

    /// Starts it on what it left; the name server knows it on return.
    fn launch(&mut self) -> Result<()> {
        let own = self.folder.join(format!("{}-{}", self.name, self.id));
        let mut command = Command::new(&self.gantry);
        command.args(["broker", "--strict-config", "-c"]).arg(&self.file).arg("--data").arg(&own);
        // On one machine each needs ports of its own; and its disk is filled by others.
        command.args(["--nameserver", &self.name_server.to_string(), "--listen", &self.address.to_string()]);
        command.args(["--ha-listen-port", &self.ha_port.to_string(), "--http", &self.http.to_string()]);
        command.args(["--segment-size", "8MiB"]);
        command.args(["--disk-max-used-space-ratio", "99", "--disk-space-warning-level-ratio", "100"]);
        let mut process = Process::start("gantry broker", command, own.with_extension("log"))?;
        process.wait_until("is registered", WITHIN, || self.is_registered())?;
        self.process = Some(process);
        Ok(())
    }

    fn is_registered(&self) -> bool {
        is_registered(self.name_server, &self.name, self.id, self.address)
    }

    /// What it counts under this name.
    pub(super) fn metric(&self, name: &str) -> Result<String> {
        metric(self.http, name)
    }
}
