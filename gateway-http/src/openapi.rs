//! The OpenAPI 3.1 document of `/v1`, made from the routes themselves: handlers say beside their code what they take and answer.

use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Gantry",
        description = "Messages over HTTP: send, receive as leases, acknowledge. No session: any gateway answers any call.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "This server")),
    tags(
        (name = "producers", description = "Sending messages, and taking delayed ones back"),
        (name = "consumers", description = "Receiving messages, and what becomes of them"),
        (name = "transactions", description = "Half messages, their outcome, and being asked for it"),
        (name = "webhooks", description = "Messages that are posted to URLs")
    )
)]
pub(crate) struct Head;
