//! Bytes that were read from a client and are not consumed: an incomplete request, or anything
//! while the client is on hold.
//!
//! Most requests arrive complete, and are decoded in the read buffer. The bytes of a small
//! incomplete one are kept in one piece. The bytes of a large one stay in their read buffers
//! ([`Upload`]), and are forwarded from there: a copy into one piece costs half as much CPU again
//! for values of 1 MB and of 10 MB.

use crate::resp::{RequestDecoder, RequestLimits, Rest, RestDecoder};

use crate::store::allocator::{MAPPED_BYTES_MIN, shrink};
use crate::store::chunk::{ChunkList, ChunkPool};

/// The smallest large request, bytes.
const LARGE_BYTES_MIN: usize = 32 * 1024;

/// From this size on, the pieces of a request that lacks [`MAPPED_BYTES_MIN`] have that size,
/// because the system then gets their memory back as soon as it is freed. This costs a copy. The
/// client must have sent this much first, because the reservation takes address space.
const HUGE_BYTES_MIN: usize = 4 << 20;

/// How many more bytes are copied at once to complete a header line that was cut.
const HEADER_BYTES: usize = 32;

/// Records kept for the next client with an incomplete request.
const SPARE_MAX: usize = 64;

/// Records that exist from the start.
const SPARE_MIN: usize = 4;

/// A buffer that is larger than this is not kept for later requests, bytes. A buffer grows to this
/// size at once if the frame is at least as long.
pub(crate) const SPARE_BYTES_MAX: usize = 16 * 1024;

/// A client's bytes that are not consumed. Never empty.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// The start of a frame, or its continuation behind the bytes in `upload`.
    pub bytes: Vec<u8>,
    /// The least number of bytes that the frame lacks.
    pub missing: usize,
    pub decoder: RequestDecoder,
    pub upload: Option<Upload>,
    /// When the bytes arrived, on the clock of [`Requests`](crate::link::request::Requests).
    pub arrived: u32,
}

/// Records for clients with incomplete requests. Some exist from the start: a small allocation amid
/// large ones would keep the allocator from giving the memory below it back when the large ones are
/// freed.
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

    /// Frees records that a burst needed. The remaining ones are allocated anew, at lower addresses
    /// than the rest of the burst.
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
    /// Its pieces, in the chunks of links.
    pub(crate) pieces: ChunkList,
    pub(crate) arrival: Arrival,
}

/// How much of a large request has arrived.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// The decoder knows what is missing. [`Inbound::bytes`] may contain the start of a header
    /// line.
    Incomplete(RestDecoder),
    /// All of it is in its pieces.
    Complete,
    /// It is malformed. The decoder of complete requests finds the error.
    Malformed,
}

impl Inbound {
    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        let upload = self.upload.as_ref();
        self.bytes.len() + upload.map_or(0, |upload| upload.pieces.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.upload.is_none()
    }

    /// Drops all bytes.
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
    /// Adds the bytes that a large request lacks. Returns the bytes that follow it.
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

/// How far the decoder got in an incomplete frame.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub decoder: RequestDecoder,
    /// As in [`Inbound`].
    pub missing: usize,
}

impl Progress {
    /// Starts an upload with `bytes`, all that has arrived of the frame, if the frame is large.
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
