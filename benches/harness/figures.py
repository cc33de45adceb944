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
    "memory": ("RSS, MB", MB),
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
