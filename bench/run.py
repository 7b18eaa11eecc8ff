#!/usr/bin/env python3
"""Measures MQTT brokers on one machine, in turns, and makes tables, charts and docs/performance.md of the figures.

  run.py list                            what can be measured
  run.py run --all --rounds 5            measures; goes on where an earlier call was stopped
  run.py compare A B SCENARIO...         two brokers or two builds, pair by pair
  run.py table [SCENARIO...]             medians with least and most, ratios, goals
  run.py chart                           the same as pictures
  run.py report                          fills the page and its pictures

README.md says how a broker is added and how the figures are read. Python 3.11, standard library only.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from runner import machine, page  # noqa: E402
from runner.broker import Command, Failed, parse_command  # noqa: E402
from runner.load import Generator, make_certificates  # noqa: E402
from runner.measure import Bench  # noqa: E402
from runner.results import Measurement, Results, append, read_results, refuse_another_build, summarise  # noqa: E402
from runner.scenario import Scenario, Trouble, choose, read_scenarios  # noqa: E402
from runner.table import all_tables, goal_table, shown, text_of, unit  # noqa: E402

ROOT = HERE.parent
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
OUT = HERE / "out"


@dataclass(frozen=True)
class Step:
    """One measurement that is to be made."""

    round: int
    scenario: Scenario
    broker: Command


def main(words: Sequence[str] | None = None) -> int:
    """Runs a command; the exit status."""
    args = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, _stop)
    try:
        return int(args.run(args))
    except (Trouble, Failed) as trouble:
        print(f"error: {trouble}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130


def _stop(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def command_list(args: argparse.Namespace) -> int:
    """Names and titles of all scenarios."""
    for scenario in read_scenarios(args.scenarios_file):
        print(f"{scenario.name:32} {scenario.title}")
    return 0


def command_run(args: argparse.Namespace) -> int:
    """Measures what is chosen and was not measured before."""
    scenarios = _chosen(args)
    brokers = [parse_command(text, HERE) for text in args.brokers.split(",")]
    if args.fresh:
        args.out.unlink(missing_ok=True)
    results = read_results(args.out)
    steps = plan(scenarios, brokers, args.rounds, results, retry=args.retry_failed)
    estimate_s = sum(expected_s(step, results) for step in steps)
    print(f"{len(steps)} measurements, about {spoken(estimate_s)}, into {_short(args.out)}")
    if args.dry_run or not steps:
        return 0
    bench = _bench(args)
    facts = machine.facts(ROOT)
    facts["brokers"] = {broker.label: broker.version() for broker in brokers}
    facts["generator"] = bench.generator.version()
    for label in (label for label, version in facts["brokers"].items() if version == "unknown"):
        print(f"warning: {label} does not tell its version; does it start?", file=sys.stderr)
    refuse_another_build(results.machine, facts)
    append(args.out, Results(machine=facts).machine_line())
    return _measure_all(bench, steps, args)


def plan(scenarios: Sequence[Scenario], brokers: Sequence[Command], rounds: int, results: Results,
         retry: bool = False) -> list[Step]:
    """What is left to be measured, the brokers taking turns; each round begins with another one of them."""
    steps = []
    for number in range(rounds):
        turn = number % len(brokers)
        for scenario in scenarios:
            for broker in [*brokers[turn:], *brokers[:turn]]:
                if scenario.is_for(broker.label) and not results.has(scenario, broker.label, number, not retry):
                    steps.append(Step(number, scenario, broker))
    return steps


def expected_s(step: Step, results: Results) -> float:
    """How long a measurement will take: as long as the last time, else what the scenario says."""
    return results.took_s(step.scenario.name, step.broker.label) or step.scenario.estimate_s


def spoken(seconds: float) -> str:
    """A time in minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _measure_all(bench: Bench, steps: Sequence[Step], args: argparse.Namespace) -> int:
    began, failed = time.monotonic(), 0
    for number, step in enumerate(steps, 1):
        if args.time_limit and time.monotonic() - began > args.time_limit:
            print(f"time is up after {number - 1} of {len(steps)}; the same command goes on from here")
            return 3
        one = bench.measure(step.scenario, step.broker, step.round)
        append(args.out, one.line())
        failed += bool(one.failed)
        told = brief(one, step.scenario)
        print(f"{number}/{len(steps)} {step.scenario.name} {step.broker.label}: {told}", flush=True)
    print(f"{len(steps)} measured in {spoken(time.monotonic() - began)}, {failed} failed")
    return 1 if failed else 0


