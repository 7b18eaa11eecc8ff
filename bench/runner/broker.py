"""A broker under measurement: started by its script on free ports of loopback, pinned, and stopped.

Used by `measure`. A script keeps the contract of `bench/README.md`; nothing here knows any broker.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType

from .scenario import Trouble

START_S_MAX = 30.0
STOP_S_MAX = 15.0


class Failed(Exception):
    """A measurement did not come about. Its text is the reason that is recorded."""


@dataclass(frozen=True)
class Command:
    """How a broker is started: a label for the tables, its script, and more variables for it."""

    label: str
    script: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def version(self) -> str:
        """What the script says of itself, in one line; `unknown` where it says nothing."""
        try:
            said = subprocess.run([self.script, "version"], env={**os.environ, **self.env}, capture_output=True,
                                  text=True, timeout=5, check=False, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired):
            return "unknown"
        first = said.stdout.strip().partition("\n")[0]
        return first if said.returncode == 0 and first else "unknown"


def parse_command(text: str, folder: Path) -> Command:
    """Reads `NAME`, `PATH.sh` or `LABEL=NAME-OR-PATH`, each with `;VARIABLE=VALUE` behind it as often as wanted."""
    first, *assignments = text.split(";")
    label, equals, place = first.rpartition("=")
    script = Path(place) if place.endswith(".sh") else folder / f"{place}.sh"
    if not os.access(script, os.X_OK):
        raise Trouble(f"broker `{text}`: {script.name} is no program — hint: a script of bench/, or the path of one")
    env = dict(assignment.partition("=")[::2] for assignment in assignments)
    return Command(label if equals else script.stem, script.resolve(), env)


@dataclass(frozen=True)
class Setting:
    """What a measurement asks of a broker."""

    folder: Path
    certificates: Path
    cores: frozenset[int] = frozenset()
    shards: int = 1
    acl: Path | None = None
    durable: bool = False
    wrap: str = ""


class Broker:
    """A running broker; a context that ends with it."""

    def __init__(self, command: Command, setting: Setting) -> None:
        self.command, self.setting = command, setting
        self.ports = dict(zip(("tcp", "tls", "mtls"), free_ports(3), strict=True))
        shutil.rmtree(setting.folder, ignore_errors=True)
        setting.folder.mkdir(parents=True)
        self._log = setting.folder.with_name(setting.folder.name + ".log")
        self._process = self._start()

    @property
    def pid(self) -> int:
        """The broker's process."""
        return self._process.pid

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def await_port(self, transport: str) -> None:
        """Waits until it accepts connections."""
        end = time.monotonic() + START_S_MAX * (4 if self.setting.wrap else 1)
        while True:
            if self._process.poll() is not None:
                status = self._process.returncode
                raise Failed(f"the broker ended at its start with status {status}: {self.last_words()}")
            try:
                socket.create_connection(("127.0.0.1", self.ports[transport]), 1).close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise Failed(f"the broker does not listen for {transport}: {self.last_words()}") from None
                time.sleep(0.02)

    def ended(self) -> str:
        """How it ended, if it did."""
        status = self._process.poll()
        return "" if status is None else f"; the broker ended with status {status}: {self.last_words()}"

    def last_words(self) -> str:
        """The end of what it wrote."""
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1][-200:] if lines else "it said nothing"

    def stop(self) -> None:
        """Ends it: asked first, then killed."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        setting = self.setting
        env = {
            **os.environ, **self.command.env, "DIR": str(setting.folder), "CERTS": str(setting.certificates),
            "PORT": str(self.ports["tcp"]), "TLSPORT": str(self.ports["tls"]), "MTLSPORT": str(self.ports["mtls"]),
            "THREADS": str(setting.shards), "ACL": str(setting.acl or ""), "WRAP": setting.wrap,
            "DURABLE": "1" if setting.durable else "0",
        }
        with self._log.open("wb") as log:
            return subprocess.Popen([self.command.script], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    preexec_fn=pinned_to(setting.cores))


def pinned_to(cores: frozenset[int]) -> Callable[[], None] | None:
    """What a child does before it becomes its program."""
    return partial(os.sched_setaffinity, 0, cores) if cores else None


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; fresh ones each time, so that no connection of a predecessor is in the way."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def write_acl(path: Path, rules: int) -> Path:
    """A Mosquitto ACL file with so many rules: all but the last fit no topic of a measurement."""
    lines = [f"topic readwrite site/{number}/device/+/state" for number in range(rules - 1)]
    path.write_text("\n".join([*lines, "topic readwrite #"]) + "\n", "utf-8")
    path.chmod(0o600)
    return path
