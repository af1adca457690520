//! A timer run beside the records of the log that it is made of, for `gantry store verify`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use env::Disk;
use record::Record;
use store::inspect::FileCheck;
use types::PhysicalOffset;

use super::change::{Change, changes};
use super::part::Part;
use super::run::Run;
use super::{Key, Timer, Waits};

impl Timer {
    /// The checks of all parts' files.
    pub(crate) fn checks(self) -> Vec<Box<dyn FileCheck>> {
        self.parts.into_iter().map(|part| -> Box<dyn FileCheck> { Box::new(RunCheck::new(part)) }).collect()
    }
}

/// A run, compared as the records come: 40 bytes for each of its entries, and what waits in its stretch and is not in it.
struct RunCheck {
    part: Part,
    /// What the file says, in order, and whether the records say the same up to now.
    run: Vec<(Waits, bool)>,
    /// What waits by the records and is not in the file.
    others: BTreeMap<Key, Waits>,
}

impl RunCheck {
    fn new(part: Part) -> Self {
        Self { part, run: Vec::new(), others: BTreeMap::new() }
    }

    fn find(&mut self, key: Key) -> Option<&mut (Waits, bool)> {
        let index = self.run.binary_search_by_key(&key, |(waits, _)| waits.key()).ok()?;
        self.run.get_mut(index)
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Stored(waits) if self.part.is_of(waits.offset) => match self.find(waits.key()) {
                Some((in_file, is_waiting)) if *in_file == waits => *is_waiting = true,
                _ => drop(self.others.insert(waits.key(), waits)),
            },
            Change::Stored(_) => {}
            Change::Finished(due, offset) => {
                self.others.remove(&(due, offset));
                if let Some((_, is_waiting)) = self.find((due, offset)) {
                    *is_waiting = false;
                }
            }
            Change::Reset => {
                self.others.clear();
                self.run.iter_mut().for_each(|(_, is_waiting)| *is_waiting = false);
            }
        }
    }
}

impl FileCheck for RunCheck {
    fn name(&self) -> String {
        self.part.name.to_string()
    }

    fn stretch(&self) -> Range<PhysicalOffset> {
        self.part.name.from..self.part.name.seen_to
    }

    fn open(&mut self, disk: &dyn Disk, folder: &Path) -> Result<(), String> {
        let run = Run::open(disk, folder, self.part.name)?;
        for chunk in 0..run.chunks() {
            self.run.extend(run.chunk(chunk)?.into_iter().map(|waits| (waits, false)));
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record<'_>) {
        changes(record, |change| self.change(change));
    }

    /// The file may lack what the machine keeps itself, and may have what has ended since the log was where it was made.
    fn compare(&self, first: PhysicalOffset) -> Result<(), String> {
        let strange = self.run.iter().filter(|(waits, is_waiting)| !is_waiting && waits.offset >= first).count();
        let missing = self.others.keys().filter(|key| self.part.has(**key)).count();
        match (strange, missing) {
            (0, 0) => Ok(()),
            _ => Err(format!(
                "{strange} of its {} messages do not wait in its stretch of the log as it says, {missing} that wait are not in it",
                self.run.len()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use env::disk::OpenMode;
    use env::sim;
    use types::Timestamp;

    use super::super::run::{Name, encode};
    use super::*;

    const FOLDER: &str = "/timers";
    const NAME: Name = Name { from: PhysicalOffset(100), to: PhysicalOffset(1_000), seen_to: PhysicalOffset(2_000) };

    fn waits(offset: u64) -> Waits {
        Waits { due: Timestamp(9_000 - offset as i64), offset: PhysicalOffset(offset), record_bytes: 9, identity: 7 }
    }

    fn finished(offset: u64) -> Change {
        Change::Finished(waits(offset).due, PhysicalOffset(offset))
    }

    /// A snapshot's part in which 300 has ended, the file of which has these entries, and the outcome after these changes.
    fn compared(in_file: &[Waits], first: u64, changes: &[Change]) -> Result<(), String> {
        sim::run(0, async |world: sim::World| {
            let mut timer = Timer::default();
            let content = super::super::part::Content::File;
            let gone = [waits(300).key()].into();
            timer.parts.push(Part { name: NAME, content, next: waits(800).key(), left: 9, gone });
            let disk = world.env().disk;
            disk.create_dir_all(Path::new(FOLDER)).expect("made");
            let file = disk.open(&Path::new(FOLDER).join(NAME.to_string()), OpenMode::Create).expect("made");
            let mut sorted = in_file.to_vec();
            sorted.sort_by_key(Waits::key);
            file.write_all_at(&[IoSlice::new(&encode(NAME, &sorted))], 0).expect("written");
            let part = timer.parts.pop().expect("pushed");
            let mut check = RunCheck::new(part);
            check.open(&*disk, Path::new(FOLDER)).expect("whole");
            changes.iter().for_each(|change| check.change(*change));
            check.compare(PhysicalOffset(first))
        })
    }

    fn said(strange: u64, of: usize, missing: u64) -> Result<(), String> {
        Err(format!(
            "{strange} of its {of} messages do not wait in its stretch of the log as it says, {missing} that wait are not in it"
        ))
    }

    #[test]
    fn what_the_machine_keeps_itself_may_be_missing() {
        let stored = [100, 300, 500, 600, 900, 1_500].map(|offset| Change::Stored(waits(offset)));
        // 600 ended while the file was not made yet, 300 after; 900 is due before what is left of the part.
        let all = || stored.into_iter().chain([finished(600), finished(7)]).collect::<Vec<_>>();
        for in_file in [&[100, 500][..], &[100, 300, 500, 900][..]] {
            let in_file: Vec<Waits> = in_file.iter().copied().map(waits).collect();
            assert_eq!(compared(&in_file, 100, &all()), Ok(()));
        }
    }

    #[test]
    fn what_differs_from_the_log_is_counted() {
        let stored = || [100, 500].map(|offset| Change::Stored(waits(offset))).to_vec();
        assert_eq!(compared(&[waits(500)], 100, &stored()), said(0, 1, 1));
        assert_eq!(compared(&[waits(100), waits(500), waits(700)], 100, &stored()), said(1, 3, 0));
        let other = Waits { identity: 8, ..waits(500) };
        assert_eq!(compared(&[waits(100), other], 100, &stored()), said(1, 2, 1));
        let ended = [stored(), vec![finished(500)]].concat();
        assert_eq!(compared(&[waits(100), waits(500)], 100, &ended), said(1, 2, 0));
        let reset = [stored(), vec![Change::Reset]].concat();
        assert_eq!(compared(&[waits(100), waits(500)], 100, &reset), said(2, 2, 0));
    }

    #[test]
    fn what_has_expired_is_not_asked_for() {
        assert_eq!(compared(&[waits(100), waits(500)], 300, &[Change::Stored(waits(500))]), Ok(()));
    }
}
