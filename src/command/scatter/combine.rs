//! Combines the replies of all parts, none of which is an error.
//!
//! Replies come from servers, so that every function checks all that it reads. A function returns
//! `None` when a reply is not one complete value of the command's type, or when the replies do not
//! fit together; `out` is then incomplete.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::info;
use super::policy::ResponsePolicy;
use crate::resp::read::{self, Elements};
use crate::resp::{Protocol, write};

/// Writes one reply for all `replies`, which are in the order of the parts. `order` has for each
/// key of the request its part.
pub(super) fn combine(
    policy: ResponsePolicy,
    replies: &[&[u8]],
    order: &[u16],
    protocol: Protocol,
    out: &mut Vec<u8>,
) -> Option<()> {
    if replies.is_empty() {
        return None;
    }
    match policy {
        ResponsePolicy::Values => values(replies, order, protocol, out)?,
        ResponsePolicy::Sum => write::integer(out, sum(replies)?),
        ResponsePolicy::Min => write::integer(out, min(replies)?),
        ResponsePolicy::EachMin => each_min(replies, i64::MAX, out)?,
        // The minimum of ones and zeros.
        ResponsePolicy::EachAnd => each_min(replies, 1, out)?,
        ResponsePolicy::Same => out.extend_from_slice(same(replies)?),
        ResponsePolicy::OneSucceeded => out.extend_from_slice(status(replies.first()?)?),
        ResponsePolicy::Strings => concatenate(replies, b'$', out)?,
        ResponsePolicy::Entries => concatenate(replies, b'*', out)?,
        ResponsePolicy::Union => union(replies, out)?,
        ResponsePolicy::SumByName => sum_by_name(replies, out)?,
        ResponsePolicy::AnyKey => any_key(replies, protocol, out)?,
        ResponsePolicy::Running => out.extend_from_slice(running(replies)?),
        ResponsePolicy::Info => info::merge(replies, false, protocol, out)?,
        ResponsePolicy::NodeInfo => info::merge(replies, true, protocol, out)?,
    }
    Some(())
}

fn values(replies: &[&[u8]], order: &[u16], protocol: Protocol, out: &mut Vec<u8>) -> Option<()> {
    let mut parts = arrays(replies)?;
    // The merged reply has the same elements, and one header.
    out.reserve(replies.iter().map(|reply| reply.len()).sum());
    write::array(out, order.len());
    for part in order {
        let value = parts.get_mut(usize::from(*part))?.next()?;
        if read::is_null(value) {
            write::null(out, protocol);
        } else if value.first() == Some(&b'$') {
            out.extend_from_slice(value);
        } else {
            return None;
        }
    }
    parts.iter().all(Elements::is_exhausted).then_some(())
}

fn sum(replies: &[&[u8]]) -> Option<i64> {
    let mut numbers = replies.iter().map(|reply| count(reply));
    numbers.try_fold(0_i64, |sum, number| sum.checked_add(number?))
}

fn min(replies: &[&[u8]]) -> Option<i64> {
    let (first, rest) = replies.split_first()?;
    let mut numbers = rest.iter().map(|reply| count(reply));
    numbers.try_fold(count(first)?, |min, number| Some(min.min(number?)))
}

/// The minimum at each position, of numbers up to `max`.
fn each_min(replies: &[&[u8]], max: i64, out: &mut Vec<u8>) -> Option<()> {
    let (first, rest) = replies.split_first()?;
    let mut least: Vec<i64> = numbers(first)?;
    for reply in rest {
        let numbers = numbers(reply)?;
        if numbers.len() != least.len() {
            return None;
        }
        for (least, number) in least.iter_mut().zip(numbers) {
            *least = number.min(*least);
        }
    }
    write::array(out, least.len());
    for number in least {
        if number > max {
            return None;
        }
        write::integer(out, number);
    }
    Some(())
}

fn same<'a>(replies: &[&'a [u8]]) -> Option<&'a [u8]> {
    let (first, rest) = replies.split_first()?;
    let fits = status(first).is_some() || read::string(first).is_some();
    (fits && rest.iter().all(|reply| reply == first)).then_some(first)
}

