//! One direction of a connection: bytes arrive in pieces, each after a delay.

use std::collections::VecDeque;

use super::rng::Rng;

#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// The longest delay, ms.
    delay_ms: u64,
    /// When each part arrives, and its bytes.
    parts: VecDeque<(u64, Vec<u8>)>,
}

impl Pipe {
    pub(crate) fn new(delay_ms: u64) -> Self {
        Self {
            delay_ms,
            parts: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, bytes: Vec<u8>, now: u64, rng: &mut Rng) {
        if bytes.is_empty() {
            return;
        }
        let last = self.parts.back().map_or(0, |part| part.0);
        let due = last.max(now + rng.between(0, self.delay_ms));
        self.parts.push_back((due, bytes));
    }

    /// Takes some of the bytes that have arrived.
    pub(crate) fn take(&mut self, now: u64, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.due().is_some_and(|due| due <= now)
            && let Some((_, part)) = self.parts.pop_front()
        {
            bytes.extend(part);
        }
        let rest = bytes.split_off(rng.piece(bytes.len()));
        if !rest.is_empty() {
            self.parts.push_front((now, rest));
        }
        bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// When the next bytes arrive.
    pub(crate) fn due(&self) -> Option<u64> {
        self.parts.front().map(|part| part.0)
    }
}
