//! Commands that change the client's session, or ask about clients.

use std::sync::Arc;

use crate::command::{ErrorReply, Plan, Session, auth, client as client_command, hello, select};
use crate::resp::{Args, Protocol, RequestLimits};

use crate::link::credential::Credential;
use crate::proxy::forward::answer::Handled;
use crate::proxy::forward::route::Refusal;
use crate::proxy::machine::Machine;
use crate::proxy::texts::NO_INSTANCE;
use crate::session::change::{Goal, Target};
use crate::session::client::ReplyMode;
use crate::store::key::{AccountKey, ClientKey, PoolKey, TenantSlot};

/// The error of Redis for an unknown user name and for a wrong password: it does not tell which of
/// them was wrong.
const WRONGPASS: ErrorReply =
    ErrorReply::fixed("WRONGPASS invalid username-password pair or user is disabled.");

/// The longest name and the longest password that are verified, bytes.
const CREDENTIAL_BYTES_MAX: usize = RequestLimits::BEFORE_LOGIN.arg_bytes_max as usize;

/// What Redis says to HELLO without a login where one is needed.
const HELLO_NOAUTH: ErrorReply = ErrorReply::fixed(
    "NOAUTH HELLO must be called with the client already authenticated, \
    otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client \
    and select the RESP protocol version at the same time",
);

impl Machine {
    /// Carries out a session command. A command that may change the client's pool waits until
    /// nothing of the client is in flight.
    pub(in crate::proxy) fn session(
        &mut self,
        key: ClientKey,
        session: Session,
        frame: &[u8],
    ) -> Handled {
        let args = Args::new(frame);
        // CLIENT REPLY is allowed before a login: after CLIENT REPLY OFF, an error would not reach
        // the client.
        let before_login = matches!(
            session,
            Session::Auth | Session::Hello | Session::Quit | Session::Reset | Session::ClientReply
        );
        let pinned = self.clients.get(key).is_some_and(|c| c.pin().is_some());
        if !before_login
            && !pinned
            && let Err(refusal) = self.admit(key)
        {
            // The refusal may close the client: the replies before it come first.
            if Plan::Session(session).governs_next() && !self.at_barrier(key) {
                return Handled::Later;
            }
            return self.refuse(key, refusal);
        }
        if matches!(session, Session::ClientList | Session::ClientKill)
            && let Some(taken) = self.ask_about_user(key, frame)
        {
            return taken;
        }
        // Inside MULTI the server checks the permission when the command is queued: see `queue`.
        if let Err(taken) = self.permit(key, Plan::Session(session)) {
            return taken;
        }
        let in_order = matches!(
            session,
            Session::ClientSetName | Session::ClientSetInfo | Session::ClientReply
        );
        if !in_order && !self.at_barrier(key) {
            return Handled::Later;
        }
        if let Some(taken) = self.wait_if_paused(key, session, frame) {
            return taken;
        }
        self.asking = (key, frame.len());
        let outcome = match session {
            Session::Auth => self.auth(key, args),
            Session::Hello => self.hello(key, args),
            Session::Select => self.select(key, args),
            Session::Reset => self.reset(key),
            Session::Quit => self.quit(key),
            Session::ClientSetName => self.set_name(key, args),
            Session::ClientSetInfo => self.set_info(key, args),
            Session::ClientReply => self.reply_mode(key, args),
            Session::ClientList => self.client_list(key, args),
            Session::ClientInfo => self.client_info(key),
            Session::ClientKill => self.client_kill(key, args),
            Session::ClientUnblock => self.client_unblock(key, args),
        };
        self.asking.0 = ClientKey::NONE;
        match outcome {
            Err(error) => self.refuse_change(key, session, &error),
            Ok(()) if matches!(session, Session::Reset | Session::ClientReply) => {
                self.note_refused_command(key);
            }
            Ok(()) => {}
        }
        Handled::Yes
    }

    /// Makes a login to a paused tenant wait until the pause ends.
    fn wait_if_paused(
        &mut self,
        key: ClientKey,
        session: Session,
        frame: &[u8],
    ) -> Option<Handled> {
        if !self.upstreams.any_limits() {
            return None;
        }
        let args = Args::new(frame);
        let login = match session {
            Session::Auth => auth::parse(args).ok().map(|request| request.user),
            Session::Hello => {
                let auth = hello::parse(args).ok().and_then(|request| request.auth);
                auth.map(|(user, _)| Some(user))
            }
            _ => None,
        };
        self.wait_for_login_tenant(key, login?)
    }

    /// Handles CLIENT LIST and CLIENT KILL for the clients of another user. No other user's clients
    /// are shown, and the server answers whether the user exists.
    fn ask_about_user(&mut self, key: ClientKey, frame: &[u8]) -> Option<Handled> {
        let mut question = Vec::new();
        let asks = client_command::write_user_probe(frame, self.user_of(key), &mut question);
        asks.then(|| self.forward_one(key, &question))
    }

    fn auth(&mut self, key: ClientKey, args: Args<'_>) -> Result<(), ErrorReply> {
        let request = auth::parse(args)?;
        let target = self.target(key, request.user, request.password, None)?;
        self.change(key, Goal::Auth, Some(target));
        Ok(())
    }

