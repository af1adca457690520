//! Ranges of IP addresses, as operators name them.

use std::net::IpAddr;
use std::str::FromStr;

/// A network, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its address, bits beyond the prefix 0, IPv4 as IPv4-mapped.
    bits: u128,
    /// Of 128.
    prefix: u32,
}

impl Network {
    /// All addresses.
    pub const ALL: Self = Self { bits: 0, prefix: 0 };

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        mapped(address) & mask(self.prefix) == self.bits
    }

    /// Networks with commas between them.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn list(text: &str) -> Result<Vec<Self>, &'static str> {
        text.split(',').map(|network| network.trim().parse()).collect()
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "networks such as 10.0.0.0/8,fd00::/8, or addresses";
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| EXPECTED)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u32 = prefix.map_or(Ok(bits_max), str::parse).map_err(|_| EXPECTED)?;
        if prefix > bits_max {
            return Err(EXPECTED);
        }
        let prefix = prefix + 128 - bits_max;
        Ok(Self { bits: mapped(address) & mask(prefix), prefix })
    }
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(prefix: u32) -> u128 {
    u128::MAX.checked_shl(128 - prefix).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        let contains = |networks: &str, address: &str| {
            let address: IpAddr = address.parse().expect("an address");
            Network::list(networks).expect("networks").iter().any(|network| network.contains(address))
        };
        let networks = "10.1.0.0/16, fd00::/8,127.0.0.1";
        for inside in ["10.1.255.1", "127.0.0.1", "fd12::1", "::ffff:10.1.0.1"] {
            assert!(contains(networks, inside), "{inside}");
        }
        for outside in ["10.2.0.1", "127.0.0.2", "fc00::1", "::1"] {
            assert!(!contains(networks, outside), "{outside}");
        }
        assert!(contains("0.0.0.0/0", "8.8.8.8") && !contains("0.0.0.0/0", "2001::1"));
        assert!(Network::ALL.contains(IpAddr::from([8, 8, 8, 8])));
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/x", "example.org", "10.0.0.1,"] {
            assert!(Network::list(bad).is_err(), "{bad}");
        }
    }
}
