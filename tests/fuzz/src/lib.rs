//! Every decoder of stored or received bytes, as a function that takes any bytes, with examples to begin from.
//!
//! The same functions run in `tests/corpus.rs` (stable, in every test run: the kept corpus and seeded mutations, with a
//! bound on what is allocated) and in `libfuzzer/` (nightly, `cargo xtask test --full`). A decoder panics on nothing.

mod examples;

use bytes::Bytes;
use types::filter::ExpressionType;
use types::{Filter, Properties, ReceiptHandle};

pub use examples::examples;

/// A decoder.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also that of its folder in `corpus/` and of its file in `libfuzzer/fuzz_targets/`.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
    /// Most bytes that it may allocate in all for a byte of input, beside [`ALLOCATED_BYTES_FREE`].
    pub allocated_per_byte: usize,
}

/// What any decoder may allocate whatever the input: error texts, first rooms of collections, an open simulated file.
pub const ALLOCATED_BYTES_FREE: usize = 64 * 1024;

/// All decoders.
pub const ALL: [Target; 19] = [
    Target { name: "record", run: record, allocated_per_byte: 8 },
    Target { name: "properties", run: properties, allocated_per_byte: 16 },
    // 40 bytes for a queue of at least 22 bytes, twice while the list grows.
    Target { name: "checkpoint", run: checkpoint, allocated_per_byte: 16 },
    Target { name: "state", run: state, allocated_per_byte: 24 },
    // The simulated disk keeps each file in pages, twice.
    Target { name: "index_run", run: index_run, allocated_per_byte: 32 },
    Target { name: "timer_run", run: timer_run, allocated_per_byte: 32 },
    // What came is kept once in the socket's buffer and once until its records are whole.
    Target { name: "replication", run: replication, allocated_per_byte: 16 },
    Target { name: "journal", run: journal, allocated_per_byte: 256 },
    // A B-tree's entry for a few bytes.
    Target { name: "snapshot", run: snapshot, allocated_per_byte: 512 },
    Target { name: "pop_snapshot", run: pop_snapshot, allocated_per_byte: 512 },
    Target { name: "receipt_handle", run: receipt_handle, allocated_per_byte: 32 },
    Target { name: "recall_handle", run: recall_handle, allocated_per_byte: 16 },
    Target { name: "filter", run: filter, allocated_per_byte: 512 },
    Target { name: "send_request", run: send_request, allocated_per_byte: 1024 },
    // Names and texts of one byte in a header: two allocations for four bytes, and the list's growth.
    Target { name: "remoting_frame", run: remoting_frame, allocated_per_byte: 256 },
    // A byte of a zlib stream may be a thousand, and a topic of ten bytes is a B-tree's entry; reading begins with 80 KiB.
    Target { name: "register_broker", run: register_broker, allocated_per_byte: 64 * 1024 },
    Target { name: "send_batch", run: send_batch, allocated_per_byte: 16 },
    Target { name: "proxy_header", run: proxy_header, allocated_per_byte: 8 },
    // A `{}` in a list is a whole struct of defaults, some of them texts, twice while the list grows.
    Target { name: "client_body", run: client_body, allocated_per_byte: 1024 },
];

/// A record of the CommitLog.
pub fn record(bytes: &[u8]) {
    let _ = record::peek(bytes);
    let _ = record::header(bytes);
    let Ok(record) = record::decode(bytes) else { return };
    let _ = record.check();
    let _ = record.hashes();
    assert!(record.properties().all(|(name, value)| !name.is_empty() && !value.is_empty()));
}

/// The front of a connection through a balancer; a header lies within what was read.
pub fn proxy_header(bytes: &[u8]) {
    use remoting::proxy_protocol::{Front, read};
    if let Ok(Front::Header { bytes: length, .. }) = read(bytes) {
        assert!(length <= bytes.len());
    }
}

/// A property text; what was read stays the same when it is written and read again.
pub fn properties(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let properties = Properties::parse(text);
    assert_eq!(Properties::parse(properties.as_text()), properties);
}

/// A checkpoint, whole and as a body whose checksum is right.
pub fn checkpoint(bytes: &[u8]) {
    let _ = store::fuzz::checkpoint(bytes);
    let _ = store::fuzz::checkpoint_body(bytes);
}

