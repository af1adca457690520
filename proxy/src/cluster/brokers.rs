//! Name servers and brokers: where they are, connections to them, and what a failed call means.
//!
//! A connection carries many requests at once, so one is taken from its pool only for the moment of a choice between two, never
//! for a call; calls that wait long have connections of their own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Pool, QueueMode, RecycleResult, Timeouts};
use env::Clock;
use env::clock::Moment;
use parking_lot::Mutex;
use remoting::Client;
use remoting::client::{Error, IN_FLIGHT_MAX};
use remoting_proto::body::{BrokerData, ClusterInfo};
use remoting_proto::{Command, Fields, RequestCode, ResponseCode};
use tokio_util::sync::CancellationToken;
use types::broker::{LookupError, Unavailable};

use super::ANSWER_WITHIN;
use super::cache::Cache;
use super::faults::Faults;

/// Connections to one broker for calls of one kind.
const CONNECTIONS_MAX: usize = 2;
/// Longest wait for a connection to be chosen: nobody keeps one.
const CHOICE_WITHIN: Duration = Duration::from_millis(50);

/// A broker that no name server's list has any longer is kept for so long: brokers register with a name server that was just started
/// only within half a minute, and until then its list is short. One that is really gone fails the calls to it meanwhile.
const VANISHED_KEPT: Duration = Duration::from_secs(60);

/// How long a call may be without an answer before the name servers are asked whether its master still is one, and then again and again.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// That a broker has no master is believed for so long: one may be elected at any moment.
const MASTERLESS_FOR: Duration = Duration::from_millis(200);

/// Broker names and their masters.
pub(super) type Masters = Arc<BTreeMap<Arc<str>, Master>>;

/// A master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Master {
    /// `HOST:PORT`.
    pub(super) address: Arc<str>,
    /// Since when the list does not have it.
    pub(super) vanished_at: Option<Moment>,
}

/// See the module's head.
pub(super) struct Brokers {
    clock: Arc<dyn Clock>,
    name_servers: Vec<Client>,
    /// The name server that answered last.
    current: AtomicUsize,
    masters: Cache<(), Masters>,
    /// By address, of brokers that the newest list has.
    pools: papaya::HashMap<Arc<str>, Arc<Pools>>,
    /// Held for a look.
    faults: Mutex<Faults>,
}

/// Why a broker has not answered, and whether it may have done all the same what it was asked for.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) why: Unavailable,
    pub(super) may_be_done: bool,
}

impl From<Unavailable> for Failed {
    /// Nobody was asked.
    fn from(why: Unavailable) -> Self {
        Self { why, may_be_done: false }
    }
}

struct Pools {
    calls: Pool<Connect>,
    waits: Pool<Connect>,
    /// The address is no master's any more.
    gone: CancellationToken,
}

/// Makes connections; a client opens its own anew when it was lost.
struct Connect {
    address: Arc<str>,
    clock: Arc<dyn Clock>,
}

impl Manager for Connect {
    type Type = Client;
    type Error = Infallible;

    async fn create(&self) -> Result<Client, Infallible> {
        Ok(Client::new(&*self.address, self.clock.clone()))
    }

    async fn recycle(&self, _: &mut Client, _: &Metrics) -> RecycleResult<Infallible> {
        Ok(())
    }
}

/// A request on its way to a broker.
pub(super) struct Request {
    pub(super) code: RequestCode,
    pub(super) fields: Fields,
    pub(super) body: Bytes,
    /// How long the broker may wait before it answers; not zero only for calls that wait for messages.
    pub(super) wait: Duration,
    /// How much later than it should an answer may come, and is not lost.
    pub(super) late_max: Duration,
}

impl Request {
    /// One that is answered at once.
    pub(super) fn new(code: RequestCode, fields: Fields) -> Self {
        Self { code, fields, body: Bytes::new(), wait: Duration::ZERO, late_max: Duration::ZERO }
    }
}

impl Brokers {
    pub(super) fn new(name_servers: Vec<String>, clock: Arc<dyn Clock>) -> Self {
        let name_servers = name_servers.into_iter().map(|address| Client::new(address, clock.clone())).collect();
        let (current, pools) = (AtomicUsize::new(0), papaya::HashMap::new());
        Self { clock, name_servers, current, masters: Cache::new(), pools, faults: Mutex::default() }
    }

