//! CLIENT LIST, INFO and KILL, and what else asks all workers: this proxy's own clients of the
//! same user.
//!
//! Workers share nothing, so the one that is asked asks the others and waits for all answers.
//! Addresses, names and ids of other users' clients are nobody's business.

use crate::cluster::{InstanceId, TenantKey};
use crate::command::client::{Filter, Line};
use crate::resp::{Args, write};

use super::action::Action;
use super::client::{Client, Flag};
use super::key::ClientKey;
use super::login::Goal;
use super::machine::Machine;
use super::pin::Pin;

/// A client that is to get invalidations gets a connection for them within so many rounds of a
/// tenth of a second, or the one who wants that hears so.
const REDIRECT_TRIES_MAX: u32 = 30;

/// Whose clients are meant: those of one backend user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    tenant: TenantKey,
    instance: InstanceId,
    user: Box<[u8]>,
}

/// What one worker wants to know from the others.
#[derive(Clone, Debug)]
pub enum Question {
    /// The lines of the clients that match.
    List(Scope, Filter),
    /// Close the clients that match.
    Kill(Scope, Filter),
    /// The connection on which the client of this number is blocked.
    Blocked(Scope, i64),
    /// The connection on which the client of this number gets messages.
    Subscriber(Scope, i64),
    /// Nothing: this instance wants a login of everybody, as the asker was told.
    LoginNeeded(TenantKey, InstanceId),
}

/// What another worker says to it.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Ids and lines.
    Lines(Vec<(u64, Vec<u8>)>),
    /// How many were closed.
    Killed(u64),
    /// The connection asked for.
    Connection(Found),
    /// Nothing: that worker has ended, or was only told something.
    Gone,
}

/// What is known of a client that was asked for by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// It is none of this worker's.
    #[default]
    Nobody,
    /// It is there, but not in the state asked for.
    Otherwise,
    /// It is about to be.
    Soon,
    /// The backend's number of its own connection.
    Connection(u64),
}

/// Answers that came so far.
#[derive(Debug)]
pub(super) struct Gathering {
    /// Workers that have not answered.
    left: u16,
    lines: Vec<(u64, Vec<u8>)>,
    killed: u64,
    found: Found,
    pub purpose: Purpose,
}

/// What is done when all answers are in.
#[derive(Debug, Default)]
pub(super) enum Purpose {
    /// CLIENT LIST.
    #[default]
    List,
    /// CLIENT KILL: how the reply looks, and whether the asker goes too.
    Kill { old_form: bool, me_too: bool },
    /// CLIENT UNBLOCK: how the command shall end.
    Unblock { with_error: bool },
    /// CLIENT TRACKING ON REDIRECT: the client's number, where it stands in the request, and that.
    Redirect {
        id: u64,
        at: usize,
        frame: Box<[u8]>,
        /// How often it was asked already.
        tries: u32,
    },
}

impl Gathering {
    pub(super) fn about(found: Found, purpose: Purpose) -> Self {
        Self {
            found,
            ..Self::new(purpose)
        }
    }

    fn new(purpose: Purpose) -> Self {
        Self {
            left: 0,
            lines: Vec::new(),
            killed: 0,
            found: Found::Nobody,
            purpose,
        }
    }
}

impl Machine {
    pub(super) fn client_list(&mut self, key: ClientKey, args: Args<'_>) -> Result<(), String> {
        let filter = Filter::parse_list(args).map_err(|refusal| refusal.to_string())?;
        let Some(scope) = self.scope_of(key) else {
            return Ok(());
        };
        self.note(key, b"client|list");
        let lines = self.lines(&scope, &filter);
        let gathering = Gathering {
            lines,
            ..Gathering::new(Purpose::List)
        };
        self.ask(key, Question::List(scope, filter), gathering);
        Ok(())
    }

    pub(super) fn client_info(&mut self, key: ClientKey) -> Result<(), String> {
        self.note(key, b"client|info");
        let mut out = Vec::new();
        self.write_info(key, &mut out);
        self.say(key, &out);
        Ok(())
    }

    /// The client's own line, as a reply.
    pub(super) fn write_info(&self, key: ClientKey, out: &mut Vec<u8>) {
        let mut line = Vec::new();
        self.with_line(key, |it| it.write(&mut line));
        if let Some(client) = self.clients.get(key) {
            write::verbatim(out, client.protocol, &line);
        }
    }

