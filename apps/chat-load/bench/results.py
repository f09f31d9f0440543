"""The figures that follow from the runs."""

from math import exp, log
from statistics import median

from servers import FLOOR


def cpu(report):
    return report["server"]["cpu_us_per_delivery"]


def deliveries(report):
    return report["deliveries_per_second"]


def acknowledged(report):
    return report["acknowledged_per_second"]


class Results:
    """The runs of one or more rounds."""

    def __init__(self, data):
        self.data, self.reports, self.points = data, {}, {}
        for run in data.get("runs", []):
            self.reports.setdefault((run["server"], run["shape"]), []).append(run["report"])
        for run in data.get("curves", []):
            self.points.setdefault((run["server"], run["curve"], run["size"]), []).append(run["report"])

    def failures(self, name, shape):
        return [report["failures"][0] for report in self.reports.get((name, shape), []) if report["failures"]]

    def each(self, name, shape, find=cpu):
        """Returns a figure of each round, or `None` if a check failed."""
        return [None if report["failures"] else find(report) for report in self.reports.get((name, shape), [])]

    def figure(self, name, shape, find=cpu):
        """Returns the median of a figure, or `None` if each round has a failed check."""
        values = [value for value in self.each(name, shape, find) if value is not None]
        return median(values) if values else None

    def ratios(self, name, shape, base=FLOOR, find=cpu):
        """Returns the ratio to another server in each round in which no check of either failed."""
        pairs = zip(self.each(name, shape, find), self.each(base, shape, find))
        return [one / other for one, other in pairs if one is not None and other]

    def ratio(self, name, shape, base=FLOOR, find=cpu):
        """Returns the median of the ratios, or `None` if there is none."""
        ratios = self.ratios(name, shape, base, find)
        return median(ratios) if ratios else None

    def mean(self, name, shapes):
        """Returns the geometric mean of the ratios to the floor, or `None` if a shape has none."""
        medians = [self.ratio(name, shape) for shape in shapes]
        return None if None in medians or not medians else exp(sum(map(log, medians)) / len(medians))

    def worst(self, name, shapes, base=FLOOR):
        """Returns the largest ratio. A shape that the base fails has none. `None` if the server fails a shape."""
        if any(self.each(name, shape) and self.figure(name, shape) is None for shape in shapes):
            return None
        ratios = [ratio for shape in shapes if (ratio := self.ratio(name, shape, base)) is not None]
        return max(ratios, default=None)

    def idle(self, name, figure):
        report = self.data.get("idle", {}).get(name, {"failures": ["not measured"]})
        return None if report["failures"] else report["server"][figure]

    def curve(self, name, curve):
        """Returns the median of the CPU time of a delivery, in microseconds, by size."""
        figures = {}
        for (server, of, size), reports in self.points.items():
            values = [cpu(report) for report in reports if not report["failures"]]
            if (server, of) == (name, curve) and values:
                figures[size] = median(values)
        return figures

    def steepness(self, name, curve):
        """Returns the highest point of a curve, as a ratio to its lowest one."""
        figures = self.curve(name, curve).values()
        return max(figures) / min(figures) if figures else None

    def by_cores(self, name, in_flight, cores, find):
        """Returns a figure of the reports of each round, by round."""
        runs = [run for run in self.data.get("cores", []) if (run["server"], run["in_flight"]) == (name, in_flight)]
        return {
            run["round"]: find(run["reports"])
            for run in runs
            if run["cores"] == cores and not any(report["failures"] for report in run["reports"])
        }

    def speedups(self, name, in_flight):
        """Returns the deliveries a second on two cores, as a ratio to those on one core, of each round."""
        one, two = (self.by_cores(name, in_flight, cores, rate) for cores in (1, 2))
        return [two[round] / one[round] for round in one if round in two]

    def events_per_user(self, users):
        """Returns the number of events sent for each user, when this number of users joined a room."""
        counts = [count for count in self.data.get("joins", []) if count["users"] == users]
        return sum(counts[0]["events"].values()) / users if counts else None


def rate(reports):
    """Returns the deliveries a second of servers that ran at the same time."""
    return sum(report["deliveries"] for report in reports) / max(report["seconds"] for report in reports)


def cpu_of_all(reports):
    """Returns the CPU time of a delivery, in microseconds."""
    seconds = sum(report["server_cpu_seconds"] for report in reports)
    return seconds * 1e6 / sum(report["deliveries"] for report in reports)


def own_cores(reports):
    """Returns the cores that the generators used."""
    return sum(report["own_cpu_seconds"] / report["seconds"] for report in reports)
