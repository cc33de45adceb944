//! Who may log in, what a verdict decides, and that a login that is over stays over.

use elika::cluster::Status;
use elika::proxy::{ConnKey, Failure, Flow};

use super::harness::{Worker, value};
use super::instances::{GRACE_MS, Registry, start};

const NOAUTH: &str = "-NOAUTH Authentication required.\r\n";
const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

/// An AUTH that was not sent yet moves with the queue of a lost connection. Who asked is not a
/// client of the new one.
#[test]
fn an_inherited_verdict_lets_nobody_in() {
    let mut worker = Worker::new();
    let (mallory, strangers) = worker.stranger();
    let (_bob, bobs) = worker.user("bob");
    worker.asked(strangers);
    worker.stall(ConnKey::Backend(bobs));
    worker.says(mallory, "AUTH bob wrong");
    worker.fails(bobs, &Failure::Lost);
    let heir = worker.begun_one();
    worker.welcome(heir);
    assert!(worker.asked(heir).contains("wrong"));
    worker.replies(heir, WRONGPASS);
    assert_eq!(worker.heard(mallory), WRONGPASS);
    worker.says(mallory, "GET secret");
    assert_eq!(worker.asked(heir), "");
    assert!(worker.asked(strangers).contains("secret"));
}

#[test]
fn a_verdict_is_read_however_slow_its_client_is() {
    let mut worker = Worker::new();
    let (slow, strangers) = worker.stranger();
    let (bob, bobs) = worker.user("bob");
    worker.stall(ConnKey::Client(slow));
    worker.says(slow, "GET big");
    worker.replies(strangers, value(300_000));
    worker.says(bob, "GET y");
    worker.says(slow, "AUTH bob pw");
    assert_eq!(worker.replies(bobs, "$1\r\ny\r\n"), Flow::Continue);
    assert_eq!(worker.heard(bob), "$1\r\ny\r\n");
    assert_eq!(worker.replies(bobs, "+OK\r\n"), Flow::Continue);
    worker.unstall(ConnKey::Client(slow));
    assert!(worker.heard(slow).ends_with("x\r\n+OK\r\n"));
}

#[test]
fn a_login_behind_a_slow_reader_has_its_connection_read_on() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 1);
    let (bob, bobs) = worker.user("bob");
    worker.stall(ConnKey::Client(bob));
    worker.says(bob, "GET big");
    let big = value(400_000);
    let (begin, end) = big.split_at(300_000);
    assert_eq!(worker.replies(bobs, begin), Flow::Pause);
    assert!(!worker.resumed(ConnKey::Backend(bobs)));
    let other = worker.client();
    worker.says(other, "AUTH bob pw");
    worker.pass(20);
    assert!(worker.resumed(ConnKey::Backend(bobs)));
    assert_eq!(worker.replies(bobs, end), Flow::Continue);
    worker.replies(bobs, "+OK\r\n");
    assert_eq!(worker.heard(other), "+OK\r\n");
}

/// Nobody tells the proxy that the default user has got a password: another connection finds out.
#[test]
fn strangers_are_let_out_when_the_default_user_gets_a_password() {
    let mut worker = Worker::new();
    let (_old, open) = worker.stranger();
    worker.asked(open);
    let new = worker.client();
    worker.says(new, "HELLO 3");
    let three = worker.begun_one();
    worker.refuse(
        three,
        "-NOAUTH HELLO must be called with the client already authenticated\r\n",
    );
    assert!(worker.heard(new).starts_with("-NOAUTH "));
    let late = worker.client();
    worker.says(late, "GET x");
    assert_eq!(worker.heard(late), NOAUTH);
    assert!(worker.closed(ConnKey::Backend(open)));
    // The refusal is repeated for a while; then the backend is asked again.
    worker.pass(1_500);
    worker.says(late, "GET x");
    assert_eq!(worker.asked(open), "");
    let again = worker.begun_one();
    worker.refuse(again, NOAUTH);
    assert_eq!(worker.heard(late), NOAUTH);
}

#[test]
fn a_refused_password_ends_its_logins_on_every_connection() {
    let mut worker = Worker::new();
    let (bob, bobs) = worker.user("bob");
    worker.says(bob, "SELECT 5");
    let five = worker.begun_one();
    worker.refuse(five, WRONGPASS);
    assert_eq!(worker.heard(bob), NOAUTH);
    worker.asked(bobs);
    for line in ["ECHO PONG", "GET x"] {
        worker.says(bob, line);
        assert_eq!(worker.heard(bob), NOAUTH);
    }
    assert_eq!(worker.asked(bobs), "");
    assert!(worker.closed(ConnKey::Backend(bobs)));
}

