"""The measurements. Each returns plain data, which `runs.json` keeps."""

import contextlib
import itertools
import json
import subprocess
import sys

import joins
from servers import FLOOR, LOAD_CORE, ROOT, SERVER_CORE, SERVERS, UWEBSOCKETS, pin, run, started

# By name: the title, and the arguments of chat-load. The four writers of a big room are among its 1,000 members.
SHAPES = {
    "room": ("1 room x 1,000, 20 msg/s", "fanout --connections 996 --rate 20"),
    "rooms": ("500 rooms x 3, 4,000 msg/s", "rooms --connections 1500 --members 3 --rate 4000"),
    "room-saturated": ("1 x 1,000 saturated", "fanout --connections 996 --closed"),
    "bursts": ("1 x 1,000, bursts of 8", "fanout --connections 996 --burst 8 --rate 80"),
    "rooms-saturated": ("500 x 3 saturated", "rooms --connections 1500 --members 3 --closed"),
}
BIG_ROOM = ["room", "room-saturated", "bursts"]
SMALL_ROOMS = ["rooms", "rooms-saturated"]

# Rooms on disk are compared with rooms in memory, from 50 readers on.
SQLITE, IN_MEMORY = "chatd-tungstenite/sqlite", "chatd-tungstenite"
DISK_SHAPES = {
    "fifty": ("1 room x 50, 400 msg/s", "fanout --connections 46 --rate 400"),
    "fifty-saturated": ("1 x 50 saturated", "fanout --connections 46 --closed"),
    "sends": ("64 senders, each waits for its message", "rooms --connections 64 --members 1 --closed"),
}

# Small versions of the shapes, for --check.
CHECKS = {
    "room": "fanout --connections 16 --rate 50",
    "rooms": "rooms --connections 30 --members 3 --rate 200",
    "bursts": "fanout --connections 16 --burst 8 --rate 80",
    "rooms-saturated": "rooms --connections 30 --members 3 --closed",
}

# Curves: by name the title, the unit, the sizes, and the arguments for a size. The number of deliveries a second is the
# same for all sizes of a curve.
CURVE_SERVERS = [FLOOR, UWEBSOCKETS, "chatd-tungstenite"]
CURVES = {
    "members": (
        "members of one room, 20,000 deliveries/s",
        [10, 100, 1_000, 3_000, 10_000],
        lambda size: f"fanout --connections {size - 4} --rate {20_000 / size}",
    ),
    "rooms": (
        "rooms of one member, 4,000 messages/s",
        [1, 10, 100, 1_000, 10_000],
        lambda size: f"rooms --connections {size} --members 1 --rate 4000",
    ),
}

IDLE = 10_000
# The most connections that a process with 20,000 descriptors has for certain.
MOST_IDLE, MOST_IDLE_SERVERS = 19_800, [FLOOR, "chatd-tungstenite"]

# One and two cores: messages in flight, and messages of a measurement.
CORE_SERVERS = ["chatd-tungstenite", "chatd-axum", "axum-example"]
CORE_LOADS = {4: 400, 32: 640}
CORE_MEMBERS = 1_000

JOINS = [250, 500, 1_000, 2_000]
JOIN_SERVER = "chatd-tungstenite"


def say(text):
    print(text, file=sys.stderr, flush=True)


def figure(report):
    each = (report.get("server") or {}).get("cpu_us_per_delivery", 0)
    return "; ".join(report["failures"]) or f"{each:.2f} us per delivery"


def interleaved(names, rounds):
    """Yields each round with its names. Another server is the first one in each round."""
    for round in range(rounds):
        first = round % len(names)
        yield round, names[first:] + names[:first]


def takes(name, shape):
    """Returns true if a server runs a shape. Rooms on disk are compared only where there are 50 readers."""
    if shape in DISK_SHAPES:
        return name in (FLOOR, IN_MEMORY, SQLITE)
    return name != SQLITE or shape in BIG_ROOM


