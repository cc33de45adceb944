//! The parsers of the commands that the proxy executes.

use super::{line, request};
use crate::command::client::{self, Dialect, Filter, Line, ReplyMode, SetInfo};
use crate::command::{ErrorReply, auth, hello, select};
use crate::resp::{Args, Protocol};

#[test]
fn auth_is_parsed() {
    let frame = request("AUTH secret");
    let read = auth::parse(Args::new(&frame)).unwrap();
    assert!(
        read == auth::AuthRequest {
            user: None,
            password: b"secret"
        }
    );
    let frame = request("AUTH t.app secret");
    let read = auth::parse(Args::new(&frame)).unwrap();
    assert!(
        read == auth::AuthRequest {
            user: Some(b"t.app"),
            password: b"secret"
        }
    );
    let text = |words| {
        auth::parse(Args::new(&request(words)))
            .err()
            .unwrap()
            .text()
            .into_owned()
    };
    assert_eq!(text("AUTH a b c"), "ERR syntax error");
    assert_eq!(
        text("AUTH"),
        "ERR wrong number of arguments for 'auth' command"
    );
}

#[test]
fn hello_is_parsed() {
    let frame = request("HELLO 3 setname w AUTH a b AUTH u p");
    let read = hello::parse(Args::new(&frame)).unwrap();
    let auth: Option<(&[u8], &[u8])> = Some((b"u", b"p"));
    let protocol = Some(Protocol::Resp3);
    assert!(
        read == hello::HelloRequest {
            protocol,
            auth,
            name: Some(b"w")
        }
    );
    assert!(hello::parse(Args::new(&request("HELLO"))).unwrap() == hello::HelloRequest::default());
    let text = |words| {
        hello::parse(Args::new(&request(words)))
            .err()
            .unwrap()
            .text()
            .into_owned()
    };
    assert_eq!(
        text("HELLO 4 nonsense"),
        "NOPROTO unsupported protocol version"
    );
    assert_eq!(
        text("HELLO AUTH"),
        "ERR Protocol version is not an integer or out of range"
    );
    assert_eq!(
        text("HELLO 2 AUTH u"),
        "ERR Syntax error in HELLO option 'AUTH'"
    );
    assert_eq!(
        text("HELLO 2 setname"),
        "ERR Syntax error in HELLO option 'setname'"
    );
    assert_eq!(text("HELLO 2 SETNAME \u{e9}"), ErrorReply::BAD_NAME.text());
}

#[test]
fn select_is_parsed() {
    let read = |words| select::parse(Args::new(&request(words)));
    assert_eq!(read("SELECT 15"), Ok(15));
    assert_eq!(
        read("SELECT -1").unwrap_err().text(),
        "ERR DB index is out of range"
    );
    for words in [
        "SELECT x",
        "SELECT 01",
        "SELECT +1",
        "SELECT ",
        "SELECT 9223372036854775808",
    ] {
        let text = "ERR value is not an integer or out of range";
        assert_eq!(read(words).unwrap_err().text(), text, "{words}");
    }
    assert!(
        read("SELECT 2147483648")
            .unwrap_err()
            .text()
            .contains("between")
    );
}

#[test]
fn client_settings_are_parsed() {
    let name = request("CLIENT SETNAME worker-1");
    assert_eq!(
        client::parse_set_name(Args::new(&name)),
        Ok(&b"worker-1"[..])
    );
    let none = request("CLIENT SETNAME ");
    assert_eq!(client::parse_set_name(Args::new(&none)), Ok(&b""[..]));
    let bad = request("CLIENT SETNAME a\nb");
    assert_eq!(
        client::parse_set_name(Args::new(&bad)),
        Err(ErrorReply::BAD_NAME)
    );

    let name = request("CLIENT SETINFO lib-NAME redis-rs");
    assert_eq!(
        client::parse_set_info(Args::new(&name)),
        Ok(SetInfo::LibName(b"redis-rs"))
    );
    let version = request("CLIENT SETINFO LIB-VER 1.0");
    assert_eq!(
        client::parse_set_info(Args::new(&version)),
        Ok(SetInfo::LibVer(b"1.0"))
    );
    let text = |words| {
        client::parse_set_info(Args::new(&request(words)))
            .unwrap_err()
            .text()
            .into_owned()
    };
    assert_eq!(text("CLIENT SETINFO x y"), "ERR Unrecognized option 'x'");
    assert_eq!(
        text("CLIENT SETINFO Lib-Ver 1\n0"),
        "ERR Lib-Ver cannot contain spaces, newlines or special characters."
    );

    let mode = |words| client::parse_reply(Args::new(&request(words)));
    assert_eq!(mode("CLIENT REPLY on"), Ok(ReplyMode::On));
    assert_eq!(mode("CLIENT REPLY OFF"), Ok(ReplyMode::Off));
    assert_eq!(mode("CLIENT REPLY Skip"), Ok(ReplyMode::Skip));
    assert_eq!(mode("CLIENT REPLY x"), Err(ErrorReply::SYNTAX));
}

