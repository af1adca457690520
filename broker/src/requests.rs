//! The request codes, one function each, and the one `match` over them.
//!
//! Source: the processors of Apache 5.5's broker; each file names its own.

mod acting;
mod assignment;
mod clients;
mod consumption;
mod groups;
mod leases;
mod locks;
mod membership;
mod names;
mod offsets;
mod peek;
mod pop;
mod pop_answer;
mod pull;
mod query;
mod refusal;
mod relay;
mod reply;
mod reset;
pub(crate) mod runtime;
mod send;
mod send_back;
mod slaves;
mod stats;
mod topics;
mod transaction;

use bytes::Bytes;
use remoting::Connection;
use remoting_proto::{Command, Dialect, RequestCode, ResponseCode};
use serde::Serialize;

pub(crate) use self::names::PRODUCERS_SYS_FLAG;
use self::refusal::Refusal;
pub(crate) use self::transaction::ask_producers;
use crate::server::Core;

/// Most topics or groups that one request makes.
const LISTED_MAX: usize = 1000;

type Answer = Result<Command, Refusal>;

/// Whether a request is one of those that wait for messages.
pub(crate) fn may_wait(request: &Command) -> bool {
    use RequestCode as Code;
    matches!(request.request_code(), Code::PullMessage | Code::LitePullMessage | Code::PopMessage | Code::Notification)
}

/// Whether a request changes nothing. Of those with large answers only these two do.
pub(crate) fn only_reads(request: &Command) -> bool {
    !matches!(request.request_code(), RequestCode::PopMessage | RequestCode::LockBatchMq)
}

