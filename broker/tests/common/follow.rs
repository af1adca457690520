//! A slave on the machine of its master, and a connection in memory between them.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::replication::{Ended, Master, Slave};
use broker::{LocalBroker, Options, Role};
use env::disk::OpenMode;
use env::sim::World;
use tokio::io::duplex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{options, until};

pub const SLAVE_DIR: &str = "/slave";
/// Room on the way: a frame does not fit, so that pieces of them arrive.
pub const ON_THE_WAY_BYTES: usize = 1000;
pub const SEGMENT_BYTES: usize = 256 * 1024;

pub fn slave_options() -> Options {
    Options { dir: PathBuf::from(SLAVE_DIR), role: Role::Slave, ..options() }
}

/// The slave's directory, served as a master's.
pub fn promoted_options() -> Options {
    Options { role: Role::Master, ..slave_options() }
}

pub fn start_with(world: &World, options: Options) -> LocalBroker {
    LocalBroker::start(world.env(), options).expect("starts")
}

/// A slave with a connection to a master, which ends when this is dropped.
pub struct Follower {
    ended: JoinHandle<Result<Infallible, Ended>>,
    serving: JoinHandle<()>,
    pub behind: CancellationToken,
}

impl Follower {
    pub fn connect(world: &World, master: &Arc<Master>, broker: &LocalBroker) -> Self {
        Self::connect_as(master, Slave::new(broker.clone(), world.env().clock, watch::channel(None).1))
    }

    pub fn connect_as(master: &Arc<Master>, slave: Slave) -> Self {
        let (ours, theirs) = duplex(ON_THE_WAY_BYTES);
        let (serving, behind) = (Arc::clone(master), slave.behind());
        let ended = tokio::spawn(async move {
            let ended = slave.follow_on(ours, "the master").await;
            // A test that hangs shows it.
            println!(
                "the slave follows no longer: {}",
                ended.as_ref().err().map(ToString::to_string).unwrap_or_default()
            );
            ended
        });
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        Self { ended, serving: tokio::spawn(async move { serving.serve_on(theirs, remote).await }), behind }
    }

    /// Why it does not follow.
    pub async fn refusal(mut self) -> Ended {
        let Err(ended) = (&mut self.ended).await.expect("it does not panic");
        ended
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.ended.abort();
        self.serving.abort();
    }
}

pub fn master_of(world: &World, broker: &LocalBroker) -> Arc<Master> {
    Arc::new(Master::new(broker.clone(), world.env().clock))
}

pub async fn until_equal(world: &World, master: &LocalBroker, slave: &LocalBroker) {
    until(world, "the logs end at one place", || {
        slave.status().durable_to == slave.status().appended_to
            && slave.status().appended_to == master.status().appended_to
    })
    .await;
}

/// The log as its files have it, as many bytes as `end` says.
pub fn log_of(world: &World, dir: &str, end: u64) -> Vec<u8> {
    let (disk, dir) = (world.env().disk, Path::new(dir).join("commitlog"));
    let mut log = Vec::new();
    for name in disk.list(&dir).expect("listed").into_iter().filter(|name| name.parse::<u64>().is_ok()) {
        let file = disk.open(&dir.join(name), OpenMode::Read).expect("opened");
        let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("fits")];
        assert_eq!(file.read_at(&mut bytes, 0).expect("read"), bytes.len());
        // A power loss may take the rest of a blank.
        bytes.resize(SEGMENT_BYTES, 0);
        log.extend(bytes);
    }
    log.truncate(usize::try_from(end).unwrap_or(usize::MAX));
    log
}
