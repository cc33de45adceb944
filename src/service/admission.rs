//! Admission of connections to the service port.
//!
//! A connection gets a general slot, in which it may make any call, or else a probe slot, in which
//! it gets responses to `/healthz` and `/readyz` only, and is closed as soon as another connection
//! needs the slot. So incomplete requests and slow readers, however many, do not make probes fail.

use std::net::IpAddr;

use slab::Slab;

use crate::proxy::Millis;

use super::limits::{ADMIN_MAX, CONNECTIONS_MAX, Class, PEER_MAX, PROBES_MAX};
use super::socket::Socket;

/// A slot for a new connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) class: Class,
    /// The connection that has to be closed for it.
    pub(super) instead_of: Option<usize>,
    /// The peer address has as many general slots as one address may have.
    pub(super) peer_is_full: bool,
}

/// Finds a slot for a new connection; `None`: there is none.
pub(super) fn find(sockets: &Slab<Socket>, peer: IpAddr, admin: bool, now: Millis) -> Option<Slot> {
    let slot = |class, instead_of| Slot {
        class,
        instead_of,
        peer_is_full: false,
    };
    if admin {
        return free(sockets, Class::Admin, ADMIN_MAX, now).map(|it| slot(Class::Admin, it));
    }
    let of_peer = |socket: &Socket| {
        let connection = &socket.connection;
        connection.class() == Class::General && connection.caller().peer == peer
    };
    let peer_is_full = sockets.iter().filter(|(_, socket)| of_peer(socket)).count() >= PEER_MAX;
    let general = match peer_is_full {
        true => closable(sockets, of_peer, now).map(Some),
        false => free(sockets, Class::General, CONNECTIONS_MAX, now),
    };
    let found = match general {
        Some(instead_of) => slot(Class::General, instead_of),
        None => slot(
            Class::Probes,
            free(sockets, Class::Probes, PROBES_MAX, now)?,
        ),
    };
    Some(Slot {
        peer_is_full,
        ..found
    })
}

/// Whether any connection can be accepted, whatever its address.
pub(super) fn any(sockets: &Slab<Socket>, admin: bool, now: Millis) -> bool {
    admin || free(sockets, Class::Probes, PROBES_MAX, now).is_some()
}

/// A free slot of this class, or one whose connection can be closed; `None`: there is neither.
fn free(sockets: &Slab<Socket>, class: Class, max: usize, now: Millis) -> Option<Option<usize>> {
    let is_one = |socket: &Socket| socket.connection.class() == class;
    match sockets.iter().filter(|(_, socket)| is_one(socket)).count() < max {
        true => Some(None),
        false => closable(sockets, is_one, now).map(Some),
    }
}

/// The connection that can be closed with the least harm.
fn closable(sockets: &Slab<Socket>, among: impl Fn(&Socket) -> bool, now: Millis) -> Option<usize> {
    let sockets = sockets.iter().filter(|(_, socket)| among(socket));
    let ranked =
        sockets.filter_map(|(index, socket)| Some((socket.connection.closable(now)?, index)));
    ranked.min().map(|(_, index)| index)
}
