//! Subscriptions and pushes: every message once, in order, and to no other client.

use std::collections::BTreeMap;

use super::super::client::{Op, Sent};
use super::super::redis::{Redis, Tag};
use super::super::wire;
use super::{After, Model, Verdict, View};

/// A channel or pattern that the client is subscribed to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscription {
    /// The server, and the SUBSCRIBE of this subscription.
    server: usize,
    tag: Tag,
    /// The next message of the channel.
    pub(crate) next: usize,
}

impl Model {
    pub(crate) fn is_subscribed(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }

    /// Whether only the commands of a subscriber are allowed.
    pub(super) fn is_modal(&self) -> bool {
        self.protocol == 2 && self.is_subscribed()
    }

    fn mark(&self) -> u8 {
        if self.protocol == 3 { b'>' } else { b'*' }
    }

    fn topic(&mut self, pattern: bool) -> &mut BTreeMap<String, Subscription> {
        match pattern {
            true => &mut self.patterns,
            false => &mut self.channels,
        }
    }

    /// Checks a push. `None`: it is a reply.
    pub(crate) fn unasked(&mut self, frame: &[u8], view: &View<'_>) -> Option<Result<(), String>> {
        let mark = *frame.first()?;
        if mark != b'>' && mark != b'*' {
            return None;
        }
        let words = wire::elements(frame).ok()?;
        let word = words.first().and_then(|word| wire::text(word));
        let right = match word {
            Some(b"message" | b"pmessage") => self.message(mark, &words, view),
            Some(b"invalidate") if mark == b'>' => self.invalidation(&words, view),
            None if mark == b'>' && words.first() == Some(&&b"+noise\r\n"[..]) => {
                let number = words.get(1).and_then(|word| wire::integer(word));
                // WAIT may be sent on an earlier connection of the client.
                let mut noises = view.servers.iter().filter_map(|it| it.noises.get(number?));
                match noises.any(|whose| whose.is_none_or(|whose| whose == self.id)) {
                    true => Ok(()),
                    false => Err("a push that was for somebody else".into()),
                }
            }
            _ => return None,
        };
        Some(right)
    }

    fn message(&mut self, mark: u8, words: &[&[u8]], view: &View<'_>) -> Result<(), String> {
        let texts: Vec<String> = (words.iter().filter_map(|word| wire::text(word)))
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect();
        if mark != self.mark() {
            return Err("a message of another protocol".into());
        }
        let (pattern, log, message) = match texts.iter().map(String::as_str).collect::<Vec<_>>()[..]
        {
            ["message", channel, message] => (false, channel, message),
            ["pmessage", pattern, _, message] => (true, pattern, message),
            _ => return Err("no message".into()),
        };
        let id = self.id;
        let Some(subscription) = self.topic(pattern).get_mut(log) else {
            return Err(format!("client {id} is not subscribed to {log}"));
        };
        let messages = &view.servers[subscription.server].messages;
        let all = messages.get(log).map_or(&[][..], Vec::as_slice);
        let expected = all.get(subscription.next).map(|tag| format!("t{tag}"));
        subscription.next += 1;
        match expected.as_deref() == Some(message) {
            true => Ok(()),
            false => Err(format!("expected {expected:?} of {log}")),
        }
    }

    fn invalidation(&mut self, words: &[&[u8]], view: &View<'_>) -> Result<(), String> {
        let keys = wire::elements(words.get(1).copied().unwrap_or_default())?;
        let [key, number] = keys[..] else {
            return Err("no invalidation".into());
        };
        let number = wire::text(number).and_then(|text| {
            let text = std::str::from_utf8(text).ok()?;
            let (server, number) = text.strip_prefix('i')?.split_once('.')?;
            Some((server.parse::<usize>().ok()?, number.parse::<usize>().ok()?))
        });
        let (server, number) = number.ok_or("no invalidation")?;
        let told = &view.servers.get(server).ok_or("invented")?.invalidations;
        let last = self.invalidated.get(&server).copied().unwrap_or(0);
        let between = told.get(last + 1..number);
        let told = told.get(number).ok_or("invented")?;
        let skipped = between.unwrap_or_default().iter();
        let mine = told.client.is_none_or(|client| client == self.id);
        if !mine || wire::text(key) != Some(told.key.as_bytes()) || number <= last {
            return Err(format!("not its invalidation: {told:?}"));
        }
        for other in skipped {
            if other.session == told.session {
                return Err(format!("missed {other:?}"));
            }
        }
        self.invalidated.insert(server, number);
        Ok(())
    }

