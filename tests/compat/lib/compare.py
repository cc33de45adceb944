"""Runs a client's test suite directly and through the proxy, and compares test by test.

A suite tells how each test ended in a file of lines like {"name": ..., "outcome": ...}, where the
outcome is `passed`, `failed` or `skipped`. Only what passes directly is asked of the proxy: what a
suite expects of another version of the server, or of itself, says nothing about Elika.
"""

import argparse
import fnmatch
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from servers import DEFAULT_PROXY, need_redis, proxy_server, redis_server

# Some tests use DEBUG or MODULE; none needs what it writes to outlive it.
REDIS_OPTIONS = ["--save", "", "--enable-debug-command", "yes", "--enable-module-command", "yes"]
TARGETS = ("direct", "through")
MORE_TRIES = 2


@dataclass
class Suite:
    """One way to run a client's tests: a protocol version, or a version of the client.

    `run(port, outcomes, log, tests, only)` runs the tests against that port of 127.0.0.1. `tests`
    are the words of `--tests`; `only` is None or a list of names, and no other test may run then.
    """

    title: str
    run: callable
    outcomes: dict = field(default_factory=dict)
    unsteady: list = field(default_factory=list)


def options(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--proxy", type=Path, default=DEFAULT_PROXY, help="the elika-proxy to test")
    parser.add_argument("--tests", nargs="+", default=[], help="run only these, see the script")
    parser.add_argument("--workers", type=int, default=2, help="suites at a time [2]")
    return parser.parse_args()


def read_outcomes(path):
    """Name to outcome; of a test that is told of twice (body, then clean-up) the worse counts."""
    outcomes = {}
    for line in Path(path).read_text().splitlines():
        told = json.loads(line)
        if outcomes.get(told["name"]) != "failed":
            outcomes[told["name"]] = told["outcome"]
    return outcomes


def read_exceptions(path):
    """Pairs of a pattern of test names and the reason why they may differ.

    A line that starts at the margin is a reason, indented lines are names it holds for, of every
    suite or, as `SUITE: NAME`, of one; `*` stands for anything, all else, brackets too, for itself.
    """
    exceptions, reason = [], None
    for line in Path(path).read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line[0].isspace():
            exceptions.append((line.strip().replace("[", "[[]"), reason))
        else:
            reason = line.rstrip(":")
    return exceptions


def matches(pattern, suite, name):
    return any(fnmatch.fnmatchcase(n, pattern) for n in (name, f"{suite.title}: {name}"))


def reason_for(suite, name, exceptions):
    for pattern, reason in exceptions:
        if matches(pattern, suite, name):
            return reason
    return None


def run_once(suite, target, proxy, tests, work, only=None):
    """The outcomes of a suite against a new server, with a new proxy before it or not."""
    work.mkdir(parents=True)
    server = redis_server(work / "redis", *REDIS_OPTIONS)
    with server:
        if target == "direct":
            return run_against(suite, server.port, tests, work, only)
        with proxy_server(proxy, server.port, work / "proxy.log") as front:
            outcomes = run_against(suite, front.port, tests, work, only)
            if not front.running():
                sys.exit(f"{suite.title}: the proxy died, see {front.log}")
            return outcomes


def run_against(suite, port, tests, work, only):
    path = work / "outcomes"
    path.touch()
    began = time.monotonic()
    suite.run(port, path, work / "tests.log", tests, only)
    outcomes = read_outcomes(path)
    passed = sum(outcome == "passed" for outcome in outcomes.values())
    seconds = time.monotonic() - began
    print(f"{suite.title}: {work.name}: {passed} of {len(outcomes)} passed in {seconds:.0f} s",
          flush=True)
    return outcomes


def differing(suite):
    """The tests that pass directly and do not pass through the proxy, skipped or gone included."""
    direct, through = suite.outcomes["direct"], suite.outcomes["through"]
    return [
        name
        for name, outcome in direct.items()
        if outcome == "passed" and through.get(name) != "passed"
    ]


def unexcused(suite, exceptions):
    return [name for name in differing(suite) if reason_for(suite, name, exceptions) is None]


def try_again(suite, args, work, exceptions):
    """Runs what differs up to twice more, on both ways, since some tests race with themselves.

    What then differs no longer is told by name all the same: a race of the proxy looks like that.
    """
    first = unexcused(suite, exceptions)
    for attempt in range(2, 2 + MORE_TRIES):
        names = unexcused(suite, exceptions)
        if not names:
            break
        for target in TARGETS:
            place = work / f"{target}-{attempt}"
            again = run_once(suite, target, args.proxy, args.tests, place, names)
            suite.outcomes[target].update(again)
    still = set(differing(suite))
    suite.unsteady = [name for name in first if name not in still]


def report(suite, exceptions):
    """Prints what a suite showed; the numbers of tests that pass both ways, and that should."""
    differ = differing(suite)
    excepted = {name: reason_for(suite, name, exceptions) for name in differ}
    wrong = [name for name in differ if excepted[name] is None]
    direct = sum(outcome == "passed" for outcome in suite.outcomes["direct"].values())
    print(f"{suite.title}: {direct} passed direct, {direct - len(differ)} of them through, "
          f"{len(differ) - len(wrong)} excepted, {len(wrong)} failed")
    for name in suite.unsteady:
        print(f"  differs now and then: {name}")
    for name, reason in excepted.items():
        if reason is not None:
            print(f"  excepted, {reason}: {name}")
    for name in wrong:
        print(f"  passes direct but not through: {name}")
    return direct - len(differ), len(wrong)


def tell_stale(suites, exceptions):
    """Names exceptions that excepted nothing, so that the list does not outlive its reasons."""
    differ = [(suite, name) for suite in suites for name in differing(suite)]
    for pattern, _reason in exceptions:
        if not any(matches(pattern, suite, name) for suite, name in differ):
            print(f"exception that nothing needs: {pattern.replace('[[]', '[')}")


def main(suites, args, work, exceptions_path):
    """Runs every suite both ways, prints the comparison, and returns the exit code."""
    need_redis()
    exceptions = read_exceptions(exceptions_path)
    with ThreadPoolExecutor(args.workers) as pool:
        running = {
            (suite.title, target): pool.submit(
                run_once, suite, target, args.proxy, args.tests, work / suite.title / target
            )
            for suite in suites
            for target in TARGETS
        }
        for suite in suites:
            suite.outcomes = {target: running[suite.title, target].result() for target in TARGETS}

    for suite in suites:
        try_again(suite, args, work / suite.title, exceptions)
    counts = [report(suite, exceptions) for suite in suites]
    if not args.tests:
        tell_stale(suites, exceptions)
    passed, failed = (sum(column) for column in zip(*counts))
    if passed + failed == 0:
        sys.exit("no test passed directly: nothing was compared")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0
