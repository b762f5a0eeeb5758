"""Finds workers that give no sign of life, and replaces them.

A worker that hangs looks like one that has nothing to do: its process exists, and its sink falls
behind in silence. Its cursor is in the sink, so it can be killed at any moment and started again
without a loss or a double. A worker that waits inside a method of its sink is only reported: the
next one would wait for the same disk or network.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fastlog.server.process import Process
from fastlog.worker.life import Life, read_life, state_of

log = logging.getLogger(__name__)

SILENCE = 30.0
"""Seconds without a sign of life after which a worker is replaced."""
INTERVAL = 1.0
"""Seconds between two checks of the workers."""
_STOPPED, _TRACED = "T", "t"
"""States of a process, as in proc(5)."""


@dataclass
class _Observed:
    """What was seen of a worker so far."""

    pid: int
    update: int = 0
    silent: float = 0.0
    """Seconds since its last sign of life, of which this process saw every few seconds."""
    reported: str = ""
    """What the log says that it waits for; "" while it is alive."""


class LifeWatch:
    """Checks the signs of life of the workers once a second.

    Args:
        data_dir: Where the workers publish them.
        monotonic: A monotonic clock, in seconds.
    """

    def __init__(self, data_dir: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._data_dir, self._monotonic = data_dir, monotonic
        self._observed: dict[str, _Observed] = {}
        self._looked_at = monotonic()

    def due(self) -> float:
        """Return when to call `check` next, on the monotonic clock."""
        return self._looked_at + INTERVAL

    def check(self, processes: Iterable[Process]) -> None:
        """Kill the workers among these processes that hang. Has no effect before it is due."""
        now = self._monotonic()
        if now < self.due():
            return
        # While this process was stopped, the workers may have been, too: the machine was suspended.
        elapsed, self._looked_at = min(now - self._looked_at, 2 * INTERVAL), now
        for process in processes:
            is_watched = process.is_alive and process.restarts and not process.stop_requested
            if process.name and is_watched and self._hangs(process, elapsed):
                process.kill()

    def _hangs(self, worker: Process, elapsed: float) -> bool:
        """Return whether a worker is to be replaced; log that, or why it is not."""
        observed = self._observed.get(worker.name)
        if observed is None or observed.pid != worker.pid:
            observed = self._observed[worker.name] = _Observed(worker.pid)
        life = read_life(self._data_dir, worker.name)
        if life is None or life.pid != worker.pid:
            return False  # it has not published anything: it starts, or the disk is full
        if life.update != observed.update:
            if observed.reported:
                log.warning(
                    "sink %s: its worker continues; it was %s for %.0f s",
                    *(worker.name, observed.reported, observed.silent),
                )
            observed.update, observed.silent, observed.reported = life.update, 0.0, ""
            return False
        observed.silent += elapsed
        if observed.silent < SILENCE:
            return False
        state, _ = state_of(worker.pid)
        reason = _reason_to_wait(life, state)
        if reason and reason != observed.reported:
            observed.reported = reason
            log.warning(
                "sink %s: its worker (pid %d) has been %s for %.0f s; it is not replaced, and "
                "the records of the sink wait in the journal",
                *(worker.name, worker.pid, reason, observed.silent),
            )
        if reason:
            return False
        log.error(
            "sink %s: its worker (pid %d%s) has given no sign of life for %.0f s; it is killed and "
            "started again at the sink's cursor",
            *(worker.name, worker.pid, ", stopped by a signal" if state == _STOPPED else ""),
            observed.silent,
        )
        return True


def _reason_to_wait(life: Life, state: str) -> str:
    """Return what a silent worker waits for that another one would wait for too; "" if nothing."""
    if state == _TRACED:
        return "held by a debugger"
    if life.call and state != _STOPPED:
        return f"waiting inside its sink's own call of {life.call}()"
    return ""
