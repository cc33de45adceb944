//! What CLIENT LIST says of how much has gone through a client's connection, number by number. A
//! server counts bytes when it reads and writes them, and a command when it has carried it out.

use elika::proxy::{ClientKey, ConnKey, LinkKey};

use super::harness::{Worker, command};
use super::pins::{HELLO_OF_VALKEY, on_valkey_9};

/// `AUTH ann pw`, and its reply.
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

/// A client that asks for its own totals, and what it has sent and heard according to us.
struct Asker {
    client: ClientKey,
    counted: [u64; 3],
}

impl Asker {
    /// It has logged in, and the server lets it ask.
    fn new(worker: &mut Worker) -> (Self, LinkKey) {
        let (client, shared) = on_valkey_9(worker);
        worker.says(client, "CLIENT INFO");
        worker.permits(shared);
        let heard = worker.heard(client);
        let [sent, said, commands] = LOGIN;
        assert_eq!(totals(&heard), [sent + INFO, said, commands]);
        let counted = [sent + INFO, said + heard.len() as u64, commands + 1];
        (Self { client, counted }, shared)
    }

    /// It has sent so much, and heard so much, and so many of its commands are done.
    fn does(&mut self, sent: u64, heard: &str, commands: u64) {
        let [bytes_in, bytes_out, done] = &mut self.counted;
        *bytes_in += sent;
        *bytes_out += heard.len() as u64;
        *done += commands;
    }

    /// What it is told is what we counted.
    #[track_caller]
    fn check(&mut self, worker: &mut Worker) {
        worker.says(self.client, "CLIENT INFO");
        let info = worker.heard(self.client);
        self.does(INFO, "", 0);
        assert_eq!(totals(&info), self.counted);
        self.does(0, &info, 1);
    }

    /// It gives a command, and the backend replies.
    fn says(&mut self, worker: &mut Worker, line: &str, on: LinkKey, reply: &str, done: u64) {
        worker.says(self.client, line);
        worker.replies(on, reply);
        let heard = worker.heard(self.client);
        assert_eq!(heard, reply, "{line}");
        self.does(len(line), &heard, done);
    }
}

#[test]
fn bytes_count_when_they_are_read_and_written_and_commands_when_they_are_done() {
    let mut worker = Worker::new();
    let (mut ann, shared) = Asker::new(&mut worker);
    ann.says(&mut worker, "GET k", shared, "$1\r\nv\r\n", 1);
    // Answered here, and refused here.
    worker.says(ann.client, "CLIENT GETNAME");
    worker.permits(shared);
    let heard = worker.heard(ann.client);
    ann.does(len("CLIENT GETNAME"), &heard, 1);
    ann.check(&mut worker);
    // A pipeline is one record, and so is an inline command; an empty line is no command.
    worker.sends(
        ann.client,
        [&command("GET k").repeat(5)[..], b"\r\n"].concat(),
    );
    worker.replies(shared, "$1\r\nv\r\n".repeat(5));
    let heard = worker.heard(ann.client);
    ann.does(5 * len("GET k") + 2, &heard, 5);
    worker.sends(ann.client, "PING\r\n");
    worker.replies(shared, "+PONG\r\n");
    ann.does(6, "+PONG\r\n", 1);
    assert_eq!(worker.heard(ann.client), "+PONG\r\n");
    ann.check(&mut worker);
    // What is kept for later has been read, and what waits for the client has not been written.
    worker.stall(ConnKey::Client(ann.client));
    worker.says(ann.client, "GET k");
    worker.replies(shared, "$1\r\nv\r\n");
    let half = command("SET key value");
    worker.sends(ann.client, &half[..10]);
    ann.does(len("GET k") + 10, "", 1);
    let bob = other(&mut worker, shared);
    assert_eq!(seen_by(&mut worker, bob), ann.counted);
    worker.unstall(ConnKey::Client(ann.client));
    ann.does(0, "$1\r\nv\r\n", 0);
    assert_eq!(worker.heard(ann.client), "$1\r\nv\r\n");
    worker.sends(ann.client, &half[10..]);
    worker.replies(shared, "+OK\r\n");
    ann.does(half.len() as u64 - 10, "+OK\r\n", 1);
    assert_eq!(worker.heard(ann.client), "+OK\r\n");
    ann.check(&mut worker);
}

