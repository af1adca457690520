//! Web pages of other sites, where the operator lets them in.

use axum::extract::Request;
use http::header::{HeaderName, ORIGIN};
use proxy::Origins;

/// Where a browser says how the page's site and ours are related.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Makes what pages of these origins ask look as if a page of our own had asked.
pub(crate) fn as_our_own(origins: Origins) -> impl Fn(Request) -> Request + Clone + Send + 'static {
    move |mut request| {
        if origins.allow(request.headers()) {
            // These two are what refuses other sites' pages.
            request.headers_mut().remove(ORIGIN);
            request.headers_mut().remove(SEC_FETCH_SITE);
        }
        request
    }
}
