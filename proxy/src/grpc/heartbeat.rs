//! `Heartbeat`: the client lives. Never refused for want of settings: after a restart of the server some SDKs
//! never send them again (pitfall 16).

use grpc::v2;
use grpc::v2::ClientType;
use tonic::Request;

use super::Service;
use crate::status::{self, Refusal};
use crate::validate::{self, Invalid};

pub(super) fn call(
    service: &Service,
    request: &Request<v2::HeartbeatRequest>,
) -> Result<v2::HeartbeatResponse, Refusal> {
    let message = request.get_ref();
    // Go asks so whether a server is there at all (pitfall 17).
    let is_anonymous = request.metadata().get("x-mq-client-id").is_none();
    if !is_anonymous {
        note(service, request.metadata(), message)?;
    }
    Ok(v2::HeartbeatResponse { status: Some(status::ok()) })
}

fn note(
    service: &Service,
    headers: &tonic::metadata::MetadataMap,
    message: &v2::HeartbeatRequest,
) -> Result<(), Refusal> {
    validate::client_id(headers)?;
    let named = message.group.as_ref().filter(|group| !group.name.is_empty());
    let group = match message.client_type() {
        ClientType::PushConsumer | ClientType::SimpleConsumer | ClientType::PullConsumer => {
            named.map(|named| validate::group(Some(named))).transpose()?
        }
        ClientType::Producer => None,
        ClientType::LitePushConsumer | ClientType::LiteSimpleConsumer => return Err(Invalid::LiteNotBuilt.into()),
        ClientType::Unspecified => {
            // A client that said its kind in its settings need not repeat it.
            let id = validate::client_id(headers)?;
            let is_known = |session: &crate::sessions::Session| session.profile().client_type.is_some();
            if !service.shared.sessions.get(id).is_some_and(|session| is_known(&session)) {
                return Err(Invalid::ClientType { client_type: message.client_type }.into());
            }
            None
        }
    };
    let session = service.described_session(headers)?;
    session.update(|profile| {
        let said = Some(message.client_type()).filter(|said| *said != ClientType::Unspecified);
        profile.client_type = said.or(profile.client_type);
        profile.group = group.or_else(|| profile.group.take());
    });
    session.repeat_answer();
    Ok(())
}
