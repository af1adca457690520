//! Which controllers there are. They are the same as long as their group exists.

use std::collections::BTreeMap;

/// Most controllers of a group.
pub const PEERS_MAX: usize = 9;

/// The controllers of a group, as one of them knows them.
///
/// Invariant: `own` is one of `all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    group: String,
    own: u64,
    all: BTreeMap<u64, Peer>,
}

/// A controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What operators call it.
    pub id: String,
    /// `HOST:PORT`.
    pub address: String,
}

impl Peers {
    /// Those of a list, of which the one with this id is this process; none if it is not among them.
    #[must_use]
    pub fn new(group: String, all: BTreeMap<u64, Peer>, own_id: &str) -> Option<Self> {
        let own = all.iter().find(|(_, peer)| peer.id == own_id).map(|(number, _)| *number)?;
        Some(Self { group, own, all })
    }

    /// Reads a list: ids and addresses, by the number in each id. Source of the form: Apache 5.5 `controllerDLegerPeers`.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn list(text: &str) -> Result<BTreeMap<u64, Peer>, &'static str> {
        const EXPECTED: &str = "ID-HOST:PORT, an odd number up to 9 of them separated by semicolons, each id letters and a number of its own such as n0";
        let mut all = BTreeMap::new();
        for peer in text.split(';').map(str::trim).filter(|peer| !peer.is_empty()) {
            let (id, address) = peer.split_once('-').ok_or(EXPECTED)?;
            let number = number(id).ok_or(EXPECTED)?;
            let (host, port) = address.rsplit_once(':').ok_or(EXPECTED)?;
            let is_address = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
            let peer = Peer { id: id.to_owned(), address: address.to_owned() };
            if !is_address || all.insert(number, peer).is_some() {
                return Err(EXPECTED);
            }
        }
        // An even number tolerates the loss of no more than the odd one below.
        if all.len() > PEERS_MAX || all.len() % 2 == 0 { Err(EXPECTED) } else { Ok(all) }
    }

    /// The name of the group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The numbers of all, with commas between them.
    #[must_use]
    pub fn numbers(&self) -> String {
        self.all.keys().map(u64::to_string).collect::<Vec<_>>().join(",")
    }

    /// The number of this controller.
    #[must_use]
    pub fn own(&self) -> u64 {
        self.own
    }

    /// A controller.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Peer> {
        self.all.get(&number)
    }

    /// Where this controller is reached.
    ///
    /// # Panics
    /// Never: it is one of all.
    #[must_use]
    pub fn own_address(&self) -> &str {
        &self.all[&self.own].address
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Peer)> {
        self.all.iter().map(|(number, peer)| (*number, peer))
    }
}

/// The number that an id ends with.
fn number(id: &str) -> Option<u64> {
    let digits = id.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apaches_list_is_read() {
        let all = Peers::list("n0-127.0.0.1:9878;n1-b-host:9868;n12-[::1]:9858").expect("three");
        assert_eq!(all.keys().copied().collect::<Vec<_>>(), [0, 1, 12]);
        let peers = Peers::new("g".to_owned(), all.clone(), "n1").expect("one of them");
        assert_eq!((peers.own(), peers.own_address(), &*peers.numbers()), (1, "b-host:9868", "0,1,12"));
        assert_eq!(Peers::new("g".to_owned(), all, "n2"), None);
        assert_eq!(Peers::list(" 7-h:1; ").expect("one").len(), 1);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let even = "n0-h:1;n1-h:2";
        let many: String = (0..11).map(|id| format!("n{id}-h:1;")).collect();
        for text in
            ["", "n0", "n0-h", "n0-:1", "n0-h:0", "n0-h:x", "n-h:1", "-h:1", "n0-h:1;a0-h:2;n1-h:3", even, &many]
        {
            assert!(Peers::list(text).is_err(), "{text}");
        }
    }
}
