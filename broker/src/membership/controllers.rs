//! What a broker asks controllers. Source: Apache 5.5 `BrokerOuterAPI`, its part about controllers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env::Clock;
use remoting::Client;
use remoting_proto::body::SyncStateSet;
use remoting_proto::requests::{
    AlterSyncStateSet, ApplyBrokerId, BrokerMember, BrokerName, ControllerHeartbeat, ElectMaster,
    GetNextBrokerIdAnswer, GetReplicaInfoAnswer, RegisterBrokerToController,
};
use remoting_proto::{Command, Dialect, FieldError, Fields, JsonError, RequestCode, ResponseCode};

use super::lease::{SENT_WITHIN, SILENT_MAX};
use super::{MemberId, Options, Standing, View};
use crate::replication::Change;
use crate::replication::epochs::Epoch;

/// How long one of them may take to answer. Source: `controllerRequestTimeout` is 3 s.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// How long one of them may take to say who the master is: so short that a master whose leading controller hangs hears from another one before its
/// lease is over.
pub const LOOKED_WITHIN: Duration = Duration::from_millis(700);
/// Controllers' own codes.
const DECIDED: std::ops::RangeInclusive<i32> = 2000..=2014;

/// What a broker asks its controllers, wherever they are.
#[async_trait]
pub trait Controllers: Send + Sync {
    /// An id that no broker of the name has.
    async fn next_id(&self, options: &Options) -> Result<MemberId, Error>;

    /// Takes it.
    async fn apply_id(&self, options: &Options, id: MemberId, check_code: &str) -> Result<(), Error>;

    /// Tells where the broker is.
    async fn register(&self, options: &Options, id: MemberId) -> Result<(), Error>;

    /// Who is the master and who is in sync. Only the one that leads answers, once most of the others confirm that it does.
    async fn view(&self, options: &Options) -> Result<View, Error>;

    /// Asks for a master where there is none.
    async fn elect(&self, options: &Options, id: MemberId) -> Result<(), Error>;

    /// Others are in sync with the master of this epoch; answers which set that is of those that there were.
    async fn set_in_sync(&self, options: &Options, id: MemberId, epoch: Epoch, change: &Change) -> Result<i32, Error>;

    /// Tells all of them that the broker lives and how far it is. Who is not reached hears the next one.
    async fn tell(&self, options: &Options, id: MemberId, standing: Standing);
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None of them was reached.
    #[error(transparent)]
    Call(#[from] remoting::client::Error),
    /// They refuse.
    #[error("the controllers answer {code:?}: {remark}")]
    Refused {
        /// With this code.
        code: ResponseCode,
        /// And these words.
        remark: String,
    },
    /// The answer is not understood.
    #[error(transparent)]
    Fields(#[from] FieldError),
    /// The answer is not understood.
    #[error(transparent)]
    Body(#[from] JsonError),
    /// None is known.
    #[error("no controller is known")]
    Nobody,
}

impl Error {
    /// What the one that leads has refused it with, by what they have agreed on; `None` when it may still come about.
    pub(super) fn decided(&self) -> Option<ResponseCode> {
        let Self::Refused { code, .. } = self else { return None };
        let is_decided = *code != ResponseCode::ControllerNotLeader && DECIDED.contains(&code.number());
        is_decided.then_some(*code)
    }

    /// Whether the controllers do not know this broker any more.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(
            self.decided(),
            Some(ResponseCode::ControllerBrokerNeedToBeRegistered | ResponseCode::ControllerBrokerMetadataNotExist)
        )
    }
}

/// The controllers, on connections that stay open. Signs of life go on others than questions: one that is not answered ends its connection,
/// and then the controller at its end would take the broker for gone.
pub(super) struct Remote {
    asked: Vec<Client>,
    told: Vec<Client>,
    /// The one that has answered last, or the one behind another that has not.
    leader: AtomicUsize,
}

impl Remote {
    pub(super) fn new(addresses: &[String], clock: &Arc<dyn Clock>) -> Self {
        // Who asks once a second at most needs no pause after a failure, and a controller that is back must hear soon who lives.
        let clients = || addresses.iter().map(|address| Client::eager(address, Arc::clone(clock))).collect();
        Self { asked: clients(), told: clients(), leader: AtomicUsize::new(0) }
    }

    /// Asks the one that leads; whichever it is, beginning with the one that did last.
    async fn ask(&self, code: RequestCode, fields: Fields, body: Bytes) -> Result<Command, Error> {
        self.ask_within(ANSWERED_WITHIN, code, fields, body).await
    }

