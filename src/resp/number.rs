//! Parses and writes decimal numbers, as strictly as Redis.
//!
//! Every number has exactly one spelling, so that a server cannot read another number from it.

/// Parses a decimal number: an optional `-`, no `+`, no leading zeros, no other bytes. `None` for
/// anything else, and for numbers that do not fit into an `i64`.
pub fn parse_i64(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    // A negative number is computed downwards from 0, so that i64::MIN does not overflow.
    digits.iter().try_fold(0_i64, |number, byte| {
        let digit = i64::from(byte.wrapping_sub(b'0'));
        let shifted = if digit <= 9 {
            number.checked_mul(10)?
        } else {
            return None;
        };
        if negative {
            shifted.checked_sub(digit)
        } else {
            shifted.checked_add(digit)
        }
    })
}

/// Appends `number` in decimal.
pub fn append_u64(out: &mut Vec<u8>, mut number: u64) {
    // u64::MAX has 20 digits.
    let mut digits = [0_u8; 20];
    let mut unused = digits.len();
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (number % 10) as u8;
        number /= 10;
        unused -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(unused));
}

/// Appends `number` in decimal, with a `-` if it is negative.
pub fn append_i64(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    append_u64(out, number.unsigned_abs());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_parsed_as_strictly_as_by_redis() {
        for number in [0, 1, 9, 10, -1, -10, 4_294_967_296, i64::MAX, i64::MIN] {
            assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
        }
        let refused = [
            "",
            "-",
            "+1",
            "-0",
            "00",
            "01",
            "-01",
            " 1",
            "1 ",
            "1a",
            "a",
            "0x1",
            "1.0",
            "--1",
            ":",
            "/",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
        ];
        for text in refused {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn written_numbers_are_parsed_again() {
        let powers = (0..63).map(|shift| 1_i64 << shift);
        for number in powers
            .flat_map(|power| [power, power - 1, -power])
            .chain([i64::MIN, i64::MAX])
        {
            let mut out = b"n=".to_vec();
            append_i64(&mut out, number);
            assert_eq!(out, format!("n={number}").as_bytes());
            assert_eq!(parse_i64(&out[2..]), Some(number));
        }
        let mut out = Vec::new();
        append_u64(&mut out, u64::MAX);
        assert_eq!(out, u64::MAX.to_string().as_bytes());
    }
}
