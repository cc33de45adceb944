//! Counters and histograms of an instance's traffic, and the Prometheus text format.
//!
//! These are plain numbers: each worker counts in its own memory, and copies the numbers when
//! they are collected.

mod histogram;
mod text;
mod traffic;

pub use histogram::{BOUNDS_US, Histogram};
pub use text::{CONTENT_TYPE, Family, Kind, Samples, Text};
pub use traffic::{ErrorKind, Traffic};
