//! A client of NATS: as much of its text protocol as requests with one reply each need, on one connection.
//!
//! Not for use beyond the bench: no reconnects, no headers, no authentication. Source: the protocol's reference at
//! docs.nats.io ("Client Protocol") and a trace of server 2.15.3.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc};

/// The stream that keeps all messages, and the subject they are published to.
const STREAM: &str = "bench";
/// Where replies go: the requester's number follows. Other connections never see them, as they subscribe to their own.
const INBOX: &str = "_INBOX.bench";
/// The one subscription of a connection.
const SUBSCRIPTION: &str = "1";
/// How long a reply may take.
const REPLY_WITHIN: Duration = Duration::from_secs(20);
/// Longest line of the server that is taken: `INFO` has about 500 bytes.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// Longest reply that is taken: that of a new stream has about 800 bytes.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// One of those who share a connection: it has one request under way at a time.
pub(crate) struct Requester {
    writer: Arc<Mutex<OwnedWriteHalf>>,
    inbox: String,
    replies: mpsc::Receiver<Result<Vec<u8>, String>>,
    frame: Vec<u8>,
}

/// Connects, for so many requesters.
pub(crate) async fn connect(address: SocketAddr, requesters: usize) -> Result<Vec<Requester>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    // Each connection has inboxes of its own.
    let inbox = format!("{INBOX}.{}", stream.local_addr()?.port());
    let (reader, mut writer) = stream.into_split();
    let hello = r#"CONNECT {"verbose":false,"pedantic":false,"name":"bench","lang":"rust","version":"1","protocol":1}"#;
    writer.write_all(format!("{hello}\r\nSUB {inbox}.* {SUBSCRIPTION}\r\n").as_bytes()).await?;
    let writer = Arc::new(Mutex::new(writer));
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..requesters).map(|_| mpsc::channel(1)).unzip();
    tokio::spawn(read(BufReader::new(reader), Arc::clone(&writer), senders));
    let requester = |(number, replies)| Requester {
        writer: Arc::clone(&writer),
        inbox: format!("{inbox}.{number}"),
        replies,
        frame: Vec::new(),
    };
    Ok(receivers.into_iter().enumerate().map(requester).collect())
}

impl Requester {
    /// Makes the stream: kept in files, by one server.
    pub(crate) async fn make_stream(&mut self) -> Result<()> {
        let config = serde_json::json!({
            "name": STREAM, "subjects": [STREAM], "storage": "file", "num_replicas": 1,
        });
        let reply = self.request(&format!("$JS.API.STREAM.CREATE.{STREAM}"), config.to_string().as_bytes()).await?;
        let reply = ensure_done(&reply)?;
        ensure!(reply["config"]["storage"] == "file", "the new stream is {reply}");
        Ok(())
    }

    /// Publishes one message; it is stored in the stream on return.
    pub(crate) async fn publish(&mut self, body: &[u8]) -> Result<()> {
        let reply = self.request(STREAM, body).await?;
        let reply = ensure_done(&reply)?;
        ensure!(reply["stream"] == STREAM && reply["seq"].is_u64(), "acknowledged with {reply}");
        Ok(())
    }

    async fn request(&mut self, subject: &str, payload: &[u8]) -> Result<Vec<u8>> {
        self.frame.clear();
        self.frame.extend_from_slice(format!("PUB {subject} {} {}\r\n", self.inbox, payload.len()).as_bytes());
        self.frame.extend_from_slice(payload);
        self.frame.extend_from_slice(b"\r\n");
        self.writer.lock().await.write_all(&self.frame).await?;
        let reply = tokio::time::timeout(REPLY_WITHIN, self.replies.recv()).await;
        let reply = reply.with_context(|| format!("no reply to {subject} within {REPLY_WITHIN:?}"))?;
        match reply.context("the connection to NATS has ended")? {
            Ok(reply) => Ok(reply),
            Err(reason) => bail!("the connection to NATS failed: {reason}"),
        }
    }
}

/// JetStream's reply, unless it is an error.
fn ensure_done(reply: &[u8]) -> Result<Value> {
    let reply: Value = serde_json::from_slice(reply).context("JetStream's reply is no JSON")?;
    ensure!(reply.get("error").is_none(), "JetStream refuses: {}", reply["error"]);
    Ok(reply)
}

/// Hands replies to their requesters until the connection ends, and tells all of them why it did.
async fn read(
    mut reader: BufReader<OwnedReadHalf>,
    writer: Arc<Mutex<OwnedWriteHalf>>,
    requesters: Vec<mpsc::Sender<Result<Vec<u8>, String>>>,
) {
    let Err(error) = read_replies(&mut reader, &writer, &requesters).await else { return };
    for requester in requesters {
        // One that has a reply already, or has gone, does not need it.
        let _ = requester.try_send(Err(format!("{error:#}")));
    }
}

