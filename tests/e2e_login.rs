//! Logins of every form against a real redis-server, and that they do not affect other clients.

mod support;

use support::{Proxy, Redis, TENANT, array, commands, wait_until};

const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.";
const NOAUTH: &str = "-NOAUTH Authentication required.";

#[test]
fn anonymous_session_has_the_documented_replies() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    client.send("auth yigF5wkxq44.admin admin\r\n");
    assert_eq!(client.reply(), "+OK");
    client.send("ping\r\n");
    assert_eq!(client.reply(), "+PONG");
    client.send("set key1 value1\r\n");
    assert_eq!(client.reply(), "+OK");
    assert_eq!(redis.direct().ask("GET key1"), "$6 value1");
    for words in [
        format!("backend {} online, tenant code {TENANT}", redis.address()),
        format!("proxy address {}", proxy.address()),
        "service address".to_owned(),
    ] {
        // A worker does not wait until the line is written.
        wait_until(&words, || proxy.logged(&words) > 0);
    }
}

#[test]
fn every_form_of_login_works() {
    let (_redis, proxy) = Redis::guarded().proxied(&[]);
    for (login, user) in [
        (format!("AUTH {TENANT}.ann annpw"), "ann"),
        ("AUTH ann annpw".to_owned(), "ann"),
        ("AUTH default secret".to_owned(), "default"),
        ("AUTH secret".to_owned(), "default"),
    ] {
        let mut client = proxy.client();
        assert_eq!(client.ask(&login), "+OK", "{login}");
        assert_eq!(client.ask("ACL WHOAMI"), format!("${} {user}", user.len()));
        assert_eq!(client.ask("SET k v"), "+OK");
    }
    for (version, head) in [("2", "*14 "), ("3", "%7 ")] {
        for user in ["ann", &format!("{TENANT}.ann")] {
            let mut client = proxy.client();
            let hello = client.ask(&format!("HELLO {version} AUTH {user} annpw SETNAME me"));
            assert!(hello.starts_with(head), "{hello}");
            assert_eq!(client.ask("CLIENT GETNAME"), "$2 me");
            assert_eq!(client.ask("ACL WHOAMI"), "$3 ann");
            assert_eq!(client.ask("GET k"), "$1 v");
        }
    }
}

#[test]
fn default_user_needs_no_login() {
    let (open, guarded) = (Redis::open(), Redis::guarded());
    let proxy = Proxy::of(&open);
    let mut client = proxy.client();
    assert_eq!(client.ask("SET k v"), "+OK");
    assert_eq!(client.ask("ACL WHOAMI"), "$7 default");
    let proxy = Proxy::of(&guarded);
    let mut client = proxy.client();
    for command in commands("GET k | PING | ECHO x | SELECT 1 | CLIENT ID | COMMAND | MULTI | FOO")
    {
        assert_eq!(client.ask(command), NOAUTH, "{command}");
    }
    // The rest of the text depends on the version of Redis.
    let hello = client.ask("HELLO 3");
    assert!(
        hello.starts_with("-NOAUTH HELLO must be called with"),
        "{hello}"
    );
    assert_eq!(client.ask("AUTH ann annpw"), "+OK");
    assert_eq!(client.ask("PING"), "+PONG");
    assert_eq!(client.ask("RESET"), "+RESET");
    assert_eq!(client.ask("PING"), NOAUTH);
    assert_eq!(client.ask("QUIT"), "+OK");
    client.expect_end();
}

#[test]
fn wrong_login_keeps_the_session() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client_as("ann", "annpw");
    assert_eq!(client.ask("SELECT 3"), "+OK");
    assert_eq!(client.ask("SET mine 1"), "+OK");
    for login in commands(
        "AUTH ann wrong | AUTH bob wrong | AUTH nobody x | AUTH gone gonepw | \
         AUTH no.such x | HELLO 3 AUTH bob wrong SETNAME other",
    ) {
        assert_eq!(client.ask(login), WRONGPASS, "{login}");
        assert_eq!(client.ask("ACL WHOAMI"), "$3 ann");
        assert_eq!(client.ask("GET mine"), "$1 1");
        assert_eq!(client.ask("CLIENT GETNAME"), "$-1");
    }
    let mut stranger = proxy.client();
    assert_eq!(stranger.ask("AUTH ann wrong"), WRONGPASS);
    assert_eq!(stranger.ask("ACL WHOAMI"), "$7 default");
}

/// The server's replies when its default user has no password; and malformed logins.
#[test]
fn refused_login_gets_the_error_of_the_server() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    for line in commands(
        "AUTH pw | AUTH | AUTH a b c | HELLO 4 | HELLO x | HELLO 3 AUTH ann | \
         HELLO 3 NONSENSE | HELLO 3 SETNAME",
    ) {
        let (ours, direct) = (proxy.client().ask(line), redis.direct().ask(line));
        assert_eq!(ours, direct, "{line}");
    }
}

