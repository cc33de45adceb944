//! CLIENT LIST and CLIENT KILL, which search the clients slice by slice.
//!
//! A line takes some microseconds, and there may be a hundred thousand clients: a worker searches
//! one slice per turn, for one asking client, and the other workers the same slice of theirs.

use crate::command::ErrorReply;
use crate::command::client::Filter;
use crate::resp::Args;

use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::session::question::{Matches, Purpose, Question, Search};
use crate::store::key::ClientKey;

/// Slots of clients that are searched in one turn.
const SLICE: usize = 256;

/// Slots that are searched in one turn when only the clients' numbers are compared.
const SLICE_OF_NUMBERS: usize = 32 * 1024;

impl Machine {
    pub(in crate::proxy) fn client_list(
        &mut self,
        key: ClientKey,
        args: Args<'_>,
    ) -> Result<(), ErrorReply> {
        let filter = Filter::parse_list(args, self.dialect_of(key))?;
        self.search(key, filter, Matches::default(), Purpose::List);
        Ok(())
    }

    pub(in crate::proxy) fn client_kill(
        &mut self,
        key: ClientKey,
        args: Args<'_>,
    ) -> Result<(), ErrorReply> {
        let filter = Filter::parse_kill(args, self.dialect_of(key))?;
        let mut matches = false;
        self.with_line(key, |line| matches = filter.matches(line));
        let close_asking = matches && !filter.skip_me();
        let matches = Matches {
            killed: u64::from(close_asking),
            ..Matches::default()
        };
        let old_form = filter.is_old_form();
        self.search(
            key,
            filter,
            matches,
            Purpose::Kill {
                old_form,
                close_asking,
            },
        );
        Ok(())
    }

    /// Starts a search; its first slice is searched in one of the next turns.
    fn search(&mut self, key: ClientKey, filter: Filter, matches: Matches, purpose: Purpose) {
        let Some(scope) = self.scope_of(key) else {
            return;
        };
        let search = Search {
            scope,
            filter,
            kill: matches!(purpose, Purpose::Kill { .. }),
            slice: 0,
        };
        self.ask(key, Question::Search(search), (matches, purpose));
    }

    /// Searches one slice of this worker's clients. Returns the matches, and whether there are more
    /// slices. The asking client is not closed here.
    pub(in crate::proxy) fn slice(
        &mut self,
        search: &Search,
        asking: Option<ClientKey>,
    ) -> (Matches, bool) {
        let size = match search.filter.has_numbers() {
            true => SLICE_OF_NUMBERS,
            false => SLICE,
        };
        let from = search.slice as usize * size;
        let slots = from..from + size;
        let more = slots.end < self.clients.slots();
        let mut found = Vec::new();
        for (key, client) in self.clients.within(slots) {
            if search.filter.may_match(client.id) && self.in_scope(client, &search.scope) {
                found.push(key);
            }
        }
        let mut matches = Matches::default();
        for key in found {
            let mut is_meant = false;
            self.with_line(key, |line| {
                is_meant = search.filter.matches(line);
                if is_meant && !search.kill {
                    let mut text = Vec::with_capacity(384);
                    line.write(&mut text);
                    matches.bytes += text.len();
                    matches.lines.push((line.id, text));
                }
            });
            if is_meant && search.kill && Some(key) != asking {
                matches.killed += 1;
                self.stats.counters.kills += 1;
                self.work.push(Work::CloseClient(key));
            }
        }
        (matches, more)
    }
}
