//! The calls of `/v1/webhooks`; those of `/v1/check-urls` are [`checks`].

mod checks;

use std::time::Duration;

use axum::extract::{FromRequest, Request, State};
use axum::{Json, Router};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{HeaderName, StatusCode};
use serde::de::DeserializeOwned;
use types::broker::{LookupError, PopError};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::client::Answer;
use super::format::Content;
use super::registry::{Entry, Record, Wanted, Work};
use super::subscription::{Subscription, not_found};
use super::views::{ChangeWebhook, Deliveries, DeliveryView, NewWebhook, Order, Webhook, WebhookList};
use super::{Shared, Webhooks};
use crate::extract::{Body, Named};
use crate::problem::{Document, Problem};

/// Tells a test call from messages.
const TEST: HeaderName = HeaderName::from_static("gantry-webhook-test");
/// Longest test call: who asks for it is answered in time.
const TEST_WITHIN: Duration = Duration::from_secs(10);
const TEST_BODY: &[u8] = b"{\"test\": true}";

/// The webhooks, where they are delivered.
type Service = Option<Webhooks>;

/// The routes.
pub(crate) fn routes(webhooks: Service) -> Router {
    let (routes, _) = described().split_for_parts();
    routes.with_state(webhooks)
}

/// The same with what describes them.
pub(crate) fn described() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(show, change, delete))
        .routes(routes!(deliveries))
        .routes(routes!(test))
        .merge(checks::described())
}

/// JSON, whose length and time the layers round these routes bound.
impl<T: DeserializeOwned> FromRequest<Service> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Service) -> Result<Self, Problem> {
        Self::parse(request).await
    }
}

fn shared(service: &Service) -> Result<&Shared, Problem> {
    let detail = "this gateway delivers no webhooks: it was started without --webhook-key-file";
    let off = || Problem::new(StatusCode::NOT_IMPLEMENTED, "webhooks-off", detail);
    service.as_ref().map(|webhooks| &*webhooks.0).ok_or_else(off)
}

impl Shared {
    fn find(&self, id: &str) -> Result<(Entry, NewWebhook), Problem> {
        let entry = self.look(|registry| registry.get(id).cloned())?.ok_or_else(|| not_found(id))?;
        match entry.record.wanted.clone() {
            Some(Wanted::Webhook(webhook)) => Ok((entry, webhook)),
            Some(Wanted::CheckUrl(_)) | None => Err(not_found(id)),
        }
    }

    /// Checks what somebody wants.
    async fn check(&self, wanted: &Wanted) -> Result<(), Problem> {
        let work = Work::parse(wanted)?;
        let url = &work.endpoint().url;
        self.client.check(url).map_err(|refused| Problem::invalid(format!("url is refused: {refused}")))?;
        match work {
            // One that is disabled delivers nothing: its owner may stop what the brokers do not order any longer.
            Work::Deliver(subscription) if subscription.order == Order::Fifo && subscription.endpoint.is_enabled => {
                self.check_order(&subscription).await
            }
            Work::Deliver(_) | Work::Ask(_) => Ok(()),
        }
    }

    /// Refuses an order that the brokers would not keep.
    async fn check_order(&self, subscription: &Subscription) -> Result<(), Problem> {
        // Brokers that cannot be asked what there is say nothing of this either.
        self.look(|_| ())?;
        let Subscription { topic, group, .. } = subscription;
        match self.messaging.broker().orders_message_groups(topic, group).await {
            // A topic that is not there yet has no brokers to ask.
            Ok(true) | Err(LookupError::TopicNotFound { .. }) => Ok(()),
            Ok(false) => {
                let detail = format!(
                    "the brokers of topic {topic} keep the order of message groups only for a consumer group that consumes in order: \
                     let group {group} do that (consumeMessageOrderly), or take order \"none\""
                );
                Err(Problem::conflict("group-not-ordered", detail))
            }
            Err(error) => Err(PopError::from(error).into()),
        }
    }

    /// Makes one, and says its id, which begins so.
    async fn create(&self, prefix: &str, wanted: Wanted) -> Result<String, Problem> {
        self.check(&wanted).await?;
        let random = || self.env.random.next();
        let id = format!("{prefix}_{:016x}{:016x}", random(), random());
        let none =
            Record { id, since: None, revision: 0, tie: 0, changed_at_ms: 0, wanted: None, disabled_because: None };
        self.write(self.changed(&none, Some(wanted), None), none.revision).await?;
        Ok(none.id)
    }

    async fn change(&self, record: &Record, wanted: Wanted) -> Result<(), Problem> {
        self.check(&wanted).await?;
        let is_disabled = wanted.clone().disabled().is_none();
        let disabled_because = record.disabled_because.clone().filter(|_| is_disabled);
        self.write(self.changed(record, Some(wanted), disabled_because), record.revision).await
    }

