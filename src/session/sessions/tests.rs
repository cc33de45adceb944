//! Replies go to a client in the order of its requests, whichever links bring them and when.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::link::request::{Fifo, Kind};
use crate::link::verb::Verb;
use crate::session::client::Origin;
use crate::stats::counters::Counters;
use crate::store::chunk::ChunkList;

/// A client with requests on two links, of which one record each is in flight, in this order.
struct TwoLinks {
    sessions: Sessions,
    requests: Requests,
    counters: Counters,
    client: ClientKey,
    /// The queues of the links, and the records.
    links: [Fifo; 2],
    records: [u32; 2],
}

impl TwoLinks {
    fn new(commands: [u32; 2]) -> Self {
        let mut sessions = Sessions::new(ClientLimits {
            in_flight: 100,
            outbound_bytes: 1 << 20,
        });
        let end = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let (id, peer, local) = (1, end, end);
        let client = Client::new(Origin { id, peer, local }, Millis::default());
        let client = sessions.open(client);
        let mut requests = Requests::default();
        let mut links = [Fifo::default(); 2];
        let of = sessions.get_mut(client).unwrap();
        for (link, count) in links.iter_mut().zip(commands) {
            let what = (Kind::Deliver, Verb::Plain);
            requests.push(&mut of.fifo, link, client, what, count, 0);
            of.in_flight += count;
        }
        let records = links.map(|link| link.head);
        Self {
            sessions,
            requests,
            counters: Counters::default(),
            client,
            links,
            records,
        }
    }

    /// A link brings bytes, of which `done` replies are complete.
    fn bring(&mut self, link: usize, part: &str, done: u32) {
        let index = self.records[link];
        let record = self.requests.get_mut(index).unwrap();
        record.count -= done;
        let (through, kind) = (record.count == 0, record.kind);
        if through {
            self.requests.leave_link(&mut self.links[link]);
        }
        self.sessions.deliver(
            &mut self.requests,
            &mut self.counters,
            (self.client, index),
            (kind, part.as_bytes()),
            (done, through),
        );
    }

    /// All that the client has to read by now.
    fn received(&self) -> String {
        let client = self.sessions.get(self.client).unwrap();
        let bytes = self.sessions.chunks().to_vec(&client.outbound);
        String::from_utf8(bytes).unwrap()
    }

    fn kept(&self) -> (usize, usize) {
        (self.requests.len(), self.requests.parked_bytes())
    }
}

#[test]
fn reply_that_comes_before_its_turn_waits_for_the_replies_before_it() {
    let mut two = TwoLinks::new([1, 2]);
    two.bring(1, "+second\r\n+th", 1);
    assert_eq!(two.received(), "");
    two.bring(1, "ird\r\n", 1);
    assert_eq!(two.received(), "");
    two.bring(0, "+fir", 0);
    assert_eq!(two.received(), "+fir");
    two.bring(0, "st\r\n", 1);
    assert_eq!(two.received(), "+first\r\n+second\r\n+third\r\n");
    let client = two.sessions.get(two.client).unwrap();
    assert!(client.fifo.is_empty() && client.in_flight == 0);
    assert_eq!(client.unread_bytes(), client.outbound.len());
    assert_eq!(two.kept(), (0, 0));
}

#[test]
fn reply_that_has_begun_to_arrive_goes_out_at_once_when_its_turn_comes() {
    let mut two = TwoLinks::new([1, 1]);
    two.bring(1, "$9\r\nbeg", 0);
    two.bring(0, "+first\r\n", 1);
    assert_eq!(two.received(), "+first\r\n$9\r\nbeg");
    two.bring(1, "inning\r\n", 1);
    assert_eq!(two.received(), "+first\r\n$9\r\nbeginning\r\n");
    assert_eq!(two.kept(), (0, 0));
}

