//! The request codes, one function each, and the one `match` over them. An answer is Apache's for the same history.
//!
//! Source: Apache 5.5 `DefaultRequestProcessor`, `ClientRequestProcessor`, `ZoneRouteRPCHook`.

mod config;
mod kv;
mod registration;
mod topics;

use bytes::Bytes;
use remoting::Connection;
use remoting_proto::{Command, Dialect, RequestCode, ResponseCode};
use serde::Serialize;

use crate::server::Core;

/// Why a request is not answered with what was asked for.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: ResponseCode,
    remark: String,
}

impl Refusal {
    fn new(code: ResponseCode, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into() }
    }
}

/// A request that makes no sense, or that failed: clients get its words.
macro_rules! system_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::new(ResponseCode::SystemError, error.to_string())
            }
        })*
    };
}
system_errors!(
    remoting_proto::FieldError,
    remoting_proto::JsonError,
    remoting_proto::body::RegisterError,
    crate::registry::Rejection,
    crate::kv::Full,
    crate::settings::Unfit,
    env::kept::Error
);

type Answer = Result<Command, Refusal>;

/// Serves one request.
pub(crate) async fn serve(core: &Core, connection: &Connection, request: &Command) -> Command {
    let answer = match request.request_code() {
        RequestCode::PutKvConfig => kv::put(core, request).await,
        RequestCode::GetKvConfig => kv::get(core, request),
        RequestCode::DeleteKvConfig => kv::delete(core, request).await,
        RequestCode::GetKvListByNamespace => kv::list(core, request),
        RequestCode::RegisterBroker => registration::register(core, connection, request),
        RequestCode::UnregisterBroker => registration::unregister(core, request),
        RequestCode::BrokerHeartbeat => registration::heartbeat(core, request),
        RequestCode::QueryDataVersion => registration::query_data_version(core, request),
        RequestCode::GetBrokerMemberGroup => registration::member_group(core, request),
        RequestCode::GetBrokerClusterInfo => Ok(json(request, &core.registry.read().cluster_info())),
        RequestCode::GetRouteInfoByTopic => topics::route(core, request),
        RequestCode::WipeWritePermOfBroker => topics::wipe_write_permission(core, request),
        RequestCode::AddWritePermOfBroker => topics::add_write_permission(core, request),
        RequestCode::GetAllTopicListFromNameserver => topics::all(core, request),
        RequestCode::GetTopicsByCluster => topics::of_cluster(core, request),
        RequestCode::GetSystemTopicListFromNs => Ok(json(request, &core.registry.read().system_topics())),
        RequestCode::GetUnitTopicList
        | RequestCode::GetHasUnitSubTopicList
        | RequestCode::GetHasUnitSubUnunitTopicList => topics::of_units(core, request),
        RequestCode::DeleteTopicInNamesrv => topics::delete(core, request),
        RequestCode::RegisterTopicInNamesrv => topics::register(core, request),
        RequestCode::UpdateNamesrvConfig => config::update(core, request).await,
        RequestCode::GetNamesrvConfig => Ok(config::get(core, request)),
        // What brokers are asked and told, and what nobody knows.
        _ => Err(Refusal::new(ResponseCode::RequestCodeNotSupported, request.not_supported())),
    };
    answer.unwrap_or_else(|Refusal { code, remark }| {
        tracing::debug!(code = request.code, remote = %connection.remote(), %remark, "request refused");
        Command { remark: Some(remark), ..request.answer(code) }
    })
}

fn done(request: &Command) -> Command {
    request.answer(ResponseCode::Success)
}

/// A body in the dialect that the client's version expects.
fn json(request: &Command, body: &impl Serialize) -> Command {
    json_in(request, body, Dialect::of(request.version))
}

fn json_in(request: &Command, body: &impl Serialize, dialect: Dialect) -> Command {
    Command { body: Bytes::from(remoting_proto::to_vec(body, dialect)), ..done(request) }
}
