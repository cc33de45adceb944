//! What was read from a client and is not consumed: a request of which the end has not come, or
//! anything while the client is on hold.
//!
//! Most requests arrive whole, and are decoded where they were read to. The bytes of a small one
//! that does not are kept in one piece. The bytes of a large one stay in the buffers that they were
//! read to ([`Upload`]), and leave from there: a copy into one piece costs half as much CPU again
//! for values of 1 MB and of 10 MB.

use crate::resp::{RequestDecoder, RequestLimits, Rest, RestDecoder};

use crate::store::allocator::{MAPPED_BYTES_MIN, shrink};
use crate::store::chunk::{ChunkList, ChunkPool};

/// A request of at least this size is large.
const LARGE_BYTES_MIN: usize = 32 * 1024;

/// From this size on, the pieces of a request that lacks [`MAPPED_BYTES_MIN`] have that size,
/// because the system gets their memory back as soon as it is free. That costs a copy. A client
/// has to send this much first, since its claim takes address space.
const HUGE_BYTES_MIN: usize = 4 << 20;

/// A header line that was cut gets so many of the next bytes at once.
const HEADER_BYTES: usize = 32;

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

/// A large request that has not been forwarded.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Its pieces, among those for backends.
    pub(crate) pieces: ChunkList,
    pub(crate) arrival: Arrival,
}

/// How much of a large request is there.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// The decoder knows what it lacks. [`Inbound::bytes`] may have the beginning of a header line.
    Incomplete(RestDecoder),
    /// All of it is in its pieces.
    Complete,
    /// It has a mistake. The decoder of whole requests says which.
    Malformed,
}

impl Inbound {
    /// All bytes in it.
    pub(crate) fn len(&self) -> usize {
        let upload = self.upload.as_ref();
        self.bytes.len() + upload.map_or(0, |upload| upload.pieces.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.upload.is_none()
    }

    /// Gives up all that was read.
    pub(crate) fn clear(&mut self, chunks: &mut ChunkPool) {
        if let Some(mut upload) = self.upload.take() {
            chunks.clear(&mut upload.pieces);
        }
        self.bytes.clear();
        shrink(&mut self.bytes, SPARE_BYTES_MAX);
        self.missing = 0;
        self.decoder = RequestDecoder::default();
    }
}

impl Inbound {
    /// Adds bytes to a large request as far as it lacks them. Returns those that follow it.
    pub(crate) fn add_to_upload<'a>(
        &mut self,
        mut input: &'a [u8],
        limits: &RequestLimits,
        chunks: &mut ChunkPool,
    ) -> &'a [u8] {
        while let Some(Upload { pieces, arrival }) = &mut self.upload
            && let Arrival::Incomplete(rest) = arrival
            && !input.is_empty()
        {
            // Only a header line that was cut is copied, with a few of the bytes behind it.
            let cut = self.bytes.len();
            let part = if cut == 0 {
                input
            } else {
                let few = input.get(..HEADER_BYTES).unwrap_or(input);
                self.bytes.extend_from_slice(few);
                &self.bytes
            };
            let outcome = rest.decode(part, limits);
            let lacking = rest.lacking();
            match outcome {
                Ok(Rest::NeedMore { used }) => {
                    add_piece(
                        pieces,
                        part.get(..used).unwrap_or_default(),
                        lacking,
                        chunks,
                    );
                    if cut == 0 {
                        let later = input.get(used..).unwrap_or_default();
                        self.bytes.extend_from_slice(later);
                        return &[];
                    }
                    let few = part.len() - cut;
                    self.bytes.drain(..used);
                    input = input.get(few..).unwrap_or_default();
                }
                Ok(Rest::Complete { len }) => {
                    add_piece(pieces, part.get(..len).unwrap_or_default(), 0, chunks);
                    *arrival = Arrival::Complete;
                    self.bytes.clear();
                    return input.get(len - cut..).unwrap_or_default();
                }
                Err(_) => {
                    *arrival = Arrival::Malformed;
                    self.bytes.truncate(cut);
                    self.bytes.extend_from_slice(input);
                    return &[];
                }
            }
        }
        input
    }
}

fn add_piece(pieces: &mut ChunkList, bytes: &[u8], lacking: usize, chunks: &mut ChunkPool) {
    let huge = pieces.len() >= HUGE_BYTES_MIN && lacking >= MAPPED_BYTES_MIN;
    if huge && chunks.room(pieces) < bytes.len() {
        chunks.reserve(pieces, MAPPED_BYTES_MIN);
    }
    chunks.append(pieces, bytes);
}

/// How far the decoder came with a frame that is not complete.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub decoder: RequestDecoder,
    /// As in [`Inbound`].
    pub missing: usize,
}

impl Progress {
    /// Begins an upload with `bytes`, which are all that there is of the frame, if it is large.
    pub(crate) fn upload(&mut self, bytes: &[u8], chunks: &mut ChunkPool) -> Option<Upload> {
        if bytes.len().saturating_add(self.missing) < LARGE_BYTES_MIN {
            return None;
        }
        let rest = self.decoder.rest(bytes, self.missing)?;
        let mut pieces = ChunkList::default();
        chunks.append(&mut pieces, bytes);
        *self = Self::default();
        Some(Upload {
            pieces,
            arrival: Arrival::Incomplete(rest),
        })
    }
}
