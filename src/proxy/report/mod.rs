//! Stats of a worker, and its log lines.

mod collect;
mod notices;
