//! Requests that change who, where or how a client is: AUTH, HELLO, SELECT.

use super::super::client::{Login, Op};
use super::super::rng::Rng;
use super::{Around, Line};

/// A request that changes who, where or how a client is.
pub(super) fn change(around: &Around<'_>, rng: &mut Rng, number: u64) -> Line {
    match rng.below(12) {
        0..=2 => {
            let db = rng.below(5);
            Line::new(&["SELECT", &db.to_string()], Op::Select(db as i64))
        }
        3 => {
            let db = *rng.pick(&[16, 99, -1, 15]);
            Line::new(&["SELECT", &db.to_string()], Op::Select(db))
        }
        4..=6 => {
            let (login, args) = login(around, rng, number);
            let mut all = vec!["AUTH".to_owned()];
            all.extend(args);
            let args: Vec<&str> = all.iter().map(String::as_str).collect();
            Line::new(&args, Op::Auth(login))
        }
        7 => Line::new(
            &["HELLO"],
            Op::Hello {
                protocol: None,
                login: None,
                name: None,
            },
        ),
        _ => hello(around, rng, number),
    }
}

/// A login that is right, if passwords do not change meanwhile.
pub(super) fn enter(around: &Around<'_>, rng: &mut Rng) -> Line {
    loop {
        let line = change(around, rng, 0);
        let Some(
            Op::Auth(login)
            | Op::Hello {
                login: Some(login), ..
            },
        ) = &line.op
        else {
            continue;
        };
        let Some(server) = login.server.and_then(|server| around.servers.get(server)) else {
            // There may be nowhere to log in to.
            if rng.one_in(9) {
                return line;
            } else {
                continue;
            };
        };
        let right =
            (server.users.get(&login.user)).is_some_and(|user| user.admits(&login.password));
        if right || rng.one_in(50) {
            return line;
        }
    }
}

fn hello(around: &Around<'_>, rng: &mut Rng, number: u64) -> Line {
    let protocol = *rng.pick(&[2, 3, 3, 3, 4]);
    let mut args = vec!["HELLO".to_owned(), protocol.to_string()];
    let (mut who, mut name) = (None, None);
    if rng.one_in(2) {
        let (login, words) = login(around, rng, number);
        if words.len() == 2 {
            args.push("AUTH".into());
            args.extend(words);
            who = Some(login);
        }
    }
    if rng.one_in(3) && around.servers.iter().all(|server| !server.old) {
        name = Some(format!("h{}", rng.below(100)));
        args.extend(["SETNAME".to_owned(), name.clone().unwrap_or_default()]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let op = Op::Hello {
        protocol: Some(protocol),
        login: who,
        name,
    };
    Line::new(&args, op)
}

/// A login, and the arguments that say it to AUTH.
fn login(around: &Around<'_>, rng: &mut Rng, number: u64) -> (Login, Vec<String>) {
    let index = rng.below(around.servers.len());
    let server = &around.servers[index];
    let user = match rng.below(3) {
        0 => *rng.pick(&["bob", "eve.x", "off", "default", "nobody"]),
        _ => "ann",
    };
    let generation = server.users.get(user).map_or(1, |user| user.generation);
    let generation = if rng.one_in(8) {
        generation + 1
    } else {
        generation
    };
    let word = if rng.one_in(6) {
        "bad".to_owned()
    } else {
        format!("g{generation}")
    };
    let password = format!("{word}:{number}-{}", rng.next());
    if rng.one_in(12) {
        let login = Login {
            server: around.default_tenant.then_some(0),
            user: "default".into(),
            password: password.clone(),
        };
        return (login, vec![password]);
    }
    let (target, name) = match rng.below(10) {
        // Without a tenant: the first server's user of that name, if there is a default.
        0..=3 if index == 0 => (around.default_tenant.then_some(0), user.to_owned()),
        // Nobody knows this tenant: then it may be a user's name with a dot in it.
        4 if rng.one_in(3) => (around.default_tenant.then_some(0), format!("nix.{user}")),
        _ => (Some(index), format!("{}.{user}", around.tenants[index])),
    };
    let user = match target {
        Some(_) if name.starts_with("nix.") => name.clone(),
        _ => user.to_owned(),
    };
    let login = Login {
        server: target,
        user,
        password: password.clone(),
    };
    (login, vec![name, password])
}
