//! The server's ACL for commands that the proxy answers or executes itself.

mod support;

use support::{Feature, Proxy, Redis, array, commands, wait_until};

/// One command of each kind that the proxy answers or forwards.
const LINES: [&str; 26] = [
    "CLIENT ID",
    "CLIENT GETNAME",
    "CLIENT SETNAME me",
    "CLIENT SETINFO LIB-NAME lib",
    "CLIENT INFO",
    "CLIENT LIST",
    "CLIENT LIST ID 1",
    "CLIENT KILL ID 1",
    "CLIENT KILL 127.0.0.1:1",
    "CLIENT UNBLOCK 1",
    "CLIENT NO-EVICT ON",
    "CLIENT NO-TOUCH ON",
    "CLIENT NO-TOUCH OFF",
    "CLIENT CACHING YES",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING OFF",
    "CLIENT TRACKINGINFO",
    "CLIENT GETREDIR",
    "ECHO x",
    "ROLE",
    "ACL WHOAMI",
    "SELECT 0",
    "SELECT 3",
    "PING",
    "AUTH lim limpw",
    "GET k",
];

/// Commands that the proxy refuses inside MULTI for every user.
const NOT_INSIDE: [&str; 5] = [
    "AUTH",
    "CLIENT LIST",
    "CLIENT KILL",
    "CLIENT UNBLOCK",
    "CLIENT TRACKING O",
];

/// Sub-commands that the server does not have: their error comes before the ACL.
fn is_unknown(reply: &str) -> bool {
    reply.starts_with("-ERR unknown subcommand")
}

#[test]
fn forbidden_command_gets_the_error_of_the_server() {
    let redis = Redis::open();
    if redis.lacks(Feature::Users) {
        return;
    }
    let rights = "on >limpw ~* &* +@all -client -echo -role -acl -select -ping";
    assert_eq!(redis.ask(&format!("ACL SETUSER lim {rights}")), "+OK");
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    for first in ["GET k", "HELLO 3", "WATCH k", "HELLO 3 | WATCH k", "MULTI"] {
        let mut direct = redis.direct();
        assert_eq!(direct.ask("AUTH lim limpw"), "+OK");
        let mut client = proxy.client_as("lim", "limpw");
        for line in first.split(" | ") {
            direct.ask(line);
            client.ask(line);
        }
        for line in LINES {
            if first == "MULTI" && NOT_INSIDE.iter().any(|it| line.starts_with(it)) {
                continue;
            }
            let said = direct.ask(line);
            let heard = client.ask(line);
            assert!(
                heard == said || is_unknown(&said),
                "{first}, {line}: {heard} for {said}"
            );
            assert!(!heard.starts_with("-ERR elika"), "{first}, {line}: {heard}");
        }
    }
}

#[test]
fn forbidden_kill_closes_no_client() {
    let redis = Redis::open();
    if redis.lacks(Feature::Users) {
        return;
    }
    let proxy = Proxy::with(&redis, &["--core-num=2"]);
    let mut victim = proxy.client_as("reader", "readerpw");
    let id = victim.ask("CLIENT ID").replace(':', "");
    redis.ask("ACL SETUSER reader -client");
    let mut killer = proxy.client_as("reader", "readerpw");
    let heard = killer.ask(&format!("CLIENT KILL ID {id}"));
    assert!(heard.starts_with("-NOPERM "), "{heard}");
    // In one packet with other commands it keeps its place, and CLIENT REPLY hides it.
    let lines = [
        "GET a",
        "CLIENT LIST",
        "GET b",
        "CLIENT REPLY SKIP",
        "CLIENT LIST",
        "GET c",
    ];
    killer.send(lines.map(array).concat());
    let replies = killer.replies(4);
    assert!(replies[1].starts_with("-NOPERM "), "{replies:?}");
    assert_eq!([&replies[0], &replies[2], &replies[3]], ["$-1"; 3]);
    assert_eq!(victim.ask("GET a"), "$-1");
}

/// A permission is cached for a second, a refusal is not.
#[test]
fn changed_permission_is_active_within_a_second() {
    let redis = Redis::open();
    if redis.lacks(Feature::Users) {
        return;
    }
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let mut client = proxy.client_as("ann", "annpw");
    for line in ["CLIENT SETNAME me", "SELECT 1"] {
        assert_eq!(client.ask(line), "+OK");
        redis.ask("ACL SETUSER ann -client -select");
        wait_until("the permission is gone", || {
            client.ask(line).starts_with("-NOPERM ")
        });
        redis.ask("ACL SETUSER ann +client +select");
        assert_eq!(client.ask(line), "+OK");
    }
    assert_eq!(client.ask("GET k"), "$-1");
}

/// EXEC checks the ACL once more.
#[test]
fn permission_removed_inside_multi_is_refused_at_exec() {
    let redis = Redis::open();
    if redis.lacks(Feature::Users) {
        return;
    }
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let (mut direct, mut client) = (redis.direct(), proxy.client_as("ann", "annpw"));
    assert_eq!(direct.ask("AUTH ann annpw"), "+OK");
    for line in commands("MULTI | GET k | CLIENT ID | CLIENT INFO | CLIENT SETNAME me | GET k") {
        assert_eq!(client.ask(line), direct.ask(line), "{line}");
    }
    redis.ask("ACL SETUSER ann -client");
    let said = direct.ask("EXEC");
    assert!(said.contains("NOPERM"), "{said}");
    assert_eq!(client.ask("EXEC"), said);
    redis.ask("ACL SETUSER ann +client");
    assert_eq!(client.ask("CLIENT GETNAME"), "$-1");
}

/// The default user may select the database first, and its connection keeps it.
#[test]
fn select_permission_is_checked_per_database() {
    let redis = Redis::open();
    if redis.lacks(Feature::Users) {
        return;
    }
    let rights = "on >onepw ~* &* +@all -select +select|1";
    assert_eq!(redis.ask(&format!("ACL SETUSER one {rights}")), "+OK");
    redis.ask("ACL SETUSER few on >fewpw ~* &* +@all db=0,1");
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    for user in ["one", "few"] {
        let mut direct = redis.direct();
        if direct.ask(&format!("AUTH {user} {user}pw")) != "+OK" {
            println!("not checked: the server has no rights to databases");
            continue;
        }
        let mut client = proxy.client_as(user, &format!("{user}pw"));
        for _ in 0..2 {
            for line in commands("SELECT 0 | SELECT 1 | SELECT 2 | SELECT 99 | SET k 1 | SELECT 3")
            {
                assert_eq!(client.ask(line), direct.ask(line), "{user}: {line}");
            }
        }
        let lines = ["SELECT 2", "GET k", "SELECT 1", "GET k"];
        client.send(lines.map(array).concat());
        direct.send(lines.map(array).concat());
        assert_eq!(client.replies(4), direct.replies(4), "{user}");
    }
}
