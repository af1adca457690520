//! Under which names the port may be asked. A web page whose own name was made to lead here (DNS rebinding) is of the same site to its
//! browser, whatever the origin check says; but the browser names that site as the host.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::{Request, StatusCode, header};

use crate::problem::Problem;

/// Names that are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hosts {
    /// All.
    #[default]
    Any,
    /// `localhost` and names below it, addresses, and these, in lower case.
    Named(BTreeSet<String>),
}

impl Hosts {
    /// Whether the request names a host that is taken; one that names none is no browser's.
    ///
    /// # Errors
    /// What is said of the other one.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        let Self::Named(names) = self else { return Ok(()) };
        let of_header = || request.headers().get(header::HOST)?.to_str().ok();
        let asked = request.uri().authority().map(http::uri::Authority::as_str).or_else(of_header);
        let Some(asked) = asked else { return Ok(()) };
        let host = host_of(asked).to_ascii_lowercase();
        if is_local(&host) || names.contains(&host) {
            return Ok(());
        }
        let detail = format!("the host {host:?} is not one of this server's: name it with --http-hosts");
        Err(Problem::new(StatusCode::FORBIDDEN, "unknown-host", detail))
    }
}

impl FromStr for Hosts {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let names: Vec<_> = text.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        match names.iter().all(|name| is_name(name)) {
            true => Ok(Self::Named(names.into_iter().collect())),
            false => Err("host names such as mq.example.org, separated by commas, or * for all"),
        }
    }
}

/// What stands before the port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        // The colons of an address stand in brackets.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn is_local(host: &str) -> bool {
    let is_v6 =
        host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok());
    is_v6 || host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(hosts: &Hosts, host: Option<&str>) -> bool {
        let mut request = Request::get("/");
        if let Some(host) = host {
            request = request.header("Host", host);
        }
        hosts.check(&request.body(()).expect("valid")).is_ok()
    }

    #[test]
    fn addresses_and_names_of_this_machine_are_taken_and_others_must_be_named() {
        let hosts = Hosts::Named(BTreeSet::from(["mq.example.org".to_owned()]));
        for taken in
            ["127.0.0.1:8082", "localhost:8082", "Local.Localhost", "[::1]:8082", "10.0.0.1", "MQ.example.org:80"]
        {
            assert!(is_taken(&hosts, Some(taken)), "{taken}");
        }
        for other in
            ["evil.example", "evil.example:8082", "localhost.evil.example", "mq.example.org.evil", "1.2.3.4.evil", ""]
        {
            assert!(!is_taken(&hosts, Some(other)), "{other}");
            assert!(is_taken(&Hosts::Any, Some(other)), "{other}");
        }
        assert!(is_taken(&hosts, None));
        let of_http2 = Request::get("http://evil.example/").header("Host", "localhost").body(()).expect("valid");
        assert!(hosts.check(&of_http2).is_err());
    }

    #[test]
    fn names_are_read_from_a_list() {
        let named = |names: &[&str]| Ok(Hosts::Named(names.iter().map(|name| (*name).to_owned()).collect()));
        assert_eq!("A.example, b".parse(), named(&["a.example", "b"]));
        assert_eq!("*".parse(), Ok(Hosts::Any));
        for bad in ["", "a,,b", "a:1", "http://a", "*.a"] {
            assert!(bad.parse::<Hosts>().is_err(), "{bad}");
        }
    }
}