#[test]
fn client_may_change_its_user_at_any_time() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    // All in one packet: requests behind a login are executed as the new user.
    let pipeline: Vec<u8> = [
        "SET a 1",
        "AUTH ann annpw",
        "ACL WHOAMI",
        "GET a",
        "SELECT 2",
        "SET a 2",
        "AUTH reader readerpw",
        "GET a",
        "SET a 3",
        "AUTH reader wrong",
        "GET a",
        "AUTH default any",
        "SET a 4",
        "SELECT 0",
        "GET a",
    ]
    .iter()
    .flat_map(|line| array(line))
    .collect();
    client.send(&pipeline);
    let mut reader = redis.direct();
    assert_eq!(reader.ask("AUTH reader readerpw"), "+OK");
    let noperm = &*reader.ask("SET a 3");
    assert!(noperm.starts_with("-NOPERM "), "{noperm}");
    assert_eq!(
        client.replies(15),
        [
            "+OK", "+OK", "$3 ann", "$1 1", "+OK", "+OK", "+OK", "$1 2", noperm, WRONGPASS, "$1 2",
            "+OK", "+OK", "+OK", "$1 1",
        ]
    );
}

#[test]
fn wrong_login_does_not_affect_other_clients() {
    let (redis, proxy) = Redis::guarded().proxied(&["--core-num=1"]);
    let mut neighbour = proxy.client_as("ann", "annpw");
    neighbour.ask("SET n 0");
    for i in 1..=40 {
        let mut stranger = proxy.client();
        // Requests of another client before, between and behind the logins.
        neighbour.send(array("INCR n"));
        stranger.send([array("AUTH ann wrong"), array("GET n")].concat());
        neighbour.send(array("GET n"));
        assert_eq!(neighbour.replies(2), [format!(":{i}"), text_of(i)]);
        assert_eq!(stranger.replies(2), [WRONGPASS, NOAUTH]);
    }
    // Guesses of unknown users leave no connection.
    let mut stranger = proxy.client();
    for i in 0..10 {
        assert_eq!(stranger.ask(&format!("AUTH user{i} x")), WRONGPASS);
    }
    wait_until("refused connections are closed", || {
        redis.connections().len() <= 2
    });
}

fn text_of(number: i32) -> String {
    let digits = number.to_string();
    format!("${} {digits}", digits.len())
}

#[test]
fn permissions_are_those_of_the_backend() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client_as("reader", "readerpw");
    let mut direct = redis.direct();
    assert_eq!(direct.ask("AUTH reader readerpw"), "+OK");
    for line in commands("SET k v | GET k | FLUSHALL | CONFIG SET maxmemory 0 | ACL LIST") {
        assert_eq!(client.ask(line), direct.ask(line), "{line}");
    }
}

#[test]
fn changed_password_closes_clients_that_need_a_new_connection() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    let mut clients: Vec<_> = (0..4).map(|_| proxy.client_as("ann", "annpw")).collect();
    for client in &mut clients {
        assert_eq!(client.ask("SET k v"), "+OK");
    }
    let mut control = redis.control();
    assert_eq!(control.ask("ACL SETUSER ann resetpass >newpw"), "+OK");
    // Existing connections of the user continue, as in Redis.
    assert_eq!(clients[0].ask("GET k"), "$1 v");
    assert!(control.ask("CLIENT KILL TYPE normal").starts_with(':'));
    // A client with a direct connection is closed here too.
    for client in &mut clients {
        client.expect_end();
    }
    let mut client = proxy.client();
    assert_eq!(client.ask("AUTH ann annpw"), WRONGPASS);
    assert_eq!(client.ask("AUTH ann newpw"), "+OK");
    assert_eq!(client.ask("GET k"), "$1 v");
    // Other users are not affected.
    assert_eq!(proxy.client_as("bob", "bobpw").ask("GET k"), "$1 v");
}

/// Names and passwords may contain any characters.
#[test]
fn names_and_passwords_may_have_any_bytes() {
    let redis = Redis::open();
    let mut control = redis.control();
    for (user, password) in [("a.b.c", "p.w"), ("ü", "\u{1F511}"), ("x\"y", ">#<")] {
        let rule = format!(">{password}");
        let words = ["ACL", "SETUSER", user, "on", &rule, "~*", "+@all"].map(str::as_bytes);
        control.send(support::request(&words));
        assert_eq!(control.reply(), "+OK");
    }
    let proxy = Proxy::of(&redis);
    for (user, password) in [("a.b.c", "p.w"), ("ü", "\u{1F511}"), ("x\"y", ">#<")] {
        for name in [user.to_owned(), format!("{TENANT}.{user}")] {
            let mut client = proxy.client();
            client.send(support::request(&[
                b"AUTH",
                name.as_bytes(),
                password.as_bytes(),
            ]));
            assert_eq!(client.reply(), "+OK", "{name}");
            assert_eq!(client.ask("ACL WHOAMI"), format!("${} {user}", user.len()));
        }
    }
}

