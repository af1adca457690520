//! What handlers take out of requests; whatever is wrong with it is a problem document.

use axum::extract::{FromRequest as _, FromRequestParts, Json, Path, Query, Request};
use http::request::Parts;
use proxy::validate::Invalid;
use serde::de::DeserializeOwned;
use types::{GroupName, TopicName};

use crate::problem::Problem;

/// A JSON body whose refusal is a problem document.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> Body<T> {
    /// Of a request whose body is bounded.
    pub(crate) async fn parse(request: Request) -> Result<Self, Problem> {
        match Json::from_request(request, &()).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(rejection.status(), "invalid-body", rejection.body_text())),
        }
    }
}

/// What the query says.
pub(crate) struct QueryOf<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(value)| Self(value)).map_err(|rejection| Problem::invalid(rejection.body_text()))
    }
}

/// The name in the path, checked as a client's.
pub(crate) struct Named<T>(pub(crate) T);

impl<S: Send + Sync> FromRequestParts<S> for Named<TopicName> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(TopicName::for_client(&path_name(parts, state).await?).map_err(Invalid::Topic)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Named<GroupName> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(GroupName::for_client(&path_name(parts, state).await?).map_err(Invalid::Group)?))
    }
}

/// Any text in the path.
impl<S: Send + Sync> FromRequestParts<S> for Named<String> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(path_name(parts, state).await?))
    }
}

async fn path_name<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.map(|Path(name)| name).map_err(|rejection| Problem::invalid(rejection.body_text()))
}
