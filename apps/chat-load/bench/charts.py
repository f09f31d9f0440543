"""The charts of the report, as SVG. All axes are logarithmic."""

from html import escape
from math import log
from statistics import median

COLOURS = ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#b279a2"]
FONT = ' font-family="sans-serif" font-size="12">'
# The page around a chart may be dark.
BACKGROUND = '<rect width="100%" height="100%" fill="white"/>'
RATIOS = (0.8, 1, 1.25, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)
MICROSECONDS = (0.5, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 40, 60, 100)


def svg(width, height, parts):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"' + FONT
    return "\n".join([head, BACKGROUND, *parts, "</svg>\n"])


def ratios(results, names, shapes):
    """Draws the ratio of each shape for each server, and their geometric mean. `shapes` has the titles by name."""
    left, width, row, top = 180, 560, 26, 70
    points = {name: {shape: results.ratios(name, shape) for shape in shapes} for name in names}
    values = [median(ratios) for shapes in points.values() for ratios in shapes.values() if ratios]
    low, high = log(min([0.8, *values])), log(max([2.0, *values]) * 1.05)
    x = lambda ratio: left + width * (log(ratio) - low) / (high - low)
    bottom = top + row * len(names)
    parts = ['<text x="10" y="20" font-weight="bold">CPU time of a delivery, divided by that of the floor</text>']
    for n, (title, colour) in enumerate(zip(shapes.values(), COLOURS)):
        at = 10 + 150 * n
        parts.append(f'<circle cx="{at + 5}" cy="42" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{at + 14}" y="46" font-size="10">{escape(title)}</text>')
    for tick in (tick for tick in RATIOS if low <= log(tick) <= high):
        parts.append(f'<line x1="{x(tick):.1f}" y1="{top - 8}" x2="{x(tick):.1f}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    for n, name in enumerate(names):
        y = top + row * n + row / 2
        parts.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        for ratios, colour in zip(points[name].values(), COLOURS):
            if ratios:
                parts.append(f'<circle cx="{x(median(ratios)):.1f}" cy="{y}" r="5" fill="{colour}" opacity="0.8"/>')
        if mean := results.mean(name, list(shapes)):
            parts.append(f'<rect x="{x(mean) - 1.5:.1f}" y="{y - 10}" width="3" height="20" fill="black"/>')
    parts.append(f'<text x="{left}" y="{bottom + 34}" font-size="10">The black bar is the geometric mean.</text>')
    return svg(left + width + 40, bottom + 40, parts)


def curves(title, lines):
    """Draws lines. `lines` has the microseconds by size, by name of a server."""
    lines = {name: line for name, line in lines.items() if line}
    left, width, top, height = 60, 600, 60, 260
    sizes = sorted({size for line in lines.values() for size in line})
    values = [value for line in lines.values() for value in line.values()]
    if not values:
        return svg(left + width, top + height, [])
    right, low, high = max(log(sizes[-1]), log(2 * sizes[0])), log(min(values) / 1.2), log(max(values) * 1.2)
    x = lambda size: left + width * (log(size) - log(sizes[0])) / (right - log(sizes[0]))
    y = lambda value: top + height * (high - log(value)) / (high - low)
    parts = [f'<text x="10" y="20" font-weight="bold">us of CPU per delivery; {escape(title)}</text>']
    for tick in (tick for tick in MICROSECONDS if low <= log(tick) <= high):
        parts.append(f'<line x1="{left}" y1="{y(tick):.1f}" x2="{left + width}" y2="{y(tick):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for size in sizes:
        parts.append(f'<text x="{x(size):.1f}" y="{top + height + 18}" text-anchor="middle">{size:,}</text>')
    for n, ((name, line), colour) in enumerate(zip(lines.items(), COLOURS)):
        at = left + 190 * n
        parts.append(f'<circle cx="{at}" cy="42" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{at + 10}" y="46">{escape(name)}</text>')
        points = [(f"{x(size):.1f}", f"{y(value):.1f}") for size, value in sorted(line.items())]
        path = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>' for x, y in points]
    return svg(left + width + 40, top + height + 30, parts)