/// Some servers send no reply to a failed AUTH while other replies are outstanding: on a shared
/// connection every client would then get the reply of another one.
#[test]
fn failed_login_mixes_up_no_replies() {
    let (redis, proxy) = Redis::guarded().proxied(&["--core-num=1"]);
    assert_eq!(redis.ask("SET secret treasure"), "+OK");
    let mut ann = proxy.client_as("ann", "annpw");
    assert_eq!(ann.ask("GET secret"), "$8 treasure");
    let mut guesser = proxy.client();
    redis.freeze();
    ann.send(array("GET secret"));
    guesser.send(array("AUTH ann bad"));
    ann.send(array("SET x 1"));
    redis.thaw();
    assert_eq!(ann.reply(), "$8 treasure");
    assert_eq!(ann.reply(), "+OK");
    assert_eq!(guesser.reply(), WRONGPASS);
    assert_eq!(guesser.ask("GET secret"), NOAUTH);
    assert_eq!(ann.ask("GET x"), "$1 1");
}

#[test]
fn guessing_mixes_up_no_replies() {
    let (_redis, proxy) =
        Redis::guarded().proxied(&["--core-num=1", "--limit.logins-per-second=1000"]);
    let mut clients: Vec<_> = (0..8).map(|_| proxy.client_as("ann", "annpw")).collect();
    let mut guessers: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    let login = ["AUTH ann bad", "HELLO 3 AUTH ann bad", "AUTH bad"];
    for round in 0..200 {
        // Before one of them is closed for too many guesses.
        if round % 50 == 49 {
            guessers = (0..3).map(|_| proxy.client()).collect();
        }
        for (i, guesser) in guessers.iter_mut().enumerate() {
            guesser.send(array(login[(round + i) % 3]));
        }
        for (i, client) in clients.iter_mut().enumerate() {
            client.send(
                [
                    array(&format!("SET k{i} {round:05}")),
                    array(&format!("GET k{i}")),
                ]
                .concat(),
            );
        }
        for client in &mut clients {
            assert_eq!(
                client.replies(2),
                ["+OK".to_owned(), format!("$5 {round:05}")]
            );
        }
        for guesser in &mut guessers {
            assert_eq!(guesser.reply(), WRONGPASS);
        }
    }
}

/// The events of a session through the proxy, and of a direct one.
#[test]
fn session_ends_like_a_direct_connection() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1"]);
    let mut control = redis.control();
    for (change, ends) in [
        ("ACL SETUSER ann resetpass >other", false),
        ("ACL SETUSER ann off", false),
        ("ACL DELUSER ann", true),
    ] {
        control.ask("ACL SETUSER ann reset on >annpw ~* &* +@all");
        let mut direct = redis.direct();
        assert_eq!(direct.ask("AUTH ann annpw"), "+OK");
        let mut through = proxy.client_as("ann", "annpw");
        for session in [&mut direct, &mut through] {
            assert_eq!(session.ask("SET k v"), "+OK");
        }
        assert!(control.ask(change).starts_with(['+', ':']), "{change}");
        for session in [&mut direct, &mut through] {
            match ends {
                true => session.expect_end(),
                false => assert_eq!(session.ask("GET k"), "$1 v", "{change}"),
            }
        }
    }
}

/// A client with a removed password is not served by connections with the new one.
#[test]
fn removed_password_is_not_served_by_other_connections() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1"]);
    let mut control = redis.control();
    assert_eq!(control.ask("ACL SETUSER ann >second"), "+OK");
    let mut first = proxy.client_as("ann", "annpw");
    let mut second = proxy.client_as("ann", "second");
    for session in [&mut first, &mut second] {
        assert_eq!(session.ask("SET k v"), "+OK");
    }
    assert_eq!(control.ask("ACL SETUSER ann <annpw"), "+OK");
    assert!(control.ask("CLIENT KILL USER ann").starts_with(':'));
    first.expect_end();
    // Its connection was closed too, but it can log in again.
    wait_until("the second session is served again", || {
        second.ask("GET k") == "$1 v"
    });
    let mut late = proxy.client();
    assert_eq!(late.ask("AUTH ann annpw"), WRONGPASS);
}