async fn read_replies(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &Mutex<OwnedWriteHalf>,
    requesters: &[mpsc::Sender<Result<Vec<u8>, String>>],
) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if (&mut *reader).take(LINE_BYTES_MAX).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        match Line::parse(&line)? {
            Line::Nothing => {}
            Line::Ping => writer.lock().await.write_all(b"PONG\r\n").await?,
            Line::Message { requester, payload_bytes } => {
                ensure!(
                    payload_bytes <= REPLY_BYTES_MAX,
                    "a reply has {payload_bytes} bytes, limit is {REPLY_BYTES_MAX}"
                );
                let mut payload = vec![0; payload_bytes + b"\r\n".len()];
                reader.read_exact(&mut payload).await?;
                payload.truncate(payload_bytes);
                let requester = requesters.get(requester).with_context(|| format!("no requester {requester}"))?;
                // It has one request under way, hence room; one that has gone needs no reply.
                let _ = requester.try_send(Ok(payload));
            }
        }
    }
}

/// What the server begins to say.
#[derive(Debug, PartialEq)]
enum Line {
    /// Nothing that matters here: `INFO`, `PONG`, `+OK`.
    Nothing,
    /// Asks for a `PONG`.
    Ping,
    /// The payload follows, and an end of line.
    Message { requester: usize, payload_bytes: usize },
}

impl Line {
    /// `MSG <subject> <subscription> [reply-to] <bytes>` and words of their own.
    fn parse(line: &str) -> Result<Self> {
        let line = line.strip_suffix("\r\n").with_context(|| format!("{line:?} is cut off"))?;
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("MSG") => {
                let subject = words.next();
                let requester = subject.and_then(|subject| subject.rsplit_once('.')?.1.parse().ok());
                let payload_bytes = words.last().and_then(|bytes| bytes.parse().ok());
                let (Some(requester), Some(payload_bytes)) = (requester, payload_bytes) else {
                    bail!("{line:?} is no reply");
                };
                Ok(Self::Message { requester, payload_bytes })
            }
            Some("PING") => Ok(Self::Ping),
            Some("INFO" | "PONG" | "+OK") => Ok(Self::Nothing),
            _ => bail!("the server says {line:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn lines_are_told_apart() {
        let message = |line| Line::parse(line).expect("valid");
        assert_eq!(message("INFO {\"server_id\":\"a b\"} \r\n"), Line::Nothing);
        assert_eq!(message("PING\r\n"), Line::Ping);
        let reply = Line::Message { requester: 31, payload_bytes: 26 };
        assert_eq!(message("MSG _INBOX.bench.40000.31 1 26\r\n"), reply);
        assert_eq!(message("MSG _INBOX.bench.40000.31 1 reply.to 26\r\n"), reply);
        for line in ["-ERR 'Authorization Violation'\r\n", "MSG a 1\r\n", "MSG _INBOX.x 1 2\r\n", "PI", "\r\n"] {
            assert!(Line::parse(line).is_err(), "{line:?}");
        }
    }

    /// Answers one publish after the other: with `replies` in the reverse order of the requests, all in one piece.
    async fn serve(listener: TcpListener, replies: Vec<&'static str>) {
        let (mut stream, _) = listener.accept().await.expect("a client");
        stream.write_all(b"INFO {}\r\nPING\r\n").await.expect("sent");
        let mut lines = BufReader::new(&mut stream).lines();
        let (mut inboxes, mut has_pong) = (Vec::new(), false);
        while inboxes.len() < replies.len() || !has_pong {
            let line = lines.next_line().await.expect("read").expect("more lines");
            has_pong |= line == "PONG";
            if let Some(rest) = line.strip_prefix("PUB bench ") {
                inboxes.push(rest.split(' ').next().expect("an inbox").to_owned());
            }
        }
        let answers = inboxes.iter().rev().zip(replies);
        let text: String = answers.map(|(to, reply)| format!("MSG {to} 1 {}\r\n{reply}\r\n", reply.len())).collect();
        stream.write_all(text.as_bytes()).await.expect("sent");
    }

    async fn published(replies: Vec<&'static str>) -> Vec<Result<()>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let count = replies.len();
        let server = tokio::spawn(serve(listener, replies));
        let requesters = connect(address, count).await.expect("connected");
        let publishing =
            requesters.into_iter().map(|mut requester| tokio::spawn(async move { requester.publish(b"body").await }));
        let publishing: Vec<_> = publishing.collect();
        let mut results = Vec::new();
        for task in publishing {
            results.push(task.await.expect("no panic"));
        }
        server.await.expect("no panic");
        results
    }

    #[tokio::test]
    async fn each_requester_gets_its_own_reply() {
        let results = published(vec![r#"{"stream":"bench","seq":1}"#, r#"{"error":{"code":503}}"#]).await;
        let refused = results.iter().filter_map(|result| result.as_ref().err()).collect::<Vec<_>>();
        assert!(refused.len() == 1 && refused[0].to_string().contains("503"), "{refused:?}");
    }

    #[tokio::test]
    async fn an_ack_without_a_sequence_is_none() {
        assert!(published(vec![r#"{"stream":"bench"}"#]).await[0].is_err());
    }

    #[tokio::test]
    async fn requesters_learn_that_the_connection_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut requesters = connect(listener.local_addr().expect("its address"), 1).await.expect("connected");
        let (stream, _) = listener.accept().await.expect("a client");
        drop(stream);
        assert!(requesters[0].publish(b"body").await.is_err());
    }
}