    /// No request is in flight: checks that all messages and invalidations have arrived.
    pub(crate) fn has_all(&self, servers: &[Redis]) -> Result<(), String> {
        for (log, subscription) in self.channels.iter().chain(&self.patterns) {
            let server = &servers[subscription.server];
            let all = server.messages.get(log).map_or(0, Vec::len);
            if subscription.next != all {
                return Err(format!(
                    "{subscription:?} of {log}, of which there are {all}"
                ));
            }
        }
        for server in servers {
            let last = self.invalidated.get(&server.index).copied().unwrap_or(0);
            let later = server.invalidations.iter().skip(last + 1);
            let missed = later
                .filter(|told| told.client == Some(self.id) && self.tracking)
                .find(|told| server.sessions.contains_key(&told.session));
            if let Some(missed) = missed {
                return Err(format!("{missed:?} never came"));
            }
        }
        Ok(())
    }

    /// Checks one confirmation, of as many as there are channels; or one error for all.
    pub(super) fn subscribed(&mut self, sent: &Sent, reply: &[u8], view: &View<'_>) -> Verdict {
        let Op::Subscribe {
            tag,
            channels,
            pattern,
        } = &sent.op
        else {
            return Err("no SUBSCRIBE".into());
        };
        if wire::error_text(reply).is_some() {
            return match sent.done {
                0 => self.data(*tag, sent, reply, view),
                _ => Err("an error after confirmations".into()),
            };
        }
        let Some((server, done)) = view.execution(*tag, reply) else {
            return Err("subscribed to by whom?".into());
        };
        self.is_mine(done)?;
        self.comes_to(server, (sent.at, done.at), view)?;
        let channel = channels.get(sent.done).ok_or("a confirmation too many")?;
        let next = server.spans.get(&(*tag, channel.clone()));
        let next = next.map_or(0, |span| span.from);
        let subscription = Subscription {
            server: server.index,
            tag: *tag,
            next,
        };
        let topic = self.topic(*pattern);
        topic.entry(channel.clone()).or_insert(subscription);
        self.confirmation(
            if *pattern { "psubscribe" } else { "subscribe" },
            Some(channel),
            reply,
        )?;
        Ok(After {
            more: sent.done + 1 < channels.len(),
            ..After::default()
        })
    }

    pub(super) fn unsubscribed(&mut self, sent: &Sent, reply: &[u8], view: &View<'_>) -> Verdict {
        let Op::Unsubscribe { channels, pattern } = &sent.op else {
            return Err("no UNSUBSCRIBE".into());
        };
        if wire::error_text(reply).is_some() {
            return self.local(sent, reply, view, |_, _| false);
        }
        let words = wire::elements(reply)?;
        let said = words.get(1).and_then(|word| wire::text(word));
        let said = said.map(|text| String::from_utf8_lossy(text).into_owned());
        let expected = match (channels.get(sent.done), &said) {
            (Some(channel), _) => Some(channel.clone()),
            (None, Some(channel)) if channels.is_empty() => Some(channel.clone()),
            (None, None) if channels.is_empty() && self.topic(*pattern).is_empty() => None,
            _ => return Err("which channel?".into()),
        };
        let left = match &expected {
            Some(channel) => {
                let subscription = self.topic(*pattern).remove(channel);
                self.ended(channel, subscription, view)?;
                if channels.is_empty() && subscription.is_none() {
                    return Err("it was not subscribed to that".into());
                }
                self.topic(*pattern).len()
            }
            None => 0,
        };
        self.confirmation(
            if *pattern {
                "punsubscribe"
            } else {
                "unsubscribe"
            },
            expected.as_ref(),
            reply,
        )?;
        let more = match channels.len() {
            0 => left > 0,
            all => sent.done + 1 < all,
        };
        Ok(After {
            more,
            ..After::default()
        })
    }

    /// A subscription has ended: checks that all of its messages have arrived.
    fn ended(
        &self,
        channel: &str,
        subscription: Option<Subscription>,
        view: &View<'_>,
    ) -> Result<(), String> {
        let Some(Subscription { server, tag, next }) = subscription else {
            return Ok(());
        };
        let span = view.servers[server].spans.get(&(tag, channel.to_owned()));
        match span.is_some_and(|span| span.to == Some(next)) {
            true => Ok(()),
            false => Err(format!(
                "message {next} was the next, not the last: {span:?}"
            )),
        }
    }

    fn confirmation(
        &self,
        kind: &str,
        channel: Option<&String>,
        reply: &[u8],
    ) -> Result<(), String> {
        let null: &[u8] = if self.protocol == 3 {
            b"_\r\n"
        } else {
            b"$-1\r\n"
        };
        let channel =
            channel.map_or_else(|| null.to_vec(), |channel| wire::bulk(channel.as_bytes()));
        let count = self.channels.len() + self.patterns.len();
        let number = format!(":{count}\r\n");
        let expected = [
            &[self.mark()][..],
            b"3\r\n",
            &wire::bulk(kind.as_bytes()),
            &channel,
            number.as_bytes(),
        ];
        match expected.concat() == reply {
            true => Ok(()),
            false => Err(format!("not the confirmation of {count} in all")),
        }
    }
}
