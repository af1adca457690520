//! `/v1/admin`: topics, groups, and looking at messages.
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
//!
//! The first five stand below `/groups` too, with `Groups`, `GroupSettings`, `Group` and `GroupDetails`.
//!
//! A PATCH reads, changes and writes; of two at the same moment the later one wins as a whole.
//! Bodies must say `Content-Type: application/json`, which no web page can send here without asking first.

mod groups;
mod messages;
mod offsets;
mod topics;

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use types::Admin;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::extract::Body;
use crate::problem::Problem;

/// The routes below `/v1/admin` with what they say of themselves.
pub(crate) fn described() -> OpenApiRouter<Arc<dyn Admin>> {
    OpenApiRouter::new()
        .routes(routes!(topics::list))
        .routes(routes!(topics::describe, topics::create, topics::update, topics::delete))
        .routes(routes!(topics::freeze))
        .routes(routes!(messages::find))
        .routes(routes!(messages::show))
        .routes(routes!(groups::list))
        .routes(routes!(groups::describe, groups::create, groups::update, groups::delete))
        .routes(routes!(offsets::reset))
}

/// JSON, whose length and time the layers round these routes bound.
impl<T: DeserializeOwned> FromRequest<Arc<dyn Admin>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<dyn Admin>) -> Result<Self, Problem> {
        Self::parse(request).await
    }
}
