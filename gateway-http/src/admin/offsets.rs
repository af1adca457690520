//! Where consumer groups go on, as operators set it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use proxy::validate::Invalid;
use types::admin::ResetTo;
use types::broker::OffsetAt;
use types::{Admin, GroupName, QueueId, QueueOffset, TopicName};

use crate::extract::{Body, Named};
use crate::problem::{Document, Problem};
use crate::text;
use crate::views::{Offsets, QueueAt, ResetOffsets};

/// Let a group go on elsewhere with a topic, at once: its leases there end
#[utoipa::path(post, path = "/v1/admin/groups/{name}/offsets", operation_id = "resetOffsets", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group")),
    request_body(content = ResetOffsets),
    responses((status = 200, description = "Where it goes on", body = Offsets),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn reset(
    State(admin): State<Arc<dyn Admin>>,
    Named(group): Named<GroupName>,
    Body(reset): Body<ResetOffsets>,
) -> Result<Json<Offsets>, Problem> {
    let topic = TopicName::for_client(&reset.topic).map_err(Invalid::Topic)?;
    let set = admin.reset_offsets(&group, &topic, reset.queue.map(QueueId), target(&reset)?).await?;
    let queues = set.into_iter().map(|(queue, offset)| QueueAt { queue: queue.0, offset: offset.0 }).collect();
    Ok(Json(Offsets { queues }))
}

fn target(reset: &ResetOffsets) -> Result<ResetTo, Problem> {
    let to = match (reset.to.as_deref(), reset.offset) {
        (None, Some(offset)) => return Ok(ResetTo::Offset(QueueOffset(offset))),
        (Some(to), None) => to,
        (Some(_), Some(_)) => return Err(Problem::invalid("to and offset cannot be given together")),
        (None, None) => return Err(Problem::invalid("to or offset is missing")),
    };
    let at = match to {
        "first" => OffsetAt::Beginning,
        "last" => OffsetAt::End,
        time => {
            let time = text::time(time);
            OffsetAt::Time(
                time.map_err(|expected| Problem::invalid(format!("to is {to:?}, {expected}, first or last")))?,
            )
        }
    };
    Ok(ResetTo::At(at))
}
