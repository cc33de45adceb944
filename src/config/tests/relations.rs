//! Checks that involve several options: contradictions, and defaults that depend on another option.

use super::*;
use crate::config::table::WORKERS_MAX;

#[test]
fn options_of_the_other_router_type_are_rejected() {
    let only_one = "remove one of the two";
    assert_eq!(
        refusal(&["--router.cp-addr=control:8080"]),
        "--router.cp-addr=control:8080: cannot be used with --router.type=static; \
         add --router.type=sync"
    );
    assert_eq!(
        refusal_with(
            &["--router.type=static"],
            &[("ELIKA_ROUTER_CP_ADDR", "control:8080")]
        ),
        format!(
            "ELIKA_ROUTER_CP_ADDR=control:8080: cannot be used with --router.type=static; \
             {only_one}"
        )
    );
    assert_eq!(
        refusal(&[
            "--router.type=sync",
            "--router.cp-addr=c:1",
            "--router.static-be=h:1"
        ]),
        format!("--router.static-be=h:1: cannot be used with --router.type=sync; {only_one}")
    );
    for name in ["cp-token", "state-file", "file"] {
        let line = refusal(&[&format!("--router.{name}=x")]);
        assert!(line.ends_with("cannot be used with --router.type=static; add --router.type=sync"));
    }
}

#[test]
fn sync_router_needs_no_other_option() {
    let config = config(&["--router.type=sync"]);
    assert_eq!(
        (config.router.kind, config.router.cp_addr),
        (RouterType::Sync, None)
    );
}

#[test]
fn control_plane_token_without_a_control_plane_is_rejected() {
    let line = refusal(&["--router.type=sync", "--router.cp-token=x"]);
    assert!(line.starts_with("--router.cp-token"), "{line}");
    assert!(
        line.ends_with(": no control plane is set; add --router.cp-addr=HOST:PORT"),
        "{line}"
    );
}

#[test]
fn static_router_has_one_backend_or_sentinels() {
    let sentinels = "--router.sentinels=s:26379";
    let router = config(&[sentinels]).router;
    assert_eq!(router.sentinel_master.as_deref(), Some("mymaster"));
    assert_eq!(
        refusal(&[sentinels, "--router.static-be=h:1"]),
        "--router.static-be=h:1: cannot be used with --router.sentinels; remove one of the two"
    );
    let sync = config(&[sentinels, "--router.type=sync"]).router;
    assert_eq!((sync.sentinels.len(), sync.sentinel_master), (1, None));
    assert_eq!(
        refusal(&[
            sentinels,
            "--router.type=sync",
            "--router.sentinel-master=m"
        ]),
        "--router.sentinel-master=m: cannot be used with --router.type=sync; \
         remove one of the two"
    );
}

#[test]
fn options_of_sentinels_without_sentinels_are_rejected() {
    for option in ["master=m", "user=u", "password=p"] {
        let line = refusal(&[&format!("--router.sentinel-{option}")]);
        let end = ": no sentinels are set; add --router.sentinels=HOST:PORT,…";
        assert!(line.ends_with(end), "{line}");
    }
    assert_eq!(
        refusal(&["--router.sentinels=s:1", "--router.sentinel-user=u"]),
        "--router.sentinel-user=u: no password is set; \
         add --router.sentinel-password=PASSWORD"
    );
}

#[test]
fn errors_and_debug_output_do_not_show_secrets() {
    for name in [
        "--router.cp-token",
        "--router.sentinel-password",
        "--service-token",
    ] {
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
fn admin_commands_default_depends_on_the_router() {
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
fn client_port_and_service_port_must_differ() {
    let remedy = "--port and --service-port need different ports";
    assert_eq!(
        refusal(&["--port=7080"]),
        format!("--port=7080: used twice; {remedy}")
    );
    let line = format!("--service-port=6378: used twice; {remedy}");
    assert_eq!(refusal(&["--service-port=6378"]), line);
    let both = config(&["--port=0", "--service-port=0"]);
    assert_eq!((both.port, both.service_port), (0, 0));
    let one = config(&["--port=7080", "--service.enable=false"]);
    assert_eq!(one.port, 7080);
}

#[test]
fn max_idle_is_at_most_dedicated_max() {
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
fn core_num_zero_is_one_worker_per_core() {
    assert_eq!(config(&["--core-num=3"]).workers(), 3);
    assert!((1..=WORKERS_MAX).contains(&config(&["--core-num=0"]).workers()));
}

#[test]
fn admin_listener_off_loopback_needs_a_token() {
    let elsewhere = "--service-admin-bind=0.0.0.0:17080";
    let line = refusal(&[elsewhere]);
    assert!(
        line.contains("not a loopback address, and no token is set"),
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
fn admin_listener_needs_the_service_port() {
    let bind = "--service-admin-bind=127.0.0.1:17080";
    assert_eq!(
        refusal(&[bind, "--service.enable=false"]),
        format!("{bind}: cannot be used with --service.enable=false; remove one of the two")
    );
    assert!(config(&[bind]).service_enable);
}

#[test]
fn tenant_buffer_limit_is_zero_or_has_room_for_a_request() {
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
