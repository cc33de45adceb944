//! AUTH, HELLO and SELECT: the client's reply must be the server's reply to exactly this password.

use super::super::client::{Login, Op, Sent};
use super::super::redis::{self, DB_RANGE, HELLO_NOAUTH, Moment, hello};
use super::super::wire;
use super::location::Place;
use super::unavailable::{NO_INSTANCE, failed, is_unavailable};
use super::{After, Model, NO_HELLO, NOAUTH, Verdict, View, WRONGPASS};

/// A dedicated connection with state cannot move to another tenant.
const BOUND: &str =
    "ERR elika: a client that watches, tracks or subscribes cannot change its tenant";

impl Model {
    /// The login succeeded: checks that the server accepted it.
    pub(super) fn logged_in(
        &mut self,
        login: &Login,
        sent: &Sent,
        view: &View<'_>,
    ) -> Result<(), String> {
        let meanings = view.meanings(login, sent.at);
        let mut verified = Vec::new();
        for server in view.servers {
            let recent = server.verdicts.iter().rev();
            let recent = recent.take_while(|verdict| verdict.at.step >= sent.at.step);
            for it in recent.filter(|it| it.password == login.password && it.reply == "OK") {
                if meanings.contains(&Some((server.tenant, it.user.clone()))) {
                    verified.push((it.at, server.index, it.user.clone()));
                }
            }
        }
        // Other logins may have the same password; otherwise it is the first login with it, at the
        // last of the tenants that its name stood for.
        let known = login.is_unique();
        verified.sort();
        let tenant = |it: &(Moment, usize, String)| view.servers[it.1].tenant;
        if let Some(last) = verified.last().map(tenant).filter(|_| known) {
            verified.retain(|it| tenant(it) == last);
        }
        verified.truncate(if known { 1 } else { usize::MAX });
        let right = |it: &(Moment, usize, String)| self.may_come_to(it.1, sent, it.0, view);
        let Some((at, server, user)) = verified.iter().find(|it| right(it)).cloned() else {
            return Err(format!(
                "{login:?} was not verified where it may be: {verified:?}"
            ));
        };
        if known && self.untouched && !self.is_well_placed(server, sent, at, view) {
            return Err(format!(
                "logged in at server {server}, though others are fitter"
            ));
        }
        self.login = Some((view.servers[server].tenant, user));
        self.password = Some(login.password.clone());
        if !self.holds() {
            self.place = Place {
                server: known.then_some(server),
                seen: if known { at } else { sent.at },
            };
        }
        Ok(())
    }

    /// Whether its instance was one of the fittest for a new client, as far as that is known.
    fn is_well_placed(&self, server: usize, sent: &Sent, at: Moment, view: &View<'_>) -> bool {
        let server = &view.servers[server];
        let unknown = view.has_news(self.node, server.tenant, sent.at);
        let mut snapshots = view.snapshots(sent.at, at);
        unknown
            || snapshots.any(|it| {
                let usable = view.servers_of(server.tenant);
                let usable = usable.filter(|other| it.is_usable(other));
                let best = usable
                    .map(|other| view.unfitness(self.node, other, it))
                    .min();
                it.is_usable(server) && best == Some(view.unfitness(self.node, server, it))
            })
    }

    /// Whether a login that was sent then and verified at this moment may have used this instance.
    fn may_come_to(&self, server: usize, sent: &Sent, at: Moment, view: &View<'_>) -> bool {
        // A client with state stays on its instance.
        let stays = self.holds() && self.place.server.is_none_or(|last| last == server);
        let server = &view.servers[server];
        let snapshots = view.snapshots(sent.at, at);
        let leads = { snapshots.clone() }.any(|it| it.leads_to(server));
        stays || leads && { snapshots }.any(|it| it.is_usable(server))
    }

    /// Whether a login may fail with this text.
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
            let mut recent = server
                .verdicts
                .iter()
                .rev()
                .take_while(|v| since(v.at.step));
            recent.any(|verdict| said(&verdict))
        });
        let meanings = view.meanings(login, sent.at);
        if meanings.contains(&None) && (by_server || text == WRONGPASS) {
            return true;
        }
        let mut tenants = meanings.iter().flatten().map(|(tenant, _)| *tenant);
        tenants.any(|tenant| {
            if text == BOUND {
                return self.holds() && self.tenant(view) != Some(tenant);
            }
            let home = view.tenants[tenant].home;
            let changed = view.has_new_passwords(tenant) && [WRONGPASS, NOAUTH].contains(&text);
            let mut servers = view.servers_of(tenant);
            by_server
                || changed
                || text == DB_RANGE && self.db >= home.databases
                || text == NO_HELLO && home.old && (protocol == 3 || self.holds())
                || text == NO_INSTANCE && view.lacks_instances(tenant, sent.at)
                || is_unavailable(text) && servers.any(|server| failed(server, sent, view))
        })
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
            let old = self
                .tenant(view)
                .is_some_and(|it| view.tenants[it].home.old);
            let fine = text.starts_with("NOPROTO") && wanted == 4
                || match login {
                    Some(login) => self.may_fail(login, wanted, text, sent, view),
                    None => {
                        [HELLO_NOAUTH, NOAUTH].contains(&text) && self.may_be_anonymous(view)
                            || text == NO_HELLO && old
                            || self.is_unavailable(text, sent, view)
                    }
                };
            return match fine {
                true => Ok(After::default()),
                false => Err("HELLO failed".into()),
            };
        }
        // The fields about the server are from an earlier time.
        let ill = { view.servers.iter() }.any(|server| !server.spells.is_empty());
        let right = |primary| reply == hello(wanted, self.id, primary);
        if wanted == 4 || !(right(true) || ill && right(false)) {
            return Err("not a reply to this HELLO".into());
        }
        match login {
            Some(login) => self.logged_in(login, sent, view)?,
            None if self.must_be_anonymous(view) => {
                return Err("HELLO reply to an anonymous client".into());
            }
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
        let Some(tenant) = self.tenant(view) else {
            return self.local(sent, reply, view, |_, _| false);
        };
        let exists = (0..i64::from(view.tenants[tenant].home.databases)).contains(&db);
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
