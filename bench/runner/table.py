"""Tables in Markdown: medians with least and most, ratios, and whether a goal was reached.

Used by `run.py table` and by `page`. Pure: results in, text out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .results import Results, Summary
from .scenario import Goal, Scenario

OURS, PEER, FLOOR = "motte", "mosquitto", "floor"


@dataclass(frozen=True)
class Unit:
    """How a metric is called and shown."""

    name: str
    unit: str
    scale: float = 1.0
    more_is_better: bool = False


UNITS = {
    "broker.cpu_us_per_message": Unit("CPU per delivered message", "µs"),
    "broker.cpu_us_per_connection": Unit("CPU per connection", "µs"),
    "broker.rss_bytes_per_connection": Unit("memory per connection", "kB", 1e-3),
    "broker.rss_bytes": Unit("memory", "MB", 1e-6),
    "delivered_per_s": Unit("deliveries", "thousand/s", 1e-3, True),
    "published_per_s": Unit("publishes", "thousand/s", 1e-3, True),
    "acked_per_s": Unit("acknowledgements", "thousand/s", 1e-3, True),
    "connections_per_s": Unit("new connections", "1/s", 1.0, True),
    "latency_us.p50": Unit("latency, median", "µs"),
    "latency_us.p99": Unit("latency, 99 %", "µs"),
    "replay_s": Unit("time until all are there", "s"),
    "lost": Unit("lost", "messages"),
    "instructions_per_message": Unit("user instructions per message", "instructions"),
}


def unit(metric: str) -> Unit:
    """The unit of a metric; an unknown one is shown as it is."""
    return UNITS.get(metric, Unit(metric, ""))


def shown(value: float) -> str:
    """Three figures that count, and thousands apart."""
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 else f"{value:.3f}"


def cell(results: Results, scenario: Scenario, broker: str, metric: str) -> str:
    """`median (least–most)`, with marks for losses and failures."""
    if not scenario.is_for(broker):
        return "–"
    summary = results.summary(scenario.name, broker, metric)
    failed = sum(1 for one in results.of(scenario.name, broker) if one.failed) if results.measurements else 0
    if summary is None:
        return "failed" if failed else ""
    scale = unit(metric).scale
    text = shown(summary.median * scale)
    if summary.rounds > 1:
        text += f" ({shown(summary.low * scale)}–{shown(summary.high * scale)})"
    lost = any(any(results.values(scenario.name, broker, name)) for name in ("lost", "duplicated"))
    return text + (" L" if lost and metric != "lost" else "") + (f" F{failed}" if failed else "")


def ratio(results: Results, scenario: Scenario, metric: str, other: str, own: str = OURS) -> str:
    """Ours over another's: the quotient of the medians."""
    mine, theirs = (results.summary(scenario.name, broker, metric) for broker in (own, other))
    if mine is None or theirs is None or not theirs.median or not scenario.is_for(other):
        return ""
    return f"{shown(mine.median / theirs.median)} ×"


def goal_text(goal: Goal) -> str:
    """A goal in words."""
    of = unit(goal.metric)
    bound = goal.at_most if goal.at_most is not None else goal.at_least
    sign = "≤" if goal.at_most is not None else "≥"
    if bound is None:
        return ""
    if goal.over:
        return f"{sign} {bound:g} × {_referred(goal.over.broker, goal.over.scenario)}"
    if goal.above:
        return f"{sign} {shown(bound * of.scale)} {of.unit} above {_referred(goal.above.broker, goal.above.scenario)}"
    return f"{sign} {shown(bound * of.scale)} {of.unit}"


def goal_value(goal: Goal, results: Results, scenario: Scenario, broker: str = OURS) -> float | None:
    """What a goal's bound is compared with; `None` where something was not measured."""
    own = results.summary(scenario.name, broker, goal.metric)
    reference = goal.over or goal.above
    if own is None or reference is None:
        return own.median if own else None
    other = results.summary(reference.scenario, reference.broker or broker, goal.metric)
    if other is None or (goal.over and not other.median):
        return None
    return own.median / other.median if goal.over else own.median - other.median


def reached(goal: Goal, value: float) -> bool:
    """Whether a value keeps within the goal."""
    return (goal.at_most is None or value <= goal.at_most) and (goal.at_least is None or value >= goal.at_least)


def goal_rows(results: Results, scenarios: Sequence[Scenario], broker: str = OURS) -> list[list[str]]:
    """Each goal: scenario, metric, goal, value, whether it was reached."""
    rows = []
    for scenario in scenarios:
        for goal in scenario.goals:
            value = goal_value(goal, results, scenario, broker)
            of = unit(goal.metric)
            if value is None:
                told, verdict = "not measured", ""
            else:
                told = f"{shown(value)} ×" if goal.over else f"{shown(value * of.scale)} {of.unit}"
                verdict = "reached" if reached(goal, value) else "missed"
            rows.append([scenario.title, of.name, goal_text(goal), told, verdict])
    return rows


def goal_table(results: Results, scenarios: Sequence[Scenario], broker: str = OURS) -> str:
    """All goals and what became of them."""
    return markdown(["scenario", "what", "goal", "measured", ""], goal_rows(results, scenarios, broker))


def metric_table(results: Results, scenarios: Sequence[Scenario], brokers: Sequence[str], metric: str) -> str:
    """One metric of many scenarios: a column for each broker, and ratios of the first one to the others."""
    others = [broker for broker in brokers if broker != brokers[0]]
    head = ["scenario", *brokers, *(f"{brokers[0]} / {other}" for other in others)]
    rows = []
    for scenario in scenarios:
        cells = [cell(results, scenario, broker, metric) for broker in brokers]
        if any(text not in ("", "–") for text in cells):
            rows.append([scenario.title, *cells, *(ratio(results, scenario, metric, o, brokers[0]) for o in others)])
    return markdown(head, rows) if rows else ""


def sections(scenarios: Sequence[Scenario]) -> list[tuple[str, str, list[Scenario]]]:
    """Scenarios that belong into one table: section, metric, scenarios; in their order."""
    found: dict[tuple[str, str], list[Scenario]] = {}
    for scenario in scenarios:
        found.setdefault((scenario.section, scenario.metric), []).append(scenario)
    return [(section, metric, members) for (section, metric), members in found.items()]


def all_tables(results: Results, scenarios: Sequence[Scenario], brokers: Sequence[str], level: str = "###") -> str:
    """A table for each section, in the unit of its metric."""
    parts = []
    for section, metric, members in sections(scenarios):
        text = metric_table(results, members, brokers, metric)
        if text:
            of = unit(metric)
            parts.append(f"{level} {section}\n\n{_capital(of.name)}{f', {of.unit}' if of.unit else ''}:\n\n{text}")
    return "\n\n".join(parts)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; figures stand to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
    return "\n".join(lines)


def text_of(summary: Summary, metric: str) -> str:
    """A summary with its unit, for one line on a terminal."""
    of = unit(metric)
    low, median, high = (shown(value * of.scale) for value in (summary.low, summary.median, summary.high))
    return f"{median} {of.unit} ({low}–{high})" if summary.rounds > 1 else f"{median} {of.unit}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _referred(broker: str | None, scenario: str) -> str:
    return f"{broker}, `{scenario}`" if broker else f"`{scenario}`"
