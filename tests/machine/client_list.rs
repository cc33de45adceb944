//! CLIENT LIST, which needs all workers and has a long reply.

use super::harness::{Worker, command};

/// The other workers may have ended, and would never respond.
#[test]
fn client_list_asks_no_worker_during_a_drain() {
    let mut worker = Worker::with(|settings| settings.workers = 2);
    let (client, backend) = worker.anonymous();
    worker.send_bytes(client, [command("GET x"), command("CLIENT LIST")].concat());
    worker.machine.drain();
    worker.requests(backend);
    worker.reply(backend, "$-1\r\n");
    worker.permit(backend);
    worker.settle();
    assert_eq!(worker.questions(), 0);
    let heard = worker.received(client);
    assert!(heard.starts_with("$-1\r\n$"), "{heard}");
    assert!(heard.contains("cmd=client|list"), "{heard}");
    assert!(heard.contains("qbuf=26 "), "{heard}");
    assert!(worker.closed(client));
    assert!(worker.machine.is_drained());
}

#[test]
fn drain_does_not_wait_for_other_workers() {
    let mut worker = Worker::with(|settings| settings.workers = 2);
    let (client, backend) = worker.anonymous();
    worker.send(client, "CLIENT LIST");
    worker.permit(backend);
    worker.turn();
    assert_eq!(worker.questions(), 1);
    worker.machine.drain();
    worker.settle();
    assert!(worker.received(client).contains("cmd=client|list"));
    assert!(worker.machine.is_drained());
}

/// A server reads these requests when the command ends.
#[test]
fn requests_behind_a_blocking_command_count_as_query_buffer() {
    let mut worker = Worker::new();
    let (client, shared) = worker.anonymous();
    let dedicated = worker.dedicated(client, "BLPOP l 1", "*-1\r\n");
    let other = worker.client_sends("CLIENT LIST");
    worker.permit(shared);
    worker.settle();
    worker.received(other);
    let line = |worker: &mut Worker| {
        worker.send(other, "CLIENT LIST");
        worker.settle();
        let heard = worker.received(other);
        heard.lines().nth(1).unwrap().to_owned()
    };
    worker.send(client, "BLPOP l 0");
    let heard = line(&mut worker);
    assert!(heard.contains("flags=b "), "{heard}");
    assert!(heard.contains("qbuf=0 "), "{heard}");
    worker.send(client, "SET k value");
    let heard = line(&mut worker);
    let bytes = command("SET k value").len();
    assert!(heard.contains(&format!("qbuf={bytes} ")), "{heard}");
    worker.reply(dedicated, "*2\r\n$1\r\nl\r\n$1\r\nx\r\n+OK\r\n");
    assert!(worker.received(client).ends_with("+OK\r\n"));
    let heard = line(&mut worker);
    assert!(heard.contains("qbuf=0 "), "{heard}");
}

/// A list costs time in proportion to the number of clients, while its request is short.
#[test]
fn pipelined_client_list_gets_one_reply_per_turn() {
    let mut worker = Worker::new();
    let (client, backend) = worker.anonymous();
    let neighbour = worker.client_sends("GET x");
    worker.reply(backend, "$-1\r\n");
    worker.received(neighbour);
    worker.requests(backend);
    worker.send_bytes(client, command("CLIENT LIST").repeat(10));
    worker.permit(backend);
    let mut turns = 1;
    let mut answers = 0;
    while answers < 10 {
        let now = worker.received(client).matches("id=1 ").count();
        assert!(now <= 1, "{now} answers in one turn");
        answers += now;
        worker.turn();
        turns += 1;
        assert!(turns < 20, "{answers} answers in {turns} turns");
    }
    worker.send(neighbour, "GET x");
    worker.deliver(backend, neighbour, "$-1\r\n");
}

/// Each turn continues one search over a bounded number of clients.
#[test]
fn lists_and_kills_of_many_clients_take_turns() {
    let mut worker = Worker::new();
    let (first, backend) = worker.anonymous();
    let mut others = vec![first];
    for _ in 0..999 {
        let client = worker.client_sends("UNWATCH");
        worker.received(client);
        others.push(client);
    }
    worker.send(others[0], "CLIENT LIST");
    worker.permit(backend);
    for &client in &others[1..20] {
        worker.send(client, "CLIENT LIST");
    }
    worker.send(others[20], "CLIENT KILL ID 999999");
    worker.permit(backend);
    worker.send(others[21], "CLIENT KILL ID 500");
    worker.send(others[22], "GET x");
    worker.reply(backend, "$-1\r\n");
    assert_eq!(worker.received(others[22]), "$-1\r\n");
    let mut turns = 0;
    let heard: Vec<_> = others[..20].iter().map(|&it| worker.received(it)).collect();
    let mut answers = heard.iter().filter(|it| !it.is_empty()).count();
    assert!(answers <= 8, "{answers} answers in 23 turns");
    while worker.machine.has_ready() {
        let before = worker.machine.clients();
        worker.turn();
        turns += 1;
        let heard: Vec<_> = others[..20].iter().map(|&it| worker.received(it)).collect();
        let now = heard.iter().filter(|it| !it.is_empty()).count();
        assert!(now <= 1 && before - worker.machine.clients() <= 1);
        answers += now;
        let lines: usize = heard.iter().map(|it| it.matches(" addr=").count()).sum();
        assert!(lines == 0 || lines >= 998, "{lines} lines");
    }
    assert_eq!(answers, 20);
    assert!(turns >= 12 * 4, "{turns} turns");
    assert_eq!(worker.received(others[20]), ":0\r\n");
    assert_eq!(worker.received(others[21]), ":1\r\n");
    assert_eq!(worker.machine.clients(), 999);
}

/// Requests lists of 1.6 MB from many clients at once, with a buffer limit of 4 MB. Returns how
/// many of these clients are closed before they read anything.
fn closed_while_listing(worker: &mut Worker) -> usize {
    let (first, backend) = worker.anonymous();
    worker.send(first, "CLIENT SETNAME first");
    worker.permit(backend);
    worker.received(first);
    let mut clients = vec![first];
    clients.extend((1..400).map(|_| worker.client()));
    let name = "n".repeat(4_000);
    for &client in &clients {
        worker.send(client, &format!("CLIENT SETNAME {name}"));
        assert_eq!(worker.received(client), "+OK\r\n");
    }
    for &client in &clients[..10] {
        worker.send(client, "CLIENT LIST");
    }
    worker.permit(backend);
    for _ in 0..100 {
        worker.turn();
        for &client in &clients[..10] {
            worker.received(client);
        }
    }
    let closed = |key: &&_| worker.closed(**key);
    clients.iter().filter(closed).count()
}

/// All lists start while the other worker does not respond.
#[test]
fn unfinished_lists_count_as_bytes_of_their_client() {
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

/// Each list visits all clients.
#[test]
fn search_for_one_id_finishes_in_one_turn() {
    let mut worker = Worker::new();
    let (first, backend) = worker.anonymous();
    let mut clients = vec![first];
    clients.extend((1..20).map(|_| worker.client()));
    for &client in &clients[1..] {
        worker.send(client, "UNWATCH");
        worker.received(client);
    }
    worker.send(first, "CLIENT UNBLOCK 999");
    worker.permit(backend);
    worker.settle();
    assert_eq!(worker.received(first), ":0\r\n");
    worker.send_all(&clients, "CLIENT UNBLOCK 999");
    for _ in 0..clients.len() {
        worker.turn();
        let heard = clients
            .iter()
            .filter(|&&it| worker.received(it) == ":0\r\n");
        assert_eq!(heard.count(), 1);
    }
}
