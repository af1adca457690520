//! Which addresses may be called: those of the internet, and networks that the operator has named. Decided where a name is resolved, of
//! the very addresses that are then connected to, so that a name cannot mean another address a moment later (DNS rebinding).
//!
//! Source of the ranges: IANA's special-purpose address registries for IPv4 and IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use remoting::Network;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Networks that may be called though they are not the internet's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    networks: Vec<Network>,
}

/// Why an address may not be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} is at {address}, which is {kind} and not allowed by --webhook-allow")]
pub(super) struct Refused {
    host: String,
    address: IpAddr,
    kind: &'static str,
}

impl FromStr for Allowed {
    type Err = &'static str;

    /// Networks with commas between them; `private` are all addresses.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "networks such as 10.0.0.0/8,fd00::/8, or private for all";
        if text == "private" {
            return Ok(Self { networks: vec![Network::ALL] });
        }
        Network::list(text).map(|networks| Self { networks }).map_err(|_| EXPECTED)
    }
}

impl Allowed {
    fn check(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        match special(address) {
            Some(kind) if !self.networks.iter().any(|network| network.contains(address)) => {
                Err(Refused { host: host.to_owned(), address, kind })
            }
            _ => Ok(()),
        }
    }

    /// Checks a URL whose host is an address: nothing resolves it.
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), Refused> {
        let host = url.host_str().unwrap_or_default();
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        literal.parse().map_or(Ok(()), |address| self.check(host, address))
    }

    /// Those of a name's addresses that may be called.
    ///
    /// # Errors
    /// There is none.
    fn of_name(
        &self,
        host: &str,
        addresses: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let (mut allowed, mut refused) = (Vec::new(), None);
        for address in addresses {
            match self.check(host, address.ip()) {
                Ok(()) => allowed.push(address),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(refused) if allowed.is_empty() => Err(refused.into()),
            _ if allowed.is_empty() => Err(format!("{host} has no address").into()),
            _ => Ok(allowed),
        }
    }
}

/// What an address is, if it is none of the internet's.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("unspecified"),
        [127, ..] => Some("loopback"),
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Some("private"),
        [100, 64..=127, ..] => Some("shared by carriers"),
        [169, 254, ..] => Some("link-local"),
        [192, 0, 0, _] | [198, 18..=19, ..] | [192, 88, 99, _] => Some("reserved"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("for documentation"),
        [224..=239, ..] => Some("multicast"),
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [0, 0, 0, 0, 0, 0xffff, ..] => Some("an IPv4 address in IPv6"),
        [0xfc00..=0xfdff, ..] => Some("private"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        // Ways into IPv4: 6to4, Teredo. And other uses within 2001::/23.
        [0x2002, ..] | [0x2001, 0..=0x01ff, ..] => Some("reserved"),
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Some("for documentation"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("reserved"),
    }
}

/// Resolves names as the system does, to addresses that may be called.
#[derive(Debug)]
pub(super) struct Resolver(pub(super) Arc<Allowed>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.0.clone();
        Box::pin(async move {
            // The port is the URL's, which the connector puts in the place of this one.
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Addrs = Box::new(allowed.of_name(name.as_str(), addresses)?.into_iter());
            Ok(allowed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_addresses_of_the_internet_are_ordinary() {
        let special_ones = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "::8.8.8.8",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in special_ones {
            assert!(special(ip(address)).is_some(), "{address}");
        }
        for address in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"] {
            assert_eq!(special(ip(address)), None, "{address}");
        }
    }

    #[test]
    fn an_operator_allows_networks() {
        let allowed: Allowed = "10.1.0.0/16, fd00::/8,127.0.0.1".parse().expect("networks");
        for (address, is_allowed) in [("10.1.255.1", true), ("10.2.0.1", false), ("::1", false), ("8.8.8.8", true)] {
            assert_eq!(allowed.check("h", ip(address)).is_ok(), is_allowed, "{address}");
        }
        let all: Allowed = "private".parse().expect("all");
        assert!(all.check("h", ip("::1")).is_ok() && all.check("h", ip("169.254.169.254")).is_ok());
        assert!("example.org".parse::<Allowed>().is_err());
    }

    #[test]
    fn however_an_address_is_written_it_is_refused() {
        let urls = [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://0/",
            "https://[fe80::1]/",
        ];
        for url in urls {
            let url: Url = url.parse().expect("a URL");
            assert!(Allowed::default().check_literal(&url).is_err(), "{url}");
        }
        let refused =
            Allowed::default().check_literal(&"http://10.0.0.1/".parse().expect("a URL")).expect_err("private");
        assert_eq!(refused.to_string(), "10.0.0.1 is at 10.0.0.1, which is private and not allowed by --webhook-allow");
        assert!(
            Allowed::default().check_literal(&"http://localhost/".parse().expect("a URL")).is_ok(),
            "to be resolved"
        );
    }

    #[test]
    fn a_name_with_some_allowed_addresses_is_called_at_those() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| SocketAddr::new(ip(text), 0)).collect::<Vec<_>>();
        let of = |texts: &[&str]| Allowed::default().of_name("h", addresses(texts).into_iter());
        assert_eq!(of(&["10.0.0.1", "8.8.8.8"]).expect("one"), addresses(&["8.8.8.8"]));
        assert!(of(&["10.0.0.1"]).expect_err("none").to_string().contains("which is private"));
        assert!(of(&[]).is_err());
    }

    #[tokio::test]
    async fn names_are_resolved_to_allowed_addresses_alone() {
        let resolve = async |allowed: Allowed| {
            let resolver = Resolver(Arc::new(allowed));
            resolver.resolve("localhost".parse().expect("a name")).await.map(Iterator::count)
        };
        assert!(resolve(Allowed::default()).await.is_err());
        assert!(resolve("private".parse().expect("all")).await.expect("resolved") > 0);
    }
}
