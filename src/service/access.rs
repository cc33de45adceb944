//! Access control: a caller needs the token, or to be on this machine and use the admin listener.

use std::fmt;
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};

use super::envelope::failure;
use super::http::{Head, Response};

/// The service token. Neither logs nor debug output show it.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// `text` is printable ASCII without spaces.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether `text` is the token. The comparison takes the same time wherever the texts differ.
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

/// The sender of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) peer: IpAddr,
    /// The request came to the admin listener.
    pub(super) admin: bool,
}

/// What a caller may do; each level includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// Read what is no secret.
    All,
    /// Add clusters, in a way that takes nothing from any tenant. A reverse proxy on this machine
    /// that adds no header looks like a local caller, so all of its clients have this level.
    Local,
    /// Everything.
    Trusted,
}

/// The access level of a caller.
///
/// # Errors
///
/// 401 if a token is set and the request does not have it; 403 if no token is set and the caller is
/// not local.
pub(super) fn check(
    token: Option<&Token>,
    head: &Head,
    caller: Caller,
) -> Result<Access, Response> {
    match token {
        Some(token) if bearer(head).is_some_and(|text| token.is(text)) => Ok(Access::Trusted),
        Some(_) => {
            let message = "needs the header Authorization: Bearer TOKEN, with the service token";
            Err(failure(401, message).with("WWW-Authenticate", "Bearer"))
        }
        None if !is_local(head, caller.peer) => Err(failure(
            403,
            "without --service-token only callers on this machine are allowed, with localhost or an \
             IP address as the host, and neither web pages nor proxies",
        )),
        None if caller.admin => Ok(Access::Trusted),
        None => Ok(Access::Local),
    }
}

/// The response to a caller on this machine that needs the admin listener.
pub(super) fn wrong_listener(admin: Option<SocketAddr>) -> Response {
    let place = match admin {
        Some(address) => format!("this needs the admin listener, http://{address}"),
        None => "this needs --service-admin-bind".to_owned(),
    };
    let message = format!("without --service-token {place}");
    failure(403, message)
}

fn bearer(head: &Head) -> Option<&str> {
    let (scheme, token) = head.authorization.as_deref()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether the caller is on this machine, and neither a browser nor a reverse proxy. A web page
/// whose name resolves to this machine shows in the Host header.
fn is_local(head: &Head, peer: IpAddr) -> bool {
    let host = head.host.as_deref().unwrap_or_default();
    peer.to_canonical().is_loopback()
        && !head.has_origin
        && !head.is_forwarded
        && (host.is_empty() || is_local_name(host))
}

/// `localhost` or an IP address, with or without a port.
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
    fn configured_token_alone_decides() {
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
    fn refusal_names_the_authentication_scheme() {
        let head = request_of("GET /clients HTTP/1.0\r\n\r\n").head;
        let caller = Caller {
            peer: HERE.into(),
            admin: false,
        };
        let response = check(Some(&Token::new("x")), &head, caller).unwrap_err();
        assert_eq!(response.header("WWW-Authenticate"), Some("Bearer"));
    }

    #[test]
    fn without_a_token_callers_must_be_local() {
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
    fn local_browsers_and_proxies_are_refused() {
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
    fn access_of_a_local_caller_depends_on_the_listener() {
        let head = request_of("POST /drain HTTP/1.1\r\nHost: localhost\r\n\r\n").head;
        let peer = HERE.into();
        let access =
            |token: Option<&Token>, admin| check(token, &head, Caller { peer, admin }).ok();
        assert_eq!(access(None, true), Some(Access::Trusted));
        assert_eq!(access(None, false), Some(Access::Local));
        assert_eq!(access(Some(&Token::new("x")), true), None);
    }

    #[test]
    fn debug_output_hides_the_token() {
        assert_eq!(format!("{:?}", Token::new("s3cret")), "Token(..)");
    }
}
