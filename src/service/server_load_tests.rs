//! What strangers and slow peers ask of the port at a time, and that others do not feel it.

use super::*;

/// They take every place that there is, and more come all the time.
#[test]
fn half_requests_do_not_make_probes_fail() {
    let port = Port::new();
    let mut half = Vec::new();
    for n in 0..400 {
        let mut peer = port.peer();
        peer.try_send(&HEALTH.as_bytes()[..20]);
        half.push(peer);
        if n % 10 == 9 {
            port.is_well();
        }
    }
    // Those who come to the admin listener do not feel it either.
    port.admin().is_healthy();
}

/// A registry that takes as long as the test says.
struct Slow(std::sync::Mutex<mpsc::Receiver<()>>);

impl ClusterRegistry for Slow {
    fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError> {
        // Its end is an answer, too.
        let _ = self.0.lock().unwrap().recv();
        Ok(key.tenant())
    }

    fn status_change(&self, _: ClusterInstance) -> Result<(), RegistryError> {
        Ok(())
    }

    fn notify(&self) -> mpsc::Receiver<ClusterInstance> {
        mpsc::channel().1
    }

    fn get_cluster_instance(&self, _: &TenantKey) -> Vec<ClusterInstance> {
        Vec::new()
    }

    fn all_cluster_instances(&self) -> Vec<ClusterInstance> {
        Vec::new()
    }
}

#[test]
fn a_slow_registry_delays_neither_probes_nor_the_metrics() {
    let (answer, answers) = mpsc::channel();
    let registry = Slow(std::sync::Mutex::new(answers));
    let port = Port::with(Arc::new(FakeOffice::new()), Arc::new(registry));
    let body = ClusterKey::local().to_json();
    let mut slow = port.peer();
    slow.send(&format!(
        "POST /add_cluster HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    for _ in 0..3 {
        port.is_well();
        let mut peer = port.peer();
        peer.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(peer.response().body.contains("elika_fake 1"));
    }
    answer.send(()).unwrap();
    assert_eq!(slow.response().status, 200);
}

#[test]
fn many_who_ask_for_metrics_share_a_page() {
    let port = Port::new();
    let mut peers: Vec<Peer> = (0..40).map(|_| port.peer().greeted()).collect();
    for _ in 0..5 {
        for peer in &mut peers {
            peer.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        for peer in &mut peers {
            assert_eq!(peer.response().status, 200);
        }
    }
    // A page is made for whoever is there; two for a batch that comes while one is being made.
    let made = port.office.pages();
    assert!((5..=40).contains(&made), "{made} pages for 200 requests");
}

#[test]
fn a_peer_that_reads_slowly_holds_nobody_up() {
    let port = Port::new();
    for n in 0..3_000 {
        port.change(&format!("{n}"));
    }
    let list = "GET /list_cluster HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut slow = port.peer();
    // More than the kernel takes on its way.
    slow.send(&list.repeat(40));
    let mut beside = port.peer();
    for _ in 0..10 {
        beside.is_healthy();
    }
    for _ in 0..40 {
        let got = slow.response();
        assert!(
            got.status == 200 && got.body.len() > 500_000,
            "{}",
            got.body.len()
        );
    }
}
