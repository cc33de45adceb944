//! Reads SELECT. How many databases there are, only the backend knows.

use crate::resp::Args;
use crate::resp::number::parse_i64;

use super::Refusal;

/// Reads `SELECT index`.
///
/// The order of checks is Redis's: a number at all, one that fits a C `int`, one that can be a
/// database.
pub fn parse(mut args: Args<'_>) -> Result<u32, Refusal> {
    let Some(index) = args.nth(1) else {
        return Err(Refusal::arity("select"));
    };
    let index = parse_i64(index).ok_or(Refusal::NOT_AN_INTEGER)?;
    let index = i32::try_from(index).map_err(|_| {
        Refusal::fixed("ERR value is out of range, value must between -2147483648 and 2147483647")
    })?;
    u32::try_from(index).map_err(|_| Refusal::fixed("ERR DB index is out of range"))
}