    /// Asks the name servers, beginning with the one that answered last, until one answers.
    ///
    /// # Errors
    /// None does.
    pub(super) async fn ask_name_servers(&self, code: RequestCode, fields: Fields) -> Result<Command, Unavailable> {
        let mut failed = Unavailable::Remote { detail: "there is no name server to ask".to_owned() };
        let first = self.current.load(Ordering::Relaxed);
        for turn in 0..self.name_servers.len() {
            let index = (first + turn) % self.name_servers.len();
            let request = Command::request(code, fields.clone(), Bytes::new());
            let Some(client) = self.name_servers.get(index) else { continue };
            match client.call(request, ANSWER_WITHIN).await {
                Ok(answer) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => failed = unavailable(&error),
            }
        }
        Err(failed)
    }

    /// Tells all name servers, which do not tell each other.
    ///
    /// # Errors
    /// One cannot be told, or refuses; the others are told all the same.
    pub(super) async fn tell_name_servers(&self, code: RequestCode, fields: &Fields) -> Result<(), Unavailable> {
        let mut told = Ok(());
        for client in &self.name_servers {
            let request = Command::request(code, fields.clone(), Bytes::new());
            let this = match client.call(request, ANSWER_WITHIN).await {
                Ok(answer) if answer.response_code() == ResponseCode::Success => Ok(()),
                Ok(answer) => Err(refused("a name server", &answer)),
                Err(error) => Err(unavailable(&error)),
            };
            told = told.and(this);
        }
        told
    }

    /// All masters.
    ///
    /// # Errors
    /// No name server can be asked.
    pub(super) async fn masters(&self) -> Result<Masters, LookupError> {
        self.masters.get(&(), || self.clock.moment(), || self.ask_masters()).await
    }

    /// Lets the next caller ask who is there.
    pub(super) fn doubt_masters(&self) {
        self.masters.doubt(&());
    }

    /// Where a broker's master is; `None` if no broker has the name.
    ///
    /// # Errors
    /// No name server can be asked.
    pub(super) async fn master(&self, name: &str) -> Result<Option<Arc<str>>, Unavailable> {
        let known = self.known_master(name).await?;
        if known.is_some() {
            return Ok(known);
        }
        self.masters.doubt_older(&(), MASTERLESS_FOR, self.clock.moment());
        self.known_master(name).await
    }

    async fn known_master(&self, name: &str) -> Result<Option<Arc<str>>, Unavailable> {
        match self.masters().await {
            Ok(masters) => Ok(masters.get(name).map(|master| master.address.clone())),
            Err(LookupError::Unavailable(error)) => Err(error),
            Err(error) => Err(Unavailable::Remote { detail: error.to_string() }),
        }
    }

    /// All masters as a name server has them now.
    ///
    /// # Errors
    /// None can be asked, or the one that answered knows no broker.
    pub(super) async fn ask_masters(&self) -> Result<Masters, LookupError> {
        let answer = self.ask_name_servers(RequestCode::GetBrokerClusterInfo, Fields::default()).await?;
        if answer.response_code() != ResponseCode::Success {
            return Err(refused("the name server", &answer).into());
        }
        let info: ClusterInfo = remoting_proto::from_slice(&answer.body).map_err(unreadable)?;
        let known = self.masters.known(&()).unwrap_or_default();
        let masters = masters_of(info, &known, self.clock.moment())?;
        self.pools.pin().retain(|address, pools| {
            let is_there = masters.values().any(|known| known.address == *address);
            if !is_there {
                pools.gone.cancel();
            }
            is_there
        });
        self.faults.lock().retain(|broker| masters.contains_key(broker));
        Ok(masters)
    }

    /// Asks the master of a broker.
    ///
    /// # Errors
    /// [`Unavailable`]. When it cannot be reached where it is thought to be, the name servers are asked next time.
    pub(super) async fn call(&self, broker: &Arc<str>, request: Request) -> Result<Command, Unavailable> {
        self.try_call(broker, request).await.map_err(|failed| failed.why)
    }

