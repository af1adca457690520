//! What controllers and operators ask a broker under controllers. Source: Apache 5.5 `AdminBrokerProcessor`, `EpochEntryCache`.

use remoting_proto::body::{EpochCache, EpochEntry};
use remoting_proto::{Command, ResponseCode};

use super::{Answer, Refusal, done, json};
use crate::server::Core;

/// The epochs of this broker's log.
pub(super) fn epochs(core: &Core, request: &Command) -> Answer {
    let Some(membership) = &core.membership else {
        return Err(Refusal::new(
            ResponseCode::SystemError,
            "this broker is not under controllers: set enableControllerMode",
        ));
    };
    let end = core.broker.marks().appended_to();
    let entry = |stretch: crate::replication::epochs::Stretch| EpochEntry {
        epoch: stretch.epoch.0,
        start_offset: stretch.start,
        end_offset: stretch.end,
    };
    let mut cache = EpochCache {
        cluster_name: core.options.cluster.clone(),
        broker_name: core.name().to_owned(),
        broker_id: membership.id().0,
        epoch_list: membership.history().epochs().stretches(end).map(entry).collect(),
        max_offset: end.0,
    };
    if let Some(last) = cache.epoch_list.last_mut() {
        // It goes on.
        last.end_offset = i64::MAX as u64;
    }
    Ok(json(request, &cache))
}

/// A controller says that there is another master. Who asks anew hears it from the one that leads.
pub(super) fn role_changed(core: &Core, request: &Command) -> Command {
    if let Some(membership) = &core.membership {
        membership.look_anew();
    }
    done(request)
}
