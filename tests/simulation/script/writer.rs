//! A client that writes, changes its connection, and waits for replicas.

use super::super::client::Op;
use super::super::rng::Rng;
use super::{Line, Script};

impl Script {
    /// A write, a WAIT for it, and requests in between.
    pub(crate) fn write_and_wait(&mut self, rng: &mut Rng) -> Vec<Line> {
        let mut lines = Vec::new();
        match rng.below(8) {
            0 => {}
            1 | 2 if self.may_trade => {
                lines.push(Line::new(&["MULTI"], Op::Multi));
                lines.push(self.plain(true));
                lines.push(Line::new(&["EXEC"], Op::Exec));
            }
            _ => lines.push(self.plain(true)),
        }
        for _ in 0..rng.below(3) {
            lines.extend(self.go_elsewhere(rng));
        }
        lines.push(self.wait(rng));
        lines
    }

    /// Takes a dedicated connection or the shared one, and writes nothing on it.
    fn go_elsewhere(&mut self, rng: &mut Rng) -> Vec<Line> {
        match rng.below(6) {
            0 | 1 => vec![self.plain(false)],
            2 => {
                let tag = self.tag();
                let args = ["BLPOP", "empty", &format!("t{tag}"), "0.05"];
                vec![Line::new(&args, Op::Pop { tag })]
            }
            3 => self.watch_once().into(),
            // It still has its dedicated connection, and returns it afterwards.
            4 => {
                let [watch, read, unwatch] = self.watch_once();
                vec![watch, self.wait(rng), read, unwatch]
            }
            _ => {
                let switch = |word, on| Line::new(&["CLIENT", "TRACKING", word], Op::Tracking(on));
                vec![switch("ON", true), self.wait(rng), switch("OFF", false)]
            }
        }
    }

    pub(super) fn wait(&self, rng: &mut Rng) -> Line {
        let replicas = *rng.pick(&[0, 1, 1, 1, 2, 2, 3, 5]);
        let ms = match rng.below(24) {
            0 => 0,
            1 => 2_000,
            _ => *rng.pick(&[5, 20, 20, 50, 100, 300, 700]),
        };
        let args = ["WAIT", &replicas.to_string(), &ms.to_string()];
        Line::new(&args, Op::Wait { replicas, ms })
    }
}
