//! The blocking commands of a backend that the command table does not have.
//!
//! A module or a newer server may have blocking commands that the table does not know. On a shared
//! connection they would block all clients. So the proxy asks each backend for the commands of its
//! category `blocking`. Redis 7.0 and later put every command with the blocking flag into this
//! category; in older versions modules could not have blocking commands.

use super::{lookup, proxy_command};
use crate::resp::{ReplyScanner, Scan};

/// Writes the request for the names of blocking commands.
pub fn write_request(out: &mut Vec<u8>) {
    let words: [&[u8]; 5] = [b"COMMAND", b"LIST", b"FILTERBY", b"ACLCAT", b"blocking"];
    proxy_command::write(out, &words);
}

/// The names of blocking commands that have no row in the table, in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockingCommands(Box<[Box<[u8]>]>);

impl BlockingCommands {
    /// Parses the complete reply to [`write_request`]. `None` when the reply is not a list of
    /// names, for example an error.
    pub fn read(reply: &[u8]) -> Option<Self> {
        let (mark, rest) = reply.split_first()?;
        if !matches!(mark, b'*' | b'~') {
            return None;
        }
        let mut rest = after_line(rest)?;
        let mut names = Vec::new();
        while !rest.is_empty() {
            let Ok(Scan::Complete { len }) = ReplyScanner::default().scan(rest) else {
                return None;
            };
            let (name, later) = rest.split_at(len);
            rest = later;
            // A bulk string (`$7`, line end, name, line end) or a simple string (`+`, name).
            let name = match name.first()? {
                b'$' => after_line(name)?,
                _ => name.get(1..)?,
            };
            let name = name.strip_suffix(b"\r\n")?.to_ascii_lowercase();
            // A blocking sub-command makes its whole container blocking. That costs the other
            // sub-commands a dedicated connection.
            let name = name.split(|byte| *byte == b'|').next().unwrap_or_default();
            if lookup::find(name).is_none() {
                names.push(name.into());
            }
        }
        Some(Self(names.into()))
    }

    /// Whether the backend has no such command.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the command with this name may block.
    pub fn blocks(&self, name: &[u8]) -> bool {
        self.0.iter().any(|it| it.eq_ignore_ascii_case(name))
    }
}

fn after_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    bytes.get(end + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commands_that_the_table_does_not_have_are_kept() {
        let reply = b"*4\r\n$5\r\nblpop\r\n$5\r\nxread\r\n$8\r\nFOO.WAIT\r\n+bar|pop\r\n";
        let commands = BlockingCommands::read(reply).unwrap();
        assert!(commands.blocks(b"foo.wait") && commands.blocks(b"Bar"));
        assert!(!commands.blocks(b"blpop") && !commands.blocks(b"foo") && !commands.is_empty());
        assert!(BlockingCommands::read(b"~0\r\n").unwrap().is_empty());
        assert_eq!(BlockingCommands::read(b"-ERR unknown subcommand\r\n"), None);
        assert_eq!(BlockingCommands::read(b"*2\r\n$3\r\nabc\r\n$9\r\n"), None);
    }
}
