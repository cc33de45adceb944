//! Requests that change user, instance or protocol: AUTH, HELLO, SELECT.

use super::super::client::{Login, Op};
use super::super::rng::Rng;
use super::{Around, Line};

/// A request that changes user, instance or protocol.
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

/// A login that is valid, unless the password changes meanwhile.
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
        let user = login.name.as_deref().unwrap_or("default");
        let (place, user) = match user.split_once('.') {
            Some((tenant, user)) if tenant != "eve" => (around.called(tenant), user),
            _ => (around.plan.default_tenant.then_some(0), user),
        };
        let mut servers = around.servers.iter();
        // There may be no tenant to log in to.
        let right = servers.any(|server| {
            let user = server.users.get(user);
            Some(server.tenant) == place && user.is_some_and(|it| it.admits(&login.password))
        });
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

/// A login, and the arguments of AUTH for it.
fn login(around: &Around<'_>, rng: &mut Rng, number: u64) -> (Login, Vec<String>) {
    let index = rng.below(around.tenants.len());
    let tenant = &around.tenants[index];
    let server = around.servers.iter().rev().find(|it| it.tenant == index);
    let user = match rng.below(3) {
        0 => *rng.pick(&["bob", "eve.x", "off", "default", "nobody"]),
        _ => "ann",
    };
    let generation = server.and_then(|server| server.users.get(user));
    let generation = generation.map_or(1, |user| user.generation);
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
    let form = rng.below(12);
    // If an alias moves meanwhile, only the password identifies its tenant.
    let by_alias = matches!(form, 6 | 7);
    let password = match around.plan.same_passwords && !by_alias && !rng.one_in(4) {
        true => format!("{word}:same"),
        false => format!("{word}:{number}-{}", rng.next()),
    };
    let name = match form {
        0 => None,
        // Without a tenant, the user of the default tenant, if there is one.
        1..=4 if index == 0 => Some(user.to_owned()),
        // An unknown tenant: then it may be a user name with a dot.
        5 if rng.one_in(3) => Some(format!("nix.{user}")),
        _ if by_alias => {
            let alias = tenant.alias.as_deref().unwrap_or("shop-0");
            Some(format!("{alias}.{user}"))
        }
        _ => Some(format!("{}.{user}", tenant.key)),
    };
    let mut words: Vec<String> = name.iter().cloned().collect();
    words.push(password.clone());
    (Login { name, password }, words)
}
