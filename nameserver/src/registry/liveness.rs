//! Signs of life, and what happens without them.

use env::clock::Moment;
use remoting::ConnectionId;

use super::{Address, Registry};

impl Registry {
    /// A broker lives. One that is not registered stays unknown.
    pub fn heartbeat(&mut self, address: &Address, now: Moment) {
        if let Some(alive) = self.alive.get_mut(address) {
            alive.seen = now;
        }
    }

    /// Unregisters the brokers that were not heard of for too long, and names their connections, which are to be closed.
    pub fn expire(&mut self, now: Moment) -> Vec<ConnectionId> {
        let over = self.alive.iter().filter(|(_, alive)| now.since(alive.seen) > alive.timeout);
        let over: Vec<_> = over.map(|(address, alive)| (address.clone(), alive.connection)).collect();
        for (address, _) in &over {
            tracing::warn!(cluster = %address.cluster, broker = %address.broker, "broker not heard of for too long");
            self.forget(address);
        }
        over.into_iter().map(|(_, connection)| connection).collect()
    }

    /// Unregisters the brokers that registered on a connection which has ended.
    pub fn disconnect(&mut self, connection: ConnectionId) {
        let gone = self.alive.iter().filter(|(_, alive)| alive.connection == connection);
        let gone: Vec<_> = gone.map(|(address, _)| address.clone()).collect();
        for address in &gone {
            self.forget(address);
        }
    }

    /// Unregisters a process wherever it has a place.
    fn forget(&mut self, address: &Address) {
        let has_it = |data: &remoting_proto::body::BrokerData| {
            data.cluster == address.cluster && data.broker_addrs.values().any(|there| *there == address.broker)
        };
        let names = self.brokers.values().filter(|data| has_it(data)).map(|data| data.broker_name.clone());
        let names: Vec<_> = names.collect();
        for name in names {
            self.unregister(address, &name);
        }
        // It may have lost its place to another process.
        self.alive.remove(address);
    }
}
