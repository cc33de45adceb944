//! Parses SELECT. Only the backend knows the number of databases.

use crate::resp::Args;
use crate::resp::number::parse_i64;

use super::ErrorReply;

/// Parses `SELECT index`.
///
/// The checks have the order of Redis: the index is a number, it fits a C `int`, it is not
/// negative.
pub fn parse(mut args: Args<'_>) -> Result<u32, ErrorReply> {
    let Some(index) = args.nth(1) else {
        return Err(ErrorReply::arity("select"));
    };
    let index = parse_i64(index).ok_or(ErrorReply::NOT_AN_INTEGER)?;
    let index = i32::try_from(index).map_err(|_| {
        ErrorReply::fixed(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        )
    })?;
    u32::try_from(index).map_err(|_| ErrorReply::fixed("ERR DB index is out of range"))
}
