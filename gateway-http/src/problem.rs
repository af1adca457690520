//! Errors as RFC 9457 problem documents, and the one table from an admin error to an HTTP status.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use types::admin::AdminError;
use types::broker::{LookupError, Unavailable};
use types::topic::NameError;

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
}

/// The document on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Problem {
    /// A problem of the client's making: 400.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "invalid-request", detail: detail.into() }
    }

    /// The request contradicts what is there: 409.
    #[must_use]
    pub fn conflict(kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, kind, detail: detail.into() }
    }

    /// The document that says so.
    #[must_use]
    pub fn document(self) -> Document {
        Document {
            kind: format!("urn:gantry:problem:{}", self.kind),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, axum::Json(self.document())).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        response
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        let status = match error {
            NameError::System { .. } => StatusCode::FORBIDDEN,
            NameError::Blank { .. } | NameError::TooLong { .. } | NameError::Character { .. } => {
                StatusCode::BAD_REQUEST
            }
        };
        Self { status, kind: "invalid-name", detail: error.to_string() }
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let (status, kind) = match &error {
            AdminError::Exists { .. } => (StatusCode::CONFLICT, "exists"),
            AdminError::Lookup(lookup) => lookup_status(lookup),
            AdminError::QueueCount { .. } => (StatusCode::BAD_REQUEST, "queue-count"),
            AdminError::QueuesShrink { .. } => (StatusCode::CONFLICT, "queues-shrink"),
            AdminError::System { .. } => (StatusCode::FORBIDDEN, "system-name"),
            AdminError::Unavailable(unavailable) => unavailable_status(unavailable),
        };
        Self { status, kind, detail: error.to_string() }
    }
}

fn lookup_status(error: &LookupError) -> (StatusCode, &'static str) {
    match error {
        LookupError::TopicNotFound { .. } => (StatusCode::NOT_FOUND, "topic-not-found"),
        LookupError::GroupNotFound { .. } => (StatusCode::NOT_FOUND, "group-not-found"),
        LookupError::QueueNotFound { .. } => (StatusCode::NOT_FOUND, "queue-not-found"),
        LookupError::Unavailable(unavailable) => unavailable_status(unavailable),
    }
}

fn unavailable_status(error: &Unavailable) -> (StatusCode, &'static str) {
    match error {
        Unavailable::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, "busy"),
        Unavailable::DiskFull { .. } => (StatusCode::INSUFFICIENT_STORAGE, "disk-full"),
        Unavailable::StoreFailed { .. } => (StatusCode::SERVICE_UNAVAILABLE, "store-failed"),
        Unavailable::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        Unavailable::NotServed { .. } => (StatusCode::NOT_IMPLEMENTED, "not-served"),
        Unavailable::Remote { .. } => (StatusCode::BAD_GATEWAY, "broker-failed"),
        Unavailable::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, "timed-out"),
    }
}

#[cfg(test)]
mod tests {
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
    fn temporary_problems_say_when_to_retry() {
        let response = Problem::from(AdminError::Unavailable(Unavailable::Stopping)).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
    }
}
