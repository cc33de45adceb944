//! Client-side caching, MONITOR, and CLIENT LIST and KILL for clients with a dedicated connection.

mod support;

use support::{Feature, Proxy, Redis, Target, Wire, array, commands, compare, packet, wait_until};

/// The replies of a client to a line, and everything before the reply to a PING behind it.
fn hear(client: &mut Wire, line: &str) -> Vec<String> {
    client.send(packet(line));
    client.send(array("ECHO heard"));
    let mut said = Vec::new();
    loop {
        match client.reply() {
            reply if reply == "$5 heard" => return said,
            reply => said.push(reply),
        }
    }
}

/// One client caches keys, and others change them.
#[test]
fn invalidations_are_delivered() {
    let said = compare(|target| {
        let mut said = Vec::new();
        for (on, reads, changes) in [
            ("", "GET k", "SET k 1 | SET k 2 | SET l 1"),
            ("", "MGET k l m", "DEL k l | SET m 1 | EXPIRE m 100"),
            ("", "GET k", "FLUSHALL"),
            ("", "MULTI | GET k | GET l | EXEC", "SET k 1 | SET l 1"),
            ("", "SELECT 1 | GET k | SELECT 0", "SET k 1"),
            (
                "OPTIN",
                "GET k | CLIENT CACHING YES | GET l | GET m",
                "SET k 1 | SET l 1 | SET m 1",
            ),
            (
                "OPTIN",
                "CLIENT CACHING NO | CLIENT CACHING x | CLIENT CACHING YES | GET k",
                "SET k 1",
            ),
            (
                "OPTIN",
                "CLIENT CACHING YES | MULTI | GET k | GET l | EXEC",
                "SET k 1 | SET l 1",
            ),
            (
                "OPTOUT",
                "GET k | CLIENT CACHING NO | GET l | GET m",
                "SET k 1 | SET l 1 | SET m 1",
            ),
            ("OPTOUT", "CLIENT CACHING YES | GET k", "SET k 1"),
            ("BCAST", "PING", "SET k 1 | SET l 1"),
            (
                "BCAST PREFIX k PREFIX m",
                "GET l",
                "SET k1 1 | SET l 1 | SET m1 1",
            ),
            ("NOLOOP", "GET k | SET k mine | GET l", "SET k 1 | SET l 1"),
            ("", "GET k | SET k mine | GET k", "SET k 1"),
        ] {
            let (mut client, mut other) = (target.client(), target.client());
            said.extend(hear(&mut client, &format!("CLIENT TRACKING ON {on}")));
            said.extend(hear(&mut client, reads));
            for change in commands(changes) {
                said.push(other.ask(change));
                // Some are sent before the server sleeps, others at once.
                said.extend(hear(&mut client, "PING"));
                said.extend(hear(&mut client, "PING"));
            }
            said.extend(hear(
                &mut client,
                "CLIENT TRACKINGINFO | CLIENT GETREDIR | CLIENT TRACKING OFF",
            ));
            said.push(other.ask("SET k after"));
            said.extend(hear(
                &mut client,
                "GET k | CLIENT GETREDIR | CLIENT TRACKINGINFO",
            ));
            said.push(other.ask("FLUSHALL"));
            said.extend(hear(&mut client, "PING"));
        }
        said
    });
    assert_eq!(
        said[1][..4],
        ["+OK", "_", "+OK", ">2 $10 invalidate *1 $1 k"]
    );
}

#[test]
fn tracking_errors_are_those_of_the_server() {
    compare(|target| {
        let mut client = target.client();
        let mut said = Vec::new();
        for line in commands(
            "CLIENT TRACKING | CLIENT TRACKING x | CLIENT TRACKING ON x | \
             CLIENT TRACKING ON OPTIN OPTOUT | CLIENT TRACKING ON PREFIX a | \
             CLIENT TRACKING ON BCAST PREFIX ab PREFIX a | CLIENT TRACKING ON REDIRECT x | \
             CLIENT TRACKING ON REDIRECT 999999 | CLIENT TRACKING ON REDIRECT | \
             CLIENT TRACKING ON BCAST OPTIN | CLIENT CACHING YES | CLIENT TRACKING OFF x | \
             CLIENT TRACKING ON | CLIENT TRACKING ON BCAST | CLIENT TRACKING ON OPTIN | \
             CLIENT GETREDIR | CLIENT TRACKING OFF | CLIENT TRACKINGINFO | CLIENT NO-TOUCH ON | \
             CLIENT GETREDIR | CLIENT CACHING YES | RESET",
        ) {
            said.extend(hear(&mut client, line));
        }
        said
    });
}

