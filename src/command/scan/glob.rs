//! The patterns of KEYS and of MATCH, as servers match them.

use crate::command::slot::Slot;

/// Whether a pattern matches a key.
pub(super) fn matches(pattern: &[u8], key: &[u8]) -> bool {
    let (mut at, mut pos) = (0, 0);
    // Where to go on when what is behind the last star does not match here.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let rest = pattern.get(at..).unwrap_or_default();
        if rest.first() == Some(&b'*') {
            at += 1;
            star = Some((at, pos));
            continue;
        }
        let byte = key.get(pos).copied();
        let used = match (rest.is_empty(), byte) {
            (true, None) => return true,
            (false, Some(byte)) => one(rest, byte),
            _ => None,
        };
        (at, pos) = match (used, star) {
            (Some(used), _) => (at + used, pos + 1),
            (None, Some((after, from))) if from < key.len() => {
                star = Some((after, from + 1));
                (after, from + 1)
            }
            (None, _) => return false,
        };
    }
}

/// The bytes of the pattern that match this byte, at the start of a pattern without a star.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => {
            let (is_in, used) = is_in_set(set, byte);
            is_in.then_some(1 + used)
        }
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [plain, ..] => (*plain == byte).then_some(1),
        [] => None,
    }
}

/// Whether a byte is in a set, and the bytes of the set with its `]`. A set may lack its end.
fn is_in_set(set: &[u8], byte: u8) -> (bool, usize) {
    let negated = set.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match set.get(at..).unwrap_or_default() {
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [] => break,
            [first, b'-', last, ..] => {
                let (low, high) = (first.min(last), first.max(last));
                found |= (low..=high).contains(&&byte);
                at += 3;
            }
            [plain, ..] => {
                found |= *plain == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

/// The slot of all keys that a pattern matches, if they have one: its hash tag, or all of it, has
/// no wildcard.
pub(super) fn only_slot(pattern: &[u8]) -> Option<Slot> {
    let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    let open = pattern.iter().position(|&byte| byte == b'{');
    let tag = open.and_then(|open| {
        let behind = pattern.get(open + 1..)?;
        let close = behind.iter().position(|&byte| byte == b'}')?;
        (close > 0).then(|| pattern.get(..open + 1 + close))?
    });
    let fixed = tag.unwrap_or(pattern);
    (!fixed.iter().any(is_special)).then(|| Slot::of(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_servers() {
        for (pattern, key, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("a**c*", "axcx", true),
            ("h?llo", "hallo", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hello", true),
            ("h[^ae]llo", "hello", false),
            ("h[^ae]llo", "hxllo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c", "hb", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[\\]]", "]", true),
            ("[]", "x", false),
            ("a\\", "a\\", true),
            ("*a*b*c", "xxaxxbxxbc", true),
        ] {
            let found = matches(pattern.as_bytes(), key.as_bytes());
            assert_eq!(found, expected, "{pattern} {key}");
        }
    }

    #[test]
    fn pattern_with_a_hash_tag_has_one_slot() {
        for (pattern, key) in [("{a}*", Some("a")), ("k", Some("k")), ("x{a}?", Some("a"))] {
            let slot = key.map(|key| Slot::of(key.as_bytes()));
            assert_eq!(only_slot(pattern.as_bytes()), slot, "{pattern}");
        }
        for pattern in ["*", "k*", "{a*}", "*{a}", "{}*", "{a", "a\\b"] {
            let slot = only_slot(pattern.as_bytes());
            assert_eq!(slot.is_some(), pattern == "{a", "{pattern}");
        }
    }
}
