//! Looks up host names, on threads of its own: a slow look-up delays no other name.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::spawn::spawn;

/// Looks up a host name: all of its addresses.
pub(super) type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Receives a result.
type Deliver = Arc<dyn Fn(String, io::Result<Vec<SocketAddr>>) + Send + Sync>;

/// Most look-ups at the same time. One of these threads takes no names that failed the last time,
/// because they may take long again.
const THREADS_MAX: usize = 4;

/// The look-up threads. They start when they are needed, and end when this is dropped.
pub(super) struct Resolver {
    queue: Arc<Queue>,
    lookup: Lookup,
    deliver: Deliver,
    threads: usize,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    added: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// New names, and names whose last look-up succeeded.
    new: VecDeque<String>,
    /// Names whose last look-up failed.
    failed: VecDeque<String>,
    closed: bool,
}

impl Resolver {
    /// A resolver that calls `deliver` with each result, on the thread of the look-up.
    pub(super) fn new(
        lookup: Lookup,
        deliver: impl Fn(String, io::Result<Vec<SocketAddr>>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            queue: Arc::default(),
            lookup,
            deliver: Arc::new(deliver),
            threads: 0,
        }
    }

    /// The system's resolver; the addresses have port 0.
    pub(super) fn system() -> Lookup {
        Arc::new(|name| {
            let mut found: Vec<SocketAddr> = (name, 0).to_socket_addrs()?.collect();
            // Resolvers rotate their answers; another order is no change.
            found.sort_unstable();
            found.dedup();
            Ok(found)
        })
    }

    /// Queues a look-up. The result is delivered later, once per call.
    pub(super) fn ask(&mut self, name: String, failed_before: bool) {
        self.queue.with(|waiting| match failed_before {
            true => waiting.failed.push_back(name),
            false => waiting.new.push_back(name),
        });
        if self.threads < THREADS_MAX {
            self.start_thread();
        }
        // Not every waiting thread takes a name that failed.
        self.queue.added.notify_all();
    }

    fn start_thread(&mut self) {
        let queue = Arc::clone(&self.queue);
        let (lookup, deliver) = (Arc::clone(&self.lookup), Arc::clone(&self.deliver));
        let takes_failed = self.threads + 1 < THREADS_MAX;
        let started = spawn(&format!("resolver-{}", self.threads), move || {
            while let Some(name) = queue.next(takes_failed) {
                let answer = lookup(&name);
                deliver(name, answer);
            }
        });
        match started {
            Ok(_) => self.threads += 1,
            Err(error) => log::error!("resolver: thread not created reason=\"{error}\""),
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.queue.with(|waiting| waiting.closed = true);
        self.queue.added.notify_all();
    }
}

impl Queue {
    fn with(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits for a name; `None`: the resolver was dropped.
    fn next(&self, takes_failed: bool) -> Option<String> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(name) = waiting.new.pop_front() {
                return Some(name);
            }
            if takes_failed && let Some(name) = waiting.failed.pop_front() {
                return Some(name);
            }
            let woken = self.added.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    #[test]
    fn hanging_lookups_delay_no_other_name() {
        let (release, hold) = channel::<()>();
        let hold = Mutex::new(hold);
        let lookup: Lookup = Arc::new(move |name| {
            if name == "slow" {
                // Blocks until the test releases it.
                let _ = hold.lock().unwrap().recv();
            }
            Ok(vec![([127, 0, 0, 1], 0).into()])
        });
        let (answers, answered) = channel();
        let mut resolver = Resolver::new(lookup, move |name, answer| {
            answers.send((name, answer.is_ok())).unwrap();
        });
        for _ in 0..10 {
            resolver.ask("slow".into(), true);
        }
        for n in 0..20 {
            resolver.ask(format!("quick-{n}"), false);
        }
        for _ in 0..20 {
            let (name, found) = answered.recv_timeout(TIMEOUT).unwrap();
            assert!(name.starts_with("quick-") && found, "{name}");
        }
        drop(release);
        for _ in 0..10 {
            assert_eq!(
                answered.recv_timeout(TIMEOUT),
                Ok(("slow".to_owned(), true))
            );
        }
        drop(resolver);
        assert!(answered.recv_timeout(TIMEOUT).is_err(), "the threads end");
    }

    #[test]
    fn system_resolver_knows_localhost() {
        let found = Resolver::system()("localhost").unwrap();
        assert!(found.iter().any(|address| address.ip().is_loopback()));
        assert!(found.iter().all(|address| address.port() == 0));
    }
}