def shapes(names, wanted, rounds, seconds):
    """Runs every shape on every server in each round."""
    runs = []
    for round, order in interleaved(names, rounds):
        for shape, (_, arguments) in wanted.items():
            for name in (name for name in order if takes(name, shape)):
                report = run(name, arguments, seconds)
                runs.append({"round": round, "shape": shape, "server": name, "report": report})
                say(f"round {round + 1} of {rounds}: {shape}: {name}: {figure(report)}")
    return runs


def idle(names, connections):
    measured = {}
    for name in names:
        measured[name] = run(name, f"fanout --connections {connections} --rate 1", 1)
        server = measured[name].get("server")
        said = f"{server['rss_kib_per_connection']:.1f} KiB each" if server else "failed"
        say(f"idle: {connections} connections: {name}: {said}")
    return measured


def curves(names, rounds, seconds):
    runs = []
    for round, order in interleaved(names, rounds):
        for curve, (_, sizes, arguments) in CURVES.items():
            for size, name in itertools.product(sizes, order):
                report = run(name, arguments(size), seconds)
                runs.append({"round": round, "curve": curve, "size": size, "server": name, "report": report})
                say(f"round {round + 1} of {rounds}: {size} {curve}: {name}: {figure(report)}")
    return runs


def sleeping(name, cores, load_cores, messages, in_flight, members=CORE_MEMBERS, profile="release"):
    """Measures servers whose readers sleep, a server for each item of `cores`, at the same time."""
    script = ROOT / "apps/chat-load/bench/sleeping.py"
    with contextlib.ExitStack() as stack:
        loads = []
        for core in cores:
            url, pid, _ = stack.enter_context(started(name, profile, core))
            command = [*pin(load_cores), sys.executable, script, "--url", url, "--pid", str(pid)]
            common = ["--protocol", SERVERS[name]["protocol"], "--members", str(members)]
            command += [*common, "--messages", str(messages), "--in-flight", str(in_flight)]
            load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            loads.append(stack.enter_context(load))
            stack.callback(load.kill)
        if not all(load.stdout.readline() for load in loads):
            return [{"failures": ["the members could not connect"]}]
        for load in loads:
            load.stdin.write("\n")
            load.stdin.flush()
        reports = [load.stdout.readline() for load in loads]
    return [json.loads(report) if report else {"failures": ["no result"]} for report in reports]


def cores(names, rounds):
    """Measures each server on one core and on two. Two floors with a core each show what the machine can do."""
    runs = []
    for round, order in interleaved([FLOOR, *names], rounds):
        for (in_flight, messages), name in itertools.product(CORE_LOADS.items(), order):
            two = [SERVER_CORE, LOAD_CORE] if name == FLOOR else [f"{SERVER_CORE},{LOAD_CORE}"]
            for count, used, load in ((1, [SERVER_CORE], LOAD_CORE), (2, two, None)):
                reports = sleeping(name, used, load, messages, in_flight)
                about = {"round": round, "in_flight": in_flight, "server": name, "cores": count}
                runs.append({**about, "reports": reports})
                failures = [failure for report in reports for failure in report["failures"]]
                said = "; ".join(failures) or f"{max(report['seconds'] for report in reports):.3f} s"
                say(f"round {round + 1} of {rounds}: {count} cores, {in_flight} in flight: {name}: {said}")
    return runs


def joined(numbers, profile="release", cores=SERVER_CORE):
    counts = []
    for users in numbers:
        with started(JOIN_SERVER, profile, cores) as (url, _, _):
            try:
                counts.append(joins.count(url, users))
            except OSError as error:
                counts.append({"users": users, "events": {}, "failures": [str(error)]})
        count = counts[-1]
        said = "; ".join(count["failures"]) or f"{sum(count['events'].values())} events"
        say(f"{users} users join: {said}")
    return counts
