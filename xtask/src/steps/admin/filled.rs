//! What a cluster was filled with, and is to be found again.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use remoting_proto::body::{
    ConsumerData, HeartbeatData, Permission, ProducerData, RegisterBroker as Registered, SubscriptionData, TopicConfig,
};
use remoting_proto::requests::{
    AUTO_CREATE_TOPIC, GetRouteInfo, QueryMessage, RegisterBroker, SendMessage, SendMessageAnswer, UpdateConsumerOffset,
};
use remoting_proto::{Dialect, Fields, RequestCode};

use crate::remoting::{self, Connection};
use crate::{apache, server};

const TOPIC: &str = "orders";
const GROUP: &str = "orders-group";
const PRODUCERS: &str = "orders-producers";
const CLIENT: &str = "the-client";
const GONE: &str = "broker-gone";
const TRACES: &str = "RMQ_SYS_TRACE_TOPIC";
/// Messages at each broker, on its queues in turn.
const MESSAGES: i64 = 4;
const QUEUES: i64 = 2;
/// Longest wait for what was stored to be found.
const FOUND_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Names that commands and answers have for what is of one run.
pub(super) struct Filled {
    name_server: SocketAddr,
    brokers: [SocketAddr; 2],
    /// Where nobody listens.
    gone: SocketAddr,
    /// Of the first message at the first broker.
    offset_message_id: String,
}

impl Filled {
    pub(super) fn new(name_server: SocketAddr, brokers: [SocketAddr; 2]) -> Result<Self> {
        Ok(Self { name_server, brokers, gone: server::free_address()?, offset_message_id: String::new() })
    }

    pub(super) fn name_server(&self) -> SocketAddr {
        self.name_server
    }

