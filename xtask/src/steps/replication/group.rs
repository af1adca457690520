//! A name server, a master and its slave as processes, of Gantry or of Apache, on data that outlives them.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use remoting_proto::body::{HaStatus, KvTable};
use remoting_proto::{Fields, RequestCode};

use crate::process::Process;
use crate::{apache, remoting, server};

/// Longest wait for a process to do its work.
pub(super) const WITHIN: Duration = Duration::from_secs(120);
/// The name that master and slave share.
pub(super) const BROKER: &str = "broker-a";
/// So short that the log has several.
pub(super) const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// More than a message has beside its body.
const DAMAGED_BYTES: usize = 4096;

/// Readers that have not read everything are far behind.
const READS: &str = "slaveReadEnable=true\naccessMessageInMemoryMaxRatio=0\n";

/// Whose program a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    Gantry,
    /// With the classes of a folder, [`IMPATIENT`] starts it.
    Apache {
        classes: Option<PathBuf>,
    },
}

/// Starts Apache's broker so that a slave asks its master each second.
pub(super) const IMPATIENT: &str = "Impatient";

/// Processes that are killed when dropped.
pub(super) struct Group {
    folder: PathBuf,
    gantry: PathBuf,
    name_server: SocketAddr,
    _names: Process,
    /// What the files of brokers of Gantry say besides.
    more: String,
    master: Node,
    slave: Node,
    /// Of Gantry, where a test starts it.
    second_slave: Node,
}

/// One broker.
struct Node {
    name: &'static str,
    maker: Maker,
    address: SocketAddr,
    ha_port: u16,
    process: Option<Process>,
}

impl Node {
    fn new(name: &'static str, maker: Maker) -> Result<Self> {
        let (address, ha_port) = (server::free_broker_address()?, server::free_address()?.port());
        Ok(Self { name, maker, address, ha_port, process: None })
    }
}

impl Group {
    /// Starts a master with this role and its slave, with new data below `folder`; the name server knows both on return.
    pub(super) fn start(folder: &Path, gantry: &Path, role: &str, makers: [Maker; 2]) -> Result<Self> {
        Self::start_with(folder, gantry, role, makers, String::new())
    }

    /// The same, with these lines in the files of those of Gantry.
    pub(super) fn start_with(
        folder: &Path,
        gantry: &Path,
        role: &str,
        [of_master, of_slave]: [Maker; 2],
        more: String,
    ) -> Result<Self> {
        let name_server = server::free_address()?;
        let mut command = Command::new(gantry);
        command.args(["nameserver", "--listen", &name_server.to_string(), "--data"]).arg(folder.join("nameserver"));
        // Counts for brokers whose slaves stand in for their master.
        command.args(["--support-acting-master", "--notify-min-broker-id-changed"]);
        let mut names = Process::start("gantry nameserver", command, folder.join("nameserver.log"))?;
        names.wait_until("answers", WITHIN, || remoting::brokers(name_server).is_ok())?;
        let (folder, gantry) = (folder.to_owned(), gantry.to_owned());
        let (master, slave) = (Node::new("first", of_master)?, Node::new("second", of_slave)?);
        let second_slave = Node::new("third", Maker::Gantry)?;
        let mut group = Self { folder, gantry, name_server, _names: names, more, master, slave, second_slave };
        group.start_master(role)?;
        group.start_slave()?;
        Ok(group)
    }

    /// Where clients ask for brokers.
    pub(super) fn name_server(&self) -> SocketAddr {
        self.name_server
    }

    /// Where the slave listens.
    pub(super) fn slave(&self) -> SocketAddr {
        self.slave.address
    }

    /// Where the master listens.
    pub(super) fn master(&self) -> SocketAddr {
        self.master.address
    }

    /// Starts the master with this role on what it left; the name server knows it on return.
    pub(super) fn start_master(&mut self, role: &str) -> Result<()> {
        let (process, address) = self.launch(&self.master, 0, role)?;
        (self.master.process, self.master.address) = (Some(process), address);
        Ok(())
    }

    /// Starts the slave on what it left; the name server knows it on return.
    pub(super) fn start_slave(&mut self) -> Result<()> {
        let (process, address) = self.launch(&self.slave, 1, "SLAVE")?;
        (self.slave.process, self.slave.address) = (Some(process), address);
        Ok(())
    }

    /// Kills the slave.
    pub(super) fn kill_slave(&mut self) {
        self.slave.process = None;
    }

    /// Starts a second slave, on new data or on what it left; the name server knows it on return.
    pub(super) fn start_second_slave(&mut self) -> Result<()> {
        let (process, address) = self.launch(&self.second_slave, 2, "SLAVE")?;
        (self.second_slave.process, self.second_slave.address) = (Some(process), address);
        Ok(())
    }

