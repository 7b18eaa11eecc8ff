"""The runner's own client fills a broker, counts what it kept, and makes the load of many topics."""

from __future__ import annotations

import os
import unittest
from contextlib import ExitStack
from unittest import mock

from runner import client, tree
from runner.client import Client, packet, split, text
from runner.tree import Tree, measure_tree

from . import fakes

SMALL = Tree(clients=3, topics=30, used=12, publishers=2, window=3, size=8, seconds=0.05, warm_up=0.01)


class Packets(unittest.TestCase):
    """Cutting a stream."""

    def test_packets_are_cut_wherever_the_stream_is(self) -> None:
        bodies = [b"", b"a", bytes(127), bytes(128), bytes(20_000)]
        stream = b"".join(packet(0x30, body) for body in bodies)
        for cut in (0, 1, 2, 5, 140, 300, len(stream) - 1, len(stream)):
            left, first = split(stream[:cut])
            rest, second = split(left + stream[cut:])
            self.assertEqual((rest, [body for _, body in first + second]), (b"", bodies), cut)


class Talks(unittest.TestCase):
    """The client against a small broker."""

    def setUp(self) -> None:
        self.server = fakes.Server()
        self.addCleanup(self.server.close)

    def test_retained_messages_are_counted_as_they_come_back(self) -> None:
        with Client(self.server.port, "filler") as filler:
            filler.retain(["a", "b", "c"], b"x")
        size = 3 * len(packet(0x31, text("a") + b"x")) + 5
        with Client(self.server.port, "reader") as reader:
            count, seconds = reader.replay("#", size, 5)
        self.assertEqual(count, 3)
        self.assertGreater(seconds, 0)

    def test_what_does_not_come_is_not_counted(self) -> None:
        with Client(self.server.port, "reader") as reader:
            self.assertEqual(reader.replay("#", 100, 0.05)[0], 0)

    def test_what_waits_for_a_session_is_counted_once_even_when_it_comes_with_the_connack(self) -> None:
        one, two = (packet(0x32, text("t") + number + b"p") for number in (b"\0\1", b"\0\2"))
        other = packet(0x30, text("t") + b"q")
        self.server.park("parked", [one, two, other])
        with Client(self.server.port, "parked", clean=False) as parked:
            self.assertEqual(parked.receive(2, 0.05), {text("t") + b"p", text("t") + b"q"})

    def test_an_answer_that_never_comes_is_an_error(self) -> None:
        with mock.patch.object(client, "CONNACK", client.PINGRESP), self.assertRaises(TimeoutError), \
                mock.patch.object(client, "TIMEOUT_S", 0.05):
            Client(self.server.port, "never")


class Trees(unittest.TestCase):
    """Many topics."""

    def test_topics_are_different_and_equally_long(self) -> None:
        large = Tree(**{**SMALL.__dict__, "topics": 100_000})
        topics = [large.topic(number) for number in range(large.topics)]
        self.assertEqual((len(set(topics)), {len(topic) for topic in topics}), (100_000, {15}))

    def test_each_topic_in_use_is_sent_once_a_turn(self) -> None:
        windows = [window for windows in SMALL.windows() for window in windows]
        packets = [body for window in windows for _, body in split(window)[1]]
        self.assertEqual((len(windows), len(packets), len(set(packets))), (4, 12, 12))

    def test_everything_that_is_sent_arrives(self) -> None:
        server = fakes.Server()
        self.addCleanup(server.close)
        with ExitStack() as stack:
            found = measure_tree(stack, os.getpid(), server.port, SMALL)
        self.assertEqual(found["lost"], 0)
        self.assertGreater(found["delivered"], 0)
        self.assertEqual(found["delivered"] % (SMALL.publishers * SMALL.window), 0)

    def test_what_is_missing_is_lost(self) -> None:
        server = fakes.Server()
        self.addCleanup(server.close)
        missing = Tree(**{**SMALL.__dict__, "clients": 1, "topics": 12})
        with ExitStack() as stack, mock.patch.object(tree, "QUIET_S", 0.05):
            loop = tree.Loop(stack, server.port, missing)
            loop.sent += 10
            self.assertFalse(loop.run(0.01))


if __name__ == "__main__":
    unittest.main()
