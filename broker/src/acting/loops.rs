//! What a broker that may stand in, or be stood in for, says to name servers and asks them each second; and what a slave tells a master that
//! is back without having asked, as one is that was only out of reach.

use std::time::Duration;

use bytes::Bytes;
use remoting::Client;
use remoting_proto::body::{DataVersion, HandBack, MemberGroup};
use remoting_proto::requests::{BrokerAddress, BrokerMember, BrokerName, QueryDataVersionAnswer};
use remoting_proto::{Command, Dialect, Fields, RequestCode, ResponseCode};
use types::Broker as _;

use super::part::Members;
use super::{Acting, hand_back};
use crate::server::{Core, Replication};

/// Source: `brokerHeartbeatInterval`.
const SPEAK_EVERY: Duration = Duration::from_secs(1);
/// How long a name server, or the master, may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// How long a broker counts as living without a sign of life. Source: `brokerNotActiveTimeoutMillis`.
pub(crate) const SILENT_MAX_MS: i64 = 10_000;

/// Tells a name server again and again that this broker lives, and asks it who else of its name does; returns once it does not know the broker
/// with these topics. On a connection of its own: a question that is not answered ends it, and a name server forgets a broker with the
/// connection on which that has registered.
pub(crate) async fn stay_known(core: &Core, acting: &Acting, index: usize, client: &Client, version: DataVersion) {
    loop {
        if core.broker.is_slave() {
            acting.see(index, members(core, client).await, is_following(core));
        }
        tokio::select! {
            () = core.env.clock.sleep(SPEAK_EVERY) => {}
            () = acting.look.notified() => {}
        }
        if !is_known(core, client, version).await {
            return;
        }
    }
}

/// A name server does not know this broker: what it said before may be true no longer.
pub(crate) fn is_unknown(core: &Core, acting: &Acting, index: usize) {
    acting.see(index, None, is_following(core));
}

/// A slave tells its master what it has done in its stead and what its log does not say yet, for ever.
pub(crate) async fn hand_on(core: &Core, acting: &Acting) {
    let mut said = String::new();
    loop {
        core.env.clock.sleep(SPEAK_EVERY).await;
        if acting.stands_in() || !is_following(core) {
            continue;
        }
        forget_known(core, acting).await;
        let (master, told) = {
            let part = acting.part.lock();
            (part.master().filter(|_| !part.is_quiet(core.env.clock.moment())), part.told())
        };
        let Some(master) = master.filter(|_| told != HandBack::default()) else { continue };
        let text = match hand_back::tell(core, &master, &told).await {
            Ok(()) => {
                acting.part.lock().forget_told(told);
                acting.changed.notify_one();
                String::new()
            }
            Err(error) => error.to_string(),
        };
        if text != said && !text.is_empty() {
            tracing::warn!(
                error = text,
                master,
                "the master does not take what was done in its stead; it is tried again"
            );
        }
        said = text;
    }
}

/// Whether a slave gets its master's log.
fn is_following(core: &Core) -> bool {
    match &core.replication {
        Replication::Slave(slave) => slave.connected_to().is_some(),
        Replication::Master(_) => false,
    }
}

/// Forgets what the log says by now, and what is of groups or topics that are gone.
async fn forget_known(core: &Core, acting: &Acting) {
    let kept = acting.part.lock().offsets().clone();
    let mut is_changed = false;
    for (place, offset) in kept {
        let (group, topic, queue) = &place;
        let is_there = core.broker.known_topic(topic).is_some() && core.broker.is_group_known(group);
        let is_known = !is_there
            || core
                .broker
                .committed_offset(group, topic, *queue)
                .await
                .is_ok_and(|committed| committed.is_some_and(|committed| committed >= offset));
        if is_known {
            is_changed |= acting.part.lock().forget(&place, offset);
        }
    }
    let delivered = acting.part.lock().delivered().clone();
    if !delivered.is_empty()
        && let Ok(ended) = core.broker.ended_timers(delivered.into_iter().collect()).await
    {
        is_changed |= !ended.is_empty();
        acting.part.lock().delivered().retain(|key| !ended.contains(key));
    }
    if is_changed {
        acting.changed.notify_one();
    }
}

/// Who of this broker's name a name server knows; `None` when it does not say.
pub(super) async fn members(core: &Core, client: &Client) -> Option<Members> {
    let asked = BrokerMember { cluster_name: core.options.cluster.clone(), broker_name: core.name().to_owned() };
    let answer = ask(client, RequestCode::GetBrokerMemberGroup, asked.to_fields(), Bytes::new()).await?;
    let group: MemberGroup = remoting_proto::from_slice(&answer.body).ok()?;
    Some(group.broker_member_group.broker_addrs)
}

/// A sign of life too. Source: `sendHeartbeatViaDataVersion`, which old name servers understand.
async fn is_known(core: &Core, client: &Client, version: DataVersion) -> bool {
    let address =
        BrokerAddress { cluster_name: core.options.cluster.clone(), broker_addr: core.options.advertised.to_string() };
    let body = remoting_proto::to_vec(&version, Dialect::Fastjson);
    let answer = ask(client, RequestCode::QueryDataVersion, address.to_fields(), body.into()).await;
    let said = answer.and_then(|answer| QueryDataVersionAnswer::of(&answer.fields).ok()?.changed);
    // One that does not answer may know it.
    said != Some(true)
}

async fn ask(client: &Client, code: RequestCode, fields: Fields, body: Bytes) -> Option<Command> {
    let answer = client.call(Command::request(code, fields, body), ANSWERED_WITHIN).await.ok()?;
    (answer.response_code() == ResponseCode::Success).then_some(answer)
}

/// Names the broker that is meant: another one may be at its address by now.
pub(super) fn named(core: &Core) -> Fields {
    BrokerName { broker_name: core.name().to_owned() }.to_fields()
}
