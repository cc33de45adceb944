//! Parses AUTH. Only the backend verifies the password.

use crate::resp::Args;

use super::ErrorReply;

/// The arguments of AUTH.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthRequest<'a> {
    /// The user; `None` in the form without a user, which is for the default user.
    pub user: Option<&'a [u8]>,
    /// The password. It is secret, so the type has no `Debug`.
    pub password: &'a [u8],
}

/// Parses `AUTH [user] password`.
pub fn parse(mut args: Args<'_>) -> Result<AuthRequest<'_>, ErrorReply> {
    match (args.nth(1), args.next(), args.next()) {
        (Some(password), None, _) => Ok(AuthRequest {
            user: None,
            password,
        }),
        (Some(user), Some(password), None) => Ok(AuthRequest {
            user: Some(user),
            password,
        }),
        (Some(_), Some(_), Some(_)) => Err(ErrorReply::SYNTAX),
        (None, ..) => Err(ErrorReply::arity("auth")),
    }
}
