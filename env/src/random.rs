//! Random numbers.

use parking_lot::Mutex;
use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};

/// Bytes asked of the system at once. Source: `getrandom(2)` gives up to 256 bytes without a signal cutting it short.
const BUFFER_BYTES: usize = 256;
const NUMBER_BYTES: usize = size_of::<u64>();
const _: () = assert!(BUFFER_BYTES.is_multiple_of(NUMBER_BYTES));

/// A source of random numbers.
pub trait Random: Send + Sync {
    /// Any number, each as likely.
    fn next(&self) -> u64;
}

/// The system's numbers, which nobody can guess.
pub struct OsRandom {
    /// Guards the numbers that are left; held for the copy of eight bytes, every 32nd time for a system call.
    left: Mutex<Buffer>,
}

struct Buffer {
    bytes: [u8; BUFFER_BYTES],
    /// Where the unused bytes begin.
    used: usize,
}

impl Default for OsRandom {
    fn default() -> Self {
        Self { left: Mutex::new(Buffer { bytes: [0; BUFFER_BYTES], used: BUFFER_BYTES }) }
    }
}

impl Random for OsRandom {
    fn next(&self) -> u64 {
        self.left.lock().next()
    }
}

impl Buffer {
    fn next(&mut self) -> u64 {
        if self.used == BUFFER_BYTES {
            let filled = retry_on_intr(|| getrandom(&mut self.bytes, GetRandomFlags::empty()));
            assert_eq!(filled, Ok(BUFFER_BYTES), "the system gives 256 random bytes at once");
            self.used = 0;
        }
        let number = self.bytes[self.used..].first_chunk::<NUMBER_BYTES>().expect("a multiple of eight is left");
        self.used += NUMBER_BYTES;
        u64::from_ne_bytes(*number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_numbers_do_not_repeat() {
        let random = OsRandom::default();
        let mut numbers: Vec<u64> = (0..100).map(|_| random.next()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 100);
    }
}
