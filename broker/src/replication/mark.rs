//! What a directory says of its log where that came from masters: the file `replica`.
//!
//! | content                    | the log                                                                                        |
//! |----------------------------|------------------------------------------------------------------------------------------------|
//! | `gantry replica 1 part\n`  | is a piece of a master's in which a start may not find all state, or is given up: see `join`   |
//! | `gantry replica 1 whole\n` | is a master's, and nothing else was ever added to it: what is not a master's any more may go    |
//!
//! Without the file a log may have records that no other broker has.

use std::io::ErrorKind;
use std::path::Path;

use env::Disk;
use store::FileError;

use crate::options::Role;
use crate::takeover::{self, failed, segments};

const NAME: &str = "replica";
const PART: &[u8] = b"gantry replica 1 part\n";
const WHOLE: &[u8] = b"gantry replica 1 whole\n";

/// See the module's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Part,
    Whole,
}

impl Mark {
    /// What a directory says; `None` without the file.
    ///
    /// # Errors
    /// The system's, and where a newer version wrote the file.
    pub(crate) fn find(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, FileError> {
        let path = dir.join(NAME);
        match takeover::file(disk, &path)?.as_deref() {
            None => Ok(None),
            Some(PART) => Ok(Some(Self::Part)),
            Some(WHOLE) => Ok(Some(Self::Whole)),
            Some(_) => Err(failed("understand", &path)(ErrorKind::InvalidData.into())),
        }
    }

    /// Lets a directory, which is there, say it; durable on return.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn put(self, disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
        let content = match self {
            Self::Part => PART,
            Self::Whole => WHOLE,
        };
        store::put_file(disk, dir, NAME, content)
    }

    /// Lets a directory say nothing, before records of its own are added; durable on return.
    ///
    /// # Errors
    /// As [`Mark::find`].
    pub(crate) fn remove(disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
        if Self::find(disk, dir)?.is_some() {
            let path = dir.join(NAME);
            disk.remove(&path).map_err(failed("remove", &path))?;
            disk.sync_dir(dir).map_err(failed("sync", dir))?;
        }
        Ok(())
    }

    /// What a directory says from now on, before a broker begins in a role: a master adds records of its own, an empty log has none.
    ///
    /// # Errors
    /// As [`Mark::find`], [`Mark::put`].
    pub(crate) fn begin(role: Role, disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, FileError> {
        match (role, Self::find(disk, dir)?) {
            (Role::Master, Some(Self::Whole)) => Self::remove(disk, dir).map(|()| None),
            (Role::Slave, None) if segments(disk, dir)?.is_empty() => {
                disk.create_dir_all(dir).map_err(failed("create directory", dir))?;
                Self::Whole.put(disk, dir)?;
                Ok(Some(Self::Whole))
            }
            (_, found) => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use env::disk::OpenMode;
    use env::sim::SimDisk;

    use super::*;

    fn put_in(disk: &SimDisk, path: &str, content: &[u8]) {
        let file = disk.open(Path::new(path), OpenMode::Create).expect("created");
        file.write_all_at(&[IoSlice::new(content)], 0).expect("written");
    }

    #[test]
    fn only_a_log_that_was_always_a_slaves_may_go() {
        let (disk, dir) = (SimDisk::new(0), Path::new("/data"));
        let begin = |role| Mark::begin(role, &disk, dir).expect("looked at");
        assert_eq!([begin(Role::Slave), begin(Role::Slave)], [Some(Mark::Whole); 2]);
        assert_eq!(begin(Role::Master), None);
        disk.create_dir_all(Path::new("/data/commitlog")).expect("made");
        put_in(&disk, "/data/commitlog/00000000000000000000", b"x");
        assert_eq!(begin(Role::Slave), None, "it was a master's");
        Mark::Part.put(&disk, dir).expect("put");
        assert_eq!([begin(Role::Slave), begin(Role::Master)], [Some(Mark::Part); 2]);
        put_in(&disk, "/data/replica", b"gantry replica 2 whole\n");
        let newer = Mark::begin(Role::Slave, &disk, dir).expect_err("it is not known");
        assert!(newer.to_string().contains("/data/replica"), "{newer}");
    }
}
