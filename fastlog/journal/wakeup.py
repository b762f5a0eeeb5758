"""The wakeup: an eventfd that wakes the workers when there is more to read.

All processes of the service share the eventfd. The journal's writer adds to its counter after a
sync. No process reads the counter: each worker has an epoll instance of its own, which gets an edge
for each addition (epoll(7)). A wakeup is a hint only: a worker without one polls the journal.
"""

from __future__ import annotations

import os
import select
import time

NOTIFY_INTERVAL = 0.05
"""Seconds from one notification to the next, unless `NOTIFY_BYTES` are new. While clients wait for
acknowledgements, the journal is synced a hundred times a second, and storing the few records of
each sync by themselves cost the sink four times as much."""
NOTIFY_BYTES = 256 << 10


def make_wakeup() -> int:
    """Make an eventfd for a wakeup and return its descriptor."""
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


class Wakeup:
    """The writer's side of the wakeup that has this descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._durable, self._notified_at = 0, float("-inf")

    def notify(self, durable: int) -> None:
        """Wake all workers, unless too little is new. Never waits: the counter lasts for some
        centuries.

        Args:
            durable: The durable offset.
        """
        now = time.monotonic()
        is_much = durable - self._durable >= NOTIFY_BYTES
        if is_much or now >= self._notified_at + NOTIFY_INTERVAL:
            self._durable, self._notified_at = durable, now
            os.eventfd_write(self._fd, 1)


class WakeupReader:
    """A worker's side of the wakeup that has this descriptor."""

    def __init__(self, fd: int) -> None:
        self._epoll = select.epoll()
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable with each notification."""
        return self._epoll.fileno()

    def clear(self) -> None:
        """Make the descriptor unreadable until the next notification."""
        self._epoll.poll(0)
