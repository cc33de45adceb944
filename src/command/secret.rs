//! Detects a CONFIG GET that shows passwords.

use crate::resp::Args;

/// Settings of Redis and Valkey that contain a password, or the user that belongs to it.
const SECRETS: [&[u8]; 8] = [
    b"masterauth",
    b"primaryauth",
    b"requirepass",
    b"masteruser",
    b"primaryuser",
    b"tls-key-file-pass",
    b"tls-client-key-file-pass",
    b"sentinel-pass",
];

/// Whether one of these patterns of CONFIG GET matches a secret setting.
pub(super) fn shows_secret(mut patterns: Args<'_>) -> bool {
    patterns.any(|pattern| SECRETS.iter().any(|secret| matches(pattern, secret)))
}

/// Whether the glob pattern matches the name, in any case. A set in brackets counts as any
/// character, so that no secret is missed. The time is proportional to the product of both lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut pos) = (0, 0);
    // Where to continue when the part after the last star does not match here.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let (one, next) = match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, pos));
                at += 1;
                continue;
            }
            Some(b'?') => (None, at + 1),
            Some(b'[') => {
                let rest = pattern.get(at + 1..).unwrap_or_default();
                let end = rest.iter().position(|&byte| byte == b']');
                (None, end.map_or(pattern.len(), |end| at + end + 2))
            }
            Some(b'\\') if at + 1 < pattern.len() => (pattern.get(at + 1).copied(), at + 2),
            Some(&byte) => (Some(byte), at + 1),
            None if pos == name.len() => return true,
            None => (None, usize::MAX),
        };
        let fits = |byte: &u8| one.is_none_or(|one| one.eq_ignore_ascii_case(byte));
        if next != usize::MAX && name.get(pos).is_some_and(fits) {
            (at, pos) = (next, pos + 1);
        } else if let Some((after, from)) = star.filter(|(_, from)| *from < name.len()) {
            star = Some((after, from + 1));
            (at, pos) = (after, from + 1);
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_match_a_secret_are_detected() {
        for pattern in [
            "masterauth",
            "MasterAuth",
            "*",
            "**",
            "m*h",
            "*pass",
            "*a*s*",
            "requirepas?",
            "require[a-z]ass",
            "requirepas[s",
            "\\requirepass",
            "tls-*-pass*",
        ] {
            let found = SECRETS.iter().any(|name| matches(pattern.as_bytes(), name));
            assert!(found, "{pattern}");
        }
        for pattern in [
            "",
            "maxmemory",
            "max*",
            "masterauth2",
            "m?",
            "*x",
            "tls-port",
            "?",
        ] {
            let found = SECRETS.iter().any(|name| matches(pattern.as_bytes(), name));
            assert!(!found, "{pattern}");
        }
    }
}
