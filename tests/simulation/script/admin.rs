//! A client that lists clients and kills them.

use super::super::client::Op;
use super::super::rng::Rng;
use super::{Around, Line, Script};

impl Script {
    pub(super) fn admin_command(&self, around: &Around<'_>, rng: &mut Rng) -> Line {
        match rng.below(12) {
            0 | 1 => Line::new(&["CLIENT", "ID"], Op::ClientId),
            2 => Line::new(&["CLIENT", "GETNAME"], Op::GetName),
            3 => {
                let name = format!("n{}", rng.below(100));
                Line::new(&["CLIENT", "SETNAME", &name], Op::SetName(name.clone()))
            }
            4 => Line::new(&["CLIENT", "SETNAME", ""], Op::SetName(String::new())),
            5 | 6 => Line::new(&["CLIENT", "INFO"], Op::Info),
            7..=9 => Line::new(&["CLIENT", "LIST"], Op::List),
            10 if rng.one_in(6) => {
                let id = self.id.to_string();
                Line {
                    victim: Some(self.id),
                    ..Line::new(
                        &["CLIENT", "KILL", "ID", &id, "SKIPME", "no"],
                        Op::Kill { me: true },
                    )
                }
            }
            _ => {
                let victim = *rng.pick(around.ids);
                Line {
                    victim: Some(victim),
                    ..Line::new(
                        &["CLIENT", "KILL", "ID", &victim.to_string()],
                        Op::Kill { me: false },
                    )
                }
            }
        }
    }
}
