"""What an operation costs Elika beside many clients, among many tenants, and on two workers."""

import json
from functools import partial

from . import benchmark
from .loads import Load, prepare
from .memory import idle_clients
from .peers import CLIENTS_MAX, PASSWORD, USER
from .processes import CORES, Failed
from .scenarios import Scenario, with_cpu
from .wire import command

IDLE_CLIENTS = min(8_000, CLIENTS_MAX - 200)
TENANTS = 1_000
# Rounds of a request from each tenant.
SPREAD_ROUNDS = 40

LOAD = Load(50, 1, 60_000)
PIPELINES = Load(50, 16, 400_000)


def cost(bench, running, login, load=LOAD):
    lines = load.lines(running, login, bench.part)
    return with_cpu(bench, running, partial(benchmark.run, lines))


def beside_idle_clients(bench, peer):
    prepare(bench)
    with bench.started(peer) as running:
        alone = cost(bench, running, peer.login)
        clients = idle_clients(running.port, [peer.login] * IDLE_CLIENTS)
        beside = cost(bench, running, peer.login)
        for client in clients:
            client.close()
        running.settled_memory()
        again = cost(bench, running, peer.login)
        return compared({"cpu": (alone["cpu"] + again["cpu"]) / 2}, beside)


def compared(alone, beside):
    times = beside["cpu"] / alone["cpu"]
    return {"cpu": beside["cpu"], "alone": alone["cpu"], "times": times}


def with_tenants(bench, peer, count):
    """Elika with so many tenants, which share one backend."""
    file = bench.folder / f"clusters-{count}.json"
    file.write_text(json.dumps([cluster(f"t{n}", bench.backend.port) for n in range(count)]))
    words = ["--router.type=sync", f"--router.file={file}", "--core-num=1"]
    return peer.start_with(bench.processes, [*words, "--limit.logins-per-second=100000"])


def cluster(name, port):
    key = {
        "name": {"namespace": "bench", "name": name},
        "location": {"region": "r", "availability_zone": "z", "node_name": "n"},
    }
    instance = {
        "id": "one",
        "labels": {"tenant": name},
        "endpoints": [{"addr": "127.0.0.1", "port": port, "name": "redis"}],
        "status": "ready",
    }
    return {**key, "instances": [instance]}


def login(tenant):
    return (f"t{tenant}.{USER}", PASSWORD)


def among_tenants(bench, peer):
    """One tenant's load alone, and while 999 others each have a client that has asked."""
    prepare(bench)
    costs = []
    for count in (1, TENANTS):
        running = with_tenants(bench, peer, count)
        try:
            clients = idle_clients(running.port, map(login, range(count)))
            costs.append(cost(bench, running, login(0)))
        finally:
            bench.processes.stop(running)
    return compared(*costs)


def of_all_tenants(bench, peer):
    """1,000 clients ask in turn: all of one tenant, and each of another.

    Of 1,000 tenants none shares a connection to the backend with another, so that requests of a
    turn cannot go out together: this is what sharing saves.
    """
    prepare(bench)
    costs = []
    running = with_tenants(bench, peer, TENANTS)
    try:
        for tenants in (1, TENANTS):
            logins = [login(n % tenants) for n in range(TENANTS)]
            clients = idle_clients(running.port, logins)
            load = partial(ask_in_turn, clients, max(5, SPREAD_ROUNDS // bench.part))
            costs.append(with_cpu(bench, running, load)["cpu"])
            for client in clients:
                client.close()
    finally:
        bench.processes.stop(running)
    one, many = costs
    return {"one tenant": one, "many tenants": many, "times": many / one}


def ask_in_turn(clients, rounds):
    request = command("GET", "none")
    for _ in range(rounds):
        for client in clients:
            client.socket.sendall(request)
        for client in clients:
            if client.reply() is not None:
                raise Failed("a wrong reply")
    return {"operations": rounds * len(clients)}


def workers(bench, peer):
    """One worker and two, with all cores to choose from; CPU is that of two, `alone` of one."""
    prepare(bench)
    figures = []
    for count in (1, 2):
        words = [f"--core-num={count}", f"--router.static-be=127.0.0.1:{bench.backend.port}"]
        running = peer.start_with(bench.processes, words, CORES)
        try:
            figures.append(cost(bench, running, peer.login, PIPELINES))
        finally:
            bench.processes.stop(running)
    one, two = figures
    speeds = {"one worker": one["throughput"], "two workers": two["throughput"]}
    return {**compared(one, two), **speeds}


def scenarios():
    for name, title, measure in (
        ("idle-8000", f"50 clients beside {IDLE_CLIENTS:,} idle ones", beside_idle_clients),
        ("tenants-1000", "50 clients of one tenant among 1,000", among_tenants),
        ("tenants-all", "1,000 clients, each of another tenant", of_all_tenants),
        ("workers-2", "50 clients, 16 requests at a time, two workers", workers),
    ):
        yield Scenario(name, title, measure, elika=True)
