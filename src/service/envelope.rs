//! The JSON envelope of every response: `code`, `message`, `data`.

use std::fmt;

use tinyjson::JsonValue;

use crate::cluster::json;

use super::http::Response;

/// A successful response with data.
pub(super) fn success(status: u16, data: JsonValue) -> Response {
    Response::json(status, json::envelope(0, "success", data))
}

/// An error response.
pub(super) fn failure(status: u16, message: impl fmt::Display) -> Response {
    let message = message.to_string();
    let null = JsonValue::Null;
    Response::json(status, json::envelope(status.into(), &message, null))
}
