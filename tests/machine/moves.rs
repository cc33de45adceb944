//! Logged-in clients whose instance is removed or replaced: a client keeps its account, and is
//! served only by links that authenticated with the client's own credential.

use elika::cluster::{ClusterKey, Status};
use elika::proxy::{ClientKey, Failure, LinkKey, StatsRequest};

use super::harness::Worker;
use super::instances::{GRACE_MS, Registry, first_worker, start};

const NO_INSTANCE: &str = "-ERR elika: backend unavailable: no instance\r\n";

impl Worker {
    /// How many clients the tenant has, and how many of them are on an instance.
    fn places(&self, registry: &mut Registry) -> (u32, u32) {
        let snapshot = registry.snapshot();
        let tenant = snapshot.tenant_by_key(&ClusterKey::local().tenant());
        let stats = self.machine.collect_stats(&StatsRequest::Metrics);
        let on_instances = stats.instances.iter().map(|it| it.clients).sum();
        (tenant.unwrap().quota.clients.get(), on_instances)
    }

    /// Completes the handshake of the only new link, which must authenticate like this.
    fn authenticates(&mut self, user: &str, password: &str) -> LinkKey {
        let link = self.new_link();
        let first = self.open_handshake(link);
        let handshake = self.accept_handshake(link, first);
        let credential = format!("{user}\r\n${}\r\n{password}\r\n", password.len());
        assert!(handshake.contains(&credential), "{handshake}");
        self.settle();
        link
    }