/// Client ids differ between the runs; `id` replaces them in replies.
fn hide(said: Vec<String>, id: u64) -> Vec<String> {
    let hide = |reply: String| {
        reply
            .replace(&format!(":{id} "), ":id ")
            .replace(&format!(":{id}"), ":id")
    };
    said.into_iter().map(hide).collect()
}

/// To a subscriber, on the same worker and on another one.
#[test]
fn invalidations_are_redirected_to_a_subscriber() {
    let steps = |target: &Target<'_>| {
        let (mut listeners, mut other) = ([target.client(), target.client()], target.client());
        let mut said = Vec::new();
        for listener in &mut listeners {
            let id = listener.number("CLIENT ID");
            let mut client = target.client();
            said.push(listener.ask("SUBSCRIBE __redis__:invalidate"));
            let on = format!("CLIENT TRACKING ON REDIRECT {id} NOLOOP");
            for lines in [
                &on,
                "CLIENT GETREDIR | CLIENT TRACKINGINFO",
                "GET k | MULTI | GET l | EXEC | SET n mine",
            ] {
                said.extend(hide(hear(&mut client, lines), id));
            }
            said.extend(other.ask_all("SET k 1 | SET m 1 | SET l 1"));
            said.extend(listener.replies(2));
            // While it is on, it can be turned on again and turned off.
            for lines in [
                &on,
                "GET k | CLIENT TRACKING OFF | CLIENT GETREDIR | CLIENT TRACKINGINFO",
            ] {
                said.extend(hide(hear(&mut client, lines), id));
            }
            said.push(other.ask("SET k 2"));
            said.push(client.ask("GET k"));
            said.push(other.ask("PUBLISH __redis__:invalidate last"));
            said.push(listener.reply());
            // Before the target of the redirection disconnects, and afterwards.
            said.extend(hide(
                hear(
                    &mut client,
                    &format!("CLIENT TRACKING ON REDIRECT {id} | GET k"),
                ),
                id,
            ));
            said.push(listener.ask("RESET"));
        }
        said
    };
    let said = compare(steps);
    assert!(said[0].contains(&":id".to_owned()), "{:?}", said[0]);
    assert!(
        said[0].contains(&"*3 $7 message $20 __redis__:invalidate *1 $1 k".to_owned()),
        "{:?}",
        said[0]
    );
}

/// The target needs no subscription and no dedicated connection at first.
#[test]
fn invalidations_are_redirected_to_a_later_subscriber() {
    compare(|target| {
        let mut said = Vec::new();
        for _ in 0..2 {
            let (mut client, mut listener, mut other) =
                (target.client(), target.client(), target.client());
            let id = listener.number("CLIENT ID");
            said.push(client.ask(&format!("CLIENT TRACKING ON REDIRECT {id} BCAST PREFIX k")));
            said.push(listener.ask("SUBSCRIBE __redis__:invalidate"));
            said.push(other.ask("SET k 1"));
            said.push(listener.reply());
            drop(listener);
            // The loss is noticed at the next invalidation.
            wait_until("the listener is gone", || {
                other.ask("SET k 2");
                let said = hear(&mut client, "CLIENT TRACKINGINFO");
                said.iter().any(|reply| reply.contains("broken_redirect")) || !target.is_direct()
            });
            said.push(other.ask("GET k"));
        }
        said
    });
}

