//! Which web pages of other sites may call a port, and what their browsers are told of it (CORS, the Fetch standard).

use std::str::FromStr;
use std::time::Duration;

use http::Method;
use http::header::{HeaderMap, HeaderValue, ORIGIN};
use http::uri::Authority;
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

/// How long browsers may remember what a preflight was answered.
const PREFLIGHT_KEPT: Duration = Duration::from_secs(600);
const EXPECTED: &str = "origins as browsers write them, such as https://app.example.org,http://localhost:3000 (lower case, no path, \
                        no port 80 of http and 443 of https), or * for all";

/// Web pages of other sites that may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// None: what this port answers is for its own pages and for programs.
    #[default]
    None,
    /// Those of these origins, written as browsers write them.
    Listed(Vec<HeaderValue>),
    /// All.
    Any,
}

impl FromStr for Origins {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        text.split(',').map(|origin| parse(origin.trim()).ok_or(EXPECTED)).collect::<Result<_, _>>().map(Self::Listed)
    }
}

/// An origin in the one form in which it is sent: one in any other would never be met.
fn parse(origin: &str) -> Option<HeaderValue> {
    let (scheme, rest) = origin.split_once("://")?;
    let own_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority: Authority = rest.parse().ok()?;
    let is_plain = !rest.contains('@') && !rest.ends_with(':') && !rest.bytes().any(|byte| byte.is_ascii_uppercase());
    let is_as_sent = is_plain && !authority.host().is_empty() && authority.port_u16() != Some(own_port);
    if is_as_sent { HeaderValue::from_str(origin).ok() } else { None }
}

impl Origins {
    /// Whether it is a page of theirs that asks with these headers; with [`Origins::Any`] whoever asks.
    #[must_use]
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::None => false,
            Self::Listed(origins) => headers.get(ORIGIN).is_some_and(|origin| origins.contains(origin)),
            Self::Any => true,
        }
    }

    /// What answers browsers for them; `None` when none may call.
    #[must_use]
    pub fn layer(&self) -> Option<CorsLayer> {
        let allowed = match self {
            Self::None => return None,
            Self::Listed(listed) => AllowOrigin::list(listed.clone()),
            Self::Any => AllowOrigin::any(),
        };
        let cors = CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
            // All that are asked for, by name, as a message's properties have names of their own: `*` would not stand for `Authorization`.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(Any)
            .max_age(PREFLIGHT_KEPT);
        Some(cors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_taken_as_browsers_send_them_and_no_other_way() {
        assert_eq!("*".parse(), Ok(Origins::Any));
        let two = "https://app.example.org, http://localhost:3000,http://[::1]:8080";
        let listed = ["https://app.example.org", "http://localhost:3000", "http://[::1]:8080"];
        assert_eq!(two.parse(), Ok(Origins::Listed(listed.map(HeaderValue::from_static).into())));
        for bad in [
            "",
            "app.example.org",
            "https://app.example.org/",
            "https://app.example.org/path",
            "https://App.example.org",
            "https://app.example.org:443",
            "http://app.example.org:80",
            "https://app.example.org:",
            "https://user@app.example.org",
            "ftp://app.example.org",
            "null",
            "https://a.example,*",
            "https://",
        ] {
            assert_eq!(bad.parse::<Origins>(), Err(EXPECTED), "{bad:?}");
        }
    }
}
