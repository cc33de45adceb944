//! Invariants between calls, checked after each call in debug builds.

use crate::link::link::Link;
use crate::link::request::Reply;
use crate::link::stall::{PAUSE_BYTES, Stall};
use crate::proxy::machine::Machine;
use crate::session::client::Flag;
use crate::session::phase::Phase;
use crate::store::key::{ClientKey, LinkKey, PoolKey};
use crate::upstream::upstreams::invariants::CountedClient;

impl Machine {
    /// Panics if the tables contradict one another. Does nothing in release builds.
    pub fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let partial = self
            .clients
            .iter()
            .filter_map(|(_, it)| it.inbound.as_ref());
        let partial: usize = partial.map(|inbound| inbound.bytes.len()).sum();
        assert!(
            partial <= self.clients.partial_bytes(),
            "bytes were not counted"
        );
        let moving = self.links.iter().map(|(_, link)| {
            let queue = self.requests.of_link(link.fifo);
            queue.filter(|(_, it)| !it.verb.is_untimed()).count()
        });
        let unsent = self.requests.held() + self.requests.scattered();
        let moving = moving.sum::<usize>() + unsent;
        assert_eq!(moving, self.requests.moving());
        self.check_links();
        self.check_stalled();
        self.check_clients();
        self.clients.check_lists();
        self.check_upstreams();
    }

    /// Links on which clients wait behind a slow reader are in the list to check.
    fn check_stalled(&self) {
        let stalled = self.links.stalled();
        for (i, key) in stalled.iter().enumerate() {
            assert!(!stalled[..i].contains(key), "{key:?} is stalled twice");
        }
        for (key, link) in self.links.iter() {
            let looked_after = matches!(
                link.stall,
                Stall::Since(_) | Stall::Late(_) | Stall::Served(_) | Stall::Held(_)
            );
            assert!(!looked_after || stalled.contains(&key), "{key:?}");
            let head = self.requests.get(link.fifo.head);
            let reader = head.and_then(|head| self.clients.get(head.client));
            let blocked = link.paused && reader.is_some_and(|it| it.outbound.len() > PAUSE_BYTES);
            if blocked && self.has_followers(key) {
                assert!(
                    looked_after,
                    "{key:?}: clients wait behind a slow reader, and the link is not checked"
                );
            }
        }
    }

    fn check_links(&self) {
        for (key, link) in self.links.iter() {
            link.check_queue(&self.requests);
            self.check_owner(key, link);
            for (_, request) in self.requests.of_link(link.fifo) {
                if let Some(client) = self.clients.get(request.client) {
                    let uses = client.links().any(|link| link == key);
                    assert!(
                        uses,
                        "a client has requests on a connection that it does not use"
                    );
                }
            }
        }
    }

    /// Clients that wait for replicas on a shared link are among its waiters, and the link is in
    /// the list to ask.
    fn check_waits_of(&self, key: LinkKey, link: &Link) {
        let waits = &link.waits;
        for client in waits.clients() {
            let client = self.clients.get(client);
            assert!(
                client.is_some_and(|it| it.phase() == Phase::Replicas),
                "{key:?}"
            );
        }
        let served = self.links.waits().contains(&key);
        assert!(
            served || waits.is_empty(),
            "{key:?}: has waiters, and is not in the list to ask"
        );
        assert!(
            served || !link.is_reserved(),
            "{key:?} is reserved without waiters"
        );
    }

    fn check_owner(&self, key: LinkKey, link: &Link) {
        self.check_waits_of(key, link);
        if link.owner() == ClientKey::NONE {
            let asked = link.is_retired() || link.waits.is_asking();
            assert!(!link.is_dedicated() || link.fifo.is_empty() || asked);
            return;
        }
        let owner = self.clients.get(link.owner());
        assert!(
            owner.is_some_and(|client| client.pin().is_some() && client.link == key),
            "{key:?}: its owner does not use it"
        );
        if link.is_dedicated() {
            for (_, request) in self.requests.of_link(link.fifo) {
                let ours = !request.kind.is_counted();
                assert!(
                    ours || request.client == link.owner(),
                    "{key:?}: a request of another client"
                );
            }
        }
    }

    fn check_clients(&self) {
        for (key, client) in self.clients.iter() {
            assert_eq!(client.is(Flag::Moved), !client.former().is_empty());
            let (mut in_flight, mut index, mut first) = (0, client.fifo.head, true);
            while let Some(request) = self.requests.get(index) {
                assert_eq!(request.client, key, "a record of another client");
                in_flight += request.count;
                let parked = matches!(request.reply(), Reply::Done(_));
                assert!(
                    !(first && parked) || self.is_in_a_message(key),
                    "{key:?}: a reply of the proxy is at the head and was not sent"
                );
                let arriving = matches!(request.reply(), Reply::Arriving(_));
                assert!(!(first && arriving), "{key:?}: a reply is kept in its turn");
                (index, first) = (request.next_of_client, false);
            }
            assert_eq!(in_flight, client.in_flight, "{key:?}");
            assert_eq!(
                client.phase() == Phase::Changing,
                client.waiting().is_some(),
                "{key:?}"
            );
            if client.pin().is_some() {
                let own = self.links.get(client.link);
                assert!(own.is_some_and(|own| own.owner() == key), "{key:?}");
            }
            assert!(!client.is_closing() || client.inbound.is_none());
            let phase = client.phase();
            assert!(
                !phase.decodes() || phase == client.base(),
                "{key:?} is {phase:?}"
            );
            let waits = client.is_held() || client.is(Flag::Ready) || client.is_closing();
            assert!(
                !client.is(Flag::Paused) || waits,
                "{key:?} is not read, and waits for nothing"
            );
            let links = client.links().filter(|_| client.is(Flag::Paused));
            for link in links.filter_map(|link| self.links.get(link)) {
                let head = self.requests.get(link.fifo.head).map(|head| head.client);
                assert!(
                    !link.paused || head != Some(key),
                    "{key:?}: the client and the link of its reply are both read paused"
                );
            }
        }
    }

    fn check_upstreams(&self) {
        let counted = self.clients.iter().map(|(_, client)| CountedClient {
            account: client.account(),
            pool: client.pool,
            changes_to: client.waiting().map(|it| it.access),
            dedicated: client.pin().map(|pin| pin.tenant),
            queued: match client.phase() {
                Phase::Queued => client.queued_in(),
                _ => PoolKey::NONE,
            },
        });
        self.upstreams.check_clients(counted, self.clients.paused());
        self.upstreams.check_links(&self.links);
        for (_, client) in self.clients.iter() {
            let pool = self.links.get(client.link).map(|link| link.pool);
            let separate = client.waiting().is_some() || client.pin().is_some();
            assert!(separate || pool.is_none_or(|pool| pool == client.pool));
        }
    }
}