/// A monitor sees all commands of the others, and nothing else.
#[test]
fn monitor_shows_the_commands_of_others() {
    compare(|target| {
        let (mut client, mut other) = (target.client(), target.client());
        let mut said = vec![client.ask("MONITOR")];
        other.ask_all("SET k v | MULTI | GET k | EXEC");
        let tell = |reply: String| match reply.split_once("] ") {
            Some((_, rest)) => rest.to_owned(),
            None => reply,
        };
        said.extend(client.replies(4).into_iter().map(tell));
        said.push(client.ask("RESET"));
        said.extend(client.ask_all("GET k | MULTI | GET k | EXEC"));
        other.ask("SET k w");
        said.push(client.ask("GET k"));
        // A monitor that disconnects ends on the server as well.
        let mut gone = target.client();
        said.push(gone.ask("MONITOR"));
        drop(gone);
        wait_until("nobody monitors", || {
            !target.redis().ask("CLIENT LIST").contains(" flags=O ")
        });
        said
    });
    let (_redis, proxy) = Redis::open().proxied(&["--admin-commands=deny"]);
    let mut client = proxy.client();
    for line in ["PING", "WATCH k", "SUBSCRIBE c"] {
        client.ask("HELLO 3");
        client.ask(line);
        assert_eq!(
            client.ask("MONITOR"),
            "-NOPERM User default has no permissions to run the 'monitor' command"
        );
        assert_eq!(client.ask("GET k"), "_");
    }
}

/// The next replies, and lines of MONITOR without their beginning.
fn lines(client: &mut Wire, count: usize) -> Vec<String> {
    let tell = |reply: String| match reply.split_once("] ") {
        Some((_, rest)) => rest.to_owned(),
        None => reply,
    };
    client.replies(count).into_iter().map(tell).collect()
}

/// Commands that proxies send by themselves are not shown: handshakes, checks, permission probes,
/// repeated WAITs.
#[test]
fn monitors_do_not_see_the_proxys_own_commands() {
    let redis = Redis::open();
    let options = ["--core-num=2", "--health.check-ms=100"];
    let (proxy, another) = (Proxy::with(&redis, &options), Proxy::with(&redis, &options));
    let mut direct = redis.direct();
    assert_eq!(direct.ask("MONITOR"), "+OK");
    let mut monitor = proxy.client_as("admin", "admin");
    assert_eq!(monitor.ask("MONITOR"), "+OK");
    let mut writer = redis.direct();
    let mut wanted = Vec::new();
    for proxy in [&proxy, &another, &proxy, &another] {
        let mut client = proxy.client_as("ann", "annpw");
        for line in commands(
            "SET k v | SELECT 3 | GET k | HELLO 3 | GET l | CLIENT ID | WATCH k | UNWATCH | \
             BLPOP none 0.01 | WAIT 1 30 | MULTI | EXEC | EXISTS k",
        ) {
            client.ask(line);
            let own = ["SELECT", "HELLO", "CLIENT", "WAIT"];
            if !own.iter().any(|name| line.starts_with(name)) {
                let words = line.split(' ').map(|word| format!("\"{word}\""));
                wanted.push(words.collect::<Vec<_>>().join(" "));
            }
        }
        client.ask("RESET");
    }
    // Meanwhile the server is checked.
    assert!((0..1_000).any(|_| direct.reply().contains("\"pinG\"")));
    let shown = |line: &str| line.split_once("] ").map(|(_, rest)| rest.to_owned());
    writer.ask("ECHO end");
    let mut seen: Vec<String> = Vec::new();
    while seen.last().is_none_or(|line| line != "\"ECHO\" \"end\"") {
        seen.extend(shown(&monitor.reply()));
    }
    // Servers since 7.0 show logins, once each.
    seen.retain(|line| !line.starts_with("\"AUTH\""));
    seen.pop();
    assert_eq!(seen, wanted);
}

/// No server replies to a second MONITOR.
#[test]
fn second_monitor_has_no_reply_and_blocks_nothing() {
    compare(|target| {
        // Only a server sees CLIENT REPLY, and Redis 6 does not show it.
        let shown = target.is_direct() && !target.redis().lacks(Feature::Functions);
        let (mut client, mut other) = (target.client(), target.client());
        client.send(packet("MONITOR | MONITOR | ECHO x"));
        let mut said = lines(&mut client, 3);
        client.send(packet("CLIENT REPLY SKIP | MONITOR | ECHO y"));
        let mut told = lines(&mut client, if shown { 3 } else { 2 });
        told.retain(|line| !line.contains("REPLY"));
        said.extend(told);
        other.ask("SET k v");
        said.extend(lines(&mut client, 1));
        said
    });
}

