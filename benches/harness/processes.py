"""Processes of a run: started on a core, looked at in /proc, ended by their ids in any case."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
# The backend and all load on one, the proxy alone on the other.
LOAD_CORE, PROXY_CORE = CORES[0], CORES[-1]

READY_SECONDS = 15
STOP_SECONDS = 3


class Failed(Exception):
    """A measurement that did not come about, and why; the run goes on without it."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.01)


class Running:
    """A process that serves on a loopback port; all figures count every thread of it."""

    def __init__(self, name, process, port):
        self.name, self.process, self.port = name, process, port
        self.pid = process.pid

    def cpu(self):
        """Seconds in user mode and in the kernel, since its start."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        fields = stat[stat.rindex(")") + 2 :].split()
        return int(fields[11]) / TICK, int(fields[12]) / TICK

    def memory(self, field="VmRSS"):
        """Resident bytes: now, or at most since the start (`VmHWM`)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"{field}:\s+(\d+) kB", status)
        if not found:
            raise Failed(f"{self.name} has ended: {self.last_words()}")
        return int(found[1]) * 1024

    def settled_memory(self, seconds=8):
        """Resident bytes once they have not changed for longer than Elika's second between trims."""
        end, last, since = time.monotonic() + seconds, self.memory(), time.monotonic()
        while time.monotonic() < min(end, since + 1.5):
            time.sleep(0.05)
            now = self.memory()
            if now != last:
                last, since = now, time.monotonic()
        return last

    def binary_bytes(self):
        return Path(f"/proc/{self.pid}/exe").stat().st_size

    def listens(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def last_words(self):
        lines = Path(self.log).read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"


class Processes:
    """Everything that was started; what still runs is ended when the block is left."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.running = []

    def __enter__(self):
        os.sched_setaffinity(0, (LOAD_CORE,))
        # So that a SIGTERM unwinds, too.
        signal.signal(signal.SIGTERM, lambda *_: exit(143))
        return self

    def __exit__(self, *_):
        for running in reversed(self.running[:]):
            self.stop(running)
        os.sched_setaffinity(0, CORES)

    def start(self, name, words, port, cores=(PROXY_CORE,)):
        """Starts a server on these cores, without waiting for it."""
        log = self.folder / f"{name}.log"
        # A child runs where it was begun; the harness itself is part of the load.
        os.sched_setaffinity(0, cores)
        try:
            with log.open("w") as out:
                process = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder
                )
        finally:
            os.sched_setaffinity(0, (LOAD_CORE,))
        running = Running(name, process, port)
        running.log = log
        self.running.append(running)
        return running

    def serve(self, name, words, port, cores=(PROXY_CORE,)):
        """Starts a server and waits until it listens."""
        running = self.start(name, words, port, cores)
        try:
            wait_for(running.listens, READY_SECONDS, f"{name} listens")
        except Failed:
            self.stop(running)
            raise
        return running

    def stop(self, running):
        process = running.process
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.running.remove(running)
