//! What a newcomer sees when the server is ready: where it is, and what to type next.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// What the banner tells.
#[derive(Debug)]
pub(crate) struct Banner {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Absolute, so that it can be pasted elsewhere.
    pub(crate) data: PathBuf,
    pub(crate) is_sync: bool,
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { grpc, http, data, is_sync } = self;
        let (client, admin) = (reachable(*grpc), reachable(*http));
        let flush = if *is_sync { "sync: survives power loss" } else { "async: survives the process" };
        writeln!(f, "gantry {} is ready", env!("CARGO_PKG_VERSION"))?;
        writeln!(f)?;
        writeln!(f, "  gRPC  {grpc}  for RocketMQ 5 clients, plaintext and TLS")?;
        writeln!(
            f,
            "  HTTP  {http}  messages without an SDK, plaintext and TLS, /readyz /metrics /version, gantry admin"
        )?;
        writeln!(f, "  data  {}  (flush {flush})", data.display())?;
        writeln!(f)?;
        writeln!(f, "Send and receive with the official Python client, from the checkout:")?;
        writeln!(f)?;
        writeln!(f, "  cd sdk-examples/python && ./setup && ./run normal --endpoint {client}")?;
        writeln!(f)?;
        writeln!(f, "or with nothing but curl:")?;
        writeln!(f)?;
        writeln!(f, "  curl http://{admin}/v1/topics/hello/messages -d 'Hello'")?;
        writeln!(f, "  curl http://{admin}/v1/groups/readers/receive --json '{{\"topic\": \"hello\"}}'")?;
        writeln!(f)?;
        writeln!(f, "Look at what it left:")?;
        writeln!(f)?;
        writeln!(f, "  gantry admin topic list --server http://{admin}")?;
        writeln!(f, "  curl http://{admin}/v1/admin/topics")?;
        writeln!(f, "  or open http://{admin}/ in a browser")?;
        writeln!(f)?;
        write!(f, "Stop it with Ctrl-C.")
    }
}

/// An address that a program on this machine can dial.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_use_an_address_that_can_be_dialled() {
        let banner = Banner {
            grpc: "0.0.0.0:8081".parse().expect("valid"),
            http: "[::]:8082".parse().expect("valid"),
            data: "/data".into(),
            is_sync: false,
        };
        let text = banner.to_string();
        assert!(text.contains("gRPC  0.0.0.0:8081"));
        assert!(text.contains("--endpoint 127.0.0.1:8081"));
        assert!(text.contains("curl http://[::1]:8082/"));
    }
}
