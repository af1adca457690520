//! The bytes of a file, page by page, so that a large file that is mostly zeros costs little.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

const PAGE_BYTES: usize = 4096;

type Page = [u8; PAGE_BYTES];

/// A file's content at one moment; a copy shares its pages.
#[derive(Clone, Default)]
pub(super) struct Image {
    len: u64,
    /// Pages that were written, by number; the others are zeros. Beyond `len` all bytes are zeros.
    pages: BTreeMap<u64, Arc<Page>>,
    /// Room is reserved from the beginning up to here.
    reserved_to: u64,
}

impl Image {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads up to the end of the file; returns how many bytes.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let left = self.len.saturating_sub(offset);
        let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        for (page, in_page, in_buffer) in pages(offset, count) {
            match self.pages.get(&page) {
                Some(page) => buffer[in_buffer].copy_from_slice(&page[in_page]),
                None => buffer[in_buffer].fill(0),
            }
        }
        count
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        for (page, in_page, in_bytes) in pages(offset, bytes.len()) {
            let page = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[in_page].copy_from_slice(&bytes[in_bytes]);
        }
        self.len = self.len.max(offset + bytes.len() as u64);
    }

    pub(super) fn set_len(&mut self, bytes: u64) {
        if bytes < self.len {
            let (last, in_page) = split(bytes);
            self.pages.split_off(&(last + 1));
            if let Some(page) = self.pages.get_mut(&last) {
                Arc::make_mut(page)[in_page..].fill(0);
            }
            self.reserved_to = self.reserved_to.min(bytes);
        }
        self.len = bytes;
    }

    pub(super) fn allocate(&mut self, bytes: u64) {
        self.set_len(bytes);
        self.reserved_to = bytes;
    }

    pub(super) fn flip_bit(&mut self, bit: u64) {
        let mut byte = [0];
        self.read(&mut byte, bit / 8);
        byte[0] ^= 1 << (bit % 8);
        self.write(&byte, bit / 8);
    }

    /// Bytes of the disk that it takes, in whole pages.
    pub(super) fn room_bytes(&self) -> u64 {
        let reserved_pages = self.reserved_to.div_ceil(PAGE_BYTES as u64);
        let beyond = self.pages.range(reserved_pages..).count() as u64;
        (reserved_pages + beyond) * PAGE_BYTES as u64
    }

    /// How many bytes of the disk a write would take that are not taken yet.
    pub(super) fn room_for_write(&self, offset: u64, count: usize) -> u64 {
        let reserved_pages = self.reserved_to.div_ceil(PAGE_BYTES as u64);
        let is_new = |page: &u64| *page >= reserved_pages && !self.pages.contains_key(page);
        pages(offset, count).map(|(page, ..)| page).filter(is_new).count() as u64 * PAGE_BYTES as u64
    }

    /// How many bytes of the disk, in whole pages, room for this length would take that are not taken yet.
    pub(super) fn room_to_reserve(&self, bytes: u64) -> u64 {
        bytes.next_multiple_of(PAGE_BYTES as u64).saturating_sub(self.room_bytes())
    }

    /// Hashes what readers see.
    pub(super) fn hash_content(&self, hasher: &mut impl Hasher) {
        self.len.hash(hasher);
        let written = self.pages.iter().filter(|(_, page)| page.iter().any(|byte| *byte != 0));
        written.for_each(|(number, page)| (number, page).hash(hasher));
    }
}

/// The number of the page that holds a byte, and where in it.
fn split(offset: u64) -> (u64, usize) {
    let page_bytes = PAGE_BYTES as u64;
    (offset / page_bytes, usize::try_from(offset % page_bytes).expect("smaller than a page"))
}

/// The pages of `count` bytes at `offset`: number, range in the page, range in the bytes.
fn pages(offset: u64, count: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = count - done;
        if left == 0 {
            return None;
        }
        let (page, from) = split(offset + done as u64);
        let part = left.min(PAGE_BYTES - from);
        done += part;
        Some((page, from..from + part, done - part..done))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
        Allocate(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        const FAR: u64 = 3 * PAGE_BYTES as u64;
        prop_oneof![
            (0..FAR, prop::collection::vec(any::<u8>(), 1..5000)).prop_map(|(at, bytes)| Step::Write(at, bytes)),
            (0..FAR).prop_map(Step::SetLen),
            (0..FAR).prop_map(Step::Allocate),
        ]
    }

    proptest! {
        #[test]
        fn pages_hold_what_a_plain_vector_holds(steps in prop::collection::vec(step(), 0..12)) {
            let (mut image, mut plain) = (Image::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Write(at, bytes) => {
                        let at = usize::try_from(at).expect("small");
                        plain.resize(plain.len().max(at + bytes.len()), 0);
                        plain[at..at + bytes.len()].copy_from_slice(&bytes);
                        image.write(&bytes, at as u64);
                    }
                    Step::SetLen(bytes) => {
                        plain.resize(usize::try_from(bytes).expect("small"), 0);
                        image.set_len(bytes);
                    }
                    Step::Allocate(bytes) => {
                        plain.resize(usize::try_from(bytes).expect("small"), 0);
                        image.allocate(bytes);
                    }
                }
                let mut read = vec![1; plain.len() + 10];
                let count = image.read(&mut read, 0);
                prop_assert_eq!(&read[..count], &plain[..]);
            }
        }
    }
}