    async fn delete(&self, record: &Record) -> Result<StatusCode, Problem> {
        self.write(self.changed(record, None, None), record.revision).await?;
        Ok(StatusCode::NO_CONTENT)
    }

    fn shown(&self, id: &str) -> Result<Json<Webhook>, Problem> {
        let (entry, _) = self.find(id)?;
        entry.webhook().map(Json).ok_or_else(|| not_found(id))
    }
}

/// Create a webhook
#[utoipa::path(post, path = "/v1/webhooks", operation_id = "createWebhook", tag = "webhooks",
    request_body(content = NewWebhook),
    responses((status = 201, description = "All gateways deliver it within seconds", body = Webhook),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn create(
    State(service): State<Service>,
    Body(webhook): Body<NewWebhook>,
) -> Result<(StatusCode, Json<Webhook>), Problem> {
    let shared = shared(&service)?;
    let id = shared.create("wh", Wanted::Webhook(webhook)).await?;
    Ok((StatusCode::CREATED, shared.shown(&id)?))
}

/// List webhooks
#[utoipa::path(get, path = "/v1/webhooks", operation_id = "listWebhooks", tag = "webhooks",
    responses((status = 200, description = "All of them", body = WebhookList),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn list(State(service): State<Service>) -> Result<Json<WebhookList>, Problem> {
    let webhooks =
        shared(&service)?.look(|registry| registry.live().into_iter().filter_map(Entry::webhook).collect())?;
    Ok(Json(WebhookList { webhooks }))
}

/// Show a webhook
#[utoipa::path(get, path = "/v1/webhooks/{id}", operation_id = "showWebhook", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id")),
    responses((status = 200, description = "The webhook", body = Webhook),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn show(State(service): State<Service>, Named(id): Named<String>) -> Result<Json<Webhook>, Problem> {
    shared(&service)?.shown(&id)
}

/// Change a webhook
#[utoipa::path(patch, path = "/v1/webhooks/{id}", operation_id = "changeWebhook", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id")),
    request_body(content = ChangeWebhook),
    responses((status = 200, description = "The webhook as it is now", body = Webhook),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn change(
    State(service): State<Service>,
    Named(id): Named<String>,
    Body(change): Body<ChangeWebhook>,
) -> Result<Json<Webhook>, Problem> {
    let shared = shared(&service)?;
    let (Entry { record, .. }, webhook) = shared.find(&id)?;
    shared.change(&record, Wanted::Webhook(change.applied_to(webhook))).await?;
    shared.shown(&id)
}

/// Delete a webhook
#[utoipa::path(delete, path = "/v1/webhooks/{id}", operation_id = "deleteWebhook", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id")),
    responses((status = 204, description = "All gateways stop delivering within seconds"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn delete(State(service): State<Service>, Named(id): Named<String>) -> Result<StatusCode, Problem> {
    let shared = shared(&service)?;
    let (Entry { record, .. }, _) = shared.find(&id)?;
    shared.delete(&record).await
}

/// Show the last calls of a webhook by this gateway
#[utoipa::path(get, path = "/v1/webhooks/{id}/deliveries", operation_id = "webhookDeliveries", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id")),
    responses((status = 200, description = "The newest first", body = Deliveries),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn deliveries(State(service): State<Service>, Named(id): Named<String>) -> Result<Json<Deliveries>, Problem> {
    let shared = shared(&service)?;
    shared.find(&id)?;
    Ok(Json(shared.history(&id).shown()))
}

/// Post a test message to a webhook's endpoint, whatever it answers
#[utoipa::path(post, path = "/v1/webhooks/{id}/test", operation_id = "testWebhook", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id")),
    responses((status = 200, description = "What the call came to", body = DeliveryView),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn test(State(service): State<Service>, Named(id): Named<String>) -> Result<Json<DeliveryView>, Problem> {
    let shared = shared(&service)?;
    let work = shared.find(&id)?.0.work.ok_or_else(|| not_found(&id))?;
    let _call = shared.room.extra().ok_or_else(|| Problem::busy("as many calls are under way as may be"))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(TEST, HeaderValue::from_static("true"));
    let webhook_id = format!("test_{:016x}", shared.env.random.next());
    let content = Content { id: webhook_id.clone(), headers, body: Bytes::from_static(TEST_BODY) };
    let clock = &shared.env.clock;
    let began = clock.moment();
    let within = work.endpoint().timeout.min(TEST_WITHIN);
    let answer = shared.client.post(work.endpoint(), content, within, clock.now()).await;
    let Answer { outcome, status, error, .. } = answer;
    let latency = clock.moment().since(began);
    Ok(Json(DeliveryView {
        at_ms: clock.now().0,
        webhook_id,
        attempt: 1,
        messages: 0,
        status,
        latency_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
        outcome: outcome.into(),
        error,
    }))
}
