//! A damaged segment of a slave's log comes from its master again.
//!
//! Which segments are damaged is noted in the directory (`damage`), by who finds it: a start that refuses the log, or the look through the log
//! of a slave that runs (`scrub`). Before the next start each of them is put together beside the log (the folder `mend`), from records that are
//! whole, compared with what is whole of the damaged one, and takes its place at once. So a death on the way costs only what has come.
//!
//! Each record has its place and the time at which it was stored. Where one of the damaged segment is the master's, all before it is, and
//! what differs there is damage. A whole record that differs, with none behind it that is the master's, is one that the master never had.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use env::disk::OpenMode;
use env::{Disk, Env};
use parking_lot::Mutex;
use store::inspect::{Directory, Piece};
use store::{COMMIT_LOG_NAME, FileError, Flush};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use types::PhysicalOffset;

use super::damage;
use super::intake::Intake;
use super::log::{self, Log, content, name_of};
use super::mark::Mark;
use super::part::{Part, follow_until_joined, greet_newest};
use super::slave::{Ended, Follower, Refused, Stream, connect, connected};
use super::wire::Report;
use crate::membership::Membership;
use crate::takeover::failed;

/// Where a segment is put together, in the data directory.
const FOLDER: &str = "mend";

/// A directory whose log has damaged segments.
pub struct Mend {
    env: Env,
    dir: PathBuf,
    segment_bytes: u64,
    /// Where those begin that are damaged still. Held for a look or a change.
    bases: Mutex<BTreeSet<u64>>,
    /// Under controllers.
    membership: Option<Arc<Membership>>,
    /// Held by one append, or one look.
    segment: Arc<Mutex<Option<Segment>>>,
    /// How much of it has come.
    part: Part,
    /// Nobody else uses the directory.
    _lock: Box<dyn Send + Sync>,
}

impl Mend {
    /// Of this directory; `None` if nothing of its log is known to be damaged.
    ///
    /// # Errors
    /// A file, [`std::io::ErrorKind::WouldBlock`] when another process uses the directory.
    pub fn open(env: &Env, dir: PathBuf) -> Result<Option<Self>, log::Error> {
        let bases = damage::noted(&*env.disk, &dir)?;
        // What is given up comes anew as a whole.
        if bases.is_empty() || Mark::find(&*env.disk, &dir)? == Some(Mark::Part) {
            return Ok(None);
        }
        let segment_bytes = Directory::open(&env.disk, &dir, crate::check_snapshot)?.segment_bytes();
        let lock = dir.join("lock");
        let lock = env.disk.lock(&lock).map_err(failed("lock", &lock))?;
        let (segment, bases, part) = (Arc::default(), Mutex::new(bases), Part::default());
        Ok(Some(Self { env: env.clone(), dir, segment_bytes, bases, membership: None, segment, part, _lock: lock }))
    }

    /// The same under controllers.
    #[must_use]
    pub fn of(self, membership: Arc<Membership>) -> Self {
        Self { membership: Some(membership), ..self }
    }

    /// Gets all of them from whoever is the master.
    pub async fn run(self, master: watch::Receiver<Option<String>>) {
        let this = &self;
        let follow = |address: String| async move {
            while !this.bases.lock().is_empty() {
                let stream = connected(&*this.env.clock, connect(address.clone())).await?;
                match this.follow_on(stream, &address).await {
                    Err(Ended::Joined) => {}
                    other => return other,
                }
            }
            Err(Ended::Joined)
        };
        follow_until_joined(this, &*this.env.clock, master, follow).await;
    }

    /// Gets the first of them from the master that this connection leads to, until it is in place ([`Ended::Joined`]) or the connection
    /// ends. One that has expired at the master is left as it is.
    ///
    /// # Errors
    /// Why it has ended: [`Ended`].
    pub async fn follow_on<S>(&self, mut stream: S, address: &str) -> Result<Infallible, Ended>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let Some(base) = self.bases.lock().first().copied() else { return Err(Ended::Joined) };
        let (mut input, clock) = (BytesMut::new(), &*self.env.clock);
        let (master, _) = greet_newest(clock, &mut stream, self.membership.as_ref(), &mut input).await?;
        let (from, segment_bytes) = (PhysicalOffset(base), self.segment_bytes);
        if master.segment_bytes != segment_bytes {
            return Err(Refused::Segments { theirs: master.segment_bytes, ours: segment_bytes }.into());
        }
        if master.end <= from {
            return Err(Refused::Longer { ours: from, theirs: master.end }.into());
        }
        if from < master.first {
            tracing::warn!(%from, first = %master.first, "a damaged segment has expired at the master and stays as it is");
            self.forget(base).await?;
            return Err(Ended::Joined);
        }
        let place = self.place();
        let segment = env::blocking(move || Segment::begin(&place, base, segment_bytes)).await?;
        *self.segment.lock() = Some(segment);
        // With a record of the next segment it is known how this one ends.
        let until = master.end.0.min(base + segment_bytes + 1);
        self.part.begin(from, PhysicalOffset(until));
        stream.write_all(&Report::HasTo(from).encode()).await?;
        let intake = Intake::new(segment_bytes, from, Bytes::new());
        let Err(ended) = Stream::new(self, clock, stream, address, intake, from).with(input).run().await;
        if let Ended::Joined = ended {
            let (place, segment) = (self.place(), self.segment.lock().take());
            env::blocking(move || segment.map_or(Err(log::Error::Failed.into()), |segment| segment.put(&place)))
                .await?;
            self.forget(base).await?;
        }
        Err(ended)
    }

    async fn forget(&self, base: u64) -> Result<(), log::Error> {
        let (disk, dir) = (self.env.disk.clone(), self.dir.clone());
        env::blocking(move || damage::forget(&*disk, &dir, base)).await?;
        self.bases.lock().remove(&base);
        Ok(())
    }

    fn place(&self) -> Place {
        Place { disk: self.env.disk.clone(), dir: self.dir.clone() }
    }
}

