//! The parameters and the body of a call.

use crate::cluster::JsonError;

use super::envelope::failure;
use super::http::{Query, Request, Response};

/// The parameters of a request; `known` are those that it may have.
pub(super) fn query(request: &Request, known: &[&str]) -> Result<Query, Response> {
    Query::parse(&request.head.query, known).map_err(|error| failure(400, error))
}

pub(super) fn text(request: &Request) -> Result<&str, Response> {
    str::from_utf8(&request.body).map_err(|_| failure(400, "the body is not UTF-8"))
}

/// The response to a body that is invalid JSON, or has invalid fields.
pub(super) fn bad_json(error: JsonError) -> Response {
    failure(400, error)
}
