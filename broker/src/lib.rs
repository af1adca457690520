//! The broker in process.

pub mod pop;
