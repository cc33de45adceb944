//! Session commands of a client with a dedicated link: they are sent on that link, and the client
//! and its pool change when the server has accepted them.

use std::sync::Arc;

use crate::command::client as client_command;
use crate::command::{Answer, ErrorReply, Plan, Session, auth, hello, select};
use crate::resp::{Args, Protocol, write};

use crate::dedicated::pin::{Change, Tracking};
use crate::dedicated::watches::Watches;
use crate::link::credential::Credential;
use crate::link::handshake::split_hello;
use crate::link::verb::Verb;
use crate::proxy::forward::answer::Handled;
use crate::proxy::machine::Machine;
use crate::session::change::{Goal, Target};
use crate::store::key::{AccessKey, ClientKey};

/// The error for a login to another tenant: what the link holds cannot move to another server.
const OTHER_TENANT: ErrorReply = ErrorReply::Proxy(
    "ERR elika: a client that watches, tracks or subscribes cannot change its tenant",
);

pub(super) const CLOSED: ErrorReply = ErrorReply::unavailable("connection closed");

impl Machine {
    /// Handles a session command. Nothing unsettled is in flight, and the client is neither inside
    /// MULTI nor a RESP2 subscriber.
    pub(super) fn session_with_pin(
        &mut self,
        key: ClientKey,
        session: Session,
        frame: &[u8],
    ) -> Handled {
        let args = Args::new(frame);
        // Nothing is held: the link is about to become shared, and the client can then change
        // freely.
        let held = self
            .clients
            .get(key)
            .is_some_and(|client| client.pin().is_some_and(|pin| pin.holds()));
        if !held && matches!(session, Session::Auth | Session::Hello) && !self.at_barrier(key) {
            return Handled::Later;
        }
        let outcome = match session {
            Session::Select => match select::parse(args) {
                Ok(db) => return self.change_by(key, Change::Select(db), frame),
                Err(error) => Err(error),
            },
            Session::Auth => self.auth_with_pin(key, args),
            Session::Hello => self.hello_with_pin(key, args),
            _ => return self.session(key, session, frame),
        };
        match outcome {
            Ok(taken) => taken,
            // The error may close the client: the replies before it come first.
            Err(_) if !self.at_barrier(key) => Handled::Later,
            Err(error) => {
                self.refuse_change(key, session, &error);
                Handled::Yes
            }
        }
    }

    fn auth_with_pin(&mut self, key: ClientKey, args: Args<'_>) -> Result<Handled, ErrorReply> {
        let request = auth::parse(args)?;
        let target = self.target(key, request.user, request.password, None)?;
        self.verify_for_dedicated(key, Goal::Auth, target)
    }

    /// Verifies a credential on another link before it is sent on the dedicated one: there, a
    /// server may not reply to a failed AUTH while messages are pending.
    fn verify_for_dedicated(
        &mut self,
        key: ClientKey,
        goal: Goal,
        target: Target,
    ) -> Result<Handled, ErrorReply> {
        let current = self.instance_of_client(key);
        if self.upstreams.instance_of_access(target.access) != current {
            return Err(OTHER_TENANT);
        }
        if !self.at_barrier(key) {
            return Ok(Handled::Later);
        }
        self.change(key, goal, Some(target));
        Ok(Handled::Yes)
    }

    /// Logs in on the dedicated link with a credential that was verified.
    pub(in crate::proxy) fn change_dedicated(
        &mut self,
        key: ClientKey,
        goal: Goal,
        access: AccessKey,
        protocol: Protocol,
    ) {
        let Some(credential) = self.upstreams.credential(access).cloned() else {
            return;
        };
        let mut bytes = Vec::new();
        let change = match goal {
            Goal::Hello { name } => {
                let version = protocol.number().to_string();
                credential.write_hello(&version, &mut bytes);
                Change::Hello {
                    login: Some(credential),
                    protocol,
                    name,
                }
            }
            _ => {
                credential.write_auth_again(&mut bytes);
                Change::Login(credential)
            }
        };
        if self.change_by(key, change, &bytes) == Handled::Later {
            self.refuse_change(key, Session::Auth, &CLOSED);
        }
    }

