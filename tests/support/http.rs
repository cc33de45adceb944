//! A small HTTP client for the calls that people make with curl.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// A caller of a service port, which uses a new connection for each call.
#[derive(Clone)]
pub(crate) struct Http {
    address: SocketAddr,
    /// The address of the admin listener, if calls that need trust go there.
    admin: Option<SocketAddr>,
    headers: String,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Http {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self {
            address,
            admin: None,
            headers: String::new(),
        }
    }

    /// A caller that sends calls for administrators to the admin listener.
    pub(crate) fn with_admin(&self, admin: Option<SocketAddr>) -> Self {
        Self {
            admin,
            ..self.clone()
        }
    }

    /// The address for this call.
    fn place(&self, method: &str, target: &str) -> SocketAddr {
        let public = method == "GET"
            && !["/clients", "/pools"]
                .iter()
                .any(|it| target.starts_with(it));
        self.admin.filter(|_| !public).unwrap_or(self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A caller that sends one more header in every request.
    pub(crate) fn with(&self, header: &str) -> Self {
        let headers = format!("{}{header}\r\n", self.headers);
        Self { headers, ..*self }
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, None)
    }

    pub(crate) fn post(&self, target: &str, body: &str) -> Answer {
        self.ask("POST", target, Some(body))
    }

    pub(crate) fn delete(&self, target: &str) -> Answer {
        self.ask("DELETE", target, None)
    }

    pub(crate) fn ask(&self, method: &str, target: &str, body: Option<&str>) -> Answer {
        self.try_ask(method, target, body)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    /// Returns `None` when nothing listens there.
    pub(crate) fn try_ask(
        &self,
        method: &str,
        target: &str,
        body: Option<&str>,
    ) -> Result<Answer, String> {
        let address = self.place(method, target);
        let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.map(|body| format!("Content-Length: {}\r\n", body.len()));
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}{}\r\n{}",
            address,
            self.headers,
            length.unwrap_or_default(),
            body.unwrap_or_default(),
        );
        stream
            .write_all(request.as_bytes())
            .map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => return Err(error.to_string()),
        }
        let answer = String::from_utf8(answer).map_err(|error| error.to_string())?;
        Answer::parse(&answer).ok_or_else(|| format!("no answer: {answer:?}"))
    }
}

impl Answer {
    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let answer = Self {
            status: head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?,
            head: head.to_owned(),
            body: body.to_owned(),
        };
        let length = answer.header("Content-Length");
        let whole = length.is_none_or(|length| length == body.len().to_string());
        whole.then_some(answer)
    }

    /// The value of a header, whose name is as it was sent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(other, _)| *other == name)
            .map(|(_, value)| value)
    }

    /// The data of a successful response.
    #[track_caller]
    pub(crate) fn data(&self) -> &str {
        assert!((200..300).contains(&self.status), "{self:?}");
        let data = self
            .body
            .strip_prefix(r#"{"code":0,"message":"success","data":"#);
        data.and_then(|data| data.strip_suffix('}'))
            .unwrap_or_else(|| panic!("{self:?}"))
    }

    /// The error of a failed response.
    #[track_caller]
    pub(crate) fn error(&self) -> (u16, &str) {
        let start = format!(r#"{{"code":{},"message":""#, self.status);
        let message = self.body.strip_prefix(&*start);
        let message = message.and_then(|it| it.strip_suffix(r#"","data":null}"#));
        (self.status, message.unwrap_or_else(|| panic!("{self:?}")))
    }
}
