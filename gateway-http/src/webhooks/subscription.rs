//! A webhook or check URL whose every value is valid, and what is wrong with one that is not.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use proxy::Code;
use proxy::validate::Invalid;
use reqwest::Url;
use types::{Filter, GroupName, TopicName};

use super::signature::Secret;
use super::views::checks::NewCheckUrl;
use super::views::{Format, NewWebhook, Order};
use crate::messaging::filter;
use crate::problem::Problem;
use crate::text;

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;
/// Most secrets: the new one and the one that it takes the place of.
const SECRETS_MAX: usize = 2;
const CONCURRENCY_MAX: u32 = 64;
const RATE_MIN: f64 = 0.1;
const RATE_MAX: f64 = 10_000.0;
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Most waits of a retry schedule.
const RETRIES_MAX: usize = 16;
/// Longest wait. Source: the longest invisible time (`maxInvisibleTimeMills`).
const RETRY_MAX: Duration = Duration::from_secs(12 * 3600);

/// See the module's head.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) topic: TopicName,
    pub(super) group: GroupName,
    pub(super) filter: Arc<Filter>,
    pub(super) endpoint: Endpoint,
    pub(super) format: Format,
    pub(super) order: Order,
    /// Calls a second.
    pub(super) rate: Option<f64>,
    pub(super) retry: Vec<Duration>,
}

/// Whom a topic's producers have to say for them what becomes of half messages.
#[derive(Debug)]
pub(super) struct CheckUrl {
    pub(super) topic: TopicName,
    pub(super) endpoint: Endpoint,
}

/// What is called, and how.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) url: Url,
    pub(super) secrets: Vec<Secret>,
    /// Calls at a time from one gateway.
    pub(super) concurrency: u32,
    pub(super) timeout: Duration,
    pub(super) is_enabled: bool,
}

impl Subscription {
    /// Checks what somebody wants.
    ///
    /// # Errors
    /// A problem that names the field, its value and its limit; never a secret.
    pub(super) fn parse(webhook: &NewWebhook) -> Result<Self, Problem> {
        let (format, order) = (webhook.format, webhook.order);
        if format == Format::JsonBatch && order != Order::None {
            return Err(Problem::invalid("format is \"json-batch\", which needs order \"none\""));
        }
        let filter = filter(webhook.filter.as_deref(), webhook.sql.as_deref())?;
        Ok(Self {
            topic: TopicName::for_client(&webhook.topic).map_err(Invalid::Topic)?,
            group: GroupName::for_client(&webhook.group).map_err(Invalid::Group)?,
            filter: Arc::new(filter),
            endpoint: Endpoint {
                url: url(&webhook.url)?,
                secrets: secrets(&webhook.secrets)?,
                concurrency: concurrency(webhook.concurrency)?,
                timeout: timeout(&webhook.timeout)?,
                is_enabled: webhook.enabled,
            },
            format,
            order,
            rate: rate(webhook.rate)?,
            retry: retry(&webhook.retry)?,
        })
    }
}

impl CheckUrl {
    /// Checks what somebody wants.
    ///
    /// # Errors
    /// As those of [`Subscription::parse`].
    pub(super) fn parse(check_url: &NewCheckUrl) -> Result<Self, Problem> {
        Ok(Self {
            topic: TopicName::for_client(&check_url.topic).map_err(Invalid::Topic)?,
            endpoint: Endpoint {
                url: url(&check_url.url)?,
                secrets: secrets(&check_url.secrets)?,
                concurrency: concurrency(check_url.concurrency)?,
                timeout: timeout(&check_url.timeout)?,
                is_enabled: check_url.enabled,
            },
        })
    }
}

