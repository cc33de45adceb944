//! Commands that the proxy sends on its own behalf, and their marks in MONITOR.
//!
//! A server accepts the name of a command in any case, and MONITOR shows it as it was sent. The
//! proxy writes the names of its own commands in lower case with the last letter in upper case
//! (`pinG`). So every worker and every process recognises them in a line of MONITOR.

use crate::resp::write;

/// The names of the proxy's own commands. Any other command is a client's.
const NAMES: [&[u8]; 13] = [
    b"asking", b"auth", b"client", b"cluster", b"command", b"hello", b"info", b"ping", b"role",
    b"select", b"type", b"wait", b"waitaof",
];

/// Bytes of the longest name in [`NAMES`], and some more.
const NAME_BYTES_MAX: usize = 16;

/// Bytes before the name in a line of MONITOR; the longest part is the path of a unix socket.
const PLACE_BYTES_MAX: usize = 256;

/// [`is_proxy_command`] never needs more bytes of a line.
pub const NAME_WITHIN_BYTES: usize = 512;

/// The beginning of the error for an unknown command, up to the quoted name.
const UNKNOWN: &[u8] = b"-ERR unknown command ";

/// Writes a command of the proxy. The first word is its name.
pub fn write(out: &mut Vec<u8>, words: &[&[u8]]) {
    let Some((name, rest)) = words.split_first() else {
        return;
    };
    let name = mark(name);
    let words: Vec<&[u8]> = std::iter::once(&name[..])
        .chain(rest.iter().copied())
        .collect();
    write::command(out, &words);
}

fn mark(name: &[u8]) -> Vec<u8> {
    let mut name = name.to_ascii_lowercase();
    debug_assert!(NAMES.contains(&&name[..]), "not in the list of names");
    if let Some(last) = name.last_mut() {
        last.make_ascii_uppercase();
    }
    name
}

/// The reply to a command of the proxy, without the mark: the error for an unknown command contains
/// the name as it was sent.
pub fn unmark(reply: &[u8]) -> Vec<u8> {
    let mut reply = reply.to_vec();
    if reply.starts_with(UNKNOWN)
        && let Some([_quote, name @ ..]) = reply.get_mut(UNKNOWN.len()..)
        && let Some(end) = name.iter().position(|byte| !byte.is_ascii_alphabetic())
        && let Some(name) = name.get_mut(..end)
        && is_marked(name)
    {
        name.make_ascii_uppercase();
    }
    reply
}

/// Whether a line of MONITOR, `+time [db address] "name" …`, shows a command of the proxy. `None`
/// when the name is not complete yet.
pub fn is_proxy_command(line: &[u8]) -> Option<bool> {
    const BEFORE_NAME: &[u8] = b"] \"";
    let place = line.windows(BEFORE_NAME.len());
    let place = place.take(PLACE_BYTES_MAX).position(|it| it == BEFORE_NAME);
    let Some(place) = place else {
        return (line.len() > PLACE_BYTES_MAX || line.ends_with(b"\n")).then_some(false);
    };
    let name = line.get(place + BEFORE_NAME.len()..).unwrap_or_default();
    let Some(end) = name.iter().position(|&byte| byte == b'"') else {
        return (name.len() > NAME_BYTES_MAX || name.ends_with(b"\n")).then_some(false);
    };
    let name = name.get(..end).unwrap_or_default();
    Some(is_marked(name))
}

/// Whether this is a name of a proxy's command with its mark.
fn is_marked(name: &[u8]) -> bool {
    let known = NAMES.iter().find(|known| known.eq_ignore_ascii_case(name));
    known.is_some_and(|known| name == mark(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitor_lines_of_proxy_commands_are_recognised() {
        for (line, marked) in [
            ("+1339518083.107412 [0 127.0.0.1:60866] \"pinG\"\r\n", true),
            (
                "+1339518083.107412 [12 [::1]:60866] \"hellO\" \"3\"\r\n",
                true,
            ),
            (
                "+1339518083.107412 [0 unix:/run/a.sock] \"selecT\" \"3\"\r\n",
                true,
            ),
            ("+1339518083.107412 [0 127.0.0.1:60866] \"PING\"\r\n", false),
            ("+1339518083.107412 [0 127.0.0.1:60866] \"ping\"\r\n", false),
            // A client's command in the spelling of the proxy.
            (
                "+1339518083.107412 [0 127.0.0.1:60866] \"flushalL\"\r\n",
                false,
            ),
            (
                "+1339518083.107412 [0 lua] \"get\" \"] \\\"pinG\"\r\n",
                false,
            ),
            (
                "+1339518083.107412 [0 127.0.0.1:60866] \"pin\\\"G\"\r\n",
                false,
            ),
            ("+1339518083.107412 [0 127.0.0.1:60866] \"\"\r\n", false),
            ("+OK\r\n", false),
        ] {
            assert_eq!(is_proxy_command(line.as_bytes()), Some(marked), "{line}");
            let early = (0..line.len()).filter_map(|len| is_proxy_command(&line.as_bytes()[..len]));
            assert!(early.into_iter().all(|it| it == marked), "{line}");
        }
    }

    #[test]
    fn overlong_line_is_not_a_proxy_command() {
        for line in [
            format!("+1{}", "x".repeat(300)),
            format!("+1 [0 lua] \"{}", "x".repeat(20)),
        ] {
            assert_eq!(is_proxy_command(line.as_bytes()), Some(false));
        }
    }

    #[test]
    fn errors_do_not_show_the_mark() {
        for (error, wanted) in [
            (
                "-ERR unknown command `hellO`, with `2`\r\n",
                "-ERR unknown command `HELLO`, with `2`\r\n",
            ),
            (
                "-ERR unknown command 'waitaoF'\r\n",
                "-ERR unknown command 'WAITAOF'\r\n",
            ),
            ("-ERR unknown command '\r\n", "-ERR unknown command '\r\n"),
            (
                "-ERR unknown command 'foO'\r\n",
                "-ERR unknown command 'foO'\r\n",
            ),
            ("-ERR unknown\r\n", "-ERR unknown\r\n"),
            ("+OK\r\n", "+OK\r\n"),
        ] {
            assert_eq!(unmark(error.as_bytes()), wanted.as_bytes());
        }
    }
}
