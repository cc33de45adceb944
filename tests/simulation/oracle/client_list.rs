//! CLIENT LIST and CLIENT INFO.

use super::super::client::{Op, Sent};
use super::super::wire;
use super::{After, Model, Verdict, View};

impl Model {
    pub(super) fn list(&self, sent: &Sent, reply: &[u8], view: &View<'_>) -> Verdict {
        let mark = if self.protocol == 3 { b'=' } else { b'$' };
        let text = String::from_utf8_lossy(wire::text(reply).unwrap_or_default());
        let mut listed = Vec::new();
        let (mut foreign, mut me) = (false, false);
        for line in text.lines() {
            let field = |name: &str| {
                line.split(' ')
                    .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
                    .unwrap_or_default()
            };
            foreign |= field("user") != self.user();
            let id = field("id").parse().unwrap_or(0);
            if id == self.id {
                me = field("db") == self.db.to_string()
                    && field("name") == self.name
                    && field("resp") == self.protocol.to_string();
            }
            listed.push(id);
        }
        let alone = matches!(sent.op, Op::List) || listed.len() == 1;
        let right = reply.first() == Some(&mark) && me && !foreign && alone;
        let after = self.local(sent, reply, view, |_, _| right)?;
        Ok(After { listed, ..after })
    }
}
