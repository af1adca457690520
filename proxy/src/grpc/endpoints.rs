//! Which address routes tell a client: the one that it dialled, because that one leads here from where it is.

use std::net::IpAddr;

use grpc::v2;
use grpc::v2::AddressScheme;

use super::Service;
use crate::validate::{self, Invalid};

/// Most addresses that a client may give.
const ADDRESSES_MAX: usize = 64;

/// The `:authority` of a request: the host and port as the client's connection knows them.
#[derive(Clone, Debug)]
pub(crate) struct Authority(pub(crate) http::uri::Authority);

/// The addresses for a route: advertised, else those that the request repeats, in their order, else its `:authority`,
/// else where the connection came in. Never none, never without a scheme; a name stands alone.
///
/// # Errors
/// [`Invalid::AccessPoint`], for addresses that no client could use.
pub(super) fn of(
    service: &Service,
    asked: Option<v2::Endpoints>,
    authority: Option<&Authority>,
) -> Result<v2::Endpoints, Invalid> {
    if let Some(advertise) = &service.shared.options.advertise {
        return Ok(one(&advertise.host, advertise.port));
    }
    if let Some(asked) = asked.filter(|asked| !asked.addresses.is_empty()) {
        return checked(asked);
    }
    let local = service.connection.local;
    Ok(match authority {
        Some(Authority(authority)) => one(authority.host(), authority.port_u16().unwrap_or(local.port())),
        None => one(&local.ip().to_string(), local.port()),
    })
}

fn one(host: &str, port: u16) -> v2::Endpoints {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = v2::Address { host: host.to_owned(), port: port.into() };
    v2::Endpoints { scheme: scheme(host).into(), addresses: vec![address] }
}

fn scheme(host: &str) -> AddressScheme {
    match host.parse() {
        Ok(IpAddr::V4(_)) => AddressScheme::IPv4,
        Ok(IpAddr::V6(_)) => AddressScheme::IPv6,
        Err(_) => AddressScheme::DomainName,
    }
}

fn checked(mut asked: v2::Endpoints) -> Result<v2::Endpoints, Invalid> {
    let fail = |asked: &v2::Endpoints, reason| Err(Invalid::AccessPoint { shown: shown(asked), reason });
    if asked.addresses.len() > ADDRESSES_MAX {
        return fail(&asked, "more than 64 addresses");
    }
    if asked.addresses.iter().any(|address| address.host.trim().is_empty()) {
        return fail(&asked, "a host is blank");
    }
    if asked.addresses.iter().any(|address| !(1..=i32::from(u16::MAX)).contains(&address.port)) {
        return fail(&asked, "a port is not 1 to 65535");
    }
    let known = AddressScheme::try_from(asked.scheme).ok().filter(|known| *known != AddressScheme::Unspecified);
    let scheme =
        known.unwrap_or_else(|| asked.addresses.first().map_or(AddressScheme::DomainName, |a| scheme(&a.host)));
    asked.scheme = scheme.into();
    if scheme == AddressScheme::DomainName {
        asked.addresses.truncate(1);
    }
    Ok(asked)
}

fn shown(endpoints: &v2::Endpoints) -> String {
    let texts = endpoints.addresses.iter().map(|address| format!("{}:{}", address.host, address.port));
    validate::cut(&texts.collect::<Vec<_>>().join(";"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(scheme: AddressScheme, addresses: &[(&str, i32)]) -> v2::Endpoints {
        let address = |(host, port): &(&str, i32)| v2::Address { host: (*host).to_owned(), port: *port };
        v2::Endpoints { scheme: scheme.into(), addresses: addresses.iter().map(address).collect() }
    }

    #[test]
    fn pitfall_09_a_name_stands_alone() {
        let two = endpoints(AddressScheme::DomainName, &[("a.example", 8081), ("b.example", 8081)]);
        assert_eq!(checked(two), Ok(endpoints(AddressScheme::DomainName, &[("a.example", 8081)])));
    }

    #[test]
    fn pitfall_10_a_scheme_is_always_set() {
        for (host, scheme) in
            [("10.0.0.1", AddressScheme::IPv4), ("::1", AddressScheme::IPv6), ("host", AddressScheme::DomainName)]
        {
            let unspecified = endpoints(AddressScheme::Unspecified, &[(host, 1)]);
            assert_eq!(checked(unspecified), Ok(endpoints(scheme, &[(host, 1)])));
            assert_eq!(one(host, 1), endpoints(scheme, &[(host, 1)]));
        }
        assert_eq!(one("[::1]", 1), endpoints(AddressScheme::IPv6, &[("::1", 1)]));
    }

    #[test]
    fn pitfall_12_addresses_keep_the_requests_order() {
        let asked = endpoints(AddressScheme::IPv4, &[("10.0.0.9", 3), ("10.0.0.1", 2), ("10.0.0.5", 1)]);
        assert_eq!(checked(asked.clone()), Ok(asked));
    }

    #[test]
    fn addresses_that_nobody_could_use_are_refused() {
        for (host, port) in [("", 1), (" ", 1), ("a", 0), ("a", -1), ("a", 65536)] {
            let refused = checked(endpoints(AddressScheme::DomainName, &[(host, port)]));
            assert!(matches!(refused, Err(Invalid::AccessPoint { .. })), "{host:?} {port}");
        }
        assert!(checked(endpoints(AddressScheme::IPv4, &[("10.0.0.1", 1); 65])).is_err());
    }
}