    fn hello(&mut self, key: ClientKey, args: Args<'_>) -> Result<(), ErrorReply> {
        let request = hello::parse(args)?;
        let name = request.name.map(<[u8]>::to_vec);
        let target = match request.auth {
            Some((user, password)) => self.target(key, Some(user), password, request.protocol)?,
            None => self.stay(key, request.protocol)?,
        };
        self.change(key, Goal::Hello { name }, Some(target));
        Ok(())
    }

    /// The [`Target`] of a login with AUTH or HELLO. `login` is `None` for AUTH with one argument:
    /// the default user.
    pub(in crate::proxy) fn target(
        &mut self,
        key: ClientKey,
        login: Option<&[u8]>,
        password: &[u8],
        protocol: Option<Protocol>,
    ) -> Result<Target, ErrorReply> {
        let client = self.clients.get(key).ok_or(WRONGPASS)?;
        let (db, current) = (client.db, client.protocol);
        // The credential is kept while its account is used. No server accepts a longer argument
        // from a client that has not logged in.
        if login.unwrap_or_default().len().max(password.len()) > CREDENTIAL_BYTES_MAX {
            return Err(WRONGPASS);
        }
        let Some((tenant, user)) = self.upstreams.resolve(login) else {
            if let Some(login) = login {
                self.note_refused_login(key, TenantSlot::NONE, login);
            }
            return Err(WRONGPASS);
        };
        let tenant = tenant.ok_or(NO_INSTANCE)?;
        let credential = Credential {
            user: login.map(|_| user.into()),
            password: password.into(),
        };
        let instance = self.instance_for(key, tenant).ok_or(NO_INSTANCE)?;
        let identity = (tenant, Some(Arc::new(credential)));
        let account = self.upstreams.account(identity);
        Ok(Target {
            access: self.upstreams.access_to(instance, account),
            login: true,
            db,
            protocol: protocol.unwrap_or(current),
        })
    }

    /// HELLO without a login: the same account, possibly with the other protocol.
    fn stay(&mut self, key: ClientKey, protocol: Option<Protocol>) -> Result<Target, ErrorReply> {
        match self.admit(key) {
            Ok(()) | Err(Refusal::Unknown) => {}
            Err(Refusal::Error(error)) => return Err(error),
            Err(_) => return Err(HELLO_NOAUTH),
        }
        let client = self.clients.get(key).ok_or(HELLO_NOAUTH)?;
        let protocol = protocol.unwrap_or(client.protocol);
        Ok(Target {
            access: self.upstreams.access_key(client.pool),
            login: false,
            db: client.db,
            protocol,
        })
    }

    fn select(&mut self, key: ClientKey, args: Args<'_>) -> Result<(), ErrorReply> {
        let db = select::parse(args)?;
        let Some(client) = self.clients.get(key) else {
            return Ok(());
        };
        let target = Target {
            access: self.upstreams.access_key(client.pool),
            login: false,
            db,
            protocol: client.protocol,
        };
        self.change(key, Goal::Select, Some(target));
        Ok(())
    }

    /// Resets the session to the state of a new connection; the client keeps its number.
    fn reset(&mut self, key: ClientKey) -> Result<(), ErrorReply> {
        self.drop_pin(key);
        self.move_client(key, PoolKey::NONE);
        self.become_user(key, AccountKey::NONE);
        let mut skipped = false;
        if let Some(client) = self.clients.get_mut(key) {
            (client.db, client.protocol) = (0, Protocol::Resp2);
            // After CLIENT REPLY OFF the reply to RESET is sent; after SKIP it is skipped.
            skipped = client.reply_mode == ReplyMode::SkipNext;
            client.reply_mode = ReplyMode::On;
            if let Some(details) = client.details.as_deref_mut() {
                details.name = Box::default();
                details.read_only = false;
            }
        }
        if !skipped {
            self.reply(key, b"+RESET\r\n");
        }
        Ok(())
    }

    fn quit(&mut self, key: ClientKey) -> Result<(), ErrorReply> {
        self.reply(key, b"+OK\r\n");
        self.finish_client(key);
        Ok(())
    }

    fn set_name(&mut self, key: ClientKey, args: Args<'_>) -> Result<(), ErrorReply> {
        let name = client_command::parse_set_name(args)?;
        self.clients.named(key, name);
        self.reply(key, b"+OK\r\n");
        Ok(())
    }

    fn set_info(&mut self, key: ClientKey, args: Args<'_>) -> Result<(), ErrorReply> {
        let info = client_command::parse_set_info(args)?;
        self.clients.note_library(key, info);
        self.reply(key, b"+OK\r\n");
        Ok(())
    }

    fn reply_mode(&mut self, key: ClientKey, args: Args<'_>) -> Result<(), ErrorReply> {
        let mode = client_command::parse_reply(args)?;
        let Some(client) = self.clients.get_mut(key) else {
            return Ok(());
        };
        match mode {
            client_command::ReplyMode::On => {
                client.reply_mode = ReplyMode::On;
                self.reply(key, b"+OK\r\n");
            }
            client_command::ReplyMode::Off => client.reply_mode = ReplyMode::Off,
            // SKIP has no effect while the mode is OFF.
            client_command::ReplyMode::Skip if client.reply_mode == ReplyMode::Off => {}
            client_command::ReplyMode::Skip => client.reply_mode = ReplyMode::SkipNext,
        }
        Ok(())
    }
}
