//! A connection to one address that is tried again whenever it is wanted: who asks once a second at most needs no pause after a failure, and
//! a controller that is back must hear soon who lives.

use std::sync::Arc;
use std::time::Duration;

use env::Clock;
use parking_lot::Mutex;
use remoting::Client;
use remoting::client::Error;
use remoting_proto::Command;

pub(super) struct Line {
    address: String,
    clock: Arc<dyn Clock>,
    /// Without failures. Held to take or change it.
    client: Mutex<Client>,
}

impl Line {
    pub(super) fn new(address: &str, clock: &Arc<dyn Clock>) -> Self {
        let client = Mutex::new(Client::new(address, Arc::clone(clock)));
        Self { address: address.to_owned(), clock: Arc::clone(clock), client }
    }

    /// As [`Client::call`].
    pub(super) async fn call(&self, request: Command, within: Duration) -> Result<Command, Error> {
        let client = self.client.lock().clone();
        let answer = client.call(request, within).await;
        self.anew_after(&answer);
        answer
    }

    /// As [`Client::oneway`].
    pub(super) async fn oneway(&self, request: Command, within: Duration) -> Result<(), Error> {
        let client = self.client.lock().clone();
        let sent = client.oneway(request, within).await;
        self.anew_after(&sent);
        sent
    }

    fn anew_after<T>(&self, done: &Result<T, Error>) {
        if done.is_err() {
            *self.client.lock() = Client::new(self.address.clone(), Arc::clone(&self.clock));
        }
    }
}
