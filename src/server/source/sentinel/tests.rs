//! Sentinels that lie, hang, restart or answer nothing, played by servers of the test.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;

use super::super::super::primaries::Wanted;
use super::super::now;
use super::*;
use crate::config::{Config, HostPort};

const PATIENCE: Duration = Duration::from_secs(20);

/// What a server of the test does with commands.
#[derive(Clone)]
enum Mode {
    /// It answers with these bytes. AUTH, PING and SUBSCRIBE succeed.
    Answers(String),
    /// It reads, and answers nothing.
    Hangs,
    /// It closes connections.
    Down,
}

/// A server of the test: a sentinel, or a server that is asked for its role.
#[derive(Clone)]
struct Fake {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    mode: Mode,
    /// The commands so far.
    commands: Vec<String>,
    /// All connections, and whether they are subscribed.
    connections: Vec<(TcpStream, bool)>,
}

impl Fake {
    fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new(State {
                mode,
                commands: Vec::new(),
                connections: Vec::new(),
            })),
        };
        let accepting = fake.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = accepting.clone();
                let mut state = accepting.state.lock().unwrap();
                if !matches!(state.mode, Mode::Down) {
                    let number = state.connections.len();
                    state.connections.push((stream.try_clone().unwrap(), false));
                    thread::spawn(move || serving.serve(stream, number));
                }
            }
        });
        fake
    }

    /// A server with this role.
    fn server(role: &str) -> Self {
        Self::start(Mode::Answers(role_reply(role)))
    }

    /// A sentinel that names this server.
    fn sentinel(of: &Self) -> Self {
        Self::start(of.named())
    }

    /// What a sentinel answers that names this server.
    fn named(&self) -> Mode {
        let port = self.address.port().to_string();
        let len = port.len();
        Mode::Answers(format!("*2\r\n$9\r\n127.0.0.1\r\n${len}\r\n{port}\r\n"))
    }

    fn set(&self, mode: Mode) {
        let mut state = self.state.lock().unwrap();
        if let Mode::Down = mode {
            for (stream, _) in state.connections.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        state.mode = mode;
    }

    /// Sends a message to the subscribers.
    fn announce(&self) {
        let state = self.state.lock().unwrap();
        let message = "*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$1\r\nx\r\n";
        for (stream, _) in state.connections.iter().filter(|(_, it)| *it) {
            let _ = { stream }.write_all(message.as_bytes());
        }
    }

    /// How many commands of this kind came.
    fn count(&self, command: &str) -> usize {
        let state = self.state.lock().unwrap();
        let found = state.commands.iter().filter(|it| it.starts_with(command));
        found.count()
    }

    fn serve(self, stream: TcpStream, number: usize) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(command) = read_command(&mut reader) {
            let mut state = self.state.lock().unwrap();
            state.commands.push(command.clone());
            let reply = match (&state.mode, command.split(' ').next().unwrap()) {
                (Mode::Hangs | Mode::Down, _) => continue,
                (_, "AUTH") => "+OK\r\n",
                (_, "PING") => "+PONG\r\n",
                (_, "SUBSCRIBE") => "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n",
                (Mode::Answers(reply), _) => reply,
            };
            let _ = { &stream }.write_all(reply.as_bytes());
            if command.starts_with("SUBSCRIBE")
                && let Some(connection) = state.connections.get_mut(number)
            {
                connection.1 = true;
            }
        }
    }
}

fn role_reply(role: &str) -> String {
    format!("*3\r\n${}\r\n{role}\r\n:0\r\n*0\r\n", role.len())
}

/// The words of the next command. `None` at the end.
fn read_command(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let number = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        line.get(1..)?.trim_end().parse::<usize>().ok()
    };
    let words = number(reader)?;
    let words = (0..words).map(|_| {
        let mut word = vec![0; number(reader)? + 2];
        reader.read_exact(&mut word).ok()?;
        word.truncate(word.len() - 2);
        String::from_utf8(word).ok()
    });
    Some(words.collect::<Option<Vec<_>>>()?.join(" "))
}

/// The threads that follow sentinels of the test, for a primary with the name `m`.
struct Fixture {
    sentinels: Sentinels,
    updates: Receiver<Update>,
}

impl Fixture {
    fn start(fakes: &[Fake]) -> Self {
        Self::with(fakes, |_| {})
    }

    fn with(fakes: &[Fake], change: impl FnOnce(&mut Router)) -> Self {
        let mut router = Config::default().router;
        let addresses = fakes.iter().map(|it| HostPort {
            host: it.address.ip().to_string(),
            port: it.address.port(),
        });
        router.sentinels = addresses.collect();
        change(&mut router);
        let (sender, updates) = channel();
        let sentinels = Sentinels::start(&router, &sender).unwrap().unwrap();
        let fixture = Self { sentinels, updates };
        fixture.wants(Wanted::Names(BTreeSet::from(["m".to_owned()])));
        fixture
    }

    fn wants(&self, wanted: Wanted) {
        self.sentinels.events.send(Event::Wanted(wanted)).unwrap();
    }

    /// The next update must be that this server is the primary.
    #[track_caller]
    fn expect(&self, primary: &Fake) {
        match self.updates.recv_timeout(PATIENCE).unwrap() {
            Update::Primary(name, address) => {
                assert_eq!((name.as_str(), address), ("m", primary.address));
            }
            other => panic!("{other:?}"),
        }
    }

    /// No update comes while these sentinels are asked several times more.
    #[track_caller]
    fn expect_nothing(&self, asked: &[&Fake]) {
        for sentinel in asked {
            let enough = sentinel.count("SENTINEL") + 3;
            self.ask_until(|| sentinel.count("SENTINEL") >= enough);
        }
        assert!(self.updates.try_recv().is_err());
    }

