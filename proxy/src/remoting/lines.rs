//! The connections of one client to brokers: opened when it first has to do with one, ended with the client's own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::remoting::{Client, Connection, Greeting, Question};
use env::Clock;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Questions of a broker that wait to be passed on; what follows waits in the connection.
const QUESTIONS_WAITING_MAX: usize = 16;
/// How long a client may take to answer one; brokers wait no longer either. Source: Apache 5.5 `Broker2Client`.
const CLIENT_ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// See the module's head.
pub(super) struct Lines {
    pub(super) connection: Arc<Connection>,
    clock: Arc<dyn Clock>,
    /// Requests to one broker that wait for their answers.
    in_flight_max: usize,
    /// What a broker hears first on a new connection: after a restart it does not know the client.
    pub(super) heartbeat: Greeting,
    /// By broker. Held for a look or a change of one.
    open: Mutex<BTreeMap<Arc<str>, Line>>,
}

struct Line {
    /// Where the broker was when it was opened.
    address: Arc<str>,
    client: Client,
}

impl Lines {
    /// None yet, of the client of this connection, which may have so many requests under way.
    pub(super) fn new(connection: Arc<Connection>, clock: Arc<dyn Clock>, in_flight_max: usize) -> Self {
        Self { connection, clock, in_flight_max, heartbeat: Greeting::default(), open: Mutex::default() }
    }

    /// The connection to a broker whose master is at this address.
    pub(super) fn to(&self, broker: &str, address: &Arc<str>) -> Client {
        let mut open = self.open.lock();
        match open.get(broker) {
            Some(line) if line.address == *address => line.client.clone(),
            _ => {
                let (asked, questions) = mpsc::channel(QUESTIONS_WAITING_MAX);
                let (clock, heartbeat) = (self.clock.clone(), self.heartbeat.clone());
                let client = Client::standing_in(&**address, clock, asked, self.in_flight_max, heartbeat);
                // Ends with the connection to the broker.
                tokio::spawn(hand_on(self.connection.clone(), self.clock.clone(), questions));
                open.insert(broker.into(), Line { address: address.clone(), client: client.clone() });
                client
            }
        }
    }

    /// All that are open.
    pub(super) fn all(&self) -> Vec<Client> {
        self.open.lock().values().map(|line| line.client.clone()).collect()
    }

    /// Ends those to other brokers than these.
    pub(super) fn keep(&self, brokers: &[(Arc<str>, Arc<str>)]) {
        self.open.lock().retain(|broker, _| brokers.iter().any(|(name, _)| name == broker));
    }
}

/// Hands what a broker asks to the client, and the client's answers to the broker.
async fn hand_on(client: Arc<Connection>, clock: Arc<dyn Clock>, mut questions: mpsc::Receiver<Question>) {
    // As many as a client may be asked at a time: further ones end at once.
    let mut asked = JoinSet::new();
    loop {
        tokio::select! {
            question = questions.recv() => match question {
                Some(question) if question.request.flag.is_oneway() => {
                    let code = question.request.code;
                    if !client.oneway(question.request) {
                        tracing::debug!(code, remote = %client.remote(), "a client cannot be told");
                    }
                }
                Some(question) => drop(asked.spawn(ask(client.clone(), clock.clone(), question))),
                None => return,
            },
            Some(_) = asked.join_next() => {}
        }
    }
}

/// Who asked gets no answer if the client gives none, as without a proxy.
async fn ask(client: Arc<Connection>, clock: Arc<dyn Clock>, question: Question) {
    match client.call(question.request.clone(), &*clock, CLIENT_ANSWERS_WITHIN).await {
        Ok(answer) => {
            if let Err(error) = question.answer(answer).await {
                tracing::debug!(%error, remote = %client.remote(), "a client's answer cannot be passed on");
            }
        }
        Err(error) => {
            tracing::debug!(%error, code = question.request.code, remote = %client.remote(), "a client was not asked")
        }
    }
}
