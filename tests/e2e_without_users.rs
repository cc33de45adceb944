//! Servers before Redis 6.0, which have one password, no users and no HELLO.

mod support;

use support::{Feature, Proxy, Redis};

/// On these servers a wrong AUTH logs its connection out.
#[test]
fn wrong_password_of_one_client_logs_out_no_other() {
    let redis = Redis::with("requirepass secret\n");
    if !redis.lacks(Feature::Users) {
        return;
    }
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let login = |password: &str| {
        let mut client = proxy.client();
        let said = client.ask(&format!("AUTH {password}"));
        (client, said)
    };
    let (mut client, said) = login("secret");
    assert_eq!(said, "+OK");
    assert_eq!(client.ask("SET k v"), "+OK");
    for round in 0..20 {
        let (mut guesser, said) = login("wrong");
        assert!(said.starts_with('-'), "{said}");
        assert!(guesser.ask("GET k").starts_with("-NOAUTH "), "{round}");
        assert_eq!(client.ask("GET k"), "$1 v", "{round}");
    }
    assert_eq!(login("secret").1, "+OK");
}
