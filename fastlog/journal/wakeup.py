"""The wakeup: it wakes the workers when there is more to read.

An eventfd that all processes of the service have. The journal's writer adds to it after a sync.
Nobody reads it: each worker has an epoll of its own, and an edge there for each time that it was
rung (epoll(7)). It is a hint and no more: a worker without it looks a little later all the same.
"""

from __future__ import annotations

import os
import select
import time

RING_EVERY = 0.05
"""Seconds from one ring to the next, unless there is much to tell. While clients wait for
acknowledgements, the journal is synced a hundred times a second, and to store each few records by
themselves made the sink four times as dear."""
MUCH = 256 << 10


def make_wakeup() -> int:
    """The descriptor of a new one."""
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


class Wakeup:
    """The writer's end: rings the wakeup that has this descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._durable, self._rung_at = 0, float("-inf")

    def notify(self, durable: int) -> None:
        """Wakes all that hear it, if that is worth it. Never waits: its counter lasts for some
        centuries.

        Args:
            durable: How much of the journal can be read.
        """
        now = time.monotonic()
        if durable - self._durable >= MUCH or now >= self._rung_at + RING_EVERY:
            self._durable, self._rung_at = durable, now
            os.eventfd_write(self._fd, 1)


class WakeupReader:
    """What one worker hears of the wakeup that has this descriptor."""

    def __init__(self, fd: int) -> None:
        self._epoll = select.epoll()
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)

    def fileno(self) -> int:
        """Becomes readable when the wakeup is rung."""
        return self._epoll.fileno()

    def clear(self) -> None:
        """Takes back that it was rung."""
        self._epoll.poll(0)
