//! One call: signed, posted, and what its answer means.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, StatusCode};
use reqwest::Url;
use reqwest::redirect::Policy;
use types::Timestamp;

use super::format::Content;
use super::network::{Allowed, Refused, Resolver};
use super::signature;
use super::subscription::Endpoint;

/// Longest wait for a connection; a webhook's time-out may end it sooner.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Of an answer's body so much is read, so that the connection can be used again; a longer one costs the connection.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Its body gets no longer than this once the status is there.
const ANSWER_BODY_WITHIN: Duration = Duration::from_secs(1);
/// Connections to a host that are kept for the next call.
const IDLE_MAX: usize = 16;
/// Shortest and longest time that an endpoint may ask to be left alone for: one that says 0 is not asked in a tight loop.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Longest text of an error that is kept.
const ERROR_CHARS_MAX: usize = 256;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 2xx.
    Delivered,
    /// Anything else, or no answer.
    Failed,
    /// 429, 502 or 504, or a 503 that says when to come again: the endpoint wants to be left alone for a while.
    /// It `is_attempt` when it does not say so: a 502 or 504 may then be due to the message, whose work ends the server behind a balancer.
    Throttled { retry_after: Option<Duration>, is_attempt: bool },
    /// 410.
    Gone,
}

/// What a call came to, with what people want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
    /// What came of its body, nothing of one that is longer than is read.
    pub(super) body: Bytes,
}

/// Who vouches for certificates of endpoints besides those whom the system trusts.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Vec<reqwest::Certificate>);

impl Authorities {
    /// Reads a file of certificates in PEM.
    ///
    /// # Errors
    /// There is none in it, or one that cannot be read.
    pub fn parse(pem: &str) -> Result<Self, String> {
        match reqwest::Certificate::from_pem_bundle(pem.as_bytes()) {
            Ok(certificates) if certificates.is_empty() => Err("it has no certificate in PEM".to_owned()),
            Ok(certificates) => Ok(Self(certificates)),
            Err(error) => Err(format!("a certificate cannot be read: {}", chain(&error))),
        }
    }
}

/// Calls endpoints.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    allowed: Arc<Allowed>,
}

impl Client {
    /// # Errors
    /// TLS cannot be set up.
    pub(super) fn new(allowed: Allowed, Authorities(authorities): Authorities) -> reqwest::Result<Self> {
        let allowed = Arc::new(allowed);
        let builder = || {
            reqwest::Client::builder()
                // An endpoint that is elsewhere says so to its owner, not to us: the other address was checked by nobody.
                .redirect(Policy::none())
                // A proxy of the environment would resolve names itself.
                .no_proxy()
                .dns_resolver(Resolver(allowed.clone()))
                .connect_timeout(CONNECT_WITHIN)
                .pool_max_idle_per_host(IDLE_MAX)
        };
        let http = builder().tls_certs_merge(authorities.clone()).build().or_else(|error| {
            // A host without certificates, a bare container for one, is no reason to serve nothing.
            tracing::warn!(%error, "the system has no CA certificates: install ca-certificates, or webhooks to https fail but for --webhook-ca");
            builder().tls_certs_only(authorities).build()
        })?;
        Ok(Self { http, allowed })
    }

    /// Whether a URL may be called, as far as that can be said before its host is resolved.
    ///
    /// # Errors
    /// Its host is an address that may not.
    pub(super) fn check(&self, url: &Url) -> Result<(), Refused> {
        self.allowed.check_literal(url)
    }

    /// Posts the content, which may take `within`; `now` is what is signed.
    pub(super) async fn post(&self, endpoint: &Endpoint, content: Content, within: Duration, now: Timestamp) -> Answer {
        let failed = |error: String| {
            let error = Some(error.chars().take(ERROR_CHARS_MAX).collect());
            Answer { outcome: Outcome::Failed, status: None, error, body: Bytes::new() }
        };
        if let Err(refused) = self.check(&endpoint.url) {
            return failed(refused.to_string());
        }
        let headers = match signed(endpoint, &content, now) {
            Ok(headers) => headers,
            Err(error) => return failed(error.to_string()),
        };
        let request = self.http.post(endpoint.url.clone()).headers(headers).timeout(within);
        match request.body(content.body).send().await {
            Ok(response) => {
                let answer = judge(response.status(), response.headers(), now);
                let body = tokio::time::timeout(ANSWER_BODY_WITHIN, read(response)).await;
                Answer { body: body.unwrap_or_default(), ..answer }
            }
            Err(error) => failed(chain(&error.without_url())),
        }
    }
}

fn signed(
    endpoint: &Endpoint,
    content: &Content,
    now: Timestamp,
) -> Result<HeaderMap, http::header::InvalidHeaderValue> {
    let mut headers = content.headers.clone();
    let seconds = now.0.div_euclid(1000);
    let signature = signature::header(&endpoint.secrets, &content.id, seconds, &content.body);
    headers.insert(ID, HeaderValue::from_str(&content.id)?);
    headers.insert(TIMESTAMP, HeaderValue::from(seconds));
    headers.insert(SIGNATURE, HeaderValue::from_str(&signature)?);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("gantry/", env!("CARGO_PKG_VERSION"))));
    Ok(headers)
}

/// What an answer's head means.
fn judge(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Answer {
    let retry_after = headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, now));
    let throttled = |is_attempt| Outcome::Throttled { retry_after, is_attempt };
    let outcome = match status {
        _ if status.is_success() => Outcome::Delivered,
        StatusCode::GONE => Outcome::Gone,
        StatusCode::TOO_MANY_REQUESTS => throttled(false),
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => throttled(retry_after.is_none()),
        StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => throttled(false),
        _ => Outcome::Failed,
    };
    let error = match outcome {
        Outcome::Delivered => None,
        _ if status.is_redirection() => Some(format!("status {status}: redirects are not followed")),
        _ => Some(format!("status {status}")),
    };
    Answer { outcome, status: Some(status.as_u16()), error, body: Bytes::new() }
}

/// How long from now; seconds, or a date as HTTP has it.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let wait = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
            Timestamp(at.as_millisecond()).since(now)
        }
    };
    Some(wait.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX))
}

/// The body, if it is whole and not too long.
async fn read(mut response: reqwest::Response) -> Bytes {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_BYTES_MAX => body.extend_from_slice(&chunk),
            Ok(None) => return body.freeze(),
            Ok(Some(_)) | Err(_) => return Bytes::new(),
        }
    }
}

/// An error with its causes, of which the last says most.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
