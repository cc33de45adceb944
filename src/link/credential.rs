//! The credential of a login.

use std::fmt;

use crate::command::proxy_command;
use crate::resp::write;

/// The credential of a login. Kept while its account is used, for new links.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Credential {
    /// `None`: AUTH with one argument.
    pub user: Option<Box<[u8]>>,
    pub password: Box<[u8]>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl Credential {
    /// The user's name on the server.
    pub(crate) fn name(&self) -> &[u8] {
        self.user.as_deref().unwrap_or(b"default")
    }

    /// Writes the AUTH command as the client sent it.
    pub(crate) fn write_auth(&self, out: &mut Vec<u8>) {
        write::command(out, &self.auth());
    }

    /// Writes the proxy's own AUTH command, for a further link.
    pub(crate) fn write_auth_again(&self, out: &mut Vec<u8>) {
        proxy_command::write(out, &self.auth());
    }

    fn auth(&self) -> Vec<&[u8]> {
        let words = [
            Some(&b"AUTH"[..]),
            self.user.as_deref(),
            Some(&self.password),
        ];
        words.into_iter().flatten().collect()
    }

    /// Writes HELLO with this credential, which AUTH has verified; without a user it is the default
    /// user's.
    pub(crate) fn write_hello(&self, version: &str, out: &mut Vec<u8>) {
        let user = self.user.as_deref().unwrap_or(b"default");
        let version = version.as_bytes();
        proxy_command::write(out, &[b"HELLO", version, b"AUTH", user, &self.password]);
    }
}
