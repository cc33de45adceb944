//! SCAN over all nodes. [`Scan`] says which requests a page needs; they are sent to the nodes here.

use crate::command::ErrorReply;
use crate::command::client::Dialect;
use crate::command::scan::{Scan, ScanNode, ScanStep};
use crate::link::request::{Gather, Held, Part, PartEnd, RunningScan, Scattered};
use crate::link::verb::Verb;
use crate::proxy::deliver::unanswered::End;
use crate::proxy::forward::answer::{Handled, kind_of};
use crate::proxy::machine::Machine;
use crate::proxy::texts::NOT_SERVED;
use crate::resp::Args;
use crate::store::key::{ClientKey, InstanceKey};

/// A step and its scan; the client's request if no node is known to have the slot.
type NextStep = Result<(RunningScan, ScanStep), Box<[u8]>>;

/// The error for SCAN in a transaction, which one node executes.
pub(super) const NO_SCAN: ErrorReply =
    ErrorReply::Proxy("ERR elika: SCAN of a Redis Cluster is not possible inside MULTI");

impl Machine {
    /// Does a client with a dedicated link send SCAN of all nodes? A server refuses it in
    /// subscriber mode.
    pub(in crate::proxy) fn scans_nodes(&self, key: ClientKey, frame: &[u8]) -> bool {
        let client = self.clients.get(key);
        let modal = client.and_then(|it| Some(it.pin()?.is_modal(it.protocol)));
        self.is_clustered(key) && is_scan(frame) && modal != Some(true)
    }

    /// Handles SCAN of a client with a dedicated link.
    pub(super) fn scan_with_pin(&mut self, key: ClientKey, frame: &[u8]) -> Handled {
        if !self.is_settled(key) {
            return Handled::Later;
        }
        match self.clients.is_inside(key) {
            true => self.fail_transaction(key, &NO_SCAN),
            false => self.scan(key, frame),
        }
    }

    /// Handles SCAN.
    pub(super) fn scan(&mut self, key: ClientKey, frame: &[u8]) -> Handled {
        if let Err(error) = Scan::new(frame) {
            self.reply_error(key, &error);
            return Handled::Yes;
        }
        if let Err(refusal) = self.renew_lanes(key) {
            return self.refuse(key, refusal);
        }
        let Some(client) = self.clients.get_mut(key) else {
            return Handled::Yes;
        };
        let kind = kind_of(client);
        client.in_flight += 1;
        let record = self.requests.push_held(&mut client.fifo, key, kind);
        self.start_scan(record, key, frame);
        Handled::Yes
    }

    /// Starts the scan of a client's request, whose record this is.
    pub(super) fn start_scan(&mut self, record: u32, key: ClientKey, frame: &[u8]) {
        match Scan::new(frame) {
            Ok(scan) => {
                let first = self.first_step(key, scan, frame.into());
                self.scan_on((key, record), first);
            }
            Err(error) => {
                let mut reply = Vec::new();
                error.write(&mut reply);
                self.answer_lost(record, &reply, End::Error);
            }
        }
    }

    /// The first step, at the node that has the slot, or the request if none is known.
    fn first_step(&mut self, key: ClientKey, mut scan: Scan, frame: Box<[u8]>) -> NextStep {
        let pool = self.clients.get(key).map(|client| client.pool);
        let pool = pool.unwrap_or_default();
        let nodes = self.upstreams.nodes_at(pool);
        let (node, last) = nodes
            .and_then(|nodes| nodes.range_from(scan.slot()))
            .ok_or_else(|| frame.clone())?;
        let pool = self.upstreams.pool_on(node, pool);
        // Before there is a link to the node, its version is not known: then the slots are read
        // whole, which all versions can.
        let by_slot = self.upstreams.dialect_of(pool) >= Dialect::Redis74;
        let step = scan.start(by_slot, last);
        Ok((RunningScan { scan, node, frame }, step))
    }

    /// Takes the next step.
    fn scan_on(&mut self, of: (ClientKey, u32), mut next: NextStep) {
        loop {
            let (running, step) = match next {
                Ok(next) => next,
                Err(frame) => return self.scan_later(of, &frame),
            };
            let node = running.node;
            let (to, requests, count) = match step {
                ScanStep::Reply(reply) => return self.answer_held(of, &reply),
                ScanStep::Later => return self.scan_later(of, &running.frame),
                ScanStep::Moved(slot, to) => {
                    self.upstreams.doubt_slots(node);
                    self.upstreams.slot_moved(node, slot, to);
                    next = self.first_step(of.0, running.scan, running.frame);
                    continue;
                }
                ScanStep::Ask(ScanNode::Owner, requests, count) => (Some(node), requests, count),
                ScanStep::Ask(ScanNode::Target(at), requests, count) => {
                    (self.upstreams.node_at(node, at), requests, count)
                }
            };
            return match to {
                Some(to) => self.ask_for_scan(of, running, to, (&requests, count)),
                None => self.scan_later(of, &running.frame),
            };
        }
    }

    fn ask_for_scan(
        &mut self,
        of: (ClientKey, u32),
        running: RunningScan,
        node: InstanceKey,
        (requests, count): (&[u8], u32),
    ) {
        let (client, record) = of;
        let slot = running.scan.slot();
        let step = self.requests.push_batch(count);
        if !self.resend((step, client, Verb::Plain), node, requests, false) {
            self.requests.forget(step);
            return self.scan_later(of, &running.frame);
        }
        let request = self.requests.scatter(Scattered {
            record,
            client,
            gather: Gather::Scan(Box::new(running)),
            nodes: Vec::new(),
        });
        self.requests.add_part(step, Part::new(request, 0, slot));
    }

    /// A step has its replies, or its link is lost.
    pub(super) fn scan_step_ended(
        &mut self,
        of: (ClientKey, u32),
        mut running: RunningScan,
        end: &PartEnd,
    ) {
        match end {
            PartEnd::Reply(replies) => {
                let step = running.scan.replies(replies);
                self.scan_on(of, Ok((running, step)));
            }
            PartEnd::Lost(error) => self.hold(Held::new(of.1, of.0, &running.frame, error)),
        }
    }

    /// The scan starts anew when a node serves its slot.
    fn scan_later(&mut self, (key, record): (ClientKey, u32), frame: &[u8]) {
        let mut reply = Vec::new();
        NOT_SERVED.write(&mut reply);
        self.hold(Held::new(record, key, frame, &reply));
    }
}

/// Is it SCAN?
pub(super) fn is_scan(frame: &[u8]) -> bool {
    let name = Args::new(frame).next();
    name.is_some_and(|name| name.eq_ignore_ascii_case(b"scan"))
}