#[test]
fn monitor_with_replies_off_gets_no_lines() {
    compare(|target| {
        let shown = target.is_direct() && !target.redis().lacks(Feature::Functions);
        let (mut client, mut other) = (target.client(), target.client());
        client.send(packet("CLIENT REPLY OFF | MONITOR | MONITOR"));
        wait_until("it monitors", || {
            target.redis().ask("CLIENT LIST").contains(" flags=O ")
        });
        other.ask_all("SET k v | GET k");
        client.expect_silence();
        client.send(array("CLIENT REPLY ON"));
        let mut said = vec![client.reply()];
        client.send(array("ECHO x"));
        let mut told = lines(&mut client, if shown { 3 } else { 2 });
        told.retain(|line| !line.contains("REPLY"));
        said.extend(told);
        said
    });
}

#[test]
fn disconnected_monitors_leave_no_connection() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1"]);
    let mut asker = proxy.client();
    for _ in 0..40 {
        let mut client = proxy.client();
        client.send(packet("CLIENT REPLY OFF | MONITOR | MONITOR"));
    }
    wait_until("all clients but one have gone", || {
        asker.ask("CLIENT LIST").matches(" addr=").count() == 1
    });
    wait_until("nobody monitors", || {
        !redis.ask("CLIENT LIST").contains(" flags=O ")
    });
    assert_eq!(
        asker.ask_all("MULTI | PING | EXEC"),
        ["+OK", "+QUEUED", "*1 +PONG"]
    );
}

/// Commands that read or change the connection have the same effect inside MULTI as on a server.
#[test]
fn connection_commands_inside_multi_are_those_of_the_server() {
    compare(|target| {
        let mut client = target.client();
        let mut said = Vec::new();
        for line in [
            "MULTI | CLIENT GETREDIR | CLIENT TRACKINGINFO | EXEC",
            "CLIENT TRACKING ON BCAST PREFIX p",
            "MULTI | GET k | CLIENT TRACKINGINFO | CLIENT GETREDIR | GET k | EXEC",
            "CLIENT TRACKING OFF",
            "MULTI | CLIENT NO-TOUCH ON | EXEC | GET k",
            "MULTI | CLIENT NO-TOUCH OFF | EXEC",
            "MULTI | CLIENT NO-TOUCH MAYBE | EXEC",
            "MULTI | CLIENT IMPORT-SOURCE ON | EXEC",
            "CLIENT IMPORT-SOURCE ON",
        ] {
            if line.contains("TRACKING ON") && !target.is_resp3() {
                continue;
            }
            said.extend(client.ask_all(line));
        }
        let id = target.client().number("CLIENT ID");
        let mut listener = target.client();
        let number = listener.number("CLIENT ID");
        assert!(
            number != id
                && listener
                    .ask("SUBSCRIBE __redis__:invalidate")
                    .contains(":1")
        );
        client.ask(&format!("CLIENT TRACKING ON REDIRECT {number}"));
        let replies = client.ask_all("MULTI | CLIENT GETREDIR | CLIENT TRACKINGINFO | EXEC");
        said.extend(
            replies
                .iter()
                .map(|it| it.replace(&format!(":{number}"), ":N")),
        );
        said
    });
}

#[test]
fn end_of_a_redirection_has_the_proxys_client_id() {
    compare(|target| {
        if !target.is_resp3() {
            return Vec::new();
        }
        let (mut client, mut listener, mut other) =
            (target.client(), target.client(), target.client());
        let number = listener.number("CLIENT ID");
        listener.ask("SUBSCRIBE __redis__:invalidate");
        let mut said = client.ask_all(&format!("CLIENT TRACKING ON REDIRECT {number} | GET k"));
        drop(listener);
        wait_until("nobody listens", || {
            other
                .ask("PUBSUB NUMSUB __redis__:invalidate")
                .ends_with(":0")
        });
        other.ask("SET k v");
        said.push(client.reply().replace(&format!(":{number}"), ":N"));
        said
    });
}

