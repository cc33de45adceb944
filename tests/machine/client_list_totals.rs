//! The totals of CLIENT LIST, number by number. A server counts bytes when it reads and writes
//! them, and a command when it has executed it.

use elika::proxy::{ClientKey, LinkKey};

use super::harness::{Worker, command};
use super::valkey::{HELLO_OF_VALKEY, on_valkey_9};

/// `AUTH ann pw` and its reply.
const LOGIN: [u64; 3] = [31, 5, 1];

const INFO: u64 = 26;

/// Bytes in, bytes out and commands in a line of CLIENT LIST.
fn totals(line: &str) -> [u64; 3] {
    ["tot-net-in", "tot-net-out", "tot-cmds"].map(|name| {
        let at = line.find(&format!(" {name}=")).unwrap() + name.len() + 2;
        let value = line[at..].split([' ', '\n']).next().unwrap();
        value.parse().unwrap()
    })
}

fn len(line: &str) -> u64 {
    command(line).len() as u64
}

/// A client that requests its own totals, and the totals that the test expects.
struct Asker {
    client: ClientKey,
    counted: [u64; 3],
}

impl Asker {
    /// The client has logged in and has the permission for CLIENT INFO.
    fn new(worker: &mut Worker) -> (Self, LinkKey) {
        let (client, shared) = on_valkey_9(worker);
        worker.send(client, "CLIENT INFO");
        worker.permit(shared);
        let heard = worker.received(client);
        let [sent, said, commands] = LOGIN;
        assert_eq!(totals(&heard), [sent + INFO, said, commands]);
        let counted = [sent + INFO, said + heard.len() as u64, commands + 1];
        (Self { client, counted }, shared)
    }

    /// Adds bytes sent, bytes received and commands to the expected totals.
    fn exchange(&mut self, sent: u64, heard: &str, commands: u64) {
        let [bytes_in, bytes_out, done] = &mut self.counted;
        *bytes_in += sent;
        *bytes_out += heard.len() as u64;
        *done += commands;
    }

    /// Checks that the totals of the proxy are the expected ones.
    #[track_caller]
    fn check(&mut self, worker: &mut Worker) {
        worker.send(self.client, "CLIENT INFO");
        let info = worker.received(self.client);
        self.exchange(INFO, "", 0);
        assert_eq!(totals(&info), self.counted);
        self.exchange(0, &info, 1);
    }

    /// The client sends a command, and the backend replies.
    fn send(&mut self, worker: &mut Worker, line: &str, on: LinkKey, reply: &str, done: u64) {
        worker.send(self.client, line);
        worker.reply(on, reply);
        let heard = worker.received(self.client);
        assert_eq!(heard, reply, "{line}");
        self.exchange(len(line), &heard, done);
    }
}

#[test]
fn bytes_count_when_transferred_and_commands_when_executed() {
    let mut worker = Worker::new();
    let (mut ann, shared) = Asker::new(&mut worker);
    ann.send(&mut worker, "GET k", shared, "$1\r\nv\r\n", 1);
    // A command that the proxy answers, and one that it refuses.
    worker.send(ann.client, "CLIENT GETNAME");
    worker.permit(shared);
    let heard = worker.received(ann.client);
    ann.exchange(len("CLIENT GETNAME"), &heard, 1);
    ann.check(&mut worker);
    // A pipeline is one record, and an inline command counts as well; an empty line is not a
    // command.
    worker.send_bytes(
        ann.client,
        [&command("GET k").repeat(5)[..], b"\r\n"].concat(),
    );
    worker.reply(shared, "$1\r\nv\r\n".repeat(5));
    let heard = worker.received(ann.client);
    ann.exchange(5 * len("GET k") + 2, &heard, 5);
    worker.send_bytes(ann.client, "PING\r\n");
    worker.reply(shared, "+PONG\r\n");
    ann.exchange(6, "+PONG\r\n", 1);
    assert_eq!(worker.received(ann.client), "+PONG\r\n");
    ann.check(&mut worker);
    // Buffered requests have been read; replies that wait for the client have not been written.
    worker.stall(ann.client);
    worker.send(ann.client, "GET k");
    worker.reply(shared, "$1\r\nv\r\n");
    let half = command("SET key value");
    worker.send_bytes(ann.client, &half[..10]);
    ann.exchange(len("GET k") + 10, "", 1);
    let bob = other(&mut worker, shared);
    assert_eq!(seen_by(&mut worker, bob), ann.counted);
    worker.unstall(ann.client);
    ann.exchange(0, "$1\r\nv\r\n", 0);
    assert_eq!(worker.received(ann.client), "$1\r\nv\r\n");
    worker.send_bytes(ann.client, &half[10..]);
    worker.reply(shared, "+OK\r\n");
    ann.exchange(half.len() as u64 - 10, "+OK\r\n", 1);
    assert_eq!(worker.received(ann.client), "+OK\r\n");
    ann.check(&mut worker);
}

