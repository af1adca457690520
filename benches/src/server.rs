//! A server as a child process: killed when dropped, its directory removed with the last one who uses it.

mod contender;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::directory::Directory;
use crate::process::{self, Memory};

pub(crate) use contender::{Contender, Gantry, MemberRole, Nats, Part};

/// Pause between two tries to reach a starting server: the resolution of the start-up time.
const TRY_EVERY: Duration = Duration::from_millis(1);
/// How much of a failed server's log is shown.
const LOG_BYTES_SHOWN: usize = 2000;

/// A running server that has answered.
pub(crate) struct Server {
    child: Child,
    part: Option<Part>,
    address: SocketAddr,
    /// A second port, whatever its kind has there.
    other: SocketAddr,
    start_up: Duration,
    directory: Arc<Directory>,
    /// The servers that this one needs; they end after it.
    behind: Vec<Server>,
}

impl Server {
    /// Starts a server on a fresh directory and waits for its first reply.
    pub(crate) async fn start(contender: &Contender) -> Result<Self> {
        Self::start_on(contender, Arc::new(Directory::fresh()?)).await
    }

    /// The same on what an earlier server left.
    pub(crate) async fn start_on(contender: &Contender, directory: Arc<Directory>) -> Result<Self> {
        let address = free_address()?;
        let other = free_address()?;
        let mut command = contender.command(address, other, &directory)?;
        let log = File::create(directory.log())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let (part, behind) = (contender.part(), Vec::new());
        let mut server = Self { child, part, address, other, start_up: Duration::ZERO, directory, behind };
        let answered = async {
            server.wait_for_port(started, contender.start_up_max()).await?;
            contender.greet(address, other).await
        };
        answered.await.with_context(|| server.log_end())?;
        server.start_up = started.elapsed();
        Ok(server)
    }

    /// The same server with those that it needs: what they use is counted as its own.
    pub(crate) fn before(mut self, behind: Vec<Self>) -> Self {
        self.set_behind(behind);
        self
    }

    /// Gives it those that it needs.
    pub(crate) fn set_behind(&mut self, behind: Vec<Self>) {
        self.behind = behind;
    }

    /// Takes away those that it needs.
    pub(crate) fn take_behind(&mut self) -> Vec<Self> {
        std::mem::take(&mut self.behind)
    }

    /// A port answers only when the server can serve, so the first connection's request must succeed.
    async fn wait_for_port(&mut self, started: Instant, start_up_max: Duration) -> Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}");
            }
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return Ok(());
            }
            if started.elapsed() > start_up_max {
                bail!("the server does not listen on {} after {start_up_max:?}", self.address);
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(self.directory.log()).unwrap_or_default();
        let from = log.floor_char_boundary(log.len().saturating_sub(LOG_BYTES_SHOWN));
        format!("the server's log ends with:\n{}", &log[from..])
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where one of kind [`Contender::Http`] serves gRPC.
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.other
    }

    /// Where a master of kind [`Contender::Member`] has its log for slaves.
    pub(crate) fn slaves_at(&self) -> SocketAddr {
        self.other
    }

    /// What it keeps.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.data()
    }

    /// The memory that it holds now, with those behind it.
    pub(crate) fn memory(&self) -> Result<Memory> {
        self.processes().map(process::memory).sum()
    }

    /// The memory that it holds now alone.
    pub(crate) fn own_memory(&self) -> Result<Memory> {
        process::memory(self.child.id())
    }

    /// The processor time that it has used, with those behind it.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        self.processes().map(process::cpu_time).sum()
    }

    /// The same of each, if it is a part of a cluster.
    pub(crate) fn cpu_times(&self) -> Result<Vec<(Part, Duration)>> {
        self.parts().map(|(part, process)| Ok((part, process::cpu_time(process)?))).collect()
    }

    /// The memory that each holds now, if it is a part of a cluster.
    pub(crate) fn memories(&self) -> Result<Vec<(Part, Memory)>> {
        self.parts().map(|(part, process)| Ok((part, process::memory(process)?))).collect()
    }

    /// Sends its processes a signal of this name: `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let processes: Vec<String> = self.processes().map(|process| process.to_string()).collect();
        let status = Command::new("kill").args(["-s", name]).args(&processes).status().context("starting kill")?;
        ensure!(status.success(), "kill -s {name} {} ended with {status}", processes.join(" "));
        Ok(())
    }

    fn processes(&self) -> impl Iterator<Item = u32> {
        self.all().map(|server| server.child.id())
    }

    fn parts(&self) -> impl Iterator<Item = (Part, u32)> {
        self.all().filter_map(|server| Some((server.part?, server.child.id())))
    }

    fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.behind)
    }

    /// From its start to its first reply.
    pub(crate) fn start_up(&self) -> Duration {
        self.start_up
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which the run's own error tells.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
