"""The bounds of this project for its own figures."""

from statistics import median

from measure import BIG_ROOM, CORE_LOADS, IDLE, IN_MEMORY, JOINS, SHAPES, SMALL_ROOMS, SQLITE
from results import acknowledged
from servers import SERVERS, UWEBSOCKETS

ALL = list(SHAPES)
REF = "chatd-tungstenite/ref"
# By server: the geometric mean of the ratios to the floor, the worst shape, KiB of an idle connection.
HIJACK = {
    "chatd-tungstenite": (1.15, 1.3, 4),
    "chatd-axum": (1.15, 1.3, 4),
    "chatd-warp": (1.15, 1.3, 4),
    "chatd-actix": (1.35, 1.6, 12),
}
FRAMEWORK = [name for name in SERVERS if name.endswith("/framework")]
FRAMEWORK_MEAN = 1.6
CONNECT_US = 80
SLOPE, SPEEDUP = 1.3, 1.8
# The readers from which on rooms on disk have a bound.
DISK_SHAPES = [*BIG_ROOM, "fifty", "fifty-saturated"]


class Bound:
    """A figure, and what it must be."""

    def __init__(self, what, value, most=None, least=None):
        self.what, self.value, self.most, self.least = what, value, most, least

    def cells(self):
        if self.value is None:
            return [self.what, "", self.limit(), "not measured"]
        holds = self.value <= self.most if self.least is None else self.value >= self.least
        return [self.what, f"{self.value:,.2f}", self.limit(), "yes" if holds else "**no**"]

    def limit(self):
        return f"at most {self.most:g}" if self.least is None else f"at least {self.least:g}"


def bounds(results):
    """Yields all bounds whose servers were measured."""
    for name, (mean, worst, _) in HIJACK.items():
        yield Bound(f"`{name}`: geometric mean of the ratios to the floor", results.mean(name, ALL), most=mean)
        yield Bound(f"`{name}`: worst of these ratios", results.worst(name, ALL), most=worst)
    for name in FRAMEWORK:
        example = name.removeprefix("chatd-").removesuffix("/framework") + "-example"
        yield Bound(f"`{name}`: geometric mean", results.mean(name, ALL), most=FRAMEWORK_MEAN)
        failed = [shape for shape in ALL if results.each(example, shape) and results.figure(example, shape) is None]
        left_out = f", without {', '.join(failed)}, which `{example}` fails" if failed else ""
        yield Bound(f"`{name}`: worst ratio to `{example}`{left_out}", results.worst(name, ALL, example), most=1)
    # On actix, another crate writes to the sockets.
    for name in (name for name in HIJACK if name != "chatd-actix"):
        for shape in ("bursts", "room-saturated"):
            what = f"`{name}`: ratio to uWebSockets, {SHAPES[shape][0]}"
            yield Bound(what, results.ratio(name, shape, UWEBSOCKETS), most=1)
    for shapes, most in ((BIG_ROOM, 1.1), (SMALL_ROOMS, 1.25)):
        for shape in shapes:
            what = f"`{REF}`: ratio to the same without `ref` and `key`, {SHAPES[shape][0]}"
            yield Bound(what, results.ratio(REF, shape, IN_MEMORY), most=most)
    yield from disk(results)
    for name, (_, _, kib) in HIJACK.items():
        what = f"`{name}`: KiB of an idle connection, of {IDLE:,}"
        yield Bound(what, results.idle(name, "rss_kib_per_connection"), most=kib)
    for name in HIJACK:
        what = f"`{name}`: CPU time to connect and to join, us"
        yield Bound(what, results.idle(name, "cpu_us_per_connection"), most=CONNECT_US)
    for curve in ("members", "rooms"):
        what = f"`{IN_MEMORY}`: highest point of the curve over {curve}, divided by its lowest point"
        yield Bound(what, results.steepness(IN_MEMORY, curve), most=SLOPE)
    few, many = (results.events_per_user(users) for users in (JOINS[0], JOINS[-1]))
    what = f"events for each of {JOINS[-1]:,} users who join a room, divided by those for each of {JOINS[0]:,}"
    yield Bound(what, many / few if few and many else None, most=1)
    for in_flight in CORE_LOADS:
        speedups = results.speedups(IN_MEMORY, in_flight)
        what = f"`{IN_MEMORY}`: deliveries a second on two cores, divided by those on one; {in_flight} in flight"
        yield Bound(what, median(speedups) if speedups else None, least=SPEEDUP)


def disk(results):
    for shape in DISK_SHAPES:
        what = f"`{SQLITE}`: ratio to the same in memory, {shape}"
        yield Bound(what, results.ratio(SQLITE, shape, IN_MEMORY), most=1.15)
    what = f"`{SQLITE}`: durable sends a second of 64 senders, divided by those in memory"
    yield Bound(what, results.ratio(SQLITE, "sends", IN_MEMORY, acknowledged), least=0.5)
    what = "the same for each second of the server's CPU time"
    ratio = results.ratio(SQLITE, "sends", IN_MEMORY)
    yield Bound(what, 1 / ratio if ratio else None, least=0.5)
