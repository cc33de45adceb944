"""One unit of the suite, run to its end: direct, or through the proxy."""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import transcript
from servers import LOOPBACK, Server, free_port, proxy_server
from transcript import OK, Test

# Left out in both runs: they lack a tag.
NOT_ASKED = [
    # `needs:repl`
    "MASTERAUTH test with binary password",
    "setup replication for following tests",
    "publish message to master and receive on replica",
    # `slow`: a minute without a word.
    "Fuzzing dense/sparse encoding: Redis should always detect errors",
]

# How often a unit is run with what has spoilt the rest of it left out.
ROUNDS_MAX = 5


@dataclass
class Settings:
    tree: Path
    server: str
    # What it is told besides: `--tags` and the like.
    options: list
    # Without a sign of life for so long, a test hangs.
    hang_seconds: int
    unit_seconds: int
    # The proxy's binary and its further options; None is direct.
    proxy: tuple = None


@dataclass
class Outcome:
    tests: dict = field(default_factory=dict)
    trouble: list = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self):
        return asdict(self)

    @classmethod
    def from_json(cls, value):
        tests = {name: Test(**test) for name, test in value["tests"].items()}
        return cls(tests, value["trouble"], value["seconds"])


def run(unit, settings, logs, expected=()):
    """Runs the unit, and again without the test that has spoilt the rest, until none does.

    Tests that are `expected` to fail are not worth another run.
    """
    outcome, skipped = Outcome(), list(NOT_ASKED)
    started = time.monotonic()
    for turn in range(1, ROUNDS_MAX + 1):
        said = run_once(unit, settings, skipped, logs / str(turn))
        # What a later round says was said with fewer things in its way.
        outcome.tests.update(said.tests)
        outcome.trouble = said.trouble
        culprit = spoiler(said, expected)
        if culprit is None or time.monotonic() - started > settings.unit_seconds:
            break
        skipped.append(culprit)
    outcome.seconds = time.monotonic() - started
    return outcome


def spoiler(said, expected):
    """The first test that failed, if what came after it may have suffered from that.

    It may leave the server paused, or its connection, which the later tests use as well, in the
    midst of something.
    """
    failed = [name for name, test in said.tests.items() if test.status != OK]
    suffered = [name for name in failed[1:] if name not in expected]
    if failed and (suffered or said.trouble or not said.complete):
        return failed[0]
    return None


def run_once(unit, settings, skipped, logs):
    logs.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(killed(redis(settings, logs))).port
        if settings.proxy:
            port = stack.enter_context(killed(proxy(settings.proxy, port, logs))).port
        where = ["--host", LOOPBACK, "--port", str(port)]
        argv = ["tclsh", "tests/test_helper.tcl", *where, "--single", unit, "--durable"]
        argv += [*settings.options, "--timeout", str(settings.hang_seconds)]
        for name in skipped:
            argv += ["--skiptest", name]
        output = logs / "suite.log"
        run_suite(argv, settings, output)
    return transcript.read(output.read_text(errors="replace"))


@contextlib.contextmanager
def killed(server):
    """Ends it without ceremony: a hung test may have left it busy for ever, and nothing is lost."""
    with server:
        try:
            yield server
        finally:
            server.child.kill()


def redis(settings, logs):
    """A fresh server with the configuration that the suite gives its own."""
    directory = logs / "redis"
    directory.mkdir()
    port = free_port()
    config = settings.tree / "tests" / "assets" / "default.conf"
    argv = [settings.server, config, "--bind", LOOPBACK, "--port", port, "--dir", directory]
    argv += ["--save", "", "--pidfile", directory / "redis.pid"]
    return Server(argv, logs / "redis.log", port)


def proxy(binary_and_options, backend_port, logs):
    binary, *options = binary_and_options
    return proxy_server(binary, backend_port, logs / "proxy.log", *options)


def run_suite(argv, settings, output):
    """Runs it in a process group of its own, and ends whatever is left of that."""
    with output.open("wb") as log:
        child = subprocess.Popen(
            argv,
            cwd=settings.tree,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            child.wait(settings.unit_seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
