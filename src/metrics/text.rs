//! The text that Prometheus reads, format 0.0.4: families, each with its samples.
//!
//! It knows how things are written, not what there is to write.

use std::fmt::{self, Write};
use std::mem;

use super::Histogram;

/// What the page says it is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many durations there were, by length.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Numbers of one meaning, told apart by labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// With its unit; a counter's ends in `_total`.
    pub name: &'static str,
    /// What kind of number.
    pub kind: Kind,
    /// The names of the labels that each sample has; a histogram's `le` is not among them.
    pub labels: &'static [&'static str],
    /// What it means, in one line.
    pub help: &'static str,
}

/// The page, while it is written.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins a family: all of its samples have to follow. Without any it is left out.
    pub fn family<'a>(&'a mut self, family: &'a Family) -> Samples<'a> {
        Samples {
            text: self,
            family,
            base: Vec::new(),
            begun: false,
        }
    }

    /// The whole page.
    pub fn finish(self) -> String {
        self.0
    }

    fn head(&mut self, family: &Family) {
        let (name, kind) = (family.name, family.kind.name());
        self.write(format_args!("# HELP {name} "));
        escape(&mut self.0, family.help, false);
        self.write(format_args!("\n# TYPE {name} {kind}\n"));
    }

    fn write(&mut self, what: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.0.write_fmt(what);
    }
}

/// Samples of one family, each with the values of all labels: those of [`of`](Self::of), then
/// those of the call.
#[derive(Debug)]
pub struct Samples<'a> {
    text: &'a mut Text,
    family: &'a Family,
    base: Vec<String>,
    begun: bool,
}

impl Samples<'_> {
    /// The first labels of the samples that follow, until the next call.
    pub fn of(&mut self, values: &[&str]) -> &mut Self {
        self.base = values.iter().map(|&value| value.to_owned()).collect();
        self
    }

    /// A sample that is a whole number.
    pub fn number(&mut self, values: &[&str], n: impl Into<u64>) {
        let n = n.into();
        self.sample("", values, None, format_args!("{n}"));
    }

    /// A sample that is a number of things in memory.
    pub fn size(&mut self, values: &[&str], n: usize) {
        self.sample("", values, None, format_args!("{n}"));
    }

    /// A sample that is true or not: 1 or 0.
    pub fn flag(&mut self, values: &[&str], is: bool) {
        self.number(values, u64::from(is));
    }

    /// A sample in seconds, from microseconds.
    pub fn seconds(&mut self, values: &[&str], us: u64) {
        self.sample("", values, None, format_args!("{}", seconds(us)));
    }

    /// The samples of a histogram, in seconds.
    pub fn histogram(&mut self, values: &[&str], histogram: &Histogram) {
        for (bound, n) in histogram.cumulative() {
            let le = seconds(bound);
            self.sample("_bucket", values, Some(&le), format_args!("{n}"));
        }
        let n = histogram.count();
        self.sample("_bucket", values, Some("+Inf"), format_args!("{n}"));
        let sum = seconds(histogram.sum_us());
        self.sample("_sum", values, None, format_args!("{sum}"));
        self.sample("_count", values, None, format_args!("{n}"));
    }

    fn sample(
        &mut self,
        suffix: &str,
        values: &[&str],
        le: Option<&str>,
        number: fmt::Arguments<'_>,
    ) {
        if !mem::replace(&mut self.begun, true) {
            self.text.head(self.family);
        }
        let Self {
            text, family, base, ..
        } = self;
        let page = &mut text.0;
        page.push_str(family.name);
        page.push_str(suffix);
        let values = base
            .iter()
            .map(String::as_str)
            .chain(values.iter().copied());
        let labels = family.labels.iter().copied().zip(values);
        let mut before = '{';
        for (name, value) in labels.chain(le.map(|le| ("le", le))) {
            page.push(before);
            before = ',';
            page.push_str(name);
            page.push_str("=\"");
            escape(page, value, true);
            page.push('"');
        }
        if before == ',' {
            page.push('}');
        }
        text.write(format_args!(" {number}\n"));
    }
}

/// Microseconds as seconds, exactly.
fn seconds(us: u64) -> String {
    let (whole, rest) = (us / 1_000_000, us % 1_000_000);
    if rest == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{rest:06}");
    text.trim_end_matches('0').to_owned()
}

/// In help texts a quote stands for itself.
fn escape(page: &mut String, text: &str, quoted: bool) {
    for c in text.chars() {
        match c {
            '\\' => page.push_str("\\\\"),
            '\n' => page.push_str("\\n"),
            '"' if quoted => page.push_str("\\\""),
            c => page.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_the_format_says() {
        let clients = Family {
            name: "elika_clients",
            kind: Kind::Gauge,
            labels: &["tenant", "why"],
            help: "Clients, \"all\" of\nthem in C:\\",
        };
        let mut text = Text::default();
        let mut samples = text.family(&clients);
        samples.of(&["a"]).number(&["\"x\\\n\"é"], 7_u32);
        samples.of(&["b"]).flag(&[""], true);
        let plain = Family {
            name: "elika_busy_seconds_total",
            kind: Kind::Counter,
            labels: &[],
            help: "Time",
        };
        text.family(&plain).seconds(&[], 1_500_000);
        text.family(&clients).of(&["nobody"]);
        let expected = r#"# HELP elika_clients Clients, "all" of\nthem in C:\\
# TYPE elika_clients gauge
elika_clients{tenant="a",why="\"x\\\n\"é"} 7
elika_clients{tenant="b",why=""} 1
# HELP elika_busy_seconds_total Time
# TYPE elika_busy_seconds_total counter
elika_busy_seconds_total 1.5
"#;
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn buckets_are_cumulative_and_in_seconds() {
        let mut latency = Histogram::default();
        latency.record(64, 1);
        latency.record(100, 2);
        latency.record(20_000_000, 1);
        let family = Family {
            name: "t",
            kind: Kind::Histogram,
            labels: &["x"],
            help: "T",
        };
        let mut text = Text::default();
        text.family(&family).of(&["y"]).histogram(&[], &latency);
        let page = text.finish();
        for line in [
            "t_bucket{x=\"y\",le=\"0.000064\"} 1",
            "t_bucket{x=\"y\",le=\"0.000128\"} 3",
            "t_bucket{x=\"y\",le=\"8.388608\"} 3",
            "t_bucket{x=\"y\",le=\"+Inf\"} 4",
            "t_sum{x=\"y\"} 20.000264",
            "t_count{x=\"y\"} 4",
        ] {
            assert!(page.lines().any(|it| it == line), "{line}\n{page}");
        }
    }

    #[test]
    fn seconds_lose_nothing() {
        for (us, text) in [
            (0, "0"),
            (1, "0.000001"),
            (64, "0.000064"),
            (1_000_000, "1"),
            (10_100_000, "10.1"),
            (u64::MAX, "18446744073709.551615"),
        ] {
            assert_eq!(seconds(us), text);
        }
    }
}
