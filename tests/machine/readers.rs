//! Clients on their way out, with replies that they have not read.

use elika::proxy::ConnKey;

use super::harness::{Worker, value};

/// However long ago the client said its last word: what counts is since when it does not read.
#[test]
fn a_reply_is_not_cut_because_it_came_late() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 0);
    let (client, backend) = worker.stranger();
    worker.says(client, "GET big");
    worker.machine.client_eof(client);
    worker.pass(61_000);
    worker.stall(ConnKey::Client(client));
    worker.replies(backend, value(200_000));
    worker.take(ConnKey::Client(client), 100_000);
    worker.pass(50_000);
    assert_eq!(worker.machine.clients(), 1);
    worker.take(ConnKey::Client(client), 50_000);
    worker.pass(50_000);
    assert_eq!(worker.machine.clients(), 1);
    // Nor is it kept for ever.
    worker.pass(15_000);
    assert!(worker.closed(ConnKey::Client(client)));
}

#[test]
fn a_client_being_closed_cannot_stay_by_sending() {
    let mut worker = Worker::new();
    let (client, backend) = worker.stranger();
    worker.stall(ConnKey::Client(client));
    worker.says(client, "GET big");
    worker.replies(backend, value(200_000));
    worker.says(client, "QUIT");
    for _ in 0..70 {
        worker.pass(1_000);
        worker.sends(client, "x");
    }
    assert!(worker.closed(ConnKey::Client(client)));
    assert_eq!(worker.machine.clients(), 0);
}
