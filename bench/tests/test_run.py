"""The commands, from end to end, with a fake broker and a fake load."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import run
from runner.broker import parse_command, write_acl
from runner.load import reason, spelled
from runner.measure import flat, total_of
from runner.results import read_results
from runner.scenario import Scenario, Trouble

from . import fakes

SCENARIOS = """\
[defaults.flow]
qos = 0
[[scenario]]
name = "a"
title = "A"
section = "S"
kind = "flow"
metric = "broker.cpu_us_per_message"
transports = ["tcp", "tls"]
goals = [{ at_most = 1.0 }]
[[scenario]]
name = "b"
title = "B"
section = "S"
kind = "flow"
metric = "broker.cpu_us_per_message"
load = { qos = 2 }
not_for = ["other"]
"""


class Commands(unittest.TestCase):
    """`run.py`, called as a user calls it."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "r.jsonl"
        (self.folder / "s.toml").write_text(SCENARIOS, "utf-8")
        self.brokers = ",".join(str(fakes.script(self.folder, name)) for name in ("motte", "other"))
        self.load = fakes.program(self.folder)
        motte = str(fakes.certificate_program(self.folder))
        environment = mock.patch.dict(os.environ, {"MOTTE": motte})
        for patch in (environment, mock.patch.object(run, "OUT", self.folder / "out")):
            patch.start()
            self.addCleanup(patch.stop)

    def call(self, *words: str) -> tuple[int, str]:
        """Exit status, and both streams."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = run.main(["--scenarios-file", str(self.folder / "s.toml"), *words])
        return status, said.getvalue()

    def run_all(self, *words: str) -> tuple[int, str]:
        """`run --all` with the fakes."""
        return self.call("run", "--all", "--brokers", self.brokers, "--generator", str(self.load),
                         "--out", str(self.out), *words)

    def test_a_run_measures_records_failures_and_goes_on_where_it_was_stopped(self) -> None:
        status, said = self.run_all("--rounds", "1")
        self.assertEqual(status, 1, said)
        self.assertIn("5 measurements, about 12 s", said)
        self.assertIn("a.tcp motte: 0.25 µs, 2,000 thousand/s, 12.5 µs", said)
        found = read_results(self.out)
        self.assertEqual([one.failed for one in found.failures()], ["flow: error: refused"])
        self.assertEqual(found.values("a.tls", "other", "latency_us.p50"), [12.5])
        self.assertEqual(found.machine["brokers"], {"motte": "fake 1.0", "other": "fake 1.0"})
        self.assertEqual(found.machine["generator"], "fake load 1.0")
        status, said = self.run_all("--rounds", "1")
        self.assertEqual((status, said.split()[0]), (0, "0"))
        status, said = self.run_all("--rounds", "2", "--dry-run")
        self.assertEqual((status, said.split()[0]), (0, "5"))
        status, said = self.run_all("--rounds", "1", "--dry-run", "--retry-failed")
        self.assertEqual((status, said.split()[0]), (0, "1"))
        status, said = self.run_all("--rounds", "1", "--dry-run", "--fresh")
        self.assertEqual((status, said.split()[0]), (0, "5"))

    def test_the_brokers_take_turns_and_each_round_begins_with_another(self) -> None:
        brokers = [parse_command(text, self.folder) for text in self.brokers.split(",")]
        one = Scenario("a", "A", "S", "flow", "lost", "tcp")
        steps = run.plan([one], brokers, 2, read_results(self.out))
        self.assertEqual([step.broker.label for step in steps], ["motte", "other", "other", "motte"])

    def test_time_that_is_up_ends_a_run_between_two_measurements(self) -> None:
        status, said = self.run_all("--rounds", "1", "--time-limit", "0.001")
        self.assertEqual(status, 3, said)
        self.assertIn("time is up after 1 of 5", said)
        self.assertEqual(len(read_results(self.out).measurements), 1)

    def test_tables_charts_and_the_page_come_out_of_a_run(self) -> None:
        self.run_all("--rounds", "2")
        status, said = self.call("table", "--out", str(self.out), "a")
        self.assertEqual(status, 0, said)
        self.assertIn("| A, TCP | 0.25 (0.25–0.25) | 0.25 (0.25–0.25) | 1.00 × |", said)
        self.assertIn("| A, TLS | CPU per delivered message | ≤ 1.00 µs | 0.25 µs | reached |", said)
        status, said = self.call("chart", "--out", str(self.out), "--folder", str(self.folder / "charts"))
        self.assertEqual((status, [path.suffix for path in (self.folder / "charts").iterdir()]), (0, [".svg"]), said)
        page = self.folder / "performance.md"
        page.write_text((run.ROOT / "docs/performance.md").read_text("utf-8"), "utf-8")
        status, said = self.call("report", "--out", str(self.out), "--page", str(page))
        self.assertEqual(status, 0, said)
        self.assertIn("| `b.tcp` | motte | 2 | flow: error: refused |", page.read_text("utf-8"))
        kept = read_results(self.folder / "performance" / "results.jsonl")
        self.assertEqual(kept.measurements, read_results(self.out).measurements)

    def test_two_brokers_are_compared_pair_by_pair(self) -> None:
        a, b = self.brokers.split(",")
        status, said = self.call("compare", a, b, "a.tcp", "--rounds", "2", "--generator", str(self.load))
        self.assertEqual(status, 0, said)
        self.assertIn("A, TCP: 1.000 × (1.000–1.000, 2 pairs); motte 0.25 µs (0.25–0.25); other 0.25 µs", said)
        status, said = self.call("compare", a, f"motte={b}", "a.tcp", "--generator", str(self.load))
        self.assertEqual(status, 2, said)

    def test_a_broker_that_does_not_start_is_a_failure_with_its_last_words_and_no_path(self) -> None:
        bench = fakes.bench(self.folder)
        bench.work.mkdir()
        command = parse_command(f"odd={self.folder}/motte.sh;BREAK=1", self.folder)
        one = bench.measure(Scenario("a", "A", "S", "flow", "lost", "tcp"), command, 0)
        self.assertIn("ended at its start with status 7: error: cannot start in DIR/odd", one.failed)

    def test_a_load_of_which_nothing_arrives_is_a_failure(self) -> None:
        bench = fakes.bench(self.folder)
        bench.work.mkdir()
        idle = Scenario("a", "A", "S", "flow", "lost", "tcp", load={"nothing": True})
        one = bench.measure(idle, parse_command(str(self.folder / "motte.sh"), self.folder), 0)
        self.assertEqual(one.failed, "nothing was delivered in the time that was measured")

    def test_what_is_asked_wrongly_is_answered_with_a_hint(self) -> None:
        for words in (["run"], ["run", "c"], ["run", "a", "--brokers", "nobody"], ["table", "--out", "nowhere.jsonl"],
                      ["run", "a", "--brokers", self.brokers, "--generator", "no-such-program"]):
            status, said = self.call(*words)
            self.assertEqual(status, 2, words)
            self.assertIn("hint: ", said)


class Parts(unittest.TestCase):
    """What a measurement is made of."""

    def test_options_are_spelled_as_the_command_line_wants_them(self) -> None:
        options = {"warm_up": 0.3, "resume": True, "retain": False, "qos": 1}
        self.assertEqual(spelled(options), ["--warm-up", "0.3", "--resume", "--qos", "1"])

    def test_nested_numbers_get_names_with_dots(self) -> None:
        found = {"a": 1, "b": {"c": 2.5, "d": "text"}, "e": True, "f": None}
        self.assertEqual(flat(found), {"a": 1, "b.c": 2.5})

    def test_a_broker_has_a_label_and_variables(self) -> None:
        command = parse_command("old=motte;MOTTE=old/motte;A=b=c", run.HERE)
        self.assertEqual((command.label, command.script.name), ("old", "motte.sh"))
        self.assertEqual(command.env, {"MOTTE": "old/motte", "A": "b=c"})
        with self.assertRaises(Trouble):
            parse_command("nobody", run.HERE)

    def test_the_error_of_a_program_is_its_reason(self) -> None:
        self.assertEqual(reason("warning: a\nerror: b\nhint: c\n"), "error: b")
        self.assertEqual(reason("a\nb\n"), "b")
        self.assertEqual(reason(""), "it said nothing")

    def test_rules_end_with_the_one_that_fits(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            lines = write_acl(Path(folder) / "acl", 10).read_text("utf-8").splitlines()
        self.assertEqual((len(lines), lines[-1]), (10, "topic readwrite #"))

    def test_the_sum_of_callgrind_is_read(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "out"
            path.write_text("events: Ir\n16 3\ntotals: 4711\n", "utf-8")
            self.assertEqual(total_of(path), 4711)

    def test_times_are_spoken(self) -> None:
        self.assertEqual([run.spoken(59.6), run.spoken(61), run.spoken(2)], ["1 min 0 s", "1 min 1 s", "2 s"])


if __name__ == "__main__":
    unittest.main()
