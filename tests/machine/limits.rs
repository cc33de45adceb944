//! Limits of bytes and time: what they bound, and which clients they must not affect.

use elika::proxy::{ConnKey, Flow, NoticeKind};

use super::harness::{READ_BYTES, Worker, command, set, value};

/// CLIENT HELP has the longest reply to the shortest request.
fn many_commands() -> Vec<u8> {
    b"CLIENT HELP\r\n".repeat(5_000)
}

#[test]
fn client_with_too_many_unread_bytes_is_closed() {
    let mut worker = Worker::with(|settings| settings.client_outbound_bytes_max = 1 << 20);
    let (client, _) = worker.anonymous();
    worker.stall(client);
    let questions = many_commands();
    for part in questions.chunks(600) {
        worker.send_bytes(client, part);
    }
    assert!(worker.closed(client));
    assert_eq!(worker.machine.counters().slow_readers, 1);
    let notices = worker.notices();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].kind, NoticeKind::ClientOutbound);
    assert!(notices[0].value > 1 << 20, "{:?}", notices[0]);
}

#[test]
fn too_large_request_is_refused_and_logged_with_its_client() {
    let mut worker = Worker::with(|settings| {
        settings.after_login = settings.after_login.at_most(10_000);
    });
    for (request, error) in [
        (
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10001\r\n",
            "invalid bulk length",
        ),
        ("*2\r\n$3\r\nGET\r\n$9999\r\n", "too big request"),
    ] {
        let (ann, _) = worker.user("ann");
        worker.send_bytes(ann, request);
        assert_eq!(
            worker.received(ann),
            format!("-ERR Protocol error: {error}\r\n")
        );
        let notices = worker.notices();
        let [notice] = &notices[..] else {
            panic!("{notices:?}")
        };
        assert_eq!(
            (notice.kind.name(), notice.value),
            ("limit.request-bytes", 10_000)
        );
        let user = notice.client.as_ref().map(|client| &*client.user);
        assert_eq!(user, Some("ann"));
        worker.advance(2_000);
    }
    // An invalid length is an error without a limit, so no limit is logged.
    let (mut worker, ann, _) = Worker::with_user("ann");
    worker.send_bytes(ann, "*1\r\n$x\r\n");
    assert_eq!(
        worker.received(ann),
        "-ERR Protocol error: invalid bulk length\r\n"
    );
    assert!(worker.notices().is_empty());
}

/// Such replies wait until the backend has answered the earlier requests.
#[test]
fn proxy_replies_that_wait_for_earlier_ones_count_as_unread() {
    let mut worker = Worker::with(|settings| settings.client_outbound_bytes_max = 1 << 20);
    let (client, backend) = worker.anonymous();
    worker.send(client, "GET x");
    let questions = many_commands();
    for part in questions.chunks(600) {
        worker.send_bytes(client, part);
    }
    let answers = worker.machine.counters().answers;
    assert!(answers < 1_000, "{answers} answers were made");
    assert!(worker.closed(client));
    worker.reply(backend, "$1\r\nx\r\n");
    assert_eq!(worker.received(client), "");
}

/// The client writes all requests before it reads the first reply, so it reads nothing while its
/// send blocks.
#[test]
fn pipeline_written_before_reading_is_answered() {
    const REQUESTS: usize = 10_000;
    let mut worker = Worker::new();
    let (client, backend) = worker.anonymous();
    worker.stall(client);
    let pipeline = command("GET k").repeat(REQUESTS);
    let reply = value(1_000);
    let (mut sent, mut replied, mut paused) = (0, 0, false);
    while sent < pipeline.len() {
        if !paused {
            let to = pipeline.len().min(sent + READ_BYTES);
            paused = worker.send_bytes(client, &pipeline[sent..to]) == Flow::Pause;
            sent = to;
        }
        let asked = worker.requests(backend).matches("GET").count();
        assert!(asked > 0 || !paused, "the client waits in its send");
        for _ in 0..asked {
            let flow = worker.reply(backend, &reply);
            assert!(flow == Flow::Continue || !paused, "nobody is read");
            replied += 1;
            paused &= !worker.resumed(client);
        }
    }
    assert!(replied > REQUESTS / 2, "{replied} replies were taken");
    worker.unstall(client);
    assert_eq!(worker.received(client).len(), replied * reply.len());
}

/// Such a reply does not count as outstanding in the worker either, which would let more requests
/// in.
#[test]
fn proxy_replies_are_not_in_flight() {
    let mut worker = Worker::new();
    let (client, backend) = worker.anonymous();
    let (before, _) = worker.machine.load();
    worker.send_bytes(client, "GET x\r\nUNWATCH\r\n".repeat(10));
    assert_eq!(worker.machine.load(), (before + 10, 10));
    worker.reply(backend, "$-1\r\n".repeat(10));
    assert_eq!(worker.machine.load(), (before + 10, 0));
}

