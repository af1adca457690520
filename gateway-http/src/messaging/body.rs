//! Reading a request's body, within every bound.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use proxy::Code;
use serde::de::DeserializeOwned;

use super::Service;
use crate::extract;
use crate::limits::Share;
use crate::problem::Problem;
use crate::router::BODY_BYTES_MAX;

/// A body, whose bytes count as inbound as long as this lives.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) bytes: Bytes,
    _share: Share,
}

impl Service {
    /// The whole body of a request that sends.
    ///
    /// # Errors
    /// 413 over the limit (before it is read, when its length is told), 408 when it takes too long, 429 when all requests
    /// together hold too much, 400 when it breaks off.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Inbound, Problem> {
        self.read_at_most(self.limits.request_bytes_max, headers, body).await
    }

    /// The same of a body with a limit of its own.
    async fn read_at_most(&self, bytes_max: usize, headers: &HeaderMap, body: Body) -> Result<Inbound, Problem> {
        let told = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if let Some(bytes) = told {
            check_length(bytes, bytes_max)?;
        }
        let limit = self.limits.request_timeout;
        tokio::time::timeout(limit, self.read_all(bytes_max, body)).await.unwrap_or_else(|_| {
            let detail = format!("the body did not come within {} ms", limit.as_millis());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", detail))
        })
    }

    async fn read_all(&self, bytes_max: usize, mut body: Body) -> Result<Inbound, Problem> {
        let mut share = self.inbound.share();
        let mut whole = Bytes::new();
        let mut joined = BytesMut::new();
        // Who asks for more after the last piece waits to hear that there is none.
        while !body.is_end_stream()
            && let Some(frame) = body.frame().await
        {
            let frame = frame.map_err(|error| Problem::invalid(format!("the body breaks off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            check_length(whole.len() + joined.len() + data.len(), bytes_max)?;
            if !share.try_add(data.len()) {
                return Err(self.too_many_requests());
            }
            // Most bodies come in one piece, which needs no copy.
            if whole.is_empty() && joined.is_empty() {
                whole = data;
                continue;
            }
            joined.extend_from_slice(&std::mem::take(&mut whole));
            joined.extend_from_slice(&data);
        }
        let bytes = if joined.is_empty() { whole } else { joined.freeze() };
        Ok(Inbound { bytes, _share: share })
    }

    fn too_many_requests(&self) -> Problem {
        let detail = format!("requests that are being read hold {} bytes, which is the limit", self.inbound.max());
        Problem::busy(detail)
    }
}

fn check_length(bytes: usize, bytes_max: usize) -> Result<(), Problem> {
    if bytes <= bytes_max {
        return Ok(());
    }
    let detail = format!("the request's body is {bytes} bytes or more, limit is {bytes_max}");
    let code = Some(Code::MessageBodyTooLarge);
    Err(Problem { code, ..Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "request-too-large", detail) })
}

/// JSON, within the same bounds of time and of all bodies together.
impl<T: DeserializeOwned> FromRequest<Service> for extract::Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, service: &Service) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let inbound = service.read_at_most(BODY_BYTES_MAX, &parts.headers, body).await?;
        Self::parse(Request::from_parts(parts, Body::from(inbound.bytes.clone()))).await
    }
}