impl Follower for Mend {
    fn appended_to(&self) -> PhysicalOffset {
        self.part.end()
    }

    async fn append(&self, records: Bytes) -> Result<PhysicalOffset, Ended> {
        let segment = self.segment.clone();
        let append =
            move || segment.lock().as_mut().map_or(Err(log::Error::Failed), |segment| segment.new.append(&records));
        let end = env::blocking(append).await?;
        self.part.came(end);
        Ok(end)
    }

    fn connected(&self, _: Option<&str>) {}

    fn report(&self, end: PhysicalOffset) -> Result<Report, Ended> {
        self.part.report(end)
    }
}

/// Where the log is.
struct Place {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Place {
    /// Where segments are put together.
    fn folder(&self) -> PathBuf {
        self.dir.join(FOLDER).join(COMMIT_LOG_NAME)
    }

    fn clear(&self) -> Result<(), FileError> {
        let folder = self.folder();
        for name in self.disk.list(&folder).map_err(failed("list", &folder))? {
            let path = folder.join(name);
            self.disk.remove(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }
}

/// A segment that is put together.
struct Segment {
    base: u64,
    segment_bytes: u64,
    new: Log,
}

impl Segment {
    fn begin(place: &Place, base: u64, segment_bytes: u64) -> Result<Self, log::Error> {
        place.clear()?;
        let (disk, folder) = (place.disk.clone(), place.dir.join(FOLDER));
        let new = Log::open(disk, &folder, segment_bytes, PhysicalOffset(base), Flush::Async)?;
        Ok(Self { base, segment_bytes, new })
    }

    /// Lets it take the damaged one's place; durable on return.
    fn put(mut self, place: &Place) -> Result<(), Ended> {
        self.new.sync().map_err(log::Error::from)?;
        let (from, folder) = (place.folder().join(name_of(self.base)), place.dir.join(COMMIT_LOG_NAME));
        let damaged = self.compare(place, &from)?;
        let to = folder.join(name_of(self.base));
        let put = || {
            place.disk.rename(&from, &to).map_err(failed("rename", &from))?;
            place.disk.sync_dir(&folder).map_err(failed("sync", &folder))?;
            place.clear()
        };
        put().map_err(log::Error::from)?;
        tracing::warn!(segment = %to.display(), damaged, "a damaged segment of the log is the master's again");
        Ok(())
    }

    /// Makes sure that what is whole of the damaged one is the master's; answers how many places are not whole.
    fn compare(&self, place: &Place, new: &Path) -> Result<u64, Ended> {
        let Place { disk, dir } = place;
        let new = disk.open(new, OpenMode::Read).map_err(failed("open", new)).map_err(log::Error::from)?;
        let old = dir.join(COMMIT_LOG_NAME).join(name_of(self.base));
        // One that is not there has nothing.
        let Ok(old) = disk.open(&old, OpenMode::Read) else { return Ok(1) };
        let (mut damaged, mut parted) = (0, None);
        let segment = PhysicalOffset(self.base)..PhysicalOffset(self.base + self.segment_bytes);
        let directory = Directory::open(disk, dir, crate::check_snapshot).map_err(log::Error::from)?;
        let looked = directory.records(segment, &mut |_| {}, &mut |piece| {
            match piece {
                Piece::Damage { .. } => damaged += 1,
                Piece::Record(record) => {
                    let (at, bytes) = (record.header.physical_offset, record.header.record_bytes);
                    let [ours, theirs] = [&old, &new].map(|file| content(&**file, at.0 - self.base, bytes as usize));
                    match ours == theirs {
                        true => parted = None,
                        false => drop(parted.get_or_insert(at)),
                    }
                }
            }
            ControlFlow::Continue(())
        });
        // Where the disk does not give it, nothing more of it is whole.
        damaged += u64::from(looked.is_err());
        parted.map_or(Ok(damaged), |at| Err(Refused::Parted { at }.into()))
    }
}
