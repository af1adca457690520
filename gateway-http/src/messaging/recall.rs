//! Taking back a delayed message.

use axum::Json;
use axum::extract::{Path, State};
use proxy::validate::Invalid;
use types::TopicName;

use super::Service;
use crate::problem::{Document, Problem};
use crate::views::messaging::Recalled;

/// Longest handle, in bytes: of the longest topic, broker name and message id, in Base64.
const HANDLE_BYTES_MAX: usize = 4096;

/// Take back a delayed message
#[utoipa::path(delete, path = "/v1/topics/{topic}/delayed/{handle}", operation_id = "recallMessage", tag = "producers",
    params(("topic" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The topic"), ("handle" = String, Path, description = "The recallHandle of its send")),
    responses((status = 200, description = "Taken back", body = Recalled),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn call(
    State(service): State<Service>,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
) -> Result<Json<Recalled>, Problem> {
    let Path((topic, handle)) = path.map_err(|rejection| Problem::invalid(rejection.body_text()))?;
    let topic = TopicName::for_client(&topic).map_err(Invalid::Topic)?;
    if handle.len() > HANDLE_BYTES_MAX {
        let (bytes, bytes_max) = (handle.len(), HANDLE_BYTES_MAX);
        return Err(Invalid::FieldTooLong { field: "recall handle", bytes, bytes_max }.into());
    }
    let message_id = service.messaging.recall(topic, handle).await?;
    Ok(Json(Recalled { message_id }))
}
