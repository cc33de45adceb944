//! The directory between a registry, a resolver and workers that the test plays.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::*;
use crate::cluster::{ALIAS_LABEL, ClusterKey, ClusterRegistry, Endpoint, MemoryRegistry};
use crate::cluster::{Snapshot, Status};
use crate::proxy::News;
use crate::reactor::poll_and_inbox;

const PATIENCE: Duration = Duration::from_secs(20);

/// A directory that runs, and the one worker it tells.
struct Desk {
    facts: Sender<Fact>,
    mail: Receiver<Message>,
    /// The worker's end of the inbox; without it the inbox cannot be woken.
    _poll: mio::Poll,
    board: Arc<Board>,
}

fn instance(id: &str, addr: &str) -> ClusterInstance {
    let endpoint = Endpoint {
        addr: addr.into(),
        port: 6379,
        name: "redis".into(),
    };
    ClusterInstance::new(ClusterKey::local(), id, endpoint)
}

fn listing(instances: &[ClusterInstance]) -> Listing {
    let registry = MemoryRegistry::new();
    registry.add_cluster(ClusterKey::local()).unwrap();
    for instance in instances {
        registry.status_change(instance.clone()).unwrap();
    }
    crate::server::registry::read(&registry)
}

impl Desk {
    fn start(first: &[ClusterInstance], lookup: Lookup) -> Self {
        let (facts, told) = channel();
        let (poll, inbox, mail) = poll_and_inbox().unwrap();
        let board = Arc::new(Board::new(1));
        let directory = Directory::new(
            (facts.clone(), told),
            None,
            listing(first),
            Default::default(),
            Arc::clone(&board),
            lookup,
        );
        std::thread::spawn(move || directory.run(&[inbox]));
        Self {
            facts,
            mail,
            _poll: poll,
            board,
        }
    }

    fn list(&self, instances: &[ClusterInstance]) {
        self.facts.send(Fact::Listing(listing(instances))).unwrap();
    }

    fn picture(&self) -> Arc<Snapshot> {
        match self.mail.recv_timeout(PATIENCE) {
            Ok(Message::Snapshot(snapshot)) => snapshot,
            other => panic!("{other:?}"),
        }
    }
}

/// What a picture says of each instance.
fn seen(snapshot: &Snapshot) -> Vec<String> {
    let instances = snapshot.tenants().flat_map(|tenant| &tenant.instances);
    let words = instances.map(|it| {
        let addresses: Vec<String> = it.addresses.iter().map(ToString::to_string).collect();
        format!(
            "{} {} {} {}",
            it.id,
            it.status,
            it.health,
            addresses.join(",")
        )
    });
    words.collect()
}

fn nobody() -> Lookup {
    Arc::new(|name| panic!("{name} is no name"))
}

#[test]
fn changes_of_the_registry_are_passed_on() {
    let desk = Desk::start(&[instance("a", "10.0.0.1")], nobody());
    assert_eq!(
        seen(&desk.board.snapshot()),
        ["a ready unknown 10.0.0.1:6379"]
    );
    let mut a = instance("a", "10.0.0.1");
    a.status = Status::Offline;
    desk.list(&[a.clone(), instance("b", "::1")]);
    let both = [
        "a offline unknown 10.0.0.1:6379",
        "b ready unknown [::1]:6379",
    ];
    let picture = desk.picture();
    assert_eq!(seen(&picture), both);
    assert_eq!(seen(&desk.board.snapshot()), both);
    // What tells nothing new makes no picture.
    desk.list(&[a, instance("b", "::1")]);
    desk.list(&[]);
    let next = desk.picture();
    assert_eq!(
        (seen(&next).len(), next.version()),
        (0, picture.version() + 1)
    );
    assert_eq!(next.tenants().count(), 1, "the cluster is still there");
}

