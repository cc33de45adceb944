//! A scan step by step, with the replies of its nodes.

use super::*;
use crate::resp::Args;

/// The replies of a node, one behind the other.
fn replies(all: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for reply in all {
        match reply.as_bytes() {
            [b'*' | b'-' | b':' | b'+', ..] => out.extend_from_slice(reply.as_bytes()),
            text => write::bulk(&mut out, text),
        }
    }
    out
}

/// A node's reply to CLUSTER NODES, with its own slots.
fn nodes(own: &str) -> String {
    format!(
        "aaa 10.0.0.1:1@2 myself,master - 0 0 1 connected {own}\n\
         bbb 10.0.0.2:1@2 master - 0 0 2 connected 8000-16383\n"
    )
}

fn list(keys: &[&str]) -> String {
    let mut out = Vec::new();
    write::array(&mut out, keys.len());
    for key in keys {
        write::bulk(&mut out, key.as_bytes());
    }
    String::from_utf8(out).unwrap()
}

fn page(cursor: u64, keys: &[&str]) -> String {
    let cursor = cursor.to_string();
    format!("*2\r\n${}\r\n{cursor}\r\n{}", cursor.len(), list(keys))
}

fn scan(line: &str) -> Scan {
    let mut frame = Vec::new();
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    write::command(&mut frame, &words);
    Scan::new(&frame).unwrap()
}

/// The requests of a step, in words.
fn asked(step: &ScanStep) -> Vec<String> {
    let ScanStep::Ask(_, requests, count) = step else {
        panic!("{step:?}");
    };
    let mut rest = &requests[..];
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let Ok(Scanned::Complete { len }) = ReplyScanner::default().scan(rest) else {
            panic!("{rest:?}");
        };
        let words: Vec<&[u8]> = Args::new(&rest[..len]).collect();
        lines.push(String::from_utf8(words.join(&b' ')).unwrap());
        rest = &rest[len..];
    }
    assert_eq!(lines.len(), *count as usize);
    lines
}

/// The cursor and the keys of a reply.
fn replied(step: &ScanStep) -> (u64, Vec<String>) {
    let ScanStep::Reply(reply) = step else {
        panic!("{step:?}");
    };
    let mut parts = Elements::new(reply).unwrap();
    let text = |value: &[u8]| String::from_utf8(read::string(value).unwrap().into()).unwrap();
    let cursor = text(parts.next().unwrap()).parse().unwrap();
    let keys = Elements::new(parts.next().unwrap()).unwrap();
    (cursor, keys.map(text).collect())
}

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

/// `bar` is in slot 5061, `hello` in 866, and `foo` in 12182.
#[test]
fn page_of_a_server_with_a_table_for_each_slot_is_one_scan() {
    let mut scan = scan("SCAN 0 COUNT 5000");
    let step = scan.start(true, slot(7_999));
    let lines = [
        "clusteR NODES",
        "infO server",
        "SCAN 0 COUNT 5000",
        "clusteR NODES",
    ];
    assert_eq!(asked(&step), lines);
    let own = nodes("0-7999");
    let next = 3 << 14 | 5_061;
    let step = scan.replies(&replies(&[
        &own,
        "run_id:x\r\n",
        &page(next, &["hello", "bar"]),
        &own,
    ]));
    let (cursor, keys) = replied(&step);
    assert_eq!(keys, ["hello", "bar"]);
    let within = ScanCursor::parse(cursor.to_string().as_bytes()).unwrap();
    assert_eq!((within.slot, within.of_server()), (slot(5_061), next));

    // The last page of the node, in the same process.
    let mut scan = self::scan(&format!("SCAN {cursor}"));
    let step = scan.start(true, slot(7_999));
    assert_eq!(asked(&step)[2], format!("SCAN {next} COUNT 100"));
    let step = scan.replies(&replies(&[&own, "run_id:x\r\n", &page(0, &["bar"]), &own]));
    let next_node = ScanCursor::at(slot(8_000)).number();
    assert_eq!(replied(&step), (next_node, vec!["bar".to_owned()]));
}

#[test]
fn slot_begins_anew_in_another_process() {
    let process = ProcessTag::of(&[b"aaa", b"x"]);
    let cursor = ScanCursor::from_server(3 << 14 | 5_061, process).unwrap();
    let mut scan = scan(&format!("SCAN {}", cursor.number()));
    scan.start(true, slot(7_999));
    let own = nodes("0-7999");
    let step = scan.replies(&replies(&[&own, "run_id:y\r\n", &page(0, &[]), &own]));
    assert_eq!(asked(&step)[2], "SCAN 5061 COUNT 100");
}

/// What the node says during the scan counts, not what the proxy knew.
#[test]
fn page_ends_before_a_slot_that_has_left() {
    let mut scan = scan("SCAN 0");
    scan.start(true, slot(7_999));
    let before = nodes("0-7999");
    for after in [nodes("0-4000 4002-7999"), nodes("0-7999 [4001->-bbb]")] {
        let page = page(0, &["hello", "bar"]);
        let step = scan.replies(&replies(&[&before, "run_id:x\r\n", &page, &after]));
        let next = ScanCursor::at(slot(4_001)).number();
        assert_eq!(replied(&step), (next, vec!["hello".to_owned()]));
        scan = self::scan("SCAN 0");
        scan.start(true, slot(7_999));
    }
}

