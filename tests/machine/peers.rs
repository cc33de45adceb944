//! CLIENT LIST, which concerns all workers and is long.

use elika::proxy::ConnKey;

use super::harness::{Worker, command};

/// The other workers may have ended, and would never answer.
#[test]
fn client_list_asks_nobody_in_a_drain() {
    let mut worker = Worker::with(|settings| settings.workers = 2);
    let (client, backend) = worker.stranger();
    worker.sends(client, [command("GET x"), command("CLIENT LIST")].concat());
    worker.machine.drain();
    worker.asked(backend);
    worker.replies(backend, "$-1\r\n");
    worker.permits(backend);
    worker.settle();
    assert_eq!(worker.questions(), 0);
    let heard = worker.heard(client);
    assert!(heard.starts_with("$-1\r\n$"), "{heard}");
    assert!(heard.contains("cmd=client|list"), "{heard}");
    assert!(heard.contains("qbuf=26 "), "{heard}");
    assert!(worker.closed(ConnKey::Client(client)));
    assert!(worker.machine.is_drained());
}

#[test]
fn a_drain_does_not_wait_for_workers_that_were_asked_before() {
    let mut worker = Worker::with(|settings| settings.workers = 2);
    let (client, backend) = worker.stranger();
    worker.says(client, "CLIENT LIST");
    worker.permits(backend);
    worker.turn();
    assert_eq!(worker.questions(), 1);
    worker.machine.drain();
    worker.settle();
    assert!(worker.heard(client).contains("cmd=client|list"));
    assert!(worker.machine.is_drained());
}

/// A server reads them when the command ends.
#[test]
fn requests_behind_a_command_that_blocks_are_in_the_clients_buffer() {
    let mut worker = Worker::new();
    let (client, shared) = worker.stranger();
    let own = worker.own(client, "BLPOP l 1", "*-1\r\n");
    let other = worker.client();
    worker.says(other, "CLIENT LIST");
    worker.permits(shared);
    worker.settle();
    worker.heard(other);
    let line = |worker: &mut Worker| {
        worker.says(other, "CLIENT LIST");
        worker.settle();
        let heard = worker.heard(other);
        heard.lines().nth(1).unwrap().to_owned()
    };
    worker.says(client, "BLPOP l 0");
    let heard = line(&mut worker);
    assert!(heard.contains("flags=b "), "{heard}");
    assert!(heard.contains("qbuf=0 "), "{heard}");
    worker.says(client, "SET k value");
    let heard = line(&mut worker);
    let bytes = command("SET k value").len();
    assert!(heard.contains(&format!("qbuf={bytes} ")), "{heard}");
    worker.replies(own, "*2\r\n$1\r\nl\r\n$1\r\nx\r\n+OK\r\n");
    assert!(worker.heard(client).ends_with("+OK\r\n"));
    let heard = line(&mut worker);
    assert!(heard.contains("qbuf=0 "), "{heard}");
}

/// Each costs as much as there are clients, and its request next to nothing.
#[test]
fn a_pipeline_of_client_list_gets_one_answer_a_turn() {
    let mut worker = Worker::new();
    let (client, backend) = worker.stranger();
    let neighbour = worker.client();
    worker.says(neighbour, "GET x");
    worker.replies(backend, "$-1\r\n");
    worker.heard(neighbour);
    worker.asked(backend);
    worker.sends(client, command("CLIENT LIST").repeat(10));
    worker.permits(backend);
    let mut turns = 1;
    let mut answers = 0;
    while answers < 10 {
        let now = worker.heard(client).matches("id=1 ").count();
        assert!(now <= 1, "{now} answers in one turn");
        answers += now;
        worker.turn();
        turns += 1;
        assert!(turns < 20, "{answers} answers in {turns} turns");
    }
    worker.says(neighbour, "GET x");
    worker.replies(backend, "$-1\r\n");
    assert_eq!(worker.heard(neighbour), "$-1\r\n");
}