    fn hello_with_pin(&mut self, key: ClientKey, args: Args<'_>) -> Result<Handled, ErrorReply> {
        let request = hello::parse(args)?;
        let client = self
            .clients
            .get(key)
            .ok_or(ErrorReply::fixed("ERR no client"))?;
        let protocol = request.protocol.unwrap_or(client.protocol);
        let name = request.name.map(<[u8]>::to_vec);
        if let Some((user, password)) = request.auth {
            let target = self.target(key, Some(user), password, request.protocol)?;
            return self.verify_for_dedicated(key, Goal::Hello { name }, target);
        }
        let mut bytes = Vec::new();
        let version = protocol.number().to_string();
        write::command(&mut bytes, &[b"HELLO", version.as_bytes()]);
        let change = Change::Hello {
            login: None,
            protocol,
            name,
        };
        Ok(self.change_by(key, change, &bytes))
    }

    /// Handles CLIENT TRACKING ON. The client to redirect to is given by the proxy's number; the
    /// server's number of that client's link takes its place.
    pub(super) fn track(&mut self, key: ClientKey, frame: &[u8]) -> Handled {
        let tracking = Tracking {
            redirect: None,
            by_choice: client_command::tracks_by_choice(Args::new(frame)),
        };
        let change = Change::Tracking(Some(tracking));
        let Some((at, id)) = client_command::redirect_of(Args::new(frame)) else {
            return self.change_by(key, change, frame);
        };
        let modal = self.clients.get(key).is_some_and(|client| {
            client
                .pin()
                .is_some_and(|pin| pin.is_modal(client.protocol))
        });
        if modal {
            return self.forward_one(key, frame);
        }
        if !self.at_barrier(key) {
            return Handled::Later;
        }
        self.ask_for_subscriber(key, id, at, frame);
        Handled::Yes
    }

    /// The client to redirect to is known: `at` is the place of its number in `frame`.
    pub(in crate::proxy) fn track_for(
        &mut self,
        key: ClientKey,
        (id, backend_id): (u64, u64),
        at: usize,
        frame: &[u8],
    ) {
        if self.clients.pin_mut(key).is_none() {
            // The dedicated link was lost while other workers were asked.
            return self.reply_error(key, &CLOSED);
        }
        let number = backend_id.to_string();
        let args = Args::new(frame).enumerate();
        let args: Vec<&[u8]> = args
            .map(|(i, arg)| if i == at { number.as_bytes() } else { arg })
            .collect();
        let mut bytes = Vec::new();
        write::command(&mut bytes, &args);
        let tracking = Tracking {
            redirect: Some(id),
            by_choice: client_command::tracks_by_choice(Args::new(frame)),
        };
        if self.change_by(key, Change::Tracking(Some(tracking)), &bytes) == Handled::Later {
            self.reply_error(key, &CLOSED);
        }
    }

    /// Handles CLIENT GETREDIR and TRACKINGINFO of a client that tracks: their replies contain the
    /// proxy's number of the other client. Otherwise they are answered as for any client.
    pub(super) fn answer_tracking(&mut self, key: ClientKey, answer: Answer, frame: &[u8]) {
        let pin = self.clients.get(key).and_then(|c| c.pin());
        let tracking = pin.and_then(|pin| pin.tracking);
        match (answer, tracking) {
            (Answer::ClientGetRedir, Some(tracking)) => {
                let mut out = Vec::new();
                let id = tracking.redirect.unwrap_or_default();
                write::integer(&mut out, id.cast_signed());
                self.reply(key, &out);
            }
            (Answer::ClientTrackingInfo, Some(Tracking { redirect: None, .. })) => {
                self.forward_one(key, frame);
            }
            (Answer::ClientTrackingInfo, Some(_)) => {
                self.change_by(key, Change::TrackingInfo, frame);
            }
            _ => self.answer(key, Plan::Answer(answer), frame),
        }
    }