/// A large request is moved to its backend piece by piece.
#[test]
fn a_large_request_is_one_command() {
    let mut worker = Worker::new();
    let (mut ann, shared) = Asker::new(&mut worker);
    for size in [40_000, 200_000] {
        let line = format!("SET k {}", "x".repeat(size));
        worker.uploads(ann.client, &command(&line));
        worker.replies(shared, "+OK\r\n");
        assert_eq!(worker.heard(ann.client), "+OK\r\n");
        ann.does(len(&line), "+OK\r\n", 1);
    }
    ann.check(&mut worker);
}

#[test]
fn what_is_queued_counts_when_exec_carries_it_out() {
    let mut worker = Worker::new();
    let (mut ann, _) = Asker::new(&mut worker);
    worker.says(ann.client, "MULTI");
    let own = open_own(&mut worker);
    worker.replies(own, "+OK\r\n");
    ann.does(len("MULTI"), &worker.heard(ann.client), 1);
    ann.says(&mut worker, "GET k", own, "+QUEUED\r\n", 0);
    ann.says(&mut worker, "NONE", own, "-ERR unknown command\r\n", 0);
    ann.says(&mut worker, "EXEC", own, "-EXECABORT no\r\n", 1);
    ann.check(&mut worker);
    for (end, reply, done) in [
        ("DISCARD", "+OK\r\n", 1),
        ("EXEC", "*-1\r\n", 1),
        ("EXEC", "*2\r\n$1\r\nv\r\n$1\r\nw\r\n", 3),
    ] {
        ann.says(&mut worker, "MULTI", own, "+OK\r\n", 1);
        ann.says(&mut worker, "GET k", own, "+QUEUED\r\n", 0);
        ann.says(&mut worker, "GET l", own, "+QUEUED\r\n", 0);
        ann.says(&mut worker, end, own, reply, done);
        ann.check(&mut worker);
    }
    // Within EXEC, what stands before the question is done, and EXEC is not.
    ann.says(&mut worker, "MULTI", own, "+OK\r\n", 1);
    for line in ["GET k", "GET l", "CLIENT INFO", "GET m"] {
        ann.says(&mut worker, line, own, "+QUEUED\r\n", 0);
    }
    worker.says(ann.client, "EXEC");
    ann.does(len("EXEC"), "", 2);
    worker.replies(own, "*4\r\n$-1\r\n$-1\r\n$2\r\nid\r\n$-1\r\n");
    let heard = worker.heard(ann.client);
    assert_eq!(totals(&heard), ann.counted);
    ann.does(0, &heard, 3);
    ann.check(&mut worker);
}

#[test]
fn a_command_that_blocks_counts_when_it_ends() {
    let mut worker = Worker::new();
    let (mut ann, shared) = Asker::new(&mut worker);
    let bob = other(&mut worker, shared);
    let behind = command("GET k").repeat(2);
    worker.sends(ann.client, [command("BLPOP l 0"), behind].concat());
    ann.does(len("BLPOP l 0") + 2 * len("GET k"), "", 0);
    let blocked = open_own(&mut worker);
    assert_eq!(seen_by(&mut worker, bob), ann.counted);
    let reply = "*2\r\n$1\r\nl\r\n$1\r\nv\r\n";
    worker.replies(blocked, reply);
    assert_eq!(worker.heard(ann.client), reply);
    ann.does(0, reply, 3);
    assert_eq!(seen_by(&mut worker, bob), ann.counted);
    for _ in 0..2 {
        worker.replies(blocked, "$-1\r\n");
        ann.does(0, &worker.heard(ann.client), 0);
    }
    ann.check(&mut worker);
}

/// The connection of a client's own that is begun is made, and sent what it is for.
fn open_own(worker: &mut Worker) -> LinkKey {
    let own = worker.begun_one();
    worker.connect(own);
    worker.replies(own, "+OK\r\n");
    worker.replies(own, HELLO_OF_VALKEY);
    worker.settle();
    own
}

/// Another client of the same user, which the server lets ask for others.
fn other(worker: &mut Worker, shared: LinkKey) -> ClientKey {
    let bob = worker.logs_in("ann", "pw");
    worker.says(bob, "CLIENT LIST ID 1");
    worker.permits(shared);
    worker.settle();
    worker.heard(bob);
    bob
}

/// What CLIENT LIST shows it of the first client.
#[track_caller]
fn seen_by(worker: &mut Worker, bob: ClientKey) -> [u64; 3] {
    worker.says(bob, "CLIENT LIST ID 1");
    worker.settle();
    totals(&worker.heard(bob))
}