def brief(one: Measurement, scenario: Scenario) -> str:
    """A measurement in one line."""
    if one.failed:
        return f"failed: {one.failed}"
    wanted = [scenario.metric, "delivered_per_s", "connections_per_s", "latency_us.p50", "lost"]
    told = [f"{shown(one.metrics[name] * unit(name).scale)} {unit(name).unit}" + (" lost" if name == "lost" else "")
            for name in dict.fromkeys(wanted) if name in one.metrics and (name != "lost" or one.metrics[name])]
    return ", ".join(told) + (f", {one.steal:.0%} stolen" if one.steal >= 0.01 else "")


def command_compare(args: argparse.Namespace) -> int:
    """Measures two brokers pair by pair and shows the ratio of each pair; nothing is kept."""
    scenarios = choose(read_scenarios(args.scenarios_file), args.scenarios)
    a, b = (parse_command(text, HERE) for text in (args.a, args.b))
    if a.label == b.label:
        raise Trouble(f"both are called {a.label} — hint: other=NAME gives one of them another label")
    bench = _bench(args)
    for scenario in scenarios:
        ratios: list[float] = []
        values: dict[str, list[float]] = {a.label: [], b.label: []}
        for number in range(args.rounds):
            pair = {command.label: bench.measure(scenario, command, number) for command in ((a, b), (b, a))[number % 2]}
            for label, one in pair.items():
                print(f"  {label}: {brief(one, scenario)}", flush=True)
            ours, theirs = (pair[command.label].metrics.get(scenario.metric) for command in (a, b))
            if ours and theirs:
                ratios.append(ours / theirs)
                values[a.label].append(ours)
                values[b.label].append(theirs)
        print(f"{scenario.title}: {compared(ratios, values, scenario.metric)}", flush=True)
    return 0


def compared(ratios: Sequence[float], values: dict[str, list[float]], metric: str) -> str:
    """The outcome of a comparison in one line."""
    ratio = summarise(ratios)
    if ratio is None:
        return "not one pair was measured"
    sides = (f"{label} {text_of(summary, metric)}" for label, found in values.items() if (summary := summarise(found)))
    return f"{ratio.median:.3f} × ({ratio.low:.3f}–{ratio.high:.3f}, {ratio.rounds} pairs); {'; '.join(sides)}"


def command_table(args: argparse.Namespace) -> int:
    """Shows tables of what was measured, and the goals."""
    results, scenarios = read_results(args.out), _listed(args)
    brokers = results.brokers()
    if not brokers:
        raise Trouble(f"{_short(args.out)} holds no results — hint: run.py run")
    print(all_tables(results, scenarios, brokers, "##"))
    print(f"\n## Goals\n\n{goal_table(results, scenarios, brokers[0])}")
    return 0


def command_chart(args: argparse.Namespace) -> int:
    """Writes the pictures."""
    _draw(read_results(args.out), _listed(args), args.folder)
    return 0


def command_report(args: argparse.Namespace) -> int:
    """Fills the page and writes its pictures; the results it was made of go beside them."""
    results, scenarios = read_results(args.out), read_scenarios(args.scenarios_file)
    if not results.measurements:
        raise Trouble(f"{_short(args.out)} holds no results — hint: run.py run --all --rounds 5")
    folder = args.page.with_suffix("")
    text = page.fill(args.page.read_text("utf-8"), page.blocks(results, scenarios, results.brokers(), folder.name))
    shutil.rmtree(folder, ignore_errors=True)
    _draw(results, scenarios, folder)
    (folder / "results.jsonl").write_text(results.text(), "utf-8")
    args.page.write_text(text, "utf-8")
    print(f"{_short(args.page)} is filled")
    return 0


