//! Asks a server for its role: sentinels may name a server that is not the primary yet, or not any
//! more.

use std::net::SocketAddr;

use crate::config::HostPort;
use crate::resp::read::{Elements, string};
use crate::resp::{Printable, write};

use super::client::{Client, addresses};
use super::event::Found;

/// The beginnings of errors of a server that does not tell its role without a login.
const REFUSALS: &[&str] = &["NOAUTH ", "NOPERM ", "ERR unknown command"];

/// Searches the addresses of a host for a primary, `known` first; may block.
///
/// # Errors
///
/// Why no address has a primary.
pub(super) fn check(endpoint: &HostPort, known: Option<SocketAddr>) -> Result<Found, String> {
    let mut addresses = addresses(endpoint)?;
    addresses.sort_by_key(|it| Some(*it) != known);
    let mut why = "its name has no address".to_owned();
    for address in addresses {
        match role(address) {
            Ok(role) if role == "master" => {
                let unchecked = None;
                return Ok(Found { address, unchecked });
            }
            Ok(role) => why = format!("its role is {role}"),
            Err(error) if REFUSALS.iter().any(|it| error.starts_with(it)) => {
                let unchecked = Some(error);
                return Ok(Found { address, unchecked });
            }
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// The role of the server at this address: `master`, `slave` or `sentinel`.
fn role(address: SocketAddr) -> Result<String, String> {
    let mut client = Client::connect(address)?;
    let mut command = Vec::new();
    write::command(&mut command, &[b"ROLE"]);
    let reply = client.ask(&command)?;
    let first = Elements::new(&reply).and_then(|mut it| it.next());
    let role = first.and_then(string);
    let role = role.ok_or_else(|| "sent an unexpected reply to ROLE".to_owned())?;
    Ok(Printable(role).to_string())
}
