//! A JSON value together with its path, so that an error can name the value and its line.

use tinyjson::JsonValue;

use super::error::JsonError;
use super::scan::{self, Step};

/// Parses a JSON text and converts it with `take`.
///
/// # Errors
///
/// `text` is not JSON, nests deeper than 32 levels or has a field twice; or `take` fails.
pub fn read<T>(
    text: &str,
    take: impl FnOnce(Node<'_>) -> Result<T, JsonError>,
) -> Result<T, JsonError> {
    scan::check(text)?;
    let value = text.parse::<JsonValue>().map_err(|error| {
        let reason = error.to_string();
        let reason = reason
            .split_once(": ")
            .map_or(&*reason, |(_, reason)| reason);
        JsonError::new(error.line(), format!("bad JSON: {reason}"))
    })?;
    take(Node {
        text,
        value: &value,
        place: None,
    })
}

/// A JSON value and its path in the text.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    text: &'a str,
    value: &'a JsonValue,
    /// The parent and the step from the parent to this value. The root has none.
    place: Option<(&'a Self, Step<'a>)>,
}

impl<'a> Node<'a> {
    /// The JSON value.
    pub fn value(&self) -> &'a JsonValue {
        self.value
    }

    /// An error about this value, with its path and line.
    pub fn wrong(&self, why: impl std::fmt::Display) -> JsonError {
        let path = self.path();
        let place: String = path.iter().map(|step| written(*step)).collect();
        let place = place.strip_prefix('.').unwrap_or(&place);
        let gap = if place.is_empty() { "" } else { ": " };
        JsonError::new(
            scan::line_of(self.text, &path),
            format!("{place}{gap}{why}"),
        )
    }

    /// A field of this object; `None` when it has no such field.
    ///
    /// # Errors
    ///
    /// The value is not an object.
    pub fn field<'b>(&'b self, name: &'b str) -> Result<Option<Node<'b>>, JsonError> {
        let JsonValue::Object(fields) = self.value else {
            return Err(self.wrong("must be an object"));
        };
        let below = |value| self.below(value, Step::Field(name));
        Ok(fields.get(name).map(below))
    }

    /// A required field of this object.
    ///
    /// # Errors
    ///
    /// The value is not an object, or has no such field.
    pub fn needed<'b>(&'b self, name: &'b str) -> Result<Node<'b>, JsonError> {
        self.field(name)?
            .ok_or_else(|| self.wrong(format_args!("has no field {name:?}")))
    }

    /// The fields of this object, sorted by name.
    ///
    /// # Errors
    ///
    /// The value is not an object.
    pub fn fields<'b>(&'b self) -> Result<Vec<(&'b str, Node<'b>)>, JsonError> {
        let JsonValue::Object(fields) = self.value else {
            return Err(self.wrong("must be an object"));
        };
        let below =
            |(name, value): (&'b String, _)| (&**name, self.below(value, Step::Field(name)));
        let mut fields: Vec<_> = fields.iter().map(below).collect();
        fields.sort_unstable_by_key(|(name, _)| *name);
        Ok(fields)
    }

    /// The items of this array.
    ///
    /// # Errors
    ///
    /// The value is not an array.
    pub fn items<'b>(&'b self) -> Result<impl ExactSizeIterator<Item = Node<'b>>, JsonError> {
        let JsonValue::Array(items) = self.value else {
            return Err(self.wrong("must be an array"));
        };
        let below = |(n, value)| self.below(value, Step::Item(n));
        Ok(items.iter().enumerate().map(below))
    }

    /// The text of this string.
    ///
    /// # Errors
    ///
    /// The value is not a string.
    pub fn string(&self) -> Result<&'a str, JsonError> {
        match self.value {
            JsonValue::String(text) => Ok(text),
            _ => Err(self.wrong("must be a string")),
        }
    }

    /// A whole number from `min` to `max`. A `max` above 2^53 counts as 2^53, because larger
    /// numbers are not exact in JSON.
    ///
    /// # Errors
    ///
    /// The value is not a whole number in this range.
    pub fn whole(&self, min: u64, max: u64) -> Result<u64, JsonError> {
        let max = max.min(1 << 53);
        match *self.value {
            JsonValue::Number(number)
                if number.fract() == 0.0 && number >= min as f64 && number <= max as f64 =>
            {
                Ok(number as u64)
            }
            _ => Err(self.wrong(format_args!("must be a whole number from {min} to {max}"))),
        }
    }

    fn below<'b>(&'b self, value: &'b JsonValue, step: Step<'b>) -> Node<'b> {
        Node {
            text: self.text,
            value,
            place: Some((self, step)),
        }
    }

    fn path(&self) -> Vec<Step<'a>> {
        let mut path = Vec::new();
        let mut place = self.place;
        while let Some((up, step)) = place {
            path.push(step);
            place = up.place;
        }
        path.reverse();
        path
    }
}

/// The step as a path shows it: `.name`, `["name"]` or `[n]`.
fn written(step: Step<'_>) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match step {
        Step::Field(name) if !name.is_empty() && name.bytes().all(plain) => format!(".{name}"),
        Step::Field(name) => format!("[{name:?}]"),
        Step::Item(n) => format!("[{n}]"),
    }
}
