//! Pauses, step by step.

use std::sync::Arc;

use elika::cluster::{ClusterKey, Snapshot, TenantLimits};
use elika::proxy::Settings;

use super::harness::Worker;
use super::instances::Registry;
use super::tenants::{limited, limited_with};

impl Worker {
    fn pause(&mut self, ms: u64) {
        let tenant = ClusterKey::local().tenant();
        self.machine.pause(&tenant, ms);
        self.turn();
    }

    fn unpause(&mut self) {
        self.machine.unpause(&ClusterKey::local().tenant());
        self.settle();
    }
}

#[test]
fn a_pause_holds_requests_and_logins_until_its_end() {
    let (mut worker, _registry) = limited(TenantLimits::default());
    let (client, backend) = worker.user("ann");
    worker.says(client, "GET before");
    worker.asked(backend);
    worker.pause(60_000);
    worker.says(client, "GET while");
    let newcomer = worker.client();
    worker.says(newcomer, "AUTH ann pw");
    worker.replies(backend, "$-1\r\n");
    worker.settle();
    assert_eq!(
        worker.heard(client),
        "$-1\r\n",
        "what was in flight is answered"
    );
    assert_eq!(worker.asked(backend), "");
    assert_eq!(worker.begun(), []);
    worker.unpause();
    let verifier = worker.begun_one();
    worker.welcome(verifier);
    assert!(worker.asked(backend).contains("while"));
    worker.replies(backend, "$-1\r\n");
    assert_eq!(worker.heard(client), "$-1\r\n");
    assert_eq!(worker.heard(newcomer), "+OK\r\n");
}

#[test]
fn a_pause_ends_by_itself_and_not_too_many_wait() {
    let (mut worker, _registry) = limited_with(TenantLimits::default(), |settings| {
        settings.paused_clients_max = 1;
    });
    let (first, backend) = worker.user("ann");
    let second = worker.logs_in("ann", "pw");
    worker.asked(backend);
    worker.pause(1_000);
    worker.says(first, "GET a");
    worker.says(second, "GET b");
    let heard = worker.heard(second);
    assert_eq!(
        heard,
        "-ERR elika: paused, and too many clients wait already\r\n"
    );
    let newcomer = worker.client();
    worker.says(newcomer, "AUTH ann pw");
    assert_eq!(
        worker.heard(newcomer),
        heard,
        "a login is refused alike, and once"
    );
    // Who goes makes room.
    worker.machine.client_closed(first);
    worker.says(second, "GET b");
    assert_eq!(worker.asked(backend), "");
    worker.pass(1_500);
    assert!(worker.asked(backend).contains("GET"));
    worker.replies(backend, "$-1\r\n");
    assert_eq!(worker.heard(second), "$-1\r\n");
}

/// Anybody may say that it is somebody, and wait.
#[test]
fn logins_leave_one_half_of_the_places_to_clients_that_are_logged_in() {
    let (mut worker, _registry) = limited_with(TenantLimits::default(), |settings| {
        settings.paused_clients_max = 4;
    });
    let (first, backend) = worker.user("ann");
    let second = worker.logs_in("ann", "pw");
    worker.asked(backend);
    worker.pause(60_000);
    let strangers: Vec<_> = (0..3).map(|_| worker.client()).collect();
    for &stranger in &strangers {
        worker.says(stranger, "AUTH ann guess");
    }
    let refused = "-ERR elika: paused, and too many clients wait already\r\n";
    let heard = strangers.iter().map(|&it| worker.heard(it));
    assert_eq!(heard.collect::<Vec<_>>(), ["", "", refused]);
    for client in [first, second] {
        worker.says(client, "GET a");
        assert_eq!(worker.heard(client), "", "it waits");
    }
}

/// Whoever has just added a cluster may pause it before workers know of it.
#[test]
fn a_pause_may_come_before_its_tenant() {
    let nothing = Arc::new(Snapshot::new(1, None, []));
    let mut worker = Worker::following(Settings::default(), nothing);
    worker.pause(60_000);
    worker.follows(Registry::of(&[1]).snapshot());
    worker.begun();
    let client = worker.client();
    worker.says(client, "AUTH ann pw");
    assert!(worker.begun().is_empty(), "it does not wait");
    worker.unpause();
    worker.begun_one();
}
