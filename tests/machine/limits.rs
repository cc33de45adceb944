//! Limits of bytes and of time: what is bounded, and who must not be caught by them.

use elika::proxy::{Bound, ConnKey, Flow};

use super::harness::{READ_BYTES, Worker, command, set, value};

/// CLIENT HELP makes the longest answer from the shortest request.
fn many_questions() -> Vec<u8> {
    b"CLIENT HELP\r\n".repeat(5_000)
}

#[test]
fn a_client_that_leaves_more_unread_than_its_limit_is_closed() {
    let mut worker = Worker::with(|settings| settings.client_outbound_bytes_max = 1 << 20);
    let (client, _) = worker.stranger();
    worker.stall(ConnKey::Client(client));
    let questions = many_questions();
    for part in questions.chunks(600) {
        worker.sends(client, part);
    }
    assert!(worker.closed(ConnKey::Client(client)));
    assert_eq!(worker.machine.counters().slow_readers, 1);
    let notices = worker.notices();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].bound, Bound::ClientOutbound);
    assert!(notices[0].value > 1 << 20, "{:?}", notices[0]);
}

#[test]
fn a_request_that_is_too_big_is_refused_and_the_log_says_whose_it_was() {
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
        worker.sends(ann, request);
        assert_eq!(
            worker.heard(ann),
            format!("-ERR Protocol error: {error}\r\n")
        );
        let notices = worker.notices();
        let [notice] = &notices[..] else {
            panic!("{notices:?}")
        };
        assert_eq!(
            (notice.bound.name(), notice.value),
            ("limit.request-bytes", 10_000)
        );
        let user = notice.who.as_ref().map(|who| &*who.user);
        assert_eq!(user, Some("ann"));
        worker.pass(2_000);
    }
    // No limit is told of where a length is none.
    let mut worker = Worker::new();
    let (ann, _) = worker.user("ann");
    worker.sends(ann, "*1\r\n$x\r\n");
    assert_eq!(
        worker.heard(ann),
        "-ERR Protocol error: invalid bulk length\r\n"
    );
    assert!(worker.notices().is_empty());
}

/// Until the backend has answered what was asked before them.
#[test]
fn replies_made_here_that_wait_for_earlier_ones_count_as_unread() {
    let mut worker = Worker::with(|settings| settings.client_outbound_bytes_max = 1 << 20);
    let (client, backend) = worker.stranger();
    worker.says(client, "GET x");
    let questions = many_questions();
    for part in questions.chunks(600) {
        worker.sends(client, part);
    }
    let answers = worker.machine.counters().answers;
    assert!(answers < 1_000, "{answers} answers were made");
    assert!(worker.closed(ConnKey::Client(client)));
    worker.replies(backend, "$1\r\nx\r\n");
    assert_eq!(worker.heard(client), "");
}

/// The client writes all requests before it reads the first reply, so it reads nothing while its
/// send blocks.
#[test]
fn a_pipeline_written_whole_before_it_is_read_is_answered() {
    const REQUESTS: usize = 10_000;
    let mut worker = Worker::new();
    let (client, backend) = worker.stranger();
    worker.stall(ConnKey::Client(client));
    let pipeline = command("GET k").repeat(REQUESTS);
    let reply = value(1_000);
    let (mut sent, mut replied, mut paused) = (0, 0, false);
    while sent < pipeline.len() {
        if !paused {
            let to = pipeline.len().min(sent + READ_BYTES);
            paused = worker.sends(client, &pipeline[sent..to]) == Flow::Pause;
            sent = to;
        }
        let asked = worker.asked(backend).matches("GET").count();
        assert!(asked > 0 || !paused, "the client waits in its send");
        for _ in 0..asked {
            let flow = worker.replies(backend, &reply);
            assert!(flow == Flow::Continue || !paused, "nobody is read");
            replied += 1;
            paused &= !worker.resumed(ConnKey::Client(client));
        }
    }
    assert!(replied > REQUESTS / 2, "{replied} replies were taken");
    worker.unstall(ConnKey::Client(client));
    assert_eq!(worker.heard(client).len(), replied * reply.len());
}

/// Nor is such an answer among what a worker waits for, and would let more come meanwhile.
#[test]
fn answers_made_here_are_not_under_way() {
    let mut worker = Worker::new();
    let (client, backend) = worker.stranger();
    let (before, _) = worker.machine.load();
    worker.sends(client, "GET x\r\nUNWATCH\r\n".repeat(10));
    assert_eq!(worker.machine.load(), (before + 10, 10));
    worker.replies(backend, "$-1\r\n".repeat(10));
    assert_eq!(worker.machine.load(), (before + 10, 0));
}