def _draw(results: Results, scenarios: Sequence[Scenario], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, _, text in page.pictures(results, scenarios, results.brokers()):
        (folder / name).write_text(text, "utf-8")
        print(_short(folder / name))


def _chosen(args: argparse.Namespace) -> list[Scenario]:
    scenarios = read_scenarios(args.scenarios_file)
    if args.all:
        return scenarios
    if not args.scenarios:
        raise Trouble("nothing is chosen — hint: --all, or names from run.py list")
    return choose(scenarios, args.scenarios)


def _listed(args: argparse.Namespace) -> list[Scenario]:
    scenarios = read_scenarios(args.scenarios_file)
    return choose(scenarios, args.scenarios) if args.scenarios else scenarios


def _bench(args: argparse.Namespace) -> Bench:
    words = tuple(shlex.split(args.generator))
    if shutil.which(words[0]) is None:
        hint = "cargo build --release -p motte -p motte-bench-floor"
        raise Trouble(f"{_short(Path(words[0]))} is no program — hint: {hint}")
    limit = machine.raise_file_limit()
    if limit < machine.CONNECTIONS_MAX + 200:
        print(f"warning: {limit} open files are too few for the scenarios with many connections", file=sys.stderr)
    for name, built in (("MOTTE", "motte"), ("FLOOR", "motte-bench-floor")):
        os.environ.setdefault(name, str(BUILT / built))
    work = (OUT / "work").resolve()
    work.mkdir(parents=True, exist_ok=True)
    return Bench(Generator(words), work, make_certificates(os.environ["MOTTE"], work / "certs"))


def _short(path: Path) -> str:
    return os.path.relpath(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios-file", type=Path, default=HERE / "scenarios.toml", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: object, about: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=about, description=about)
        one.set_defaults(run=run)
        return one

    add("list", command_list, "what can be measured")
    run = add("run", command_run, "measure; what is in the file already is not measured again")
    compare = add("compare", command_compare, "two brokers or two builds, pair by pair; nothing is kept")
    for name in ("a", "b"):
        compare.add_argument(name, help="a broker, as for run")
    table = add("table", command_table, "tables of a results file")
    chart = add("chart", command_chart, "pictures of a results file")
    report = add("report", command_report, "fill docs/performance.md")
    for one in (run, compare, table, chart):
        one.add_argument("scenarios", nargs="+" if one is compare else "*", metavar="SCENARIO",
                         help="a name, the beginning of names up to a dot, or a pattern with *")
    for one in (run, table, chart, report):
        one.add_argument("--out", type=Path, default=OUT / "results.jsonl", help="results [bench/out/results.jsonl]")
    for one in (run, compare):
        one.add_argument("--rounds", type=int, default=5, help="how often each is measured [5]")
        one.add_argument("--generator", default=f"{BUILT / 'motte'} bench", help="the load's program and first words")
    run.add_argument("--all", action="store_true", help="every scenario")
    run.add_argument("--brokers", default="motte,mosquitto,floor", metavar="LIST",
                     help="NAME, PATH.sh or LABEL=NAME;VARIABLE=VALUE, with commas [motte,mosquitto,floor]")
    run.add_argument("--fresh", action="store_true", help="forget what the file holds")
    run.add_argument("--retry-failed", action="store_true", help="measure again what failed")
    run.add_argument("--time-limit", type=float, metavar="SECONDS", help="begin nothing after so long; exit status 3")
    run.add_argument("--dry-run", action="store_true", help="only say what would be done and how long it takes")
    chart.add_argument("--folder", type=Path, default=OUT / "charts", help="where pictures go [bench/out/charts]")
    report.add_argument("--page", type=Path, default=ROOT / "docs/performance.md", help="[docs/performance.md]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
