//! The log of the program: lines on stderr, written by a thread of their own.
//!
//! Nobody waits for whoever reads stderr: lines that do not fit in the queue are lost, and counted.
//! A line is one line, whatever is in it. One place in the code that logs more than a burst of
//! lines has the rest left out, and counted; messages for debugging are all there.

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

/// Lines that wait to be written.
const QUEUE_MAX: usize = 4_096;

/// Lines that one place in the code may log at once, and in each second beyond them.
const BURST: f64 = 1_000.0;
const PER_SECOND: f64 = 1.0;

/// Between two looks at what was left out.
const ROUND: Duration = Duration::from_secs(1);

/// How long the end of the program waits for the queue.
const FLUSH: Duration = Duration::from_secs(1);

/// What the thread is sent.
enum Message {
    Line(Vec<u8>),
    /// All lines before this are written.
    Flush(Sender<()>),
}

/// See the module.
pub(crate) struct Logger {
    inner: Box<WriteLogger<Lines>>,
    queue: SyncSender<Message>,
    places: Places,
}

/// Starts the log.
pub(crate) fn start(level: LevelFilter) {
    let logger = Logger::new(io::stderr());
    // It fails only if there is a logger already, and there is none.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        // What is logged is decided here, so that it can change while the proxy runs.
        log::set_max_level(level);
    }
}

impl Logger {
    fn new(out: impl Write + Send + 'static) -> Self {
        let (queue, messages) = sync_channel(QUEUE_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let places = Places::default();
        let lines = Lines {
            line: Vec::new(),
            queue: queue.clone(),
            lost: Arc::clone(&lost),
        };
        let writer = Writer {
            out,
            lost,
            places: places.clone(),
        };
        // Without the thread there is no log, and no reason not to serve.
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
            places,
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
        if record.level() <= Level::Info && !self.places.admits(place, &text, now()) {
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

    /// Waits until everything is written, but not long: nobody may read it.
    fn flush(&self) {
        let (done, wait) = channel();
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            // A thread that cannot write does not answer.
            let _ = wait.recv_timeout(FLUSH);
        }
    }
}

/// Puts together what the formatter writes in pieces.
struct Lines {
    line: Vec<u8>,
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if self.line.ends_with(b"\n") {
            let line = std::mem::take(&mut self.line);
            if self.queue.try_send(Message::Line(line)).is_err() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread that writes.
struct Writer<W> {
    out: W,
    lost: Arc<AtomicU64>,
    places: Places,
}

impl<W: Write> Writer<W> {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            match messages.recv_timeout(ROUND) {
                Ok(Message::Line(line)) => self.write(&line),
                Ok(Message::Flush(done)) => {
                    self.tell_left_out(Duration::ZERO);
                    // Whoever waited may have lost patience.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.tell_left_out(ROUND),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, line: &[u8]) {
        // Nobody can be told that the log cannot be written.
        let _ = self.out.write_all(line);
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let line = format!("[WARN] log: lines lost, nobody read them lines={lost}\n");
            let _ = self.out.write_all(line.as_bytes());
        }
        self.tell_left_out(ROUND);
    }

    /// Tells of what was left out, if it is not too soon after the last time.
    fn tell_left_out(&mut self, rest: Duration) {
        for (lines, last) in self.places.take_left_out(now(), rest) {
            let last = Printable(last.as_bytes());
            let line = format!("[WARN] log: lines left out lines={lines} last=\"{last}\"\n");
            let _ = self.out.write_all(line.as_bytes());
        }
    }
}

/// How much every place in the code has logged.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<PlaceMap>>);

/// By file and line.
type PlaceMap = HashMap<(&'static str, Option<u32>), Place>;

struct Place {
    tokens: f64,
    at: Instant,
    left_out: u64,
    last: String,
    told: Instant,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, PlaceMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// May this place log one more line?
    fn admits(&self, place: (&'static str, Option<u32>), text: &str, now: Instant) -> bool {
        let mut places = self.lock();
        let place = places.entry(place).or_insert_with(|| Place {
            tokens: BURST,
            at: now,
            left_out: 0,
            last: String::new(),
            told: now,
        });
        let passed = now.saturating_duration_since(place.at).as_secs_f64();
        place.tokens = (place.tokens + passed * PER_SECOND).min(BURST);
        place.at = now;
        if place.tokens >= 1.0 {
            place.tokens -= 1.0;
            return true;
        }
        place.left_out += 1;
        text.clone_into(&mut place.last);
        false
    }

    fn take_left_out(&self, now: Instant, rest: Duration) -> Vec<(u64, String)> {
        let mut places = self.lock();
        let due = places
            .values_mut()
            .filter(|it| it.left_out > 0 && now.saturating_duration_since(it.told) >= rest);
        let due = due.map(|it| {
            it.told = now;
            (
                std::mem::take(&mut it.left_out),
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

    /// Writes to a test, if that lets it.
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
    fn nobody_waits_for_whoever_reads_the_log() {
        let (pipe, reader) = sync_channel(0);
        let logger = Logger::new(Pipe(pipe));
        for n in 0..QUEUE_MAX + 100 {
            log(&logger, Level::Debug, &format!("line {n}"));
        }
        logger.flush();
        // Now somebody reads.
        let read = thread::spawn(move || {
            let lines = reader.iter().map(|line| String::from_utf8(line).unwrap());
            lines.collect::<Vec<_>>()
        });
        log(&logger, Level::Debug, "after");
        drop(logger);
        let lines = read.join().unwrap();
        assert!(lines[0].contains("line 0"), "{}", lines[0]);
        let lost = lines.iter().filter(|line| line.contains("lines lost"));
        assert!(lost.count() >= 1, "{} lines", lines.len());
        assert!(lines.len() < QUEUE_MAX + 100, "{} lines", lines.len());
    }

    #[test]
    fn a_line_is_one_line_and_a_flood_is_cut_short() {
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
        let told = lines.iter().filter(|line| line.contains("lines left out"));
        let counts = told.map(|line| {
            let (_, count) = line.split_once("lines=").unwrap();
            count.split(' ').next().unwrap().parse::<usize>().unwrap()
        });
        let written = lines
            .iter()
            .filter(|line| !line.contains("lines left out"))
            .count();
        assert_eq!(counts.sum::<usize>() + written, 1_500);
    }
}
