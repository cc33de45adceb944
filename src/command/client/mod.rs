//! Parses the sub-commands of CLIENT that the proxy executes, and writes lines of CLIENT LIST.
//!
//! [`Filter`] selects clients, [`Line`] writes the line of a client.

mod client_type;
mod criterion;
mod dialect;
mod filter;
mod line;

pub use dialect::Dialect;
pub use filter::{Filter, write_user_probe};
pub use line::Line;

use super::ErrorReply;
use super::error_reply::shown;
use crate::resp::Args;
use crate::resp::number::parse_i64;

/// Bytes of a client's name, of its library's name and of its library's version. Redis has no
/// limit; the proxy keeps these texts for every client.
pub(super) const NAME_BYTES_MAX: usize = 4 * 1024;

/// The mode of CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyMode {
    /// Replies are sent, including the reply to this command.
    On,
    /// No replies are sent until `ON`.
    Off,
    /// The reply to the next command is not sent.
    Skip,
}

/// The attribute of CLIENT SETINFO with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetInfo<'a> {
    /// `LIB-NAME`.
    LibName(&'a [u8]),
    /// `LIB-VER`.
    LibVer(&'a [u8]),
}

/// Parses `CLIENT SETNAME name`. An empty name removes the name.
pub fn parse_set_name(mut args: Args<'_>) -> Result<&[u8], ErrorReply> {
    match args.nth(2) {
        Some(name) if name.len() > NAME_BYTES_MAX => Err(ErrorReply::NAME_TOO_LONG),
        Some(name) if is_printable(name) => Ok(name),
        Some(_) => Err(ErrorReply::BAD_NAME),
        None => Err(ErrorReply::arity("client|setname")),
    }
}

/// Parses `CLIENT SETINFO (LIB-NAME|LIB-VER) value`. An empty value removes the attribute.
pub fn parse_set_info(mut args: Args<'_>) -> Result<SetInfo<'_>, ErrorReply> {
    let (Some(attribute), Some(value)) = (args.nth(2), args.next()) else {
        return Err(ErrorReply::arity("client|setinfo"));
    };
    let info = if attribute.eq_ignore_ascii_case(b"lib-name") {
        SetInfo::LibName(value)
    } else if attribute.eq_ignore_ascii_case(b"lib-ver") {
        SetInfo::LibVer(value)
    } else {
        return Err(ErrorReply::new(format!(
            "ERR Unrecognized option '{}'",
            shown(attribute)
        )));
    };
    if value.len() > NAME_BYTES_MAX {
        return Err(ErrorReply::NAME_TOO_LONG);
    }
    if is_printable(value) {
        return Ok(info);
    }
    Err(ErrorReply::new(format!(
        "ERR {} cannot contain spaces, newlines or special characters.",
        shown(attribute)
    )))
}

/// The arguments of CLIENT UNBLOCK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unblock {
    /// The id of the blocked client.
    pub id: i64,
    /// The blocked command ends with an error instead of a timeout.
    pub with_error: bool,
}

/// Parses `CLIENT UNBLOCK id [TIMEOUT|ERROR]`.
pub fn parse_unblock(mut args: Args<'_>) -> Result<Unblock, ErrorReply> {
    let sub = args.nth(1).unwrap_or_default();
    let id = args.next().unwrap_or_default();
    let reason = args.next();
    if args.next().is_some() {
        return Err(ErrorReply::new(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try CLIENT HELP.",
            shown(sub)
        )));
    }
    let with_error = match reason {
        None => false,
        Some(reason) if reason.eq_ignore_ascii_case(b"timeout") => false,
        Some(reason) if reason.eq_ignore_ascii_case(b"error") => true,
        Some(_) => {
            return Err(ErrorReply::fixed(
                "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
            ));
        }
    };
    let id = parse_i64(id).ok_or(ErrorReply::NOT_AN_INTEGER)?;
    Ok(Unblock { id, with_error })
}

/// The client of `CLIENT TRACKING ON … REDIRECT id`: the position of the argument, and the id. When
/// the option is given twice, the last one counts. `None` without the option, or when the id is not
/// a number: the backend then replies with its own error.
pub fn redirect_of(mut args: Args<'_>) -> Option<(usize, i64)> {
    let mut found = None;
    let mut at = 3;
    args.nth(2)?;
    while let Some(option) = args.next() {
        if option.eq_ignore_ascii_case(b"redirect") {
            found = Some((at + 1, parse_i64(args.next()?)?));
            at += 1;
        } else if option.eq_ignore_ascii_case(b"prefix") {
            args.next();
            at += 1;
        }
        at += 1;
    }
    found
}

/// Whether a `CLIENT TRACKING ON …` may have the option OPTIN or OPTOUT.
pub fn tracks_by_choice(args: Args<'_>) -> bool {
    let is = |arg: &[u8], word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
    let mut options = args.skip(3);
    options.any(|arg| is(arg, "optin") || is(arg, "optout"))
}

/// Parses `CLIENT REPLY (ON|OFF|SKIP)`.
pub fn parse_reply(mut args: Args<'_>) -> Result<ReplyMode, ErrorReply> {
    let Some(mode) = args.nth(2) else {
        return Err(ErrorReply::arity("client|reply"));
    };
    let is = |name: &str| mode.eq_ignore_ascii_case(name.as_bytes());
    if is("on") {
        Ok(ReplyMode::On)
    } else if is("off") {
        Ok(ReplyMode::Off)
    } else if is("skip") {
        Ok(ReplyMode::Skip)
    } else {
        Err(ErrorReply::SYNTAX)
    }
}

/// Whether a name may appear in a line of CLIENT LIST, which tools split at spaces: it has only the
/// characters `!` to `~`.
pub(super) fn is_printable(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}
