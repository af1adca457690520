//! Errors as RFC 9457 problem documents. Which error is which status stands in `problem/status.rs`.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use proxy::Code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::views::messaging::Sent;

mod status;

/// The document's media type.
pub const MEDIA_TYPE: &str = "application/problem+json";
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// What went wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The answer's status.
    pub status: StatusCode,
    /// Names the kind of problem, for programs; the document's `type` is `urn:gantry:problem:<kind>`.
    pub kind: &'static str,
    /// What exactly, for people; says the remedy where there is one.
    pub detail: String,
    /// What a gRPC client would be told, where gRPC knows the problem.
    pub code: Option<Code>,
    /// What was stored all the same.
    pub stored: Option<Box<Sent>>,
}

/// The document on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(title = "Problem")]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// `urn:gantry:problem:<kind>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status as a number.
    pub status: u16,
    /// What exactly.
    pub detail: String,
    /// RocketMQ's number of the problem, as gRPC clients get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_name: Option<String>,
    /// The message that was stored all the same; it got at least as far as is said here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<Box<Sent>>,
}

impl Problem {
    /// A problem that only HTTP knows.
    #[must_use]
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), code: None, stored: None }
    }

    /// A problem of the client's making: 400.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        let code = Some(Code::BadRequest);
        Self { code, ..Self::new(StatusCode::BAD_REQUEST, "invalid-request", detail) }
    }

    /// A bound is reached: 429.
    #[must_use]
    pub fn busy(detail: impl Into<String>) -> Self {
        let code = Some(Code::TooManyRequests);
        Self { code, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail) }
    }

    /// A body that cannot be read as JSON: 400, or 422 if it is JSON of another form.
    #[must_use]
    pub fn invalid_body(error: &serde_json::Error, detail: impl Into<String>) -> Self {
        let status = if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        Self { code: Some(Code::BadRequest), ..Self::new(status, "invalid-body", detail) }
    }

    /// The request contradicts what is there: 409.
    #[must_use]
    pub fn conflict(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, detail)
    }

    /// The document that says so.
    #[must_use]
    pub fn document(self) -> Document {
        Document {
            kind: format!("urn:gantry:problem:{}", self.kind),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code.map(i32::from),
            code_name: self.code.map(|code| code.as_str_name().to_owned()),
            stored: self.stored,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, axum::Json(self.document())).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        with_retry_after(response)
    }
}

/// Whether to come again may help.
pub(crate) fn is_temporary(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}

/// An answer that says when to come again, if its status is one that passes.
pub(crate) fn with_retry_after(mut response: Response) -> Response {
    if is_temporary(response.status()) {
        response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    response
}

#[cfg(test)]
mod tests {
    use types::admin::AdminError;
    use types::broker::{SendError, Unavailable};

    use super::*;

    #[test]
    fn documents_name_status_and_detail() {
        let problem = Problem::from(AdminError::QueueCount { queues: 2000 });
        let document = serde_json::to_value(problem.document()).expect("plain data");
        assert_eq!(
            document,
            serde_json::json!({
                "type": "urn:gantry:problem:queue-count",
                "title": "Bad Request",
                "status": 400,
                "detail": "2000 queues asked for, allowed are 1 to 1024",
            }),
        );
    }

    #[test]
    fn documents_carry_rocketmqs_code() {
        let document = Problem::from(SendError::BodyTooLarge { bytes: 5, bytes_max: 4 }).document();
        assert_eq!((document.status, document.code), (413, Some(Code::MessageBodyTooLarge.into())));
        assert_eq!(document.code_name.as_deref(), Some("MESSAGE_BODY_TOO_LARGE"));
    }

    #[test]
    fn temporary_problems_say_when_to_retry() {
        let response = Problem::from(AdminError::Unavailable(Unavailable::Stopping)).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
    }
}
