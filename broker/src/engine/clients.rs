//! When clients were last heard of.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use types::Timestamp;
use types::broker::ClientId;

use crate::options::{CLIENT_ALIVE_FOR, CLIENTS_MAX};

/// The last sign of life of each client; at most [`CLIENTS_MAX`]. Memory only.
///
/// At the bound those that count as dead are dropped; if all live, a new one is not remembered and its leases last
/// their base time. Iterated only to drop entries, each for reasons of its own, so order does not matter.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    last_seen: HashMap<ClientId, Timestamp, FixedState>,
}

impl Clients {
    pub(crate) fn alive(&mut self, clients: Vec<ClientId>, now: Timestamp) {
        for client in clients {
            self.seen(&client, now);
        }
    }

    pub(crate) fn seen(&mut self, client: &ClientId, now: Timestamp) {
        if let Some(last_seen) = self.last_seen.get_mut(client) {
            *last_seen = now;
            return;
        }
        if self.last_seen.len() >= CLIENTS_MAX {
            self.last_seen.retain(|_, last_seen| is_alive_at(*last_seen, now));
        }
        if self.last_seen.len() < CLIENTS_MAX {
            self.last_seen.insert(client.clone(), now);
        }
    }

    pub(crate) fn gone(&mut self, client: &ClientId) {
        self.last_seen.remove(client);
    }

    pub(crate) fn is_alive(&self, client: &str, now: Timestamp) -> bool {
        self.last_seen.get(client).is_some_and(|last_seen| is_alive_at(*last_seen, now))
    }
}

fn is_alive_at(last_seen: Timestamp, now: Timestamp) -> bool {
    last_seen.plus(CLIENT_ALIVE_FOR) > now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_lives_for_a_while_after_each_sign() {
        let mut clients = Clients::default();
        let client: ClientId = "c".into();
        clients.alive(vec![client.clone()], Timestamp(0));
        assert!(clients.is_alive("c", Timestamp(89_999)));
        assert!(!clients.is_alive("c", Timestamp(90_000)));
        clients.seen(&client, Timestamp(80_000));
        assert!(clients.is_alive("c", Timestamp(90_000)));
        clients.gone(&client);
        assert!(!clients.is_alive("c", Timestamp(80_001)));
    }

    #[test]
    fn the_dead_make_room_for_the_living() {
        let mut clients = Clients::default();
        for number in 0..CLIENTS_MAX {
            clients.seen(&number.to_string().into(), Timestamp(0));
        }
        clients.seen(&"new".into(), Timestamp(1));
        assert!(!clients.is_alive("new", Timestamp(1)));
        clients.seen(&"new".into(), Timestamp(90_000));
        assert!(clients.is_alive("new", Timestamp(90_001)));
        assert_eq!(clients.last_seen.len(), 1);
    }
}
