//! The real program as tests drive it.

pub(crate) mod client;
pub(crate) mod remoting;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than any start or stop takes on a busy machine; a test that gets there has failed.
const DEADLINE: Duration = Duration::from_secs(60);

/// The program in a folder of its own, without variables that would change what it does.
pub(crate) fn gantry(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GANTRY_")) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}

pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    gantry(folder, arguments).output().expect("the program starts")
}

pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A server on ports that the system chose; killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Server {
    /// Starts one and waits for its banner.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(folder: &Path, more: &[&str]) -> Self {
        let arguments = [&["local", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"], more].concat();
        let log = File::create(folder.join("log")).expect("a log");
        let mut child =
            gantry(folder, &arguments).stdout(Stdio::piped()).stderr(log).spawn().expect("the program starts");
        let mut banner = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let mut address = |name: &str| {
            let line = banner.find(|line| line.trim_start().starts_with(name));
            let line = line.unwrap_or_else(|| panic!("no {name} in the banner: {}", log_of(folder)));
            line.split_whitespace().nth(1).expect("an address").parse().expect("an address")
        };
        let (grpc, http) = (address("gRPC"), address("HTTP"));
        Self { child, grpc, http }
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Status code of its end.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            assert!(began.elapsed() < DEADLINE, "it did not end");
            std::thread::yield_now();
        }
    }

    /// Status line and body of a GET.
    pub(crate) fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.http).expect("listening");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn log_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}