#[test]
fn a_refused_password_does_not_end_logins_with_a_later_one() {
    let mut worker = Worker::new();
    let (bob, bobs) = worker.user("bob");
    worker.says(bob, "SELECT 5");
    let five = worker.begun_one();
    let dave = worker.user_on(bobs, "bob", "new");
    worker.refuse(five, WRONGPASS);
    assert_eq!(worker.heard(bob), NOAUTH);
    for (client, heard) in [(bob, NOAUTH), (dave, "$4\r\nPONG\r\n")] {
        worker.says(client, "ECHO PONG");
        assert_eq!(worker.heard(client), heard);
    }
    // A new connection is his, too: it comes in with his password.
    worker.says(dave, "GET x");
    let new = worker.begun_one();
    assert!(worker.connect(new).contains("new"));
}

#[test]
fn who_is_logged_out_is_not_served_where_others_came_in() {
    let mut worker = Worker::new();
    let (bob, bobs) = worker.user("bob");
    let carl = worker.user_on(bobs, "bob", "pw");
    worker.says(carl, "SELECT 5");
    let five = worker.begun_one();
    worker.user_on(bobs, "bob", "new");
    worker.fails(bobs, &Failure::Lost);
    worker.says(bob, "GET x");
    let newer = worker.begun_one();
    worker.welcome(newer);
    worker.replies(newer, "$1\r\nx\r\n");
    assert_eq!(worker.heard(bob), "$1\r\nx\r\n");
    worker.asked(newer);
    worker.refuse(five, WRONGPASS);
    worker.says(bob, "GET y");
    assert_eq!(worker.heard(bob), NOAUTH);
    assert_eq!(worker.asked(newer), "");
}

#[test]
fn client_list_does_not_renew_a_login_that_ended_meanwhile() {
    let mut worker = Worker::with(|settings| settings.workers = 2);
    let (bob, bobs) = worker.user("bob");
    let other = worker.user_on(bobs, "bob", "pw");
    worker.says(bob, "CLIENT LIST");
    worker.says(other, "SELECT 5");
    let five = worker.begun_one();
    worker.refuse(five, WRONGPASS);
    assert_eq!(worker.heard(other), NOAUTH);
    worker.peer_answers(bob);
    assert!(worker.heard(bob).contains("cmd=client|list"));
    // There are connections of that user again, but not for these two.
    worker.user("bob");
    for client in [bob, other] {
        worker.says(client, "ECHO PONG");
        assert_eq!(worker.heard(client), NOAUTH);
    }
}

/// A SELECT waits for its turn to open a connection. Meanwhile the password is refused, and
/// somebody else logs in with the new one.
#[test]
fn a_delayed_select_does_not_come_in_on_a_strangers_password() {
    let mut worker = Worker::with(|settings| settings.logins_per_second = 3);
    let (bob, bobs) = worker.user("bob");
    let carl = worker.user_on(bobs, "bob", "pw");
    worker.says(carl, "SELECT 7");
    let seven = worker.begun_one();
    let guesser = worker.client();
    worker.says(guesser, "AUTH nobody x");
    let _guess = worker.begun_one();
    worker.says(bob, "SELECT 5");
    assert_eq!(worker.begun(), [], "no token is left");
    let dave = worker.client();
    worker.says(dave, "AUTH bob new");
    worker.refuse(seven, WRONGPASS);
    assert_eq!(worker.heard(carl), NOAUTH);
    worker.replies(bobs, "+OK\r\n");
    worker.pass(1_000);
    for backend in worker.begun() {
        worker.welcome(backend);
    }
    assert_eq!(worker.heard(dave), "+OK\r\n");
    assert_eq!(worker.heard(bob), NOAUTH);
    for (client, heard) in [(bob, NOAUTH), (dave, "$4\r\nPONG\r\n")] {
        worker.says(client, "ECHO PONG");
        assert_eq!(worker.heard(client), heard);
    }
}

#[test]
fn a_rate_of_no_logins_locks_nobody_out() {
    let mut worker = Worker::with(|settings| settings.logins_per_second = 0);
    let client = worker.client();
    worker.says(client, "ECHO PONG");
    worker.pass(2_000);
    let backend = worker.begun_one();
    worker.welcome(backend);
    assert_eq!(worker.heard(client), "$4\r\nPONG\r\n");
}

#[test]
fn who_came_with_an_earlier_password_stays_until_the_grace_is_over() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let (early, one) = worker.login();
    let late = worker.user_on(one, "ann", "newer");
    worker.follows(registry.set(2, Status::Ready));
    worker.follows(registry.set(1, Status::Offline));
    worker.settle();
    let two = worker.begun_one();
    assert!(worker.connect(two).contains("newer"));
    worker.replies(two, "+OK\r\n*2\r\n$2\r\nid\r\n:7\r\n*0\r\n");
    worker.pass(GRACE_MS - 1_200);
    worker.says(early, "GET a");
    worker.replies(one, "$-1\r\n");
    assert_eq!(worker.heard(early), "$-1\r\n");
    worker.pass(2_500);
    assert!(worker.closed(ConnKey::Client(early)));
    assert!(!worker.closed(ConnKey::Client(late)));
}
