"""Medians, tables, pictures and the page say what the results say."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from xml.etree import ElementTree

from runner import chart, page
from runner.results import Measurement, Results, append, read_results, refuse_another_build
from runner.scenario import Goal, Reference, Scenario, Trouble
from runner.table import all_tables, cell, goal_rows, markdown, metric_table, ratio, shown

CPU = "broker.cpu_us_per_message"
PAGE = Path(__file__).parents[2] / "docs/performance.md"


def scenario(name: str = "a", **more: object) -> Scenario:
    """A scenario of messages."""
    return Scenario(name=name, title=f"The {name} <1>", section="Some & more", kind="flow", metric=CPU, transport="tcp",
                    **more)  # type: ignore[arg-type]


def results(values: dict[str, list[float]], of: Scenario | None = None) -> Results:
    """Results of one scenario: for each broker its values, one a round."""
    digest = (of or scenario()).digest()
    name = (of or scenario()).name
    made = [Measurement(name, digest, broker, number, {CPU: value, "lost": 0}, at="2026-01-02T03:04:05+00:00")
            for broker, found in values.items() for number, value in enumerate(found)]
    return Results(machine={"processor": "P", "cores": 2, "brokers": {"motte": "motte 1"}}, measurements=made)


class Reading(unittest.TestCase):
    """Results files."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "deep" / "r.jsonl"

    def test_what_was_written_is_read(self) -> None:
        made = results({"motte": [1.0, 2.0]})
        for line in made.text().splitlines():
            append(self.path, line)
        self.assertEqual(read_results(self.path), made)

    def test_a_last_line_that_was_cut_off_is_passed_over_and_the_next_one_stands_alone(self) -> None:
        append(self.path, results({"motte": [1.0]}).measurements[0].line())
        with self.path.open("a") as file:
            file.write('{"record": "meas')
        self.assertEqual(len(read_results(self.path).measurements), 1)

    def test_a_damaged_line_between_others_is_an_error(self) -> None:
        append(self.path, "nonsense")
        append(self.path, results({"motte": [1.0]}).measurements[0].line())
        with self.assertRaisesRegex(Trouble, "hint: "):
            read_results(self.path)

    def test_results_of_another_build_are_not_added_to(self) -> None:
        old = {"cores": 2, "brokers": {"motte": "1", "floor": "1"}}
        refuse_another_build({}, {"cores": 2, "brokers": {"motte": "2"}})
        refuse_another_build(old, {"cores": 2, "brokers": {"motte": "1", "new": "1"}})
        for new in ({"cores": 2, "brokers": {"motte": "2"}}, {"cores": 4, "brokers": {}}):
            with self.assertRaisesRegex(Trouble, "--fresh"):
                refuse_another_build(old, new)

    def test_only_the_latest_form_of_a_scenario_counts_and_the_latest_of_a_round(self) -> None:
        made = results({"motte": [1.0]}, scenario(load={"qos": 1}))
        made.measurements += results({"motte": [5.0, 6.0]}).measurements
        made.measurements.append(Measurement("a", scenario().digest(), "motte", 0, {CPU: 7.0}))
        self.assertEqual(made.values("a", "motte", CPU), [7.0, 6.0])

    def test_a_failure_that_was_made_good_is_none(self) -> None:
        made = Results(measurements=[Measurement("a", "d", "motte", 0, failed="why")])
        self.assertEqual([one.failed for one in made.failures()], ["why"])
        made.measurements.append(Measurement("a", "d", "motte", 0, {CPU: 1.0}))
        self.assertEqual(made.failures(), [])


class Tables(unittest.TestCase):
    """Markdown."""

    def test_a_cell_is_the_median_with_least_and_most(self) -> None:
        made = results({"motte": [3.0, 1.0, 2.0], "floor": [0.5]})
        self.assertEqual(cell(made, scenario(), "motte", CPU), "2.00 (1.00–3.00)")
        self.assertEqual(cell(made, scenario(), "floor", CPU), "0.50")
        self.assertEqual(cell(made, scenario(not_for=("floor",)), "floor", CPU), "–")
        self.assertEqual(cell(made, scenario(), "other", CPU), "")

    def test_losses_and_failures_are_marked(self) -> None:
        made = results({"motte": [1.0, 1.0]})
        made.measurements[1].metrics["lost"] = 3
        made.measurements.append(Measurement("a", scenario().digest(), "motte", 2, failed="why"))
        self.assertEqual(cell(made, scenario(), "motte", CPU), "1.00 (1.00–1.00) L F1")
        only = Results(measurements=made.measurements[2:])
        self.assertEqual(cell(only, scenario(), "motte", CPU), "failed")

    def test_a_ratio_is_that_of_the_medians(self) -> None:
        made = results({"motte": [1.0, 2.0, 9.0], "mosquitto": [8.0]})
        self.assertEqual(ratio(made, scenario(), CPU, "mosquitto"), "0.25 ×")
        self.assertEqual(ratio(made, scenario(), CPU, "floor"), "")

    def test_a_table_has_a_row_for_what_was_measured(self) -> None:
        made = results({"motte": [1.0], "floor": [0.5]})
        text = metric_table(made, [scenario(), scenario("b")], ["motte", "floor"], CPU)
        self.assertEqual(text.splitlines()[2:], ["| The a <1> | 1.00 | 0.50 | 2.00 × |"])

    def test_sections_are_headed_with_their_unit(self) -> None:
        text = all_tables(results({"motte": [1.0]}), [scenario()], ["motte"])
        self.assertIn("### Some & more\n\nCPU per delivered message, µs:\n\n| scenario | motte |", text)

    def test_goals_are_reached_missed_or_not_measured(self) -> None:
        floor = Reference("a", "floor")
        goals = (Goal(CPU, at_most=2.0), Goal(CPU, at_least=2.0), Goal("latency_us.p50", at_most=1.0),
                 Goal(CPU, at_most=0.5, over=floor), Goal(CPU, at_most=1.0, above=floor))
        rows = goal_rows(results({"motte": [1.5], "floor": [0.5]}), [scenario(goals=goals)])
        self.assertEqual([row[-1] for row in rows], ["reached", "missed", "", "missed", "reached"])
        self.assertEqual(rows[0][2:4], ["≤ 2.00 µs", "1.50 µs"])
        self.assertEqual(rows[3][2:4], ["≤ 0.5 × floor, `a`", "3.00 ×"])
        self.assertEqual(rows[4][2:4], ["≤ 1.00 µs above floor, `a`", "1.00 µs"])

    def test_numbers_have_three_figures(self) -> None:
        for value, text in ((0, "0"), (0.0244, "0.024"), (0.284, "0.28"), (12.34, "12.3"), (1234567, "1,234,567")):
            self.assertEqual(shown(value), text)

    def test_a_bar_in_a_text_does_not_end_its_column(self) -> None:
        self.assertIn("a\\|b", markdown(["x"], [["a|b"]]))


