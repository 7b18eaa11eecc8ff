"""The load: `motte bench …` with the options of a scenario, and the JSON line it ends with.

Used by `measure`. Any program that takes the same options and gives the same line can stand in for it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .broker import Broker, Failed, pinned_to

LOST = 30
"""Exit status of a load that ended well, but lost messages; how many stands in its line."""


@dataclass(frozen=True)
class Generator:
    """The program that makes the load."""

    words: tuple[str, ...]

    def version(self) -> str:
        """What it says of itself."""
        try:
            said = subprocess.run([self.words[0], "--version"], capture_output=True, text=True, timeout=5, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return "unknown"
        return said.stdout.strip().partition("\n")[0] or "unknown"

    def run(self, what: str, broker: Broker, transport: str, options: Mapping[str, Any], job: Job) -> dict[str, Any]:
        """Puts a load on a broker and gives what was measured. Fails with the reason that the program gave."""
        command = [*self.words, what, *connection(broker, transport), *spelled(options), "--json"]
        if job.watches_broker:
            command += ["--broker-pid", str(broker.pid)]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=job.limit_s, check=False,
                                  stdin=subprocess.DEVNULL, preexec_fn=pinned_to(job.cores))
        except subprocess.TimeoutExpired:
            raise Failed(f"{what}: not done after {job.limit_s:.0f} s{broker.ended()}") from None
        except OSError as error:
            raise Failed(f"{Path(self.words[0]).name}: {error.strerror}") from None
        if said.returncode not in (0, LOST):
            raise Failed(f"{what}: {reason(said.stderr)}{broker.ended()}")
        return parse_line(said.stdout)


@dataclass(frozen=True)
class Job:
    """How the load is run, beside what it does."""

    cores: frozenset[int] = frozenset()
    limit_s: float = 60.0
    watches_broker: bool = True


def connection(broker: Broker, transport: str) -> list[str]:
    """Options that say where the broker is and how to speak to it."""
    certificates = broker.setting.certificates
    words = ["--host", "127.0.0.1", "--port", str(broker.ports[transport])]
    if transport == "tcp":
        return [*words, "--danger-plaintext"]
    words += ["--cafile", str(certificates / "ca.crt")]
    if transport == "mtls":
        words += ["--cert", str(certificates / "client.crt"), "--key", str(certificates / "client.key")]
    return words


def spelled(options: Mapping[str, Any]) -> list[str]:
    """Options as words; one that is true has no value, one that is false is left out."""
    words: list[str] = []
    for name, value in options.items():
        if value is False:
            continue
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append(str(value))
    return words


def parse_line(text: str) -> dict[str, Any]:
    """The last line that is a JSON object."""
    for line in reversed(text.strip().splitlines()):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except json.JSONDecodeError as error:
                raise Failed(f"the load generator's line is no JSON: {error}") from None
            return dict(found)
    raise Failed("the load generator gave no JSON line")


def reason(text: str) -> str:
    """The line of an error stream that says most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error")]
    return (errors or lines or ["it said nothing"])[-1][:300]


def make_certificates(program: str, folder: Path) -> Path:
    """Throw-away certificates by `motte cert`, under the names that start scripts expect."""
    names = {"ca.pem": "ca.crt", "server.pem": "server.crt", "server.key": "server.key", "bench.pem": "client.crt",
             "bench.key": "client.key"}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = folder / "made"
    for words in (["ca", "--name", "bench"], ["server", "localhost", "127.0.0.1"], ["client", "bench"]):
        command = [program, "cert", "--dir", str(made), *words, "--force"]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        if said.returncode != 0:
            raise Failed(f"certificates: {reason(said.stderr)}")
    for old, new in names.items():
        os.replace(made / old, folder / new)
    return folder
