//! Load on the service port by many and by slow peers, which must not affect others.

use super::*;

/// Peers with incomplete requests take every slot, and more peers connect all the time.
#[test]
fn incomplete_requests_do_not_make_probes_fail() {
    let port = Port::new();
    let mut half = Vec::new();
    for n in 0..400 {
        let mut peer = port.peer();
        peer.try_send(&HEALTH.as_bytes()[..20]);
        half.push(peer);
        if n % 10 == 9 {
            port.serves_others();
        }
    }
    // Callers of the admin listener are not affected either.
    port.admin().is_healthy();
}

/// A registry that blocks until the test releases it.
struct SlowRegistry(std::sync::Mutex<mpsc::Receiver<()>>);

impl ClusterRegistry for SlowRegistry {
    fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError> {
        // The end of the test releases it, too.
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
fn slow_registry_delays_neither_probes_nor_metrics() {
    let (answer, answers) = mpsc::channel();
    let registry = SlowRegistry(std::sync::Mutex::new(answers));
    let port = Port::with(Arc::new(FakeControl::new()), Arc::new(registry));
    let body = ClusterKey::local().to_json();
    let mut slow = port.peer();
    slow.send(&format!(
        "POST /add_cluster HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    for _ in 0..3 {
        port.serves_others();
        let mut peer = port.peer();
        peer.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(peer.response().body.contains("elika_fake 1"));
    }
    answer.send(()).unwrap();
    assert_eq!(slow.response().status, 200);
}

#[test]
fn simultaneous_metrics_requests_share_a_page() {
    let port = Port::new();
    let mut peers: Vec<Peer> = (0..40).map(|_| port.peer().served()).collect();
    for _ in 0..5 {
        for peer in &mut peers {
            peer.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        for peer in &mut peers {
            assert_eq!(peer.response().status, 200);
        }
    }
    // A page is written for all requests that have arrived: one for a batch, at most two for a
    // batch that arrives while a page is written.
    let made = port.control.pages();
    assert!((5..=40).contains(&made), "{made} pages for 200 requests");
}

#[test]
fn slow_reader_delays_no_other_peer() {
    let port = Port::new();
    for n in 0..3_000 {
        port.control.add(&format!("{n}"));
    }
    let list = "GET /list_cluster HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut slow = port.peer();
    // More than the socket buffers hold.
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