#[test]
fn node_that_has_the_slot_now_is_asked() {
    let mut scan = scan(&format!("SCAN {}", ScanCursor::at(slot(9_000)).number()));
    let (own, other) = (nodes("0-7999"), "10.0.0.2:1".parse().unwrap());
    for _ in 0..CHANGES_MAX {
        scan.start(true, slot(16_383));
        let step = scan.replies(&replies(&[&own, "x", &page(0, &[]), &own]));
        assert_eq!(step, ScanStep::Moved(slot(9_000), other));
    }
    // The nodes contradict each other: the client goes on later.
    scan.start(true, slot(16_383));
    let step = scan.replies(&replies(&[&own, "x", &page(0, &[]), &own]));
    let same = ScanCursor::at(slot(9_000)).number();
    assert_eq!(replied(&step), (same, Vec::new()));
}

#[test]
fn slot_that_migrates_is_read_at_both_nodes() {
    let mut scan = scan(&format!("SCAN {}", ScanCursor::at(slot(5_061)).number()));
    scan.start(true, slot(7_999));
    let own = nodes("0-7999 [5061->-bbb]");
    let step = scan.replies(&replies(&[&own, "x", &page(0, &[]), &own]));
    let whole = [
        "clusteR NODES",
        "clusteR GETKEYSINSLOT 5061 2147483647",
        "clusteR NODES",
    ];
    assert_eq!(asked(&step), whole);
    let step = scan.replies(&replies(&[&own, &list(&["bar"]), &own]));
    assert_eq!(asked(&step), whole);
    let target = ScanNode::Target("10.0.0.2:1".parse().unwrap());
    assert!(matches!(step, ScanStep::Ask(to, ..) if to == target));
    let there = "bbb 10.0.0.2:1@2 myself,master - 0 0 2 connected 8000-16383 [5061-<-aaa]";
    let step = scan.replies(&replies(&[there, &list(&["{bar}2"]), there]));
    let next = ScanCursor::at(slot(5_062)).number();
    assert_eq!(
        replied(&step),
        (next, vec!["bar".to_owned(), "{bar}2".to_owned()])
    );
}

/// The keys may have moved back between the two questions.
#[test]
fn migration_that_ends_meanwhile_is_no_page() {
    let mut scan = scan(&format!("SCAN {}", ScanCursor::at(slot(5_061)).number()));
    scan.start(true, slot(7_999));
    let own = nodes("0-7999 [5061->-bbb]");
    scan.replies(&replies(&[&own, "x", &page(0, &[]), &own]));
    scan.replies(&replies(&[&own, &list(&["bar"]), &own]));
    let there = nodes("1-2").replace("aaa", "bbb");
    let step = scan.replies(&replies(&[&there, &list(&[]), &there]));
    assert_eq!(asked(&step)[1], "infO server", "it starts again");
}

#[test]
fn slots_of_a_server_with_one_table_are_read_whole() {
    let first = slot(866);
    let line = format!(
        "SCAN {} MATCH h* TYPE string",
        ScanCursor::at(first).number()
    );
    let mut scan = scan(&line);
    let step = scan.start(false, slot(7_999));
    let lines = asked(&step);
    assert_eq!(lines[1], "clusteR COUNTKEYSINSLOT 866");
    assert_eq!(lines.len(), 129);
    let own = nodes("0-7999");
    let counts: Vec<String> = { (866..994).map(|slot| slot % 43) }
        .map(|count| format!(":{}\r\n", if count == 6 { 60 } else { 0 }))
        .collect();
    let mut all = vec![&*own];
    all.extend(counts.iter().map(|count| &**count));
    let step = scan.replies(&replies(&all));
    // Two slots with keys would be more than 100.
    let lines = ["clusteR GETKEYSINSLOT 866 2147483647", "clusteR NODES"];
    assert_eq!(asked(&step), lines);
    let keys = list(&["hello", "x{hello}", "h{hello}"]);
    let step = scan.replies(&replies(&[&keys, &own]));
    assert_eq!(asked(&step), ["typE hello", "typE h{hello}"]);
    let step = scan.replies(&replies(&["+string\r\n", "+set\r\n"]));
    let next = ScanCursor::at(slot(866 + 43)).number();
    assert_eq!(replied(&step), (next, vec!["hello".to_owned()]));
}

#[test]
fn pattern_with_a_hash_tag_is_one_slot() {
    let mut scan = scan("SCAN 0 MATCH {bar}*");
    assert_eq!(scan.slot(), slot(5_061));
    scan.start(true, slot(7_999));
    let own = nodes("0-7999");
    let step = scan.replies(&replies(&[&own, "x", &page(0, &["{bar}1"]), &own]));
    assert_eq!(replied(&step).0, 0);
    let behind = ScanCursor::at(slot(6_000)).number();
    let mut scan = self::scan(&format!("SCAN {behind} MATCH {{bar}}*"));
    assert_eq!(replied(&scan.start(true, slot(7_999))), (0, Vec::new()));
}

#[test]
fn errors_of_a_node_reach_the_client_unless_they_pass() {
    for (error, expected) in [
        ("-NOPERM no\r\n", ScanStep::Reply(b"-NOPERM no\r\n".into())),
        ("-BUSY b\r\n", ScanStep::Reply(b"-BUSY b\r\n".into())),
        ("-LOADING l\r\n", ScanStep::Later),
    ] {
        let mut scan = scan("SCAN 0");
        scan.start(true, slot(7_999));
        assert_eq!(scan.replies(&replies(&[error; 4])), expected, "{error}");
    }
}

/// Without the permission to ask, the proxy relies on what it knows.
#[test]
fn user_who_may_not_ask_gets_the_keys_of_the_known_slots() {
    let mut scan = scan("SCAN 0");
    scan.start(true, slot(1_000));
    let no = "-NOPERM no\r\n";
    let step = scan.replies(&replies(&[no, no, &page(0, &["hello", "bar"]), no]));
    let next = ScanCursor::at(slot(1_001)).number();
    assert_eq!(replied(&step), (next, vec!["hello".to_owned()]));
}
