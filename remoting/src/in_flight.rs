//! The requests of one connection that wait for their answers. No I/O.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use remoting_proto::Opaque;

/// What waits, by the number that its answer will carry.
#[derive(Debug)]
pub(crate) struct InFlight<T> {
    waiting: HashMap<Opaque, T>,
    next: i32,
    waiting_max: usize,
}

impl<T> InFlight<T> {
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self { waiting: HashMap::new(), next: 0, waiting_max }
    }

    /// Lets `waiter` wait under a number that nobody waits under; `None` if too many wait.
    pub(crate) fn add(&mut self, waiter: T) -> Option<Opaque> {
        if self.waiting.len() >= self.waiting_max {
            return None;
        }
        // Numbers begin again after 2^32; one that is still waited for is passed over.
        loop {
            let opaque = Opaque(self.next);
            self.next = self.next.wrapping_add(1);
            if let Entry::Vacant(place) = self.waiting.entry(opaque) {
                place.insert(waiter);
                return Some(opaque);
            }
        }
    }

    /// Who waits for the answer with this number; an answer that comes too late finds nobody.
    pub(crate) fn take(&mut self, opaque: Opaque) -> Option<T> {
        self.waiting.remove(&opaque)
    }

    /// Lets nobody wait any longer, nor from now on.
    pub(crate) fn close(&mut self) {
        self.waiting.clear();
        self.waiting_max = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_used_again_only_when_nobody_waits_under_it() {
        let mut waiting = InFlight::new(3);
        waiting.next = i32::MAX;
        let first = waiting.add("first").expect("room");
        assert_eq!(waiting.add("second"), Some(Opaque(i32::MIN)));
        waiting.next = i32::MAX;
        assert_eq!(waiting.add("third"), Some(Opaque(i32::MIN + 1)));
        assert_eq!(waiting.add("too many"), None);
        assert_eq!((waiting.take(first), waiting.take(first)), (Some("first"), None));
        assert!(waiting.add("fourth").is_some());
        waiting.close();
        assert_eq!(waiting.add("closed"), None);
        assert_eq!(waiting.take(Opaque(i32::MIN)), None);
    }
}
