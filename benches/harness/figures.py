"""What the figures of a scenario are called, and how they are written."""

MB = 1 << 20

# name: (heading, divided by)
FIGURES = {
    "cpu": ("CPU, µs/op", 1),
    "user": ("user", 1),
    "system": ("system", 1),
    "backend": ("Redis, µs/op", 1),
    "calls": ("system calls/op", 1),
    "throughput": ("op/s", 1),
    "p50": ("p50, ms", 1),
    "p99": ("p99, ms", 1),
    "p99.9": ("p99.9, ms", 1),
    "alone": ("alone, µs/op", 1),
    "times": ("×", 1),
    "quiet p50": ("p50 in quiet, ms", 1),
    "quiet p99": ("p99 in quiet, ms", 1),
    "times p99": ("p99, × quiet", 1),
    "served": ("served to the end", 1),
    "first reply": ("first reply, ms", 1),
    "binary": ("binary, MB", MB),
    "one tenant": ("1 tenant, µs/op", 1),
    "many tenants": ("1,000 tenants, µs/op", 1),
    "one worker": ("1 worker, op/s", 1),
    "two workers": ("2 workers, op/s", 1),
    "memory": ("RSS, MB", MB),
    "start": ("RSS at start, MB", MB),
    "peak": ("peak RSS, MB", MB),
    "after": ("RSS afterwards, MB", MB),
    "per client": ("bytes/client", 1),
}


def heading(name):
    return FIGURES[name][0]


def written(name, value):
    return brief(value / FIGURES[name][1])


def brief(value):
    """A number in as few digits as tell it."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def table(head, rows):
    """In Markdown; the first column is text."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
