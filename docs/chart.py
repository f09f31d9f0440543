#!/usr/bin/env python3
"""Draws docs/adapters.svg from the first table in docs/measurements.md. Run it without arguments: docs/chart.py"""

import pathlib
from html import escape

HERE = pathlib.Path(__file__).parent
# Column of the table, title of its chart, colour of its bars.
CHARTS = [(2, "CPU per delivery, µs", "#f58518"), (9, "Peak memory, KiB, 202 connections", "#4c78a8")]
NAMES, BAR, WIDTH, ROW = 150, 210, 400, 22


def rows():
    lines = (HERE / "measurements.md").read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| binary | delivered |"))
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def chart(table, left, column, title, colour):
    values = [float(row[column]) for row in table]
    yield f'<text x="{left}" y="20" font-weight="bold">{escape(title)}</text>'
    for n, (row, value) in enumerate(zip(table, values)):
        y = 34 + n * ROW
        width = BAR * value / max(values)
        name = escape(row[0])
        yield f'<text x="{left + NAMES - 8}" y="{y + 14}" text-anchor="end">{name}</text>'
        yield f'<rect x="{left + NAMES}" y="{y + 2}" width="{width:.1f}" height="{ROW - 6}" fill="{colour}"/>'
        yield f'<text x="{left + NAMES + width + 6:.1f}" y="{y + 14}">{row[column]}</text>'


def main():
    table = list(rows())
    height = 44 + len(table) * ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {len(CHARTS) * WIDTH + 40} {height}"'
        ' font-family="sans-serif" font-size="12">',
        # The page around the chart may be dark.
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for n, (column, title, colour) in enumerate(CHARTS):
        parts += chart(table, 10 + n * (WIDTH + 20), column, title, colour)
    parts.append("</svg>\n")
    (HERE / "adapters.svg").write_text("\n".join(parts))


main()
