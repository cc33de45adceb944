//! Who may change something, or look at clients: who brings the token, or is on this machine and
//! comes to the admin listener.

use std::fmt;
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};

use super::envelope::failure;
use super::http::{Head, Response};

/// What callers bring. No log and no debug output shows it.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// `text` is printable ASCII without spaces.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Is `text` the token? Takes as long for a text that begins alike as for any other of that
    /// length.
    fn is(&self, text: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), text.as_bytes());
        let mut differs = u8::from(own.len() != other.len());
        for (own, other) in own.iter().zip(other) {
            differs = black_box(differs | (own ^ other));
        }
        differs == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) peer: IpAddr,
    /// It came to the admin listener.
    pub(super) admin: bool,
}

/// How far a caller is trusted; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// To look at what is no secret.
    Anybody,
    /// To add what takes nothing from any tenant. A reverse proxy on this machine that adds no
    /// header looks like a caller on this machine: whoever it serves has this much.
    Adds,
    /// Everything.
    Full,
}

/// How far is this caller trusted?
///
/// # Errors
///
/// The answer to a caller that is trusted no more than anybody.
pub(super) fn check(token: Option<&Token>, head: &Head, caller: Caller) -> Result<Trust, Response> {
    match token {
        Some(token) if bearer(head).is_some_and(|text| token.is(text)) => Ok(Trust::Full),
        Some(_) => {
            let message = "needs the header Authorization: Bearer TOKEN, with the service token";
            Err(failure(401, message).with("WWW-Authenticate", "Bearer"))
        }
        None if !is_local(head, caller.peer) => Err(failure(
            403,
            "without a --service-token this is for callers on this machine only, which say \
             localhost or an IP address, and are neither web pages nor proxies",
        )),
        None if caller.admin => Ok(Trust::Full),
        None => Ok(Trust::Adds),
    }
}

/// The answer to a caller on this machine that came to the wrong listener.
pub(super) fn wrong_listener(admin: Option<SocketAddr>) -> Response {
    let place = match admin {
        Some(address) => format!("is for the admin listener, http://{address}"),
        None => "needs --service-admin-bind".to_owned(),
    };
    let message = format!("without a --service-token this {place}");
    failure(403, message)
}

fn bearer(head: &Head) -> Option<&str> {
    let (scheme, token) = head.authorization.as_deref()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Is it somebody on this machine, and not just somebody's browser or reverse proxy here? A web
/// page that makes its own name point to this machine is known by that name.
fn is_local(head: &Head, peer: IpAddr) -> bool {
    let host = head.host.as_deref().unwrap_or_default();
    peer.to_canonical().is_loopback()
        && !head.has_origin
        && !head.is_forwarded
        && (host.is_empty() || is_local_name(host))
}

/// `localhost` or an IP address, with a port or without.
fn is_local_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bracketed = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost") || bracketed.unwrap_or(name).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::check::request_of;

    const HERE: [u8; 4] = [127, 0, 0, 1];

    fn status(token: Option<&str>, headers: &str, peer: impl Into<IpAddr>) -> u16 {
        let token = token.map(Token::new);
        let head = request_of(&format!("POST /drain HTTP/1.1\r\n{headers}\r\n\r\n")).head;
        let caller = Caller {
            peer: peer.into(),
            admin: true,
        };
        let refused = check(token.as_ref(), &head, caller).err();
        refused.map_or(200, |response| response.status())
    }

    #[test]
    fn with_a_token_it_decides_alone() {
        let with = |header: &str| {
            let headers = format!("Host: elika.shop\r\nOrigin: http://x\r\n{header}");
            status(Some("s3cret"), &headers, [10, 0, 0, 7])
        };
        assert_eq!(with("Authorization: Bearer s3cret"), 200);
        assert_eq!(with("authorization: bearer  s3cret"), 200);
        for header in [
            "X: y",
            "Authorization: s3cret",
            "Authorization: Basic s3cret",
            "Authorization: Bearer",
            "Authorization: Bearer s3cre",
            "Authorization: Bearer s3creu",
            "Authorization: Bearer s3cret1",
            "Authorization: Bearer S3CRET",
        ] {
            assert_eq!(with(header), 401, "{header}");
        }
        assert_eq!(status(Some("s3cret"), "Host: localhost", HERE), 401);
    }

    #[test]
    fn a_refusal_tells_what_to_bring() {
        let head = request_of("GET /clients HTTP/1.0\r\n\r\n").head;
        let caller = Caller {
            peer: HERE.into(),
            admin: false,
        };
        let response = check(Some(&Token::new("x")), &head, caller).unwrap_err();
        assert_eq!(response.header("WWW-Authenticate"), Some("Bearer"));
    }

    #[test]
    fn without_a_token_the_peer_must_be_here() {
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        let v6: IpAddr = "::1".parse().unwrap();
        for peer in [HERE.into(), [127, 8, 9, 1].into(), v6, mapped] {
            assert_eq!(status(None, "Host: localhost:7080", peer), 200, "{peer}");
        }
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let v6: IpAddr = "fe80::1".parse().unwrap();
        for peer in [[10, 0, 0, 1].into(), v6, mapped] {
            assert_eq!(status(None, "Host: localhost:7080", peer), 403, "{peer}");
        }
        let shown = "Host: localhost\r\nAuthorization: Bearer anything";
        assert_eq!(status(None, shown, [10, 0, 0, 1]), 403);
    }

    #[test]
    fn a_browser_or_a_proxy_here_is_not_enough() {
        for headers in [
            "Host: localhost\r\nOrigin: http://evil.example",
            "Host: localhost\r\nOrigin: null",
            "Host: localhost\r\nX-Forwarded-For: 10.0.0.7",
            "Host: localhost\r\nForwarded: for=10.0.0.7",
            "Host: localhost\r\nVia: 1.1 front",
            "Host: evil.example",
            "Host: evil.example:7080",
            "Host: localhost.evil.example",
            "Host: 127.0.0.1.evil.example",
        ] {
            assert_eq!(status(None, headers, HERE), 403, "{headers}");
        }
        for host in [
            "",
            "127.0.0.1",
            "127.0.0.1:7080",
            "[::1]:7080",
            "[::1]",
            "LOCALHOST",
        ] {
            assert_eq!(status(None, &format!("Host: {host}"), HERE), 200, "{host}");
        }
    }

    #[test]
    fn the_listener_decides_how_far_a_local_caller_is_trusted() {
        let head = request_of("POST /drain HTTP/1.1\r\nHost: localhost\r\n\r\n").head;
        let peer = HERE.into();
        let trust = |token: Option<&Token>, admin| check(token, &head, Caller { peer, admin }).ok();
        assert_eq!(trust(None, true), Some(Trust::Full));
        assert_eq!(trust(None, false), Some(Trust::Adds));
        assert_eq!(trust(Some(&Token::new("x")), true), None);
    }

    #[test]
    fn the_token_is_not_shown() {
        assert_eq!(format!("{:?}", Token::new("s3cret")), "Token(..)");
    }
}
