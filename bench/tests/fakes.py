"""A broker and a load generator that measure nothing: what a run is made of, without what takes time."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import threading
from pathlib import Path

from runner.client import packet, split
from runner.load import Generator
from runner.measure import Bench

BROKER = """\
#!/bin/sh
if [ "${1:-}" = version ]; then echo "fake 1.0"; exit; fi
[ -z "${BREAK:-}" ] || { echo "error: cannot start in $DIR"; exit 7; }
exec %(python)s -c '
import os, socket, threading
def serve(port):
    listener = socket.create_server(("127.0.0.1", int(port)))
    while True:
        listener.accept()[0].close()
for name in ("TLSPORT", "MTLSPORT", "PORT"):
    threading.Thread(target=serve, args=(os.environ[name],)).start()
'
"""

GENERATOR = """\
import json, os, sys
words = sys.argv[1:]
if words == ["--version"]:
    print("fake load 1.0"); sys.exit()
if "--qos" in words and words[words.index("--qos") + 1] == "2":
    print("warning: odd", file=sys.stderr)
    print("error: refused", file=sys.stderr); sys.exit(1)
assert os.path.exists("/proc/" + words[words.index("--broker-pid") + 1])
print("noise")
print(json.dumps({"delivered": 0 if "--nothing" in words else 1000, "delivered_per_s": 2e6, "lost": 0, "words": words,
                  "latency_us": {"p50": 12.5}, "broker": {"cpu_us_per_message": 0.25}}))
"""


def script(folder: Path, name: str) -> Path:
    """A start script of a fake broker."""
    path = folder / f"{name}.sh"
    path.write_text(BROKER % {"python": sys.executable}, "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def program(folder: Path) -> Path:
    """A load generator that runs as a program."""
    path = folder / "load"
    path.write_text(f"#!{sys.executable}\n{GENERATOR}", "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def certificate_program(folder: Path) -> Path:
    """A `motte` that makes certificates out of nothing."""
    path = folder / "motte"
    files = "ca.pem server.pem server.key bench.pem bench.key"
    path.write_text(f'#!/bin/sh\nmkdir -p "$3"; cd "$3"; touch {files}\n', "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def bench(folder: Path) -> Bench:
    """A bench that works in a folder."""
    return Bench(Generator((os.fspath(program(folder)),)), folder / "work", folder / "certs")


class Server:
    """A broker in a thread, as small as it can be: equal topics, `#`, retained messages, parked sessions."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._retained: list[bytes] = []
        self._parked: dict[bytes, list[bytes]] = {}
        self._subscribers: list[tuple[bytes, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accepts no more."""
        self._listener.close()

    def park(self, client_id: str, publishes: list[bytes]) -> None:
        """Keeps messages for a client that comes later."""
        self._parked[client_id.encode()] = publishes

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        held = b""
        with contextlib.suppress(OSError), peer:
            while came := peer.recv(65536):
                held, packets = split(held + came)
                for first, body in packets:
                    with self._lock:
                        self._answer(peer, first, body)

    def _answer(self, peer: socket.socket, first: int, body: bytes) -> None:
        match first >> 4:
            case 1:
                peer.sendall(b"\x20\2\0\0" + b"".join(self._parked.pop(body[12:], [])))
            case 3 if first & 1:
                self._retained.append(packet(first, body))
            case 3:
                for topic, subscriber in self._subscribers:
                    if body.startswith(topic):
                        subscriber.sendall(packet(first, body))
            case 8:
                self._subscribe(peer, body)
            case 12:
                peer.sendall(b"\xd0\0")

    def _subscribe(self, peer: socket.socket, body: bytes) -> None:
        at, codes = 2, b""
        while at < len(body):
            end = at + 2 + int.from_bytes(body[at:at + 2])
            self._subscribers.append((body[at:end], peer))
            at, codes = end + 1, codes + body[end:end + 1]
        retained = self._retained if body[4:5] == b"#" else []
        peer.sendall(packet(0x90, body[:2] + codes) + b"".join(retained))
