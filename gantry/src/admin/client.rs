//! One HTTP/1 request to the server's admin API, over a connection of its own.

use std::time::Duration;

use gateway_http::problem::Document;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpStream;

/// Longest answer: 100,000 topics fit.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest wait for the whole exchange; the server gives up sooner.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The server that is asked.
#[derive(Debug)]
pub(super) struct Client {
    authority: String,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The address is not one that can be asked.
    #[error("--server is {text:?}, expected a URL such as http://127.0.0.1:8082")]
    Server {
        /// What was given.
        text: String,
    },
    /// Nobody answers there.
    #[error("cannot reach a server at {authority}: {detail}; start it with gantry local, or name it with --server")]
    Unreachable {
        /// Where.
        authority: String,
        /// What the system said.
        detail: String,
    },
    /// It answered something that is not the admin API's.
    #[error("{authority} answered {status}, but nothing that gantry understands; is it the HTTP port?")]
    Foreign {
        /// Where.
        authority: String,
        /// Its status.
        status: StatusCode,
    },
    /// It took too long.
    #[error("{authority} did not answer within {} s", TIMEOUT.as_secs())]
    TimedOut {
        /// Where.
        authority: String,
    },
    /// It refused.
    #[error("{detail}")]
    Refused {
        /// Why.
        detail: String,
    },
}

impl Client {
    /// For the server at `url`.
    pub(super) fn new(url: &str) -> Result<Self, Error> {
        let uri: Option<Uri> = url.parse().ok();
        let authority = uri
            .filter(|uri| uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/"))
            .and_then(|uri| Some(format!("{}:{}", uri.host()?, uri.port_u16().unwrap_or(80))));
        authority.map(|authority| Self { authority }).ok_or_else(|| Error::Server { text: url.to_owned() })
    }

    /// Sends `body` to a path below `/v1/admin/` and answers the JSON of the reply; `Null` when it is empty.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<Value, Error> {
        let exchange = self.exchange(method, path, body);
        let (status, bytes) = tokio::time::timeout(TIMEOUT, exchange)
            .await
            .map_err(|_| Error::TimedOut { authority: self.authority.clone() })??;
        if !status.is_success() {
            let document: Result<Document, _> = serde_json::from_slice(&bytes);
            return Err(match document {
                Ok(document) => Error::Refused { detail: document.detail },
                Err(_) => Error::Foreign { authority: self.authority.clone(), status },
            });
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| Error::Foreign { authority: self.authority.clone(), status })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<(StatusCode, Bytes), Error> {
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(&error))?;
        // The connection's own end carries nothing that the answer does not say.
        tokio::spawn(async move { drop(connection.await) });
        let body = body.map_or_else(Vec::new, |body| serde_json::to_vec(body).expect("plain data is JSON"));
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1/admin/{path}"))
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .expect("a path of percent-encoded segments is valid");
        let response = sender.send_request(request).await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = body.map_err(|error| self.unreachable(&error))?.to_bytes();
        Ok((status, bytes))
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Unreachable { authority: self.authority.clone(), detail: error.to_string() }
    }
}

/// One segment of a path, with all but unreserved characters percent-encoded.
pub(super) fn segment(name: &str) -> String {
    name.bytes().fold(String::with_capacity(name.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_plain_http_urls() {
        assert_eq!(Client::new("http://127.0.0.1:8082").expect("valid").authority, "127.0.0.1:8082");
        assert_eq!(Client::new("http://[::1]:8082/").expect("valid").authority, "[::1]:8082");
        assert_eq!(Client::new("http://mq").expect("valid").authority, "mq:80");
        for bad in ["127.0.0.1:8082", "https://mq", "http://", "http://mq/path"] {
            assert!(Client::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_become_one_path_segment() {
        assert_eq!(segment("%RETRY%g|t_1-a"), "%25RETRY%25g%7Ct_1-a");
        assert_eq!(segment("a/b c"), "a%2Fb%20c");
    }
}
