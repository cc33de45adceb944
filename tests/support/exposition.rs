//! Reads a metrics page as strictly as Prometheus's text format 0.0.4 and its conventions allow.
//!
//! It knows the format only: the unit tests and the tests over HTTP both use it.

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// A valid page.
#[derive(Debug)]
pub(crate) struct Exposition {
    /// The type of each family, in the order of the page.
    pub(crate) families: Vec<Announced>,
    samples: BTreeMap<(String, Labels), f64>,
}

/// The head of a family.
#[derive(Debug)]
pub(crate) struct Announced {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) help: String,
}

impl Exposition {
    /// Parses a page, or returns the error.
    pub(crate) fn read(page: &str) -> Result<Self, String> {
        let mut read = Self {
            families: Vec::new(),
            samples: BTreeMap::new(),
        };
        let body = page.strip_suffix('\n').ok_or("no line feed at the end")?;
        let mut lines = body.split('\n').peekable();
        while let Some(line) = lines.next() {
            let family = head(line, lines.next().unwrap_or_default())?;
            if read.families.iter().any(|it| it.name == family.name) {
                return Err(format!("{} comes twice", family.name));
            }
            let mut samples = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                samples.push(sample(line).map_err(|why| format!("{why}: {line}"))?);
            }
            check(&family, &samples).map_err(|why| format!("{}: {why}", family.name))?;
            for (name, labels, n) in samples {
                let key = (name, labels);
                if let Some(before) = read.samples.insert(key.clone(), n) {
                    return Err(format!("{key:?} twice: {before} and {n}"));
                }
            }
            read.families.push(family);
        }
        Ok(read)
    }

    /// The sum of all samples that have these labels, among others.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).sum()
    }

    /// The only sample that has these labels.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found: Vec<f64> = self.matching(name, labels).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
        found[0]
    }

    /// The number of samples that have these labels.
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.matching(name, labels).count()
    }

    /// All values of a label.
    pub(crate) fn values_of(&self, label: &str) -> BTreeSet<&str> {
        let labels = self.samples.keys().filter_map(|(_, it)| it.get(label));
        labels.map(String::as_str).collect()
    }

    /// The names of the labels of each family.
    pub(crate) fn label_names(&self, name: &str) -> BTreeSet<&str> {
        let samples = self.samples.keys().filter(|(of, _)| of == name);
        let names = samples.flat_map(|(_, labels)| labels.keys());
        names.map(String::as_str).collect()
    }

    /// Every number that must not decrease: counters and the parts of histograms.
    pub(crate) fn growing(&self) -> BTreeMap<&(String, Labels), f64> {
        let ends = ["_total", "_bucket", "_sum", "_count"];
        self.samples
            .iter()
            .filter(|((name, _), _)| ends.iter().any(|end| name.ends_with(end)))
            .map(|(key, n)| (key, *n))
            .collect()
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        let fits = |has: &Labels| {
            let mut wanted = labels.iter();
            wanted.all(|(name, value)| has.get(*name).is_some_and(|it| it == value))
        };
        self.samples
            .iter()
            .filter(move |((of, has), _)| of == name && fits(has))
            .map(|(_, n)| *n)
    }
}

fn head(help: &str, kind: &str) -> Result<Announced, String> {
    let (name, text) = help
        .strip_prefix("# HELP ")
        .and_then(|rest| rest.split_once(' '))
        .ok_or_else(|| format!("no help: {help}"))?;
    let kind = kind
        .strip_prefix("# TYPE ")
        .and_then(|rest| rest.strip_prefix(name)?.strip_prefix(' '))
        .ok_or_else(|| format!("no type of {name}: {kind}"))?;
    if text.trim() != text || text.is_empty() {
        return Err(format!("no help for {name}"));
    }
    unescape(text, false)?;
    Ok(Announced {
        name: word(name)?,
        kind: kind.to_owned(),
        help: text.to_owned(),
    })
}

type Sample = (String, Labels, f64);

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no number")?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"").ok_or("no value of a label")?;
            let end = closing(value).ok_or("the value of a label does not end")?;
            let value_text = unescape(&value[..end], true)?;
            if labels.insert(word(label)?, value_text).is_some() {
                return Err(format!("{label} twice"));
            }
            rest = &value[end + 1..];
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = rest.strip_prefix(',').ok_or("no comma")?;
        }
    }
    let number = rest.strip_prefix(' ').ok_or("no number")?;
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let n = number.parse().map_err(|_| "not a number")?;
    if !plain {
        return Err("not a plain number".to_owned());
    }
    Ok((word(name)?, labels, n))
}

/// The position of the closing quote.
fn closing(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        end.then_some(at)
    })
}

/// Checks that escapes are only inside quotes.
fn unescape(text: &str, quoted: bool) -> Result<String, String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quoted => '"',
                other => return Err(format!("{other:?} is escaped in {text}")),
            },
            c => c,
        });
    }
    Ok(plain)
}

fn word(name: &str) -> Result<String, String> {
    let letter = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let known = name.bytes().all(|b| letter(b) || b.is_ascii_digit());
    if !known || !name.bytes().next().is_some_and(letter) {
        return Err(format!("no name: {name}"));
    }
    Ok(name.to_owned())
}

/// Checks the samples of one family.
fn check(family: &Announced, samples: &[Sample]) -> Result<(), String> {
    let histogram = family.kind == "histogram";
    let total = family.name.ends_with("_total");
    match family.kind.as_str() {
        "counter" if !total => return Err("a counter without _total".to_owned()),
        "gauge" | "histogram" if total => return Err("_total, and no counter".to_owned()),
        "counter" | "gauge" | "histogram" => {}
        other => return Err(format!("unknown type {other}")),
    }
    let mut groups: BTreeMap<Labels, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        let suffix = sample.0.strip_prefix(&family.name);
        match (suffix, histogram) {
            (Some(""), false) | (Some("_bucket" | "_sum" | "_count"), true) => {}
            _ => return Err(format!("{} among its samples", sample.0)),
        }
        let mut labels = sample.1.clone();
        let le = labels.remove("le");
        if le.is_some() != sample.0.ends_with("_bucket") {
            return Err(format!("{} and le", sample.0));
        }
        groups.entry(labels).or_default().push(sample);
    }
    let names = |labels: &Labels| labels.keys().cloned().collect::<Vec<_>>();
    let mut all = groups.keys().map(names);
    let first = all.next().ok_or("no samples")?;
    if all.any(|it| it != first) {
        return Err("samples with different labels".to_owned());
    }
    if histogram {
        groups.values().try_for_each(|it| buckets(it))?;
    }
    Ok(())
}

/// Checks a histogram: buckets in order, each at least as full as the previous one, `+Inf` last;
/// then sum and count.
fn buckets(samples: &[&Sample]) -> Result<(), String> {
    let [buckets @ .., sum, count] = samples else {
        return Err("an incomplete histogram".to_owned());
    };
    let mut before = (0.0, 0.0);
    for (name, labels, n) in buckets {
        let le = labels.get("le").map_or("", String::as_str);
        let bound = le.replace("+Inf", "inf").parse::<f64>();
        let bound = bound.map_err(|_| format!("{name} up to {le}"))?;
        if bound <= before.0 || *n < before.1 {
            return Err(format!("{labels:?} out of order"));
        }
        before = (bound, *n);
    }
    let names = sum.0.ends_with("_sum") && count.0.ends_with("_count");
    if !names || before != (f64::INFINITY, count.2) {
        return Err("+Inf is not the count, or is not there".to_owned());
    }
    Ok(())
}
