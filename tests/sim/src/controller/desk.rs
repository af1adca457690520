//! A process's way to the controllers: slow, parted one way or both.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use broker::membership::lease::SILENT_MAX;
use broker::membership::{Controllers, LOOKED_WITHIN, MemberId, Options, Standing, Unanswered, View};
use broker::replication::Change;
use broker::replication::epochs::Epoch;
use controller::liveness::Heartbeat;
use controller::state::{self, Answer, BrokerId, Command, InSyncEpoch, MasterEpoch};
use env::Clock;
use remoting::ConnectionId;
use tokio::sync::oneshot;

use super::service::{CLUSTER, NAME, Service, view_of};
use crate::replication::network::{Way, Wire};

/// How long an answer may take, as over Remoting.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// See the module's head. What was asked arrives though who has asked is gone or waits no longer.
pub(super) struct Desk {
    service: Arc<Service>,
    clock: Arc<dyn Clock>,
    wire: Wire,
    /// The connection's, on the wire and there.
    number: u64,
    connection: ConnectionId,
}

impl Desk {
    /// A new process's.
    pub(super) fn new(service: Arc<Service>, clock: Arc<dyn Clock>, wire: Wire) -> Self {
        let (number, connection) = (wire.open(), service.connect());
        Self { service, clock, wire, number, connection }
    }

    /// Which process it is.
    pub(super) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// The process has ended, and its system tells so.
    pub(super) fn hang_up(&self) {
        let connection = self.connection;
        self.send(move |service| service.disconnect(connection));
    }

    fn send(&self, heard: impl FnOnce(&Service) + Send + 'static) {
        let (service, wire, number) = (Arc::clone(&self.service), self.wire.clone(), self.number);
        tokio::spawn(async move {
            wire.travel(number, Way::There).await;
            heard(&service);
        });
    }

    async fn ask<T: Send + 'static>(
        &self,
        within: Duration,
        answer: impl FnOnce(&Service) -> Result<T, Unanswered> + Send + 'static,
    ) -> Result<T, Unanswered> {
        let ((tell, told), wire, number) = (oneshot::channel(), self.wire.clone(), self.number);
        self.send(move |service| {
            let answer = answer(service);
            tokio::spawn(async move {
                wire.travel(number, Way::Back).await;
                // Who has asked may wait no longer.
                drop(tell.send(answer));
            });
        });
        tokio::select! {
            biased;
            told = told => told.unwrap_or(Err(Unanswered::Nobody)),
            () = self.clock.sleep(within) => Err(Unanswered::Nobody),
        }
    }

    async fn propose(&self, command: Command) -> Result<Answer, Unanswered> {
        self.ask(ANSWERED_WITHIN, |service| service.propose(command)).await
    }
}

#[async_trait]
impl Controllers for Desk {
    async fn next_id(&self, _: &Options) -> Result<MemberId, Unanswered> {
        self.ask(ANSWERED_WITHIN, |service| match service.look() {
            Ok(set) => Ok(MemberId(set.next_id.0)),
            Err(Unanswered::Nobody) => Err(Unanswered::Nobody),
            Err(_) => Ok(MemberId(BrokerId::FIRST.0)),
        })
        .await
    }

    async fn apply_id(&self, _: &Options, id: MemberId, check_code: &str) -> Result<(), Unanswered> {
        let (cluster, name, check_code) = (CLUSTER.to_owned(), NAME.to_owned(), check_code.to_owned());
        self.propose(Command::Apply { cluster, name, id: BrokerId(id.0), check_code }).await.map(drop)
    }

    async fn register(&self, options: &Options, id: MemberId) -> Result<(), Unanswered> {
        let address = options.advertised.to_string();
        self.propose(Command::Register { name: NAME.to_owned(), id: BrokerId(id.0), address }).await.map(drop)
    }

    async fn view(&self, _: &Options) -> Result<View, Unanswered> {
        self.ask(LOOKED_WITHIN, |service| service.look().map(|set| view_of(&set))).await
    }

    async fn elect(&self, _: &Options, id: MemberId) -> Result<(), Unanswered> {
        let by = Some(BrokerId(id.0));
        self.propose(Command::Elect { name: NAME.to_owned(), by, is_designated: false }).await.map(drop)
    }

    async fn set_in_sync(&self, _: &Options, id: MemberId, epoch: Epoch, change: &Change) -> Result<i32, Unanswered> {
        let command = Command::SetInSync {
            name: NAME.to_owned(),
            master: BrokerId(id.0),
            master_epoch: MasterEpoch(epoch.0),
            in_sync: change.in_sync.iter().map(|id| BrokerId(id.0)).collect(),
            in_sync_epoch: InSyncEpoch(change.epoch),
        };
        match self.propose(command).await? {
            Answer::InSync(set) => Ok(set.in_sync_epoch.0),
            other => unreachable!("an answer to another question: {other:?}"),
        }
    }

    async fn tell(&self, options: &Options, id: MemberId, standing: Standing) {
        let standing = state::Standing {
            epoch: standing.epoch.0.into(),
            max_offset: standing.end.0.cast_signed(),
            priority: options.priority,
        };
        let heartbeat = Heartbeat { connection: self.connection, timeout: Some(SILENT_MAX), standing };
        self.send(move |service| service.heard(id, heartbeat));
    }
}
