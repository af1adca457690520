//! The offset message id: a message's name by where it is stored.

use std::net::{IpAddr, SocketAddr};

use types::{PhysicalOffset, hex};

/// Upper-case hex of the store host's address, its port (i32) and the physical offset (i64): 32 characters for
/// IPv4, 56 for IPv6. Source: Apache `MessageDecoder.createMessageId`.
#[must_use]
pub fn offset_message_id(store_host: SocketAddr, physical_offset: PhysicalOffset) -> String {
    let mut id = String::with_capacity(56);
    let mut push = |bytes: &[u8]| hex::push_upper(&mut id, bytes);
    match store_host.ip() {
        IpAddr::V4(ip) => push(&ip.octets()),
        IpAddr::V6(ip) => push(&ip.octets()),
    }
    push(&u32::from(store_host.port()).to_be_bytes());
    push(&physical_offset.0.to_be_bytes());
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_apaches_form() {
        let v4 = "10.0.0.2:10911".parse().expect("an address");
        assert_eq!(offset_message_id(v4, PhysicalOffset(133)), "0A00000200002A9F0000000000000085");
        let v6 = "[::1]:10911".parse().expect("an address");
        assert_eq!(
            offset_message_id(v6, PhysicalOffset(133)),
            "0000000000000000000000000000000100002A9F0000000000000085"
        );
    }
}
