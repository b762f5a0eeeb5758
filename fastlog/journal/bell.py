"""The bell: it wakes the workers when there is more to read.

An eventfd that all processes of the service have. The journal's writer adds to it after each sync.
Nobody reads it: each worker has an epoll of its own, and an edge there for each time that it was
rung (epoll(7)). It is a hint and no more: a worker without it looks a little later all the same.
"""

from __future__ import annotations

import os
import select


def make_bell() -> int:
    """The descriptor of a new one."""
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


def ring(bell: int) -> None:
    """Wakes all that hear it. Never waits: its counter lasts for some centuries."""
    os.eventfd_write(bell, 1)


class Hearing:
    """What one worker hears of the bell."""

    def __init__(self, bell: int) -> None:
        self._epoll = select.epoll()
        self._epoll.register(bell, select.EPOLLIN | select.EPOLLET)

    def fileno(self) -> int:
        """Becomes readable when the bell is rung."""
        return self._epoll.fileno()

    def heard(self) -> bool:
        """Whether it was rung since this was asked last."""
        return bool(self._epoll.poll(0))
