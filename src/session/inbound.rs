//! What was read from a client and is not consumed: a request of which the end has not come, or
//! anything while the client is on hold.
//!
//! Most requests come whole, and are decoded where they were read to. Of one that does not, the
//! bytes are gathered in one piece, so that it can be looked at; unless it is large, and not huge:
//! then its pieces stay in the buffers that they were read into ([`Upload`]), and leave from there.

use crate::resp::{RequestDecoder, RestDecoder};

use crate::store::allocator::shrink;
use crate::store::buffer::READ_BYTES;
use crate::store::chunk::{ChunkList, ChunkPool};

/// A request that lacks so many bytes of an argument at least is not gathered in one piece.
pub(crate) const UPLOAD_BYTES_MIN: usize = 32 * 1024;

/// One that lacks more than this is, though that costs a copy: memory in one piece is given back to
/// the system as soon as it is free, and that of many pieces only when nothing lies behind it.
const UPLOAD_BYTES_MAX: usize = 8 << 20;

/// Records kept for the next client that sends less than a request.
const SPARE_MAX: usize = 64;

/// Records that are there from the start.
const SPARE_MIN: usize = 4;

/// A buffer that is larger than this is not kept for what follows, bytes; and it grows to this at
/// once, if the frame is at least as long.
pub(crate) const SPARE_BYTES_MAX: usize = 16 * 1024;

/// See the module. Never empty.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// Begins a frame, or goes on behind what `upload` has of it.
    pub bytes: Vec<u8>,
    /// Bytes that the frame lacks at least.
    pub missing: usize,
    pub decoder: RequestDecoder,
    pub upload: Option<Upload>,
    /// When it arrived, on the clock of [`Requests`](super::request::Requests).
    pub asked: u32,
}

/// Records for clients that send less than a request. Some are there from the start: a small thing
/// that is allocated amid large ones would keep the allocator from giving back what is beneath it,
/// when those are freed.
#[derive(Debug)]
#[allow(clippy::vec_box, reason = "the boxes are what is handed out")]
pub(crate) struct Spares(Vec<Box<Inbound>>);

impl Default for Spares {
    fn default() -> Self {
        let mut spares = Self(Vec::with_capacity(SPARE_MAX));
        spares.trim();
        spares
    }
}

impl Spares {
    pub(crate) fn take(&mut self) -> Box<Inbound> {
        self.0.pop().unwrap_or_default()
    }

    /// Keeps a record for the next client that needs one.
    pub(crate) fn put(&mut self, mut inbound: Box<Inbound>, chunks: &mut ChunkPool) {
        inbound.clear(chunks);
        if self.0.len() < SPARE_MAX {
            self.0.push(inbound);
        }
    }

    /// Gives up records that were needed once. Those that stay are new ones, which lie lower than
    /// what a burst has left behind.
    pub(crate) fn trim(&mut self) {
        self.0.clear();
        self.0.resize_with(SPARE_MIN, || {
            Box::new(Inbound {
                bytes: Vec::with_capacity(SPARE_BYTES_MAX),
                ..Inbound::default()
            })
        });
    }
}

/// A large request on its way in.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Its pieces, among those that are on their way to backends.
    pub(crate) front: ChunkList,
    /// Bytes that the argument under way lacks; those behind it are in [`Inbound::bytes`].
    pub(crate) lacking: usize,
    /// The last two bytes of `front`.
    pub(crate) last: [u8; 2],
    pub(crate) rest: RestDecoder,
}

impl Inbound {
    /// All bytes in it.
    pub(crate) fn len(&self) -> usize {
        let upload = self.upload.as_ref();
        self.bytes.len() + upload.map_or(0, |upload| upload.front.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.upload.is_none()
    }

    /// Gives up all that was read.
    pub(crate) fn clear(&mut self, chunks: &mut ChunkPool) {
        if let Some(mut upload) = self.upload.take() {
            chunks.clear(&mut upload.front);
        }
        self.bytes.clear();
        shrink(&mut self.bytes, SPARE_BYTES_MAX);
        self.missing = 0;
        self.decoder = RequestDecoder::default();
    }
}

impl Upload {
    /// Begins with what there is of a frame whose argument under way is large.
    fn begin(bytes: &[u8], lacking: usize, rest: RestDecoder, chunks: &mut ChunkPool) -> Self {
        let mut upload = Self {
            front: ChunkList::default(),
            lacking,
            last: [0; 2],
            rest,
        };
        upload.add(bytes, chunks);
        upload
    }

    /// Takes as much of the argument under way as `bytes` begin with; returns what follows it.
    pub(crate) fn take<'a>(&mut self, bytes: &'a [u8], chunks: &mut ChunkPool) -> &'a [u8] {
        let (mine, later) = bytes.split_at(self.lacking.min(bytes.len()));
        self.lacking -= mine.len();
        self.add(mine, chunks);
        later
    }

    pub(crate) fn add(&mut self, bytes: &[u8], chunks: &mut ChunkPool) {
        self.last = match *bytes {
            [.., one, two] => [one, two],
            [one] => [self.last[1], one],
            [] => self.last,
        };
        chunks.append(&mut self.front, bytes);
    }
}

/// How far the decoder came with a frame that is not complete.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub decoder: RequestDecoder,
    /// As in [`Inbound`].
    pub missing: usize,
}

impl Progress {
    /// Begins an upload with `bytes`, which are all that there is of the frame, if it is large. The
    /// progress is the upload's from then on.
    pub(crate) fn upload(&mut self, bytes: &[u8], chunks: &mut ChunkPool) -> Option<Upload> {
        // What is in one piece already stays so.
        let begins = bytes.len() <= READ_BYTES;
        if !begins || !(UPLOAD_BYTES_MIN..=UPLOAD_BYTES_MAX).contains(&self.missing) {
            return None;
        }
        let rest = self.decoder.behind_argument()?;
        let lacking = std::mem::take(self).missing;
        Some(Upload::begin(bytes, lacking, rest, chunks))
    }
}
