//! Runs the same steps on a direct connection and through the proxy, and compares all replies.

use super::{Proxy, Redis, Wire, commands, wait_until};

/// The source of the clients of one run.
pub(crate) struct Target<'a> {
    redis: &'a Redis,
    proxy: Option<&'a Proxy>,
    /// The protocol of its clients.
    pub(crate) protocol: u8,
}

impl Target<'_> {
    /// A new client, in the protocol of this run.
    pub(crate) fn client(&self) -> Wire {
        let mut client = match self.proxy {
            Some(proxy) => proxy.client(),
            None => self.redis.direct(),
        };
        if self.protocol == 3 {
            assert!(client.ask("HELLO 3").starts_with("%7 "));
        }
        client
    }

    pub(crate) fn redis(&self) -> &Redis {
        self.redis
    }

    pub(crate) fn is_resp3(&self) -> bool {
        self.protocol == 3
    }

    /// Records a reply with the parts removed that always differ.
    pub(crate) fn is_direct(&self) -> bool {
        self.proxy.is_none()
    }
}

/// Runs the steps on a direct connection, through one worker and through two, in both protocols,
/// each time with an empty server. Returns the replies in RESP2 and in RESP3.
pub(crate) fn compare(steps: impl Fn(&Target<'_>) -> Vec<String>) -> [Vec<String>; 2] {
    compare_at(&Redis::open(), steps)
}

/// Runs the steps with an existing server.
pub(crate) fn compare_at(
    redis: &Redis,
    steps: impl Fn(&Target<'_>) -> Vec<String>,
) -> [Vec<String>; 2] {
    let (one, two) = (
        Proxy::with(redis, &["--core-num=1"]),
        Proxy::with(redis, &["--core-num=2"]),
    );
    let doors = [
        ("direct", None),
        ("one worker", Some(&one)),
        ("two workers", Some(&two)),
    ];
    [2, 3].map(|protocol| {
        let runs = doors.map(|(name, proxy)| {
            let target = Target {
                redis,
                proxy,
                protocol,
            };
            let said = steps(&target);
            forget(redis);
            (name, said)
        });
        let [(_, direct), rest @ ..] = runs;
        for (name, said) in &rest {
            for (i, (came, wanted)) in said.iter().zip(&direct).enumerate() {
                assert_eq!(came, wanted, "step {i}, {name}, RESP{protocol}");
            }
            assert_eq!(said.len(), direct.len(), "{name}, RESP{protocol}");
        }
        direct
    })
}

/// Sends every command of a line alone, then all of them in one packet; the replies must be the
/// same. `before` restores the initial state and has one reply.
pub(crate) fn both_ways(client: &mut Wire, before: &str, line: &str) -> Vec<String> {
    client.ask(before);
    let mut said: Vec<String> = commands(line).map(|command| client.ask(command)).collect();
    client.ask(before);
    assert_eq!(client.ask_all(line), said, "in one packet: {line}");
    said.insert(0, line.into());
    said
}

/// Makes the server like new: no data, and no blocked or subscribed clients.
fn forget(redis: &Redis) {
    redis.wait_blocked(0);
    wait_until("no subscriber is left", || {
        !redis.ask("CLIENT LIST TYPE PUBSUB").contains("id=")
    });
    assert_eq!(redis.ask("FLUSHALL"), "+OK");
}