/// A large request is moved to its backend in pieces.
#[test]
fn large_request_counts_as_one_command() {
    let mut worker = Worker::new();
    let (mut ann, shared) = Asker::new(&mut worker);
    for size in [40_000, 200_000] {
        let line = format!("SET k {}", "x".repeat(size));
        worker.send_large(ann.client, &command(&line));
        worker.deliver(shared, ann.client, "+OK\r\n");
        ann.exchange(len(&line), "+OK\r\n", 1);
    }
    ann.check(&mut worker);
}

#[test]
fn queued_commands_count_at_exec() {
    let mut worker = Worker::new();
    let (mut ann, _) = Asker::new(&mut worker);
    worker.send(ann.client, "MULTI");
    let dedicated = open_own(&mut worker);
    worker.reply(dedicated, "+OK\r\n");
    ann.exchange(len("MULTI"), &worker.received(ann.client), 1);
    ann.send(&mut worker, "GET k", dedicated, "+QUEUED\r\n", 0);
    ann.send(
        &mut worker,
        "NONE",
        dedicated,
        "-ERR unknown command\r\n",
        0,
    );
    ann.send(&mut worker, "EXEC", dedicated, "-EXECABORT no\r\n", 1);
    ann.check(&mut worker);
    for (end, reply, done) in [
        ("DISCARD", "+OK\r\n", 1),
        ("EXEC", "*-1\r\n", 1),
        ("EXEC", "*2\r\n$1\r\nv\r\n$1\r\nw\r\n", 3),
    ] {
        ann.send(&mut worker, "MULTI", dedicated, "+OK\r\n", 1);
        ann.send(&mut worker, "GET k", dedicated, "+QUEUED\r\n", 0);
        ann.send(&mut worker, "GET l", dedicated, "+QUEUED\r\n", 0);
        ann.send(&mut worker, end, dedicated, reply, done);
        ann.check(&mut worker);
    }
    // Inside EXEC, the commands before CLIENT INFO have been executed, and EXEC has not.
    ann.send(&mut worker, "MULTI", dedicated, "+OK\r\n", 1);
    for line in ["GET k", "GET l", "CLIENT INFO", "GET m"] {
        ann.send(&mut worker, line, dedicated, "+QUEUED\r\n", 0);
    }
    worker.send(ann.client, "EXEC");
    ann.exchange(len("EXEC"), "", 2);
    worker.reply(dedicated, "*4\r\n$-1\r\n$-1\r\n$2\r\nid\r\n$-1\r\n");
    let heard = worker.received(ann.client);
    assert_eq!(totals(&heard), ann.counted);
    ann.exchange(0, &heard, 3);
    ann.check(&mut worker);
}

#[test]
fn blocking_command_counts_when_it_ends() {
    let mut worker = Worker::new();
    let (mut ann, shared) = Asker::new(&mut worker);
    let bob = other(&mut worker, shared);
    let behind = command("GET k").repeat(2);
    worker.send_bytes(ann.client, [command("BLPOP l 0"), behind].concat());
    ann.exchange(len("BLPOP l 0") + 2 * len("GET k"), "", 0);
    let blocked = open_own(&mut worker);
    assert_eq!(seen_by(&mut worker, bob), ann.counted);
    let reply = "*2\r\n$1\r\nl\r\n$1\r\nv\r\n";
    worker.reply(blocked, reply);
    assert_eq!(worker.received(ann.client), reply);
    ann.exchange(0, reply, 3);
    assert_eq!(seen_by(&mut worker, bob), ann.counted);
    for _ in 0..2 {
        worker.reply(blocked, "$-1\r\n");
        ann.exchange(0, &worker.received(ann.client), 0);
    }
    ann.check(&mut worker);
}

/// Establishes the dedicated connection that is being opened, and sends its first request.
fn open_own(worker: &mut Worker) -> LinkKey {
    let dedicated = worker.new_link();
    worker.open_handshake(dedicated);
    worker.reply(dedicated, "+OK\r\n");
    worker.reply(dedicated, HELLO_OF_VALKEY);
    worker.settle();
    dedicated
}

/// Another client of the same user, with the permission for CLIENT LIST.
fn other(worker: &mut Worker, shared: LinkKey) -> ClientKey {
    let bob = worker.log_in("ann", "pw");
    worker.send(bob, "CLIENT LIST ID 1");
    worker.permit(shared);
    worker.settle();
    worker.received(bob);
    bob
}

/// The totals of the first client in the CLIENT LIST of another client.
#[track_caller]
fn seen_by(worker: &mut Worker, bob: ClientKey) -> [u64; 3] {
    worker.send(bob, "CLIENT LIST ID 1");
    worker.settle();
    totals(&worker.received(bob))
}
