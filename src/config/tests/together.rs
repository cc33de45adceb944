//! What options mean together: contradictions, defaults that follow others, notes.

use super::*;
use crate::config::table::WORKERS_MAX;

#[test]
fn options_of_the_two_routers_do_not_mix() {
    let only_one = "give one or the other";
    assert_eq!(
        refusal(&["--router.cp-addr=control:8080"]),
        "--router.cp-addr=control:8080: makes no sense with --router.type=static; \
         add --router.type=sync"
    );
    assert_eq!(
        refusal_with(
            &["--router.type=static"],
            &[("ELIKA_ROUTER_CP_ADDR", "control:8080")]
        ),
        format!(
            "ELIKA_ROUTER_CP_ADDR=control:8080: makes no sense with --router.type=static; \
             {only_one}"
        )
    );
    assert_eq!(
        refusal(&[
            "--router.type=sync",
            "--router.cp-addr=c:1",
            "--router.static-be=h:1"
        ]),
        format!("--router.static-be=h:1: makes no sense with --router.type=sync; {only_one}")
    );
    for name in ["cp-token", "state-file", "file"] {
        let line = refusal(&[&format!("--router.{name}=x")]);
        assert!(line.ends_with("makes no sense with --router.type=static; add --router.type=sync"));
    }
}

#[test]
fn the_sync_router_needs_nothing_else() {
    let config = config(&["--router.type=sync"]);
    assert_eq!(
        (config.router.kind, config.router.cp_addr),
        (RouterType::Sync, None)
    );
}

#[test]
fn what_is_about_a_control_plane_needs_one() {
    let line = refusal(&["--router.type=sync", "--router.cp-token=x"]);
    assert!(line.starts_with("--router.cp-token"), "{line}");
    assert!(
        line.ends_with(
            ": is about a control plane, and there is none; give --router.cp-addr=HOST:PORT too"
        ),
        "{line}"
    );
}

#[test]
fn no_error_shows_a_token() {
    for name in ["--router.cp-token", "--service-token"] {
        let long = "hidden".repeat(100);
        for token in ["hidden ", &long] {
            let line = refusal(&[&format!("{name}={token}")]);
            assert!(line.starts_with(&format!("{name}=…: ")), "{line}");
            assert!(!line.contains("hidden"), "{line}");
        }
    }
    let config = config(&["--service-token=hidden"]);
    assert_eq!(config.service_token.as_ref().unwrap().reveal(), "hidden");
    assert!(!format!("{config:?}").contains("hidden"));
}

#[test]
fn administrative_commands_follow_the_router_unless_given() {
    let admin = |args: &[&str]| config(args).admin_commands;
    let sync = ["--router.type=sync", "--router.cp-addr=control:8080"];
    assert_eq!(admin(&[]), AdminCommands::Allow);
    assert_eq!(admin(&sync), AdminCommands::Deny);
    assert_eq!(admin(&["--admin-commands=deny"]), AdminCommands::Deny);
    assert_eq!(
        admin(&[sync[0], sync[1], "--admin-commands=allow"]),
        AdminCommands::Allow
    );
}

#[test]
fn two_ports_are_two_ports() {
    let remedy = "--port and --service-port need different ports";
    assert_eq!(
        refusal(&["--port=7080"]),
        format!("--port=7080: taken twice; {remedy}")
    );
    let line = format!("--service-port=6378: taken twice; {remedy}");
    assert_eq!(refusal(&["--service-port=6378"]), line);
    let both = config(&["--port=0", "--service-port=0"]);
    assert_eq!((both.port, both.service_port), (0, 0));
    let one = config(&["--port=7080", "--service.enable=false"]);
    assert_eq!(one.port, 7080);
}

#[test]
fn a_pool_keeps_no_more_idle_connections_than_it_may_have() {
    assert_eq!(
        refusal(&["--backend-pool.max-idle=1001"]),
        "--backend-pool.max-idle=1001: more than --backend-pool.dedicated-max, which is 1000; \
         allowed: 0 to 1000"
    );
    let pool = config(&["--backend-pool.dedicated-max=4"]).backend_pool;
    assert_eq!((pool.dedicated_max, pool.max_idle), (4, 4));
    let both = [
        "--backend-pool.dedicated-max=4",
        "--backend-pool.max-idle=4",
    ];
    assert_eq!(config(&both).backend_pool, pool);
}

#[test]
fn core_num_zero_is_every_core() {
    assert_eq!(config(&["--core-num=3"]).workers(), 3);
    assert!((1..=WORKERS_MAX).contains(&config(&["--core-num=0"]).workers()));
}

#[test]
fn an_admin_listener_elsewhere_wants_a_token() {
    let elsewhere = "--service-admin-bind=0.0.0.0:17080";
    let line = refusal(&[elsewhere]);
    assert!(
        line.contains("is not loopback, and there is no token"),
        "{line}"
    );
    let both = config(&[elsewhere, "--service-token=s3cret"]);
    assert_eq!(both.service_admin_bind, Some(([0, 0, 0, 0], 17080).into()));
    let here = config(&["--service-admin-bind=[::1]:0"]);
    assert_eq!(
        here.service_admin_bind,
        Some((std::net::Ipv6Addr::LOCALHOST, 0).into())
    );
    let line = refusal(&["--service-admin-bind=localhost"]);
    assert!(line.contains("not an IP address with a port"), "{line}");
}

#[test]
fn an_admin_listener_needs_a_service_port() {
    let bind = "--service-admin-bind=127.0.0.1:17080";
    assert_eq!(
        refusal(&[bind, "--service.enable=false"]),
        format!("{bind}: makes no sense with --service.enable=false; give one or the other")
    );
    assert!(config(&[bind]).service_enable);
}

#[test]
fn a_tenant_has_room_for_a_request_or_no_limit() {
    for few in [1, 65_535] {
        assert_eq!(
            refusal(&[&format!("--limit.tenant-buffer-bytes={few}")]),
            format!("--limit.tenant-buffer-bytes={few}: too small; allowed: 0, or 65536 and more")
        );
    }
    for bytes in [0, 65_536] {
        let config = config(&[&format!("--limit.tenant-buffer-bytes={bytes}")]);
        assert_eq!(config.limits.tenant_buffer_bytes, bytes);
    }
}
