//! How connections begin, whatever is spoken on them: each in its place, plaintext and TLS on the same port.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// First byte of a TLS record that begins a handshake; neither a frame nor an HTTP/2 preface begins with it. Source: RFC 8446 §5.1.
const TLS_HANDSHAKE: u8 = 0x16;
/// How long to wait when the system has no more sockets or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Gives `serve` each connection that comes, with its place, for ever. A connection beyond `connections_max` places is closed at once,
/// so that its client learns it. `sleep` waits.
pub async fn accept<S: Future<Output = ()>>(
    listener: &TcpListener,
    connections_max: usize,
    sleep: impl Fn(Duration) -> S,
    mut serve: impl FnMut(TcpStream, OwnedSemaphorePermit),
) {
    let places = Arc::new(Semaphore::new(connections_max));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match places.clone().try_acquire_owned() {
                Ok(place) => serve(stream, place),
                Err(_) => tracing::debug!(connections_max, "connection refused: too many are open"),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Whether the client begins with TLS: waits for its first byte, and leaves it there.
///
/// # Errors
/// The system's; [`io::ErrorKind::UnexpectedEof`] when the client says nothing and is gone.
pub async fn begins_with_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(first == [TLS_HANDSHAKE])
}

/// Why a client that speaks TLS is refused by a server that has no certificate.
#[must_use]
pub fn no_certificate() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the client speaks TLS, there is no certificate")
}
