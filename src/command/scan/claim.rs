//! What a node says of a slot: a part of its reply to CLUSTER NODES.

use std::net::SocketAddr;

use crate::command::slot::Slot;
use crate::resp::read;

/// What a node says of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It has all keys of the slot, and of those that follow up to this one.
    Owner(Slot),
    /// It has the slot, and keys of it migrate to the node at this address.
    Migrating(Option<SocketAddr>),
    /// Keys of the slot migrate to it, from the node at this address.
    Importing(Option<SocketAddr>),
    /// The node at this address has the slot.
    Elsewhere(SocketAddr),
    /// It does not know who has the slot.
    Nobody,
}

/// A node's claim on a slot, and the id of the node.
///
/// A line is `ID IP:PORT@BUS,NAME FLAGS PRIMARY PING PONG EPOCH LINK SLOTS…`. Slots are `7` or
/// `0-99`. On the line of the node itself, `[7->-ID]` is a slot that migrates to another node, and
/// `[7-<-ID]` one that migrates from it.
pub(super) fn read(reply: &[u8], slot: Slot) -> Option<(Claim, &str)> {
    let text = str::from_utf8(read::string(reply)?).ok()?;
    let own = text.lines().find(|line| flags(line).contains("myself"))?;
    let id = own.split(' ').next()?;
    let moves = own.split(' ').skip(8).filter(|word| word.starts_with('['));
    let (mut last, mut importing) = (range_with(own, slot), false);
    for word in moves {
        let (moving, how, other) = moving(word)?;
        match (how, last) {
            ("->-", Some(_)) if moving == slot => {
                let target = text.lines().find(|line| line.starts_with(other));
                return Some((Claim::Migrating(target.and_then(address)), id));
            }
            ("->-", Some(end)) if moving > slot && moving <= end => {
                last = Slot::new(moving.number().checked_sub(1)?);
            }
            ("-<-", _) => importing |= moving == slot,
            _ => {}
        }
    }
    let claim = match last {
        Some(last) => Claim::Owner(last),
        None => {
            let mut lines = text.lines();
            let owner = lines.find(|line| range_with(line, slot).is_some());
            match (owner.and_then(address), importing) {
                (owner, true) => Claim::Importing(owner),
                (Some(owner), false) => Claim::Elsewhere(owner),
                (None, false) => Claim::Nobody,
            }
        }
    };
    Some((claim, id))
}

fn flags(line: &str) -> &str {
    line.split(' ').nth(2).unwrap_or_default()
}

/// The last slot of the range on a line that contains this slot.
fn range_with(line: &str, slot: Slot) -> Option<Slot> {
    line.split(' ').skip(8).find_map(|word| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let first = Slot::new(first.parse().ok()?)?;
        let last = Slot::new(last.trim_end().parse().ok()?)?;
        (first <= slot && slot <= last).then_some(last)
    })
}

/// The parts of `[7->-ID]`.
fn moving(word: &str) -> Option<(Slot, &str, &str)> {
    let inside = word.strip_prefix('[')?.trim_end().strip_suffix(']')?;
    let arrow = inside.find('-')?;
    let (slot, rest) = inside.split_at(arrow);
    let (how, id) = rest.split_at_checked(3)?;
    Some((Slot::new(slot.parse().ok()?)?, how, id))
}

/// `None`: the node does not know it.
fn address(line: &str) -> Option<SocketAddr> {
    let place = line.split(' ').nth(1)?;
    let place = place.split(['@', ',']).next()?;
    let (host, port) = place.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    Some(SocketAddr::new(host.parse().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "\
aaa 127.0.0.1:7001@17001,host myself,master - 0 0 1 connected 0-99 200 300-400 [50->-bbb] [7-<-ccc]
bbb 127.0.0.1:7002@17002 master - 0 1 2 connected 101-199 [1->-x]
ccc ::1:7003@17003 slave bbb 0 1 2 connected
ddd :0@0 master,noaddr - 0 1 2 connected 201-299
";

    fn claim(number: u16) -> Claim {
        let reply = format!("${}\r\n{LINES}\r\n", LINES.len());
        let (claim, id) = read(reply.as_bytes(), Slot::new(number).unwrap()).unwrap();
        assert_eq!(id, "aaa");
        claim
    }

    #[test]
    fn claim_is_read_from_the_lines_of_all_nodes() {
        let owner = |last| Claim::Owner(Slot::new(last).unwrap());
        let other = "127.0.0.1:7002".parse().unwrap();
        assert_eq!(claim(0), owner(49), "until the slot that migrates");
        assert_eq!(claim(50), Claim::Migrating(Some(other)));
        assert_eq!(claim(51), owner(99));
        assert_eq!(claim(200), owner(200));
        assert_eq!(claim(150), Claim::Elsewhere(other));
        assert_eq!(claim(100), Claim::Nobody);
        assert_eq!(claim(250), Claim::Nobody, "without an address");
    }

    #[test]
    fn other_replies_have_no_claim() {
        let slot = Slot::new(1).unwrap();
        for reply in ["-NOPERM no\r\n", "$0\r\n\r\n", "$1\r\nx\r\n", "+OK\r\n"] {
            assert_eq!(read(reply.as_bytes(), slot), None);
        }
    }

    #[test]
    fn slot_that_migrates_to_the_node_is_imported() {
        let text = "a h:1@2 myself,master - 0 0 1 connected 0-5 [7-<-c]\n\
            c 10.0.0.1:1@2 master - 0 0 1 connected 7";
        let reply = format!("${}\r\n{text}\r\n", text.len());
        let claim = read(reply.as_bytes(), Slot::new(7).unwrap());
        let from = "10.0.0.1:1".parse().ok();
        assert_eq!(claim, Some((Claim::Importing(from), "a")));
    }
}
