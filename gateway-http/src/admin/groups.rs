//! Consumer groups: list, create, describe, update, delete.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use types::{Admin, GroupConfig, GroupName, RetryPolicy};

use crate::extract::{Body, Named};
use crate::problem::{Document, Problem};
use crate::views::again::Blockers;
use crate::views::{Group, GroupDetails, GroupSettings, Groups, Retry};

/// Deliveries of one message.
const ATTEMPTS: RangeInclusive<u32> = 1..=10_000;
/// Entries of a customized retry policy.
const RETRY_ENTRIES: RangeInclusive<usize> = 1..=64;
/// One wait of a retry policy: up to a day.
const RETRY_WAIT_MS: RangeInclusive<u64> = 0..=86_400_000;
/// Factor of an exponential retry policy.
const RETRY_MULTIPLIER: RangeInclusive<u32> = 1..=100;
/// One delivery to a client that renews by itself: a second to three hours, Apache's `renewMaxTimeMillis`.
const CONSUME_TIMEOUT_MS: RangeInclusive<u64> = 1_000..=10_800_000;

/// All consumer groups that are not the system's
#[utoipa::path(get, path = "/v1/admin/groups", operation_id = "listGroups", tag = "admin",
    responses((status = 200, description = "By name", body = Groups),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn list(State(admin): State<Arc<dyn Admin>>) -> Result<Json<Groups>, Problem> {
    let groups = admin.groups().await?;
    // As topics are: what gateways keep for themselves is refused by name.
    let shown = groups.iter().filter(|group| !group.name.is_shared());
    Ok(Json(Groups { groups: shown.map(Group::from).collect() }))
}

/// Make a consumer group
#[utoipa::path(post, path = "/v1/admin/groups/{name}", operation_id = "createGroup", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group")),
    request_body(content = GroupSettings),
    responses((status = 201, description = "Made", body = Group),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn create(
    State(admin): State<Arc<dyn Admin>>,
    Named(name): Named<GroupName>,
    Body(settings): Body<GroupSettings>,
) -> Result<(StatusCode, Json<Group>), Problem> {
    let mut config = GroupConfig::new(name);
    change(&mut config, &settings)?;
    admin.put_group(config.clone(), false).await?;
    Ok((StatusCode::CREATED, Json((&config).into())))
}

/// A consumer group, and how far it is on each queue that it has consumed from
#[utoipa::path(get, path = "/v1/admin/groups/{name}", operation_id = "describeGroup", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group")),
    responses((status = 200, description = "The group", body = GroupDetails),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn describe(
    State(admin): State<Arc<dyn Admin>>,
    Named(name): Named<GroupName>,
) -> Result<Json<GroupDetails>, Problem> {
    let description = admin.describe_group(&name).await?;
    Ok(Json((&description).into()))
}

/// Change a consumer group; what is missing stays as it is
#[utoipa::path(patch, path = "/v1/admin/groups/{name}", operation_id = "updateGroup", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group")),
    request_body(content = GroupSettings),
    responses((status = 200, description = "Changed", body = Group),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn update(
    State(admin): State<Arc<dyn Admin>>,
    Named(name): Named<GroupName>,
    Body(settings): Body<GroupSettings>,
) -> Result<Json<Group>, Problem> {
    let mut config = admin.describe_group(&name).await?.config;
    change(&mut config, &settings)?;
    admin.put_group(config.clone(), true).await?;
    Ok(Json((&config).into()))
}

/// What holds back messages that come to a group in order, and who has it
#[utoipa::path(get, path = "/v1/admin/groups/{name}/blocked", operation_id = "listBlocked", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group")),
    responses((status = 200, description = "The delivered messages behind which others wait", body = Blockers),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn blocked(
    State(admin): State<Arc<dyn Admin>>,
    Named(name): Named<GroupName>,
) -> Result<Json<Blockers>, Problem> {
    let blocked = admin.blocked(&name).await?;
    Ok(Json(Blockers { blocked: blocked.into_iter().map(Into::into).collect() }))
}

/// Delete a consumer group with its leases and offsets
#[utoipa::path(delete, path = "/v1/admin/groups/{name}", operation_id = "deleteGroup", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group")),
    responses((status = 204, description = "Deleted"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn delete(
    State(admin): State<Arc<dyn Admin>>,
    Named(name): Named<GroupName>,
) -> Result<StatusCode, Problem> {
    admin.delete_group(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn change(config: &mut GroupConfig, settings: &GroupSettings) -> Result<(), Problem> {
    config.is_fifo = settings.fifo.unwrap_or(config.is_fifo);
    config.is_enabled = settings.enabled.unwrap_or(config.is_enabled);
    if let Some(attempts) = settings.max_attempts {
        config.attempts_max = within("maxAttempts", attempts, &ATTEMPTS)?;
    }
    if let Some(retry) = &settings.retry {
        config.retry = policy(retry)?;
    }
    if let Some(ms) = settings.consume_timeout_ms {
        config.consume_timeout = Duration::from_millis(within("consumeTimeoutMs", ms, &CONSUME_TIMEOUT_MS)?);
    }
    config.is_auto_created = false;
    Ok(())
}

fn policy(retry: &Retry) -> Result<RetryPolicy, Problem> {
    let wait = |name: &str, ms: u64| within(name, ms, &RETRY_WAIT_MS).map(Duration::from_millis);
    match retry {
        Retry::Customized { next_ms } => {
            within("number of waits in retry.nextMs", next_ms.len(), &RETRY_ENTRIES)?;
            let next = next_ms.iter().map(|ms| wait("retry.nextMs", *ms)).collect::<Result<_, _>>()?;
            Ok(RetryPolicy::Customized { next })
        }
        Retry::Exponential { initial_ms, max_ms, multiplier } => Ok(RetryPolicy::Exponential {
            initial: wait("retry.initialMs", *initial_ms)?,
            max: wait("retry.maxMs", *max_ms)?,
            multiplier: within("retry.multiplier", *multiplier, &RETRY_MULTIPLIER)?,
        }),
    }
}

fn within<T: PartialOrd + Display>(name: &str, value: T, range: &RangeInclusive<T>) -> Result<T, Problem> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Problem::invalid(format!("{name} is {value}, allowed are {} to {}", range.start(), range.end())))
}
