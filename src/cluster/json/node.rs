//! A value of a parsed text together with its place, so that what is wrong with it can be said.

use tinyjson::JsonValue;

use super::error::JsonError;
use super::scan::{self, Step};

/// Parses a text and lets `take` make something of it.
///
/// # Errors
///
/// It is no JSON, nests deeper than 32 levels or has a field twice; and those of `take`.
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

/// A value and its place in the text.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    text: &'a str,
    value: &'a JsonValue,
    /// None is the whole.
    place: Option<(&'a Self, Step<'a>)>,
}

impl<'a> Node<'a> {
    /// The value itself.
    pub fn value(&self) -> &'a JsonValue {
        self.value
    }

    /// The error that this value is wrong.
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

    /// A field of this object; none if it has no such field.
    ///
    /// # Errors
    ///
    /// This is no object.
    pub fn field<'b>(&'b self, name: &'b str) -> Result<Option<Node<'b>>, JsonError> {
        let JsonValue::Object(fields) = self.value else {
            return Err(self.wrong("must be an object"));
        };
        let below = |value| self.below(value, Step::Field(name));
        Ok(fields.get(name).map(below))
    }

    /// A field of this object.
    ///
    /// # Errors
    ///
    /// This is no object, or has no such field.
    pub fn needed<'b>(&'b self, name: &'b str) -> Result<Node<'b>, JsonError> {
        self.field(name)?
            .ok_or_else(|| self.wrong(format_args!("has no field {name:?}")))
    }

    /// The fields of this object, sorted by name.
    ///
    /// # Errors
    ///
    /// This is no object.
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
    /// This is no array.
    pub fn items<'b>(&'b self) -> Result<impl ExactSizeIterator<Item = Node<'b>>, JsonError> {
        let JsonValue::Array(items) = self.value else {
            return Err(self.wrong("must be an array"));
        };
        let below = |(n, value)| self.below(value, Step::Item(n));
        Ok(items.iter().enumerate().map(below))
    }

    /// This string.
    ///
    /// # Errors
    ///
    /// This is none.
    pub fn string(&self) -> Result<&'a str, JsonError> {
        match self.value {
            JsonValue::String(text) => Ok(text),
            _ => Err(self.wrong("must be a string")),
        }
    }

    /// This whole number, from `min` to `max`, which is at most 2^53: above that JSON is not exact.
    ///
    /// # Errors
    ///
    /// This is none.
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

fn written(step: Step<'_>) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match step {
        Step::Field(name) if !name.is_empty() && name.bytes().all(plain) => format!(".{name}"),
        Step::Field(name) => format!("[{name:?}]"),
        Step::Item(n) => format!("[{n}]"),
    }
}