/// Serves one request.
pub(crate) async fn serve(core: &Core, connection: &Connection, request: &Command) -> Command {
    let answer = match request.request_code() {
        RequestCode::SendMessage
        | RequestCode::SendMessageV2
        | RequestCode::SendBatchMessage
        | RequestCode::SendOnce => send::send(core, connection, request).await,
        RequestCode::SendReplyMessage | RequestCode::SendReplyMessageV2 => {
            reply::reply(core, connection, request).await
        }
        RequestCode::ConsumerSendMsgBack => send_back::send_back(core, request).await,
        RequestCode::EndTransaction => transaction::end(core, request).await,
        RequestCode::RecallMessage => send::recall(core, request).await,
        RequestCode::PullMessage | RequestCode::LitePullMessage => pull::pull(core, connection, request).await,
        RequestCode::PopMessage => pop::pop(core, connection, request).await,
        RequestCode::Notification => pop::notification(core, connection, request).await,
        RequestCode::PeekMessage => peek::peek(core, request).await,
        RequestCode::PollingInfo => peek::waiting(core, request).await,
        RequestCode::AckMessage => leases::ack(core, request).await,
        RequestCode::BatchAckMessage => leases::batch_ack(core, request).await,
        RequestCode::ChangeMessageInvisibleTime => leases::change(core, request).await,
        RequestCode::QueryConsumerOffset => offsets::query(core, request).await,
        RequestCode::UpdateConsumerOffset => offsets::update(core, request).await,
        RequestCode::GetMaxOffset => offsets::max(core, request).await,
        RequestCode::GetMinOffset => offsets::min(core, request).await,
        RequestCode::SearchOffsetByTimestamp => offsets::search(core, request).await,
        RequestCode::GetEarliestMsgStoreTime => offsets::earliest(core, request).await,
        RequestCode::QueryMessage => query::query(core, request).await,
        RequestCode::ViewMessageById => offsets::view(core, request).await,
        RequestCode::HeartBeat => clients::heartbeat(core, connection, request).await,
        RequestCode::UnregisterClient => clients::unregister(core, connection, request),
        RequestCode::CheckClientConfig => clients::check_config(request),
        RequestCode::GetConsumerListByGroup => clients::consumer_list(core, request),
        RequestCode::GetConsumerConnectionList => clients::consumer_connections(core, request),
        RequestCode::GetProducerConnectionList => clients::producer_connections(core, request),
        RequestCode::GetAllProducerInfo => Ok(json(request, &core.clients.lock().all_producers())),
        RequestCode::QueryAssignment => assignment::query(core, request).await,
        RequestCode::SetMessageRequestMode => assignment::set_mode(core, request).await,
        RequestCode::GetAllMessageRequestMode => Ok(assignment::modes(core, request)),
        RequestCode::LockBatchMq => locks::lock(core, request).await,
        RequestCode::UnlockBatchMq => locks::unlock(core, request),
        RequestCode::UpdateAndCreateTopic => topics::put(core, request).await,
        RequestCode::UpdateAndCreateTopicList => topics::put_list(core, request).await,
        RequestCode::DeleteTopicInBroker => topics::delete(core, request).await,
        RequestCode::GetAllTopicConfig => Ok(topics::all(core, request)),
        RequestCode::GetTopicConfig => topics::get(core, request),
        RequestCode::UpdateAndCreateSubscriptionGroup => groups::put(core, request).await,
        RequestCode::UpdateAndCreateSubscriptionGroupList => groups::put_list(core, request).await,
        RequestCode::UpdateAndGetGroupForbidden => groups::forbid(core, request).await,
        RequestCode::DeleteSubscriptionGroup => groups::delete(core, request).await,
        RequestCode::GetAllSubscriptionGroupConfig => groups::all(core, request).await,
        RequestCode::GetSubscriptionGroupConfig => groups::get(core, request).await,
        RequestCode::GetTopicStatsInfo => stats::of_topic(core, request).await,
        RequestCode::ViewBrokerStatsData => stats::view(core, request),
        RequestCode::QueryConsumeQueue => stats::entries(core, request).await,
        RequestCode::GetConsumeStats => consumption::of_group(core, request).await,
        RequestCode::GetBrokerConsumeStats => consumption::of_broker(core, request).await,
        RequestCode::QueryTopicConsumeByWho => consumption::groups_of(core, request).await,
        RequestCode::QueryTopicsByConsumer => consumption::topics_of(core, request).await,
        RequestCode::QuerySubscriptionByConsumer => consumption::subscription(core, request),
        RequestCode::QueryCorrectionOffset => consumption::corrections(core, request).await,
        RequestCode::QueryConsumeTimeSpan => consumption::time_spans(core, request).await,
        RequestCode::InvokeBrokerToResetOffset => reset::reset(core, request).await,
        RequestCode::CloneGroupOffset => reset::clone(core, request).await,
        RequestCode::InvokeBrokerToGetConsumerStatus => relay::status(core, request).await,
        RequestCode::GetConsumerRunningInfo => relay::running_info(core, request).await,
        RequestCode::ConsumeMessageDirectly => relay::consume_directly(core, request).await,
        RequestCode::GetBrokerRuntimeInfo => Ok(runtime::info(core, request).await),
        RequestCode::GetBrokerHaStatus => Ok(json(request, &runtime::ha_status(core))),
        RequestCode::ExchangeBrokerHaInfo => slaves::ha_info(core, request),
        RequestCode::NotifyMinBrokerIdChange => Ok(acting::lowest_changed(core, request)),
        RequestCode::HandBack => acting::hand_back(core, request).await,
        RequestCode::GetBrokerEpochCache => membership::epochs(core, request),
        RequestCode::NotifyBrokerRoleChanged => Ok(membership::role_changed(core, request)),
        RequestCode::GetAllConsumerOffset => slaves::consumer_offsets(core, request).await,
        RequestCode::GetAllDelayOffset => slaves::delay_offsets(core, request).await,
        RequestCode::GetTimerCheckPoint => slaves::timer_check_point(core, request).await,
        RequestCode::GetTimerMetrics => Ok(slaves::timer_metrics(core, request)),
        RequestCode::GetBrokerConfig => Ok(runtime::config(core, request)),
        RequestCode::UpdateBrokerConfig => runtime::update(core, request),
        RequestCode::GetSystemTopicListFromBroker => Ok(topics::of_system(core, request)),
        RequestCode::DeleteExpiredCommitLog => core.broker.expire_now().map(|()| done(request)).map_err(Refusal::from),
        // Queues go with their last message, and those of a topic that is deleted with it.
        RequestCode::CleanExpiredConsumeQueue | RequestCode::CleanUnusedTopic => Ok(done(request)),
        // What name servers and clients are asked, what is not built yet, and what nobody knows.
        _ => Err(Refusal::new(ResponseCode::RequestCodeNotSupported, request.not_supported())),
    };
    answer.unwrap_or_else(|Refusal { code, remark, fields }| {
        tracing::debug!(code = request.code, remote = %connection.remote(), %remark, "request refused");
        Command { remark: Some(remark), fields, ..request.answer(code) }
    })
}

fn done(request: &Command) -> Command {
    request.answer(ResponseCode::Success)
}

/// A body in the dialect that the client's version expects.
fn json(request: &Command, body: &impl Serialize) -> Command {
    let body = remoting_proto::to_vec(body, Dialect::of(request.version));
    Command { body: Bytes::from(body), ..done(request) }
}
