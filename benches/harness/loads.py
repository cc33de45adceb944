"""Scenarios whose load is redis-benchmark's: sizes, pipelines, numbers of clients, users."""

import re
import signal
import subprocess
from functools import partial

from . import benchmark
from .peers import PASSWORD, TENANT, USERS
from .processes import Failed, wait_for
from .scenarios import Scenario, with_cpu
from .wire import Client

LIST_ELEMENTS = 100
ELEMENT_BYTES = 32
# Tracing is slow; opening the connections must not weigh much in it, though.
STRACE_PART = 5


class Load:
    """The arguments of redis-benchmark."""

    def __init__(self, clients, pipeline, requests, size=32, more=None):
        self.clients, self.pipeline, self.requests = clients, pipeline, requests
        # Of a hundred MB of values at most, so that they fit anywhere.
        keys = max(10, min(100_000, 100_000_000 // size))
        self.more = more or ["-t", "set,get", "-d", size, "-r", keys]

    def lines(self, running, login, part=1):
        """The command lines; `part` divides the number of requests."""
        requests = max(self.requests // part, self.clients * self.pipeline)
        return [
            benchmark.words(
                running.port, login, self.clients, self.pipeline, requests, self.more
            )
        ]


class UsersAndDatabases(Load):
    """The same from 3 users in 2 databases each, at once."""

    def lines(self, running, login, part=1):
        tenant = f"{TENANT}." if "." in login[0] else ""
        return [
            benchmark.words(
                running.port,
                (tenant + user, PASSWORD),
                self.clients // 6,
                self.pipeline,
                self.requests // part // 6,
                [*self.more, "--dbnum", database],
            )
            for user in USERS
            for database in (0, 1)
        ]


def measure(load, bench, peer):
    with bench.started(peer) as running:
        prepare(bench)
        lines = load.lines(running, peer.login, bench.part)
        return with_cpu(bench, running, lambda: benchmark.run(lines))


def prepare(bench):
    """An empty backend but for one list."""
    client = Client(bench.backend.port)
    client.call("FLUSHALL")
    client.call("RPUSH", "list", *["e" * ELEMENT_BYTES] * LIST_ELEMENTS)
    client.close()


def system_calls(load, bench, peer):
    """System calls per operation, by `strace -c -f`; not timed, as it slows everything down."""
    out = bench.folder / "strace.txt"
    with bench.started(peer) as running:
        prepare(bench)
        lines = load.lines(running, peer.login, STRACE_PART * bench.part)
        words = ["strace", "-c", "-f", "-p", str(running.pid), "-o", str(out)]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        strace = subprocess.Popen(words, **pipes)
        try:
            wait_for(lambda: traced(running.pid, strace.pid), 5, "strace follows")
            count = benchmark.run(lines)["operations"]
        finally:
            strace.send_signal(signal.SIGINT)
            strace.wait()
    total = re.search(r"^100\.00 +[\d.]+ +\d+ +(\d+)", out.read_text(), re.MULTILINE)
    if not total:
        raise Failed("strace counted nothing")
    return {"calls": int(total[1]) / count}


def traced(pid, tracer):
    with open(f"/proc/{pid}/status") as status:
        return f"TracerPid:\t{tracer}\n" in status.read()


PAIRS = [word for n in range(100) for word in (f"m{n}:__rand_int__", "v" * ELEMENT_BYTES)]
MSET = ["-r", 1000, "MSET", *PAIRS]
LRANGE = ["LRANGE", "list", 0, LIST_ELEMENTS - 1]
RESP3 = ["-3", "-t", "set,get", "-d", 32, "-r", 100_000]

# Those in which system calls are counted; the first three in a quick run.
TRACED = ("p1-c50", "p16-c50", "v1m-c4", "p1-c500", "p100-c10", "v16k-c50", "mset-100")

LOADS = {
    "p1-c50": ("50 clients, one request at a time", Load(50, 1, 60_000)),
    "p1-c500": ("500 clients, one request at a time", Load(500, 1, 60_000)),
    "p1-c1": ("1 client, one request at a time", Load(1, 1, 5_000)),
    "p16-c50": ("50 clients, 16 requests at a time", Load(50, 16, 400_000)),
    "p100-c10": ("10 clients, 100 requests at a time", Load(10, 100, 500_000)),
    "v16k-c50": ("50 clients, values of 16 KB", Load(50, 1, 30_000, 16 << 10)),
    "v64k-c50": ("50 clients, values of 64 KB", Load(50, 1, 10_000, 64 << 10)),
    "v1m-c4": ("4 clients, values of 1 MB", Load(4, 1, 1_000, 1 << 20)),
    "mset-100": ("50 clients, MSET of 100 keys", Load(50, 1, 15_000, more=MSET)),
    "lrange-100": ("50 clients, LRANGE of 100 elements", Load(50, 1, 40_000, more=LRANGE)),
    "resp3-c50": ("50 clients with RESP3", Load(50, 1, 40_000, more=RESP3)),
    "users-3x2": ("3 users in 2 databases each, 8 clients each", UsersAndDatabases(48, 1, 60_000)),
}



def scenarios():
    for name, (title, load) in LOADS.items():
        users = isinstance(load, UsersAndDatabases)
        yield Scenario(name, title, partial(measure, load), load=load, users=users)
