"""Scenarios are read as they are written, and what is written wrongly is refused with a hint."""

from __future__ import annotations

import unittest
from pathlib import Path
from typing import Any

from runner.measure import KINDS as MEASURED
from runner.scenario import KINDS, Reference, Trouble, choose, parse_scenarios, read_scenarios
from runner.table import UNITS

SHIPPED = Path(__file__).parents[1] / "scenarios.toml"


def entry(**more: Any) -> dict[str, Any]:
    """A scenario that is complete."""
    return {"name": "a", "title": "A", "section": "S", "kind": "flow", "metric": "lost", **more}


class Parsing(unittest.TestCase):
    """`parse_scenarios`."""

    def test_a_scenario_is_spread_over_transports_and_shards(self) -> None:
        found = parse_scenarios({"scenario": [entry(transports=["tcp", "tls"], shards=[1, 2])]})
        self.assertEqual([one.name for one in found], ["a.tcp.1", "a.tcp.2", "a.tls.1", "a.tls.2"])
        self.assertEqual(found[3].title, "A, TLS, 2 shards")

    def test_a_single_number_of_shards_is_not_in_the_name(self) -> None:
        found = parse_scenarios({"scenario": [entry(shards=[2])]})
        self.assertEqual([(one.name, one.shards) for one in found], [("a.tcp", 2)])

    def test_defaults_of_a_kind_stand_behind_the_options_of_a_scenario(self) -> None:
        found = parse_scenarios({"defaults": {"flow": {"qos": 0, "size": 64}}, "scenario": [entry(load={"qos": 1})]})
        self.assertEqual(found[0].load, {"qos": 1, "size": 64})

    def test_a_goal_holds_for_the_transports_it_names(self) -> None:
        goals = [{"at_most": {"tls": 2}}, {"metric": "x", "at_least": 3}]
        tcp, tls = parse_scenarios({"scenario": [entry(transports=["tcp", "tls"], goals=goals)]})
        self.assertEqual([(goal.metric, goal.at_most, goal.at_least) for goal in tcp.goals], [("x", None, 3)])
        self.assertEqual([goal.at_most for goal in tls.goals], [2, None])

    def test_a_goal_relative_to_the_scenario_itself_is_left_out(self) -> None:
        goals = [{"at_most": 1.15, "over": {"shards": 1}}]
        one, two = parse_scenarios({"scenario": [entry(shards=[1, 2], goals=goals)]})
        self.assertEqual(one.goals, ())
        self.assertEqual(two.goals[0].over, Reference("a.tcp.1"))

    def test_what_is_wrong_is_refused(self) -> None:
        wrong: list[dict[str, Any]] = [
            {"scenario": [entry(colour="red")]},
            {"scenario": [entry(kind="dance")]},
            {"scenario": [entry(transports=["udp"])]},
            {"scenario": [{"name": "a"}]},
            {"scenario": [entry(), entry()]},
            {"scenario": [entry(goals=[{"most": 1}])]},
            {"scenario": [entry(goals=[{"at_most": 1, "over": {"scenario": "b"}}])]},
            {"tables": []},
        ]
        for document in wrong:
            with self.subTest(document), self.assertRaisesRegex(Trouble, "hint: "):
                parse_scenarios(document)

    def test_the_digest_tells_of_what_is_measured_only(self) -> None:
        def digest(**more: Any) -> str:
            return parse_scenarios({"scenario": [entry(**more)]})[0].digest()

        self.assertEqual(digest(), digest(title="B", goals=[{"at_most": 1}]))
        self.assertNotEqual(digest(), digest(load={"qos": 1}))
        self.assertNotEqual(digest(), digest(acl_rules=10))


class Choosing(unittest.TestCase):
    """`choose`."""

    def test_names_beginnings_and_patterns_choose(self) -> None:
        known = parse_scenarios({"scenario": [entry(), entry(name="ab"), entry(name="a.b")]})
        for pattern, names in {"a": ["a.tcp", "a.b.tcp"], "a.tcp": ["a.tcp"], "*b.tcp": ["ab.tcp", "a.b.tcp"]}.items():
            self.assertEqual([one.name for one in choose(known, [pattern])], names, pattern)
        with self.assertRaisesRegex(Trouble, "no scenario `c`"):
            choose(known, ["c"])


class Shipped(unittest.TestCase):
    """The file that comes with the project."""

    def test_it_is_right_and_every_metric_has_a_unit(self) -> None:
        scenarios = read_scenarios(SHIPPED)
        metrics = {one.metric for one in scenarios} | {goal.metric for one in scenarios for goal in one.goals}
        self.assertEqual(metrics - set(UNITS), set())

    def test_every_kind_can_be_measured(self) -> None:
        self.assertEqual(set(KINDS), set(MEASURED))


if __name__ == "__main__":
    unittest.main()
