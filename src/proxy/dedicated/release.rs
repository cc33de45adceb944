//! A client goes that has a connection of its own, or that connection goes.

use std::mem;

use crate::dedicated::pin::Pin;
use crate::link::failure::Failure;
use crate::link::link::Link;
use crate::link::verb::Verb;
use crate::proxy::machine::Machine;
use crate::session::phase::Phase;
use crate::store::key::{ClientKey, LinkKey};
use crate::upstream::tenant::Use;

impl Machine {
    /// The owner of a connection has gone. What it was about to take must not be taken: a blocked
    /// connection is closed at once. One that only has to answer does so, for what was sent is
    /// done, whether anybody hears it or not.
    pub(in crate::proxy) fn orphan(&mut self, key: LinkKey, pin: &Pin) {
        if let Some(link) = self.links.get(key) {
            self.assign(key, link.role().without_owner());
        }
        let Some(link) = self.links.get(key) else {
            return;
        };
        // Confirmations would be taken for messages, and never come.
        let confirms =
            (self.requests.of_link(link.fifo)).any(|(_, request)| request.verb.confirms());
        let plain = link.blocking == 0
            && pin.subscriptions() == 0
            && !pin.monitor
            && pin.changes.is_empty()
            && !confirms;
        if link.is_ready() && plain && !link.fifo.is_empty() {
            return self.lose_patience(key);
        }
        if link.fifo.is_empty() && pin.unsettled == 0 && !pin.holds() && link.is_dedicated() {
            self.give_back(key, pin.soiled);
        } else {
            self.fail(key, &Failure::Removed);
        }
    }

    /// A client's own connection is not to be used any more: it ends when it owes nothing, or only
    /// what may never come.
    pub(in crate::proxy) fn retire_owned(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(key) else {
            return;
        };
        if link.fifo.is_empty() || link.blocking > 0 || !link.is_ready() {
            self.fail(key, &Failure::Removed);
        } else {
            self.assign(key, link.role().retired());
        }
    }

    /// Nobody waits any more for as long as it takes: the connection is closed when it owes
    /// nothing, or has owed it for too long.
    fn lose_patience(&mut self, key: LinkKey) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        (link.blocking, link.scripts) = (0, 0);
        self.requests.lose_patience(link.fifo);
        self.retire(key);
    }

    /// A client gives up its own connection with all that it holds. Nothing of it is in flight.
    pub(in crate::proxy) fn drop_pin(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if let Some(pin) = client.set_pin(None) {
            let link = client.link;
            client.go_to(LinkKey::NONE);
            self.upstreams.release(pin.tenant, Use::Pinned);
            self.orphan(link, &pin);
        }
    }

    /// A connection ends that was a client's own. If it held anything, or anything was sent on
    /// it, the client ends too: on a server it would have been the very same connection.
    pub(in crate::proxy) fn lose_owner(&mut self, link: &Link) {
        let Some(client) = self.clients.get_mut(link.owner()) else {
            return;
        };
        let Some(pin) = client.set_pin(None) else {
            return;
        };
        let own = client.link;
        client.go_to(LinkKey::NONE);
        if link.sent == 0 {
            client.forget_former(own);
        }
        self.upstreams.release(pin.tenant, Use::Pinned);
        let head = self.requests.get(link.fifo.head);
        let in_doubt = head.is_some_and(|head| head.start < link.sent);
        let torn = link.is_dedicated() && link.is_ready() && !link.scanner.at_start();
        if !pin.holds() && !in_doubt && !torn {
            return;
        }
        self.stats.counters.pins_lost += 1;
        let key = link.owner();
        self.finish_client(key);
        self.clients.silence(&mut self.requests, key);
        // What waited for the end of a message does so no more.
        self.clients.release_parked(&mut self.requests, key);
        self.wake(key);
    }

    /// A client that leaves does not wait for what is still to come, so that it stays where it is.
    /// What it was told before it gets.
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
        self.upstreams.release(pin.tenant, Use::Pinned);
        self.orphan(link, &pin);
    }

    /// Does a client wait for something to come before anything else?
    pub(in crate::proxy) fn is_blocked(&self, key: ClientKey) -> bool {
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        if client.phase() == Phase::Replicas {
            return true;
        }
        let head = self.requests.get(client.fifo.head);
        // Once the reply has begun, the rest of it is on its way.
        let begun = self.is_in_a_message(key);
        // Inside MULTI nothing blocks.
        client.pin().is_none_or(|pin| !pin.multi)
            && head.is_some_and(|head| head.verb == Verb::Block)
            && !begun
    }
}
