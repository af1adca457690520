//! Remoting requests to a name server or broker: asking `mqadmin` costs a JVM's start each time.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use remoting_proto::body::ClusterInfo;
use remoting_proto::{Command, Fields, Opaque, RequestCode, ResponseCode};

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The brokers that a name server knows.
///
/// # Errors
/// It does not answer, or not with what was asked for.
pub(crate) fn brokers(name_server: SocketAddr) -> Result<ClusterInfo> {
    let answer = call(name_server, RequestCode::GetBrokerClusterInfo, Fields::default(), Bytes::new())?;
    Ok(remoting_proto::from_slice(&answer.body)?)
}

/// Whether a name server knows a broker of this name.
pub(crate) fn knows_broker(name_server: SocketAddr, name: &str) -> bool {
    brokers(name_server).is_ok_and(|brokers| brokers.broker_addr_table.contains_key(name))
}

/// What a server answers.
///
/// # Errors
/// It does not answer, or not with success.
pub(crate) fn call(server: SocketAddr, code: RequestCode, fields: Fields, body: Bytes) -> Result<Command> {
    Connection::open(server)?.call(code, fields, body)
}

/// A connection that stays: servers know clients and brokers by theirs.
pub(crate) struct Connection(TcpStream);

impl Connection {
    /// Connects.
    pub(crate) fn open(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&server, ANSWER_WITHIN)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self(stream))
    }

    /// What the server answers; what it asks meanwhile is left alone.
    ///
    /// # Errors
    /// As [`call`].
    pub(crate) fn call(&mut self, code: RequestCode, fields: Fields, body: Bytes) -> Result<Command> {
        let answer = self.ask(code, fields, body)?;
        ensure!(answer.response_code() == ResponseCode::Success, "{:?} answers {answer:?}", self.0.peer_addr());
        Ok(answer)
    }

    /// The same, whatever the answer's code is.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn ask(&mut self, code: RequestCode, fields: Fields, body: Bytes) -> Result<Command> {
        self.ask_all(vec![Command::request(code, fields, body)])?.pop().context("no answer")
    }

    /// What the server answers to requests that it gets together, in their order.
    ///
    /// # Errors
    /// It does not answer all of them.
    pub(crate) fn ask_all(&mut self, mut requests: Vec<Command>) -> Result<Vec<Command>> {
        let mut frames = BytesMut::new();
        for (number, request) in (0..).zip(&mut requests) {
            request.opaque = Opaque(number);
            remoting_proto::encode(request, &mut frames)?;
        }
        self.0.write_all(&frames)?;
        let mut answers = BTreeMap::new();
        while answers.len() < requests.len() {
            let read = self.read()?;
            if read.flag.is_response() {
                answers.insert(read.opaque.0, read);
            }
        }
        Ok(answers.into_values().collect())
    }

    fn read(&mut self) -> Result<Command> {
        let mut frame = vec![0; 4];
        self.0.read_exact(&mut frame)?;
        frame.resize(remoting_proto::announced(&frame)?.context("four bytes tell the length")?, 0);
        self.0.read_exact(&mut frame[4..])?;
        Ok(remoting_proto::decode(frame.into())?)
    }
}