#[test]
fn filters_select_clients() {
    let list = |words| {
        Filter::parse_list(Args::new(&request(words)), Dialect::Redis70)
            .unwrap()
            .matches(&line())
    };
    assert!(list("CLIENT LIST"));
    assert!(list("CLIENT LIST ID 9 5 3"));
    assert!(!list("CLIENT LIST ID 3 -5"));
    assert!(list("CLIENT LIST TYPE normal"));
    assert!(!list("CLIENT LIST TYPE pubsub"));
    assert!(!list("CLIENT LIST TYPE replica"));

    let kill = |words| Filter::parse_kill(Args::new(&request(words)), Dialect::Redis74).unwrap();
    assert!(kill("CLIENT KILL 10.0.0.1:4000").is_old_form());
    assert!(!kill("CLIENT KILL 10.0.0.1:4000").skip_me());
    assert!(kill("CLIENT KILL 10.0.0.1:4000").matches(&line()));
    assert!(!kill("CLIENT KILL 10.0.0.1:400").matches(&line()));
    for (words, matches) in [
        ("CLIENT KILL ID 5", true),
        ("CLIENT KILL ID 5 ID 6", false),
        ("CLIENT KILL ID 5 USER app", true),
        ("CLIENT KILL ID 5 USER other", false),
        ("CLIENT KILL ADDR 10.0.0.1:4000 LADDR 10.0.0.9:6378", true),
        ("CLIENT KILL LADDR 10.0.0.9:1", false),
        ("CLIENT KILL MAXAGE 30", true),
        ("CLIENT KILL MAXAGE 31", false),
        ("CLIENT KILL TYPE pubsub", false),
        ("CLIENT KILL TYPE NORMAL SKIPME no", true),
    ] {
        let filter = kill(words);
        assert_eq!(filter.matches(&line()), matches, "{words}");
        assert_eq!(filter.skip_me(), !words.contains("SKIPME"), "{words}");
        assert!(!filter.is_old_form());
    }
    let subscriber = Line { psub: 1, ..line() };
    assert!(kill("CLIENT KILL TYPE pubsub").matches(&subscriber));
    assert!(!kill("CLIENT KILL TYPE normal").matches(&subscriber));
}

#[test]
fn filter_can_be_sent_to_other_threads() {
    fn is_send<T: Send + Sync + Clone + 'static>() {}
    is_send::<Filter>();
}

