//! Dedicated link to client: frames go to the client as they arrive, and a complete frame changes
//! what the link holds.

use std::borrow::Cow;
use std::mem;

use crate::command::proxy_command;

use crate::dedicated::effect::Effect;
use crate::dedicated::exec_scanner::ExecScanner;
use crate::dedicated::pin::Change;
use crate::dedicated::repeat::Repeat;
use crate::link::failure::Failure;
use crate::link::frame::{Class, Destination, Frame};
use crate::link::request::Kind;
use crate::link::verb::Verb;
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::session::client::Hold;
use crate::session::sessions::Full;
use crate::stats::notice::NoticeKind;
use crate::store::key::{ClientKey, LinkKey};

impl Machine {
    /// Handles bytes of a dedicated link.
    pub(in crate::proxy) fn dedicated_bytes(
        &mut self,
        key: LinkKey,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let (mut bytes, mut pos) = (Cow::Borrowed(bytes), 0);
        while let Some(rest) = bytes.get(pos..).filter(|rest| !rest.is_empty()) {
            if let Some((len, instead)) = self.sent_away(key, rest)? {
                let behind = rest.get(len..).unwrap_or_default();
                (bytes, pos) = ([instead, behind].concat().into(), 0);
                continue;
            }
            let Some(link) = self.links.get(key) else {
                return Ok(());
            };
            if link.frame.destination == Destination::Undecided && !link.scanner.at_start() {
                let next = rest.first().copied().unwrap_or_default();
                let first = link.frame.kind();
                let destination = self.destination(key, &[first, next])?;
                if let Some(link) = self.links.get_mut(key) {
                    link.frame.destination = destination;
                }
                self.pass(key, destination, &[first])?;
            } else if link.scanner.at_start() {
                let destination = self.destination(key, rest)?;
                if let Some(link) = self.links.get_mut(key) {
                    if matches!(rest.first(), Some(b'-' | b'!'))
                        && let Some(health_error) = link.note_error(true, rest)
                    {
                        self.work.push(Work::Suspect(key, health_error));
                    }
                    let head = self.requests.get(link.fifo.head);
                    if head.is_some_and(|head| head.verb == Verb::Exec) {
                        link.scanner.pushes_between();
                    }
                    link.frame = Frame::begin(destination);
                }
            }
            let Some(link) = self.links.get_mut(key) else {
                return Ok(());
            };
            let (len, whole) = link.scan(rest)?;
            let part = rest.get(..len).unwrap_or_default();
            pos += len;
            link.frame.note(part);
            link.traffic.reply_bytes += len as u64;
            link.reply_bytes = match whole {
                true => 0,
                false => link.reply_bytes + part.len() as u64,
            };
            let (owner, destination) = (link.owner(), link.frame.destination);
            self.pass(key, destination, part)?;
            if whole {
                self.frame_complete(key, owner)?;
                self.release_held(owner);
            }
        }
        if let Some(link) = self.links.get(key) {
            self.work.push(Work::ReplyArrived(link.owner()));
        }
        Ok(())
    }

    /// Has a part of a message gone to the client, with the rest still to come? Then no reply of
    /// the proxy may be sent in between.
    pub(in crate::proxy) fn is_in_a_message(&self, key: ClientKey) -> bool {
        let Some(client) = self
            .clients
            .get(key)
            .filter(|client| client.pin().is_some())
        else {
            return false;
        };
        let link = self.links.get(client.link);
        link.is_some_and(|it| it.is_dedicated() && it.is_ready() && !it.scanner.at_start())
    }

    /// A frame is complete: sends the replies that waited for its end.
    fn release_held(&mut self, key: ClientKey) {
        self.clients.release_parked(&mut self.requests, key);
        let client = self.clients.get(key);
        if client.is_some_and(|it| it.fifo.is_empty() && it.hold.has(Hold::BARRIER)) {
            self.mark_ready(key);
        }
    }

