//! A script that runs until it is killed.

use super::super::wire;
use super::degraded::Degraded;
use super::{Redis, tag_of};

/// The reply to SCRIPT KILL when no script runs.
pub(crate) const NOT_BUSY: &str = "NOTBUSY No scripts in execution right now.";

const KILLED: &str = "ERR Script killed by user with SCRIPT KILL...";

impl Redis {
    /// EVAL. The reply follows when the script is killed.
    pub(super) fn run(&mut self, id: u64, args: &[Vec<u8>]) -> Result<(), String> {
        let tag = tag_of(args.last()).ok_or("EVAL without a tag")?;
        self.begin(id, "EVAL", tag)?;
        self.at(id).shared = true;
        self.running = Some((id, tag));
        self.degrade(Degraded::Busy, self.now.ms, u64::MAX);
        Ok(())
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the script of this connection runs. Later requests wait.
    pub(crate) fn runs_for(&self, id: u64) -> bool {
        self.running.is_some_and(|(runner, _)| runner == id)
    }

    /// SCRIPT KILL from a client.
    pub(super) fn script_command(&mut self, id: u64) -> Result<Vec<u8>, String> {
        // It needs no dedicated connection of its client, and uses a connection without other
        // clients.
        let session = self.at(id);
        (session.used, session.waited) = (true, true);
        self.kill_script()
    }

    /// SCRIPT KILL from any client.
    pub(crate) fn kill_script(&mut self) -> Result<Vec<u8>, String> {
        let Some((id, tag)) = self.running.take() else {
            return Ok(wire::error(NOT_BUSY));
        };
        self.heal(self.now.ms);
        if self.sessions.contains_key(&id) {
            let reply = wire::error(KILLED);
            self.record(id, "EVAL", tag, &reply, None)?;
            self.at(id).output.push((reply, false));
        }
        Ok(b"+OK\r\n".to_vec())
    }
}
