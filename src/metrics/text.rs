//! Writes the Prometheus text format 0.0.4: families, each with its samples.

use std::fmt::{self, Write};
use std::mem;

use super::Histogram;

/// The content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Durations by bucket.
    Histogram,
}

impl Kind {
    /// The name in the text format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric, with the labels of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// The name with its unit; that of a counter ends in `_total`.
    pub name: &'static str,
    /// The type of the metric.
    pub kind: Kind,
    /// The names of the labels that each sample has. The label `le` of a histogram is not among
    /// them.
    pub labels: &'static [&'static str],
    /// The help text, in one line.
    pub help: &'static str,
}

/// A page that is being written.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins a family, whose samples must all follow. A family without samples is left out.
    pub fn family<'a>(&'a mut self, family: &'a Family) -> Samples<'a> {
        Samples {
            text: self,
            family,
            base: Vec::new(),
            begun: false,
        }
    }

    /// The complete page.
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
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(what);
    }
}

/// Writes samples of one family. The label values are those of [`of`](Self::of), followed by those
/// of each call.
#[derive(Debug)]
pub struct Samples<'a> {
    text: &'a mut Text,
    family: &'a Family,
    base: Vec<String>,
    begun: bool,
}

impl Samples<'_> {
    /// Sets the first label values of the samples that follow, until the next call.
    pub fn of(&mut self, values: &[&str]) -> &mut Self {
        self.base = values.iter().map(|&value| value.to_owned()).collect();
        self
    }

    /// Writes a whole number.
    pub fn number(&mut self, values: &[&str], n: impl Into<u64>) {
        let n = n.into();
        self.sample("", values, None, format_args!("{n}"));
    }

    /// Writes a count of things in memory.
    pub fn size(&mut self, values: &[&str], n: usize) {
        self.sample("", values, None, format_args!("{n}"));
    }

    /// Writes 1 for true and 0 for false.
    pub fn flag(&mut self, values: &[&str], is: bool) {
        self.number(values, u64::from(is));
    }

    /// Writes microseconds as seconds.
    pub fn seconds(&mut self, values: &[&str], us: u64) {
        self.sample("", values, None, format_args!("{}", seconds(us)));
    }

    /// Writes the samples of a histogram, in seconds.
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

/// Quotes are escaped in label values, but not in help texts.
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
    fn page_follows_the_text_format() {
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
    fn seconds_are_exact() {
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
