//! Merges the replies to INFO.
//!
//! The text is that of the first part's node: memory, clients and statistics are those of one
//! process, and their sums would describe none. There are two exceptions:
//!
//! - The databases of `# Keyspace` have the keys of all parts. All fields are summed, except for
//!   `avg_ttl`: it is the mean of the parts' values, weighted by their `expires`.
//! - The node says what the client sees: `cluster_enabled` in `# Cluster`, and the mode. Client
//!   libraries choose their commands by these fields.

use std::collections::BTreeMap;

use crate::resp::number::{append_u64, parse_i64};
use crate::resp::{Protocol, read, write};

const KEYSPACE: &[u8] = b"# Keyspace";

/// Fields of one database. Servers have up to five.
const FIELDS_MAX: usize = 16;

/// Lines of a node of a cluster, and those of a server without cluster support.
const REPLACED: [(&[u8], &[u8]); 3] = [
    (b"cluster_enabled:1", b"cluster_enabled:0"),
    (b"redis_mode:cluster", b"redis_mode:standalone"),
    (b"server_mode:cluster", b"server_mode:standalone"),
];

/// The fields of a database in the order of its first line.
#[derive(Default)]
struct Database<'a> {
    fields: Vec<(&'a [u8], u64)>,
    /// The sum of `avg_ttl` times `expires`.
    ttl: u128,
}

/// The databases by their numbers.
type Databases<'a> = BTreeMap<u64, Database<'a>>;

/// Writes the merged reply. `clustered`: the client sees a node of a Redis Cluster, else a server
/// without cluster support. `None`: see [`combine`](super::combine).
pub(super) fn merge(
    replies: &[&[u8]],
    clustered: bool,
    protocol: Protocol,
    out: &mut Vec<u8>,
) -> Option<()> {
    let mut databases = Databases::new();
    for reply in replies {
        let mut in_keyspace = false;
        for line in read::string(reply)?.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii_end();
            if line.starts_with(b"# ") {
                in_keyspace = line == KEYSPACE;
            } else if let Some((number, fields)) = database(line).filter(|_| in_keyspace) {
                databases.entry(number).or_default().add(fields)?;
            }
        }
    }
    let mut text = Vec::new();
    let first = read::string(replies.first()?)?;
    write_text(first, clustered, &databases, &mut text)?;
    write::verbatim(out, protocol, &text);
    Some(())
}

fn write_text(
    first: &[u8],
    clustered: bool,
    databases: &Databases<'_>,
    text: &mut Vec<u8>,
) -> Option<()> {
    let mut in_keyspace = false;
    for whole_line in first.split_inclusive(|byte| *byte == b'\n') {
        let line = whole_line.trim_ascii_end();
        let mut lines = REPLACED
            .iter()
            .map(|&(of_node, standalone)| match clustered {
                true => (standalone, of_node),
                false => (of_node, standalone),
            });
        if let Some((_, shown)) = lines.find(|(hidden, _)| *hidden == line) {
            text.extend_from_slice(shown);
            text.extend_from_slice(b"\r\n");
        } else if !in_keyspace || database(line).is_none() {
            text.extend_from_slice(whole_line);
        }
        if line.starts_with(b"# ") {
            in_keyspace = line == KEYSPACE;
            if in_keyspace {
                for (number, database) in databases {
                    database.write(*number, text)?;
                }
            }
        }
    }
    Some(())
}

/// The number of a database and its fields, from a line like `db0:keys=1,expires=0,avg_ttl=0`.
fn database(line: &[u8]) -> Option<(u64, &[u8])> {
    let rest = line.strip_prefix(b"db")?;
    let colon = rest.iter().position(|byte| *byte == b':')?;
    let number = number(rest.get(..colon)?)?;
    Some((number, rest.get(colon + 1..)?))
}

fn number(digits: &[u8]) -> Option<u64> {
    u64::try_from(parse_i64(digits)?).ok()
}

impl<'a> Database<'a> {
    fn add(&mut self, fields: &'a [u8]) -> Option<()> {
        let (mut ttl, mut expires) = (0, 0);
        for field in fields.split(|byte| *byte == b',') {
            let equals = field.iter().position(|byte| *byte == b'=')?;
            let (name, value) = field.split_at(equals);
            let value = number(value.get(1..)?)?;
            match name {
                b"avg_ttl" => ttl = value,
                b"expires" => expires = value,
                _ => {}
            }
            let known = self.fields.iter_mut().find(|(known, _)| *known == name);
            if let Some((_, sum)) = known {
                *sum = sum.checked_add(value)?;
            } else {
                self.fields.push((name, value));
            }
            if self.fields.len() > FIELDS_MAX {
                return None;
            }
        }
        let weighted = u128::from(ttl) * u128::from(expires);
        self.ttl = self.ttl.checked_add(weighted)?;
        Some(())
    }

    fn write(&self, number: u64, text: &mut Vec<u8>) -> Option<()> {
        text.extend_from_slice(b"db");
        append_u64(text, number);
        let expires = self.fields.iter().find(|(name, _)| *name == b"expires");
        let expires = expires.map_or(0, |(_, sum)| u128::from(*sum));
        let mut separator = b':';
        for (name, sum) in &self.fields {
            text.push(separator);
            text.extend_from_slice(name);
            text.push(b'=');
            let value = match *name {
                b"avg_ttl" => self.ttl.checked_div(expires).unwrap_or(0),
                _ => u128::from(*sum),
            };
            append_u64(text, u64::try_from(value).ok()?);
            separator = b',';
        }
        text.extend_from_slice(b"\r\n");
        Some(())
    }
}
