//! The limits of a request, before and after login.
//!
//! The decoder checks them when it has the header, before it buffers the argument. Bytes are
//! counted with all headers.

use super::error::ProtocolError;

/// Arguments of one request: the limit of Redis before 7.0.
pub const ARGS_MAX: u32 = 1_048_576;
/// Bytes of one argument: the default of `proto-max-bulk-len` in Redis.
pub const ARG_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Bytes of one request with all headers: the default of `client-query-buffer-limit` in Redis.
pub const REQUEST_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of an inline line, and of an incomplete header line: `PROTO_INLINE_MAX_SIZE` in Redis.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// The limits of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Arguments, including the name of the command.
    pub args_max: u32,
    /// Bytes of one argument.
    pub arg_bytes_max: u64,
    /// Bytes of the whole request, including headers.
    pub request_bytes_max: u64,
    /// Bytes of an inline line without its newline, and of an incomplete header line.
    pub inline_bytes_max: usize,
    /// Whether the client has logged in. It affects only the error texts.
    pub authenticated: bool,
}

impl RequestLimits {
    /// The limits of an anonymous client. The first two are those of Redis.
    pub const BEFORE_LOGIN: Self = Self {
        args_max: 10,
        arg_bytes_max: 16 * 1024,
        request_bytes_max: 1024 * 1024,
        inline_bytes_max: INLINE_BYTES_MAX,
        authenticated: false,
    };

    /// The limits of a client that has logged in.
    pub const AFTER_LOGIN: Self = Self {
        args_max: ARGS_MAX,
        arg_bytes_max: ARG_BYTES_MAX,
        request_bytes_max: REQUEST_BYTES_MAX,
        inline_bytes_max: INLINE_BYTES_MAX,
        authenticated: true,
    };

    /// These limits with requests of at most `request_bytes` bytes.
    #[must_use]
    pub fn at_most(self, request_bytes: u64) -> Self {
        let bytes = self.request_bytes_max.min(request_bytes);
        Self {
            request_bytes_max: bytes,
            arg_bytes_max: self.arg_bytes_max.min(bytes),
            ..self
        }
    }

    /// Checks the number of arguments in a header. A negative number counts as 0: the request is
    /// empty and is skipped.
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

    /// Checks the length of an argument in a header.
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
    // The largest argument must fit into the largest request.
    assert!(before.arg_bytes_max < before.request_bytes_max);
    assert!(after.arg_bytes_max < after.request_bytes_max);
    assert!(before.inline_bytes_max as u64 <= before.request_bytes_max);
    // Lengths within these limits are stored as usize.
    assert!(after.request_bytes_max <= usize::MAX as u64);
};