class Pictures(unittest.TestCase):
    """SVG."""

    def test_a_picture_is_well_formed_and_as_long_as_the_figures(self) -> None:
        made = results({"motte": [1.0, 2.0, 3.0], "mosquitto": [6.0, 6.0, 6.0]})
        drawn = chart.groups(made, [scenario()], ["motte", "mosquitto"], CPU)
        root = ElementTree.fromstring(chart.draw("One & <two>", CPU, ["motte", "mosquitto"], drawn))
        name = "{http://www.w3.org/2000/svg}"
        bars = [rect for rect in root.iter(f"{name}rect") if rect.get("height") == str(chart.BAR - 2)]
        self.assertEqual([bar.get("class") for bar in bars], ["bar0", "bar1"])
        self.assertAlmostEqual(float(bars[1].get("width", 0)) / float(bars[0].get("width", 1)), 3, 1)
        self.assertEqual(len(list(root.iter(f"{name}path"))), 2)
        texts = [text.text for text in root.iter(f"{name}text")]
        self.assertIn("The a <1>", texts)
        self.assertIn("2.00", texts)
        self.assertIn("prefers-color-scheme: dark", root.find(f"{name}style").text)  # type: ignore[union-attr,arg-type]

    def test_one_round_has_no_whisker(self) -> None:
        drawn = chart.groups(results({"motte": [0.0]}), [scenario()], ["motte"], CPU)
        self.assertNotIn("<path", chart.draw("T", CPU, ["motte"], drawn))

    def test_file_names_are_plain(self) -> None:
        self.assertEqual(chart.file_name("One shard, or two", CPU), "one-shard-or-two-cpu-us-per-message.svg")


class Page(unittest.TestCase):
    """docs/performance.md."""

    def test_blocks_replace_what_stood_between_their_markers_and_nothing_else(self) -> None:
        text = "a\n<!-- x -->\nold\n<!-- end x -->\nb\n<!-- y -->\n<!-- end y -->\n"
        once = page.fill(text, {"x": "new \\1", "y": "why"})
        self.assertEqual(once, "a\n<!-- x -->\n\nnew \\1\n\n<!-- end x -->\nb\n<!-- y -->\n\nwhy\n\n<!-- end y -->\n")
        self.assertEqual(page.fill(once, {"x": "new \\1", "y": "why"}), once)
        with self.assertRaisesRegex(Trouble, "no place for `z`"):
            page.fill(text, {"z": ""})

    def test_the_page_has_a_place_for_every_block(self) -> None:
        made = results({"motte": [1.0, 2.0], "mosquitto": [3.0, 4.0]})
        made.measurements.append(Measurement("a", scenario().digest(), "floor", 0, failed="why"))
        found = page.blocks(made, [scenario()], made.brokers(), "performance")
        text = page.fill(PAGE.read_text("utf-8"), found)
        for part in ("| motte | motte 1 |", "![Some & more](performance/some-more-cpu-us-per-message.svg)",
                     "| `a` | floor | 1 | why |", "2, 2026-01-02"):
            self.assertIn(part, text)

    def test_lone_messages_have_their_latency_and_others_their_rate(self) -> None:
        lone = scenario("lone", load={"rate": 10})
        made = Results(measurements=[
            Measurement(one.name, one.digest(), "motte", 0, {CPU: 1.0, "delivered_per_s": 2e6, "latency_us.p50": 30.0})
            for one in (scenario(), lone)])
        text = page.more_text(made, [scenario(), lone], ["motte"])
        self.assertIn("| The a <1> | 2,000 |", text)
        self.assertIn("| The lone <1> | 30.0 |", text)
        self.assertNotIn("| The lone <1> | 2,000 |", text)


if __name__ == "__main__":
    unittest.main()
