"""Small GETs of one client beside neighbours that take more than their share.

Neighbours run in processes of their own, so that they do not hold up the client that measures. But
those that fetch as fast as they can are threads beside it, as in a program that wants small and big
values at once: they share the time they get, whether a proxy or Redis itself keeps them busy. All
neighbours must be served to the end, with the right bytes: whoever gives up on them has failed.
"""

import contextlib
import multiprocessing
import os
import queue
import threading
import time
from functools import partial

from .processes import CORES, LOAD_CORE, Failed
from .scenarios import Scenario
from .wire import Client, command

BIG = 20_000_000
PATTERN = b"0123456789abcdef" * (BIG // 16)
SMALL = b"hello"

SLOW_READERS = 10
# Each of them reads so much every tenth of a second while GETs are measured, then all the rest.
SLOW_READ = 20_000
FETCHERS = 2
FETCH_PAUSE = 0.001
SENT_SLOWLY = 100_000
BLOCKED = 20
PIPELINED = 100_000

QUIET_SECONDS, BESIDE_SECONDS = 0.8, 1.5
END_SECONDS = 40

FORK = multiprocessing.get_context("fork")


class Neighbour:
    """Somebody who behaves in some way until told to stop, and then says how many were served."""

    def __init__(self, behave, port, login):
        kinds = (threading.Event, queue.Queue, threading.Thread)
        if behave is not fetcher:
            kinds = (FORK.Event, FORK.Queue, FORK.Process)
        event, results, process = kinds
        self.begun, self.over, self.results = event(), event(), results()
        self.process = process(target=self.run, args=(behave, port, login), daemon=True)
        self.process.start()

    def run(self, behave, port, login):
        try:
            self.results.put(behave(port, login, self.begun.set, self.over))
        except (Failed, OSError) as why:
            self.results.put(str(why) or type(why).__name__)
        finally:
            self.begun.set()

    def end(self):
        """How many were served; raises what went wrong."""
        self.over.set()
        try:
            told = self.results.get(timeout=END_SECONDS)
        except queue.Empty:
            raise Failed(f"not served within {END_SECONDS} s") from None
        finally:
            self.give_up()
        if isinstance(told, str):
            raise Failed(f"a neighbour heard: {told[:80]}")
        return told


    def give_up(self):
        self.over.set()
        if isinstance(self.process, FORK.Process):
            self.process.kill()
            self.process.join()


def measure(behave, count, bench, peer):
    """Latencies of small GETs in quiet, and beside `count` processes that `behave`."""
    client = Client(bench.backend.port)
    client.call("FLUSHALL")
    client.call("SET", "big", PATTERN)
    client.call("SET", "small", SMALL)
    with bench.started(peer) as running, free_of_cores():
        # Beside some, the moments in which they want nothing would make nearly all that is counted.
        hurry = 2 if bench.quick else 1
        pause = FETCH_PAUSE if behave is fetcher else 0
        quiet = small_gets(running.port, peer.login, QUIET_SECONDS / hurry, pause)
        crowd = [Neighbour(behave, running.port, peer.login) for _ in range(count)]
        try:
            for neighbour in crowd:
                neighbour.begun.wait(END_SECONDS)
            if behave is blocked:
                time.sleep(0.3)
            beside = small_gets(running.port, peer.login, BESIDE_SECONDS / hurry, pause)
            if behave is blocked:
                client.call("RPUSH", "queue", *["job"] * BLOCKED)
            served = sum(neighbour.end() for neighbour in crowd)
        finally:
            for neighbour in crowd:
                neighbour.give_up()
        return {
            **beside,
            "quiet p50": quiet["p50"],
            "quiet p99": quiet["p99"],
            "times p99": beside["p99"] / quiet["p99"],
            "served": served,
            "peak": running.memory("VmHWM"),
        }


@contextlib.contextmanager
def free_of_cores():
    """Clients run where there is room: on the core of Redis they would hold it up themselves."""
    os.sched_setaffinity(0, CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, (LOAD_CORE,))


def small_gets(port, login, seconds, pause):
    """One after the other on one connection; latencies in milliseconds."""
    client, request, took = Client(port, login), command("GET", "small"), []
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        client.socket.sendall(request)
        reply = client.reply()
        took.append((time.perf_counter() - begin) * 1e3)
        if pause:
            time.sleep(pause)
        if reply != SMALL:
            raise Failed(f"a wrong reply: {reply[:40]}")
    client.close()
    took.sort()
    at = lambda part: took[int(len(took) * part)]
    return {"p50": at(0.5), "p99": at(0.99), "p99.9": at(0.999)}


class BigReply:
    """A reply of which more and more comes; every byte is compared."""

    HEAD = b"$%d\r\n" % BIG
    WHOLE = memoryview(HEAD + PATTERN + b"\r\n")

    def __init__(self, client):
        self.client, self.got = client, 0
        client.send("GET", "big")

    def read(self, most):
        """Reads once; returns whether all has come."""
        piece = self.client.socket.recv(most)
        if not piece or piece != self.WHOLE[self.got : self.got + len(piece)]:
            raise Failed(f"after {self.got} bytes: {piece[:40]}")
        self.got += len(piece)
        return self.got == len(self.WHOLE)


def slow_readers(port, login, begun, over):
    clients = [Client(port, login, receive_buffer=65_536) for _ in range(SLOW_READERS)]
    replies = [BigReply(client) for client in clients]
    begun()
    while not over.is_set():
        for reply in replies:
            reply.client.socket.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                reply.read(SLOW_READ)
        over.wait(0.1)
    served = 0
    for reply in replies:
        reply.client.socket.settimeout(END_SECONDS)
        while not reply.read(1 << 18):
            pass
        served += 1
    return served


def fetcher(port, login, begun, over):
    """Only the last reply is looked at: the others are to be read as fast as can be."""
    client, served = Client(port, login), 0
    request, whole = command("GET", "big"), len(BigReply.WHOLE)
    while not over.is_set():
        client.socket.sendall(request)
        left = whole
        while left:
            piece = len(client.socket.recv(1 << 20))
            if not piece:
                raise Failed(f"closed; {left} bytes were missing")
            left -= piece
            begun()
        served += 1
    reply = BigReply(client)
    while not reply.read(1 << 20):
        pass
    return served + 1


def slow_sender(port, login, begun, over):
    client, request = Client(port, login), command("SET", "sent", PATTERN)
    at = 0
    while at < len(request):
        client.socket.sendall(request[at : at + SENT_SLOWLY])
        at += SENT_SLOWLY
        begun()
        over.wait(0.1)
    client.line()
    client.send("STRLEN", "sent")
    if client.line() != b":%d" % BIG:
        raise Failed("what was sent did not arrive")
    return 1


def blocked(port, login, begun, over):
    clients = [Client(port, login) for _ in range(BLOCKED)]
    for client in clients:
        client.send("BLPOP", "queue", 0)
    begun()
    over.wait(END_SECONDS)
    for client in clients:
        head = client.line()
        if head != b"*2":
            raise Failed(head.decode(errors="replace"))
    return len(clients)


def pipeliner(port, login, begun, over):
    client, served = Client(port, login), 0
    requests, reply = command("GET", "small") * PIPELINED, b"$5\r\nhello\r\n"
    while not over.is_set():
        sender = threading.Thread(target=client.socket.sendall, args=(requests,), daemon=True)
        sender.start()
        left = PIPELINED * len(reply)
        while left:
            begun()
            piece = client.socket.recv(1 << 18)
            if not piece:
                raise Failed(f"closed; {left // len(reply)} replies were missing")
            left -= len(piece)
        sender.join()
        served += PIPELINED
    return served


def scenarios():
    for name, title, behave, count in (
        ("slow-readers", "Small GETs beside 10 slow readers of 20 MB", slow_readers, 1),
        ("big-fetchers", "Small GETs beside 2 clients that fetch 20 MB at once", fetcher, FETCHERS),
        ("slow-sender", "Small GETs beside a SET of 20 MB that comes slowly", slow_sender, 1),
        ("blocked", "Small GETs beside 20 clients in BLPOP", blocked, 1),
        ("pipeliner", "Small GETs beside pipelines of 100,000 commands", pipeliner, 1),
    ):
        yield Scenario(name, title, partial(measure, behave, count))
