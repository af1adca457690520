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
//!
//! The first five stand below `/groups` too, with `Groups`, `GroupSettings`, `Group` and `GroupDetails`.
//!
//! A PATCH reads, changes and writes; of two at the same moment the later one wins as a whole.
//! Bodies must say `Content-Type: application/json`, which no web page can send here without asking first.

mod groups;
mod messages;
mod topics;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequest, Request};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use types::Admin;

use crate::extract::Body;
use crate::problem::Problem;

/// The routes below `/v1/admin`.
pub(crate) fn routes() -> Router<Arc<dyn Admin>> {
    Router::new()
        .route("/topics", get(topics::list))
        .route(
            "/topics/{name}",
            get(topics::describe).post(topics::create).patch(topics::update).delete(topics::delete),
        )
        .route("/topics/{name}/freeze", post(topics::freeze))
        .route("/topics/{name}/messages", get(messages::find))
        .route("/messages/{id}", get(messages::show))
        .route("/groups", get(groups::list))
        .route(
            "/groups/{name}",
            get(groups::describe).post(groups::create).patch(groups::update).delete(groups::delete),
        )
}

/// JSON, whose length and time the layers round these routes bound.
impl<T: DeserializeOwned> FromRequest<Arc<dyn Admin>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<dyn Admin>) -> Result<Self, Problem> {
        Self::parse(request).await
    }
}
