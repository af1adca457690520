//! Web pages of other sites, where the operator lets them in.

use axum::Router;
use axum::extract::Request;
use http::header::{HeaderName, ORIGIN};
use proxy::Origins;
use tower::util::MapRequestLayer;

/// Where a browser says how the page's site and ours are related.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The routes with pages of these origins let in: what they ask is answered as if a page of our own had asked, and they can read all of
/// the answer. Without an origin nothing is added.
pub(crate) fn let_in(routes: Router, origins: Origins) -> Router {
    let Some(cors) = origins.layer() else { return routes };
    let as_our_own = move |mut request: Request| {
        if origins.allow(request.headers()) {
            // These two are what refuses other sites' pages.
            request.headers_mut().remove(ORIGIN);
            request.headers_mut().remove(SEC_FETCH_SITE);
        }
        request
    };
    routes.layer(MapRequestLayer::new(as_our_own)).layer(cors)
}
