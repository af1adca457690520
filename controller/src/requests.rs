//! The request codes, one function each, and the one `match` over them. An answer is Apache's for the same history, but for the words of a
//! remark.
//!
//! Source: Apache 5.5 `ControllerRequestProcessor`, `DLedgerController`.

mod brokers;
mod config;
mod peers;
mod views;

use bytes::Bytes;
use remoting::Connection;
use remoting_proto::{Command, Dialect, Fields, RequestCode, ResponseCode};
use serde::Serialize;

use crate::raft;
use crate::server::{Core, Unanswered};
use crate::state::Refusal;

/// Why a request is not answered with what was asked for.
#[derive(Debug)]
pub(crate) struct Refused {
    code: ResponseCode,
    remark: String,
}

impl Refused {
    fn new(code: ResponseCode, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into() }
    }

    /// What a refused proposal is answered.
    fn of(refusal: &Refusal, request: RequestCode) -> Self {
        Self::new(code_of(refusal, request), refusal.to_string())
    }
}

impl From<remoting_proto::FieldError> for Refused {
    fn from(error: remoting_proto::FieldError) -> Self {
        Self::new(ResponseCode::ControllerInvalidRequest, error.to_string())
    }
}

impl From<remoting_proto::JsonError> for Refused {
    fn from(error: remoting_proto::JsonError) -> Self {
        Self::new(ResponseCode::ControllerInvalidRequest, error.to_string())
    }
}

impl From<Unanswered> for Refused {
    fn from(error: Unanswered) -> Self {
        let code = match &error {
            Unanswered::Busy => ResponseCode::SystemBusy,
            Unanswered::Agreement(raft::Error::NotLeader) => ResponseCode::ControllerNotLeader,
            Unanswered::Agreement(raft::Error::TimedOut | raft::Error::Failed(_)) => ResponseCode::SystemError,
        };
        Self::new(code, error.to_string())
    }
}

type Answered = Result<Command, Refused>;

/// Serves one request.
pub(crate) async fn serve(core: &Core, connection: &Connection, request: &Command) -> Command {
    let answer = match request.request_code() {
        RequestCode::ControllerAlterSyncStateSet => brokers::set_in_sync(core, request).await,
        RequestCode::ControllerElectMaster => brokers::elect(core, request).await,
        RequestCode::ControllerRegisterBroker => brokers::register(core, request).await,
        RequestCode::ControllerGetNextBrokerId => brokers::next_id(core, request).await,
        RequestCode::ControllerApplyBrokerId => brokers::apply_id(core, request).await,
        RequestCode::CleanBrokerData => brokers::forget(core, request).await,
        RequestCode::BrokerHeartbeat => brokers::heartbeat(core, connection, request),
        RequestCode::ControllerGetReplicaInfo => views::replica_info(core, request).await,
        RequestCode::ControllerGetSyncStateData => views::sync_state_data(core, request).await,
        RequestCode::ControllerGetMetadataInfo => Ok(views::metadata(core, request)),
        RequestCode::UpdateControllerConfig => config::update(core, request),
        RequestCode::GetControllerConfig => Ok(config::get(core, request)),
        RequestCode::ControllerAppendEntries | RequestCode::ControllerInstallSnapshot | RequestCode::ControllerVote => {
            peers::serve(core, request).await
        }
        // What brokers and name servers are asked, and what nobody knows.
        _ => Err(Refused::new(ResponseCode::RequestCodeNotSupported, request.not_supported())),
    };
    answer.unwrap_or_else(|Refused { code, remark }| {
        tracing::debug!(code = request.code, remote = %connection.remote(), %remark, "request refused");
        Command { remark: Some(remark), ..request.answer(code) }
    })
}

/// Apache's code for a refusal.
fn code_of(refusal: &Refusal, request: RequestCode) -> ResponseCode {
    match refusal {
        Refusal::NameUnknown { .. } => match request {
            RequestCode::ControllerAlterSyncStateSet => ResponseCode::ControllerAlterSyncStateSetFailed,
            RequestCode::CleanBrokerData => ResponseCode::ControllerInvalidCleanBrokerMetadata,
            _ => ResponseCode::ControllerBrokerNeedToBeRegistered,
        },
        Refusal::OtherCluster { .. } if request == RequestCode::CleanBrokerData => {
            ResponseCode::ControllerInvalidCleanBrokerMetadata
        }
        Refusal::IdUnknown { .. } => ResponseCode::ControllerBrokerNeedToBeRegistered,
        Refusal::IdUnfit { .. } | Refusal::OtherCluster { .. } => ResponseCode::ControllerBrokerIdInvalid,
        Refusal::Full | Refusal::TooLong { .. } => ResponseCode::ControllerInvalidRequest,
        Refusal::MasterStays(_) => ResponseCode::ControllerMasterStillExist,
        Refusal::TooEarly | Refusal::NoCandidate => ResponseCode::ControllerElectMasterFailed,
        Refusal::MasterLost => ResponseCode::ControllerMasterNotAvailable,
        Refusal::SameInSync | Refusal::MasterLeftOut | Refusal::EpochsUsedUp => {
            ResponseCode::ControllerAlterSyncStateSetFailed
        }
        Refusal::OtherMaster { .. } => ResponseCode::ControllerInvalidMaster,
        Refusal::OtherMasterEpoch { .. } => ResponseCode::ControllerFencedMasterEpoch,
        Refusal::OtherInSyncEpoch { .. } => ResponseCode::ControllerFencedSyncStateSetEpoch,
        Refusal::NoMember { .. } => ResponseCode::ControllerInvalidReplicas,
        Refusal::NotAlive { .. } => ResponseCode::ControllerBrokerNotAlive,
        Refusal::Alive { .. } | Refusal::LastInSync => ResponseCode::ControllerInvalidCleanBrokerMetadata,
    }
}

fn done(request: &Command, fields: Fields) -> Command {
    Command { fields, ..request.answer(ResponseCode::Success) }
}

fn json(body: &impl Serialize) -> Bytes {
    Bytes::from(remoting_proto::to_vec(body, Dialect::Standard))
}
