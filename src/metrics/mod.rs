//! What is counted per instance, and how it is written for Prometheus.
//!
//! Plain numbers: a worker counts in its own memory and hands out copies when somebody asks.

mod histogram;
mod text;
mod traffic;

pub use histogram::{BOUNDS_US, Histogram};
pub use text::{CONTENT_TYPE, Family, Kind, Samples, Text};
pub use traffic::{ErrorKind, Traffic};
