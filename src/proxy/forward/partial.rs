//! Requests that have not come whole: what was read is kept, goes on when more comes, or leaves as
//! it is if it is large. What is kept is in `inbound`.

use std::collections::TryReserveError;

use crate::command::{self, Plan};
use crate::resp::{Args, ProtocolError, Rest};

use crate::proxy::forward::run::Run;
use crate::proxy::machine::Machine;
use crate::session::inbound::{Inbound, Progress, SPARE_BYTES_MAX, UPLOAD_BYTES_MIN, Upload};
use crate::session::last_command::LastCommand;
use crate::store::allocator::{OUT_OF_MEMORY, UNCACHED_BYTES};
use crate::store::key::ClientKey;

/// In so many bytes of a request its name is, if that is known here.
const NAME_BYTES: usize = 64;

/// What becomes of a large request when more of it has come.
enum Outcome {
    /// It is not complete, or cannot go now.
    Wait,
    /// It is through, or is to be looked at in one piece.
    GoOn,
    Malformed(ProtocolError),
}

impl Machine {
    /// Adds to what is kept of a client's bytes.
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
            inbound.asked = self.requests.clock;
        }
        let have = inbound.bytes.len();
        if inbound.bytes.capacity() - have < bytes.len() {
            // Never more than the frame will need, and never more than doubled on a mere claim.
            let claimed = inbound.missing.max(bytes.len());
            let wanted = claimed.min(have.max(SPARE_BYTES_MAX)).max(bytes.len());
            let wanted = wanted.max(UNCACHED_BYTES);
            if inbound.bytes.try_reserve_exact(wanted).is_err() {
                self.stats.counters.out_of_memory += 1;
                self.say_and_close(key, OUT_OF_MEMORY);
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
        (inbound.upload, inbound.asked) = (upload, self.requests.clock);
        (inbound.decoder, inbound.missing) = (progress.decoder, progress.missing);
        if let Some(client) = self.clients.get_mut(key) {
            client.inbound = Some(inbound);
        }
        self.keep(key, bytes);
    }

    /// Keeps what is left after a decode of what was kept.
    pub(in crate::proxy) fn keep_on(
        &mut self,
        key: ClientKey,
        mut inbound: Box<Inbound>,
        mut progress: Progress,
    ) {
        let client = self.clients.get_mut(key).filter(|it| !it.is_closing());
        let Some(client) = client.filter(|_| !inbound.bytes.is_empty()) else {
            return self.clients.put_spare(inbound, self.links.chunks_mut());
        };
        inbound.upload = progress.upload(&inbound.bytes, self.links.chunks_mut());
        if inbound.upload.is_some() {
            inbound.bytes.clear();
        }
        (inbound.decoder, inbound.missing) = (progress.decoder, progress.missing);
        client.inbound = Some(inbound);
    }

    /// A large request gets what it lacks, and what follows it is returned. `None`: there is no
    /// such request.
    pub(in crate::proxy) fn keep_of_upload<'a>(
        &mut self,
        key: ClientKey,
        bytes: &'a [u8],
    ) -> Option<&'a [u8]> {
        let inbound = self.clients.get_mut(key)?.inbound.as_deref_mut()?;
        let upload = inbound
            .upload
            .as_mut()
            .filter(|upload| upload.lacking > 0)?;
        Some(upload.take(bytes, self.links.chunks_mut()))
    }

    /// Goes on with a large request. Returns whether what follows it, or the request in one piece,
    /// can be decoded.
    pub(in crate::proxy) fn go_on_uploading(&mut self, key: ClientKey) -> bool {
        match self.uploaded(key) {
            Outcome::Wait => false,
            Outcome::GoOn => true,
            Outcome::Malformed(error) => {
                self.malformed(key, error);
                false
            }
        }
    }

    fn uploaded(&mut self, key: ClientKey) -> Outcome {
        let limits = self.limits_of(key);
        let Some(client) = self.clients.get_mut(key) else {
            return Outcome::Wait;
        };
        let Some(inbound) = client.inbound.as_deref_mut() else {
            return Outcome::GoOn;
        };
        let Some(upload) = &mut inbound.upload else {
            return Outcome::GoOn;
        };
        if upload.lacking > 0 {
            return Outcome::Wait;
        }
        if upload.last != *b"\r\n" {
            return Outcome::Malformed(ProtocolError::ExpectedCrlf);
        }
        let before = upload.front.len();
        let len = match upload.rest.decode(&inbound.bytes, &limits, before) {
            Ok(Rest::Complete { len }) => len,
            Ok(Rest::NeedMore { at_least }) if at_least >= UPLOAD_BYTES_MIN => {
                upload.rest.leave_argument();
                upload.lacking = at_least;
                upload.add(&inbound.bytes, self.links.chunks_mut());
                inbound.bytes.clear();
                return Outcome::Wait;
            }
            Ok(Rest::NeedMore { at_least }) => {
                inbound.missing = at_least;
                return Outcome::Wait;
            }
            Err(error) => return Outcome::Malformed(error),
        };
        self.send_upload(key, len)
    }

    /// A large request is complete with the first `len` of the bytes that follow its pieces.
    fn send_upload(&mut self, key: ClientKey, len: usize) -> Outcome {
        let inbound = self.clients.get(key).and_then(|it| it.inbound.as_deref());
        let Some(upload) = inbound.and_then(|inbound| inbound.upload.as_ref()) else {
            return Outcome::GoOn;
        };
        let before = upload.front.len();
        let head = self.links.chunks().first_piece(&upload.front);
        // All but the simplest commands, and tenants with rules, need to see all of it.
        let plain = self.gate_of(key).is_none()
            && command::is_plain(head)
            && self.plan(key, head) == Plan::Forward;
        let name = Args::new(head).next().unwrap_or_default();
        let noted = LastCommand::named(name);
        let begin = head.get(..NAME_BYTES.min(head.len())).unwrap_or_default();
        let begin = begin.to_vec();
        let mut run = Run::at(0);
        let to = match plain {
            true => self.add_to_run(key, &mut run, before + len, &begin),
            false => None,
        };
        self.end_run(key, &mut run, &[], 0);
        let Some(client) = self.clients.get_mut(key) else {
            return Outcome::Wait;
        };
        if to.is_none() && (client.is_held() || self.links.chunks().is_taking()) {
            return Outcome::Wait;
        }
        let Some(inbound) = client.inbound.as_deref_mut() else {
            return Outcome::GoOn;
        };
        let Some(mut upload) = inbound.upload.take() else {
            return Outcome::GoOn;
        };
        if let Some(to) = to {
            client.command = noted;
            self.links.append_list(to, &mut upload.front);
            let last = inbound.bytes.get(..len).unwrap_or_default();
            self.links.append(to, last);
            inbound.bytes.drain(..len);
        } else if self.join_pieces(key, upload).is_err() {
            self.stats.counters.out_of_memory += 1;
            self.say_and_close(key, OUT_OF_MEMORY);
            return Outcome::Wait;
        }
        self.drop_empty(key);
        Outcome::GoOn
    }

    /// Makes one piece of a large request.
    fn join_pieces(&mut self, key: ClientKey, mut upload: Upload) -> Result<(), TryReserveError> {
        let mut whole = Vec::new();
        self.links
            .chunks_mut()
            .gather(&mut upload.front, &mut whole)?;
        let client = self.clients.get_mut(key);
        if let Some(inbound) = client.and_then(|client| client.inbound.as_deref_mut()) {
            whole.try_reserve_exact(inbound.bytes.len())?;
            whole.append(&mut inbound.bytes);
            (inbound.missing, inbound.decoder) = Default::default();
            let len = whole.len();
            inbound.bytes = whole;
            self.clients.count_partial(len);
        }
        Ok(())
    }

    /// Who has sent nothing that waits has no record of it.
    fn drop_empty(&mut self, key: ClientKey) {
        let client = self.clients.get_mut(key);
        if let Some(client) = client
            && let Some(inbound) = client.inbound.take_if(|inbound| inbound.is_empty())
        {
            self.clients.put_spare(inbound, self.links.chunks_mut());
        }
    }
}
