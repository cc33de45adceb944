//! What a call says: its parameters and its body.

use crate::cluster::JsonError;

use super::envelope::failure;
use super::http::{Query, Request, Response};

/// The parameters of a request, which may have these.
pub(super) fn query(request: &Request, known: &[&str]) -> Result<Query, Response> {
    Query::parse(&request.head.query, known).map_err(|error| failure(400, error))
}

/// The body.
pub(super) fn text(request: &Request) -> Result<&str, Response> {
    str::from_utf8(&request.body).map_err(|_| failure(400, "the body is not UTF-8"))
}

/// Why the body is no call.
pub(super) fn bad_json(error: JsonError) -> Response {
    failure(400, error)
}
