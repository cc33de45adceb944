//! Chooses the link for a request, and records the request in the queues of its client and its
//! link.

use crate::command::{self, ErrorReply, scatter};
use crate::upstream::upstreams::admission::NotAdmitted;
use crate::upstream::upstreams::choice::Choice;

use crate::link::failure::Failure;
use crate::link::link::Link;
use crate::link::request::{Kind, Requests};
use crate::link::verb::Verb;
use crate::proxy::machine::Machine;
use crate::proxy::texts::{NO_INSTANCE, TOO_MANY_CLIENTS, TOO_MANY_CONNECTIONS};
use crate::session::client::{Client, Flag};
use crate::store::key::{ClientKey, LinkKey, PoolKey};

/// Above this many unsent bytes, a link takes no more requests until half of them are sent.
pub(in crate::proxy) const LINK_OUTBOUND_BYTES_MAX: usize = 1 << 20;

/// Why a request cannot be forwarded.
#[derive(Debug)]
pub(in crate::proxy) enum Refusal {
    /// The client gets this error.
    Error(ErrorReply),
    /// The client must log in first.
    NotLoggedIn,
    /// It is not known whether the server admits the default user: the server is asked first.
    Unknown,
    /// The client is on hold until there is room.
    Later,
    /// The server no longer accepts the credential that the client logged in with.
    LoggedOut,
}

impl Machine {
    /// Can this client send requests? Makes an anonymous client the default user, and gives a
    /// client without an instance an instance.
    pub(in crate::proxy) fn admit(&mut self, key: ClientKey) -> Result<(), Refusal> {
        let Some(client) = self.clients.get(key).filter(|it| !it.is_closing()) else {
            return Err(Refusal::Later);
        };
        if !self.upstreams.has_pool(client.pool) {
            if !self.upstreams.has_account(client.account()) {
                self.become_anonymous(key)?;
            }
            if !self.attach_instance(key) {
                return Err(Refusal::Error(NO_INSTANCE));
            }
        }
        let Some(client) = self.clients.get(key) else {
            return Err(Refusal::Later);
        };
        (self.upstreams)
            .admit(client.pool, &self.links, self.now)
            .map_err(|it| match it {
                NotAdmitted::NotLoggedIn => Refusal::NotLoggedIn,
                NotAdmitted::Down(error) => Refusal::Error(error),
                NotAdmitted::Unknown => Refusal::Unknown,
            })
    }

    /// Makes an anonymous client the default user of the default tenant.
    fn become_anonymous(&mut self, key: ClientKey) -> Result<(), Refusal> {
        if !self.upstreams.has_default_tenant() {
            return Err(Refusal::NotLoggedIn);
        }
        let account = self.upstreams.default_account();
        let account = account.ok_or(Refusal::Error(NO_INSTANCE))?;
        if !self.become_user(key, account) {
            self.reply_error_and_close(key, &TOO_MANY_CLIENTS);
            self.mark_ready(key);
            return Err(Refusal::Later);
        }
        Ok(())
    }