    /// Has the sentinels asked until a condition holds.
    #[track_caller]
    fn ask_until(&self, mut holds: impl FnMut() -> bool) {
        let until = now() + PATIENCE;
        while !holds() {
            assert!(now() < until, "waited in vain");
            self.wants(Wanted::Now);
            thread::yield_now();
        }
    }

    fn up(&self) -> Vec<bool> {
        let sentinels = self.sentinels.stats().sentinels();
        sentinels.into_iter().map(|(_, up)| up).collect()
    }
}

/// Three sentinels that name the first of two servers.
fn three() -> (Fake, Fake, [Fake; 3]) {
    let (one, two) = (Fake::server("master"), Fake::server("master"));
    let sentinels = [(); 3].map(|()| Fake::sentinel(&one));
    (one, two, sentinels)
}

#[test]
fn primary_changes_when_most_sentinels_say_so() {
    let (one, two, sentinels) = three();
    let fixture = Fixture::start(&sentinels);
    fixture.expect(&one);
    assert_eq!(fixture.sentinels.stats().switches(), 0);
    sentinels[2].set(two.named());
    fixture.expect_nothing(&[&sentinels[0], &sentinels[2]]);
    sentinels[0].set(two.named());
    fixture.expect(&two);
    let stats = fixture.sentinels.stats();
    assert_eq!((stats.switches(), stats.unknown()), (1, 0));
}

#[test]
fn announcement_makes_the_proxy_ask_all_sentinels() {
    let (one, two, sentinels) = three();
    let fixture = Fixture::start(&sentinels);
    fixture.expect(&one);
    let until = now() + PATIENCE;
    while sentinels.iter().any(|it| it.count("SUBSCRIBE") == 0) {
        assert!(now() < until);
        thread::yield_now();
    }
    for sentinel in &sentinels {
        sentinel.set(two.named());
    }
    sentinels[1].announce();
    fixture.expect(&two);
}

#[test]
fn one_bad_sentinel_of_three_changes_nothing() {
    let (one, two, sentinels) = three();
    let fixture = Fixture::start(&sentinels);
    fixture.expect(&one);
    let bad = [
        two.named(),
        Mode::Answers("*-1\r\n".into()),
        Mode::Answers("-NOPERM no\r\n".into()),
        Mode::Answers("HTTP/1.1 400 Bad Request\r\n\r\n".into()),
        Mode::Answers("*2\r\n+OK\r\n".into()),
        Mode::Down,
        Mode::Hangs,
    ];
    for mode in bad {
        sentinels[1].set(mode);
        fixture.expect_nothing(&[&sentinels[0], &sentinels[2]]);
    }
    // The others can still replace the primary.
    sentinels[0].set(two.named());
    sentinels[2].set(two.named());
    fixture.expect(&two);
    sentinels[1].set(one.named());
    fixture.ask_until(|| fixture.up() == [true; 3]);
    fixture.expect_nothing(&[&sentinels[1]]);
}

#[test]
fn last_known_primary_stays_while_most_sentinels_are_down() {
    let (one, two, sentinels) = three();
    let fixture = Fixture::start(&sentinels);
    fixture.expect(&one);
    for sentinel in &sentinels {
        sentinel.set(Mode::Down);
    }
    fixture.ask_until(|| fixture.up() == [false; 3]);
    sentinels[0].set(two.named());
    fixture.ask_until(|| fixture.up() == [true, false, false]);
    fixture.expect_nothing(&[&sentinels[0]]);
    sentinels[1].set(two.named());
    fixture.expect(&two);
}

#[test]
fn replica_is_not_published_until_it_is_the_primary() {
    let (one, two, sentinels) = three();
    let fixture = Fixture::start(&sentinels);
    fixture.expect(&one);
    for mode in [
        Mode::Answers(role_reply("slave")),
        Mode::Answers("-LOADING x\r\n".into()),
        Mode::Down,
    ] {
        two.set(mode);
        for sentinel in &sentinels {
            sentinel.set(two.named());
        }
        fixture.expect_nothing(&[&sentinels[0], &sentinels[1], &sentinels[2]]);
    }
    two.set(Mode::Answers(role_reply("master")));
    fixture.expect(&two);
}

#[test]
fn server_that_tells_its_role_only_after_a_login_is_trusted() {
    let server = Fake::start(Mode::Answers("-NOAUTH Authentication required.\r\n".into()));
    let fixture = Fixture::start(&[Fake::sentinel(&server)]);
    fixture.expect(&server);
    assert_eq!(server.count("ROLE"), 1);
}

#[test]
fn proxy_logs_in_to_sentinels() {
    let server = Fake::server("master");
    let sentinel = Fake::sentinel(&server);
    let fixture = Fixture::with(std::slice::from_ref(&sentinel), |router| {
        router.sentinel_user = Some("proxy".to_owned());
        router.sentinel_password = Some("s3cret".into());
    });
    fixture.expect(&server);
    assert!(sentinel.count("AUTH proxy s3cret") > 0);
    assert_eq!(server.count("AUTH"), 0);
}

#[test]
fn threads_end_with_the_sentinels() {
    let (one, _, sentinels) = three();
    sentinels[2].set(Mode::Hangs);
    let Fixture { sentinels, updates } = Fixture::start(&sentinels);
    assert!(matches!(
        updates.recv_timeout(PATIENCE),
        Ok(Update::Primary(_, address)) if address == one.address
    ));
    drop(sentinels);
    let end = updates.recv_timeout(PATIENCE).unwrap_err();
    assert_eq!(end, RecvTimeoutError::Disconnected);
}
