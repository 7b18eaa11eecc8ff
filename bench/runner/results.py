"""Results: one line of JSON for each measurement, written as soon as it is made, and what is read out of them.

Written by `run.py run`, read by all others. A file holds one campaign: the same builds on the same machine.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .scenario import Scenario, Trouble


@dataclass(frozen=True)
class Measurement:
    """One scenario, measured once with one broker."""

    scenario: str
    digest: str
    broker: str
    round: int
    metrics: dict[str, float] = field(default_factory=dict)
    failed: str = ""
    took_s: float = 0.0
    steal: float = 0.0
    at: str = ""

    def line(self) -> str:
        """As it stands in the file."""
        return json.dumps({"record": "measurement", **self.__dict__}, sort_keys=False)


@dataclass(frozen=True)
class Summary:
    """The median of several rounds and how far they lie apart."""

    median: float
    low: float
    high: float
    rounds: int


@dataclass
class Results:
    """All lines of a file."""

    machine: dict[str, Any] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)

    def machine_line(self) -> str:
        """The facts of the machine as they stand in the file."""
        return json.dumps({"record": "machine", **self.machine})

    def text(self) -> str:
        """A file that holds what this one holds."""
        return "\n".join([self.machine_line(), *(one.line() for one in self.measurements)]) + "\n"

    def values(self, scenario: str, broker: str, metric: str) -> list[float]:
        """What was measured, round by round."""
        found = self.of(scenario, broker)
        return [one.metrics[metric] for one in found if not one.failed and metric in one.metrics]

    def of(self, scenario: str, broker: str) -> list[Measurement]:
        """The measurements of a scenario with a broker, as the scenario was last, the latest of each round."""
        found = [one for one in self.measurements if one.scenario == scenario and one.broker == broker]
        latest = {one.round: one for one in found if one.digest == found[-1].digest}
        return [latest[number] for number in sorted(latest)]

    def summary(self, scenario: str, broker: str, metric: str) -> Summary | None:
        """Median, least and most; `None` where nothing was measured."""
        return summarise(self.values(scenario, broker, metric))

    def failures(self) -> list[Measurement]:
        """Measurements that did not come about and were not made good later."""
        pairs = dict.fromkeys((one.scenario, one.broker) for one in self.measurements)
        return [one for pair in pairs for one in self.of(*pair) if one.failed]

    def brokers(self) -> list[str]:
        """Labels in the order in which they were first measured."""
        return list(dict.fromkeys(one.broker for one in self.measurements))

    def has(self, scenario: Scenario, broker: str, round_: int, failed_counts: bool = True) -> bool:
        """Whether this measurement was made already."""
        return any(one.digest == scenario.digest() and one.round == round_ and (failed_counts or not one.failed)
                   for one in self.measurements if one.scenario == scenario.name and one.broker == broker)

    def took_s(self, scenario: str, broker: str) -> float | None:
        """How long it took the last time."""
        took = [one.took_s for one in self.of(scenario, broker)] if self.measurements else []
        return took[-1] if took else None


def summarise(values: Iterable[float]) -> Summary | None:
    """Median, least and most of some values."""
    known = list(values)
    if not known:
        return None
    return Summary(statistics.median(known), min(known), max(known), len(known))


def read_results(path: Path) -> Results:
    """Reads a file; a missing one is empty. A last line that was cut off by a kill is passed over."""
    results = Results()
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            kind = entry.pop("record")
            if kind == "machine":
                results.machine = merged(results.machine, entry)
            elif kind == "measurement":
                results.measurements.append(Measurement(**entry))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            if number == len(lines):
                break
            hint = "take the line out, or begin anew with --fresh"
            raise Trouble(f"{path.name}:{number}: {error} — hint: {hint}") from error
    return results


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Facts of a later call beside those of an earlier one: brokers add up, the rest is the latest."""
    return {**old, **new, "brokers": {**old.get("brokers", {}), **new.get("brokers", {})}}


def refuse_another_build(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Figures of two builds or two machines must not be mixed into one median."""
    pairs = [(label, old.get("brokers", {}).get(label), version) for label, version in new["brokers"].items()]
    pairs += [(key, old.get(key), new[key]) for key in ("processor", "kernel", "cores", "generator") if key in new]
    for what, was, now in pairs:
        if was is not None and was != now:
            raise Trouble(f"these results were made with another {what}: {was}, now {now} — hint: --fresh begins anew, "
                          "--out takes another file")


def append(path: Path, line: str) -> None:
    """Adds a line and sees to it that it is there before the next measurement begins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A kill may have left half a line behind.
    cut = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if cut else "") + line + "\n")
