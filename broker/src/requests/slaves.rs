//! What a master's slaves ask for besides its log. Ours ask nothing: to them the log says it.
//!
//! Answers are true for who has the log up to some position, so they wait until all slaves that are connected have that, and at least one is:
//! who asks may be the one that is not. Otherwise one that is made the master would leave out what its log does not have yet: offsets would be
//! skipped that it gives to other messages.
//! Source: Apache 5.5 `SlaveSynchronize`, `AdminBrokerProcessor`, `BrokerController#onMasterOnline`.

use std::time::Duration;

use remoting_proto::body::{ConsumerOffsets, DataVersion, DelayOffsets, TimerCheckPoint, TimerMetrics};
use remoting_proto::requests::ExchangeBrokerHaInfoAnswer;
use remoting_proto::{Command, ResponseCode};

use super::{Answer, Refusal, done, json};
use crate::server::{Core, Replication};
use crate::takeover::Told;

/// How long it is waited for slaves. They give up after 3 s and ask again after 3 s, or 60 s.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Where groups are, the broker's own among them.
pub(super) async fn consumer_offsets(core: &Core, request: &Command) -> Answer {
    let Told { offsets, .. } = told(core).await?;
    Ok(json(request, &ConsumerOffsets { data_version: version(core), offset_table: offsets }))
}

/// How far Apache's messages by delay level are delivered that are in a directory which was taken over.
pub(super) async fn delay_offsets(core: &Core, request: &Command) -> Answer {
    let Told { levels, .. } = told(core).await?;
    let offset_table = levels.into_iter().map(|(level, offset)| (level, offset.0)).collect();
    Ok(json(request, &DelayOffsets { data_version: version(core), offset_table }))
}

/// How far messages are delivered that wait for a time.
pub(super) async fn timer_check_point(core: &Core, request: &Command) -> Answer {
    let Told { wheel_read_to, wheel_offset, .. } = told(core).await?;
    let check_point = TimerCheckPoint { read_to_ms: wheel_read_to.0, wheel_offset: wheel_offset.0 };
    Ok(Command { body: check_point.encode(&version(core)).into(), ..done(request) })
}

/// How many wait, which is shown to people only.
pub(super) fn timer_metrics(core: &Core, request: &Command) -> Command {
    json(request, &TimerMetrics { data_version: version(core), ..TimerMetrics::default() })
}

/// Where this broker has its log, if it is a master with slaves.
pub(super) fn ha_info(core: &Core, request: &Command) -> Answer {
    let Some(slaves_at) = core.slaves_at else {
        return Err(Refusal::new(
            ResponseCode::SystemError,
            "this broker has no slaves: neither brokerRole nor haListenPort is set",
        ));
    };
    let answer = ExchangeBrokerHaInfoAnswer {
        master_ha_address: Some(slaves_at.to_string()),
        master_flush_offset: Some(core.broker.status().durable_to.cast_signed()),
        master_address: Some(core.options.advertised.to_string()),
    };
    Ok(Command { fields: answer.to_fields(), ..done(request) })
}

async fn told(core: &Core) -> Result<Told, Refusal> {
    let told = core.broker.told().await?;
    match &core.replication {
        Replication::Master(master) if !master.have(told.end, WAIT_MAX).await => {
            let remark = format!(
                "no slave is connected, or one does not have the log up to {}, within {WAIT_MAX:?}: ask again",
                told.end
            );
            Err(Refusal::new(ResponseCode::SystemBusy, remark))
        }
        Replication::Master(_) | Replication::Slave(_) => Ok(told),
    }
}

/// Another one each time: what has changed is not counted.
fn version(core: &Core) -> DataVersion {
    DataVersion { counter: 0, state_version: 0, timestamp: core.now().0 }
}
