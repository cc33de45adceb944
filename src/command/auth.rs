//! Reads AUTH. Whether the password is right, only the backend says.

use crate::resp::Args;

use super::Refusal;

/// AUTH's arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthRequest<'a> {
    /// None in the form with a password alone, which means the default user.
    pub user: Option<&'a [u8]>,
    /// The password, in the clear: not to be shown, hence no `Debug`.
    pub password: &'a [u8],
}

/// Reads `AUTH [user] password`.
pub fn parse(mut args: Args<'_>) -> Result<AuthRequest<'_>, Refusal> {
    match (args.nth(1), args.next(), args.next()) {
        (Some(password), None, _) => Ok(AuthRequest {
            user: None,
            password,
        }),
        (Some(user), Some(password), None) => Ok(AuthRequest {
            user: Some(user),
            password,
        }),
        (Some(_), Some(_), Some(_)) => Err(Refusal::SYNTAX),
        (None, ..) => Err(Refusal::arity("auth")),
    }
}
