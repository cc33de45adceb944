//! The JSON that every answer comes in: a code, a message, and what there is to tell.

use std::fmt;

use tinyjson::JsonValue;

use crate::cluster::json;

use super::http::Response;

/// Success, with what there is to tell.
pub(super) fn success(status: u16, data: JsonValue) -> Response {
    Response::json(status, json::envelope(0, "success", data))
}

/// An error, in the same form as success.
pub(super) fn failure(status: u16, message: impl fmt::Display) -> Response {
    let message = message.to_string();
    let null = JsonValue::Null;
    Response::json(status, json::envelope(status.into(), &message, null))
}