fn url(text: &str) -> Result<Url, Problem> {
    let bad = |why: &str| {
        // What stands behind the host may be secret, and so may what stands before it.
        let end = if text.contains('@') { "/?#@" } else { "?#" };
        let shown: String = text.chars().take(64).take_while(|c| !end.contains(*c)).collect();
        Problem::invalid(format!("url is {shown:?}, {why}"))
    };
    if text.len() > URL_BYTES_MAX {
        return Err(bad(&format!("{} bytes, limit is {URL_BYTES_MAX}", text.len())));
    }
    let url = Url::parse(text).map_err(|error| bad(&format!("which cannot be read: {error}")))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(bad("expected https or http"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a user or password in it would be shown; sign instead"));
    }
    if url.fragment().is_some() {
        return Err(bad("a fragment is never sent"));
    }
    Ok(url)
}

fn secrets(texts: &[String]) -> Result<Vec<Secret>, Problem> {
    if !(1..=SECRETS_MAX).contains(&texts.len()) {
        let detail = format!("secrets has {} entries, allowed are 1 to {SECRETS_MAX}", texts.len());
        return Err(Problem::invalid(detail));
    }
    let parsed = texts.iter().enumerate().map(|(index, text)| {
        Secret::parse(text).map_err(|expected| Problem::invalid(format!("secrets[{index}] is not {expected}")))
    });
    parsed.collect()
}

fn rate(rate: f64) -> Result<Option<f64>, Problem> {
    if rate == 0.0 {
        return Ok(None);
    }
    if (RATE_MIN..=RATE_MAX).contains(&rate) {
        return Ok(Some(rate));
    }
    Err(Problem::invalid(format!("rate is {rate}, allowed are 0 and {RATE_MIN} to {RATE_MAX}")))
}

fn retry(texts: &[String]) -> Result<Vec<Duration>, Problem> {
    if texts.len() > RETRIES_MAX {
        return Err(Problem::invalid(format!("retry has {} entries, limit is {RETRIES_MAX}", texts.len())));
    }
    let one = |(index, text): (usize, &String)| length(&format!("retry[{index}]"), text, Duration::ZERO, RETRY_MAX);
    texts.iter().enumerate().map(one).collect()
}

fn timeout(text: &str) -> Result<Duration, Problem> {
    length("timeout", text, TIMEOUT_MIN, TIMEOUT_MAX)
}

fn length(field: &str, text: &str, min: Duration, max: Duration) -> Result<Duration, Problem> {
    let length = text::length(field, text)?;
    if (min..=max).contains(&length) {
        return Ok(length);
    }
    let (min, max) = (min.as_secs(), max.as_secs());
    Err(Problem::invalid(format!("{field} is {text:?}, allowed are {min}s to {max}s")))
}

fn concurrency(value: u32) -> Result<u32, Problem> {
    if (1..=CONCURRENCY_MAX).contains(&value) {
        return Ok(value);
    }
    Err(Problem::invalid(format!("concurrency is {value}, allowed are 1 to {CONCURRENCY_MAX}")))
}

/// A webhook that the caller knows by its id, and nobody else.
pub(super) fn not_found(id: &str) -> Problem {
    missing(id, "webhook-not-found", "webhook")
}

/// The same of a check URL.
pub(super) fn check_url_not_found(id: &str) -> Problem {
    missing(id, "check-url-not-found", "check URL")
}

fn missing(id: &str, kind: &'static str, what: &str) -> Problem {
    let shown: String = id.chars().take(64).collect();
    let code = Some(Code::NotFound);
    Problem { code, ..Problem::new(StatusCode::NOT_FOUND, kind, format!("there is no {what} {shown:?}")) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A valid one.
    pub(in crate::webhooks) fn webhook() -> NewWebhook {
        let json = serde_json::json!({"topic": "orders", "group": "hook", "url": "https://example.org/in",
            "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]});
        serde_json::from_value(json).expect("valid")
    }

    fn refusal(change: impl FnOnce(&mut NewWebhook)) -> String {
        let mut webhook = webhook();
        change(&mut webhook);
        Subscription::parse(&webhook).expect_err("refused").detail
    }

    #[test]
    fn defaults_are_valid() {
        let parsed = Subscription::parse(&webhook()).expect("valid");
        assert_eq!(
            (parsed.endpoint.concurrency, parsed.endpoint.timeout, parsed.rate),
            (8, Duration::from_secs(15), None)
        );
        assert!(parsed.endpoint.is_enabled && parsed.retry.is_empty());
    }

    #[test]
    fn a_refusal_names_field_value_and_limit() {
        assert_eq!(refusal(|w| w.concurrency = 65), "concurrency is 65, allowed are 1 to 64");
        assert_eq!(refusal(|w| w.rate = 0.01), "rate is 0.01, allowed are 0 and 0.1 to 10000");
        assert!(refusal(|w| w.rate = f64::NAN).starts_with("rate is NaN"));
        assert_eq!(refusal(|w| w.timeout = "2m".to_owned()), "timeout is \"2m\", allowed are 1s to 60s");
        assert_eq!(refusal(|w| w.retry = vec!["13h".to_owned()]), "retry[0] is \"13h\", allowed are 0s to 43200s");
        assert_eq!(refusal(|w| w.retry = vec!["1s".to_owned(); 17]), "retry has 17 entries, limit is 16");
        assert_eq!(refusal(|w| w.secrets.clear()), "secrets has 0 entries, allowed are 1 to 2");
        assert_eq!(refusal(|w| w.format = Format::JsonBatch), "format is \"json-batch\", which needs order \"none\"");
        let both = refusal(|w| (w.filter, w.sql) = (Some("a".to_owned()), Some("a = 1".to_owned())));
        assert_eq!(both, "filter and sql cannot be given together");
        assert!(refusal(|w| w.topic = "a b".to_owned()).contains("\"a b\""));
    }

    #[test]
    fn a_url_has_no_user_no_fragment_and_a_known_scheme() {
        let refused = |url: &str| refusal(|webhook| webhook.url = url.to_owned());
        assert!(refused("ftp://example.org/").ends_with("expected https or http"));
        assert!(refused("https://example.org/#a").ends_with("a fragment is never sent"));
        let with_password = refused("https://u:hunter2@example.org/");
        assert!(with_password.contains("sign instead") && !with_password.contains("hunter2"), "{with_password}");
        assert!(refused(&format!("https://example.org/{}", "a".repeat(2048))).ends_with("bytes, limit is 2048"));
    }

    #[test]
    fn a_refusal_and_a_debug_text_hold_no_secret() {
        let shown = refusal(|webhook| webhook.secrets = vec!["whsec_hunter2".to_owned()]);
        assert!(!shown.contains("hunter2") && shown.starts_with("secrets[0] is not"), "{shown}");
        let shown = format!("{:?} {:?}", webhook(), Subscription::parse(&webhook()).expect("valid"));
        assert!(!shown.contains("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "{shown}");
    }

    #[test]
    fn a_change_takes_the_place_of_the_other_filter() {
        let change = |json| serde_json::from_value::<super::super::views::ChangeWebhook>(json).expect("valid");
        let tagged = change(serde_json::json!({"filter": "a"})).applied_to(webhook());
        let asked = change(serde_json::json!({"sql": "x = 1", "enabled": false})).applied_to(tagged);
        assert_eq!((asked.filter.as_deref(), asked.sql.as_deref(), asked.enabled), (None, Some("x = 1"), false));
        assert_eq!(asked.url, webhook().url);
    }
}