    /// A text with what its names stand for.
    pub(super) fn put_in(&self, text: &str) -> String {
        let [a, b] = self.brokers;
        let names = [
            ("OFFSET_MESSAGE_ID", self.offset_message_id.clone()),
            ("MESSAGE_ID", unique_id("a", 0)),
            ("NAME_SERVER", self.name_server.to_string()),
            ("ADDRESS_A", a.to_string()),
            ("ADDRESS_B", b.to_string()),
            ("ADDRESS_GONE", self.gone.to_string()),
        ];
        names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Stores messages, commits the first of each broker's first queue, and lets a client come, which stays as long as its connections.
    pub(super) fn fill(&mut self) -> Result<[Connection; 2]> {
        let [a, b] = self.brokers;
        for (letter, broker) in [("a", a), ("b", b)] {
            for number in 0..MESSAGES {
                let id = send(broker, letter, number)?;
                if (letter, number) == ("a", 0) {
                    self.offset_message_id = id;
                }
            }
            await_key(broker, TOPIC, &format!("key-{letter}-{}", MESSAGES - 1))?;
        }
        trace(a)?;
        await_key(a, TRACES, &unique_id("a", 0))?;
        await_route(self.name_server, TRACES)?;
        let clients = [come(a)?, come(b)?];
        for broker in self.brokers {
            commit(broker)?;
        }
        Ok(clients)
    }

    /// Registers a broker that is not there; it is known as long as its connection.
    pub(super) fn register_gone(&self) -> Result<Connection> {
        let header = RegisterBroker {
            broker_name: GONE.to_owned(),
            broker_addr: self.gone.to_string(),
            cluster_name: apache::CLUSTER.to_owned(),
            ha_server_addr: self.gone.to_string(),
            broker_id: 0,
            heartbeat_timeout_ms: None,
            enable_acting_master: None,
            body_crc32: None,
            compressed: None,
            zone_name: None,
        };
        // Apache's name server takes no broker with one topic.
        let topics = [TOPIC, AUTO_CREATE_TOPIC].map(|name| {
            let config = TopicConfig {
                topic_name: name.to_owned(),
                read_queue_nums: 2,
                write_queue_nums: 2,
                perm: Permission::READ_WRITE,
                topic_sys_flag: 0,
            };
            (name.to_owned(), config)
        });
        let body = Registered { topics: topics.into(), ..Registered::default() }.encode();
        let mut connection = Connection::open(self.name_server)?;
        connection.call(RequestCode::RegisterBroker, header.to_fields(), body.into())?;
        ensure!(remoting::knows_broker(self.name_server, GONE), "{GONE} was registered and is not known");
        Ok(connection)
    }
}

/// An id as clients of 4.x make them.
fn unique_id(letter: &str, number: i64) -> String {
    format!("7F0000010001{}00000000000000000{number:03}", letter.to_uppercase())
}

/// Sends one of the messages; where it was stored.
fn send(broker: SocketAddr, letter: &str, number: i64) -> Result<String> {
    let properties = [
        ("KEYS", format!("key-{letter}-{number} all")),
        ("TAGS", "TagA".to_owned()),
        ("UNIQ_KEY", unique_id(letter, number)),
    ];
    store(broker, TOPIC, number % QUEUES, &properties, format!("body-{letter}-{number}"))
}

/// What a producer and a consumer that trace tell of the first message. Source of the form: Apache 5.5 `TraceDataEncoder`.
fn trace(broker: SocketAddr) -> Result<String> {
    let id = unique_id("a", 0);
    let sent =
        ["Pub", "1700000000000", "R", PRODUCERS, TOPIC, &id, "TagA", "key-a-0", "h:1", "8", "3", "0", "PLACE", "true"];
    let begun = ["SubBefore", "1700000000004", "R", GROUP, "REQUEST", &id, "0", "key-a-0"];
    let ended = ["SubAfter", "REQUEST", &id, "2", "true", "key-a-0", "0", "1700000000006", GROUP];
    let events: [&[&str]; 3] = [&sent, &begun, &ended];
    let body = events.iter().map(|event| format!("{}\u{2}", event.join("\u{1}"))).collect();
    store(broker, TRACES, 0, &[("KEYS", format!("{id} key-a-0"))], body)
}

fn store(broker: SocketAddr, topic: &str, queue: i64, properties: &[(&str, String)], body: String) -> Result<String> {
    let properties = properties.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect();
    let header = SendMessage {
        producer_group: PRODUCERS.to_owned(),
        topic: topic.to_owned(),
        default_topic: Some(AUTO_CREATE_TOPIC.to_owned()),
        default_topic_queue_nums: Some(QUEUES),
        queue_id: queue,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        flag: 0,
        properties: Some(properties),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        max_reconsume_times: None,
        is_batch: Some(false),
        broker_name: None,
    };
    let answer = remoting::call(broker, RequestCode::SendMessageV2, header.to_fields(), body.into())?;
    Ok(SendMessageAnswer::of(&answer.fields)?.msg_id)
}

/// Waits until a message can be found: Apache's brokers index them a moment after they answer.
fn await_key(broker: SocketAddr, topic: &str, key: &str) -> Result<()> {
    let header = QueryMessage {
        topic: topic.to_owned(),
        key: key.to_owned(),
        max_num: 1,
        begin_timestamp: 0,
        end_timestamp: i64::MAX,
        is_unique_key: None,
    };
    await_answer(broker, RequestCode::QueryMessage, &header.to_fields()).with_context(|| format!("{key} is not found"))
}

/// Waits until a topic that a broker made for itself is known.
fn await_route(name_server: SocketAddr, topic: &str) -> Result<()> {
    let topic = topic.to_owned();
    let header = GetRouteInfo { topic, accept_standard_json_only: Some(true), zone_mode: None, zone_name: None };
    await_answer(name_server, RequestCode::GetRouteInfoByTopic, &header.to_fields())
}

fn await_answer(server: SocketAddr, code: RequestCode, fields: &Fields) -> Result<()> {
    let began = Instant::now();
    loop {
        match remoting::call(server, code, fields.clone(), Bytes::new()) {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > FOUND_WITHIN => return Err(error),
            Err(_) => sleep(POLL_EVERY),
        }
    }
}

fn commit(broker: SocketAddr) -> Result<()> {
    let header = UpdateConsumerOffset {
        consumer_group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
        queue_id: 0,
        commit_offset: 1,
        broker_name: None,
    };
    remoting::call(broker, RequestCode::UpdateConsumerOffset, header.to_fields(), Bytes::new()).map(drop)
}

/// A client that produces and consumes.
fn come(broker: SocketAddr) -> Result<Connection> {
    let subscription = SubscriptionData {
        topic: TOPIC.to_owned(),
        sub_string: "*".to_owned(),
        expression_type: Some("TAG".to_owned()),
        sub_version: 1,
        ..SubscriptionData::default()
    };
    let consumer = ConsumerData {
        consume_from_where: "CONSUME_FROM_FIRST_OFFSET".to_owned(),
        consume_type: "CONSUME_PASSIVELY".to_owned(),
        group_name: GROUP.to_owned(),
        message_model: "CLUSTERING".to_owned(),
        subscription_data_set: vec![subscription],
        unit_mode: false,
    };
    let heartbeat = HeartbeatData {
        client_id: CLIENT.to_owned(),
        consumer_data_set: vec![consumer],
        producer_data_set: vec![ProducerData { group_name: PRODUCERS.to_owned() }],
        ..HeartbeatData::default()
    };
    let body = remoting_proto::to_vec(&heartbeat, Dialect::Standard);
    let mut connection = Connection::open(broker)?;
    connection.call(RequestCode::HeartBeat, Fields::default(), body.into())?;
    Ok(connection)
}
