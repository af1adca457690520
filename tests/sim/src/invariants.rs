//! The promises, one a file. Each is a function that compares what is found with what must be.

pub mod acknowledged_survives;
pub mod offsets_follow;
pub mod reads_agree;
pub mod suffix_only;