    /// The same, for who does something else if nothing was done. One that stands still or is cut off ends no connection: what waits for it ends
    /// when the name servers have another master in its place.
    ///
    /// # Errors
    /// As [`Brokers::call`].
    pub(super) async fn try_call(&self, broker: &Arc<str>, request: Request) -> Result<Command, Failed> {
        let Some(address) = self.master(broker).await? else {
            let detail = format!("broker {broker} is not there, or has no master");
            return Err(Unavailable::Remote { detail }.into());
        };
        let Request { code, fields, body, wait, late_max } = request;
        let pools = self.pools(&address);
        let pool = if wait.is_zero() { &pools.calls } else { &pools.waits };
        let client = match pool.get().await {
            Ok(chosen) => Client::clone(&chosen),
            Err(_) => return Err(Unavailable::Busy { waiting_max: CONNECTIONS_MAX }.into()),
        };
        let began_at = self.clock.moment();
        let answer = tokio::select! {
            biased;
            answer = client.call(Command::request(code, fields, body), ANSWER_WITHIN + wait + late_max) => answer,
            () = pools.gone.cancelled() => Err(Error::Lost { address: address.to_string() }),
            never = self.look_out(), if wait.is_zero() => match never {},
        };
        let now = self.clock.moment();
        match answer {
            Ok(answer) => {
                if answer.response_code() == ResponseCode::ServiceNotAvailable {
                    // It may be the master no longer.
                    self.masters.doubt_older(&(), LOOK_AFTER, now);
                }
                // How long a wait took says nothing.
                let latency = if wait.is_zero() { now.since(began_at) } else { Duration::ZERO };
                self.faults.lock().answered(broker, latency, now);
                Ok(answer)
            }
            Err(error) => {
                if !matches!(error, Error::Busy { .. } | Error::Frame(_)) {
                    self.masters.doubt(&());
                    self.faults.lock().failed(broker, now);
                }
                let may_be_done = matches!(error, Error::Lost { .. } | Error::TimedOut { .. });
                Err(Failed { why: unavailable(&error), may_be_done })
            }
        }
    }

    /// Asks again and again who is the master.
    async fn look_out(&self) -> Infallible {
        loop {
            self.clock.sleep(LOOK_AFTER).await;
            self.masters.doubt_older(&(), LOOK_AFTER, self.clock.moment());
            // While nobody can be asked what is known goes on.
            drop(self.masters().await);
        }
    }

    /// Notes that a broker has not answered, whatever it does later.
    pub(super) fn failed(&self, broker: &Arc<str>) {
        self.faults.lock().failed(broker, self.clock.moment());
    }

    /// Whether a broker has failed lately, and others should be asked first.
    pub(super) fn has_failed(&self, broker: &str) -> bool {
        self.faults.lock().has_failed(broker, self.clock.moment())
    }

    /// Whether a broker has failed or was slow lately, and another should be sent to.
    pub(super) fn is_unsound(&self, broker: &str) -> bool {
        self.faults.lock().is_unsound(broker, self.clock.moment())
    }

    fn pools(&self, address: &Arc<str>) -> Arc<Pools> {
        let new = || Pools { calls: self.pool(address), waits: self.pool(address), gone: CancellationToken::new() };
        self.pools.pin().get_or_insert_with(address.clone(), || Arc::new(new())).clone()
    }

    fn pool(&self, address: &Arc<str>) -> Pool<Connect> {
        Pool::builder(Connect { address: address.clone(), clock: self.clock.clone() })
            .max_size(CONNECTIONS_MAX)
            .queue_mode(QueueMode::Fifo)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(CHOICE_WITHIN), create: None, recycle: None })
            .build()
            .expect("a runtime is set, which is all that can be missing")
    }
}

/// The masters that a name server knows, and for a while those that were known before.
///
/// # Errors
/// It knows no broker: it was just started.
fn masters_of(info: ClusterInfo, known: &Masters, now: Moment) -> Result<Masters, Unavailable> {
    if info.broker_addr_table.is_empty() {
        return Err(Unavailable::Remote { detail: "the name server knows no broker yet".to_owned() });
    }
    let vanished = |(name, master): (&Arc<str>, &Master)| {
        let vanished_at = master.vanished_at.unwrap_or(now);
        let is_kept = !info.broker_addr_table.contains_key(&**name) && now.since(vanished_at) < VANISHED_KEPT;
        is_kept.then(|| (name.clone(), Master { vanished_at: Some(vanished_at), ..master.clone() }))
    };
    let mut masters: BTreeMap<_, _> = known.iter().filter_map(vanished).collect();
    let master = |(name, mut data): (String, BrokerData)| {
        let address = data.broker_addrs.remove(&0)?.into();
        Some((Arc::from(name), Master { address, vanished_at: None }))
    };
    masters.extend(info.broker_addr_table.into_iter().filter_map(master));
    Ok(Arc::new(masters))
}

