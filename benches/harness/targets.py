"""What Elika is to reach, and whether it does: computed from the results of a run."""

from .figures import MB, brief, table
from .neighbours import SLOW_READERS


def of(results, scenario, peer, figure):
    """One figure; None if there is none."""
    figures = results.get(scenario, {}).get(peer)
    return figures.get(figure) if isinstance(figures, dict) else None


def against(scenario, *peers, figure="cpu"):
    """Elika's figure, as a multiple of the least that one of `peers` has."""

    def ratio(results):
        mine = of(results, scenario, "elika", figure)
        theirs = [of(results, scenario, peer, figure) for peer in peers]
        theirs = [value for value in theirs if value]
        return mine / min(theirs) if mine is not None and theirs else None

    return ratio


def own(scenario, figure, divisor=1, program="elika"):
    """A figure of Elika's."""

    def value(results):
        found = of(results, scenario, program, figure)
        return None if found is None else found / divisor

    return value


def of_static(figure, divisor=1):
    """A figure of the start of the program that needs no libraries."""
    return own("start-up", figure, divisor, "elika-static")


def unserved(results):
    """Slow readers that did not get all."""
    if SLOW not in results:
        return None
    return SLOW_READERS - (of(results, SLOW, "elika", "served") or 0)


SLOW = "slow-readers"
FETCHED = against("big-fetchers", "direct", figure="p50")
MUX = ("twemproxy", "predixy")

# (load, what is compared, at most, the figure of a run)
TARGETS = [
    ("50 clients, unpipelined", "× twemproxy or predixy", 0.85, against("p1-c50", *MUX)),
    ("500 clients, unpipelined", "× twemproxy or predixy", 0.85, against("p1-c500", *MUX)),
    ("50 × 16 pipelined", "× twemproxy", 0.40, against("p16-c50", "twemproxy")),
    ("10 × 100 pipelined", "× twemproxy", 0.25, against("p100-c10", "twemproxy")),
    ("50 clients, 16 KB", "× twemproxy", 0.60, against("v16k-c50", "twemproxy")),
    ("4 clients, 1 MB", "× HAProxy", 1.0, against("v1m-c4", "haproxy")),
    ("churn with login", "× twemproxy without", 1.0, against("churn", "twemproxy")),
    ("idle client", "bytes", 200, own("idle", "per client")),
    ("10 slow readers of 20 MB", "peak RSS, MB", 25, own(SLOW, "peak", MB)),
    ("10 slow readers of 20 MB", "not served to the end", 0, unserved),
    ("10 slow readers of 20 MB", "p99 of small GETs, × quiet", 1.5, own(SLOW, "times p99")),
    ("2 clients that fetch 20 MB", "p50 of small GETs, × direct", 1.5, FETCHED),
    ("5,000 clients with 1 MB have gone", "RSS, × start", 1.2, own("burst", "times")),
    ("8,000 idle clients beside", "CPU/op, × without", 1.1, own("idle-8000", "times")),
    ("one tenant among 1,000", "CPU/op, × alone", 1.1, own("tenants-1000", "times")),
    ("start", "ms to the first reply", 20, own("start-up", "first reply")),
    ("start", "RSS, MB", 3, own("start-up", "start", MB)),
    ("start", "binary, MB", 1, own("start-up", "binary", MB)),
    ("start of the static program", "ms to the first reply", 20, of_static("first reply")),
    ("start of the static program", "RSS, MB", 3, of_static("start", MB)),
    ("start of the static program", "binary, MB", 1, of_static("binary", MB)),
    ("50 clients, unpipelined", "system calls/op", 2.15, own("p1-c50", "calls")),
    ("50 clients, unpipelined", "user µs/op", 1.0, own("p1-c50", "user")),
    ("50 × 16 pipelined", "user µs/op", 0.3, own("p16-c50", "user")),
]


def judged(results):
    """[(load, what, at most, value or None, holds or None)]"""
    rows = []
    for load, what, most, figure in TARGETS:
        value = figure(results)
        rows.append((load, what, most, value, None if value is None else value <= most))
    return rows


def targets_table(results):
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [
        (load, what, "–" if value is None else brief(value), brief(most), words[holds])
        for load, what, most, value, holds in judged(results)
    ]
    return table(("load", "of Elika", "measured", "at most", "holds"), rows)
