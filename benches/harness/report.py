"""The results of a run as JSON, as Markdown and as a picture."""

import json
import platform
import re
from datetime import date
from pathlib import Path

from . import picture
from .figures import FIGURES, heading, table, written
from .micro import micro_table
from .targets import judged, of, targets_table

TITLES = {
    "elika": "Elika",
    "elika-static": "Elika, static",
    "predixy": "predixy",
    "twemproxy": "twemproxy",
    "twemproxy-16k": "twemproxy -m 16384",
    "envoy": "Envoy",
    "haproxy": "HAProxy (TCP)",
    "direct": "direct",
}

RUN = """\
```sh
make bench
make bench BENCH="--quick --only=elika,twemproxy --scenarios=p1-c50,churn"
```

`make bench` compares Elika with predixy (`PREDIXY=path`), twemproxy (`nutcracker`), Envoy and HAProxy,
those of them that are installed, and with no proxy at all, in one run of less than half an hour. Then it
measures the parsers and the machine without sockets, in nanoseconds and, where there is valgrind, in
instructions. It writes this page, `benchmarks.json` and the picture.

The second command takes seconds, and leaves its results in `target/bench`. `benches/run --list` lists what
there is to choose from. `cargo bench --bench micro` measures only the part without sockets.
`benches/run --rewrite` writes this page and the picture again from `benchmarks.json`, and measures nothing.

The run needs Python and `redis-server`, listens on 127.0.0.1 only, and counts system calls where `strace`
is installed."""

READING = """\
On another machine the figures differ; compare the ratios. CPU per operation is what a proxy costs. Nearly
all of it is the kernel's, for system calls: a proxy that reads and writes more at once costs less.

The scenarios `slow-readers` to `pipeliner` show what a client notices of neighbours that take more than
their share, `burst` shows what memory stays allocated. `benches/noisy-tenant` measures a tenant beside
another tenant that is held to its limits, `benches/flood` a quiet client beside clients that flood.

**Logins.** The backend verifies every login, and AUTH is sent in a write of its own. So `churn` is
expensive: two round trips to the backend for a client that sends one request. twemproxy has no logins and
makes one round trip. By `strace -c`, Elika makes 18 system calls for each client (4 sends, 5 reads, 5 waits, 2 of
`epoll_ctl`, accept, close) and twemproxy 25. But Elika makes twice the sends, the most expensive ones: on
loopback a send does the receiver's work, too. Nine tenths of the CPU are the kernel's. Without a login, in
`churn-plain`, Elika costs less than all others.

**The program.** The table [Start](#start) has the size of the stripped program and the time to its first
reply. Two thirds are code: half of that is Elika's, a quarter is Rust's library (half of which prints
backtraces), the rest belongs to other crates (`cargo bloat --profile profiling --crates`).
[Containers](containers.md#the-static-program) has the sizes of static programs."""

METHOD = """\
`redis-server` and the load share one core, the proxy has another one to itself, with one worker;
all is on loopback. Only one proxy runs at a time, and each scenario starts it afresh. Figures are
medians of interleaved rounds. CPU is user and system time of the proxy, all threads, from
`/proc/PID/stat`, per operation. The kernel counts it in steps of 10 ms, which matters where an operation is
expensive and a run has few of them. CPU time depends little on what else runs on the machine. Throughput and
latencies do depend on it: compare them only within one run, as ratios. System calls are counted by `strace -c
-f`, in a run of their own. Loads are `redis-benchmark`'s SET and GET unless the name of the scenario says
otherwise; latencies are those of GET, p99.9 is the 99.902 % row of its distribution. Elika's clients are
logged in with `AUTH TENANT.USER`, and its metrics are on. Memory is `VmRSS`, its peak `VmHWM`; KB and MB are
2^10 and 2^20 bytes. twemproxy has buffers of 512 bytes (`-m 512`), as its documentation recommends for many
connections; where their size matters, those of 16 KB that it has by default are measured, too."""


