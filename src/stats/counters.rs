//! What a worker counts. Plain numbers: the machine has no atomics, whoever publishes them reads.

use crate::metrics::{Family, Kind};

/// One of the counters, for the metrics page.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    /// How it is shown: `elika_worker_…_total`, per worker.
    pub family: Family,
    /// Its number.
    pub get: fn(&Counters) -> u64,
}

/// Makes the struct and the list of what is in it: a counter is shown as soon as it is here, and
/// its documentation is the page's.
macro_rules! counters {
    ($($(#[doc = $help:literal])+ pub $name:ident: u64,)+) => {
        /// Counts since the start; every limit that can be reached has one.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $help])+ pub $name: u64,)+
        }

        impl Counters {
            /// Every counter.
            pub const ALL: &[Counter] = &[
                $(Counter {
                    family: Family {
                        name: concat!("elika_worker_", stringify!($name), "_total"),
                        kind: Kind::Counter,
                        labels: &["worker"],
                        help: concat!($($help),+).trim_ascii(),
                    },
                    get: |counters| counters.$name,
                },)+
            ];
        }
    };
}

counters! {
    /// Clients taken.
    pub clients_opened: u64,
    /// Clients gone, for whatever reason.
    pub clients_closed: u64,
    /// Requests forwarded.
    pub requests: u64,
    /// Replies passed to clients that were still there.
    pub replies: u64,
    /// Replies nobody waited for any more, or that the client did not want.
    pub replies_dropped: u64,
    /// Clients closed because their worker kept too many bytes of requests and replies.
    pub buffers_full: u64,
    /// Clients closed because their worker kept too many bytes for their tenant.
    pub tenant_buffers_full: u64,
    /// Questions to servers whether a user may give a command that is answered here.
    pub permissions_asked: u64,
    /// Of those, how many the server answered with an error such as NOPERM.
    pub permissions_refused: u64,
    /// Requests and clients whose reads were asked again on another connection, for whatever
    /// reason.
    pub asked_again: u64,
    /// Clients whose reads were asked again because a reply before theirs was late.
    pub asked_again_late: u64,
    /// Requests that only read and were asked again because their connection was lost.
    pub asked_again_lost: u64,
    /// Replies made here, errors not included.
    pub answers: u64,
    /// Errors made here.
    pub errors: u64,
    /// Clients closed for bytes that are not RESP, or for a request over its limits.
    pub protocol_errors: u64,
    /// Clients closed because they spoke HTTP.
    pub cross_protocol: u64,
    /// Clients closed because their request found no memory.
    pub out_of_memory: u64,
    /// Clients closed because too many bytes waited for them.
    pub slow_readers: u64,
    /// Clients closed to keep the worker within its limit of waiting bytes.
    pub evictions: u64,
    /// Clients closed because they neither logged in nor were let in without a login.
    pub login_timeouts: u64,
    /// Clients closed because they took nothing of what they had to read for too long.
    pub send_timeouts: u64,
    /// Clients closed because too many of their commands were refused before a login.
    pub refused_anonymous: u64,
    /// Clients closed because they were idle.
    pub idle_timeouts: u64,
    /// Clients closed by CLIENT KILL.
    pub kills: u64,
    /// Requests for CLIENT LIST whose reply would have been longer than 64 MiB.
    pub lists_refused: u64,
    /// Logins the backend accepted.
    pub logins: u64,
    /// Logins the backend refused.
    pub logins_refused: u64,
    /// Times that logins and SELECTs had to wait for their turn to open a connection.
    pub logins_delayed: u64,
    /// Clients closed because the backend does not accept any more what they logged in with.
    pub logged_out: u64,
    /// Backend connections begun.
    pub backends_opened: u64,
    /// Addresses of names with several that could not be connected to, so that the next was tried.
    pub addresses_skipped: u64,
    /// Times that no backend connection was opened, because there were as many to the instance as
    /// there may be.
    pub connections_refused: u64,
    /// Backend connections that failed or were lost.
    pub backends_failed: u64,
    /// Connections that became a client's own.
    pub pins: u64,
    /// Times that a client had to wait for a connection of its own.
    pub pins_delayed: u64,
    /// Times that a client did not get a connection of its own in time.
    pub pins_refused: u64,
    /// Clients closed because their own connection was lost.
    pub pins_lost: u64,
    /// Clients closed because their backend was lost or could not be reached, where that is wanted.
    pub closed_on_loss: u64,
    /// Clients closed because they did nothing inside MULTI or after WATCH.
    pub pinned_idle_timeouts: u64,
    /// Clients that moved to another instance because theirs was on its way out.
    pub clients_moved: u64,
    /// Clients closed because they could not move, or not in time.
    pub clients_left_behind: u64,
    /// Requests and logins that waited because their tenant was paused.
    pub paused_waits: u64,
    /// Checks of instances.
    pub checks: u64,
    /// Checks that were answered with an error, or too late.
    pub checks_failed: u64,
    /// Subscribers closed because too many bytes of messages waited for them.
    pub slow_subscribers: u64,
    /// Messages, confirmations and other pushes passed to clients.
    pub pushes: u64,
    /// Pushes on shared connections, dropped.
    pub pushes_dropped: u64,
}
