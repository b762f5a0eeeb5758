"""Finds children that give no sign of life, and replaces them.

A child that hangs looks like one that has nothing to do: its process exists, and its clients or its
sink wait in silence. The supervisor kills it, and starts it again as after any failure. A worker's
cursor is in its sink, so that nothing is lost or doubled; the connections of a TLS process or a web
server break, and their clients connect anew. A child that waits inside a method of a sink is only
reported: the next one would wait for the same disk or network.

A worker gives its signs in a page of shared memory, the others through their sockets. The receiver
gives none here: the service manager watches it (see `service_manager`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fastlog.server.process import Process
from fastlog.worker.life import read_life, read_lives, state_of

log = logging.getLogger(__name__)

SILENCE = 30.0
"""Seconds without a sign of life after which a child is replaced."""
INTERVAL = 1.0
"""Seconds between two checks of the children."""
_STOPPED, _TRACED = "T", "t"
"""States of a process, as in proc(5)."""
_SPECIAL = ":"
"""The first character of the name of a child that is no worker."""


class _Sign(NamedTuple):
    """The last sign of life of a child."""

    update: object
    """Differs from that of the sign before."""
    call: str = ""
    """The method of a sink that the child waits in; "" for none."""


@dataclass
class _Observed:
    """What was seen of a child so far."""

    pid: int
    update: object = None
    silent: float = 0.0
    """Seconds since its last sign of life, of which this process saw every few seconds."""
    reported: str = ""
    """What the log says that it waits for; "" while it is alive."""


class LifeWatch:
    """Checks the signs of life of the children once a second.

    Args:
        data_dir: Where the workers publish theirs.
        monotonic: A monotonic clock, in seconds.
    """

    def __init__(self, data_dir: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._data_dir, self._monotonic = data_dir, monotonic
        self._observed: dict[str, _Observed] = {}
        self._looked_at = monotonic()

    def due(self) -> float:
        """Return when to call `check` next, on the monotonic clock."""
        return self._looked_at + INTERVAL

    def check(self, processes: Iterable[Process]) -> list[Process]:
        """Kill those of these processes that hang, and return them. Does nothing before it is due.

        A process that serves its last connections, and is not restarted, is watched like others.
        """
        now = self._monotonic()
        if now < self.due():
            return []
        # While this process was stopped, the children may have been too: the machine was suspended.
        elapsed, self._looked_at = min(now - self._looked_at, 2 * INTERVAL), now
        killed = []
        for process in processes:
            is_watched = process.is_alive and not process.stop_requested
            if process.name and is_watched and self._hangs(process, elapsed):
                process.kill()
                killed.append(process)
        names = {process.name for process in processes}
        self._observed = {name: each for name, each in self._observed.items() if name in names}
        return killed

    def _hangs(self, process: Process, elapsed: float) -> bool:
        """Return whether a child is to be killed; log that, or why it is not."""
        observed = self._observed.get(process.name)
        if observed is None or observed.pid != process.pid:
            observed = self._observed[process.name] = _Observed(process.pid)
        sign = self._sign_of(process)
        if sign is None:
            return False  # it has not given any: it starts, or the disk is full
        what = _what(process)
        if sign.update != observed.update:
            if observed.reported:
                log.warning(
                    "%s continues; it was %s for %.0f s", what, observed.reported, observed.silent
                )
            observed.update, observed.silent, observed.reported = sign.update, 0.0, ""
            return False
        observed.silent += elapsed
        if observed.silent < SILENCE:
            return False
        state, _ = state_of(process.pid)
        reason = _reason_to_wait(sign.call, state)
        if reason and reason != observed.reported:
            observed.reported = reason
            log.warning(
                "%s (pid %d) has been %s for %.0f s; it is not replaced%s",
                *(what, process.pid, reason, observed.silent, _consequence(process)),
            )
        if reason:
            return False
        log.error(
            "%s (pid %d%s) has given no sign of life for %.0f s; it is killed%s",
            *(what, process.pid, ", stopped by a signal" if state == _STOPPED else ""),
            *(observed.silent, _continuation(process)),
        )
        return True

    def _sign_of(self, process: Process) -> _Sign | None:
        if not process.name.startswith(_SPECIAL):
            return self._sign_of_worker(process)
        if not process.signs:
            return None
        # A source has a worker for each node.
        lives = read_lives(self._data_dir / process.name.removeprefix(_SPECIAL)).values()
        own = [life for life in lives if life.pid == process.pid]
        call = next((life.call for life in own if life.call), "")
        return _Sign((process.signs, *(life.update for life in own)), call)

    def _sign_of_worker(self, worker: Process) -> _Sign | None:
        life = read_life(self._data_dir, worker.name) if worker.restarts else None
        if life is None or life.pid != worker.pid:
            return None
        return _Sign(life.update, life.call)


def _reason_to_wait(call: str, state: str) -> str:
    """Return what a silent child waits for that another one would wait for too; "" if nothing."""
    if state == _TRACED:
        return "held by a debugger"
    if call and state != _STOPPED:
        return f"waiting inside its sink's own call of {call}()"
    return ""


def _what(process: Process) -> str:
    is_worker = not process.name.startswith(_SPECIAL)
    return f"sink {process.name}: its worker" if is_worker else process.role


def _consequence(process: Process) -> str:
    is_worker = not process.name.startswith(_SPECIAL)
    return ", and the records of the sink wait in the journal" if is_worker else ""


def _continuation(process: Process) -> str:
    if not process.name.startswith(_SPECIAL):
        return " and started again at the sink's cursor"
    return " and started again" if process.restarts else ""
