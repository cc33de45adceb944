"""Load by `redis-benchmark`, and what it says.

Its CSV has no p99.9, so its long output is read. There the distribution is given at 50 %, 75 %,
87.5 % and so on; the row at 99.902 % is what is called p99.9 here.
"""

import re
import subprocess

from .processes import Failed

TIMEOUT_SECONDS = 60

THROUGHPUT = re.compile(r"throughput summary: ([\d.]+) requests per second")
SUMMARY = re.compile(r"avg +min +p50 +p95 +p99 +max\s+([\d. ]+)")
PERCENTILE = re.compile(r"^([\d.]+)% <= ([\d.]+) milliseconds \(cumulative", re.MULTILINE)
COMPLETED = re.compile(r"(\d+) requests completed in")


def words(port, login, clients, pipeline, requests, more):
    """The command line of one redis-benchmark, on the core of the load."""
    line = ["redis-benchmark", "-p", port, "-c", clients, "-P", pipeline, "-n", requests]
    if login:
        line += ["--user", login[0], "-a", login[1]]
    return [str(word) for word in [*line, *more]]


def run(lines):
    """Runs all of these at once; their operations and throughputs add up.

    Latencies are those of the last kind of request (GET after SET), of the slowest of `lines`.
    """
    started = []
    try:
        for line in lines:
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            started.append(subprocess.Popen(line, stdin=subprocess.DEVNULL, **pipes))
        figures = [figures_of(process) for process in started]
    except subprocess.TimeoutExpired:
        raise Failed(f"redis-benchmark did not end within {TIMEOUT_SECONDS} s") from None
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
    together = {name: sum(one[name] for one in figures) for name in ("operations", "throughput")}
    slowest = {name: max(one[name] for one in figures) for name in ("p50", "p99", "p99.9")}
    return {**together, **slowest}


def figures_of(process):
    """Those of a redis-benchmark that runs; half of what it was to ask counts as nothing."""
    text = process.communicate(timeout=TIMEOUT_SECONDS)[0].replace("\r", "\n")
    parts = [part for part in text.split("====== ") if THROUGHPUT.search(part)]
    if process.returncode or not parts:
        said = [line for line in text.splitlines() if "rror" in line or "ERR" in line]
        raise Failed((said or text.strip().splitlines() or ["no output"])[-1].strip()[:120])
    return read(parts)


def read(parts):
    """The figures of one output; milliseconds and operations per second."""
    operations = [int(COMPLETED.search(part)[1]) for part in parts]
    seconds = [
        count / float(THROUGHPUT.search(part)[1]) for count, part in zip(operations, parts)
    ]
    last = parts[-1]
    _, _, p50, _, p99, _ = map(float, SUMMARY.search(last)[1].split()[:6])
    rows = ((float(part), float(ms)) for part, ms in PERCENTILE.findall(last))
    top = next(ms for part, ms in rows if part >= 99.9)
    throughput = sum(operations) / sum(seconds)
    total = sum(operations)
    return {"operations": total, "throughput": throughput, "p50": p50, "p99": p99, "p99.9": top}