/// One client keeps the backend's buffer full. A client that waits for room continues as soon as
/// there is some, not when the buffer is empty.
#[test]
fn waiting_client_is_not_starved_by_a_sending_client() {
    let mut worker = Worker::new();
    let (greedy, backend) = worker.anonymous();
    let other = worker.client_sends("UNWATCH");
    worker.requests(backend);
    let to_backend = ConnKey::Link(backend);
    worker.stall(to_backend);
    worker.send_large(greedy, &set(1_100_000));
    assert_eq!(worker.send(other, "GET mine"), Flow::Pause);
    for _ in 0..10 {
        worker.take(to_backend, 64_000);
    }
    let mut asked = String::new();
    for _ in 0..20 {
        worker.send_bytes(greedy, set(60_000));
        worker.take(to_backend, 60_000);
        asked += &worker.requests(backend);
    }
    assert!(worker.machine.outbound_bytes() > 0, "nobody waited");
    assert!(asked.contains("mine"));
    assert!(worker.resumed(other));
}

#[test]
fn long_first_request_is_not_a_login_timeout() {
    let mut worker = Worker::with(|settings| settings.client_login_ms = 10_000);
    worker.anonymous();
    let (slow, silent) = (worker.client(), worker.client());
    worker.send_bytes(slow, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n");
    for _ in 0..20 {
        worker.send_bytes(slow, [b'x'; 1_000]);
        worker.advance(1_000);
    }
    assert!(!worker.closed(slow));
    assert!(worker.closed(silent));
    let bounds: Vec<NoticeKind> = worker.notices().iter().map(|it| it.kind).collect();
    assert_eq!(bounds, [NoticeKind::LoginTime]);
}

#[test]
fn silent_client_is_closed_and_logged() {
    for (pinned, bound) in [(false, NoticeKind::Idle), (true, NoticeKind::PinnedIdle)] {
        let mut worker = Worker::with(|settings| {
            settings.client_idle_ms = if pinned { 0 } else { 5_000 };
            settings.pinned_idle_ms = 5_000;
        });
        let (client, _) = worker.user("ann");
        if pinned {
            worker.dedicated(client, "WATCH k", "+OK\r\n");
        }
        worker.advance(4_000);
        assert!(!worker.closed(client));
        worker.advance(3_000);
        assert!(worker.closed(client));
        let notices = worker.notices();
        assert_eq!(notices.len(), 1);
        assert_eq!(notices[0].kind, bound);
        assert!((5_000..7_000).contains(&notices[0].value));
    }
}

/// Large requests have their own path, which must count as a request too.
#[test]
fn client_that_sends_large_requests_is_not_a_login_timeout() {
    let mut worker = Worker::with(|settings| settings.client_login_ms = 10_000);
    let (_, backend) = worker.anonymous();
    let client = worker.client();
    for _ in 0..20 {
        worker.send_large(client, &set(100_000));
        worker.deliver(backend, client, "+OK\r\n");
        worker.advance(1_000);
    }
}

#[test]
fn largest_request_gets_an_error_at_the_buffer_limit() {
    let mut worker = Worker::with(|settings| settings.worker_buffer_bytes_max = 1 << 20);
    let (first, backend) = worker.user("ann");
    let second = worker.log_in("ann", "pw");
    let (large, small) = (set(2_000_000), set(300_000));
    worker.send_large(second, &small[..200_000]);
    worker.send_large(first, &large[..900_000]);
    assert_eq!(
        worker.received(first),
        "-ERR elika: out of memory for this request\r\n"
    );
    assert!(worker.closed(first));
    assert_eq!(worker.machine.counters().buffers_full, 1);
    worker.send_large(second, &small[200_000..]);
    worker.deliver(backend, second, "+OK\r\n");
}

#[test]
fn client_with_replies_off_is_closed_at_the_buffer_limit() {
    let mut worker = Worker::with(|settings| settings.worker_buffer_bytes_max = 1 << 20);
    let (silent, _) = worker.user("ann");
    let second = worker.log_in("ann", "pw");
    worker.send(silent, "CLIENT REPLY OFF");
    worker.send_large(silent, &set(2_000_000)[..900_000]);
    worker.send_large(second, &set(300_000)[..200_000]);
    assert_eq!(worker.machine.counters().buffers_full, 1);
    assert_eq!(worker.received(silent), "");
    assert!(worker.closed(silent));
}

#[test]
fn many_small_arguments_count_at_the_buffer_limit() {
    let mut worker = Worker::with(|settings| settings.worker_buffer_bytes_max = 1 << 20);
    let (client, _) = worker.user("ann");
    let mut many = b"*200001\r\n$4\r\nMSET\r\n".to_vec();
    many.extend(b"$1\r\nk\r\n".repeat(200_000));
    worker.send_large(client, &many);
    assert!(worker.received(client).contains("out of memory"));
    assert!(worker.closed(client));
}

#[test]
fn client_with_most_bytes_is_closed_at_the_buffer_limit() {
    let mut worker = Worker::with(|settings| settings.worker_buffer_bytes_max = 1 << 20);
    let (reader, backend) = worker.user("ann");
    let writer = worker.log_in("ann", "pw");
    worker.stall(reader);
    worker.send(reader, "GET big");
    worker.send(writer, "INCR n");
    worker.reply(backend, value(400_000));
    worker.advance(200);
    worker.send(reader, "GET big");
    assert_eq!(worker.machine.counters().buffers_full, 0);
    worker.reply(backend, ":1\r\n");
    worker.send_large(writer, &set(1_000_000)[..800_000]);
    assert_eq!(worker.machine.counters().buffers_full, 1);
    assert_eq!(
        worker.received(writer),
        ":1\r\n-ERR elika: out of memory for this request\r\n"
    );
    assert!(!worker.closed(reader));
}

#[test]
fn client_that_reads_nothing_is_closed() {
    let mut worker = Worker::with(|settings| settings.client_send_ms = 10_000);
    let (reader, backend) = worker.anonymous();
    worker.stall(reader);
    worker.send(reader, "GET big");
    worker.reply(backend, value(200_000));
    for _ in 0..4 {
        worker.advance(8_000);
        worker.take(reader, 1);
        // The client sends, but does not read.
        worker.send(reader, "GET k");
    }
    assert!(!worker.closed(reader), "it takes a byte");
    worker.advance(12_000);
    assert!(worker.closed(reader));
    assert_eq!(worker.machine.counters().send_timeouts, 1);
    assert_eq!(worker.notices()[0].kind, NoticeKind::Send);
}

/// The client has fewer bytes than the only client of another tenant.
#[test]
fn anonymous_client_is_closed_first_at_the_buffer_limit() {
    let mut worker = Worker::with(|settings| settings.worker_buffer_bytes_max = 1 << 20);
    let (user, _) = worker.user("ann");
    worker.send_large(user, &set(2_000_000)[..800_000]);
    let anonymous = worker.client();
    worker.send_bytes(anonymous, "*2\r\n$4\r\nPING\r\n$16000\r\n");
    for _ in 0..3 {
        worker.send_bytes(anonymous, [b'x'; 5_000]);
    }
    worker.send_large(user, &[b'x'; 240_000]);
    assert!(worker.closed(anonymous));
    assert!(!worker.closed(user));
}

#[test]
fn largest_client_of_a_tenant_is_closed_at_the_tenant_limit() {
    let mut worker = Worker::with(|settings| settings.tenant_buffer_bytes_max = 1 << 20);
    let (large, _) = worker.user("ann");
    let small = worker.log_in("ann", "pw");
    worker.send_large(small, &set(2_000_000)[..300_000]);
    worker.send_large(large, &set(2_000_000)[..900_000]);
    worker.advance(200);
    assert!(worker.closed(large));
    assert!(!worker.closed(small));
    assert_eq!(worker.machine.counters().tenant_buffers_full, 1);
    assert_eq!(worker.notices()[0].kind, NoticeKind::TenantBuffer);
}

#[test]
fn names_are_limited() {
    let mut worker = Worker::new();
    let (client, backend) = worker.anonymous();
    let long = "n".repeat(4_097);
    let error = "-ERR elika: name longer than 4096 bytes\r\n";
    for line in ["CLIENT SETNAME", "CLIENT SETINFO LIB-NAME"] {
        worker.send(client, &format!("{line} {long}"));
        worker.permit(backend);
        assert_eq!(worker.received(client), error, "{line}");
    }
    worker.send(client, &format!("CLIENT SETNAME {}", &long[..4_096]));
    assert_eq!(worker.received(client), "+OK\r\n");
    worker.send(client, &format!("HELLO 3 SETNAME {long}"));
    assert_eq!(worker.received(client), error);
    assert!(worker.closed(client), "its next requests may be in RESP3");
}

/// A client is read on only after all that was read is done: its buffer does not grow.
#[test]
fn session_changes_of_one_read_are_done_before_the_next_read() {
    for (line, last) in [("HELLO 2", "server"), ("SELECT 0", "+OK")] {
        let (mut worker, client, _) = Worker::with_user("ann");
        let all = command(line).repeat(100);
        let flow = worker.machine.client_bytes(client, &all);
        worker.turn();
        let done = worker.received(client).matches(last).count();
        assert!(flow == Flow::Pause || done == 100, "{line}: {done}");
    }
}
