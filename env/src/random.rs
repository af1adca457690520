//! Random numbers.

/// A source of random numbers.
pub trait Random: Send + Sync {
    /// Any number, each as likely.
    fn next(&self) -> u64;
}
