"""The page `docs/performance.md`: what stands between its markers is written anew out of results.

Used by `run.py report`. The text around the markers is people's and is never touched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from . import chart
from .results import Results
from .scenario import Scenario, Trouble
from .table import all_tables, goal_table, markdown, metric_table, sections, shown

EXTRA = ("delivered_per_s", "latency_us.p50", "latency_us.p99")


def fill(text: str, blocks: Mapping[str, str]) -> str:
    """Puts each block between `<!-- NAME -->` and `<!-- end NAME -->`."""
    for name, block in blocks.items():
        pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end {re.escape(name)} -->)", re.DOTALL)
        matches = list(pattern.finditer(text))
        if len(matches) != 1:
            raise Trouble(f"the page has no place for `{name}` — hint: one <!-- {name} --> and one <!-- end {name} -->")
        before, _, after = text.partition(matches[0].group())
        text = f"{before}{matches[0][1]}\n{block}\n\n{matches[0][2]}{after}"
    return text


def blocks(results: Results, scenarios: Sequence[Scenario], brokers: Sequence[str], folder: str) -> dict[str, str]:
    """Everything that the page takes from results; `folder` is where its pictures are, seen from the page."""
    drawn = pictures(results, scenarios, brokers)
    return {
        "machine": machine_text(results),
        "goals": goal_table(results, scenarios),
        "figures": all_tables(results, scenarios, brokers),
        "more": more_text(results, scenarios, brokers),
        "charts": "\n\n".join(f"![{title}]({folder}/{name})" for name, title, _ in drawn),
        "failures": failures_text(results),
    }


def pictures(results: Results, scenarios: Sequence[Scenario], brokers: Sequence[str]) -> list[tuple[str, str, str]]:
    """File name, title and text of each picture."""
    found = []
    for section, metric, members in sections(scenarios):
        drawn = chart.groups(results, members, brokers, metric)
        if drawn:
            found.append((chart.file_name(section, metric), section, chart.draw(section, metric, brokers, drawn)))
    return found


def machine_text(results: Results) -> str:
    """Machine, versions, and how quiet it was."""
    facts: dict[str, Any] = results.machine
    rounds = len({one.round for one in results.measurements})
    memory = facts.get("memory_bytes", 0) / 2**30
    rows = [
        ["processor", f"{facts.get('processor', '?')}, {facts.get('cores', '?')} cores"
                      f"{' of a virtual machine' if facts.get('virtual') else ''}"],
        ["memory", f"{memory:.0f} GiB"],
        ["system", f"{facts.get('system', '?')}, Linux {facts.get('kernel', '?')}"],
        ["governor", facts.get("governor", "not told")],
        *([label, version] for label, version in facts.get("brokers", {}).items()),
        ["load", facts.get("generator", "?")],
        ["commit", facts.get("commit") or "?"],
        ["rounds", f"{rounds}, {_dates(results)}"],
        ["stolen time", steal_text(results)],
    ]
    return markdown(["", ""], rows).replace("---:", "---")


def steal_text(results: Results) -> str:
    """What the hypervisor gave to others while it was measured."""
    steals = sorted(one.steal for one in results.measurements)
    if not steals:
        return "nothing was measured"
    return f"{shown(steals[len(steals) // 2] * 100)} % in the middle, {shown(steals[-1] * 100)} % at most"


def more_text(results: Results, scenarios: Sequence[Scenario], brokers: Sequence[str]) -> str:
    """Rates and latencies of what was measured for its CPU."""
    flows = [scenario for scenario in scenarios if scenario.kind == "flow"]
    lone = [scenario for scenario in flows if "rate" in scenario.load]
    closed = [scenario for scenario in flows if "rate" not in scenario.load and scenario.metric != EXTRA[0]]
    parts = [
        ("Deliveries in a closed loop, thousands a second:", metric_table(results, closed, brokers, EXTRA[0])),
        ("Latency of lone messages, median, µs:", metric_table(results, lone, brokers, EXTRA[1])),
        ("Latency of lone messages, 99 %, µs:", metric_table(results, lone, brokers, EXTRA[2])),
    ]
    return "\n\n".join(f"{head}\n\n{table}" for head, table in parts if table)


def failures_text(results: Results) -> str:
    """What did not come about, and why."""
    failures = results.failures()
    if not failures:
        return "Everything that was begun was measured."
    reasons: dict[tuple[str, str, str], int] = {}
    for one in failures:
        key = (one.scenario, one.broker, one.failed)
        reasons[key] = reasons.get(key, 0) + 1
    rows = [[f"`{scenario}`", broker, str(count), reason] for (scenario, broker, reason), count in reasons.items()]
    return markdown(["scenario", "broker", "times", "reason"], rows).replace("---:", "---")


def _dates(results: Results) -> str:
    days = sorted({one.at[:10] for one in results.measurements if one.at})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else "never"
