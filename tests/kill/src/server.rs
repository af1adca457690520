//! The server under test: a real process on a real directory, ended by SIGKILL.

use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::Client;

/// How long a server may take until it answers, recovery included.
const START_UP_MAX: Duration = Duration::from_secs(60);
/// Pause between two questions whether it does.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// How servers of a run are started.
pub(crate) struct Launcher {
    /// The binary.
    pub(crate) program: PathBuf,
    /// Its data.
    pub(crate) data: PathBuf,
    /// Where its output goes, one life after the other.
    pub(crate) log: PathBuf,
    /// Where it serves clients, in every life the same.
    pub(crate) grpc: SocketAddr,
    /// Where it serves HTTP.
    pub(crate) http: SocketAddr,
    /// Whether a send waits for the disk.
    pub(crate) is_sync: bool,
}

/// A running process.
pub(crate) struct Server {
    child: Child,
    started: Instant,
}

impl Launcher {
    /// Starts the process.
    pub(crate) fn start(&self) -> Result<Server> {
        let log = self.open_log()?;
        let mut command = Command::new(&self.program);
        command.arg("local").arg("--data").arg(&self.data);
        command.args(["--grpc", &self.grpc.to_string(), "--http", &self.http.to_string()]);
        command.args(["--flush", if self.is_sync { "sync" } else { "async" }]);
        // Short, so that questions come within a run.
        command.args(["--transaction-check-after", "1s", "--transaction-check-interval", "2s"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Server { child, started: Instant::now() })
    }

    fn open_log(&self) -> Result<File> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        log.with_context(|| format!("opening {}", self.log.display()))
    }

    /// Waits until a started server answers, and says how long that took since its start.
    pub(crate) async fn wait_for_reply(&self, server: &mut Server) -> Result<Duration> {
        let client = Client::new(self.grpc, "kill-probe");
        loop {
            server.ensure_alive()?;
            let Err(error) = client.query_route("kill-normal").await else { return Ok(server.started.elapsed()) };
            if server.started.elapsed() > START_UP_MAX {
                bail!("the server does not answer after {START_UP_MAX:?}: {error}");
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }
}

impl Server {
    /// Fails when the process ended by itself.
    pub(crate) fn ensure_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server ended by itself with {status}"),
        }
    }

    /// Sends SIGKILL and waits until the process is gone.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.ensure_alive()?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