/// What a failed call is to who asked.
fn unavailable(error: &Error) -> Unavailable {
    match error {
        Error::Busy { .. } => Unavailable::Busy { waiting_max: IN_FLIGHT_MAX },
        Error::TimedOut { within, .. } => {
            Unavailable::TimedOut { waited_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX) }
        }
        Error::Connect { .. } | Error::BackOff { .. } | Error::Frame(_) | Error::Lost { .. } => {
            Unavailable::Remote { detail: error.to_string() }
        }
    }
}

/// What an answer is to who asked, whose code means nothing else there.
pub(super) fn refused(who: &str, answer: &Command) -> Unavailable {
    match answer.response_code() {
        ResponseCode::SystemBusy | ResponseCode::FlowControl => Unavailable::Busy { waiting_max: IN_FLIGHT_MAX },
        ResponseCode::RequestCodeNotSupported => Unavailable::NotServed { who: who.to_owned() },
        _ => {
            let remark = answer.remark.as_deref().unwrap_or("without a reason");
            Unavailable::Remote { detail: format!("{who} refused with code {}: {remark}", answer.code) }
        }
    }
}

/// What an answer is to who asked, that is not as the protocol has it.
pub(super) fn unreadable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable::Remote { detail: format!("an answer cannot be read: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_does_not_serve_is_said_in_words() {
        let request = Command::request(RequestCode::PopMessage, Fields::default(), Bytes::new());
        let refused = refused("broker-a", &Command { code: 3, ..request });
        assert_eq!(refused, Unavailable::NotServed { who: "broker-a".to_owned() });
        assert!(refused.to_string().starts_with("broker-a does not serve"), "{refused}");
    }

    /// What a name server says that knows these brokers by the ids of their members.
    fn says(brokers: &[(&str, i64)]) -> ClusterInfo {
        let broker = |(name, id): &(&str, i64)| {
            let broker_addrs = [(*id, "1.2.3.4:5".to_owned())].into();
            ((*name).to_owned(), BrokerData { broker_addrs, ..BrokerData::default() })
        };
        ClusterInfo { broker_addr_table: brokers.iter().map(broker).collect(), ..ClusterInfo::default() }
    }

    #[test]
    fn a_name_server_without_brokers_is_not_believed() {
        let nobody = Masters::default();
        let empty = masters_of(ClusterInfo::default(), &nobody, Moment::default());
        assert!(matches!(empty, Err(Unavailable::Remote { .. })));
        let masters = masters_of(says(&[("a", 0), ("slave", 1)]), &nobody, Moment::default());
        assert_eq!(masters.expect("known").keys().map(|name| &**name).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_name_server_that_lost_a_broker_is_believed_after_a_while() {
        let at = |seconds| Moment(Duration::from_secs(seconds));
        let shown = |masters: &Masters| {
            let shown =
                masters.iter().map(|(name, master)| format!("{name}{}", master.vanished_at.map_or("", |_| "?")));
            shown.collect::<Vec<_>>().join(" ")
        };
        let all = masters_of(says(&[("a", 0), ("b", 0), ("c", 0)]), &Masters::default(), at(0)).expect("known");
        let short = masters_of(says(&[("a", 0), ("c", 1)]), &all, at(5)).expect("known");
        assert_eq!(shown(&short), "a b?", "it says itself that c has no master");
        let short = masters_of(says(&[("a", 0)]), &short, at(64)).expect("known");
        assert_eq!(shown(&short), "a b?");
        assert_eq!(shown(&masters_of(says(&[("a", 0), ("b", 0)]), &short, at(64)).expect("known")), "a b");
        assert_eq!(shown(&masters_of(says(&[("a", 0)]), &short, at(65)).expect("known")), "a");
    }
}
