//! The OpenAPI 3.1 document of `/v1`, made from the routes themselves: handlers say beside their code what they take and answer.

use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use crate::views::socket::{ClientFrame, ServerFrame};
use crate::{admin, messaging, webhooks};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Gantry",
        description = "Messages over HTTP: send, receive as leases, acknowledge. No session: any gateway answers any call.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    // What goes over a WebSocket belongs to no answer.
    components(schemas(ClientFrame, ServerFrame)),
    servers((url = "/", description = "This server")),
    tags(
        (name = "producers", description = "Sending messages, and taking delayed ones back"),
        (name = "consumers", description = "Receiving messages, and what becomes of them"),
        (name = "transactions", description = "Half messages, their outcome, and being asked for it"),
        (name = "admin", description = "Topics, consumer groups and stored messages"),
        (name = "webhooks", description = "Messages that are posted to URLs")
    )
)]
struct Head;

/// The document of a server that answers operators, or does not.
pub(crate) fn document(has_admin: bool) -> OpenApi {
    let mut document = Head::openapi();
    document.merge(messaging::described().into_openapi());
    document.merge(webhooks::described().into_openapi());
    if has_admin {
        document.merge(admin::described().into_openapi());
    }
    document
}