    fn gets(&mut self, client: ClientKey, on: LinkKey) {
        self.requests(on);
        self.send(client, "GET k");
        self.settle();
        assert_eq!(self.requests(on), "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
        self.deliver(on, client, "$1\r\nv\r\n");
    }
}

#[test]
fn client_stays_logged_in_while_its_tenant_has_no_instance() {
    for offline in [true, false] {
        let (mut registry, mut worker) = start(&[1]);
        let (client, one) = worker.login();
        worker.send(client, "SELECT 3");
        let three = worker.authenticates("ann", "pw");
        assert_eq!(worker.received(client), "+OK\r\n");
        worker.gets(client, three);
        assert_eq!(worker.places(&mut registry), (1, 1));
        let logins = worker.machine.counters().logins;
        match offline {
            true => worker.apply(registry.set(1, Status::Offline)),
            false => worker.apply(registry.remove(1)),
        }
        worker.advance(GRACE_MS + 60_000);
        assert!(worker.closed(one) && worker.closed(three));
        assert_eq!(worker.machine.links(), 0, "offline: {offline}");
        for command in ["GET k", "CLIENT ID", "BLPOP k 0", "SUBSCRIBE c"] {
            worker.send(client, command);
            assert_eq!(worker.received(client), NO_INSTANCE, "{command}");
        }
        assert_eq!(worker.places(&mut registry), (1, 0));
        worker.apply(registry.set(2, Status::Ready));
        worker.send(client, "GET k");
        let two = worker.authenticates("ann", "pw");
        assert_eq!(worker.port(two), 2);
        let asked = worker.requests(two);
        assert!(asked.ends_with("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), "{asked}");
        worker.deliver(two, client, "$-1\r\n");
        worker.gets(client, two);
        assert_eq!(worker.places(&mut registry), (1, 1));
        let counters = worker.machine.counters();
        assert_eq!((counters.logins, counters.logins_refused), (logins, 0));
        assert_eq!(
            (counters.clients_moved, counters.clients_left_behind),
            (1, 0)
        );
        worker.machine.client_closed(client);
        assert_eq!(worker.places(&mut registry), (0, 0));
    }
}

/// The other client has sent nothing since its instance came back.
#[test]
fn client_without_an_instance_is_in_the_list_of_its_user() {
    let (mut registry, mut worker) = start(&[1]);
    let (client, one) = worker.login();
    let quiet = worker.log_in("ann", "pw");
    worker.apply(registry.remove(1));
    worker.settle();
    assert!(worker.closed(one));
    worker.apply(registry.set(1, Status::Ready));
    worker.send(client, "GET k");
    let back = worker.authenticates("ann", "pw");
    worker.requests(back);
    worker.deliver(back, client, "$-1\r\n");
    worker.send(client, "CLIENT LIST");
    worker.settle();
    worker.permit(back);
    worker.settle();
    let list = worker.received(client);
    assert!(list.contains("id=1 ") && list.contains("id=2 "), "{list}");
    assert!(!worker.closed(quiet));
}

#[test]
fn pipeline_of_a_client_without_an_instance_goes_on_in_its_database_and_protocol() {
    let (mut registry, mut worker) = start(&[1]);
    let client = worker.client_sends("HELLO 3 AUTH ann pw");
    let _one = worker.established();
    assert!(worker.received(client).starts_with('%'));
    worker.send(client, "SELECT 5");
    let _five = worker.established();
    assert_eq!(worker.received(client), "+OK\r\n");
    worker.apply(registry.remove(1));
    worker.settle();
    worker.apply(registry.set(2, Status::Ready));
    let get = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    worker.send_bytes(client, get.repeat(3));
    let two = worker.new_link();
    let first = worker.open_handshake(two);
    let handshake = worker.accept_handshake(two, first);
    for part in [
        "SELECT\r\n$1\r\n5\r\n",
        "HELLO\r\n$1\r\n3\r\n",
        "ann\r\n$2\r\npw\r\n",
    ] {
        assert!(handshake.contains(part), "{handshake}");
    }
    assert_eq!(worker.requests(two), get.repeat(3));
    worker.reply(two, "_\r\n".repeat(3));
    assert_eq!(worker.received(client), "_\r\n".repeat(3));
}

#[test]
fn client_is_closed_when_the_new_instance_refuses_its_credential() {
    for had_none in [true, false] {
        let (mut registry, mut worker) = start(&[1]);
        let (client, one) = worker.login();
        let logins = worker.machine.counters().logins;
        if had_none {
            worker.apply(registry.remove(1));
            worker.settle();
            worker.apply(registry.set(2, Status::Ready));
            worker.send(client, "GET k");
        } else {
            worker.apply(registry.set(2, Status::Ready));
            worker.apply(registry.set(1, Status::Offline));
            worker.settle();
        }
        let two = worker.new_link();
        assert_eq!(worker.port(two), 2);
        worker.refuse_handshake(two, "-WRONGPASS invalid username-password pair\r\n");
        worker.settle();
        assert!(worker.closed(client), "{had_none}");
        assert_eq!(worker.received(client), "");
        assert!(!worker.requests(one).contains("GET"));
        assert_eq!(worker.places(&mut registry), (0, 0));
        let counters = worker.machine.counters();
        assert_eq!((counters.logins, counters.logins_refused), (logins, 0));
        assert_eq!(counters.logged_out, 1);
        assert!(worker.notices().is_empty(), "it was no login");
    }
}

#[test]
fn two_passwords_of_one_user_share_no_link_after_a_move() {
    for had_none in [true, false] {
        let (mut registry, mut worker) = start(&[1]);
        let (old, one) = worker.login();
        let new = worker.client_sends("AUTH ann newer");
        let _newer = worker.established();
        assert_eq!(worker.received(new), "+OK\r\n");
        worker.gets(old, one);
        match had_none {
            true => worker.apply(registry.remove(1)),
            false => worker.apply(registry.set(2, Status::Ready)),
        }
        worker.settle();
        worker.new_links();
        match had_none {
            true => worker.apply(registry.set(2, Status::Ready)),
            false => worker.apply(registry.set(1, Status::Offline)),
        }
        for (client, value) in [(old, "old"), (new, "new")] {
            worker.send(client, &format!("SET k {value}"));
        }
        worker.settle();
        let links = worker.new_links();
        assert_eq!(links.len(), 2, "had none: {had_none}");
        for link in links {
            let handshake = worker.open_handshake(link);
            let is_new = handshake.contains("newer");
            worker.accept_handshake(link, handshake);
            worker.settle();
            let asked = worker.requests(link);
            let value = if is_new { "new" } else { "old" };
            assert!(
                asked.ends_with(&format!("$3\r\n{value}\r\n")) && asked.matches("SET").count() == 1,
                "{value}: {asked}"
            );
            worker.reply(link, "+OK\r\n");
        }
        for client in [old, new] {
            assert_eq!(worker.received(client), "+OK\r\n");
        }
        assert_eq!(worker.places(&mut registry), (2, 2));
    }
}

/// A move needs one ready link of the account on the new instance, and no login.
#[test]
fn clients_of_one_account_move_by_one_link() {
    let (mut registry, mut worker) = start(&[1]);
    let (first, one) = worker.login();
    worker.send(first, "GET slow");
    let others: Vec<ClientKey> = (0..5).map(|_| worker.log_in("ann", "pw")).collect();
    let logins = worker.machine.counters().logins;
    worker.apply(registry.set(2, Status::Ready));
    worker.apply(registry.set(1, Status::Offline));
    worker.settle();
    let two = worker.authenticates("ann", "pw");
    for &client in &others {
        worker.gets(client, two);
    }
    // The first one's request is answered where it was sent.
    assert!(worker.requests(one).contains("slow"));
    worker.reply(one, "$4\r\nslow\r\n");
    worker.settle();
    assert_eq!(worker.received(first), "$4\r\nslow\r\n");
    worker.gets(first, two);
    assert!(worker.new_links().is_empty());
    let counters = worker.machine.counters();
    assert_eq!((counters.logins, counters.clients_moved), (logins, 6));
    assert_eq!(worker.places(&mut registry), (6, 6));
}

#[test]
fn offline_instance_serves_its_clients_until_the_grace_ends() {
    let (mut registry, mut worker) = start(&[1]);
    let (client, one) = worker.login();
    worker.apply(registry.set(1, Status::Offline));
    worker.advance(GRACE_MS - 1_200);
    worker.gets(client, one);
    worker.advance(2_500);
    worker.send(client, "GET k");
    assert_eq!(worker.received(client), NO_INSTANCE);
    // The same instance is listed again.
    worker.apply(registry.set(1, Status::Ready));
    worker.send(client, "GET k");
    let again = worker.authenticates("ann", "pw");
    assert!(worker.requests(again).contains("GET"));
}

#[test]
fn client_without_an_instance_may_log_in_again_or_reset() {
    let (mut registry, mut worker) = start(&[1]);
    let (client, _) = worker.login();
    worker.apply(registry.remove(1));
    worker.settle();
    let other = worker.client_sends("AUTH bob pw");
    assert_eq!(worker.received(other), NO_INSTANCE);
    assert!(worker.closed(other));
    assert_eq!(worker.places(&mut registry), (1, 0));
    worker.apply(registry.set(2, Status::Ready));
    worker.send(client, "AUTH bob wrong");
    let verifier = worker.new_link();
    worker.open(verifier);
    worker.deliver(verifier, client, "-WRONGPASS invalid\r\n");
    worker.send(client, "GET k");
    let two = worker.authenticates("ann", "pw");
    worker.reply(two, "$-1\r\n");
    assert_eq!(worker.received(client), "$-1\r\n", "it is still ann");
    worker.apply(registry.remove(2));
    worker.settle();
    worker.send(client, "RESET");
    assert_eq!(worker.received(client), "+RESET\r\n");
    assert_eq!(worker.places(&mut registry), (0, 0));
}

#[test]
fn requests_in_flight_are_never_moved_to_another_instance() {
    let (mut registry, mut worker) = start(&[1]);
    let (client, one) = worker.login();
    worker.send(client, "INCR n");
    worker.send(client, "GET n");
    worker.requests(one);
    worker.apply(registry.set(2, Status::Ready));
    worker.apply(registry.remove(1));
    worker.fail(one, &Failure::Lost);
    worker.settle();
    let heard = worker.received(client);
    assert_eq!(heard.matches("outcome unknown").count(), 2, "{heard}");
    worker.advance(100);
    let two = worker.authenticates("ann", "pw");
    assert_eq!(worker.requests(two), "");
    worker.gets(client, two);
}

#[test]
fn clients_of_a_tenant_that_the_registry_drops_are_closed_after_the_grace() {
    let (mut registry, mut worker) = Registry::without_default(&[1]).start(first_worker);
    let client = worker.client();
    let user = format!("{}.ann", ClusterKey::local().tenant());
    worker.send(client, &format!("AUTH {user} pw"));
    let _one = worker.established();
    assert_eq!(worker.received(client), "+OK\r\n");
    worker.apply(registry.remove(1));
    worker.advance(GRACE_MS - 1_200);
    worker.send(client, "GET k");
    assert_eq!(worker.received(client), NO_INSTANCE);
    // It is listed again in time.
    worker.apply(registry.set(2, Status::Ready));
    worker.advance(2_500);
    let _probe = worker.established();
    worker.send(client, "GET k");
    let two = worker.authenticates("ann", "pw");
    worker.deliver(two, client, "$-1\r\n");
    worker.apply(registry.remove(2));
    worker.advance(GRACE_MS + 1_200);
    assert!(worker.closed(client));
    assert_eq!(worker.machine.counters().clients_left_behind, 1);
}
