//! Who gets a place at the service port, and who makes room.
//!
//! A connection that finds no place among those for any call gets one of those for probes: it is
//! answered if it asks for `/healthz` or `/readyz`, and makes room as soon as another needs its
//! place. So half requests and slow readers, however many, do not make probes fail.

use std::net::IpAddr;

use slab::Slab;

use crate::proxy::Millis;

use super::limits::{ADMIN_MAX, CONNECTIONS_MAX, Class, PEER_MAX, PROBES_MAX};
use super::link::Link;

/// A place for a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) class: Class,
    /// Whose it is until now.
    pub(super) instead_of: Option<usize>,
    /// Its peer has as many of the places for any call as one address may have.
    pub(super) peer_is_full: bool,
}

/// Finds a place; `None`: there is none.
pub(super) fn find(links: &Slab<Link>, peer: IpAddr, admin: bool, now: Millis) -> Option<Place> {
    let place = |class, instead_of| Place {
        class,
        instead_of,
        peer_is_full: false,
    };
    if admin {
        return free(links, Class::Admin, ADMIN_MAX, now).map(|it| place(Class::Admin, it));
    }
    let of_peer = |link: &Link| {
        let connection = &link.connection;
        connection.class() == Class::General && connection.caller().peer == peer
    };
    let peer_is_full = links.iter().filter(|(_, link)| of_peer(link)).count() >= PEER_MAX;
    let general = match peer_is_full {
        true => dispensable(links, of_peer, now).map(Some),
        false => free(links, Class::General, CONNECTIONS_MAX, now),
    };
    let found = match general {
        Some(instead_of) => place(Class::General, instead_of),
        None => place(Class::Probes, free(links, Class::Probes, PROBES_MAX, now)?),
    };
    Some(Place {
        peer_is_full,
        ..found
    })
}

/// Can a connection be accepted, whoever it is from?
pub(super) fn any(links: &Slab<Link>, admin: bool, now: Millis) -> bool {
    admin || free(links, Class::Probes, PROBES_MAX, now).is_some()
}

/// A place of this class, or whose place it is if there are so many; `None`: nobody makes room.
fn free(links: &Slab<Link>, class: Class, max: usize, now: Millis) -> Option<Option<usize>> {
    let is_one = |link: &Link| link.connection.class() == class;
    match links.iter().filter(|(_, link)| is_one(link)).count() < max {
        true => Some(None),
        false => dispensable(links, is_one, now).map(Some),
    }
}

/// The connection that can be spared most easily.
fn dispensable(links: &Slab<Link>, among: impl Fn(&Link) -> bool, now: Millis) -> Option<usize> {
    let links = links.iter().filter(|(_, link)| among(link));
    let ranked = links.filter_map(|(index, link)| Some((link.connection.dispensable(now)?, index)));
    ranked.min().map(|(_, index)| index)
}
