//! Topics: list, create, describe, update, freeze, delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use types::{Admin, MessageType, TopicConfig, TopicName, TopicType};

use crate::extract::{Body, Named};
use crate::problem::{Document, Problem};
use crate::views::{self, FreezeTopic, Topic, TopicDetails, TopicSettings, Topics};

/// Queues of a new topic. Source: Apache `defaultTopicQueueNums`, and what `mqadmin updateTopic` takes unasked.
const QUEUES_DEFAULT: u32 = 8;

/// All topics that are not the system's
#[utoipa::path(get, path = "/v1/admin/topics", operation_id = "listTopics", tag = "admin",
    responses((status = 200, description = "By name", body = Topics),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn list(State(admin): State<Arc<dyn Admin>>) -> Result<Json<Topics>, Problem> {
    let topics = admin.topics().await?;
    // What gateways keep for themselves is refused by name to those who ask for one of these.
    let shown = topics.iter().filter(|topic| !topic.name.is_shared());
    Ok(Json(Topics { topics: shown.map(Topic::from).collect() }))
}

/// Make a topic
#[utoipa::path(post, path = "/v1/admin/topics/{name}", operation_id = "createTopic", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The topic")),
    request_body(content = TopicSettings),
    responses((status = 201, description = "Made", body = Topic),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn create(
    State(admin): State<Arc<dyn Admin>>,
    Named(name): Named<TopicName>,
    Body(settings): Body<TopicSettings>,
) -> Result<(StatusCode, Json<Topic>), Problem> {
    let mut config = TopicConfig::new(name, QUEUES_DEFAULT, TopicType::Only(MessageType::Normal));
    change(&mut config, &settings)?;
    admin.put_topic(config.clone(), false).await?;
    Ok((StatusCode::CREATED, Json((&config).into())))
}

/// A topic, its queues and what was sent to it
#[utoipa::path(get, path = "/v1/admin/topics/{name}", operation_id = "describeTopic", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The topic")),
    responses((status = 200, description = "The topic", body = TopicDetails),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn describe(
    State(admin): State<Arc<dyn Admin>>,
    Named(name): Named<TopicName>,
) -> Result<Json<TopicDetails>, Problem> {
    let description = admin.describe_topic(&name).await?;
    Ok(Json((&description).into()))
}

/// Change a topic; what is missing stays as it is
#[utoipa::path(patch, path = "/v1/admin/topics/{name}", operation_id = "updateTopic", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The topic")),
    request_body(content = TopicSettings),
    responses((status = 200, description = "Changed", body = Topic),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn update(
    State(admin): State<Arc<dyn Admin>>,
    Named(name): Named<TopicName>,
    Body(settings): Body<TopicSettings>,
) -> Result<Json<Topic>, Problem> {
    let mut config = admin.describe_topic(&name).await?.config;
    change(&mut config, &settings)?;
    admin.put_topic(config.clone(), true).await?;
    Ok(Json((&config).into()))
}

/// Fix the topic's type to the one named, or else to the one that was used
#[utoipa::path(post, path = "/v1/admin/topics/{name}/freeze", operation_id = "freezeTopic", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The topic")),
    request_body(content = FreezeTopic),
    responses((status = 200, description = "Fixed", body = Topic),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn freeze(
    State(admin): State<Arc<dyn Admin>>,
    Named(name): Named<TopicName>,
    Body(request): Body<FreezeTopic>,
) -> Result<Json<Topic>, Problem> {
    let description = admin.describe_topic(&name).await?;
    let topic_type = match request.message_type {
        Some(text) => views::topic_type(&text).map_err(Problem::invalid)?,
        None => TopicType::Only(the_only_used(&name, &description.used)?),
    };
    let config = TopicConfig { topic_type, is_auto_created: false, ..description.config };
    admin.put_topic(config.clone(), true).await?;
    Ok(Json((&config).into()))
}

/// Delete a topic
#[utoipa::path(delete, path = "/v1/admin/topics/{name}", operation_id = "deleteTopic", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The topic")),
    responses((status = 204, description = "Deleted"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn delete(
    State(admin): State<Arc<dyn Admin>>,
    Named(name): Named<TopicName>,
) -> Result<StatusCode, Problem> {
    admin.delete_topic(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn the_only_used(name: &TopicName, used: &[MessageType]) -> Result<MessageType, Problem> {
    let used_so_far = match used {
        &[only] => return Ok(only),
        [] => "was not used yet".to_owned(),
        several => {
            let names: Vec<String> = several.iter().map(MessageType::to_string).collect();
            format!("was used for {}", names.join(", "))
        }
    };
    let detail = format!("topic {name} {used_so_far}; name the type: gantry admin topic freeze {name} --type TYPE");
    Err(Problem::conflict("type-undecided", detail))
}

fn change(config: &mut TopicConfig, settings: &TopicSettings) -> Result<(), Problem> {
    if let Some(text) = &settings.message_type {
        config.topic_type = views::topic_type(text).map_err(Problem::invalid)?;
    }
    config.read_queues = settings.read_queues.unwrap_or(config.read_queues);
    config.write_queues = settings.write_queues.unwrap_or(config.write_queues);
    config.is_readable = settings.readable.unwrap_or(config.is_readable);
    config.is_writable = settings.writable.unwrap_or(config.is_writable);
    config.is_auto_created = false;
    Ok(())
}