#[test]
fn valkey_has_further_filters() {
    let list = |dialect, words| Filter::parse_list(Args::new(&request(words)), dialect);
    for (words, matches) in [
        ("CLIENT LIST ID 9 5 USER app", true),
        ("CLIENT LIST ID 9 ID 5", true),
        ("CLIENT LIST NOT-ID 5", false),
        ("CLIENT LIST NOT-ID 4 6", true),
        ("CLIENT LIST IP 10.0.0.1", true),
        ("CLIENT LIST NOT-IP 10.0.0.1", false),
        ("CLIENT LIST FLAGS N", true),
        ("CLIENT LIST FLAGS Nx", false),
        ("CLIENT LIST NOT-FLAGS x", true),
        ("CLIENT LIST DB 0 IDLE 2 MAXAGE 30", true),
        ("CLIENT LIST IDLE 3", false),
        ("CLIENT LIST NOT-DB 0", false),
        ("CLIENT LIST NAME a", false),
        ("CLIENT LIST NOT-NAME a NOT-LIB-NAME b NOT-LIB-VER c", true),
        ("CLIENT LIST NOT-TYPE pubsub", true),
        ("CLIENT LIST TYPE pubsub TYPE normal", true),
        ("CLIENT LIST NAME a NAME b", false),
        ("CLIENT LIST CAPA r", false),
        ("CLIENT LIST NOT-CAPA r", true),
        ("CLIENT LIST NOT-USER app", false),
        ("CLIENT LIST NOT-ADDR 10.0.0.1:1 NOT-LADDR 10.0.0.9:1", true),
    ] {
        let filter = list(Dialect::Valkey9, words).unwrap();
        assert_eq!(filter.matches(&line()), matches, "{words}");
    }
    let able = Line {
        read_only: true,
        takes_redirects: true,
        ..line()
    };
    for words in ["CLIENT LIST CAPA r FLAGS r", "CLIENT LIST NOT-FLAGS N"] {
        assert!(list(Dialect::Valkey9, words).unwrap().matches(&able));
        assert!(!list(Dialect::Valkey9, words).unwrap().matches(&line()));
    }
    for (words, text) in [
        (
            "CLIENT LIST FLAGS NZ",
            "ERR Unknown flags found in the provided filter: NZ",
        ),
        (
            "CLIENT LIST NOT-CAPA rx",
            "ERR Unknown capa found in the NOT-CAPA filter: rx",
        ),
    ] {
        assert_eq!(list(Dialect::Valkey9, words).unwrap_err().text(), text);
    }
    for words in [
        "CLIENT LIST NOT-IDLE 1",
        "CLIENT LIST ID x",
        "CLIENT LIST NAME",
    ] {
        assert_eq!(
            list(Dialect::Valkey9, words),
            Err(ErrorReply::SYNTAX),
            "{words}"
        );
    }
    for words in ["CLIENT LIST NAME a", "CLIENT LIST NOT-ID 5"] {
        assert_eq!(
            list(Dialect::Valkey8, words),
            Err(ErrorReply::SYNTAX),
            "{words}"
        );
        assert_eq!(
            list(Dialect::Redis74, words),
            Err(ErrorReply::SYNTAX),
            "{words}"
        );
    }
    let text = |dialect, watch| {
        let mut out = Vec::new();
        let line = Line {
            watch,
            dialect,
            ..line()
        };
        line.write(&mut out);
        String::from_utf8(out).unwrap()
    };
    assert!(!text(Dialect::Redis70, 0).contains(" watch="));
    assert!(text(Dialect::Redis74, 0).contains(" multi=-1 watch=0 "));
    assert!(text(Dialect::Redis74, 2).contains(" multi=-1 watch=2 "));
    assert!(text(Dialect::Valkey9, 2).contains(" multi=0 watch=2 "));
    assert!(text(Dialect::Valkey9, 0).contains(" flags=N capa= db=0 "));
    let totals = "tot-net-in=70 tot-net-out=80 tot-cmds=9\n";
    assert!(text(Dialect::Redis74, 0).ends_with(" lib-ver=\n"));
    assert!(text(Dialect::Redis82, 0).ends_with(&format!(" lib-ver= io-thread=0 {totals}")));
    assert!(text(Dialect::Valkey8, 0).ends_with(&format!(" lib-ver= {totals}")));
    assert!(text(Dialect::Valkey9, 0).ends_with(&format!(" lib-ver= {totals}")));
    let mut out = Vec::new();
    let dialect = Dialect::Valkey9;
    Line { dialect, ..able }.write(&mut out);
    assert!(
        String::from_utf8(out)
            .unwrap()
            .contains(" flags=r capa=r db=0 ")
    );
}

#[test]
fn filter_by_another_user_is_probed_at_the_server() {
    let asked = |words: &str| {
        let mut out = Vec::new();
        client::write_user_probe(&request(words), b"me", &mut out).then_some(out)
    };
    for words in [
        "CLIENT KILL USER you",
        "CLIENT KILL ID 1 2 3 user you",
        "CLIENT KILL USER me USER you SKIPME no",
        "CLIENT LIST NAME x USER you",
    ] {
        let wanted = [&request(words)[..], &b"$4\r\nADDR\r\n$1\r\n \r\n"[..]].concat();
        let asked = asked(words).unwrap();
        let end = |frame: &[u8]| frame.iter().position(|&byte| byte == b'\n').unwrap();
        assert_eq!(asked[end(&asked)..], wanted[end(&wanted)..], "{words}");
    }
    for words in [
        "CLIENT KILL USER me",
        "CLIENT KILL USER you USER me",
        "CLIENT KILL NAME user ID 7",
        "CLIENT KILL 10.0.0.1:4000",
        "CLIENT LIST",
    ] {
        assert_eq!(asked(words), None, "{words}");
    }
}