def machine():
    cpu = re.search(r"model name\s+: (.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": len(list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*"))),
        "kernel": platform.release().split("-")[0],
    }


def save(folder, results, scenarios, micro, **about):
    """Writes benchmarks.json, .md and .svg.

    `about` is the `versions` of the peers, the number of `rounds`, and whether it was `quick`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    whole = {
        "date": date.today().isoformat(),
        **about,
        "machine": machine(),
        "targets": judged(results),
        "results": results,
        "micro": micro,
    }
    text = json.dumps(whole, indent=1, ensure_ascii=False)
    (folder / "benchmarks.json").write_text(text + "\n")
    write(folder, whole, scenarios)


def rewrite(folder, scenarios):
    """Writes benchmarks.md and .svg again, from the figures in benchmarks.json."""
    write(folder, json.loads((folder / "benchmarks.json").read_text()), scenarios)


def write(folder, whole, scenarios):
    (folder / "benchmarks.md").write_text(markdown(whole, scenarios))
    (folder / "benchmarks.svg").write_text(picture.draw(whole["results"], scenarios, TITLES))


def where_and_when(whole):
    names = {**TITLES, "direct": "redis-server"}
    versions = ", ".join(f"{names[peer]} {number}" for peer, number in whole["versions"].items())
    on = whole["machine"]
    return (
        f"{whole['date']}, {on['cpu']}, {on['cores']} cores, Linux {on['kernel']}; {versions}; "
        f"{rounds_of(whole)}."
    )


def rounds_of(whole):
    if whole["rounds"] == 1:
        return "one round" + (" of a fifth of the load" if whole["quick"] else "")
    return f"medians of {whole['rounds']} rounds"


def markdown(whole, scenarios):
    results = whole["results"]
    parts = [
        "# Benchmarks",
        "Written by `make bench`; its words are in `benches/harness/report.py`.",
        where_and_when(whole),
        "![CPU per operation](benchmarks.svg)",
        "## Run it",
        RUN,
        "## CPU per operation",
        cpu_table(results, scenarios),
        "## What the figures say",
        READING,
        "## Method",
        METHOD,
        "## Targets",
        targets_table(results),
        "## All figures",
    ]
    if whole["micro"]:
        parts += ["### Without sockets", "`benches/micro`", micro_table(whole["micro"])]
    for scenario in scenarios:
        if scenario.name in results:
            parts += [f"### {scenario.title}", f"`{scenario.name}`"]
            parts.append(scenario_table(results[scenario.name]))
    return "\n\n".join(parts) + "\n"


def scenario_table(by_peer):
    measured = [figures for figures in by_peer.values() if isinstance(figures, dict)]
    names = [name for name in FIGURES if any(name in figures for figures in measured)]
    rows = []
    for peer, figures in by_peer.items():
        if isinstance(figures, dict):
            cells = [written(name, figures[name]) if name in figures else "" for name in names]
        else:
            cells = [f"no: {figures}"] + [""] * (len(names) - 1)
        rows.append((TITLES[peer], *cells))
    return table(("", *map(heading, names)), rows)


def cpu_table(results, scenarios):
    """CPU per operation: of Elika in µs, of the others as multiples of that. And idle clients."""
    measured = [peer for peer in TITLES if any(of(results, name, peer, "cpu") for name in results)]
    others = [peer for peer in measured if peer not in ("elika", "direct")]
    rows = []
    for scenario in scenarios:
        mine = of(results, scenario.name, "elika", "cpu")
        if not mine or scenario.kinds.get("elika"):
            continue
        cells = [f"{written('cpu', mine)} µs"]
        for peer in others:
            theirs = of(results, scenario.name, peer, "cpu")
            cells.append(f"× {theirs / mine:.2f}" if theirs else "–")
        rows.append((scenario.title, *cells))
    idle = [of(results, "idle", peer, "per client") for peer in ("elika", *others)]
    if any(idle):
        cells = ("–" if bytes_ is None else f"{bytes_:,.0f} B" for bytes_ in idle)
        rows.append(("Memory of an idle client", *cells))
    return table(("load", "Elika", *(TITLES[peer] for peer in others)), rows)
