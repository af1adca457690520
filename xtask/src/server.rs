//! A `gantry local` on free ports and a data directory of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::plan::Context;
use crate::shell::{self, To};
use crate::workspace::cargo;

/// How long a server may take until its port answers.
const START_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(40);
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Lines of its log that are shown when it does not start.
const LOG_LINES_SHOWN: usize = 20;

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    grpc: SocketAddr,
    folder: PathBuf,
}

/// The binary for tests, built if need be.
pub(crate) fn build(context: &Context) -> Result<PathBuf> {
    let mut command = Command::new(cargo());
    command.args(["build", "--quiet", "-p", "gantry"]).current_dir(&context.workspace.root);
    shell::run(&mut command, To::Terminal)?;
    Ok(context.workspace.binary("debug", "gantry"))
}

impl Server {
    /// Starts one on new data; it serves on return.
    pub(crate) fn start(context: &Context, name: &str) -> Result<Self> {
        let data = context.workspace.own(&format!("servers/{name}/data"))?;
        Self::start_on(context, name, &data)
    }

    /// Starts one on a data directory; it serves on return.
    pub(crate) fn start_on(context: &Context, name: &str, data: &Path) -> Result<Self> {
        let program = build(context)?;
        let folder = context.workspace.own(&format!("servers/{name}"))?;
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                bail!("removing {}: {error}", folder.display())
            }
            Ok(()) | Err(_) => std::fs::create_dir_all(&folder)?,
        }
        let (grpc, http) = (free_address()?, free_address()?);
        let log = std::fs::File::create(folder.join("log"))?;
        let child = Command::new(program)
            .args(["local", "--grpc", &grpc.to_string(), "--http", &http.to_string(), "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting gantry local")?;
        let mut server = Self { child, grpc, folder };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// A port answers only when the server can serve.
    fn wait_until_it_answers(&mut self) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.grpc).is_err() {
            let has_ended = self.child.try_wait()?.is_some();
            if has_ended || began.elapsed() > START_WITHIN {
                let lines = shell::tail(&self.folder.join("log"), LOG_LINES_SHOWN).join("\n");
                bail!("gantry local did not start: {lines}");
            }
            std::thread::sleep(POLL_EVERY);
        }
        Ok(())
    }

    /// Where clients connect.
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Stops it as an operator would and removes its folder.
    ///
    /// # Errors
    /// It did not stop in time, or not with exit code 0.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        shell::run(Command::new("kill").args(["-TERM", &pid]), To::Terminal)?;
        let began = Instant::now();
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if began.elapsed() > STOP_WITHIN => bail!("gantry local did not stop within {STOP_WITHIN:?}"),
                None => std::thread::sleep(POLL_EVERY),
            }
        };
        ensure!(status.success(), "gantry local stopped with {status}, its log: {}", self.folder.join("log").display());
        std::fs::remove_dir_all(&self.folder).with_context(|| format!("removing {}", self.folder.display()))
    }

    /// Ends it and leaves its data and log for a look.
    pub(crate) fn keep(self) -> PathBuf {
        Path::to_path_buf(&self.folder)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An address nobody listens on at this moment.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
