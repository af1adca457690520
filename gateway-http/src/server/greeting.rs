//! A connection's first bytes, which must come in time.
//!
//! Which version of HTTP a peer speaks is known only from them, and neither version's own time-outs run before that.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Timer, wait};

/// What every HTTP/2 client sends first. Source: RFC 9113 §3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that fails when its peer has said neither that it speaks HTTP/2 nor that it does not, for too long.
pub(super) struct Greeting<S> {
    stream: S,
    /// How much of the preface was read, and when it is too late for the rest; `None` once the version is known.
    awaited: Option<(usize, Timer)>,
}

impl<S> Greeting<S> {
    /// A stream whose peer has so long from now on.
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, awaited: Some((0, Box::pin(wait(patience)))) }
    }

    /// Looks at what was read next.
    fn note(&mut self, bytes: &[u8]) {
        let Some((read, _)) = &mut self.awaited else { return };
        *read += bytes.len();
        let is_begin = PREFACE.get(..*read).is_some_and(|begin| begin.ends_with(bytes));
        if !is_begin || *read == PREFACE.len() {
            self.awaited = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => match &mut self.awaited {
                Some((_, late)) => late.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into())),
                None => Poll::Pending,
            },
            read => {
                self.note(buffer.filled().get(before..).unwrap_or_default());
                read
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeting<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the version is still not known after these reads.
    fn is_awaited(reads: &[&[u8]]) -> bool {
        let mut greeting = Greeting { stream: (), awaited: Some((0, Box::pin(std::future::pending()))) };
        for bytes in reads {
            greeting.note(bytes);
        }
        greeting.awaited.is_some()
    }

    #[test]
    fn a_version_is_known_as_soon_as_the_bytes_tell() {
        let awaited: [&[&[u8]]; 3] = [&[], &[b"P"], &[b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r"]];
        for awaited in awaited {
            assert!(is_awaited(awaited), "{awaited:?}");
        }
        let known: [&[&[u8]]; 4] =
            [&[b"GET / HTTP/1.0\r\n\r\n"], &[b"P", b"OST"], &[PREFACE], &[&PREFACE[..23], b"\n more"]];
        for known in known {
            assert!(!is_awaited(known), "{known:?}");
        }
    }
}