/// Searches of many clients among many: a turn looks at some places of one of them.
#[test]
fn lists_and_kills_of_many_clients_take_turns() {
    let mut worker = Worker::new();
    let (first, backend) = worker.stranger();
    let mut others = vec![first];
    for _ in 0..999 {
        let client = worker.client();
        worker.says(client, "UNWATCH");
        worker.heard(client);
        others.push(client);
    }
    worker.says(others[0], "CLIENT LIST");
    worker.permits(backend);
    for &client in &others[1..20] {
        worker.says(client, "CLIENT LIST");
    }
    worker.says(others[20], "CLIENT KILL ID 999999");
    worker.permits(backend);
    worker.says(others[21], "CLIENT KILL ID 500");
    worker.says(others[22], "GET x");
    worker.replies(backend, "$-1\r\n");
    assert_eq!(worker.heard(others[22]), "$-1\r\n");
    let mut turns = 0;
    let heard: Vec<_> = others[..20].iter().map(|&it| worker.heard(it)).collect();
    let mut answers = heard.iter().filter(|it| !it.is_empty()).count();
    assert!(answers <= 8, "{answers} answers in 23 turns");
    while worker.machine.has_ready() {
        let before = worker.machine.clients();
        worker.turn();
        turns += 1;
        let heard: Vec<_> = others[..20].iter().map(|&it| worker.heard(it)).collect();
        let now = heard.iter().filter(|it| !it.is_empty()).count();
        assert!(now <= 1 && before - worker.machine.clients() <= 1);
        answers += now;
        let lines: usize = heard.iter().map(|it| it.matches(" addr=").count()).sum();
        assert!(lines == 0 || lines >= 998, "{lines} lines");
    }
    assert_eq!(answers, 20);
    assert!(turns >= 12 * 4, "{turns} turns");
    assert_eq!(worker.heard(others[20]), ":0\r\n");
    assert_eq!(worker.heard(others[21]), ":1\r\n");
    assert_eq!(worker.machine.clients(), 999);
}

/// So many lists of 1.6 MB are asked for at once, where 4 MB may be kept. Returns how many of those
/// who asked are closed before they have read any of it.
fn closed_while_listing(worker: &mut Worker) -> usize {
    let (first, backend) = worker.stranger();
    worker.says(first, "CLIENT SETNAME first");
    worker.permits(backend);
    worker.heard(first);
    let mut clients = vec![first];
    clients.extend((1..400).map(|_| worker.client()));
    let name = "n".repeat(4_000);
    for &client in &clients {
        worker.says(client, &format!("CLIENT SETNAME {name}"));
        assert_eq!(worker.heard(client), "+OK\r\n");
    }
    for &client in &clients[..10] {
        worker.says(client, "CLIENT LIST");
    }
    worker.permits(backend);
    for _ in 0..100 {
        worker.turn();
        for &client in &clients[..10] {
            worker.heard(client);
        }
    }
    let closed = |key: &&_| worker.closed(ConnKey::Client(**key));
    clients.iter().filter(closed).count()
}

/// While the other worker does not answer, all of them begin.
#[test]
fn lists_that_are_not_finished_count_as_bytes_kept_for_who_asked() {
    let mut worker = Worker::with(|settings| {
        settings.worker_buffer_bytes_max = 4 << 20;
        settings.workers = 2;
    });
    assert!(closed_while_listing(&mut worker) > 0);
    assert!(worker.machine.counters().buffers_full > 0);
}

#[test]
fn lists_of_one_tenant_are_made_one_after_the_other() {
    let mut worker = Worker::with(|settings| settings.worker_buffer_bytes_max = 4 << 20);
    assert_eq!(closed_while_listing(&mut worker), 0);
}

/// Each looks at all clients.
#[test]
fn a_turn_looks_for_one_client_by_its_number() {
    let mut worker = Worker::new();
    let (first, backend) = worker.stranger();
    let mut clients = vec![first];
    clients.extend((1..20).map(|_| worker.client()));
    for &client in &clients[1..] {
        worker.says(client, "UNWATCH");
        worker.heard(client);
    }
    worker.says(first, "CLIENT UNBLOCK 999");
    worker.permits(backend);
    worker.settle();
    assert_eq!(worker.heard(first), ":0\r\n");
    worker.all_say(&clients, "CLIENT UNBLOCK 999");
    for _ in 0..clients.len() {
        worker.turn();
        let heard = clients.iter().filter(|&&it| worker.heard(it) == ":0\r\n");
        assert_eq!(heard.count(), 1);
    }
}
