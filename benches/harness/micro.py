"""The decoders and the machine without sockets: time per operation, and instructions.

The workloads are those of `benches/micro`. Instructions are counted by callgrind; of two runs the
longer one has that many operations more, and so the start does not count.
"""

import json
import re
import shutil
import subprocess

from .figures import brief, table
from .peers import ROOT

TIMEOUT_SECONDS = 120
# Operations of the two runs; a large value is some hundred thousand instructions.
RUNS = {"v1m-get": (12, 60), "v1m-set": (12, 60), "parse-mset": (200, 1_200), "v16k": (500, 2_000),
        "split-mget": (200, 1_200), "merge-mget": (200, 1_200), "split-10k": (3, 13)}
RUNS_OF_OTHERS = (2_000, 10_000)
# Two threads: the second one works as long as the first, and not on a number of operations.
UNCOUNTED = ("c50-twice",)


def measure(quick):
    """{workload: {"what", "ns", and where there is valgrind "instructions"}}"""
    count = shutil.which("valgrind") and not quick
    try:
        program = build()
        told = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.SubprocessError) as why:
        print(f"the micro benchmarks cannot be run: {why}")
        return {}
    results = {}
    for name, ns, what in re.findall(r"^(\S+) +([\d.]+) ns +(.+)$", told, re.MULTILINE):
        results[name] = {"what": what, "ns": float(ns)}
        try:
            if count and name not in UNCOUNTED:
                results[name]["instructions"] = instructions(program, name)
        except (OSError, subprocess.SubprocessError) as why:
            print(f"{name:12} its instructions cannot be counted: {why}")
        numbers = [(brief(n), unit) for unit, n in results[name].items() if unit != "what"]
        print(f"{name:12}", *(f"{n} {unit}" for n, unit in numbers), flush=True)
    if not count:
        print("no instructions are counted in a quick run, or without valgrind")
    return results


def build():
    """The program of the workloads, built like the proxy."""
    words = ["cargo", "bench", "--locked", "--no-run", "--bench", "micro", "--message-format=json"]
    built = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    of_ours = [one for one in messages if one.get("target", {}).get("name") == "micro"]
    return next(one["executable"] for one in of_ours if one.get("executable"))


def instructions(program, name):
    """Of one operation."""
    short, long = (counted(program, name, n) for n in RUNS.get(name, RUNS_OF_OTHERS))
    return (long[1] - short[1]) / (long[0] - short[0])


def counted(program, name, count):
    """Operations of a run, and its instructions."""
    words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    words += [program, name, str(count)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True)
    return int(run.stdout), int(re.search(r"Collected : (\d+)", run.stderr)[1])


def micro_table(results):
    rows = []
    for one in results.values():
        count = one.get("instructions")
        rows.append((one["what"], brief(one["ns"]), brief(count) if count else "–"))
    return table(("operation", "ns", "instructions"), rows)
