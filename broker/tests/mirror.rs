//! A slave of a scripted Apache master, over real sockets: what it has at the end is taken over as the master's own directory is.

#![allow(clippy::disallowed_methods, reason = "sockets and files of the real system, above the seams of env")]

#[path = "common/apache.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
mod apache;
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::Flush;
use broker::replication::mirror::{self, Mirror, PromoteError};
use broker::server::{Options, SlaveOptions};
use broker::takeover::{Imported, import};
use bytes::Bytes;
use env::Env;
use remoting::{Connection, Role, Server};
use remoting_proto::body::{BrokerData, ClusterInfo, KvTable};
use remoting_proto::requests::RegisterBrokerAnswer;
use remoting_proto::{Command, Dialect, RequestCode, ResponseCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const NAME: &str = "apache-a";
const SEGMENT_BYTES: usize = 65536;
/// So short that records come in pieces.
const PIECE_BYTES: usize = 1000;
/// Long enough for a machine that is busy with something else.
const WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A name server and a master in one, whose directory is one that Apache 5.5.0 left.
struct Apache {
    files: BTreeMap<PathBuf, Vec<u8>>,
    log: Vec<u8>,
    address: SocketAddr,
    slaves_at: SocketAddr,
    /// Up to where it sends its log.
    sends_to: watch::Sender<usize>,
    /// How often it was asked for its topics.
    asked: watch::Sender<u32>,
}

impl Apache {
    async fn start() -> Arc<Self> {
        let files = apache::files("clean");
        let log = whole_log(&files);
        let (port, slaves) = (bound().await, bound().await);
        let [address, slaves_at] = [&port, &slaves].map(|port| port.local_addr().expect("bound"));
        let (sends_to, asked) = (watch::Sender::new(log.len() / 2), watch::Sender::new(0));
        let apache = Arc::new(Self { files, log, address, slaves_at, sends_to, asked });
        let server = Server::new(apache.clone(), remoting::Options::default(), None, Env::real().clock);
        tokio::spawn(server.serve(port, CancellationToken::new()));
        let sending = apache.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = slaves.accept().await {
                tokio::spawn(sending.clone().send(stream));
            }
        });
        apache
    }

    /// As `DefaultHAConnection`: who asks from 0 gets the last segment, and of several reports that are read at once the last counts.
    async fn send(self: Arc<Self>, stream: TcpStream) {
        let (mut read, mut write) = stream.into_split();
        let mut said = [0; 1024];
        let length = read.read(&mut said).await.expect("said");
        let asked = u64::from_be_bytes(*said[..length].last_chunk().expect("a report"));
        let mut at = match usize::try_from(asked).expect("a position") {
            0 => self.log.len() / SEGMENT_BYTES * SEGMENT_BYTES,
            asked => asked,
        };
        tokio::spawn(async move { while read.read(&mut said).await.is_ok_and(|length| length > 0) {} });
        let mut sends_to = self.sends_to.subscribe();
        while let Ok(to) = sends_to.wait_for(|to| *to > at).await.map(|to| *to) {
            let length = PIECE_BYTES.min(to - at);
            let mut frame = (at as u64).to_be_bytes().to_vec();
            frame.extend((length as u32).to_be_bytes());
            frame.extend(&self.log[at..at + length]);
            if write.write_all(&frame).await.is_err() {
                return;
            }
            at += length;
        }
    }

    fn body(&self, code: RequestCode) -> Option<Vec<u8>> {
        let file = |name: &str| self.files.get(&Path::new("config").join(name)).cloned();
        match code {
            RequestCode::GetAllTopicConfig => {
                self.asked.send_modify(|asked| *asked += 1);
                file("topics.json")
            }
            RequestCode::GetAllSubscriptionGroupConfig => file("subscriptionGroup.json"),
            RequestCode::GetAllConsumerOffset => file("consumerOffset.json"),
            RequestCode::GetAllDelayOffset => file("delayOffset.json"),
            RequestCode::GetTimerCheckPoint => file("timercheck").map(|content| content[..56].to_vec()),
            RequestCode::GetAllMessageRequestMode => Some(b"{\"messageRequestModeMap\":{}}".to_vec()),
            RequestCode::GetBrokerConfig => Some(format!("mappedFileSizeCommitLog={SEGMENT_BYTES}\n").into_bytes()),
            RequestCode::GetBrokerRuntimeInfo => {
                let table = [("commitLogMinOffset", 0), ("commitLogMaxOffset", self.log.len())];
                let table = table.map(|(key, number)| (key.to_owned(), number.to_string())).into();
                Some(remoting_proto::to_vec(&KvTable { table }, Dialect::Fastjson))
            }
            RequestCode::GetBrokerClusterInfo => {
                let broker_addrs = [(0, self.address.to_string())].into();
                let broker = BrokerData { broker_addrs, ..BrokerData::default() };
                let broker_addr_table = [(NAME.to_owned(), broker)].into();
                Some(remoting_proto::to_vec(
                    &ClusterInfo { broker_addr_table, ..ClusterInfo::default() },
                    Dialect::Fastjson,
                ))
            }
            _ => None,
        }
    }
}

