//! What a backend says of its commands: those that may block, and that the table does not have.
//!
//! A module, or a server of tomorrow, has blocking commands that nobody here has heard of. On a
//! shared connection one of them would stop everybody; so each backend is asked for the names of
//! its category `blocking`, which every command with that flag is in (Redis 7.0 and later; before,
//! no command of a module could have it).

use super::{lookup, marked};
use crate::resp::{ReplyScanner, Scan};

/// Writes the request for the names.
pub fn ask(out: &mut Vec<u8>) {
    let words: [&[u8]; 5] = [b"COMMAND", b"LIST", b"FILTERBY", b"ACLCAT", b"blocking"];
    marked::write(out, &words);
}

/// Names of blocking commands, in lower case, that have no row in the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learned(Box<[Box<[u8]>]>);

impl Learned {
    /// Reads the complete reply to [`ask`]. None if it is something else, such as an error.
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
            // `$7`, the name, and both their line ends; or `+` and the name.
            let name = match name.first()? {
                b'$' => after_line(name)?,
                _ => name.get(1..)?,
            };
            let name = name.strip_suffix(b"\r\n")?.to_ascii_lowercase();
            // Of a container only the whole is known here: its other commands do no harm there.
            let name = name.split(|byte| *byte == b'|').next().unwrap_or_default();
            if lookup::find(name).is_none() {
                names.push(name.into());
            }
        }
        Some(Self(names.into()))
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// May the command of this name block?
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
    fn only_what_the_table_does_not_have_is_learned() {
        let reply = b"*4\r\n$5\r\nblpop\r\n$5\r\nxread\r\n$8\r\nFOO.WAIT\r\n+bar|pop\r\n";
        let learned = Learned::read(reply).unwrap();
        assert!(learned.blocks(b"foo.wait") && learned.blocks(b"Bar"));
        assert!(!learned.blocks(b"blpop") && !learned.blocks(b"foo") && !learned.is_empty());
        assert!(Learned::read(b"~0\r\n").unwrap().is_empty());
        assert_eq!(Learned::read(b"-ERR unknown subcommand\r\n"), None);
        assert_eq!(Learned::read(b"*2\r\n$3\r\nabc\r\n$9\r\n"), None);
    }
}
