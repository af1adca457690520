//! The settings of the HTTP port, of every role that serves messages there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use gateway_http::{Hosts, Limits};
use proxy::Origins;

use super::setting::{Keys, Setting};
use super::{Reader, value, within};

/// What was told of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Http {
    connections_max: usize,
    request_bytes_max: usize,
    request_timeout: Duration,
    inbound_bytes_max: usize,
    undelivered_bytes_max: usize,
    origins: Origins,
    /// `None`: what the listener's address says.
    hosts: Option<Hosts>,
}

/// The settings of [`Http`] among those of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct HttpKeys<K> {
    pub(super) connections: K,
    pub(super) request_size: K,
    pub(super) request_timeout: K,
    pub(super) inbound: K,
    pub(super) undelivered: K,
    pub(super) cors: K,
    pub(super) hosts: K,
}

impl Http {
    /// Connections at a time.
    pub(crate) fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// The limits, with what a message may be.
    pub(crate) fn limits(&self, messages: proxy::Limits) -> Limits {
        let Self { request_bytes_max, request_timeout, inbound_bytes_max, undelivered_bytes_max, .. } = *self;
        Limits { request_bytes_max, request_timeout, inbound_bytes_max, undelivered_bytes_max, messages }
    }

    /// Which web pages of other sites may call.
    pub(crate) fn origins(&self) -> Origins {
        self.origins.clone()
    }

    /// Under which names a port at this address may be asked: one that only this machine reaches is asked by no other.
    pub(crate) fn hosts(&self, listener: SocketAddr) -> Hosts {
        let by_address = if listener.ip().is_loopback() { Hosts::Named(BTreeSet::new()) } else { Hosts::Any };
        self.hosts.clone().unwrap_or(by_address)
    }
}

impl<K: Keys> Reader<'_, K> {
    /// The settings of the HTTP port.
    pub(super) fn http(&mut self, keys: &HttpKeys<K>) -> Option<Http> {
        let connections_max = self.read(keys.connections, |text| within(value::count(text)?, 1, 1_000_000));
        let request_bytes_max = self.read(keys.request_size, bytes);
        let request_timeout = self.read(keys.request_timeout, |text| {
            within(value::duration(text)?, Duration::from_secs(1), Duration::from_secs(3600))
        });
        let inbound_bytes_max = self.read(keys.inbound, bytes);
        let undelivered_bytes_max = self.read(keys.undelivered, bytes);
        let origins = self.read_optional(keys.cors, str::parse::<Origins>);
        let hosts = self.read_optional(keys.hosts, str::parse::<Hosts>);
        Some(Http {
            connections_max: usize::try_from(connections_max?).ok()?,
            request_bytes_max: request_bytes_max?,
            request_timeout: request_timeout?,
            inbound_bytes_max: inbound_bytes_max?,
            undelivered_bytes_max: undelivered_bytes_max?,
            origins: origins?.unwrap_or_default(),
            hosts: hosts?,
        })
    }
}

fn bytes(text: &str) -> Result<usize, value::Expected> {
    let bytes = within(value::size(text)?, 1 << 20, 64 << 30)?;
    usize::try_from(bytes).map_err(|_| super::OUT_OF_BOUNDS)
}

pub(super) static CONNECTIONS: Setting = Setting {
    flag: "http-max-connections",
    value: "NUMBER",
    default: Some("10000"),
    bound: "1 to 1000000",
    effect: "Connections to the HTTP port at a time; more wait to be accepted",
    aliases: &[],
};

pub(super) static REQUEST_SIZE: Setting = Setting {
    flag: "http-max-request-size",
    value: "BYTES",
    default: Some("8MiB"),
    bound: "1MiB to 64GiB",
    effect: "Largest body of an HTTP request that sends messages; a larger one is answered 413",
    aliases: &[],
};

pub(super) static REQUEST_TIMEOUT: Setting = Setting {
    flag: "http-request-timeout",
    value: "DURATION",
    default: Some("30s"),
    bound: "1s to 1h",
    effect: "How long the body of such a request may take to come; a slower one is answered 408",
    aliases: &[],
};

pub(super) static INBOUND: Setting = Setting {
    flag: "http-max-inbound",
    value: "BYTES",
    default: Some("256MiB"),
    bound: "1MiB to 64GiB",
    effect: "Bytes of HTTP requests that are being read, of all connections together; beyond it they are answered 429",
    aliases: &[],
};

pub(super) static UNDELIVERED: Setting = Setting {
    flag: "http-max-undelivered",
    value: "BYTES",
    default: Some("256MiB"),
    bound: "1MiB to 64GiB",
    effect: "Bytes of received messages that HTTP clients have not taken yet; beyond it receives are answered 429",
    aliases: &[],
};

/// What web pages of other sites are named by.
pub(super) const ORIGINS: &str = "origins such as https://app.example.org,http://localhost:3000, or * for all";

pub(super) static CORS: Setting = Setting {
    flag: "http-cors",
    value: "ORIGINS",
    default: None,
    bound: ORIGINS,
    effect: "Web pages of other sites that may call the HTTP port (CORS); without it none may",
    aliases: &[],
};

pub(super) static HOSTS: Setting = Setting {
    flag: "http-hosts",
    value: "NAMES",
    default: None,
    bound: "host names such as mq.example.org, separated by commas, or * for all",
    effect: "Names under which the HTTP port may be asked besides localhost and addresses; without it all, but on a loopback address none (DNS rebinding)",
    aliases: &[],
};
