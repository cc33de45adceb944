//! What is said in a handshake, in which writes, and what its replies mean.

use super::*;

const HELLO2: &[u8] = b"*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:77\r\n";

fn start(auth: bool, protocol: Protocol, db: u32) -> (Handshake, String) {
    let credential = auth.then(|| {
        Arc::new(Credential {
            user: Some((*b"ann").into()),
            password: (*b"pw").into(),
        })
    });
    let mut handshake = Handshake::new(credential, protocol, db, false);
    let bytes = String::from_utf8(handshake.next_flight()).unwrap();
    (handshake, bytes)
}

fn words(bytes: &str) -> String {
    let words = bytes.split("\r\n");
    let words = words.filter(|w| !w.starts_with(['*', '$']) && !w.is_empty());
    words.collect::<Vec<&str>>().join(" ")
}

fn said(progress: Progress) -> String {
    let Progress::Send(bytes) = progress else {
        panic!("{progress:?}")
    };
    words(&String::from_utf8(bytes).unwrap())
}

#[test]
fn auth_is_alone_in_its_flight() {
    let (mut handshake, bytes) = start(true, Protocol::Resp2, 3);
    assert_eq!(words(&bytes), "selecT 3");
    let early = b"-NOAUTH Authentication required.\r\n";
    assert_eq!(said(handshake.reply(early)), "autH ann pw");
    let last = "hellO 2 SETNAME elika selecT 3";
    assert_eq!(said(handshake.reply(b"+OK\r\n")), last);
    assert!(matches!(handshake.reply(HELLO2), Progress::More));
    let Progress::Done(HandshakeDone {
        hello,
        id: Some(77),
        learned: None,
        selected: true,
    }) = handshake.reply(b"+OK\r\n")
    else {
        panic!()
    };
    let mut out = Vec::new();
    hello.write(5, &mut out);
    assert_eq!(
        out,
        b"*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:5\r\n"
    );
}

#[test]
fn select_before_auth_is_enough_for_a_user_without_select() {
    let (mut handshake, _) = start(true, Protocol::Resp2, 3);
    let denied = b"-NOPERM this user has no permissions to run the 'select' command\r\n";
    assert!(matches!(handshake.reply(b"+OK\r\n"), Progress::Send(_)));
    assert!(matches!(handshake.reply(b"+OK\r\n"), Progress::Send(_)));
    assert!(matches!(handshake.reply(HELLO2), Progress::More));
    assert!(matches!(handshake.reply(denied), Progress::Done(..)));
}

#[test]
fn reply_before_anything_was_asked_ends_the_handshake() {
    let mut handshake = Handshake::new(None, Protocol::Resp2, 0, false);
    let full = b"-ERR max number of clients reached\r\n";
    assert!(matches!(
        handshake.reply(full),
        Progress::Failed(Failure::TurnedAway(_))
    ));
    assert!(matches!(
        handshake.reply(b"+OK\r\n"),
        Progress::Failed(Failure::Desync(_))
    ));
}

#[test]
fn refusals_are_told_from_other_errors() {
    let wrong = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    let (mut handshake, _) = start(true, Protocol::Resp2, 0);
    let Progress::Failed(Failure::Refused(text)) = handshake.reply(wrong) else {
        panic!()
    };
    assert!(text.starts_with("WRONGPASS"));
    let (mut handshake, _) = start(true, Protocol::Resp2, 0);
    let full = b"-ERR max number of clients reached\r\n";
    assert!(matches!(
        handshake.reply(full),
        Progress::Failed(Failure::TurnedAway(_))
    ));
    let (mut handshake, _) = start(false, Protocol::Resp3, 0);
    let noauth = b"-NOAUTH HELLO must be called with the client already authenticated\r\n";
    assert!(matches!(
        handshake.reply(noauth),
        Progress::Failed(Failure::Refused(_))
    ));
}

#[test]
fn an_old_server_is_served_in_resp2_only() {
    let unknown = b"-ERR unknown command 'HELLO'\r\n";
    let (mut handshake, _) = start(false, Protocol::Resp2, 0);
    assert!(matches!(
        handshake.reply(unknown),
        Progress::Done(HandshakeDone {
            hello: HelloReply::Unknown(_),
            ..
        })
    ));
    let (mut handshake, _) = start(false, Protocol::Resp3, 0);
    assert!(matches!(
        handshake.reply(unknown),
        Progress::Failed(Failure::Rejected(_))
    ));
}

#[test]
fn missing_database_rejects_the_link() {
    let (mut handshake, _) = start(false, Protocol::Resp2, 99);
    assert!(matches!(handshake.reply(HELLO2), Progress::More));
    let Progress::Failed(Failure::Rejected(text)) =
        handshake.reply(b"-ERR DB index is out of range\r\n")
    else {
        panic!()
    };
    assert_eq!(text, "ERR DB index is out of range");
}

/// A reply too many in front of it would shift the replies to all clients.
#[test]
fn select_is_answered_with_ok_only() {
    for other in [":7\r\n", "$5\r\nmore0\r\n"] {
        let (mut handshake, _) = start(false, Protocol::Resp2, 5);
        assert!(matches!(handshake.reply(HELLO2), Progress::More));
        assert!(matches!(
            handshake.reply(other.as_bytes()),
            Progress::Failed(Failure::Desync(_))
        ));
    }
}
