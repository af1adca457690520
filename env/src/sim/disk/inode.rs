//! One file: what readers see, what is durable, and the changes between the two.

use std::hash::Hasher;
use std::ops::Range;
use std::sync::Arc;

use super::image::Image;

/// What a disk writes whole or not at all. Source: the smallest atomic unit that drives promise.
const SECTOR_BYTES: u64 = 512;

/// A change of a file's bytes.
#[derive(Clone, Hash)]
pub(super) enum Change {
    /// Bytes at an offset.
    Write { offset: u64, bytes: Arc<[u8]> },
    /// A new length.
    SetLen { bytes: u64 },
    /// A new length with room for it.
    Allocate { bytes: u64 },
}

/// A file, whatever its name.
#[derive(Default)]
pub(super) struct Inode {
    visible: Image,
    durable: Image,
    /// Changes that lead from `durable` to `visible`, in order. After a failed sync `visible` has more.
    unsynced: Vec<Change>,
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        self.visible.len()
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        self.visible.read(buffer, offset)
    }

    /// Bytes of the disk that it takes.
    pub(super) fn room_bytes(&self) -> u64 {
        self.visible.room_bytes()
    }

    /// How many more a change would take.
    pub(super) fn room_needed(&self, change: &Change) -> u64 {
        match change {
            Change::Write { offset, bytes } => self.visible.room_for_write(*offset, bytes.len()),
            Change::SetLen { .. } => 0,
            Change::Allocate { bytes } => self.visible.room_to_reserve(*bytes),
        }
    }

    pub(super) fn change(&mut self, change: Change) {
        apply(&mut self.visible, &change);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.drain(..).for_each(|change| apply(&mut self.durable, &change));
    }

    /// Makes some changes durable and forgets the others, which readers still see.
    pub(super) fn sync_some(&mut self, rng: &mut fastrand::Rng, kept_percent: u8) {
        for change in self.unsynced.drain(..) {
            apply_by_chance(&mut self.durable, &change, rng, kept_percent);
        }
    }

    /// Keeps of what was not synced what chance wants, about so many in a hundred.
    pub(super) fn lose_power(&mut self, rng: &mut fastrand::Rng, kept_percent: u8) {
        self.sync_some(rng, kept_percent);
        self.visible = self.durable.clone();
    }

    pub(super) fn flip_bit(&mut self, rng: &mut fastrand::Rng) {
        let bits = self.durable.len().min(self.visible.len()) * 8;
        if bits > 0 {
            let bit = rng.u64(..bits);
            self.visible.flip_bit(bit);
            self.durable.flip_bit(bit);
        }
    }

    pub(super) fn hash_content(&self, hasher: &mut impl Hasher) {
        self.visible.hash_content(hasher);
    }
}

fn apply(image: &mut Image, change: &Change) {
    match change {
        Change::Write { offset, bytes } => image.write(bytes, *offset),
        Change::SetLen { bytes } => image.set_len(*bytes),
        Change::Allocate { bytes } => image.allocate(*bytes),
    }
}

/// Applies what chance leaves of a change.
fn apply_by_chance(image: &mut Image, change: &Change, rng: &mut fastrand::Rng, kept_percent: u8) {
    if rng.u8(..100) < kept_percent {
        return apply(image, change);
    }
    let Change::Write { offset, bytes } = change else { return };
    match rng.u8(..4) {
        0 => {
            let kept = torn(*offset, bytes.len(), rng);
            image.write(&bytes[kept.clone()], *offset + kept.start as u64);
        }
        // The new length arrived, the bytes did not: they read as zeros. Source: XFS, ext4 with `data=writeback`.
        1 => image.set_len(image.len().max(*offset + bytes.len() as u64)),
        _ => {}
    }
}

/// The part of a write that a torn one has saved: up to a random sector boundary or from one on; nothing when the
/// write lies within one sector.
fn torn(offset: u64, count: usize, rng: &mut fastrand::Rng) -> Range<usize> {
    let end = offset + count as u64;
    let boundaries = offset / SECTOR_BYTES + 1..end.div_ceil(SECTOR_BYTES);
    if boundaries.is_empty() {
        return 0..0;
    }
    let boundary = rng.u64(boundaries) * SECTOR_BYTES;
    let split = usize::try_from(boundary - offset).expect("within the write");
    if rng.bool() { 0..split } else { split..count }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_write_tears_only_between_sectors(seed: u64, offset in 0u64..5000, count in 1usize..5000) {
            let kept = torn(offset, count, &mut fastrand::Rng::with_seed(seed));
            let is_edge = |at: usize| at == 0 || at == count || (offset + at as u64).is_multiple_of(SECTOR_BYTES);
            prop_assert!(kept.end <= count);
            prop_assert!(is_edge(kept.start) && is_edge(kept.end), "{:?} of {} at {}", kept, count, offset);
        }
    }
}
