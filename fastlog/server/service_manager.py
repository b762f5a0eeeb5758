"""The service manager, systemd or another with its protocols: notifications, and passed sockets.

The protocols are those of sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3). Each is a few
environment variables and a datagram, so no library is used: libsystemd would have to be compiled.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path

from fastlog.errors import FastlogError

FIRST_FD = 3
"""The descriptor of the first passed socket."""
SILENT = 5.0
"""Seconds without a new status after which the receiver does not work."""


class ServiceManager:
    """Tells the service manager what the service does, if there is one.

    Args:
        status: The file that the receiver replaces each second. While it stays as it is, the
            service manager gets no sign of life, and starts the service again.
    """

    def __init__(
        self,
        status: Path,
        environ: MutableMapping[str, str] = os.environ,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._status, self._monotonic = status, monotonic
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._interval = self._watchdog_interval(environ) if self._address else float("inf")
        self._ping_at = float("inf")
        self._seen: tuple[int, float] = (0, monotonic())
        """The time of the status file, and when it was first seen."""

    @staticmethod
    def _watchdog_interval(environ: MutableMapping[str, str]) -> float:
        """Return the seconds between signs of life: half of what the manager waits for."""
        pid, microseconds = environ.get("WATCHDOG_PID", ""), environ.get("WATCHDOG_USEC", "")
        if not microseconds.isdecimal() or pid not in ("", str(os.getpid())):
            return float("inf")
        return int(microseconds) / 2e6 or float("inf")

    def ready(self, text: str) -> None:
        """Tell that the service works; `text` is a line for its status."""
        self._send(f"READY=1\nSTATUS={text}")
        self._ping_at = self._monotonic() + self._interval

    def reloading(self) -> None:
        """Tell that a reload begins; `ready` ends it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reloading")

    def stopping(self) -> None:
        """Tell that the service ends."""
        self._send("STOPPING=1\nSTATUS=storing what has arrived")

    def due(self) -> float:
        """Return when `ping` has something to do, on the monotonic clock."""
        return self._ping_at

    def ping(self) -> None:
        """Give a sign of life, if one is due and the receiver works."""
        now = self._monotonic()
        if now < self._ping_at:
            return
        self._ping_at = now + self._interval
        with contextlib.suppress(OSError):
            written = self._status.stat().st_mtime_ns
            if written != self._seen[0]:
                self._seen = written, now
        if now <= self._seen[1] + SILENT:
            self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        # A manager that does not listen must not stop the service.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.setblocking(False)
            to.sendto(state.encode(), address)


def take_sockets(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the listening sockets that the service manager has passed to this process.

    Raises:
        FastlogError: One is no listening stream socket.
    """
    pid, number = environ.get("LISTEN_PID", ""), environ.get("LISTEN_FDS", "")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(name, None)
    if pid != str(os.getpid()) or not number.isdecimal():
        return []
    return [_take(fd) for fd in range(FIRST_FD, FIRST_FD + int(number))]


def _take(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        passed = socket.socket(fileno=fd)
        is_listening = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        is_listening = 0
    if not is_listening or passed.type != socket.SOCK_STREAM:
        raise FastlogError(
            f"the service manager has passed descriptor {fd}, which is no listening stream socket"
        )
    passed.setblocking(False)
    return passed
