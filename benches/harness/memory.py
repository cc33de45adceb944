"""What clients cost that do nothing, that come and go, and that were many for a moment."""

import selectors
import time

from .loads import prepare
from .processes import Failed
from .scenarios import Scenario, with_cpu
from .wire import Client, command

FIRST_CLIENTS = 1_000
# So many that pages and the growth of tables do not count.
IDLE_CLIENTS = 8_000
CHURN_CLIENTS = 5_000
BURST_CLIENTS = 5_000
STARTS = 5
# So many of them have asked at a time.
BURST_AT_ONCE = 200
VALUE_BYTES = 1 << 20


def idle(bench, peer):
    """Memory of clients that have logged in and asked once."""
    prepare(bench)
    with bench.started(peer) as running:
        Client(running.port, peer.login).close()
        start = running.settled_memory()
        # What the first clients make a proxy allocate once is not theirs.
        clients = idle_clients(running.port, [peer.login] * FIRST_CLIENTS)
        few = running.settled_memory()
        clients += idle_clients(running.port, [peer.login] * IDLE_CLIENTS)
        beside = running.settled_memory()
        for client in clients:
            client.close()
        after = running.settled_memory()
        return {"per client": (beside - few) / IDLE_CLIENTS, "start": start, "after": after}


def idle_clients(port, logins):
    """A client for each login, that has asked once."""
    clients = []
    for login in logins:
        clients.append(Client(port, login))
        clients[-1].call("GET", "none")
    return clients


def churn(bench, peer):
    """CPU per client that connects, logs in where the peer knows that, asks once and goes."""
    return come_and_go(bench, peer, peer.login)


def churn_plain(bench, peer):
    """The same without a login: the same work for every peer."""
    return come_and_go(bench, peer, None)


def come_and_go(bench, peer, login):
    prepare(bench)
    count = CHURN_CLIENTS // bench.part

    def load():
        begin = time.monotonic()
        for _ in range(count):
            client = Client(running.port, login)
            client.call("GET", "none")
            client.close()
        return {"operations": count, "throughput": count / (time.monotonic() - begin)}

    with bench.started(peer) as running:
        Client(running.port, login).close()
        return with_cpu(bench, running, load)


def burst(bench, peer):
    """Memory after many clients with a reply of 1 MB each have gone."""
    prepare(bench)
    Client(bench.backend.port).call("SET", "value", b"v" * VALUE_BYTES)
    with bench.started(peer) as running:
        Client(running.port, peer.login).close()
        start = running.settled_memory()
        clients = [Client(running.port, peer.login) for _ in range(BURST_CLIENTS // bench.part)]
        for at in range(0, len(clients), BURST_AT_ONCE):
            fetch_all(clients[at : at + BURST_AT_ONCE])
        for client in clients:
            client.close()
        after, peak = running.settled_memory(), running.memory("VmHWM")
        return {"start": start, "peak": peak, "after": after, "times": after / start}


def fetch_all(clients):
    """All of these ask for the value at once and read it as it comes."""
    request, buffer = command("GET", "value"), bytearray(1 << 20)
    with selectors.DefaultSelector() as selector:
        for client in clients:
            client.socket.sendall(request)
            client.left = len(b"$%d\r\n\r\n" % VALUE_BYTES) + VALUE_BYTES
            selector.register(client.socket, selectors.EVENT_READ, client)
        while selector.get_map():
            ready = selector.select(30)
            if not ready:
                raise Failed("replies of 1 MB do not come")
            for key, _ in ready:
                client = key.data
                count = client.socket.recv_into(buffer)
                if not count:
                    raise Failed("closed in the midst of a reply of 1 MB")
                client.left -= count
                if not client.left:
                    selector.unregister(client.socket)


def start_up(bench, peer):
    """From exec to the first reply, and what the program is then."""
    with bench.started(peer) as running:
        binary = running.binary_bytes()
    took = []
    for _ in range(STARTS):
        begin = time.perf_counter()
        running = peer.start(bench.processes, bench.backend, wait=False)
        try:
            first_reply(running, begin + 20)
            took.append((time.perf_counter() - begin) * 1e3)
            if len(took) == STARTS:
                start = running.settled_memory()
        finally:
            bench.processes.stop(running)
    return {"first reply": sorted(took)[STARTS // 2], "binary": binary, "start": start}


def first_reply(running, end):
    while time.perf_counter() < end:
        try:
            client = Client(running.port)
            client.call("GET", "none")
            return client.close()
        except OSError:
            time.sleep(0.0002)
    raise Failed("no reply after the start")


def scenarios():
    yield Scenario("churn", "Clients that connect, log in, ask once and go", churn)
    yield Scenario("churn-plain", "Clients that connect, ask once and go", churn_plain)
    yield Scenario("idle", "Idle clients that have asked once", idle, rounds=1)
    yield Scenario("burst", "After 5,000 clients with replies of 1 MB", burst, rounds=1)
    yield Scenario("start-up", "Start", start_up, proxies=True, rounds=1)
