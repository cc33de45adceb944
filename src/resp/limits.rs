//! How much a request may ask for, before and after login.
//!
//! Owns the numbers; the decoder checks them as soon as a header announces something, before any of
//! it is buffered. Bytes are counted as they stand on the wire.

use super::error::ProtocolError;

/// Arguments of one request; what Redis allowed before 7.0, and more than any client sends.
pub const ARGS_MAX: u32 = 1_048_576;
/// Bytes of one argument; the default of `proto-max-bulk-len` in Redis.
pub const ARG_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Bytes of one request with all its headers; the default of `client-query-buffer-limit` in Redis.
pub const REQUEST_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of an inline line or of a header line while its end is missing; `PROTO_INLINE_MAX_SIZE` in
/// Redis.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// What one request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Arguments, the command's name among them.
    pub args_max: u32,
    /// Bytes of one argument.
    pub arg_bytes_max: u64,
    /// Bytes of the whole request, headers included.
    pub request_bytes_max: u64,
    /// Bytes of an inline line, newline excluded, and of a header line whose end is missing.
    pub inline_bytes_max: usize,
    /// Whether the client has logged in; decides only the wording of a refusal.
    pub authenticated: bool,
}

impl RequestLimits {
    /// For a stranger. The first two numbers are those of Redis; the sum is what clients needed so
    /// far.
    pub const BEFORE_LOGIN: Self = Self {
        args_max: 10,
        arg_bytes_max: 16 * 1024,
        request_bytes_max: 1024 * 1024,
        inline_bytes_max: INLINE_BYTES_MAX,
        authenticated: false,
    };

    /// For a client that has logged in.
    pub const AFTER_LOGIN: Self = Self {
        args_max: ARGS_MAX,
        arg_bytes_max: ARG_BYTES_MAX,
        request_bytes_max: REQUEST_BYTES_MAX,
        inline_bytes_max: INLINE_BYTES_MAX,
        authenticated: true,
    };

    /// The same for requests of at most so many bytes.
    #[must_use]
    pub fn at_most(self, request_bytes: u64) -> Self {
        let bytes = self.request_bytes_max.min(request_bytes);
        Self {
            request_bytes_max: bytes,
            arg_bytes_max: self.arg_bytes_max.min(bytes),
            ..self
        }
    }

    /// The number of arguments a header announced, if it may. Negative and zero stay zero: both are
    /// requests without content, to be skipped.
    #[inline]
    pub(super) fn args(&self, announced: i64) -> Result<u32, ProtocolError> {
        match u32::try_from(announced.max(0)) {
            Ok(args) if args <= self.args_max => Ok(args),
            Ok(args) if args <= ARGS_MAX && !self.authenticated => {
                Err(ProtocolError::UnauthenticatedMultibulkLength)
            }
            _ => Err(ProtocolError::InvalidMultibulkLength),
        }
    }

    /// The length of an argument a header announced, if it may be that long.
    #[inline]
    pub(super) fn arg_bytes(&self, announced: i64) -> Result<u64, ProtocolError> {
        match u64::try_from(announced) {
            Ok(bytes) if bytes <= self.arg_bytes_max => Ok(bytes),
            Ok(bytes) if bytes <= ARG_BYTES_MAX && !self.authenticated => {
                Err(ProtocolError::UnauthenticatedBulkLength)
            }
            _ => Err(ProtocolError::InvalidBulkLength),
        }
    }
}

const _: () = {
    let (before, after) = (RequestLimits::BEFORE_LOGIN, RequestLimits::AFTER_LOGIN);
    assert!(before.args_max <= after.args_max);
    assert!(before.arg_bytes_max <= after.arg_bytes_max);
    assert!(before.request_bytes_max <= after.request_bytes_max);
    // The largest argument must fit into the largest request, with room for its company.
    assert!(before.arg_bytes_max < before.request_bytes_max);
    assert!(after.arg_bytes_max < after.request_bytes_max);
    assert!(before.inline_bytes_max as u64 <= before.request_bytes_max);
    // Lengths are kept as usize once they have passed these limits.
    assert!(after.request_bytes_max <= usize::MAX as u64);
};
