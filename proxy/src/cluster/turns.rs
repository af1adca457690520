//! Whose turn it is to wait at the brokers. Of all receives of this proxy that want the same messages one waits there, the others for
//! their turn: brokers tell everybody who waits of a message that only one can get, and what a receive that is gone is told of would
//! wake nobody.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::MutexGuard;
use types::broker::Pop;
use types::{GroupName, TopicName};

/// Receives that can only get the same messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Line {
    topic: TopicName,
    group: GroupName,
    /// Its kind and its text.
    filter: (String, String),
}

/// Fair, and a receive that goes away while it stands there leaves no gap.
type Turn = tokio::sync::Mutex<()>;

/// The lines in which somebody stands; never iterated, held for a look.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Line, Arc<Turn>>>);

/// A place in a line; the last one to leave it removes it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    turns: &'a Turns,
    line: Line,
    turn: Arc<Turn>,
}

impl Turns {
    /// Stands in the line of a receive.
    pub(super) fn place(&self, pop: &Pop) -> Place<'_> {
        let (kind, text) = pop.filter.expression();
        let line = Line { topic: pop.topic.clone(), group: pop.group.clone(), filter: (kind.to_string(), text) };
        let turn = self.0.lock().entry(line.clone()).or_default().clone();
        Place { turns: self, line, turn }
    }
}

impl Place<'_> {
    /// The turn, if nobody has it.
    pub(super) fn try_take(&self) -> Option<MutexGuard<'_, ()>> {
        self.turn.try_lock().ok()
    }

    /// The turn, once those that came before have had it.
    pub(super) async fn take(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.turns.0.lock();
        // The map's and this one: others are only made under this lock.
        if Arc::strong_count(&self.turn) == 2 {
            lines.remove(&self.line);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use types::Filter;

    use super::*;

    pub(in crate::cluster) fn pop(group: &str) -> Pop {
        Pop {
            group: GroupName::new(group).expect("valid"),
            client: "c".into(),
            topic: TopicName::new("t").expect("valid"),
            queue: None,
            messages_max: 1,
            invisible: Duration::ZERO,
            auto_renew: false,
            filter: Arc::new(Filter::All),
            wait: Duration::ZERO,
            attempt_id: None,
        }
    }

    #[test]
    fn one_of_a_line_has_the_turn_and_an_empty_line_is_forgotten() {
        let turns = Turns::default();
        let (first, second, other) = (turns.place(&pop("g")), turns.place(&pop("g")), turns.place(&pop("h")));
        let turn = first.try_take().expect("nobody has it");
        assert!(second.try_take().is_none());
        assert!(other.try_take().is_some());
        drop(turn);
        assert!(second.try_take().is_some());
        drop((first, other));
        assert_eq!(turns.0.lock().len(), 1);
        drop(second);
        assert!(turns.0.lock().is_empty());
    }
}
