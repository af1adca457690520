//! Passing requests on: as they came, and the answers as they come.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ::remoting::Client;
use ::remoting::client::Error;
use remoting_proto::body::{ConsumerIdList, HeartbeatData};
use remoting_proto::requests::HeartBeatAnswer;
use remoting_proto::{Command, Dialect, FRAME_BYTES_MAX, Flag, RequestCode, ResponseCode};
use tokio::task::JoinSet;
use types::broker::Unavailable;

use super::lines::Lines;
use super::{Door, Refusal, codes, target};

/// Longest wait for a broker beyond the time for which it may hold a request back. Brokers wait 5 s for a disk or a slave, and 10 s for a
/// client, before they answer that it was not enough. Source: Apache 5.5 `MessageStoreConfig.syncFlushTimeout`, `Broker2Client`.
const ANSWER_WITHIN: Duration = Duration::from_secs(12);
/// Longest wait of a client that lives, or leaves, for brokers that do not answer: clients wait 3 s, and else give up their connection, on
/// which other brokers are. Source: Apache 5.5 `ClientConfig.mqClientApiTimeout`.
const TELL_WITHIN: Duration = Duration::from_secs(2);

impl Door {
    /// To the broker that the request names, else to the one whose port the client came to, else to the only one.
    pub(super) async fn pass_to_named(&self, lines: &Lines, request: Command) -> Result<Command, Refusal> {
        // Messages that are popped and cannot be written are away until their time is over.
        if request.request_code() == RequestCode::PopMessage && !lines.connection.has_room(FRAME_BYTES_MAX) {
            let remark = "[OVERLOAD] too many bytes of answers wait to be read by this client";
            return Err(Refusal::new(ResponseCode::SystemBusy, remark));
        }
        let broker = match target::in_header(&request) {
            Some(broker) => Arc::from(broker),
            None => self.unnamed(lines, &request).await?,
        };
        self.pass(lines, &broker, request).await
    }

    /// To all brokers at once, as one may say nothing; the first by name that does what is asked answers.
    pub(super) async fn pass_to_any(&self, lines: &Lines, request: Command) -> Result<Command, Refusal> {
        let brokers = self.brokers_of(lines).await?;
        most_wanted(self.tell(to_all(lines, &brokers), request).await)
    }

    /// To the brokers of the topic, as to any: only there is it set whether a group pulls or pops it.
    pub(super) async fn pass_to_topic(&self, lines: &Lines, request: Command) -> Result<Command, Refusal> {
        let mut brokers = self.brokers_of(lines).await?;
        let of_topic = self.brokers_with(&target::topic_in_body(&request)?).await?;
        let has_topic = |broker: &str| of_topic.iter().any(|name| name == broker);
        if brokers.iter().any(|(broker, _)| has_topic(broker)) {
            brokers.retain(|(broker, _)| has_topic(broker));
        }
        most_wanted(self.tell(to_all(lines, &brokers), request).await)
    }

    /// To all brokers for the members that each knows: who did not come through a proxy is known to the brokers of its topics only.
    pub(super) async fn members(&self, lines: &Lines, request: Command) -> Result<Command, Refusal> {
        let dialect = Dialect::of(request.version);
        let brokers = self.brokers_of(lines).await?;
        members_of(self.tell(to_all(lines, &brokers), request).await, dialect)
    }

    /// A heartbeat, to all brokers; one answer is enough. The others hear of it with the next one, or when there is something else for them.
    pub(super) async fn beat(&self, lines: &Lines, request: Command) -> Result<Command, Refusal> {
        let brokers = self.brokers_of(lines).await?;
        lines.keep(&brokers);
        // One without subscriptions says nothing to who has not heard them.
        if remoting_proto::from_slice::<HeartbeatData>(&request.body).is_ok_and(|told| !told.without_sub) {
            lines.heartbeat.set(request.clone());
        }
        most_wanted(self.tell(to_all(lines, &brokers), request).await)
    }

