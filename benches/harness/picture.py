"""The comparison as a picture: bars of CPU per operation, Elika's being 1. SVG, written by hand."""

from .targets import of

WIDTH, LEFT, RIGHT = 760, 120, 60
ROW, GAP, TITLE = 16, 14, 22
TIMES_MAX = 6.0

STYLE = """\
<style>
  text { font: 12px system-ui, sans-serif; fill: #3d3d3a; }
  .head { font-size: 15px; font-weight: 600; fill: #141413; }
  .load { font-weight: 600; fill: #141413; }
  .bar { fill: #a9a79e; } .elika { fill: #2a78d6; } .one { stroke: #8a887f; stroke-dasharray: 2 3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #c9c7bd; } .head, .load { fill: #faf9f5; }
    .bar { fill: #6b6a63; } .elika { fill: #4a94ec; } .one { stroke: #8a887f; }
  }
</style>"""


def draw(results, scenarios, titles):
    """The text of the picture: a group of bars for each scenario that proxies share."""
    groups = []
    for scenario in scenarios:
        mine = of(results, scenario.name, "elika", "cpu")
        bars = [(peer, of(results, scenario.name, peer, "cpu")) for peer in titles]
        bars = [(peer, cpu) for peer, cpu in bars if cpu and peer != "direct"]
        if mine and len(bars) > 1:
            groups.append((scenario.title, [(peer, cpu / mine, cpu) for peer, cpu in bars]))
    body, y = [], 56
    for title, bars in groups:
        body.append(f'<text class="load" x="0" y="{y}">{title}</text>')
        y += TITLE - ROW
        for peer, times, cpu in bars:
            y += ROW
            body.append(bar(titles[peer], peer, times, cpu, y))
        y += GAP + ROW
    one = LEFT + (WIDTH - LEFT - RIGHT) / TIMES_MAX
    line = f'<line class="one" x1="{one:.1f}" x2="{one:.1f}" y1="40" y2="{y - ROW - GAP + 6}"/>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img"'
            f' width="{WIDTH}" height="{y}">',
            "<title>CPU of the proxy per operation; Elika is 1</title>",
            STYLE,
            '<text class="head" x="0" y="18">CPU of the proxy per operation: Elika is 1,'
            " less is better</text>",
            line,
            *body,
            "</svg>\n",
        ]
    )


def bar(title, peer, times, cpu, y):
    length = (WIDTH - LEFT - RIGHT) * min(times, TIMES_MAX) / TIMES_MAX
    kind = "bar elika" if peer == "elika" else "bar"
    told = f"{cpu:.3g} µs" if peer == "elika" else f"× {times:.2f}"
    more = " →" if times > TIMES_MAX else ""
    return (
        f'<text x="{LEFT - 8}" y="{y}" text-anchor="end">{title}</text>'
        f'<rect class="{kind}" x="{LEFT}" y="{y - 10}" width="{length:.1f}" height="11" rx="2"/>'
        f'<text x="{LEFT + length + 6:.1f}" y="{y}">{told}{more}</text>'
    )
