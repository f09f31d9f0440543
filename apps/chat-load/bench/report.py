"""The report as Markdown: the bounds, and tables of all figures."""

import datetime
import os
import pathlib
import platform
import re
import subprocess
from statistics import median

from bounds import bounds
from measure import CORE_LOADS, CORE_MEMBERS, CURVES, DISK_SHAPES, IDLE, IN_MEMORY, MOST_IDLE, SHAPES, SQLITE
from results import acknowledged, cpu_of_all, deliveries, own_cores, rate
from servers import FLOOR, RIVALS, ROOT, UWEBSOCKETS

# Crates whose versions are named.
CRATES = ["actix-web", "actix-ws", "axum", "socketioxide", "tokio", "tokio-tungstenite", "warp", "libuwebsockets-sys"]


def machine():
    """Returns what the figures depend on, by name."""
    said = lambda *command: subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    locks = (RIVALS.with_name("Cargo.lock"), RIVALS.parent / UWEBSOCKETS / "Cargo.lock")
    lock = "\n".join(lock.read_text() for lock in locks)
    versions = dict(re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"', lock))
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {
        "date": datetime.date.today().isoformat(),
        "commit": said("git", "describe", "--always", "--dirty"),
        "CPU": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "compilers": f"{said('rustc', '--version')}; {said('c++', '--version').splitlines()[0]}",
        "load average before": f"{os.getloadavg()[0]:.2f}",
        "versions": ", ".join(f"{crate} {versions[crate]}" for crate in CRATES if crate in versions),
    }


def table(head, rows):
    line = lambda cells: "| " + " | ".join(cells) + " |"
    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def number(value, digits=2):
    return "" if value is None else f"{value:,.{digits}f}"


def spread(values, digits=2):
    """Returns a cell with the median, the minimum and the maximum."""
    if not values:
        return ""
    middle, least, most = (number(value, digits) for value in (median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})"


class Report:
    def __init__(self, results):
        self.results, self.data = results, results.data
        measured = {name for name, _ in results.reports}
        self.names = [name for name in self.data["names"] if name in measured]
        shapes = {shape for _, shape in results.reports}
        self.shapes = {shape: title for shape, (title, _) in SHAPES.items() if shape in shapes}
        self.disk_shapes = {shape: title for shape, (title, _) in (SHAPES | DISK_SHAPES).items() if shape in shapes}

    def markdown(self):
        parts = [self.head(), self.bounds()]
        if self.names:
            parts += [self.ratios(), self.figures()]
        if self.names and SQLITE in self.names:
            parts.append(self.disk())
        for name, part in (("idle", self.idle), ("curves", self.curves), ("cores", self.cores), ("joins", self.joins)):
            if self.data.get(name):
                parts.append(part())
        facts = "\n".join(f"- {name}: {value}" for name, value in self.data["machine"].items())
        return "\n\n".join([*parts, f"## Machine\n\n{facts}\n"])

    def head(self):
        return f"""# CPU time of a delivery, compared with other servers

Medians of {self.data["rounds"]} rounds of {self.data["seconds"]:g} s, with the minimum and the maximum.
`floor` copies encoded frames to sockets and does nothing else. A cell without a figure names the check that failed.
Method and limits: `docs/performance.md`."""

    def bounds(self):
        rows = [bound.cells() for bound in bounds(self.results)]
        measured = [row for row in rows if row[3] != "not measured"]
        held = sum(row[3] == "yes" for row in measured)
        return f"## Bounds\n\n{held} of {len(measured)} measured bounds hold.\n\n" + table(
            ["figure", "value", "bound", "holds"], rows
        )

    def ratio_cell(self, name, shape):
        cell, failures = spread(self.results.ratios(name, shape)), self.results.failures(name, shape)
        return f"{cell} failed in {len(failures)}: {failures[0]}".strip() if failures else cell

    def shape_table(self, cell, last=None):
        head = ["server", *self.shapes.values(), *([last[0]] if last else [])]
        rows = [
            [name, *(cell(name, shape) for shape in self.shapes), *([last[1](name)] if last else [])]
            for name in self.names
        ]
        return table(head, rows)

    def ratios(self):
        mean = lambda name: f"**{number(self.results.mean(name, list(self.shapes)))}**".replace("****", "")
        return f"""## Ratios to the floor

![chart](chart.svg)

Less is better.

{self.shape_table(self.ratio_cell, ("geometric mean", mean))}

`chatd-*` take over the TCP connection. `/framework` uses the WebSocket of the framework, with `/ref` each send has a
`ref` and a `key`, and with `/sqlite` the rooms are on disk. `*-example` have the structure of the chat example of a
framework."""

    def figures(self):
        cell = lambda digits, *find: lambda name, shape: number(self.results.figure(name, shape, *find), digits)
        return f"""## The same in microseconds

{self.shape_table(cell(2))}

## Deliveries per second

In the saturated shapes each writer sends its next message when its last one has come back.

{self.shape_table(cell(0, deliveries))}

## Cores of the server

{self.shape_table(cell(2, lambda report: report["server"]["cores"]))}

## Cores of the load generator

A value near 1 means that the generator was the limit, and not the server.

{self.shape_table(cell(2, lambda report: report["own_cores"]))}"""

    def disk(self):
        rows = []
        for shape, title in self.disk_shapes.items():
            if not self.results.each(SQLITE, shape):
                continue
            of = lambda name, find, digits: number(self.results.figure(name, shape, find), digits)
            cpu = [number(self.results.figure(name, shape)) for name in (IN_MEMORY, SQLITE)]
            sends = [of(name, acknowledged, 0) for name in (IN_MEMORY, SQLITE)]
            rows.append([title, *cpu, spread(self.results.ratios(SQLITE, shape, IN_MEMORY)), *sends])
        head = ["load", "us in memory", "us on disk", "ratio", "sends per second in memory", "on disk"]
        return f"""## Rooms on disk

`{SQLITE}` sends a message to members and acknowledges it when it is on the disk. The values are
us of CPU time of the server per delivery; the ratios are round by round.

{table(head, rows)}"""

    def idle(self):
        rows = []
        for connections, part in ((IDLE, "idle"), (MOST_IDLE, "most_idle")):
            for name, report in self.data.get(part, {}).items():
                server = report.get("server")
                keys = ("rss_kib_per_connection", "cpu_us_per_connection")
                failed = ["; ".join(report["failures"]) or "failed", ""]
                figures = [number(server[key], 1) for key in keys] if server and not report["failures"] else failed
                rows.append([name, f"{connections:,}", *figures])
        return f"""## Connections

Connections that have joined one room and send nothing. The CPU time is that of connecting and joining.

{table(["server", "connections", "KiB per connection", "us of CPU per connection"], rows)}"""

    def curves(self):
        parts = ["## Curves\n\nus of CPU per delivery, and in parentheses the ratio to the best value of the row."]
        for curve, (title, sizes, _) in CURVES.items():
            rows = []
            for name in self.data["names"]:
                line = self.results.curve(name, curve)
                if line:
                    best = min(line.values())
                    cell = lambda value: f"{number(value)} ({number(value / best)})"
                    rows.append([name, *(cell(line[size]) if size in line else "" for size in sizes)])
            head = ["server", *(f"{size:,}" for size in sizes)]
            parts.append(f"![curve](curve-{curve}.svg)\n\n{title}:\n\n{table(head, rows)}")
        return "\n\n".join(parts)

    def cores(self):
        rows = []
        for in_flight in CORE_LOADS:
            for name in dict.fromkeys(run["server"] for run in self.data["cores"]):
                of = lambda cores, find: list(self.results.by_cores(name, in_flight, cores, find).values())
                title = f"two of `{FLOOR}`, a core each, against one" if name == FLOOR else name
                rates = [spread(of(cores, rate), 0) for cores in (1, 2)]
                cpu = [spread(of(cores, cpu_of_all)) for cores in (1, 2)]
                speedup = spread(self.results.speedups(name, in_flight))
                rows.append([title, str(in_flight), *rates, speedup, *cpu, spread(of(2, own_cores))])
        head = ["server", "in flight", "deliveries/s, 1 core", "2 cores", "ratio"]
        head += ["us of CPU, 1 core", "2 cores", "generator's cores"]
        reports = [report for run in self.data["cores"] for report in run["reports"]]
        failures = sorted({failure for report in reports for failure in report["failures"]})
        failed = "".join(f"\n\nA check failed: {failure}." for failure in failures)
        return f"""## One core and two cores

1 room of {CORE_MEMBERS:,} members that sleep until all is written. The rows of `{FLOOR}` show what two cores of this
machine can do.

{table(head, rows)}{failed}"""

    def joins(self):
        rows = []
        for count in self.data["joins"]:
            users, events = count["users"], count["events"]
            total = sum(events.values())
            kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(events.items()))
            kinds = "; ".join([*(f"failed: {failure}" for failure in count["failures"]), kinds])
            rows.append([f"{users:,}", f"{total:,}", number(total / users, 1), f"{users * users // 2:,}", kinds])
        head = ["users", "events sent", "for each user", "users squared, halved", "kinds"]
        return f"""## Joins

Users who join one room at the same time, and the events that the server sent to all of them until each knew the final
number.

{table(head, rows)}"""