/// The elements of all arrays, which are all of this type.
fn concatenate(replies: &[&[u8]], kind: u8, out: &mut Vec<u8>) -> Option<()> {
    let mut number = 0;
    for reply in replies {
        let mut elements = array(reply)?;
        for element in elements.by_ref() {
            if element.first() != Some(&kind) || read::is_null(element) {
                return None;
            }
            number += 1;
        }
        if !elements.is_exhausted() {
            return None;
        }
    }
    out.reserve(replies.iter().map(|reply| reply.len()).sum());
    write::array(out, number);
    for reply in replies {
        out.extend_from_slice(array(reply)?.rest());
    }
    Some(())
}

fn union(replies: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
    let (mut seen, mut list) = (HashSet::new(), Vec::new());
    for reply in replies {
        let mut elements = array(reply)?;
        for element in elements.by_ref() {
            let name = read::string(element)?;
            if seen.insert(name) {
                list.push(name);
            }
        }
        if !elements.is_exhausted() {
            return None;
        }
    }
    write::array(out, list.len());
    for name in list {
        write::bulk(out, name);
    }
    Some(())
}

fn sum_by_name(replies: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
    let mut parts = arrays(replies)?;
    let mut pairs = Vec::new();
    loop {
        let (first, rest) = parts.split_first_mut()?;
        let Some(name) = first.next() else {
            break;
        };
        read::string(name)?;
        let mut sum = count(first.next()?)?;
        for elements in rest {
            if elements.next()? != name {
                return None;
            }
            sum = sum.checked_add(count(elements.next()?)?)?;
        }
        pairs.push((name, sum));
    }
    write::array(out, 2 * pairs.len());
    for (name, sum) in pairs {
        out.extend_from_slice(name);
        write::integer(out, sum);
    }
    parts.iter().all(Elements::is_exhausted).then_some(())
}

/// Chooses by a hash of the keys: they are random, so that each shard's key has the same chance.
fn any_key(replies: &[&[u8]], protocol: Protocol, out: &mut Vec<u8>) -> Option<()> {
    let mut keys = Vec::new();
    for reply in replies {
        if !read::is_null(reply) {
            keys.push(read::string(reply)?);
        }
    }
    let mut hasher = DefaultHasher::new();
    keys.hash(&mut hasher);
    let chosen = hasher.finish().checked_rem(keys.len() as u64);
    match chosen.and_then(|chosen| keys.get(usize::try_from(chosen).ok()?)) {
        Some(key) => write::bulk(out, key),
        None => write::null(out, protocol),
    }
    Some(())
}

fn running<'a>(replies: &[&'a [u8]]) -> Option<&'a [u8]> {
    let mut chosen = *replies.first()?;
    let mut found = false;
    for reply in replies {
        let mut elements = Elements::new(reply)?;
        let mut runs = false;
        while let (Some(name), Some(value)) = (elements.next(), elements.next()) {
            let is_script = read::string(name) == Some(b"running_script");
            runs |= is_script && !read::is_null(value);
        }
        if !elements.is_exhausted() {
            return None;
        }
        if runs && !found {
            (chosen, found) = (reply, true);
        }
    }
    Some(chosen)
}

/// The elements of each reply.
fn arrays<'a>(replies: &[&'a [u8]]) -> Option<Vec<Elements<'a>>> {
    let mut arrays = Vec::with_capacity(replies.len());
    for reply in replies {
        arrays.push(array(reply)?);
    }
    Some(arrays)
}

/// The elements of an array or a set.
fn array(reply: &[u8]) -> Option<Elements<'_>> {
    let kind = reply.first()?;
    matches!(kind, b'*' | b'~').then(|| Elements::new(reply))?
}

fn numbers(reply: &[u8]) -> Option<Vec<i64>> {
    let mut elements = array(reply)?;
    let numbers: Option<Vec<_>> = elements.by_ref().map(count).collect();
    numbers.filter(|_| elements.is_exhausted())
}

/// A number of something.
fn count(reply: &[u8]) -> Option<i64> {
    read::integer(reply).filter(|number| *number >= 0)
}

/// A reply like `+OK`.
fn status(reply: &[u8]) -> Option<&[u8]> {
    (reply.first() == Some(&b'+') && read::is_complete(reply)).then_some(reply)
}
