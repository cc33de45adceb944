"""One run: every scenario with every peer, round by round, and the medians of what came."""

import contextlib
import shutil
import statistics
import time
from functools import partial

from . import loads
from .figures import heading, written
from .peers import start_backend
from .processes import Failed

QUICK_PART = 5


class Bench:
    """What scenarios share: the backend, the processes of the run, and how small it is to be."""

    def __init__(self, processes, quick):
        self.processes, self.folder = processes, processes.folder
        self.quick, self.part = quick, QUICK_PART if quick else 1
        self.backend = start_backend(processes)

    @contextlib.contextmanager
    def started(self, peer):
        """A fresh process of `peer`; of the proxies, it is the only one there is."""
        running = peer.start(self.processes, self.backend)
        try:
            yield running
        finally:
            if running is not self.backend:
                self.processes.stop(running)


def measure_all(bench, scenarios, peers, rounds):
    """{scenario: {peer: figures, or why there are none}}, medians of all rounds."""
    taken = {}
    for number in range(rounds):
        for scenario in scenarios:
            if number >= scenario.rounds:
                continue
            for peer in peers:
                if scenario.suits(peer):
                    key = (scenario.name, peer.name)
                    begin = time.monotonic()
                    figures = attempt(scenario.measure, bench, peer)
                    taken.setdefault(key, []).append(figures)
                    tell(*key, figures, time.monotonic() - begin)
    results = {}
    for (scenario, peer), several in taken.items():
        results.setdefault(scenario, {})[peer] = medians(several)
    return results


def count_system_calls(bench, scenarios, peers, results):
    """Adds `calls` to the results of loads by redis-benchmark."""
    if not shutil.which("strace"):
        print("strace is not installed: no system calls are counted")
        return
    traced = loads.TRACED[:3] if bench.quick else loads.TRACED
    for scenario in scenarios:
        for peer in peers if scenario.name in traced else []:
            figures = results.get(scenario.name, {}).get(peer.name)
            if peer.name != "direct" and isinstance(figures, dict):
                counted = attempt(partial(loads.system_calls, scenario.load), bench, peer)
                tell(scenario.name, peer.name, counted, 0)
                if isinstance(counted, dict):
                    figures.update(counted)


def attempt(measure, bench, peer):
    """Figures, or in words why there are none."""
    try:
        return measure(bench, peer)
    except (Failed, OSError) as why:
        return str(why) or type(why).__name__


def medians(several):
    """Of each figure; in words, if not one round had figures."""
    figures = [one for one in several if isinstance(one, dict)]
    if not figures:
        return several[-1]
    return {name: statistics.median(one[name] for one in figures) for name in figures[0]}


def tell(scenario, peer, figures, seconds):
    """A line of progress."""
    if isinstance(figures, dict):
        told = [f"{heading(name)} {written(name, value)}" for name, value in figures.items()]
        figures = "   ".join(told)
    took = f"   ({seconds:.1f} s)" if seconds else ""
    print(f"{scenario:12} {peer:13} {figures}{took}", flush=True)
