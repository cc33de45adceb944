//! The end of a client that has a dedicated link, and the end of such a link.

use std::mem;

use crate::dedicated::pin::Pin;
use crate::link::failure::Failure;
use crate::link::link::Link;
use crate::link::verb::Verb;
use crate::proxy::machine::Machine;
use crate::session::phase::Phase;
use crate::store::key::{ClientKey, LinkKey};

impl Machine {
    /// Handles a link whose owner is gone. A blocked link is closed at once, so that the client's
    /// command takes no data. A link with ordinary requests in flight stays open until they are
    /// answered: they are executed even though the client is gone.
    pub(in crate::proxy) fn client_gone(&mut self, key: LinkKey, pin: &Pin) {
        if let Some(link) = self.links.get(key) {
            self.assign(key, link.role().without_owner());
        }
        let Some(link) = self.links.get(key) else {
            return;
        };
        // Confirmations would be taken for messages: the request would never complete.
        let confirms =
            (self.requests.of_link(link.fifo)).any(|(_, request)| request.verb.confirms());
        let plain = !link.blocks()
            && pin.subscriptions() == 0
            && !pin.monitor
            && pin.changes.is_empty()
            && !confirms;
        if link.is_ready() && plain && !link.fifo.is_empty() {
            return self.set_deadline(key);
        }
        if link.fifo.is_empty() && pin.unsettled == 0 && !pin.holds() && link.is_dedicated() {
            self.give_back(key, pin.not_reusable);
        } else {
            self.fail(key, &Failure::Removed);
        }
    }

    /// Retires a dedicated link: it is closed when nothing is in flight except a blocking command.
    pub(in crate::proxy) fn retire_dedicated(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(key) else {
            return;
        };
        // A node that leaves its cluster unblocks its clients.
        let blocks = link.blocks() && !link.clustered;
        if link.fifo.is_empty() || blocks || !link.is_ready() {
            self.fail(key, &Failure::Removed);
        } else {
            self.assign(key, link.role().retired());
        }
    }

    /// Sets a deadline on all outstanding replies: the link is closed when it has none, or at the
    /// deadline.
    fn set_deadline(&mut self, key: LinkKey) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        link.set_deadline(&mut self.requests);
        self.retire(key);
    }

    /// Closes a client's dedicated link with all that it holds. Nothing of the client may be in
    /// flight.
    pub(in crate::proxy) fn drop_pin(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if let Some(pin) = client.set_pin(None) {
            let link = client.link;
            client.set_link(LinkKey::NONE);
            self.release_dedicated(pin.tenant);
            self.client_gone(link, &pin);
        }
    }

    /// Handles the end of a dedicated link. If the link held anything, or a request was sent on it,
    /// the client is closed too, because a direct connection would have been lost.
    pub(in crate::proxy) fn dedicated_link_lost(&mut self, link: &Link) {
        let Some(client) = self.clients.get_mut(link.owner()) else {
            return;
        };
        let Some(pin) = client.set_pin(None) else {
            return;
        };
        let own = client.link;
        client.set_link(LinkKey::NONE);
        if link.sent == 0 {
            client.forget_former(own);
        }
        self.release_dedicated(pin.tenant);
        let head = self.requests.get(link.fifo.head);
        let in_doubt = head.is_some_and(|head| head.start < link.sent);
        let torn = link.is_dedicated() && link.is_ready() && !link.scanner.at_start();
        // The other nodes of a Redis Cluster go on: the client gets an error.
        let in_doubt = in_doubt && !link.clustered;
        if !pin.holds() && !in_doubt && !torn {
            return;
        }
        self.stats.counters.pins_lost += 1;
        let key = link.owner();
        self.finish_client(key);
        self.clients.silence(&mut self.requests, key);
        // Sends the replies that waited for the end of a partial message.
        self.clients.release_parked(&mut self.requests, key);
        self.mark_ready(key);
    }

    /// Cancels a client's wait when it leaves, so that a blocking command takes no data. Replies
    /// generated before are still sent.
    pub(in crate::proxy) fn stop_waiting(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let own = self
            .links
            .get(client.link)
            .is_some_and(|it| it.is_dedicated());
        if client.outbound.is_empty() || !own {
            return self.close_now(key);
        }
        let Some(pin) = client.set_pin(None) else {
            return;
        };
        let link = mem::replace(&mut client.link, LinkKey::NONE);
        self.finish_client(key);
        self.clients.silence(&mut self.requests, key);
        self.release_dedicated(pin.tenant);
        self.client_gone(link, &pin);
    }

    /// Does the client wait in a blocking command?
    pub(in crate::proxy) fn is_blocked(&self, key: ClientKey) -> bool {
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        if client.phase() == Phase::Replicas {
            return true;
        }
        let head = self.requests.get(client.fifo.head);
        // The reply has started: the server has taken the data.
        let begun = self.is_in_a_message(key);
        // Inside MULTI nothing blocks.
        client.pin().is_none_or(|pin| !pin.multi)
            && head.is_some_and(|head| head.verb == Verb::Block)
            && !begun
    }
}