    /// Sends, keeps or drops bytes of a frame.
    pub(super) fn pass(
        &mut self,
        key: LinkKey,
        destination: Destination,
        part: &[u8],
    ) -> Result<(), Failure> {
        let Some(link) = self.links.get_mut(key) else {
            return Ok(());
        };
        let (owner, head) = (link.owner(), self.requests.get(link.fifo.head));
        let kind = head.map_or(Kind::Deliver, |head| head.kind);
        match destination {
            Destination::Push => {
                let max = self.settings.subscriber_outbound_bytes_max;
                let client = self.clients.get(owner);
                // The client's last reply was sent: it gets nothing more.
                let Some(client) = client.filter(|it| !it.is_closing()) else {
                    return Ok(());
                };
                if client.outbound.len() + part.len() > max {
                    self.work
                        .push(Work::Evict(owner, NoticeKind::SubscriberOutbound));
                }
                self.clients.write(owner, part);
            }
            Destination::Reply => {
                let client = head.map_or(owner, |head| head.client);
                let of = (client, link.fifo.head);
                if self.deliver(of, (kind, part), (0, false)) == Full::Yes {
                    self.work
                        .push(Work::Evict(client, NoticeKind::ClientOutbound));
                }
            }
            Destination::Collect => link.collect(part)?,
            Destination::HeldPush => self.held_push(key, part)?,
            Destination::MonitorLine => self.monitor_line(key, part)?,
            Destination::ExecReply => self.exec_part(key, part, kind != Kind::Deliver)?,
            Destination::Drop | Destination::Undecided => {}
        }
        Ok(())
    }

    fn deliver(&mut self, of: (ClientKey, u32), reply: (Kind, &[u8]), done: (u32, bool)) -> Full {
        let (requests, counters) = (&mut self.requests, &mut self.stats.counters);
        self.clients.deliver(requests, counters, of, reply, done)
    }

    /// Handles a complete frame.
    fn frame_complete(&mut self, key: LinkKey, owner: ClientKey) -> Result<(), Failure> {
        let context = self.frame_context(key);
        let Some(link) = self.links.get_mut(key) else {
            return Ok(());
        };
        let frame = link.frame;
        let head = self.requests.get_mut(link.fifo.head);
        // A reply to a request that was not sent.
        let head = head.filter(|head| head.start < link.sent);
        let pin = self
            .clients
            .get_mut(owner)
            .and_then(|client| client.pin_mut());
        match frame.class(context.modal, context.monitor) {
            Class::Unsolicited => {
                self.stats.counters.pushes += 1;
                if frame.destination == Destination::HeldPush {
                    self.redirect_ended(key);
                }
                Ok(())
            }
            Class::Confirmation(topic, count) => {
                self.stats.counters.pushes += 1;
                let left = pin.map_or(0, |pin| {
                    pin.confirmed(topic, count);
                    *pin.topic_mut(topic)
                });
                match head.map(|head| head.verb) {
                    Some(Verb::Confirm(of)) if of == topic => self.advance_head(key, 1),
                    Some(Verb::ConfirmAll(of)) if of == topic && left == 0 => {
                        self.advance_head(key, 1);
                    }
                    // The server unsubscribed the client because the slot of a shard channel moved.
                    _ => {}
                }
                Ok(())
            }
            Class::Reply => match head {
                Some(head) => {
                    let (verb, count) = (head.verb, head.count);
                    if verb == Verb::Change && !frame.may_answer_auth() && self.logs_in(key) {
                        let why = "sent neither OK nor an error to AUTH";
                        return Err(Failure::Desync(why.into()));
                    }
                    self.replied(key, verb, frame);
                    // An error replaces all confirmations of a request.
                    let all = matches!(verb, Verb::Confirm(_) | Verb::ConfirmAll(_));
                    self.advance_head(key, if all { count } else { 1 });
                    Ok(())
                }
                None => {
                    let why = "sent an unexpected reply";
                    Err(Failure::Desync(why.into()))
                }
            },
        }
    }

    /// Is the next change of this link a login as another user? Some servers send no reply to a
    /// failed AUTH while they have outstanding replies; the next reply then belongs to another
    /// request.
    fn logs_in(&self, key: LinkKey) -> bool {
        let owner = self.links.get(key).map(|link| link.owner());
        let client = owner.and_then(|owner| self.clients.get(owner));
        let pin = client.and_then(|client| client.pin());
        let change = pin.and_then(|pin| pin.changes.front());
        matches!(change, Some(Change::Login(_)))
    }

