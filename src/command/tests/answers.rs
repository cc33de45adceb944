//! The replies that the proxy writes by itself, byte for byte.

use super::{answered, line, plan_of, request, resp2};
use crate::command::client::{Dialect, Line};
use crate::command::{Answer, Plan, Session, View, answer, answer_as_node, denied, hello, plan};
use crate::resp::{Args, Protocol};

#[test]
fn wrong_number_of_arguments_is_an_error() {
    for (words, name) in [
        ("CLIENT", "client"),
        ("CLIENT SETNAME", "client|setname"),
        ("CLIENT SETNAME a b", "client|setname"),
        ("CLIENT KILL", "client|kill"),
        ("CLUSTER", "cluster"),
        ("AUTH", "auth"),
        ("RESET now", "reset"),
        ("SELECT", "select"),
    ] {
        let expected = format!("-ERR wrong number of arguments for '{name}' command\r\n");
        assert_eq!(resp2(words), expected, "{words}");
    }
    assert_eq!(plan_of("QUIT at once"), Plan::Session(Session::Quit));
}

#[test]
fn client_subcommands_are_answered() {
    assert_eq!(resp2("CLIENT ID"), ":7\r\n");
    assert_eq!(resp2("CLIENT GETNAME"), "$-1\r\n");
    assert_eq!(answered("CLIENT GETNAME", Protocol::Resp3), "_\r\n");
    assert_eq!(resp2("CLIENT NO-TOUCH off"), "+OK\r\n");
    assert_eq!(resp2("CLIENT CAPA redirect"), "+OK\r\n");
    assert_eq!(
        resp2("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type none"),
        "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n"
    );
    let long = "x".repeat(200);
    let cut = "x".repeat(128);
    assert_eq!(
        resp2(&format!("CLIENT {long}")),
        format!("-ERR unknown subcommand '{cut}'. Try CLIENT HELP.\r\n")
    );
    let old = View {
        protocol: Protocol::Resp2,
        id: 1,
        name: b"",
        dialect: Dialect::Redis6,
        node: None,
    };
    for (words, which) in [
        ("CLIENT NONSENSE", Answer::ClientUnknown),
        ("CLIENT SETNAME a b", Answer::Arity("client|setname")),
    ] {
        let mut out = Vec::new();
        answer(which, Args::new(&request(words)), &old, &mut out);
        let sub = words.split(' ').nth(1).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                "-ERR Unknown subcommand or wrong number of arguments for '{sub}'. \
                 Try CLIENT HELP.\r\n"
            )
        );
    }
    let named = View {
        protocol: Protocol::Resp2,
        id: 1,
        name: b"worker",
        dialect: Dialect::Redis70,
        node: None,
    };
    let mut out = Vec::new();
    answer(
        Answer::ClientGetName,
        Args::new(&request("CLIENT GETNAME")),
        &named,
        &mut out,
    );
    assert_eq!(out, b"$6\r\nworker\r\n");
}

#[test]
fn unsubscribe_without_subscriptions_has_one_reply_per_channel() {
    assert_eq!(
        resp2("UNSUBSCRIBE"),
        "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"
    );
    assert_eq!(
        answered("punsubscribe a b", Protocol::Resp3),
        ">3\r\n$12\r\npunsubscribe\r\n$1\r\na\r\n:0\r\n\
         >3\r\n$12\r\npunsubscribe\r\n$1\r\nb\r\n:0\r\n"
    );
    assert_eq!(
        answered("SUNSUBSCRIBE", Protocol::Resp3),
        ">3\r\n$12\r\nsunsubscribe\r\n_\r\n:0\r\n"
    );
}

#[test]
fn denied_command_gets_the_error_text_of_redis() {
    assert_eq!(
        denied(b"app", "config|set").text(),
        "NOPERM User app has no permissions to run the 'config|set' command"
    );
}