    pub(super) fn client_kill(&mut self, key: ClientKey, args: Args<'_>) -> Result<(), String> {
        let filter = Filter::parse_kill(args).map_err(|refusal| refusal.to_string())?;
        let Some(scope) = self.scope_of(key) else {
            return Ok(());
        };
        let mut matches = false;
        self.with_line(key, |line| matches = filter.matches(line));
        let me_too = matches && !filter.skip_me();
        let killed = self.kill(&scope, &filter, Some(key)) + u64::from(me_too);
        let gathering = Gathering {
            killed,
            ..Gathering::new(Purpose::Kill {
                old_form: filter.is_old_form(),
                me_too,
            })
        };
        self.ask(key, Question::Kill(scope, filter), gathering);
        Ok(())
    }

    /// Another worker asks.
    pub fn peer_asked(&mut self, question: Question) -> Answer {
        match question {
            Question::List(scope, filter) => Answer::Lines(self.lines(&scope, &filter)),
            Question::Kill(scope, filter) => Answer::Killed(self.kill(&scope, &filter, None)),
            Question::Blocked(scope, id) => Answer::Connection(self.blocked_connection(&scope, id)),
            Question::Subscriber(scope, id) => {
                Answer::Connection(self.subscriber_connection(&scope, id))
            }
            Question::LoginNeeded(tenant, id) => self.login_needed(tenant, id),
        }
    }

    /// Another worker answered.
    pub fn peer_told(&mut self, key: ClientKey, answer: Answer) {
        let waiting = self
            .clients
            .get_mut(key)
            .and_then(|client| client.waiting.as_deref_mut());
        let Some(Goal::Peers(gathering)) = waiting.map(|waiting| &mut waiting.goal) else {
            return;
        };
        match answer {
            Answer::Lines(lines) => gathering.lines.extend(lines),
            Answer::Killed(n) => gathering.killed += n,
            Answer::Connection(Found::Nobody) | Answer::Gone => {}
            Answer::Connection(found) => gathering.found = found,
        }
        gathering.left = gathering.left.saturating_sub(1);
        if gathering.left == 0 {
            self.stop_gathering(key);
        }
    }

    /// The client gets what has come: all answers, or in a drain those of workers that had not
    /// ended.
    pub(super) fn stop_gathering(&mut self, key: ClientKey) {
        let waiting = self
            .clients
            .get_mut(key)
            .and_then(|client| client.waiting.as_deref_mut());
        let Some(Goal::Peers(gathering)) = waiting.map(|waiting| &mut waiting.goal) else {
            return;
        };
        let done = std::mem::replace(gathering, Gathering::new(Purpose::List));
        self.conclude(key, Ok(()));
        self.gathered(key, done);
    }

    /// Puts a question to the other workers, if there are any, and has it answered in a later turn:
    /// who asks for a long list again and again does so beside the others, not before them.
    pub(super) fn ask(&mut self, key: ClientKey, question: Question, mut gathering: Gathering) {
        // In a drain the others may have ended.
        let alone = self.draining || self.settings.workers < 2;
        gathering.left = if alone { 0 } else { self.settings.workers - 1 };
        self.change(key, Goal::Peers(gathering), None);
        if alone {
            self.next_turn.push(key);
        } else {
            self.actions.push_back(Action::Ask(key, question));
        }
    }

    /// All answers are in.
    fn gathered(&mut self, key: ClientKey, mut gathering: Gathering) {
        let mut out = Vec::new();
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let mut me_too = false;
        match gathering.purpose {
            Purpose::List => {
                gathering.lines.sort_unstable_by_key(|(id, _)| *id);
                let lines = gathering.lines.into_iter();
                let text: Vec<u8> = lines.flat_map(|(_, line)| line).collect();
                write::verbatim(&mut out, client.protocol, &text);
            }
            Purpose::Kill {
                old_form,
                me_too: me,
            } => {
                me_too = me;
                match old_form {
                    false => write::integer(&mut out, gathering.killed.cast_signed()),
                    true if gathering.killed == 0 => write::error(&mut out, "ERR No such client"),
                    true => write::simple(&mut out, "OK"),
                }
            }
            Purpose::Unblock { with_error } => {
                return self.unblock(key, gathering.found, with_error);
            }
            Purpose::Redirect {
                id,
                at,
                frame,
                tries,
            } if gathering.found == Found::Soon && tries < REDIRECT_TRIES_MAX => {
                // Asked again in the next round.
                let tries = tries + 1;
                let purpose = Purpose::Redirect {
                    id,
                    at,
                    frame,
                    tries,
                };
                self.change(key, Goal::Peers(Gathering::new(purpose)), None);
                self.again_later.push(key);
                return;
            }
            Purpose::Redirect { id, at, frame, .. } => {
                return self.redirect(key, gathering.found, (id, at, &frame));
            }
        }
        self.say(key, &out);
        if me_too && let Some(client) = self.clients.get_mut(key) {
            self.counters.kills += 1;
            client.finish(&mut self.to_backends);
        }
    }

