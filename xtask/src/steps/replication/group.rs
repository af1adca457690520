//! A name server, a master and its slave as processes, on data that outlives them.

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
use crate::{remoting, server};

/// Longest wait for a process to do its work.
pub(super) const WITHIN: Duration = Duration::from_secs(120);
/// The name that master and slave share.
pub(super) const BROKER: &str = "broker-a";
/// So short that the log has several.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// Processes that are killed when dropped.
pub(super) struct Group {
    folder: PathBuf,
    gantry: PathBuf,
    name_server: SocketAddr,
    _names: Process,
    master: Node,
    slave: Node,
}

/// One broker.
struct Node {
    name: &'static str,
    address: SocketAddr,
    ha_port: u16,
    process: Option<Process>,
}

impl Node {
    fn new(name: &'static str) -> Result<Self> {
        Ok(Self { name, address: server::free_address()?, ha_port: server::free_address()?.port(), process: None })
    }
}

impl Group {
    /// Starts a master with this role and its slave, with new data below `folder`; the name server knows both on return.
    pub(super) fn start(folder: &Path, gantry: &Path, role: &str) -> Result<Self> {
        let name_server = server::free_address()?;
        let mut command = Command::new(gantry);
        command.args(["nameserver", "--listen", &name_server.to_string(), "--data"]).arg(folder.join("nameserver"));
        let mut names = Process::start("gantry nameserver", command, folder.join("nameserver.log"))?;
        names.wait_until("answers", WITHIN, || remoting::brokers(name_server).is_ok())?;
        let (folder, gantry) = (folder.to_owned(), gantry.to_owned());
        let (master, slave) = (Node::new("first")?, Node::new("second")?);
        let mut group = Self { folder, gantry, name_server, _names: names, master, slave };
        group.master.process = Some(group.launch(&group.master, 0, role)?);
        group.start_slave()?;
        Ok(group)
    }

    /// Where the master listens.
    pub(super) fn master(&self) -> SocketAddr {
        self.master.address
    }

    /// Starts the slave on what it left; the name server knows it on return.
    pub(super) fn start_slave(&mut self) -> Result<()> {
        self.slave.process = Some(self.launch(&self.slave, 1, "SLAVE")?);
        Ok(())
    }

    /// Kills the slave.
    pub(super) fn kill_slave(&mut self) {
        self.slave.process = None;
    }

    /// Kills the master.
    pub(super) fn kill_master(&mut self) {
        self.master.process = None;
    }

    /// Stops the slave as an operator would and starts a master on what it left; answers where that listens.
    pub(super) fn promote(&mut self) -> Result<SocketAddr> {
        self.slave.process.take().context("the slave runs")?.stop()?;
        self.slave.process = Some(self.launch(&self.slave, 0, "ASYNC_MASTER")?);
        Ok(self.slave.address)
    }

    fn launch(&self, node: &Node, id: i64, role: &str) -> Result<Process> {
        let Node { name, address, ha_port, .. } = node;
        let conf = self.folder.join(format!("{name}.conf"));
        let text = format!(
            "brokerClusterName=DefaultCluster\nbrokerName={BROKER}\nbrokerId={id}\nbrokerRole={role}\nnamesrvAddr={}\n\
             haListenPort={ha_port}\nflushDiskType=ASYNC_FLUSH\nmappedFileSizeCommitLog={SEGMENT_BYTES}\n\
             # The disk is filled by others.\ndiskMaxUsedSpaceRatio=99\ndiskSpaceWarningLevelRatio=100\n",
            self.name_server
        );
        fs::write(&conf, text)?;
        let mut command = Command::new(&self.gantry);
        command.args(["broker", "--strict-config", "-c"]).arg(&conf);
        command.args(["--listen", &address.to_string(), "--data"]).arg(self.folder.join(name));
        let mut process = Process::start("gantry broker", command, self.folder.join(format!("{name}-{id}.log")))?;
        let (name_server, address) = (self.name_server, address.to_string());
        let is_known = || {
            let known = remoting::brokers(name_server).ok();
            let of_name = known.and_then(|known| known.broker_addr_table.get(BROKER).cloned());
            of_name.is_some_and(|of_name| of_name.broker_addrs.get(&id) == Some(&address))
        };
        process.wait_until("is registered", WITHIN, is_known)?;
        Ok(process)
    }

    /// Waits until the slave has all that the master has, and compares both logs byte by byte; answers their length.
    pub(super) fn compare_logs(&mut self) -> Result<u64> {
        let (master, slave) = (self.master.address, self.slave.address);
        let process = self.slave.process.as_mut().context("the slave runs")?;
        process.wait_until("has the master's log", WITHIN, || {
            end(master).is_ok_and(|at| end(slave).is_ok_and(|it| it == at))
        })?;
        let length = end(slave)?;
        let [of_master, of_slave] = [self.log_of(self.master.name, length)?, self.log_of(self.slave.name, length)?];
        ensure!(of_master.len() > 1, "the log has one segment");
        ensure!(of_master.keys().eq(of_slave.keys()), "segments {:?} and {:?}", of_master.keys(), of_slave.keys());
        for (base, segment) in &of_master {
            let differs = segment.iter().zip(&of_slave[base]).position(|(one, other)| one != other);
            ensure!(segment == &of_slave[base], "segment {base} differs from its byte {differs:?} on");
        }
        Ok(length)
    }

    /// The segments of a log, the last one up to the log's end.
    fn log_of(&self, name: &str, length: u64) -> Result<BTreeMap<u64, Vec<u8>>> {
        let mut segments = BTreeMap::new();
        for file in fs::read_dir(self.folder.join(name).join("commitlog"))? {
            let file = file?;
            let Some(base) = file.file_name().to_str().and_then(|name| name.parse::<u64>().ok()) else { continue };
            if base < length {
                let mut bytes = fs::read(file.path())?;
                bytes.truncate(usize::try_from(length - base)?);
                segments.insert(base, bytes);
            }
        }
        Ok(segments)
    }

    /// How many slaves keep up, as the master says.
    pub(super) fn slaves_that_keep_up(&self) -> Result<i32> {
        let answer =
            remoting::call(self.master.address, RequestCode::GetBrokerHaStatus, Fields::default(), Bytes::new())?;
        Ok(remoting_proto::from_slice::<HaStatus>(&answer.body)?.in_sync_slave_nums)
    }
}

/// Where a broker's log ends.
fn end(broker: SocketAddr) -> Result<u64> {
    let answer = remoting::call(broker, RequestCode::GetBrokerRuntimeInfo, Fields::default(), Bytes::new())?;
    let info: KvTable = remoting_proto::from_slice(&answer.body)?;
    Ok(info.table.get("commitLogMaxOffset").context("no commitLogMaxOffset")?.parse()?)
}
