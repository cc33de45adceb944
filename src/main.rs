//! The `elika-proxy` program.

fn main() {}