    /// Kills the second slave.
    pub(super) fn kill_second_slave(&mut self) {
        self.second_slave.process = None;
    }

    /// Where both slaves listen.
    pub(super) fn slaves(&self) -> [SocketAddr; 2] {
        [&self.slave, &self.second_slave].map(|node| node.address)
    }

    /// Compares the logs of both slaves byte by byte, as far as both go; answers how far that is.
    pub(super) fn compare_slaves(&self) -> Result<u64> {
        let [one, other] = self.slaves();
        let length = end(one)?.min(end(other)?);
        compare(&self.data(&self.slave), &self.data(&self.second_slave), length)?;
        Ok(length)
    }

    /// Stops the slave as an operator would.
    pub(super) fn stop_slave(&mut self) -> Result<()> {
        self.slave.process.take().context("the slave runs")?.stop()
    }

    /// Kills the slave, and its disk is lost.
    pub(super) fn lose_slave(&mut self) -> Result<()> {
        self.kill_slave();
        Ok(fs::remove_dir_all(self.data(&self.slave))?)
    }

    /// Flips bits of the first segment of the slave's log, and removes the second one.
    pub(super) fn damage_slave(&self) -> Result<()> {
        let files = segments(&self.data(&self.slave), u64::MAX)?;
        let [first, second, _, ..] = &files.values().collect::<Vec<_>>()[..] else {
            anyhow::bail!("the log has {} segments", files.len())
        };
        let mut bytes = fs::read(first)?;
        let middle = bytes.len() / 2;
        bytes[middle..middle + DAMAGED_BYTES].iter_mut().for_each(|byte| *byte ^= 0xff);
        fs::write(first, bytes)?;
        Ok(fs::remove_file(second)?)
    }

    /// Kills the master.
    pub(super) fn kill_master(&mut self) {
        self.master.process = None;
    }

    /// Stops the slave as an operator would and starts a master on what it left; answers where that listens.
    pub(super) fn promote(&mut self) -> Result<SocketAddr> {
        let slave = self.slave.process.take().context("the slave runs")?;
        match self.slave.maker {
            Maker::Gantry => slave.stop()?,
            Maker::Apache { .. } => slave.stop_java()?,
        }
        let (process, address) = self.launch(&self.slave, 0, "ASYNC_MASTER")?;
        (self.slave.process, self.slave.address) = (Some(process), address);
        Ok(address)
    }

    /// Starts one on what it left; the name server knows it on return.
    fn launch(&self, node: &Node, id: i64, role: &str) -> Result<(Process, SocketAddr)> {
        let settings = format!(
            "brokerId={id}\nbrokerRole={role}\nflushDiskType=ASYNC_FLUSH\nmappedFileSizeCommitLog={SEGMENT_BYTES}\n\
             # The disk is filled by others.\ndiskMaxUsedSpaceRatio=99\n"
        );
        let (mut process, address) = match &node.maker {
            Maker::Gantry => (self.gantry(node, id, &settings)?, node.address),
            Maker::Apache { classes } => self.apache(node, classes.as_deref(), &settings)?,
        };
        process.wait_until("is registered", WITHIN, || is_registered(self.name_server, BROKER, id, address))?;
        Ok((process, address))
    }

    fn gantry(&self, node: &Node, id: i64, settings: &str) -> Result<Process> {
        let Node { name, address, ha_port, .. } = node;
        let conf = self.folder.join(format!("{name}.conf"));
        let text = format!(
            "brokerClusterName=DefaultCluster\nbrokerName={BROKER}\nnamesrvAddr={}\nhaListenPort={ha_port}\n{settings}\
             diskSpaceWarningLevelRatio=100\n{READS}{}",
            self.name_server, self.more
        );
        fs::write(&conf, text)?;
        let mut command = Command::new(&self.gantry);
        // Hours of the day are those of tests, too.
        command.env("TZ", "UTC").args(["broker", "--strict-config", "-c"]).arg(&conf);
        command.args(["--listen", &address.to_string(), "--data"]).arg(self.data(node));
        Process::start("gantry broker", command, self.folder.join(format!("{name}-{id}.log")))
    }

    fn apache(&self, node: &Node, classes: Option<&Path>, settings: &str) -> Result<(Process, SocketAddr)> {
        let folder = self.folder.join(node.name);
        fs::create_dir_all(&folder)?;
        let name_servers = [self.name_server];
        // A check appends a half message anew, and the test ends it where it was.
        let settings =
            &format!("{settings}brokerIP2=127.0.0.1\nslaveReadEnable=true\ntransactionCheckInterval=600000\n");
        match classes {
            None => apache::broker(&folder, BROKER, &name_servers, settings),
            Some(classes) => {
                let program = apache::Program { class: IMPATIENT, classes: &[classes] };
                apache::broker_by(program, &folder, BROKER, &name_servers, settings)
            }
        }
    }

