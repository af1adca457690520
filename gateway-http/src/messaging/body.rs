//! Reading the body of a request that sends, within every bound.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use proxy::Code;

use super::Service;
use crate::limits::Share;
use crate::problem::Problem;

/// A body, whose bytes count as inbound as long as this lives.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) bytes: Bytes,
    _share: Share,
}

impl Service {
    /// The whole body.
    ///
    /// # Errors
    /// 413 over the limit (before it is read, when its length is told), 408 when it takes too long, 429 when all requests
    /// together hold too much, 400 when it breaks off.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Inbound, Problem> {
        let told = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if let Some(bytes) = told {
            self.check_length(bytes)?;
        }
        let limit = self.limits.request_timeout;
        tokio::time::timeout(limit, self.read_all(body)).await.unwrap_or_else(|_| {
            let detail = format!("the body did not come within {} ms", limit.as_millis());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", detail))
        })
    }

    async fn read_all(&self, mut body: Body) -> Result<Inbound, Problem> {
        let mut share = self.inbound.share();
        let mut whole = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Problem::invalid(format!("the body breaks off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            self.check_length(whole.len() + joined.len() + data.len())?;
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

    fn check_length(&self, bytes: usize) -> Result<(), Problem> {
        let bytes_max = self.limits.request_bytes_max;
        if bytes <= bytes_max {
            return Ok(());
        }
        let detail = format!("the request's body is {bytes} bytes or more, limit is {bytes_max}");
        let code = Some(Code::MessageBodyTooLarge);
        Err(Problem { code, ..Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "request-too-large", detail) })
    }

    fn too_many_requests(&self) -> Problem {
        let detail = format!("requests that are being read hold {} bytes, which is the limit", self.inbound.max());
        let code = Some(Code::TooManyRequests);
        Problem { code, ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail) }
    }
}
