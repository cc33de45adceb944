//! Questions that all workers answer, about the clients of one user: CLIENT LIST, CLIENT KILL,
//! CLIENT UNBLOCK and CLIENT TRACKING with REDIRECT.
//!
//! Workers share nothing, so a worker asks the others and waits for all answers. Addresses, names
//! and ids of other users' clients are never shown.

use crate::command::ErrorReply;
use crate::resp::write;

use crate::proxy::action::Action;
use crate::proxy::machine::Machine;
use crate::proxy::texts::OUT_OF_MEMORY;
use crate::session::change::Goal;
use crate::session::client::Client;
use crate::session::question::{Answer, Found, Matches, PendingAnswers, Purpose, Question, Scope};
use crate::store::allocator::{LARGE_BYTES, has_memory};
use crate::store::key::ClientKey;

/// The number of rounds of 100 ms in which a client that is to get invalidations must get a link
/// for them; then CLIENT TRACKING fails.
const REDIRECT_TRIES_MAX: u32 = 30;

/// The longest reply to CLIENT LIST, bytes.
const LIST_BYTES_MAX: usize = 64 << 20;

/// The error for a list that exceeds this limit.
const LIST_TOO_LONG: ErrorReply =
    ErrorReply::Proxy("ERR elika: the list of clients is longer than 64 MiB");

impl Machine {
    /// Handles a question of another worker.
    pub fn question_from_worker(&mut self, question: Question) -> Answer {
        let answer = self.answer_to(question, None);
        self.finish_call();
        answer
    }

    fn answer_to(&mut self, question: Question, asking: Option<ClientKey>) -> Answer {
        match question {
            Question::Search(search) => {
                let (matches, more) = self.slice(&search, asking);
                Answer::Found(matches, more)
            }
            Question::Blocked(scope, id, with_error) => {
                Answer::Connection(self.blocked_connection(&scope, id, with_error))
            }
            Question::Subscriber(scope, id) => {
                Answer::Connection(self.subscriber_connection(&scope, id))
            }
            Question::LoginNeeded(tenant, id) => self.login_needed(tenant, id),
        }
    }

    /// Handles a worker's answer, which may be this worker's.
    pub fn answer_from_worker(&mut self, key: ClientKey, answer: Answer) {
        let waiting = self
            .clients
            .get_mut(key)
            .and_then(|client| client.waiting_mut());
        let Some(Goal::Question(pending)) = waiting.map(|waiting| &mut waiting.goal) else {
            return;
        };
        if pending.left == 0 {
            // A drain answered the client without this worker.
            return;
        }
        let mut kept = 0;
        match answer {
            Answer::Found(matches, more) => {
                kept = matches.kept();
                pending.matches.add(matches);
                pending.more |= more;
            }
            Answer::Connection(Found::NoSuchClient) | Answer::Gone => {}
            Answer::Connection(found) => pending.found = found,
        }
        pending.left -= 1;
        let last = pending.left == 0;
        self.clients.count_partial(kept);
        if last {
            self.finish_question(key);
            self.finish_call();
        }
    }

    /// Answers the client with the answers that arrived: all of them, or, in a drain, those of
    /// workers that had not ended. A search with further slices continues.
    pub(in crate::proxy) fn finish_question(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let waiting = client.waiting_mut();
        let Some(Goal::Question(pending)) = waiting.map(|waiting| &mut waiting.goal) else {
            return;
        };
        pending.left = 0;
        if let Some(Question::Search(search)) = &mut pending.question
            && std::mem::take(&mut pending.more)
            && pending.matches.bytes <= LIST_BYTES_MAX
        {
            search.slice += 1;
            let tenant = self.upstreams.tenant_of_account(client.account());
            return self.clients.queue_slice(key, tenant, self.now);
        }
        let done = std::mem::replace(&mut **pending, PendingAnswers::new(Purpose::List));
        self.conclude(key, Ok(()));
        self.reply_answers(key, done);
    }

    /// Puts a question to all workers, this one included, in a later turn: a client that asks
    /// repeatedly takes turns with other clients.
    pub(in crate::proxy) fn ask(
        &mut self,
        key: ClientKey,
        question: Question,
        (matches, purpose): (Matches, Purpose),
    ) {
        let pending = PendingAnswers {
            question: Some(question),
            asked: self.asking.1,
            matches,
            ..PendingAnswers::new(purpose)
        };
        self.change(key, Goal::Question(Box::new(pending)), None);
        if let Some(client) = self.clients.get(key) {
            let tenant = self.upstreams.tenant_of_account(client.account());
            self.clients.queue_question(key, tenant, self.now);
        }
    }

