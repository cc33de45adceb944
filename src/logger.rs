//! The log of the program: lines on stderr, written by a thread of their own.
//!
//! Logging never blocks: lines that do not fit in the queue are dropped and counted. Control
//! characters are escaped, so that each message is one line. A place in the code that logs more
//! than [`BURST`] lines at once has the rest suppressed and counted, except at level debug.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use elika::resp::Printable;
use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, WriteLogger};

/// Lines in the queue at most.
const QUEUE_MAX: usize = 4_096;

/// Lines that one place in the code may log at once, and in each second beyond that.
const BURST: f64 = 1_000.0;
const PER_SECOND: f64 = 1.0;

/// Interval of the lines that report suppressed lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Longest wait for the queue when the program ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// A message to the writing thread.
enum Message {
    Line(Vec<u8>),
    /// Confirms once all earlier lines are written.
    Flush(Sender<()>),
}

pub(crate) struct Logger {
    inner: Box<WriteLogger<Lines>>,
    queue: SyncSender<Message>,
    limits: RateLimits,
}

pub(crate) fn start(level: LevelFilter) {
    let logger = Logger::new(io::stderr());
    // Fails only if there is a logger already.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        // The level is a global of the `log` crate, so that it can change while the proxy runs.
        log::set_max_level(level);
    }
}

