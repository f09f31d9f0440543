"""Compares the CPU time of a delivery: our servers, examples of frameworks, uWebSockets, and a lower bound (floor).

All servers get the same load from chat-load, which checks every delivery. A server has one core and the load has
another one, so the machine needs two cores and should do nothing else. In each round every server runs each shape once.
The result is the ratio to the floor in the same round. Further parts: memory of idle connections, curves over the
number of members and rooms, one core against two, and the events of joins.

Writes report.md, SVG charts and runs.json to target/bench. With all parts and 5 rounds it takes about 30 minutes, after
about 10 minutes of building:
    just bench
    just bench --servers chatd-axum,axum-example --shapes bursts --parts shapes --rounds 1 --seconds 1
    just bench --parts curves,cores
    just bench --check"""

import argparse
import json
import resource
import sys
import time

# This script leaves no files beside it.
sys.dont_write_bytecode = True

import charts
import measure
import report
import servers
from results import Results
from servers import FLOOR, RESULTS, SERVERS

PARTS = ["shapes", "idle", "curves", "cores", "joins"]
SHAPES = measure.SHAPES | measure.DISK_SHAPES


def check(names):
    """Runs small loads, without figures. Returns the exit code."""
    servers.build(names, "debug")
    results = []

    def show(name, load, failures):
        print(f"{name}: {load}: {'; '.join(failures) or 'good'}", flush=True)
        results.append(not failures)

    for name in names:
        for shape, arguments in measure.CHECKS.items():
            show(name, shape, servers.run(name, arguments, 1, "debug", pinned=False)["failures"])
    for name in (name for name in names if SERVERS[name]["protocol"] in ("plain", "chat-bare")):
        reports = measure.sleeping(name, [None], None, 40, 4, members=20, profile="debug")
        show(name, "readers that sleep", reports[0]["failures"])
    if measure.JOIN_SERVER in names:
        show(measure.JOIN_SERVER, "joins", measure.joined([150], "debug", None)[0]["failures"])
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


def run(names, options):
    """Runs the parts, and writes their data."""
    data = {"machine": report.machine(), "rounds": options.rounds, "seconds": options.seconds, "names": names}
    among = lambda wanted: [name for name in wanted if name in names]
    start = time.monotonic()
    for part in options.parts:
        if part == "shapes":
            is_useful = lambda shape: shape in measure.SHAPES or measure.SQLITE in names
            wanted = {shape: SHAPES[shape] for shape in options.shapes if is_useful(shape)}
            data["runs"] = measure.shapes(names, wanted, options.rounds, options.seconds)
        elif part == "idle":
            data["idle"] = measure.idle([name for name in names if name != measure.SQLITE], measure.IDLE)
            data["most_idle"] = measure.idle(among(measure.MOST_IDLE_SERVERS), measure.MOST_IDLE)
        elif part == "curves":
            rounds = (options.rounds + 1) // 2
            data["curves"] = measure.curves(among(measure.CURVE_SERVERS), rounds, options.seconds)
        elif part == "cores":
            data["cores"] = measure.cores(among(measure.CORE_SERVERS), options.rounds)
        elif part == "joins" and measure.JOIN_SERVER in names:
            data["joins"] = measure.joined(measure.JOINS)
        # What was measured is kept if a later part fails.
        (RESULTS / "runs.json").write_text(json.dumps(data, indent=1))
        measure.say(f"{part}: done after {(time.monotonic() - start) / 60:.1f} min")


def write(data):
    """Writes the report. Returns the exit code."""
    results = Results(data)
    written = report.Report(results)
    (RESULTS / "report.md").write_text(written.markdown())
    if written.names:
        names = [name for name in written.names if name not in (FLOOR, measure.SQLITE)]
        (RESULTS / "chart.svg").write_text(charts.ratios(results, names, written.shapes))
    for curve, (title, _, _) in measure.CURVES.items():
        if data.get("curves"):
            lines = {name: results.curve(name, curve) for name in data["names"]}
            (RESULTS / f"curve-{curve}.svg").write_text(charts.curves(title, lines))
    print(written.markdown())
    # A framework's example may lose messages under load. The report says so. Our servers and the floor must not.
    runs = [*data.get("runs", []), *data.get("curves", [])]
    runs = [(run["server"], run["report"]) for run in runs] + list(data.get("idle", {}).items())
    runs += list(data.get("most_idle", {}).items())
    runs += [(run["server"], each) for run in data.get("cores", []) for each in run["reports"]]
    runs += [(measure.JOIN_SERVER, each) for each in data.get("joins", [])]
    ours = [each for name, each in runs if SERVERS[name]["package"] or name == FLOOR]
    return 1 if any(each["failures"] for each in ours) else 0


def listed(known):
    def parse(text):
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"unknown: {name}; expected some of {','.join(known)}")
        return names

    return parse


def main():
    form = argparse.RawDescriptionHelpFormatter
    options = argparse.ArgumentParser(prog="just bench", description=__doc__, formatter_class=form)
    options.add_argument("--rounds", type=int, default=5, help="rounds (default: 5); the curves have half of them")
    options.add_argument("--seconds", type=float, default=2, help="seconds of load of each run (default: 2)")
    options.add_argument("--servers", type=listed(SERVERS), default=list(SERVERS), help="names, separated by commas")
    options.add_argument("--shapes", type=listed(SHAPES), default=list(SHAPES), help="names, separated by commas")
    options.add_argument("--parts", type=listed(PARTS), default=PARTS, help=f"some of {','.join(PARTS)} (default: all)")
    options.add_argument("--no-build", action="store_true", help="measure the programs that were built before")
    options.add_argument("--render", action="store_true", help="write the report of the last runs again")
    options.add_argument("--check", action="store_true", help="run small loads with debug builds, and check deliveries")
    options = options.parse_args()
    # Each connection needs one descriptor in the server and one in the load generator.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    names = [FLOOR, *(name for name in options.servers if name != FLOOR)]
    if options.check:
        sys.exit(check(names))
    if not options.render:
        if not options.no_build:
            servers.build(names, "release")
        RESULTS.mkdir(parents=True, exist_ok=True)
        run(names, options)
    sys.exit(write(json.loads((RESULTS / "runs.json").read_text())))


if __name__ == "__main__":
    main()