    /// The same; each of them has so long.
    async fn ask_within(
        &self,
        within: Duration,
        code: RequestCode,
        fields: Fields,
        body: Bytes,
    ) -> Result<Command, Error> {
        let (first, count) = (self.leader.load(Ordering::Relaxed), self.asked.len());
        let mut last = Error::Nobody;
        for index in (0..count).map(|step| (first + step) % count) {
            let request = Command::request(code, fields.clone(), body.clone());
            let answer = match self.asked[index].call(request, within).await {
                Ok(answer) => answer,
                Err(error) => {
                    // One that hangs takes its time, and it is not to be the first again.
                    self.leader.store((index + 1) % count, Ordering::Relaxed);
                    last = error.into();
                    continue;
                }
            };
            let (code, remark) = (answer.response_code(), answer.remark.clone().unwrap_or_default());
            match code {
                ResponseCode::Success => {
                    self.leader.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                ResponseCode::ControllerNotLeader => last = Error::Refused { code, remark },
                code => return Err(Error::Refused { code, remark }),
            }
        }
        Err(last)
    }
}

#[async_trait]
impl Controllers for Remote {
    async fn next_id(&self, options: &Options) -> Result<MemberId, Error> {
        let header = BrokerMember { cluster_name: options.cluster.clone(), broker_name: options.name.clone() };
        let answer = self.ask(RequestCode::ControllerGetNextBrokerId, header.to_fields(), Bytes::new()).await?;
        Ok(MemberId(GetNextBrokerIdAnswer::of(&answer.fields)?.next_broker_id))
    }

    async fn apply_id(&self, options: &Options, id: MemberId, check_code: &str) -> Result<(), Error> {
        let header = ApplyBrokerId {
            cluster_name: options.cluster.clone(),
            broker_name: options.name.clone(),
            applied_broker_id: id.0,
            register_check_code: check_code.to_owned(),
        };
        self.ask(RequestCode::ControllerApplyBrokerId, header.to_fields(), Bytes::new()).await.map(drop)
    }

    async fn register(&self, options: &Options, id: MemberId) -> Result<(), Error> {
        let header = RegisterBrokerToController {
            cluster_name: options.cluster.clone(),
            broker_name: options.name.clone(),
            broker_id: id.0,
            broker_address: options.advertised.to_string(),
        };
        self.ask(RequestCode::ControllerRegisterBroker, header.to_fields(), Bytes::new()).await.map(drop)
    }

    async fn view(&self, options: &Options) -> Result<View, Error> {
        let header = BrokerName { broker_name: options.name.clone() };
        let code = RequestCode::ControllerGetReplicaInfo;
        let answer = self.ask_within(LOOKED_WITHIN, code, header.to_fields(), Bytes::new()).await?;
        let GetReplicaInfoAnswer { master_broker_id, master_address, master_epoch } =
            GetReplicaInfoAnswer::of(&answer.fields)?;
        let SyncStateSet { sync_state_set, sync_state_set_epoch } = remoting_proto::from_slice(&answer.body)?;
        Ok(View {
            master: master_broker_id.map(MemberId).zip(master_address),
            epoch: Epoch(i32::try_from(master_epoch).unwrap_or(i32::MAX)),
            in_sync: sync_state_set.into_iter().map(MemberId).collect(),
            in_sync_epoch: sync_state_set_epoch,
        })
    }

    async fn elect(&self, options: &Options, id: MemberId) -> Result<(), Error> {
        let header = ElectMaster {
            cluster_name: options.cluster.clone(),
            broker_name: options.name.clone(),
            broker_id: Some(id.0),
            designate_elect: Some(false),
        };
        self.ask(RequestCode::ControllerElectMaster, header.to_fields(), Bytes::new()).await.map(drop)
    }

    async fn set_in_sync(&self, options: &Options, id: MemberId, epoch: Epoch, change: &Change) -> Result<i32, Error> {
        let header = AlterSyncStateSet {
            broker_name: options.name.clone(),
            master_broker_id: id.0,
            master_epoch: epoch.0.into(),
        };
        let set = SyncStateSet {
            sync_state_set: change.in_sync.iter().map(|id| id.0).collect(),
            sync_state_set_epoch: change.epoch,
        };
        let body = remoting_proto::to_vec(&set, Dialect::Standard);
        let answer = self.ask(RequestCode::ControllerAlterSyncStateSet, header.to_fields(), body.into()).await?;
        Ok(remoting_proto::from_slice::<SyncStateSet>(&answer.body)?.sync_state_set_epoch)
    }

    async fn tell(&self, options: &Options, id: MemberId, standing: Standing) {
        let header = ControllerHeartbeat {
            cluster_name: options.cluster.clone(),
            broker_addr: options.advertised.to_string(),
            broker_name: options.name.clone(),
            broker_id: Some(id.0),
            epoch: Some(standing.epoch.0.into()),
            max_offset: Some(standing.end.0.cast_signed()),
            heartbeat_timeout_ms: Some(i64::try_from(SILENT_MAX.as_millis()).unwrap_or(i64::MAX)),
            election_priority: Some(options.priority),
        };
        let mut telling = tokio::task::JoinSet::new();
        for client in &self.told {
            let client = client.clone();
            let request = Command::request(RequestCode::BrokerHeartbeat, header.to_fields(), Bytes::new());
            telling.spawn(async move { drop(client.oneway(request, SENT_WITHIN).await) });
        }
        while telling.join_next().await.is_some() {}
    }
}