impl Logger {
    fn new(out: impl Write + Send + 'static) -> Self {
        let (queue, messages) = sync_channel(QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let limits = RateLimits::default();
        let lines = Lines {
            line: Vec::new(),
            queue: queue.clone(),
            dropped: Arc::clone(&dropped),
        };
        let writer = Writer {
            out,
            dropped,
            limits: limits.clone(),
        };
        // A proxy without a log is better than none.
        let _ = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.run(&messages));
        let format = ConfigBuilder::new()
            .set_time_format_rfc3339()
            .set_target_level(LevelFilter::Off)
            .set_thread_level(LevelFilter::Debug)
            .set_location_level(LevelFilter::Off)
            .add_filter_ignore_str("mio")
            .build();
        Self {
            inner: WriteLogger::new(LevelFilter::Trace, format, lines),
            queue,
            limits,
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        let place = (record.file_static().unwrap_or_default(), record.line());
        if record.level() <= Level::Info && !self.limits.admits(place, &text, now()) {
            return;
        }
        let text = Printable(text.as_bytes());
        self.inner.log(
            &Record::builder()
                .metadata(record.metadata().clone())
                .module_path(record.module_path())
                .args(format_args!("{text}"))
                .build(),
        );
    }

    /// Waits until the queue is written, for a limited time: stderr may be blocked.
    fn flush(&self) {
        let (done, wait) = channel();
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            // No confirmation comes if the thread is blocked.
            let _ = wait.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Collects the pieces of a formatted line.
struct Lines {
    line: Vec<u8>,
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if self.line.ends_with(b"\n") {
            let line = std::mem::take(&mut self.line);
            if self.queue.try_send(Message::Line(line)).is_err() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The writing thread.
struct Writer<W> {
    out: W,
    dropped: Arc<AtomicU64>,
    limits: RateLimits,
}

impl<W: Write> Writer<W> {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            match messages.recv_timeout(REPORT_INTERVAL) {
                Ok(Message::Line(line)) => self.write(&line),
                Ok(Message::Flush(done)) => {
                    self.report_suppressed(Duration::ZERO);
                    // The sender may have stopped waiting.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.report_suppressed(REPORT_INTERVAL),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, line: &[u8]) {
        // There is no other place to report that the log cannot be written.
        let _ = self.out.write_all(line);
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let line = format!("[WARN] log: lines dropped lines={dropped}\n");
            let _ = self.out.write_all(line.as_bytes());
        }
        self.report_suppressed(REPORT_INTERVAL);
    }

    /// Writes how many lines were suppressed, at each place that has not reported it for
    /// `interval`.
    fn report_suppressed(&mut self, interval: Duration) {
        for (lines, last) in self.limits.take_suppressed(now(), interval) {
            let last = Printable(last.as_bytes());
            let line = format!("[WARN] log: lines suppressed lines={lines} last=\"{last}\"\n");
            let _ = self.out.write_all(line.as_bytes());
        }
    }
}

/// The rate limits of all places in the code that log.
#[derive(Clone, Default)]
struct RateLimits(Arc<Mutex<LimitMap>>);

/// By file and line.
type LimitMap = HashMap<(&'static str, Option<u32>), RateLimit>;

struct RateLimit {
    tokens: f64,
    at: Instant,
    suppressed: u64,
    last: String,
    reported: Instant,
}

impl RateLimits {
    fn lock(&self) -> MutexGuard<'_, LimitMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this place may log another line.
    fn admits(&self, place: (&'static str, Option<u32>), text: &str, now: Instant) -> bool {
        let mut limits = self.lock();
        let limit = limits.entry(place).or_insert_with(|| RateLimit {
            tokens: BURST,
            at: now,
            suppressed: 0,
            last: String::new(),
            reported: now,
        });
        let passed = now.saturating_duration_since(limit.at).as_secs_f64();
        limit.tokens = (limit.tokens + passed * PER_SECOND).min(BURST);
        limit.at = now;
        if limit.tokens >= 1.0 {
            limit.tokens -= 1.0;
            return true;
        }
        limit.suppressed += 1;
        text.clone_into(&mut limit.last);
        false
    }

    fn take_suppressed(&self, now: Instant, interval: Duration) -> Vec<(u64, String)> {
        let mut limits = self.lock();
        let due = limits.values_mut().filter(|it| {
            it.suppressed > 0 && now.saturating_duration_since(it.reported) >= interval
        });
        let due = due.map(|it| {
            it.reported = now;
            (
                std::mem::take(&mut it.suppressed),
                std::mem::take(&mut it.last),
            )
        });
        due.collect()
    }
}

#[allow(clippy::disallowed_methods, reason = "the log has a clock of its own")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that blocks until the test reads.
    struct Pipe(SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let sent = self.0.send(bytes.to_vec());
            sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(logger: &Logger, level: Level, text: &str) {
        let file = Some(file!());
        let mut record = Record::builder();
        record.level(level).file_static(file).line(Some(1));
        logger.log(&record.args(format_args!("{text}")).build());
    }

    #[test]
    fn unread_log_blocks_no_caller() {
        let (pipe, reader) = sync_channel(0);
        let logger = Logger::new(Pipe(pipe));
        for n in 0..QUEUE_MAX + 100 {
            log(&logger, Level::Debug, &format!("line {n}"));
        }
        logger.flush();
        // The reader starts only now.
        let read = thread::spawn(move || {
            let lines = reader.iter().map(|line| String::from_utf8(line).unwrap());
            lines.collect::<Vec<_>>()
        });
        log(&logger, Level::Debug, "after");
        drop(logger);
        let lines = read.join().unwrap();
        assert!(lines[0].contains("line 0"), "{}", lines[0]);
        let dropped = lines.iter().filter(|line| line.contains("lines dropped"));
        assert!(dropped.count() >= 1, "{} lines", lines.len());
        assert!(lines.len() < QUEUE_MAX + 100, "{} lines", lines.len());
    }

    #[test]
    fn control_characters_are_escaped_and_floods_are_suppressed() {
        let (pipe, reader) = sync_channel(10_000);
        let logger = Logger::new(Pipe(pipe));
        for _ in 0..1_500 {
            log(&logger, Level::Warn, "connection given up:\nforged \x1b[2J");
        }
        logger.flush();
        drop(logger);
        let lines: Vec<_> = reader
            .iter()
            .map(|line| String::from_utf8(line).unwrap())
            .collect();
        let forged = lines.iter().filter(|line| line.starts_with("forged"));
        assert_eq!(forged.count(), 0);
        assert!(
            lines[0].ends_with("connection given up:\\nforged \\u{1b}[2J\n"),
            "{}",
            lines[0]
        );
        assert!((1_000..1_100).contains(&lines.len()), "{}", lines.len());
        let reported = lines
            .iter()
            .filter(|line| line.contains("lines suppressed"));
        let counts = reported.map(|line| {
            let (_, count) = line.split_once("lines=").unwrap();
            count.split(' ').next().unwrap().parse::<usize>().unwrap()
        });
        let written = lines
            .iter()
            .filter(|line| !line.contains("lines suppressed"))
            .count();
        assert_eq!(counts.sum::<usize>() + written, 1_500);
    }
}
