"""The comparison as a picture: bars of CPU per operation, Elika's being 1. SVG, written by hand."""

from .targets import of

# What is drawn, column by column.
COLUMNS = (
    ("p1-c50", "p16-c50", "v16k-c50", "churn"),
    ("p1-c500", "p100-c10", "v1m-c4", "mset-100"),
)

# Fonts differ from one reader's machine to another's: the widest, DejaVu Sans, still has room.
MARGIN, COLUMN, SPACE = 12, 384, 24
# Within a column: where bars begin, and what is kept free for the figure behind them.
LEFT, RIGHT = 148, 76
HEAD, ROW, GAP = 56, 16, 22
TIMES_MAX = 5.0

STYLE = """\
<style>
  text { font: 12px system-ui, sans-serif; fill: #3d3d3a; }
  .head { font-size: 15px; font-weight: 600; fill: #141413; }
  .load { font-weight: 600; fill: #141413; }
  .bar { fill: #a9a79e; } .elika { fill: #2a78d6; }
  @media (prefers-color-scheme: dark) {
    text { fill: #c9c7bd; } .head, .load { fill: #faf9f5; }
    .bar { fill: #6b6a63; } .elika { fill: #4a94ec; }
  }
</style>"""


def draw(results, scenarios, titles):
    """The text of the picture: a group of bars for each load that was measured."""
    loads = {scenario.name: scenario.title for scenario in scenarios}
    body, bottom = [], HEAD
    for number, names in enumerate(COLUMNS):
        x, y = MARGIN + number * (COLUMN + SPACE), HEAD
        for name in names:
            bars = group(results, name, titles)
            if bars:
                body.append(f'<text class="load" x="{x}" y="{y}">{loads[name]}</text>')
                body += [bar(x, y + ROW * (n + 1) + 4, *one) for n, one in enumerate(bars)]
                y += ROW * (len(bars) + 1) + GAP
        bottom = max(bottom, y)
    width, height = 2 * (MARGIN + COLUMN) + SPACE, bottom - GAP + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" height="{height}" role="img">',
            "<title>CPU of the proxies per operation; Elika is 1</title>",
            STYLE,
            f'<text class="head" x="{MARGIN}" y="24">CPU of the proxy per operation, as a multiple of'
            " Elika’s; less is better</text>",
            *body,
            "</svg>\n",
        ]
    )


def group(results, name, titles):
    """[(title, is it Elika, times Elika's, µs)] of those that were measured, if there are two."""
    found = {peer: of(results, name, peer, "cpu") for peer in titles if peer != "direct"}
    mine = found.get("elika")
    if not mine or len([cpu for cpu in found.values() if cpu]) < 2:
        return []
    rows = [(peer, cpu) for peer, cpu in found.items() if cpu]
    return [(titles[peer], peer == "elika", cpu / mine, cpu) for peer, cpu in rows]


def bar(x, y, title, elika, times, cpu):
    length = (COLUMN - LEFT - RIGHT) * min(times, TIMES_MAX) / TIMES_MAX
    kind = "bar elika" if elika else "bar"
    told = f"{cpu:.3g} µs" if cpu < 1000 else f"{cpu:.0f} µs"
    if not elika:
        told = f"× {times:.2f}" + (" →" if times > TIMES_MAX else "")
    return (
        f'<text x="{x + LEFT - 8}" y="{y}" text-anchor="end">{title}</text>'
        f'<rect class="{kind}" x="{x + LEFT}" y="{y - 10}" width="{length:.1f}" height="11"/>'
        f'<text x="{x + LEFT + length + 6:.1f}" y="{y}">{told}</text>'
    )
