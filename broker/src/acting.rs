//! A slave that stands in for its master while that is away. `docs/replication.md` says what goes on then,
//! `docs/decisions/0015-slave-acting-master.md` why it is so.
//!
//! Its log stays the beginning of its master's, so what it takes is kept beside it, in a file, until its log says the same: then the master
//! has it. `part` is what it knows and decides, `loops` what is said and asked again and again, `escape` how delayed messages get to other
//! brokers, `hand_back` how a master that is back gets to know.

mod escape;
mod hand_back;
mod loops;
mod part;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use env::{Clock, Env, Kept};
use parking_lot::Mutex;
use remoting_proto::body::{GroupOffset, HandBack};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use types::QueueOffset;

use crate::command::TimerKey;
use crate::resets::Queue;
use part::{DELIVERED_MAX, Members, OFFSETS_MAX, Part};

pub(crate) use escape::escape;
pub(crate) use hand_back::{take, take_back};
pub(crate) use loops::{SILENT_MAX_MS, hand_on, is_unknown, stay_known};
pub(crate) use part::Untaken;

/// The file, in the broker's data directory.
const FILE: &str = "acting.json";
/// Most bytes of one offset in it, and of one delayed message.
const ENTRY_BYTES_MAX: [u64; 2] = [1024, 64];
const VERSION: u32 = 1;
/// How often the file is written at the most.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// See the module's head.
pub(crate) struct Acting {
    /// The broker's id; 0 is the master.
    own: i64,
    clock: Arc<dyn Clock>,
    file: Kept,
    /// Held for a look or a change.
    part: Arc<Mutex<Part>>,
    /// What is kept has changed.
    changed: Notify,
    /// It is to be asked at once who there is.
    look: Notify,
    /// Whether it stands in has changed.
    turned: Notify,
    /// Held while messages are on their way to other brokers: what the master is told is all that have got there.
    sending: tokio::sync::Mutex<()>,
}

/// The file: JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    offsets: Vec<GroupOffset>,
    delivered: Vec<(i64, u64)>,
}

impl Acting {
    /// Of the broker with this id and data directory. Blocks while it reads what was kept before: a file that cannot be read keeps no broker
    /// from serving, its groups are where the log says.
    pub(crate) fn open(env: &Env, own: i64, data: &Path, name_servers: usize) -> Self {
        let file = Kept::new(env.clone(), "file of what was done in the master's stead", data.join(FILE));
        let bytes_max = OFFSETS_MAX as u64 * ENTRY_BYTES_MAX[0] + DELIVERED_MAX as u64 * ENTRY_BYTES_MAX[1];
        let kept = file.read(bytes_max, parse).unwrap_or_else(|error| {
            tracing::error!(%error, "groups are where the log says");
            if let Err(error) = file.set_aside() {
                tracing::error!(%error, "the file is lost with the next change");
            }
            None
        });
        let (offsets, delivered) = kept.unwrap_or_default();
        let part = Part::new(name_servers, offsets, delivered);
        Self {
            own,
            clock: env.clock.clone(),
            file,
            part: Arc::new(Mutex::new(part)),
            changed: Notify::new(),
            look: Notify::new(),
            turned: Notify::new(),
            sending: tokio::sync::Mutex::default(),
        }
    }

    /// Whether this slave stands in for its master just now.
    pub(crate) fn stands_in(&self) -> bool {
        self.part.lock().stands_in()
    }

    /// Another broker of its name is the lowest now, a name server says.
    pub(crate) fn look_now(&self) {
        self.look.notify_waiters();
    }

    /// A name server has said who there is, or has not answered.
    fn see(&self, name_server: usize, members: Option<Members>, is_following: bool) {
        let mut part = self.part.lock();
        part.see(name_server, members);
        if part.decide(self.own, is_following, self.clock.moment()) {
            let stands_in = part.stands_in();
            tracing::info!(stands_in, "whether this slave stands in for its master has changed");
            self.turned.notify_one();
        }
    }

