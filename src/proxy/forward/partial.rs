//! Incomplete requests: their bytes are kept until the rest arrives. A large request is forwarded
//! in the pieces in which it was read. The kept bytes are in `inbound`.

use crate::command::{self, Plan};
use crate::resp::Args;

use crate::proxy::forward::admission::Decision;
use crate::proxy::forward::answer::Handled;
use crate::proxy::forward::run::Run;
use crate::proxy::machine::Machine;
use crate::proxy::texts::OUT_OF_MEMORY;
use crate::session::inbound::{Arrival, Inbound, Progress, SPARE_BYTES_MAX, Upload};
use crate::session::last_command::LastCommand;
use crate::store::allocator::{UNCACHED_BYTES, shrink};
use crate::store::chunk::ChunkList;
use crate::store::key::{ClientKey, LinkKey};

/// The first bytes of a request that contain the name of any known command.
const NAME_BYTES: usize = 64;

impl Machine {
    /// Keeps more bytes of a client.
    pub(in crate::proxy) fn keep(&mut self, key: ClientKey, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if bytes.is_empty() || client.is_closing() {
            return;
        }
        if client.inbound.is_none() {
            let spare = self.clients.take_spare();
            if let Some(client) = self.clients.get_mut(key) {
                client.inbound = Some(spare);
            }
        }
        let inbound = self.clients.get_mut(key).and_then(|it| it.inbound.as_mut());
        let Some(inbound) = inbound else { return };
        if inbound.is_empty() {
            inbound.arrived = self.requests.clock();
        }
        if inbound.bytes.capacity() - inbound.bytes.len() < bytes.len() {
            let wanted = inbound.missing.max(bytes.len()).max(UNCACHED_BYTES);
            if inbound.bytes.try_reserve_exact(wanted).is_err() {
                self.stats.counters.out_of_memory += 1;
                self.reply_error_and_close(key, &OUT_OF_MEMORY);
                return;
            }
        }
        inbound.bytes.extend_from_slice(bytes);
        inbound.missing = inbound.missing.saturating_sub(bytes.len());
        self.clients.count_partial(bytes.len());
    }

