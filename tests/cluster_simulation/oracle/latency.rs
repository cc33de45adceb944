//! How long a request may take.

use super::super::client::Sent;
use super::super::world::World;

impl World {
    pub(super) fn check_latency(&mut self, _index: usize, sent: &Sent) -> Result<(), String> {
        let took = self.now - sent.at;
        self.summary.slowest_ms = self.summary.slowest_ms.max(took);
        Ok(())
    }
}
