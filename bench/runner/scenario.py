"""Scenarios: what `scenarios.toml` says, checked and spread over transports and numbers of shards.

Read by every command of `run.py`. Starts nothing.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

KINDS = ("flow", "connect", "retained", "durable", "tree", "instructions")
TRANSPORTS = ("tcp", "tls", "mtls")
KEYS = {
    "name", "title", "section", "kind", "metric", "transports", "shards", "cores", "load", "acl_rules", "durable",
    "goals", "not_for", "estimate_s", "limit_s",
}
GOAL_KEYS = {"metric", "at_most", "at_least", "over", "above"}


class Trouble(Exception):
    """Something the user can set right. Its text says what is wrong and what to do."""


@dataclass(frozen=True)
class Reference:
    """A measurement that a goal is compared with."""

    scenario: str
    broker: str | None = None


@dataclass(frozen=True)
class Goal:
    """What is to be reached: a metric, its bound, and what it is relative to."""

    metric: str
    at_most: float | None = None
    at_least: float | None = None
    over: Reference | None = None
    """The bound is a factor over this one's median."""
    above: Reference | None = None
    """The bound is a distance above this one's median."""


@dataclass(frozen=True)
class Scenario:
    """One thing to be measured, with one transport and one number of shards."""

    name: str
    title: str
    section: str
    kind: str
    metric: str
    transport: str
    shards: int = 1
    cores: str = "one"
    load: Mapping[str, Any] = field(default_factory=dict)
    acl_rules: int = 0
    durable: bool = False
    goals: tuple[Goal, ...] = ()
    not_for: tuple[str, ...] = ()
    estimate_s: float = 2.4
    limit_s: float = 60.0

    def digest(self) -> str:
        """Changes when anything changes that decides what is measured."""
        parts = [self.kind, self.transport, self.shards, self.cores, dict(self.load), self.acl_rules, self.durable]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def is_for(self, broker: str) -> bool:
        """Whether it says anything about this broker."""
        return broker not in self.not_for


def read_scenarios(path: Path) -> list[Scenario]:
    """All scenarios of a file, in its order."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Trouble(f"{path.name}: {error} — hint: see the scenarios that come with the project") from error
    return parse_scenarios(document)


def parse_scenarios(document: Mapping[str, Any]) -> list[Scenario]:
    """All scenarios of a parsed file."""
    unknown = set(document) - {"defaults", "scenario"}
    if unknown:
        raise Trouble(f"scenarios: unknown table {sorted(unknown)[0]} — hint: [defaults] and [[scenario]]")
    defaults = document.get("defaults", {})
    scenarios = [one for entry in document.get("scenario", ()) for one in _spread(entry, defaults)]
    names = [scenario.name for scenario in scenarios]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Trouble(f"scenario {twice[0]} is there twice — hint: give it another name")
    for scenario in scenarios:
        for goal in scenario.goals:
            reference = goal.over or goal.above
            if reference and reference.scenario not in names:
                raise Trouble(f"{scenario.name}: no scenario {reference.scenario} — hint: a goal is relative to it")
    return scenarios


def choose(scenarios: Iterable[Scenario], patterns: Iterable[str]) -> list[Scenario]:
    """Those whose name is one of the patterns, begins with it up to a dot, or fits its `*`."""
    known = list(scenarios)
    chosen: set[str] = set()
    for pattern in patterns:
        hits = [s.name for s in known if fnmatchcase(s.name, pattern) or s.name.startswith(pattern + ".")]
        if not hits:
            raise Trouble(f"no scenario `{pattern}` — hint: run.py list")
        chosen.update(hits)
    return [scenario for scenario in known if scenario.name in chosen]


def _spread(entry: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterable[Scenario]:
    base = str(entry.get("name", "?"))
    unknown = set(entry) - KEYS
    if unknown:
        raise Trouble(f"scenario {base}: unknown key {sorted(unknown)[0]} — hint: {', '.join(sorted(KEYS))}")
    for key in ("name", "title", "section", "kind", "metric"):
        if not isinstance(entry.get(key), str):
            raise Trouble(f"scenario {base}: `{key}` is missing — hint: it is a text")
    if entry["kind"] not in KINDS:
        raise Trouble(f"scenario {base}: no kind {entry['kind']} — hint: {', '.join(KINDS)}")
    transports = entry.get("transports", ["tcp"])
    shards = entry.get("shards", [1])
    for transport in transports:
        if transport not in TRANSPORTS:
            raise Trouble(f"scenario {base}: no transport {transport} — hint: {', '.join(TRANSPORTS)}")
        for count in shards:
            many = len(shards) > 1
            load = {**defaults.get(entry["kind"], {}), **entry.get("load", {})}
            yield Scenario(
                name=_name(base, transport, count if many else None),
                title=_title(entry["title"], transport, count if many else None),
                section=entry["section"], kind=entry["kind"], metric=entry["metric"], transport=transport,
                shards=count, cores=entry.get("cores", "one"), load=load, acl_rules=entry.get("acl_rules", 0),
                durable=entry.get("durable", False), not_for=tuple(entry.get("not_for", ())),
                goals=tuple(_goals(entry, transport, count)),
                estimate_s=float(entry.get("estimate_s", 2.4)), limit_s=float(entry.get("limit_s", 60.0)),
            )


def _name(base: str, transport: str, shards: int | None) -> str:
    return f"{base}.{transport}" + (f".{shards}" if shards else "")


def _title(title: str, transport: str, shards: int | None) -> str:
    spoken = {"tcp": "TCP", "tls": "TLS", "mtls": "mutual TLS"}[transport]
    return f"{title}, {spoken}" + (f", {shards} shard{'s' if shards > 1 else ''}" if shards else "")


def _goals(entry: Mapping[str, Any], transport: str, shards: int) -> Iterable[Goal]:
    for goal in entry.get("goals", ()):
        unknown = set(goal) - GOAL_KEYS
        if unknown:
            raise Trouble(f"scenario {entry['name']}: unknown key {sorted(unknown)[0]} of a goal — hint: "
                          f"{', '.join(sorted(GOAL_KEYS))}")
        over, above = (_reference(goal.get(key), entry["name"], transport) for key in ("over", "above"))
        if over and over.broker is None and over.scenario == _name(entry["name"], transport, shards):
            continue
        bounds = {key: _bound(goal.get(key), transport) for key in ("at_most", "at_least")}
        if any(bound is not None for bound in bounds.values()):
            yield Goal(metric=goal.get("metric", entry["metric"]), over=over, above=above, **bounds)


def _bound(value: Any, transport: str) -> float | None:
    chosen = value.get(transport) if isinstance(value, dict) else value
    return None if chosen is None else float(chosen)


def _reference(value: Mapping[str, Any] | None, own: str, transport: str) -> Reference | None:
    if value is None:
        return None
    name = _name(value.get("scenario", own), transport, value.get("shards"))
    return Reference(scenario=name, broker=value.get("broker"))
