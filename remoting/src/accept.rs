//! How connections begin, whatever is spoken on them: each in its place, perhaps through a balancer, plaintext and TLS on the same port.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Network;
use crate::proxy_protocol::{self, Front, HEADER_BYTES_MAX};

/// First byte of a TLS record that begins a handshake; neither a frame nor an HTTP/2 preface begins with it. Source: RFC 8446 §5.1.
const TLS_HANDSHAKE: u8 = 0x16;
/// How long to wait when the system has no more sockets or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long until a header that came in pieces is looked at again.
const HEADER_RETRY: Duration = Duration::from_millis(10);

/// Gives `serve` each connection that comes to one of the listeners, with its place, for ever. A connection beyond `connections_max`
/// places is closed at once, so that its client learns it. `sleep` waits.
pub async fn accept<S: Future<Output = ()>>(
    listeners: &[TcpListener],
    connections_max: usize,
    sleep: impl Fn(Duration) -> S,
    mut serve: impl FnMut(TcpStream, OwnedSemaphorePermit),
) {
    let places = Arc::new(Semaphore::new(connections_max));
    loop {
        match next(listeners).await {
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

async fn next(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|cx| {
        let mut accepted = listeners.iter().map(|listener| listener.poll_accept(cx));
        accepted.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

/// How a connection began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The client: the peer, or whom a balancer speaks for. IPv4 is never written as IPv6, as it is by a socket for both.
    pub remote: SocketAddr,
    /// Whether it begins with TLS.
    pub is_tls: bool,
}

/// Waits for the first bytes of a client. A PROXY header of a peer in one of the `balancers` networks is taken off, everything else is left
/// there, a header of anybody else too. `sleep` waits.
///
/// # Errors
/// The system's; [`io::ErrorKind::UnexpectedEof`] when the client says nothing and is gone, [`io::ErrorKind::InvalidData`] for what is
/// no header though it begins as one.
pub async fn begin<S: Future<Output = ()>>(
    stream: &mut TcpStream,
    balancers: &[Network],
    sleep: impl Fn(Duration) -> S,
) -> io::Result<Beginning> {
    let peer = canonical(stream.peer_addr()?);
    let is_balancer = balancers.iter().any(|network| network.contains(peer.ip()));
    let source = if is_balancer { take_header(stream, sleep).await? } else { None };
    Ok(Beginning { remote: source.map_or(peer, canonical), is_tls: begins_with_tls(stream).await? })
}

/// IPv4 never written as IPv6, as it is by a socket for both.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Reads a header, if there is one, and answers who it names.
async fn take_header<S: Future<Output = ()>>(
    stream: &mut TcpStream,
    sleep: impl Fn(Duration) -> S,
) -> io::Result<Option<SocketAddr>> {
    let mut front = vec![0; HEADER_BYTES_MAX];
    loop {
        let read = peek(stream, &mut front).await?;
        match proxy_protocol::read(read).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Front::Other => return Ok(None),
            Front::Header { bytes, source } => {
                stream.read_exact(&mut front[..bytes]).await?;
                return Ok(source);
            }
            // A socket with bytes that are left there counts as readable, so that it cannot be waited for more of them.
            Front::Incomplete => sleep(HEADER_RETRY).await,
        }
    }
}

/// Whether the client begins with TLS: waits for its first byte, and leaves it there.
///
/// # Errors
/// The connection broke or ended before it.
pub async fn begins_with_tls(stream: &TcpStream) -> io::Result<bool> {
    Ok(peek(stream, &mut [0]).await? == [TLS_HANDSHAKE])
}

/// At least one byte of what comes next.
async fn peek<'a>(stream: &TcpStream, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    match stream.peek(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        bytes => Ok(&buffer[..bytes]),
    }
}

/// Why a client that speaks TLS is refused by a server that has no certificate.
#[must_use]
pub fn no_certificate() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the client speaks TLS, there is no certificate")
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 10911\r\n";
    const NAMED: &str = "192.0.2.7:40000";

    /// How a connection to `listen` begins on which these pieces are sent, and what is left of them. Each piece is sent when the one before
    /// was looked at.
    async fn beginning(
        listen: &str,
        balancers: &[Network],
        pieces: &[&[u8]],
    ) -> (io::Result<Beginning>, SocketAddr, Vec<u8>) {
        let listener = TcpListener::bind(listen).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.expect("listens");
        client.set_nodelay(true).expect("set");
        let (mut stream, _) = listener.accept().await.expect("somebody");
        let (looked, mut looks) = tokio::sync::mpsc::unbounded_channel();
        let sleep = |_| {
            looked.send(()).expect("the sender waits for it");
            tokio::task::yield_now()
        };
        let begun = begin(&mut stream, balancers, sleep);
        let send = async {
            for (index, piece) in pieces.iter().enumerate() {
                if index > 0 {
                    looks.recv().await.expect("a look");
                }
                client.write_all(piece).await.expect("sent");
            }
            client.shutdown().await.expect("ended");
        };
        let (begun, ()) = tokio::join!(begun, send);
        let mut left = Vec::new();
        stream.read_to_end(&mut left).await.expect("what is left");
        (begun, client.local_addr().expect("connected"), left)
    }

    fn loopback() -> Vec<Network> {
        Network::list("127.0.0.0/8").expect("a network")
    }

    #[tokio::test]
    async fn a_balancers_header_names_the_client_and_is_taken_off() {
        for (first, is_tls) in [(TLS_HANDSHAKE, true), (0, false)] {
            let pieces = [HEADER, &[first]].concat();
            let (begun, _, left) = beginning("127.0.0.1:0", &loopback(), &[&pieces]).await;
            assert_eq!(begun.expect("begun"), Beginning { remote: NAMED.parse().expect("an address"), is_tls });
            assert_eq!(left, [first]);
        }
    }

    #[tokio::test]
    async fn a_header_may_come_in_pieces() {
        let rest = [&HEADER[20..], b"x"].concat();
        let (begun, _, left) = beginning("127.0.0.1:0", &loopback(), &[b"P", &HEADER[1..20], &rest]).await;
        assert_eq!(begun.expect("begun").remote.to_string(), NAMED);
        assert_eq!(left, b"x");
    }

    #[tokio::test]
    async fn a_balancer_may_send_no_header_but_no_broken_one() {
        let (begun, own, left) = beginning("127.0.0.1:0", &loopback(), &[b"PRI * HTTP/2.0"]).await;
        assert_eq!((begun.expect("begun").remote, &left[..]), (own, &b"PRI * HTTP/2.0"[..]));
        let (begun, ..) = beginning("127.0.0.1:0", &loopback(), &[b"PROXY TCP4 a b c d\r\n"]).await;
        assert_eq!(begun.expect_err("broken").kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn nobody_else_is_believed() {
        for balancers in [Vec::new(), Network::list("10.0.0.0/8,::1").expect("networks")] {
            let (begun, own, left) = beginning("127.0.0.1:0", &balancers, &[HEADER]).await;
            assert_eq!((begun.expect("begun").remote, &left[..]), (own, HEADER));
        }
    }

    #[tokio::test]
    async fn a_client_of_ipv4_is_one_on_a_port_for_both() {
        let (begun, own, _) = beginning("[::]:0", &[], &[b"x"]).await;
        assert_eq!(begun.expect("begun").remote, own);
    }
}
