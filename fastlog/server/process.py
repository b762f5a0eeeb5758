"""A child of the supervisor: started by exec, watched, restarted with back-off."""

from __future__ import annotations

import array
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fastlog.errors import ConfigError, FastlogError, JournalDamagedError
from fastlog.server.spawn import describe, memory_file, reap, spawn

STABLE = 10.0
"""Seconds of running after which the back-off starts anew."""


class ProcessState(msgspec.Struct, kw_only=True):
    """A child, as one supervisor passes it to the next. Times are of the monotonic clock."""

    name: str
    pid: int
    """0: not alive."""
    control: int
    """The descriptor of its control socket."""
    unread: str
    """The received part of an incomplete message."""
    ready: bool
    started: float
    delay: float
    stop_requested: bool = msgspec.field(name="asked_to_end")
    kill_at: float | None
    start_at: float | None
    signs: int = 0
    """See `Process.signs`. An older version sends and expects none."""


class Process:
    """One child, over all its restarts.

    Args:
        name: For a worker, the name of the sink; else "".
        role: Its name in messages: `receiver`, `worker[sqlite]`.
        module: The module to run by `python -m`.
        arguments: Its arguments, besides the descriptors that `fastlog.child` documents.
        max_delay: The longest wait before a restart, in seconds.
        config: The configuration for it to read, as JSON.
        inherit: Descriptors to inherit under the same numbers.
    """

    def __init__(
        self,
        name: str,
        role: str,
        module: str,
        arguments: Sequence[str],
        max_delay: float,
        *,
        config: str,
        inherit: Sequence[int],
    ) -> None:
        self.name, self.role = name, role
        self._module, self._arguments, self._max_delay = module, arguments, max_delay
        self.config = config
        """Used at the next start."""
        self._inherit = inherit
        self._control: socket.socket | None = None
        self._pidfd = -1
        self._unread = b""
        self._started = 0.0
        self._delay = 0.0
        self._kill_at: float | None = None
        self.pid = 0
        """0: not alive."""
        self.restarts = True
        """Whether it is restarted when it ends."""
        self.stop_requested = False
        """Whether it was requested to end; a restart then has no delay."""
        self.start_at: float | None = None
        """When to restart it, on the monotonic clock."""
        self.ready = False
        """Whether it has sent READY since its start."""
        self.signs = 0
        """Signs of life through its socket, since its start. A worker gives its own elsewhere."""
        self.fatal: FastlogError | None = None
        """The error with which it reported that it cannot continue."""
        self.messages: dict[str, dict[str, Any]] = {}
        """The other messages since its start, the last of each type."""
        self.exit_text = ""
        """How it last ended, in words."""

    @property
    def is_alive(self) -> bool:
        """Whether the process runs, or is not reaped yet."""
        return self.pid != 0

    def filenos(self) -> tuple[int, int]:
        """Return the descriptor of the control socket, and the pidfd."""
        assert self._control is not None
        return self._control.fileno(), self._pidfd

    def start(self, more: Mapping[str, int] | None = None) -> None:
        """Start it.

        Args:
            more: Descriptors to inherit this time only, by the names of their arguments.

        Raises:
            OSError: It cannot be started.
        """
        more = more or {}
        ours, theirs = socket.socketpair()
        config = memory_file("fastlog-config", self.config.encode())
        named = {"config-fd": config, "control-fd": theirs.fileno(), **more}
        flags = [word for name, fd in named.items() for word in (f"--{name}", str(fd))]
        # -P: a file in the current directory must not stand in for a module of ours
        argv = [sys.executable, "-P", "-m", self._module, *flags, *self._arguments]
        try:
            self.pid, self._pidfd = spawn(argv, [*self._inherit, *named.values()])
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(config)
        ours.setblocking(False)
        self._control = ours
        self._unread, self.ready, self.signs, self.fatal = b"", False, 0, None
        self.messages.clear()
        self._started, self.start_at = time.monotonic(), None

    def send(self, message: dict[str, Any], fd: int | None = None) -> None:
        """Send it a message, optionally with a descriptor. Has no effect if it has ended."""
        rights = (
            socket.SOL_SOCKET,
            socket.SCM_RIGHTS,
            array.array("i", [] if fd is None else [fd]),
        )
        if self._control is not None:
            with contextlib.suppress(OSError):  # it has ended; a restart needs no message
                self._control.sendmsg(
                    [json.dumps(message).encode() + b"\n"], [rights] if fd is not None else []
                )

    def read(self) -> None:
        """Read and handle its messages."""
        assert self._control is not None
        try:
            data = self._control.recv(65536)
        except (BlockingIOError, ConnectionError):
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, LookupError, TypeError):  # malformed: skip it
                self._handle(json.loads(line))

    def _handle(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            self.ready = True
        elif kind == "alive":
            self.signs += 1
        elif kind == "fatal":
            self.fatal = _error_class(message)(message["text"])
        else:
            self.messages[kind] = message

    def ended(self) -> bool:
        """Reap it if it has ended; return whether it has. `exit_text` then says how."""
        status = reap(self.pid) if self.pid else None
        if status is None:
            return False
        self.read()
        self.exit_text = describe(status)
        assert self._control is not None
        self._control.close()
        os.close(self._pidfd)
        self.pid, self._control = 0, None
        if time.monotonic() - self._started > STABLE:
            self._delay = 0.0
        if self.restarts and self.stop_requested:
            self.start_at = time.monotonic()
        elif self.restarts:
            self.schedule_restart()
        self.ready = self.stop_requested = False
        self._kill_at = None
        return True

    def schedule_restart(self) -> None:
        """Set the time of the next start, with a longer delay each time in a row."""
        self.start_at = time.monotonic() + self._delay
        self._delay = min(max(0.1, 2 * self._delay), self._max_delay)

    def terminate(self, seconds: float) -> None:
        """Send SIGTERM, and set the time of SIGKILL (see `due`), `seconds` from now."""
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)
            self.stop_requested, self._kill_at = True, time.monotonic() + seconds

    def kill(self) -> None:
        """Send SIGKILL."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.stop_requested, self._kill_at = True, None

    def due(self) -> float | None:
        """Return when to kill or restart it, on the monotonic clock; None: never."""
        return self._kill_at if self.pid else self.start_at

    def kill_if_overdue(self) -> None:
        """Kill it if its time to end is over."""
        if self._kill_at is not None and self._kill_at <= time.monotonic():
            self.kill()

    # ---- from one supervisor to the next ----

    def state(self) -> ProcessState:
        """Return what the next supervisor needs to know of it."""
        return ProcessState(
            name=self.name,
            pid=self.pid,
            control=self._control.fileno() if self._control is not None else -1,
            unread=self._unread.decode("utf-8", "replace"),
            ready=self.ready,
            started=self._started,
            delay=self._delay,
            stop_requested=self.stop_requested,
            kill_at=self._kill_at,
            start_at=self.start_at,
            signs=self.signs,
        )

    def adopt(self, state: ProcessState) -> None:
        """Take over the child that another supervisor has started."""
        if state.pid:
            self.pid, self._pidfd = state.pid, os.pidfd_open(state.pid)
            os.set_inheritable(state.control, False)
            self._control = socket.socket(fileno=state.control)
            self._control.setblocking(False)
        self._unread, self.ready = state.unread.encode(), state.ready
        self.signs = state.signs
        self._started, self._delay = state.started, state.delay
        self.stop_requested, self._kill_at = state.stop_requested, state.kill_at
        self.start_at = state.start_at


def _error_class(message: dict[str, Any]) -> type[FastlogError]:
    if message["damage"]:
        return JournalDamagedError
    return ConfigError if message["config"] else FastlogError