#[test]
fn fields_of_a_hello_reply_are_found() {
    let resp2 = b"*6\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:123\r\n$7\r\nmodules\r\n*0\r\n";
    let resp3 =
        b"%4\r\n$7\r\nmodules\r\n*1\r\n%1\r\n$2\r\nid\r\n:9\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n\
        +id\r\n:5\r\n$5\r\nproto\r\n:3\r\n";
    let renumbered = |reply: &[u8]| {
        let (before, after) = hello::split_at(reply, b"id").unwrap();
        [&reply[before], b"77", &reply[after]].concat()
    };
    assert_eq!(
        renumbered(resp2),
        b"*6\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:77\r\n$7\r\nmodules\r\n*0\r\n"
    );
    assert!(renumbered(resp3).ends_with(b"+id\r\n:77\r\n$5\r\nproto\r\n:3\r\n"));
    assert_eq!(hello::field(resp3, b"version"), Some(&b"7.2.4"[..]));
    assert_eq!(hello::field(resp3, b"proto"), Some(&b"3"[..]));
    assert_eq!(hello::field(resp2, b"version"), None);
    assert_eq!(hello::field(resp2, b"modules"), None);
    for reply in [resp2.as_slice(), resp3] {
        for end in 0..reply.len() {
            // A prefix of a reply must not cause a range beyond its end.
            if let Some((_, after)) = hello::split_at(&reply[..end], b"id") {
                assert!(after.end <= end);
            }
            hello::field(&reply[..end], b"proto");
        }
    }
    for reply in [
        b"-ERR no\r\n".as_slice(),
        b"*-1\r\n",
        b"%x\r\n",
        b"*2\r\n$2\r\nid\r\n$1\r\n5\r\n",
    ] {
        assert_eq!(hello::split_at(reply, b"id"), None);
    }
}

#[test]
fn client_list_line_has_the_fields_of_redis_in_its_order() {
    let mut out = Vec::new();
    Line {
        sub: 1,
        multi: Some(2),
        tracking: Some(0),
        protocol: Protocol::Resp3,
        ..line()
    }
    .write(&mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "id=5 addr=10.0.0.1:4000 laddr=10.0.0.9:6378 fd=0 name= age=30 idle=2 flags=Pxt db=0 sub=1 \
         psub=0 ssub=0 multi=2 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 \
         oll=0 omem=0 tot-mem=0 events=r cmd=get user=app redir=0 resp=3 lib-name= lib-ver=\n"
    );
    let mut out = Vec::new();
    Line { cmd: b"", ..line() }.write(&mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains(" flags=N ") && text.contains(" multi=-1 "),
        "{text}"
    );
    assert!(
        text.contains(" cmd=NULL ") && text.contains(" redir=-1 resp=2 "),
        "{text}"
    );
}

#[test]
fn node_of_a_cluster_accepts_the_commands_of_one() {
    let view = View {
        protocol: Protocol::Resp2,
        id: 1,
        name: b"",
        dialect: Dialect::Redis70,
        node: "10.0.0.1:6378".parse().ok(),
    };
    let said = |words: &str| {
        let frame = request(words);
        let Plan::Answer(which) = plan(Args::new(&frame)) else {
            panic!("{words} is not answered here");
        };
        let mut out = Vec::new();
        answer(which, Args::new(&frame), &view, &mut out);
        String::from_utf8(out).unwrap()
    };
    for words in ["READONLY", "READWRITE", "ASKING"] {
        assert_eq!(said(words), "+OK\r\n", "{words}");
    }
    assert_eq!(said("CLUSTER KEYSLOT foo"), ":12182\r\n");
    assert_eq!(said("CLUSTER HELP").lines().next(), Some("*27"));
    let unknown = "-ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP.\r\n";
    assert_eq!(said("CLUSTER NOSUCH"), unknown);
    let mut out = Vec::new();
    let administrative = request("CLUSTER MEET 10.0.0.2 1");
    assert!(!answer_as_node(Args::new(&administrative), &view, &mut out));
}

#[test]
fn reply_to_hello_says_what_the_client_sees() {
    let reply = |kind: &str, mode: &str| {
        let length = mode.len();
        format!("{kind}\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n${length}\r\n{mode}\r\n").into_bytes()
    };
    for kind in ["*4", "%2"] {
        for (mode, clustered, shown) in [
            ("standalone", true, "cluster"),
            ("cluster", true, "cluster"),
            ("cluster", false, "standalone"),
            ("sentinel", true, "sentinel"),
        ] {
            let mut hello = reply(kind, mode);
            hello::set_clustered(&mut hello, clustered);
            assert_eq!(hello, reply(kind, shown), "{mode}");
        }
    }
}