    /// To the brokers that know the client by this connection.
    pub(super) async fn pass_to_known(&self, lines: &Lines, request: Command) -> Result<Command, Refusal> {
        let nobody = request.answer(ResponseCode::Success);
        // Of those that it stays in, brokers hear with its next heartbeat.
        lines.heartbeat.clear();
        match lines.all() {
            none if none.is_empty() => Ok(nobody),
            known => most_wanted(self.tell(known, request).await),
        }
    }

    /// Those that a request to any or all is for, with their addresses.
    async fn brokers_of(&self, lines: &Lines) -> Result<Vec<(Arc<str>, Arc<str>)>, Refusal> {
        let mut brokers = self.cluster.masters().await?;
        if let Some(own) = self.broker_of(&lines.connection) {
            brokers.retain(|(broker, _)| *broker == own);
        }
        Ok(brokers)
    }

    /// The broker that a request is for whose header names none.
    async fn unnamed(&self, lines: &Lines, request: &Command) -> Result<Arc<str>, Refusal> {
        if let Some(own) = self.broker_of(&lines.connection) {
            return Ok(own);
        }
        if let Some(broker) = target::in_body(request)? {
            return Ok(broker.into());
        }
        let brokers = self.cluster.masters().await?;
        let [(only, _)] = &brokers[..] else {
            // Source of the code: Apache 5.5 `AbstractRemotingActivity.request`.
            let remark = "the request names no broker (field bname), as clients before 5.0 and those that are not Java's do; \
                          give each broker a port of its own (--remoting-brokers)";
            return Err(Refusal::new(ResponseCode::VersionNotSupported, remark));
        };
        Ok(only.clone())
    }

    async fn pass(&self, lines: &Lines, broker: &Arc<str>, request: Command) -> Result<Command, Refusal> {
        let Some(address) = self.cluster.master(broker).await? else {
            let remark = format!("broker {broker} is not there, or has no master");
            return Err(Refusal::new(ResponseCode::ServiceNotAvailable, remark));
        };
        let line = lines.to(broker, &address);
        if request.flag.is_oneway() {
            let nobody = request.answer(ResponseCode::Success);
            return line.oneway(request, ANSWER_WITHIN).await.map(|()| nobody).map_err(|error| self.failed(&error));
        }
        let wait = codes::wait(&request);
        tokio::select! {
            biased;
            answered = line.call(request, ANSWER_WITHIN + wait) => answered.map_err(|error| self.failed(&error)),
            // Its connections to brokers end then, so that they lease nothing for it any longer.
            () = lines.connection.unheard(), if !wait.is_zero() => Err(Refusal::gone()),
        }
    }

    /// Tells all of them at once, and waits for [`TELL_WITHIN`]; who answers later has heard of it all the same. The answers are in the order
    /// of the brokers.
    async fn tell(&self, brokers: Vec<Client>, request: Command) -> Vec<Result<Command, Refusal>> {
        let waited_ms = u64::try_from(TELL_WITHIN.as_millis()).unwrap_or(u64::MAX);
        let mut answers: Vec<_> = brokers.iter().map(|_| Err(Unavailable::TimedOut { waited_ms }.into())).collect();
        let mut told = JoinSet::new();
        for (index, broker) in brokers.into_iter().enumerate() {
            // Whether one has heard of it is known by its answer.
            let request = Command { flag: Flag::default(), ..request.clone() };
            told.spawn(async move { (index, broker.call(request, ANSWER_WITHIN).await) });
        }
        let all = async {
            while let Some(answered) = told.join_next().await {
                if let Ok((index, answer)) = answered
                    && let Some(place) = answers.get_mut(index)
                {
                    *place = answer.map_err(|error| self.failed(&error));
                }
            }
        };
        tokio::select! {
            biased;
            () = all => {}
            () = self.clock.sleep(TELL_WITHIN) => told.detach_all(),
        }
        answers
    }

