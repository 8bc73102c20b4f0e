#!/usr/bin/env python3
"""A picture of what bench.py has measured: one line for each work, a mark for each file system, how many times as fast as
gocryptfs on a logarithmic scale, and a bar from where on coffer is to be. With "cpu" it shows processor time instead, which a busy
machine blurs less: how many times as little the file system's own processes use for one operation.

usage: plot.py FILE.json [cpu] >FILE.svg
"""
import html
import json
import math
import sys

MARKS = (  # name, colour, shape
    ("disk", "#9a9a9a", "square"),
    ("null", "#5b8fd6", "square"),
    ("securefs", "#d9902f", "circle"),
    ("cryfs", "#9b5fc0", "circle"),
    ("coffer", "#c8102e", "diamond"),
)
LEFT, RIGHT, TOP, LINE, WIDTH = 200, 40, 64, 26, 820


def shape(kind, x, y, colour, title):
    tip = f"<title>{html.escape(title)}</title>"
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}">{tip}</circle>'
    if kind == "square":
        return f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9" fill="{colour}">{tip}</rect>'
    points = f"{x:.1f},{y - 8:.1f} {x + 8:.1f},{y:.1f} {x:.1f},{y + 8:.1f} {x - 8:.1f},{y:.1f}"
    return f'<polygon points="{points}" fill="{colour}">{tip}</polygon>'


def text(x, y, what, anchor="start", size=12, colour="#333", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}" '
            f'font-weight="{weight}">{html.escape(what)}</text>')


def rows_of(result, cpu):
    """title, target, {name: how many times as good as gocryptfs}"""
    rows = []
    for key, by_name in result["medians"].items():
        if "gocryptfs" not in by_name:
            continue
        base = by_name["gocryptfs"]
        if cpu:
            ratios = {n: base["cpu_us"] / m["cpu_us"] for n, m in by_name.items() if m["cpu_us"] > 0}
            rows.append((result["titles"][key], None, ratios))
        else:
            ratios = {n: m["rate"] / base["rate"] for n, m in by_name.items()}
            rows.append((result["titles"][key], result["targets"].get(key), ratios))
    return rows


def draw(result, cpu=False):
    rows = rows_of(result, cpu)
    values = [v for _, _, ratios in rows for v in ratios.values() if v > 0] or [1]
    low, high = math.floor(min(math.log10(min(values)), -0.5)), math.ceil(max(math.log10(max(values)), 1))
    scale = (WIDTH - LEFT - RIGHT) / (high - low)
    bottom = TOP + LINE * len(rows)

    def x_of(ratio):
        return LEFT + (math.log10(ratio) - low) * scale

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 52}" font-family="sans-serif">',
           f'<rect width="{WIDTH}" height="{bottom + 52}" fill="white"/>']
    x = LEFT
    for name, colour, kind in MARKS:
        if any(name in ratios for _, _, ratios in rows):
            out += [shape(kind, x, 20, colour, name), text(x + 12, 24, name)]
            x += 30 + 8 * len(name)
    if not cpu:
        out.append(f'<rect x="{x}" y="16" width="26" height="8" fill="#c8102e" fill-opacity="0.15"/>')
        out.append(text(x + 32, 24, "coffer's target"))
    for decade in range(low, high + 1):
        for step in (1, 2, 5):
            ratio = step * 10.0 ** decade
            if math.log10(ratio) > high:
                continue
            heavy = "#888" if ratio == 1 else "#ddd"
            out.append(f'<line x1="{x_of(ratio):.1f}" y1="{TOP - 8}" x2="{x_of(ratio):.1f}" y2="{bottom}" stroke="{heavy}"/>')
            out.append(text(x_of(ratio), TOP - 14, f"{ratio:g}", "middle", 10, "#666"))
    for i, (title, target, ratios) in enumerate(rows):
        y = TOP + LINE * i + LINE / 2
        out.append(text(LEFT - 12, y + 4, title, "end"))
        if target:
            out.append(f'<rect x="{x_of(target):.1f}" y="{y - 4:.1f}" width="{WIDTH - RIGHT - x_of(target):.1f}" height="8" '
                       'fill="#c8102e" fill-opacity="0.15"/>')
        for name, colour, kind in MARKS:
            if ratios.get(name, 0) > 0:
                out.append(shape(kind, x_of(ratios[name]), y, colour, f"{name}: {ratios[name]:.2f}"))
    what = "processor time of gocryptfs for the same, over its own" if cpu else "times as fast as gocryptfs in the same run"
    where = f"{result['machine']}; load {result['load']}; {result['date']}; median of {result['rounds']}"
    out += [text(LEFT, bottom + 20, what, size=11), text(LEFT, bottom + 38, where, size=10, colour="#666"), "</svg>"]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as source:
        sys.stdout.write(draw(json.load(source), "cpu" in sys.argv[2:]))
