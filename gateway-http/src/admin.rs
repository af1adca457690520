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

use axum::Router;
use axum::extract::{FromRequest, FromRequestParts, Json, Path, Request};
use axum::routing::{get, post};
use http::request::Parts;
use serde::de::DeserializeOwned;
use types::{GroupName, TopicName};

use crate::Gateway;
use crate::problem::Problem;

/// The routes below `/v1/admin`.
pub(crate) fn routes() -> Router<Gateway> {
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

/// A JSON body whose refusal is a problem document.
struct Body<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => {
                Err(Problem { status: rejection.status(), kind: "invalid-body", detail: rejection.body_text() })
            }
        }
    }
}

/// The name in the path, checked as a client's.
struct Named<T>(T);

impl<S: Send + Sync> FromRequestParts<S> for Named<TopicName> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(TopicName::for_client(&path_name(parts, state).await?)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Named<GroupName> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(GroupName::for_client(&path_name(parts, state).await?)?))
    }
}

async fn path_name<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.map(|Path(name)| name).map_err(|rejection| Problem::invalid(rejection.body_text()))
}