/// The fields that show the state of a dedicated connection equal those of the server.
#[test]
fn client_list_shows_dedicated_clients() {
    let said = compare(|target| {
        let mut asker = target.client();
        let mut said = Vec::new();
        for state in [
            "PING",
            "MULTI",
            "MULTI | PING | GET k",
            "MULTI | NOSUCH",
            "WATCH k",
            "SELECT 3",
            "SUBSCRIBE a b",
            "PSUBSCRIBE a",
            "SUBSCRIBE a | PSUBSCRIBE b c",
            "MULTI | GET k | EXEC",
            "SUBSCRIBE a | UNSUBSCRIBE a",
            "BLPOP l 0",
            "XREAD BLOCK 0 STREAMS s $",
            "CLIENT SETNAME me | WATCH k | CLIENT SETNAME you",
            "MONITOR",
            "AUTH bob bobpw",
            "WATCH k | AUTH bob bobpw",
            "CLIENT TRACKING ON",
            "CLIENT TRACKING ON | MULTI",
        ] {
            let mut client = target.client();
            let id = client.number("CLIENT ID");
            client.send(packet(state));
            match state.contains("BLOCK") || state.starts_with("BLPOP") {
                true => target.redis().wait_blocked(1),
                false => drop(client.replies(commands(state).count())),
            }
            let mut lines = vec![asker.ask(&format!("CLIENT LIST ID {id}"))];
            lines.push(asker.ask("CLIENT LIST TYPE PUBSUB"));
            for line in lines {
                let fields = [
                    "name", "flags", "db", "sub", "psub", "multi", "redir", "user",
                ];
                let fields = fields.map(|field| {
                    let value = line.split(&format!(" {field}=")).nth(1);
                    let value = value.map(|rest| rest.split([' ', '\n']).next().unwrap());
                    format!("{field}={}", value.unwrap_or("-"))
                });
                let mut fields = fields;
                // A Valkey keeps an empty queue after EXEC.
                if !fields[1].contains('x') && fields[5] == "multi=0" {
                    fields[5] = "multi=-1".to_owned();
                }
                // The proxy shows clients of the same user only.
                if !state.contains("bob") {
                    said.push(format!("{state}: {}", fields.join(" ")));
                }
            }
            drop(client);
            wait_until("the client is gone", || {
                !asker.ask(&format!("CLIENT LIST ID {id}")).contains("id=")
            });
        }
        said
    });
    assert!(
        said[0][2].contains("flags=x ") && said[0][12].contains("flags=P "),
        "{:?}",
        said[0]
    );
}

#[test]
fn blocked_and_subscribed_clients_can_be_killed() {
    compare(|target| {
        let mut killer = target.client();
        let mut said = Vec::new();
        for _ in 0..2 {
            let (mut blocked, mut subscriber) = (target.client(), target.client());
            let ids = [blocked.number("CLIENT ID"), subscriber.number("CLIENT ID")];
            blocked.send(array("BLPOP l 0"));
            said.push(subscriber.ask("SUBSCRIBE c"));
            target.redis().wait_blocked(1);
            said.push(killer.ask("PUBSUB NUMSUB c"));
            for id in ids {
                said.push(killer.ask(&format!("CLIENT KILL ID {id}")));
                said.push(killer.ask(&format!("CLIENT KILL ID {id}")));
            }
            blocked.expect_end();
            subscriber.expect_end();
            target.redis().wait_blocked(0);
            wait_until("nobody listens", || killer.ask("PUBLISH c x") == ":0");
            said.extend(killer.ask_all("RPUSH l a | LLEN l | DEL l"));
        }
        let mut subscribers = Vec::new();
        for line in ["SUBSCRIBE c", "PSUBSCRIBE c", "SSUBSCRIBE c"] {
            if line.starts_with("SS") && target.redis().lacks(Feature::Functions) {
                continue;
            }
            let mut client = target.client();
            said.push(client.ask(line));
            subscribers.push(client);
        }
        said.push(killer.ask("CLIENT KILL TYPE pubsub"));
        for subscriber in &mut subscribers {
            subscriber.expect_end();
        }
        said
    });
}
