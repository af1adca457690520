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

/// What an offset message id names: the store host and the place in its log. `None` when it is not one.
#[must_use]
pub fn parse_offset_message_id(text: &str) -> Option<(SocketAddr, PhysicalOffset)> {
    let bytes = hex::decode(text)?;
    let (host, offset) = bytes.split_last_chunk::<8>()?;
    let (ip, port) = host.split_last_chunk::<4>()?;
    let ip: IpAddr = match ip.len() {
        4 => <[u8; 4]>::try_from(ip).ok()?.into(),
        16 => <[u8; 16]>::try_from(ip).ok()?.into(),
        _ => return None,
    };
    let port = u16::try_from(u32::from_be_bytes(*port)).ok()?;
    Some((SocketAddr::from((ip, port)), PhysicalOffset(u64::from_be_bytes(*offset))))
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

    #[test]
    fn ids_name_what_they_were_made_of_and_nothing_else_is_one() {
        for host in ["10.0.0.2:10911", "[::1]:10911"] {
            let host = host.parse().expect("an address");
            let id = offset_message_id(host, PhysicalOffset(133));
            assert_eq!(parse_offset_message_id(&id), Some((host, PhysicalOffset(133))));
            assert_eq!(parse_offset_message_id(&id[1..]), None);
            assert_eq!(parse_offset_message_id(&id.replace('8', "x")), None);
        }
        // A unique key of a 5.x client has 34 digits.
        assert_eq!(parse_offset_message_id("01AABBCCDDEEFF0011223344556677889900"), None);
        assert_eq!(parse_offset_message_id(""), None);
    }
}
