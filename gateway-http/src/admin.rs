//! `/v1/admin`: topics, groups, looking at messages, and having them delivered again.
//!
//! | method and path              | body            | answer             |
//! |------------------------------|-----------------|--------------------|
//! | `GET /topics`                |                 | 200 `Topics`       |
//! | `POST /topics/{name}`        | `TopicSettings` | 201 `Topic`        |
//! | `GET /topics/{name}`         |                 | 200 `TopicDetails` |
//! | `PATCH /topics/{name}`       | `TopicSettings` | 200 `Topic`        |
//! | `DELETE /topics/{name}`      |                 | 204                |
//! | `POST /topics/{name}/freeze` | `FreezeTopic`   | 200 `Topic`        |
//! | `GET /topics/{name}/messages` | `FindMessages` in the query | 200 `Messages` |
//! | `GET /messages/{offsetMessageId}` |       | 200 `Message`      |
//! | `POST /groups/{name}/offsets` | `ResetOffsets` | 200 `Offsets`      |
//! | `GET /groups/{name}/blocked` |                | 200 `Blockers`     |
//! | `GET /groups/{name}/dead-letters` | `ListDeadLetters` in the query | 200 `DeadLetters` |
//! | `POST /groups/{name}/dead-letters/redrive` | `Redrive` | 200, lines of `Again` and a `RedriveEnd` |
//! | `GET /transactions/parked`   | `ListParked` in the query | 200 `ParkedTransactions` |
//! | `POST /transactions/parked/resume` | `Resume` | 200, 201, 207 `Resumed` |
//!
//! The first five stand below `/groups` too, with `Groups`, `GroupSettings`, `Group` and `GroupDetails`.
//!
//! A PATCH reads, changes and writes; of two at the same moment the later one wins as a whole.
//! Bodies must say `Content-Type: application/json`, which no web page can send here without asking first.

mod again;
mod groups;
mod messages;
mod offsets;
mod redrive;
mod topics;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, FromRequest, Request};
use serde::de::DeserializeOwned;
use types::Admin;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Readiness;
use crate::extract::Body;
use crate::problem::Problem;

/// What the routes work on.
#[derive(Clone)]
pub(crate) struct Managed {
    pub(crate) admin: Arc<dyn Admin>,
    /// Ends what goes on for long.
    pub(crate) readiness: Readiness,
}

impl FromRef<Managed> for Arc<dyn Admin> {
    fn from_ref(managed: &Managed) -> Self {
        managed.admin.clone()
    }
}

/// The routes, which a server that does not answer operators lacks.
pub(crate) fn routes(managed: Managed) -> Router {
    let (routes, _) = described().split_for_parts();
    routes.with_state(managed)
}

/// The routes below `/v1/admin` with what they say of themselves.
pub(crate) fn described() -> OpenApiRouter<Managed> {
    OpenApiRouter::new()
        .routes(routes!(topics::list))
        .routes(routes!(topics::describe, topics::create, topics::update, topics::delete))
        .routes(routes!(topics::freeze))
        .routes(routes!(messages::find))
        .routes(routes!(messages::show))
        .routes(routes!(groups::list))
        .routes(routes!(groups::describe, groups::create, groups::update, groups::delete))
        .routes(routes!(offsets::reset))
        .routes(routes!(groups::blocked))
        .routes(routes!(again::dead_letters))
        .routes(routes!(redrive::call))
        .routes(routes!(again::parked))
        .routes(routes!(again::resume))
}

/// JSON, whose length and time the layers round these routes bound.
impl<T: DeserializeOwned> FromRequest<Managed> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Managed) -> Result<Self, Problem> {
        Self::parse(request).await
    }
}
