"""Charts as SVG, written by hand: bars of medians, whiskers from least to most, readable on light and dark pages.

Used by `run.py chart` and `report`. Pure: results in, text out; no library, no script in the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from .results import Results, Summary
from .scenario import Scenario
from .table import shown, unit

WIDTH, LEFT, RIGHT, TOP = 800, 285, 100, 62
BAR, GAP = 13, 12

STYLE = """\
    text { font: 12px system-ui, sans-serif; fill: #24292f }
    .title { font-weight: 600; font-size: 14px }
    .quiet { fill: #57606a }
    .axis { stroke: #afb8c1 }
    .whisker { stroke: #24292f }
    .bar0 { fill: #1f6feb } .bar1 { fill: #d4762c } .bar2 { fill: #8c959f }
    .bar3 { fill: #2da44e } .bar4 { fill: #a371f7 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .quiet { fill: #9198a1 }
      .axis { stroke: #3d444d }
      .whisker { stroke: #e6edf3 }
      .bar0 { fill: #58a6ff } .bar1 { fill: #f0883e } .bar2 { fill: #6e7681 }
      .bar3 { fill: #3fb950 } .bar4 { fill: #bc8cff }
    }"""


@dataclass(frozen=True)
class Bar:
    """One bar: which broker, by its place in the legend, and how long."""

    broker: int
    summary: Summary


@dataclass(frozen=True)
class Group:
    """The bars of one scenario."""

    title: str
    bars: tuple[Bar, ...]


def groups(results: Results, scenarios: Sequence[Scenario], brokers: Sequence[str], metric: str) -> list[Group]:
    """What there is to be drawn."""
    found = []
    for scenario in scenarios:
        bars = [Bar(place, summary) for place, broker in enumerate(brokers) if scenario.is_for(broker)
                and (summary := results.summary(scenario.name, broker, metric)) is not None]
        if bars:
            found.append(Group(scenario.title, tuple(bars)))
    return found


def draw(title: str, metric: str, brokers: Sequence[str], drawn: Sequence[Group]) -> str:
    """The picture. Bars begin at 0, so that their lengths compare."""
    of = unit(metric)
    most = max((bar.summary.high for group in drawn for bar in group.bars), default=0) or 1.0
    room = WIDTH - LEFT - RIGHT
    better = "more is better" if of.more_is_better else "less is better"
    body = [f'  <text class="title" x="12" y="22">{escape(title)}</text>',
            f'  <text class="quiet" x="12" y="40">{escape(f"{of.name}, {of.unit}; {better}")}</text>',
            *_legend(brokers)]
    y = TOP + GAP
    for group in drawn:
        height = BAR * len(group.bars)
        middle = y + height / 2 + 4
        body.append(f'  <text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end">{escape(group.title)}</text>')
        for number, bar in enumerate(group.bars):
            body += _bar(bar, y + number * BAR, room / most, of.scale)
        y += height + GAP
    body.append(f'  <line class="axis" x1="{LEFT}" y1="{TOP + 6}" x2="{LEFT}" y2="{y}"/>')
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 8}" viewBox="0 0 {WIDTH} {y + 8}" '
            f'role="img" aria-label="{escape(title, {chr(34): "&quot;"})}">')
    return "\n".join([head, "  <style>", STYLE, "  </style>", *body, "</svg>"]) + "\n"


def file_name(section: str, metric: str) -> str:
    """A name for the picture of a section."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in section.lower())
    short = metric.rpartition(".")[2].replace("_", "-")
    return "-".join(part for part in f"{kept}-{short}".split("-") if part) + ".svg"


def _bar(bar: Bar, y: float, factor: float, scale: float) -> list[str]:
    low, median, high = (value * factor for value in (bar.summary.low, bar.summary.median, bar.summary.high))
    middle = y + BAR / 2
    shape = f'x="{LEFT}" y="{y + 1}" width="{max(median, 1):.1f}" height="{BAR - 2}"'
    lines = [f'  <rect class="bar{bar.broker % 5}" {shape}/>']
    if bar.summary.rounds > 1:
        ends = "".join(f"M{LEFT + end:.1f} {middle - 3:.1f}v6" for end in (low, high))
        lines.append(f'  <path class="whisker" d="M{LEFT + low:.1f} {middle:.1f}H{LEFT + high:.1f}{ends}"/>')
    x = LEFT + max(median, high, 1) + 6
    lines.append(f'  <text x="{x:.1f}" y="{middle + 4:.1f}">{escape(shown(bar.summary.median * scale))}</text>')
    return lines


def _legend(brokers: Sequence[str]) -> list[str]:
    lines, x = [], LEFT
    for place, broker in enumerate(brokers):
        lines.append(f'  <rect class="bar{place % 5}" x="{x}" y="{TOP - 12}" width="10" height="10"/>')
        lines.append(f'  <text x="{x + 15}" y="{TOP - 3}">{escape(broker)}</text>')
        x += 32 + 7 * len(broker)
    return lines