/// The body of a record that holds the machines' and queues' state.
pub fn state(bytes: &[u8]) {
    let _ = store::fuzz::state(bytes);
}

/// A run of the queue index.
pub fn index_run(bytes: &[u8]) {
    let _ = store::fuzz::index_run(bytes);
}

/// A run of the timers.
pub fn timer_run(bytes: &[u8]) {
    let _ = broker::fuzz::timer_run(bytes);
}

/// What a master says to a slave.
pub fn replication(bytes: &[u8]) {
    let _ = broker::fuzz::replication(bytes);
}

/// The body of a journal record.
pub fn journal(bytes: &[u8]) {
    let _ = broker::fuzz::journal(bytes);
}

/// The snapshot of all machines.
pub fn snapshot(bytes: &[u8]) {
    let _ = broker::fuzz::snapshot(bytes);
}

/// The snapshot of the pop machine; what was read is written in the same form.
pub fn pop_snapshot(bytes: &[u8]) {
    let Ok(machine) = broker::pop::PopMachine::restore(bytes) else { return };
    let mut written = Vec::new();
    machine.snapshot(&mut written);
    assert!(broker::pop::PopMachine::restore(&written).is_ok());
}

/// A receipt handle; what was read is written in the same form.
pub fn receipt_handle(bytes: &[u8]) {
    let Ok(handle) = String::from_utf8_lossy(bytes).parse::<ReceiptHandle>() else { return };
    assert_eq!(handle.to_string().parse(), Ok(handle));
}

/// A recall handle.
pub fn recall_handle(bytes: &[u8]) {
    let _ = broker::timer::recall::Handle::decode(&String::from_utf8_lossy(bytes));
}

/// A filter expression of either kind, tried on a message.
pub fn filter(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let properties = Properties::parse("TAGS\u{1}TagA\u{2}a\u{1}1\u{2}b\u{1}text\u{2}");
    for language in [ExpressionType::Tag, ExpressionType::Sql92] {
        if let Ok(filter) = Filter::parse(language, &text) {
            let _ = filter.matches(&properties);
        }
    }
}

/// A client's `SendMessage`: validated, converted and encoded as it would be stored.
pub fn send_request(bytes: &[u8]) {
    for message in proxy::fuzz::send(&Bytes::copy_from_slice(bytes)) {
        let host = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 1));
        let _ = record::encode(&message, types::QueueId(0), host);
    }
}

/// A Remoting frame in either serialisation; what was read stays the same when it is written and read again.
pub fn remoting_frame(bytes: &[u8]) {
    let frame = match remoting_proto::announced(bytes) {
        Ok(Some(frame_bytes)) if frame_bytes <= bytes.len() => &bytes[..frame_bytes],
        _ => bytes,
    };
    let Ok(command) = remoting_proto::decode(bytes::Bytes::copy_from_slice(frame)) else { return };
    let mut written = bytes::BytesMut::new();
    if remoting_proto::encode(&command, &mut written).is_ok() {
        assert_eq!(remoting_proto::decode(written.freeze()), Ok(command));
    }
}

/// The body of a broker's registration, as JSON of either dialect or compressed.
pub fn register_broker(bytes: &[u8]) {
    let _ = remoting_proto::body::RegisterBroker::decode(bytes, remoting_proto::VERSION);
}

/// Several messages in one body; what was read is written in the same form.
pub fn send_batch(bytes: &[u8]) {
    use remoting_proto::body::batch;
    let Ok(messages) = batch::decode(bytes.to_vec().into()) else { return };
    let written = batch::encode(&messages).expect("what was read has room");
    assert_eq!(batch::decode(written), Ok(messages));
}

/// What clients and tools tell a broker in JSON.
pub fn client_body(bytes: &[u8]) {
    use remoting_proto::body::{CheckClientConfig, HeartbeatData, LockBatch, SubscriptionGroupConfig};
    let _ = remoting_proto::from_slice::<HeartbeatData>(bytes);
    let _ = remoting_proto::from_slice::<LockBatch>(bytes);
    let _ = remoting_proto::from_slice::<CheckClientConfig>(bytes);
    let _ = remoting_proto::from_slice::<SubscriptionGroupConfig>(bytes);
}