    /// Keeps the beginning of a frame that a decode found incomplete.
    pub(in crate::proxy) fn keep_begun(
        &mut self,
        key: ClientKey,
        bytes: &[u8],
        mut progress: Progress,
    ) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if bytes.is_empty() || client.is_closing() {
            return;
        }
        let upload = progress.upload(bytes, self.links.chunks_mut());
        let bytes = if upload.is_some() { &[] } else { bytes };
        let mut inbound = self.clients.take_spare();
        (inbound.upload, inbound.arrived) = (upload, self.requests.clock());
        (inbound.decoder, inbound.missing) = (progress.decoder, progress.missing);
        if let Some(client) = self.clients.get_mut(key) {
            client.inbound = Some(inbound);
        }
        self.keep(key, bytes);
    }

    /// Keeps the bytes that are left over after a decode of the kept bytes.
    pub(in crate::proxy) fn keep_rest(
        &mut self,
        key: ClientKey,
        mut inbound: Box<Inbound>,
        mut progress: Progress,
    ) {
        let client = self.clients.get_mut(key).filter(|it| !it.is_closing());
        let Some(client) = client.filter(|_| !inbound.is_empty()) else {
            return self.clients.put_spare(inbound, self.links.chunks_mut());
        };
        if inbound.upload.is_none() {
            inbound.upload = progress.upload(&inbound.bytes, self.links.chunks_mut());
            if inbound.upload.is_some() {
                inbound.bytes.clear();
                shrink(&mut inbound.bytes, SPARE_BYTES_MAX);
            }
        }
        (inbound.decoder, inbound.missing) = (progress.decoder, progress.missing);
        client.inbound = Some(inbound);
    }

    /// Adds the bytes that a large request lacks. Returns the bytes that follow it.
    pub(in crate::proxy) fn add_to_upload<'a>(
        &mut self,
        key: ClientKey,
        bytes: &'a [u8],
    ) -> &'a [u8] {
        let inbound = self.clients.get(key).and_then(|it| it.inbound.as_ref());
        if inbound.is_none_or(|inbound| inbound.upload.is_none()) {
            return bytes;
        }
        let limits = self.limits_of(key);
        let client = self.clients.get_mut(key);
        let Some(inbound) = client.and_then(|client| client.inbound.as_deref_mut()) else {
            return bytes;
        };
        let later = inbound.add_to_upload(bytes, &limits, self.links.chunks_mut());
        let kept = inbound.bytes.len();
        self.clients.count_partial(kept);
        later
    }

    /// Forwards or answers a large request, if it is complete. Returns it if it has to wait.
    pub(in crate::proxy) fn send_upload(
        &mut self,
        key: ClientKey,
        inbound: &mut Inbound,
        mut upload: Upload,
    ) -> Option<Upload> {
        let complete = match upload.arrival {
            Arrival::Incomplete(_) => return Some(upload),
            Arrival::Complete => true,
            Arrival::Malformed => false,
        };
        if complete && self.send_pieces(key, &mut upload.pieces) {
            return None;
        }
        let client = self.clients.get(key);
        if client.is_none_or(|client| client.is_held()) || self.links.chunks().is_taking() {
            return Some(upload);
        }
        let chunks = self.links.chunks_mut();
        if !complete {
            chunks.append(&mut upload.pieces, &inbound.bytes);
        }
        match chunks.take_whole(&mut upload.pieces) {
            Ok(frame) if complete => return self.send_whole(key, frame),
            Ok(bytes) => {
                self.clients.count_partial(bytes.len());
                inbound.bytes = bytes;
            }
            Err(_) => {
                self.stats.counters.out_of_memory += 1;
                self.reply_error_and_close(key, &OUT_OF_MEMORY);
            }
        }
        None
    }

    /// Forwards a large request in its pieces, if it needs nothing else.
    fn send_pieces(&mut self, key: ClientKey, pieces: &mut ChunkList) -> bool {
        let head = self.links.chunks().first_piece(pieces);
        // All but the simplest commands, tenants with limits, and Redis Clusters need the whole
        // request in one piece.
        let plain = self.limited_tenant(key).is_none()
            && !self.is_clustered(key)
            && command::is_plain(head)
            && self.plan(key, head) == Plan::Forward;
        if !plain {
            return false;
        }
        let noted = LastCommand::named(Args::new(head).next().unwrap_or_default());
        let begin = head.get(..NAME_BYTES.min(head.len())).unwrap_or_default();
        let begin = begin.to_vec();
        let Some(to) = self.forward_large(key, &begin, pieces.len()) else {
            return false;
        };
        if let Some(client) = self.clients.get_mut(key) {
            client.command = noted;
        }
        self.links.append_list(to, pieces);
        true
    }

    /// Handles a large request in one piece. Returns it if it has to wait.
    fn send_whole(&mut self, key: ClientKey, frame: Vec<u8>) -> Option<Upload> {
        let limited = self.limited_tenant(key);
        let decision = self.decision(key, limited, &frame);
        let to = match decision {
            Decision::Do(Plan::Forward) => self.forward_large(key, &frame, frame.len()),
            _ => None,
        };
        let taken = match to {
            Some(_) => Handled::Yes,
            None => self.carry_out(key, limited, decision, &frame),
        };
        if taken != Handled::Later {
            self.clients.note_command_of(key, &frame);
        }
        let mut pieces = ChunkList::default();
        self.links.chunks_mut().append_owned(&mut pieces, frame);
        if let Some(to) = to {
            self.links.append_list(to, &mut pieces);
        } else if taken == Handled::Later {
            return Some(Upload {
                pieces,
                arrival: Arrival::Complete,
            });
        }
        self.links.chunks_mut().clear(&mut pieces);
        None
    }

    /// Records a large request of `len` bytes. Returns the link to which its pieces are appended.
    fn forward_large(&mut self, key: ClientKey, begin: &[u8], len: usize) -> Option<LinkKey> {
        let mut run = Run::at(0);
        let to = self.add_to_run(key, &mut run, len, begin);
        self.end_run(key, &mut run, &[], 0);
        to
    }
}
