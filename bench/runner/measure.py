"""Measuring: one scenario with one fresh broker, and the figures of it.

Called by `run.py run` and `compare`. Each kind of scenario is a function; what goes wrong is a reason, never an end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import machine
from .broker import Broker, Command, Failed, Setting, write_acl
from .client import Client, packet, text
from .load import Generator, Job
from .results import Measurement
from .scenario import Scenario
from .tree import Tree, measure_tree

Metrics = dict[str, float]
QUIET_S = 3.0


@dataclass(frozen=True)
class Bench:
    """What all measurements have in common."""

    generator: Generator
    work: Path
    certificates: Path

    def measure(self, scenario: Scenario, command: Command, round_: int) -> Measurement:
        """Measures once. A failure is a measurement too."""
        before, began = machine.ticks(), time.monotonic()
        metrics: Metrics = {}
        failed = ""
        try:
            _, cores = machine.cores_for(scenario.cores)
            with machine.this_process_on(cores):
                metrics = KINDS[scenario.kind](self, scenario, command)
        except (Failed, OSError, ValueError, LookupError) as error:
            failed = self._without_paths(str(error) or type(error).__name__)
        return Measurement(
            scenario=scenario.name, digest=scenario.digest(), broker=command.label, round=round_, metrics=metrics,
            failed=failed, took_s=round(time.monotonic() - began, 2),
            steal=machine.steal_between(before, machine.ticks()),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def start(self, scenario: Scenario, command: Command, wrap: str = "") -> Broker:
        """A fresh broker that listens."""
        acl = None
        if scenario.acl_rules:
            acl = write_acl(self.work / f"acl-{scenario.acl_rules}.txt", scenario.acl_rules)
        cores, _ = machine.cores_for(scenario.cores)
        setting = Setting(folder=self.work / command.label, certificates=self.certificates, cores=frozenset(cores),
                          shards=scenario.shards, acl=acl, durable=scenario.durable, wrap=wrap)
        broker = Broker(command, setting)
        try:
            broker.await_port(scenario.transport)
        except BaseException:
            broker.stop()
            raise
        return broker

    def load(self, what: str, broker: Broker, scenario: Scenario, options: Mapping[str, Any]) -> Metrics:
        """One load on a running broker."""
        _, cores = machine.cores_for(scenario.cores)
        job = Job(frozenset(cores), scenario.limit_s, watches_broker=not broker.setting.wrap)
        return flat(self.generator.run(what, broker, scenario.transport, options, job))

    def _without_paths(self, text: str) -> str:
        """A reason as it may be committed: without the folders of this machine."""
        for folder, name in ((self.work, "DIR"), (Path(__file__).parents[2], "."), (Path.home(), "~")):
            text = text.replace(str(folder), name)
        return text


def flat(found: Mapping[str, Any], before: str = "") -> Metrics:
    """Numbers of nested tables, by names with dots."""
    metrics: Metrics = {}
    for name, value in found.items():
        if isinstance(value, Mapping):
            metrics.update(flat(value, f"{before}{name}."))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            metrics[before + name] = value
    return metrics


def flow(bench: Bench, scenario: Scenario, command: Command) -> Metrics:
    """Messages from publishers to subscribers."""
    with bench.start(scenario, command) as broker:
        metrics = bench.load("flow", broker, scenario, scenario.load)
    if not metrics.get("delivered"):
        raise Failed("nothing was delivered in the time that was measured")
    return metrics


def connect(bench: Bench, scenario: Scenario, command: Command) -> Metrics:
    """New connections, and what they cost while they are idle."""
    with bench.start(scenario, command) as broker:
        return bench.load("connect", broker, scenario, scenario.load)


def instructions(bench: Bench, scenario: Scenario, command: Command) -> Metrics:
    """User instructions of the broker for each message: the difference of two counts, so that its start drops out."""
    few, many = int(scenario.load["few"]), int(scenario.load["many"])
    rest = {key: value for key, value in scenario.load.items() if key not in ("few", "many")}
    counted: list[tuple[float, int]] = []
    for count in (few, many):
        out = bench.work / "callgrind.out"
        out.unlink(missing_ok=True)
        wrap = f"valgrind -q --tool=callgrind --callgrind-out-file={out}"
        with bench.start(scenario, command, wrap) as broker:
            delivered = bench.load("flow", broker, scenario, {**rest, "count": count})["delivered"]
        counted.append((delivered, total_of(out)))
    (delivered_few, total_few), (delivered_many, total_many) = counted
    return {"instructions_per_message": (total_many - total_few) / (delivered_many - delivered_few)}


def retained(bench: Bench, scenario: Scenario, command: Command) -> Metrics:
    """Retained messages on many topics, and a new subscriber to all of them."""
    count, payload = int(scenario.load["topics"]), bytes(int(scenario.load["size"]))
    topics = [f"bench/{number // 100}/{number}" for number in range(count)]
    size = sum(len(packet(0x31, text(topic) + payload)) for topic in topics)
    with bench.start(scenario, command) as broker:
        port = broker.ports[scenario.transport]
        with Client(port, "filler") as filler:
            filler.retain(topics, payload)
        with Client(port, "reader") as reader:
            # SUBACK, five bytes, comes as well.
            came, seconds = reader.replay("#", size + 5, QUIET_S)
        return {"replay_s": seconds, "lost": count - came, "broker.rss_bytes": machine.resident_bytes(broker.pid)}


def durable(bench: Bench, scenario: Scenario, command: Command) -> Metrics:
    """Messages for a session that is offline: how fast they are acknowledged, and whether it gets all of them later."""
    count = int(scenario.load["count"])
    with bench.start(scenario, command) as broker:
        port = broker.ports[scenario.transport]
        with Client(port, "parked", clean=False) as parked:
            parked.subscribe(["bench/#"], 1)
            parked.leave()
        metrics = bench.load("publish", broker, scenario, scenario.load)
        with Client(port, "parked", clean=False) as parked:
            came = parked.receive(count, QUIET_S)
    return {**metrics, "acked_per_s": metrics["published_per_s"], "lost": count - len(came)}


def tree(bench: Bench, scenario: Scenario, command: Command) -> Metrics:
    """Very many subscriptions, each of one topic, and messages to topics that jump about among them."""
    with bench.start(scenario, command) as broker, ExitStack() as stack:
        return measure_tree(stack, broker.pid, broker.ports[scenario.transport], Tree(**scenario.load))


def total_of(path: Path) -> int:
    """The sum of a callgrind file."""
    for line in path.read_text("utf-8", "replace").splitlines():
        if line.startswith(("totals:", "summary:")):
            return int(line.split()[1])
    raise Failed("callgrind wrote no sum")


KINDS: dict[str, Callable[[Bench, Scenario, Command], Metrics]] = {
    "flow": flow,
    "connect": connect,
    "retained": retained,
    "durable": durable,
    "tree": tree,
    "instructions": instructions,
}
