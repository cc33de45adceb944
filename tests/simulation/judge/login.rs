//! AUTH, HELLO and SELECT: what the server said of the very password must be what the client hears.

use super::super::client::{Login, Op, Sent};
use super::super::redis::{self, DB_RANGE, HELLO_NOAUTH, hello};
use super::super::wire;
use super::{After, Model, NO_HELLO, NOAUTH, Verdict, View, WRONGPASS, failed, is_unavailable};

/// What a connection of one's own holds cannot go elsewhere.
const BOUND: &str =
    "ERR elika: a client that watches, tracks or subscribes cannot change its tenant";

impl Model {
    /// The login went well: did the server say so?
    pub(super) fn logged_in(
        &mut self,
        login: &Login,
        sent: &Sent,
        view: &View<'_>,
    ) -> Result<(), String> {
        let Some(server) = login.server else {
            return Err(format!("logged in to nowhere: {login:?}"));
        };
        let asked = view.servers[server]
            .verdicts
            .iter()
            .rev()
            .take_while(|verdict| verdict.step >= sent.at.step)
            .any(|verdict| verdict.password == login.password && verdict.reply == "OK");
        if !asked {
            return Err(format!("{login:?} was not verified by the server"));
        }
        self.login = Some((server, login.user.clone()));
        self.logged_out = false;
        Ok(())
    }

    /// May a login fail with this text?
    pub(super) fn may_fail(
        &self,
        login: &Login,
        protocol: u8,
        text: &str,
        sent: &Sent,
        view: &View<'_>,
    ) -> bool {
        let since = |step: u64| step >= sent.at.step;
        let said = |verdict: &&redis::Verdict| {
            verdict.password == login.password && verdict.reply == text && text != "OK"
        };
        let by_server = view.servers.iter().any(|server| {
            let mut recent = server.verdicts.iter().rev().take_while(|v| since(v.step));
            recent.any(|verdict| said(&verdict))
        });
        let Some(server) = login.server else {
            return by_server || text == WRONGPASS;
        };
        if text == BOUND {
            return self.holds() && self.server(view) != login.server;
        }
        let server = &view.servers[server];
        let changed = !server.changes.is_empty() && [WRONGPASS, NOAUTH].contains(&text);
        let unlisted = text == WRONGPASS && failed(server, sent, view);
        by_server
            || changed
            || unlisted
            || text == DB_RANGE && self.db >= server.databases
            || text == NO_HELLO && server.old && (protocol == 3 || self.holds())
            || is_unavailable(text) && failed(server, sent, view)
    }

    pub(super) fn hello(&mut self, sent: &Sent, reply: &[u8], view: &View<'_>) -> Verdict {
        let Op::Hello {
            protocol,
            login,
            name,
        } = &sent.op
        else {
            return Err("no HELLO".into());
        };
        let wanted = protocol.unwrap_or(self.protocol);
        if let Some(text) = wire::error_text(reply) {
            let server = login
                .as_ref()
                .map_or_else(|| self.server(view), |login| login.server);
            let old = server.is_some_and(|server| view.servers[server].old);
            let fine = text.starts_with("NOPROTO") && wanted == 4
                || match login {
                    Some(login) => self.may_fail(login, wanted, text, sent, view),
                    None => {
                        [HELLO_NOAUTH, NOAUTH].contains(&text) && self.may_be_stranger(view)
                            || text == NO_HELLO && old
                            || is_unavailable(text) && self.is_unavailable(sent, view)
                    }
                };
            return match fine {
                true => Ok(After::default()),
                false => Err("HELLO failed".into()),
            };
        }
        if wanted == 4 || reply != hello(wanted, self.id) {
            return Err("not a reply to this HELLO".into());
        }
        match login {
            Some(login) => self.logged_in(login, sent, view)?,
            None if self.must_be_stranger(view) => return Err("HELLO to a stranger".into()),
            None => {}
        }
        self.protocol = wanted;
        if let Some(name) = name {
            self.name.clone_from(name);
        }
        Ok(After::default())
    }

    pub(super) fn select(
        &mut self,
        db: i64,
        sent: &Sent,
        reply: &[u8],
        view: &View<'_>,
    ) -> Verdict {
        let Some(server) = self.server(view) else {
            return self.local(sent, reply, view, |_, _| false);
        };
        let exists = (0..i64::from(view.servers[server].databases)).contains(&db);
        let after = self.local(sent, reply, view, |_, reply| match exists {
            true => reply == b"+OK\r\n",
            false => wire::error_text(reply) == Some(DB_RANGE),
        })?;
        if reply == b"+OK\r\n" {
            self.db = db as u32;
        }
        Ok(after)
    }
}
