//! What has expired since a checkpoint was taken.

use std::sync::Arc;

use super::checkpoints::Saved;
use super::directory::Directory;
use crate::queue_index::run::Run;
use crate::queue_index::{self, Part, QueueIndex};
use crate::recovery::rebuild::rebuild;

impl Directory {
    /// Where a checkpoint's queues begin in the log as it is now, by number: what a start makes of it. `None` when the index cannot be read,
    /// which a verification says.
    pub(super) fn begins(&self, saved: &Saved) -> Option<Vec<u64>> {
        let first = self.first();
        let queues = saved.queues.iter().map(|queue| queue_index::SavedQueue {
            topic: &queue.topic,
            queue: queue.queue,
            min: queue.min,
            next: queue.next,
        });
        let mut index = QueueIndex::restore(saved.end.at.0, queues);
        for name in &saved.runs {
            let part = match Run::load(&self.disk, &self.layout.queue_index, *name) {
                Ok(run) => Part::Run(Arc::new(run)),
                Err(_) => {
                    let block = rebuild(&self.segments, &index, name.from..name.to, &[], |_| false);
                    Part::Block(Arc::new(block.ok()?))
                }
            };
            index.push_part(part);
        }
        if first > 0 {
            index.begin_with_parts();
        }
        let begins = index.begins(first).ok()?;
        index.expire(first, &begins);
        Some(index.saved().map(|queue| queue.min).collect())
    }
}
