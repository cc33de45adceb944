//! What a worker says about itself: statistics when it is asked, and lines for the log.

mod collect;
mod notices;
