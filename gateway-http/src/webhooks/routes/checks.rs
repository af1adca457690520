//! The calls of `/v1/check-urls`.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::registry::{Entry, Wanted};
use super::super::subscription::check_url_not_found;
use super::super::views::Deliveries;
use super::super::views::checks::{ChangeCheckUrl, CheckUrl, CheckUrlList, NewCheckUrl};
use super::{Service, shared};
use crate::extract::{Body, Named};
use crate::problem::{Document, Problem};

/// The routes with what describes them.
pub(super) fn described() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(show, change, delete)).routes(routes!(deliveries))
}

impl Shared {
    fn find_check_url(&self, id: &str) -> Result<(Entry, NewCheckUrl), Problem> {
        let entry = self.look(|registry| registry.get(id).cloned())?.ok_or_else(|| check_url_not_found(id))?;
        match entry.record.wanted.clone() {
            Some(Wanted::CheckUrl(check_url)) => Ok((entry, check_url)),
            Some(Wanted::Webhook(_)) | None => Err(check_url_not_found(id)),
        }
    }

    fn shown_check_url(&self, id: &str) -> Result<Json<CheckUrl>, Problem> {
        let (entry, _) = self.find_check_url(id)?;
        entry.check_url().map(Json).ok_or_else(|| check_url_not_found(id))
    }
}

/// Register a URL that is asked what becomes of a topic's half messages
#[utoipa::path(post, path = "/v1/check-urls", operation_id = "createCheckUrl", tag = "transactions",
    request_body(content = NewCheckUrl),
    responses((status = 201, description = "All gateways know it within seconds", body = CheckUrl),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn create(
    State(service): State<Service>,
    Body(check_url): Body<NewCheckUrl>,
) -> Result<(StatusCode, Json<CheckUrl>), Problem> {
    let shared = shared(&service)?;
    let id = shared.create("cu", Wanted::CheckUrl(check_url)).await?;
    Ok((StatusCode::CREATED, shared.shown_check_url(&id)?))
}

/// List check URLs
#[utoipa::path(get, path = "/v1/check-urls", operation_id = "listCheckUrls", tag = "transactions",
    responses((status = 200, description = "All of them", body = CheckUrlList),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn list(State(service): State<Service>) -> Result<Json<CheckUrlList>, Problem> {
    let all = |registry: &super::super::Registry| registry.live().into_iter().filter_map(Entry::check_url).collect();
    Ok(Json(CheckUrlList { check_urls: shared(&service)?.look(all)? }))
}

/// Show a check URL
#[utoipa::path(get, path = "/v1/check-urls/{id}", operation_id = "showCheckUrl", tag = "transactions",
    params(("id" = String, Path, description = "The check URL's id")),
    responses((status = 200, description = "The check URL", body = CheckUrl),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn show(State(service): State<Service>, Named(id): Named<String>) -> Result<Json<CheckUrl>, Problem> {
    shared(&service)?.shown_check_url(&id)
}

/// Change a check URL
#[utoipa::path(patch, path = "/v1/check-urls/{id}", operation_id = "changeCheckUrl", tag = "transactions",
    params(("id" = String, Path, description = "The check URL's id")),
    request_body(content = ChangeCheckUrl),
    responses((status = 200, description = "The check URL as it is now", body = CheckUrl),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn change(
    State(service): State<Service>,
    Named(id): Named<String>,
    Body(change): Body<ChangeCheckUrl>,
) -> Result<Json<CheckUrl>, Problem> {
    let shared = shared(&service)?;
    let (Entry { record, .. }, old) = shared.find_check_url(&id)?;
    shared.change(&record, Wanted::CheckUrl(change.applied_to(old))).await?;
    shared.shown_check_url(&id)
}

/// Delete a check URL
#[utoipa::path(delete, path = "/v1/check-urls/{id}", operation_id = "deleteCheckUrl", tag = "transactions",
    params(("id" = String, Path, description = "The check URL's id")),
    responses((status = 204, description = "All gateways stop asking within seconds"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn delete(State(service): State<Service>, Named(id): Named<String>) -> Result<StatusCode, Problem> {
    let shared = shared(&service)?;
    let (Entry { record, .. }, _) = shared.find_check_url(&id)?;
    shared.delete(&record).await
}

/// Show the last calls of a check URL by this gateway
#[utoipa::path(get, path = "/v1/check-urls/{id}/deliveries", operation_id = "checkUrlDeliveries", tag = "transactions",
    params(("id" = String, Path, description = "The check URL's id")),
    responses((status = 200, description = "The newest first", body = Deliveries),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
async fn deliveries(State(service): State<Service>, Named(id): Named<String>) -> Result<Json<Deliveries>, Problem> {
    let shared = shared(&service)?;
    shared.find_check_url(&id)?;
    Ok(Json(shared.history(&id).shown()))
}
