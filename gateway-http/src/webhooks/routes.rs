//! The calls of `/v1/webhooks`.

use std::time::Duration;

use axum::extract::{FromRequest, Request, State};
use axum::{Json, Router};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{HeaderName, StatusCode};
use serde::de::DeserializeOwned;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::client::Answer;
use super::format::Content;
use super::registry::{Entry, Record};
use super::subscription::{Subscription, not_found};
use super::views::{ChangeWebhook, Deliveries, DeliveryView, NewWebhook, Webhook, WebhookList};
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

/// The routes below `/v1`.
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
    fn find(&self, id: &str) -> Result<Entry, Problem> {
        self.look(|registry| registry.get(id).cloned())?.ok_or_else(|| not_found(id))
    }

    /// Checks what somebody wants a webhook to be.
    fn check(&self, webhook: &NewWebhook) -> Result<(), Problem> {
        let subscription = Subscription::parse(webhook)?;
        self.client.check(&subscription.url).map_err(|refused| Problem::invalid(format!("url is refused: {refused}")))
    }

    fn shown(&self, id: &str) -> Result<Json<Webhook>, Problem> {
        self.find(id)?.shown().map(Json).ok_or_else(|| not_found(id))
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
    shared.check(&webhook)?;
    let random = || shared.env.random.next();
    let id = format!("wh_{:016x}{:016x}", random(), random());
    let none = Record { id, since: None, revision: 0, tie: 0, changed_at_ms: 0, webhook: None, disabled_because: None };
    shared.write(shared.changed(&none, Some(webhook), None), none.revision).await?;
    Ok((StatusCode::CREATED, shared.shown(&none.id)?))
}

/// List webhooks
#[utoipa::path(get, path = "/v1/webhooks", operation_id = "listWebhooks", tag = "webhooks",
    responses((status = 200, description = "All of them", body = WebhookList),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn list(State(service): State<Service>) -> Result<Json<WebhookList>, Problem> {
    let webhooks = shared(&service)?.look(|registry| registry.live().into_iter().filter_map(Entry::shown).collect())?;
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
    let record = shared.find(&id)?.record;
    let webhook = record.webhook.clone().ok_or_else(|| not_found(&id))?;
    let webhook = change.applied_to(webhook);
    shared.check(&webhook)?;
    let disabled_because = record.disabled_because.clone().filter(|_| !webhook.enabled);
    shared.write(shared.changed(&record, Some(webhook), disabled_because), record.revision).await?;
    shared.shown(&id)
}

/// Delete a webhook
#[utoipa::path(delete, path = "/v1/webhooks/{id}", operation_id = "deleteWebhook", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id")),
    responses((status = 204, description = "All gateways stop delivering within seconds"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn delete(State(service): State<Service>, Named(id): Named<String>) -> Result<StatusCode, Problem> {
    let shared = shared(&service)?;
    let record = shared.find(&id)?.record;
    shared.write(shared.changed(&record, None, None), record.revision).await?;
    Ok(StatusCode::NO_CONTENT)
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
    let subscription = shared.find(&id)?.subscription.ok_or_else(|| not_found(&id))?;
    let _call = shared.room.extra().ok_or_else(|| Problem::busy("as many calls are under way as may be"))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(TEST, HeaderValue::from_static("true"));
    let webhook_id = format!("test_{:016x}", shared.env.random.next());
    let content = Content { id: webhook_id.clone(), headers, body: Bytes::from_static(TEST_BODY) };
    let clock = &shared.env.clock;
    let began = clock.moment();
    let within = subscription.timeout.min(TEST_WITHIN);
    let Answer { outcome, status, error } = shared.client.post(&subscription, content, within, clock.now()).await;
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
