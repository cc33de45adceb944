//! Channels: the subscriptions, with their first and last message.

use super::super::wire;
use super::{Redis, SEQUENCE, Tag, null, tag_of, text};

/// The only pattern, which matches all channels.
pub(crate) const EVERYTHING: &str = "ch:*";

/// The messages of a subscription: the first one, and the first one after its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: usize,
    pub(crate) to: Option<usize>,
}

fn frame(protocol: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let mark = if protocol == 3 { '>' } else { '*' };
    let mut out = format!("{mark}{}\r\n", parts.len()).into_bytes();
    out.extend(parts.concat());
    out
}

impl Redis {
    /// SUBSCRIBE and PSUBSCRIBE; the last channel is the request's tag.
    pub(super) fn subscribe(
        &mut self,
        id: u64,
        name: &str,
        args: &[Vec<u8>],
    ) -> Result<Vec<u8>, String> {
        let tag = tag_of(args.last()).ok_or("SUBSCRIBE without a tag")?;
        self.begin_dedicated(id, Some(tag / SEQUENCE))?;
        self.begin(id, name, tag)?;
        let mut out = Vec::new();
        for channel in args[1..].iter().map(|arg| text(arg)) {
            let from = self.messages.get(&channel).map_or(0, Vec::len);
            let session = self.at(id);
            let subscribed = match name {
                "SUBSCRIBE" => &mut session.channels,
                _ => &mut session.patterns,
            };
            if !subscribed.contains_key(&channel) {
                subscribed.insert(channel.clone(), tag);
                let span = Span { from, to: None };
                self.spans.insert((tag, channel.clone()), span);
            }
            out.extend(self.confirmation(id, name, wire::bulk(channel.as_bytes())));
        }
        self.record(id, name, tag, &out, None)?;
        Ok(out)
    }

    pub(super) fn unsubscribe(&mut self, id: u64, name: &str, args: &[Vec<u8>]) -> Vec<u8> {
        let mut channels: Vec<String> = args[1..].iter().map(|arg| text(arg)).collect();
        let session = self.at(id);
        let protocol = session.protocol;
        let plain = name == "UNSUBSCRIBE";
        if channels.is_empty() {
            let subscribed = if plain {
                &session.channels
            } else {
                &session.patterns
            };
            channels = subscribed.keys().cloned().collect();
            if channels.is_empty() {
                return self.confirmation(id, name, null(protocol));
            }
        }
        let mut out = Vec::new();
        for channel in channels {
            let session = self.at(id);
            let subscribed = if plain {
                &mut session.channels
            } else {
                &mut session.patterns
            };
            if let Some(tag) = subscribed.remove(&channel) {
                let to = self.messages.get(&channel).map_or(0, Vec::len);
                if let Some(span) = self.spans.get_mut(&(tag, channel.clone())) {
                    span.to = Some(to);
                }
            }
            out.extend(self.confirmation(id, name, wire::bulk(channel.as_bytes())));
        }
        out
    }

    fn confirmation(&mut self, id: u64, name: &str, channel: Vec<u8>) -> Vec<u8> {
        let session = self.at(id);
        let count = format!(":{}\r\n", session.subscriptions()).into_bytes();
        let name = wire::bulk(name.to_lowercase().as_bytes());
        frame(session.protocol, &[name, channel, count])
    }

    /// PUBLISH: the message is the request's tag.
    pub(super) fn publish(&mut self, channel: &str, tag: Tag) -> Vec<u8> {
        for log in [channel, EVERYTHING] {
            self.messages.entry(log.to_owned()).or_default().push(tag);
        }
        let (name, message) = (
            wire::bulk(channel.as_bytes()),
            wire::bulk(format!("t{tag}").as_bytes()),
        );
        let mut receivers = 0;
        for (id, session) in &self.sessions {
            let protocol = session.protocol;
            if session.channels.contains_key(channel) {
                let parts = [wire::bulk(b"message"), name.clone(), message.clone()];
                self.late.push((*id, frame(protocol, &parts)));
                receivers += 1;
            }
            if session.patterns.contains_key(EVERYTHING) {
                let pattern = wire::bulk(EVERYTHING.as_bytes());
                let word = wire::bulk(b"pmessage");
                let parts = [word, pattern, name.clone(), message.clone()];
                self.late.push((*id, frame(protocol, &parts)));
                receivers += 1;
            }
        }
        format!(":{receivers}\r\n").into_bytes()
    }
}
