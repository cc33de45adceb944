//! Commands that the proxy gives a server on its own account, and how MONITOR tells them from those
//! of clients.
//!
//! A server takes the name of a command in any case, and MONITOR shows it as it was sent. The proxy
//! writes its own in lower case with the last letter in upper case (`pinG`), so that a line of
//! MONITOR says whose it is, whichever process or worker sent the command, and nothing is shared.

use crate::resp::write;

/// The names of the commands that the proxy gives. Others are a client's, however it writes them.
const OWN: [&[u8]; 9] = [
    b"auth", b"client", b"command", b"hello", b"ping", b"role", b"select", b"wait", b"waitaof",
];

/// No name of a marked command is longer, bytes.
const NAME_BYTES_MAX: usize = 16;

/// What stands before the name in a line of MONITOR is hardly longer than a socket's path, bytes.
const PLACE_BYTES_MAX: usize = 256;

/// So many bytes of a line are always enough to tell whose it is.
pub const DECIDED_BYTES: usize = 512;

/// How the error begins of a server that does not have a command, up to the quoted name.
const UNKNOWN: &[u8] = b"-ERR unknown command ";

/// Writes a command of the proxy's own. The first word is its name.
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
    debug_assert!(OWN.contains(&&name[..]), "this is none of the proxy's own");
    if let Some(last) = name.last_mut() {
        last.make_ascii_uppercase();
    }
    name
}

/// The reply to a marked command, with the command's name as clients write it: the error of a
/// server that does not have the command shows it as it was sent.
pub fn unmark(reply: &[u8]) -> Vec<u8> {
    let mut reply = reply.to_vec();
    if reply.starts_with(UNKNOWN)
        && let Some([_quote, name @ ..]) = reply.get_mut(UNKNOWN.len()..)
        && let Some(end) = name.iter().position(|byte| !byte.is_ascii_alphabetic())
        && let Some(name) = name.get_mut(..end)
        && is_own(name)
    {
        name.make_ascii_uppercase();
    }
    reply
}

/// Is a line of MONITOR, `+time [db address] "name" …`, about a marked command? None: the line is
/// too short to tell.
pub fn is_marked(line: &[u8]) -> Option<bool> {
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
    Some(is_own(name))
}

/// Is this one of the proxy's names, as the proxy writes it?
fn is_own(name: &[u8]) -> bool {
    let own = { OWN.iter() }.find(|own| own.eq_ignore_ascii_case(name));
    own.is_some_and(|own| name == mark(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_monitor_tell_whose_a_command_is() {
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
            // Somebody writes like the proxy.
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
            assert_eq!(is_marked(line.as_bytes()), Some(marked), "{line}");
            let early = (0..line.len()).filter_map(|len| is_marked(&line.as_bytes()[..len]));
            assert!(early.into_iter().all(|it| it == marked), "{line}");
        }
    }

    #[test]
    fn any_line_is_decided_soon() {
        for line in [
            format!("+1{}", "x".repeat(300)),
            format!("+1 [0 lua] \"{}", "x".repeat(20)),
        ] {
            assert_eq!(is_marked(line.as_bytes()), Some(false));
        }
    }

    #[test]
    fn a_marked_name_does_not_show_in_errors() {
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