#[test]
fn reply_of_the_proxy_waits_for_the_replies_of_both_links() {
    let mut two = TwoLinks::new([1, 1]);
    two.sessions
        .park(&mut two.requests, two.client, b"+here\r\n");
    two.bring(1, "+second\r\n", 1);
    two.bring(0, "+first\r\n", 1);
    assert_eq!(two.received(), "+first\r\n+second\r\n+here\r\n");
    assert_eq!(two.kept(), (0, 0));
}

#[test]
fn kept_replies_of_a_closed_client_are_freed() {
    let mut two = TwoLinks::new([1, 1]);
    two.bring(1, "+se", 0);
    let mut to_links = ChunkPool::of_long_lists();
    two.sessions
        .remove(two.client, &mut two.requests, &mut to_links);
    assert_eq!((two.kept(), two.sessions.chunks().bytes()), ((2, 0), 0));
    two.bring(1, "cond\r\n", 1);
    two.bring(0, "+first\r\n", 1);
    assert_eq!(two.kept(), (0, 0));
    assert_eq!(two.counters.replies_dropped, 2);
}

#[test]
fn silenced_client_gets_no_kept_reply() {
    let mut two = TwoLinks::new([1, 1]);
    two.bring(1, "+second\r\n", 1);
    two.sessions.silence(&mut two.requests, two.client);
    two.bring(0, "+first\r\n", 1);
    assert_eq!((two.received().as_str(), two.kept()), ("", (0, 0)));
}

#[test]
fn swallowed_reply_before_its_turn_leaves_no_bytes_counted() {
    let mut two = TwoLinks::new([1, 1]);
    two.requests.get_mut(two.records[1]).unwrap().kind = Kind::Swallow;
    two.bring(1, "+second\r\n", 1);
    assert_ne!(two.sessions.get(two.client).unwrap().unread_bytes(), 0);
    two.bring(0, "+first\r\n", 1);
    let client = two.sessions.get(two.client).unwrap();
    assert_eq!(client.unread_bytes(), "+first\r\n".len());
    assert_eq!(
        (two.received().as_str(), two.kept()),
        ("+first\r\n", (0, 0))
    );
}

#[test]
fn reply_that_has_arrived_stays_in_front_of_an_error_for_the_next_one() {
    let mut two = TwoLinks::new([1, 2]);
    two.bring(1, "+second\r\n$9\r\nbeg", 1);
    two.requests.leave_link(&mut two.links[1]);
    two.sessions.get_mut(two.client).unwrap().in_flight -= 1;
    let mut error = ChunkList::default();
    two.sessions
        .chunks_mut()
        .append(&mut error, b"-ERR lost\r\n");
    let record = (two.client, two.records[1]);
    two.sessions.answer(&mut two.requests, record, error);
    two.bring(0, "+first\r\n", 1);
    assert_eq!(two.received(), "+first\r\n+second\r\n-ERR lost\r\n");
    let client = two.sessions.get(two.client).unwrap();
    assert_eq!(client.unread_bytes(), client.outbound.len());
    assert_eq!(two.kept(), (0, 0));
}

#[test]
fn part_of_a_reply_that_no_link_completes_is_dropped_and_not_counted() {
    let mut two = TwoLinks::new([1, 1]);
    two.bring(1, "$9\r\nbeg", 0);
    two.requests.leave_link(&mut two.links[1]);
    two.sessions.get_mut(two.client).unwrap().in_flight -= 1;
    let mut error = ChunkList::default();
    two.sessions
        .chunks_mut()
        .append(&mut error, b"-ERR lost\r\n");
    let record = (two.client, two.records[1]);
    two.sessions.answer(&mut two.requests, record, error);
    two.bring(0, "+first\r\n", 1);
    assert_eq!(two.received(), "+first\r\n-ERR lost\r\n");
    let client = two.sessions.get(two.client).unwrap();
    assert_eq!(client.unread_bytes(), client.outbound.len());
    assert_eq!(two.kept(), (0, 0));
}
