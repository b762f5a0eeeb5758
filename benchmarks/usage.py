"""Measure CPU time and memory of a service's processes, from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")
_SCHED_CLOCK = 2  # CPUCLOCK_SCHED of Linux: all threads of a process, ended ones too
ENDED = "ended"


class Usage(NamedTuple):
    """What the supervisor and its children have used so far."""

    cpu: dict[str, float]
    """Seconds of user and system time, by role: `supervisor`, `receiver`, `worker sqlite`, and
    `ended` for the sum of the ended children (with a resolution of 10 ms)."""
    peak_rss: int
    """Bytes: the sum of the peak resident sets. Shared pages count in each process."""
    pss: int
    """Bytes now: the sum of the proportional set sizes, which divide shared pages."""

    def since(self, start: Usage) -> dict[str, float]:
        """Return the CPU-seconds since `start`, by role."""
        return {role: used - start.cpu.get(role, 0.0) for role, used in self.cpu.items()}


def measure(supervisor: int) -> Usage:
    """Measure the process and its children.

    Raises:
        ProcessLookupError: there is no such process.
    """
    own = _stat(supervisor)
    if own is None:
        raise ProcessLookupError(f"process {supervisor} has ended")
    cpu = {"supervisor": own.cpu, ENDED: own.children_cpu}
    peak_rss, pss = _memory(supervisor)
    for pid, stat in _children(supervisor):
        role = _role(pid)
        cpu[role] = cpu.get(role, 0.0) + stat.cpu
        memory = _memory(pid)
        peak_rss, pss = peak_rss + memory[0], pss + memory[1]
    return Usage(cpu, peak_rss, pss)


def cpu_of(pid: int) -> float:
    """Return the CPU-seconds of a process, in nanosecond resolution.

    `/proc/PID/stat` has a resolution of 10 ms, too coarse for a run of a second.

    Raises:
        ProcessLookupError: there is no such process.
    """
    clock = ~pid << 3 | _SCHED_CLOCK  # what clock_getcpuclockid(3) returns
    try:
        return time.clock_gettime(clock)
    except OSError as error:
        raise ProcessLookupError(f"process {pid} has ended") from error


def children(supervisor: int, role: str) -> list[int]:
    """Return the pids of the children with this role."""
    return [pid for pid, _ in _children(supervisor) if _role(pid) == role]


def wakeups(pid: int) -> int:
    """Return how often a thread of the process has waited so far: its voluntary context switches.

    Threads that have ended are not counted.
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(_number(task / "status", "voluntary_ctxt_switches") for task in tasks)


class Sampler:
    """Samples what a service uses.

    Args:
        pid: the supervisor's.
        every: seconds between samples; a sample costs the service a little of its time.
    """

    def __init__(self, pid: int, every: float = 1.0) -> None:
        self._pid, self._every = pid, every
        self.first: Usage = measure(pid)
        self.last = self.first
        self.peak_rss, self.peak_pss = self.first.peak_rss, self.first.pss
        self._sampled_at = time.monotonic()

    def sample(self, now: bool = False) -> None:
        if now or time.monotonic() > self._sampled_at + self._every:
            self._sampled_at = time.monotonic()
            self.last = measure(self._pid)
            self.peak_rss = max(self.peak_rss, self.last.peak_rss)
            self.peak_pss = max(self.peak_pss, self.last.pss)


class _Stat(NamedTuple):
    parent: int
    cpu: float
    children_cpu: float
    """CPU-seconds of children that ended and were reaped."""


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    words = text.rpartition(")")[2].split()  # the name before it may contain anything
    cutime, cstime = map(int, words[13:15])
    try:
        return _Stat(int(words[1]), cpu_of(pid), (cutime + cstime) / _TICK)
    except ProcessLookupError:
        return None


def _children(parent: int) -> Iterator[tuple[int, _Stat]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            if stat is not None and stat.parent == parent:
                yield int(entry.name), stat


def resident(pid: int) -> tuple[int, int]:
    """Return the resident set of a process and the anonymous part of it, in bytes."""
    return _field(pid, "status", "VmRSS"), _field(pid, "status", "RssAnon")


def _memory(pid: int) -> tuple[int, int]:
    """Return the peak resident set and the proportional set, in bytes; 0 if it has ended."""
    return _field(pid, "status", "VmHWM"), _field(pid, "smaps_rollup", "Pss")


def _field(pid: int, file: str, name: str) -> int:
    return _number(Path(f"/proc/{pid}/{file}"), name) * 1024


def _number(file: Path, name: str) -> int:
    """Return the number in the line of a file that begins with this name; 0 if there is none."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def _role(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ENDED
    if "--sink" in words:
        return f"worker {words[words.index('--sink') + 1]}"
    if "fastlog.tls" in words:
        return "tls"
    if "fastlog.source" in words:
        return "source"
    if (program := Path(words[0]).name) in ("nats-server", "postgres"):
        return program
    return "receiver" if "--listen-fds" in words else "other"
