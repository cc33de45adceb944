//! What a server's error reply says, by its first words. The texts are those of Redis 2 to 8.

/// What a server's error reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerError {
    /// The credential is wrong, or the server has no password to log in with.
    WrongCredential,
    /// A login is required.
    NoAuth,
    /// The user lacks the permission.
    NoPermission,
    /// The server runs a script: this is its reply to all commands.
    Script,
    /// The server loads its data, or is a replica without its primary.
    NotReady,
    /// The server does not have the protocol version.
    NoProtocol,
    UnknownCommand,
    /// The server rejects the connection, and closes it.
    Rejects,
    /// Any other error with the word `ERR`: it is about the command and its arguments.
    Command,
    Other,
}

impl ServerError {
    /// Classifies the text of an error reply.
    pub(crate) fn of(text: &str) -> Self {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let starts = |start| rest.starts_with(start);
        match word {
            "WRONGPASS" => Self::WrongCredential,
            "NOAUTH" => Self::NoAuth,
            "NOPERM" => Self::NoPermission,
            "BUSY" => Self::Script,
            "LOADING" | "MASTERDOWN" => Self::NotReady,
            "NOPROTO" => Self::NoProtocol,
            "DENIED" => Self::Rejects,
            "ERR" if starts("invalid password") => Self::WrongCredential,
            "ERR" if starts("Client sent AUTH") || starts("AUTH ") => Self::WrongCredential,
            "ERR" if starts("unknown command") => Self::UnknownCommand,
            "ERR" if starts("max number of clients") => Self::Rejects,
            "ERR" => Self::Command,
            _ => Self::Other,
        }
    }

    /// Does an error to AUTH say that the credential is wrong? (Other errors are about the
    /// connection: too many clients, protected mode.)
    pub(crate) fn refuses_login(self) -> bool {
        matches!(self, Self::WrongCredential | Self::NoAuth)
    }

    /// Is the error about the command and its arguments, which the user may send?
    pub(crate) fn is_of_command(self) -> bool {
        matches!(self, Self::Command | Self::UnknownCommand)
    }

    /// May the same command succeed later?
    pub(crate) fn is_passing(self) -> bool {
        self.is_down() || matches!(self, Self::NoAuth | Self::NoPermission)
    }

    /// Does the error say that the server cannot serve requests at the moment?
    pub(crate) fn is_down(self) -> bool {
        matches!(self, Self::Script | Self::NotReady)
    }
}

/// The text of an error reply (RESP2, or RESP3's blob error), without its type byte.
pub(crate) fn error_text(reply: &[u8]) -> Option<String> {
    let text = match reply.split_first()? {
        (b'-', text) => text,
        (b'!', blob) => blob.splitn(2, |&b| b == b'\n').nth(1)?,
        _ => return None,
    };
    Some(String::from_utf8_lossy(text).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_classified_by_their_first_words() {
        let cases = [
            ("WRONGPASS invalid", ServerError::WrongCredential),
            ("ERR invalid password", ServerError::WrongCredential),
            ("ERR AUTH <password> called", ServerError::WrongCredential),
            ("ERR Client sent AUTH, but", ServerError::WrongCredential),
            ("NOAUTH Authentication", ServerError::NoAuth),
            ("NOPERM this user", ServerError::NoPermission),
            ("BUSY Redis is busy", ServerError::Script),
            ("BUSYKEY Target key", ServerError::Other),
            ("LOADING Redis", ServerError::NotReady),
            ("NOPROTO", ServerError::NoProtocol),
            ("ERR unknown command 'x'", ServerError::UnknownCommand),
            ("ERR max number of clients reached", ServerError::Rejects),
            ("DENIED Redis is", ServerError::Rejects),
            ("ERR syntax error", ServerError::Command),
            ("ERROR", ServerError::Other),
            ("", ServerError::Other),
        ];
        for (text, kind) in cases {
            assert_eq!(ServerError::of(text), kind, "{text}");
        }
    }
}
