//! Requests that wait for a change of the clusters.

use super::*;

#[test]
fn waiting_request_gets_the_list_or_not_modified() {
    let mut fixture = Fixture::new();
    fixture.park("2");
    let etag = fixture.etag();
    let changed = |it: &mut Connection, turn: &Turn<'_>| {
        let (etag, list) = turn.context.list();
        it.changed(&etag, &list, turn);
    };
    assert_eq!(fixture.with(changed), "");
    assert_eq!(fixture.pass(1_999), "");
    let answer = fixture.pass(1);
    let expected = format!("HTTP/1.1 304 Not Modified\r\nETag: \"{etag}\"\r\n\r\n");
    assert_eq!(answer, expected);
    fixture.send_all();

    fixture.park("60");
    fixture.control.add("new");
    let new = fixture.etag();
    assert_ne!(new, etag);
    let answer = fixture.with(changed);
    assert_eq!(status(&answer), "200");
    assert!(answer.contains(&format!("\r\nETag: \"{new}\"\r\n")) && answer.contains("\"new\""));
    fixture.send_all();
    assert!(fixture.connection.wants_input());
}

#[test]
fn waiting_peer_that_hangs_up_gets_its_response() {
    let mut fixture = Fixture::new();
    fixture.park("60");
    let answer = fixture.with(Connection::hung_up);
    assert_eq!(status(&answer), "304");
    fixture.send_all();
    assert!(fixture.connection.is_lingering());
    let mut fixture = Fixture::new();
    assert_eq!(fixture.receive(&HEALTH[..9]), "");
    assert_eq!(fixture.with(Connection::hung_up), "");
    assert!(
        fixture.connection.wants_input(),
        "the rest of the request may be arriving"
    );
}

#[test]
fn waiting_requests_are_limited() {
    let mut fixture = Fixture::new();
    fixture.parked = PARKED_MAX - 1;
    fixture.park("60");
    let mut fixture = Fixture::new();
    fixture.parked = PARKED_MAX;
    let etag = fixture.etag();
    let answer = fixture.receive(&format!(
        "GET /list_cluster?wait=1 HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"{etag}\"\r\n\r\n"
    ));
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("too many requests wait for changes"));
}