impl Role for Apache {
    fn connect(&self, _: &Arc<Connection>) {}

    async fn serve(&self, _: &Connection, request: Command) -> Command {
        let answer = request.answer(ResponseCode::Success);
        match request.request_code() {
            RequestCode::RegisterBroker => {
                let (ha, master) = (self.slaves_at.to_string(), self.address.to_string());
                let header = RegisterBrokerAnswer { ha_server_addr: Some(ha), master_addr: Some(master) };
                Command { fields: header.to_fields(), ..answer }
            }
            RequestCode::UnregisterBroker => answer,
            code => match self.body(code) {
                Some(body) => Command { body: Bytes::from(body), ..answer },
                None => request.answer(ResponseCode::RequestCodeNotSupported),
            },
        }
    }

    fn disconnect(&self, _: &Connection) {}
}

async fn bound() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port")
}

/// The segments one after the other, up to the end of the last record.
fn whole_log(files: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<u8> {
    let segments = files.iter().filter(|(name, _)| name.starts_with("commitlog")).map(|(_, content)| &**content);
    let log = segments.collect::<Vec<_>>().concat();
    let mut end = log.len() - SEGMENT_BYTES;
    while let Ok(record::Peek::Record { bytes }) = record::peek(&log[end..]) {
        end += bytes as usize;
    }
    log[..end].to_vec()
}

/// A running slave of it.
struct Slave {
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
}

impl Slave {
    async fn start(options: &Options) -> Self {
        let follows = mirror::follows_apache(&Env::real(), NAME, options).await.expect("looked at");
        assert!(follows, "its master is Apache's");
        let mirror = Mirror::open(Env::real(), NAME.to_owned(), options.clone(), Flush::Sync).expect("opens");
        let stop = CancellationToken::new();
        let served = mirror.serve(bound().await, remoting::Options::default(), None, stop.clone());
        Self { stop, ended: tokio::spawn(served) }
    }

    async fn end(self) {
        self.stop.cancel();
        self.ended.await.expect("ends");
    }
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < WITHIN, "{what}: not in time");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_slave_has_is_taken_over_as_its_masters_directory() {
    let apache = Apache::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("slave");
    let options = Options {
        cluster: "C".to_owned(),
        advertised: SocketAddr::from(([127, 0, 0, 1], 1)),
        name_servers: vec![apache.address.to_string()],
        auto_create_topics: false,
        default_queues: 4,
        shown: Vec::new(),
        data: data.clone(),
        slow_reader_bytes: None,
        acting_master: false,
        remote_escape: false,
        slave: Some(SlaveOptions { id: 1, master: None }),
    };
    let slave = Slave::start(&options).await;
    let mut asked = apache.asked.subscribe();
    asked.wait_for(|asked| *asked > 0).await.expect("it asks");
    slave.end().await;
    assert!(!data.join("config/topics.json").exists(), "the log has not come so far");
    let refused = mirror::promote(&Env::real(), &data, &mut |_| ()).await;
    assert!(matches!(refused, Err(PromoteError::NoMetadata)), "{refused:?}");

    let slave = Slave::start(&options).await;
    apache.sends_to.send_replace(apache.log.len());
    until("all has come", || data.join("config/topics.json").exists()).await;
    slave.end().await;
    let copied: BTreeMap<_, _> = fs::read_dir(data.join("commitlog"))
        .expect("listed")
        .map(|file| file.expect("a file").path())
        .map(|path| (Path::new("commitlog").join(path.file_name().expect("a name")), fs::read(path).expect("read")))
        .collect();
    assert!(whole_log(&copied) == apache.log, "byte for byte");

    let original = folder.path().join("master");
    for (name, content) in &apache.files {
        let path = original.join(name);
        fs::create_dir_all(path.parent().expect("below")).expect("made");
        fs::write(path, content).expect("written");
    }
    let expected = import(&Env::real(), &original, &mut |_| ()).await.expect("taken over");
    let promoted = mirror::promote(&Env::real(), &data, &mut |_| ()).await.expect("taken over").expect("a slave's");
    let added_bytes = expected.added_bytes;
    assert_eq!(Imported { added_bytes, ..promoted }, expected);
    assert!(!mirror::follows_apache(&Env::real(), NAME, &options).await.expect("looked at"), "it is ours");
    let again = mirror::promote(&Env::real(), &data, &mut |_| ()).await.expect("looked at");
    assert_eq!(again, None);
}
