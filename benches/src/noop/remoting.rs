//! Our own Remoting server with a role that stores nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use env::Env;
use remoting::{Connection, Options, Role, Server};
use remoting_proto::requests::{SendMessage, SendMessageAnswer};
use remoting_proto::{Command, RequestCode, ResponseCode};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use types::Properties;
use types::properties::names;

/// The address of every message, in the form that brokers give: 16 bytes in hexadecimal digits.
const MESSAGE_ID: &str = "7F00000100002A9F0000000000000000";

/// Serves until the process is killed.
pub(super) async fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    let server = Server::new(Arc::new(Noop), Options::default(), None, Env::real().clock);
    server.serve(listener, CancellationToken::new()).await;
    Ok(())
}

struct Noop;

impl Role for Noop {
    fn connect(&self, _: &Arc<Connection>) {}

    async fn serve(&self, _: &Connection, request: Command) -> Command {
        stored(&request).unwrap_or_else(|error| Command {
            remark: Some(format!("{error:#}")),
            ..request.answer(ResponseCode::SystemError)
        })
    }

    fn disconnect(&self, _: &Connection) {}
}

/// Says of a message that it is stored.
fn stored(request: &Command) -> Result<Command> {
    let code = request.request_code();
    ensure!(code == RequestCode::SendMessageV2, "the no-op server takes messages, not {code:?}");
    let header = SendMessage::of(&request.fields)?;
    let properties = Properties::parse(header.properties.as_deref().unwrap_or_default());
    let answer = SendMessageAnswer {
        msg_id: MESSAGE_ID.to_owned(),
        queue_id: header.queue_id,
        queue_offset: 1,
        transaction_id: properties.get(names::UNIQUE_KEY).map(str::to_owned),
        recall_handle: None,
        msg_region: Some("DefaultRegion".to_owned()),
        trace_on: Some(true),
        repeat_of: None,
    };
    Ok(Command { fields: answer.to_fields(), ..request.answer(ResponseCode::Success) })
}