    /// Where a broker keeps what it has.
    fn data(&self, node: &Node) -> PathBuf {
        let folder = self.folder.join(node.name);
        match node.maker {
            Maker::Gantry => folder,
            Maker::Apache { .. } => folder.join(BROKER),
        }
    }

    /// A file of the slave's.
    pub(super) fn file_of_slave(&self, name: &str) -> PathBuf {
        self.data(&self.slave).join(name)
    }

    /// Waits until the slave has all that the master has, and compares both logs byte by byte; answers their length.
    pub(super) fn compare_logs(&mut self) -> Result<u64> {
        let (master, slave) = (self.master.address, self.slave.address);
        let process = self.slave.process.as_mut().context("the slave runs")?;
        process.wait_until("has the master's log", WITHIN, || {
            end(master).is_ok_and(|at| end(slave).is_ok_and(|it| it == at))
        })?;
        let length = end(slave)?;
        compare(&self.data(&self.master), &self.data(&self.slave), length)?;
        Ok(length)
    }
}

/// Whether a name server knows the broker of this name and number at this address.
pub(super) fn is_registered(name_server: SocketAddr, name: &str, id: i64, address: SocketAddr) -> bool {
    let known = remoting::brokers(name_server).ok();
    let of_name = known.and_then(|mut known| known.broker_addr_table.remove(name));
    of_name.is_some_and(|of_name| of_name.broker_addrs.get(&id) == Some(&address.to_string()))
}

/// How many slaves keep up, as their master says.
pub(super) fn slaves_that_keep_up(master: SocketAddr) -> Result<i32> {
    let answer = remoting::call(master, RequestCode::GetBrokerHaStatus, Fields::default(), Bytes::new())?;
    Ok(remoting_proto::from_slice::<HaStatus>(&answer.body)?.in_sync_slave_nums)
}

/// What a broker counts under this name, on its port for metrics.
pub(in crate::steps) fn metric(http: SocketAddr, name: &str) -> Result<String> {
    let output = Command::new("curl").args(["-sSf", &format!("http://{http}/metrics")]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
    let value = line.and_then(|line| line.split_whitespace().next_back());
    Ok(value.with_context(|| format!("no {name} in {text}"))?.to_owned())
}

/// Compares two logs of several segments up to their end, byte by byte.
pub(in crate::steps) fn compare(one: &Path, other: &Path, length: u64) -> Result<()> {
    let [one, other] = [segments(one, length)?, segments(other, length)?];
    ensure!(one.len() > 1, "the log has one segment");
    ensure!(one.keys().eq(other.keys()), "segments {:?} and {:?}", one.keys(), other.keys());
    for (base, file) in &one {
        // The last one counts up to the log's end.
        let bytes = usize::try_from(length - base)?;
        let [one, other] = [fs::read(file)?, fs::read(&other[base])?];
        let differs = one.iter().zip(&other).take(bytes).position(|(one, other)| one != other);
        ensure!(differs.is_none(), "segment {base} differs from its byte {differs:?} on");
        ensure!(one.len().min(bytes) == other.len().min(bytes), "segment {base} is shorter at one of them");
    }
    Ok(())
}

/// The files of a log that ends at `length`, by where they begin.
fn segments(data: &Path, length: u64) -> Result<BTreeMap<u64, PathBuf>> {
    let mut segments = BTreeMap::new();
    for file in fs::read_dir(data.join("commitlog"))? {
        let file = file?;
        let Some(base) = file.file_name().to_str().and_then(|name| name.parse::<u64>().ok()) else { continue };
        if base < length {
            segments.insert(base, file.path());
        }
    }
    Ok(segments)
}

/// Where a broker's log ends.
pub(in crate::steps) fn end(broker: SocketAddr) -> Result<u64> {
    number(broker, "commitLogMaxOffset")
}

/// A number that a broker says of itself.
pub(super) fn number(broker: SocketAddr, key: &'static str) -> Result<u64> {
    Ok(said(broker, key)?.parse()?)
}

/// What a broker says of itself.
pub(super) fn said(broker: SocketAddr, key: &'static str) -> Result<String> {
    let answer = remoting::call(broker, RequestCode::GetBrokerRuntimeInfo, Fields::default(), Bytes::new())?;
    let mut info: KvTable = remoting_proto::from_slice(&answer.body)?;
    info.table.remove(key).with_context(|| format!("no {key}"))
}
