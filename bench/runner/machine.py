"""Facts of the machine that belong beside every figure: processor, kernel, what the hypervisor took, limits.

Asked by `run.py run`. Linux only; what cannot be read is left out.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USABLE = sorted(os.sched_getaffinity(0))
CONNECTIONS_MAX = 10_000


def facts(root: Path) -> dict[str, Any]:
    """What is to be known of this machine and of the state of the project."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "system": _system(),
        "python": platform.python_version(),
        "commit": _commit(root),
    }
    governor = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()
    if governor:
        found["governor"] = governor
    hypervisor = "hypervisor" in _read("/proc/cpuinfo")
    found["virtual"] = hypervisor
    return found


def ticks() -> tuple[int, int]:
    """Ticks that were stolen since boot, and all of them."""
    line = _read("/proc/stat").partition("\n")[0].split()[1:9]
    values = [int(word) for word in line]
    return (values[7], sum(values)) if len(values) == 8 else (0, 0)


def steal_between(before: tuple[int, int], after: tuple[int, int]) -> float:
    """The share of all processor time that the hypervisor gave to others."""
    return round((after[0] - before[0]) / max(1, after[1] - before[1]), 4)


def raise_file_limit() -> int:
    """As many open files as this user may have; brokers and the load inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def cores_for(which: str) -> tuple[set[int], set[int]]:
    """Cores of the broker and of the load: one each, or both the same two. Empty sets where there is no choice."""
    if len(USABLE) < 2:
        return set(), set()
    if which == "both":
        return set(USABLE[:2]), set(USABLE[:2])
    return {USABLE[0]}, {USABLE[1]}


@contextmanager
def this_process_on(cores: set[int]) -> Iterator[None]:
    """Keeps the runner off the broker's core while it measures."""
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, USABLE)


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM."""
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _processor() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    for line in _read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def _commit(root: Path) -> str:
    def git(*words: str) -> str:
        command = ["git", "-c", f"safe.directory={root}", *words]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads."""
    # The name before the last bracket may hold anything; fields 14 and 15 of the line are the 12th and 13th behind it.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if len(fields) > 12 else 0.0