#[test]
fn what_workers_say_is_in_the_next_picture() {
    let desk = Desk::start(&[instance("a", "10.0.0.1")], nobody());
    let report = |news| {
        let report = Report {
            instance: "a".into(),
            tenant: ClusterKey::local().tenant().to_string(),
            address: "10.0.0.1:6379".into(),
            news,
        };
        desk.facts.send(Fact::Report(0, report)).unwrap();
    };
    assert!(desk.board.usable().is_err());
    report(News::Up);
    assert_eq!(seen(&desk.picture()), ["a ready up 10.0.0.1:6379"]);
    assert_eq!(desk.board.usable(), Ok(()));
    report(News::Degraded("LOADING".into()));
    assert_eq!(seen(&desk.picture()), ["a ready degraded 10.0.0.1:6379"]);
    assert_eq!(desk.board.usable(), Ok(()));
    report(News::Down("connection refused".into()));
    assert_eq!(seen(&desk.picture()), ["a ready down 10.0.0.1:6379"]);
    let why = desk.board.usable().unwrap_err();
    assert_eq!(why, "none of 1 instances that are ready or online answers");
}

/// The answer for `slow` comes when the test says so.
#[test]
fn a_name_that_hangs_delays_no_other_change() {
    let (answer, asked) = channel::<&str>();
    let asked = Mutex::new(asked);
    let lookup: Lookup = Arc::new(move |name| {
        let ip = match name {
            "quick" => "10.0.0.2",
            _ => asked.lock().unwrap().recv().map_err(io::Error::other)?,
        };
        Ok(vec![SocketAddr::new(ip.parse().unwrap(), 0)])
    });
    let desk = Desk::start(&[], lookup);
    desk.list(&[instance("a", "slow"), instance("b", "quick")]);
    let first = ["a ready down ", "b ready unknown 10.0.0.2:6379"];
    assert_eq!(seen(&desk.picture()), first);
    desk.list(&[instance("a", "slow"), instance("b", "10.0.0.3")]);
    let second = ["a ready down ", "b ready unknown 10.0.0.3:6379"];
    assert_eq!(seen(&desk.picture()), second);
    answer.send("10.0.0.1").unwrap();
    let third = [
        "a ready unknown 10.0.0.1:6379",
        "b ready unknown 10.0.0.3:6379",
    ];
    assert_eq!(seen(&desk.picture()), third);
}

#[test]
fn the_first_picture_has_the_addresses_of_names() {
    let lookup: Lookup = Arc::new(|_| Ok(vec!["10.0.0.9:0".parse().unwrap()]));
    let desk = Desk::start(&[instance("a", "redis")], lookup);
    assert_eq!(
        seen(&desk.board.snapshot()),
        ["a ready unknown 10.0.0.9:6379"]
    );
}

