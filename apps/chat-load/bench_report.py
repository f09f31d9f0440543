"""The report of apps/chat-load/bench: ratios to the floor as Markdown tables and a chart."""

import datetime
import os
import pathlib
import platform
import re
import subprocess
from html import escape
from math import exp, log
from statistics import median

FLOOR = "floor"
# Crates whose versions are named.
CRATES = ["actix-web", "actix-ws", "axum", "socketioxide", "tokio", "tokio-tungstenite", "warp"]
COLOURS = ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#b279a2"]


def machine(root, rivals):
    """Returns what the figures depend on, by name."""
    said = lambda *command: subprocess.run(command, cwd=root, capture_output=True, text=True).stdout.strip()
    lock = rivals.with_name("Cargo.lock").read_text()
    versions = dict(re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"', lock))
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {
        "date": datetime.date.today().isoformat(),
        "commit": said("git", "describe", "--always", "--dirty"),
        "CPU": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "compiler": said("rustc", "--version"),
        "load average before": f"{os.getloadavg()[0]:.2f}",
        "versions": ", ".join(f"{crate} {versions[crate]}" for crate in CRATES if crate in versions),
    }


class Result:
    """The runs, and what follows from them."""

    def __init__(self, names, shapes, runs, idle, idle_connections):
        self.names, self.shapes, self.idle, self.idle_connections = names, shapes, idle, idle_connections
        self.reports = {}
        for run in runs:
            self.reports.setdefault((run["server"], run["shape"]), []).append(run["report"])

    def failures(self, name, shape):
        return [failure for report in self.reports[name, shape] for failure in report["failures"]]

    def each(self, name, shape, find):
        """Returns a figure of each round, or `None` if a check failed."""
        return [None if report["failures"] else find(report) for report in self.reports[name, shape]]

    def cpu(self, name, shape):
        return self.each(name, shape, lambda report: report["server"]["cpu_us_per_delivery"])

    def ratios(self, name, shape):
        """Returns the ratio to the floor in each round without a failed check."""
        pairs = zip(self.cpu(name, shape), self.cpu(FLOOR, shape))
        return [one / floor for one, floor in pairs if one is not None and floor]

    def mean(self, name):
        """Returns the geometric mean of the medians, or `None` if a shape has none."""
        medians = [median(ratios) if (ratios := self.ratios(name, shape)) else None for shape in self.shapes]
        return None if None in medians else exp(sum(map(log, medians)) / len(medians))

    def ratio_cell(self, name, shape):
        ratios, failures = self.ratios(name, shape), self.failures(name, shape)
        cell = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
        rounds = sum(bool(report["failures"]) for report in self.reports[name, shape])
        return f"{cell} failed in {rounds}: {failures[0]}".strip() if failures else cell

    def table(self, head, rows):
        line = lambda cells: "| " + " | ".join(cells) + " |"
        return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])

    def shape_table(self, cell, last=None):
        head = ["server", *self.shapes.values(), *([last[0]] if last else [])]
        rows = [
            [name, *(cell(name, shape) for shape in self.shapes), *([last[1](name)] if last else [])]
            for name in self.names
        ]
        return self.table(head, rows)

    def figure_cell(self, find, digits):
        def cell(name, shape):
            values = [value for value in self.each(name, shape, find) if value is not None]
            return f"{median(values):,.{digits}f}" if values else ""

        return cell

    def idle_rows(self):
        for name, report in self.idle.items():
            server = report.get("server")
            figures = [server["rss_kib_per_connection"], server["cpu_us_per_connection"]] if server else []
            yield [name, *(f"{figure:,.1f}" for figure in figures)] if server else [name, "failed", ""]

    def markdown(self, machine, options):
        mean = lambda name: "" if (mean := self.mean(name)) is None else f"**{mean:.2f}**"
        cpu = self.figure_cell(lambda report: report["server"]["cpu_us_per_delivery"], 2)
        rate = self.figure_cell(lambda report: report["deliveries_per_second"], 0)
        cores = self.figure_cell(lambda report: report["server"]["cores"], 2)
        own = self.figure_cell(lambda report: report["own_cores"], 2)
        facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
        return f"""# CPU time of a delivery, as a ratio to the floor

![chart](chart.svg)

Median of {options.rounds} rounds of {options.seconds:g} s, with the minimum and the maximum. Less is better. `floor` copies encoded frames to
sockets and does nothing else. A cell without a ratio names the check that failed.

{self.shape_table(self.ratio_cell, ("geometric mean", mean))}

`chatd-*` take over the TCP connection, `/framework` uses the WebSocket of the framework, and with `/ref` each send has a `ref` and a `key`.
`*-example` have the structure of the chat example of a framework. Method and limits: `docs/performance.md`.

## The same in microseconds

{self.shape_table(cpu)}

## Deliveries per second

In the saturated shapes each writer sends its next message when its last one has come back.

{self.shape_table(rate)}

## Cores of the server

{self.shape_table(cores)}

## Cores of the load generator

A value near 1 means that the generator was the limit, and not the server.

{self.shape_table(own)}

## Connections

{self.idle_connections:,} connections that have joined one room and send nothing. The CPU time is that of connecting and joining.

{self.table(["server", "KiB per connection", "us of CPU per connection"], self.idle_rows())}

## Machine

{facts}
"""

    def chart(self):
        """Returns an SVG: for each server the ratio of each shape, and their geometric mean. The axis is logarithmic."""
        names, left, width, row, top = [name for name in self.names if name != FLOOR], 180, 560, 26, 70
        points = {name: {shape: self.ratios(name, shape) for shape in self.shapes} for name in names}
        values = [median(ratios) for shapes in points.values() for ratios in shapes.values() if ratios]
        low, high = log(min([0.8, *values])), log(max([2.0, *values]) * 1.05)
        x = lambda ratio: left + width * (log(ratio) - low) / (high - low)
        bottom = top + row * len(names)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 40} {bottom + 40}"'
            ' font-family="sans-serif" font-size="12">',
            # The page around the chart may be dark.
            '<rect width="100%" height="100%" fill="white"/>',
            '<text x="10" y="20" font-weight="bold">CPU time of a delivery, divided by that of the floor</text>',
        ]
        for n, (title, colour) in enumerate(zip(self.shapes.values(), COLOURS)):
            at = 10 + 150 * n
            parts.append(f'<circle cx="{at + 5}" cy="42" r="5" fill="{colour}"/>')
            parts.append(f'<text x="{at + 14}" y="46" font-size="10">{escape(title)}</text>')
        for tick in (t for t in (0.8, 1, 1.25, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32) if low <= log(t) <= high):
            parts.append(f'<line x1="{x(tick):.1f}" y1="{top - 8}" x2="{x(tick):.1f}" y2="{bottom}" stroke="#ddd"/>')
            parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
        for n, name in enumerate(names):
            y = top + row * n + row / 2
            parts.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
            for ratios, colour in zip(points[name].values(), COLOURS):
                if ratios:
                    parts.append(f'<circle cx="{x(median(ratios)):.1f}" cy="{y}" r="5" fill="{colour}" opacity="0.8"/>')
            if mean := self.mean(name):
                parts.append(f'<rect x="{x(mean) - 1.5:.1f}" y="{y - 10}" width="3" height="20" fill="black"/>')
        parts.append(f'<text x="{left}" y="{bottom + 34}" font-size="10">The black bar is the geometric mean.</text>')
        parts.append("</svg>\n")
        return "\n".join(parts)
