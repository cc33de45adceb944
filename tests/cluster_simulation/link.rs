//! A backend connection: the network between a machine and a node.

use super::pipe::Pipe;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) cluster: usize,
    pub(crate) node: usize,
    /// The node's number of the connection; `None`: being opened.
    pub(crate) session: Option<u64>,
    /// When it will be opened or refused, ms.
    pub(crate) opens_at: u64,
    pub(crate) to_node: Pipe,
    /// Arrived at the node and not executed.
    pub(crate) buffer: Vec<u8>,
    pub(crate) from_node: Pipe,
    /// The bytes that `to_node` holds at most.
    pub(crate) room: usize,
    /// The machine does not read it.
    pub(crate) paused: bool,
    /// The machine has more bytes for it.
    pub(crate) wants_write: bool,
}

impl Link {
    pub(crate) fn new((cluster, node): (usize, usize), opens_at: u64, delay_ms: u64) -> Self {
        Self {
            cluster,
            node,
            session: None,
            opens_at,
            to_node: Pipe::new(delay_ms),
            buffer: Vec::new(),
            from_node: Pipe::new(delay_ms),
            room: 1 << 20,
            paused: false,
            wants_write: false,
        }
    }

    /// When anything of it can happen next.
    pub(crate) fn due(&self) -> Option<u64> {
        if self.session.is_none() {
            return Some(self.opens_at);
        }
        let from_node = self.from_node.due().filter(|_| !self.paused);
        [self.to_node.due(), from_node].into_iter().flatten().min()
    }

    /// Whether the replies to the question about the slots have some.
    pub(crate) fn is_learned(&self, replies: &[u8]) -> bool {
        let has = |word: &[u8]| replies.windows(word.len()).any(|it| it == word);
        has(b":16383\r\n") && !has(b"cluster_state:fail")
    }

    /// Nothing is in flight in either direction.
    pub(crate) fn is_idle(&self) -> bool {
        self.to_node.is_empty() && self.buffer.is_empty() && self.from_node.is_empty()
    }
}
