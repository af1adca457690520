//! A `gantry local` on free ports and a data directory of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::plan::Context;
use crate::process::Process;
use crate::shell::{self, To};
use crate::workspace::{cargo, clear};

/// How long a server may take until its port answers.
const START_WITHIN: Duration = Duration::from_secs(30);

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    grpc: SocketAddr,
    http: SocketAddr,
    folder: PathBuf,
    data: PathBuf,
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
        Self::start_with(context, name, &[])
    }

    /// Starts one on new data with further arguments; it serves on return.
    pub(crate) fn start_with(context: &Context, name: &str, arguments: &[&str]) -> Result<Self> {
        let data = context.workspace.own(&format!("servers/{name}/data"))?;
        Self::launch(context, name, &data, arguments)
    }

    /// Starts one on a data directory; it serves on return.
    pub(crate) fn start_on(context: &Context, name: &str, data: &Path) -> Result<Self> {
        Self::launch(context, name, data, &[])
    }

    fn launch(context: &Context, name: &str, data: &Path, arguments: &[&str]) -> Result<Self> {
        let program = build(context)?;
        let folder = context.workspace.own(&format!("servers/{name}"))?;
        clear(&folder)?;
        let (grpc, http) = (free_address()?, free_address()?);
        let mut local = Command::new(program);
        local
            .args(["local", "--grpc", &grpc.to_string(), "--http", &http.to_string(), "--data"])
            .arg(data)
            .args(arguments);
        let mut process = Process::start("gantry local", local, folder.join("log"))?;
        // A port answers only when the server can serve.
        process.wait_until("answers", START_WITHIN, || TcpStream::connect(grpc).is_ok())?;
        Ok(Self { process, grpc, http, folder, data: data.to_owned() })
    }

    /// Where clients connect.
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Where HTTP is spoken.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// Stops it as an operator would and removes its folder.
    ///
    /// # Errors
    /// It did not stop in time, or not with exit code 0.
    pub(crate) fn stop(self) -> Result<()> {
        self.process.stop()?;
        std::fs::remove_dir_all(&self.folder).with_context(|| format!("removing {}", self.folder.display()))
    }

    /// Ends it and leaves its data and log for a look.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder
    }
}

/// An address nobody listens on at this moment.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// An address that is free together with the port two below, where brokers listen too.
pub(crate) fn free_broker_address() -> Result<SocketAddr> {
    for _ in 0..100 {
        let address = free_address()?;
        if TcpListener::bind((address.ip(), address.port() - 2)).is_ok() {
            return Ok(address);
        }
    }
    bail!("no two free ports beside each other");
}
