//! What the sentinels say, and what most of them say.

use crate::config::HostPort;

use super::event::Answers;

/// The last answers of each sentinel. A sentinel that does not answer has none.
#[derive(Debug)]
pub(super) struct Votes(Vec<Answers>);

/// What more than half of all sentinels say of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Majority<'a> {
    /// The primary has this address.
    Address(&'a HostPort),
    /// They do not monitor it.
    Unknown,
    /// They do not agree, or too few of them answer.
    None,
}

impl Votes {
    /// No sentinel of these has answered.
    pub(super) fn new(sentinels: usize) -> Self {
        Self(vec![Answers::new(); sentinels])
    }

    /// Replaces the answers of a sentinel.
    pub(super) fn set(&mut self, sentinel: usize, answers: Answers) {
        if let Some(old) = self.0.get_mut(sentinel) {
            *old = answers;
        }
    }

    /// What most sentinels say. More than half of all sentinels must say the same: two addresses
    /// cannot both have that, even while some sentinels cannot be reached.
    pub(super) fn majority(&self, name: &str) -> Majority<'_> {
        let answers = || self.0.iter().filter_map(|answers| answers.get(name));
        let many = |answer| answers().filter(|it| *it == answer).count() * 2 > self.0.len();
        match answers().find(|answer| many(*answer)) {
            Some(Some(address)) => Majority::Address(address),
            Some(None) => Majority::Unknown,
            None => Majority::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(port: u16) -> Option<HostPort> {
        let host = "10.0.0.1".to_owned();
        (port > 0).then_some(HostPort { host, port })
    }

    /// The port that the sentinels agree on; 0 in a vote: the sentinel does not monitor the name.
    fn majority(votes: &[Option<u16>]) -> String {
        let mut all = Votes::new(votes.len());
        for (sentinel, port) in votes.iter().enumerate() {
            let answers = port.map(|port| ("m".to_owned(), answer(port)));
            all.set(sentinel, answers.into_iter().collect());
        }
        match all.majority("m") {
            Majority::Address(address) => address.port.to_string(),
            Majority::Unknown => "unknown".to_owned(),
            Majority::None => "none".to_owned(),
        }
    }

    #[test]
    fn more_than_half_of_all_sentinels_must_agree() {
        for (votes, expected) in [
            (&[Some(1)][..], "1"),
            (&[None], "none"),
            (&[Some(1), Some(2)], "none"),
            (&[Some(1), Some(1)], "1"),
            (&[Some(1), None], "none"),
            (&[Some(2), Some(1), Some(1)], "1"),
            (&[Some(1), Some(2), Some(3)], "none"),
            (&[Some(1), None, None], "none"),
            (&[Some(1), None, Some(1)], "1"),
            (&[Some(1), Some(1), Some(2), Some(2)], "none"),
            (&[Some(0), Some(0), Some(1)], "unknown"),
            (&[Some(0), Some(1), None], "none"),
        ] {
            assert_eq!(majority(votes), expected, "{votes:?}");
        }
    }

    #[test]
    fn new_answers_replace_all_old_ones() {
        let mut votes = Votes::new(1);
        votes.set(0, [("m".to_owned(), answer(1))].into());
        votes.set(0, [("n".to_owned(), answer(2))].into());
        assert_eq!(votes.majority("m"), Majority::None);
        votes.set(7, Answers::new());
        votes.set(0, Answers::new());
        assert_eq!(votes.majority("n"), Majority::None);
    }
}
