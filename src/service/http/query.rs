//! Parses the query of a target: names and values in form encoding.

/// The decoded parameters of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses a query. Each name must be in `known`, and may occur once.
    ///
    /// # Errors
    ///
    /// A message for the caller.
    pub(crate) fn parse(text: &str, known: &[&str]) -> Result<Self, String> {
        let mut found: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                return Err(format!("unknown parameter {name}; known: {known}"));
            }
            if found.iter().any(|(other, _)| *other == name) {
                return Err(format!("parameter {name} occurs twice"));
            }
            found.push((name, decode(value)?));
        }
        Ok(Self(found))
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value of a parameter as a whole number from `min` to `max`.
    ///
    /// # Errors
    ///
    /// A message for the caller.
    pub(crate) fn number(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, String> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        // `parse` accepts a plus sign, which stands for a space in a query.
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| plain);
        match number.filter(|number| (min..=max).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("{name} must be a whole number from {min} to {max}")),
        }
    }
}

/// Decodes `%41` and `+`.
fn decode(text: &str) -> Result<String, String> {
    let wrong = || format!("{text} is not percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || {
                    let digit = rest.next().map(char::from)?;
                    digit.to_digit(16).and_then(|it| u8::try_from(it).ok())
                };
                let (high, low) = (digit(), digit());
                high.zip(low)
                    .map(|(high, low)| high << 4 | low)
                    .ok_or_else(wrong)?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str) -> Result<Option<String>, String> {
        let query = Query::parse(text, &["name", "n"])?;
        Ok(query.get("name").map(str::to_owned))
    }

    #[test]
    fn values_are_decoded() {
        let cases = [
            ("", None),
            ("&&", None),
            ("name=a", Some("a")),
            ("n=1&name=a.b-c_d", Some("a.b-c_d")),
            ("name", Some("")),
            ("name=", Some("")),
            ("name=a=b", Some("a=b")),
            ("na%6De=x+y%2B%26%3d", Some("x y+&=")),
            ("name=%CE%bb", Some("λ")),
        ];
        for (text, value) in cases {
            assert_eq!(get(text), Ok(value.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn invalid_parameters_are_errors() {
        let cases = [
            ("name=%", "% is not percent-encoded UTF-8"),
            ("name=%4", "%4 is not percent-encoded UTF-8"),
            ("name=%g1", "%g1 is not percent-encoded UTF-8"),
            ("name=%+1", "%+1 is not percent-encoded UTF-8"),
            ("name=%ff", "%ff is not percent-encoded UTF-8"),
            ("tennant=a", "unknown parameter tennant; known: name, n"),
            ("name=a&name=a", "parameter name occurs twice"),
        ];
        for (text, error) in cases {
            assert_eq!(get(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn numbers_are_whole_and_within_bounds() {
        let number = |text: &str| {
            let query = Query::parse(text, &["n"]).unwrap();
            query.number("n", 1, 60)
        };
        assert_eq!(number(""), Ok(None));
        assert_eq!(number("n=1"), Ok(Some(1)));
        assert_eq!(number("n=60"), Ok(Some(60)));
        for text in [
            "",
            "0",
            "61",
            "-1",
            "%2B1",
            "1.5",
            "x",
            "99999999999999999999",
        ] {
            let error = number(&format!("n={text}")).unwrap_err();
            assert_eq!(error, "n must be a whole number from 1 to 60", "{text}");
        }
    }
}
