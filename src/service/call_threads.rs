//! The two threads for calls that may take long, so that probes are answered at once on the thread
//! of the sockets: one thread writes the metrics page, the other asks workers and the registry.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use mio::Waker;

use super::access::Caller;
use super::context::{Answer, Context};
use super::http::{Request, Response};
use super::limits::{CALLS_MAX, PAGE_MS};
use super::now;
use super::routes::Thread;

/// The pause after a page, as a multiple of the time that the page took: pages cost the workers
/// time, too.
const PAUSE_FACTOR: u32 = 3;

/// Identifies a call: the index of its connection, and a unique number.
pub(super) type CallId = (usize, u64);

/// Work for one of the threads.
#[derive(Debug)]
pub(super) enum Job {
    /// A call.
    Call(CallId, Caller, Box<Request>),
    /// Compare these ETags with that of the present clusters.
    Compare(Vec<String>),
}

/// Completed work.
#[derive(Debug)]
pub(super) enum Done {
    Answer(CallId, Answer),
    /// The ETag and the list of the present clusters.
    List(String, Response),
}

/// The threads. They end when this is dropped and their present job is done.
#[derive(Debug)]
pub(super) struct CallThreads {
    calls: SyncSender<Job>,
    pages: SyncSender<Job>,
    done: Receiver<Done>,
}

impl CallThreads {
    /// Starts the threads; `waker` is called when a job is done.
    pub(super) fn start(context: &Arc<Context>, waker: &Arc<Waker>) -> io::Result<Self> {
        let (results, done) = channel();
        let (calls, jobs) = sync_channel(CALLS_MAX);
        spawn("service-calls", context, waker, &results, move |thread| {
            thread.calls(&jobs);
        })?;
        let (pages, jobs) = sync_channel(CALLS_MAX);
        spawn("service-pages", context, waker, &results, move |thread| {
            thread.pages(&jobs);
        })?;
        Ok(Self { calls, pages, done })
    }

    /// Queues a job; `false`: the queue is full.
    pub(super) fn queue(&self, thread: Thread, job: Job) -> bool {
        let to = match thread {
            Thread::Page => &self.pages,
            Thread::Call | Thread::Port => &self.calls,
        };
        to.try_send(job).is_ok()
    }

    /// Takes the result of a job.
    pub(super) fn next_done(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

/// One of the threads.
struct CallThread {
    context: Arc<Context>,
    waker: Arc<Waker>,
    done: Sender<Done>,
}

fn spawn(
    name: &str,
    context: &Arc<Context>,
    waker: &Arc<Waker>,
    done: &Sender<Done>,
    run: impl FnOnce(CallThread) + Send + 'static,
) -> io::Result<()> {
    let thread = CallThread {
        context: Arc::clone(context),
        waker: Arc::clone(waker),
        done: done.clone(),
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || run(thread))?;
    Ok(())
}

impl CallThread {
    fn calls(&self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Call(call, caller, request) => {
                    let answer = self.context.answer(&request, caller);
                    self.finish(Done::Answer(call, answer));
                }
                Job::Compare(known) => {
                    let etag = self.context.etag();
                    if known.iter().any(|it| *it != etag) {
                        let (etag, list) = self.context.list();
                        self.finish(Done::List(etag, list));
                    }
                }
            }
        }
    }

    /// Writes one page for all requests that arrive before it is begun.
    fn pages(&self, jobs: &Receiver<Job>) {
        let mut not_before = now();
        while let Ok(first) = jobs.recv() {
            let mut all = vec![first];
            loop {
                let left = not_before.saturating_duration_since(now());
                match jobs.recv_timeout(left) {
                    Ok(job) => all.push(job),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            let begun = now();
            let mut page: Option<Answer> = None;
            for job in all {
                if let Job::Call(call, caller, request) = job {
                    let page = page.get_or_insert_with(|| self.context.answer(&request, caller));
                    self.finish(Done::Answer(call, page.clone()));
                }
            }
            let ended = now();
            let took = ended.saturating_duration_since(begun);
            not_before = ended + (took * PAUSE_FACTOR).max(Duration::from_millis(PAGE_MS));
        }
    }

    fn finish(&self, done: Done) {
        // The port may have closed since.
        if self.done.send(done).is_ok()
            && let Err(error) = self.waker.wake()
        {
            log::error!("service port: wake-up failed reason=\"{error}\"");
        }
    }
}
