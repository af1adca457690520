//! A cluster for each test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use broker::{BrokerServer, LocalBroker};
use bytes::Bytes;
use env::Env;
use nameserver::NameServer;
use proxy::cluster::{self, Cluster};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use types::broker::{Pull, SendReceipt};
use types::properties::names;
use types::{Admin, Broker, Filter, GroupName, Message, QueueId, QueueOffset, TopicConfig, TopicName};

/// Longer than anything here takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);
pub(crate) const POLL_EVERY: Duration = Duration::from_millis(50);

/// A name server and its brokers. Each topic has one queue on each.
pub(crate) struct Site {
    pub(crate) name_server: SocketAddr,
    pub(crate) brokers: BTreeMap<&'static str, Running>,
    _dir: TempDir,
}

/// A broker and its port.
pub(crate) struct Running {
    pub(crate) broker: LocalBroker,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("valid")
}

impl Site {
    pub(crate) async fn start(
        brokers: &[&'static str],
        topics: &[TopicConfig],
        change: impl Fn(&mut broker::Options),
    ) -> Self {
        let dir = TempDir::new().expect("a directory");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let name_server = listener.local_addr().expect("bound");
        let options = nameserver::server::Options {
            kv_file: dir.path().join("kvConfig.json"),
            settings_file: dir.path().join("namesrv.properties"),
            settings: nameserver::Settings::default(),
            shown: Vec::new(),
        };
        let server = NameServer::open(Env::real(), options).expect("opens");
        tokio::spawn(server.serve(listener, remoting::Options::default(), None, CancellationToken::new()));
        let mut site = Self { name_server, brokers: BTreeMap::new(), _dir: dir };
        for name in brokers {
            let mut settings = broker::Options::local(site._dir.path().join(name));
            settings.name = (*name).to_owned();
            settings.segment_bytes = 1 << 20;
            change(&mut settings);
            let running = Running::start(settings, topics, name_server).await;
            site.brokers.insert(name, running);
        }
        site
    }

    /// A proxy's view of it, once it has seen all brokers of a topic.
    pub(crate) async fn proxy(&self, topic: &TopicName) -> Cluster {
        loop {
            let cluster = self.naming(None);
            let queues = cluster.topic(topic).await.map_or(0, |config| config.write_queues as usize);
            if queues == self.brokers.len() {
                return cluster;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// A proxy's view of it, which has asked nobody yet, with this broker named for what gateways share.
    pub(crate) fn naming(&self, shared_broker: Option<&str>) -> Cluster {
        Cluster::new(cluster::Options {
            name_servers: vec![self.name_server.to_string()],
            name: "C".to_owned(),
            shared_broker: shared_broker.map(str::to_owned),
            clock: Env::real().clock,
        })
    }

    pub(crate) async fn end(self) {
        for running in self.brokers.into_values() {
            running.end().await;
        }
    }
}

impl Running {
    async fn start(settings: broker::Options, topics: &[TopicConfig], name_server: SocketAddr) -> Self {
        let data = settings.dir.clone();
        let broker = LocalBroker::start(Env::real(), settings).expect("starts");
        for topic in topics {
            broker.put_topic(topic.clone(), false).await.expect("made");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let options = broker::server::Options {
            cluster: "C".to_owned(),
            advertised: address,
            name_servers: vec![name_server.to_string()],
            auto_create_topics: false,
            default_queues: 1,
            shown: Vec::new(),
            data,
            slow_reader_bytes: None,
            acting_master: false,
            remote_escape: false,
            slave: None,
        };
        let server = BrokerServer::new(Env::real(), broker.clone(), options, None);
        let stop = CancellationToken::new();
        let ended = tokio::spawn(server.serve(listener, remoting::Options::default(), None, stop.clone()));
        Self { broker, address, stop, ended }
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.ended.await.expect("ends");
        self.broker.stop().await;
    }

    /// The bodies in the topic's queue here, once there are so many.
    pub(crate) async fn bodies(&self, topic: &TopicName, count: usize) -> Vec<Bytes> {
        loop {
            let pull = Pull {
                group: GroupName::new("g").expect("valid"),
                topic: topic.clone(),
                queue: QueueId(0),
                offset: QueueOffset(0),
                messages_max: 32,
                filter: std::sync::Arc::new(Filter::All),
                wait: Duration::ZERO,
            };
            let pulled = self.broker.pull(pull).await.expect("read");
            if pulled.records.len() >= count {
                let body = |stored: &Bytes| stored.slice_ref(record::decode(stored).expect("a record").body);
                return pulled.records.iter().map(body).collect();
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}

/// Sends a half message as the gRPC front door does, to one queue.
pub(crate) async fn half(cluster: &Cluster, topic: &TopicName, queue: u32, body: &'static str) -> SendReceipt {
    let mut message = Message::new(topic.clone(), Bytes::from_static(body.as_bytes()));
    message.properties.set_own(names::TRANSACTION_PREPARED, "true");
    message.properties.set_own(names::PRODUCER_GROUP, topic.as_str());
    message.properties.set_own(names::UNIQUE_KEY, body);
    cluster.send(QueueId(queue), vec![message]).await.remove(0).expect("stored")
}