    /// What a broker that cannot be asked, or has not answered, is to who asked.
    fn failed(&self, error: &Error) -> Refusal {
        if matches!(error, Error::Connect { .. } | Error::Lost { .. } | Error::BackOff { .. }) {
            self.cluster.doubt_masters();
        }
        let code = match error {
            Error::Busy { .. } => ResponseCode::SystemBusy,
            Error::Frame(_) => ResponseCode::SystemError,
            // Clients send to another broker then.
            Error::Connect { .. } | Error::BackOff { .. } | Error::Lost { .. } | Error::TimedOut { .. } => {
                ResponseCode::ServiceNotAvailable
            }
        };
        Refusal::new(code, error.to_string())
    }
}

fn no_broker() -> Refusal {
    Refusal::new(ResponseCode::ServiceNotAvailable, "no broker is there")
}

/// The connections to these brokers, in their order.
fn to_all(lines: &Lines, brokers: &[(Arc<str>, Arc<str>)]) -> Vec<Client> {
    brokers.iter().map(|(broker, address)| lines.to(broker, address)).collect()
}

/// The answer that tells a client most: that a broker does not know its subscriptions, else that one has heard it, else what is wrong.
fn most_wanted(answers: Vec<Result<Command, Refusal>>) -> Result<Command, Refusal> {
    let rank = |answer: &Result<Command, Refusal>| match answer {
        Ok(answer) if answer.response_code() == ResponseCode::Success => {
            let is_unknown = HeartBeatAnswer::of(&answer.fields).is_ok_and(|told| told.is_sub_change == Some(true));
            if is_unknown { 0 } else { 1 }
        }
        Ok(_) => 2,
        Err(_) => 3,
    };
    answers.into_iter().min_by_key(rank).unwrap_or_else(|| Err(no_broker()))
}

/// All members that the brokers which answered know; else why there is no answer.
fn members_of(answers: Vec<Result<Command, Refusal>>, dialect: Dialect) -> Result<Command, Refusal> {
    let mut members = BTreeSet::new();
    for answer in answers.iter().flatten().filter(|answer| answer.response_code() == ResponseCode::Success) {
        members.extend(remoting_proto::from_slice::<ConsumerIdList>(&answer.body)?.consumer_id_list);
    }
    let answer = most_wanted(answers)?;
    if members.is_empty() {
        return Ok(answer);
    }
    let list = ConsumerIdList { consumer_id_list: members.into_iter().collect() };
    Ok(Command { body: remoting_proto::to_vec(&list, dialect).into(), ..answer })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use remoting_proto::Fields;

    use super::*;

    #[test]
    fn a_client_hears_of_the_broker_that_lacks_its_subscriptions() {
        let answer = |code: ResponseCode, is_sub_change: bool| {
            let header = HeartBeatAnswer { is_support_heart_beat_v2: Some(true), is_sub_change: Some(is_sub_change) };
            let request = Command::request(RequestCode::HeartBeat, Fields::default(), Bytes::new());
            Ok(Command { fields: header.to_fields(), ..request.answer(code) })
        };
        let heard = |answers| {
            let heard = most_wanted(answers).expect("an answer");
            (heard.response_code(), HeartBeatAnswer::of(&heard.fields).expect("read").is_sub_change)
        };
        let done = ResponseCode::Success;
        assert_eq!(heard(vec![Err(no_broker()), answer(done, false), answer(done, true)]), (done, Some(true)));
        let busy = answer(ResponseCode::SystemBusy, true);
        assert_eq!(heard(vec![busy, answer(done, false), Err(no_broker())]), (done, Some(false)));
        assert!(most_wanted(vec![Err(no_broker())]).is_err());
        let nobody = most_wanted(Vec::new()).expect_err("nobody was asked");
        assert_eq!(nobody.remark, no_broker().remark);
    }
}