    /// Takes a commit of a group which is at `committed` by the log; in the file about a second later.
    ///
    /// # Errors
    /// [`Untaken`].
    pub(crate) fn commit(
        &self,
        queue: &Queue,
        committed: Option<QueueOffset>,
        offset: QueueOffset,
    ) -> Result<(), Untaken> {
        self.part.lock().commit(queue, committed, offset)?;
        self.changed.notify_one();
        Ok(())
    }

    /// Where a group is that is at `committed` by the log.
    pub(crate) fn committed(&self, queue: &Queue, committed: Option<QueueOffset>) -> Option<QueueOffset> {
        self.part.lock().committed(queue, committed)
    }

    /// What the master is told, which has asked for it; this slave does nothing in its stead from now on.
    pub(crate) async fn hand_over(&self) -> HandBack {
        self.part.lock().rest(self.clock.moment());
        self.turned.notify_one();
        let _sending = self.sending.lock().await;
        let told = self.part.lock().told();
        let HandBack { offsets, delivered, .. } = &told;
        tracing::info!(
            offsets = offsets.len(),
            delivered = delivered.len(),
            "the master is back and told what was done in its stead"
        );
        told
    }

    /// Writes what is kept, for ever, soon after it has changed.
    pub(crate) async fn keep(&self) {
        loop {
            self.changed.notified().await;
            self.write().await;
            self.clock.sleep(WRITE_EVERY).await;
        }
    }

    /// Writes what is kept; on the disk on return. What cannot be written is known until the process ends.
    pub(crate) async fn write(&self) {
        let part = self.part.clone();
        let text = move || {
            let HandBack { offsets, delivered, .. } = part.lock().told();
            let text = Text { version: VERSION, offsets, delivered };
            serde_json::to_vec(&text).expect("names and numbers are JSON")
        };
        if let Err(error) = self.file.write(text).await {
            tracing::error!(%error, "what was done in the master's stead is forgotten if this process ends");
        }
    }
}

/// What is kept in the file.
type KeptText = (BTreeMap<Queue, QueueOffset>, BTreeSet<TimerKey>);

fn parse(text: &[u8]) -> Result<KeptText, String> {
    let Text { version, offsets, delivered } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if version != VERSION {
        return Err(format!("it has version {version}, this program knows {VERSION}"));
    }
    let offsets = offsets.into_iter().map(|offset| part::heard(offset).map_err(|error| error.to_string()));
    let delivered = delivered.into_iter().map(part::timer_key);
    Ok((offsets.collect::<Result<_, _>>()?, delivered.collect()))
}

#[cfg(test)]
mod tests {
    use env::sim;
    use types::{GroupName, PhysicalOffset, QueueId, Timestamp, TopicName};

    use super::*;

    #[test]
    fn what_was_taken_is_known_after_a_power_loss() {
        sim::run(1, async |world: sim::World| {
            let open = || Acting::open(&world.env(), 1, Path::new("/data"), 0);
            let queue = (GroupName::new("g").expect("valid"), TopicName::new("t").expect("valid"), QueueId(2));
            let acting = open();
            acting.commit(&queue, None, QueueOffset(7)).expect("taken");
            let timer = (Timestamp(5), PhysicalOffset(9));
            acting.part.lock().delivered().insert(timer);
            acting.write().await;
            world.lose_power().await;
            assert_eq!(open().committed(&queue, None), Some(QueueOffset(7)));
            assert!(open().part.lock().delivered().contains(&timer));
        });
    }

    #[test]
    fn a_file_of_another_version_is_refused() {
        let of = |version| format!("{{\"version\": {version}, \"offsets\": [], \"delivered\": []}}");
        assert!(parse(of(1).as_bytes()).is_ok() && parse(of(2).as_bytes()).is_err() && parse(b"").is_err());
    }
}