    /// Counts `done` replies to the head of the queue.
    fn advance_head(&mut self, key: LinkKey, done: u32) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        let Some(head) = self.requests.get_mut(link.fifo.head) else {
            return;
        };
        head.count -= done;
        let (client, verb, kind) = (head.client, head.verb, head.kind);
        let moments = head.moments();
        self.requests.measure(&mut link.traffic, &moments, done);
        let Some(head) = self.requests.get(link.fifo.head) else {
            return;
        };
        let through = head.count == 0;
        let of = (client, link.fifo.head);
        if through {
            link.leave_head(&mut self.requests, (kind, verb));
            if let Some(pin) = self
                .clients
                .get_mut(link.owner())
                .and_then(|owner| owner.pin_mut())
            {
                pin.answered(verb);
            }
        }
        self.deliver(of, (kind, &[]), (done, through));
    }

    /// Handles the complete reply to a request.
    fn replied(&mut self, key: LinkKey, verb: Verb, frame: Frame) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        let owner = link.owner();
        let collected = mem::take(&mut link.collected);
        let head = self.requests.get(link.fifo.head);
        match head.map(|head| head.kind) {
            Some(Kind::Permission(what)) => return self.permission_answered(key, what, &collected),
            Some(Kind::Wait) => return self.wait_answered(key, &proxy_command::unmark(&collected)),
            _ => {}
        }
        let silent = head.is_some_and(|head| head.kind != Kind::Deliver);
        let writes = head.is_some_and(|head| head.writes);
        let Some(client) = self.clients.get_mut(owner) else {
            return;
        };
        client.count_inside(verb, &frame);
        let Some(pin) = client.pin_mut() else {
            return;
        };
        let (good, queued) = (!frame.is_error(), pin.multi && frame.is_queued());
        if !good && let Some(transaction) = pin.repeat.transaction_mut() {
            transaction.failed = true;
        }
        let place = pin.queued;
        pin.queued += u32::from(queued);
        match verb {
            Verb::Multi if good && !queued => pin.multi = true,
            Verb::Multi if !pin.multi => pin.repeat = Repeat::Nothing,
            Verb::Exec => {
                pin.scanner = ExecScanner::default();
                if pin.multi {
                    pin.end_transaction();
                }
            }
            Verb::Discard if good && !queued => pin.end_transaction(),
            Verb::Unwatch if good && !queued => pin.watched.clear(),
            Verb::Plain if !writes || !good => {}
            Verb::Plain if !queued => client.wrote_here(),
            // One effect is enough.
            Verb::Plain if !matches!(pin.effects.back(), Some((_, Effect::Write))) => {
                pin.effects.push_back((place, Effect::Write));
            }
            Verb::Change | Verb::Watch => {
                if let Some(change) = pin.changes.pop_front() {
                    self.changed(
                        owner,
                        change,
                        good,
                        queued.then_some(place),
                        &collected,
                        silent,
                    );
                }
            }
            _ => {}
        }
    }

    /// Handles the server's reply to a change: `place` is its place in the queue of a transaction.
    fn changed(
        &mut self,
        key: ClientKey,
        change: Change,
        good: bool,
        place: Option<u32>,
        reply: &[u8],
        silent: bool,
    ) {
        if !good {
            // `reply` is empty unless it was collected to be rewritten.
            if !silent {
                self.clients.write(key, reply);
            }
            return;
        }
        match (change, place) {
            (Change::Queue(effect), Some(place)) => {
                if let Some(pin) = self.clients.pin_mut(key) {
                    pin.not_reusable |= effect.forbids_reuse();
                    pin.effects.push_back((place, effect));
                }
            }
            (Change::Queue(_), None) | (_, Some(_)) => {}
            (Change::Select(db), None) => self.selected(key, db),
            (Change::Login(credential), None) => self.logged_in_dedicated(key, credential),
            (change @ Change::Hello { .. }, None) => self.hello_done(key, change, reply, silent),
            (Change::TrackingInfo, None) => self.tracking_answered(key, reply, silent),
            (change, None) => self.clients.change_pin(key, &change),
        }
    }
}
