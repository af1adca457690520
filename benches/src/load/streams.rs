//! Streams on which nothing comes: what one of them costs in memory.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::slope::memory_of_one;
use super::{GROUP, TOPIC};
use crate::measurement::{Measurement, Metric};
use crate::server::Server;

/// How long an answer to the request may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 4096;

/// The server's memory a stream.
pub(crate) async fn memory_of_streams(server: &Server, is_quick: bool) -> Result<Measurement> {
    let address = server.address();
    let (kib, _streams) = memory_of_one(server, is_quick, |_| open(address)).await?;
    Ok(Measurement([(Metric::MemoryPerStream, kib)].into()))
}

/// A stream whose answer has begun.
async fn open(address: SocketAddr) -> Result<TcpStream> {
    let opened = tokio::time::timeout(ANSWERED_WITHIN, async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /v1/groups/{GROUP}/stream?topic={TOPIC} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            ensure!(head.len() < HEAD_BYTES_MAX, "the head of the answer is longer than {HEAD_BYTES_MAX} bytes");
            ensure!(stream.read_buf(&mut head).await? > 0, "the connection was closed: {}", text(&head));
        }
        ensure!(head.starts_with(b"HTTP/1.1 200 "), "a stream is refused: {}", text(&head));
        Ok(stream)
    });
    opened.await.with_context(|| format!("a stream is not answered within {ANSWERED_WITHIN:?}"))?
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noop::{self, Protocol};

    #[tokio::test]
    async fn a_stream_waits_and_a_refused_one_is_an_error() {
        assert!(open(noop::started(Protocol::Http).await).await.is_ok());
        let refusing = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = refusing.local_addr().expect("its address");
        tokio::spawn(async move {
            let (mut stream, _) = refusing.accept().await.expect("a client");
            stream.write_all(b"HTTP/1.1 429 Too Many Requests\r\n\r\n").await.expect("sent");
            // Kept open until the client has gone.
            drop(stream.read_to_end(&mut Vec::new()).await);
        });
        let refused = open(address).await.expect_err("refused").to_string();
        assert!(refused.contains("429"), "{refused}");
    }
}