    /// Chooses the link for this client's next request. `frame` contains at least the command's
    /// name.
    pub(in crate::proxy) fn route(
        &mut self,
        key: ClientKey,
        frame: &[u8],
    ) -> Result<LinkKey, Refusal> {
        let Some(client) = self.clients.get(key) else {
            return Err(Refusal::Later);
        };
        let (link, sticky) = (client.link, client.in_flight > 0);
        if client.pin().is_some() {
            // Only `dispatch_to_other_node` sends it.
            let elsewhere = self.other_node(key, frame).is_some() || self.scans_nodes(key, frame);
            return match elsewhere {
                true => Err(Refusal::Later),
                false => self.with_room(key, link),
            };
        }
        if self.is_clustered(key) {
            return self.route_to_node(key, frame);
        }
        if self.shows_node(key) && scatter::is_info(frame) {
            // Only `dispatch_to_front` sends it.
            return Err(Refusal::Later);
        }
        if client.has_lanes() {
            self.leave_lanes(key)?;
        }
        let Some(client) = self.clients.get(key) else {
            return Err(Refusal::Later);
        };
        if self.links.any_stalled()
            && let Some(held) = self.held_back_in(client.pool)
            && command::is_paused_with_writes(frame)
        {
            return self.route_held(key, held);
        }
        if let Some(connection) = self.links.get(link) {
            if sticky && connection.is_open() {
                return self.with_room(key, link);
            } else if sticky {
                // The client changes its link only when nothing is in flight on the present one.
                self.at_barrier(key);
                return Err(Refusal::Later);
            }
            if connection.is_fit(self.now)
                && !(client.is(Flag::RetriedElsewhere)
                    && self.upstreams.has_no_recent_retry(client.pool, self.now))
            {
                return match connection.outbound.len() <= LINK_OUTBOUND_BYTES_MAX {
                    true => Ok(link),
                    false => self.with_room(key, link),
                };
            }
        }
        match self.admit(key) {
            // A request may be queued before the auth result: it waits on the link that is
            // connecting.
            Ok(()) | Err(Refusal::Unknown) => {}
            Err(refusal) => return Err(refusal),
        }
        if self.is_clustered(key) {
            // The client has just got its instance.
            return self.route_to_node(key, frame);
        }
        let Some(client) = self.clients.get(key) else {
            return Err(Refusal::Later);
        };
        let link = self.choose(client.pool)?;
        if let Some(client) = self.clients.get_mut(key) {
            client.set_link(link);
            client.clear(Flag::RetriedElsewhere);
        }
        self.with_room(key, link)
    }

    /// Does the link have room for more requests? If not, the client waits until it does.
    #[inline]
    pub(in crate::proxy) fn with_room(
        &mut self,
        key: ClientKey,
        link: LinkKey,
    ) -> Result<LinkKey, Refusal> {
        let waiting = self.links.get(link).map_or(0, |link| link.outbound.len());
        if waiting <= LINK_OUTBOUND_BYTES_MAX {
            return Ok(link);
        }
        self.clients.wait_for_room(key, link);
        Err(Refusal::Later)
    }

    /// Chooses a link of this pool. If other requests hold up all of them, it is a new one, else
    /// the link with the least left of its large reply.
    pub(in crate::proxy) fn choose(&mut self, pool: PoolKey) -> Result<LinkKey, Refusal> {
        let least = match self.upstreams.choose(pool, &self.links, self.now) {
            Choice::Serves(link) => return Ok(link),
            Choice::HeldUp(least) => least,
        };
        let refused = self.upstreams.is_refused(pool, self.now);
        if refused && least.is_none() {
            return Err(Refusal::LoggedOut);
        }
        let full =
            { self.upstreams.instance_of(pool) }.is_some_and(|it| self.upstreams.is_full(it));
        let unavailable = || {
            Refusal::Error(match full {
                true => TOO_MANY_CONNECTIONS,
                false => Failure::Removed.error_if_unsent(),
            })
        };
        let room = !self.upstreams.is_in_backoff(pool, self.now) && self.has_room(pool, 0);
        let out = self.upstreams.down_error(pool, self.now);
        if (least.is_none() || room) && out.is_none() && !refused {
            let new = self.open_shared(pool);
            return new.or(least).ok_or_else(unavailable);
        }
        least.ok_or_else(|| out.map_or_else(unavailable, Refusal::Error))
    }
}

/// Records `count` plain requests of `len` bytes in all. The caller must append the bytes to the
/// link's outbound list before any other request's, see `Links::append`.
#[inline]
pub(in crate::proxy) fn record(
    requests: &mut Requests,
    link: &mut Link,
    client: &mut Client,
    key: ClientKey,
    kind: Kind,
    count: u32,
    len: usize,
) {
    if !link.extend(requests, client.fifo, kind, count, len) {
        let (of_client, what) = ((&mut client.fifo, key), (kind, Verb::Plain));
        link.push(requests, of_client, what, count, len);
    }
    client.in_flight += count;
    link.count_requests(count, len);
}

/// Like `record`, for one request with a record of its own and `count` replies.
#[inline]
pub(in crate::proxy) fn record_as(
    requests: &mut Requests,
    link: &mut Link,
    client: &mut Client,
    key: ClientKey,
    what: (Kind, Verb),
    count: u32,
    len: usize,
) {
    link.push(requests, (&mut client.fifo, key), what, count, len);
    client.in_flight += count;
    link.count_requests(1, len);
}
