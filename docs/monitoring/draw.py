#!/usr/bin/env python3
"""Draws dashboard.json as an SVG, with the data of a running Prometheus. It stands in for Grafana where there is none.

    just dashboard http://127.0.0.1:9090 --minutes 5 --scrape 5 > docs/monitoring/dashboard.svg

It asks for each query of each panel, as Grafana does, and draws the panels in their places. It fails if a query fails,
and names each query without data on standard error.
"""

import argparse
import json
import math
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request
from html import escape

COLUMN, ROW, GAP = 50, 30, 8
COLOURS = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0", "#37872d", "#fade2a"]
# The units of Grafana that the dashboard uses: steps of a unit, and their names.
UNITS = {
    "short": (1000, ["", " K", " Mil", " Bil"]),
    "cps": (1000, [" c/s", "K c/s", "M c/s"]),
    "mps": (1000, [" msg/s", "K msg/s", "M msg/s"]),
    "eps": (1000, [" evt/s", "K evt/s", "M evt/s"]),
    "bytes": (1024, [" B", " KiB", " MiB", " GiB"]),
    "Bps": (1000, [" B/s", " kB/s", " MB/s", " GB/s"]),
}


def shown(value, unit):
    if unit == "bool":
        return {0: "False", 1: "True"}.get(value, "")
    if unit == "s":
        for size, name in ((86400, " d"), (3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs")):
            if abs(value) >= size:
                return f"{value / size:.3g}{name}"
        return f"{value:.3g} s"
    base, names = UNITS[unit]
    step = min(int(math.log(abs(value), base)), len(names) - 1) if abs(value) >= 1 else 0
    return f"{value / base**step:.3g}{names[step]}"


def ask(url, query, start, end, step):
    parameters = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": step})
    with urllib.request.urlopen(f"{url}/api/v1/query_range?{parameters}", timeout=30) as response:
        return json.load(response)["data"]["result"]


def lines(panel, options, start, end):
    """Returns the name and the points of each series of a panel."""
    for target in panel["targets"]:
        # Grafana takes four scrapes for a rate, and .* for all values of a variable.
        query = target["expr"].replace("$__rate_interval", f"{4 * options.scrape}s").replace("$instance", ".*")
        result = ask(options.prometheus, query, start, end, options.scrape)
        if not result:
            print(f"no data: {panel['title']}: {query}", file=sys.stderr)
        for series in result:
            label = lambda match: series["metric"].get(match[1], "")
            name = re.sub(r"\{\{(\w+)\}\}", label, target["legendFormat"])
            yield name, [(float(at), float(value)) for at, value in series["values"] if value != "NaN"]


def linear(top, unit):
    """Returns the marks of an axis from 0, with at most four steps."""
    base = UNITS.get(unit, (10,))[0]
    size = base ** math.floor(math.log(top, base)) if base == 1024 and top > 1 else 1
    step = 10 ** math.floor(math.log10(top / size / 4))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if step * factor * 4 >= top / size * 0.999) * size
    return [step * number for number in range(math.ceil(top / step * 0.999) + 1)]


def logarithmic(values):
    """Returns the powers of ten around values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def draw(panel, options, start, end):
    place, defaults = panel["gridPos"], panel["fieldConfig"]["defaults"]
    unit, is_log = defaults["unit"], "custom" in defaults
    width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
    series = [(name, points) for name, points in lines(panel, options, start, end)]
    yield f'<g transform="translate({place["x"] * COLUMN + GAP},{place["y"] * ROW + GAP})">'
    yield f'<rect width="{width}" height="{height}" fill="#181b1f" stroke="#2c3235"/>'
    yield f'<text x="10" y="18" font-size="13" font-weight="bold">{escape(panel["title"])}</text>'
    legend, x, y = [], 12, 0
    for number, (name, _) in enumerate(series):
        length = 26 + 6.2 * len(name)
        if x > 12 and x + length > width - 10:
            x, y = 12, y + 14
        legend.append((x, y, name, COLOURS[number % len(COLOURS)]))
        x += length
    left, right, head, foot = 64, width - 10, 28, height - 38 - y
    values = [value for _, points in series for _, value in points if value > 0]
    marks = logarithmic(values) if is_log and values else linear(max(values, default=1), unit)
    across = lambda at: left + (right - left) * (at - start) / (end - start)
    scale = (lambda value: math.log10(max(value, marks[0]))) if is_log and values else float
    up = lambda value: foot - (foot - head) * (scale(value) - scale(marks[0])) / (scale(marks[-1]) - scale(marks[0]))
    if not series:
        yield f'<text x="{width / 2}" y="{height / 2}" text-anchor="middle">No data</text>'
    for mark in marks:
        yield f'<path d="M{left} {up(mark):.1f}H{right}" stroke="#2c3235"/>'
        yield f'<text x="{left - 6}" y="{up(mark) + 4:.1f}" text-anchor="end">{escape(shown(mark, unit))}</text>'
    for number in range(5):
        at = start + (end - start) * (number + 0.5) / 5
        clock = time.strftime("%H:%M:%S", time.gmtime(at))
        yield f'<text x="{across(at):.0f}" y="{foot + 14}" text-anchor="middle">{clock}</text>'
    for number, (_, points) in enumerate(series):
        path, last = "", None
        for at, value in points:
            command = "L" if last is not None and at - last <= 1.5 * options.scrape else "M"
            path, last = f"{path}{command}{across(at):.0f} {up(value):.1f}", at
        colour = COLOURS[number % len(COLOURS)]
        yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-linecap="round"/>'
    for x, y, name, colour in legend:
        yield f'<path d="M{x} {foot + 26 + y}h10" stroke="{colour}" stroke-width="3"/>'
        yield f'<text x="{x + 14}" y="{foot + 30 + y}">{escape(name)}</text>'
    yield "</g>"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prometheus", help="URL of Prometheus")
    parser.add_argument("--minutes", type=float, default=60, help="time to draw")
    parser.add_argument("--until", type=float, default=time.time(), help="end of that time, in seconds since 1970")
    parser.add_argument("--scrape", type=int, default=15, help="seconds between two scrapes")
    options = parser.parse_args()
    panels = json.loads((pathlib.Path(__file__).parent / "dashboard.json").read_text())["panels"]
    end = options.until // options.scrape * options.scrape
    start = end - options.minutes * 60
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * COLUMN + GAP} {rows * ROW + GAP}"')
    print(' font-family="sans-serif" font-size="11" fill="#ccccdc"><rect width="100%" height="100%" fill="#111217"/>')
    for panel in panels:
        print("\n".join(draw(panel, options, start, end)))
    print("</svg>")


main()