/// One client keeps the backend busy, which takes as much as that one sends. Who waits for room
/// goes on as soon as there is some, not when all is taken.
#[test]
fn who_waits_for_room_is_not_starved_by_who_keeps_sending() {
    let mut worker = Worker::new();
    let (greedy, backend) = worker.stranger();
    let other = worker.client();
    worker.says(other, "UNWATCH");
    worker.asked(backend);
    let to_backend = ConnKey::Link(backend);
    worker.stall(to_backend);
    worker.uploads(greedy, &set(1_100_000));
    assert_eq!(worker.says(other, "GET mine"), Flow::Pause);
    for _ in 0..10 {
        worker.take(to_backend, 64_000);
    }
    let mut asked = String::new();
    for _ in 0..20 {
        worker.sends(greedy, set(60_000));
        worker.take(to_backend, 60_000);
        asked += &worker.asked(backend);
    }
    assert!(worker.machine.outbound_bytes() > 0, "nobody waited");
    assert!(asked.contains("mine"));
    assert!(worker.resumed(ConnKey::Client(other)));
}

#[test]
fn a_long_first_request_is_not_a_late_login() {
    let mut worker = Worker::with(|settings| settings.client_login_ms = 10_000);
    worker.stranger();
    let (slow, silent) = (worker.client(), worker.client());
    worker.sends(slow, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n");
    for _ in 0..20 {
        worker.sends(slow, [b'x'; 1_000]);
        worker.pass(1_000);
    }
    assert!(!worker.closed(ConnKey::Client(slow)));
    assert!(worker.closed(ConnKey::Client(silent)));
    let bounds: Vec<Bound> = worker.notices().iter().map(|it| it.bound).collect();
    assert_eq!(bounds, [Bound::LoginTime]);
}

#[test]
fn a_client_that_asks_nothing_is_closed_and_the_log_says_so() {
    for (pinned, bound) in [(false, Bound::Idle), (true, Bound::PinnedIdle)] {
        let mut worker = Worker::with(|settings| {
            settings.client_idle_ms = if pinned { 0 } else { 5_000 };
            settings.pinned_idle_ms = 5_000;
        });
        let (client, _) = worker.user("ann");
        if pinned {
            worker.own(client, "WATCH k", "+OK\r\n");
        }
        worker.pass(4_000);
        assert!(!worker.closed(ConnKey::Client(client)));
        worker.pass(3_000);
        assert!(worker.closed(ConnKey::Client(client)));
        let notices = worker.notices();
        assert_eq!(notices.len(), 1);
        assert_eq!(notices[0].bound, bound);
        assert!((5_000..7_000).contains(&notices[0].value));
    }
}

/// Big requests take a way of their own; who sends nothing else has asked as well.
#[test]
fn a_client_that_only_sends_big_requests_is_not_a_late_login() {
    let mut worker = Worker::with(|settings| settings.client_login_ms = 10_000);
    let (_, backend) = worker.stranger();
    let client = worker.client();
    for _ in 0..20 {
        worker.uploads(client, &set(100_000));
        worker.replies(backend, "+OK\r\n");
        assert_eq!(worker.heard(client), "+OK\r\n");
        worker.pass(1_000);
    }
}

#[test]
fn at_the_ceiling_of_all_buffers_the_largest_request_goes_and_hears_why() {
    let mut worker = Worker::with(|settings| settings.worker_buffer_bytes_max = 1 << 20);
    let (first, backend) = worker.user("ann");
    let second = worker.logs_in("ann", "pw");
    let (large, small) = (set(2_000_000), set(300_000));
    worker.uploads(second, &small[..200_000]);
    worker.uploads(first, &large[..900_000]);
    assert_eq!(
        worker.heard(first),
        "-ERR elika: out of memory for this request\r\n"
    );
    assert!(worker.closed(ConnKey::Client(first)));
    assert_eq!(worker.machine.counters().buffers_full, 1);
    worker.uploads(second, &small[200_000..]);
    worker.replies(backend, "+OK\r\n");
    assert_eq!(worker.heard(second), "+OK\r\n");
}

#[test]
fn at_the_ceiling_who_wants_to_hear_nothing_goes_as_well() {
    let mut worker = Worker::with(|settings| settings.worker_buffer_bytes_max = 1 << 20);
    let (silent, _) = worker.user("ann");
    let second = worker.logs_in("ann", "pw");
    worker.says(silent, "CLIENT REPLY OFF");
    worker.uploads(silent, &set(2_000_000)[..900_000]);
    worker.uploads(second, &set(300_000)[..200_000]);
    assert_eq!(worker.machine.counters().buffers_full, 1);
    assert_eq!(worker.heard(silent), "");
    assert!(worker.closed(ConnKey::Client(silent)));
}

#[test]
fn at_the_ceiling_many_small_arguments_count_as_one_large_one_does() {
    let mut worker = Worker::with(|settings| settings.worker_buffer_bytes_max = 1 << 20);
    let (client, _) = worker.user("ann");
    let mut many = b"*200001\r\n$4\r\nMSET\r\n".to_vec();
    many.extend(b"$1\r\nk\r\n".repeat(200_000));
    worker.uploads(client, &many);
    assert!(worker.heard(client).contains("out of memory"));
    assert!(worker.closed(ConnKey::Client(client)));
}

#[test]
fn at_the_ceiling_who_keeps_most_goes_though_another_came_before() {
    let mut worker = Worker::with(|settings| settings.worker_buffer_bytes_max = 1 << 20);
    let (reader, backend) = worker.user("ann");
    let writer = worker.logs_in("ann", "pw");
    worker.stall(ConnKey::Client(reader));
    worker.says(reader, "GET big");
    worker.says(writer, "INCR n");
    worker.replies(backend, value(400_000));
    worker.pass(200);
    worker.says(reader, "GET big");
    assert_eq!(worker.machine.counters().buffers_full, 0);
    worker.replies(backend, ":1\r\n");
    worker.uploads(writer, &set(1_000_000)[..800_000]);
    assert_eq!(worker.machine.counters().buffers_full, 1);
    assert_eq!(
        worker.heard(writer),
        ":1\r\n-ERR elika: out of memory for this request\r\n"
    );
    assert!(!worker.closed(ConnKey::Client(reader)));
}

#[test]
fn a_client_that_takes_nothing_is_closed() {
    let mut worker = Worker::with(|settings| settings.client_send_ms = 10_000);
    let (reader, backend) = worker.stranger();
    worker.stall(ConnKey::Client(reader));
    worker.says(reader, "GET big");
    worker.replies(backend, value(200_000));
    for _ in 0..4 {
        worker.pass(8_000);
        worker.take(ConnKey::Client(reader), 1);
        // It sends, but that is not reading.
        worker.says(reader, "GET k");
    }
    assert!(!worker.closed(ConnKey::Client(reader)), "it takes a byte");
    worker.pass(12_000);
    assert!(worker.closed(ConnKey::Client(reader)));
    assert_eq!(worker.machine.counters().send_timeouts, 1);
    assert_eq!(worker.notices()[0].bound, Bound::Send);
}

/// Though it has fewer bytes than another tenant's only client.
#[test]
fn at_the_ceiling_a_client_without_a_login_goes_first() {
    let mut worker = Worker::with(|settings| settings.worker_buffer_bytes_max = 1 << 20);
    let (user, _) = worker.user("ann");
    worker.uploads(user, &set(2_000_000)[..800_000]);
    let anonymous = worker.client();
    worker.sends(anonymous, "*2\r\n$4\r\nPING\r\n$16000\r\n");
    for _ in 0..3 {
        worker.sends(anonymous, [b'x'; 5_000]);
    }
    worker.uploads(user, &[b'x'; 240_000]);
    assert!(worker.closed(ConnKey::Client(anonymous)));
    assert!(!worker.closed(ConnKey::Client(user)));
}

#[test]
fn a_tenant_loses_its_largest_client_at_its_own_limit() {
    let mut worker = Worker::with(|settings| settings.tenant_buffer_bytes_max = 1 << 20);
    let (large, _) = worker.user("ann");
    let small = worker.logs_in("ann", "pw");
    worker.uploads(small, &set(2_000_000)[..300_000]);
    worker.uploads(large, &set(2_000_000)[..900_000]);
    worker.pass(200);
    assert!(worker.closed(ConnKey::Client(large)));
    assert!(!worker.closed(ConnKey::Client(small)));
    assert_eq!(worker.machine.counters().tenant_buffers_full, 1);
    assert_eq!(worker.notices()[0].bound, Bound::TenantBuffer);
}

#[test]
fn names_are_bounded() {
    let mut worker = Worker::new();
    let (client, backend) = worker.stranger();
    let long = "n".repeat(4_097);
    let error = "-ERR elika: name longer than 4096 bytes\r\n";
    for line in [
        "CLIENT SETNAME",
        "CLIENT SETINFO LIB-NAME",
        "HELLO 2 SETNAME",
    ] {
        worker.says(client, &format!("{line} {long}"));
        if line.starts_with("CLIENT") {
            worker.permits(backend);
        }
        assert_eq!(worker.heard(client), error, "{line}");
    }
    worker.says(client, &format!("CLIENT SETNAME {}", &long[..4_096]));
    assert_eq!(worker.heard(client), "+OK\r\n");
}