    /// The number of other workers to ask: 0 in a drain, when they may have ended.
    fn others(&self) -> u16 {
        match self.clients.is_draining() {
            true => 0,
            false => self.settings.workers.saturating_sub(1),
        }
    }

    /// Puts one question, or the next slice of one search: one per turn, tenant by tenant, so that
    /// other clients are served in between.
    pub(in crate::proxy) fn put_question(&mut self) {
        let others = self.others();
        while let Some(key) = self.clients.next_question() {
            let client = self.clients.get_mut(key);
            let waiting = client.and_then(|client| client.waiting_mut());
            let Some(Goal::Question(pending)) = waiting.map(|waiting| &mut waiting.goal) else {
                continue;
            };
            let Some(question) = pending.question.clone() else {
                continue;
            };
            pending.left = others + 1;
            if others > 0 {
                self.actions.push_back(Action::Ask(key, question.clone()));
            }
            self.asking = (key, pending.asked);
            let answer = self.answer_to(question, Some(key));
            self.asking.0 = ClientKey::NONE;
            self.answer_from_worker(key, answer);
            return self.keep_limits();
        }
    }

    /// Handles the last answer.
    fn reply_answers(&mut self, key: ClientKey, pending: PendingAnswers) {
        match pending.purpose {
            Purpose::List => self.reply_list(key, pending.matches),
            Purpose::Kill {
                old_form,
                close_asking,
            } => {
                let killed = pending.matches.killed;
                let mut out = Vec::new();
                match old_form {
                    false => write::integer(&mut out, killed.cast_signed()),
                    true if killed == 0 => write::error(&mut out, "ERR No such client"),
                    true => write::simple(&mut out, "OK"),
                }
                self.reply(key, &out);
                if close_asking {
                    self.stats.counters.kills += 1;
                    self.finish_client(key);
                }
            }
            Purpose::Unblock { with_error } => self.unblock(key, pending.found, with_error),
            Purpose::Redirect {
                id,
                at,
                frame,
                tries,
            } if pending.found == Found::NotReady && tries < REDIRECT_TRIES_MAX => {
                let purpose = Purpose::Redirect {
                    id,
                    at,
                    frame,
                    tries: tries + 1,
                };
                let pending = PendingAnswers::new(purpose);
                self.change(key, Goal::Question(Box::new(pending)), None);
                // In the next round.
                self.clients.ask_again(key);
            }
            Purpose::Redirect { id, at, frame, .. } => {
                self.redirect(key, pending.found, (id, at, &frame));
            }
        }
    }

    /// Replies to CLIENT LIST with the lines of all workers.
    fn reply_list(&mut self, key: ClientKey, mut found: Matches) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        if found.bytes > LIST_BYTES_MAX {
            self.stats.counters.lists_refused += 1;
            return self.reply_error(key, &LIST_TOO_LONG);
        }
        // The list is kept as lines, as one text, as a reply, and in the send buffer.
        if found.bytes > LARGE_BYTES && !has_memory(4 * found.bytes) {
            self.stats.counters.out_of_memory += 1;
            return self.reply_error_and_close(key, &OUT_OF_MEMORY);
        }
        found.lines.sort_unstable_by_key(|(id, _)| *id);
        let mut text = Vec::with_capacity(found.bytes);
        for (_, line) in &found.lines {
            text.extend_from_slice(line);
        }
        let mut out = Vec::new();
        write::verbatim(&mut out, client.protocol, &text);
        self.reply(key, &out);
    }

    /// The tenant, instance and user of a client; `None` if it has no account or no instance.
    pub(in crate::proxy) fn scope_of(&self, key: ClientKey) -> Option<Scope> {
        let client = self.clients.get(key)?;
        let (tenant, instance) = self.upstreams.cluster_of(client.pool)?;
        Some(Scope {
            tenant: tenant.clone(),
            instance: instance.clone(),
            user: self.upstreams.user(client.account()).into(),
        })
    }

    /// Is the client one of this user's on this instance? A client without an instance counts for
    /// every instance.
    pub(in crate::proxy) fn in_scope(&self, client: &Client, scope: &Scope) -> bool {
        let tenant = self.upstreams.tenant_of_account(client.account());
        let place = self.upstreams.cluster_of(client.pool);
        self.upstreams.user(client.account()) == &*scope.user
            && self.upstreams.tenant_key(tenant) == Some(&scope.tenant)
            && place.is_none_or(|(_, id)| *id == scope.instance)
    }
}
