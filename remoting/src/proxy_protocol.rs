//! The header with which a TCP balancer says for whom it connects: PROXY protocol, version 1 (a line) and 2 (binary).
//!
//! Source: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. Apache's brokers, name servers and proxies take it too
//! (`NettyRemotingServer`, `ProxyAndTlsProtocolNegotiator`), from everybody. What version 2 adds behind the addresses is passed over.

use std::net::SocketAddr;

use ppp::{PartialResult, v1, v2};

/// Longest header: far more than balancers add.
pub const HEADER_BYTES_MAX: usize = 4096;

const V1_SIGNATURE: &[u8] = b"PROXY ";
/// Longest line of version 1, its end included.
const V1_BYTES_MAX: usize = 107;
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the front of a connection turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// No header: the client's own first bytes.
    Other,
    /// The begin of a header, or of what looks like one.
    Incomplete,
    /// A header.
    Header {
        /// Its length.
        bytes: usize,
        /// The client; `None` where the balancer speaks for itself, or for none that has an address of IP.
        source: Option<SocketAddr>,
    },
}

/// A header that says nothing.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// Not as version 1 has it.
    #[error("PROXY header of version 1: {0}")]
    V1(v1::BinaryParseError),
    /// Not as version 2 has it.
    #[error("PROXY header of version 2: {0}")]
    V2(v2::ParseError),
    /// Longer than it may be.
    #[error("PROXY header is longer than {HEADER_BYTES_MAX} bytes")]
    TooLong,
}

/// Reads the front of a connection; never panics on any input (fuzzed).
///
/// # Errors
/// [`Error`], for what begins as a header and is none.
pub fn read(input: &[u8]) -> Result<Front, Error> {
    let front = if input.starts_with(V1_SIGNATURE) {
        read_v1(input)?
    } else if input.starts_with(V2_SIGNATURE) {
        read_v2(input)?
    } else if V1_SIGNATURE.starts_with(input) || V2_SIGNATURE.starts_with(input) {
        Front::Incomplete
    } else {
        Front::Other
    };
    match front {
        Front::Incomplete if input.len() >= HEADER_BYTES_MAX => Err(Error::TooLong),
        Front::Header { bytes, .. } if bytes > HEADER_BYTES_MAX => Err(Error::TooLong),
        front => Ok(front),
    }
}

fn read_v1(input: &[u8]) -> Result<Front, Error> {
    // The parser takes a line that is cut within a number or an address for a wrong one.
    let line = match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => &input[..=end],
        None if input.len() < V1_BYTES_MAX => return Ok(Front::Incomplete),
        None => input,
    };
    let header = v1::Header::try_from(line).map_err(Error::V1)?;
    let source = match header.addresses {
        v1::Addresses::Tcp4(pair) => Some((pair.source_address, pair.source_port).into()),
        v1::Addresses::Tcp6(pair) => Some((pair.source_address, pair.source_port).into()),
        v1::Addresses::Unknown => None,
    };
    Ok(Front::Header { bytes: header.header.len(), source })
}

fn read_v2(input: &[u8]) -> Result<Front, Error> {
    let read = v2::Header::try_from(input);
    if read.is_incomplete() {
        return Ok(Front::Incomplete);
    }
    let header = read.map_err(Error::V2)?;
    let source = match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(pair)) => Some((pair.source_address, pair.source_port).into()),
        (v2::Command::Proxy, v2::Addresses::IPv6(pair)) => Some((pair.source_address, pair.source_port).into()),
        _ => None,
    };
    Ok(Front::Header { bytes: header.len(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 10911\r\n";

    /// A header of version 2 with this command, family and what follows its length.
    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [V2_SIGNATURE, &[0x20 | command, family], &length, rest].concat()
    }

    fn ipv4() -> Vec<u8> {
        version_2(1, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0x2a, 0x9f])
    }

    fn source(input: &[u8]) -> Option<String> {
        match read(input).expect("a header") {
            Front::Header { source, .. } => source.map(|source| source.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_versions_name_the_client() {
        assert_eq!(source(V1).as_deref(), Some("192.0.2.7:40000"));
        assert_eq!(source(b"PROXY TCP6 2001:db8::7 ::1 40000 10911\r\n").as_deref(), Some("[2001:db8::7]:40000"));
        assert_eq!(source(&ipv4()).as_deref(), Some("192.0.2.7:40000"));
        let pair = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], [0; 16]].concat();
        let ports = [0x9c, 0x40, 0, 1];
        // With an extension behind the addresses.
        let ipv6 = version_2(1, 0x21, &[&pair[..], &ports, &[0x04, 0, 1, 0]].concat());
        assert_eq!(source(&ipv6).as_deref(), Some("[2001:db8::7]:40000"));
    }

    #[test]
    fn who_speaks_for_nobody_is_himself() {
        assert_eq!(source(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(source(&version_2(0, 0, &[])), None, "a balancer's own look at the port");
        assert_eq!(source(&version_2(1, 0x31, &[0; 216])), None, "a Unix socket");
    }

    #[test]
    fn a_header_ends_where_the_client_begins() {
        for header in [V1.to_vec(), ipv4()] {
            let with_more = [&header[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"].concat();
            assert!(matches!(read(&with_more), Ok(Front::Header { bytes, .. }) if bytes == header.len()));
            for cut in 0..header.len() {
                assert_eq!(read(&header[..cut]), Ok(Front::Incomplete), "{cut} bytes");
            }
        }
    }

    #[test]
    fn others_are_left_alone() {
        let frame = b"\0\0\0\x7f\0\0\0\x7b{\"code\"";
        let tls = b"\x16\x03\x01";
        for other in [&frame[..], tls, b"PRI * HTTP/2.0\r\n\r\n", b"PROXZ", b"\r\n\r\n\0\r\nQUIX"] {
            assert_eq!(read(other), Ok(Front::Other), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_an_error() {
        assert!(matches!(read(b"PROXY TCP4 a b c d\r\n"), Err(Error::V1(_))));
        assert!(read(&[b"PROXY ", [b'x'; 200].as_slice()].concat()).is_err(), "no line ends in 107 bytes");
        assert!(matches!(read(&version_2(1, 0x51, &[0; 12])), Err(Error::V2(_))));
        assert_eq!(read(&version_2(1, 0x11, &[0; HEADER_BYTES_MAX])), Err(Error::TooLong));
    }
}