    /// Handles a successful SELECT on a dedicated link.
    pub(super) fn selected(&mut self, key: ClientKey, db: u32) {
        if let Some(client) = self.clients.get(key) {
            let access = self.upstreams.access_key(client.pool);
            let protocol = client.protocol;
            self.move_with_link(key, access, db, protocol);
        }
    }

    /// Handles a successful login on a dedicated link.
    pub(super) fn logged_in_dedicated(&mut self, key: ClientKey, credential: Arc<Credential>) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let (db, protocol) = (client.db, client.protocol);
        let Some(instance) = self.instance_of_client(key) else {
            return;
        };
        let tenant = self.upstreams.tenant_of_account(client.account());
        let account = self.upstreams.account((tenant, Some(credential)));
        let access = self.upstreams.access_to(instance, account);
        self.upstreams.accept(access);
        self.become_user(key, account);
        self.move_with_link(key, access, db, protocol);
    }

    /// Moves a client with its dedicated link to the pool of its new identity. Both move at once:
    /// the link may lose its client at any time, and must then be idle where its session belongs.
    pub(super) fn move_with_link(
        &mut self,
        key: ClientKey,
        access: AccessKey,
        db: u32,
        protocol: Protocol,
    ) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let on = client.link;
        let to = self.upstreams.pool(access, db, protocol);
        self.move_client(key, to);
        if let Some(client) = self.clients.get_mut(key) {
            (client.db, client.protocol) = (db, protocol);
            // The link stays the same.
            client.set_link(on);
        }
        let Some(link) = self.links.get(on) else {
            return;
        };
        let to = match link.clustered {
            // The link is to a node.
            true => self.upstreams.pool_on(link.instance, to),
            false => to,
        };
        if link.pool != to {
            self.change_pool(on, to);
        }
    }

    /// Handles the reply to HELLO; the client's number takes the place of the link's.
    pub(super) fn hello_done(
        &mut self,
        key: ClientKey,
        change: Change,
        reply: &[u8],
        silent: bool,
    ) {
        let Change::Hello {
            login,
            protocol,
            name,
        } = change
        else {
            return;
        };
        if let Some(credential) = login {
            self.logged_in_dedicated(key, credential);
        }
        if let Some(client) = self.clients.get(key) {
            let (access, db) = (self.upstreams.access_key(client.pool), client.db);
            self.move_with_link(key, access, db, protocol);
        }
        if let Some(name) = name {
            self.clients.named(key, &name);
        }
        let mut out = Vec::new();
        if let (Some(client), Some((hello, _))) = (self.clients.get(key), split_hello(reply)) {
            hello.write(client.id, &mut out);
            self.show_mode(key, client.pool, &mut out);
        }
        if !silent {
            self.clients.write(key, &out);
        }
    }

    /// Handles the reply to CLIENT TRACKINGINFO: the proxy's number of the other client is put in.
    pub(super) fn tracking_answered(&mut self, key: ClientKey, reply: &[u8], silent: bool) {
        let pin = self.clients.get(key).and_then(|c| c.pin());
        let redirect = pin
            .and_then(|pin| pin.tracking)
            .and_then(|tracking| tracking.redirect);
        let mut out = Vec::new();
        match (redirect, hello::split_at(reply, b"redirect")) {
            (Some(id), Some((before, after))) => {
                out.extend_from_slice(reply.get(before).unwrap_or_default());
                out.extend_from_slice(id.to_string().as_bytes());
                out.extend_from_slice(reply.get(after).unwrap_or_default());
            }
            _ => out.extend_from_slice(reply),
        }
        if !silent {
            self.clients.write(key, &out);
        }
    }
}

impl Machine {
    /// Handles WATCH.
    pub(super) fn watch(&mut self, key: ClientKey, frame: &[u8]) -> Handled {
        let db = self.clients.get(key).map_or(0, |client| client.db);
        let hashes = Watches::hashes(db, Args::new(frame).skip(1));
        self.send(key, Verb::Watch, 1, Some(Change::Watch(hashes)), frame)
    }
}
