//! The two threads that answer what may take long, so that the thread of the sockets answers probes
//! at once: one makes the metrics page, one asks workers and the registry.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;

use super::desk::{Answer, Desk};
use super::guard::Caller;
use super::http::{Request, Response};
use super::limits::{CALLS_MAX, PAGE_MS};
use super::routes::Place;

/// A page that took long rests so many times as long: it costs the workers, too.
const REST_FACTOR: u32 = 3;

/// Which question is answered: the place of its connection, and a number that no other has.
pub(super) type Asker = (usize, u64);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Job {
    /// A call.
    Call(Asker, Caller, Box<Request>),
    /// Are the clusters others than one of these ETags says?
    Compare(Vec<String>),
}

/// What was done.
#[derive(Debug)]
pub(super) enum Done {
    Answer(Asker, Answer),
    /// The clusters as they are, and what names them.
    List(String, Response),
}

/// See the module. They end when this is dropped, as soon as they are free.
#[derive(Debug)]
pub(super) struct Helpers {
    calls: SyncSender<Job>,
    pages: SyncSender<Job>,
    done: Receiver<Done>,
}

impl Helpers {
    /// Starts them; `waker` rings when one of them has done something.
    pub(super) fn start(desk: &Arc<Desk>, waker: &Arc<Waker>) -> io::Result<Self> {
        let (results, done) = channel();
        let (calls, jobs) = sync_channel(CALLS_MAX);
        spawn("service-calls", desk, waker, &results, move |helper| {
            helper.calls(&jobs);
        })?;
        let (pages, jobs) = sync_channel(CALLS_MAX);
        spawn("service-pages", desk, waker, &results, move |helper| {
            helper.pages(&jobs);
        })?;
        Ok(Self { calls, pages, done })
    }

    /// Hands a job over; false if there are too many already.
    pub(super) fn ask(&self, place: Place, job: Job) -> bool {
        let to = match place {
            Place::Page => &self.pages,
            Place::Call | Place::Here => &self.calls,
        };
        to.try_send(job).is_ok()
    }

    /// Something that was done.
    pub(super) fn next_done(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

/// One of the threads.
struct Helper {
    desk: Arc<Desk>,
    waker: Arc<Waker>,
    done: Sender<Done>,
}

fn spawn(
    name: &str,
    desk: &Arc<Desk>,
    waker: &Arc<Waker>,
    done: &Sender<Done>,
    run: impl FnOnce(Helper) + Send + 'static,
) -> io::Result<()> {
    let helper = Helper {
        desk: Arc::clone(desk),
        waker: Arc::clone(waker),
        done: done.clone(),
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || run(helper))?;
    Ok(())
}

impl Helper {
    fn calls(&self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Call(asker, caller, request) => {
                    let answer = self.desk.answer(&request, caller);
                    self.tell(Done::Answer(asker, answer));
                }
                Job::Compare(known) => {
                    let etag = self.desk.etag();
                    if known.iter().any(|it| *it != etag) {
                        let (etag, list) = self.desk.list();
                        self.tell(Done::List(etag, list));
                    }
                }
            }
        }
    }

    /// Makes one page for all who ask until it is begun.
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
                if let Job::Call(asker, caller, request) = job {
                    let page = page.get_or_insert_with(|| self.desk.answer(&request, caller));
                    self.tell(Done::Answer(asker, page.clone()));
                }
            }
            let ended = now();
            let took = ended.saturating_duration_since(begun);
            not_before = ended + (took * REST_FACTOR).max(Duration::from_millis(PAGE_MS));
        }
    }

    fn tell(&self, done: Done) {
        // The port may have closed meanwhile.
        if self.done.send(done).is_ok()
            && let Err(error) = self.waker.wake()
        {
            log::error!("the service port cannot be woken: {error}");
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the service port has threads and a clock of its own"
)]
fn now() -> Instant {
    Instant::now()
}