    /// The user a client is, if it is one already.
    pub(super) fn scope_of(&self, key: ClientKey) -> Option<Scope> {
        let account = self.pools.accounts.get(self.clients.get(key)?.account)?;
        let instance = self.pools.instances.get(account.instance)?;
        Some(Scope {
            tenant: instance.tenant.clone(),
            instance: instance.id.clone(),
            user: account.name().into(),
        })
    }

    pub(super) fn in_scope(&self, client: &Client, scope: &Scope) -> bool {
        let account = self.pools.accounts.get(client.account);
        let instance = account.and_then(|account| self.pools.instances.get(account.instance));
        account.is_some_and(|account| account.name() == &*scope.user)
            && instance.is_some_and(|it| it.tenant == scope.tenant && it.id == scope.instance)
    }

    fn matching(&self, scope: &Scope, filter: &Filter) -> Vec<ClientKey> {
        let mut found = Vec::new();
        for (key, _) in self.clients.iter().filter(|(_, c)| self.in_scope(c, scope)) {
            self.with_line(key, |line| {
                if filter.matches(line) {
                    found.push(key);
                }
            });
        }
        found
    }

    fn lines(&self, scope: &Scope, filter: &Filter) -> Vec<(u64, Vec<u8>)> {
        let mut lines = Vec::new();
        for key in self.matching(scope, filter) {
            self.with_line(key, |line| {
                let mut text = Vec::with_capacity(256);
                line.write(&mut text);
                lines.push((line.id, text));
            });
        }
        lines
    }

    /// Closes what matches, `spared` excepted.
    fn kill(&mut self, scope: &Scope, filter: &Filter, spared: Option<ClientKey>) -> u64 {
        let mut killed = 0;
        for key in self.matching(scope, filter) {
            if Some(key) != spared {
                killed += 1;
                self.counters.kills += 1;
                self.close_now(key);
            }
        }
        killed
    }

    fn note(&mut self, key: ClientKey, name: &[u8]) {
        if let Some(client) = self.clients.get_mut(key) {
            client.note_command(name);
        }
    }

    /// What CLIENT LIST says of one client.
    fn with_line(&self, key: ClientKey, f: impl FnOnce(&Line<'_>)) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let empty: &[u8] = &[];
        let (lib_name, lib_ver) = client.details.as_deref().map_or((empty, empty), |details| {
            (&details.lib_name, &details.lib_ver)
        });
        let (peer, local) = client.ends();
        let letters = client.command.iter().take_while(|&&b| b != 0);
        let end = letters.count();
        let (asker, bytes) = self.asking;
        let asked = if asker == key { bytes } else { 0 };
        let empty_pin = Pin::default();
        let pin = client.pin.as_deref().unwrap_or(&empty_pin);
        f(&Line {
            id: client.id,
            addr: peer.to_string().as_bytes(),
            laddr: local.to_string().as_bytes(),
            name: client.name(),
            age: self.now.since_tenths(client.opened) / 1000,
            idle: self.now.since_tenths(client.active) / 1000,
            db: client.db,
            sub: pin.channels,
            psub: pin.patterns,
            ssub: pin.shard_channels,
            multi: pin.multi.then_some(pin.queued),
            watch: pin.watched,
            blocked: self.is_blocked(key),
            monitor: pin.monitor,
            no_touch: pin.no_touch,
            tracking: pin.tracking.map(|it| it.redirect.unwrap_or_default()),
            closing: client.is(Flag::Closing),
            qbuf: (client.inbound_bytes() + asked) as u64,
            omem: client.outbound.len() as u64,
            cmd: client.command.get(..end).unwrap_or_default(),
            user: self.user_of(key),
            protocol: client.protocol,
            lib_name,
            lib_ver,
        });
    }
}
