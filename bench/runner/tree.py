"""Messages to topics that jump about among very many subscriptions: a load of its own, because each topic is another.

Used by `measure`. A closed loop in steps: every publisher sends a window, and when all has arrived, the next one.
"""

from __future__ import annotations

import random
import select
import time
from contextlib import ExitStack
from dataclasses import dataclass

from . import machine
from .client import Client, packet, text

QUIET_S = 3.0


@dataclass(frozen=True)
class Tree:
    """How many of what."""

    clients: int
    topics: int
    used: int
    publishers: int
    window: int
    size: int
    seconds: float
    warm_up: float

    def topic(self, number: int) -> str:
        """A topic with four levels; all are of the same length, so that bytes can be counted for messages."""
        return f"bench/{number // 1000:03}/{number % 1000 // 10:02}/s{number % 10}"

    def windows(self) -> list[list[bytes]]:
        """For each publisher what it sends, window by window: each of the topics in use comes once."""
        chosen = random.Random(1).sample(range(self.topics), self.used)
        payload = bytes(self.size)
        packets = [packet(0x30, text(self.topic(number)) + payload) for number in chosen]
        cut = [b"".join(packets[at:at + self.window]) for at in range(0, len(packets), self.window)]
        return [cut[number::self.publishers] for number in range(self.publishers)]


class Loop:
    """The load while it runs."""

    def __init__(self, stack: ExitStack, port: int, tree: Tree) -> None:
        self.sent = self.came = 0
        self._subscribers: dict[int, Client] = {}
        self._poll = select.epoll()
        stack.callback(self._poll.close)
        for number in range(tree.clients):
            client = stack.enter_context(Client(port, f"leaf-{number}"))
            client.subscribe([tree.topic(one) for one in range(number, tree.topics, tree.clients)], 0)
            self._subscribers[client.fileno()] = client
            self._poll.register(client, select.EPOLLIN)
        self._publishers = [stack.enter_context(Client(port, f"source-{n}")) for n in range(tree.publishers)]
        self._windows = tree.windows()
        self._turn = 0

    def run(self, seconds: float) -> bool:
        """Sends and receives for so long; whether everything arrived."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for publisher, windows in zip(self._publishers, self._windows, strict=True):
                window = windows[self._turn % len(windows)]
                publisher.send(window)
                self.sent += len(window)
            self._turn += 1
            while self.came < self.sent:
                ready = self._poll.poll(QUIET_S)
                if not ready:
                    return False
                self.came += sum(self._subscribers[one].take() for one, _ in ready)
        return True


def measure_tree(stack: ExitStack, pid: int, port: int, tree: Tree) -> dict[str, float]:
    """Connects and subscribes all, warms up, and measures."""
    length = len(tree.windows()[0][0]) // tree.window
    loop = Loop(stack, port, tree)
    arrived = loop.run(tree.warm_up)
    came, cpu_s, began = loop.came, machine.cpu_s(pid), time.monotonic()
    arrived = arrived and loop.run(tree.seconds)
    seconds, cpu_s, delivered = time.monotonic() - began, machine.cpu_s(pid) - cpu_s, (loop.came - came) / length
    return {
        "delivered": delivered,
        "delivered_per_s": delivered / seconds,
        "lost": 0 if arrived else (loop.sent - loop.came) / length,
        "broker.cpu_us_per_message": cpu_s / delivered * 1e6 if delivered else 0,
        "broker.rss_bytes": machine.resident_bytes(pid),
    }
