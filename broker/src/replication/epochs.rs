//! Which epochs a log has gone through, and up to where two logs are the same. A plain value.
//!
//! An epoch has one master, and what it appends in it goes on from one position. So of two logs that have gone through an epoch which
//! begins at the same place in both, all before that and all that both have of that epoch is the same.
//! Source: Apache 5.5 `EpochFileCache`.

use serde::{Deserialize, Serialize};
use types::PhysicalOffset;

/// Counts the masters of a broker name. Source: `masterEpoch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub i32);

/// Most epochs that are remembered, the newest: a log that has parted from another one before these cannot be cut.
pub(crate) const EPOCHS_MAX: usize = 4096;

/// Where an epoch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The epoch.
    pub epoch: Epoch,
    /// The position of its first record, if it has any.
    pub start: u64,
}

/// The epochs of a log, at most [`EPOCHS_MAX`]. Invariant: epochs rise, and their starts do not fall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs(Vec<Begin>);

/// An epoch with what a log has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) epoch: Epoch,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// What these are cannot be the epochs of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{count} epochs that do not rise, or more than {EPOCHS_MAX}")]
pub struct Unfit {
    /// How many there are.
    pub count: usize,
}

impl Epochs {
    /// These, in order.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn new(begins: Vec<Begin>) -> Result<Self, Unfit> {
        let rise = |pair: &[Begin]| pair[0].epoch < pair[1].epoch && pair[0].start <= pair[1].start;
        match begins.len() <= EPOCHS_MAX && begins.windows(2).all(rise) {
            true => Ok(Self(begins)),
            false => Err(Unfit { count: begins.len() }),
        }
    }

    /// All, in order.
    pub(crate) fn all(&self) -> &[Begin] {
        &self.0
    }

    /// The newest.
    #[must_use]
    pub fn last(&self) -> Option<Epoch> {
        self.0.last().map(|begin| begin.epoch)
    }

    /// The newest that a log which ends there has gone into.
    pub(crate) fn last_of(&self, end: PhysicalOffset) -> Option<Epoch> {
        self.stretches(end).last().map(|stretch| stretch.epoch)
    }

    /// The epochs with an epoch more, which begins where the log ends. The first of all is that of the whole log, which begins at `first`.
    ///
    /// # Panics
    /// When it is not a newer one.
    pub(crate) fn with(&self, epoch: Epoch, first: PhysicalOffset, end: PhysicalOffset) -> Self {
        assert!(self.last() < Some(epoch), "epoch {epoch:?} follows {:?}", self.last());
        let start = if self.0.is_empty() { first } else { end };
        // What it does not reach into was promised by a master of which it got nothing more.
        let mut begins: Vec<_> = self.0.iter().copied().filter(|begin| begin.start <= end.0).collect();
        begins.drain(..(begins.len() + 1).saturating_sub(EPOCHS_MAX));
        begins.push(Begin { epoch, start: start.0 });
        Self(begins)
    }

    /// What a log that ends there has of each epoch.
    pub(crate) fn stretches(&self, end: PhysicalOffset) -> impl DoubleEndedIterator<Item = Stretch> {
        let reached = self.0.partition_point(|begin| begin.start <= end.0);
        let begins = &self.0[..reached];
        begins.iter().enumerate().map(move |(index, begin)| {
            let end = begins.get(index + 1).map_or(end.0, |next| next.start);
            Stretch { epoch: begin.epoch, start: begin.start, end }
        })
    }

    /// Up to where a log that has gone through these epochs, and ends at `end`, is the same as another one; `None` when they share no epoch.
    pub(crate) fn common(
        &self,
        end: PhysicalOffset,
        theirs: &Self,
        their_end: PhysicalOffset,
    ) -> Option<PhysicalOffset> {
        self.stretches(end).rev().find_map(|ours| {
            let same = theirs.stretches(their_end).rev().find(|their| their.epoch <= ours.epoch)?;
            let is_same = (same.epoch, same.start) == (ours.epoch, ours.start);
            is_same.then(|| PhysicalOffset(ours.end.min(same.end)))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: fn(u64) -> PhysicalOffset = PhysicalOffset;

    fn epochs(begins: &[(i32, u64)]) -> Epochs {
        let begins = begins.iter().map(|(epoch, start)| Begin { epoch: Epoch(*epoch), start: *start });
        Epochs::new(begins.collect()).expect("they rise")
    }

    #[test]
    fn logs_are_the_same_up_to_the_end_of_the_last_epoch_that_both_have() {
        let old = epochs(&[(1, 0), (2, 100)]);
        for (theirs, their_end, common) in [
            (epochs(&[(1, 0), (2, 100)]), 250, 250),
            (epochs(&[(1, 0), (2, 100)]), 400, 300),
            (epochs(&[(1, 0), (2, 100), (3, 260)]), 300, 260),
            (epochs(&[(1, 0), (2, 100), (3, 300)]), 500, 300),
            (epochs(&[(1, 0), (3, 80)]), 500, 80),
            (epochs(&[(1, 0), (3, 120)]), 500, 100),
            // It took over and stored nothing.
            (epochs(&[(1, 0), (3, 100), (4, 100)]), 100, 100),
        ] {
            assert_eq!(old.common(AT(300), &theirs, AT(their_end)), Some(AT(common)), "{theirs:?}");
        }
        assert_eq!(old.common(AT(300), &epochs(&[(5, 0)]), AT(300)), None);
        assert_eq!(old.common(AT(300), &epochs(&[(2, 50)]), AT(300)), None, "the same epoch, elsewhere");
        assert_eq!(old.common(AT(50), &epochs(&[(1, 0), (3, 80)]), AT(90)), Some(AT(50)), "it never got to its second");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let begin = |epoch, start| Begin { epoch: Epoch(epoch), start };
        for begins in [vec![begin(1, 0), begin(1, 5)], vec![begin(2, 0), begin(1, 5)], vec![begin(1, 5), begin(2, 0)]] {
            assert_eq!(Epochs::new(begins), Err(Unfit { count: 2 }));
        }
        let many = (0..=EPOCHS_MAX).map(|epoch| begin(i32::try_from(epoch).expect("few"), 0)).collect();
        assert!(Epochs::new(many).is_err());
    }

    #[test]
    fn the_first_epoch_has_the_whole_log_and_the_oldest_are_forgotten() {
        let mut of = Epochs::default().with(Epoch(7), AT(64), AT(500));
        assert_eq!(of, epochs(&[(7, 64)]));
        of = of.with(Epoch(8), AT(64), AT(600));
        assert_eq!(of.last_of(AT(599)), Some(Epoch(7)));
        assert_eq!(of.last_of(AT(600)), Some(Epoch(8)));
        // Its log was cut since.
        assert_eq!(of.with(Epoch(9), AT(64), AT(550)), epochs(&[(7, 64), (9, 550)]));
        for epoch in 0..EPOCHS_MAX {
            of = of.with(Epoch(100 + i32::try_from(epoch).expect("few")), AT(0), AT(700));
        }
        assert_eq!((of.all().len(), of.all()[0].epoch), (EPOCHS_MAX, Epoch(100)));
    }

    /// A log as the epochs in which its bytes were stored, and what the broker remembers.
    #[derive(Clone, Debug, Default)]
    struct Log {
        bytes: Vec<i32>,
        epochs: Epochs,
    }

    impl Log {
        fn end(&self) -> PhysicalOffset {
            PhysicalOffset(self.bytes.len() as u64)
        }

        /// As a slave: what has parted goes, and up to so much of the rest comes. One that shares no epoch is refused.
        fn follow(&mut self, master: &Self, most: usize) {
            if !self.bytes.is_empty() {
                let Some(common) = self.epochs.common(self.end(), &master.epochs, master.end()) else { return };
                self.bytes.truncate(usize::try_from(common.0).expect("short"));
            }
            assert!(master.bytes.starts_with(&self.bytes), "{self:?} has parted from {master:?}");
            self.epochs = master.epochs.clone();
            self.bytes.extend(master.bytes.iter().skip(self.bytes.len()).take(most).copied().collect::<Vec<_>>());
        }
    }

    proptest! {
        /// One epoch after another has a master, which any of the others follow as far as they come. Bytes say who stored them and when,
        /// so a cut that leaves too much is found.
        #[test]
        fn what_is_left_after_a_cut_is_the_masters(
            masters in prop::collection::vec((0..3_usize, 0..9_usize, prop::collection::vec((0..3_usize, 0..20_usize), 0..4)), 1..20),
        ) {
            let mut logs = vec![Log::default(); 3];
            for (epoch, (master, stored, followers)) in (1..).zip(masters) {
                let of = &mut logs[master];
                of.epochs = of.epochs.with(Epoch(epoch), PhysicalOffset(0), of.end());
                of.bytes.extend(vec![epoch; stored]);
                for (slave, most) in followers.into_iter().filter(|(slave, _)| *slave != master) {
                    let of_master = logs[master].clone();
                    logs[slave].follow(&of_master, most);
                }
            }
        }
    }
}
