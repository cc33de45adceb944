//! The values that a client may find under its keys: no other client writes them, but the outcome
//! of some writes is unknown.

use std::collections::HashMap;

use super::op::{Op, bulk};

type Value = Option<String>;

/// The possible values of each key of one client. A key that is not in the map does not exist.
#[derive(Default)]
pub(super) struct Model {
    values: HashMap<String, Vec<Value>>,
}

impl Model {
    /// The op was executed, and its last reply is `reply`. Returns the possible replies if this is
    /// none of them.
    pub(super) fn executed(&mut self, op: &Op, reply: &str) -> Result<(), Vec<String>> {
        if let Op::Transaction(key, value, _) = op {
            self.values.insert(key.clone(), vec![Some(value.clone())]);
        }
        match op {
            Op::Mget(keys) => self.read(keys, reply),
            Op::Push(..) => one_of(&[":1"], reply),
            // The subscriber may be at another node.
            Op::Publish(..) => one_of(&[":0", ":1"], reply),
            _ => self.step(op, reply),
        }
    }

    /// The op may have been executed.
    pub(super) fn maybe_executed(&mut self, op: &Op) {
        if let Op::Transaction(key, value, _) = op {
            self.add(key, vec![Some(value.clone())]);
        }
        if let Some(key) = op.key() {
            let before = self.possible(key);
            let after = before.iter().map(|it| op.execute(it.as_deref()).0);
            self.add(key, after.collect());
        }
    }

    fn possible(&self, key: &str) -> Vec<Value> {
        let possible = self.values.get(key);
        possible.cloned().unwrap_or_else(|| vec![None])
    }

    fn add(&mut self, key: &str, values: Vec<Value>) {
        let mut possible = self.possible(key);
        for value in values {
            if !possible.contains(&value) {
                possible.push(value);
            }
        }
        self.values.insert(key.to_owned(), possible);
    }

    /// An op with one key was executed. After a wrong reply, the values are those that follow from
    /// the right one: the server may have sent it, and only the order of replies is wrong.
    fn step(&mut self, op: &Op, reply: &str) -> Result<(), Vec<String>> {
        let key = op.key().unwrap();
        let possible = self.possible(key);
        let steps = possible.iter().map(|it| op.execute(it.as_deref()));
        let (right, others): (Vec<_>, Vec<_>) = steps.partition(|(_, expected)| expected == reply);
        let is_right = !right.is_empty();
        let replies = others.iter().map(|(_, reply)| reply.clone()).collect();
        let after = if is_right { right } else { others };
        self.values.remove(key);
        let mut after: Vec<Value> = after.into_iter().map(|(value, _)| value).collect();
        after.dedup();
        self.values.insert(key.to_owned(), after);
        if is_right { Ok(()) } else { Err(replies) }
    }

    /// The keys were read at once: the reply is one possible value of each.
    fn read(&mut self, keys: &[String], reply: &str) -> Result<(), Vec<String>> {
        let mut rest = reply.strip_prefix(&format!("*{}", keys.len()));
        let mut found = Vec::new();
        for key in keys {
            let value = self.possible(key).into_iter().find_map(|value| {
                let element = format!(" {}", bulk(value.as_deref()));
                let rest = rest?.strip_prefix(&element)?;
                (rest.is_empty() || rest.starts_with(' ')).then_some((value, rest))
            });
            let Some((value, after)) = value else {
                rest = None;
                break;
            };
            rest = Some(after);
            found.push((key, value));
        }
        if rest != Some("") {
            let first = keys
                .iter()
                .map(|key| bulk(self.possible(key)[0].as_deref()));
            let first: Vec<String> = first.collect();
            return Err(vec![format!("*{} {}", keys.len(), first.join(" "))]);
        }
        for (key, value) in found {
            self.values.insert(key.clone(), vec![value]);
        }
        Ok(())
    }
}

fn one_of(expected: &[&str], reply: &str) -> Result<(), Vec<String>> {
    if expected.contains(&reply) {
        return Ok(());
    }
    Err(expected.iter().map(|it| (*it).to_owned()).collect())
}
