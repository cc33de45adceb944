//! The name of a client's last command, for CLIENT LIST and the service port.

use crate::command;
use crate::resp::Args;

/// The name of a command. It is noted for every request, and rarely shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastCommand {
    /// The name as the client wrote it, cut to fit, with the sub-command if there is one; padded
    /// with zeros.
    name: [u8; 16],
}

impl LastCommand {
    /// The name in a request, if `frame` contains the name and the sub-command.
    #[inline]
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        let mut args = Args::new(frame);
        let name = args.next()?;
        let mut noted = Self::named(name);
        if command::is_container(name)
            && let Some(sub) = args.next()
        {
            let rest = noted.name.iter_mut().skip(name.len());
            for (to, from) in rest.zip(std::iter::once(&b'|').chain(sub)) {
                *to = *from;
            }
        }
        Some(noted)
    }

    #[inline]
    pub(crate) fn named(name: &[u8]) -> Self {
        let mut noted = Self::default();
        let len = name.len().min(noted.name.len());
        if let (Some(to), Some(from)) = (noted.name.get_mut(..len), name.get(..len)) {
            to.copy_from_slice(from);
        }
        noted
    }

    /// The name in lower case, with characters that are safe in a log line.
    pub(crate) fn shown(self) -> Vec<u8> {
        let letters = self.name.into_iter().take_while(|&letter| letter != 0);
        let shown = letters.map(|letter| match letter.is_ascii_graphic() {
            true => letter.to_ascii_lowercase(),
            false => b'?',
        });
        shown.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_shown_in_lower_case_with_its_subcommand_and_cut() {
        for (frame, shown) in [
            (&b"*1\r\n$4\r\nPiNG\r\n"[..], "ping"),
            (b"*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n", "client|id"),
            (b"*2\r\n$3\r\nGET\r\n$2\r\nID\r\n", "get"),
            (b"*1\r\n$20\r\nABCDEFGHIJKLMNOPQRST\r\n", "abcdefghijklmnop"),
            (
                b"*2\r\n$6\r\nclient\r\n$20\r\nABCDEFGHIJKLMNOPQRST\r\n",
                "client|abcdefghi",
            ),
            (b"*1\r\n$3\r\na\nb\r\n", "a?b"),
        ] {
            let last = LastCommand::of(frame).unwrap();
            assert_eq!(last.shown(), shown.as_bytes());
        }
        assert!(LastCommand::of(b"").is_none());
    }
}
