"""Servers that a compatibility run starts on loopback, and ends by the pids it started."""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DEFAULT_PROXY = ROOT / "target" / "release" / "elika-proxy"
LOOPBACK = "127.0.0.1"

START_SECONDS = 10
STOP_SECONDS = 15


def need_redis():
    """Makes sure that redis-server is installed."""
    subprocess.run([ROOT / "scripts" / "need-redis"], check=True)


# From the port of a node of a cluster to the port of its bus.
BUS_DISTANCE = 10000


def free_port(distance=0):
    """A port nobody listens on, below those the kernel gives to outgoing connections; the port at
    this distance above it is free, too.

    A client that reconnects to a port from that range while its server is down may get the very
    same port as its own, and so connect to itself and keep the server from coming back.
    """
    while True:
        port = random.randrange(20000, 32000 - distance)
        if is_free(port) and is_free(port + distance):
            return port


def is_free(port):
    """Whether a server can listen on a port."""
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
            return True
        except OSError:
            return False


def answers_ping(port):
    """Whether what listens on the port says PONG."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as client:
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
    except OSError:
        return False


class Process:
    """A child process that writes to a log file; a context manager that ends it."""

    def __init__(self, argv, log, **popen):
        self.argv = [str(arg) for arg in argv]
        self.log = Path(log)
        self.popen = popen
        self.child = None

    def start(self):
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self.popen,
            )
        return self

    def running(self):
        return self.child is not None and self.child.poll() is None

    def stop(self):
        """SIGTERM, and if that does not help, SIGKILL for it and its children."""
        if self.running():
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
        if self.child is not None:
            self.child.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_error):
        self.stop()


class Server(Process):
    """A process that is ready once its port answers PING."""

    def __init__(self, argv, log, port, **popen):
        super().__init__(argv, log, **popen)
        self.port = port

    def start(self):
        super().start()
        deadline = time.monotonic() + START_SECONDS
        while not answers_ping(self.port):
            if not self.running() or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.argv[0]} did not start, see {self.log}")
            time.sleep(0.05)
        return self


def redis_server(directory, *options):
    """A fresh redis-server of its own directory; `start` after `stop` brings back its data."""
    directory = Path(directory)
    directory.mkdir(parents=True)
    port = free_port(BUS_DISTANCE if "--cluster-enabled" in options else 0)
    argv = ["redis-server", "--bind", LOOPBACK, "--port", port, "--dir", directory, *options]
    return Server(argv, directory / "redis.log", port)


class Cluster:
    """A Redis Cluster of primaries; `start` after `stop` brings back its data."""

    def __init__(self, directory, *options, nodes=3):
        more = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", *options]
        directories = [Path(directory) / str(node) for node in range(nodes)]
        self.nodes = [redis_server(directory, *more) for directory in directories]
        self.created = False

    @property
    def port(self):
        """The port of one node."""
        return self.nodes[0].port

    def start(self):
        for node in self.nodes:
            node.start()
        if not self.created:
            addresses = [f"{LOOPBACK}:{node.port}" for node in self.nodes]
            create = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
            subprocess.run(create, check=True, stdout=subprocess.DEVNULL)
            self.created = True
        deadline = time.monotonic() + START_SECONDS
        while not all(self.serves(node) for node in self.nodes):
            if time.monotonic() > deadline:
                raise RuntimeError("the cluster does not serve its slots")
            time.sleep(0.05)
        return self

    @staticmethod
    def serves(node):
        """Whether a node considers the cluster able to serve requests."""
        ask = ["redis-cli", "-p", str(node.port), "cluster", "info"]
        return "cluster_state:ok" in subprocess.run(ask, capture_output=True, text=True).stdout

    def stop(self):
        for node in self.nodes:
            node.stop()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_error):
        self.stop()


def proxy_server(binary, backend_port, log, *options):
    """The proxy in front of the redis-server on that port."""
    port = free_port()
    argv = [
        binary,
        f"--bind={LOOPBACK}",
        f"--port={port}",
        "--service-port=0",
        "--router.type=static",
        f"--router.static-be={LOOPBACK}:{backend_port}",
        "--log.level=warn",
        *options,
    ]
    # A variable of somebody's shell must not change what is tested.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ELIKA_")}
    return Server(argv, log, port, env=environment)
