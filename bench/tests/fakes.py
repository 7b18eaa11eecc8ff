"""A broker and a load generator that measure nothing: what a run is made of, without what takes time."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

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
print(json.dumps({"delivered": 1000, "delivered_per_s": 2e6, "lost": 0, "words": words,
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