#[test]
fn new_rules_are_in_the_next_picture() {
    let mut a = instance("a", "10.0.0.1");
    a.labels.insert("limit.clients".into(), "7".into());
    let desk = Desk::start(&[a], nobody());
    let clients = |snapshot: &Snapshot| snapshot.tenants().next().unwrap().limits.clients;
    assert_eq!(clients(&desk.board.snapshot()), Some(7));
    let tenant = ClusterKey::local().tenant();
    let rules = format!(r#"{{"tenants":{{"{tenant}":{{"clients":3}}}}}}"#);
    let rules = TenantRules::from_json(&rules).unwrap();
    desk.facts.send(Fact::Rules(rules.clone())).unwrap();
    assert_eq!(clients(&desk.picture()), Some(3));
    desk.facts.send(Fact::Rules(rules)).unwrap();
    desk.facts
        .send(Fact::Rules(TenantRules::default()))
        .unwrap();
    assert_eq!(clients(&desk.picture()), Some(7));
}

/// A cluster that waits for a name gets it when the other one gives it up.
#[test]
fn an_alias_goes_to_the_cluster_that_was_refused_it() {
    let named = |name: &str, alias: &str| {
        let mut instance = instance("a", "10.0.0.1");
        instance.key.name.name = name.into();
        instance.labels.insert(ALIAS_LABEL.into(), alias.into());
        let tenant = instance.key.tenant();
        let clusters = [instance.key.clone()].into();
        let instances = [("a".into(), instance)].into();
        let listed = Listed {
            clusters,
            instances,
            ..Listed::default()
        };
        Fact::Tenant(tenant, listed)
    };
    let desk = Desk::start(&[], nobody());
    let owner = |snapshot: &Snapshot| snapshot.tenant(b"shop").map(|it| it.key.clone());
    let key = |fact: &Fact| match fact {
        Fact::Tenant(tenant, _) => Some(tenant.clone()),
        _ => None,
    };
    let (first, second) = (named("one", "shop"), named("two", "shop"));
    let (one, two) = (key(&first), key(&second));
    desk.facts.send(first).unwrap();
    assert_eq!(owner(&desk.picture()), one);
    desk.facts.send(second).unwrap();
    assert_eq!(owner(&desk.picture()), one);
    assert_eq!(desk.board.names_refused(), 1);
    desk.facts.send(named("one", "store")).unwrap();
    assert_eq!(owner(&desk.picture()), two);
    assert_eq!(desk.board.names_refused(), 0);
}

#[test]
fn ten_thousand_instances_are_a_list_like_any_other() {
    let name = |n: u32| format!("{:05}", n);
    let addr = |n: u32| std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
    let many: Vec<_> = (0..10_000).map(|n| instance(&name(n), &addr(n))).collect();
    let desk = Desk::start(&many, nobody());
    assert_eq!(seen(&desk.board.snapshot()).len(), 10_000);
    for n in 0..10_000 {
        let report = Report {
            instance: name(n),
            tenant: ClusterKey::local().tenant().to_string(),
            address: String::new(),
            news: News::Up,
        };
        desk.facts.send(Fact::Report(0, report)).unwrap();
    }
    let mut pictures = 1;
    while !seen(&desk.picture()).iter().all(|it| it.contains(" up ")) {
        pictures += 1;
    }
    assert!(pictures < 1_000, "{pictures} pictures for 10,000 reports");
}

#[test]
fn names_of_a_cluster_that_is_not_listed_are_freed_at_once() {
    let desk = Desk::start(&[], nobody());
    assert!(desk.board.owners().owner("yigF5wkxq44").is_some());
    desk.facts.send(Fact::Listing(Listing::default())).unwrap();
    assert_eq!(desk.picture().tenants().count(), 0);
    assert!(desk.board.owners().owner("yigF5wkxq44").is_some());
    // No listing comes after this.
    desk.facts.send(Fact::Release(ClusterKey::local())).unwrap();
    desk.picture();
    assert!(desk.board.owners().owner("yigF5wkxq44").is_none());
}

#[test]
fn it_ends_when_told_to() {
    let desk = Desk::start(&[], nobody());
    desk.facts.send(Fact::Stop).unwrap();
    let Err(end) = desk.mail.recv_timeout(PATIENCE) else {
        panic!("a message");
    };
    assert_eq!(end, RecvTimeoutError::Disconnected);
}

/// Workers that never saw it go do not tell again.
#[test]
fn an_instance_that_comes_back_before_the_next_picture_never_went() {
    let (facts, told) = channel();
    let board = Arc::new(Board::new(1));
    let a = [instance("a", "10.0.0.1")];
    let mut directory = Directory::new(
        (facts, told),
        None,
        listing(&a),
        Default::default(),
        Arc::clone(&board),
        nobody(),
    );
    let (tenant, id) = (ClusterKey::local().tenant(), InstanceId::from("a"));
    let health = || board.desk().health(&tenant, &id).0;
    let report = Report {
        instance: "a".into(),
        tenant: tenant.to_string(),
        address: "10.0.0.1:6379".into(),
        news: News::Up,
    };
    let now = now();
    directory.take(Fact::Report(0, report), now);
    directory.take(Fact::Listing(listing(&[])), now);
    directory.take(Fact::Listing(listing(&a)), now);
    directory.show();
    assert_eq!(health(), Health::Up);
    directory.take(Fact::Listing(listing(&[])), now);
    directory.show();
    directory.take(Fact::Listing(listing(&a)), now);
    directory.show();
    assert_eq!(health(), Health::Unknown);
}
