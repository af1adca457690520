//! Finding whole records behind a place that is damaged: for those who look at a log, and to count what is given up. A
//! start never goes on at one of them.

use record::{Peek, Record};
use types::{PhysicalOffset, Timestamp};

use super::{Step, Visitor, Window, scan};
use crate::commit_log::End;
use crate::files::Error;
use crate::segments::Segments;

/// What lies behind a damaged place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// Where the next whole record begins.
    pub(crate) record_at: Option<PhysicalOffset>,
    /// Where the first byte that is not zero is.
    pub(crate) written_at: Option<PhysicalOffset>,
}

/// Looks from `from` to `to` for a record that is whole and says that it is where it is.
pub(crate) fn behind(segments: &Segments, from: u64, to: u64) -> Result<Behind, Error> {
    let mut window = Window::new(segments)?;
    let mut behind = Behind { record_at: None, written_at: None };
    for base in window.bases.clone().into_iter().filter(|base| *base < to) {
        let end = (base + segments.segment_bytes).min(to);
        let mut position = from.max(base);
        while position < end {
            let left = (end - position) as usize;
            let bytes = window.get(position, left.min(record::BLANK_BYTES))?;
            let bytes = &bytes[..bytes.len().min(left)];
            let Some(written) = first_written(bytes) else {
                if bytes.is_empty() {
                    break;
                }
                position += bytes.len() as u64;
                continue;
            };
            behind.written_at.get_or_insert(PhysicalOffset(position + written as u64));
            // A record's first byte may be one of the zeros.
            let first = written.saturating_sub(record::BLANK_BYTES - 1);
            let candidate =
                (first..bytes.len()).find(|&at| matches!(record::peek(&bytes[at..]), Ok(Peek::Record { .. })));
            // What begins in the last bytes is seen whole in the next step.
            let Some(candidate) = candidate else {
                let seen = bytes.len().saturating_sub(record::BLANK_BYTES - 1).max(1);
                position += seen as u64;
                continue;
            };
            position += candidate as u64;
            if is_record(&mut window, position)? {
                behind.record_at = Some(PhysicalOffset(position));
                return Ok(behind);
            }
            position += 1;
        }
    }
    Ok(behind)
}

/// Where the first byte is that is not zero. Most of a log's last segment are zeros, a gigabyte of them perhaps.
fn first_written(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 4096] = [0; 4096];
    // Compared as a whole, which is fast whatever the compiler makes of a loop.
    let index = bytes.chunks(ZEROS.len()).position(|chunk| *chunk != ZEROS[..chunk.len()])?;
    let start = index * ZEROS.len();
    bytes[start..].iter().position(|byte| *byte != 0).map(|at| start + at)
}

fn is_record(window: &mut Window<'_>, position: u64) -> Result<bool, Error> {
    let step = window.step(position, Timestamp(i64::MIN))?;
    Ok(matches!(step, Step::Record(_)))
}

/// How many whole records there are from a damaged place on, whatever is between them.
pub(crate) fn count(segments: &Segments, from: u64) -> Result<u64, Error> {
    struct Count(u64);
    impl Visitor for Count {
        fn record(&mut self, _: &Record<'_>) -> Result<(), String> {
            self.0 += 1;
            Ok(())
        }
    }
    let (mut count, mut from) = (Count(0), from);
    while let Some(at) = behind(segments, from, u64::MAX)?.record_at {
        let start = End { at, last: None, last_stored_at: Timestamp(i64::MIN) };
        let (end, _) = scan(segments, start, None, &mut count)?;
        from = end.at.0;
    }
    Ok(count.0)
}

#[cfg(test)]
mod tests {
    use super::first_written;

    #[test]
    fn the_first_byte_that_is_not_zero_is_found() {
        for length in [0, 1, 4095, 4096, 4097, 10_000] {
            let mut bytes = vec![0; length];
            assert_eq!(first_written(&bytes), None);
            for at in (0..length).rev() {
                bytes[at] = 1;
                assert_eq!(first_written(&bytes), Some(at));
            }
        }
    }
}
